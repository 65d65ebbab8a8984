"""Sums that add, and intervals against closed forms, scipy, and their promised coverage."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from jscclink.simulator.statistics import (
    Sums,
    clopper_pearson,
    draws_half_width,
    estimate,
    estimate_blocks,
    estimate_rate,
    paired_difference,
)

# Coverage tests repeat an experiment whose interval promises at least 95 %; they fail when the count falls below the
# quantile of the binomial distribution that a correct interval falls below once in a million.
FALSE_ALARM = 1e-6


def singles(values):
    return Sums.of(values, [1.0] * len(values))


def least_hits(repeats, coverage=0.95):
    return stats.binom.ppf(FALSE_ALARM, repeats, coverage)


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 5000)), max_size=40), st.integers(0, 40))
def test_sums_of_counts_add_however_they_are_split(pairs, cut):
    x, y = [p[0] for p in pairs], [p[1] for p in pairs]
    assert Sums.of(x[:cut], y[:cut]) + Sums.of(x[cut:], y[cut:]) == Sums.of(x, y)


def test_items_without_a_value_are_left_out():
    sums = Sums.of([3.0, 0.0, 5.0], [1.0, 0.0, 1.0])
    assert (sums.n, sums.value) == (2, 4.0)
    nothing = estimate("mean", [Sums.of([0.0], [0.0])])
    assert (nothing.value, nothing.low, nothing.high, nothing.n) == (None, None, None, 0)


@pytest.mark.parametrize("events, trials", [(0, 1), (0, 100), (3, 100), (50, 100), (100, 100), (1, 10**7)])
@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_clopper_pearson_equals_scipy(events, trials, confidence):
    exact = stats.binomtest(events, trials).proportion_ci(confidence, "exact")
    assert clopper_pearson(events, trials, confidence) == pytest.approx((exact.low, exact.high), rel=1e-9)


def test_no_event_is_an_upper_bound():
    number = estimate_blocks("proportion", Sums(n=1000, denominator=1000.0, denominator2=1000.0))
    assert number.is_upper_bound and number.value == 0.0 and number.low == 0.0
    assert number.high == pytest.approx(1 - 0.025 ** (1 / 1000))


def test_no_bit_error_is_bounded_by_blocks_not_bits():
    blocks, k = 50, 1000
    number = estimate_blocks("ratio", Sums.of([0.0] * blocks, [float(k)] * blocks))
    assert number.is_upper_bound
    assert number.high == pytest.approx(1 - 0.025 ** (1 / blocks))


def test_mean_over_pictures_has_scipys_t_interval():
    means = [31.0, 28.5, 35.2, 30.1]
    number = estimate("mean", [singles([m]) for m in means])
    low, high = stats.t.interval(0.95, len(means) - 1, np.mean(means), stats.sem(means))
    assert (number.value, number.low, number.high) == pytest.approx((np.mean(means), low, high))
    assert (number.groups, number.draws_half_width) == (4, None)


def test_pictures_count_equally_whatever_their_draws():
    number = estimate("mean", [singles([30.0] * 9), singles([20.0])])
    assert number.value == pytest.approx(25.0)


def test_a_single_picture_has_no_interval_over_pictures():
    number = estimate("mean", [singles([30.0, 31.0, 32.0])])
    assert number.value == 31.0 and number.low is None and number.high is None
    half = stats.t.ppf(0.975, 2) * 1.0 / math.sqrt(3)
    assert number.draws_half_width == pytest.approx(half) == number.half_width


def test_half_width_over_draws_is_welch_satterthwaite():
    a, b = np.array([1.0, 2.0, 4.0]), np.array([10.0, 10.5, 11.0, 12.0])
    parts = np.array([a.var(ddof=1) / 3, b.var(ddof=1) / 4])
    degrees = parts.sum() ** 2 / (parts**2 / np.array([2, 3])).sum()
    expected = stats.t.ppf(0.975, degrees) * math.sqrt(parts.sum()) / 2
    assert draws_half_width([singles(a), singles(b)]) == pytest.approx(expected)


def test_equal_draws_have_no_spread_in_spite_of_rounding():
    assert draws_half_width([singles([29.123456789] * 7), singles([33.3] * 7)]) == 0.0
    assert draws_half_width([singles([29.0, 29.1]), singles([33.3])]) is None


def test_means_over_blocks_have_scipys_t_interval():
    values = [3.0, 4.0, 8.0, 1.0]
    number = estimate_blocks("mean", singles(values))
    assert (number.low, number.high) == pytest.approx(stats.t.interval(0.95, 3, np.mean(values), stats.sem(values)))
    alone = estimate_blocks("mean", singles([3.0]))
    assert alone.low is None and alone.high is None


def test_ratio_of_single_independent_trials_approaches_clopper_pearson():
    rng = np.random.default_rng(3)
    events = rng.random(20_000) < 0.02
    number = estimate_blocks("ratio", singles(events.astype(float)))
    exact = clopper_pearson(events.sum(), events.size)
    assert (number.low, number.high) == pytest.approx(exact, rel=2e-3)


def test_errors_in_bursts_widen_the_interval_to_that_of_the_blocks():
    k, blocks, wrong = 1000, 400, 12
    errors = [250.0] * wrong + [0.0] * (blocks - wrong)
    number = estimate_blocks("ratio", Sums.of(errors, [float(k)] * blocks))
    low, high = (0.25 * bound for bound in clopper_pearson(wrong, blocks))
    assert number.low == pytest.approx(low, rel=0.05) and number.high == pytest.approx(high, rel=0.05)


def test_one_block_says_little():
    number = estimate_blocks("ratio", Sums.of([10.0], [1000.0]))
    assert number.low == 0.0 or number.low < 0.01
    assert number.high > 0.9


@pytest.mark.parametrize("probability", [0.004, 0.1, 0.5])
def test_coverage_of_proportions(probability):
    rng = np.random.default_rng(11)
    repeats, trials = 1000, 300
    hits = 0
    for events in rng.binomial(trials, probability, repeats):
        low, high = clopper_pearson(float(events), trials)
        hits += low <= probability <= high
    assert hits >= least_hits(repeats)


def test_coverage_of_outage_over_unlike_pictures():
    rng = np.random.default_rng(12)
    chances, draws, repeats = np.array([0.0, 0.02, 0.3, 0.9]), 10, 1000
    hits = 0
    for _ in range(repeats):
        groups = [singles((rng.random(draws) < chance).astype(float)) for chance in chances]
        number = estimate("proportion", groups)
        hits += number.low <= chances.mean() <= number.high
    assert hits >= least_hits(repeats)


def test_coverage_of_means_over_pictures_and_over_draws():
    rng = np.random.default_rng(13)
    repeats, pictures, draws = 1500, 6, 5
    population, within = 0, 0
    for _ in range(repeats):
        centres = rng.normal(30.0, 3.0, pictures)
        number = estimate("mean", [singles(rng.normal(centre, 0.5, draws)) for centre in centres])
        population += number.low <= 30.0 <= number.high
        within += abs(number.value - centres.mean()) <= number.draws_half_width
    # t intervals of normal data cover 95 % exactly: too high is wrong as well
    most = stats.binom.isf(FALSE_ALARM, repeats, 0.95)
    assert least_hits(repeats) <= population <= most
    # Satterthwaite's degrees of freedom are an approximation, good to a percent here
    assert least_hits(repeats, 0.94) <= within <= stats.binom.isf(FALSE_ALARM, repeats, 0.96)


@pytest.mark.parametrize("block_error", [0.05, 0.5, 1.0])
def test_coverage_of_bit_error_rates_with_bursts(block_error):
    rng = np.random.default_rng(14)
    repeats, blocks, k, inside = 1000, 200, 500, 0.2
    truth = block_error * inside
    hits = 0
    for _ in range(repeats):
        errors = np.where(rng.random(blocks) < block_error, rng.binomial(k, inside, blocks), 0)
        number = estimate_blocks("ratio", Sums.of(errors.tolist(), [float(k)] * blocks))
        hits += number.low <= truth <= number.high
    # the variance is estimated: nominal 95 %, at least 94 % asked for
    assert hits >= least_hits(repeats, 0.94)


def test_paired_difference_equals_scipys_paired_t_test():
    a, b = np.array([30.0, 28.0, 35.0]), np.array([29.5, 27.8, 34.1])
    number = paired_difference([singles([x, x + 0.2]) for x in a], [singles([x]) for x in b])
    interval = stats.ttest_rel(a + 0.1, b).confidence_interval(0.95)
    assert (number.low, number.high) == pytest.approx((interval.low, interval.high))
    apart = estimate("mean", [singles([x]) for x in a])
    assert number.high - number.low < 0.2 * (apart.high - apart.low)


def test_paired_difference_needs_common_pictures():
    number = paired_difference([singles([30.0]), Sums()], [Sums(), singles([30.0])])
    assert number.value is None and number.low is None


def test_rate_of_equal_batches_has_no_width_and_of_unlike_ones_some():
    equal = Sums.of([8.0] * 5, [0.5] * 5)
    number = estimate_rate(equal, 100.0)
    assert (number.value, number.low, number.high) == pytest.approx((1600.0, 1600.0, 1600.0))
    unlike = estimate_rate(Sums.of([8.0, 8.0], [0.5, 1.5]))
    assert unlike.value == 8.0 and unlike.low < 8.0 < unlike.high
