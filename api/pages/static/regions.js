// Takes parts of a page anew from its address, without loading the whole page.
import { showAges, showTimes } from "./times.js";

let newest = 0;

function take(name, from) {
  const [old, fresh] = [document, from].map((one) => one.querySelector(`[data-region="${name}"]`));
  if (!old || !fresh) return;
  old.replaceWith(fresh);
  showTimes(fresh);
  showAges(fresh);
}

// Returns whether the parts were replaced: not if another address was asked for meanwhile. What is
// no page of ours (signed out, away) is loaded as a whole, which shows why.
export async function showRegions(address, names) {
  newest += 1;
  const mine = newest;
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" }, credentials: "same-origin" });
    const text = await answer.text();
    if (mine !== newest) return false;
    if (answer.ok && !answer.redirected) {
      const page = new DOMParser().parseFromString(text, "text/html");
      for (const name of names) take(name, page);
      return true;
    }
  } catch { /* the service is away: the browser says so */ }
  if (mine === newest) location.assign(address);
  return false;
}
