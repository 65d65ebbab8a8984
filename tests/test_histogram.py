"""Histograms: bins that keep their order, quantiles with intervals that cover, outage below a threshold."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jscclink.simulator.histogram import Counter, Histogram, bins_of, centre
from jscclink.simulator.runner import run

numbers = st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6)


def bin_of(value):
    return int(bins_of(np.array([value]))[0])


@given(numbers, numbers)
def test_bins_are_narrow_and_in_order(a, b):
    assert centre(bin_of(a)) == pytest.approx(a, rel=1 / 4096)
    assert (bin_of(a) <= bin_of(b)) or a > b


def of(values):
    counter = Counter()
    for value in values:
        counter.add([value])
    return counter.histogram()


def test_quantiles_and_outage_of_known_values():
    found = of(range(1, 101))
    assert found.n == 100 and found.quantile(0.05).value == pytest.approx(5, rel=1e-3)
    assert found.outage(20.5).value == 0.2 and found.outage(0.5).is_upper_bound
    few = of([30.0, 31.0]).quantile(0.05)
    assert few.low is None and few.value == pytest.approx(30, rel=1e-3)
    assert Histogram().quantile(0.05).value is None


def test_many_values_are_counted_as_they_come():
    found = of([30.0, 31.0, 0.0, -2.0] * 5000)
    assert found.n == 20000 and found.counts == (5000,) * 4 and found.values[1] == 0.0


def test_the_interval_of_a_percentile_covers_it():
    # 400 trials: fewer than 365 hits have a chance below 1e-3 where the coverage is 95 %
    generator = random.Random(1)
    hits = 0
    for _ in range(400):
        number = of([generator.random() for _ in range(150)]).quantile(0.05)
        hits += (number.low or 0.0) <= 0.05 <= number.high
    assert hits >= 365


def test_rows_have_histograms_and_tables_percentiles(photos, tmp_path):
    results = run(photos(esno_db=[10], cbr=[0.5]), tmp_path)
    row = results.rows[0]
    found = row.histograms["psnr"]
    assert found.n == row.trials and found.values[0] <= found.quantile(0.05).value <= row.metrics["psnr"].value
    head, first = (line.split(",") for line in results.table().splitlines()[:2])
    assert float(first[head.index("psnr p5")]) == found.quantile(0.05).value
    assert "outage" not in row.histograms
