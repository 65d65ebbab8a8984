"""Grids of Es/N0 that grow where it matters: where a curve bends, or around a target that is sought by bisection.

New points follow from the finished points of their own curve alone, so they are the same for any number of workers, any order
and after any interruption.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .results import Results, Row
from .statistics import Estimate

# decades or units of the metric by which a straight line between neighbours may miss a point
WITHIN = 0.25
TARGET_WIDTH_DB = 0.1
_EPS_DB = 1e-9


@dataclass(frozen=True)
class Grid:
    """Es/N0 (or Eb/N0) of a curve.

    Attributes
    ----------
    values : tuple of float
        Where it begins, ascending or as the study lists them.
    refine : float or None
        dB. Intervals that need it are halved until they are at most as wide; None: the values and no others.
    within : float
        An interval needs it if one of its ends lies further than this from the line through that end's neighbours: in the
        metric's unit for means (dB of PSNR), in decades for rates.
    target : (metric, value) or None
        Instead of bends, halve the first interval (from below) in which the metric passes the value.
    """

    values: tuple[float, ...]
    refine: float | None = None
    within: float = WITHIN
    target: tuple[str, float] | None = None

    @property
    def adaptive(self) -> bool:
        """Whether it can grow."""
        return self.refine is not None

    def more(self, curve: Mapping[float, Mapping[str, Estimate]], metric: str) -> list[float]:
        """Values to add once all points of a curve are finished.

        Parameters
        ----------
        curve
            Es/N0 in dB -> estimates by metric.
        metric
            Whose bends count where there is no target.

        Returns
        -------
        list of float
            Ascending; empty when the grid is fine enough (or the target is not within it).
        """
        if self.refine is None:
            return []
        places = sorted(curve)
        if self.target is not None:
            bracket = crossing([(at, curve[at][self.target[0]]) for at in places], self.target[1])
            intervals = [] if bracket is None else [bracket]
        else:
            intervals = _bends([(at, _height(curve[at][metric])) for at in places], self.within)
        return [round((a + b) / 2, 9) for a, b in intervals if b - a > self.refine + _EPS_DB]


def crossing(curve: Sequence[tuple[float, Estimate]], value: float) -> tuple[float, float] | None:
    """The first interval, from low SNR, at whose ends a metric lies on different sides of a value; None where there is none."""
    known = [(at, number.value >= value) for at, number in curve if number.value is not None]
    for (a, above), (b, also) in pairwise(known):
        if above != also:
            return a, b
    return None


def _height(number: Estimate) -> float:
    """A metric as it is drawn: rates in decades, at their upper limit where no event was seen."""
    if number.value is None:
        return math.nan
    if number.kind == "mean":
        return number.value
    seen = number.high if number.is_upper_bound else number.value
    return math.log10(seen) if seen else math.nan


def _bends(curve: Sequence[tuple[float, float]], within: float) -> list[tuple[float, float]]:
    """Intervals next to a point that a straight line between its neighbours misses by more than `within`."""
    wanted: set[tuple[float, float]] = set()
    for (a, low), (at, height), (b, high) in zip(curve, curve[1:], curve[2:], strict=False):
        line = low + (high - low) * (at - a) / (b - a)
        if abs(height - line) > within:  # never for nan
            wanted |= {(a, at), (at, b)}
    return sorted(wanted)


@dataclass(frozen=True)
class Crossing:
    """Where a curve passes a target: between two Es/N0 in dB; None where it does not within its grid.

    The channel's label holds the set of pictures, where that has a name (`Row.panel`).
    """

    scheme: str
    channel: str
    cbr: float | None
    bracket_db: tuple[float, float] | None

    def sentence(self, metric: str, value: float) -> str:
        """For tables."""
        budget = "" if self.cbr is None else f", CBR {self.cbr:.4g}"
        where = f"{self.scheme} | {self.channel}{budget}: {metric} {value:g}"
        if self.bracket_db is None:
            return f"{where} is not passed within the grid"
        low, high = self.bracket_db
        return f"{where} is passed between {low:g} and {high:g} dB Es/N0"


def crossings(results: Results, metric: str, value: float) -> tuple[Crossing, ...]:
    """Where each curve of the results passes a value of a metric, bounds included."""
    curves: dict[tuple[str, str, float | None], list[Row]] = {}
    for row in results.rows:
        curves.setdefault((row.scheme, row.panel, row.cbr), []).append(row)
    found = []
    for key, rows in curves.items():
        places = sorted(((row.esno_db, row.metrics[metric]) for row in rows), key=lambda place: place[0])
        found.append(Crossing(*key, crossing(places, value)))
    return tuple(found)
