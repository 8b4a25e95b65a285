// What every page has: the theme switch, times in a chosen zone, ages that count on.
import { startTimes } from "./times.js";
import { startTheme } from "./theme_switch.js";

startTheme();
startTimes();
if (document.body.dataset.live) {
  import("./live.js").then(({ startLive }) => startLive(document.body.dataset.live));
}
