// Moves through the time of a device without loading the whole page: keys, buttons, and the event
// behind a value. Everything also works as plain links.
import { showRegions } from "./regions.js";

const KEYS = { "+": "in", "=": "in", "-": "out", ArrowLeft: "earlier", ArrowRight: "later", Home: "all" };
async function zoom(link) {
  const hadFocus = document.activeElement?.closest("[data-picture]") !== null;
  const name = link.dataset.zoom;
  const address = new URL(link.href);
  address.hash = "";
  if (!(await showRegions(address, ["day", "values"]))) return;
  history.pushState(null, "", address);
  const target = hadFocus ? "[data-picture]" : `[data-zoom="${name}"]`;
  (document.querySelector(target) ?? document.querySelector("[data-picture]"))?.focus({ preventScroll: true });
}

document.addEventListener("click", async (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const link = event.target.closest("a[data-zoom], a[data-event]");
  if (!link) return;
  event.preventDefault();
  if (link.dataset.zoom) { await zoom(link); return; }
  if (!(await showRegions(link.href, ["event"]))) return;
  history.pushState(null, "", link.href);
  const part = document.getElementById("event");
  part?.focus({ preventScroll: true });
  part?.scrollIntoView({ block: "start" });
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (!event.target.closest?.("[data-picture]")) return;
  const link = document.querySelector(`a[data-zoom="${KEYS[event.key]}"]`);
  if (!KEYS[event.key]) return;
  event.preventDefault();
  if (link) zoom(link);
});

addEventListener("popstate", () => { showRegions(location.href, ["day", "values", "event"]); });
