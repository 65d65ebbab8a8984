"""The Monte Carlo runner: batches to any executor, records to the store, totals that depend on neither.

    points x batches --jobs--> Executor --records--> Store
          ^                                            |
          +-- stop rule <-- Tally <-- in index order --+

Every finished batch is stored at once, whatever its index; a point's tally takes them in index order and stops at the first
that meets its rule. So the totals are the same for any number of workers, any order of points, and after any interruption.
"""

from __future__ import annotations

import os
from concurrent.futures import BrokenExecutor, Executor
from contextlib import suppress
from pathlib import Path

import torch

from jscclink.errors import InputError

from .dispatch import Dispatcher
from .executors import SerialExecutor, WorkerError, terminate_as_interrupt
from .progress import NoProgress, Progress
from .results import TABLE, Results
from .store import Log, Writer
from .study import Study

# several batches are handed out at once up to this duration, so that short ones do not wait for their hand-over
TARGET_S = 2.0


def run(
    study: Study,
    folder: str | Path,
    *,
    processes: int = 1,
    executor: Executor | None = None,
    in_flight: int | None = None,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress | None = None,
) -> Results:
    """Run a study, or what is missing of it, and keep everything in a folder.

    Parameters
    ----------
    folder
        Holds `batches.jsonl` (the store) and `table.csv`. What it holds already is not computed again.
    processes
        1: in this process. More: spawned worker processes (the calling script needs `if __name__ == "__main__":`).
    executor
        Any other `concurrent.futures.Executor` in place of that; it is left running.
    in_flight
        Most jobs handed out at a time; default: twice the processes, or twice the cores for an executor of one's own. A job
        is a batch, or as many short ones as fill `TARGET_S`; which, no result depends on.
    device
        Torch device of the workers.
    threads
        Threads per worker. Results repeat to the bit for any `processes`, for the same `threads` and `device`.

    Returns
    -------
    Results
        `failures` names the batches that raised; their points go on without them, are marked as not finished, and try them
        again in the next run. A point most of whose batches raise is given up.

    Raises
    ------
    InputError
        The folder cannot be used; or `processes`, `threads` or `device` make no sense.
    WorkerError
        Worker processes keep dying, or the executor given broke down.
    StoreError
        A record could not be stored (disk full).
    KeyboardInterrupt
        On SIGINT and SIGTERM, after everything finished has been stored.
    """
    # a cluster's workers have what this machine may lack
    _check(processes, threads, in_flight, device if executor is None else "cpu")
    log = Log(folder)
    writer = Writer(folder)
    reporter = progress or NoProgress()
    try:
        runner = Dispatcher(study, log, writer, device, threads, reporter)
        try:
            with terminate_as_interrupt():
                if executor is not None:
                    try:
                        runner.work(executor, in_flight or 2 * (os.cpu_count() or 1), TARGET_S)
                    except BrokenExecutor as error:
                        raise WorkerError(f"the executor broke down: {error}") from error
                elif processes == 1:
                    runner.work(SerialExecutor(), 1, 0.0)
                else:
                    runner.work_in_processes(processes, in_flight or 2 * processes, TARGET_S)
        finally:
            results = runner.results()
            with suppress(OSError):  # the table can be made again from the store, and a full disk has its own error
                _replace_text(Path(folder) / TABLE, results.table())
        return results
    finally:
        reporter.close()
        writer.close()


def _check(processes: int, threads: int, in_flight: int | None, device: str) -> None:
    for name, value in (("processes", processes), ("threads", threads), ("in_flight", in_flight)):
        if value is not None and (not isinstance(value, int) or not 1 <= value <= 4096):
            raise InputError(f"{name} must be a whole number from 1 to 4096; got {value!r}")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device {device!r} is not usable here ({str(error).splitlines()[0]}); allowed: cpu, cuda:0, ..."
        ) from error


def _replace_text(path: Path, text: str) -> None:
    """Write a file in one step, so that nobody reads half of it."""
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
