// Moves the line of now through the plan, and loads the next plan when this one is over.
import { showRegions } from "./regions.js";
import { serverNow } from "./times.js";

const STEP_MS = 500;
const RELOAD_AFTER_SECONDS = 2;
let isReloading = false;

function move() {
  const picture = document.querySelector("[data-plan]");
  if (!picture) return;
  const now = serverNow();
  const seconds = Number(picture.dataset.seconds);
  const passed = (now - Date.parse(picture.dataset.begins)) / 1000;
  const share = Math.min(100, Math.max(0, (passed / seconds) * 100));
  const line = picture.querySelector("[data-now-line]");
  line.setAttribute("x1", `${share}%`);
  line.setAttribute("x2", `${share}%`);
  const toCome = picture.querySelector("[data-to-come]");
  toCome.setAttribute("x", `${share}%`);
  toCome.setAttribute("width", `${100 - share}%`);
  const word = document.querySelector("[data-now-word]");
  if (word) word.textContent = new Date(now).toISOString().slice(11, 19);
  if (passed > seconds + RELOAD_AFTER_SECONDS && !isReloading && !document.hidden) {
    isReloading = true;
    showRegions(location.href, ["plan"]).finally(() => { isReloading = false; });
  }
}

move();
setInterval(move, STEP_MS);
