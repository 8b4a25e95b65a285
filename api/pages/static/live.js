// Keeps a page true by server-sent events. docs/pages.md says what the attributes mean.
//
// A stream is open only while its tab is seen: browsers allow six connections to a host over
// HTTP/1.1, all tabs together. Of the windows that are seen at once, four have a stream. The others,
// and a page whose stream is refused, reload themselves every minute.
import { applyCounts, applyRow, applyTotal, indexRows, markGone } from "./live_rows.js";
import { Regions } from "./live_regions.js";

const RELOAD_MS = 60_000;
const QUIET_MS = 45_000; // the server sends a sign of life every 15 s
const HIDDEN_MS = 10_000;
const WAITS_MS = [1_000, 3_000, 10_000, 30_000, 60_000]; // before the next try
const STREAMS = 4;
const MAX_ROWS = 400;
const MAX_ROWS_TEXT = 6_000; // characters of the address

export function startLive(address) {
  const page = new LivePage(address);
  page.start();
  return page;
}

class LivePage {
  constructor(address) {
    this.address = address;
    this.lastId = "";
    this.failures = 0;
    this.source = null;
    this.giveLockBack = null;
    this.received = null; // rows since a document with `reset` began
    this.regions = new Regions((fetched) => this.afterRegions(fetched));
    this.sign = document.querySelector("[data-live-state]");
    if (this.sign) {
      this.sign.hidden = false;
      this.sign.setAttribute("role", "status");
    }
  }

  start() {
    indexRows();
    document.addEventListener("visibilitychange", () => this.onVisibility());
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", (event) => { if (event.persisted) this.connect(); });
    setInterval(() => this.watchdog(), 5_000);
    this.say("connecting", "connecting");
    this.connect();
  }

  async connect() {
    if (this.source || this.isConnecting || document.hidden) return;
    this.isConnecting = true;
    const hasRoom = "EventSource" in window && await this.takeLock();
    this.isConnecting = false;
    if (!hasRoom) return this.reloadEachMinute();
    this.heardAt = Date.now();
    const source = this.source = new EventSource(this.fullAddress());
    source.addEventListener("change", (event) => this.onChange(event));
    source.addEventListener("beat", (event) => this.onBeat(JSON.parse(event.data)));
    source.addEventListener("ending", () => { this.close(); this.tryAgain(); });
    source.addEventListener("signed-out", () => location.reload());
    source.addEventListener("error", () => this.onError(source));
  }

  // The devices that the page shows, for the address of the stream. Empty: too many, or none.
  rowsText() {
    const ids = new Set();
    for (const row of document.querySelectorAll("[data-row*='/']")) ids.add(row.dataset.row);
    const text = new URLSearchParams([...ids].map((id) => ["row", id])).toString();
    return ids.size <= MAX_ROWS && text.length < MAX_ROWS_TEXT ? text : "";
  }

  fullAddress() {
    this.openedAs = this.rowsText();
    const query = new URLSearchParams(this.openedAs);
    if (this.lastId) query.set("last", this.lastId);
    const all = query.toString();
    return all ? `${this.address}?${all}` : this.address;
  }

  // One of four locks of this browser; true at once where there are no locks.
  async takeLock() {
    if (this.giveLockBack || !navigator.locks) return true;
    for (let number = 0; number < STREAMS; number += 1) {
      const got = await new Promise((resolve) => {
        navigator.locks.request(`lastheard-live-${number}`, { ifAvailable: true }, (lock) => {
          resolve(Boolean(lock));
          if (!lock) return undefined;
          return new Promise((giveBack) => { this.giveLockBack = giveBack; });
        }).catch(() => resolve(false));
      });
      if (got) return true;
    }
    return false;
  }

  close() {
    if (this.source) this.source.close();
    this.source = null;
    if (this.giveLockBack) this.giveLockBack();
    this.giveLockBack = null;
  }

  onChange(event) {
    const document_ = JSON.parse(event.data);
    if (event.lastEventId) this.lastId = event.lastEventId;
    this.heard();
    if (document_.reset) this.received = new Set();
    for (const [id, row] of Object.entries(document_.rows)) {
      if (this.received) this.received.add(id);
      this.regions.note(id, row);
      applyRow(id, row, { quietly: Boolean(this.received) });
    }
    for (const [id, counts] of Object.entries(document_.counts || {})) applyCounts(id, counts);
    if (document_.total) applyTotal(document_.total);
    if (document_.more) return;
    const gone = this.received ? markGone((id) => !this.received.has(id)) : false;
    this.received = null;
    const named = new Set(document_.gone || []);
    if (named.size > 0) markGone((id) => named.has(id));
    this.regions.fetch(document_.regions || [], { all: gone });
    if (document_.not_live) this.reloadEachMinute();
  }

  onBeat({ at, behind }) {
    if (behind) this.say("away", `behind since ${clockText(new Date(at))}`);
    else this.heard();
  }

  heard() {
    this.heardAt = Date.now();
    this.failures = 0;
    if (!this.reloadTimer) this.say("live", "live");
  }

  onError(source) {
    if (source !== this.source) return;
    this.sayAway();
    if (source.readyState !== EventSource.CLOSED) return; // the browser comes back by itself
    this.close();
    this.tryAgain();
  }

  tryAgain() {
    const wait = WAITS_MS[Math.min(this.failures, WAITS_MS.length - 1)];
    this.failures += 1;
    if (this.failures >= 3) this.reloadEachMinute();
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => this.connect(), wait * (1 + Math.random()));
  }

  watchdog() {
    if (!this.source || Date.now() - this.heardAt < QUIET_MS) return;
    this.sayAway();
    this.close();
    this.tryAgain();
  }

  onVisibility() {
    clearTimeout(this.hiddenTimer);
    if (document.hidden) {
      this.hiddenTimer = setTimeout(() => this.close(), HIDDEN_MS);
    } else {
      this.connect();
    }
  }

  reloadEachMinute() {
    this.say("reloading", "reloads each minute");
    if (this.reloadTimer) return;
    this.reloadTimer = setInterval(() => {
      const isTyping = document.activeElement?.matches("input, textarea, select");
      if (!document.hidden && !isTyping) location.reload();
    }, RELOAD_MS);
  }

  afterRegions(fetched) {
    indexRows();
    if (fetched && this.source && this.openedAs !== this.rowsText()) { // other rows are shown now
      this.close();
      this.connect();
    }
  }

  sayAway() {
    if (this.reloadTimer) return;
    this.say("away", `away since ${clockText(new Date(this.heardAt || Date.now()))}`);
  }

  say(state, text) {
    if (!this.sign || this.sign.dataset.liveState === state) return;
    this.sign.dataset.liveState = state;
    this.sign.textContent = text;
  }
}

function clockText(at) {
  return at.toLocaleTimeString("sv-SE");
}
