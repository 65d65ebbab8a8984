"""How far a run is, and how long it will take: from the stop rule, the errors seen so far, and the clock."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from .progress import Snapshot
from .tally import StopRule, Tally


class Pace:
    """Counts batches against those expected.

    Parameters
    ----------
    stop : StopRule
    """

    def __init__(self, stop: StopRule) -> None:
        self._stop = stop
        self._left: dict[int, float] = {}
        self._finite = 0.0
        self._first = time.monotonic()
        self._batches = 0

    def add(self, tally: Tally) -> None:
        """Count in a point that has something left to do."""
        left = self._left[id(tally)] = self._stop.batches_left(tally)
        self._finite += left if math.isfinite(left) else 0.0

    def snapshot(self, tally: Tally, record: Mapping[str, Any], done: int, points: int, title: str) -> Snapshot:
        """After a batch of the point with this tally; `done` of `points` are over."""
        self._batches += 1
        before = self._left.get(id(tally), 0.0)
        left = self._stop.batches_left(tally)
        self._left[id(tally)] = left
        self._finite += (left if math.isfinite(left) else 0.0) - (before if math.isfinite(before) else 0.0)
        now = time.monotonic()
        if self._batches == 1:
            self._first = now  # the first batch takes in the start of the workers, imports and compilation
        seconds = (now - self._first) / max(self._batches - 1, 1) * self._finite
        known = math.isfinite(left) and self._batches > 1
        fraction = 1.0 if done == points else self._batches / (self._batches + max(self._finite, 1.0))
        return Snapshot(done, points, self._batches, fraction, seconds if known else math.nan, title)
