"""The closed forms, held against numerical integration, tables and each other."""

import math

import numpy as np
import pytest
from scipy import integrate

from jscclink.baselines import theory
from jscclink.errors import InputError

ORDERS = (1, 2, 4, 6, 8, 10)


def pam_ber_by_integration(esno_db, order):
    """Gray BER of one dimension straight from the definition: decision regions and the normal distribution."""
    snr = 10 ** (esno_db / 10)
    bits = 1 if order == 1 else order // 2
    levels = 1 << bits
    points = np.arange(levels) * 2.0 - (levels - 1)
    scale = math.sqrt((1 if order == 1 else 2) * np.mean(points**2))
    deviation = math.sqrt(1 / (2 * snr)) * scale
    edges = np.concatenate([[-np.inf], points[:-1] + 1, [np.inf]])
    gray = np.arange(levels) ^ (np.arange(levels) >> 1)
    errors = 0.0
    for sent in range(levels):
        upper = theory.gaussian_tail((edges[:-1] - points[sent]) / deviation)
        lower = theory.gaussian_tail((edges[1:] - points[sent]) / deviation)
        for decided, probability in enumerate(upper - lower):
            errors += probability * bin(gray[sent] ^ gray[decided]).count("1")
    return errors / (levels * bits)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("esno_db", [-5.0, 3.0, 12.0, 20.0])
def test_ber_on_awgn_from_the_definition(order, esno_db):
    assert float(theory.qam_ber_awgn(esno_db, order)) == pytest.approx(
        pam_ber_by_integration(esno_db, order), rel=1e-7, abs=1e-15
    )


def test_ber_of_bpsk_at_textbook_points():
    # Proakis, fig. 4.2-5: 1e-5 at Eb/N0 = 9.59 dB
    assert float(theory.qam_ber_awgn(9.59, 1)) == pytest.approx(1e-5, rel=0.02)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("branches", [1, 2, 4])
def test_ber_on_rayleigh_by_integration_over_the_fading(order, branches):
    mean = 10.0

    def integrand(power):
        density = power ** (branches - 1) * math.exp(-power) / math.gamma(branches)
        return float(theory.qam_ber_awgn(10 * math.log10(mean * power), order)) * density

    expected, _ = integrate.quad(integrand, 1e-12, 60, limit=200)
    assert float(theory.qam_ber_rayleigh(10.0, order, branches)) == pytest.approx(expected, rel=1e-4)


def test_symbol_error_rate_of_qpsk_is_that_of_two_bits():
    p = theory.qam_ber_awgn(6.0, 2)
    assert float(theory.qam_ser_awgn(6.0, 2)) == pytest.approx(float(1 - (1 - p) ** 2))
    assert float(theory.qam_ser_awgn(6.0, 1)) == pytest.approx(float(theory.qam_ber_awgn(6.0, 1)))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("esno_db", [-5.0, 10.0, 25.0])
def test_ser_on_rayleigh_by_integration_over_the_fading(order, esno_db):
    def integrand(power):
        return float(theory.qam_ser_awgn(esno_db + 10 * math.log10(power), order)) * math.exp(-power)

    expected, _ = integrate.quad(integrand, 1e-12, 60, limit=300, points=[1e-3, 1e-2, 0.1, 1.0])
    assert float(theory.qam_ser_rayleigh(esno_db, order)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("order", ORDERS)
def test_ber_on_rayleigh_with_two_branches_by_simulation(order):
    """Maximum ratio combining of two branches at 10 dB each, 120,000 bits, interval of 99 % widened by bits erring together."""
    import torch

    from jscclink.baselines.modulation import Modulation

    generator, modulation, count = torch.Generator().manual_seed(order), Modulation(order), 120_000 // order
    bits = torch.randint(0, 2, (1, count * order), dtype=torch.uint8, generator=generator)
    gains, noise = torch.randn(2, 2, count, dtype=torch.complex64, generator=generator)
    noise_var, power = 10 ** (-10.0 / 10), gains.abs().square().sum(0)
    received = gains * modulation.map(bits) + math.sqrt(noise_var) * noise
    combined = (gains.conj() * received).sum(0) / power
    wrong = int((modulation.hard(combined[None]) != bits).sum())
    expected = count * order * float(theory.qam_ber_rayleigh(10.0, order, 2))
    assert abs(wrong - expected) < 2.6 * math.sqrt(max(order / 2, 1) * expected)


@pytest.mark.parametrize("esno_db", [-40.0, -20.0, -19.9, 0.0, 10.0, 40.0])
def test_ergodic_capacity_by_integration(esno_db):
    snr = 10 ** (esno_db / 10)
    expected, _ = integrate.quad(lambda g: math.log2(1 + g * snr) * math.exp(-g), 0, 100, limit=200)
    assert float(theory.ergodic_rayleigh_capacity(esno_db)) == pytest.approx(expected, rel=1e-5)


def test_outage_of_slow_rayleigh():
    # R = 1 bit at 10 dB: 1 - exp(-1/10)
    assert float(theory.slow_rayleigh_outage(10.0, 1.0)) == pytest.approx(1 - math.exp(-0.1))
    assert float(theory.slow_rayleigh_outage(100.0, 2.0)) == pytest.approx(3e-10, rel=1e-6)


def test_normal_approximation_at_the_published_example():
    # Polyanskiy et al. 2010, fig. 6 and eq. 1: real AWGN at 0 dB, error 1e-3: n = 2000 real uses carry about 0.45 bits each;
    # a complex use is two real ones at the same SNR
    assert float(theory.normal_approximation_rate(0.0, 1000, 1e-3)) / 2 == pytest.approx(0.445, abs=0.01)


def test_normal_approximation_rate_bler_and_snr_are_inverse():
    for esno_db, uses, bler in ((0.0, 200, 1e-3), (10.0, 3000, 1e-5), (-5.0, 1000, 1e-1)):
        rate = float(theory.normal_approximation_rate(esno_db, uses, bler))
        assert float(theory.normal_approximation_bler(esno_db, uses, rate)) == pytest.approx(bler, rel=1e-6)
        assert theory.normal_approximation_esno_db(uses, rate, bler) == pytest.approx(esno_db, abs=1e-6)
        assert rate < float(theory.awgn_capacity(esno_db))


def test_opta_of_one_use_per_value_is_the_snr_twice():
    # CBR 1/2: one real dimension per value, the distortion falls as 1/(1 + SNR)
    assert float(theory.opta_sdr_db(20.0, 0.5)) == pytest.approx(10 * math.log10(101))


def test_closed_forms_are_refused_where_none_is_known():
    with pytest.raises(InputError, match="bits_per_symbol is 3"):
        theory.qam_ber_awgn(0.0, 3)
