"""The runner: the same table whoever computed it and in whatever order, and nothing computed twice."""

import random
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy as np
import torch
from runner_studies import shaky, table

from jscclink.simulator.results import load_results
from jscclink.simulator.runner import run
from jscclink.simulator.store import LOG, Log


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


def test_a_metric_asked_for_later_is_measured(faults, tmp_path):
    run(shaky(metrics=["ber"]), tmp_path / "a")
    results = run(shaky(), tmp_path / "a")
    assert results.table() == run(shaky(), tmp_path / "b").table()


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


def test_nothing_is_computed_for_a_point_twice(faults, tmp_path):
    run(shaky(), tmp_path)
    log = Log(tmp_path)
    lines = (tmp_path / LOG).read_text().splitlines()
    assert len(lines) - 1 == sum(len(set(log.batches(point.id))) for point in shaky().points)
