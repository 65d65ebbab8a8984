// Curves, constellations and rate maps, drawn by plotly; toggles are check boxes, so that the keyboard reaches them.

// Okabe & Ito's colour-blind safe palette without its yellow; black turns to the ink of the theme
const PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "ink"];
const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x"];
const BOUND_DASHES = ["dash", "dot", "longdash", "dashdot"];
// the buttons are always there, so that the keyboard finds zoom and pan; none of them may send a chart anywhere
const PLOT_OPTIONS = {
  displaylogo: false, displayModeBar: true, responsive: true, showSendToCloud: false, plotlyServerURL: "",
  modeBarButtonsToRemove: ["select2d", "lasso2d", "sendChartToCloud"],
};
const styles = new Map();
let printing = false;

function ink() {
  return printing ? "#000000" : getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
}

// One look per label and kind in all charts.
function styleOf(series) {
  const key = series.kind + "\n" + series.label;
  if (!styles.has(key)) {
    const index = [...styles.values()].filter((style) => style.kind === series.kind).length;
    styles.set(key, { kind: series.kind, index });
  }
  const { index } = styles.get(key);
  const dark = document.documentElement.dataset.theme === "dark" && !printing;
  if (series.kind === "envelope") return { color: dark ? "#4a4f57" : "#c8c8c8", symbol: "circle", dash: index % 2 ? "dash" : "solid", width: 7 };
  const place = series.kind === "published" ? PALETTE.length - 1 - (index % PALETTE.length) : index % PALETTE.length;
  const color = series.kind === "bound" ? (dark ? "#a0a0a0" : "#707070") : PALETTE[place];
  return {
    color: color === "ink" ? ink() : color,
    symbol: SYMBOLS[(index + Math.floor(index / PALETTE.length)) % SYMBOLS.length],
    width: series.kind === "bound" ? 1.3 : 2,
    dash: series.kind === "bound" ? BOUND_DASHES[index % BOUND_DASHES.length] : index < PALETTE.length ? "solid" : "dash",
  };
}

function faded(color, alpha) {
  const value = parseInt(color.slice(1), 16);
  return `rgba(${value >> 16}, ${(value >> 8) & 255}, ${value & 255}, ${alpha})`;
}

// Lower and upper edge as chosen on the page; error rates have one kind of interval only.
function bandOf(series) {
  const choice = document.getElementById("bands").value;
  if (choice === "none") return [[], []];
  const around = (sign) => series.y.map((v, i) => (v === null || series.draws[i] === null ? null : v + sign * series.draws[i]));
  const known = choice === "draws" && series.draws.some((half) => half !== null);
  return known ? [around(-1), around(1)] : [series.low, series.high];
}

// A series as traces: band, line or markers, arrows of upper limits.
function tracesOf(series, chart) {
  const style = styleOf(series);
  const common = { name: series.label, showlegend: false };
  const upper = series.x.map((_, i) => Boolean(series.upper[i]) && chart.log_y);
  const traces = [];
  const [bandLow, bandHigh] = bandOf(series);
  if (bandLow.length) {
    const kept = series.x.map((_, i) => i).filter((i) => bandLow[i] !== null && bandHigh[i] !== null && !upper[i]);
    // on a logarithmic axis 0 has no place
    const floor = Math.min(...series.y.filter((v) => v > 0)) / 10;
    const low = kept.map((i) => (chart.log_y ? Math.max(bandLow[i], floor) : bandLow[i]));
    const edge = { x: kept.map((i) => series.x[i]), mode: "lines", line: { width: 0 }, hoverinfo: "skip", ...common };
    traces.push({ ...edge, y: low }, { ...edge, y: kept.map((i) => bandHigh[i]), fill: "tonexty", fillcolor: faded(style.color, 0.18) });
  }
  const interval = series.x.map((_, i) =>
    series.low.length && series.low[i] !== null ? `<br>95 %: ${short(series.low[i])} to ${short(series.high[i])}` : "");
  traces.push({
    ...common,
    x: series.x,
    y: series.y.map((v, i) => (upper[i] || (chart.log_y && !(v > 0)) ? null : v)),
    mode: { measured: "lines+markers", bound: "lines", envelope: "lines", published: "markers" }[series.kind],
    line: { color: style.color, width: style.width, dash: style.dash },
    marker: { color: style.color, size: series.kind === "published" ? 9 : 6, symbol: style.symbol + (series.kind === "published" ? "-open" : "") },
    text: interval,
    hovertemplate: `<b>${escaped(series.label)}</b><br>%{x:.4g}: %{y:.4g}%{text}${series.note ? "<br>" + escaped(series.note) : ""}<extra></extra>`,
  });
  if (upper.some(Boolean)) {
    const kept = series.x.map((_, i) => i).filter((i) => upper[i]);
    traces.push({
      ...common, mode: "markers", x: kept.map((i) => series.x[i]), y: kept.map((i) => series.high[i]),
      marker: { color: style.color, size: 10, symbol: "arrow-down" },
      hovertemplate: `<b>${escaped(series.label)}</b><br>%{x:.4g}: below %{y:.3g} (no event seen)<extra></extra>`,
    });
  }
  return traces;
}

function escaped(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/%\{/g, "% {");
}

function short(value) {
  return Number(value).toPrecision(4).replace(/\.?0+$/, "");
}

function layoutOf(xTitle, yTitle, log) {
  const line = printing ? "#cccccc" : getComputedStyle(document.documentElement).getPropertyValue("--line").trim();
  const faint = getComputedStyle(document.documentElement).getPropertyValue("--faint").trim();
  const axis = { gridcolor: line, linecolor: line, zeroline: false, automargin: true };
  return {
    margin: { l: 64, r: 16, t: 34, b: 52 }, modebar: { bgcolor: "rgba(0,0,0,0)", color: faint, activecolor: ink() }, font: { color: ink(), family: "system-ui, 'DejaVu Sans', sans-serif", size: 13 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
    xaxis: { ...axis, title: { text: xTitle } },
    yaxis: { ...axis, title: { text: yTitle, standoff: 14 }, type: log ? "log" : "linear", exponentformat: "power", dtick: log ? 1 : undefined },
  };
}

function drawChart(figure) {
  const chart = DATA.charts[Number(figure.dataset.chart)];
  figure.querySelectorAll(".swatch").forEach((swatch, i) => { swatch.style.color = styleOf(chart.series[i]).color; });
  const hidden = hiddenIn(figure);
  // envelopes lie under the curves that they follow
  const shown = chart.series.filter((_, i) => !hidden.has(i)).sort((a, b) => (b.kind === "envelope") - (a.kind === "envelope"));
  const layout = layoutOf(chart.x_label, chart.y_label, chart.log_y);
  layout.uirevision = "zoom"; // a toggle or another theme keeps the zoom
  const seen = chart.series.flatMap((s) => [...s.y, ...s.high]).filter((v) => v > 0);
  if (chart.log_y && seen.length) {
    // whole decades: a tick is always there
    const decades = [Math.floor(Math.log10(Math.min(...seen))), Math.ceil(Math.log10(Math.max(...seen)))];
    layout.yaxis.range = [Math.min(decades[0], decades[1] - 1) - 0.04, decades[1] + 0.06];
  }
  Plotly.react(figure.querySelector(".plot"), shown.flatMap((s) => tracesOf(s, chart)), layout, PLOT_OPTIONS);
}

function addToggles(figure) {
  DATA.charts[Number(figure.dataset.chart)].series.forEach((series, index) => addToggle(figure, series, index, drawChart));
}

function addToggle(figure, { kind, label }, index, draw) {
  const box = element("input", { type: "checkbox", value: String(index) });
  box.checked = true;
  box.addEventListener("change", () => draw(figure));
  figure.querySelector(".toggles").append(element("label", {}, box, element("span", { class: "swatch " + kind }), label));
}

function hiddenIn(figure) {
  return new Set([...figure.querySelectorAll(".toggles input:not(:checked)")].map((box) => Number(box.value)));
}

function drawSignals() {
  for (const figure of document.querySelectorAll(".constellation")) {
    const { real, imag } = DATA.constellations[Number(figure.dataset.index)];
    const layout = layoutOf("in phase", "quadrature", false);
    layout.yaxis.scaleanchor = "x";
    const marker = { size: 3, color: PALETTE[0], opacity: 0.55 };
    Plotly.react(figure.querySelector(".plot"), [{ x: real, y: imag, mode: "markers", type: "scatter", marker }], layout, PLOT_OPTIONS);
  }
  for (const figure of document.querySelectorAll(".rate-map")) {
    const map = DATA.rateMaps[Number(figure.dataset.index)];
    const layout = layoutOf("", "", false);
    Object.assign(layout.xaxis, { showgrid: false, showticklabels: false, ticks: "", showline: false });
    Object.assign(layout.yaxis, { showgrid: false, showticklabels: false, ticks: "", showline: false, autorange: "reversed", scaleanchor: "x" });
    const trace = { z: map.values, type: "heatmap", colorscale: "Viridis", colorbar: { title: { text: map.unit }, thickness: 12 } };
    Plotly.react(figure.querySelector(".plot"), [trace], layout, PLOT_OPTIONS);
  }
}

function drawPlots() {
  document.querySelectorAll(".chart").forEach(drawChart);
  document.querySelectorAll(".distribution").forEach(drawDistribution);
  drawSignals();
}
