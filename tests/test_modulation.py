"""QAM against Sionna's mapper and demapper, the standard's labels, and itself."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jscclink.baselines.modulation import ORDERS, Modulation
from jscclink.errors import InputError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_bits(*shape, seed=0):
    return torch.randint(0, 2, shape, dtype=torch.uint8, generator=seeded(seed))


def noisy(symbols, noise_var, seed=1):
    noise = torch.randn(symbols.shape, dtype=torch.complex64, generator=seeded(seed))
    return symbols + noise * torch.as_tensor(noise_var).sqrt()


def all_symbols(order):
    labels = torch.arange(1 << order)
    bits = (labels[:, None] >> torch.arange(order - 1, -1, -1)) & 1
    return bits.to(torch.uint8), Modulation(order).map(bits.to(torch.uint8).reshape(-1))


@pytest.mark.parametrize("order", ORDERS)
def test_constellation_has_unit_mean_energy_and_distinct_points(order):
    _, symbols = all_symbols(order)
    assert float(symbols.abs().square().mean()) == pytest.approx(1.0, abs=1e-6)
    distances = (symbols[:, None] - symbols[None]).abs() + 10 * torch.eye(len(symbols))
    side = 2.0 if order == 1 else 2 * math.sqrt(3 / (2 * (2**order - 1)))
    assert float(distances.min()) == pytest.approx(side, rel=1e-5)


@pytest.mark.parametrize("order", ORDERS[1:])
def test_nearest_neighbours_differ_in_one_bit(order):
    bits, symbols = all_symbols(order)
    distances = (symbols[:, None] - symbols[None]).abs()
    near = (distances > 0) & (distances < 1.01 * distances[distances > 0].min())
    differing = (bits[:, None] != bits[None]).sum(2)
    assert (differing[near] == 1).all()


def test_labels_of_16qam_are_those_of_ts_38_211():
    # 5.1.4: d = ((1-2b0)(2-(1-2b2)) + j (1-2b1)(2-(1-2b3))) / sqrt(10)
    bits, symbols = all_symbols(4)
    b = bits.double()
    real = (1 - 2 * b[:, 0]) * (2 - (1 - 2 * b[:, 2]))
    imaginary = (1 - 2 * b[:, 1]) * (2 - (1 - 2 * b[:, 3]))
    assert torch.allclose(symbols, (torch.complex(real, imaginary) / math.sqrt(10)).to(torch.complex64))


@pytest.mark.parametrize("order", [2, 4, 6, 8, 10])
def test_mapper_and_both_demappers_equal_sionnas(order):
    from sionna.phy.mapping import Demapper, Mapper

    bits = random_bits(3, 40 * order)
    ours = Modulation(order)
    symbols = ours.map(bits)
    assert torch.allclose(symbols, Mapper("qam", order)(bits.float()), atol=1e-6)
    received, noise_var = noisy(symbols, 0.05), torch.tensor(0.05)
    for method, name in (("exact", "app"), ("maxlog", "maxlog")):
        expected = Demapper(name, "qam", order)(received, noise_var)
        assert torch.allclose(ours.demap(received, noise_var, method=method), expected, atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("method", ["maxlog", "exact"])
def test_compiled_demapper_equals_the_one_in_tensor_operations(order, method):
    ours = Modulation(order)
    symbols = noisy(ours.map(random_bits(2, 150 * order)), 0.1)
    noise_var = torch.rand(2, 150, generator=seeded(2)) * 0.5 + 0.01
    expected = ours._demap_torch(symbols, 1 / noise_var, method).reshape(2, -1)
    llr = ours.demap(symbols, noise_var, method=method)
    # beyond 1e-30 a probability is left to the nearest symbol: of an LLR of 69 or more, at most the log of their number is missing
    certain = expected.abs() > 60
    assert torch.allclose(llr[~certain], expected[~certain], atol=2e-3, rtol=1e-4)
    assert torch.allclose(llr[certain], expected[certain], rtol=0.03)


@settings(deadline=None)
@given(st.sampled_from(ORDERS), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_hard_decisions_undo_the_mapper(order, symbols, seed):
    bits = random_bits(2, symbols * order, seed=seed)
    ours = Modulation(order)
    assert torch.equal(ours.hard(ours.map(bits)), bits)


def test_llr_of_bpsk_and_qpsk_is_four_re_over_n0():
    received = torch.tensor([0.3 - 0.7j, -2.0 + 0.1j])
    noise_var = torch.tensor([0.5, 0.2])
    bpsk = Modulation(1).demap(received, noise_var, method="exact")
    assert torch.allclose(bpsk, -4 * received.real / noise_var, rtol=1e-5)
    qpsk = Modulation(2).demap(received, noise_var, method="exact").reshape(2, 2)
    expected = -2 * math.sqrt(2) * torch.view_as_real(received) / noise_var[:, None]
    assert torch.allclose(qpsk, expected, rtol=1e-5)


@pytest.mark.parametrize("order", ORDERS)
def test_certain_symbols_give_large_finite_llrs_of_the_right_sign(order):
    bits, symbols = all_symbols(order)
    for method in ("maxlog", "exact"):
        llr = Modulation(order).demap(symbols, torch.tensor(0.0), method=method)
        assert np.isfinite(llr.numpy()).all()
        assert torch.equal((llr > 0).to(torch.uint8), bits.reshape(-1))


def test_llrs_are_probabilities():
    """Of the bits with LLR near L, the share of ones is 1/(1 + e^-L)."""
    ours, bits = Modulation(4), random_bits(400000)
    llr = ours.demap(noisy(ours.map(bits), 0.3), torch.tensor(0.3), method="exact")
    for level in (-2.0, -0.5, 1.0, 2.5):
        near = (llr - level).abs() < 0.1
        share, expected = bits[near].double().mean(), 1 / (1 + math.exp(-level))
        # 4.5 standard deviations, and what the width of the bin may shift
        assert abs(share - expected) < 4.5 * math.sqrt(0.25 / int(near.sum())) + 0.005


def test_wrong_orders_and_lengths_are_refused():
    with pytest.raises(InputError, match="bits_per_symbol is 3"):
        Modulation(3)
    with pytest.raises(InputError, match="7 bits are not whole symbols of 2"):
        Modulation(2).map(random_bits(7))
