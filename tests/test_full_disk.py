"""The command on a disk that fills up: one line says so, nothing finished is lost, and the next run completes it."""

import subprocess
import sys

import pytest

from jscclink.simulator.results import TABLE, load_results
from jscclink.simulator.runner import run
from jscclink.simulator.store import LOG
from jscclink.simulator.study import Study

STUDY = """\
name: tiny
seed: 1
channels: {AWGN: awgn}
schemes:
  BPSK: {name: bits, code: none, k: 32, modulation: bpsk}
esno_db: [0, 3]
metrics: [ber, bler]
stop: {most_trials: 200}
batch: {items: 10}
"""

# no file may grow beyond this many bytes; Python ignores the signal that comes with the error
RUN = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
from jscclink.simulator.cli import main
sys.argv[0] = "jscclink"
main()
"""


def command_with_little_room(limit, *arguments):
    return subprocess.run([sys.executable, "-c", RUN, str(limit), *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture
def undisturbed(tmp_path):
    """The study's file, its results, and the size of their store."""
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    run(Study.load(path), tmp_path / "whole")
    return path, tmp_path / "whole", (tmp_path / "whole" / LOG).stat().st_size


def test_a_full_disk_ends_in_one_line_and_is_made_up_for(undisturbed, tmp_path):
    study, whole, size = undisturbed
    full = command_with_little_room(size * 2 // 3, "run", study, "--out", tmp_path / "full", "--quiet")
    assert full.returncode == 1 and len(full.stderr.splitlines()) == 1, full.stderr
    assert "batches.jsonl cannot grow" in full.stderr and "make room and run again" in full.stderr
    kept = load_results(tmp_path / "full")
    assert 0 < sum(row.trials for row in kept.rows) < 400 and kept.notices == ()
    run(Study.load(study), tmp_path / "full")
    assert (tmp_path / "full" / TABLE).read_bytes() == (whole / TABLE).read_bytes()


def test_a_merge_that_does_not_fit_leaves_nothing_behind(undisturbed, tmp_path):
    _, whole, size = undisturbed
    full = command_with_little_room(size // 2, "merge", tmp_path / "both", whole)
    assert full.returncode == 1 and "cannot be written (File too large); make room" in full.stderr, full.stderr
    assert list((tmp_path / "both").iterdir()) == []
