"use strict";

// Filters of the failure examples. Without JavaScript the form stays hidden and every example is shown.
const form = document.querySelector(".filters");
if (form) {
  const examples = [...document.querySelectorAll(".failure")];
  const apply = () => {
    const wanted = [...new FormData(form)].filter(([, value]) => value);
    let shown = 0;
    for (const example of examples) {
      example.hidden = !wanted.every(([key, value]) => example.dataset[key] === value);
      shown += !example.hidden;
    }
    form.querySelector("output").textContent = `${shown} of ${examples.length} shown`;
  };
  form.hidden = false;
  form.addEventListener("change", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
}

// Read-out of a line chart: the nearest point of each line under the pointer. Values come back from the drawn path.
for (const chart of document.querySelectorAll("svg.chart")) {
  const { x0, x1, y0, y1, xLabel } = chart.dataset;
  const lines = [...chart.querySelectorAll("path[data-name]")].map((path) => ({
    name: path.dataset.name,
    points: path.getAttribute("d").slice(1).split("L").map((spot) => spot.split(" ").map(Number)),
  }));
  const readout = document.createElement("div");
  readout.className = "readout";
  readout.hidden = true;
  chart.parentElement.append(readout);
  const rule = document.createElementNS("http://www.w3.org/2000/svg", "line");
  rule.setAttribute("class", "pointer");
  rule.setAttribute("y2", "100%");
  const hide = () => {
    readout.hidden = true;
    rule.remove();
  };
  chart.addEventListener("pointerleave", hide);
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * 1000;
    if (at < 0 || at > 1000) return hide();
    const nearest = (points) => points.reduce((a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a));
    const here = lines.filter(({ points }) => at >= points[0][0] - 15 && at <= points[points.length - 1][0] + 15);
    if (!here.length) return hide();
    const value = (y) => (+y1 - (y / 1000) * (y1 - y0)).toFixed(3);
    const x = Math.round(+x0 + (nearest(here[0].points)[0] / 1000) * (x1 - x0));
    const unit = xLabel === "step" ? `step ${x.toLocaleString("en")}` : `${x.toLocaleString("en")} ${xLabel}`;
    readout.textContent = [unit, ...here.map(({ name, points }) => `${name} ${value(nearest(points)[1])}`)].join("  ·  ");
    rule.setAttribute("x1", `${at / 10}%`);
    rule.setAttribute("x2", `${at / 10}%`);
    chart.append(rule);
    readout.hidden = false;
  });
}

// An example opens where the learned tokens begin.
for (const example of document.querySelectorAll(".example pre")) {
  const first = example.querySelector(".learned");
  if (first) example.scrollTop = first.offsetTop - example.clientHeight / 2;
}

// On paper everything is open.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));
