"use strict";

// Filters of the changed problems. Without JavaScript the form stays hidden and everything is shown.
const form = document.querySelector(".filters");
const changes = [...document.querySelectorAll(".change")];
if (form) {
  const apply = () => {
    const kind = form.elements.change.value;
    const text = form.elements.text.value.trim().toLowerCase();
    let shown = 0;
    for (const change of changes) {
      change.hidden = !(!kind || change.dataset.change === kind) || !change.textContent.toLowerCase().includes(text);
      shown += !change.hidden;
    }
    form.querySelector("output").textContent = `${shown} of ${changes.length} shown`;
  };
  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
}

// j and k go from problem to problem, / to the search field, Escape out of it.
addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, select");
  if (typing && event.key === "Escape") event.target.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/" && form) {
    event.preventDefault();
    form.elements.text.focus();
  }
  if (event.key !== "j" && event.key !== "k") return;
  const heads = changes.filter((change) => !change.hidden).map((change) => change.querySelector("summary"));
  const at = heads.findIndex((head) => head.parentElement.contains(document.activeElement));
  const next = heads[at < 0 ? 0 : at + (event.key === "j" ? 1 : -1)];
  if (next) {
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "center" });
  }
});

// On paper everything is open.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));
