"""The page, as a Jinja2 template; a Flower bundle carries Python, not template files."""

# Long lines are HTML; breaking them would put spaces on the page.
# ruff: noqa: E501

PAGE = """\
{% extends "frame.html.j2" %}
{% from "macros.html.j2" import figure, cell, not_shown %}
{% block title %}{{ summary.title }} – study report{% endblock %}
{% block opening %}
<p class="study">{{ summary.title }}{% if summary.rendered %} – rendered images{% endif %}</p>
<h1>{{ headline }}</h1>
{% if explanation %}
<p class="lead">{{ explanation }}</p>
{% endif %}
{% endblock %}
{% block main %}
{% if pictures.comparison or pictures.roc %}
<section>
<h2>Is it better together?</h2>
<div class="pair">
{% if pictures.comparison %}
{% call figure(pictures.comparison, "The model, and what it has to beat") %}
Everything is measured on the same test patients of all hospitals; bars are 95 % intervals.
<span class="key model">● together</span> is this study's model.
{% if summary.comparison %}
“Alone” is what each hospital reaches by itself, “pooled” what one shared pile of patients would give, with the
same privacy and without.
{% else %}
Training alone or on pooled patients was not tried in this run.
{% endif %}
{% if summary.baselines %}
The <span class="key alarm">■ trivial rule</span> looks at no picture; its dotted line is the mark to beat.
{% else %}
No trivial rule was measured.
{% endif %}
{% if stratum %}
Hollow marks: only the harder part, {{ stratum }}.
{% endif %}
{% endcall %}
{% endif %}
{% if pictures.roc %}
{% call figure(pictures.roc, "What it finds, at what price in false alarms") %}
ROC curve of the released model on everybody's test patients. The further up and left, the better; the dot is
where a probability of one half is called {{ class_names[1] }}.
{% endcall %}
{% endif %}
</div>
</section>
{% endif %}

{% if held_out %}
<section>
<h2>What the hospitals themselves say</h2>
<div class="pair">
<div>
{% for paragraph in held_out %}
<p>{{ paragraph }}</p>
{% endfor %}
</div>
{% if pictures.held_out %}
{% call figure(pictures.held_out, "Held-out patients by score") %}
Counted at each hospital, noised there, and {{ "told as a sum" if summary.privacy.aggregation == "secure" else "added up here" }}. A good model has its bars at the two ends. Counts below
zero are noise.
{% endcall %}
{% endif %}
</div>
</section>
{% endif %}

{% if pictures.learning_curve or pictures.attendance or pictures.spent_and_gained %}
<section>
<h2>How it went</h2>
<div class="pair">
{% if pictures.learning_curve %}
{% call figure(pictures.learning_curve, "Learning, round by round") %}
The thick line is everybody's test patients together, the thin ones each hospital's.
{% if summary.pooled and summary.pooled.auc is not none %}
The <span class="key model">◆ diamond</span> is the released model: the average over the last rounds, not the best
of them, so that no test score chose it.
{% endif %}
{% endcall %}
{% endif %}
{% if pictures.spent_and_gained %}
{% call figure(pictures.spent_and_gained, "Privacy spent, accuracy gained") %}
Each round costs every patient some ε{{ " against " ~ onlooker if onlooker }} (to the right) and should buy accuracy (up). A line that no longer rises
pays for nothing. Each mark is the released model.
{% endcall %}
{% endif %}
{% if pictures.attendance %}
{% call figure(pictures.attendance, "Who took part in each round") %}
A filled cell took part; a <span class="key alarm">✕</span> was asked and did not.
{% if not absences %}
Nobody was absent.
{% endif %}
{% if lost_rounds %}
A <span class="key alarm">shaded</span> round came to nothing: the model stayed as it was, and what patients gave for
it is given all the same.
{% for sentence in lost_rounds %}
<br>{{ sentence }}
{% endfor %}
{% endif %}
{% endcall %}
{% endif %}
{% if absences %}
<div>
<table role="table">
<caption>Why hospitals were absent</caption>
<thead><tr role="row"><th scope="col">hospital</th><th scope="col">round</th><th scope="col" class="words">reason</th></tr></thead>
<tbody>
{% for site, missed, reason in absences %}
<tr role="row"><th scope="row">{{ site }}</th><td>{{ missed }}</td><td class="words">{{ reason }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% endif %}
</div>
</section>
{% endif %}

{% if samples %}
<section class="samples">
<h2>What the model looks at</h2>
<figure>
<img src="data:image/png;base64,{{ samples }}" alt="Contact sheet of sample images, each with its label.">
{% if summary.rendered %}
<figcaption>Rendered sample images, each with its label: drawn by a computer. No scan of a patient is
shown.</figcaption>
{% else %}
<figcaption>Sample images of the collection, each with its label.</figcaption>
{% endif %}
</figure>
</section>
{% endif %}

{% if pictures.against %}
<section>
<h2>Whom the promise holds against</h2>
<div class="pair">
<div>
<p>No hospital adds all of the noise: each adds a share, and the secure sum holds them all. So how much noise stands
before somebody depends on who that is, and there is an ε for each.</p>
<p>The <span class="key model">◆ first</span> is the promise of the study: every other ε on this page is against
{{ onlooker }}.</p>
</div>
{% call figure(pictures.against, "Who is looking, and what they can learn at most") %}
The further to the right, the more can be learnt of one patient. Beneath each line is what its ε rests on.
{% endcall %}
</div>
</section>
{% endif %}

<section>
<h2>What ε promises to a patient</h2>
<div class="pair">
<div>
{% for paragraph in epsilon_in_words %}
<p>{{ paragraph }}</p>
{% endfor %}
</div>
{% if pictures.guessing %}
{% call figure(pictures.guessing, "How often can a guess about you be right?") %}
The solid line is what the promise leaves possible to {{ onlooker or "anybody" }}, at δ = {{ number.small(summary.privacy.delta) }};
{{ "they cannot" if onlooker else "nobody can" }} do better: (e<sup>ε</sup> + δ) / (e<sup>ε</sup> + 1). The dashed line is what one release of Gaussian noise with that same promise allows.
{% endcall %}
{% endif %}
</div>
{% if run.audit %}
<p><strong>And it was tried.</strong> {{ run.audit }}. <a href="privacy-audit.html">The privacy audit</a> shows how
marked patients were looked for, how much of an image can be rebuilt from an update, and how well the released model
tells who taught it.</p>
{% else %}
<p>No attack was tried on this run.</p>
{% endif %}
</section>

<section>
<h2>The hospitals</h2>
{% set scored = summary.sites.values() | rejectattr("auc", "none") | list or summary.sites.values() | selectattr("measurement") | list %}
{% set score_headings = ["AUC", "sensitivity", "specificity", "calibration error"] %}
<table class="cards" role="table">
<caption>
{% if summary.simulation %}
Simulation: in a real federation these figures stay at the hospital. Intervals are 95 %.
{% else %}
Scores stay at the hospitals.
{% endif %}
{% if onlooker %}
ε is against {{ onlooker }}.
{% endif %}
</caption>
<thead role="rowgroup"><tr role="row">
{% for heading in ["hospital", "patients", "steps", "rounds", "ε spent"] + (score_headings if scored else []) %}
<th scope="col" role="columnheader">{{ heading }}</th>
{% endfor %}
</tr></thead>
<tbody role="rowgroup">
{% for name in run.sites %}
{% set site = summary.sites.get(name) %}
{% set measured = site.measurement if site else none %}
<tr role="row">
<th scope="row" role="rowheader">{{ name }}<small>{{ site.description if site else "in the rounds, but not in the summary" if name in run.participants else "took part in no round" }}</small></th>
{{ cell("patients", "{:,}".format(site.patients) if site else number.DASH) }}
{{ cell("steps", "{:,}".format(site.steps) if site else number.DASH) }}
{{ cell("rounds", site.rounds if site else number.DASH) }}
{{ cell("ε spent", number.cost(site.epsilon if site else none)) }}
{% if scored %}
{{ cell("AUC", number.with_interval(site.auc, site.auc_interval) if site else number.DASH) }}
{{ cell("sensitivity", number.score(measured.sensitivity if measured else none)) }}
{{ cell("specificity", number.score(measured.specificity if measured else none)) }}
{{ cell("calibration error", number.score(measured.calibration_error if measured else none)) }}
{% endif %}
</tr>
{% endfor %}
</tbody>
</table>
</section>

{{ not_shown(limits) }}

<section>
<h2>Where this comes from, and how to check it</h2>
<dl class="origin">
<dt>study</dt><dd>{{ summary.study }}</dd>
<dt>study id</dt><dd><code>{{ summary.study_id }}</code></dd>
<dt>model version</dt><dd><code>{{ summary.model_version or "none" }}</code></dd>
<dt>started</dt><dd>{{ summary.started }}</dd>
<dt>status</dt><dd>{{ summary.status }}</dd>
<dt>updates</dt><dd>travelled {{ summary.privacy.travel }}</dd>
<dt>privacy</dt><dd>{{ summary.privacy.mode }}{{ ", against " ~ summary.privacy.guarantees[0].title if summary.privacy.guarantees }}; unit: {{ summary.privacy.unit }}; adjacency: {{ summary.privacy.adjacency }}{% if noise %}; {{ noise }}{% endif %}; noise from: {{ summary.privacy.secret }}</dd>
{% if run.rounds %}
<dt>global model after round {{ run.rounds[-1].round }}</dt><dd><code>{{ run.rounds[-1].model_sha256 }}</code> (SHA-256)</dd>
{% endif %}
</dl>
<p>To verify: the manifest in <code>models/</code> names each released file with its SHA-256. Compute it again with
<code>sha256sum</code> and compare; then compare the study id above with the one that your hospital approved. Every
figure on this page was drawn from <code>summary.json</code> and <code>metrics.jsonl</code> in the run's folder.</p>
</section>
{% endblock %}
"""
