"""What every page has, as Jinja2 templates; a Flower bundle carries Python, not template files."""

# Long lines are HTML; breaking them would put spaces on the page.
# ruff: noqa: E501

FRAME = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{% block title %}{% endblock %}</title>
<link rel="icon" href="data:,">
<style>
{% include "style.css.j2" %}
{% block style %}
{% endblock %}
</style>
</head>
<body>
<header>
{% block opening %}
{% endblock %}
<dl class="facts">
{% for fact in facts %}
<div><dt>{{ fact.label }}</dt><dd class="value">{{ fact.value }}</dd><dd class="aside">{{ fact.note }}</dd></div>
{% endfor %}
</dl>
{% block notes %}
{% for note in notes %}
<p class="note {{ note.kind }}">{{ note.text }}</p>
{% endfor %}
{% endblock %}
</header>

<main>
{% block main %}
{% endblock %}
</main>
</body>
</html>
"""

# SVG comes from figures.py of each page, which escape every name they draw: the only text passed through as it is.
MACROS = """\
{% macro figure(svg, title) %}
<figure>
<h3>{{ title }}</h3>
{{ svg | safe }}
<figcaption>{{ caller() }}</figcaption>
</figure>
{% endmacro %}
{% macro not_shown(limits) %}
<section>
<h2>What this does not show</h2>
<ul>
{% for limit in limits %}
<li>{{ limit }}</li>
{% endfor %}
</ul>
</section>
{% endmacro %}
{% macro cell(label, value) %}
<td role="cell" data-label="{{ label }}">{{ value }}</td>
{%- endmacro %}
"""
