// Copies the summary. Where the clipboard is closed to pages, the text is selected instead.
const button = document.querySelector("[data-copy]");

async function copy() {
  const area = document.getElementById(button.dataset.copy);
  const said = document.querySelector("[data-copied]");
  try {
    await navigator.clipboard.writeText(area.value);
    said.textContent = "Copied.";
  } catch {
    area.focus();
    area.select();
    said.textContent = "Selected: press Ctrl+C to copy.";
  }
}

if (button) {
  button.hidden = false;
  button.addEventListener("click", copy);
}
