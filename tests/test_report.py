"""The HTML report: what is in it, and that it needs nothing else."""

import html
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import synthetic_results
import torch
from PIL import Image
from report_example import example
from typer.testing import CliRunner

from jscclink.baselines.uncoded import Uncoded
from jscclink.errors import InputError
from jscclink.simulator import published, runner
from jscclink.simulator.cli import app
from jscclink.simulator.envelope import with_ladder_envelopes
from jscclink.simulator.gains import gains
from jscclink.simulator.histogram import Histogram
from jscclink.simulator.report import (
    Comparison,
    Picture,
    distributions,
    render,
    write,
)
from jscclink.simulator.report.adapter import report_from_results
from jscclink.simulator.report.citations import citations
from jscclink.simulator.report.distributions import thinned
from jscclink.simulator.report.samples import sample
from jscclink.simulator.results import SchemeInfo, load_results
from jscclink.simulator.study import Study


def test_what_is_said_is_escaped_and_exact():
    text = render(example())
    assert "<script>alert(1)" not in text
    study = re.search(r'<pre id="study"[^>]*>(.*?)</pre>', text, re.DOTALL)[1]
    assert html.unescape(study) == example().study
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert data["charts"][0]["series"][0]["label"] == "A <b>&</b>"
    assert data["constellations"][0]["imag"] == [0.5, None], "JSON knows no nan"
    assert "What &lt;it&gt; is." in text and "2 of 3 &lt;SNRs&gt;" in text
    assert render(example()) == text


def test_the_page_names_nothing_outside_itself():
    text = render(example())
    own = re.sub(r"<script>/\*\*?.*?</script>", "", text, flags=re.DOTALL)
    assert len(own) < 200_000, "plotly is not taken for the page's own"
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", re.sub(r"<script.*?</script>", "", own, flags=re.DOTALL))
    assert "default-src 'none'" in own, "and the browser is told to load nothing"


def test_a_report_of_more_than_10_mb_is_refused(tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (1000, 1000, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).save(data, "PNG")
    many = replace(example(), comparisons=(Comparison("x", data.getvalue(), (Picture("A", 0.0, data.getvalue()),)),))
    with pytest.raises(InputError, match=r"12\.\d MB, at most 10 are allowed; its pictures have 6\.0 MB.*fewer"):
        write(many, tmp_path / "report.html")
    with pytest.raises(InputError, match="cannot be written"):
        write(example(), tmp_path / "no" / "report.html")


def test_results_become_curves_tables_and_references():
    results = synthetic_results.pictures()
    data = report_from_results(results)
    psnr = next(chart for chart in data.charts if chart.title == "PSNR, AWGN")
    assert [(one.label, one.kind) for one in psnr.series] == [
        ("JPEG + LDPC", "measured"),
        ("Joint", "measured"),
        ("Capacity (bound)", "bound"),
    ]
    row = results.curve("Joint", "AWGN", 1 / 12)[1]
    assert (psnr.series[1].x[1], psnr.series[1].y[1]) == (5.0, row.metrics["psnr"].value)
    assert (psnr.series[1].low[1], psnr.series[1].high[1]) == (row.metrics["psnr"].low, row.metrics["psnr"].high)
    assert psnr.series[2].low == (), "bounds have no band"
    outage = next(chart for chart in data.charts if chart.title.startswith("outage"))
    assert outage.log_y and outage.series[0].upper == (False, False, True)
    assert len(data.tables[0].rows) == len(results.rows)
    assert data.study == results.provenance.study
    assert data.provenance["seed"] == "3"
    joined = "".join(data.citations)
    for key in ("{jscclink,", "{hjscc,", "{ts38212,", "{shannon,", "{pytorch,"):
        assert key in joined
    assert "{bpg," not in joined, "what was not used is not cited"


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Two rungs of a ladder and another scheme over SNR and CBR."""
    folder = tmp_path_factory.mktemp("swept")
    jpeg = {"name": "digital", "source": "jpeg"}
    schemes = {"uncoded": "uncoded", "JPEG, QPSK": jpeg | {"mcs": "qpsk 1/2"}, "JPEG, 16-QAM": jpeg | {"mcs": "16qam 1/2"}}
    wide = {"set": "kodak", "limit": 6, "crop": [96, 64]}
    runner.run(study(schemes=schemes, images=wide, cbr=[0.3, 0.4, 0.5], metrics=["psnr", "outage", "cbr"], draws=3), folder)
    return load_results(folder)


def test_ladders_have_an_envelope(swept):
    charts = {chart.title: chart for chart in report_from_results(swept).charts}
    psnr = {one.label: one for one in charts["PSNR, AWGN"].series}
    envelope = psnr["oracle envelope of JPEG, *, CBR 0.4"]
    rungs = [psnr[f"JPEG, {rung}, CBR 0.4"].y for rung in ("QPSK", "16-QAM")]
    assert "Bands are 95 % intervals; oracle envelopes (the best MCS" in report_from_results(swept).summary
    assert envelope.kind == "envelope" and envelope.y == tuple(map(max, *rungs)) and envelope.low == ()
    assert [one.kind for one in charts["outage rate, AWGN"].series].count("envelope") == 3
    assert "envelope" not in {one.kind for one in charts["channel bandwidth ratio, AWGN"].series}, "costs have no best"
    # no two digital schemes, or two that differ in more than their rung
    one = with_ladder_envelopes(synthetic_results.pictures(), "psnr")
    assert one.rows == synthetic_results.pictures().rows
    codes = {
        label: SchemeInfo({"name": "digital", "options": {"mcs": mcs, "source": source}}, False)
        for label, mcs, source in (("a", "qpsk 1/2", "jpeg"), ("b", "16qam 1/2", "bpg"))
    }
    assert with_ladder_envelopes(replace(swept, schemes=codes), "psnr").schemes == codes


def test_distributions_are_those_of_the_store(swept):
    (spread,) = report_from_results(swept).distributions
    places = list(dict.fromkeys(curve.place for curve in spread.curves))
    assert spread.title == "Distribution of PSNR, AWGN" and len(places) == 12 and places[1] == "5 dB, CBR 0.3"
    (curve,) = [one for one in spread.curves if (one.label, one.place) == ("uncoded", "5 dB, CBR 0.4")]
    (row,) = [row for row in swept.rows if (row.scheme, row.esno_db, row.cbr) == ("uncoded", 5, 0.4)]
    histogram = row.histograms["psnr"]
    p5 = histogram.quantile(0.05)
    assert curve.percentile == (p5.value, p5.low, p5.high) and curve.series == "uncoded, CBR 0.4"
    assert curve.values[0] == pytest.approx(histogram.values[0], rel=1e-4) and curve.shares[-1] == 1.0
    table = report_from_results(swept).tables[0]
    at = table.columns.index("psnr p5")
    (cells,) = [cells for cells in table.rows if cells[-1] == row.id]
    assert cells[at : at + 3] == curve.percentile and table.columns[at + 1 : at + 3] == ("low", "high")
    assert "cbr p5" in table.columns and "outage p5" not in table.columns


@pytest.mark.parametrize("n", [10, 240, 5000])
def test_thinned_steps_stay_within_their_share(n):
    values = np.sort(np.random.default_rng(n).normal(30, 3, n)).tolist()
    counts = np.random.default_rng(1).integers(1, 4, n).tolist()
    x, shares = thinned(Histogram(tuple(values), tuple(counts)), 100)
    assert len(x) == min(n, 100) and shares[-1] == 1.0 and x[-1] == pytest.approx(values[-1], rel=1e-4)
    exact = np.cumsum(counts) / sum(counts)
    at = np.searchsorted(x, np.array(values) * (1 + 1e-4), side="right")
    drawn = np.concatenate([[0], shares])[at]
    assert np.abs(drawn - exact).max() <= 0.0101 + 3 / sum(counts)


def test_many_points_keep_the_page_small(swept, monkeypatch):
    monkeypatch.setattr(distributions, "_MOST_STEPS", 24 * 20)  # no room for 36 curves
    (spread,) = report_from_results(swept).distributions
    assert {one.place.split(" dB")[0] for one in spread.curves} == {"0", "10"} and len(spread.curves) == 18
    assert spread.note == "2 of 4 SNRs; `jscclink plot --distribution` draws the others"
    monkeypatch.setattr(distributions, "_MOST_STEPS", 24 * 40)
    (spread,) = report_from_results(swept).distributions
    assert len(spread.curves) == 36 and spread.note == ""


def test_gains_stand_in_a_table(swept):
    tables = {table.title: table for table in report_from_results(swept).tables}
    over_cbr, over_snr = (
        tables[f"Average gain over {what}"] for what in ("the CBR, at a fixed Es/N0", "Es/N0, at a fixed CBR")
    )
    wanted = gains(swept, "psnr")
    assert len(over_cbr.rows) + len(over_snr.rows) == len(wanted) == 8 + 6
    assert over_snr.rows[0][:6] == ("uncoded", "JPEG, QPSK", "AWGN", 0.3, 0.0, 15.0)
    assert over_snr.rows[0][6] == next(one for one in wanted if one.over == "esno_db").quality.value
    assert "BD-rate: mean difference in CBR at equal psnr" in over_cbr.note
    against = report_from_results(swept, reference="uncoded").tables
    assert {row[1] for table in against[1:] for row in table.rows} == {"uncoded"}


def test_a_study_says_what_is_compared_with(tmp_path):
    runner.run(study(draws=1, reference="uncoded"), tmp_path)
    differences = report_from_results(load_results(tmp_path)).tables[1]
    assert {row[:2] for row in differences.rows} == {("JPEG", "uncoded")}
    with pytest.raises(InputError, match="reference: no scheme 'uncode'; did you mean 'uncoded'"):
        study(reference="uncode")


def test_every_reference_is_well_formed():
    import importlib.resources

    text = importlib.resources.files("jscclink.simulator.report").joinpath("references.bib").read_text("utf-8")
    entries = re.findall(r"^@\w+\{(\w+),\n((?:  \w+ = \{.*\},\n)+)\}$", text, re.MULTILINE)
    assert len(entries) == text.count("@") == len({key for key, _ in entries}) > 15
    assert all(body.count("{") == body.count("}") and "title = " in body for _, body in entries)
    assert all(entry.startswith("@") for entry in citations(synthetic_results.pictures()))


def test_published_points_stand_beside_their_curves():
    kodak = [f"kodim{i:02d}.png" for i in range(1, 25)]
    results = synthetic_results.pictures(cbrs=(1 / 16,), images=kodak)
    points = [published.Published("kodak", "awgn", 10.0, 1 / 16, "psnr", 33.6, "WITT", "figure", "WITT repository, figure 3")]
    data = report_from_results(results, published=points)
    marks = [(chart.title, one) for chart in data.charts for one in chart.series if one.kind == "published"]
    assert [(title, one.x, one.y) for title, one in marks] == [("PSNR, AWGN", (10.0,), (33.6,))]
    assert marks[0][1].label == "WITT (WITT repository, read off)"
    with pytest.raises(InputError, match="no published point belongs"):
        report_from_results(synthetic_results.pictures(), published=points)


def study(**changed):
    base = {
        "name": "small",
        "images": {"set": "kodak", "pick": [5, 23], "crop": [96, 64]},
        "channels": {"AWGN": "awgn"},
        "schemes": {"uncoded": {"name": "uncoded"}, "JPEG": {"name": "digital", "source": "jpeg", "mcs": "qpsk 1/2"}},
        "esno_db": [0, 5, 10, 15],
        "cbr": [0.5],
        "metrics": ["psnr"],
    }
    return Study.from_mapping({**base, **changed})


def test_samples_are_what_the_link_gives():
    made = sample(study(), picture=1)
    (comparison,) = made.comparisons
    assert comparison.title.startswith("kodim23.png on AWGN")
    assert {(p.scheme, p.esno_db) for p in comparison.pictures} == {
        (s, e) for s in ("uncoded", "JPEG") for e in (0.0, 10.0, 15.0)
    }
    original = np.asarray(Image.open(io.BytesIO(comparison.original)), float)
    for one in comparison.pictures:
        received = np.asarray(Image.open(io.BytesIO(one.png)), float)
        psnr = 10 * np.log10(255**2 / ((received - original) ** 2).mean())
        assert f"PSNR {psnr:.2f} dB" in one.caption
    (uncoded, jpeg) = made.constellations
    assert "10 dB" in jpeg.title and len(uncoded.real) > 100
    # QPSK at 10 dB: unit energy and a tenth of noise
    assert np.hypot(jpeg.real, jpeg.imag).mean() == pytest.approx(1.0, abs=0.1)


def test_rate_maps_of_schemes_that_have_them(monkeypatch):
    monkeypatch.setattr(Uncoded, "rate_map", lambda self, picture, budget: torch.arange(6.0).reshape(2, 3), raising=False)
    (found,) = sample(study(), esno_db=[5]).rate_maps
    assert (found.title, found.values) == ("uncoded, CBR 0.5", ((0.0, 1.0, 2.0), (3.0, 4.0, 5.0)))


def test_samples_that_cannot_be():
    with pytest.raises(InputError, match="no picture 2; it has 2"):
        sample(study(), picture=2)
    with pytest.raises(InputError, match=r"SNRs \[3\] dB: the study has 0, 5, 10, 15 dB"):
        sample(study(), esno_db=[3])


def test_on_the_command_line(tmp_path):
    folder, page = tmp_path / "results", tmp_path / "page.html"
    runner.run(study(draws=1), folder)
    done = CliRunner().invoke(app, ["report", str(folder), "-o", str(page), "--picture", "1", "--esno", "10"])
    assert done.exit_code == 0, done.output
    text = page.read_text("utf-8")
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert [chart["title"] for chart in data["charts"]] == ["PSNR, AWGN"]
    assert [one["scheme"] for one in data["comparisons"][0]["pictures"]] == ["uncoded", "JPEG"]
    assert "Paired differences of psnr" in text and "uncoded minus" not in text
    assert "psnr of the scheme minus that of JPEG" in text, "the digital scheme is the reference"
    turned = CliRunner().invoke(app, ["report", str(folder), "-o", str(page), "--no-pictures", "--reference", "uncoded"])
    assert turned.exit_code == 0 and "psnr of the scheme minus that of uncoded" in page.read_text("utf-8")
    for arguments, words in (
        ([str(tmp_path), "-o", str(page)], "no results of a study here"),
        ([str(folder), "-o", str(tmp_path / "page.pdf")], "a report ends in .html"),
        ([str(folder), "-o", str(page), "--x", "snr"], "no axis 'snr'; allowed: esno_db"),
        ([str(folder), "-o", str(page), "--reference", "J"], "no scheme 'J' to compare with; there are 'uncoded', 'JPEG'"),
        ([str(folder), "-o", str(page), "--esno", "3"], "the study has 0, 5, 10, 15 dB"),
    ):
        refused = CliRunner().invoke(app, ["report", *arguments])
        assert refused.exit_code == 2 and words in refused.output, refused.output
