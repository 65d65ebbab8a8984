"""Folding the batches of a point, in index order, into statistics, and the rule that says when it has had enough.

The result of a point is a function of its batches in order and of the rule, nothing else: not of the number of workers, nor
of what was computed beyond the stop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .histogram import Counter, Histogram
from .points import Plan
from .statistics import Estimate, Kind, Sums, estimate, estimate_blocks, estimate_rate


@dataclass(frozen=True)
class Throughput:
    """Computing speed of a point on one worker; None where unknown. Never part of the result table.

    Attributes
    ----------
    items_per_s : Estimate
        Pictures or blocks per second, with a t interval over batches.
    values_per_s : Estimate
        Source values per second: 3HW per picture, k per block.
    info_bits_per_s : Estimate or None
        Information bits per second, for blocks of bits.
    """

    items_per_s: Estimate
    values_per_s: Estimate
    info_bits_per_s: Estimate | None


# n, numerator, denominator, numerator^2, numerator x denominator, denominator^2: the fields of `Sums`
_FIELDS = 6


def measured(kind: Kind, numerator: Sequence[float], denominator: Sequence[float], *, pictures: bool) -> dict[str, Any]:
    """What a batch keeps of a metric: the values of each picture, or the sums over blocks."""
    if not pictures:
        sums = Sums.of(numerator, denominator)
        return {"kind": kind, "sums": [getattr(sums, name) for name in Sums.__dataclass_fields__]}
    kept: dict[str, Any] = {"kind": kind, "x": list(numerator)}
    if any(y != 1.0 for y in denominator):
        kept["y"] = list(denominator)
    return kept


class _Metric:
    """Running sums of one metric per group; plain lists, as this is what a million batches pass through."""

    def __init__(self, kind: Kind, groups: int) -> None:
        self.kind: Kind = kind
        # sums of n, x, x^2 over items with a denominator of 1, as nearly all have, and of `Sums`' fields over the others
        self._plain = [[0.0] * 3 for _ in range(groups)]
        self._others = [[0.0] * _FIELDS for _ in range(groups)]
        self.values = Counter()

    def add(self, kept: Mapping[str, Any], pictures: Sequence[int]) -> None:
        if "sums" in kept:
            row = self._others[0]
            for i, value in enumerate(kept["sums"]):
                row[i] += value
        elif "y" not in kept:
            plain = self._plain
            for picture, x in zip(pictures, kept["x"], strict=True):
                row = plain[picture]
                row[0] += 1
                row[1] += x
                row[2] += x * x
            if self.kind == "mean":
                self.values.add(kept["x"])
        else:
            for picture, x, y in zip(pictures, kept["x"], kept["y"], strict=True):
                if y > 0:
                    row = self._others[picture]
                    for i, value in enumerate((1, x, y, x * x, x * y, y * y)):
                        row[i] += value
                    if self.kind == "mean":
                        self.values.add((x / y,))

    def sums(self) -> tuple[Sums, ...]:
        """Per group."""
        return tuple(
            Sums(int(n), x, n, x2, x, n) + Sums(int(other[0]), *other[1:])
            for (n, x, x2), other in zip(self._plain, self._others, strict=True)
        )


class Tally:
    """Sums over a point's first batches.

    Parameters
    ----------
    plan : Plan
        Also an attribute.
    metrics : sequence of str
        Keys of the metrics to follow.
    """

    def __init__(self, plan: Plan, metrics: Sequence[str]) -> None:
        self.plan, self._keys = plan, tuple(metrics)
        self._metrics: dict[str, _Metric] = {}
        self._speed = Sums()
        self.batches = self.failed = self.trials = self.errors = 0
        self.seconds = 0.0

    def add(self, record: Mapping[str, Any]) -> None:
        """Take in the next batch: a record of `runner` or of the store; of one that `failed`, that it is missing."""
        if "failed" in record:
            self.batches += 1
            self.failed += 1
            return
        pictures = self.plan.pictures(self.batches)
        for key in self._keys:
            kept = record["metrics"][key]
            metric = self._metrics.get(key)
            if metric is None:
                metric = self._metrics[key] = _Metric(kept["kind"], self.plan.images or 1)
            metric.add(kept, pictures)
        trials, seconds = record["trials"], record["seconds"]
        self.batches += 1
        self.trials += trials
        self.errors += record["errors"]
        self.seconds += seconds
        speed = self._speed
        self._speed = Sums(
            speed.n + 1,
            speed.numerator + trials,
            speed.denominator + seconds,
            speed.numerator2 + trials * trials,
            speed.product + trials * seconds,
            speed.denominator2 + seconds * seconds,
        )

    @property
    def whole_passes(self) -> bool:
        """Whether every picture has had the same number of draws, but for batches that failed."""
        return self.batches % self.plan.batches_per_pass == 0

    @property
    def passes(self) -> float:
        """Draws per picture so far, or batches of blocks."""
        return self.batches / self.plan.batches_per_pass

    def groups(self, key: str) -> tuple[Sums, ...]:
        """Sums of a metric per picture, or of all blocks."""
        metric = self._metrics.get(key)
        if metric is None:
            return (Sums(),) * (self.plan.images or 1)
        return metric.sums()

    def estimate(self, key: str) -> Estimate:
        """A metric with its interval."""
        kind = self._metrics[key].kind if key in self._metrics else "mean"
        groups = self.groups(key)
        return estimate(kind, groups) if self.plan.images else estimate_blocks(kind, groups[0])

    def histogram(self, key: str) -> Histogram:
        """The values of a metric over pictures and draws; empty for rates and for blocks of bits."""
        metric = self._metrics.get(key)
        return Histogram() if metric is None else metric.values.histogram()

    def throughput(self, values_per_item: float, info_bits_per_item: float | None) -> Throughput:
        """Computing speed so far."""
        bits = None if info_bits_per_item is None else estimate_rate(self._speed, info_bits_per_item)
        return Throughput(estimate_rate(self._speed), estimate_rate(self._speed, values_per_item), bits)


@dataclass(frozen=True)
class StopRule:
    """When a point has had enough: the first that holds. All but `most_seconds` look at whole draws only.

    Attributes
    ----------
    draws : int or None
        Channel draws per picture; None for blocks of bits.
    errors : int or None
        Wrong blocks, or outages.
    half_width : mapping of float
        By key of a metric: half-width of the 95 % interval; for means over pictures, of the interval over the draws (more
        draws do not shrink the spread among pictures).
    least_draws : int
        Draws before `half_width` counts: two draws that happen to agree say little.
    most_trials : int or None
        Blocks, or pictures x draws.
    most_seconds : float or None
        Computing time of the batches as stored. The only rule whose outcome depends on the machine; resuming from the
        same store meets it at the same batch.
    """

    draws: int | None = None
    errors: int | None = None
    half_width: Mapping[str, float] = field(default_factory=dict)
    least_draws: int = 4
    most_trials: int | None = None
    most_seconds: float | None = None

    def reason(self, tally: Tally) -> str | None:
        """Why the point stops here, as a sentence; None to go on."""
        plan = tally.plan
        what = "pictures x draws" if plan.images else "blocks"
        if tally.batches and tally.whole_passes:
            if self.errors is not None and tally.errors >= self.errors:
                kind = "outages" if plan.images else "block errors"
                return f"The target of {self.errors} {kind} is reached."
            if self.half_width and (tally.passes >= self.least_draws or not plan.images) and self._narrow(tally):
                wanted = ", ".join(f"{key} {width:g}" for key, width in self.half_width.items())
                return f"The half-widths aimed at are reached: {wanted}."
            if self.draws is not None and tally.passes >= self.draws:
                return f"All {self.draws} draws of {plan.images} pictures are done."
            # by batches, as those that failed bring no trials
            if self.most_trials is not None and tally.batches >= self.most_batches(plan):
                short = self.errors is not None and tally.errors < self.errors
                advice = f" with {tally.errors} of {self.errors} errors; raise stop.most_trials to be surer" if short else ""
                return f"The most trials are done, {tally.trials} {what}{advice}."
        if self.most_seconds is not None and tally.seconds >= self.most_seconds:
            return f"The most seconds of computing, {self.most_seconds:g}, are used up; raise stop.most_seconds to go on."
        return None

    def _narrow(self, tally: Tally) -> bool:
        for key, wanted in self.half_width.items():
            half = tally.estimate(key).half_width
            if half is None or not half <= wanted:
                return False
        return True

    def most_batches(self, plan: Plan) -> float:
        """Batches after which a point stops in any case; inf where only time or errors stop it."""
        bounds = [math.inf]
        if self.draws is not None:
            bounds.append(self.draws * plan.batches_per_pass)
        if self.most_trials is not None:
            bounds.append(math.ceil(self.most_trials / (plan.images or plan.items)) * plan.batches_per_pass)
        return min(bounds)

    def batches_left(self, tally: Tally) -> float:
        """Batches still to come at most, and at the present rate of errors; a guess for the time left."""
        plan = tally.plan
        bounds = [self.most_batches(plan) - tally.batches]
        if self.errors is not None and tally.errors:
            bounds.append((self.errors - tally.errors) * tally.batches / tally.errors)
        if self.most_seconds is not None and tally.seconds:
            bounds.append((self.most_seconds - tally.seconds) * tally.batches / tally.seconds)
        for key, wanted in self.half_width.items():
            half = tally.estimate(key).half_width if tally.batches else None
            if half is not None and wanted > 0:
                least = self.least_draws * plan.batches_per_pass - tally.batches if plan.images else 0.0
                bounds.append(max(tally.batches * ((half / wanted) ** 2 - 1.0), least, 0.0))
        return max(min(bounds), 0.0)
