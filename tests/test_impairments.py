"""Stages of compound channels: their statistics and what the receiver is told."""

import math

import pytest
import torch

from jscclink.simulator import registry


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def passed(stages, x, noise_var=0.0, seed=0):
    return registry.build("channels", stages)(x, torch.full((len(x),), noise_var), generator=seeded(seed))


def test_wiener_phase_noise_wanders_and_a_loop_holds_it():
    ones = torch.ones(4000, 101, dtype=torch.complex64)
    free = passed([{"name": "phase_noise", "linewidth": 1e-4, "loop_bandwidth": None}, "noiseless"], ones).symbols.angle()
    # 101 increments of variance 2 pi 1e-4; the variance of a sample variance is 2/n
    assert float(free[:, -1].var()) == pytest.approx(101 * 2 * math.pi * 1e-4, rel=4 * math.sqrt(2 / 4000))
    held = passed([{"name": "phase_noise", "linewidth": 1e-4, "loop_bandwidth": 0.01}, "noiseless"], ones).symbols.angle()
    expected = 1e-4 / (2 * 0.01)
    for sample in (0, 50, 100):
        assert float(held[:, sample].var()) == pytest.approx(expected, rel=0.035 + 4 * math.sqrt(2 / 4000))
    correlation = float((held[:, 40] * held[:, 50]).mean() / held.var())
    assert correlation == pytest.approx(math.exp(-2 * math.pi * 0.01 * 10), abs=0.06)


def test_timing_offset_of_whole_samples_is_a_shift_and_of_half_a_sample_its_interpolation():
    x = torch.randn(2, 80, dtype=torch.complex64, generator=seeded())
    late = passed([{"name": "timing_offset", "offset": 3.0}, "noiseless"], x).symbols
    torch.testing.assert_close(late[:, 3:], x[:, :-3], rtol=1e-4, atol=1e-4)
    half = passed([{"name": "timing_offset", "offset": 0.5}, "noiseless"], x).symbols
    again = passed([{"name": "timing_offset", "offset": -0.5}, "noiseless"], half).symbols
    torch.testing.assert_close(again[:, 20:60], x[:, 20:60], rtol=0, atol=0.12)
    tone = torch.polar(torch.ones(1, 400), 0.7 * torch.arange(400.0)[None])
    half = passed([{"name": "timing_offset", "offset": 0.5}, "noiseless"], tone).symbols
    expected = torch.polar(torch.ones(400), 0.7 * (torch.arange(400.0) - 0.5))
    torch.testing.assert_close(half[0, 150:250], expected[150:250], rtol=0, atol=0.02)


@pytest.mark.parametrize("bits", [4, 8])
def test_quantisation_noise_falls_by_six_decibels_per_bit(bits):
    x = torch.randn(1, 200_000, dtype=torch.complex64, generator=seeded())
    y = passed(["noiseless", {"name": "quantisation", "bits": bits, "full_scale_db": 14.0}], x).symbols
    step = 2 * 10**0.7 * math.sqrt(0.5) / 2**bits
    assert float((y - x).abs().square().mean()) == pytest.approx(2 * step**2 / 12, rel=0.02)


def test_bursts_lose_their_share_in_bursts_of_their_length_and_the_receiver_knows():
    ones = torch.ones(200, 2000, dtype=torch.complex64)
    seen = passed([{"name": "bursts", "probability": 0.2, "mean_length": 8.0}, "awgn"], ones, 0.01)
    lost = seen.gain == 0
    assert float(lost.float().mean()) == pytest.approx(0.2, abs=0.01)
    starts = (lost[:, 1:] & ~lost[:, :-1]).sum()
    assert float(lost[:, 1:].sum() / starts) == pytest.approx(8.0, rel=0.05)
    assert float(seen.symbols[lost].abs().square().mean()) == pytest.approx(0.01, rel=0.05), "only noise is heard"


@pytest.mark.parametrize("signal", ["normal", "qpsk"])
@pytest.mark.parametrize("known", [True, False])
def test_interference_has_its_power_and_is_reported_if_known(signal, known):
    ones = torch.ones(100, 1000, dtype=torch.complex64)
    stage = {"name": "interference", "sir_db": 10.0, "signal": signal, "known": known}
    seen = passed(["rayleigh", stage, "awgn"], ones, 0.1)
    unbiased = seen.symbols / seen.gain
    truth = passed(["rayleigh", stage, "awgn"], torch.zeros_like(ones), 0.1)
    assert unbiased.shape == ones.shape
    # what the detector is left with, over what it was told
    ratio = float(truth.symbols.abs().square().mean() / truth.noise_var.mean())
    assert ratio == pytest.approx(1.0 if known else 2.0, rel=0.05)


def test_stages_act_in_the_order_of_the_list():
    x = torch.full((1, 50), 3.0 + 0j)
    clip = {"name": "clipping", "ratio_db": 0.0}
    turn = {"name": "carrier_offset", "offset": 0.25}
    iq = {"name": "iq_imbalance", "amplitude_db": 6.0}
    one = passed([clip, iq, turn, "noiseless"], x).symbols
    other = passed([iq, clip, turn, "noiseless"], x).symbols
    assert torch.allclose(other.abs(), torch.ones(1, 50), atol=1e-5), "clipped last"
    assert not torch.allclose(one.abs(), other.abs(), atol=0.01)


def test_a_receivers_quantiser_hears_the_noise_and_a_transmitters_clipping_does_not():
    x = torch.zeros(1, 1000, dtype=torch.complex64)
    clip = {"name": "clipping", "ratio_db": -20.0}
    assert float(passed([clip, "awgn"], x, 1.0).symbols.abs().max()) > 2.0
    assert float(passed(["awgn", clip], x, 1.0).symbols.abs().max()) < 0.1001


def test_estimated_csi_absorbs_what_perfect_csi_of_the_fading_does_not_know():
    x = torch.polar(torch.ones(4, 3000), 6.28 * torch.rand(4, 3000, generator=seeded(3)))

    def error(estimation):
        stages = [
            {"name": "carrier_offset", "offset": 2e-5},
            {"name": "tdl", "estimation": estimation, "speed_kmh": 0.0},
            "awgn",
        ]
        seen = passed(stages, x, 1e-4)
        return float((seen.symbols - seen.gain * x).abs().square().mean())

    assert error("ls") < 0.2 * error("perfect")
