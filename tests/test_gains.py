"""Average gains along sweeps: Bjøntegaard's numbers as an independent implementation has them, intervals that cover."""

import numpy as np
import pytest
import synthetic_results
from bjontegaard import bd_psnr, bd_rate
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from jscclink.errors import InputError
from jscclink.simulator.gains import Gain, gain, gains, mean_difference, reference_of
from jscclink.simulator.results import MetricInfo, Provenance, Results, SchemeInfo
from jscclink.simulator.statistics import Sums, estimate

RATES = (0.02, 0.05, 0.1, 0.2)


def sums(values):
    return tuple(Sums() if np.isnan(value) else Sums.of([value, value], [1.0, 1.0]) for value in values)


def point(scheme, quality, *, esno_db=10.0, cbr=0.1, used=None, metric="psnr"):
    """A row whose pictures have these qualities, and used that CBR."""
    kept = {metric: sums(quality)} | ({} if used is None else {"cbr": sums(used)})
    row = synthetic_results.row(scheme, "AWGN", esno_db, cbr, {key: estimate("mean", value) for key, value in kept.items()})
    return row.__class__(**{**row.__dict__, "per_image": kept})


def curve(scheme, table, *, over="cbr", places=RATES, **more):
    """table: [points][pictures]."""
    key = "cbr" if over == "cbr" else "esno_db"
    return [point(scheme, quality, **{key: place}, **more) for place, quality in zip(places, table, strict=True)]


def made_up(rows, labels=("A", "B"), images=6):
    plugins = {"A": "digital", "B": "hjscc", "bound": "capacity_bound", "C": "digital"}
    return Results(
        "made up",
        tuple(rows),
        {label: SchemeInfo({"name": plugins[label], "options": {}}, label == "bound") for label in labels},
        {"AWGN": {"name": "awgn", "options": {}}},
        {"psnr": MetricInfo("dB", "higher"), "cbr": MetricInfo("", "lower")},
        {"": tuple(f"{i}.png" for i in range(images))},
        Provenance("name: x\n", {}, 1),
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.05, 3), min_size=3, max_size=7),
    st.lists(st.floats(0.05, 3), min_size=3, max_size=7),
    st.integers(0, 10_000),
)
def test_the_mean_difference_is_that_of_scipys_pchip(steps, other_steps, seed):
    rng = np.random.default_rng(seed)
    x, x0 = np.cumsum(steps), np.cumsum(other_steps)
    y, y0 = rng.normal(30, 5, len(x)), rng.normal(30, 5, len(x0))  # not monotone: extrema and ends matter
    found, low, high = mean_difference(x[None], y[None], x0[None], y0[None])
    a, b = max(x[0], x0[0]), min(x[-1], x0[-1])
    if a >= b:
        assert np.isnan(found[0])
        return
    theirs = PchipInterpolator(x, y).integrate(a, b) - PchipInterpolator(x0, y0).integrate(a, b)
    assert found[0] == pytest.approx(theirs / (b - a), abs=1e-9) and (low[0], high[0]) == (a, b)


def test_bd_psnr_and_bd_rate_are_those_of_the_bjontegaard_package():
    rng = np.random.default_rng(4)
    base = 22 + 4 * np.arange(4)[:, None] + rng.normal(0, 3, 6)
    ours, theirs = base + 1.2 + rng.normal(0, 0.3, base.shape), base
    used = [[rate * share for share in rng.uniform(0.9, 1.0, 6)] for rate in RATES]
    rows = [point("B", q, cbr=r, used=u) for q, r, u in zip(ours, RATES, used, strict=True)]
    others = [point("A", q, cbr=r, used=[0.8 * r] * 6) for q, r in zip(theirs, RATES, strict=True)]
    found = gain(rows, others, "psnr", "cbr", better="higher")
    rates, rates0 = np.mean(used, 1), 0.8 * np.array(RATES)
    them = (rates0, theirs.mean(1), rates, ours.mean(1))
    assert found.quality.value == pytest.approx(bd_psnr(*them, method="pchip", min_overlap=0))
    assert found.rate.value == pytest.approx(bd_rate(*them, method="pchip", min_overlap=0))
    assert found.between == pytest.approx((max(rates[0], rates0[0]), min(rates[-1], rates0[-1])))
    assert found.rate_between == pytest.approx((ours.mean(1)[0], theirs.mean(1)[-1]))
    assert found.quality.low < found.quality.value < found.quality.high
    assert found.rate.low < found.rate.value < found.rate.high < 0, "it needs less"


def test_known_answers():
    table = np.array([[20.0, 25, 30, 22, 24, 28], [24, 29, 34, 26, 28, 32], [27, 32, 37, 29, 31, 35]])
    # 0.7 dB more everywhere: the mean is 0.7 dB and pictures do not matter to it
    found = gain(curve("B", table + 0.7, places=RATES[:3]), curve("A", table, places=RATES[:3]), "psnr", "cbr", better="higher")
    assert found.quality.value == pytest.approx(0.7)
    assert (found.quality.low, found.quality.high) == pytest.approx((0.7, 0.7))
    # the same curve at half the rate: half the rate is needed
    half = [point("B", q, cbr=rate / 2) for q, rate in zip(table, RATES, strict=False)]
    found = gain(half, curve("A", table, places=RATES[:3]), "psnr", "cbr", better="higher")
    assert found.rate.value == pytest.approx(-50.0) and found.rate_between == pytest.approx(tuple(table.mean(1)[[0, -1]]))
    # over Es/N0: a gain that grows linearly from 0 to 2 dB is 1 dB in the mean, over the shared range only
    snrs = (0.0, 5.0, 10.0)
    ours = curve("B", np.array([[20.0] * 6, [26] * 6, [32] * 6]), over="esno_db", places=snrs)
    theirs = curve("A", np.array([[20.0] * 6, [25] * 6, [30] * 6, [35] * 6]), over="esno_db", places=(0.0, 5.0, 10.0, 15.0))
    found = gain(ours, theirs, "psnr", "esno_db", better="higher")
    assert found == Gain("B", "A", "AWGN", "esno_db", 0.1, found.quality, (0.0, 10.0))
    assert found.quality.value == pytest.approx(1.0)


def test_a_metric_that_is_better_lower_turns_the_quality_axis():
    table = np.array([[400.0] * 6, [200] * 6, [100] * 6])
    ours = [point("B", q, cbr=rate / 2, metric="mse") for q, rate in zip(table, RATES, strict=False)]
    theirs = curve("A", table, places=RATES[:3], metric="mse")
    found = gain(ours, theirs, "mse", "cbr", better="lower")
    assert found.rate.value == pytest.approx(-50.0) and found.rate_between == (100.0, 400.0)
    assert found.quality.value < 0


def test_where_there_is_nothing_to_average():
    table = np.array([[20.0] * 6, [25] * 6, [30] * 6])
    short = gain(curve("B", table[:2], places=RATES[:2]), curve("A", table, places=RATES[:3]), "psnr", "cbr", better="higher")
    apart = gain(
        curve("B", table, over="esno_db", places=(0, 1, 2)),
        curve("A", table, over="esno_db", places=(3, 4, 5)),
        "psnr", "esno_db", better="higher",
    )  # fmt: skip
    assert short is None and apart is None
    # saturated: no CBR per quality, but a quality per CBR
    flat = gain(
        curve("B", table, places=RATES[:3]), curve("A", table[[0, 1, 1]], places=RATES[:3]), "psnr", "cbr", better="higher"
    )
    assert flat.rate is None and flat.rate_between is None and flat.quality.value > 0
    # few pictures: a value, but no interval that could be trusted
    few = gain(curve("B", table[:, :4] + 1, places=RATES[:3]), curve("A", table[:, :4], places=RATES[:3]), "psnr", "cbr",
               better="higher")  # fmt: skip
    assert few.quality.value == pytest.approx(1.0) and few.quality.low is None and few.quality.n == 4


def test_a_scheme_that_sets_its_own_rate_has_no_curve_in_common():
    rows = [*curve("A", np.full((4, 6), 30.0)), point("B", [31.0] * 6, cbr=None), point("B", [32.0] * 6, cbr=None, esno_db=1.0)]
    assert gains(made_up(rows), "psnr") == ()


def test_pictures_without_a_value_count_in_neither_and_equal_places_once():
    table = np.array([[20.0, 50, 20, 20, 20, 20], [25, 90, 25, 25, 25, 25], [30, 10, 30, 30, 30, 30]])
    hole = table + 1
    hole[1, 1] = np.nan
    found = gain(curve("B", hole, places=RATES[:3]), curve("A", table, places=RATES[:3]), "psnr", "cbr", better="higher")
    assert found.quality.value == pytest.approx(1.0) and found.quality.n == 5
    # two budgets of which equally much was used
    used = (0.02, 0.05, 0.1, 0.1)
    same = [point("B", [q] * 6, cbr=r, used=[u] * 6) for q, r, u in zip((21, 26, 31, 31), RATES, used, strict=True)]
    other = [point("A", [q] * 6, cbr=r, used=[r] * 6) for q, r in zip((20, 25, 30), RATES, strict=False)]
    assert gain(same, other, "psnr", "cbr", better="higher").quality.value == pytest.approx(1.0)


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(300):
        base = np.array([[20.0], [24], [27]]) + rng.normal(0, 4, 8)
        ours = base + 0.5 + rng.normal(0, 0.4, 8)
        found = gain(curve("B", ours, places=RATES[:3]), curve("A", base, places=RATES[:3]), "psnr", "cbr", better="higher")
        covered += found.quality.low <= 0.5 <= found.quality.high
    # four standard deviations around 95 %
    assert 0.90 <= covered / 300 <= 1.0


def test_the_reference_is_the_first_digital_scheme_unless_another_is_wanted():
    rows = [row for name, up in (("B", 1.0), ("bound", 5.0), ("A", 0.0), ("C", -1.0))
            for row in curve(name, np.array([[20.0] * 6, [25] * 6, [30] * 6]) + up, places=RATES[:3])]  # fmt: skip
    results = made_up(rows, ("B", "bound", "A", "C"))
    assert reference_of(results) == "A" and reference_of(results, "B") == "B"
    assert [(one.scheme, one.reference, round(one.quality.value, 9)) for one in gains(results, "psnr")] == [
        ("B", "A", 1.0), ("C", "A", -1.0),
    ]  # fmt: skip
    assert [one.scheme for one in gains(results, "psnr", "B")] == ["A", "C"]
    assert gains(results, "psnr") == gains(results, "psnr"), "seeded"
    with pytest.raises(InputError, match="no scheme 'X' to compare with; there are 'B', 'bound'"):
        gains(results, "psnr", "X")
    with pytest.raises(InputError, match="no metric 'ssim'; measured: psnr, cbr"):
        gains(results, "ssim")


def test_a_budget_in_which_nothing_fits_has_no_place_on_the_axis():
    table = np.array([[20.0, 21, 22, 23, 24, 25], [25, 26, 27, 28, 29, 30], [28, 29, 30, 31, 32, 33], [30, 31, 32, 33, 34, 35]])
    other = curve("A", table)
    used = [[0.0] * 6, [0.05] * 6, [0.1] * 6, [0.2] * 6]
    rows = [point("B", q + 1, cbr=r, used=u) for q, r, u in zip(table, RATES, used, strict=True)]
    found = gain(rows, other, "psnr", "cbr", better="higher")
    assert found.quality.value == pytest.approx(1.0, abs=0.05) and found.between == pytest.approx((0.05, 0.2))
    # in some pictures only: resamples of those alone count as undefined
    used[0] = [0.0] * 5 + [0.02]
    rows = [point("B", q + 1, cbr=r, used=u) for q, r, u in zip(table, RATES, used, strict=True)]
    found = gain(rows, other, "psnr", "cbr", better="higher")
    assert found.quality.value > 0 and found.quality.low is None
