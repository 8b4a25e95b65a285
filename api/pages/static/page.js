// What every page has: the theme switch, times in a chosen zone, ages that count on.
import { startTimes } from "./times.js";
import { startTheme } from "./theme_switch.js";

// Filters that are empty stay out of the address, so that it can be sent to somebody.
for (const form of document.querySelectorAll("form.filters")) {
  form.addEventListener("formdata", ({ formData }) => {
    for (const [name, value] of [...formData]) if (value === "") formData.delete(name);
  });
}

startTheme();
startTimes();
if (document.body.dataset.live) {
  import("./live.js").then(({ startLive }) => startLive(document.body.dataset.live));
}
