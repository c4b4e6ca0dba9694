
"use strict";
// All text comes in by textContent: whatever a build cache holds stays text.
const all = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
function make(tag, text, attributes) {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  return node;
}
function fill(node, ...children) { node.replaceChildren(...children); return node; }

const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
function size(bytes) {
  let n = Math.max(0, bytes), unit = 0;
  while (n >= 1024 && unit < units.length - 1) { n /= 1024; unit++; }
  return (unit === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)) + " " + units[unit];
}
const number = (n) => n.toLocaleString("en");
const date = (day) => new Date(day * 864e5).toISOString().slice(0, 10);
const count = (n, one) => number(n) + " " + one + (n === 1 ? "" : "s");

const fates = ["not known", "stays", "would be condemned", "kept by the brake", "condemned, waits", "condemned, is held", "goes with the next prune"];
const fateColours = ["unknown", "live", "condemn", "live", "condemn", "condemn", "due"];
const ages = [["up to a week", 7], ["up to 30 days", 30], ["up to 90 days", 90], ["up to a year", 365], ["older", Infinity]];
const most = 400; // of rectangles and rows at a time; what is smaller is one together

let data, specs, today, view, colour = "state";

const label = (i) => (specs.package[i] >= 0 ? data.picture.packages[specs.package[i]] : "") +
  "@" + data.picture.versions[specs.version[i]] + "/" + specs.hash[i].slice(0, 7);
const ageClass = (i) => ages.findIndex(([, days]) => today - specs.uploaded[i] < days || days === Infinity);

function show(at) {
  data = all.mirrors[at];
  specs = data.picture;
  today = Math.floor(Date.parse(data.made) / 864e5);
  view = { package: -1, version: -1 };
  byId("mirror").textContent = data.mirror;
  byId("made").textContent = "As it was on " + data.made.slice(0, 16).replace("T", " ") + " UTC";
  for (const [i, button] of [...byId("mirrors").children].entries()) {
    if (i === at) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
  }
  byId("notes").hidden = !data.notes.length;
  fill(byId("notes"), ...data.notes.map((note) => make("li", note)));
  totals(); map(); drawAges(); drawGrowth(); goes(); builds(); packages(); search();
}

function totals() {
  const tile = (name, t, more) => {
    const div = make("div");
    div.append(make("span", name), make("b", size(t.bytes)), make("span", count(t.specs, "spec") + (more || "")));
    return div;
  };
  const tiles = [tile("in the build cache", data.totals, ", " + count(data.totals.objects, "object"))];
  if (data.condemned) tiles.push(tile("condemned, or would be", data.condemned), tile("goes with the next prune", data.due));
  fill(byId("totals"), ...tiles);
}

// grouped sums specs by a key, the biggest first.
function grouped(list, key) {
  const groups = new Map();
  for (const i of list) {
    const k = key(i);
    let g = groups.get(k);
    if (!g) groups.set(k, g = { key: k, bytes: 0, specs: [] });
    g.bytes += specs.bytes[i];
    g.specs.push(i);
  }
  return [...groups.values()].sort((a, b) => b.bytes - a.bytes || (a.key < b.key ? -1 : 1));
}

function present() {
  const list = [];
  for (let i = 0; i < specs.bytes.length; i++) if (specs.bytes[i] >= 0) list.push(i);
  return list;
}

// inView returns the rectangles of what is shown: packages, versions of one, or specs of one.
function inView() {
  let list = present();
  if (view.package < 0) {
    return grouped(list, (i) => specs.package[i]).map((g) => ({ ...g, name: data.picture.packages[g.key] || "(no name)", open: () => go({ package: g.key, version: -1 }) }));
  }
  list = list.filter((i) => specs.package[i] === view.package);
  if (view.version < 0) {
    return grouped(list, (i) => specs.version[i]).map((g) => ({ ...g, name: "@" + data.picture.versions[g.key], open: () => go({ package: view.package, version: g.key }) }));
  }
  list = list.filter((i) => specs.version[i] === view.version);
  return grouped(list, (i) => i).map((g) => ({ ...g, name: "/" + specs.hash[g.key].slice(0, 7), open: () => detail(g.key, true) }));
}

function go(to) { view = to; map(); const first = byId("map").querySelector("button"); if (first) first.focus(); }

// squarify lays out areas in a rectangle, each as near to a square as it gets.
function squarify(items, x, y, w, h, place) {
  let total = items.reduce((sum, item) => sum + item.area, 0);
  let from = 0;
  while (from < items.length && total > 0) {
    const side = Math.min(w, h), scale = (w * h) / total;
    let sum = 0, worst = Infinity, to = from;
    while (to < items.length) {
      const next = sum + items[to].area * scale;
      const big = items[from].area * scale, small = items[to].area * scale;
      const ratio = Math.max((side * side * big) / (next * next), (next * next) / (side * side * small));
      if (ratio > worst) break;
      worst = ratio; sum = next; to++;
    }
    const thick = sum / side;
    let along = 0;
    for (let i = from; i < to; i++) {
      const long = (items[i].area * scale) / thick;
      if (w >= h) place(items[i], x, y + along, thick, long); else place(items[i], x + along, y, long, thick);
      along += long;
      total -= items[i].area;
    }
    if (w >= h) { x += thick; w -= thick; } else { y += thick; h -= thick; }
    from = to;
  }
}

function colourOf(group) {
  const sums = new Map();
  for (const i of group.specs) {
    const c = colour === "age" ? "age" + (ageClass(i) + 1) : fateColours[specs.state[i]];
    sums.set(c, (sums.get(c) || 0) + specs.bytes[i] + 1);
  }
  // Shares of a mixture stand beside each other, the biggest first.
  const parts = [...sums.entries()].sort((a, b) => b[1] - a[1]), all = parts.reduce((sum, p) => sum + p[1], 0);
  if (parts.length === 1) return "var(--" + parts[0][0] + ")";
  let from = 0;
  const stops = parts.map(([c, bytes]) => {
    const to = from + (100 * bytes) / all, stop = `var(--${c}) ${from}% ${to}%`;
    from = to;
    return stop;
  });
  return "linear-gradient(to right, " + stops.join(", ") + ")";
}

function map() {
  const box = byId("map"), items = inView();
  const shown = items.slice(0, most), rest = items.slice(most);
  if (rest.length) {
    shown.push({ name: count(rest.length, "smaller one"), bytes: rest.reduce((s, g) => s + g.bytes, 0), specs: rest.flatMap((g) => g.specs), open: () => byId("search").focus() });
  }
  for (const item of shown) item.area = Math.max(item.bytes, 1);
  shown.sort((a, b) => b.area - a.area);
  const nodes = [], w = box.clientWidth || 1000, h = box.clientHeight || 500;
  squarify(shown, 0, 0, w, h, (item, x, y, wide, high) => {
    const text = item.name + ", " + size(item.bytes) + ", " + count(item.specs.length, "spec");
    const button = make("button", null, { type: "button", title: text, "aria-label": text });
    Object.assign(button.style, { left: x + "px", top: y + "px", width: Math.max(1, wide) + "px", height: Math.max(1, high) + "px", background: colourOf(item) });
    if (wide > 40 && high > 18) {
      button.append(make("b", item.name));
      if (high > 36) button.append(make("span", size(item.bytes)));
    } else { button.style.padding = "0"; }
    button.addEventListener("click", item.open);
    nodes.push(button);
  });
  fill(box, ...nodes);
  for (const [i, node] of nodes.entries()) node.tabIndex = i ? -1 : 0;
  crumbs();
  legend();
}

function crumbs() {
  const path = byId("path");
  const crumb = (text, to) => { const b = make("button", text, { type: "button" }); b.addEventListener("click", () => go(to)); return b; };
  const parts = [crumb("all packages", { package: -1, version: -1 })];
  if (view.package >= 0) parts.push(crumb(data.picture.packages[view.package], { package: view.package, version: -1 }));
  if (view.version >= 0) parts.push(crumb("@" + data.picture.versions[view.version], { ...view }));
  fill(path, ...parts.flatMap((p, i) => (i ? [" › ", p] : [p])));
}

function legend() {
  const row = (name, c) => { const li = make("li"); const i = make("i"); i.style.background = "var(--" + c + ")"; li.append(i, name); return li; };
  if (colour === "age") return fill(byId("legend"), ...ages.map(([name], i) => row(name, "age" + (i + 1))));
  if (!data.condemned) return fill(byId("legend"), row("it is not known what becomes of it", "unknown"));
  return fill(byId("legend"), row("stays", "live"), row("condemned, or would be", "condemn"), row("goes with the next prune", "due"));
}

byId("map").addEventListener("keydown", (event) => {
  const list = [...byId("map").children], at = list.indexOf(document.activeElement);
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -at, End: list.length - 1 - at }[event.key];
  if (step !== undefined && at >= 0) {
    const next = list[Math.min(list.length - 1, Math.max(0, at + step))];
    next.focus();
    event.preventDefault();
  }
  if (event.key === "Backspace" || event.key === "Escape") {
    if (view.version >= 0) go({ package: view.package, version: -1 });
    else if (view.package >= 0) go({ package: -1, version: -1 });
    event.preventDefault();
  }
});

function table(header, rows, classes) {
  const t = make("table"), tr = make("tr");
  header.forEach((h, i) => tr.append(make("th", h, { scope: "col", class: classes[i] || "" })));
  const head = make("thead"), body = make("tbody");
  head.append(tr);
  for (const row of rows) {
    const line = make("tr");
    row.forEach((cell, i) => {
      const td = make("td", cell instanceof Node ? null : cell, { class: classes[i] || "" });
      if (cell instanceof Node) td.append(cell);
      line.append(td);
    });
    body.append(line);
  }
  t.append(head, body);
  const scroll = make("div", null, { class: "scroll" });
  scroll.append(t);
  return scroll;
}

function meter(part, whole) {
  const m = make("span", null, { class: "meter", "aria-hidden": "true" });
  m.hidden = part <= 0;
  m.style.width = (whole > 0 ? (100 * part) / whole : 0) + "%";
  return m;
}

function drawAges() {
  const sums = ages.map(([name]) => ({ name, bytes: 0, specs: 0 }));
  for (const i of present()) { const s = sums[ageClass(i)]; s.bytes += specs.bytes[i]; s.specs++; }
  const biggest = Math.max(1, ...sums.map((s) => s.bytes));
  fill(byId("ages"), table(["uploaded", "", "size", "specs"], sums.map((s) => [s.name, meter(s.bytes, biggest), size(s.bytes), number(s.specs)]), ["", "m", "n", "n"]));
}

const svgNames = "http://www.w3.org/2000/svg";
function svg(tag, attributes, text) {
  const node = document.createElementNS(svgNames, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// drawGrowth draws the sizes that past runs saw or, where there are none, what has been uploaded and
// is still there.
function drawGrowth() {
  let points = data.runs.map((r) => [Date.parse(r.made) / 864e5, r.bytes]), what = "size in " + count(data.runs.length, "run") + " on this machine";
  if (points.length < 2) {
    const byDay = new Map();
    for (const i of present()) byDay.set(specs.uploaded[i], (byDay.get(specs.uploaded[i]) || 0) + specs.bytes[i]);
    let sum = 0;
    points = [...byDay.entries()].sort((a, b) => a[0] - b[0]).map(([day, bytes]) => [day, (sum += bytes)]);
    what = "what is there, by the day of its upload (no past runs are known here)";
  }
  if (points.length < 2) return fill(byId("growth"), make("p", "There is nothing to compare yet.", { class: "faint" }));
  const [w, h, left, below] = [560, 220, 70, 24];
  const t0 = points[0][0], t1 = points[points.length - 1][0], top = Math.max(1, ...points.map((p) => p[1]));
  const x = (t) => left + ((w - left - 10) * (t - t0)) / Math.max(1e-9, t1 - t0), y = (b) => h - below - ((h - below - 14) * b) / top;
  const line = points.map((p) => x(p[0]).toFixed(1) + " " + y(p[1]).toFixed(1)).join(" L");
  const chart = svg("svg", { viewBox: `0 0 ${w} ${h}`, role: "img", "aria-label": what + ": from " + size(points[0][1]) + " to " + size(points[points.length - 1][1]) });
  for (const part of [0, 0.5, 1]) {
    chart.append(svg("line", { class: "axis", x1: left, x2: w - 10, y1: y(top * part), y2: y(top * part) }));
    chart.append(svg("text", { x: left - 8, y: y(top * part) + 4, "text-anchor": "end" }, size(top * part)));
  }
  chart.append(svg("path", { class: "area", d: `M${x(t0)} ${y(0)} L${line} L${x(t1)} ${y(0)}Z` }), svg("path", { class: "run", d: "M" + line }));
  if (points.length <= 60) for (const p of points) chart.append(svg("circle", { class: "dot", cx: x(p[0]), cy: y(p[1]), r: 3 }));
  chart.append(svg("text", { x: left, y: h - 6 }, date(t0)), svg("text", { x: w - 10, y: h - 6, "text-anchor": "end" }, date(t1)));
  fill(byId("growth"), chart, make("p", what, { class: "faint" }));
}

function goes() {
  if (!data.condemned) return fill(byId("goes"), make("p", "It is not known what must stay: give lockfiles or images.", { class: "faint" }));
  const going = present().filter((i) => ![0, 1, 3].includes(specs.state[i]));
  if (!going.length) return fill(byId("goes"), make("p", "Nothing is condemned.", { class: "faint" }));
  going.sort((a, b) => specs.due[a] - specs.due[b] || specs.bytes[b] - specs.bytes[a]);
  const rows = going.slice(0, most).map((i) => {
    const link = make("button", label(i), { type: "button", class: "link" });
    link.addEventListener("click", () => detail(i, true));
    return [specs.due[i] ? date(specs.due[i]) : "", link, fates[specs.state[i]], why(i), size(specs.bytes[i])];
  });
  const list = table(["from", "spec", "state", "because", "size"], rows, ["d", "w", "", "w", "n"]);
  list.classList.add("long");
  const parts = [list];
  if (going.length > most) parts.push(make("p", "… and " + number(going.length - most) + " more: search for them above.", { class: "faint" }));
  fill(byId("goes"), ...parts);
}

function why(i) {
  const rule = data.picture.rules[specs.rule[i]];
  if (specs.state[i] > 1 && specs.from[i]) return "it needs " + label(specs.from[i] - 1) + ", which goes";
  return rule;
}

// builds says of each container which packages are not cached, and what they miss for.
function builds() {
  const b = data.builds, faint = (text) => make("p", text, { class: "faint" });
  if (!b) return fill(byId("builds"), faint("It is not known what is installed: give lockfiles or images."));
  if (b.problem) return fill(byId("builds"), make("p", "It cannot be said: " + b.problem));
  const parts = (b.built || []).map((c, at) => {
    const box = make("details", null, { class: "container" }), head = make("summary");
    box.open = at < 3;
    head.append(make("b", c.names.join(", ") + (c.more_names ? " and " + number(c.more_names) + " more" : "")), " ",
      make("span", count(c.missing, "package") + " would be built, " + number(c.cached) + (c.cached === 1 ? " is" : " are") + " cached", { class: "faint" }));
    const list = make("ul");
    for (const cause of c.causes) {
      const li = make("li", cause.text), more = make("details");
      more.append(make("summary", "what differs"));
      if (cause.differences.some((d) => d.wanted || d.cached)) {
        more.append(table(["", "wanted", "cached"], cause.differences.map((d) => [d.what, d.wanted || "none", d.cached || "none"]), ["w", "w", "w"]));
      }
      more.append(table(["spec", "nearest that is cached"], cause.specs.map(([spec, nearest]) => [spec, nearest || "none"]), ["w", "w"]));
      li.append(more);
      list.append(li);
    }
    if (c.more_causes) list.append(make("li", "… and " + count(c.more_causes, "cause") + " more: see containers:why-miss", { class: "faint" }));
    box.append(head, list);
    return box;
  });
  if (b.more) parts.push(faint("… and " + count(b.more, "container") + " more of which less would be built."));
  if (b.whole) parts.push(make("p", (parts.length ? count(b.whole, "other lockfile") : count(b.whole, "lockfile")) + (b.whole === 1 ? ": all of its" : ": all of their") + " packages are cached, so that nothing would be built."));
  if (b.elsewhere) parts.push(faint(count(b.elsewhere, "lockfile") + " of other platforms, which have another build cache."));
  fill(byId("builds"), ...parts);
}

function packages() {
  const groups = grouped(present(), (i) => specs.package[i]), biggest = groups.length ? groups[0].bytes : 1;
  const rows = groups.slice(0, 25).map((g) => {
    const versions = new Set(g.specs.map((i) => specs.version[i])).size;
    let newest = 0;
    for (const i of g.specs) newest = Math.max(newest, specs.uploaded[i]);
    return [data.picture.packages[g.key], meter(g.bytes, biggest), size(g.bytes), number(g.specs.length), number(versions), date(newest)];
  });
  fill(byId("packages"), table(["package", "", "size", "specs", "versions", "newest"], rows, ["w", "m", "n", "n", "n", "n"]));
}

function search() {
  const text = byId("search").value.trim().toLowerCase().replace(/^\//, "");
  byId("detail").hidden = true;
  if (!text) { byId("found").textContent = ""; return fill(byId("results")); }
  const found = [];
  for (let i = 0; i < specs.hash.length; i++) {
    if (label(i).toLowerCase().includes(text) || specs.hash[i].startsWith(text)) found.push(i);
  }
  found.sort((a, b) => specs.bytes[b] - specs.bytes[a]);
  byId("found").textContent = found.length ? count(found.length, "spec") + (found.length > 50 ? ", the 50 biggest of them:" : "") : "Nothing is called so.";
  fill(byId("results"), ...found.slice(0, 50).map((i) => {
    const li = make("li"), button = make("button", label(i) + " · " + (specs.bytes[i] < 0 ? "not in the cache" : size(specs.bytes[i])) + " · " + fates[specs.state[i]], { type: "button" });
    button.addEventListener("click", () => detail(i, true));
    li.append(button);
    return li;
  }));
  if (found.length === 1) detail(found[0], false);
}

// detail tells all about a spec: the chain that keeps it, or when it goes, and what it keeps itself.
function detail(i, focus) {
  const box = byId("detail"), parts = [make("h3", label(i).replace(/\/.*/, "") + "/" + specs.hash[i])];
  const facts = [specs.bytes[i] < 0 ? "not in the cache" : size(specs.bytes[i]) + ", uploaded " + date(specs.uploaded[i]), fates[specs.state[i]]];
  if (specs.due[i]) facts.push("it goes from " + date(specs.due[i]) + " on");
  parts.push(make("p", facts.join(" · ")));
  if (specs.state[i] === 1) {
    const chain = [], seen = new Set();
    for (let at = i; at >= 0 && !seen.has(at); at = specs.from[at] - 1) { seen.add(at); chain.unshift(at); }
    const list = make("ol", null, { id: "chain" });
    list.append(make("li", data.picture.rules[specs.rule[chain[0]]]), ...chain.map((at) => make("li", label(at))));
    parts.push(make("p", "What keeps it:"), list);
  } else if (specs.state[i] > 1) {
    parts.push(make("p", "Because: " + why(i)));
  }
  const kept = [];
  for (let at = 0; at < specs.from.length; at++) if (specs.state[at] === 1 && specs.from[at] === i + 1) kept.push(at);
  if (kept.length) parts.push(make("p", "By it stay: " + kept.slice(0, 30).map(label).join(", ") + (kept.length > 30 ? " … (" + number(kept.length) + ")" : "")));
  fill(box, ...parts);
  box.hidden = false;
  if (focus) { box.focus(); box.scrollIntoView({ block: "nearest" }); }
}

for (const radio of document.querySelectorAll("input[name=colour]")) {
  radio.addEventListener("change", () => { colour = radio.value; map(); });
}
let typed;
byId("search").addEventListener("input", () => { clearTimeout(typed); typed = setTimeout(search, 120); });
let resized;
window.addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(map, 150); });
if (all.mirrors.length > 1) {
  byId("mirrors").hidden = false;
  all.mirrors.forEach((m, i) => { const b = make("button", m.mirror, { type: "button" }); b.addEventListener("click", () => show(i)); byId("mirrors").append(b); });
}
show(0);
document.body.dataset.drawn = "yes";
