"""Dask: the same bits as in this process, whichever worker or scheduler dies; unlike or missing clusters are named."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import dask
import pytest
from typer.testing import CliRunner

from jscclink.errors import InputError
from jscclink.simulator import cluster, dispatch, registry
from jscclink.simulator.cli import app
from jscclink.simulator.executors import WorkerError
from jscclink.simulator.progress import NoProgress
from jscclink.simulator.results import TABLE, load_results
from jscclink.simulator.runner import run
from jscclink.simulator.store import LOG
from jscclink.simulator.study import Study

FAULTS = str(Path(__file__).parent / "faults")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning:distributed", "ignore:Sending large graph")


@pytest.fixture(scope="module", autouse=True)
def faults():
    """Plug-ins that go wrong, here and in the workers (they get this path)."""
    sys.path.insert(0, FAULTS)
    registry._paths.cache_clear()
    importlib.invalidate_caches()
    yield
    sys.path.remove(FAULTS)
    registry._paths.cache_clear()


@pytest.fixture(scope="module")
def two_workers(faults):
    with cluster.dask_executor("local", 2) as (executor, in_flight):
        yield executor, in_flight


def blocks(scheme=None, **changes):
    data = {
        "name": "blocks",
        "channels": {"AWGN": "awgn"},
        "schemes": {"A": {"name": "shaky"} | (scheme or {})},
        "esno_db": [0, 3],
        "metrics": ["ber", "bler"],
        "stop": {"most_trials": 120},
        "batch": {"items": 10},
    }
    return Study.from_mapping(data | changes)


def photos():
    return Study.from_mapping(
        {
            "name": "photos",
            "images": {
                "two": {"set": "kodak", "pick": [3, 4], "crop": [32, 48]},
                "one": {"set": "kodak", "pick": [8], "crop": [48, 32]},
            },
            "channels": {"slow Rayleigh": {"name": "rayleigh", "form": "slow"}},
            "schemes": {"pixels": "uncoded"},
            "esno_db": [0, 10],
            "cbr": [0.5],
            "metrics": ["psnr", "outage", "cbr"],
            "draws": 2,
        }
    )


def table(folder):
    return (folder / TABLE).read_bytes()


def records(folder):
    """What a store says, without the order of its lines and the time they took."""
    found = set()
    for line in (folder / LOG).read_text().splitlines():
        record = json.loads(line)
        del record["check"]
        if "study" not in record:
            del record["seconds"]
        found.add(json.dumps(record, sort_keys=True))
    return found


class AtBatch(NoProgress):
    """Calls something once, at a number of batches."""

    def __init__(self, batch, call):
        self.batch, self.call, self.messages = batch, call, []

    def update(self, snapshot):
        if snapshot.batches == self.batch:
            self.call()

    def message(self, text):
        self.messages.append(text)


@pytest.mark.slow
def test_one_process_two_processes_and_dask_make_the_same_store(two_workers, tmp_path):
    executor, in_flight = two_workers
    assert in_flight == 4
    study = photos()
    assert run(study, tmp_path / "1").finished
    run(study, tmp_path / "2", processes=2)
    run(study, tmp_path / "dask", executor=executor, in_flight=in_flight)
    for other in ("2", "dask"):
        assert table(tmp_path / other) == table(tmp_path / "1")
        assert records(tmp_path / other) == records(tmp_path / "1")


def test_a_dask_worker_that_is_killed_changes_no_bit(two_workers, tmp_path):
    executor, in_flight = two_workers
    victim = next(iter(executor._client.run(os.getpid).values()))
    study = blocks({"seconds": 0.02})
    progress = AtBatch(5, lambda: os.kill(victim, signal.SIGKILL))
    results = run(study, tmp_path / "a", executor=executor, in_flight=in_flight, progress=progress)
    assert results.finished and results.failures == ()
    run(study, tmp_path / "b")
    assert table(tmp_path / "a") == table(tmp_path / "b") and records(tmp_path / "a") == records(tmp_path / "b")
    deadline = time.monotonic() + 60
    while len(pids := executor._client.run(os.getpid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(pids) == 2 and victim not in pids.values(), "the worker was not replaced"


def test_workers_that_dask_gives_up_are_started_again(two_workers):
    executor, _ = two_workers
    local = executor._client.cluster
    given_up = list(local.workers.values())
    # Dask looks once, that long after a death, whether the worker is there again; else it drops it for good
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "10ms"}):
        for victim in executor._client.run(os.getpid).values():
            os.kill(victim, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while set(given_up) & set(local.workers.values()) and time.monotonic() < deadline:
            time.sleep(0.02)
    assert not set(given_up) & set(local.workers.values()), "Dask kept its workers: the test shows nothing"
    executor._client.wait_for_workers(2, timeout=60)
    # news of a worker that never was there does not end Dask's watch of the others
    local._update_worker_status("remove", "tcp://127.0.0.1:9")


@pytest.mark.slow
def test_a_batch_that_kills_dask_workers_is_given_up_and_no_other(two_workers, tmp_path, monkeypatch):
    executor, _ = two_workers
    scheduler = executor._client.cluster.scheduler
    # each death costs seconds: one will do for a worker, one failed batch for its point, and one of each scheme at a time
    before, scheduler.allowed_failures = scheduler.allowed_failures, 0
    monkeypatch.setattr(dispatch, "_MANY_FAILURES", 1)
    try:
        schemes = {"bad": {"name": "shaky", "murderous": True}, "good": {"name": "shaky"}}
        study = blocks(schemes=schemes, esno_db=[0])
        results = run(study, tmp_path, executor=executor, in_flight=2)
    finally:
        scheduler.allowed_failures = before
    assert [row.scheme for row in results.rows if row.finished] == ["good"]
    named = r"batch \d of bad on AWGN at 0 dB: WorkerError: 2 workers died while they had it"
    assert results.failures and all(re.match(named, failure) for failure in results.failures), results.failures


def test_what_a_call_raises_is_passed_on(two_workers):
    executor, _ = two_workers
    with pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 1, 0).result(60)
    assert executor.submit(divmod, 7, y=2).exception(60) is not None  # divmod takes no keywords
    assert executor.submit(divmod, 7, 2).result(60) == (3, 1)


def test_workers_of_another_version_are_refused_at_once_and_later(two_workers, tmp_path, monkeypatch):
    executor, in_flight = two_workers
    other = {**cluster.environment(), "torch": "9.9"}
    with monkeypatch.context() as patch:
        patch.setattr(executor, "_expected", other)
        with pytest.raises(WorkerError, match=r"differs: torch is 2.*, here 9\.9; install the same there"):
            run(blocks(), tmp_path, executor=executor, in_flight=in_flight)
    with monkeypatch.context() as patch:
        patch.setattr(cluster, "unlike", lambda expected, found: "torch is 1.0, here 9.9")
        with (
            pytest.raises(
                InputError, match=r"the scheduler of the Dask cluster at tcp://\S+ differs: torch is 1\.0, here 9\.9"
            ),
            cluster.dask_executor(executor._client),
        ):
            pass
    # a client that was given stays open
    assert run(blocks(), tmp_path, executor=executor, in_flight=in_flight).finished


def test_environments_are_told_apart_in_words():
    here = cluster.environment()
    assert cluster.unlike(here, dict(here)) == "" and len(here["code"]) == 16
    changed = {**here, "code": "0" * 16}
    del changed["numpy"]
    assert cluster.unlike(here, changed) == f"numpy is missing, here {here['numpy']}, code is {'0' * 16}, here {here['code']}"


@pytest.mark.parametrize("where", ["tcp://127.0.0.1:9", "nonsense", "tcp://127.0.0.1:no", 7])
def test_a_scheduler_that_is_not_there_is_named_at_once(where):
    with (
        pytest.raises(InputError, match=rf"no Dask scheduler at {where} .*start one with `dask scheduler`"),
        cluster.dask_executor(where),
    ):
        pass


def test_without_dask_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install 'jscclink\[dask\]'"), cluster.dask_executor("local"):
        pass


def test_a_number_of_workers_that_makes_no_sense_is_refused():
    with pytest.raises(InputError, match="from 1 to 2048; got 0"), cluster.dask_executor("local", 0):
        pass


@contextmanager
def scheduler_and_worker(folder):
    """`dask scheduler` and one `dask worker` as processes of their own; yields the address and the scheduler's process."""
    file = folder / "scheduler.json"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([FAULTS, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
    common = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment, "cwd": folder}
    dask = [sys.executable, "-m", "dask"]
    local = ["--host", "127.0.0.1", "--no-dashboard"]
    scheduler = subprocess.Popen([*dask, "scheduler", *local, "--port", "0", "--scheduler-file", str(file)], **common)
    worker = subprocess.Popen(
        [*dask, "worker", *local, "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny", "--death-timeout", "60"],
        **common,
    )
    try:
        deadline = time.monotonic() + 60
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield json.loads(file.read_text())["address"], scheduler
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_scheduler_that_is_killed_costs_nothing_finished(tmp_path):
    study = blocks({"seconds": 0.05})
    with scheduler_and_worker(tmp_path) as (address, scheduler):
        progress = AtBatch(5, scheduler.kill)
        with (
            pytest.raises(WorkerError, match=r"no connection to the Dask scheduler at tcp://127\.0\.0\.1:"),
            cluster.dask_executor(address, 1) as (executor, in_flight),
        ):
            run(study, tmp_path / "a", executor=executor, in_flight=in_flight, progress=progress)
    kept = load_results(tmp_path / "a")
    assert 50 <= sum(row.trials for row in kept.rows) < 240 and not kept.finished
    run(study, tmp_path / "a")
    run(study, tmp_path / "b")
    assert table(tmp_path / "a") == table(tmp_path / "b") and records(tmp_path / "a") == records(tmp_path / "b")


def test_the_command_runs_on_a_cluster_by_address(two_workers, tmp_path):
    executor, _ = two_workers
    (tmp_path / "study.yaml").write_text(photos().text)
    for out, more in (("a", ["--dask", executor._client.scheduler.address, "-p", "2"]), ("b", [])):
        done = CliRunner().invoke(app, ["run", str(tmp_path / "study.yaml"), "--out", str(tmp_path / out), "--quiet", *more])
        assert done.exit_code == 0, done.output
    assert table(tmp_path / "a") == table(tmp_path / "b")
    done = CliRunner().invoke(app, ["run", str(tmp_path / "study.yaml"), "--dask", "tcp://127.0.0.1:9"])
    assert (
        done.exit_code == 2 and len(done.stderr.splitlines()) == 1 and "no Dask scheduler at tcp://127.0.0.1:9" in done.stderr
    )


@pytest.fixture
def slurm_example(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples"))
    return importlib.import_module("slurm")


def test_the_slurm_example_asks_for_what_it_was_told(slurm_example):
    chosen = slurm_example.parse(["s.yaml", "r", "--cores", "16", "--memory", "64GB", "--walltime", "04:00:00", "--queue", "q"])
    with slurm_example.cluster(chosen) as cluster_of_jobs:
        script = cluster_of_jobs.job_script()
    for line in ("#SBATCH -p q", "#SBATCH --cpus-per-task=16", "#SBATCH -t 04:00:00", "export OMP_NUM_THREADS=1"):
        assert line in script
    assert "--nthreads 1 " in script and "--nworkers 16 " in script and "gres" not in script
    with slurm_example.cluster(slurm_example.parse(["s.yaml", "r", "--gpu"])) as cluster_of_jobs:
        script = cluster_of_jobs.job_script()
    assert "#SBATCH --gres=gpu:1" in script and "--cpus-per-task=1\n" in script and "--nworkers" not in script
