"""The Monte Carlo runner: batches to any executor, records to the store, totals that depend on neither.

    points x batches --jobs--> Executor --records--> Store
          ^                                            |
          +-- stop rule <-- Tally <-- in index order --+

Every finished batch is stored at once, whatever its index; a point's tally takes them in index order and stops at the first
that meets its rule. So the totals are the same for any number of workers, any order of points, and after any interruption.
"""

from __future__ import annotations

import os
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from jscclink.errors import InputError

from .batch import Failure, Job, run_batch
from .executors import SerialExecutor, WorkerError, kill, process_pool, terminate_as_interrupt
from .header import study_header
from .pace import Pace
from .points import Point
from .progress import NoProgress, Progress
from .results import TABLE, Results, results_of
from .store import LOG, Log, StoreError, Writer
from .study import Study
from .tally import Tally

# a batch whose worker died this often while it was alone is given up
_MOST_DEATHS = 2
# workers that die this often without any batch finished in between will not do better
_MOST_DEATHS_IN_A_ROW = 12


@dataclass(eq=False)
class _PointRun:
    """A point on its way."""

    point: Point
    tally: Tally
    reason: str | None = None
    failed: bool = False
    in_flight: set[int] = field(default_factory=set)
    ready: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        return self.failed or self.reason is not None


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
        Most batches handed out at a time; default: twice the processes, or twice the cores for an executor of one's own.
    device
        Torch device of the workers.
    threads
        Threads per worker. Results repeat to the bit for any `processes`, for the same `threads` and `device`.

    Returns
    -------
    Results
        `failures` names the batches that raised; their points lack them, all others are complete.

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
    _check(processes, threads, in_flight, device)
    log = Log(folder)
    writer = Writer(folder)
    reporter = progress or NoProgress()
    try:
        runner = _Runner(study, log, writer, device, threads, reporter)
        try:
            with terminate_as_interrupt():
                if executor is not None:
                    try:
                        runner.work(executor, in_flight or 2 * (os.cpu_count() or 1))
                    except BrokenExecutor as error:
                        raise WorkerError(f"the executor broke down: {error}") from error
                elif processes == 1:
                    runner.work(SerialExecutor(), 1)
                else:
                    runner.work_in_processes(processes, in_flight or 2 * processes)
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


class _Runner:
    """The state of a run: points on their way, what is handed out, what is stored."""

    def __init__(self, study: Study, log: Log, writer: Writer, device: str, threads: int, progress: Progress) -> None:
        self._study, self._log, self._writer = study, log, writer
        self._device, self._threads, self._progress = device, threads, progress
        self._header = study_header(study, device, threads)
        if log.studies.get(LOG) != self._header:
            writer.write_study(self._header)
        self._futures: dict[Future[Any], tuple[_PointRun, int]] = {}
        self._suspects: list[tuple[_PointRun, int]] = []
        self._deaths: dict[tuple[str, int], int] = {}
        self._deaths_in_a_row = 0
        self._failures: list[str] = []
        self._runs = [_PointRun(point, Tally(study.plan, tuple(study.metrics))) for point in study.points]
        for each in self._runs:
            self._advance(each)
        for notice in log.notices:
            progress.message(notice)
        self._most_batches = study.stop.most_batches(study.plan)
        self._waiting = [each for each in self._runs if not each.over]
        self._pace = Pace(study.stop, study.plan, [each.tally for each in self._waiting])

    def results(self) -> Results:
        """What there is so far."""
        results = results_of(self._header, ((each.tally, each.reason) for each in self._runs))
        return replace(results, notices=tuple(self._log.notices), failures=tuple(self._failures))

    def work_in_processes(self, processes: int, most: int) -> None:
        """Run in spawned processes; a pool that lost a worker is replaced."""
        while self._waiting:
            pool = process_pool(processes)
            try:
                self.work(pool, most)
            except BrokenExecutor:
                self._after_death()
            finally:
                kill(pool)

    def work(self, executor: Executor, most: int) -> None:
        """Hand out batches and take in records until every point is over."""
        try:
            while True:
                self._hand_out(executor, most)
                if not self._futures or not self._waiting:
                    break
                for future in wait(self._futures, return_when=FIRST_COMPLETED).done:
                    self._take_in(future)
        finally:
            # what was finished while something went wrong is kept; the rest is not needed, or is computed again
            for future in [f for f in self._futures if f.done() and not f.cancelled() and f.exception() is None]:
                with suppress(StoreError):
                    self._take_in(future)
            if not isinstance(executor, ProcessPoolExecutor):
                for future in self._futures:
                    future.cancel()
                self._forget()

    def _hand_out(self, executor: Executor, most: int) -> None:
        self._suspects = [suspect for suspect in self._suspects if not suspect[0].over]
        if self._suspects:
            # one of these batches killed a worker: alone, the guilty one shows itself
            if not self._futures:
                each, batch = self._suspects[0]
                self._submit(executor, each, batch)
            return
        while len(self._futures) < most:
            # of the first unfinished points the one with the fewest batches on their way: little is computed beyond a stop
            for each in sorted(self._waiting[:most], key=lambda run: len(run.in_flight)):
                wanted = self._next_batch(each)
                if wanted is not None:
                    self._submit(executor, each, wanted)
                    break
            else:
                return

    def _next_batch(self, each: _PointRun) -> int | None:
        """The first batch that is neither there nor on its way; None where the rule will never want it."""
        batch = each.tally.batches
        while batch in each.in_flight or batch in each.ready or self._stored(each, batch) is not None:
            batch += 1
        return batch if batch < self._most_batches else None

    def _submit(self, executor: Executor, each: _PointRun, batch: int) -> None:
        study = self._study
        job = Job(
            point=each.point,
            batch=batch,
            pictures=study.plan.pictures(batch),
            scheme=study.schemes[each.point.scheme_label].spec,
            channel=study.channels[each.point.channel_label],
            side=study.side,
            feedback=study.feedback,
            images=study.image_spec,
            metrics=study.metrics,
            device=self._device,
            threads=self._threads,
        )
        self._futures[executor.submit(run_batch, job)] = each, batch
        each.in_flight.add(batch)

    def _take_in(self, future: Future[Any]) -> None:
        each, batch = self._futures[future]
        try:
            outcome = future.result()
        except BrokenExecutor:
            raise  # the worker died; the batch stays on the list of those lost
        except Exception as error:
            outcome = Failure(f"{type(error).__name__}: {error}", "")
        del self._futures[future]
        each.in_flight.discard(batch)
        if (each, batch) in self._suspects:
            self._suspects.remove((each, batch))
        if isinstance(outcome, Failure):
            self._fail(each, f"batch {batch} of {each.point.title}: {outcome.message}", outcome.trace)
            return
        self._deaths_in_a_row = 0
        each.ready[batch] = outcome
        self._writer.write_batch(each.point.id, batch, outcome)
        self._advance(each)
        if each.over and each in self._waiting:
            self._waiting.remove(each)
        done = len(self._runs) - len(self._waiting)
        self._progress.update(self._pace.snapshot(each.tally, outcome, done, len(self._runs), each.point.title))

    def _fail(self, each: _PointRun, message: str, trace: str = "") -> None:
        self._failures.append(message)
        self._progress.message(f"failed: {message}" + (f"\n{trace}" if trace else ""))
        each.failed = True
        if each in self._waiting:
            self._waiting.remove(each)

    def _advance(self, each: _PointRun) -> None:
        """Take the batches that are there into the tally, in order, up to the first that meets the rule."""
        study = self._study
        while not each.over:
            batch = each.tally.batches
            record = each.ready.pop(batch, None) or self._stored(each, batch)
            if record is None:
                return
            each.tally.add(record)
            each.reason = study.stop.reason(each.tally, study.plan)

    def _stored(self, each: _PointRun, batch: int) -> dict[str, Any] | None:
        return self._log.record(each.point.id, batch, self._study.metrics)

    def _after_death(self) -> None:
        """A worker died: run what was handed out again, one by one; give up a batch that kills every time."""
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row >= _MOST_DEATHS_IN_A_ROW:
            raise WorkerError(f"{_MOST_DEATHS_IN_A_ROW} worker processes died one after the other without finishing a batch")
        lost = list(self._futures.values())
        self._forget()
        alone = len(lost) == 1
        for each, batch in lost:
            key = each.point.id, batch
            self._deaths[key] = self._deaths.get(key, 0) + alone
            if self._deaths[key] >= _MOST_DEATHS:
                deaths = f"its worker process died {_MOST_DEATHS} times in a row (out of memory?)"
                self._fail(each, f"batch {batch} of {each.point.title}: {deaths}")
            elif (each, batch) not in self._suspects:
                self._suspects.append((each, batch))
        self._progress.message(f"a worker process died; {len(lost)} batches are run again")

    def _forget(self) -> None:
        for each, batch in self._futures.values():
            each.in_flight.discard(batch)
        self._futures.clear()


def _replace_text(path: Path, text: str) -> None:
    """Write a file in one step, so that nobody reads half of it."""
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
