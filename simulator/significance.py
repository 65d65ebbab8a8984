"""Tests of whether two numbers differ, from the same sums that intervals come from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

from .statistics import CONFIDENCE, Estimate, Sums, clopper_pearson, t_half_width


@dataclass(frozen=True)
class Test:
    """A two-sided test of first = second.

    Attributes
    ----------
    name : str
        Which, and over how many of what.
    difference, low, high : float or None
        first - second with its confidence interval.
    p : float or None
        Probability of data at least as unlike, if there were no difference; None where the data allow no test.
    """

    __test__ = False  # no test of pytest's

    name: str
    difference: float | None
    low: float | None
    high: float | None
    p: float | None


def paired_t(differences: Sequence[float], what: str) -> Test:
    """Student's paired t over units (pictures) that both have."""
    n = len(differences)
    name = f"paired t over {n} {what}"
    mean = math.fsum(differences) / n
    if n < 2:
        return Test(name, mean, None, None, None)
    variance = math.fsum((d - mean) ** 2 for d in differences) / (n - 1)
    return _t(name, mean, variance / n, n - 1)


def stratified_t(strata: Sequence[Sums], name: str, subtract: Sequence[Sums] = ()) -> Test:
    """t of the mean over strata (these very pictures), from the spread of draws within each.

    The degrees of freedom are Welch's and Satterthwaite's.

    Parameters
    ----------
    strata
        Sums of the differences draw by draw where draws pair; else of the first's values, and
    subtract
        of the second's.
    """
    if not strata:
        return Test(name, None, None, None, None)
    mean = math.fsum(s.value for s in strata) / len(strata)
    mean -= math.fsum(s.value for s in subtract) / len(subtract) if subtract else 0.0
    parts = [(s.variance / s.n / len(g) ** 2, s.n - 1) for g in (strata, subtract) for s in g if s.n > 1]
    if len(parts) < len(strata) + len(subtract):
        return Test(name, mean, None, None, None)
    total = math.fsum(variance for variance, _ in parts)
    degrees = total**2 / math.fsum(variance**2 / below for variance, below in parts) if total > 0 else 1.0
    return _t(name, mean, total, degrees)


def welch_t(first: Sequence[float], second: Sequence[float], what: str) -> Test:
    """Welch's t over units that do not pair (other pictures)."""
    name = f"Welch's t over {len(first)} and {len(second)} {what}"
    return stratified_t([Sums.of(first, [1.0] * len(first))], name, [Sums.of(second, [1.0] * len(second))])


def _t(name: str, mean: float, variance_of_mean: float, degrees: float) -> Test:
    if variance_of_mean <= 0.0:
        return Test(name, mean, mean, mean, 1.0 if mean == 0.0 else 0.0)
    half = t_half_width(variance_of_mean, degrees)
    p = 2.0 * float(special.stdtr(degrees, -abs(mean) / math.sqrt(variance_of_mean)))
    return Test(name, mean, mean - half, mean + half, p)


def fisher(first: Estimate, second: Estimate, first_sums: Sums, second_sums: Sums) -> Test:
    """Fisher's exact test of two rates (outage, BLER), and of error ratios (BER) with their effective trials.

    It takes the two as independent. Over the same channel realisations they are positively correlated as a rule, which makes
    the test conservative. The interval of the difference is built from the two intervals (Donner & Zou 2012).
    """
    from scipy.stats import fisher_exact

    counts = [_counts(number, sums) for number, sums in ((first, first_sums), (second, second_sums))]
    name = f"Fisher's exact, {counts[0][0]}/{counts[0][1]} and {counts[1][0]}/{counts[1][1]}"
    p = float(fisher_exact([[events, trials - events] for events, trials in counts]).pvalue)
    assert first.value is not None and second.value is not None
    (a, low_a, high_a), (b, low_b, high_b) = ((e.value or 0.0, e.low or 0.0, e.high or 0.0) for e in (first, second))
    difference = a - b
    low = difference - math.hypot(a - low_a, high_b - b)
    high = difference + math.hypot(high_a - a, b - low_b)
    return Test(name, difference, low, high, min(p, 1.0))


def _counts(number: Estimate, sums: Sums) -> tuple[int, int]:
    """Events and trials; of a ratio the trials that give an interval as wide, as bits of one block err together."""
    if number.kind == "proportion":
        return round(sums.numerator), round(sums.denominator)
    p, high = sums.value, number.high
    if high is None or high >= 1.0 or p >= 1.0:
        return round(p * sums.n), sums.n
    lower, upper = 1.0, max(sums.denominator, 2.0)
    for _ in range(60):  # the interval shrinks as trials grow
        middle = (lower + upper) / 2
        if clopper_pearson(p * middle, middle, CONFIDENCE)[1] > high:
            lower = middle
        else:
            upper = middle
    return round(p * upper), round(upper)


def holm(values: Sequence[float]) -> list[float]:
    """P-values adjusted for being several (Holm 1979): below the level, all are significant at it together."""
    order = sorted(range(len(values)), key=values.__getitem__)
    adjusted, worst = [0.0] * len(values), 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min((len(values) - rank) * values[index], 1.0))
        adjusted[index] = worst
    return adjusted
