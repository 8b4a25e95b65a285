// Puts what a stream says into the rows of the page. Everything is text: nothing becomes markup.
import { showAges } from "./times.js";

const SVG = "http://www.w3.org/2000/svg";
// The worst first, as in a legend. The words are those of api/pages/words.py; a test compares them.
const STATES = [
  ["configured-no-data", "no data"],
  ["stale", "stale"],
  ["delayed", "delayed"],
  ["awaiting-first-data", "awaiting first data"],
  ["healthy", "healthy"],
];
const TIMES = ["heard_at", "observed_at", "away_since"];

let rows = new Map();

export function indexRows() {
  rows = new Map();
  for (const element of document.querySelectorAll("[data-row]")) {
    const id = element.dataset.row;
    if (!rows.has(id)) rows.set(id, []);
    rows.get(id).push(element);
  }
}

export function applyRow(id, row, { quietly = false } = {}) {
  for (const element of rows.get(id) || []) {
    for (const field of fieldsOf(element, "[data-field]")) applyField(field, row);
    if (element.dataset.state !== undefined) element.dataset.state = row.state;
    element.classList.remove("gone");
    if (!quietly) flash(element);
    showAges(element);
  }
}

function applyField(field, row) {
  const name = field.dataset.field;
  if (name === "state") applyState(field, row);
  else if (name === "reason" || name === "party") {
    field.textContent = row[`${name}_name`];
    field.dataset[name] = row[name];
  } else if (TIMES.includes(name)) applyTime(field, row[name]);
  else if (name.startsWith("value:")) applyValue(field, row, name.slice(6));
  else if (name.startsWith("at:")) {
    const value = row.values[name.slice(3)];
    if (value) applyTime(field, new Date(value[1]).toISOString());
  }
}

function applyState(field, row) {
  field.dataset.state = row.state;
  field.title = row.state_name;
  const use = field.querySelector("use");
  if (use) use.setAttribute("href", `#glyph-${row.state}`);
  const word = field.querySelector(".word");
  if (word) word.textContent = row.state_name;
}

// A time that was never known is a span; it becomes a time element when it is known.
function applyTime(field, value) {
  if (!value) return;
  let time = field;
  if (!(field instanceof HTMLTimeElement)) {
    time = document.createElement("time");
    time.className = "age";
    time.dataset.age = "";
    time.dataset.field = field.dataset.field;
    field.replaceWith(time);
  }
  time.dateTime = value;
  time.title = `${value.slice(0, 19).replace("T", " ")} UTC`;
}

function applyValue(field, row, signal) {
  const value = row.values[signal];
  if (value === undefined) return;
  field.textContent = textOf(value[0], field.dataset.digits);
  field.classList.toggle("old", row.old.includes(signal));
}

// As show_rounded() in api/pages/numbers.py writes it; with one digit or none after the point.
function textOf(value, digits) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number" || digits === undefined) return String(value);
  return value.toFixed(Number(digits)).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
}

export function applyCounts(id, counts) {
  for (const element of rows.get(id) || []) {
    const fields = fieldsOf(element, "[data-count]");
    const bars = fieldsOf(element, "svg[data-bar]");
    const before = said(fields, bars);
    for (const field of fields) field.textContent = countOf(field, counts);
    for (const bar of bars) drawBar(bar, counts);
    if (said(fields, bars) !== before) flash(element);
  }
}

// What a row says now: its first counts, which repeat what the page came with, are no change.
function said(fields, bars) {
  const words = fields.map((each) => each.textContent);
  return JSON.stringify([...words, ...bars.map((each) => each.getAttribute("aria-label"))]);
}

export function applyTotal(counts) {
  for (const field of document.querySelectorAll("[data-count]")) {
    if (!field.closest("[data-row]")) field.textContent = countOf(field, counts);
  }
  for (const bar of document.querySelectorAll("svg[data-bar]")) {
    if (!bar.closest("[data-row]")) drawBar(bar, counts);
  }
}

function countOf(field, counts) {
  const state = field.dataset.count;
  if (state !== "all") return textOf(counts[state] ?? 0, 0);
  return textOf(Object.values(counts).reduce((sum, count) => sum + count, 0), 0);
}

function drawBar(bar, counts) {
  const present = STATES.filter(([state]) => counts[state]);
  const total = present.reduce((sum, [state]) => sum + counts[state], 0);
  bar.setAttribute("viewBox", `0 0 ${total || 1} 1`);
  const words = present.map(([state, word]) => `${counts[state]} ${word}`);
  bar.setAttribute("aria-label", [...words, `${total} in all`].join(", "));
  let left = 0;
  bar.replaceChildren(...present.map(([state]) => {
    const part = document.createElementNS(SVG, "rect");
    part.setAttribute("class", "part");
    part.dataset.state = state;
    for (const [name, value] of [["x", left], ["y", 0], ["width", counts[state]], ["height", 1]]) {
      part.setAttribute(name, String(value));
    }
    left += counts[state];
    return part;
  }));
}

// Marks the devices' rows for which `isGone` holds; returns whether there is one.
export function markGone(isGone) {
  let found = false;
  for (const [id, elements] of rows) {
    if (!id.includes("/") || !isGone(id)) continue;
    found = true;
    for (const element of elements) element.classList.add("gone");
  }
  return found;
}

// The fields of a row, and not those of a row inside it.
function fieldsOf(row, selector) {
  return [...row.querySelectorAll(selector)].filter((each) => each.closest("[data-row]") === row);
}

function flash(element) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  element.classList.add("changed");
  setTimeout(() => element.classList.remove("changed"), 2_000);
}
