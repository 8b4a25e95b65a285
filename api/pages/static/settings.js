// Shows at each change of the form what would flip. The page itself answers: its parts are taken
// from the address that the Preview button would open. A newer change ends the question before it.
const WAIT_MS = 350;
const form = document.querySelector("form[data-policy]");
let waiting = 0;
let asked = null;

function address() {
  const query = new URLSearchParams();
  for (const field of form.querySelectorAll("input:not([type=hidden])")) query.set(field.name, field.value);
  return `${form.action}?${query}`;
}

function mark() {
  for (const field of form.querySelectorAll("input:not([type=hidden])")) {
    field.classList.toggle("changed", field.value !== field.defaultValue);
  }
}

function take(page) {
  for (const part of document.querySelectorAll("[data-region]")) {
    const found = page.querySelector(`[data-region="${CSS.escape(part.dataset.region)}"]`);
    if (found) part.replaceChildren(...document.importNode(found, true).childNodes);
  }
  for (const field of form.querySelectorAll("input:not([type=hidden])")) {
    const isFaulty = page.getElementById(field.id)?.getAttribute("aria-invalid") === "true";
    if (isFaulty) field.setAttribute("aria-invalid", "true"); else field.removeAttribute("aria-invalid");
  }
}

async function ask() {
  asked?.abort();
  asked = new AbortController();
  const { signal } = asked;
  const region = document.querySelector('[data-region="preview"]');
  region.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(address(), { signal, headers: { Accept: "text/html" } });
    if (answer.redirected) location.reload(); // the sign-in is over
    const text = await answer.text();
    if (signal.aborted) return;
    if (answer.ok) take(new DOMParser().parseFromString(text, "text/html"));
    else say(region, `The preview could not be made (${answer.status}). Press Preview to see why.`);
  } catch (error) {
    if (error.name === "AbortError") return;
    say(region, "No answer came. Press Preview to try again.");
  }
  if (!signal.aborted) region.removeAttribute("aria-busy");
}

function say(region, words) {
  const note = document.createElement("p");
  note.className = "note warn";
  note.setAttribute("role", "status");
  note.textContent = words;
  region.replaceChildren(note);
}

if (form && form.querySelector("[data-preview-button]")) {
  mark();
  form.addEventListener("input", () => {
    mark();
    clearTimeout(waiting);
    waiting = setTimeout(ask, WAIT_MS);
  });
  if (!new URLSearchParams(location.search).has(form.querySelector("fieldset input").name)) ask();
}
