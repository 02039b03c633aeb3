"use strict";

// One example at a time, in the order drawn. Without JavaScript the form stays hidden and every example is shown.
const walkers = [...document.querySelectorAll(".browse")].map((browse) => {
  const form = browse.querySelector(".walk");
  const cards = [...browse.querySelectorAll(".card")];
  const out = form.querySelector("output");
  let at = 0;
  const chosen = () => {
    const source = form.elements.source ? form.elements.source.value : "";
    return cards.filter((card) => !source || card.dataset.source === source);
  };
  const show = (place) => {
    const some = chosen();
    at = (place + some.length) % some.length;
    for (const card of cards) card.hidden = card !== some[at];
    out.textContent = `${at + 1} of ${some.length}`;
    const first = some[at].querySelector(".l");
    const box = some[at].querySelector("pre");
    if (first && box) box.scrollTop = Math.max(0, first.offsetTop - box.offsetTop - box.clientHeight / 3);
  };
  form.hidden = false;
  browse.classList.add("walking");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.elements.previous.addEventListener("click", () => show(at - 1));
  form.elements.next.addEventListener("click", () => show(at + 1));
  if (form.elements.source) form.elements.source.addEventListener("change", () => show(0));
  form.elements.borders.addEventListener("change", (event) => browse.classList.toggle("borders", event.target.checked));
  show(0);
  return { browse, cards, step: (by) => show(at + by), borders: form.elements.borders };
});

// Keys act on the dataset that is on the screen.
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(SELECT|INPUT|TEXTAREA)$/.test(event.target.tagName)) return;
  const middle = innerHeight / 2;
  const distance = ({ browse }) => {
    const box = browse.getBoundingClientRect();
    return Math.max(box.top - middle, middle - box.bottom, 0);
  };
  const here = walkers.reduce((a, b) => (a && distance(a) <= distance(b) ? a : b), null);
  if (!here) return;
  if (event.key === "ArrowRight" || event.key === "j") here.step(1);
  else if (event.key === "ArrowLeft" || event.key === "k") here.step(-1);
  else if (event.key === "t") here.borders.click();
  else return;
  event.preventDefault();
});

// On paper everything that is folded is open, and the example on the screen stands for the others.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));
