"""The ledger's page, as a Jinja2 template; see ``federation.page``."""

# Long lines are HTML; breaking them would put spaces on the page.
# ruff: noqa: E501

PAGE = """\
{% extends "frame.html.j2" %}
{% from "macros.html.j2" import figure, cell, not_shown %}
{% block title %}{{ statement.site }} – what patients have given{% endblock %}
{% block style %}
figure svg { max-width: 940px; }
figcaption { max-width: 62em; }
{% endblock %}
{% block opening %}
<p class="study">{{ statement.site }} – the ledger of what patients have given</p>
<h1>{{ headline }}</h1>
<p class="lead">{{ explanation }}</p>
{% endblock %}
{% block main %}
{% if picture %}
<section>
{% call figure(picture, "What patients have given, over time") %}
{{ caption }}
{% endcall %}
</section>
{% endif %}

<section>
<h2>Studies</h2>
{% if statement.studies %}
<table class="cards" role="table">
<caption>ε of each study by itself, against whom it promised it, and what it has cost so far against {{ everybody }}; what is set aside is held for rounds to come.</caption>
<thead role="rowgroup"><tr role="row">
<th scope="col" role="columnheader">study</th><th scope="col" role="columnheader">state</th><th scope="col" role="columnheader">approved by</th><th scope="col" role="columnheader">until</th><th scope="col" role="columnheader">rounds</th><th scope="col" role="columnheader">ε so far</th><th scope="col" role="columnheader">with what is set aside</th><th scope="col" role="columnheader">against {{ everybody }}</th>
</tr></thead>
<tbody role="rowgroup">
{% for each in statement.studies %}
{% set approval = each.proposal.approval %}
{% set promised = against(each.proposal.study) %}
<tr role="row"><th scope="row" role="rowheader">{{ printable(each.proposal.study.title) }}<small>{{ printable(each.proposal.study.purpose) }}</small><small>{{ "ε is against " ~ promised if promised else "promises nothing" }}</small><small><code>{{ each.proposal.study.id[:12] }}</code></small></th>{{ cell("state", each.state) }}{{ cell("approved by", printable(approval.by) if approval else number.DASH) }}{{ cell("until", approval.until if approval else number.DASH) }}{{ cell("rounds", each.rounds_charged ~ " of " ~ each.proposal.study.rounds) }}{{ cell("ε so far", number.cost(each.epsilon)) }}{{ cell("with what is set aside", number.cost(each.epsilon_set_aside) if each.set_aside else number.DASH) }}{{ cell("against " ~ everybody, number.cost(each.everybody)) }}</tr>
{% endfor %}
</tbody>
</table>
{% else %}
<p>No study was ever asked for here.</p>
{% endif %}
</section>

<section>
<h2>Patients</h2>
<table class="cards" role="table">
<caption>How much of the cap is used, or set aside, by how many of those who were ever in a study. The cap is against {{ looking }}.</caption>
<thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader">used of the cap</th><th scope="col" role="columnheader">patients</th></tr></thead>
<tbody role="rowgroup">
{% for band, patients in bands %}
<tr role="row"><th scope="row" role="rowheader">{{ band }}</th>{{ cell("patients", patients) }}</tr>
{% endfor %}
<tr role="row"><th scope="row" role="rowheader">with room for another study<small>as large as this hospital allows, ε = {{ number.cost(statement.policy.maximum_epsilon) }}</small></th>{{ cell("patients", room) }}</tr>
</tbody>
</table>
</section>

{{ not_shown(limits) }}

<section>
<h2>Where this comes from</h2>
<dl class="origin">
<dt>hospital</dt><dd>{{ statement.site }}</dd>
<dt>made</dt><dd>{{ statement.made.strftime("%Y-%m-%d %H:%M UTC") }}</dd>
<dt>whether it is whole</dt><dd><code>wardround-site ledger verify</code></dd>
</dl>
</section>
{% endblock %}
"""
