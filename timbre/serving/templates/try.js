"use strict";
const $ = (id) => document.getElementById(id);
const NAMES = ["prompt", "style", "strength", "diversity", "temperature", "tokens", "seed"];
const DEFAULTS = { strength: "1", diversity: "-0.1", temperature: "1", tokens: "120", seed: "" };
const KEPT = "timbre.try", MOST = 30;
const BASELINES = { sft: "SFT" };
let stopping = null, columns = [], models = [];

function headers() {
  const key = $("key").value;
  return key ? { "Content-Type": "application/json", Authorization: `Bearer ${key}` } : { "Content-Type": "application/json" };
}

async function failure(answer) {
  if (answer.status === 401) $("keyed").hidden = false;
  try { return (await answer.json()).error.message; } catch { return `the server answered ${answer.status}`; }
}

function told() {
  $("said").textContent = [...arguments].join(" ");
}

async function voices() {
  const wanted = $("style").value || new URLSearchParams(location.hash.slice(1)).get("style");
  try {
    const answer = await fetch("/v1/models", { headers: headers() });
    if (!answer.ok) return told(await failure(answer));
    models = (await answer.json()).data.map((model) => model.timbre);
    $("style").replaceChildren(...models.map((one) => new Option(`${one.style} v${one.version}`, one.style, false, one.style === wanted)));
    besides();
    told();
  } catch { told("The server does not answer."); }
}

function baseline() {
  const name = (models.find((one) => one.style === $("style").value) || {}).baseline;
  return name ? BASELINES[name] || name.replaceAll("_", " ") : null;
}

function besides() {
  const name = baseline();
  $("second").hidden = !name;
  $("baselined").textContent = name ? `beside ${name}` : "";
  $("absent").textContent = name || !$("style").value ? "" : "No column for SFT: no baseline was trained beside this version.";
}

function settings() {
  return Object.fromEntries(NAMES.map((name) => [name, $(name).value]));
}

function show() {
  for (const name of ["strength", "temperature"]) document.querySelector(`output[for=${name}]`).textContent = Number($(name).value).toFixed(1);
  const diversity = Number($("diversity").value);
  document.querySelector("output[for=diversity]").textContent = diversity < 0 ? "off" : diversity.toFixed(1);
  $("diversity").setAttribute("aria-valuetext", diversity < 0 ? "off" : diversity.toFixed(1));
}

function fill(given) {
  for (const name of NAMES) if (given[name] !== undefined && given[name] !== null) $(name).value = given[name];
  if (models.length) besides();
  show();
}

function body(given, column) {
  const asked = { prompt: given.prompt, style: given.style, max_tokens: Number(given.tokens), temperature: Number(given.temperature), stream: true, logprobs: 0 };
  if (given.seed !== "") asked.seed = Number(given.seed);
  if (column.kind === "baseline") { asked.baseline = true; return asked; }
  if (column.kind === "base") asked.strength = 0;
  else if (Number(given.strength) !== 1) asked.strength = Number(given.strength);
  if (column.kind === "voice" && Number(given.diversity) >= 0) asked.diversity = Number(given.diversity);
  return asked;
}

async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    held += value;
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
}

async function fillColumn(column, given, signal) {
  const answer = await fetch("/v1/completions", { method: "POST", headers: headers(), body: JSON.stringify(body(given, column)), signal });
  if (!answer.ok) throw new Error(await failure(answer));
  for await (const event of events(answer)) {
    if (event.error) throw new Error(event.error.message);
    column.about = event.timbre;
    const choice = event.choices[0];
    if (!choice) continue;
    column.text += choice.text;
    const told = choice.logprobs;
    if (told) told.token_logprobs.forEach((value, number) => column.tokens.push([told.text_offset[number], value]));
    if (choice.finish_reason) column.finish = choice.finish_reason;
    draw(column);
  }
}

function title(column, given) {
  if (column.kind === "base") return "The base model";
  if (column.kind === "baseline") return column.baseline;
  const version = column.about ? ` v${column.about.version}` : "";
  return `${given.style}${version}`;
}

function span(text, kind) {
  const made = document.createElement("span");
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function coloured(column) {
  const begins = column.tokens.map(([offset]) => offset);
  return column.tokens.map(([offset, logprob], number) => {
    const kind = logprob < Math.log(0.01) ? "p0" : logprob < Math.log(0.1) ? "p1" : logprob < Math.log(0.5) ? "p2" : "p3";
    const text = column.text.slice(offset, number + 1 < begins.length ? begins[number + 1] : undefined);
    const word = text.trimStart() || text;  // the space before a word would be a coloured bar at the end of a line
    const made = span(word, kind);
    made.title = `probability ${Math.exp(logprob).toPrecision(2)}`;
    return [document.createTextNode(text.slice(0, text.length - word.length)), made];
  }).flat();
}

function distant(column) {
  const parts = [];
  let done = 0;
  for (const { start, end, away } of column.away) {
    if (start > done) parts.push(document.createTextNode(column.text.slice(done, start)));
    const made = span(column.text.slice(start, end), away > 0.1 ? "p0" : away > 0.03 ? "p1" : away > 0 ? "p2" : "p3");
    made.title = away > 0 ? `nearer to the style by ${away.toFixed(2)} without these words` : `further from the style by ${(-away).toFixed(2)} without these words`;
    parts.push(made);
    done = end;
  }
  return [...parts, document.createTextNode(column.text.slice(done))];
}

async function measure(column) {
  if (column.away || !column.text.trim() || stopping) return;
  column.away = [];
  try {
    const answer = await fetch("/v1/style-distance", { method: "POST", headers: headers(), body: JSON.stringify({ style: column.given.style, text: points(column.text) }) });
    if (!answer.ok) { column.away = null; return told(await failure(answer)); }
    const found = await answer.json(), places = offsets(column.text);
    column.away = found.stretches.map((one) => ({ start: places[one.start], end: places[one.end], away: one.away }));
    column.distance = found.distance;
  } catch { column.away = null; told("The server does not answer."); }
  draw(column);
}

function points(text) { return [...text].slice(0, 8000).join(""); }

function offsets(text) {
  const places = [0];
  for (const point of text) places.push(places[places.length - 1] + point.length);
  return places;
}

function repeated(text) {
  const words = text.match(/[\p{L}\p{M}'’]+/gu) || [], counts = new Map();
  for (const word of words) counts.set(word.toLowerCase(), (counts.get(word.toLowerCase()) || 0) + 1);
  const common = (word) => [...word].length < 4 || counts.get(word.toLowerCase()) < 3;
  return text.split(/([\p{L}\p{M}'’]+)/u).map((part, number) => (number % 2 && !common(part) ? span(part, "often") : document.createTextNode(part)));
}

function draw(column) {
  const mark = document.querySelector("input[name=mark]:checked").value;
  const parts = mark === "likely" && column.tokens.length ? coloured(column) : mark === "away" && column.away && column.away.length ? distant(column) : mark === "often" ? repeated(column.text) : [document.createTextNode(column.text)];
  column.place.querySelector(".say").replaceChildren(span(column.given.prompt, "given"), ...parts);
  column.place.querySelector("h3").textContent = title(column, column.given);
  const about = column.about ? [`seed ${column.about.seed}`, ...(column.kind === "voice" ? [`bundle ${column.about.bundle.slice(0, 12)}`] : [])] : [];
  if (stopping && !column.about) about.push(column.kind === "voice" ? "waiting for the first word" : "waiting for the first word: this model is made ready when it is first asked");
  if (column.tokens.length) about.push(`${column.tokens.length} tokens`);
  if (column.finish === "length") about.push("cut at its length");
  if (column.distance !== undefined) about.push(`${column.distance.toFixed(2)} human spreads from the style`);
  column.place.querySelector("article > .note").textContent = about.join(" · ");
}

function newColumn(kind, given) {
  const place = $("answer").content.firstElementChild.cloneNode(true);
  const column = { kind, given, place, text: "", tokens: [], about: null, finish: null, baseline: kind === "baseline" ? baseline() : null };
  place.classList.toggle("ours", kind === "voice");
  place.querySelector(".say").setAttribute("aria-label", { base: "Text of the base model", baseline: `Text of ${column.baseline}`, voice: "Text of the voice" }[kind]);
  place.querySelector(".copy").addEventListener("click", (event) => copy(given.prompt + column.text, event.target));
  return column;
}

async function write() {
  if (stopping || !$("ask").reportValidity()) return;
  const given = settings();
  if (given.seed === "") given.seed = String(crypto.getRandomValues(new Uint32Array(1))[0]);
  const kinds = [...($("beside").checked ? ["base"] : []), ...(baseline() && $("baseline").checked ? ["baseline"] : []), "voice"];
  columns = kinds.map((kind) => newColumn(kind, given));
  $("texts").replaceChildren(...columns.map((column) => column.place));
  $("answers").hidden = false;
  stopping = new AbortController();
  columns.forEach(draw);
  $("write").disabled = true; $("stop").disabled = false;
  told();
  const ended = await Promise.allSettled(columns.map((column) => fillColumn(column, given, stopping.signal)));
  const wrong = [...new Set(ended.filter((one) => one.status === "rejected" && one.reason.name !== "AbortError").map((one) => one.reason.message))];
  told(...wrong);
  const written = columns.find((column) => column.kind === "voice");
  if (written.text) keep({ ...given, text: written.text, version: written.about.version });
  stopping = null;
  $("write").disabled = false; $("stop").disabled = true;
  marked();
}

function marked() {
  const mark = document.querySelector("input[name=mark]:checked").value;
  $("legend").hidden = mark !== "likely";
  $("far").hidden = mark !== "away";
  columns.forEach(draw);
  if (mark === "away") columns.forEach(measure);
}

async function copy(text, button) {
  const before = button.textContent;
  try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; } catch { button.textContent = "The browser did not allow it"; }
  setTimeout(() => { button.textContent = before; }, 1500);
}

function link(given) {
  const kept = NAMES.filter((name) => given[name] !== "" && given[name] !== DEFAULTS[name]);
  return `${location.origin}/#${new URLSearchParams(kept.map((name) => [name, given[name]]))}`;
}

function past() {
  try { const found = JSON.parse(localStorage.getItem(KEPT) || "[]"); return Array.isArray(found) ? found : []; } catch { return []; }
}

function keep(entry) {
  const all = [entry, ...past()].slice(0, MOST);
  try { localStorage.setItem(KEPT, JSON.stringify(all)); } catch { /* a browser that keeps nothing */ }
  list();
}

function list() {
  const all = past();
  $("past").hidden = all.length === 0;
  $("list").replaceChildren(...all.map((entry) => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.type = "button"; button.className = "plain";
    button.textContent = `${entry.style} v${entry.version}: ${entry.prompt}${entry.text}`.slice(0, 160);
    button.addEventListener("click", () => { fill(entry); $("prompt").focus(); });
    item.append(button);
    return item;
  }));
}

$("ask").addEventListener("submit", (event) => { event.preventDefault(); write(); });
$("ask").addEventListener("input", show);
$("stop").addEventListener("click", () => stopping && stopping.abort());
$("key").addEventListener("change", voices);
$("link").addEventListener("click", (event) => {
  const address = link(columns.length ? columns[0].given : settings());
  history.replaceState(null, "", address);
  copy(address, event.target);
});
$("forget").addEventListener("click", () => { localStorage.removeItem(KEPT); list(); });
document.querySelectorAll("input[name=mark]").forEach((one) => one.addEventListener("change", marked));
$("style").addEventListener("change", besides);
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); write(); }
  if (event.key === "Escape" && stopping) stopping.abort();
});
function fromLink() {
  fill(Object.fromEntries(new URLSearchParams(location.hash.slice(1))));
}
window.addEventListener("hashchange", fromLink);
fromLink();
list();
voices();
