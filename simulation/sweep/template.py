"""The page of a sweep, as a Jinja2 template; its look is that of a run's own report."""

# Long lines are HTML; breaking them would put spaces on the page.
# ruff: noqa: E501

PAGE = """\
{% extends "frame.html.j2" %}
{% from "macros.html.j2" import cell %}
{% block title %}{{ title }} – {{ record.jobs | length }} runs compared{% endblock %}
{% block style %}
a { color: var(--model); }
{% endblock %}
{% block opening %}
<p class="study">{{ title }}{% if record.rendered %} – rendered images{% endif %} – {{ record.jobs | length }} runs compared</p>
<h1>{{ headline }}</h1>
<p class="lead">AUC says how often the model ranks a diseased patient above a healthy one: 1 is always, 0.5 is a
coin. ε is the privacy promised to each patient: the smaller it is, the stronger the promise, and the more noise the
model has to learn through.</p>
{% endblock %}
{% block notes %}
{% for note in alarms %}
<p class="note alarm">{{ note.text }}</p>
{% endfor %}
{% endblock %}
{% block main %}
{% if curve or dots %}
<section>
<h2>{{ "What does privacy cost?" if curve else "Which setting does how well?" }}</h2>
<div class="pair">
<figure>
{{ (curve or dots) | safe }}
<figcaption>
{% if curve %}
The further up, the better the model; the further left, the better each patient is protected.
{% else %}
Each mark is the released model of one run, measured on all test patients.
{% if stratum %}
Hollow marks: only the harder part, {{ stratum }}.
{% endif %}
{% endif %}
{% if curve and seeds > 1 %}
Each mark is the average over {{ seeds }} seeds, its bar reaches from the lowest to the highest of them.
{% else %}
Bars are 95 % intervals: they say how much other test patients might have moved the mark, and nothing of other noise,
which several seeds would show.
{% endif %}
{% if curve and several %}
Marks at the same ε stand a little apart, so that all can be seen.
{% endif %}
</figcaption>
</figure>
<div>
{% for note in notes %}
<p class="note plain">{{ note.text }}</p>
{% endfor %}
</div>
</div>
</section>
{% endif %}

<section>
<h2>All runs</h2>
<table class="cards" role="table">
<caption>Intervals are 95 %. Each run has a report of its own.</caption>
<thead role="rowgroup"><tr role="row">
<th scope="col" role="columnheader">run</th>
{% for key, heading in keys.items() %}
<th scope="col" role="columnheader">{{ heading }}</th>
{% endfor %}
{% for heading in ([] if "privacy.epsilon" in keys else ["ε"]) + ["hospitals", "test patients", "AUC", "time"] %}
<th scope="col" role="columnheader">{{ heading }}</th>
{% endfor %}
</tr></thead>
<tbody role="rowgroup">
{% for job in record.jobs %}
<tr role="row">
<th scope="row" role="rowheader">{% if job.folder in reports %}<a href="{{ job.folder | urlencode }}/report.html">run {{ loop.index }}</a>{% else %}run {{ loop.index }}{% endif %}{% if job.status != "completed" %}<small>{{ job.status }}</small>{% endif %}</th>
{% for key, heading in keys.items() %}
{{ cell(heading, job.settings[key]) }}
{% endfor %}
{% if "privacy.epsilon" not in keys %}
{{ cell("ε", promised(job)) }}
{% endif %}
{{ cell("hospitals", job.hospitals) }}
{{ cell("test patients", "{:,}".format(job.measured.patients) if job.measured else number.DASH) }}
{{ cell("AUC", number.with_interval(job.auc, job.measured.auc_interval) if job.measured else number.DASH) }}
{{ cell("time", number.DASH if job.seconds is none else number.duration(job.seconds)) }}
</tr>
{% endfor %}
</tbody>
</table>
</section>

<section>
<h2>Where this comes from, and how to check it</h2>
<dl class="origin">
<dt>started</dt><dd>{{ record.started }}</dd>
{% for key, values in record.swept.items() %}
<dt>{{ key }}</dt><dd><code>{{ values | join(", ") }}</code></dd>
{% endfor %}
<dt>in every run</dt><dd><code>{{ alike | join(" ") or "as conf/ has it" }}</code></dd>
</dl>
<p>Every figure on this page was drawn from <code>sweep.json</code> in this folder. Each run's own folder beside it holds
its whole record, with the settings, the models and their SHA-256.</p>
</section>
{% endblock %}
"""
