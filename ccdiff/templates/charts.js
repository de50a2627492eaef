"use strict";
// Draws the charts of the page as SVG, finds and hides what is not wanted, and moves images through the steps. A chart is {low, high, first, last, image} for histograms, or a list of curves
// {run, own, x, y, bad}: `own` points are inherited from the parent, y is null where there is a gap, and `bad` are the
// steps whose value was not finite; a curve of another metric in the same chart has its name in `dots`.
// The frames of an image series are [step, address], in the order of their steps.
let {charts, frames, colors, marks} = JSON.parse(document.getElementById("charts").textContent);
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
  const shown = curves.filter(c => !hidden.has(c.run)).map(c => ({...c, y: (c.dots ? c.y : smoothed(c.y)).map(scale)}));
  const values = shown.flatMap(c => c.y.filter(v => v !== null));
  const steps = shown.flatMap(c => c.bad.concat(c.x));
  if (!steps.length) return;
  const y = values.length ? range(values) : {low: 0, high: 1};
  const x = range([...steps.map(Number)]);
  if (steps.every(v => v === steps[0])) Object.assign(x, {low: steps[0] - 1, high: steps[0] + 1});
  const box = frame(svg, x, {...y, log: view.log}, steps.every(Number.isInteger));
  for (const c of shown) {
    if (c.dots) line(svg, box, c, 0, c.x.length, {class: "halo"}); // it lies on a noisy curve of the same colour
    line(svg, box, c, 0, c.own, {"stroke-dasharray": "4 3"});
    line(svg, box, c, Math.max(c.own - 1, 0), c.x.length, {});
    const none = k => (c.y[k] ?? null) === null; // a gap, or beyond the ends
    c.y.forEach((v, k) => { // dots: the fork, and points that no line reaches
      if (none(k) || !(c.dots || k === c.own - 1 || none(k - 1) && none(k + 1))) return;
      add(svg, "circle", {cx: box.x(c.x[k]), cy: box.y(v), r: 3.5, fill: color(c.run)});
    });
    for (const step of c.bad) {
      const cross = add(svg, "text", {class: "warn", x: box.x(step), y: box.bottom - 2, "text-anchor": "middle"}, "×");
      add(cross, "title", {}, `${number(step)}: not a finite number`);
    }
    let next = box.left + 12 + 12 * (c.run % 7); // the run's mark, now and then, for those who do not see its colour
    for (let k = 0; shown.some(d => d.run !== c.run) && k < c.x.length; k++) {
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
    words.push(run, ` ${c.dots || ""} ${number(c.x[k])}: ${number(view.log ? 10 ** c.y[k] : c.y[k])}  `);
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

const find = document.getElementById("find");
const group = document.getElementById("group");
const content = () => document.getElementById("content");

function choose(item) { // show a card, an image or a row of numbers, or do not
  const chart = charts[item.dataset.chart];
  const named = item.dataset.of ?? item.dataset.has; // a row of settings belongs to all
  const runs = Array.isArray(chart) ? chart.map(c => c.run) : named ? named.split(" ").map(Number) : [];
  const name = item.dataset.name.toLowerCase();
  item.hidden = runs.length > 0 && runs.every(run => hidden.has(run)) || !name.includes(find.value.toLowerCase())
    || !name.startsWith(group.value.toLowerCase() && `${group.value.toLowerCase()}/`);
}

function draw(card) { // once it has been in sight, and again whenever it comes into sight after a change
  const chart = charts[card.dataset.chart];
  card.drawn = card.seen && card.querySelector("svg").clientWidth > 0;
  if (!card.drawn) return;
  if (Array.isArray(chart)) drawCurves(card, chart);
  else drawHistograms(card, chart);
}

function updateAll() {
  content().querySelectorAll("[data-name]").forEach(choose);
  for (const cell of document.querySelectorAll("[data-column]")) cell.hidden = hidden.has(Number(cell.dataset.column));
  for (const row of document.querySelectorAll("#about [data-of]")) row.hidden = hidden.has(Number(row.dataset.of));
  for (const part of content().querySelectorAll("section, details, .scroll")) {
    part.hidden = !part.querySelector("[data-name]:not([hidden])");
  }
  content().querySelectorAll(".card[data-chart]").forEach(draw);
}

function search() { // what is found is opened, if it is not too much to look at
  updateAll();
  if (!find.value && !group.value) return;
  for (const folder of content().querySelectorAll("details:not([hidden])")) {
    if (folder.querySelectorAll("[data-name]:not([hidden])").length <= 24) folder.open = true;
    else if (folder.querySelector("details")) folder.open = true;
  }
}

const sight = new IntersectionObserver(entries => {
  for (const {target, isIntersecting} of entries) {
    if (!isIntersecting || target.drawn) continue;
    target.seen = true;
    draw(target);
  }
});

function timesThatFit(image, width, height) {
  return Math.min(width / image.naturalWidth, height / image.naturalHeight);
}

function frameAt(figure, step) { // [step, address] at this step or the last one before it
  const all = frames[figure.dataset.frames];
  return all.findLast(frame => Number(frame[0]) <= step) ?? all[0];
}

function slide(slider) { // the images of a folder at the step that its slider says
  const step = slider.dataset.steps.split(" ")[slider.value];
  slider.parentNode.querySelector("output").textContent = step;
  for (const figure of slider.closest("details").querySelectorAll(":scope > .gallery > figure")) {
    const image = figure.querySelector("img");
    if (!image) continue;
    const frame = frameAt(figure, Number(step));
    [figure.querySelector(".step").textContent, image.src] = frame;
    image.alt = `${figure.dataset.name}, step ${frame[0]}`;
  }
}

function enlarge(figure) { // in the dialog, with the other steps of the same series
  const dialog = document.getElementById("big");
  const [image, words, slider] = dialog.children;
  const all = frames[figure.dataset.frames];
  slider.max = all.length - 1;
  slider.hidden = all.length < 2;
  slider.value = all.findIndex(frame => frame[0] === figure.querySelector(".step").textContent);
  image.onload = () => { image.style.width = `${image.naturalWidth * timesThatFit(image, innerWidth * .85, innerHeight * .76)}px`; };
  slider.oninput = () => {
    const [step, address] = all[slider.value];
    image.src = address;
    image.alt = words.textContent = `${figure.dataset.key}, step ${step}`;
  };
  slider.oninput();
  dialog.onclick = event => event.target === slider || dialog.close();
  dialog.showModal();
}

function watch() { // what has to be done for every card and image that is new
  for (const card of content().querySelectorAll(".card[data-chart]")) sight.observe(card);
  for (const image of content().querySelectorAll(".shot img")) {
    const room = image.closest(".small") ? [112, 112] : [Math.min(420, innerWidth - 40), 620];
    image.onload = () => { // by a whole number, if it can be larger than it is
      const times = timesThatFit(image, ...room);
      image.style.width = `${image.naturalWidth * (times > 1 ? Math.floor(times) : times)}px`;
    };
    if (image.complete) image.onload();
  }
  for (const box of document.querySelectorAll("[data-run]")) {
    box.checked = !hidden.has(Number(box.dataset.run));
    box.closest("tr").classList.toggle("off", !box.checked);
  }
  updateAll();
}

function renew(page) { // a newer one of this page: what is open, hidden, drawn and chosen stays as it is
  const fresh = page.getElementById("content");
  ({charts, frames} = JSON.parse(page.getElementById("charts").textContent));
  for (const folder of fresh.querySelectorAll("details")) {
    const old = content().querySelector(`[data-folder="${CSS.escape(folder.dataset.folder)}"]`);
    if (!old) continue;
    folder.open = old.open;
    const [slider, before] = [folder, old].map(f => f.querySelector(":scope > .slider input"));
    if (!slider || !before || before.value === before.max) continue; // at the end it follows the run
    slider.value = Math.max(0, slider.dataset.steps.split(" ").indexOf(before.dataset.steps.split(" ")[before.value]));
  }
  const known = new Map([...content().querySelectorAll(".card[data-chart]")].map(card => [card.dataset.key, card]));
  for (const card of fresh.querySelectorAll(".card[data-chart]")) {
    const old = known.get(card.dataset.key);
    if (!old) continue;
    old.dataset.chart = card.dataset.chart;
    card.replaceWith(old);
  }
  content().replaceWith(fresh);
  document.getElementById("about").replaceWith(page.getElementById("about"));
  const chosen = group.value;
  group.replaceChildren(...page.getElementById("group").children);
  group.value = chosen;
  fresh.querySelectorAll(".slider input").forEach(slide);
  watch();
}

document.addEventListener("input", event => {
  if (event.target === find || event.target === group) search();
  else if (event.target.id === "smooth") { view.smooth = Number(event.target.value); updateAll(); }
  else if (event.target.dataset.steps) slide(event.target);
});
document.addEventListener("change", event => {
  if (event.target.id === "log") view.log = event.target.checked;
  else if (!event.target.dataset.run) return;
  else if (event.target.checked) hidden.delete(Number(event.target.dataset.run));
  else hidden.add(Number(event.target.dataset.run));
  watch();
});
document.addEventListener("click", event => {
  const shot = event.target.closest(".shot");
  const wide = event.target.closest(".wide");
  if (shot) enlarge(shot.parentNode);
  if (!wide) return;
  wide.closest(".card").classList.toggle("large");
  draw(wide.closest(".card"));
});
window.addEventListener("resize", watch);
watch();
