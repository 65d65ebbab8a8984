// Cumulative distributions over pictures and draws at one operating point at a time, with the 5th percentile of each scheme.

const LEVEL = 0.05;

function addPlaces(figure) {
  const { curves } = DATA.distributions[Number(figure.dataset.index)];
  const places = [...new Set(curves.map((curve) => curve.place))];
  const select = element("select", {}, ...places.map((place) => element("option", { value: place }, place)));
  select.value = places[places.length >> 1];
  select.addEventListener("input", () => drawDistribution(figure));
  const label = element("label", {}, "At ", select);
  label.hidden = places.length < 2;
  figure.querySelector(".controls").append(label);
  schemesOf(curves).forEach((scheme, index) => addToggle(figure, scheme, index, drawDistribution));
}

// One entry per scheme, in the order of the study.
function schemesOf(curves) {
  return [...new Map(curves.map((curve) => [curve.label, curve])).values()];
}

function drawDistribution(figure) {
  const { curves, x_label } = DATA.distributions[Number(figure.dataset.index)];
  const place = figure.querySelector("select").value;
  figure.querySelector(".place").textContent = ", at " + place;
  const look = (curve) => styleOf({ kind: curve.kind, label: curve.series });
  const hidden = hiddenIn(figure);
  const traces = [];
  schemesOf(curves).forEach((scheme, index) => {
    const here = curves.filter((curve) => curve.label === scheme.label && curve.place === place);
    figure.querySelectorAll(".swatch")[index].style.color = look(here[0] ?? scheme).color;
    if (!hidden.has(index)) here.forEach((curve) => traces.push(...stepsOf(curve, look(curve))));
  });
  const layout = layoutOf(x_label, "share of pictures and draws", false);
  layout.yaxis.range = [0, 1.02];
  layout.shapes = [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: LEVEL, y1: LEVEL, line: { color: "#707070", width: 1, dash: "dot" } }];
  // pages turn through the places on one and the same axis
  const ends = curves.flatMap((curve) => [curve.values[0], curve.values[curve.values.length - 1]]);
  const margin = 0.02 * (Math.max(...ends) - Math.min(...ends)) || 1;
  layout.xaxis.range = [Math.min(...ends) - margin, Math.max(...ends) + margin];
  layout.uirevision = "zoom";
  Plotly.react(figure.querySelector(".plot"), traces, layout, PLOT_OPTIONS);
}

// Steps, and on the line of 5 % a mark with the interval of the percentile.
function stepsOf(curve, style) {
  const name = escaped(curve.label);
  const common = { name: curve.label, showlegend: false };
  const traces = [{
    ...common, x: [curve.values[0], ...curve.values], y: [0, ...curve.shares], mode: "lines",
    line: { shape: "hv", color: style.color, width: style.width, dash: style.dash },
    hovertemplate: `<b>${name}</b><br>%{y:.3f} are at most %{x:.4g}<extra></extra>`,
  }];
  if (!curve.percentile || curve.percentile[0] === null) return traces;
  const [value, low, high] = curve.percentile;
  const known = [low, value, high].filter((v) => v !== null);
  const interval = `95 %: ${low === null ? "?" : short(low)} to ${high === null ? "?" : short(high)}`;
  traces.push(
    { ...common, x: known, y: known.map(() => LEVEL), mode: "lines", line: { color: style.color, width: 5 }, opacity: 0.5, hoverinfo: "skip" },
    {
      ...common, x: [value], y: [LEVEL], mode: "markers", marker: { color: style.color, size: 9, symbol: style.symbol },
      hovertemplate: `<b>${name}</b><br>5th percentile: %{x:.4g}<br>${interval}<extra></extra>`,
    },
  );
  return traces;
}
