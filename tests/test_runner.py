"""The runner: the same table whoever computed it and whatever happened on the way."""

import csv
import functools
import importlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from jscclink.errors import InputError
from jscclink.simulator import datasets, pictures, registry
from jscclink.simulator.batch import run_batch
from jscclink.simulator.executors import WorkerError
from jscclink.simulator.progress import NoProgress, TextProgress
from jscclink.simulator.results import TABLE, load_results
from jscclink.simulator.runner import run
from jscclink.simulator.store import LOG, Log, StoreError, Writer
from jscclink.simulator.study import Study

FAULTS = str(Path(__file__).parent / "faults")


@pytest.fixture
def faults(monkeypatch):
    """Plug-ins that go wrong, also in spawned workers (they get this path)."""
    monkeypatch.syspath_prepend(FAULTS)
    registry._paths.cache_clear()
    importlib.invalidate_caches()
    yield
    registry._paths.cache_clear()


def shaky(*, schemes=None, **changes):
    """A study of blocks over plug-ins of tests/faults."""
    data = {
        "name": "shaky",
        "channels": {"AWGN": "awgn"},
        "schemes": {"A": {"name": "shaky"}} if schemes is None else schemes,
        "esno_db": [0, 3],
        "metrics": ["ber", "bler"],
        "stop": {"errors": 60, "most_trials": 200},
        "batch": {"items": 10},
    }
    return Study.from_mapping(data | changes)


@pytest.fixture
def photos(tmp_path):
    """Three small pictures of two shapes, as a study of two schemes over two channels; keyword arguments replace keys."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, crop in ((3, [32, 48]), (9, [48, 32]), (15, [32, 48])):
        picture = datasets.load({"set": "kodak", "pick": [index], "crop": crop}).picture(0)
        pictures.write(folder / f"{index}.png", picture)

    def study(**changes):
        data = {
            "name": "photos",
            "images": {"folder": str(folder)},
            "channels": {"AWGN": "awgn", "slow Rayleigh": {"name": "rayleigh", "form": "slow"}},
            "schemes": {"pixels": "uncoded"},
            "esno_db": [0, 10],
            "cbr": ["1/4", 0.5],
            "metrics": ["psnr", "outage", "cbr"],
            "draws": 3,
        }
        return Study.from_mapping(data | changes)

    return study


def table(folder):
    return (folder / TABLE).read_bytes()


def test_rows_hold_what_was_computed(photos, tmp_path):
    results = run(photos(), tmp_path / "r")
    assert results.finished and len(results.rows) == 8 and results.images == ("15.png", "3.png", "9.png")
    row = results.curve("pixels", "AWGN", 0.5)[1]
    assert (row.esno_db, row.trials, row.errors, row.stop) == (10.0, 9, 0, "All 3 draws of 3 pictures are done.")
    number = row.metrics["psnr"]
    assert number.low < number.value < number.high and number.groups == 3 and number.n == 9
    assert 0 < number.draws_half_width < 0.5 * (number.high - number.low)
    assert row.metrics["cbr"].value <= 0.5 and row.metrics["outage"].is_upper_bound
    assert row.throughput.items_per_s.value > 0 and row.throughput.info_bits_per_s is None
    assert row.throughput.values_per_s.value == pytest.approx(3 * 32 * 48 * row.throughput.items_per_s.value)
    better = results.difference("psnr", row, results.curve("pixels", "AWGN", 0.25)[1])
    assert better.value > 0 and better.groups == 3
    lines = list(csv.reader(table(tmp_path / "r").decode().splitlines()))
    assert len(lines) == 9 and all(len(line) == len(lines[0]) for line in lines)
    assert float(lines[1][lines[0].index("psnr")]) == results.rows[0].metrics["psnr"].value


def test_a_batch_is_what_the_link_gives_by_hand(photos):
    from jscclink.simulator.batch import Job
    from jscclink.simulator.link import Link

    study = photos()
    point = study.points[-1]
    job = Job(point, 3, study.plan.pictures(3), "uncoded", study.channels[point.channel_label], "ideal", None,
              study.image_spec, study.metrics, "cpu", 1)  # fmt: skip
    record = run_batch(job)
    source = study.images.batch(study.plan.pictures(3))
    link = Link(registry.build("channels", study.channels[point.channel_label]))
    generator = torch.Generator().manual_seed(point.link_seed(3))
    budget = link.budget(tuple(source.shape[1:]), point.cbr)
    passage = link.run(registry.build("schemes", "uncoded"), source, budget, point.esno_db, generator=generator)
    mse = (source.double() - passage.reconstruction.data.double()).square().mean((1, 2, 3))
    assert record["metrics"]["psnr"]["x"] == pytest.approx((10 * torch.log10(255**2 / mse)).tolist())


def test_the_table_comes_from_the_store_alone(photos, tmp_path):
    results = run(photos(), tmp_path)
    again = load_results(tmp_path)
    assert again.table() == results.table() and again.provenance == results.provenance
    assert again.metrics["psnr"].unit == "dB" and again.rows == results.rows


def test_another_order_of_points_gives_the_same_bytes(photos, tmp_path):
    run(photos(), tmp_path / "a")
    channels = {"slow Rayleigh": {"form": "slow", "name": "rayleigh"}, "AWGN": {"name": "awgn"}}
    run(photos(channels=channels, esno_db=[10, 0], cbr=[0.5, 0.25]), tmp_path / "b")
    assert table(tmp_path / "a") == table(tmp_path / "b")


def test_two_processes_give_the_same_bytes(photos, faults, tmp_path):
    for name, study in (("photos", photos()), ("blocks", shaky())):
        run(study, tmp_path / name / "1")
        run(study, tmp_path / name / "2", processes=2)
        assert table(tmp_path / name / "1") == table(tmp_path / name / "2")


class Reverse(Executor):
    """Holds four calls, then makes them, the latest first."""

    def __init__(self):
        self.held = []
        self.most = 0

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.held.append((future, fn, args))
        self.most = max(self.most, len(self.held))
        if len(self.held) == 4:
            while self.held:
                latest, call, its_arguments = self.held.pop()
                if latest.set_running_or_notify_cancel():
                    latest.set_result(call(*its_arguments))
        return future


def test_any_order_of_completion_gives_the_same_bytes(faults, tmp_path):
    study = shaky(esno_db=[0, 2, 4, 6, 7], stop={"errors": 60, "most_trials": 320})
    run(study, tmp_path / "a")
    with ThreadPoolExecutor(3) as pool:
        run(study, tmp_path / "b", executor=pool, in_flight=7)
    assert table(tmp_path / "a") == table(tmp_path / "b")
    # batches beyond the stop are in the store, and in no total
    assert len((tmp_path / "b" / LOG).read_text().splitlines()) >= len((tmp_path / "a" / LOG).read_text().splitlines())


def test_batches_finished_out_of_order_are_counted_in_order(faults, tmp_path):
    study = shaky(esno_db=[0], stop={"most_trials": 80})
    run(study, tmp_path / "a")
    reverse = Reverse()
    run(study, tmp_path / "b", executor=reverse, in_flight=4)
    assert reverse.most == 4 and table(tmp_path / "a") == table(tmp_path / "b")


def test_resuming_computes_only_what_is_missing(faults, tmp_path):
    log = tmp_path / "log"
    schemes = {"A": {"name": "shaky", "log": str(log)}}
    first = run(shaky(schemes=schemes, stop={"most_trials": 50}), tmp_path / "r")
    assert len(log.read_text()) == 10 == sum(row.trials for row in first.rows) / 10
    run(shaky(schemes=schemes, stop={"most_trials": 50}), tmp_path / "r")
    assert len(log.read_text()) == 10
    longer = run(shaky(schemes=schemes, stop={"most_trials": 80}), tmp_path / "r")
    assert len(log.read_text()) == 16 and all(row.trials == 80 for row in longer.rows)
    shorter = run(shaky(schemes=schemes, stop={"most_trials": 50}), tmp_path / "r")
    assert len(log.read_text()) == 16 and shorter.table() == first.table()


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


def test_a_metric_asked_for_later_is_measured(faults, tmp_path):
    run(shaky(metrics=["ber"]), tmp_path / "a")
    results = run(shaky(), tmp_path / "a")
    assert results.table() == run(shaky(), tmp_path / "b").table()


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


def test_a_batch_that_raises_is_named_and_costs_only_its_point(faults, tmp_path):
    flag = tmp_path / "flag"
    flag.touch()
    schemes = {"good": {"name": "shaky"}, "bad": {"name": "shaky", "raises": str(flag)}}
    results = run(shaky(schemes=schemes), tmp_path / "r")
    assert not results.finished and {row.scheme for row in results.rows} == {"good"}
    assert all(row.finished for row in results.rows)
    assert results.failures == (
        "batch 0 of bad on AWGN at 0 dB: ArithmeticError: the dog ate it",
        "batch 0 of bad on AWGN at 3 dB: ArithmeticError: the dog ate it",
    )
    flag.unlink()
    assert len(run(shaky(schemes=schemes), tmp_path / "r").rows) == 4


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
    assert len(results.failures) == 1
    assert "batch 0 of bad on AWGN at 0 dB: its worker process died 2 times in a row" in results.failures[0]


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


def test_global_random_states_neither_matter_nor_change(faults, tmp_path):
    schemes = {"A": {"name": "shaky", "dreams": True}}
    tables = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        run(shaky(schemes=schemes), tmp_path / str(seed))
        tables.append(table(tmp_path / str(seed)))
        drawn = random.random(), np.random.random(), torch.rand(()).item()  # noqa: NPY002
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        assert drawn == (random.random(), np.random.random(), torch.rand(()).item())  # noqa: NPY002
    assert tables[0] == tables[1]


def test_the_number_of_threads_is_put_back(faults, tmp_path):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        run(shaky(), tmp_path)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_stop_rules_stop_where_they_say(faults, photos, tmp_path):
    rows = run(shaky(esno_db=[0], stop={"errors": 25}), tmp_path / "a").rows
    assert rows[0].errors >= 25 > rows[0].errors - 10 and rows[0].stop == "The target of 25 block errors is reached."
    rows = run(shaky(esno_db=[15], stop={"errors": 25, "most_trials": 45}), tmp_path / "b").rows
    assert rows[0].trials == 50
    assert rows[0].stop == "The most trials are done, 50 blocks with 0 of 25 errors; raise stop.most_trials to be surer."
    rows = run(shaky(esno_db=[0], stop={"half_width": {"bler": 0.05}}), tmp_path / "c").rows
    number = rows[0].metrics["bler"]
    assert (number.high - number.low) / 2 <= 0.05 and "bler 0.05" in rows[0].stop
    slow = {"A": {"name": "shaky", "seconds": 0.01}}
    rows = run(shaky(esno_db=[0], schemes=slow, stop={"most_seconds": 0.05}), tmp_path / "d").rows
    assert 10 <= rows[0].trials <= 50 and rows[0].seconds >= 0.05 and "0.05, are used up" in rows[0].stop
    # every picture has had the same number of draws, whichever batch the target was reached in
    stop = {"half_width": {"psnr": 5.0}, "least_draws": 2}
    row = run(photos(esno_db=[10], cbr=[0.5], stop=stop), tmp_path / "e").rows[0]
    assert {group.n for group in row.per_image["psnr"]} == {2} and row.metrics["psnr"].draws_half_width <= 5.0


def test_schemes_meet_the_same_channel(faults, tmp_path):
    schemes = {"A": {"name": "shaky"}, "B": {"name": "bits", "code": "none", "k": 32, "modulation": "bpsk"}}
    results = run(shaky(schemes=schemes), tmp_path)
    a, b = (results.curve(label, "AWGN", None) for label in "AB")
    assert [row.metrics["ber"] for row in a] == [row.metrics["ber"] for row in b]
    assert [row.id for row in a] != [row.id for row in b]


def test_stores_of_two_machines_merge(faults, tmp_path):
    run(shaky(esno_db=[0]), tmp_path / "east")
    run(shaky(esno_db=[3]), tmp_path / "west")
    both = tmp_path / "both"
    both.mkdir()
    for side in ("east", "west"):
        (tmp_path / side / LOG).rename(both / f"{side}.jsonl")
    run(shaky(), tmp_path / "all")
    merged = load_results(both)
    assert merged.table() == load_results(tmp_path / "all").table() and merged.finished
    # and a run in the merged folder finds everything there
    run(shaky(), both)
    assert (both / LOG).read_text().count("\n") == 1


def test_other_pictures_under_the_same_name_are_noticed(photos, tmp_path):
    study = photos()
    folder = Path(study.image_spec["folder"])
    picture = datasets.load(study.image_spec).picture(0)
    pictures.write(folder / "3.png", 255 - picture)
    results = run(study, tmp_path / "r")
    assert results.rows == () and "are not those that the study began with" in results.failures[0]


@pytest.mark.parametrize("bad", [{"processes": 0}, {"threads": "two"}, {"in_flight": -1}, {"device": "abacus"}])
def test_run_time_settings_are_checked_first(faults, tmp_path, bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        run(shaky(), tmp_path / "r", **bad)
    assert not (tmp_path / "r").exists()


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="no results of a study here"):
        load_results(tmp_path)


def test_progress_tells_how_far_it_is(faults, tmp_path, capsys):
    import io

    class Recording(NoProgress):
        def __init__(self):
            self.seen = []

        def update(self, snapshot):
            self.seen.append(snapshot)

    recording = Recording()
    run(shaky(), tmp_path / "a", progress=recording)
    fractions = [snapshot.fraction for snapshot in recording.seen]
    assert fractions[-1] == 1.0 and all(0 < fraction <= 1 for fraction in fractions)
    assert [s.batches for s in recording.seen] == list(range(1, len(fractions) + 1))
    assert recording.seen[-1].points_done == 2 and recording.seen[2].seconds_left >= 0
    stream = io.StringIO()
    run(shaky(), tmp_path / "b", progress=TextProgress(stream))
    assert "100 %  2/2 points" in stream.getvalue() and "left" in stream.getvalue()
    assert capsys.readouterr() == ("", "")


def test_nothing_is_computed_for_a_point_twice(faults, tmp_path):
    run(shaky(), tmp_path)
    log = Log(tmp_path)
    lines = (tmp_path / LOG).read_text().splitlines()
    assert len(lines) - 1 == sum(len(set(log.batches(point.id))) for point in shaky().points)
