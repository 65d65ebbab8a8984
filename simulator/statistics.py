"""Statistics that add, and the interval that goes with every number.

Items are independent transmissions: blocks of bits, or one draw of the channel for one picture. Their sums are kept per
group: one group per picture (draws of one picture resemble each other), a single group for all blocks of bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from scipy import special

Kind = Literal["mean", "proportion", "ratio"]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Sums:
    """Sufficient statistics of items with values numerator/denominator; two of them add.

    Attributes
    ----------
    n : int
        Items that have a value (denominator > 0).
    numerator, denominator, numerator2, product, denominator2 : float
        Sums over the items of x, y, x^2, x y and y^2.
    """

    n: int = 0
    numerator: float = 0.0
    denominator: float = 0.0
    numerator2: float = 0.0
    product: float = 0.0
    denominator2: float = 0.0

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @classmethod
    def of(cls, numerator: Sequence[float], denominator: Sequence[float]) -> Sums:
        """Sums of items, float [items] each, correctly rounded (so that the order of the items does not matter)."""
        pairs = [(x, y) for x, y in zip(numerator, denominator, strict=True) if y > 0]
        return cls(
            len(pairs),
            math.fsum(x for x, _ in pairs),
            math.fsum(y for _, y in pairs),
            math.fsum(x * x for x, _ in pairs),
            math.fsum(x * y for x, y in pairs),
            math.fsum(y * y for _, y in pairs),
        )

    @property
    def value(self) -> float:
        """Sum of numerators over sum of denominators; nan without items."""
        return self.numerator / self.denominator if self.denominator else math.nan

    @property
    def variance(self) -> float:
        """Unbiased variance of the items' values, for denominators of 1; nan for fewer than two items."""
        if self.n < 2:
            return math.nan
        return max(self.numerator2 - self.numerator**2 / self.n, 0.0) / (self.n - 1)


@dataclass(frozen=True)
class Estimate:
    """A number and how sure we are of it.

    Attributes
    ----------
    value : float or None
        None where no item has a value (MS-SSIM of small pictures).
    low, high : float or None
        Confidence interval; None where the data do not give one (a single picture).
    n : int
        Items behind it: blocks, or pictures x draws.
    groups : int
        Pictures behind it; 1 for blocks of bits.
    kind : "mean", "proportion" or "ratio"
        Which interval: Student t over pictures (over items where there are no pictures); Clopper-Pearson over items; the
        same with the effective number of trials.
    is_upper_bound : bool
        No event was seen (no error, no outage): `high` is what can be said, an arrow on a logarithmic axis.
    draws_half_width : float or None
        Means over pictures only: half-width of the interval for *these* pictures, from the spread among the channel
        draws. More draws shrink it; they do not shrink the spread among pictures, which is in `low` and `high`.
    confidence : float
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    groups: int
    kind: Kind
    is_upper_bound: bool = False
    draws_half_width: float | None = None
    confidence: float = CONFIDENCE

    @property
    def half_width(self) -> float | None:
        """What more trials can shrink: over the draws for pictures' means, else half of high - low."""
        if self.draws_half_width is not None:
            return self.draws_half_width
        if self.low is None or self.high is None or (self.kind == "mean" and self.groups > 1):
            return None
        return (self.high - self.low) / 2


def t_half_width(variance_of_mean: float, degrees: float, confidence: float = CONFIDENCE) -> float:
    """Half-width of the Student t interval of a mean."""
    return float(special.stdtrit(degrees, 0.5 + confidence / 2)) * math.sqrt(variance_of_mean)


def clopper_pearson(events: float, trials: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact two-sided interval of a proportion (Clopper & Pearson 1934), also for effective, non-integer counts."""
    tail = (1.0 - confidence) / 2
    low = 0.0 if events <= 0 else float(special.betaincinv(events, trials - events + 1, tail))
    high = 1.0 if events >= trials else float(special.betaincinv(events + 1, trials - events, 1 - tail))
    return low, high


def estimate(kind: Kind, groups: Iterable[Sums], confidence: float = CONFIDENCE) -> Estimate:
    """Sums per group -> number with interval.

    `mean`: the mean over groups of each group's mean, with a t interval over groups; with a single group of many items (a
    bit-level study) over its items. `proportion`: all items together; for pictures the interval holds for these pictures,
    where items of unlike probability only make it conservative (Hoeffding 1956). `ratio`: see `_ratio`.
    """
    seen = [group for group in groups if group.denominator > 0]
    total = sum(seen, Sums())
    if not seen:
        return Estimate(None, None, None, 0, 0, kind, confidence=confidence)
    if kind == "mean":
        return _mean(seen, total.n, confidence)
    if kind == "proportion":
        low, high = clopper_pearson(total.numerator, total.denominator, confidence)
        return Estimate(total.value, low, high, total.n, len(seen), kind, total.numerator == 0, confidence=confidence)
    low, high = _ratio(total, confidence)
    return Estimate(total.value, low, high, total.n, len(seen), kind, total.numerator == 0, confidence=confidence)


def estimate_blocks(kind: Kind, total: Sums, confidence: float = CONFIDENCE) -> Estimate:
    """The same for items without groups: the t interval of a `mean` is over items."""
    if kind != "mean" or total.n == 0:
        return estimate(kind, [total], confidence)
    if total.n == 1:
        return Estimate(total.value, None, None, 1, 1, kind, confidence=confidence)
    half = t_half_width(total.variance / total.n, total.n - 1, confidence)
    return Estimate(total.value, total.value - half, total.value + half, total.n, 1, kind, confidence=confidence)


def _mean(groups: list[Sums], n: int, confidence: float) -> Estimate:
    means = [group.value for group in groups]
    value = math.fsum(means) / len(means)
    draws = draws_half_width(groups, confidence)
    if len(means) == 1:
        return Estimate(value, None, None, n, 1, "mean", draws_half_width=draws, confidence=confidence)
    variance = math.fsum((m - value) ** 2 for m in means) / (len(means) - 1)
    half = t_half_width(variance / len(means), len(means) - 1, confidence)
    return Estimate(value, value - half, value + half, n, len(means), "mean", draws_half_width=draws, confidence=confidence)


def draws_half_width(groups: Sequence[Sums], confidence: float = CONFIDENCE) -> float | None:
    """Half-width for the mean over these very groups, given the spread among items within each; None with single items.

    The degrees of freedom are Welch's and Satterthwaite's.
    """
    if not groups or min(group.n for group in groups) < 2:
        return None
    parts = [(group.variance / group.n, group.n - 1) for group in groups]
    total = math.fsum(variance for variance, _ in parts)
    # relative to the squares that cancel in the variance: below it, the values are equal
    if total <= 1e-14 * max(group.numerator2 / group.n for group in groups):
        return 0.0
    degrees = total**2 / math.fsum(variance**2 / below for variance, below in parts)
    return t_half_width(total / len(groups) ** 2, degrees, confidence)


def _ratio(total: Sums, confidence: float) -> tuple[float, float]:
    """Interval of events per trial when the trials within an item depend on each other (bit errors within a block).

    The variance of the ratio comes from the spread among items; the design effect, its ratio to the binomial variance,
    turns trials into effective ones for Clopper-Pearson, after Korn & Graubard (1998), who also allow for the few items
    that the variance was estimated from. Without any event (or with nothing else) the trials within an item are taken as
    one: an item is at most wrong altogether.
    """
    p, n = total.value, total.n
    if n < 2 or p <= 0.0 or p >= 1.0:
        return clopper_pearson(n * p, n, confidence)
    variance = _residual(total) * n / (n - 1) / total.denominator**2
    trials = total.denominator
    effective = min(p * (1 - p) / variance, trials) if variance > 0 else trials
    tail = 0.5 + confidence / 2
    effective *= (float(special.stdtrit(trials - 1, tail)) / float(special.stdtrit(n - 1, tail))) ** 2
    return clopper_pearson(p * effective, effective, confidence)


def estimate_rate(sums: Sums, scale: float = 1.0, confidence: float = CONFIDENCE) -> Estimate:
    """scale x sum of numerators / sum of denominators (items per second, ...) with a t interval over the batches behind it.

    The variance of the ratio is that of its linearisation.
    """
    n, rate = sums.n, sums.value
    if not n or math.isnan(rate):
        return Estimate(None, None, None, n, 1, "ratio", confidence=confidence)
    if n == 1:
        return Estimate(scale * rate, None, None, n, 1, "ratio", confidence=confidence)
    variance = _residual(sums) * n / (n - 1) / sums.denominator**2
    half = t_half_width(variance, n - 1, confidence)
    return Estimate(scale * rate, scale * max(rate - half, 0.0), scale * (rate + half), n, 1, "ratio", confidence=confidence)


def _residual(sums: Sums) -> float:
    """Sum of (x - r y)^2 with r the ratio of the sums."""
    ratio = sums.value
    return max(sums.numerator2 - 2 * ratio * sums.product + ratio * ratio * sums.denominator2, 0.0)


def paired_difference(first: Sequence[Sums], second: Sequence[Sums], confidence: float = CONFIDENCE) -> Estimate:
    """Mean of first - second over the groups (pictures) that both have, with the t interval of the differences.

    Both sequences are indexed by picture. Points that met the same channel realisations (same study, same channel, Es/N0
    and CBR) differ less from each other than from draw to draw; so the interval is that of the difference, far narrower
    than the two intervals apart.
    """
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a.denominator > 0 and b.denominator > 0]
    differences = [a.value - b.value for a, b in pairs]
    return (
        _mean([Sums.of([d], [1.0]) for d in differences], sum(min(a.n, b.n) for a, b in pairs), confidence)
        if pairs
        else (Estimate(None, None, None, 0, 0, "mean", confidence=confidence))
    )
