"""Figures: what is drawn is what was measured, and the same results give the same bytes."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import synthetic_results
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from jscclink.errors import InputError
from jscclink.simulator import figures, look, published
from jscclink.simulator.envelope import with_oracle_envelope

REFERENCE = Path(__file__).parents[1] / "studies" / "reference" / "published.csv"


def curves(ax):
    """label -> (x, y) of the lines that have one."""
    return {line.get_label(): line.get_xydata().T.tolist() for line in ax.lines if not line.get_label().startswith("_")}


def test_draw_puts_the_numbers_on_axes_of_ones_own():
    results = synthetic_results.pictures()
    ax = Figure().subplots()
    rows = results.curve("Joint", "AWGN", 1 / 12)
    figures.draw(ax, rows, "psnr", label="mine")
    assert curves(ax) == {"mine": [[0, 5, 10], [row.metrics["psnr"].value for row in rows]]}
    (band,) = ax.collections
    edges = band.get_paths()[0].vertices
    number = rows[1].metrics["psnr"]
    at_five = sorted(set(edges[edges[:, 0] == 5][:, 1]))
    assert at_five == pytest.approx([number.low, number.high])
    assert ax.get_yscale() == "linear"


def test_band_over_draws_is_that_of_the_draws():
    rows = synthetic_results.pictures().curve("Joint", "AWGN", 1 / 12)
    ax = Figure().subplots()
    figures.draw(ax, rows, "psnr", band="draws")
    edges = ax.collections[0].get_paths()[0].vertices
    number = rows[0].metrics["psnr"]
    half = number.draws_half_width
    assert sorted(set(edges[edges[:, 0] == 0][:, 1])) == pytest.approx([number.value - half, number.value + half])
    assert 0 < half < (number.high - number.low) / 2
    ax = Figure().subplots()
    figures.draw(ax, rows, "psnr", band="none")
    assert not ax.collections


def test_point_without_errors_is_an_arrow_never_zero():
    rows = synthetic_results.bits().rows
    ax = Figure().subplots()
    figures.draw(ax, rows, "ber", label="QPSK")
    assert ax.get_yscale() == "log"
    at, values = curves(ax)["QPSK"]
    assert at == [0, 2, 4] and values[:2] == [0.06, 0.01] and math.isnan(values[2])
    (arrow,) = ax.texts
    limit = rows[2].metrics["ber"].high
    assert arrow.xyann == (4.0, limit) and arrow.xy[1] < limit
    assert all((np.isnan(line.get_ydata()) | (np.array(line.get_ydata()) > 0)).all() for line in ax.lines)
    assert ax.get_ylim()[0] > 0


def test_bounds_have_no_arrows_and_arrows_stand_apart():
    rows = synthetic_results.bits().rows
    ax = Figure().subplots()
    figures.draw(ax, rows, "ber", line=look.line_of(0, bound=True))
    assert not ax.texts
    lines = [look.line_of(i) for i in range(5)]
    assert len({line.dodge_points for line in lines}) == 5 and lines[0].dodge_points == 0


def test_absent_points_stay_absent():
    results = synthetic_results.pictures()
    rows = [row for row in results.curve("Joint", "AWGN", 1 / 12) if row.esno_db != 5]
    ax = Figure().subplots()
    figures.draw(ax, rows, "psnr", label="gap")
    assert curves(ax)["gap"][0] == [0, 10]
    figures.draw(ax, [], "psnr", label="nothing")
    assert "nothing" not in curves(ax)


def test_some_snrs_and_rates_alone():
    results = synthetic_results.pictures(cbrs=(1 / 24, 1 / 12, None))
    page = figures.figure(results.only(cbr=[1 / 12], esno_db=[0, 10]), "psnr", x="esno_db")
    found = curves(page.axes[0])
    # the scheme without a budget stays, and the only budget left needs no mention
    assert found["Joint"][0] == [0, 10]
    assert not any("CBR" in label for label in found)
    assert "Joint, CBR 0.0417" in curves(figures.figure(results, "psnr").axes[0])
    assert results.only() == results


def test_panels_curves_and_bounds():
    results = synthetic_results.pictures(cbrs=(1 / 24, 1 / 12))
    page = figures.figure(results, "psnr")
    assert [ax.get_title() for ax in page.axes] == ["AWGN", "slow Rayleigh"]
    found = curves(page.axes[0])
    assert len(found) == 6 and found["Joint, CBR 0.0833"][0] == [0, 5, 10]
    bounds = [line for line in page.axes[0].lines if line.get_label().startswith("Capacity")]
    others = [line for line in page.axes[0].lines if line.get_label().startswith(("JPEG", "Joint"))]
    assert all(line.get_marker() == "" and line.get_linestyle() == "--" and line.get_linewidth() < 1 for line in bounds)
    assert len({(line.get_color(), line.get_marker()) for line in others}) == 4
    assert "E_s/N_0" in page._supxlabel.get_text() and page._supylabel.get_text() == "PSNR (dB)"
    assert page.get_figwidth() == look.PAGE_IN


def test_over_bandwidth_the_ledger_is_the_axis():
    results = synthetic_results.pictures(cbrs=(1 / 24, 1 / 12, 1 / 6), snrs=(10,))
    page = figures.figure(results)
    at, _ = curves(page.axes[0])["Joint"]
    rows = [row for row in results.rows if row.scheme == "Joint" and row.channel == "AWGN"]
    assert at == [row.metrics["cbr"].value for row in rows] and at[0] < 1 / 24
    assert page._supxlabel.get_text() == "channel bandwidth ratio"


def test_styles_are_distinct_also_in_grey_and_for_many_curves():
    lines = [look.line_of(i) for i in range(21)]
    assert len({(line.color, line.marker, str(line.linestyle)) for line in lines}) == 21
    assert len({line.marker for line in lines[:7]}) == 7
    greys = sorted(np.dot(to_rgb(color), [0.2126, 0.7152, 0.0722]) for color in look.PALETTE)
    assert greys[-1] < 0.75  # visible on white


def test_same_results_same_bytes(tmp_path):
    """Drawn in two interpreters with unlike hash seeds; nobody's pyplot is touched."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import synthetic_results as s\n"
        "from jscclink.simulator import figures\n"
        "page = figures.figure(s.pictures())\n"
        "for suffix in ('pdf', 'svg', 'png'): figures.save(page, f'{sys.argv[2]}.{suffix}')\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    for name in ("one", "two"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / name)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": str(len(name) + ord(name[0]))},
        )
        assert done.stdout.strip() == "False"
    for suffix in ("pdf", "svg", "png"):
        data = (tmp_path / f"one.{suffix}").read_bytes()
        assert data == (tmp_path / f"two.{suffix}").read_bytes(), suffix
        assert len(data) > 5000 and b"/CreationDate" not in data and b"<dc:date>" not in data
    with Image.open(tmp_path / "one.png") as image:
        assert image.size[0] == pytest.approx(look.PAGE_IN * 300, abs=2)


def test_wrong_requests_are_one_line(tmp_path):
    results = synthetic_results.pictures()
    with pytest.raises(InputError, match="no metric 'psn'; measured: psnr, outage, cbr"):
        figures.figure(results, "psn")
    with pytest.raises(InputError, match="no horizontal axis 'snr'; allowed: esno_db, ebno_db, cbr"):
        figures.figure(results, x="snr")
    with pytest.raises(InputError, match=r"figures end in \.pdf, \.svg, \.png"):
        figures.save(figures.figure(results), tmp_path / "figure.gif")
    with pytest.raises(InputError, match="cannot be written"):
        figures.save(figures.figure(results), tmp_path / "no" / "figure.pdf")


KODAK = [f"kodim{i:02d}.png" for i in range(1, 25)]


def test_published_points_are_unfilled_and_named_with_their_source():
    results = synthetic_results.pictures(cbrs=(1 / 16,), images=KODAK)
    points = published.comparable(published.read(REFERENCE), results, "psnr", "esno_db", ["WITT"])
    page = figures.figure(results, "psnr", published=points)
    (line,) = [line for line in page.axes[0].lines if line.get_label().startswith("WITT")]
    assert line.get_markerfacecolor() == "none" and line.get_linestyle() == "None"
    assert line.get_label() == "WITT (WITT repository, read off)"
    at, values = curves(page.axes[0])[line.get_label()]
    # the file has 10 dB twice, from the curve over bandwidth and the one over SNR
    assert at == [1, 4, 7, 10, 10, 13]
    assert values == [29.67, 31.31, 32.63, 33.6, 33.6, 34.29]
    # its real-valued fading is not our complex one: nothing beside the Rayleigh curves
    assert not any(label.startswith("WITT") for label in curves(page.axes[1]))


def test_published_points_over_bandwidth():
    results = synthetic_results.pictures(cbrs=(1 / 24, 1 / 12, 1 / 8), snrs=(10,), images=KODAK)
    points = published.comparable(published.read(REFERENCE), results, "psnr", "cbr", ["NTSCC", "BPG+capacity"])
    assert {point.system for point in points} == {"NTSCC", "BPG+capacity"}
    assert all(math.isclose(point.esno_db, 10) for point in points)


def test_published_points_of_other_pictures_are_refused(tmp_path):
    results = synthetic_results.pictures(cbrs=(1 / 16,))
    with pytest.raises(InputError, match="no published point belongs to this study"):
        published.comparable(published.read(REFERENCE), results, "psnr", "esno_db")
    with pytest.raises(InputError, match=r"no published points of 'WITTY'; known: .*WITT"):
        published.comparable(published.read(REFERENCE), results, "psnr", "esno_db", ["WITTY"])
    with pytest.raises(InputError, match="the columns must be dataset, channel"):
        (tmp_path / "a.csv").write_text("a,b\n1,2\n")
        published.read(tmp_path / "a.csv")
    with pytest.raises(InputError, match="entry 1: snr_db, cbr and value are numbers"):
        (tmp_path / "b.csv").write_text(",".join(published.COLUMNS) + "\nkodak,awgn,ten,0.1,psnr_db,30,X,figure,Y\n")
        published.read(tmp_path / "b.csv")
    with pytest.raises(InputError, match="not readable as CSV"):
        published.read(tmp_path / "none.csv")


def test_the_oracle_envelope_is_the_best_at_each_point_and_a_bound():
    results = synthetic_results.pictures()
    found = with_oracle_envelope(results, "J*", "psnr")
    label = "oracle envelope of J*"
    assert found.schemes[label].bound and found.schemes[label].plugin["options"]["of"] == ["JPEG + LDPC", "Joint"]
    own = [row for row in found.rows if row.scheme == label]
    assert [row.metrics["psnr"] for row in own] == [row.metrics["psnr"] for row in results.rows if row.scheme == "Joint"]
    with pytest.raises(InputError, match="JPEG"):
        with_oracle_envelope(results, "JPEG*", "psnr")


def test_the_envelope_lies_broad_and_pale_under_the_curves():
    page = figures.figure(with_oracle_envelope(synthetic_results.pictures(), "J*", "psnr"), "psnr")
    lines = {line.get_label(): line for line in page.axes[0].lines}
    envelope = lines.pop("oracle envelope of J*")
    shown = [line for label, line in lines.items() if not label.startswith("_")]
    assert len(shown) == 3 and all(envelope.get_linewidth() > 2 * line.get_linewidth() for line in shown)
    assert all(envelope.get_zorder() < line.get_zorder() for line in shown)


def test_no_two_published_systems_look_alike_and_none_is_named_twice():
    results = synthetic_results.pictures(cbrs=(1 / 16,), images=KODAK)
    points = published.comparable(published.read(REFERENCE), results, "psnr", "esno_db")
    page = figures.figure(results, "psnr", published=points)
    unfilled = [line for line in page.axes[0].lines if line.get_markerfacecolor() == "none"]
    assert len(unfilled) == len({point.system for point in points}) >= 7
    assert len({(line.get_marker(), line.get_markeredgecolor()) for line in unfilled}) == len(unfilled)
    assert len({line.get_marker() for line in unfilled}) == len(unfilled), "also on a grey copy"
    texts = [text.get_text() for text in page.legends[0].get_texts()]
    assert len(texts) == len(set(texts)) == 3 + len(unfilled)


def test_a_long_legend_takes_nothing_from_the_panels():
    results = synthetic_results.pictures(cbrs=(1 / 16,), images=KODAK)
    points = published.comparable(published.read(REFERENCE), results, "psnr", "esno_db")
    heights = []
    for beside in ([], points):
        page = figures.figure(results, "psnr", published=beside)
        page.draw_without_rendering()
        heights.append(page.axes[0].get_window_extent().height / page.dpi)
        legend = page.legends[0].get_window_extent()
        assert all(not legend.overlaps(ax.get_tightbbox()) for ax in page.axes)
        assert page.bbox.contains(legend.x0, legend.y0) and page.bbox.contains(legend.x1, legend.y1)
    assert heights[1] == pytest.approx(heights[0], abs=0.2) and heights[0] > 1.5
