"use strict";
// Draws the four charts from the JSON in #data. Names are data: plotly.js reads tags in its texts, so each goes through plain().
const DATA = JSON.parse(document.getElementById("data").textContent);
const CURVES = DATA.curves;
const OVERVIEW = 16; // small multiples at most
const STATE = { hidden: new Set(), points: "all", measure: CURVES.measures[0]?.name, axis: DATA.axes.findIndex((axis) => !axis.names) };

const TOUCH = matchMedia("(pointer: coarse)").matches; // there a drag scrolls the page

const PANEL = 170; // height of a small multiple in pixels

const CODES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "%": "&#37;" }; // %{…} is a template in some of its texts
const plain = (text) => String(text).replace(/[&<>%]/g, (letter) => CODES[letter]);
const cut = (text, letters) => (text.length > letters ? text.slice(0, letters - 1) + "…" : text);
/** Lines of at most so many letters, broken after commas and only there. */
const lines = (text, letters) => text.split(", ").reduce((all, part) => {
  const joined = all.length ? `${all.at(-1)}, ${part}` : part;
  return all.length && joined.length > letters ? [...all.with(-1, all.at(-1) + ","), part] : [...all.slice(0, -1), joined];
}, []);

/** A number as the tables write it: three decimals of an accuracy, three digits of anything else. */
function number(value, loss, sign = false) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  const text = loss ? String(Number(size.toPrecision(3))) : size.toFixed(3);
  return (value < 0 ? "−" : sign ? "+" : "") + text;
}

/** Colour of an arm on the present ground; see-through for bands. */
function colour(arm, opacity = 1) {
  const hex = isDark() ? DATA.arms[arm].dark : DATA.arms[arm].light;
  const parts = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${parts.join(",")},${opacity})`;
}

const line = (arm) => ({ color: colour(arm), width: DATA.width, dash: DATA.arms[arm].dash || "solid" });
const marker = (arm, size) => ({ color: colour(arm), size, symbol: DATA.arms[arm].symbol });
const cross = (arm, size) => ({ color: colour(arm), size, symbol: "x-thin", line: { color: colour(arm), width: 2 } });
/** What every trace has: its arm, by which it is switched on and off. */
const trace = (arm, rest) => ({ type: "scatter", meta: { arm }, visible: !STATE.hidden.has(arm), hoverinfo: "text", ...rest });

/** The part of a layout that all charts share, in the colours of the page. */
function frame(chart, rest) {
  const style = getComputedStyle(chart);
  const font = { family: "system-ui, sans-serif", size: 12, color: style.color };
  const hover = { bgcolor: style.backgroundColor, bordercolor: style.borderTopColor, font, namelength: -1, align: "left" };
  return {
    font, hoverlabel: hover, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, width: chart.clientWidth,
    modebar: { bgcolor: "rgba(0,0,0,0)", color: style.borderTopColor, activecolor: style.color },
    margin: { l: 56, r: 16, t: 28, b: 44 }, hovermode: "closest", dragmode: TOUCH ? false : "zoom", ...rest,
  };
}

function axis(chart, title, rest = {}) {
  const rule = getComputedStyle(chart).borderTopColor;
  return {
    title: { text: plain(title), standoff: 8 }, gridcolor: rule, linecolor: rule, zeroline: false, automargin: true,
    exponentformat: "power", nticks: 7, ...rest,
  };
}

/** A swept setting as an axis: where a logarithmic one spans decades only these are named. */
function sweptAxis(chart, swept) {
  if (!swept.log) return axis(chart, swept.name);
  const decades = Math.log10(Math.max(...swept.values) / Math.min(...swept.values));
  return axis(chart, swept.name, { type: "log", dtick: decades > 1.5 ? Math.ceil(decades / 8) : "D2" });
}

const CONFIG = { displaylogo: false, displayModeBar: TOUCH ? false : "hover", modeBarButtons: [["zoom2d", "pan2d", "resetScale2d"]] };

/** Draw a chart, or the reason why there is none. */
function show(chart, traces, layout, empty) {
  if (!globalThis.Plotly) return; // not loaded yet
  chart.classList.toggle("empty", !traces.length);
  if (traces.length) return Plotly.react(chart, traces, layout, CONFIG);
  Plotly.purge(chart);
  chart.textContent = empty;
}

// Learning curves: a panel per grid point, over epochs or seconds.

function shownPanels() {
  const all = CURVES.panels.map((_, i) => i);
  if (STATE.points !== "all") return [Number(STATE.points)];
  if (all.length <= OVERVIEW) return all;
  return Array.from({ length: OVERVIEW }, (_, i) => Math.round((i * (all.length - 1)) / (OVERVIEW - 1)));
}

function curveTraces(curve, place, x, loss) {
  const [xs, mean, low, high] = [curve[x], curve.mean, curve.low, curve.high].map((i) => CURVES.arrays[i]);
  const axes = { xaxis: `x${place}`, yaxis: `y${place}` };
  const range = (i) => (low ? ` [${number(low[i], loss)}, ${number(high[i], loss)}]` : "");
  const texts = mean.map((y, i) => `${plain(cut(DATA.arms[curve.arm].name, 40))} ${number(y, loss)}${range(i)}`);
  const traces = [];
  if (low) {
    const band = { x: [...xs, ...xs.toReversed()], y: [...high, ...low.toReversed()] };
    const look = { mode: "lines", line: { width: 0 }, fill: "toself", fillcolor: colour(curve.arm, isDark() ? 0.22 : 0.15) };
    traces.push(trace(curve.arm, { ...axes, ...band, ...look, hoverinfo: "skip" }));
  }
  traces.push(trace(curve.arm, { ...axes, x: xs, y: mean, mode: "lines", line: line(curve.arm), hovertext: texts, hoverinfo: "x+text" }));
  if (curve.crosses && x === "x") {
    const [ex, ey] = [0, 1].map((k) => curve.crosses.map((at) => at[k]));
    traces.push(trace(curve.arm, { ...axes, x: ex, y: ey, mode: "markers", marker: cross(curve.arm, 7), hoverinfo: "skip", cliponaxis: false }));
  }
  return traces;
}

const SPIKE = { spikethickness: -2, spikedash: "solid", spikecolor: "#888" }; // -2: without the halo

function drawCurves(id, x) {
  const chart = element(id);
  const loss = STATE.measure?.endsWith("loss");
  const panels = STATE.measure ? shownPanels() : [];
  const width = chart.clientWidth;
  const printing = document.documentElement.classList.contains("printing");
  const fitting = printing ? 4 : width < 480 ? 2 : width < 900 ? 3 : 4;
  const crossed = panels.length === CURVES.panels.length && CURVES.columns <= 1.5 * fitting; // a row has one setting's values
  const columns = crossed ? CURVES.columns : Math.min(panels.length, fitting);
  const letters = Math.floor((width / columns - 20) / 6.8);
  const titles = panels.map((panel) => lines(CURVES.panels[panel].title, letters).map((text) => plain(cut(text, letters))));
  const more = 14 * (Math.max(1, ...titles.map((title) => title.length)) - 1); // pixels that further lines take
  const rows = Math.ceil(panels.length / columns);
  const single = panels.length === 1;
  const size = (printing ? 130 : PANEL) + more;
  const hoverTitle = x === "x" ? `${CURVES.axis} %{x}` : "%{x:.3g} s";
  const layout = frame(chart, { hovermode: "x unified", uirevision: `${STATE.points} ${STATE.measure}`, annotations: [], shapes: [] });
  const label = CURVES.measures.find((measure) => measure.name === STATE.measure)?.label;
  panels.forEach((panel, k) => {
    const suffix = k ? k + 1 : "";
    const edge = { left: k % columns === 0, below: k + columns >= panels.length };
    const xRest = { anchor: `y${suffix}`, showticklabels: edge.below, ...SPIKE, unifiedhovertitle: { text: hoverTitle }, ...(k ? { matches: "x" } : {}) };
    const yRest = { anchor: `x${suffix}`, showticklabels: edge.left, ...(k ? { matches: "y" } : {}) };
    Object.assign(yRest, loss ? { type: "log", nticks: 5 } : { range: [0, 1.02], nticks: 6 });
    if (!single) Object.assign(xRest, { nticks: 4, domain: domain(k % columns, columns, 28 / width) });
    const tall = rows * size;
    if (!single) yRest.domain = domain(rows - 1 - Math.floor(k / columns), rows, (34 + more) / tall);
    layout[`xaxis${suffix}`] = axis(chart, edge.below ? (x === "x" ? CURVES.axis : "seconds") : "", xRest);
    layout[`yaxis${suffix}`] = axis(chart, edge.left && (single || rows === 1) ? label : "", yRest);
    if (!single) layout.annotations.push(heading(titles[k].join("<br>"), suffix));
    if (!loss) layout.shapes.push(level(chart, suffix));
  });
  layout.margin.t = single ? 28 : 48 + more;
  layout.height = single ? Math.min(420, Math.max(300, width * 0.6)) : rows * size + 78 + more;
  const traces = panels.flatMap((panel, k) =>
    CURVES.panels[panel].curves[STATE.measure].flatMap((curve) => curveTraces(curve, k ? k + 1 : "", x, loss)));
  return show(chart, traces, layout, "Nothing is recorded yet.");
}
/** The share of the length that one of several panels in a row has. */
const domain = (i, count, gap) => {
  const size = (1 - gap * (count - 1)) / count;
  return [i * (size + gap), Math.min(1, i * (size + gap) + size)];
};
const heading = (text, suffix) => ({
  text, xref: `x${suffix} domain`, yref: `y${suffix} domain`, x: 0, y: 1, xanchor: "left", yanchor: "bottom",
  showarrow: false, align: "left", font: { size: 11.5 },
});
const level = (chart, suffix) => ({
  type: "line", xref: `x${suffix} domain`, yref: `y${suffix}`, x0: 0, x1: 1, y0: DATA.threshold, y1: DATA.threshold, layer: "below",
  line: { color: getComputedStyle(chart).color, width: 1, dash: "dot" },
});

// Every trial: a point each, over the arms or a swept setting.

function drawFinals() {
  const chart = element("finals");
  const swept = DATA.axes[STATE.axis];
  const arms = DATA.arms.map((_, i) => i);
  const names = swept ? swept.names : DATA.arms.map((arm) => cut(arm.name, 24));
  const places = names && { tickvals: names.map((_, i) => i), ticktext: names.map((name) => plain(cut(name, 24))), range: [-0.6, names.length - 0.4] };
  const layout = frame(chart, {
    height: 420, uirevision: STATE.axis, xaxis: names ? axis(chart, swept ? swept.name : "", places) : sweptAxis(chart, swept),
    yaxis: axis(chart, DATA.metric, DATA.loss ? { type: "log" } : {}),
  });
  const traces = arms.flatMap((arm) => finalTraces(arm, swept, Boolean(names)));
  const drawn = show(chart, traces, layout, "No trial has ended yet.");
  drawn?.then(() => {
    chart.removeAllListeners("plotly_click");
    chart.on("plotly_click", ({ points }) => points[0].customdata !== undefined && goToTrial(points[0].customdata));
  });
  return drawn;
}

function finalTraces(arm, swept, named) {
  const all = DATA.trials;
  const mine = all.arm.flatMap((other, i) => (other === arm ? [i] : []));
  if (!mine.length) return [];
  const place = (i) => (swept ? swept.values[all.point[i]] : arm);
  // Trials of one place stand side by side where places are names, arm by arm.
  const spread = (i, k) => (named ? place(i) + offset(swept ? arm : 0, swept ? DATA.arms.length : 1) + jitter(k, mine.length, swept) : place(i));
  const text = (i) => `${plain(cut(trialText(i), 90))}<br>${plain(DATA.metric)} ${number(all.value[i], DATA.loss)}`;
  const points = (chosen, look) => trace(arm, {
    x: chosen.map((i) => spread(i, mine.indexOf(i))), y: chosen.map((i) => all.value[i]), hovertext: chosen.map(text),
    customdata: chosen.map((i) => all.trial[i]), mode: "markers", marker: { opacity: 0.85, ...look }, cliponaxis: false,
  });
  const ended = points(mine.filter((i) => !all.diverged[i]), marker(arm, 8));
  const diverged = points(mine.filter((i) => all.diverged[i]), cross(arm, 8));
  const means = DATA.mixed ? [] : [meanTrace(arm, mine, place, swept, named)]; // none over different data sets
  return [...means, ended, diverged].filter((part) => part.x.length);
}

/** Lines between the means along a swept setting, or a dash at the mean of an arm. */
function meanTrace(arm, mine, place, swept, named) {
  const groups = Map.groupBy(mine, place);
  const places = [...groups.keys()].sort((a, b) => a - b);
  const mean = (at) => groups.get(at).reduce((sum, i) => sum + DATA.trials.value[i], 0) / groups.get(at).length;
  const ends = (at) => (named ? [at - 0.38, at + 0.38, null] : [at]);
  const y = places.flatMap((at) => (named ? [mean(at), mean(at), null] : [mean(at)]));
  const look = named && swept ? { width: 0 } : { ...line(arm), width: DATA.width };
  return trace(arm, { x: places.flatMap(ends), y, mode: "lines", line: look, hoverinfo: "skip", opacity: 0.8 });
}

const offset = (arm, count) => (count > 1 ? ((arm - (count - 1) / 2) / count) * 0.7 : 0);
const jitter = (k, count, swept) => (swept || count < 2 ? 0 : (k / (count - 1) - 0.5) * 0.5);
function trialText(i) {
  const { arm, seed, point, trial, diverged } = DATA.trials;
  const where = DATA.points[point[i]];
  return `${DATA.arms[arm[i]].name}, seed ${seed[i]}${where ? ", " + where : ""}${diverged[i] ? ", diverged" : ""} (trial ${trial[i]})`;
}

// Paired differences: over a swept setting, or a row per grid point.

function drawDifferences() {
  const chart = element("differences");
  const { axis: swept, rows, overall, titles } = DATA.differences;
  const along = swept && !swept.names;
  const ink = getComputedStyle(chart).color;
  const zero = { zeroline: true, zerolinecolor: ink, zerolinewidth: 1.2, rangemode: "tozero" };
  const value = axis(chart, `difference in ${DATA.metric}`, zero);
  const layout = frame(chart, {});
  if (along) {
    Object.assign(layout, { height: 360, yaxis: value, xaxis: sweptAxis(chart, swept) });
    return show(chart, armTraces(rows, sideBySide(swept, rows), false), layout, "No pair has ended yet.");
  }
  const treated = [...new Set([...rows, ...overall].map((row) => row.arm))];
  const byArm = titles.length <= 1; // then a row per arm, else per grid point with the arms side by side
  const names = byArm ? treated.map((arm) => DATA.arms[arm].name) : ["all grid points", ...titles];
  const all = byArm ? rows : [...overall.map((row) => ({ ...row, point: -1 })), ...rows];
  const y = (row) => (byArm ? treated.indexOf(row.arm) : row.point + 1 + offset(treated.indexOf(row.arm), treated.length));
  const letters = chart.clientWidth < 480 ? 20 : 44;
  const texts = names.map((name) => lines(name, letters).map((text) => plain(cut(text, letters))));
  const high = Math.max(...texts.map((text) => text.length));
  const ticks = { tickvals: names.map((_, i) => i), ticktext: texts.map((text) => text.join("<br>")), range: [names.length - 0.4, -0.6] };
  Object.assign(layout, { height: 106 + names.length * Math.max(byArm ? 40 : 14 + 10 * treated.length, 15 * high + 6), xaxis: value, yaxis: axis(chart, "", { ...ticks, showgrid: !byArm }) });
  return show(chart, armTraces(all, y, true), layout, "No pair has ended yet.");
}

/** Where a row stands along a swept setting: beside its value, so that the intervals of several arms don't hide each other. */
function sideBySide(swept, rows) {
  const arms = [...new Set(rows.map((row) => row.arm))];
  const [scale, back] = swept.log ? [Math.log10, (x) => 10 ** x] : [(x) => x, (x) => x];
  const sorted = swept.values.map(scale).sort((a, b) => a - b);
  const gap = Math.min(...sorted.slice(1).map((x, i) => x - sorted[i]).filter((size) => size > 0));
  return (row) => back(scale(swept.values[row.point]) + offset(arms.indexOf(row.arm), arms.length) * gap * 0.5);
}

function armTraces(rows, place, flat) {
  const name = (row) => (row.point < 0 ? "all grid points" : DATA.differences.titles[row.point]);
  const text = (row) => [
    [DATA.arms[row.arm].name, name(row)].filter(Boolean).map((part) => plain(cut(part, 60))).join(", "),
    `${number(row.mean, DATA.loss, true)} [${number(row.low, DATA.loss, true)}, ${number(row.high, DATA.loss, true)}]`,
    `better in ${row.better} of ${row.pairs}, p = ${row.p === null ? "–" : row.p.toFixed(3)}`,
  ].join("<br>");
  return [...Map.groupBy(rows, (row) => row.arm)].map(([arm, mine]) => {
    const [means, places] = [mine.map((row) => row.mean), mine.map(place)];
    const bars = {
      type: "data", symmetric: false, color: colour(arm, 0.75), thickness: 1.6, width: 3,
      array: mine.map((row) => (row.high === null ? 0 : row.high - row.mean)),
      arrayminus: mine.map((row) => (row.low === null ? 0 : row.mean - row.low)),
    };
    const at = flat ? { x: means, y: places, error_x: bars } : { x: places, y: means, error_y: bars };
    return trace(arm, { ...at, mode: "markers", marker: marker(arm, 9), hovertext: mine.map(text) });
  });
}

/** Draw everything anew; plotly.js keeps what has not changed. */
function draw() {
  return Promise.all([drawCurves("curves", "x"), drawFinals(), drawDifferences(), drawCurves("clock", "seconds")]);
}
