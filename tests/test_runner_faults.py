"""The runner: the same table whatever happened on the way, or the damage named."""

import functools
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import Executor
from pathlib import Path

import pytest
from runner_studies import FAULTS, shaky, table

from jscclink.simulator import datasets, pictures
from jscclink.simulator.executors import WorkerError
from jscclink.simulator.progress import NoProgress
from jscclink.simulator.results import load_results
from jscclink.simulator.runner import run
from jscclink.simulator.store import LOG, StoreError, Writer


def test_a_damaged_record_is_computed_again(faults, tmp_path):
    run(shaky(), tmp_path)
    before = table(tmp_path)
    path = tmp_path / LOG
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"errors":', b'"errors":1')
    path.write_bytes(b"".join(lines)[:-9])
    results = run(shaky(), tmp_path)
    assert table(tmp_path) == before
    assert [word in notice for word, notice in zip(("line 3", "cut short"), results.notices, strict=True)] == [True, True]


RUN = """
    import sys
    from jscclink.simulator.progress import TextProgress
    from jscclink.simulator.runner import run
    from jscclink.simulator.study import Study
    sys.path.insert(0, sys.argv[4])
    try:
        run(Study.load(sys.argv[1]), sys.argv[2], processes=int(sys.argv[3]))
    except KeyboardInterrupt:
        sys.exit(130)
"""


def started(study, folder, processes):
    """The study in a process of its own, once a few batches are in the store."""
    path = folder.parent / "study.yaml"
    path.write_text(study.text)
    arguments = [sys.executable, "-c", textwrap.dedent(RUN), str(path), str(folder), str(processes), FAULTS]
    # a shell starts what it puts into the background with SIGINT ignored, and that is inherited
    restore = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(arguments, start_new_session=True, preexec_fn=restore)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if (folder / LOG).exists() and (folder / LOG).read_bytes().count(b"\n") >= 5:
            return process
        time.sleep(0.02)
    process.kill()
    raise AssertionError("the study did not get going")


def group_is_gone(group):
    for _ in range(500):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("processes, how", [(1, signal.SIGKILL), (2, signal.SIGKILL), (1, signal.SIGTERM), (2, signal.SIGINT)])
def test_a_run_that_is_stopped_goes_on_where_it_was(faults, tmp_path, processes, how):
    study = shaky(schemes={"A": {"name": "shaky", "seconds": 0.1}}, stop={"most_trials": 200})
    process = started(study, tmp_path / "a", processes)
    process.send_signal(how)
    assert process.wait(60) == (-9 if how == signal.SIGKILL else 130)
    assert group_is_gone(process.pid)  # no worker outlives it
    kept = load_results(tmp_path / "a")
    assert 0 < sum(row.trials for row in kept.rows) < 400 and not kept.finished
    assert all(row.stop == "Not finished: run again to go on." for row in kept.rows if row.trials < 200)
    run(study, tmp_path / "a")
    run(study, tmp_path / "b")
    assert table(tmp_path / "a") == table(tmp_path / "b")


def test_ctrl_c_in_this_process_keeps_what_is_finished(faults, tmp_path):
    class Impatient(NoProgress):
        def update(self, snapshot):
            if snapshot.batches == 7:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(shaky(), tmp_path, progress=Impatient())
    assert sum(row.trials for row in load_results(tmp_path).rows) == 70
    run(shaky(), tmp_path)


def test_a_batch_that_raises_costs_itself_and_is_tried_again(faults, tmp_path):
    flag = tmp_path / "flag"
    schemes = {"good": {"name": "shaky"}, "bad": {"name": "shaky", "raises": str(flag), "rarely": True}}
    study = shaky(schemes=schemes, stop={"most_trials": 200})
    run(study, tmp_path / "whole")
    flag.touch()
    results = run(study, tmp_path / "r")
    bad = [row for row in results.rows if row.scheme == "bad"]
    assert all(row.finished for row in results.rows if row.scheme == "good") and len(bad) == 2
    assert len(results.failures) > 0 and not results.finished
    for row in bad:
        failed = sum(f" of bad on AWGN at {row.esno_db:g} dB: ArithmeticError: the dog ate it" in f for f in results.failures)
        assert 0 < failed < 10 and row.trials == 200 - 10 * failed and not row.finished
        assert f"{failed} batch" in row.stop and "of 20 failed and count nowhere" in row.stop
    # what is missing is in the store, too
    assert load_results(tmp_path / "r").table() == results.table()
    run(study, tmp_path / "two", processes=2)
    assert table(tmp_path / "two") == table(tmp_path / "r")
    flag.unlink()
    again = run(study, tmp_path / "r")
    assert again.finished and table(tmp_path / "r") == table(tmp_path / "whole")
    assert load_results(tmp_path / "r").table() == again.table()


def test_a_point_whose_batches_all_raise_is_given_up(faults, tmp_path):
    flag = tmp_path / "flag"
    flag.touch()
    schemes = {"good": {"name": "shaky"}, "bad": {"name": "shaky", "raises": str(flag)}}
    results = run(shaky(schemes=schemes), tmp_path / "r")
    assert not results.finished and {row.scheme for row in results.rows} == {"good"}
    assert all(row.finished for row in results.rows)
    wanted = {f"batch {i} of bad on AWGN at {snr} dB: ArithmeticError: the dog ate it" for i in range(3) for snr in (0, 3)}
    assert set(results.failures) == wanted and len(results.failures) == 6
    assert load_results(tmp_path / "r").table() == results.table()
    flag.unlink()
    assert len(run(shaky(schemes=schemes), tmp_path / "r").rows) == 4


@pytest.mark.parametrize("greed", [3, 1])
def test_a_batch_that_does_not_fit_into_memory_is_cut_and_says_the_same(faults, tmp_path, greed):
    from jscclink.simulator import parts

    parts._FITTING.clear()
    run(shaky(schemes={"A": {"name": "shaky"}}), tmp_path / "whole")
    results = run(shaky(schemes={"A": {"name": "shaky", "most_items": greed}}), tmp_path / "cut")
    assert results.finished
    cut = [line.rsplit(",", 1)[0] for line in results.table().splitlines()]  # the ids differ
    assert cut == [line.rsplit(",", 1)[0] for line in table(tmp_path / "whole").decode().splitlines()]
    assert list(parts._FITTING.values()) == [greed]
    nothing = run(shaky(schemes={"A": {"name": "shaky", "most_items": 0}}, esno_db=[0]), tmp_path / "none")
    assert nothing.rows == () and "MemoryError" in nothing.failures[0]


def test_a_metric_that_gives_no_number_is_named(faults, tmp_path):
    results = run(shaky(metrics=["infinite"], esno_db=[0]), tmp_path)
    assert len(results.failures) == 1 and "metric 'infinite' gave inf/1.0 for item 0" in results.failures[0]
    assert results.rows == ()


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_and_its_batches_run_again(faults, tmp_path):
    flag = tmp_path / "flag"
    schemes = {"A": {"name": "shaky", "dies": str(flag)}, "B": {"name": "shaky"}}
    run(shaky(schemes=schemes), tmp_path / "a")
    flag.touch()
    results = run(shaky(schemes=schemes), tmp_path / "b", processes=2)
    assert results.finished and not flag.exists()
    assert table(tmp_path / "a") == table(tmp_path / "b")


@pytest.mark.slow
def test_a_batch_that_kills_every_worker_is_given_up_and_the_rest_goes_on(faults, tmp_path):
    schemes = {"bad": {"name": "shaky", "murderous": True}, "good": {"name": "shaky"}}
    results = run(shaky(schemes=schemes, esno_db=[0]), tmp_path, processes=2)
    assert [row.scheme for row in results.rows if row.finished] == ["good"]
    for batch, failure in enumerate(sorted(results.failures)):
        assert f"batch {batch} of bad on AWGN at 0 dB: its worker process died 2 times in a row" in failure
    assert len(results.failures) == 3


def test_an_executor_that_breaks_down_is_an_error_of_its_own(faults, tmp_path):
    from concurrent.futures import BrokenExecutor

    class Broken(Executor):
        def submit(self, fn, /, *args, **kwargs):
            raise BrokenExecutor("gone")

    with pytest.raises(WorkerError, match="the executor broke down: gone"):
        run(shaky(), tmp_path, executor=Broken())


def test_a_full_disk_stops_the_run_and_keeps_what_is_there(faults, tmp_path, monkeypatch):
    write, room = Writer._write, [6]

    def limited(self, body):
        room[0] -= 1
        if room[0] < 0:
            raise StoreError(28, "full")
        write(self, body)

    monkeypatch.setattr(Writer, "_write", limited)
    with pytest.raises(StoreError):
        run(shaky(), tmp_path / "a")
    monkeypatch.undo()
    assert sum(row.trials for row in load_results(tmp_path / "a").rows) == 50
    run(shaky(), tmp_path / "a")
    run(shaky(), tmp_path / "b")
    assert table(tmp_path / "a") == table(tmp_path / "b")


def test_other_pictures_under_the_same_name_are_noticed(photos, tmp_path):
    study = photos()
    folder = Path(study.sets[""].spec["folder"])
    picture = datasets.load(study.sets[""].spec).picture(0)
    pictures.write(folder / "3.png", 255 - picture)
    results = run(study, tmp_path / "r")
    assert results.rows == () and "are not those that the study began with" in results.failures[0]
