"""Metrics against independent computations, and a contract that every registered one keeps."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from jscclink.channels.awgn import Awgn
from jscclink.simulator import quality, registry
from jscclink.simulator.link import Ledger, Link, Passage
from jscclink.simulator.scheme import Burst, OneShotScheme, Reconstruction


def passage(data, *, failed=None, ledger=None):
    batch = len(data)
    failed = torch.zeros(batch, dtype=torch.bool) if failed is None else torch.tensor(failed)
    values = math.prod(data.shape[1:])
    ledger = ledger or Ledger(
        values, {"payload": torch.full((batch,), 5.0).double()}, energy=torch.full((batch,), 4.0).double()
    )
    return Passage(Reconstruction(data, failed), ledger, (), ())


def pictures(seed, batch=2, size=(176, 200)):
    """Smooth pictures with detail, and noisy copies."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(batch, 3, *size)), (0, 0, 4, 4))
    smooth = 128 + 60 * smooth / smooth.std()
    noisy = smooth + rng.normal(scale=12, size=smooth.shape)
    return tuple(torch.from_numpy(np.clip(np.rint(a), 0, 255).astype(np.uint8)) for a in (smooth, noisy))


def measure(name, source, crossed):
    samples = registry.build("metrics", name).measure(source, crossed)
    return samples.numerator, samples.denominator


def test_psnr_is_the_definition_in_numpy():
    source, copy = pictures(1)
    value, weight = measure("psnr", source, passage(copy))
    for i in range(2):
        error = (source[i].numpy().astype(float) - copy[i].numpy().astype(float)) ** 2
        assert value[i].item() == pytest.approx(10 * np.log10(255**2 / error.mean()), abs=1e-12)
    assert weight.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (64, 96)])
def test_mse_is_exact_up_to_the_largest_error(size):
    rng = np.random.default_rng(2)
    pairs = [rng.integers(0, 256, (2, 3, *size)), np.stack([np.zeros((3, *size)), np.full((3, *size), 255)])]
    a, b = (torch.from_numpy(np.stack([pair[i] for pair in pairs]).astype(np.uint8)) for i in (0, 1))
    expected = [float(((pair[0].astype(int) - pair[1].astype(int)) ** 2).sum()) / pair[0].size for pair in pairs]
    assert quality.mse(a, b).tolist() == expected


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 254), st.integers(0, 2**31))
def test_psnr_of_a_constant_offset(height, width, offset, seed):
    source = torch.randint(0, 256 - offset, (1, 3, height, width), generator=torch.Generator().manual_seed(seed)).to(
        torch.uint8
    )
    value, _ = measure("psnr", source, passage(source + offset))
    assert value.item() == pytest.approx(20 * math.log10(255 / offset), abs=1e-9)


def test_extremes_do_not_wrap_around_and_exact_copies_are_finite():
    black, white = torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
    assert measure("psnr", black, passage(white))[0].item() == 0.0
    assert measure("psnr", white, passage(black))[0].item() == 0.0
    assert measure("mse", white, passage(black))[0].item() == 255.0**2
    assert measure("psnr", black, passage(black.clone()))[0].item() == pytest.approx(quality.PSNR_LIMIT_DB)


def test_psnr_of_the_mean_is_not_the_mean_of_psnr():
    """The convention: per picture first. Pooled PSNR only follows from `mse`."""
    source, copy = pictures(2)
    copy[0] = source[0]
    copy[0, 0, 0, 0] ^= 64
    psnr, _ = measure("psnr", source, passage(copy))
    mse, _ = measure("mse", source, passage(copy))
    pooled = 10 * torch.log10(255**2 / mse.mean())
    assert psnr.mean() > pooled + 5


def reference_ssim_maps(x, y):
    """SSIM's two terms in float64 on whole arrays, 0..255, from a 2-D window."""
    grid = np.arange(11) - 5
    window = np.exp(-(grid[:, None] ** 2 + grid[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def smooth(a):
        return ndimage.correlate(a, window, mode="constant")[5:-5, 5:-5]

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = smooth(x), smooth(y)
    vx, vy, cov = smooth(x * x) - mx**2, smooth(y * y) - my**2, smooth(x * y) - mx * my
    return (2 * mx * my + c1) / (mx**2 + my**2 + c1), (2 * cov + c2) / (vx + vy + c2)


def reference_ms_ssim(x, y):
    per_colour = []
    for a, b in zip(x.astype(float), y.astype(float), strict=True):
        product = 1.0
        for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
            luminance, contrast = reference_ssim_maps(a, b)
            product *= ((luminance * contrast).mean() if scale == 4 else contrast.mean()) ** weight
            a, b = (
                np.array([[p[i : i + 2, j : j + 2].mean() for j in range(0, p.shape[1], 2)] for i in range(0, p.shape[0], 2)])
                for p in (a, b)
            )
        per_colour.append(product)
    return np.mean(per_colour)


@pytest.mark.parametrize("size", [(161, 161), (176, 200), (163, 185)])
def test_ms_ssim_is_the_definition_in_numpy(size):
    source, copy = pictures(3, size=size)
    value, _ = measure("ms_ssim", source, passage(copy))
    decibel, _ = measure("ms_ssim_db", source, passage(copy))
    for i in range(2):
        expected = reference_ms_ssim(source[i].numpy(), copy[i].numpy())
        assert 0.5 < expected < 0.999
        assert value[i].item() == pytest.approx(expected, abs=1e-9)
        assert decibel[i].item() == pytest.approx(-10 * math.log10(1 - value[i].item()), abs=1e-9)


def test_ssim_and_ms_ssim_agree_with_torchmetrics():
    source, copy = pictures(4)
    ours, _ = measure("ssim", source, passage(copy))
    _, full = structural_similarity_index_measure(copy.float(), source.float(), data_range=255.0, return_full_image=True)
    # torchmetrics also counts windows that reach into mirrored edges
    torch.testing.assert_close(ours, full[..., 5:-5, 5:-5].double().mean((1, 2, 3)), atol=1e-5, rtol=0)
    ours, _ = measure("ms_ssim", source, passage(copy))
    flat = (3 * len(source), 1, *source.shape[2:])
    theirs = multiscale_structural_similarity_index_measure(
        copy.float().view(flat), source.float().view(flat), data_range=255.0, reduction="none", normalize="relu"
    )
    torch.testing.assert_close(ours.float(), theirs.view(-1, 3).mean(1), atol=2e-3, rtol=0)


def test_ms_ssim_of_small_pictures_has_no_value():
    for size in ((160, 400), (400, 160), (1, 1)):
        small = torch.zeros(1, 3, *size, dtype=torch.uint8)
        assert measure("ms_ssim", small, passage(small))[1].tolist() == [0.0]
        assert measure("ms_ssim_db", small, passage(small))[1].tolist() == [0.0]
    assert measure("ssim", small, passage(small))[1].tolist() == [0.0]
    large = torch.zeros(1, 3, 161, 161, dtype=torch.uint8)
    assert measure("ms_ssim", large, passage(large)) == (torch.ones(1), torch.ones(1))
    assert measure("ms_ssim_db", large, passage(large))[0].item() == pytest.approx(quality.MS_SSIM_LIMIT_DB)


def test_ms_ssim_does_not_depend_on_batch_or_threads():
    source, copy = pictures(5, batch=3)
    together, _ = measure("ms_ssim", source, passage(copy))
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            assert [quality.ms_ssim(a, b) for a, b in zip(source, copy, strict=True)] == together.tolist()
    finally:
        torch.set_num_threads(threads)


def test_negated_picture_is_not_a_negative_power():
    source, _ = pictures(6, batch=1)
    value, _ = measure("ms_ssim", source, passage(255 - source))
    assert 0.0 <= value.item() < 0.2


def test_error_rates_count_bits_and_blocks():
    source = torch.zeros(4, 10, dtype=torch.uint8)
    copy = source.clone()
    copy[1, 3] = 1
    copy[2, :] = 1
    crossed = passage(copy, failed=[False, False, True, True])
    errors, bits = measure("ber", source, crossed)
    assert errors.tolist() == [0, 1, 10, 0] and bits.tolist() == [10] * 4
    blocks, trials = measure("bler", source, crossed)
    assert blocks.tolist() == [0, 1, 1, 0] and trials.tolist() == [1] * 4
    assert measure("outage", source, crossed)[0].tolist() == [0, 0, 1, 1]


def test_costs_come_from_the_ledger():
    def double(*values):
        return torch.tensor(values, dtype=torch.float64)

    ledger = Ledger(
        3 * 4 * 8,
        {"payload": double(10, 0), "side": double(2, 0)},
        {"pilots": double(4, 0)},
        {"source": double(64, 0), "crc": double(24, 0)},
        double(11.5, 0),
        double(0, 0),
    )
    data = torch.zeros(2, 3, 4, 8, dtype=torch.uint8)
    crossed = passage(data, ledger=ledger)
    assert measure("cbr", data, crossed)[0].tolist() == [12 / 96, 0]
    assert measure("cbr_with_overhead", data, crossed)[0].tolist() == [16 / 96, 0]
    assert measure("energy", data, crossed)[0].tolist() == [11.5 / 96, 0]
    bits, sent = measure("bpp", data, crossed)
    assert bits.tolist() == [2.0, 0] and sent.tolist() == [1.0, 0.0]
    assert measure("bpp", data, passage(data))[1].tolist() == [0.0, 0.0]


class _Plain(OneShotScheme):
    """Sends every value beside its complement; enough to fill every metric's input."""

    def __init__(self, bits=None):
        self.block_bits = bits

    def encode(self, source, budget, csi):
        values = source.flatten(1).float()
        symbols = torch.complex(values, 1.0 - values)
        return Burst(symbols, torch.full((len(source),), values.shape[1], dtype=torch.int64))

    def decode(self, reception, budget):
        values = reception.symbols[:, : math.prod(budget.shape)].real
        data = (values > 0.5).to(torch.uint8).view(-1, *budget.shape)
        return Reconstruction(data, torch.zeros(len(data), dtype=torch.bool))


METRICS = [(name, kind) for name in registry.names("metrics") for kind in sorted(registry.build("metrics", name).sources)]


@pytest.mark.parametrize(("name", "kind"), METRICS)
def test_contract(name, kind):
    """float64 sums per item, finite, no gradient, input untouched, the same twice, honest about direction and kind."""
    metric = registry.build("metrics", name)
    assert metric.sources <= {"image", "bits"} and metric.sources
    assert metric.better in ("higher", "lower", None)
    shape = (3, 162, 170) if kind == "image" else (64,)
    source = torch.randint(0, 2, (3, *shape), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    link = Link(Awgn())
    crossed = link.run(
        _Plain(64 if kind == "bits" else None),
        source,
        link.budget(shape, None if kind == "bits" else 1.0),
        3.0,
        generator=torch.Generator().manual_seed(2),
    )
    before = source.clone(), crossed.reconstruction.data.clone()
    first, second = metric.measure(source, crossed), metric.measure(source, crossed)
    for samples in (first, second):
        for part in (samples.numerator, samples.denominator):
            assert part.shape == (3,) and part.dtype == torch.float64 and part.device.type == "cpu"
            assert torch.isfinite(part).all() and not part.requires_grad
        assert samples.kind in ("mean", "proportion", "ratio")
        if samples.kind != "ratio":
            assert set(samples.denominator.tolist()) <= {0.0, 1.0}
        if samples.kind == "proportion":
            assert set(samples.numerator.tolist()) <= {0.0, 1.0}
        assert (samples.numerator[samples.denominator == 0] == 0).all()
    assert torch.equal(first.numerator, second.numerator)
    assert torch.equal(source, before[0]) and torch.equal(crossed.reconstruction.data, before[1])
