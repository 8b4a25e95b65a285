// Brings the small pictures of 24 hours into the table, after the page: their page has them.
const link = document.querySelector(".trends-link");
const cells = () => document.querySelectorAll("td[data-trend]");

async function fetchTrends() {
  const answer = await fetch(link.href, { headers: { Accept: "text/html" }, redirect: "error" });
  if (!answer.ok) throw new Error(String(answer.status));
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const found = new Map();
  for (const cell of page.querySelectorAll("[data-trend-of]")) {
    found.set(cell.dataset.trendOf, cell.firstElementChild);
  }
  return found;
}

let pictures = new Map();

function fillIn() {
  for (const cell of cells()) {
    const picture = pictures.get(cell.dataset.trend);
    if (picture) cell.replaceChildren(document.importNode(picture, true));
  }
}

async function showTrends() {
  if (!link || !cells().length) return;
  for (const cell of cells()) cell.classList.add("loading");
  try {
    pictures = await fetchTrends();
    fillIn();
    link.hidden = true;
  } catch {
    link.textContent = "could not be loaded: open them";
  } finally {
    for (const cell of cells()) cell.classList.remove("loading");
  }
}

showTrends();
// The live page fetches the table anew, without the pictures.
document.addEventListener("lastheard:region", ({ detail }) => {
  if (detail.name === "devices") fillIn();
});
