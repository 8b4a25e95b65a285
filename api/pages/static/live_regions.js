// Fetches parts of the page anew, with their page, and puts them in place. The focus, the scrolled
// place and what was unfolded stay. At most one fetch every 15 s.
import { applyRow, indexRows } from "./live_rows.js";
import { showAges, showTimes } from "./times.js";

const EVERY_MS = 15_000;
const SPREAD_MS = 5_000;
const ALL_EVERY_MS = 300_000; // whatever the stream says

export class Regions {
  constructor(onFetched) {
    this.onFetched = onFetched;
    this.wanted = new Set();
    this.newest = new Map(); // rows that came while a fetch was under way: they may be newer
    this.fetchedAt = 0;
    this.timer = null;
    this.isFetching = false;
    setInterval(() => this.fetch([], { all: true }), ALL_EVERY_MS);
  }

  note(id, row) {
    if (this.isFetching) this.newest.set(id, row);
  }

  fetch(names, { all = false } = {}) {
    for (const name of names) this.wanted.add(name);
    if (all) {
      for (const part of document.querySelectorAll("[data-region]")) {
        this.wanted.add(part.dataset.region);
      }
    }
    if (this.wanted.size > 0 && !this.timer) {
      // The pages of a fleet are told in the same moment: they do not all come back in it.
      const wait = Math.max(0, this.fetchedAt + EVERY_MS - Date.now()) + SPREAD_MS * Math.random();
      this.timer = setTimeout(() => this.run(), wait);
    }
  }

  async run() {
    this.timer = null;
    this.fetchedAt = Date.now();
    if (document.hidden || isBusy(this.wanted)) return this.later();
    const names = [...this.wanted];
    this.wanted.clear();
    this.newest.clear();
    this.isFetching = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (answer.redirected) return location.reload(); // to the sign-in page
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const name of names) replaceRegion(name, page);
    } catch {
      for (const name of names) this.wanted.add(name);
      this.isFetching = false;
      return this.later();
    }
    this.isFetching = false;
    indexRows();
    for (const [id, row] of this.newest) applyRow(id, row, { quietly: true });
    return this.onFetched(true);
  }

  later() {
    if (!this.timer) this.timer = setTimeout(() => this.run(), EVERY_MS);
  }
}

// A part in which somebody types or chooses is left as it is, until they are done.
function isBusy(names) {
  const part = document.activeElement?.closest("[data-region]");
  const isTyping = document.activeElement?.matches("input, textarea, select");
  return Boolean(part && isTyping && names.has(part.dataset.region));
}

export function replaceRegion(name, page) {
  const selector = `[data-region="${CSS.escape(name)}"]`;
  const old = document.querySelector(selector);
  const fresh = page.querySelector(selector);
  if (!old || !fresh || old.isEqualNode(fresh)) return;
  const keep = remember(old);
  const part = document.importNode(fresh, true);
  old.replaceWith(part);
  keep(part);
  showTimes(part);
  showAges(part);
  document.dispatchEvent(new CustomEvent("lastheard:region", { detail: { name, part } }));
}

// Returns a function that gives another part the focus, the scrolled places, and what was unfolded.
function remember(old) {
  const scrolled = [...old.querySelectorAll(".scroll")].map((each) => [each.scrollLeft, each.scrollTop]);
  const open = [...old.querySelectorAll("details")].map((each) => each.open);
  const focused = old.contains(document.activeElement) ? describe(document.activeElement) : null;
  return (part) => {
    part.querySelectorAll(".scroll").forEach((each, number) => {
      [each.scrollLeft, each.scrollTop] = scrolled[number] || [0, 0];
    });
    part.querySelectorAll("details").forEach((each, number) => {
      if (open[number] !== undefined) each.open = open[number];
    });
    if (focused) find(part, focused)?.focus({ preventScroll: true });
  };
}

function describe(element) {
  return {
    id: element.id,
    tag: element.tagName,
    href: element.getAttribute("href"),
    row: element.closest("[data-row]")?.dataset.row,
  };
}

function find(part, { id, tag, href, row }) {
  if (id) return part.querySelector(`#${CSS.escape(id)}`);
  return [...part.querySelectorAll(tag)].find(
    (each) => each.getAttribute("href") === href && each.closest("[data-row]")?.dataset.row === row,
  );
}
