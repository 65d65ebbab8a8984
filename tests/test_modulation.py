"""The QAM mapper and demapper against Sionna's and against sums over the whole constellation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jscclink.baselines.modulation import ORDERS, Modulation
from jscclink.baselines.theory import qam_ber_awgn
from jscclink.errors import InputError


def _bits(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def _received(modulation: Modulation, symbols: int, noise_var: float, seed: int = 1) -> torch.Tensor:
    sent = modulation.map(_bits(3, symbols * modulation.bits_per_symbol))
    noise = torch.randn(sent.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))
    return sent + math.sqrt(noise_var) * noise


def _constellation(order: int) -> tuple[torch.Tensor, torch.Tensor]:
    """All labels uint8 [M, order] and their points complex64 [M]."""
    labels = ((torch.arange(1 << order)[:, None] >> torch.arange(order - 1, -1, -1)) & 1).to(torch.uint8)
    return labels, Modulation(order).map(labels)[:, 0]


def _brute_force(order: int, symbols: torch.Tensor, noise_var: torch.Tensor, method: str) -> torch.Tensor:
    """LLRs in float64 by the definition."""
    labels, points = _constellation(order)
    distance = (symbols[..., None].to(torch.complex128) - points.to(torch.complex128)).abs().square()
    metric = -distance / noise_var.double()[..., None]
    reduce = torch.logsumexp if method == "exact" else torch.amax
    llr = [reduce(metric[..., b == 1], -1) - reduce(metric[..., b == 0], -1) for b in labels.T]
    return torch.stack(llr, -1).flatten(-2)


@pytest.mark.parametrize("order", ORDERS)
def test_constellation(order: int) -> None:
    labels, points = _constellation(order)
    assert math.isclose(points.abs().square().mean().item(), 1.0, rel_tol=1e-6)
    distance = (points[:, None] - points[None]).abs()
    nearest = distance[~torch.eye(len(points), dtype=torch.bool)].min()
    neighbours = ((distance > 0) & (distance < 1.01 * nearest)).nonzero()
    assert bool(((labels[neighbours[:, 0]] != labels[neighbours[:, 1]]).sum(dim=1) == 1).all())  # Gray


def test_labels_of_16qam_are_those_of_ts_38_211() -> None:
    """TS 38.211, 5.1.4: I from b0 and b2, Q from b1 and b3."""
    labels, points = _constellation(4)
    sign = 1 - 2 * labels.double()
    expected = torch.complex(sign[:, 0] * (2 - sign[:, 2]), sign[:, 1] * (2 - sign[:, 3])) / math.sqrt(10)
    torch.testing.assert_close(points, expected.to(torch.complex64))


def _sionna(order: int, kind: str, **options: Any) -> Any:
    from sionna.phy import mapping

    family = "pam" if order == 1 else "qam"
    return getattr(mapping, kind)(constellation_type=family, num_bits_per_symbol=order, **options)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("method", ["maxlog", "exact"])
def test_equals_sionna(order: int, method: Any) -> None:
    modulation, bits = Modulation(order), _bits(3, 60 * order)
    sent = modulation.map(bits)
    torch.testing.assert_close(sent, _sionna(order, "Mapper")(bits.float()))
    noise_var = torch.rand(3, 60, generator=torch.Generator().manual_seed(4)) * 0.3 + 0.02
    received = sent + 0.2 * torch.randn(sent.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    reference = _sionna(order, "Demapper", demapping_method="app" if method == "exact" else "maxlog")(received, noise_var)
    torch.testing.assert_close(modulation.demap(received, noise_var, method=method), reference, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("method", ["maxlog", "exact"])
@pytest.mark.parametrize("noise_var", [1e-4, 3e-3, 0.03, 1.0, 30.0])
def test_equals_the_definition(order: int, method: Any, noise_var: float) -> None:
    """Also at LLRs of thousands, where exp() of the far symbols underflows."""
    modulation = Modulation(order)
    received = _received(modulation, 65, max(noise_var, 3e-3))
    spread = torch.full(received.shape, noise_var) * torch.linspace(0.5, 2, 65)
    expected = _brute_force(order, received, spread, method).float()
    torch.testing.assert_close(modulation.demap(received, spread, method=method), expected, rtol=1e-3, atol=1e-3)
    # the tensor path that other devices take
    tensor_path = modulation._demap_torch(received, 1 / spread, method).reshape(3, -1)
    torch.testing.assert_close(tensor_path, expected, rtol=1e-3, atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(ORDERS), st.integers(1, 5), st.integers(1, 40), st.integers(0, 1000))
def test_noiseless_round_trip_of_any_shape(order: int, batch: int, symbols: int, seed: int) -> None:
    modulation, bits = Modulation(order), _bits(batch, 2, symbols * order, seed=seed)
    sent = modulation.map(bits)
    assert sent.shape == (batch, 2, symbols) and sent.dtype == torch.complex64
    assert torch.equal(modulation.hard(sent), bits)
    for method in ("maxlog", "exact"):
        llr = modulation.demap(sent, torch.tensor(1e-3), method=method)  # type: ignore[arg-type]
        assert llr.shape == bits.shape and torch.equal(llr > 0, bits == 1)


@pytest.mark.parametrize(("order", "esno_db"), [(1, 4.0), (2, 7.0), (4, 13.0), (6, 18.0), (8, 24.0), (10, 30.0)])
def test_hard_decisions_err_as_theory_says(order: int, esno_db: float) -> None:
    modulation, bits = Modulation(order), _bits(1, 240_000)
    sent = modulation.map(bits)
    noise = torch.randn(sent.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(7))
    decided = modulation.hard(sent + 10 ** (-esno_db / 20) * noise)
    errors, expected = int((decided != bits).sum()), 240_000 * float(qam_ber_awgn(esno_db, order))
    # bits of one symbol may err together, hence twice the variance; four sigmas
    assert abs(errors - expected) < 4 * math.sqrt(2 * expected)


def test_noise_variance_broadcasts_and_extremes_stay_finite() -> None:
    modulation = Modulation(4)
    received = _received(modulation, 20, 0.1)
    per_block = torch.tensor([[0.1], [0.2], [0.4]])
    expected = modulation.demap(received, per_block.expand(3, 20).contiguous())
    assert torch.equal(modulation.demap(received, per_block), expected)
    for method in ("maxlog", "exact"):
        assert bool(modulation.demap(received, torch.tensor(0.0), method=method).isfinite().all())  # type: ignore[arg-type]
        assert bool((modulation.demap(received, torch.tensor(math.inf), method=method) == 0).all())  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["maxlog", "exact"])
def test_nan_comes_out_for_the_decoder_to_refuse(method: Any) -> None:
    received = torch.zeros(1, 100, dtype=torch.complex64)
    received[0, 17] = complex(math.nan, 0.0)
    llr = Modulation(4).demap(received, torch.tensor(0.1), method=method).reshape(100, 4)
    assert bool(llr[17, 0].isnan()) and bool(llr[17, 2].isnan())
    assert not bool(llr[:17].isnan().any()) and not bool(llr[18:].isnan().any())


def test_llrs_are_probabilities() -> None:
    """Of the bits with LLR near L, the share of ones is 1/(1 + e^-L)."""
    modulation = Modulation(4)
    bits = _bits(3, 400_000)
    llr = modulation.demap(_received(modulation, 100_000, 0.3), torch.tensor(0.3), method="exact")
    for level in (-2.0, -0.5, 1.0, 2.5):
        near = (llr - level).abs() < 0.1
        share, expected = bits[near].double().mean(), 1 / (1 + math.exp(-level))
        # 4.5 standard deviations, and what the width of the bin may shift
        assert abs(share - expected) < 4.5 * math.sqrt(0.25 / int(near.sum())) + 0.005


def test_no_gradient_and_no_global_randomness() -> None:
    state = torch.get_rng_state()
    received = _received(Modulation(2), 8, 0.1).requires_grad_()
    assert not Modulation(2).demap(received, torch.tensor(0.1)).requires_grad
    assert torch.equal(state, torch.get_rng_state())


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="bits_per_symbol is 3"):
        Modulation(3)
    with pytest.raises(InputError, match="7 bits"):
        Modulation(2).map(torch.zeros(1, 7, dtype=torch.uint8))
    with pytest.raises(InputError, match="uint8"):
        Modulation(2).map(torch.zeros(1, 8))
    with pytest.raises(InputError, match="up to 2"):
        Modulation(2).map(torch.full((1, 8), 2, dtype=torch.uint8))
    with pytest.raises(InputError, match="negative"):
        Modulation(2).demap(torch.zeros(1, 4, dtype=torch.complex64), torch.tensor(-0.1))
    with pytest.raises(InputError, match="'log'"):
        Modulation(2).demap(torch.zeros(1, 4, dtype=torch.complex64), torch.tensor(0.1), method="log")  # type: ignore[arg-type]


def test_demapper_result_does_not_depend_on_the_piece_it_falls_into() -> None:
    modulation = Modulation(6)
    received = _received(modulation, 200, 0.05)
    together = modulation.demap(received, torch.tensor(0.05), method="exact")
    alone = [modulation.demap(row[i : i + 1], torch.tensor(0.05), method="exact") for row in received for i in range(200)]
    np.testing.assert_array_equal(together.reshape(-1).numpy(), torch.cat(alone).numpy())
