"""The audit's page, as a Jinja2 template; see ``federation.page``."""

# Long lines are HTML; breaking them would put spaces on the page.
# ruff: noqa: E501

PAGE = """\
{% extends "frame.html.j2" %}
{% from "macros.html.j2" import figure, not_shown %}
{% block title %}{{ audit.title }} – privacy audit{% endblock %}
{% block opening %}
<p class="study">{{ audit.title }} – privacy audit</p>
<h1>{{ headline }}</h1>
<p class="lead">{{ explanation }}</p>
{% endblock %}
{% block main %}
{% if rehearsal %}
<section>
<h2>Does the protection do what it says?</h2>
<p>Before a hospital trains, its own program is tried on patients who do not exist. They are trained on by the very
code that real patients would be, with one question: does it hold back what it promises to hold back?</p>
<table class="cards" role="table">
<caption>The rehearsal. If one test fails, the hospital does not train.</caption>
<thead role="rowgroup"><tr role="row">
<th scope="col" role="columnheader">test</th><th scope="col" role="columnheader">result</th><th scope="col" role="columnheader" class="words">what was found</th>
</tr></thead>
<tbody role="rowgroup">
{% for check in rehearsal.checks %}
<tr role="row"><th scope="row" role="rowheader">{{ check.name }}<small>{{ questions[check.name] }}</small></th><td role="cell" data-label="result"><span class="key {{ "model" if check.passed else "alarm" }}">{{ "✓ passed" if check.passed else "✕ failed" }}</span></td><td role="cell" data-label="found" class="words">{{ check.reason }}</td></tr>
{% endfor %}
</tbody>
</table>
</section>

<section>
<div class="pair">
{% call figure(pictures.claimed_and_proved, "Allowed, and proved") %}
Canaries are always looked for at ε = {{ number.cost(rehearsal.game.promised) }}{% if audit.epsilon != rehearsal.game.promised %}, not at this study's {{ number.cost(audit.epsilon) }}{% endif %}: there one trial proves most about the program, which is
the same for every ε.
{{ "{:,}".format(rehearsal.game.canaries) }} marked, synthetic patients were put into a training step or left out, each by the toss of a coin.
Somebody who sees only the result names the {{ rehearsal.game.guesses }} clearest and says who was in: {{ rehearsal.game.right }} were right. With
{{ number.percent(rehearsal.game.confidence) }} confidence that proves the code to have an ε of at least the lower bar. Were it longer than the upper
one, the program would break its promises. It proves no more than that: the truth lies between the two.
{% endcall %}
{% call figure(pictures.contributions, "No patient counts for more than allowed") %}
Each dot is a synthetic patient with up to 30 images, common or glaring, alone or among others, sent through this
study's network. None may move the sum that leaves the hospital by more than the limit.
{% endcall %}
</div>
</section>
{% endif %}

{% if membership %}
<section>
<h2>Does the model give away who was in it?</h2>
<div class="pair">
{% call figure(pictures.roc, "Telling training patients from others") %}
{{ "{:,}".format(attack.members) }} patients whom the model learnt from and {{ "{:,}".format(attack.others) }} whom it never saw. A curve on the diagonal is
guessing. What counts is the left edge: whom can an attacker name who accuses only one stranger in a hundred?
{% if audit.epsilon is not none %}
The thin line is what the promise leaves possible to the best of all attackers.
{% endif %}
{% endcall %}
<div>
<p>{{ membership_in_words }}</p>
<p>The attacker knows each patient's images and diagnosis, and has {{ membership.reference }} to compare with. A stronger
attack may exist; the promise holds against all of them, this attack is one.</p>
<dl class="origin">
<dt>model</dt><dd><code>{{ membership.version }}</code></dd>
<dt>hospitals</dt><dd>{{ membership.hospitals | join(", ") }}</dd>
</dl>
</div>
</div>
</section>
{% endif %}

{% if inversion %}
<section class="samples">
<h2>Can an image be rebuilt from what leaves the hospital?</h2>
<figure>
<img src="data:image/png;base64,{{ inversion_png }}" alt="{{ inversion_alt }}">
<figcaption>{{ inversion_caption }} {{ inversion_in_words }}</figcaption>
</figure>
</section>
{% endif %}

{{ not_shown(limits) }}

<section>
<h2>Where this comes from</h2>
<dl class="origin">
<dt>study id</dt><dd><code>{{ audit.study_id }}</code></dd>
<dt>made</dt><dd>{{ audit.made.strftime("%Y-%m-%d %H:%M UTC") }}</dd>
<dt>promise</dt><dd>{{ promise }}</dd>
{% if audit.rests_on %}
<dt>holds</dt><dd>{{ audit.rests_on }}</dd>
{% endif %}
</dl>
<p>Every number stands in <code>privacy-audit.json</code> beside this page.</p>
</section>
{% endblock %}
"""
