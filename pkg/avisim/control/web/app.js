// The page of the simulated Controller. Everything that it shows was written by clients, so text goes into the document as text
// only: el() is the one way in which elements are made.
"use strict";

const $ = (id) => document.getElementById(id);

// el makes an element. Properties that start with "on" are listeners, all others attributes; false leaves one out, but for
// "aria-", where it is a value.
function el(tag, props = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(props)) {
    if (k.startsWith("aria-")) { e.setAttribute(k, v); continue; }
    if (v === undefined || v === null || v === false) continue;
    if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else if (k === "class") e.className = v;
    else e.setAttribute(k, v === true ? "" : String(v));
  }
  e.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== ""));
  return e;
}

// Requests to the control API. An error is shown and thrown.

async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The simulator does not answer.");
  }
  if (!answer.ok) throw new Error((await answer.text()).trim() || `${answer.status}`);
  return answer;
}
const get = async (path) => (await call(path)).json();
const post = (path, body) => call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

let toastTimer;
function toast(error) {
  const t = $("toast");
  t.textContent = error.message;
  t.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (t.hidden = true), 6000);
}
const attempt = (f) => async (...args) => { try { await f(...args); } catch (e) { toast(e); } };

// refresher runs a function again if it was asked to meanwhile, and never twice at once.
function refresher(f) {
  let running = false, again = false;
  return async function run() {
    if (running) { again = true; return; }
    running = true;
    try { await f(); } catch (e) { if (live === "on") toast(e); } finally { running = false; }
    if (again) { again = false; run(); }
  };
}

// What words look like.

const health = (state) => ({ UP: "up", DOWN: "down", DISABLED: "off", UNUSED: "off" })[state] || "warn";
const badge = (state) => el("span", { class: "badge", "data-health": health(state) }, state);
// when is the one form of a point in time: 2026-11-28 14:03:07, in the reader's zone.
function when(time) {
  const t = new Date(time), two = (n) => String(n).padStart(2, "0");
  return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
}
function ago(time) {
  const s = Math.max(0, Math.round((Date.now() - new Date(time)) / 1000));
  if (s < 2) return "just now";
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ago`;
  return when(time).slice(0, 10);
}
const agoElement = (time, cls = "ago") => el("time", { class: cls, datetime: time, title: when(time) }, ago(time));
setInterval(() => document.querySelectorAll("time[datetime]").forEach((t) => { t.textContent = ago(t.getAttribute("datetime")); }), 5000);

// The tree of virtual services. Rows are kept by uuid and only made anew where something changed, so that focus and scrolling
// stay where they are.

const tree = { page: 1, open: new Set(), rows: new Map() };

const loadServices = refresher(async () => {
  const q = new URLSearchParams({ search: $("search").value, state: $("state").value, sort: $("sort").value, page: tree.page });
  const p = await get(`services?${q}`);
  tree.page = p.page;
  const settled = tree.query === `${q}`; // else all rows are new, which is no news
  tree.query = `${q}`;
  $("pages").textContent = p.matched === p.total ? `${p.total} virtual services, page ${p.page} of ${p.pages}` : `${p.matched} of ${p.total} virtual services, page ${p.page} of ${p.pages}`;
  $("prev").disabled = p.page <= 1;
  $("next").disabled = p.page >= p.pages;
  showCounts(p.total, p.counts);
  const seen = new Set(), box = $("tree");
  let at = null;
  for (const vs of p.services) {
    seen.add(vs.uuid);
    const text = JSON.stringify(vs);
    let row = tree.rows.get(vs.uuid);
    if (!row || row.text !== text) {
      const fresh = { text, state: vs.state, element: service(vs) };
      if (row) {
        if (row.state !== vs.state) fresh.element.classList.add("flash");
        const focus = row.element.contains(document.activeElement) && document.activeElement.dataset.key;
        row.element.replaceWith(fresh.element);
        if (focus) [...fresh.element.querySelectorAll("[data-key]")].find((e) => e.dataset.key === focus)?.focus();
      } else if (settled && tree.loaded) fresh.element.classList.add("flash");
      row = fresh;
      tree.rows.set(vs.uuid, row);
    }
    const next = at ? at.nextSibling : box.firstChild;
    if (next !== row.element) box.insertBefore(row.element, next);
    at = row.element;
  }
  for (const [id, row] of tree.rows) if (!seen.has(id)) { row.element.remove(); tree.rows.delete(id); }
  box.querySelector(".empty")?.remove();
  if (!p.services.length) box.append(p.total ? el("p", { class: "empty" }, "None matches.") : beginning());
  tree.loaded = p.services.length > 0;
});

// beginning says on an empty page what to do.
function beginning() {
  const host = tree.host ? `https://${tree.host}` : "the address above";
  return el("div", { class: "empty" }, el("p", {}, "No virtual services yet. They appear here as soon as a client creates them."),
    el("ul", { class: "begin" },
      el("li", {}, "Point any client of an Avi Controller at ", el("code", {}, host), ": user ", el("code", {}, "admin"), ", the password that the simulator was started with."),
      el("li", {}, "It presents a certificate of its own; ", el("a", { href: "ca", download: "avisim-ca.crt" }, "download the CA"), " for the client to trust."),
      el("li", {}, "With avi-l4-operator in a cluster: put the address into ", el("code", {}, "controllerIP"), " of ConfigMap avi-k8s-config and the CA into Secret avi-secret, then create a Service of type LoadBalancer."),
      el("li", {}, "Then break something: tab Faults, or click a server to set it down.")));
}

function service(vs) {
  const body = el("div", { class: "body", id: `vs-${vs.uuid}` });
  const fill = () => {
    if (body.childElementCount) return;
    body.append(
      part("VIPs", el("div", { class: "chips" }, vs.vips.map((v) => el("span", { class: "chip" },
        el("span", { class: "mono" }, v.addresses.join(", ") || "no address yet"),
        v.floating?.length ? el("span", { class: "sub" }, `floating ${v.floating.join(", ")}`) : "",
        v.hosts?.length ? el("span", { class: "sub" }, v.hosts.join(", ")) : ""))), vs.vips),
      part("Rules", el("div", { class: "rules" }, vs.rules.map(rule)), vs.rules),
      part("Pools", el("div", {}, vs.pools.map(pool)), vs.pools),
      part("Objects", el("div", { class: "chips" }, vs.owner ? el("span", { class: "chip", title: kubectl(vs.owner) }, `for ${vs.owner}`) : "",
        vs.objects.map((o) => el("button", { class: "button small", type: "button", "data-key": `${o.type}/${o.name}`, "data-object": o.type, onclick: attempt(() => showObject(o, vs.owner)) }, o.type, " ", el("b", {}, o.name)))), vs.objects));
  };
  const open = tree.open.has(vs.uuid);
  body.hidden = !open;
  if (open) fill();
  const up = vs.pools.reduce((n, p) => n + p.up, 0), all = vs.pools.reduce((n, p) => n + p.total, 0);
  const head = el("button", { class: "head", type: "button", "aria-expanded": open, "aria-controls": `vs-${vs.uuid}`, "data-key": "head", onclick: () => {
    const now = body.hidden;
    if (now) { fill(); tree.open.add(vs.uuid); } else tree.open.delete(vs.uuid);
    body.hidden = !now;
    head.setAttribute("aria-expanded", now);
  } },
    el("span", { class: "twist", "aria-hidden": "true" }, "▶"),
    el("span", { class: "addr" }, el("div", { class: "name", title: vs.name }, vs.name),
      el("div", { class: vs.reason && vs.state === "DOWN" ? "sub reason" : "sub", title: vs.reason || "" }, vs.reason || [vs.tenant, vs.cloud].filter(Boolean).join(" · "))),
    el("span", { class: "addr" }, el("div", { class: "mono addr" }, vs.vips.flatMap((v) => v.addresses).join(", ") || "–"), el("div", { class: "sub" }, vs.ports.length ? `port ${vs.ports.join(", ")}` : "no port")),
    el("span", {}, badge(vs.state), el("div", { class: "sub" }, `${up} of ${all} servers up`)),
    agoElement(Date.parse(vs.since) > Date.parse(vs.modified) ? vs.since : vs.modified));
  return el("article", { class: "vs", "data-health": health(vs.state), "data-name": vs.name }, head, body);
}

// kubectl is the command that shows the Kubernetes object for which something was made.
function kubectl(owner) {
  const [kind, name] = owner.split(" "), [namespace, own] = name.split("/");
  return `kubectl -n ${namespace} describe ${kind.toLowerCase()} ${own}`;
}

async function showObject(o, owner) {
  const body = await get(`object?${new URLSearchParams(o)}`);
  $("object-title").textContent = `${o.type} ${o.name}`;
  $("object-body").replaceChildren(
    el("p", { class: "sub" }, `tenant ${o.tenant}, last change ${body._last_modified ? when(Number(body._last_modified) / 1000) : "unknown"}`),
    owner ? el("p", {}, "Made for ", el("b", {}, owner), ": ", el("code", {}, kubectl(owner))) : el("p", { class: "sub" }, "No marker names a Kubernetes object."),
    body.markers?.length ? el("table", { class: "counters" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Marker"), el("th", { scope: "col" }, "Values"))),
      el("tbody", {}, body.markers.map((m) => el("tr", {}, el("td", {}, m.key), el("td", { class: "mono" }, (m.values || []).join(", ")))))) : "",
    el("pre", {}, JSON.stringify(body, null, 2)));
  $("object").showModal();
}
$("object-close").addEventListener("click", () => $("object").close());

const part = (title, content, list) => el("div", { class: "part" }, el("h3", {}, title), list.length ? content : el("span", { class: "sub" }, "none"));

function rule(r) {
  return el("div", { class: "rule" }, el("span", { class: "match", title: r.name }, r.match), el("span", { class: "arrow", "aria-label": "to" }, "→"),
    r.group ? el("span", { class: "sub" }, r.group) : "",
    r.targets.map((t) => el("span", { class: "chip" }, el("span", { class: "dot", "data-health": health(t.state), title: t.state }), t.pool, r.group ? el("span", { class: "ratio" }, `× ${t.ratio ?? 0}`) : "")),
    r.action ? el("span", { class: "sub" }, r.action) : "", !r.targets.length && !r.action ? el("span", { class: "sub" }, "no pool") : "");
}

function pool(p) {
  return el("div", { class: "pool", "data-pool": p.name }, el("header", {}, el("span", { class: "name", title: p.name }, p.name), el("span", { class: "sub" }, `${p.up} of ${p.total} up`), badge(p.state)),
    p.reason ? el("div", { class: "sub" }, p.reason) : "",
    p.servers.length ? el("div", { class: "chips" }, p.servers.map(server)) : el("span", { class: "sub" }, "no servers"));
}

function server(s) {
  const text = `${s.ip.includes(":") ? `[${s.ip}]` : s.ip}:${s.port}`, down = s.state === "DOWN";
  return el("button", { class: "server", type: "button", "data-health": health(s.state), "data-key": text, "data-server": text, "aria-pressed": down, disabled: s.state === "DISABLED",
    title: `${s.state}${s.reason ? `: ${s.reason}` : ""}. Click to set it ${down ? "up" : "down"}.`,
    onclick: attempt(() => post("server-health", { ip: s.ip, port: s.port, up: down, reason: down ? "" : "set down by hand" })) },
    el("span", { class: "dot", "data-health": health(s.state) }), text, s.state === "UP" ? "" : el("small", {}, s.state.toLowerCase()));
}

function showCounts(total, counts) {
  const up = counts.UP || 0, down = counts.DOWN || 0;
  for (const [id, n] of [["total", total], ["up", up], ["down", down], ["other", total - up - down]]) {
    $(`n-${id}`).textContent = n.toLocaleString();
    $(`n-${id}`).parentElement.classList.toggle("some", n > 0);
  }
}

let searchTimer;
function research() { tree.page = 1; clearTimeout(searchTimer); searchTimer = setTimeout(loadServices, 150); }
$("search").addEventListener("input", research);
$("state").addEventListener("change", research);
$("sort").addEventListener("change", research);
function turn(by) {
  tree.page += by;
  loadServices().then(() => scrollTo({ top: 0 }));
}
$("prev").addEventListener("click", () => turn(-1));
$("next").addEventListener("click", () => turn(1));
document.addEventListener("keydown", (e) => {
  if (e.key === "/" && !e.ctrlKey && !e.metaKey && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) { e.preventDefault(); $("search").focus(); }
});

// The request log: the last ones, new ones on top.

const shown = 300;
const log = { last: 0, entries: [], paused: false };

const loadRequests = refresher(async () => {
  if (log.paused) return;
  const fresh = await get(`requests?after=${log.last}&limit=${shown}`);
  if (!fresh.length) return;
  log.last = fresh.at(-1).id;
  log.entries = [...fresh.reverse().map((r) => ({ ...r, element: null })), ...log.entries].slice(0, shown);
  showRequests();
});

function showRequests() {
  const want = $("request-filter").value.toLowerCase(), writes = $("writes-only").checked;
  const box = $("requests"), first = box.firstElementChild;
  const visible = log.entries.filter((r) => !(writes && (r.method === "GET" || r.method === "HEAD")) && (!want || `${r.method} ${r.path}${r.query ? `?${r.query}` : ""} ${r.status} ${r.fault || ""}`.toLowerCase().includes(want)));
  const keep = new Set(visible);
  for (const r of log.entries) if (r.element && !keep.has(r)) r.element.remove();
  for (const r of visible) r.element ||= entry(r);
  if (!visible.length) { box.replaceChildren(el("li", { class: "empty" }, log.entries.length ? "None matches." : "No requests yet.")); return; }
  box.querySelector("li.empty")?.remove();
  if (first && first === visible[0].element && box.childElementCount === visible.length) return;
  let at = null;
  for (const r of visible) {
    const next = at ? at.nextSibling : box.firstChild;
    if (next !== r.element) box.insertBefore(r.element, next);
    at = r.element;
  }
  while (at?.nextSibling) at.nextSibling.remove();
}

function entry(r) {
  const detail = el("div", { class: "detail", hidden: true });
  const head = el("button", { class: "entry", type: "button", "aria-expanded": "false", onclick: () => {
    if (!detail.childElementCount) fillDetail(detail, r);
    detail.hidden = !detail.hidden;
    head.setAttribute("aria-expanded", !detail.hidden);
  } },
    el("span", { class: "method" }, r.method), el("span", { class: "path" }, r.path, r.query ? el("span", { class: "query" }, `?${r.query}`) : ""),
    el("span", { class: "status", "data-class": Math.floor(r.status / 100), title: r.status ? "" : "no answer" }, r.status || "cut"),
    el("span", { class: "ms" }, `${Math.round(r.took / 1e6).toLocaleString()} ms`),
    r.fault ? el("span", { class: "fault-mark" }, `⚡ ${r.fault}`) : "");
  return el("li", {}, head, detail);
}

function fillDetail(box, r) {
  const facts = [when(r.time), r.tenant && `tenant ${r.tenant}`, r.version && `version ${r.version}`, r.route].filter(Boolean);
  box.append(el("div", {}, facts.join(" · ")));
  for (const [title, body] of [["Request", r.body], ["Answer", r.response]]) {
    if (body !== undefined) box.append(el("div", {}, title), el("pre", {}, typeof body === "string" ? body : JSON.stringify(body, null, 2)));
  }
}

$("request-filter").addEventListener("input", showRequests);
$("writes-only").addEventListener("change", showRequests);
$("pause").addEventListener("click", (e) => {
  log.paused = !log.paused;
  e.target.setAttribute("aria-pressed", log.paused);
  e.target.textContent = log.paused ? "Resume" : "Pause";
  loadRequests();
});
$("clear-requests").addEventListener("click", attempt(async () => {
  await call("requests", { method: "DELETE" });
  log.entries = [];
  showRequests();
  loadCounters();
}));

// Faults: the active ones, and the form, which is made from the table of effects.

let effects = [];

const loadFaults = refresher(async () => {
  const list = await get("faults");
  const n = list.filter((f) => f.state !== "spent").length;
  $("n-faults").textContent = n;
  $("n-faults").parentElement.classList.toggle("some", n > 0);
  $("tab-faults").replaceChildren("Faults", ...(n ? [el("span", { class: "count" }, n)] : []));
  const box = $("faults");
  if (!list.length) { box.replaceChildren(el("p", { class: "empty" }, "No faults. The Controller behaves.")); return; }
  box.replaceChildren(
    el("div", { class: "bar end" }, el("h3", {}, "Active"), el("button", { class: "button small", type: "button", id: "clear-faults", onclick: attempt(() => call("faults", { method: "DELETE" })) }, "Clear all")),
    ...list.reverse().map((f) => {
      const c = f.fault, when = [c.method, c.type, c.route, c.objectName && `name ~ ${c.objectName}`, c.tenant && `tenant ${c.tenant}`, c.after && `after ${c.after}`,
        c.count && `${c.count} times`, c.probability && `p = ${c.probability}`, f.ends && `until ${when(f.ends)}`].filter(Boolean);
      const what = (c.effects || []).map((e) => [e.effect, ...Object.entries(e).filter(([k]) => k !== "effect").map(([k, v]) => `${k}=${v}`)].join(" ")).join("; ");
      return el("div", { class: "fault-item", "data-state": f.state }, el("code", {}, what),
        el("button", { class: "button small", type: "button", "aria-label": `Remove fault ${f.id}`, onclick: attempt(() => call(`faults/${f.id}`, { method: "DELETE" })) }, "Remove"),
        el("div", { class: "sub" }, `${c.name ? `${c.name} · ` : ""}${when.join(", ") || "always"} · ${f.state}, struck ${f.applied}×`));
    }));
});

async function loadEffects() {
  effects = await get("effects");
  const groups = Map.groupBy ? Map.groupBy(effects, (e) => e.group) : effects.reduce((m, e) => m.set(e.group, [...(m.get(e.group) || []), e]), new Map());
  $("effect").replaceChildren(...[...groups].map(([name, list]) => el("optgroup", { label: name }, list.map((e) => el("option", { value: e.name }, e.name)))));
  showEffect();
}

function showEffect() {
  const e = effects.find((x) => x.name === $("effect").value);
  $("effect-about").textContent = `${e.about[0].toUpperCase()}${e.about.slice(1)}. ` + {
    request: "Strikes each request that meets the conditions.",
    action: "Happens once for each request that meets the conditions, or at once without any.",
    state: "Holds until the fault is removed.",
  }[e.kind];
  $("params").replaceChildren(...(e.params || []).map((p) => {
    const name = `param-${p.name}`;
    const field = p.kind === "enum" || p.kind === "bool"
      ? el("select", { name }, (p.enum || ["false", "true"]).map((v) => el("option", { selected: v === p.default }, v)))
      : el("input", { name, value: p.default, placeholder: p.kind, spellcheck: "false" });
    return el("label", {}, p.name.replaceAll("_", " "), field, el("span", { class: "hint" }, p.about));
  }));
}
$("effect").addEventListener("change", showEffect);

$("fault-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target), fault = {}, effect = { effect: form.get("effect") };
  for (const k of ["name", "method", "type", "route", "objectName", "tenant", "duration"]) if (form.get(k)) fault[k] = form.get(k);
  for (const k of ["after", "count", "probability"]) if (form.get(k)) fault[k] = Number(form.get(k));
  for (const p of effects.find((x) => x.name === effect.effect).params || []) effect[p.name] = form.get(`param-${p.name}`);
  fault.effects = [effect];
  const out = $("fault-error");
  try {
    await post("faults", fault);
    out.textContent = "";
    $("pane-faults").scrollTo({ top: 0 });
  } catch (e) {
    out.textContent = e.message;
  }
});

// Changes and counters.

const loadChanges = refresher(async () => {
  const list = await get("changes?limit=100");
  $("changes").replaceChildren(...(list.length ? list.reverse().map((c) => el("li", { class: "change" },
    c.state ? el("span", { class: "dot", "data-health": health(c.state) }) : el("span", { class: "dot" }),
    el("span", {}, el("span", { class: "name" }, c.name), " ", el("span", { class: "kind" }, `${c.type} ${c.what}`), (c.fields || []).map((f) => el("div", { class: "field" }, f))), agoElement(c.time))) : [el("li", { class: "empty" }, "Nothing changed yet.")]));
});

const loadCounters = refresher(async () => {
  const list = await get("counters");
  $("n-requests").textContent = list.reduce((n, c) => n + c.count, 0).toLocaleString();
  if ($("pane-counters").hidden) return;
  $("counters").replaceChildren(...list.map((c) => el("tr", {}, el("td", { class: "method" }, c.method), el("td", { class: "mono" }, c.route),
    el("td", {}, el("span", { class: "status", "data-class": Math.floor(c.status / 100) }, c.status || "cut")), el("td", { class: "num" }, c.count.toLocaleString()))));
});

const loadStatus = refresher(async () => {
  const s = await get("status");
  tree.host = s.host;
  const fact = (name, value) => [name, " ", el("b", {}, value), " · "];
  $("facts").replaceChildren(...fact("API", `https://${s.host}`), ...fact("version", s.version), ...fact("licence", s.license), ...fact("leader", s.leader), `up since ${Number.isNaN(Date.parse(s.upSince)) ? s.upSince : when(s.upSince)}`, s.upgrade ? " · upgrading" : "");
});

// Tabs, by mouse and by arrow keys.

const tabs = [...document.querySelectorAll("[role=tab]")];
function choose(tab, focus) {
  for (const t of tabs) {
    const on = t === tab;
    t.setAttribute("aria-selected", on);
    t.tabIndex = on ? 0 : -1;
    $(t.getAttribute("aria-controls")).hidden = !on;
  }
  if (focus) tab.focus();
  if (tab.id === "tab-counters") loadCounters();
  if (tab.id === "tab-changes") loadChanges();
}
for (const t of tabs) {
  t.addEventListener("click", () => choose(t));
  t.addEventListener("keydown", (e) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (step) choose(tabs[(tabs.indexOf(t) + step + tabs.length) % tabs.length], true);
  });
}

// Light and dark.

const themes = ["system", "light", "dark"];
function theme(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  $("theme").textContent = { system: "◐ Auto", light: "☀ Light", dark: "☾ Dark" }[name];
  localStorage.setItem("theme", name);
}
theme(themes.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "system");
$("theme").addEventListener("click", () => theme(themes[(themes.indexOf(localStorage.getItem("theme")) + 1) % themes.length]));

// The stream of events: each tells what is newer than before. The browser reconnects by itself.

let live = "wait", pulse = {};
function setLive(state, text) {
  live = state;
  $("live").dataset.state = state;
  $("live").textContent = text;
}
const stream = new EventSource("events");
stream.addEventListener("open", () => { setLive("on", "live"); pulse = {}; });
stream.addEventListener("error", () => setLive("off", "reconnecting…"));
stream.addEventListener("pulse", (event) => {
  const now = JSON.parse(event.data);
  if (now.requests < (pulse.requests ?? 0) || now.requests < log.last) { log.last = 0; log.entries = []; } // another simulator
  if (now.objects !== pulse.objects || now.states !== pulse.states) loadServices();
  if (now.requests !== pulse.requests) { loadRequests(); loadCounters(); loadStatus(); }
  if (now.faults !== pulse.faults) { loadFaults(); loadStatus(); }
  if (now.changes !== pulse.changes && !$("pane-changes").hidden) loadChanges();
  pulse = now;
});

attempt(loadEffects)();
loadFaults(); loadStatus(); loadServices(); loadRequests(); loadCounters(); showRequests();
