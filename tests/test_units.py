"""The conventions, held against their definitions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jscclink.simulator import units

finite_db = st.floats(-60, 60)


@given(finite_db)
def test_esno_and_noise_variance_are_inverse(esno_db):
    assert units.esno_db_from_noise_var(units.noise_var_from_esno_db(esno_db)) == pytest.approx(esno_db, abs=1e-9)


@pytest.mark.parametrize(("esno_db", "noise_var"), [(0.0, 1.0), (10.0, 0.1), (-3.0103, 2.0), (20.0, 0.01)])
def test_noise_variance_is_that_of_the_whole_complex_sample(esno_db, noise_var):
    assert units.noise_var_from_esno_db(esno_db) == pytest.approx(noise_var, rel=1e-5)
    assert float(units.noise_var_from_esno_db(torch.tensor(esno_db))) == pytest.approx(noise_var, rel=1e-5)


def test_ebno_of_rate_one_half_16qam_is_3_db_below_esno():
    assert units.ebno_db_from_esno_db(10.0, 2.0) == pytest.approx(10.0 - 10 * math.log10(2.0))


@given(finite_db, st.floats(0.01, 12))
def test_ebno_and_esno_are_inverse(ebno_db, bits_per_use):
    esno_db = units.esno_db_from_ebno_db(ebno_db, bits_per_use)
    assert units.ebno_db_from_esno_db(esno_db, bits_per_use) == pytest.approx(ebno_db, abs=1e-9)


@pytest.mark.parametrize(
    ("cbr", "values", "uses"),
    [
        (1 / 16, 3 * 512 * 768, 73728),
        (1 / 12, 3 * 512 * 768, 98304),
        (1 / 3, 3, 1),
        (1 / 6, 3 * 32 * 32, 512),
        (0.1, 10, 1),
        (0.099, 10, 0),
    ],
)
def test_uses_of_a_cbr_are_floored_but_not_by_rounding_errors(cbr, values, uses):
    assert units.uses_from_cbr(cbr, values) == uses


@given(st.integers(1, 10**7), st.integers(1, 10**7))
def test_cbr_of_uses_gives_the_uses_back(uses, values):
    assert units.uses_from_cbr(units.cbr_from_uses(uses, values), values) == uses


def test_cbr_one_sixteenth_at_eight_thirds_bits_is_half_a_bit_per_pixel():
    assert units.bits_per_pixel(1 / 16, 8 / 3) == pytest.approx(0.5)
