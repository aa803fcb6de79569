"use strict";
const $ = id => document.getElementById(id);
const el = (tag, attributes = {}, ...children) => {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) {
    if (v === true) e.setAttribute(k, ""); else if (v !== false && v != null) e.setAttribute(k, v);
  }
  e.append(...children.filter(c => c != null));
  return e;
};
const clock = seconds => { const d = new Date(seconds * 1000); return d.toTimeString().slice(0, 8) + "." + String(d.getMilliseconds()).padStart(3, "0"); };
const took = v => v >= 1000 ? (v / 1000).toPrecision(3) + " s" : v >= 10 ? v.toFixed(0) + " ms" : v.toFixed(1) + " ms";
const ask = async (path, options) => {
  const r = await fetch(path, options);
  if (!(r.headers.get("Content-Type") || "").includes("json")) return r.ok ? r.text() : Promise.reject(new Error(await r.text()));
  const v = await r.json();
  if (!r.ok) throw new Error(v.error || r.statusText);
  return v;
};

// The theme: the system's, until somebody says otherwise.
$("theme").onclick = () => {
  const dark = getComputedStyle(document.documentElement).colorScheme.includes("dark");
  document.documentElement.dataset.theme = dark ? "light" : "dark";
};

// Views.
const views = ["traffic", "proxies", "places", "events"];
function show(view, focus) {
  for (const v of views) {
    $(v).hidden = v !== view;
    $("tab-" + v).setAttribute("aria-selected", v === view);
    $("tab-" + v).tabIndex = v === view ? 0 : -1;
  }
  if (focus) $("tab-" + view).focus();
  if (view === "places") places();
  if (view === "proxies") dump();
  if (location.hash !== "#" + view) history.replaceState(null, "", "#" + view);
}
for (const v of views) $("tab-" + v).onclick = () => show(v);
document.querySelector("nav").onkeydown = e => {
  const step = {ArrowRight: 1, ArrowLeft: -1}[e.key];
  if (!step) return;
  const now = views.findIndex(v => !$(v).hidden);
  show(views[(now + step + views.length) % views.length], true);
};

// What there is.
let mesh = {services: [], workloads: [], entrances: []};
async function places() {
  try { mesh = await ask("api/mesh"); } catch (e) { return; }
  $("title").textContent = mesh.title;
  document.title = "windtunnel: " + mesh.title;
  const name = w => w.namespace === "default" ? w.name : w.namespace + "/" + w.name;
  const names = ["ingress", "outside", ...new Set(mesh.workloads.filter(w => w.namespace !== "istio-system").map(name))];
  $("workloads").replaceChildren(...names.map(n => el("option", {value: n})));
  const proxies = mesh.workloads.filter(w => w.proxy !== "none").map(w => w.pod);
  if ([...$("proxy").options].map(o => o.value).join() !== proxies.join()) {
    const before = $("proxy").value;
    $("proxy").replaceChildren(...proxies.map(p => el("option", {value: p}, p)));
    if (proxies.includes(before)) $("proxy").value = before;
  }
  const gateway = mesh.services.find(s => s.gateway && s.hosts.length);
  if (!$("url").value) $("url").value = "http://" + (gateway ? gateway.hosts[0].replace("*.", "any.").replace("*", "any.example") : "any.example") + "/";
  const usable = a => a && !a.startsWith("invalid");
  const table = (title, head, rows) => [el("h3", {}, title), el("div", {class: "scroll card"}, el("table", {}, el("thead", {}, el("tr", {}, ...head.map(h => el("th", {}, h)))),
    el("tbody", {}, ...rows.map(r => el("tr", {}, ...r.map(c => el("td", {}, c)))))))];
  const link = (a, scheme) => usable(a) ? el("a", {href: (scheme || "http") + "://" + a + "/", target: "_blank", rel: "noreferrer"}, a) : "–";
  const many = list => list.length ? el("span", {}, ...list.flatMap((x, i) => i ? [" ", x] : [x])) : "–";
  $("places").replaceChildren(
    el("p", {}, "The gateway is at ", ...mesh.entrances.flatMap(u => [el("a", {href: u, target: "_blank", rel: "noreferrer"}, u), " "]), ". These addresses are this machine's: any program can use them."),
    ...table("Services, as clients without a sidecar call them", ["Service", "addresses", "hosts"], mesh.services.map(s => [s.namespace + "/" + s.name, many(s.ports.filter(p => usable(p.address)).map(p => link(p.address, p.port === 443 ? "https" : "http"))), s.hosts.join(", ")])),
    ...table("Pods", ["Pod", "proxy", "application, past its sidecar", "admin port of the proxy"], mesh.workloads.map(w => [w.namespace + "/" + w.pod, w.proxy, many(w.ports.map(p => link(p.address))), link(w.admin)])));
}

// Requests.
const most = 2000, shown = 200;
let rows = [], fresh = new Set(), paused = false, chosen = 0;
function matches(r) {
  if (r.second && !$("both").checked) return false;
  const text = [r.from, r.to, r.method || "TCP", r.authority + r.path, r.status, r.flags.join(","), r.pod, r.side, r.cluster, r.requestId, r.bad ? "failed" : "good"].join(" ").toLowerCase();
  return $("filter").value.toLowerCase().split(/\s+/).filter(Boolean).every(t => t.length > 1 && t[0] === "-" ? !text.includes(t.slice(1)) : text.includes(t));
}
function line(r) {
  const tr = el("tr", {tabindex: "0", "data-id": r.id, class: [r.bad ? "bad" : "", r.second ? "second" : "", fresh.has(r.id) ? "new" : ""].join(" ").trim() || null, "aria-selected": r.id === chosen ? "true" : null},
    el("td", {class: "time"}, clock(r.time)), el("td", {class: "from"}, r.from), el("td", {class: "to"}, r.to),
    el("td", {class: "what"}, r.method ? r.method + " " + r.path : "TCP " + (r.upstream || "")), el("td", {class: "num code"}, r.status ? String(r.status) : "–"),
    el("td", {class: "flags"}, r.flags.join(",")), el("td", {class: "num ms"}, r.ms >= 10 ? r.ms.toFixed(0) : r.ms.toFixed(1)));
  tr.onclick = () => choose(r.id);
  tr.onkeydown = e => { if (e.key === "Enter") choose(r.id); };
  return tr;
}
function list() {
  const focused = document.activeElement && document.activeElement.dataset.id;
  const found = [];
  for (let i = rows.length - 1; i >= 0 && found.length < shown; i--) if (matches(rows[i])) found.push(rows[i]);
  const body = document.querySelector("#requests tbody");
  body.replaceChildren(...found.map(line));
  $("none").hidden = found.length > 0;
  if (focused) { const same = body.querySelector(`[data-id="${focused}"]`); if (same) same.focus({preventScroll: true}); }
  fresh = new Set();
}
async function choose(id) {
  chosen = id;
  for (const tr of document.querySelectorAll("#requests tbody tr")) tr.dataset.id == id ? tr.setAttribute("aria-selected", "true") : tr.removeAttribute("aria-selected");
  let d;
  try { d = await ask("api/requests/" + id); } catch (e) { d = null; detail(el("p", {class: "badtext"}, e.message)); return; }
  if (chosen !== id) return;
  const r = d.row, facts = [];
  const fact = (k, v) => { if (v !== "" && v != null) facts.push(el("dt", {}, k), el("dd", {}, String(v))); };
  fact("seen by", r.pod + " (" + r.side + ")");
  fact("code", (r.status || "–") + (r.flags.length ? " " + r.flags.join(",") : "") + (r.details ? ", " + r.details : ""));
  fact("time", clock(r.time) + ", " + took(r.ms) + (r.attempts > 1 ? ", " + r.attempts + " tries" : ""));
  if (r.side !== "client") fact("came by", r.mutualTLS ? "mutual TLS" : "plain text, or TLS without a certificate of the client");
  fact("route", r.route + (r.source ? "  " + r.source : "")); fact("cluster", r.cluster); fact("to", r.upstream); fact("request id", r.requestId);
  for (const [k, v] of Object.entries(d.headers)) fact(k, v);
  const tree = d.same.length > 1 ? [el("h3", {}, "The whole request, in the order of its parts"), el("table", {}, el("tbody", {}, ...d.same.map(s => {
    const tr = el("tr", {class: s.bad ? "bad" : null}, el("td", {}, s.from + " → " + s.to), el("td", {}, s.side), el("td", {}, s.method + " " + s.path), el("td", {class: "num code"}, String(s.status || "–")), el("td", {class: "flags"}, s.flags.join(",")), el("td", {class: "num"}, took(s.ms)));
    return tr;
  })))] : [];
  detail(el("h2", {}, (r.method ? r.method + " " + r.authority + r.path : "TCP connection")), el("dl", {}, ...facts), ...tree,
    el("h3", {}, "Where it would go now"), d.error ? el("p", {class: "hint"}, d.error) : el("pre", {}, d.text));
}
function detail(...children) {
  $("detail").replaceChildren(...children, Object.assign(el("button", {class: "close", title: "Esc"}, "Close"), {onclick: close}));
  $("detail").hidden = false;
  $("detail").scrollTop = 0;
  document.querySelector(".split").classList.add("open");
}
function close() {
  chosen = 0;
  $("detail").hidden = true;
  document.querySelector(".split").classList.remove("open");
  for (const tr of document.querySelectorAll("#requests tr[aria-selected]")) tr.removeAttribute("aria-selected");
}
function move(step) {
  const all = [...document.querySelectorAll("#requests tbody tr")];
  const now = all.findIndex(tr => tr === document.activeElement || tr.dataset.id == chosen);
  const next = all[Math.min(Math.max(now + step, 0), all.length - 1)];
  if (next) { next.focus(); if (chosen) choose(Number(next.dataset.id)); }
}
$("filter").oninput = list;
$("both").onchange = list;
$("pause").onclick = () => { paused = !paused; $("pause").setAttribute("aria-pressed", paused); $("pause").textContent = paused ? "Go on" : "Pause"; if (!paused) list(); };
document.addEventListener("keydown", e => {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.key === "Escape") { if (!$("detail").hidden) close(); else document.activeElement.blur(); return; }
  if (/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) return;
  if (e.key === "/") { show("traffic"); $("filter").focus(); e.preventDefault(); }
  else if (e.key === "j" || e.key === "k") move(e.key === "j" ? 1 : -1);
  else if (e.key === "p") $("pause").click();
  else if (views[e.key - 1]) show(views[e.key - 1]);
});

// The graph and its numbers.
function draw(t) {
  $("rate").textContent = t.rate; $("bad").textContent = t.bad; $("badbox").classList.toggle("some", t.bad > 0);
  $("p50").textContent = t.calls ? took(t.p50) : "–"; $("p99").textContent = t.calls ? took(t.p99) : "–";
  const top = Math.max(1, ...t.series.map(s => s.good + s.bad)), w = 240 / t.series.length;
  $("series").innerHTML = t.series.map((s, i) => {
    const h = v => 34 * v / top, x = (i * w).toFixed(2), y = 36 - h(s.good);
    return `<rect class="base" x="${x}" y="35" width="${(w * .8).toFixed(2)}" height="1"/><rect class="good" x="${x}" y="${y.toFixed(2)}" width="${(w * .8).toFixed(2)}" height="${h(s.good).toFixed(2)}"/><rect class="bad" x="${x}" y="${(y - h(s.bad)).toFixed(2)}" width="${(w * .8).toFixed(2)}" height="${h(s.bad).toFixed(2)}"/>`;
  }).join("");
  if (paused) return;
  $("idle").hidden = t.wide !== "";
  $("idle").textContent = mesh.entrances.length ? "No calls in this time. Open " + mesh.entrances[0] + " or send some below." : "No calls in this time. Send some below.";
  for (const [id, svg] of [["wide", t.wide], ["tall", t.tall]]) if ($(id).dataset.svg !== svg) { $(id).innerHTML = svg; $(id).dataset.svg = svg; }
  $("edges").replaceChildren(...t.edges.map(e => el("tr", {class: e.bad ? "bad" : null}, el("td", {}, e.from), el("td", {}, e.to), el("td", {class: "num"}, String(e.calls)), el("td", {class: "num"}, String(e.rate)),
    el("td", {class: "num code"}, e.bad ? (100 * e.bad / e.calls).toPrecision(3) + " %" : "0"), el("td", {class: "num"}, e.p50 ? took(e.p50) : "–"), el("td", {class: "num"}, e.p99 ? took(e.p99) : "–"))));
}
// A click on a node filters the requests by its name.
$("graph").onclick = e => {
  const node = e.target.closest(".node");
  if (!node) return;
  const name = node.querySelector("title").textContent.replace(/ \(\w+\)$/, "");
  $("filter").value = $("filter").value === name ? "" : name;
  list();
};

// The stream.
let stream;
function listen() {
  if (stream) stream.close();
  rows = [];
  $("happened").replaceChildren();
  stream = new EventSource("api/events?window=" + $("window").value);
  stream.onopen = () => { $("state").textContent = "live"; $("state").className = "live"; rows = []; $("happened").replaceChildren(); places(); };
  stream.onerror = () => { $("state").textContent = "the mesh has ended, or cannot be reached"; $("state").className = "gone"; };
  stream.addEventListener("rows", e => {
    for (const r of JSON.parse(e.data)) { rows.push(r); fresh.add(r.id); }
    if (rows.length > most) rows = rows.slice(-most);
    if (!paused) list();
  });
  stream.addEventListener("traffic", e => draw(JSON.parse(e.data)));
  stream.addEventListener("events", e => {
    const all = JSON.parse(e.data);
    $("happened").prepend(...all.reverse().map(x => el("tr", {class: x.kind === "refused" ? "bad" : null}, el("td", {class: "time"}, clock(x.time)), el("td", {}, x.kind), el("td", {}, x.text))));
    while ($("happened").children.length > 500) $("happened").lastChild.remove();
    if (all.some(x => x.kind === "apply" || x.kind === "delete" || x.kind === "pod")) { clearTimeout(listen.later); listen.later = setTimeout(places, 500); }
  });
}
$("window").onchange = listen;

// Sending.
const headers = () => Object.fromEntries($("headers").value.split("\n").map(l => l.trim()).filter(Boolean).map(l => { const i = l.indexOf(":"); return i < 0 ? [l, ""] : [l.slice(0, i).trim(), l.slice(i + 1).trim()]; }));
let again;
async function send() {
  clearTimeout(again);
  try {
    const s = await ask("api/send", {method: "POST", headers: {"Content-Type": "application/json"},
      body: JSON.stringify({from: $("from").value, method: $("method").value, url: $("url").value, headers: headers(), body: $("body").value, count: Number($("count").value)})});
    $("answer").replaceChildren(el("p", {}, ...Object.entries(s.status).map(([k, n]) => el("span", {class: "pill " + (k === "error" || k >= 400 ? "bad" : "ok")}, n + " × " + k)), `median ${took(s.p50)}, p99 ${took(s.p99)}`, s.error ? el("span", {class: "badtext"}, " " + s.error) : null),
      el("pre", {tabindex: "0"}, Object.entries(s.headers).map(([k, v]) => k + ": " + v).sort().join("\n") + "\n\n" + s.body.slice(0, 4000)));
  } catch (e) { $("answer").replaceChildren(el("p", {class: "badtext"}, e.message)); }
  if ($("again").checked) again = setTimeout(send, 1000);
}
$("send").onsubmit = e => { e.preventDefault(); send(); };
$("again").onchange = () => { if (!$("again").checked) clearTimeout(again); };
$("ask").onclick = async () => {
  const q = new URLSearchParams({from: $("from").value, url: $("url").value, method: $("method").value});
  for (const [k, v] of Object.entries(headers())) q.append("header", k + ":" + v);
  try { $("answer").replaceChildren(el("pre", {tabindex: "0"}, (await ask("api/explain?" + q)).text)); }
  catch (e) { $("answer").replaceChildren(el("p", {class: "badtext"}, e.message)); }
};

// What proxies have.
let dumped = "";
async function dump() {
  const pod = $("proxy").value, part = $("part").value;
  if (!pod) return;
  try { dumped = await ask("api/proxies/" + encodeURIComponent(pod) + (part === "stats" ? "/stats" : "/config/" + part + ($("json").checked ? "?format=json" : ""))); }
  catch (e) { dumped = e.message; }
  grep();
}
function grep() {
  const want = $("grep").value.toLowerCase();
  const lines = String(dumped).split("\n");
  const head = $("part").value !== "stats" && !$("json").checked ? 1 : 0;
  $("dump").textContent = lines.filter((l, i) => i < head || l.toLowerCase().includes(want)).join("\n") || "nothing";
}
for (const id of ["proxy", "part", "json"]) $(id).onchange = dump;
$("reload").onclick = dump;
$("grep").oninput = grep;

places().then(() => { if (views.includes(location.hash.slice(1))) show(location.hash.slice(1)); });
listen();
