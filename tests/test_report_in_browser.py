"""The HTML report in Chromium: that it works from disk, asks for nothing, and how it looks on screen and paper."""

import re

import numpy as np
import pytest
from PIL import Image
from report_example import example
from report_in_browser import chromium, needs_chromium, probed

from jscclink.simulator.report import render, write

PROBE = """
const plots = [...document.querySelectorAll(".chart .plot")];
const first = (element) => element.dispatchEvent(new Event("input", { bubbles: true }));
const cdf = document.querySelector(".distribution .plot"), place = document.querySelector(".distribution select");
const starts = () => cdf.data.filter((t) => t.line?.shape === "hv").map((t) => [t.x[0], t.y[0], t.x.at(-1), t.y.at(-1)]);
const marks = () => cdf.data.filter((t) => t.mode === "markers").map((t) => [t.x[0], t.y[0], t.marker.color]);
answers.steps = starts();
answers.marks = marks();
answers.interval = cdf.data.filter((t) => t.line?.width === 5).map((t) => t.x);
place.value = "10 dB"; first(place);
answers.later = [starts()[0][0], marks()[0][0], document.querySelector(".distribution figcaption").textContent];
document.querySelector(".distribution .toggles input").click();
answers.without = cdf.data.length;
document.querySelector(".distribution .toggles input").click();
answers.firstColor = plots[0].data.find((t) => t.mode === "lines+markers").line.color;
answers.envelope = [plots[0].data[0].line.width, plots[0].data[0].mode];
answers.traces = plots.map((plot) => plot.data.length);
answers.symbols = plots[0].data.filter((t) => t.mode === "markers").map((t) => t.marker.symbol);
answers.dashes = plots[0].data.filter((t) => t.mode === "lines" && t.line.width).map((t) => t.line.dash);
const box = document.querySelector(".toggles input");
box.click();
answers.afterToggle = plots[0].data.length;
box.click();
const bands = document.getElementById("bands");
const edges = () => plots[0].data.filter((t) => t.fill === "tonexty").map((t) => t.y[0]);
answers.band = edges();
bands.value = "draws"; bands.dispatchEvent(new Event("change"));
answers.draws = edges();
bands.value = "none"; bands.dispatchEvent(new Event("change"));
answers.none = edges();
const table = document.querySelector("table"), column = table.querySelectorAll("th button")[1];
const order = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent).join("");
column.click(); answers.ascending = order() + table.querySelectorAll("th")[1].ariaSort;
column.click(); answers.descending = order();
answers.copied = tableText(table);
const stage = document.querySelector(".stage"), [below, above] = stage.querySelectorAll("img");
await below.decode();
answers.pictures = [above.alt, below.alt];
const snr = document.querySelector('.controls input[type="range"]');
snr.value = snr.max; first(snr);
answers.pictureAtHighestSnr = above.src === DATA.comparisons[0].pictures[1].source;
const split = document.querySelector(".split");
split.value = "20"; first(split);
answers.clip = above.style.clipPath;
const frame = document.querySelector(".frame"), before = frame.style.left;
stage.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", cancelable: true }));
answers.moved = [parseFloat(before), parseFloat(frame.style.left)];
answers.crops = document.querySelectorAll(".crop").length;
const named = (e) => e.getAttribute("aria-label") || e.textContent.trim() || e.closest("label") || e.labels?.length;
const all = [...document.querySelectorAll("button, select, input, a[href], [tabindex]")];
const controls = all;
const bar = (name) => plots[0].querySelector(`.modebar-btn[data-title="${name}"]`);
answers.buttons = [...document.querySelectorAll(".modebar-btn")].map((e) => e.dataset.title);
answers.server = plots[0]._context.plotlyServerURL;
const width = () => plots[0].layout.xaxis.range[1] - plots[0].layout.xaxis.range[0];
const whole = width();
bar("Zoom in").focus();
answers.focus = document.activeElement === bar("Zoom in");
bar("Zoom in").click();
answers.zoom = [whole, width()];
answers.unreachable = controls.filter((e) => e.tabIndex < 0).length;
answers.unnamed = controls.filter((e) => !named(e) && !e.matches("pre")).map((e) => e.outerHTML);
const theme = document.documentElement.dataset.theme;
document.getElementById("theme").click();
answers.theme = [theme, document.documentElement.dataset.theme, plots[0].layout.font.color];
dispatchEvent(new Event("beforeprint"));
answers.print = [plots[0].layout.width, plots[0].layout.font.color];
dispatchEvent(new Event("afterprint"));
"""


@needs_chromium
@pytest.mark.slow
def test_in_a_browser_from_disk(tmp_path):
    page = write(example(), tmp_path / "report.html")
    assert page.stat().st_size < 10_000_000
    dom, answers, asked = probed(page, tmp_path, PROBE)
    assert asked == set(), "nothing is loaded from anywhere"
    assert 'data-ready="true"' in dom
    assert answers is not None, "the scripts ran through"
    # the distribution at the middle place; bounds have no percentile; a percentile whose lower end is not known
    assert answers["steps"] == [[25, 0, 27, 1], [25, 0, 27, 1]]
    assert answers["marks"] == [[25, 0.05, answers["firstColor"]]], "one colour per scheme in charts and distributions"
    assert answers["interval"] == [[25, 27]]
    assert answers["later"] == [30, 30, "Distribution of PSNR, at 10 dB"] and answers["without"] == 1
    assert answers["envelope"] == [7, "lines"], "the envelope lies under all others"
    # envelope, band (2) + line, bound, published; band + line + arrow
    assert answers["traces"] == [6, 4]
    assert answers["symbols"] == ["circle-open"] and answers["dashes"] == ["solid", "dash"]
    assert answers["afterToggle"] == 3
    assert (answers["band"], answers["draws"], answers["none"]) == ([21], [20.1], [])
    assert answers["ascending"] == "abcascending" and answers["descending"] == "bac"
    assert answers["copied"].splitlines()[1:] == [
        f"{s}\t{v}\t{'ab' * 32}" for s, v in (("b", "10.0"), ("a", "9.123456789"), ("c", ""))
    ]
    assert answers["pictures"] == ["A at 10 dB", "B at 10 dB"] and answers["crops"] == 3
    assert answers["pictureAtHighestSnr"] and answers["clip"] == "inset(0px 80% 0px 0px)"
    assert answers["moved"][1] < answers["moved"][0]
    assert answers["unreachable"] == 0 and answers["unnamed"] == []
    assert answers["focus"] and 0 < answers["zoom"][1] < answers["zoom"][0], "zoom by the keyboard"
    assert not [name for name in answers["buttons"] if "hare" in name or "loud" in name] and answers["server"] == ""
    assert answers["theme"] == ["light", "dark", "#e8e8e8"]
    assert answers["print"] == [660, "#000000"]


@needs_chromium
@pytest.mark.slow
def test_the_network_check_can_fail(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text('<html><body><img src="http://127.0.0.1:9/x.png"></body></html>')
    assert probed(page, tmp_path, "")[2] == {"http://127.0.0.1:9/x.png"}
    allowed = render(example()).replace("<main", '<img src="http://127.0.0.1:9/y.png"><main')
    page.write_text(allowed, "utf-8")
    assert probed(page, tmp_path, "")[2] == set(), "the page's own policy stops even what is put into it"


def screenshot(page, folder, *arguments):
    target = folder / "shot.png"
    chromium(page, folder, "--window-size=1000,2600", f"--screenshot={target}", *arguments)
    return np.asarray(Image.open(target).convert("RGB")).astype(int)


def near(pixels, colour, slack=12):
    return int((np.abs(pixels - colour).max(2) <= slack).sum())


@needs_chromium
@pytest.mark.slow
def test_how_it_looks(tmp_path):
    page = write(example(), tmp_path / "report.html")
    light = screenshot(page, tmp_path)
    assert tuple(light[5, 5]) == (255, 255, 255)
    assert near(light, (0, 0x72, 0xB2)) > 300, "the first curve"
    assert near(light, (250, 200, 0), 40) + near(light, (250, 100, 0), 120) > 1000, "a received picture"
    page.write_text(page.read_text("utf-8").replace("</body>", "<script>setTheme('dark')</script></body>"), "utf-8")
    dark = screenshot(page, tmp_path)
    assert tuple(dark[5, 5]) == (0x15, 0x17, 0x1A)
    assert near(dark, (0, 0x72, 0xB2)) > 300


@needs_chromium
@pytest.mark.slow
def test_on_paper(tmp_path):
    page = write(example(), tmp_path / "report.html")
    target = tmp_path / "report.pdf"
    chromium(page, tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={target}")
    pages = len(re.findall(rb"/Type\s*/Page\b", target.read_bytes()))
    assert 2 <= pages <= 6
    boxes = [tuple(map(float, box.split())) for box in re.findall(rb"/MediaBox\s*\[([^]]*)\]", target.read_bytes())]
    assert any(box[2] > box[3] for box in boxes) and any(box[2] < box[3] for box in boxes), "tables on their side"
