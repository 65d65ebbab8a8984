"""Which batch next: the points that are furthest from their stop rule come first."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .points import Point
from .tally import StopRule, Tally

# points advance in turn by this share of their way: whole curves show early, and yet pictures and files are used while at hand
_SHARES = 4
_MOST_BATCHES_AT_ONCE = 256


@dataclass(eq=False)
class PointRun:
    """A point on its way.

    Attributes
    ----------
    point : Point
    order : int
        Its place in the study.
    tally : Tally
    reason : str or None
        Why it stopped.
    given_up : bool
        It will not be finished in this run.
    in_flight : set of int
        Batches handed out.
    ready : dict
        Records that wait for an earlier batch.
    """

    point: Point
    order: int
    tally: Tally
    reason: str | None = None
    given_up: bool = False
    in_flight: set[int] = field(default_factory=set)
    ready: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether nothing more is wanted of it."""
        return self.given_up or self.reason is not None


class Agenda:
    """Points that want batches, by how far each is on its way.

    Parameters
    ----------
    stop : StopRule
    is_there : callable
        (run, batch) -> whether the batch need not be computed.
    """

    def __init__(self, stop: StopRule, is_there: Callable[[PointRun, int], bool]) -> None:
        self._stop, self._is_there = stop, is_there
        self._shares: list[list[tuple[int, PointRun]]] = [[] for _ in range(_SHARES)]
        self._place: dict[int, int] = {}
        self._left: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._place)

    def update(self, run: PointRun) -> None:
        """Take in a point, put it in its new place, or drop it once it is over."""
        before = self._place.pop(run.order, None)
        if before is not None:
            del self._shares[before][bisect_left(self._shares[before], run.order, key=_order)]
        if run.over:
            self._left.pop(run.order, None)
            return
        left = self._stop.batches_left(run.tally)
        done = run.tally.batches / (run.tally.batches + left) if math.isfinite(left) and run.tally.batches else 0.0
        share = min(int(done * _SHARES), _SHARES - 1)
        insort(self._shares[share], (run.order, run), key=_order)
        self._place[run.order], self._left[run.order] = share, left

    def next(self, in_flight: int, target_s: float) -> tuple[PointRun, list[int]] | None:
        """What to hand out: a point and some batches of it; None where all that is wanted is on its way.

        Parameters
        ----------
        in_flight
            Most jobs on their way at a time.
        target_s
            Seconds that a job should take: that many batches as the point's mean says.
        """
        # of the points that want more than is on its way already, the least advanced; else whoever will want more at all
        looked_at: list[PointRun] = []
        for run in self._in_turn():
            wanted = max(math.ceil(min(self._left[run.order], 1e9)), 1) - len(run.in_flight)
            if wanted > 0:
                batches = self._batches(run, min(self._size(run, target_s), max(wanted // in_flight, 1)))
                if batches:
                    return run, batches
            looked_at.append(run)
            if len(looked_at) > in_flight:
                break
        for run in sorted(looked_at, key=lambda run: len(run.in_flight)):
            batches = self._batches(run, 1)
            if batches:
                return run, batches
        return None

    def _in_turn(self) -> Iterator[PointRun]:
        for share in self._shares:
            for _, run in share:
                yield run

    def _size(self, run: PointRun, target_s: float) -> int:
        tally = run.tally
        if not tally.batches:
            return 1
        return max(min(int(target_s / max(tally.seconds / tally.batches, 1e-6)), _MOST_BATCHES_AT_ONCE), 1)

    def _batches(self, run: PointRun, count: int) -> list[int]:
        """The first batches that are neither there nor on their way, and that the rule can still want."""
        found: list[int] = []
        batch = run.tally.batches
        most = self._stop.most_batches(run.tally.plan)
        while len(found) < count and batch < most:
            if batch not in run.in_flight and batch not in run.ready and not self._is_there(run, batch):
                found.append(batch)
            batch += 1
        return found


def _order(entry: tuple[int, PointRun]) -> int:
    return entry[0]
