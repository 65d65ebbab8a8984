"""The state of a run: points on their way, what is handed out, what came back, what is stored."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from typing import Any

from .agenda import Agenda, PointRun
from .batch import Failure, Job, run_batches
from .executors import WorkerError, kill, process_pool
from .header import study_header
from .pace import Pace
from .points import Point
from .progress import Progress
from .results import Results, results_of
from .store import LOG, Log, StoreError, Writer
from .study import Study
from .study_curves import Curve
from .tally import Tally

# a batch whose worker died this often while it was alone is given up
_MOST_DEATHS = 2
# workers that die this often without any batch finished in between will not do better
_MOST_DEATHS_IN_A_ROW = 12
# a point is given up when that many of its batches raised, and they are more than those that did not
_MANY_FAILURES = 3


class Dispatcher:
    """Hands batches to an executor and takes their records in, until every point is over.

    Parameters
    ----------
    study : Study
    log : Log
        What was computed before.
    writer : Writer
    device, threads
        As in `runner.run`.
    progress : Progress
    """

    def __init__(self, study: Study, log: Log, writer: Writer, device: str, threads: int, progress: Progress) -> None:
        self._study, self._log, self._writer = study, log, writer
        self._device, self._threads, self._progress = device, threads, progress
        self._futures: dict[Future[Any], tuple[PointRun, list[int]]] = {}
        self._suspects: list[tuple[PointRun, int]] = []
        self._deaths: dict[tuple[str, int], int] = {}
        self._deaths_in_a_row = 0
        self._failures: list[str] = []
        self._failed: dict[str, dict[int, dict[str, Any]]] = {}
        self._runs: list[PointRun] = []
        self._curves: list[tuple[Curve, list[PointRun]]] = []
        self._agenda = Agenda(study.stop, self._is_there)
        self._pace = Pace(study.stop)
        for curve in study.curves:
            runs = [self._add(point) for point in curve.points]
            self._curves.append((curve, runs))
            self._grow(curve, runs)
        self._header: dict[str, Any] = {}
        self._write_header()
        for notice in log.notices:
            progress.message(notice)

    def _write_header(self) -> None:
        """Tell the store which points there are, where that is news."""
        header = study_header(replace(self._study, points=tuple(run.point for run in self._runs)), self._device, self._threads)
        if (self._header or self._log.studies.get(LOG)) != header:
            self._writer.write_study(header)
        self._header = header

    def _add(self, point: Point) -> PointRun:
        run = PointRun(point, len(self._runs), Tally(self._study.sets[point.image_set].plan, tuple(self._study.metrics)))
        self._runs.append(run)
        self._advance(run)
        self._agenda.update(run)
        if not run.over:
            self._pace.add(run.tally)
        return run

    def _grow(self, curve: Curve, runs: list[PointRun]) -> bool:
        """Add points to an adaptive curve as long as all that it has are finished; whether there were any to add."""
        grown = False
        metric = next(iter(self._study.metrics))
        while curve.grid.adaptive and all(run.reason is not None and not run.tally.failed for run in runs):
            curve_so_far = {run.point.esno_db: {key: run.tally.estimate(key) for key in self._study.metrics} for run in runs}
            wanted = curve.grid.more(curve_so_far, metric)
            if not wanted:
                break
            runs += [self._add(curve.at(esno_db)) for esno_db in wanted]
            grown = True
        return grown

    def results(self) -> Results:
        """What there is so far."""
        results = results_of(self._header, ((run.tally, run.reason) for run in self._runs))
        return replace(results, notices=tuple(self._log.notices), failures=tuple(self._failures))

    def work_in_processes(self, processes: int, most: int, target_s: float) -> None:
        """Run in spawned processes; a pool that lost a worker is replaced."""
        while True:
            pool = process_pool(processes)
            try:
                self.work(pool, most, target_s)
                return
            except BrokenExecutor:
                self._after_death()
            finally:
                kill(pool)

    def work(self, executor: Executor, most: int, target_s: float) -> None:
        """Hand out jobs, `most` at a time, and take in records until every point is over."""
        try:
            while True:
                self._hand_out(executor, most, target_s)
                if not self._futures or not len(self._agenda):
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

    def _hand_out(self, executor: Executor, most: int, target_s: float) -> None:
        self._suspects = [suspect for suspect in self._suspects if not suspect[0].over]
        if self._suspects:
            # one of these batches killed a worker: alone, the guilty one shows itself
            if not self._futures:
                run, batch = self._suspects[0]
                self._submit(executor, run, [batch], target_s)
            return
        while len(self._futures) < most:
            # one batch at a time after a worker died, so that the next death costs no more than it must
            wanted = self._agenda.next(most, 0.0 if self._deaths_in_a_row else target_s)
            if wanted is None:
                return
            self._submit(executor, *wanted, target_s)

    def _submit(self, executor: Executor, run: PointRun, batches: list[int], target_s: float) -> None:
        study, pictures = self._study, self._study.sets[run.point.image_set]
        jobs = [
            Job(
                point=run.point,
                batch=batch,
                pictures=pictures.plan.pictures(batch),
                scheme=study.schemes[run.point.scheme_label].spec,
                channel=study.channels[run.point.channel_label],
                side=study.side,
                feedback=study.feedback,
                images=pictures.spec,
                metrics=study.metrics,
                device=self._device,
                threads=self._threads,
            )
            for batch in batches
        ]
        self._futures[executor.submit(run_batches, jobs, target_s)] = run, batches
        run.in_flight.update(batches)

    def _take_in(self, future: Future[Any]) -> None:
        run, batches = self._futures[future]
        try:
            outcomes = future.result()
        except BrokenExecutor:
            raise  # the worker died; the batches stay on the list of those lost
        except Exception as error:
            outcomes = [Failure(f"{type(error).__name__}: {error}", "")]
        del self._futures[future]
        run.in_flight.difference_update(batches)
        for batch, outcome in zip(batches, outcomes, strict=False):
            if (run, batch) in self._suspects:
                self._suspects.remove((run, batch))
            if isinstance(outcome, Failure):
                self._fail(run, batch, outcome)
                continue
            self._deaths_in_a_row = 0
            run.ready[batch] = outcome
            self._writer.write_batch(run.point.id, batch, outcome)
            self._take_stock(run)
            done = len(self._runs) - len(self._agenda)
            self._progress.update(self._pace.snapshot(run.tally, outcome, done, len(self._runs), run.point.title))

    def _fail(self, run: PointRun, batch: int, failure: Failure) -> None:
        """A batch that raised costs itself; where most do, its point."""
        message = f"batch {batch} of {run.point.title}: {failure.message}"
        self._failures.append(message)
        self._progress.message(f"failed: {message}" + (f"\n{failure.trace}" if failure.trace else ""))
        record = {"failed": failure.message}
        failed = self._failed.setdefault(run.point.id, {})
        failed[batch] = record
        if self._log.failure(run.point.id, batch) != record:
            self._writer.write_batch(run.point.id, batch, record)
        good = run.tally.batches - run.tally.failed + len(run.ready)
        if not run.over and (failure.hopeless or (len(failed) >= _MANY_FAILURES and len(failed) > good)):
            run.given_up = True
            self._progress.message(f"given up: {run.point.title}, whose batches fail; all others go on")
        self._take_stock(run)

    def _take_stock(self, run: PointRun) -> None:
        """After news of a point: its tally, its place in the agenda, further points of its curve."""
        was_over = run.over
        self._advance(run)
        self._agenda.update(run)
        if run.over and not was_over:
            for curve, runs in self._curves:
                if curve.grid.adaptive and run in runs and self._grow(curve, runs):
                    self._write_header()

    def _advance(self, run: PointRun) -> None:
        """Take the batches that are there into the tally, in order, up to the first that meets the rule."""
        study = self._study
        while run.reason is None:
            batch = run.tally.batches
            failed = self._failed.get(run.point.id, {})
            record = run.ready.pop(batch, None) or self._stored(run, batch) or failed.get(batch)
            if record is None:
                return
            run.tally.add(record)
            run.reason = study.stop.reason(run.tally)

    def _stored(self, run: PointRun, batch: int) -> dict[str, Any] | None:
        return self._log.record(run.point.id, batch, self._study.metrics)

    def _is_there(self, run: PointRun, batch: int) -> bool:
        return batch in self._failed.get(run.point.id, {}) or self._stored(run, batch) is not None

    def _after_death(self) -> None:
        """A worker died: run what was handed out again, one by one; give up a batch that kills every time."""
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row >= _MOST_DEATHS_IN_A_ROW:
            raise WorkerError(f"{_MOST_DEATHS_IN_A_ROW} worker processes died one after the other without finishing a batch")
        lost = [(run, batch) for run, batches in self._futures.values() for batch in batches]
        self._forget()
        alone = len(lost) == 1
        for run, batch in lost:
            key = run.point.id, batch
            self._deaths[key] = self._deaths.get(key, 0) + alone
            if self._deaths[key] >= _MOST_DEATHS:
                deaths = f"its worker process died {_MOST_DEATHS} times in a row (out of memory?)"
                self._suspects = [suspect for suspect in self._suspects if suspect != (run, batch)]
                self._fail(run, batch, Failure(deaths, ""))
            elif (run, batch) not in self._suspects:
                self._suspects.append((run, batch))
        self._progress.message(f"a worker process died; {len(lost)} batches are run again")

    def _forget(self) -> None:
        for run, batches in self._futures.values():
            run.in_flight.difference_update(batches)
        self._futures.clear()
