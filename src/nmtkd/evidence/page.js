"use strict";
// Shows what this machine measured.
// Each file of reports/machine/ calls machine(). fill() runs after all of them.
// The page itself holds no time and no rate: it is the same on every machine.

const measured = new Map(); // "KIND KEY": the facts of a file

const VALUES = {
  beam: { kind: "decoding", of: (facts) => facts.sentences_per_second?.beam },
  greedy: { kind: "decoding", of: (facts) => facts.sentences_per_second?.greedy },
  seconds: { kind: "training", of: (facts) => facts.seconds },
};

// Size of the figure in its own units, and the margins that labels need.
const SIZE = { width: 640, height: 370, left: 56, right: 24, top: 40, bottom: 48 };
const RADIUS = 5; // of a mark
const SHAPES = { // of matplotlib's markers, around 0, of radius 1
  s: "-.9,-.9 .9,-.9 .9,.9 -.9,.9",
  "^": "0,-1.1 1,.9 -1,.9",
  v: "0,1.1 1,-.9 -1,-.9",
  D: "0,-1.2 1.2,0 0,1.2 -1.2,0",
  P: "-.4,-1.1 .4,-1.1 .4,-.4 1.1,-.4 1.1,.4 .4,.4 .4,1.1 -.4,1.1 -.4,.4 -1.1,.4 -1.1,-.4 -.4,-.4",
  X: "-1.1,-.6 -.6,-1.1 0,-.5 .6,-1.1 1.1,-.6 .5,0 1.1,.6 .6,1.1 0,.5 -.6,1.1 -1.1,.6 -.5,0",
  "*": "0,-1.7 .4,-.5 1.6,-.5 .6,.2 1,1.4 0,.7 -1,1.4 -.6,.2 -1.6,-.5 -.4,-.5",
};

function machine(facts) {
  measured.set(`${facts.kind} ${facts.key}`, facts);
}

// The facts of the runs "KEY:HASH KEY:HASH" that are about these very models.
function factsOf(kind, runs) {
  return runs.split(" ").flatMap((run) => {
    const [key, model] = run.split(":");
    const facts = measured.get(`${kind} ${key}`);
    return facts && facts.model === model ? [facts] : [];
  });
}

// The mean of a value over the runs that were measured here, or null.
function mean(name, runs) {
  const { kind, of } = VALUES[name];
  const values = factsOf(kind, runs).map(of).filter(Number.isFinite);
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
}

function fill() {
  for (const cell of document.querySelectorAll("[data-value]")) {
    const value = mean(cell.dataset.value, cell.dataset.runs);
    if (value !== null) cell.textContent = value.toFixed(0);
  }
  const figure = document.getElementById("quality_and_speed");
  const data = JSON.parse(figure.querySelector("script").textContent);
  const points = data.points.flatMap((point) => ["beam", "greedy"].flatMap((search) => {
    const rate = mean(search, point.runs);
    return rate > 0 ? [{ ...point, search, rate, score: point.bleu[search] }] : [];
  }));
  if (!points.length) return;
  figure.querySelector(".plot").innerHTML = svg(points, data.axis);
  const facts = points.flatMap((point) => factsOf("decoding", point.runs));
  const machines = facts.map((fact) => named(fact.machine));
  figure.querySelector("span").textContent = `Measured on ${[...new Set(machines)].join("; ")}.`;
}

function named({ processor, device, cores }) {
  const plural = cores === 1 ? "" : "s", gpu = device === "cpu" ? "" : `, ${device}`;
  return `${processor}, ${cores} core${plural}${gpu}`;
}

function escaped(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/"/g, "&quot;");
}

// A scale from values to units, whose ends are outside the values by a share of their range.
function scale(values, start, end, share, of = (value) => value) {
  const low = Math.min(...values.map(of)), high = Math.max(...values.map(of));
  const spare = share * (high - low) || 0.5;
  return (value) => start + (end - start) * (of(value) - low + spare) / (high - low + 2 * spare);
}

// 1, 2 and 5 times powers of ten from `low` to `high`.
function logTicks(low, high) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    ticks.push(...[1, 2, 5].map((digit) => digit * 10 ** power));
  }
  return ticks.filter((tick) => tick >= low && tick <= high);
}

// About five round numbers from `low` to `high`.
function linearTicks(low, high) {
  const rough = (high - low) / 5 || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((digit) => digit * power >= rough);
  const ticks = [];
  for (let number = Math.ceil(low / step); number * step <= high; number++) ticks.push(number * step);
  return ticks.map((tick) => Number(tick.toFixed(6)));
}

function mark([colour, marker], x, y, filled) {
  const look = `fill="${filled ? escaped(colour) : "#fff"}" stroke="${escaped(colour)}" stroke-width="1.5"`;
  if (!SHAPES[marker]) return `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="${RADIUS}" ${look}/>`;
  const corners = SHAPES[marker].split(" ").map((corner) => corner.split(",").map(Number));
  const points = corners.map(([dx, dy]) => `${(x + RADIUS * dx).toFixed(1)},${(y + RADIUS * dy).toFixed(1)}`);
  return `<polygon points="${points.join(" ")}" ${look}/>`;
}

function label(text, x, y, anchor, colour = "#4a4a4a") {
  const place = `x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}"`;
  return `<text ${place} fill="${colour}">${escaped(text)}</text>`;
}

function svg(points, axis) {
  const { width, height, left, right, top, bottom } = SIZE;
  const rates = points.map((point) => point.rate), scores = points.map((point) => point.score);
  const x = scale(rates, left, width - right, 0.17, Math.log10);
  const y = scale(scores, height - bottom, top, 0.09);
  const parts = [];
  const inside = (tick) => x(tick) >= left && x(tick) <= width - right;
  for (const tick of logTicks(Math.min(...rates) / 2, Math.max(...rates) * 2).filter(inside)) {
    parts.push(`<path d="M${x(tick)} ${top}V${height - bottom}" stroke="#ebebeb"/>`);
    parts.push(label(tick, x(tick), height - bottom + 18, "middle"));
  }
  for (const tick of linearTicks(Math.min(...scores), Math.max(...scores))) {
    parts.push(`<path d="M${left} ${y(tick)}H${width - right}" stroke="#ebebeb"/>`);
    parts.push(label(tick, left - 8, y(tick) + 4, "end"));
  }
  parts.push(`<path d="M${left} ${top}V${height - bottom}H${width - right}" stroke="#8a8a8a" fill="none"/>`);
  parts.push(label("sentences a second", (left + width) / 2, height - 8, "middle", "#1b1b1b"));
  const title = label(axis, 0, 0, "middle", "#1b1b1b");
  parts.push(`<g transform="translate(14 ${height / 2}) rotate(-90)">${title}</g>`);
  for (const beam of points.filter((point) => point.search === "beam")) {
    const greedy = points.find((point) => point.search === "greedy" && point.runs === beam.runs);
    const line = greedy && `<path d="M${x(beam.rate)} ${y(beam.score)}L${x(greedy.rate)} ${y(greedy.score)}"`;
    if (line) parts.push(`${line} stroke="${escaped(beam.style[0])}" stroke-opacity=".5"/>`);
  }
  for (const { style, rate, score, search } of points) {
    parts.push(mark(style, x(rate), y(score), search === "beam"));
  }
  const students = points.filter((point) => point.method !== "teacher");
  for (const capacity of new Set(students.map((point) => point.capacity))) {
    const members = students.filter((point) => point.capacity === capacity);
    const best = members.reduce((a, b) => (b.score > a.score ? b : a));
    parts.push(label(capacity, x(best.rate) - 13, y(best.score) + 4, "end", "#1b1b1b"));
  }
  let next = left;
  for (const [method, style] of new Map(points.map((point) => [point.method, point.style]))) {
    parts.push(mark(style, next + 6, 16, true), label(method, next + 17, 20, "start", "#1b1b1b"));
    next += 40 + 7 * method.length;
  }
  const box = `viewBox="0 0 ${Math.max(width, next)} ${height}" font-size="12.5"`;
  return `<svg role="img" aria-label="Quality against speed" ${box}>${parts.join("")}</svg>`;
}

document.addEventListener("DOMContentLoaded", fill);
