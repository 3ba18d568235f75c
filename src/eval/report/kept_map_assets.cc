#include "eval/report/kept_map.h"

namespace pith {

const char* const kKeptMapStyle = R"css(
#map { position: relative; }
#map canvas { display: block; width: 100%; cursor: crosshair; touch-action: pan-y; }
#cursor { position: absolute; border: 1.5px solid var(--accent); border-radius: 2px; pointer-events: none; }
#readout { position: sticky; bottom: 0; margin-top: .6rem; padding: .6rem .9rem; background: var(--raised);
  border: 1px solid var(--rule); border-radius: .4rem; font-size: .9rem; min-height: 6.2rem; }
#readout p { margin: .3rem 0 0; max-width: none; color: var(--soft); white-space: pre-wrap; overflow-wrap: anywhere;
  font: .85rem/1.45 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
#readout mark { color: var(--ink); background: color-mix(in oklab, var(--heat) 35%, transparent); }
#readout u { color: var(--ink); text-decoration: 2px underline var(--accent); text-underline-offset: 3px; }
.text { max-height: 32rem; overflow: auto; }
.text span { background: color-mix(in oklab, var(--heat) calc(var(--t) * .45), transparent); }
@media print { #readout, #cursor { display: none; } .text { max-height: none; } }
)css";

const char* const kKeptMapScript = R"js(
(() => {
  const {pieces, kept, heads} = JSON.parse(document.getElementById('data').textContent);
  const tokens = pieces.length, rows = kept.length;
  const figure = document.getElementById('map'), canvas = figure.querySelector('canvas');
  const cursor = document.getElementById('cursor'), readout = document.getElementById('readout');
  const keeps = (row, token) => parseInt(kept[row][token >> 2], 16) >> (token & 3) & 1;
  // How many of the first i tokens a row keeps.
  const before = kept.map((_, row) => {
    const sums = new Uint32Array(tokens + 1);
    for (let i = 0; i < tokens; i++) sums[i + 1] = sums[i] + keeps(row, i);
    return sums;
  });
  const most = Math.max(1, ...before.map(sums => sums[tokens]));
  let left, width, bars, height, step, gap, bins;  // CSS pixels; `step` from row to row
  const top = row => row * step + Math.floor(row / heads) * gap;
  const range = bin => [Math.floor(bin * tokens / bins),
                        Math.max(Math.floor(bin * tokens / bins) + 1, Math.floor((bin + 1) * tokens / bins))];

  const measure = () => {
    const whole = figure.clientWidth, narrow = whole < 600;
    left = narrow ? 30 : 58;
    bars = narrow ? 34 : 96;
    width = Math.max(60, whole - left - bars - 8);
    step = Math.max(3, Math.min(16, Math.floor(640 / rows)));
    gap = heads > 1 ? Math.max(2, Math.floor(step / 4)) : 0;
    height = top(rows - 1) + step;
    bins = Math.min(tokens, Math.floor(width * devicePixelRatio));
  };
  const draw = () => {
    measure();
    const style = getComputedStyle(document.documentElement), color = name => style.getPropertyValue('--' + name);
    const ratio = devicePixelRatio, axis = 20;
    canvas.width = Math.round(figure.clientWidth * ratio);
    canvas.height = Math.round((height + axis) * ratio);
    canvas.style.height = height + axis + 'px';
    const g = canvas.getContext('2d');
    g.scale(ratio, ratio);
    const edge = bin => Math.round((left + bin * width / bins) * ratio) / ratio;  // no seams between columns
    g.font = '11px ' + getComputedStyle(document.body).fontFamily;
    g.textBaseline = 'middle';
    for (let row = 0; row < rows; row++) {
      const y = top(row), h = Math.max(1, step - (step > 6 ? 1 : 0));
      g.globalAlpha = 1;
      g.fillStyle = color('raised');
      g.fillRect(left, y, width, h);
      g.fillStyle = color('heat');
      for (let bin = 0; bin < bins; bin++) {
        const [begin, end] = range(bin), count = before[row][end] - before[row][begin];
        if (count === 0) continue;
        const x = edge(bin);
        g.globalAlpha = 0.2 + 0.8 * count / (end - begin);
        g.fillRect(x, y, edge(bin + 1) - x, h);
      }
      g.globalAlpha = 1;
      const room = bars > 60 ? bars - 44 : bars;
      g.fillRect(left + width + 8, y, room * before[row][tokens] / most, h);
      g.fillStyle = color('soft');
      if (bars > 60 && step >= 10) {
        g.textAlign = 'right';
        g.fillText((100 * before[row][tokens] / tokens).toFixed(1) + ' %', left + width + 8 + bars - 1, y + step / 2);
      }
    }
    g.fillStyle = color('soft');
    g.textAlign = 'right';
    for (let layer = 0, free = 0; layer * heads < rows; layer++) {
      const y = (top(layer * heads) + top(layer * heads + heads - 1) + step) / 2;
      if (y < free) continue;
      free = y + 13;
      g.fillText(left > 40 ? 'layer ' + layer : layer, left - 6, y);
    }
    const ticks = Math.max(1, Math.min(8, Math.floor(width / 90)));
    for (let i = 0; i <= ticks; i++) {
      g.textAlign = i === 0 ? 'left' : i === ticks ? 'right' : 'center';
      g.fillText(Math.round(i * tokens / ticks).toLocaleString('en'), left + i * width / ticks, height + axis / 2);
    }
  };

  let at = null;  // [row, bin]
  const show = (row, bin) => {
    row = Math.max(0, Math.min(rows - 1, row));
    bin = Math.max(0, Math.min(bins - 1, bin));
    at = [row, bin];
    const [begin, end] = range(bin), count = before[row][end] - before[row][begin];
    cursor.hidden = readout.hidden = false;
    Object.assign(cursor.style, {left: left + bin * width / bins - 2 + 'px', top: top(row) - 2 + 'px',
                                 width: Math.max(1, width / bins) + 4 + 'px', height: step + 3 + 'px'});
    const where = end - begin === 1 ? `position ${begin}, ${count ? 'kept' : 'dropped'}`
                                    : `positions ${begin} to ${end - 1}, ${count} of ${end - begin} kept`;
    const share = (100 * before[row][tokens] / tokens).toFixed(1);
    readout.querySelector('b').textContent =
      `Layer ${Math.floor(row / heads)}, head ${row % heads}: ${where} (the head keeps ${share} %)`;
    const text = readout.querySelector('p');
    text.replaceChildren();
    const around = width < 500 ? 12 : 24;
    for (let i = Math.max(0, begin - around); i < Math.min(tokens, end + around); i++) {
      let node = document.createTextNode(pieces[i]);
      for (const [tag, wanted] of [['mark', keeps(row, i)], ['u', i >= begin && i < end]]) {
        if (!wanted) continue;
        const outer = document.createElement(tag);
        outer.append(node);
        node = outer;
      }
      text.append(node);
    }
  };
  const point = event => {
    const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    if (y >= height) return;
    let row = 0;
    while (row + 1 < rows && top(row + 1) <= y) row++;
    show(row, Math.floor((x - left) * bins / width));
  };
  canvas.addEventListener('pointermove', point);
  canvas.addEventListener('pointerdown', point);
  canvas.addEventListener('focus', () => { if (!at) show(0, 0); });
  canvas.addEventListener('keydown', event => {
    const move = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[event.key];
    if (!move || !at) return;
    event.preventDefault();
    show(at[0] + move[0], at[1] + move[1]);
  });
  const redraw = () => { cursor.hidden = true; draw(); };
  new ResizeObserver(redraw).observe(figure);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
})();
)js";

}  // namespace pith
