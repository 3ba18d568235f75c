#include "eval/report/html_sections.h"

namespace pith {

const char* const kReportStyle = R"css(
:root {
  --paper: #fdfdfb; --raised: #f3f3ef; --ink: #1d1e20; --soft: #5c5f66; --rule: #d9d9d3; --accent: #0b5cad;
  --heat: #0a4f94; --heat-ink: #ffffff; --heat-middle: #1d1e20;
  --s0: #0b62a4; --s1: #c8500a; --s2: #00805f; --s3: #a1458c;
  --s4: #8f6c00; --s5: #5a5fd0; --s6: #7b4a2b; --s7: #4a4d55;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #17181a; --raised: #212327; --ink: #e8e8e4; --soft: #a4a8af; --rule: #3a3d43; --accent: #7cb8f2;
    --heat: #8cc4f5; --heat-ink: #10151b; --heat-middle: #10151b;
    --s0: #5cb0ee; --s1: #ff9a57; --s2: #4fd1ac; --s3: #e494cc;
    --s4: #e8c547; --s5: #a9b0ff; --s6: #d0a67c; --s7: #c4c7ce;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 80rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .75rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 3rem 0 .5rem; padding-top: .9rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; overflow-wrap: anywhere; }
p, li, dd { max-width: 46rem; }
section > p { color: var(--soft); margin: 0 0 1rem; }
.lead { font-size: 1.1rem; }
.findings { padding-left: 1.2rem; } .findings li { margin: .35rem 0; overflow-wrap: anywhere; }
figure { margin: 0; min-width: 0; }
figcaption, caption { font-weight: 600; text-align: left; padding: .4rem 0; overflow-wrap: anywhere; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 32rem), 1fr)); gap: 1.5rem 2rem; }
.maps { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; }
figure.small { max-width: 100%; } figure.small figcaption { font-size: .85rem; max-width: 18rem; }
svg.chart { display: block; width: 100%; height: auto; max-width: 48rem; }
svg.map { display: block; max-width: 100%; height: auto; font-size: 11px; }
svg text { font-family: inherit; font-variant-numeric: tabular-nums; }
.chart text { font-size: 12px; }
caption { position: sticky; left: 0; }
.tick { fill: var(--soft); } .label { fill: var(--ink); }
.grid { stroke: var(--rule); } .mark { stroke: var(--soft); }
.level { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 6 4; }
.line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }
.whisker { stroke: currentColor; stroke-width: 1.2; opacity: .55; }
.ring { fill: none; stroke: currentColor; stroke-width: 1.6; }
.dot { fill: currentColor; stroke: var(--paper); stroke-width: 1; }
.s0 { color: var(--s0); } .s1 { color: var(--s1); } .s2 { color: var(--s2); } .s3 { color: var(--s3); }
.s4 { color: var(--s4); } .s5 { color: var(--s5); } .s6 { color: var(--s6); } .s7 { color: var(--s7); }
.d1 .line { stroke-dasharray: 7 4; } .d2 .line { stroke-dasharray: 2 3; } .d3 .line { stroke-dasharray: 9 3 2 3; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; margin: .3rem 0 0; padding: 0; font-size: .85rem; }
.legend li { display: flex; align-items: center; gap: .4rem; overflow-wrap: anywhere; }
.sample { width: 30px; height: 14px; flex: none; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .82rem; line-height: 1.35; }
th, td { padding: .28rem .5rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule);
  white-space: nowrap; }
thead th { vertical-align: bottom; background: var(--raised); font-weight: 600; white-space: normal; max-width: 9rem; overflow-wrap: break-word; }
td.w { white-space: pre-wrap; overflow-wrap: anywhere; min-width: 8rem; max-width: 24rem; }
tbody th { position: sticky; left: 0; background: var(--paper); }
tbody th { font-weight: 500; }
tbody tr:hover > * { background-color: var(--raised); }
.n { text-align: right; font-variant-numeric: tabular-nums; }
thead button { all: unset; cursor: pointer; display: block; width: 100%; }
thead button::after { content: " \2195"; color: var(--soft); opacity: .45; font-weight: 400; }
th[aria-sort="ascending"] button::after { content: " \2191"; opacity: 1; }
th[aria-sort="descending"] button::after { content: " \2193"; opacity: 1; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
caption button { font: inherit; font-weight: 400; font-size: .8rem; margin-left: .8rem; padding: .1rem .55rem; color: var(--accent);
  background: none; border: 1px solid var(--rule); border-radius: .3rem; cursor: pointer; }
.h0 { --t: 0%; } .h1 { --t: 10%; } .h2 { --t: 20%; } .h3 { --t: 30%; } .h4 { --t: 40%; } .h5 { --t: 50%; }
.h6 { --t: 60%; } .h7 { --t: 70%; } .h8 { --t: 80%; } .h9 { --t: 90%; } .h10 { --t: 100%; }
td[class*=" h"] { background: color-mix(in oklab, var(--heat) var(--t), var(--raised)); border: 1px solid var(--paper); }
.map g > rect { fill: color-mix(in oklab, var(--heat) var(--t), var(--raised)); } .map .none > rect { fill: none; stroke: var(--rule); }
.map g > text { fill: var(--ink); }
td.h6 { color: var(--heat-middle); } td:is(.h7, .h8, .h9, .h10) { color: var(--heat-ink); }
.map .h6 > text { fill: var(--heat-middle); } .map g:is(.h7, .h8, .h9, .h10) > text { fill: var(--heat-ink); }
details { margin: .4rem 0; } summary { cursor: pointer; overflow-wrap: anywhere; }
pre { background: var(--raised); padding: .7rem .9rem; border-radius: .3rem; white-space: pre-wrap; overflow-wrap: anywhere;
  font: .85rem/1.45 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: .6rem 0; font-size: .9rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) { main { padding: 1.2rem .8rem 3rem; } h1 { font-size: 1.5rem; } }
@media print {
  body { font-size: 10pt; } main { max-width: none; padding: 0; }
  caption button { display: none; } thead button::after { content: none !important; }
  table { font-size: 7.5pt; } th, td { padding: .15rem .3rem; } .scroll { overflow: visible; }
  figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  td[class*=" h"], .map rect { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
)css";

const char* const kReportScript = R"js(
'use strict';
const valueOf = (row, i) => {
  const cell = row.cells[i];
  if (!cell) return '';
  return cell.dataset.v !== undefined ? Number(cell.dataset.v) : cell.textContent;
};
const compare = (a, b) => {
  const missing = (a === '') - (b === '');
  if (missing) return missing;
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return String(a).localeCompare(String(b), 'en', {numeric: true});
};
const sort = (table, i, heading) => {
  const down = heading.getAttribute('aria-sort') === 'ascending';
  for (const th of table.tHead.rows[0].cells) th.removeAttribute('aria-sort');
  heading.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => {
    const x = valueOf(a, i), y = valueOf(b, i);
    return (down && x !== '' && y !== '' ? -1 : 1) * compare(x, y);
  });
  table.tBodies[0].append(...rows);
};
const csvOf = table => {
  const quote = text => /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  return [...table.rows].map(row => [...row.cells].map(cell =>
    quote(cell.dataset.v ?? cell.dataset.name ?? cell.textContent)).join(',')).join('\r\n') + '\r\n';
};
for (const table of document.querySelectorAll('table.data')) {
  const name = table.caption.textContent;
  [...table.tHead.rows[0].cells].forEach((heading, i) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = heading.textContent;
    heading.dataset.name = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener('click', () => sort(table, i, heading));
  });
  const download = document.createElement('button');
  download.type = 'button';
  download.textContent = 'CSV';
  download.setAttribute('aria-label', 'Download “' + name + '” as CSV');
  download.addEventListener('click', () => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([csvOf(table)], {type: 'text/csv'}));
    link.download = name.replace(/[^A-Za-z0-9]+/g, '-').replace(/^-|-$/g, '').toLowerCase() + '.csv';
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  table.caption.append(download);
}
)js";

}  // namespace pith
