"use strict";
// Draws the charts of the page as SVG. A chart is {low, high, first, last, image} for histograms, or a list of curves
// {run, own, x, y, bad}: `own` points are inherited from the parent, y is null where there is a gap, and `bad` are the
// steps whose value was not finite.
const {charts, colors, marks} = JSON.parse(document.getElementById("charts").textContent);
const color = run => colors[run % colors.length];
const mark = run => marks[run % marks.length];
const hidden = new Set(); // the runs that are not shown
const view = {log: false, smooth: 0};

function ticks(low, high, count, whole) { // [values, distance]: round numbers from low to high
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  let distance = [1, 2, 5, 10].map(k => k * power).find(d => d >= rough);
  if (whole) distance = Math.max(1, Math.round(distance));
  const values = [];
  for (let k = Math.ceil(low / distance - 1e-9); k * distance <= high + distance * 1e-9; k++) values.push(k * distance || 0);
  return [values, distance];
}

function label(value, distance) { // as many digits as it takes to tell neighbouring ticks apart
  const size = Math.abs(value);
  const decimals = Math.max(0, -Math.floor(Math.log10(distance) + 1e-9));
  if (size && (size < 1e-3 || size >= 1e9)) {
    return value.toExponential(Math.max(0, Math.floor(Math.log10(size)) - Math.floor(Math.log10(distance))));
  }
  return value.toLocaleString("en", {minimumFractionDigits: decimals, maximumFractionDigits: decimals});
}

function number(value) { // a value as the pointer reads it
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3 ? value.toExponential(3) : String(+value.toPrecision(5));
}

function smoothed(y) { // an exponential mean without the usual bias towards zero at the start
  if (!view.smooth) return y;
  let sum = 0, weight = 0;
  return y.map(v => {
    if (v === null) return null;
    sum = view.smooth * sum + (1 - view.smooth) * v;
    weight = view.smooth * weight + 1 - view.smooth;
    return sum / weight;
  });
}

function add(parent, tag, attributes, text) {
  const node = document.createElementNS(parent.namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

function frame(svg, x, y, whole) { // axes; x and y are {low, high}; returns the box with the maps from values to pixels
  const box = {left: 58, right: svg.clientWidth - 34, top: 8, bottom: svg.clientHeight - 22};
  box.x = v => box.left + (v - x.low) / (x.high - x.low) * (box.right - box.left);
  box.y = v => box.bottom - (v - y.low) / (y.high - y.low) * (box.bottom - box.top);
  box.step = pixel => x.low + (pixel - box.left) / (box.right - box.left) * (x.high - x.low);
  const [steps, between] = ticks(x.low, x.high, 4, whole);
  for (const v of steps) add(svg, "text", {x: box.x(v), y: box.bottom + 15, "text-anchor": "middle"}, label(v, between));
  const [levels, apart] = ticks(y.low, y.high, 5);
  for (const v of levels) {
    add(svg, "line", {class: "rule", x1: box.left, x2: box.right, y1: box.y(v), y2: box.y(v)});
    const text = y.log ? number(+(10 ** v).toPrecision(2)) : label(v, apart);
    add(svg, "text", {x: box.left - 6, y: box.y(v) + 4, "text-anchor": "end"}, text);
  }
  add(svg, "path", {class: "axis", d: `M${box.left} ${box.top}V${box.bottom}H${box.right}`});
  return box;
}

function range(values) { // {low, high} of numbers, with room around a constant
  let low = Infinity, high = -Infinity;
  for (const v of values) {
    low = Math.min(low, v);
    high = Math.max(high, v);
  }
  const room = low === high ? Math.abs(low) * .1 || .5 : 0;
  return {low: low - room, high: high + room};
}

function line(svg, box, curve, from, to, attributes) { // null lifts the pen
  let path = "", pen = "M";
  for (let k = from; k < to; k++) {
    if (curve.y[k] === null) { pen = "M"; continue; }
    path += `${pen}${box.x(curve.x[k]).toFixed(1)} ${box.y(curve.y[k]).toFixed(1)}`;
    pen = "L";
  }
  add(svg, "path", {d: path, fill: "none", stroke: color(curve.run), "stroke-width": 1.4, ...attributes});
}

function drawCurves(card, curves) {
  const svg = card.querySelector("svg");
  svg.replaceChildren();
  const scale = v => v === null || (view.log && v <= 0) ? null : view.log ? Math.log10(v) : v;
  const shown = curves.filter(c => !hidden.has(c.run)).map(c => ({...c, y: smoothed(c.y).map(scale)}));
  const values = shown.flatMap(c => c.y.filter(v => v !== null));
  const steps = shown.flatMap(c => c.bad.concat(c.x));
  if (!steps.length) return;
  const y = values.length ? range(values) : {low: 0, high: 1};
  const x = range([...steps.map(Number)]);
  if (steps.every(v => v === steps[0])) Object.assign(x, {low: steps[0] - 1, high: steps[0] + 1});
  const box = frame(svg, x, {...y, log: view.log}, steps.every(Number.isInteger));
  for (const c of shown) {
    line(svg, box, c, 0, c.own, {"stroke-dasharray": "4 3"});
    line(svg, box, c, Math.max(c.own - 1, 0), c.x.length, {});
    const none = k => (c.y[k] ?? null) === null; // a gap, or beyond the ends
    c.y.forEach((v, k) => { // dots: the fork, and points that no line reaches
      if (none(k) || !(k === c.own - 1 || none(k - 1) && none(k + 1))) return;
      add(svg, "circle", {cx: box.x(c.x[k]), cy: box.y(v), r: 3.5, fill: color(c.run)});
    });
    for (const step of c.bad) {
      const cross = add(svg, "text", {class: "warn", x: box.x(step), y: box.bottom - 2, "text-anchor": "middle"}, "×");
      add(cross, "title", {}, `${number(step)}: not a finite number`);
    }
    let next = box.left + 12 + 12 * (c.run % 7); // the run's mark, now and then, for those who do not see its colour
    for (let k = 0; shown.length > 1 && k < c.x.length; k++) {
      if (c.y[k] === null || box.x(c.x[k]) < next) continue;
      add(svg, "text", {x: box.x(c.x[k]), y: box.y(c.y[k]) + 4, "text-anchor": "middle",
        style: `fill: ${color(c.run)}`}, mark(c.run));
      next = box.x(c.x[k]) + 90;
    }
  }
  svg.onpointermove = event => read(card, shown, box.step(event.offsetX));
  svg.onpointerleave = () => card.querySelector(".read").replaceChildren();
}

function read(card, curves, step) { // the values under the pointer
  const words = [];
  for (const c of curves) {
    let k = c.x.findIndex(v => v >= step);
    if (k < 0) k = c.x.length - 1;
    if (k > 0 && step - c.x[k - 1] < c.x[k] - step) k--;
    if (c.y[k] === null) continue;
    const run = document.createElement("span");
    run.style.color = color(c.run);
    run.textContent = mark(c.run);
    words.push(run, ` ${number(c.x[k])}: ${number(view.log ? 10 ** c.y[k] : c.y[k])}  `);
  }
  card.querySelector(".read").replaceChildren(...words);
}

function drawHistograms(card, chart) { // columns of equal width, so the steps of the first and the last column say where
  const svg = card.querySelector("svg");
  svg.replaceChildren();
  const half = chart.columns > 1 ? (chart.last - chart.first) / (chart.columns - 1) / 2 : 1;
  const box = frame(svg, {low: chart.first - half, high: chart.last + half}, {low: chart.low, high: chart.high}, true);
  add(svg, "image", {href: chart.image, x: box.left, y: box.top, width: box.right - box.left,
    height: box.bottom - box.top, preserveAspectRatio: "none", style: "image-rendering: pixelated"});
}

const cards = [...document.querySelectorAll(".card")];
const wanted = () => document.getElementById("find").value.toLowerCase();

function update(card) { // show a card or not; draw it once it has been in sight
  const chart = charts[card.dataset.chart];
  const runs = Array.isArray(chart) ? chart.map(c => c.run) : [Number(card.dataset.of)];
  card.hidden = runs.every(run => hidden.has(run)) || !card.dataset.name.toLowerCase().includes(wanted());
  if (card.hidden || !chart || !card.seen) return;
  if (Array.isArray(chart)) drawCurves(card, chart);
  else drawHistograms(card, chart);
}

const sight = new IntersectionObserver(entries => {
  for (const {target, isIntersecting} of entries) {
    if (!isIntersecting || target.seen) continue;
    target.seen = true;
    update(target);
  }
});
for (const card of cards) sight.observe(card);
const updateAll = () => cards.forEach(update);

document.getElementById("find").addEventListener("input", () => {
  updateAll();
  for (const group of document.querySelectorAll("details")) {
    const found = group.querySelectorAll(".card:not([hidden])").length;
    group.hidden = !found;
    if (wanted() && found && found <= 12) group.open = true;
  }
});
document.getElementById("log")?.addEventListener("change", event => { view.log = event.target.checked; updateAll(); });
document.getElementById("smooth")?.addEventListener("input", event => { view.smooth = Number(event.target.value); updateAll(); });
for (const box of document.querySelectorAll("[data-run]")) {
  box.addEventListener("change", () => {
    if (box.checked) hidden.delete(Number(box.dataset.run));
    else hidden.add(Number(box.dataset.run));
    box.closest("tr").classList.toggle("off", !box.checked);
    updateAll();
  });
}
window.addEventListener("resize", updateAll);
