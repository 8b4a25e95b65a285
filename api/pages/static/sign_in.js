// Takes a key from the address's fragment, which no server sees, and removes it from the address.
// On this machine's own addresses it signs in at once (the demo prints such an address). Elsewhere
// the person presses the button: a link from a stranger must not sign anybody in.
const form = document.querySelector("[data-sign-in]");
const key = readFragment();
if (form && key.startsWith("lh_")) {
  history.replaceState(null, "", location.pathname + location.search);
  form.elements.key.value = key;
  if (["127.0.0.1", "localhost", "[::1]"].includes(location.hostname)) form.submit();
}

function readFragment() {
  try { return decodeURIComponent(location.hash.slice(1)); } catch { return ""; }
}
