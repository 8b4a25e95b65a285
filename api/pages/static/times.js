// Times in the viewer's zone when chosen, and ages that count on by the server's clock.
const loadedAt = performance.now();
let serverAtLoad = Date.now();

export function serverNow() {
  return serverAtLoad + (performance.now() - loadedAt);
}

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

export function ageText(seconds) {
  const left = Math.max(0, Math.floor(seconds));
  for (let i = 0; i < UNITS.length - 1; i += 1) {
    const [size, unit] = UNITS[i];
    const [nextSize, nextUnit] = UNITS[i + 1];
    if (left >= size) {
      const rest = Math.floor((left % size) / nextSize);
      return `${Math.floor(left / size)} ${unit}${rest ? ` ${rest} ${nextUnit}` : ""}`;
    }
  }
  return `${left} s`;
}

export function showAges(root = document) {
  const now = serverNow();
  for (const element of root.querySelectorAll("time[data-age]")) {
    element.textContent = ageText((now - Date.parse(element.dateTime)) / 1000);
  }
}

export function showTimes(root = document) {
  const inViewers = chosenZone() === "viewer";
  for (const element of root.querySelectorAll("time[data-zone]")) {
    const zone = inViewers ? undefined : element.dataset.zone;
    const parts = new Intl.DateTimeFormat("sv-SE", {
      timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit",
      hour: "2-digit", minute: "2-digit", second: "2-digit",
    });
    element.textContent = parts.format(new Date(element.dateTime));
  }
}

function chosenZone() {
  try { return localStorage.getItem("zone") || "page"; } catch { return "page"; }
}

export function startTimes() {
  const stated = Date.parse(document.body.dataset.now);
  if (!Number.isNaN(stated)) serverAtLoad = stated;
  const select = document.querySelector("[data-time-zone]");
  if (select) {
    select.closest("label").hidden = false;
    select.value = chosenZone();
    select.addEventListener("change", () => {
      try { localStorage.setItem("zone", select.value); } catch { /* for this page only */ }
      showTimes();
    });
  }
  showTimes();
  showAges();
  setInterval(showAges, 1000);
}
