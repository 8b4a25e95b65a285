// Sends the requests of the page's forms. The key stays in its field: it is never stored, and it is
// sent to this service only (the page's policy allows no other address).
"use strict";
const root = new URL(".", location.href);
for (const shown of document.querySelectorAll("[data-address]")) {
  shown.textContent = root.href.replace(/\/$/, "");
}

function readFields(form) {
  const query = new URLSearchParams();
  const headers = new Headers();
  let path = form.dataset.path.slice(1);
  for (const field of form.querySelectorAll("[data-in]")) {
    const value = field.value.trim();
    if (field.dataset.in === "path") path = path.replace(`{${field.name}}`, encodeURIComponent(value));
    if (value === "") continue;
    if (field.dataset.in === "header") headers.set(field.name, value);
    if (field.dataset.in !== "query") continue;
    const values = field.dataset.many ? value.split(",") : [value];
    for (const each of values) query.append(field.name, each.trim());
  }
  const text = query.toString();
  return { url: new URL(text ? `${path}?${text}` : path, root), headers };
}

async function send(form) {
  const { url, headers } = readFields(form);
  const body = form.querySelector("textarea");
  const key = document.getElementById("key").value.trim();
  const content = body && body.value.trim() !== "" ? body.value : undefined;
  if (key) headers.set("Authorization", `Bearer ${key}`);
  if (content !== undefined) headers.set("Content-Type", body.dataset.media);
  const answer = await fetch(url, {
    method: form.dataset.method, headers, body: content, credentials: "omit",
  });
  return `${answer.status} ${answer.statusText}\n\n${layOut(await answer.text())}`;
}

function layOut(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

for (const form of document.querySelectorAll("form[data-path]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const shown = form.querySelector("output");
    shown.textContent = "…";
    try {
      shown.textContent = await send(form);
    } catch (error) {
      shown.textContent = `No answer came: ${error.message}`;
    }
  });
}
