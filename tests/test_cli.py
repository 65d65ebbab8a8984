"""The command line, in process: what goes to stdout, what to stderr, and the exit codes."""

import dataclasses
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import synthetic_results
from PIL import Image
from scipy.io import loadmat
from typer.testing import CliRunner

from jscclink.errors import InputError
from jscclink.simulator import pictures, registry, runner
from jscclink.simulator.cli import app, values
from jscclink.simulator.executors import WorkerError

STUDY = """\
name: tiny
seed: 1
images: {set: kodak, pick: [5, 8], crop: [32, 48]}
channels: {AWGN: awgn}
schemes:
  Plain: uncoded
esno_db: [0, 10]
cbr: [1/6]
metrics: [psnr, outage, cbr]
draws: 2
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of one's own with a study in it, as the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(STUDY)
    return tmp_path


def call(*arguments, code=0):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def one_line(done):
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def table_rows(text):
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_help_is_light_and_names_the_commands():
    code = (
        "import sys; from jscclink.simulator.cli import app\n"
        "heavy = [m for m in ('torch', 'sionna', 'matplotlib', 'numba', 'scipy', 'PIL', 'numpy') if m in sys.modules]\n"
        "print(heavy); app()"
    )
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[]\n")
    for command in ("run", "plot", "export", "merge", "compare", "ber", "show", "list", "doctor", "bpg", "train", "data"):
        assert f"  {command} " in done.stdout


def test_run_prints_a_trace_that_runs_again(here):
    done = call("run", "tiny.yaml")
    rows = table_rows(done.stdout)
    assert [float(row.split()[0]) for row in rows] == [0.0, 10.0]
    assert "100 %" in done.stderr and "results are in results/tiny" in done.stderr
    table = (here / "results" / "tiny" / "table.csv").read_text()
    (here / "trace.txt").write_text(done.stdout)
    again = call("run", "trace.txt", "--quiet")
    assert again.stderr == ""
    assert (here / "results" / "trace" / "table.csv").read_text() == table
    # everything but the speed is the same
    assert [row.rsplit("||", 1)[0] for row in table_rows(again.stdout)] == [row.rsplit("||", 1)[0] for row in rows]


def test_run_goes_on_from_what_is_there(here):
    first = call("run", "tiny.yaml", "--out", "kept", "-q")
    stored = (here / "kept" / "batches.jsonl").read_text()
    assert call("run", "tiny.yaml", "--out", "kept", "-q").stdout == first.stdout
    assert (here / "kept" / "batches.jsonl").read_text() == stored


def test_set_changes_keys_of_the_study(here):
    done = call("run", "tiny.yaml", "-q", "--set", "esno_db=[4]", "--set", "images.pick=[3]")
    assert [float(row.split()[0]) for row in table_rows(done.stdout)] == [4.0]
    assert "\n#:   - 3\n" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "none.yaml"), "none.yaml: cannot be read"),
        (("run", "tiny.yaml", "--set", "sead=2"), "sead: no such key; did you mean 'seed'?"),
        (("run", "tiny.yaml", "--set", "draws"), "--set 'draws': write key=value"),
        (("run", "tiny.yaml", "--set", "images.pick=[99]"), "there is no picture 99"),
        (("run", "tiny.yaml", "-p", "0"), "processes must be a whole number from 1"),
        (("run", "tiny.yaml", "--device", "warp:0"), "device 'warp:0' is not usable here"),
        (("plot", "nowhere", "-o", "a.pdf"), "nowhere: no such folder"),
        (("plot", "tiny.yaml", "-o", "a.pdf"), "not run yet"),
        (("export", ".", "-o", "a.csv"), "no results of a study here"),
        (("list", "flavours"), "no kind 'flavours'; allowed: schemes, channels"),
        (("list", "channels", "rayliegh"), "did you mean rayleigh?"),
        (("ber", "--k", 100, "--n", 200), "give either --esno or --ebno"),
        (("ber", "--k", 100, "--n", 200, "--esno", "0", "--ebno", "0"), "give either --esno or --ebno"),
        (("ber", "--k", 100, "--n", 200, "--esno", "zero"), "--esno: got 'zero'"),
        (("ber", "--k", 100, "--n", 200, "--esno", "0:1:2:3"), "write FROM:TO:STEP"),
        (("ber", "--k", 100, "--n", 200, "--esno", "4:0:1"), "a range goes upwards"),
        (("ber", "--k", 100, "--n", 201, "--esno", "0"), "not whole qpsk symbols"),
        (("ber", "--k", 100, "--n", 200, "--esno", "0", "--code", "ldpc:iterations"), "has no '='"),
        (("ber", "--k", 100, "--n", 200, "--esno", "0", "--channel", "awgm"), "did you mean awgn?"),
        (("show", "none.png", "--scheme", "uncoded", "-o", "a.png"), "none.png: there is no such file"),
        (("show", "tiny.yaml", "--scheme", "uncoded", "-o", "a.png"), "a text, not a picture"),
        (("show", "kodim05", "--scheme", "digital", "-o", "a.png"), "needs the option 'mcs'"),
        (("show", "kodim05", "--scheme", "uncoded", "-o", "a.gif"), "figures end in"),
        (("show", "kodim05", "--scheme", "uncoded", "--cbr", "-1", "-o", "a.png"), "a CBR is positive"),
        (("show", "kodim05", "--scheme", "uncoded", "--cbr", "x", "-o", "a.png"), "--cbr: got 'x'"),
        (("show", "kodim05", "--scheme", "bits:k=8,code=none", "-o", "a.png"), "transmits blocks of bits"),
        (("data", "fetch", "imagenet"), "no set 'imagenet' to download"),
    ],
)
def test_bad_input_is_one_line_and_code_2(arguments, words, here):
    done = call(*arguments, code=2)
    assert words in one_line(done)
    assert done.stdout == ""


def test_bad_picture_of_a_study_stops_it_before_anything_is_computed(here):
    (here / "mine").mkdir()
    Image.new("RGB", (32, 32)).save("mine/a.png")
    (here / "mine" / "b.png").write_text("not a picture")
    arguments = ("run", "tiny.yaml", "--set", "images={folder: mine}", "--out", "kept")
    assert "b.png: a text, not a picture" in one_line(call(*arguments, code=2))
    assert not (here / "kept").exists()
    (here / "mine" / "b.png").unlink()
    assert len(table_rows(call(*arguments, "-q").stdout)) == 2


def test_usage_errors_have_code_2(here):
    assert "No such command" in call("runn", code=2).stderr
    assert "No such option" in call("run", "tiny.yaml", "--prcesses", "2", code=2).stderr


def test_plot_and_export(here):
    call("run", "tiny.yaml", "-q")
    assert call("plot", "tiny.yaml", "-o", "psnr.pdf").stdout == "psnr.pdf\n"
    call("plot", "results/tiny", "-o", "cbr.png", "--metric", "cbr", "--band", "none")
    assert (here / "psnr.pdf").read_bytes().startswith(b"%PDF") and pictures.shape("cbr.png")[2] > 900
    assert "allowed are interval, draws and none" in one_line(
        call("plot", "results/tiny", "-o", "a.pdf", "--band", "wide", code=2)
    )
    alone = call("plot", "results/tiny", "-o", "a.pdf", "--envelope", "Pl*", code=2)
    assert "an envelope is of two schemes or more; 'Pl*' fits Plain of Plain" in one_line(alone)
    call("export", "results/tiny", "-o", "r.csv")
    call("export", "results/tiny", "-o", "r.mat", "--format", "mat")
    assert call("export", "results/tiny", "-o", "rd.json", "--format", "rd-json").stdout.split() == ["rd-1.json", "rd-2.json"]
    value = loadmat("r.mat", simplify_cells=True)["results"]["metrics"]["psnr"]["value"]
    assert value.tolist() == [json.loads((here / f"rd-{i}.json").read_text())["results"]["psnr-rgb"][0] for i in (1, 2)]
    assert "no format 'xls'" in one_line(call("export", "results/tiny", "-o", "r.xls", "--format", "xls", code=2))


def test_interrupt_prints_what_there_is_and_exits_130(here, monkeypatch):
    call("run", "tiny.yaml", "-q", "--set", "esno_db=[0]")

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "run", interrupted)
    done = call("run", "tiny.yaml", "-q", code=130)
    assert len(table_rows(done.stdout)) == 1
    assert one_line(done) == "interrupted; what was finished is kept"


def test_failed_batches_exit_1(here, monkeypatch):
    failed = dataclasses.replace(synthetic_results.pictures(), failures=("batch 3: no memory",))
    monkeypatch.setattr(runner, "run", lambda *args, **kwargs: failed)
    done = call("run", "tiny.yaml", "-q", code=1)
    assert "# failed: batch 3: no memory" in done.stdout
    assert one_line(done) == "1 batches failed, first: batch 3: no memory"

    def dying(*args, **kwargs):
        raise WorkerError("12 workers died")

    monkeypatch.setattr(runner, "run", dying)
    assert one_line(call("run", "tiny.yaml", "-q", code=1)) == "error: 12 workers died"


def test_list_shows_options_with_types_and_defaults():
    done = call("list", "channels", "rayleigh")
    assert "form: fast | block | slow" in done.stdout and "default fast" in done.stdout
    assert "block_length: whole number or null; default null" in done.stdout
    assert "k: whole number; required" in call("list", "schemes", "bits").stdout
    everything = call("list").stdout
    for kind in registry.KINDS:
        for name in registry.names(kind):
            assert f"  {name} " in everything or f"  {name}\n" in everything


def test_doctor_names_versions_device_and_codecs():
    done = call("doctor")
    for word in ("python", "torch", "sionna-no-rt", "cpu ", "Pillow jpg", "PyAV libx265", "bpgenc", "checksums right"):
        assert word in done.stdout


def test_show_writes_figure_and_received_picture(here):
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)).save("mine.png")
    done = call(
        "show", "mine.png", "--scheme", "uncoded", "--channel", "noiseless", "--cbr", "2", "-o", "a.png", "--received", "r.png"
    )
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert lines["figure"] == "a.png" and float(lines["psnr"].split()[0]) > 45
    error = (pictures.read("mine.png").int() - pictures.read("r.png").int()).abs()
    assert error.max() <= 2
    assert pictures.shape("a.png")[2] > 1500
    assert "cannot be written" in one_line(
        call("show", "mine.png", "--scheme", "uncoded", "-o", "a.png", "--received", "r.xyz", code=2)
    )


def test_show_says_when_a_picture_is_lost(here):
    Image.new("RGB", (40, 56), (9, 99, 199)).save("mine.png")
    done = call("show", "mine.png", "--scheme", "digital:mcs=qpsk 1/2", "--esno=-15", "--cbr", "1/2", "-o", "a.svg")
    assert "outage   yes" in done.stdout and (here / "a.svg").exists()


def test_ber_prints_theory_beside_the_curve(here):
    done = call(
        "ber", "--code", "none", "--k", 960, "--modulation", "16qam", "--ebno", "0:8:4", "--errors", 20, "-q", "-o", "b.pdf"
    )
    rows = table_rows(done.stdout)
    assert [float(row.split("|")[1]) for row in rows] == [0.0, 4.0, 8.0]
    theory = done.stdout.splitlines()[-1]
    assert theory.startswith("# ber, closed form: 6.02")
    for row, expected in zip(rows, theory.split("form: ")[1].split(", "), strict=True):
        measured = float(row.split("||")[1].split()[0])
        assert measured == pytest.approx(float(expected.split()[-1]), rel=0.2)
    assert (here / "b.pdf").exists()


def test_ber_of_a_code(here):
    done = call("ber", "--k", 200, "--n", 400, "--esno", "1,6", "--errors", 10, "--trials", 128, "-q", "--out", "kept")
    assert "# bler, normal approximation: 1 dB" in done.stdout
    assert done.stdout.startswith("# jscclink ") and (here / "kept" / "table.csv").exists()


def test_data_fetch_from_a_file(here, monkeypatch):
    monkeypatch.setenv("JSCCLINK_DATA", str(here / "data"))
    Image.new("RGB", (8, 8)).save("x.png")
    with zipfile.ZipFile("valid.zip", "w") as bundle:
        bundle.write("x.png", "valid/x.png")
    done = call("data", "fetch", "clic", "--from", "valid.zip")
    assert str(here / "data" / "clic") in done.stdout and "sha256" in done.stdout
    assert f"clic     {here / 'data' / 'clic'}" in call("data", "list").stdout


def test_commands_of_other_rooms_are_reached():
    assert "encode" in call("bpg", "--help").stdout
    assert "PRESET" in call("train", "--help").stdout.upper()
    assert "hjscc" in one_line(call("train", "no-such-preset", code=2))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("awgn", "awgn"),
        ("rayleigh:form=slow", {"name": "rayleigh", "form": "slow"}),
        (
            "digital:mcs=16qam 1/2,code={name: ldpc, iterations: 5}",
            {"name": "digital", "mcs": "16qam 1/2", "code": {"name": "ldpc", "iterations": 5}},
        ),
        ("tdl:delays=[1,2],x=0.5", {"name": "tdl", "delays": [1, 2], "x": 0.5}),
        ("[rapp, awgn]", ["rapp", "awgn"]),
        ("{name: awgn, csi: tx+rx}", {"name": "awgn", "csi": "tx+rx"}),
    ],
)
def test_plugins_on_the_command_line(text, expected):
    assert values.plugin(text, "--channel") == expected


def test_numbers_and_sweeps():
    assert values.number("1/12", "--cbr") == 1 / 12
    assert values.sweep("4", "--esno") == [4.0]
    assert values.sweep("-2,0.5", "--esno") == [-2.0, 0.5]
    assert values.sweep("0:4", "--esno") == {"from": 0.0, "to": 4.0, "step": 1.0}
    assert values.overrides(["a.b=[1, x]", "c="]) == {"a.b": [1, "x"], "c": None}
    with pytest.raises(InputError, match="write a number like"):
        values.number("3 dB", "--esno")
