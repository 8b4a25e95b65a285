// Shows another address of the same page: takes some of its parts, without loading all of it.
import { replaceRegion } from "./live_regions.js";
import { indexRows } from "./live_rows.js";

let newest = 0;

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
      for (const name of names) replaceRegion(name, page);
      indexRows();
      return true;
    }
  } catch { /* the service is away: the browser says so */ }
  if (mine === newest) location.assign(address);
  return false;
}
