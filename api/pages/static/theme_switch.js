// The button that goes through the themes: the system's, light, dark.
const NEXT = { "": "light", light: "dark", dark: "" };

export function startTheme() {
  const button = document.querySelector("[data-theme-switch]");
  if (!button) return;
  button.hidden = false;
  const root = document.documentElement;
  const show = () => { button.textContent = `Theme: ${root.dataset.theme || "system"}`; };
  button.addEventListener("click", () => {
    const theme = NEXT[root.dataset.theme || ""];
    if (theme) root.dataset.theme = theme; else delete root.dataset.theme;
    try {
      if (theme) localStorage.setItem("theme", theme); else localStorage.removeItem("theme");
    } catch { /* storage is switched off: the choice lasts until the page is left */ }
    show();
  });
  show();
}
