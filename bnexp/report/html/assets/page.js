"use strict";
// Makes the page answer: arms, selections, sorting, and the way from a point to its row.

/** Make an element; names are set as text and never read as HTML. */
function make(tag, text = "", properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  made.textContent = text;
  return made;
}

/** A switch per arm, for its curves, points and rows alike. */
function showArms() {
  for (const box of element("arms").querySelectorAll("input")) {
    box.checked ? STATE.hidden.delete(Number(box.value)) : STATE.hidden.add(Number(box.value));
  }
  for (const row of document.querySelectorAll("tr[data-arm]")) row.hidden = STATE.hidden.has(Number(row.dataset.arm));
  fillLinks();
  return draw();
}

function setUpArms() {
  element("arms").hidden = false;
  element("arms").addEventListener("change", showArms);
}

// Selections above the charts.

function addSelect(places, label, options, chosen, change) {
  if (options.length < 2) return;
  const selects = places.map((place) => {
    const [holder, select] = [make("label", label), make("select")];
    select.append(...options.map(([value, text]) => make("option", text, { value, selected: String(value) === String(chosen) })));
    select.addEventListener("change", () => {
      for (const other of selects) other.value = select.value; // the curves stand on the page twice
      change(select.value);
    });
    holder.append(select);
    element(`${place}-controls`).append(holder);
    return select;
  });
}

function setUpSelects() {
  const { measures, panels } = CURVES;
  const drawBoth = () => (drawCurves("curves", "x"), drawCurves("clock", "seconds"));
  const some = panels.length > OVERVIEW ? `overview: ${OVERVIEW} of ${panels.length}` : `all ${panels.length}`;
  const points = panels.length > 1 ? [["all", some], ...panels.map((panel, i) => [i, panel.title])] : [];
  addSelect(["curves", "clock"], "Measure", measures.map(({ name, label }) => [name, label]), STATE.measure, (value) => {
    STATE.measure = value;
    drawBoth();
  });
  addSelect(["curves", "clock"], "Grid points", points, STATE.points, (value) => {
    STATE.points = value;
    drawBoth();
  });
  const axes = [[-1, "arm"], ...DATA.axes.map((axis, i) => [i, axis.name])];
  addSelect(["finals"], "Over", axes, STATE.axis, (value) => {
    STATE.axis = Number(value);
    drawFinals();
  });
}

// From a point to its row.

function goToTrial(trial) {
  const row = element(`trial-${trial}`);
  if (!row) return;
  row.focus({ preventScroll: true });
  row.scrollIntoView({ block: "center" });
}

/** The points as links, for those who don't use a mouse; made when they are asked for. */
function fillLinks() {
  const details = element("trial-links");
  details.querySelector("ul")?.remove();
  if (!details.open) return;
  const list = make("ul");
  DATA.trials.trial.forEach((trial, i) => {
    if (STATE.hidden.has(DATA.trials.arm[i])) return;
    const item = make("li");
    item.append(make("a", trialText(i), { href: `#trial-${trial}` }), ` ${number(DATA.trials.value[i], DATA.loss)}`);
    list.append(item);
  });
  details.append(list);
}

function setUpLinks() {
  element("trial-links").addEventListener("toggle", fillLinks);
  element("trial-links").addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link) return;
    event.preventDefault();
    goToTrial(link.hash.slice("#trial-".length));
  });
}

// Sorting: up, down, and as it was.

function sortValue(row, column, isNumber) {
  const cell = row.cells[column];
  const value = cell.dataset.sort ?? cell.textContent.trim();
  if (!isNumber) return value;
  return value === "" || isNaN(value) ? null : Number(value);
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function sortTable(table, header) {
  const order = { none: "ascending", ascending: "descending", descending: "none" }[header.ariaSort];
  for (const other of table.tHead.rows[0].cells) other.ariaSort = "none";
  header.ariaSort = order;
  order === "none" ? delete table.dataset.sorted : (table.dataset.sorted = order);
  const rows = [...table.tBodies[0].rows];
  const sign = order === "descending" ? -1 : 1;
  const values = new Map(rows.map((row) => [row, sortValue(row, header.cellIndex, header.classList.contains("number"))]));
  rows.sort((one, two) => {
    const [a, b] = [values.get(one), values.get(two)];
    if (order === "none") return one.dataset.place - two.dataset.place;
    if (a === null || b === null) return (a === null) - (b === null); // what is missing comes last, either way
    return sign * compare(a, b) || one.dataset.place - two.dataset.place;
  });
  table.tBodies[0].append(...rows);
}

function setUpSorting() {
  for (const table of document.querySelectorAll("table[data-sortable]")) {
    [...table.tBodies[0].rows].forEach((row, i) => (row.dataset.place = i));
    for (const header of table.tHead.rows[0].cells) {
      const button = make("button", header.textContent, { type: "button" });
      header.replaceChildren(button);
      header.ariaSort = "none";
      button.addEventListener("click", () => sortTable(table, header));
    }
  }
}

/** plotly.js comes with the page, compressed. */
async function loadPlotly() {
  const bytes = Uint8Array.from(atob(element("plotly").textContent), (letter) => letter.charCodeAt(0));
  const script = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  document.head.append(make("script", await new Response(script).text()));
}

setUpTheme(draw);
setUpArms();
setUpSelects();
setUpLinks();
setUpSorting();
setUpScrolling();
loadPlotly()
  .then(draw)
  .then(() => (ROOT.dataset.ready = "true"));
let columns = innerWidth;
addEventListener("resize", () => {
  if (columns !== innerWidth) requestAnimationFrame(draw);
  columns = innerWidth;
});
