"""Histograms of a metric over pictures and draws in bounded memory: percentiles, outages below a threshold, distributions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import special

from .statistics import CONFIDENCE, Estimate, clopper_pearson

# bins per octave: values are kept to within 1 part in 8192 (0.004 dB at 30 dB)
_BINS = 4096
# values that wait to be sorted into bins
_AT_ONCE = 8192


def bins_of(values: np.ndarray) -> np.ndarray:
    """Bins, int64 [n]: sign, exponent and the first 12 bits of the mantissa, as one whole number in order of size."""
    mantissa, exponent = np.frexp(np.abs(values))
    place = (exponent.astype(np.int64) + 1100) * _BINS + ((mantissa - 0.5) * 2 * _BINS).astype(np.int64) + 1
    return np.where(values == 0.0, 0, np.where(values > 0, place, -place))


def centre(place: int) -> float:
    """The middle of a bin."""
    if place == 0:
        return 0.0
    exponent, step = divmod(abs(place) - 1, _BINS)
    return math.copysign(math.ldexp(0.5 + (step + 0.5) / (2 * _BINS), exponent - 1100), place)


class Counter:
    """Counts values in bins: many at a time, as this is what a million batches pass through."""

    def __init__(self) -> None:
        self._values: list[float] = []
        self._bins: dict[int, int] = {}

    def add(self, values: Iterable[float]) -> None:
        """Count values in."""
        self._values += values
        if len(self._values) > _AT_ONCE:
            self._sort_in()

    def _sort_in(self) -> None:
        places, counts = np.unique(bins_of(np.array(self._values, dtype=np.float64)), return_counts=True)
        self._values.clear()
        for place, count in zip(places.tolist(), counts.tolist(), strict=True):
            self._bins[place] = self._bins.get(place, 0) + count

    def histogram(self) -> Histogram:
        """So far."""
        self._sort_in()
        places = sorted(self._bins)
        return Histogram(tuple(centre(place) for place in places), tuple(self._bins[place] for place in places))


@dataclass(frozen=True)
class Histogram:
    """Values of a metric over all transmissions of a point.

    Attributes
    ----------
    values : tuple of float
        Distinct values (middles of bins of 1 part in 4096), ascending.
    counts : tuple of int
        Transmissions (pictures x draws) with each value.
    """

    values: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()

    @property
    def n(self) -> int:
        """Transmissions."""
        return sum(self.counts)

    def quantile(self, share: float, confidence: float = CONFIDENCE) -> Estimate:
        """The value that this share of transmissions does not exceed (0.05: the 5th percentile).

        The interval is the distribution-free one between order statistics, whose ranks are binomial (David & Nagaraja, Order
        Statistics, 2003, sec. 7.1); transmissions count as independent. An end that would lie beyond the smallest or largest
        value is None: too few transmissions to say.
        """
        n = self.n
        if n == 0:
            return Estimate(None, None, None, 0, 0, "mean", confidence=confidence)
        tail = (1.0 - confidence) / 2
        # P(at most r values lie below the quantile) for ranks r; n is small enough for a search
        low = _rank(n, share, tail)
        high = n + 1 - _rank(n, 1.0 - share, tail)
        ends = [self._ranked(rank) if 1 <= rank <= n else None for rank in (low, high)]
        return Estimate(self._ranked(max(math.ceil(share * n), 1)), ends[0], ends[1], n, 1, "mean", confidence=confidence)

    def outage(self, threshold: float, confidence: float = CONFIDENCE) -> Estimate:
        """Share of transmissions whose value is below a threshold, with Clopper and Pearson's interval."""
        n = self.n
        if n == 0:
            return Estimate(None, None, None, 0, 0, "proportion", confidence=confidence)
        events = sum(count for value, count in zip(self.values, self.counts, strict=True) if value < threshold)
        low, high = clopper_pearson(events, n, confidence)
        return Estimate(events / n, low, high, n, 1, "proportion", events == 0, confidence=confidence)

    def _ranked(self, rank: int) -> float:
        below = 0
        for value, count in zip(self.values, self.counts, strict=True):
            below += count
            if below >= rank:
                return value
        return self.values[-1]


def _rank(n: int, share: float, tail: float) -> int:
    """The largest r with P(Binomial(n, share) < r) <= tail; 0 where there is none."""
    low, high = 0, n
    while low < high:
        middle = (low + high + 1) // 2
        if special.bdtr(middle - 1, n, share) <= tail:
            low = middle
        else:
            high = middle - 1
    return low
