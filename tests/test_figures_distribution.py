"""The figure of distributions: steps through every picture and draw, and the 5th percentile with its interval."""

import pytest
import synthetic_results
from typer.testing import CliRunner

from jscclink.errors import InputError
from jscclink.simulator import figures_distribution, runner
from jscclink.simulator.cli import app
from jscclink.simulator.look import PAGE_IN
from jscclink.simulator.results import load_results
from jscclink.simulator.study import Study


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("results")
    study = {
        "name": "small",
        "images": {"set": "kodak", "pick": [5, 23], "crop": [64, 48]},
        "channels": {"fading": {"name": "rayleigh", "form": "slow"}, "AWGN": "awgn"},
        "schemes": {"uncoded": "uncoded", "JPEG": {"name": "digital", "source": "jpeg", "mcs": "qpsk 1/2"}},
        "esno_db": [0, 10],
        "cbr": [0.5],
        "metrics": ["psnr", "outage"],
        "draws": 12,
    }
    runner.run(Study.from_mapping(study), place)
    return place


def test_the_figure_shows_steps_and_the_percentile(folder):
    results = load_results(folder)
    page = figures_distribution.figure(results, "psnr")
    assert [ax.get_title() for ax in page.axes] == ["fading, 0 dB", "fading, 10 dB", "AWGN, 0 dB", "AWGN, 10 dB"]
    assert page.get_figwidth() == PAGE_IN
    (row,) = [r for r in results.rows if (r.scheme, r.channel, r.esno_db) == ("uncoded", "fading", 10)]
    steps = {line.get_label(): line for line in page.axes[1].lines if not line.get_label().startswith("_")}
    x, y = steps["uncoded"].get_data()
    assert sum(row.histograms["psnr"].counts) == 24
    assert tuple(x[1:]) == row.histograms["psnr"].values and y[0] == 0 and y[-1] == 1
    marks = [line.get_xydata().tolist() for line in page.axes[1].lines if line.get_linestyle() == "None"]
    assert [[row.histograms["psnr"].quantile(0.05).value, 0.05]] in marks and len(marks) == 2
    assert len({str(line.get_linestyle()) + str(line._dash_pattern) for line in steps.values()}) == 2, "also on a grey copy"


def test_on_the_command_line(folder, tmp_path):
    target = tmp_path / "cdf.pdf"
    done = CliRunner().invoke(app, ["plot", str(folder), "-o", str(target), "--distribution", "--esno", "10"])
    assert done.exit_code == 0, done.output
    assert target.read_bytes().startswith(b"%PDF")
    for arguments, words in (
        (["--distribution", "--esno", "3"], "the study has 0, 10 dB"),
        (["--distribution", "--metric", "outage"], "only means over pictures have one"),
        (["--distribution", "--band", "draws"], "leave the other options out"),
        (["--esno", "3"], "Es/N0 3 dB: the study has 0, 10 dB"),
        (["--cbr", "1/7"], "CBR 0.142857: the study has"),
    ):
        refused = CliRunner().invoke(app, ["plot", str(folder), "-o", str(target), *arguments])
        assert refused.exit_code == 2 and words in " ".join(refused.output.split()), refused.output


def test_what_has_no_distribution_is_refused():
    with pytest.raises(InputError, match="no metric 'psn'; measured: psnr"):
        figures_distribution.figure(synthetic_results.pictures(), "psn")
    with pytest.raises(InputError, match="has a distribution of 'ber'"):
        figures_distribution.figure(synthetic_results.bits(), "ber")
