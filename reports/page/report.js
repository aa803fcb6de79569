"use strict";
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const cards = $$("details.scenario");
let parsed;
const data = () => parsed ??= JSON.parse($("#data").textContent);
const scenarioOf = element => data().scenarios[element.closest(".scenario").dataset.index];

// Filters: status, label and text, kept in the address so that a view can be shared.
const find = $("#find"), label = $("#label");
let show = "all";
const texts = new Map(cards.map(card => [card, null]));
function textOf(card) {
  let text = texts.get(card);
  if (text === null) texts.set(card, text = (card.dataset.labels + " " + card.textContent).toLowerCase());
  return text;
}
function filter() {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = label?.value ?? "";
  let left = 0;
  for (const card of cards) {
    const fits = (show === "all" || card.dataset.status === show) && (!wanted || card.dataset.labels.split(" ").includes(wanted)) &&
      words.every(word => textOf(card).includes(word));
    card.classList.toggle("hidden", !fits);
    left += fits;
  }
  $("#none").classList.toggle("hidden", left > 0);
}
find.addEventListener("input", filter);
label?.addEventListener("change", filter);
for (const button of $$("[data-show]")) {
  button.addEventListener("click", () => {
    show = button.dataset.show;
    for (const other of $$("[data-show]")) other.setAttribute("aria-pressed", String(other === button));
    filter();
  });
}
$("#open").addEventListener("click", event => {
  const open = cards.some(card => !card.open && !card.classList.contains("hidden"));
  for (const card of cards) if (!card.classList.contains("hidden")) card.open = open;
  event.target.textContent = open ? "Close all" : "Open all";
});
const theme = $("#theme");
const dark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const nameTheme = () => { theme.textContent = dark() ? "Light" : "Dark"; };
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  nameTheme();
});
nameTheme();

// Keys: / finds, j and k go from scenario to scenario.
document.addEventListener("keydown", event => {
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    event.preventDefault();
    find.focus();
  } else if (event.key === "j" || event.key === "k") {
    const seen = cards.filter(card => !card.classList.contains("hidden"));
    const at = seen.findIndex(card => card.contains(document.activeElement));
    const next = seen[Math.min(Math.max(at + (event.key === "j" ? 1 : -1), 0), seen.length - 1)];
    next && $("summary", next).focus();
  }
});
if (location.hash) {
  const card = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (card?.matches("details")) card.open = true;
}

// The slider: a moment of the world's time, or the whole run.
const seconds = s => s >= 600 ? +(s / 60).toPrecision(3) + " min" : s >= 1 || s === 0 ? +s.toPrecision(3) + " s" : +(s * 1000).toPrecision(3) + " ms";
const rate = (count, time) => time > 0 && count / time >= 1 ? +(count / time).toPrecision(3) + "/s" : count + "×";
const sum = list => list.reduce((a, b) => a + b, 0);
function moment(card, bucket) {
  const scenario = data().scenarios[card.dataset.index], timeline = scenario.timeline, whole = bucket === null;
  const cursor = $(".cursor", card), width = timeline.bucketSeconds;
  const span = Math.max(scenario.virtualSeconds, ...timeline.series.map(s => s.ok.length * width));
  const at = whole ? 0 : 100 * Math.min((bucket + 0.5) * width / span, 1);
  cursor.setAttribute("visibility", whole ? "hidden" : "visible");
  cursor.setAttribute("x1", at + "%");
  cursor.setAttribute("x2", at + "%");
  $(".whole", card).setAttribute("aria-pressed", String(whole));
  const now = timeline.series.filter(s => !whole && s.ok[bucket] + s.errors[bucket] > 0)
    .map(s => `${s.workload} ${s.ok[bucket]}${s.errors[bucket] ? ` and ${s.errors[bucket]} failed` : ""}`);
  $(".moment", card).textContent = whole ? "whole run" : `${seconds(bucket * width)} to ${seconds((bucket + 1) * width)}: ${now.join(", ") || "nobody asked"}`;
  const edges = scenario.graph?.edges ?? [];
  const time = whole ? scenario.virtualSeconds : width;
  const counts = edges.map(e => whole ? [e.count, e.bad] : [e.requests[bucket] ?? 0, e.errors[bucket] ?? 0]);
  const most = Math.max(1, ...edges.map(e => whole ? e.count : Math.max(...e.requests)));
  for (const g of $$("[data-edge]", card)) {
    const [count, failed] = counts[g.dataset.edge];
    g.classList.toggle("idle", count === 0);
    const text = $("text", g), path = g.classList.contains("edge") ? $("path", g) : null;
    if (path) {
      g.style.setProperty("--bad-share", count ? failed / count : 0);
      path.setAttribute("stroke-width", 1.2 + 4.3 * Math.sqrt(count / most));
    } else if (text) {
      text.textContent = rate(count, time) + (failed ? ` · ${+(100 * failed / count).toPrecision(3)} % bad` : "");
    }
  }
}
for (const slider of $$(".slider")) {
  const card = slider.closest(".scenario"), input = $("input", slider);
  input.addEventListener("input", () => moment(card, Number(input.value)));
  $(".whole", slider).addEventListener("click", () => moment(card, null));
}
for (const select of $$(".which")) {
  select.addEventListener("change", () => {
    for (const pair of $$("[data-pair]", select.closest(".latency"))) pair.classList.toggle("hidden", pair.dataset.pair !== select.value);
  });
}

// Downloads.
function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
$("#save").addEventListener("click", () => save("results.json", "application/json", JSON.stringify(data(), null, 2)));

const tables = {
  timeline: s => [["seconds", "workload", "answered", "failed"], ...s.timeline.series.flatMap(w => w.ok.map((n, i) => [i * s.timeline.bucketSeconds, w.workload, n, w.errors[i]]))],
  graph: s => [["seconds", "from", "to", "requests", "failed"], ...s.graph.edges.flatMap(e => e.requests.map((n, i) => [i * s.graph.bucketSeconds, e.from, e.to, n, e.errors[i]]))],
  heat: s => [["seconds", "latency_from_seconds", "calls"], ...s.heat.cells.map(([c, r, n]) => [c * s.heat.bucketSeconds, 1e-6 * 10 ** (r / s.heat.perDecade), n])],
  percentiles: (s, step) => [["percentile", "seconds"], ...["min", "p50", "p90", "p99", "p999", "max"].map(p => [p, s.steps[step].latency[p]])],
  histogram: (s, step, figure) => [["latency", "calls"], ...$$("rect title", figure).map(t => t.textContent.split(": ")).map(([range, calls]) => [range, parseInt(calls)])],
};
function csv(rows) {
  return rows.map(row => row.map(cell => /[",\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : cell).join(",")).join("\n") + "\n";
}
// standalone is a drawing with the page's colours written into it.
function standalone(svg) {
  const box = svg.getBoundingClientRect(), copy = svg.cloneNode(true);
  const from = [svg, ...$$("*", svg)], to = [copy, ...$$("*", copy)];
  const names = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "font-size", "font-weight", "font-family", "opacity", "paint-order", "visibility", "vector-effect"];
  from.forEach((element, i) => {
    const style = getComputedStyle(element);
    to[i].setAttribute("style", names.map(name => `${name}:${style.getPropertyValue(name).replaceAll('"', "'")}`).join(";"));
  });
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", Math.round(box.width));
  copy.setAttribute("height", Math.round(box.height));
  if (svg.classList.contains("graph")) {
    copy.prepend($(".defs defs").cloneNode(true));
    for (const path of $$(".edge path", copy)) path.setAttribute("marker-end", "url(#arrow)");
  }
  return new XMLSerializer().serializeToString(copy);
}
document.addEventListener("click", event => {
  const button = event.target.closest("[data-save]");
  if (!button) return;
  const figure = button.closest("figure"), scenario = scenarioOf(figure), kind = figure.dataset.kind;
  const name = `${scenario.name}-${kind}.${button.dataset.save}`;
  if (button.dataset.save === "csv") {
    save(name, "text/csv", csv(tables[kind](scenario, figure.closest("[data-step]")?.dataset.step, figure)));
  } else {
    save(name, "image/svg+xml", standalone($$("svg", figure).find(svg => svg.parentElement.closest("svg") === null && svg.getBoundingClientRect().width > 0)));
  }
});
