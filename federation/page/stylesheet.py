"""How the pages look; see ``frame``."""

STYLE = """\
:root {
  color-scheme: light dark;
{% for name, value in light.items() %}
  --{{ name }}: {{ value }};
{% endfor %}
}
@media screen and (prefers-color-scheme: dark) {
  :root {
{% for name, value in dark.items() %}
    --{{ name }}: {{ value }};
{% endfor %}
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 40px 40px 72px; max-width: 1200px;
  font: 17px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  color: var(--ink); background: var(--paper); overflow-wrap: break-word;
}
h1 { margin: 6px 0 12px; font-size: clamp(27px, 4.3vw, 44px); line-height: 1.18; font-weight: 700;
     letter-spacing: -.015em; max-width: 22em; text-wrap: balance; }
h2 { margin: 0 0 14px; font-size: 25px; line-height: 1.25; letter-spacing: -.01em; }
h3 { margin: 0 0 6px; font-size: 18px; line-height: 1.3; }
p { margin: 0 0 14px; max-width: 44em; }
.study { margin: 0; color: var(--muted); }
.lead { font-size: 19px; }
section { margin-top: 52px; }

.note { margin: 0 0 10px; padding: 11px 16px; max-width: none; border-left: 5px solid var(--model);
        background: var(--wash); }
.note.alarm { border-left-color: var(--alarm); }

.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 0 28px;
         margin: 26px 0 26px; padding: 0; border-block: 1px solid var(--grid); }
.facts div { padding: 14px 0; display: flex; flex-direction: column; }
.facts dt { order: 2; font-weight: 600; }
.facts dd { margin: 0; }
.facts .value { order: 1; font-size: 34px; line-height: 1.15; font-weight: 700; letter-spacing: -.02em;
                font-variant-numeric: tabular-nums; }
.facts .aside { order: 3; font-size: 15px; color: var(--muted); }

.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 44px 56px;
        align-items: start; }
figure { margin: 0; break-inside: avoid; }
figure svg { display: block; width: 100%; max-width: 580px; height: auto; overflow: visible;
             stroke-linejoin: round; font-family: inherit; font-variant-numeric: tabular-nums; }
figcaption { margin-top: 8px; max-width: 38em; font-size: 15.5px; color: var(--muted); }
.samples img { display: block; width: 100%; height: auto; border: 1px solid var(--grid); }
.key { font-weight: 700; white-space: nowrap; }
.key.model { color: var(--model); }
.key.alarm { color: var(--alarm); }

table { width: 100%; border-collapse: collapse; font-size: 16px; font-variant-numeric: tabular-nums; }
caption { text-align: left; margin-bottom: 8px; color: var(--muted); }
th, td { padding: 9px 12px 9px 0; text-align: right; vertical-align: top; }
th, td { border-bottom: 1px solid var(--grid); }
thead th { font-weight: 600; color: var(--muted); vertical-align: bottom; }
th:first-child, .words { text-align: left; }
th:last-child, td:last-child { padding-right: 0; }
tbody th small { display: block; font-weight: 400; color: var(--muted); }
ul { margin: 0; padding-left: 1.2em; columns: 26em 2; column-gap: 56px; }
li { margin-bottom: 8px; break-inside: avoid; }
.origin { display: grid; grid-template-columns: max-content 1fr; gap: 6px 24px; margin: 0 0 18px; }
.origin dt { color: var(--muted); }
.origin dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
code { font: .9em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; }

@media (max-width: 720px) {
  body { padding: 22px 16px 48px; font-size: 16px; }
  section { margin-top: 40px; }
  .facts { grid-template-columns: 1fr 1fr; gap: 0 18px; }
  .facts div { padding: 10px 0; }
  .facts .value { font-size: 27px; }
  .pair { gap: 36px; }
  .origin { grid-template-columns: 1fr; gap: 0; }
  .origin dd { margin-bottom: 10px; }
  /* A row becomes a card; the roles in the markup keep it a table for screen readers. */
  .cards, .cards caption, .cards tbody, .cards tr, .cards th, .cards td { display: block; }
  .cards thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .cards tr { padding: 12px 0; border-bottom: 1px solid var(--grid); }
  .cards th, .cards td { padding: 2px 0; border: 0; }
  .cards tbody th { margin-bottom: 4px; font-size: 17px; }
  .cards td { display: flex; justify-content: space-between; gap: 20px; }
  .cards td::before { content: attr(data-label); color: var(--muted); text-align: left; }
}
@media print {
  @page { margin: 16mm; }
  :root { color-scheme: light; }
  body { padding: 0; max-width: none; font-size: 10.5pt; }
  h1 { font-size: 20pt; }
  h2 { font-size: 14pt; }
  h3 { font-size: 10.5pt; }
  .lead { font-size: 11.5pt; }
  figcaption { font-size: 8.5pt; }
  .note { padding: 7px 12px; }
  .facts { grid-template-columns: repeat(5, 1fr); gap: 0 14px; }
  .facts .value { font-size: 17pt; }
  .facts .aside { font-size: 8pt; }
  .facts { margin: 14px 0; }
  .pair { grid-template-columns: 1fr 1fr; gap: 24px; }
  section { margin-top: 24px; }
  h2, h3 { break-after: avoid; }
  tr, table, .origin, .note { break-inside: avoid; }
  .note, .facts { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  table { font-size: 9.5pt; }
}
"""
