"""HJSCC's parts: likelihood, rates, side information, linear path, presets' shapes."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hjscc_micro import MICRO, micro_codec, micro_model, pictures
from hypothesis import given, settings
from hypothesis import strategies as st

from jscclink.errors import InputError
from jscclink.simulator.codecs.hjscc import air, rates
from jscclink.simulator.codecs.hjscc.attention import AttentionBlock, CountLinear
from jscclink.simulator.codecs.hjscc.blocks import BLOCKS, Conditioning, space_to_depth
from jscclink.simulator.codecs.hjscc.likelihood import bounded_scale, likelihood
from jscclink.simulator.codecs.hjscc.model import HJSCC
from jscclink.simulator.codecs.hjscc.presets import Preset, ablated, preset_by_name
from jscclink.simulator.codecs.hjscc.rate_control import allot
from jscclink.simulator.codecs.hjscc.side import (
    LMBDA_CODES,
    SideInformation,
    co_located,
    code_of_lmbda,
    code_of_power,
    decode_side,
    encode_side,
    feature_maps,
    features,
    lmbda_from_code,
    map_shape,
    power_from_code,
)

LEVELS = MICRO.levels
ALL = range(len(LEVELS))


@pytest.mark.parametrize("scale", [0.11, 0.5, 3.0, 40.0])
@pytest.mark.parametrize("mean", [0.0, 0.3, -7.6])
def test_likelihoods_sum_to_one_over_the_quantiser_s_grid(scale: float, mean: float) -> None:
    z = torch.arange(-400, 401, dtype=torch.float64)
    total = likelihood(z + mean, torch.tensor(mean, dtype=torch.float64), torch.tensor(scale, dtype=torch.float64)).sum()
    # what lies under the floor of 1e-9 per value is 801e-9 at most
    assert float(total) == pytest.approx(1.0, abs=1e-6)


@given(st.floats(-30, 30), st.floats(math.exp(-2.3), 60), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_likelihoods_sum_to_one_over_any_grid_of_whole_steps(mean: float, scale: float, offset: float) -> None:
    """As the codec computes them, in float32, whatever the mean, the scale and where the grid lies."""
    z = torch.arange(-500, 501, dtype=torch.float32) + offset
    one = likelihood(z, torch.tensor(mean), torch.tensor(scale))
    assert float(one.double().sum()) == pytest.approx(1.0, abs=2e-5)
    assert float(one.min()) > 0.99e-9 and float(one.max()) <= 1.0


def test_likelihood_is_the_gaussian_s_mass_within_half_a_step() -> None:
    phi = lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2)))  # noqa: E731
    expected = phi((1.3 - 0.4 + 0.5) / 2) - phi((1.3 - 0.4 - 0.5) / 2)
    assert float(likelihood(torch.tensor(1.3), torch.tensor(0.4), torch.tensor(2.0))) == pytest.approx(expected, rel=1e-5)


def test_scales_stay_above_the_floor() -> None:
    assert float(bounded_scale(torch.tensor(-100.0))) == pytest.approx(math.exp(-2.3), rel=1e-4)
    assert float(bounded_scale(torch.tensor(8.0))) == pytest.approx(math.exp(8.0), rel=1e-3)


@pytest.mark.parametrize("kind", list(BLOCKS))
def test_blocks_keep_the_shape_start_near_the_identity_and_pass_gradients(kind: str) -> None:
    block, cond = BLOCKS[kind](8, 16, 3, 2.0), torch.zeros(2, 16)
    x = torch.randn(2, 8, 6, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
    y = block(x, cond)
    assert y.shape == x.shape
    assert float((y - x).abs().max().detach()) < 1e-4
    y.square().sum().backward()
    assert x.grad is not None and bool(x.grad.abs().sum() > 0)


def test_conditioning_tells_lambdas_and_snrs_apart() -> None:
    embed = Conditioning(32)
    values = embed(torch.tensor([64.0, 128.0, 64.0]), torch.tensor([10.0, 10.0, 0.0])).detach()
    assert values.shape == (3, 32)
    assert float((values[0] - values[1]).abs().max()) > 1e-3 and float((values[0] - values[2]).abs().max()) > 1e-3


def test_counts_follow_surprise_group_by_group() -> None:
    level = LEVELS[1]  # table 0 1 2 4 6 8 12 16, groups of 2 x 2
    bits = torch.zeros(1, 4, 4)
    bits[0, :2, 2:] = 10.4
    bits[0, 3, 3] = 12.8  # mean of its group 3.2 bits
    indices = rates.group_indices(bits, torch.tensor([0.5]), level, round_up=False)
    assert indices.tolist() == [[[0, 4], [0, 2]]]  # wanted 5.2 -> 6, wanted 1.6 -> 2
    counts = rates.counts_from_indices(indices, level)
    assert counts[0].tolist() == [[0, 0, 6, 6], [0, 0, 6, 6], [0, 0, 2, 2], [0, 0, 2, 2]]
    assert int(rates.prefix_mask(counts, 16).sum()) == int(rates.real_symbols(indices, level)) == 32
    up = rates.group_indices(bits, torch.tensor([0.21]), level, round_up=True)
    assert up.tolist() == [[[0, 3], [0, 1]]]  # wanted 2.2 -> 4, wanted 0.67 -> 1


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_the_prefix_mask_counts_what_the_table_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for level in LEVELS:
        indices = torch.from_numpy(rng.integers(0, len(level.table), (2, 3, 5)))
        mask = rates.prefix_mask(rates.counts_from_indices(indices, level), level.table[-1])
        assert torch.equal(mask.sum((1, 2, 3)), rates.real_symbols(indices, level))


def test_the_published_ledger_of_side_information() -> None:
    """Nine blocks, tables of 16/16/24/8 entries, fixed length, ideal code at 10 dB: CBR 0.002541 on 768 x 512."""
    levels = preset_by_name("hjscc-paper").levels
    values = 3 * 512 * 768
    bits = rates.fixed_length_side_bits(512, 768, levels)
    assert bits / math.log2(1 + 10) / values == pytest.approx(0.002541, abs=2e-6)
    positions = [(512 // level.stride) * (768 // level.stride) for level in levels]
    least = sum(level.table[0] * n for level, n in zip(levels, positions, strict=True)) / 2 / values
    most = sum(level.table[-1] * n for level, n in zip(levels, positions, strict=True)) / 2 / values
    assert least == pytest.approx(0.01636, abs=1e-5)
    assert most == pytest.approx(0.2617, abs=1e-4)


def test_ablated_presets_lack_what_their_names_say_and_survive_json() -> None:
    whole = preset_by_name("hjscc-tiny")
    assert [level.group for level in ablated(whole, ("groups",)).levels] == [1] * len(whole.levels)
    assert ablated(whole, ("dynamic_rate",)).fixed_rate and not whole.fixed_rate
    both = ablated(whole, ("rate_attention", "groups"))
    assert both.name == "hjscc-tiny-without-rate_attention-without-groups"
    assert Preset.from_dict(json.loads(json.dumps(both.to_dict()))) == both


def test_at_a_fixed_rate_every_position_wants_the_mean() -> None:
    probability = torch.rand(2, 3, 4, 6, generator=torch.Generator().manual_seed(1))
    free, fixed = rates.surprise_bits(probability), rates.surprise_bits(probability, fixed_rate=True)
    assert torch.allclose(fixed.sum((1, 2)), free.sum((1, 2)))
    assert float(fixed.std((1, 2)).max()) < 1e-5 < float(free.std((1, 2)).min())


@pytest.mark.parametrize("kind", ["film", "none"])
def test_without_rate_attention_the_coder_is_blind_to_counts(kind: str) -> None:
    model = micro_model(replace(MICRO, rate_attention=kind))
    with torch.no_grad():
        for coder in model.coders:
            coder.encoder_count.weight.normal_(generator=torch.Generator().manual_seed(1))
    lmbda = torch.full((1,), 64.0)
    sent = model.transmit(pictures(1, 64, 96).float() / 127.5 - 1, lmbda)[0][0]
    cond, level = model.channel_conditioning(lmbda, torch.full((1,), 10.0)), MICRO.levels[0]
    few = torch.ones(1, *(n // level.group for n in sent.z.shape[2:]), dtype=torch.int64)
    wanted = torch.rand(1, *sent.z.shape[2:])
    one = model.encode_symbols(0, sent, wanted, few, cond)
    two = model.encode_symbols(0, sent, 2 * wanted, 3 * few, cond)
    assert torch.equal(one, two) == (kind == "none")


def random_maps(seed: int, size: tuple[int, int]) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    shapes = [map_shape(size, level) for level in LEVELS]
    return tuple(rng.integers(0, len(level.table), shape) for level, shape in zip(LEVELS, shapes, strict=True))


@given(st.integers(0, 2**32 - 1), st.integers(0, LMBDA_CODES - 1), st.integers(0, 1023))
@settings(max_examples=20, deadline=None)
def test_side_information_survives_its_coding(seed: int, lmbda: int, power: int) -> None:
    model, size = micro_codec().side, (48, 80)
    side = SideInformation(lmbda, power, random_maps(seed, size))
    found = decode_side(encode_side(side, model, LEVELS, ALL), model, LEVELS, ALL, size)
    assert (found.lmbda_code, found.power_code) == (lmbda, power)
    assert all(np.array_equal(a, b) for a, b in zip(found.maps, side.maps, strict=True))


def test_smooth_maps_cost_less_than_their_fixed_length() -> None:
    model = micro_codec().side
    y, x = np.mgrid[0:16, 0:16]
    maps = ((x + y) // 6, (x + y) // 8, (x + y) // 8)
    data = encode_side(SideInformation(3, 4, maps), model, LEVELS, ALL)
    assert 8 * len(data) < 0.8 * rates.fixed_length_side_bits(256, 256, LEVELS)


def test_the_model_of_an_index_sees_the_same_at_both_ends() -> None:
    current, below = random_maps(3, (80, 96))[0], random_maps(4, (80, 96))[0]
    at_once = feature_maps(current, below, 3)
    one_by_one = []
    for r, c in np.ndindex(current.shape):
        left, above = (current[r, c - 1] if c else 3), (current[r - 1, c] if r else 3)
        corner = current[r - 1, c + 1] if r and c + 1 < current.shape[1] else above
        one_by_one.append(features(3, left, above, corner, below[r, c]))
    assert np.array_equal(at_once, np.array(one_by_one))
    later = current.copy()
    later[2, 3:] = 0
    later[3:] = 0
    # the index at (2, 3) is predicted from nothing that comes after it
    position = 2 * current.shape[1] + 3
    assert np.array_equal(feature_maps(later, below, 3)[position], at_once[position])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_space_to_depth_is_the_inverse_of_depth_to_space(layout: torch.memory_format) -> None:
    x = torch.randn(2, 3, 12, 24, generator=torch.Generator().manual_seed(0)).to(memory_format=layout)
    for factor in (2, 4):
        found = space_to_depth(x, factor)
        assert torch.equal(torch.nn.functional.pixel_shuffle(found, factor), x)
        assert found.is_contiguous(memory_format=torch.channels_last)


def test_co_located_values_of_finer_and_coarser_maps() -> None:
    coarse = np.array([[1, 2], [3, 4]])
    assert co_located(coarse, 4, 4)[0].tolist() == [1, 1, 2, 2]
    assert co_located(None, 2, 3).tolist() == [[0, 0, 0], [0, 0, 0]]


@given(st.floats(4.0, 4096.0))
def test_lambda_s_index_is_the_nearest(lmbda: float) -> None:
    assert abs(math.log2(lmbda_from_code(code_of_lmbda(lmbda)) / lmbda)) <= 5 / (LMBDA_CODES - 1) + 1e-9


@given(st.floats(1e-5, 1e5))
def test_power_is_told_within_a_sixteenth_of_a_decibel(power: float) -> None:
    assert abs(10 * math.log10(power_from_code(code_of_power(power)) / power)) < 0.06


@pytest.mark.parametrize("count", [0, 1, 2, 7, 1000])
def test_pairs_of_reals_come_back(count: int) -> None:
    reals = torch.arange(count, dtype=torch.float32) + 1
    symbols = air.pair(reals)
    assert symbols.numel() == -(-count // 2)
    assert torch.equal(air.unpair(symbols, count), reals)


def test_padding_repeats_edges_and_is_cut_again() -> None:
    picture = pictures(1, 33, 50)[0]
    padded = air.pad(picture, 32)
    assert padded.shape == (1, 3, 64, 64)
    assert torch.equal(padded[..., 40, :50], padded[..., 32, :50])
    assert torch.equal(air.unpad(padded, tuple(picture.shape)), picture)


def test_the_told_snr_is_that_of_equal_capacity() -> None:
    assert air.told_esno_db(torch.full((10,), 0.1)) == pytest.approx(10.0, abs=1e-4)
    mixed = air.told_esno_db(torch.tensor([0.01, 1e9]))
    assert mixed == pytest.approx(10 * math.log10(math.sqrt(101) - 1), abs=1e-3)
    assert air.told_esno_db(torch.tensor([1e9])) == air.ESNO_DB_RANGE[0]


def test_grey_pictures_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(3, H, W\)"):
        air.check_shape((1, 32, 32))


def test_allotments_fill_their_uses_and_never_overrun() -> None:
    rng = torch.Generator().manual_seed(1)
    bits = [torch.rand(1, 256 // level.stride, 256 // level.stride, generator=rng) * 30 + 3 for level in LEVELS]
    model = micro_codec().side
    for uses in (1000, 3000, 9000):
        found = allot(bits, LEVELS, ALL, False, model, lambda n: 8 * n // 3, uses)
        assert found is not None
        used = found.payload_uses + 8 * found.side_bytes // 3
        assert 0.97 * uses <= used <= uses
    assert allot(bits, LEVELS, ALL, False, model, lambda n: 8 * n, 10) is None
    rich = allot(bits, LEVELS, ALL, False, model, lambda n: 8 * n // 3, 10**9)
    assert rich is not None
    assert rich.payload_uses == sum(level.table[-1] * b.numel() for level, b in zip(LEVELS, bits, strict=True)) // 2


def test_the_fresh_model_is_the_klt_codec() -> None:
    """Zero networks: the clean path of an untrained model is the linear transform it was initialised to, tightly."""
    model = micro_model()
    image = pictures(2, 64, 64, seed=5).float() / 127.5 - 1.0
    for block in model.latents:
        gram = block.analysis @ block.analysis.T
        assert torch.allclose(gram, torch.eye(gram.shape[0]), atol=1e-4)
    _, state = model.transmit(image, torch.tensor([500.0, 500.0]))
    mse = float((state.canvas - image).square().mean())
    assert mse < 0.05 * float(image.var())


def test_presets_come_back_from_json() -> None:
    for name in ("hjscc-tiny", "hjscc-small", "hjscc-paper"):
        preset = preset_by_name(name)
        assert Preset.from_dict(preset.to_dict()) == preset
    with pytest.raises(InputError, match="did you mean 'hjscc-tiny'"):
        preset_by_name("hjsc-tiny")


def test_the_paper_s_backbone_has_the_published_size() -> None:
    """93 M parameters without the JSCC coders (QARV, Duan et al. 2023); ours differs in the resampling layers."""
    with torch.device("meta"):
        model = HJSCC(preset_by_name("hjscc-paper"))
    count = sum(p.numel() for n, p in model.named_parameters() if not n.startswith(("coders", "channel_conditioning")))
    assert count == pytest.approx(93e6, rel=0.05)


def test_attention_sees_its_window_and_no_padding() -> None:
    block = AttentionBlock(32, 8).requires_grad_(False)
    rng = torch.Generator().manual_seed(2)
    x, cond = torch.randn(1, 32, 12, 10, generator=rng), torch.zeros(1, 8)
    y = block(x, cond)
    assert y.shape == x.shape
    changed = x.clone()
    changed[0, :, 0, 0] += 30 * torch.randn(32, generator=rng)
    moved = (block(changed, cond) - y).abs().amax(1)[0]
    assert bool((moved[:8, :8] > 0).all())
    assert float(moved[8:].max()) == 0.0 and float(moved[:, 8:].max()) == 0.0
    # the lower right window, 4 x 2, is attended as if it stood alone
    alone = block(x[:, :, 8:, 8:], cond)
    assert torch.allclose(y[:, :, 8:, 8:], alone, atol=1e-5)


def test_per_count_maps_choose_their_matrix() -> None:
    layer = CountLinear(3, 4, 5).requires_grad_(False)
    x = torch.randn(1, 4, 2, 4, generator=torch.Generator().manual_seed(3))
    indices = torch.tensor([[[2, 0]]])
    y = layer(x, indices, 2)
    assert torch.allclose(y[0, :, 0, 0], layer.weight[2] @ x[0, :, 0, 0] + layer.bias[2], atol=1e-5)
    assert torch.allclose(y[0, :, 1, 3], layer.weight[0] @ x[0, :, 1, 3] + layer.bias[0], atol=1e-5)
