"""Average gain of one scheme over another along a sweep, with an interval over pictures.

Over the CBR, at a fixed Es/N0, these are Bjøntegaard's two numbers (VCEG-M33, 2001): the mean difference in quality at equal
CBR over log10 CBR (BD-PSNR), and the mean difference in CBR at equal quality (BD-rate). Over Es/N0, at a fixed budget, it is
the mean difference in quality over Es/N0 in dB.

The curves are those of the means over pictures. They are interpolated by monotone piecewise cubics (PCHIP, Fritsch & Butland
1984), which do not overshoot at a cliff, and compared over the range that both were measured on, never beyond. The interval
is the bootstrap's over pictures: whole pictures are drawn with replacement, the same ones for both schemes and all points of
the sweep (the pairing), with the percentiles widened for few pictures (Hesterberg 2015, "What Teachers Should Know About the
Bootstrap", The American Statistician 69(4), sec. 5.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import special

from jscclink.errors import InputError

from .results import Results, Row
from .statistics import CONFIDENCE, Estimate

Over = Literal["cbr", "esno_db"]
# points that a curve needs for an average along it, and pictures for an interval
LEAST_POINTS = 3
LEAST_PICTURES = 5
_REPLICATES, _SEED = 2000, 20151
# replicates whose curves do not compare (no common range, not monotone) before there is no interval
_MOST_UNDEFINED = 0.01
_TIE = 1e-9


@dataclass(frozen=True)
class Gain:
    """Average gain of a scheme over another along one sweep.

    Attributes
    ----------
    scheme, reference : str
    channel : str
        With the set of pictures, where that has a name (`Row.panel`).
    over : "cbr" or "esno_db"
        What was swept.
    at : float or None
        The other of the two, which is fixed: Es/N0 in dB, or the budget.
    quality : Estimate
        Mean of scheme - reference in the metric's unit (BD-PSNR for `psnr` over the CBR), over the CBR or Es/N0
    between : (float, float)
        in this range, the one that both curves cover.
    rate : Estimate or None
        BD-rate in percent (negative: the scheme needs less), over the metric's values
    rate_between : (float, float) or None
        in this range. None over Es/N0, and where a curve does not get better with every step of CBR.
    """

    scheme: str
    reference: str
    channel: str
    over: Over
    at: float | None
    quality: Estimate
    between: tuple[float, float]
    rate: Estimate | None = None
    rate_between: tuple[float, float] | None = None


def reference_of(results: Results, wanted: str | None = None) -> str:
    """The scheme to compare with: the one that is wanted, else the study's `reference`, else the first digital one, else the
    first that is no bound.

    Raises
    ------
    InputError
        There is no such scheme.
    """
    wanted = wanted or results.reference
    if wanted is not None:
        if wanted not in results.schemes:
            raise InputError(f"no scheme {wanted!r} to compare with; there are {', '.join(map(repr, results.schemes))}")
        return wanted
    systems = {label: info for label, info in results.schemes.items() if not info.bound} or dict(results.schemes)
    digital = [label for label, info in systems.items() if info.plugin["name"] == "digital"]
    return next(iter([*digital, *systems]))


def gains(results: Results, metric: str, reference: str | None = None) -> tuple[Gain, ...]:
    """Every scheme that is no bound against a reference, on every channel and along every sweep that both have.

    Parameters
    ----------
    metric : str
        A mean over pictures.
    reference : str, optional
        A label; default: see `reference_of`.

    Raises
    ------
    InputError
        No such metric or scheme.
    """
    if metric not in results.metrics:
        raise InputError(f"the results have no metric {metric!r}; measured: {', '.join(results.metrics)}")
    against, better = reference_of(results, reference), results.metrics[metric].better
    rows = [row for row in results.rows if row.per_image]
    theirs = [row for row in rows if row.scheme == against]
    chosen = [label for label, info in results.schemes.items() if label != against and not info.bound]
    pairs = [([row for row in rows if row.scheme == label], theirs) for label in chosen]
    found = [one for ours, base in pairs for one in gains_between(ours, base, metric, better=better)]
    return tuple(sorted(found, key=lambda one: one.over != "cbr"))


def gains_between(ours: Sequence[Row], theirs: Sequence[Row], metric: str, *, better: str | None) -> tuple[Gain, ...]:
    """One scheme against another along every sweep that both have: rows of any number of points over the same pictures."""
    found = []
    overs: tuple[Over, ...] = ("cbr", "esno_db")
    for over in overs:
        curves, others = _curves(ours, over), _curves(theirs, over)
        found += [gain(curve, others.get(key, []), metric, over, better=better) for key, curve in curves.items()]
    return tuple(one for one in found if one is not None)


def _curves(rows: Sequence[Row], over: Over) -> dict[tuple[str, float | None], list[Row]]:
    """Rows of each sweep, by channel and set of pictures, and what is fixed."""
    groups: dict[tuple[str, float | None], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.panel, row.esno_db if over == "cbr" else row.cbr), []).append(row)
    return groups


def gain(ours: Sequence[Row], theirs: Sequence[Row], metric: str, over: Over, *, better: str | None) -> Gain | None:
    """Average gain along a sweep; None where there is nothing to average.

    Parameters
    ----------
    ours, theirs : sequence of Row
        Of one curve each, over the same pictures. The CBR of a point is what the ledger says where the metric `cbr` was
        measured, else its budget.
    better : "higher", "lower" or None
        The metric's direction.
    """
    if any(row.metrics[metric].kind != "mean" for row in (*ours, *theirs)):
        return None
    valued = [[row for row in rows if row.metrics[metric].value is not None] for rows in (ours, theirs)]
    if min(len(rows) for rows in valued) < LEAST_POINTS:
        return None
    curves = [_values(rows, metric, over) for rows in valued]
    # pictures that have a value at every point of both
    known = ~np.isnan(np.concatenate([part for curve in curves for part in curve])).any(0)
    n = int(known.sum())
    if not n:
        return None
    curves = [_distinct(curve, known, over) for curve in curves]
    if min(len(values) for values, _ in curves) < LEAST_POINTS:
        return None
    means = [tuple(_weights(n) @ part[:, known].T for part in curve) for curve in curves]
    (x, y), (x0, y0) = ((_log10(place) if over == "cbr" else place, quality) for quality, place in means)
    difference, low, high = mean_difference(x, y, x0, y0)
    if math.isnan(difference[0]):
        return None
    rate, rate_between = None, None
    if over == "cbr":
        # at equal quality: the axes change places, quality ascending
        sign = -1.0 if better == "lower" else 1.0
        logarithm, worst, best = mean_difference(sign * y, x, sign * y0, x0)
        if not math.isnan(logarithm[0]):
            rate = _estimate(100.0 * (10.0**logarithm - 1.0), n)
            rate_between = (min(sign * worst[0], sign * best[0]), max(sign * worst[0], sign * best[0]))
    between = (10.0 ** low[0], 10.0 ** high[0]) if over == "cbr" else (low[0], high[0])
    first, fixed = ours[0], ours[0].esno_db if over == "cbr" else ours[0].cbr
    return Gain(
        first.scheme,
        theirs[0].scheme,
        first.panel,
        over,
        fixed,
        _estimate(difference, n),
        (float(between[0]), float(between[1])),
        rate,
        None if rate_between is None else (float(rate_between[0]), float(rate_between[1])),
    )


@lru_cache(8)
def _weights(n: int) -> np.ndarray:
    """float64 [1 + replicates, n]: all pictures alike, then resamples of them."""
    resamples = np.random.default_rng(_SEED).multinomial(n, np.full(n, 1 / n), _REPLICATES)
    return np.vstack([np.ones(n), resamples]) / n


def _values(rows: Sequence[Row], metric: str, over: Over) -> tuple[np.ndarray, np.ndarray]:
    """Quality and place of each point and picture, float64 [points, pictures] twice; nan where a picture has no value."""
    quality = np.array([[sums.value for sums in row.per_image[metric]] for row in rows])
    if over == "esno_db":
        places = [np.full(quality.shape[1], row.esno_db) for row in rows]
    elif all("cbr" in row.per_image for row in rows):
        places = [np.array([sums.value for sums in row.per_image["cbr"]]) for row in rows]
    else:
        places = [np.full(quality.shape[1], np.nan if row.cbr is None else row.cbr) for row in rows]
    return quality, np.array(places).reshape(quality.shape)


def _distinct(curve: tuple[np.ndarray, np.ndarray], known: np.ndarray, over: Over) -> tuple[np.ndarray, np.ndarray]:
    """The points in order of their mean place, one of each: two budgets of which a scheme used equally much are one.

    Where nothing was sent there is no place on the logarithmic axis.
    """
    quality, place = curve
    means = place[:, known].mean(1)
    order = np.argsort(means, kind="stable")
    new = np.diff(means[order], prepend=-np.inf) > _TIE * np.abs(means[order])
    kept = order[new & ((means[order] > 0) | (over != "cbr"))]
    return quality[kept], place[kept]


def _log10(place: np.ndarray) -> np.ndarray:
    """nan for 0."""
    return np.log10(np.where(place > 0, place, np.nan))


def _estimate(values: np.ndarray, pictures: int) -> Estimate:
    """The first value with the interval of the others, float64 [1 + replicates]."""
    value, replicates = float(values[0]), values[1:][~np.isnan(values[1:])]
    low = high = None
    if pictures >= LEAST_PICTURES and len(replicates) >= (1 - _MOST_UNDEFINED) * (len(values) - 1):
        t = float(special.stdtrit(pictures - 1, 0.5 + CONFIDENCE / 2)) * math.sqrt(pictures / (pictures - 1))
        tail = float(special.ndtr(-t))
        low, high = (float(end) for end in np.quantile(replicates, [tail, 1.0 - tail]))
    return Estimate(value, low, high, pictures, pictures, "mean")


def mean_difference(x: np.ndarray, y: np.ndarray, x0: np.ndarray, y0: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean of y(x) - y0(x) over the range that both curves cover, curve by curve.

    Parameters
    ----------
    x, y : ndarray
        float64 [curves, points]; x strictly ascending.
    x0, y0 : ndarray
        float64 [curves, points of the other].

    Returns
    -------
    difference, low, high : ndarray
        float64 [curves]: the mean, and the range that it is over; nan where x does not ascend or there is no common range.
    """
    low, high = np.maximum(x[:, 0], x0[:, 0]), np.minimum(x[:, -1], x0[:, -1])
    valid = (np.diff(x) > 0).all(1) & (np.diff(x0) > 0).all(1) & (high > low)
    difference = np.full(len(x), np.nan)
    areas = [_area(a[valid], b[valid], low[valid], high[valid]) for a, b in ((x, y), (x0, y0))]
    difference[valid] = (areas[0] - areas[1]) / (high - low)[valid]
    return difference, low, high


def _area(x: np.ndarray, y: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Integral of the PCHIP interpolant from low to high: float64 [curves, points] twice, [curves] twice -> [curves]."""
    h, slope = np.diff(x), np.diff(y) / np.diff(x)
    d = _derivatives(h, slope)
    # y_i + d_i u + c u^2 + e u^3 on each interval, u = x - x_i
    c = (3 * slope - 2 * d[:, :-1] - d[:, 1:]) / h
    e = (d[:, :-1] + d[:, 1:] - 2 * slope) / h**2
    ends = [np.clip(limit[:, None], x[:, :-1], x[:, 1:]) - x[:, :-1] for limit in (low, high)]
    lower, upper = (y[:, :-1] * u + d[:, :-1] * u**2 / 2 + c * u**3 / 3 + e * u**4 / 4 for u in ends)
    return (upper - lower).sum(1)


def _derivatives(h: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Of the PCHIP interpolant at the points: float64 [curves, points - 1] twice -> [curves, points].

    Inside the weighted harmonic mean of the two slopes, 0 at an extremum; at the ends the one-sided three-point formula, kept
    from changing the curve's direction.
    """
    a, b = slope[:, :-1], slope[:, 1:]
    first, second = 2 * h[:, 1:] + h[:, :-1], h[:, 1:] + 2 * h[:, :-1]
    turns = a * b <= 0
    safe_a, safe_b = (np.where(turns, 1.0, part) for part in (a, b))
    inner = np.where(turns, 0.0, (first + second) / (first / safe_a + second / safe_b))

    def end(h0: np.ndarray, h1: np.ndarray, m0: np.ndarray, m1: np.ndarray) -> np.ndarray:
        d = ((2 * h0 + h1) * m0 - h0 * m1) / (h0 + h1)
        d = np.where(d * m0 <= 0, 0.0, d)
        return np.where((m0 * m1 <= 0) & (np.abs(d) > 3 * np.abs(m0)), 3 * m0, d)

    left = end(h[:, 0], h[:, 1], slope[:, 0], slope[:, 1])
    right = end(h[:, -1], h[:, -2], slope[:, -1], slope[:, -2])
    return np.column_stack([left, inner, right])
