// Start: data, theme, printing.

const DATA = JSON.parse(document.getElementById("data").textContent);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  drawPlots();
}

document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
document.querySelectorAll(".chart").forEach(addToggles);
document.querySelectorAll(".distribution").forEach(addPlaces);
drawPlots();
document.querySelectorAll(".comparison").forEach((root) => new PictureComparison(root));
document.querySelectorAll("table").forEach(sortable);
document.querySelectorAll(".copy").forEach((button) =>
  button.addEventListener("click", () => copy(document.getElementById(button.dataset.copy).textContent)));
document.querySelectorAll(".copy-table").forEach((button) =>
  button.addEventListener("click", () => copy(tableText(button.closest(".table").querySelector("table")))));
document.getElementById("bands")?.addEventListener("change", drawPlots);
document.getElementById("theme").addEventListener("click", () =>
  setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
// paper is white and narrow
for (const [event, on] of [["beforeprint", true], ["afterprint", false]]) {
  addEventListener(event, () => {
    printing = on;
    drawPlots();
    document.querySelectorAll(".js-plotly-plot").forEach((plot) => {
      const [width, height] = plot.closest(".grid") ? [320, 320] : [660, 350]; // two charts to a page
      Plotly.relayout(plot, on ? { width, height, autosize: false } : { width: undefined, height: undefined, autosize: true });
    });
  });
}
document.documentElement.dataset.ready = "true";
