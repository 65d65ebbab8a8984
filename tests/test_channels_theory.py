"""Channels against closed forms: error rates, outage, capacity, correlation, distortion.

Intervals are at 99 %, seeds are fixed: a failure is a change of the code, not bad luck.
"""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from jscclink.baselines import theory
from jscclink.baselines.modulation import Modulation
from jscclink.channels.capacity import capacity, mean_capacity
from jscclink.channels.doppler import clarke_gains
from jscclink.channels.inspection import doppler_spectrum, evm_db, papr_db
from jscclink.simulator import registry

Z = 2.576


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def symbol_bit_errors(spec, bits_per_symbol, esno_db, batch, uses, seed=1):
    """Wrong bits of every symbol, float64 [batch, uses], with decisions on the unbiased symbols."""
    modulation = Modulation(bits_per_symbol)
    bits = torch.randint(0, 2, (batch, uses * bits_per_symbol), dtype=torch.uint8, generator=seeded(seed))
    channel = registry.build("channels", spec)
    noise_var = torch.full((batch,), 10 ** (-esno_db / 10))
    seen = channel(modulation.map(bits), noise_var, generator=seeded(seed + 1))
    decided = modulation.hard(seen.symbols / seen.gain)
    return (decided ^ bits).view(batch, uses, bits_per_symbol).sum(-1).double()


def assert_rate(errors, bits_per_symbol, expected):
    """The mean bit error rate agrees; `errors` are independent along the first axis after flattening."""
    rate = errors / bits_per_symbol
    half_width = Z * float(rate.std()) / math.sqrt(rate.numel())
    assert float(errors.sum()) > 100, "too few errors to say anything"
    assert abs(float(rate.mean()) - float(expected)) < half_width


@pytest.mark.parametrize(("bits", "esno_db"), [(1, 4.0), (2, 7.0), (4, 12.0), (6, 18.0), (8, 24.0)])
def test_bit_error_rate_on_awgn(bits, esno_db):
    errors = symbol_bit_errors("awgn", bits, esno_db, 1, 100_000)
    assert_rate(errors.flatten(), bits, theory.qam_ber_awgn(esno_db, bits))


@pytest.mark.parametrize(("bits", "esno_db"), [(1, 10.0), (2, 10.0), (4, 15.0), (6, 20.0), (8, 25.0)])
@pytest.mark.parametrize("equaliser", ["zf", "mmse"])
def test_bit_error_rate_on_fast_rayleigh(bits, esno_db, equaliser):
    errors = symbol_bit_errors({"name": "rayleigh", "equaliser": equaliser}, bits, esno_db, 1, 60_000)
    assert_rate(errors.flatten(), bits, theory.qam_ber_rayleigh(esno_db, bits))


@pytest.mark.parametrize(("bits", "esno_db"), [(2, 6.0), (4, 12.0)])
@pytest.mark.parametrize("branches", [1, 2, 4])
def test_bit_error_rate_with_receive_diversity(bits, esno_db, branches):
    errors = symbol_bit_errors({"name": "mimo", "receive_antennas": branches}, bits, esno_db, 1, 150_000)
    assert_rate(errors.flatten(), bits, theory.qam_ber_rayleigh(esno_db, bits, branches))


@pytest.mark.parametrize("receive", [1, 2])
def test_alamouti_is_receive_diversity_at_half_the_power(receive):
    spec = {"name": "mimo", "scheme": "alamouti", "receive_antennas": receive}
    errors = symbol_bit_errors(spec, 2, 10.0, 1, 200_000)
    per_pair = errors.view(-1, 2).sum(1) / 2
    assert_rate(per_pair, 2, theory.qam_ber_rayleigh(10.0 - 10 * math.log10(2), 2, 2 * receive))


def test_zero_forcing_of_two_streams_has_the_rate_of_one_branch():
    # ZF leaves receive - transmit + 1 degrees of freedom per stream (Tse & Viswanath, sec. 8.3)
    errors = symbol_bit_errors({"name": "mimo", "scheme": "multiplexing", "equaliser": "zf"}, 2, 13.0, 1, 120_000)
    assert_rate(errors.view(-1, 2).sum(1) / 2, 2, theory.qam_ber_rayleigh(13.0 - 10 * math.log10(2), 2, 1))


def test_outage_on_slow_rayleigh():
    channel = registry.build("channels", {"name": "rayleigh", "form": "slow"})
    images, esno_db = 20_000, 10.0
    drawn = channel.generate(images, 4, generator=seeded(3))
    bits = capacity(channel.power_gains(drawn), torch.full((images,), 10 ** (-esno_db / 10)))
    for rate in (0.5, 1.0, 2.0, 3.0):
        out = int((bits < rate).sum())
        low, high = stats.binomtest(out, images).proportion_ci(0.99, method="exact")
        assert low <= theory.slow_rayleigh_outage(esno_db, rate) <= high


def test_ergodic_capacity_of_fast_rayleigh_and_diversity():
    for antennas in (1, 2, 4):
        channel = registry.build("channels", {"name": "mimo", "receive_antennas": antennas})
        found = mean_capacity(channel, 0.1, uses=1, realisations=40_000, generator=seeded(2))
        # the power of L branches has the density x^(L-1) e^-x / (L-1)!
        exact = integrate.quad(
            lambda x, n=antennas: math.log2(1 + 10 * x) * x ** (n - 1) * math.exp(-x) / math.factorial(n - 1), 0, 80
        )[0]
        assert abs(found.bits_per_use - exact) < found.half_width * Z / 1.96
    assert exact > theory.ergodic_rayleigh_capacity(10.0)


def test_water_filling_capacity_by_integration():
    noise_var = 1.0
    channel = registry.build("channels", "rayleigh")
    drawn = channel.generate(8, 60_000, generator=seeded(4))
    found = capacity(channel.power_gains(drawn), torch.full((8,), noise_var), water_filling=True)
    # cut-off c with E max(0, 1/c - 1/g) = 1; capacity E log2(g/c) over g > c (Goldsmith & Varaiya, 1997)
    low, high = 1e-3, 1.0
    for _ in range(60):
        cut = math.sqrt(low * high)
        power = math.exp(-cut) / cut - special.exp1(cut)
        low, high = (cut, high) if power > 1 else (low, cut)
    exact = special.exp1(cut) / math.log(2)
    assert float(found.mean()) == pytest.approx(exact, abs=Z * float(found.std()) / math.sqrt(8) + 1e-4)
    assert bool((found > capacity(channel.power_gains(drawn), torch.full((8,), noise_var))).all())


def test_capacity_of_two_streams_is_the_log_determinant():
    channel = registry.build("channels", {"name": "mimo", "scheme": "multiplexing", "form": "slow"})
    drawn = channel.generate(5, 8, generator=seeded(1))
    h = drawn.tensors["gain"][..., 0].to(torch.complex128)
    gram = torch.eye(2) + h @ h.mH / (2 * 0.1)
    expected = torch.linalg.det(gram).real.log2() / 2
    torch.testing.assert_close(capacity(channel.power_gains(drawn), torch.full((5,), 0.1)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("doppler", [0.01, 0.13])
def test_clarke_gains_have_jakes_autocorrelation(doppler):
    gains = clarke_gains(20_000, steps=60, doppler_per_step=doppler, generator=seeded(5))
    lags = np.arange(0, 60, 7)
    for lag in lags:
        product = (gains[:, lag] * gains[:, 0].conj()).to(torch.complex128)
        spread = Z * float(product.real.std()) / math.sqrt(len(product))
        assert abs(float(product.real.mean()) - special.j0(2 * math.pi * doppler * lag)) < spread
        assert abs(float(product.imag.mean())) < spread
    kurtosis = float(gains[:, 30].abs().pow(4).mean() / gains[:, 30].abs().square().mean() ** 2)
    assert kurtosis == pytest.approx(2.0, abs=0.1), "a sample is complex normal"


def test_doppler_spectrum_ends_at_the_doppler_shift():
    channel = registry.build("channels", {"name": "rayleigh", "form": "jakes", "doppler": 0.1})
    spectrum = doppler_spectrum(channel, channel.generate(200, 512, generator=seeded()))
    assert spectrum.power.sum() == pytest.approx(1.0, rel=0.1)
    outside = np.abs(spectrum.axis) > 0.11
    assert spectrum.power[outside].sum() < 1e-3 * spectrum.power.sum()
    edge = (np.abs(spectrum.axis) > 0.08) & ~outside
    assert spectrum.power[edge].sum() > 0.3 * spectrum.power.sum(), "Jakes' spectrum rises towards its edges"


def test_evm_is_the_snr():
    x = torch.polar(torch.ones(4, 20_000), torch.rand(4, 20_000, generator=seeded()))
    noise_var = torch.tensor([1.0, 0.1, 0.01, 0.001])
    seen = registry.build("channels", "awgn")(x, noise_var, generator=seeded(1))
    # a mean of 20000 exponential variables strays by 0.7 %, 0.031 dB, one standard deviation
    assert torch.allclose(evm_db(seen.symbols, x), torch.tensor([0.0, -10.0, -20.0, -30.0]), atol=4 * 0.031)


def bussgang(curve):
    """Gain and distortion of a memoryless envelope curve for a complex normal input of variance 1, by integration."""

    def mean(f):
        return integrate.quad(lambda r: f(r) * 2 * r * math.exp(-r * r), 0, 8, limit=200)[0]

    gain = mean(lambda r: curve(r) * r)
    return gain, mean(lambda r: curve(r) ** 2) - gain**2


CURVES = [
    ({"name": "clipping", "ratio_db": 0.0}, lambda r: min(r, 1.0)),
    ({"name": "clipping", "ratio_db": 4.0}, lambda r: min(r, 10**0.2)),
    ({"name": "rapp", "backoff_db": 3.0, "smoothness": 2.0}, lambda r: r / (1 + (r / 10**0.15) ** 4) ** 0.25),
]


@pytest.mark.parametrize(("stage", "curve"), CURVES, ids=["hard", "soft", "rapp"])
def test_distortion_is_bussgangs(stage, curve):
    gain, distortion = bussgang(curve)
    if stage["name"] == "clipping":
        level = 10 ** (stage["ratio_db"] / 20)
        closed = 1 - math.exp(-(level**2)) + math.sqrt(math.pi) / 2 * level * math.erfc(level)
        assert gain == pytest.approx(closed, rel=1e-6), "the textbook's closed form"
    channel = registry.build("channels", [stage, "noiseless"])
    x = torch.randn(1, 400_000, dtype=torch.complex64, generator=seeded())
    y = channel(x, torch.zeros(1), generator=seeded()).symbols
    found = float((y * x.conj()).real.mean() / x.abs().square().mean())
    error = (y - found * x).abs().square()
    assert found == pytest.approx(gain, abs=0.002)
    assert float(error.mean()) == pytest.approx(distortion, abs=Z * float(error.std()) / math.sqrt(error.numel()))


def test_clipped_ofdm_has_bussgangs_distortion_on_its_carriers():
    # at one sample per carrier all distortion falls in band; 256 carriers make the waveform complex normal
    gain, distortion = bussgang(CURVES[0][1])
    flat = {"name": "taps", "delays_ns": [0.0], "powers_db": [0.0], "fading": "none", "pilot_symbols": []}
    channel = registry.build("channels", [CURVES[0][0], flat, "noiseless"])
    x = torch.randn(4, 14 * 256 * 4, dtype=torch.complex64, generator=seeded())
    drawn = channel.generate(4, x.shape[1], generator=seeded())
    seen = channel.apply(x, drawn, torch.zeros(4))
    y = seen.symbols
    found = float((y * x.conj()).real.mean() / x.abs().square().mean())
    assert found == pytest.approx(gain, abs=0.01)
    assert float((y - found * x).abs().square().mean()) == pytest.approx(distortion, rel=0.03)
    clean, sent = channel.transmitted(x, drawn)
    assert float(papr_db(clean).min()) > 8.0
    assert float(papr_db(sent).max()) < 2.5, "clipped at the rms"


def test_image_rejection_and_carrier_offset():
    channel = registry.build("channels", [{"name": "iq_imbalance", "amplitude_db": 1.0, "phase_deg": 5.0}, "noiseless"])
    x = torch.randn(1, 100_000, dtype=torch.complex64, generator=seeded())
    y = channel(x, torch.zeros(1), generator=seeded()).symbols
    direct, image = (y * x.conj()).mean().abs(), (y * x).mean().abs()
    g, phi = 10 ** (1 / 20), math.radians(5.0)
    rejection = (1 + 2 * g * math.cos(phi) + g * g) / (1 - 2 * g * math.cos(phi) + g * g)
    assert 20 * float((direct / image).log10()) == pytest.approx(10 * math.log10(rejection), abs=0.3)
    assert float(y.abs().square().mean() / x.abs().square().mean()) == pytest.approx(1.0, abs=0.01)
    offset = registry.build("channels", [{"name": "carrier_offset", "offset": 0.01}, "noiseless"])
    ones = torch.ones(1, 30, dtype=torch.complex64)
    y = offset.apply(ones, offset.generate(1, 60, generator=seeded()), torch.zeros(1), start=25).symbols
    expected = torch.polar(torch.ones(30), 2 * math.pi * 0.01 * torch.arange(25, 55))
    torch.testing.assert_close(y[0], expected, rtol=1e-5, atol=1e-5)
