"""Closed forms to hold simulations against: error rates, outage, capacity, and the normal approximation.

All functions take numbers or arrays (broadcast) of Es/N0 in dB and return float64 arrays. Sources: Proakis & Salehi, Digital
Communications, 5th ed. 2008; Cho & Yoon, IEEE Trans. Commun. 50(7), 2002 (exact BER of Gray QAM); Tse & Viswanath, Fundamentals
of Wireless Communication, 2005; Polyanskiy, Poor & Verdu, IEEE Trans. IT 56(5), 2010.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from jscclink.errors import InputError

Array = NDArray[np.float64]


def _snr(esno_db: ArrayLike) -> Array:
    return np.power(10.0, np.asarray(esno_db, dtype=np.float64) / 10.0)


def gaussian_tail(x: ArrayLike) -> Array:
    """Q(x), the probability that a standard normal variable exceeds x."""
    return 0.5 * special.erfc(np.asarray(x, dtype=np.float64) / math.sqrt(2.0))


def qam_ber_terms(bits_per_symbol: int) -> list[tuple[float, float]]:
    """The exact BER of Gray-labelled QAM (BPSK for 1 bit) as a sum of w Q(c sqrt(2 SNR)): pairs (w, c).

    Cho & Yoon 2002, eq. 14 and 16, for square QAM: 1/log2(sqrt M) times the error rates of the bits of one dimension.
    """
    if bits_per_symbol == 1:
        return [(1.0, 1.0)]
    if bits_per_symbol % 2:
        raise InputError(f"bits_per_symbol is {bits_per_symbol}; closed forms are known here for 1, 2, 4, 6, 8, 10")
    bits = bits_per_symbol // 2
    levels = 1 << bits
    # half the distance of neighbours over sqrt(N0): sqrt(3 SNR / (2 (M - 1)))
    unit = math.sqrt(3.0 / (2.0 * (levels**2 - 1)))
    terms = []
    for k in range(1, bits + 1):
        for i in range(int((1 - 2.0**-k) * levels)):
            fold = math.floor(i * 2 ** (k - 1) / levels)
            weight = (-1) ** fold * (2 ** (k - 1) - math.floor(i * 2 ** (k - 1) / levels + 0.5))
            # erfc(x) = 2 Q(sqrt 2 x)
            terms.append((2.0 * weight / (levels * bits), (2 * i + 1) * unit))
    return terms


def qam_ber_awgn(esno_db: ArrayLike, bits_per_symbol: int) -> Array:
    """Bit error rate of Gray-labelled QAM on AWGN, nearest-symbol decisions."""
    snr = _snr(esno_db)
    return np.asarray(sum(w * gaussian_tail(c * np.sqrt(2.0 * snr)) for w, c in qam_ber_terms(bits_per_symbol)))


def qam_ber_rayleigh(esno_db: ArrayLike, bits_per_symbol: int, branches: int = 1) -> Array:
    """Bit error rate of Gray-labelled QAM on fast Rayleigh fading with receiver CSI and maximum ratio combining.

    Each branch has the mean Es/N0 given. The mean of Q(c sqrt(2 g)) over a sum g of L exponential variables is Proakis 13.4-15:
    ((1-mu)/2)^L sum_l C(L-1+l, l) ((1+mu)/2)^l with mu = sqrt(c^2 SNR / (1 + c^2 SNR)).
    """
    snr = _snr(esno_db)
    total = np.zeros_like(snr)
    for weight, factor in qam_ber_terms(bits_per_symbol):
        mean = factor**2 * snr
        mu = np.sqrt(mean / (1.0 + mean))
        tail = sum(math.comb(branches - 1 + l, l) * ((1.0 + mu) / 2.0) ** l for l in range(branches))  # noqa: E741
        total = total + weight * ((1.0 - mu) / 2.0) ** branches * tail
    return total


def qam_ser_awgn(esno_db: ArrayLike, bits_per_symbol: int) -> Array:
    """Symbol error rate of QAM (BPSK for 1 bit) on AWGN: 1 - (1 - P)^2, P = 2 (1 - 1/sqrt M) Q(sqrt(3 SNR/(M-1)))."""
    snr = _snr(esno_db)
    if bits_per_symbol == 1:
        return gaussian_tail(np.sqrt(2.0 * snr))
    levels = 2.0 ** (bits_per_symbol / 2)
    one_dimension = 2.0 * (1.0 - 1.0 / levels) * gaussian_tail(np.sqrt(3.0 * snr / (levels**2 - 1.0)))
    return 1.0 - (1.0 - one_dimension) ** 2


def qam_ser_rayleigh(esno_db: ArrayLike, bits_per_symbol: int) -> Array:
    """Symbol error rate of square QAM (BPSK for 1 bit) on fast Rayleigh fading with receiver CSI.

    2 p (1 - b) - p^2 (1 - b (4/pi) arctan(1/b)), p = 1 - 1/sqrt M, b = sqrt(g SNR / (1 + g SNR)), g = 3/(2 (M - 1)) (Simon &
    Alouini, Digital Communication over Fading Channels, 2nd ed. 2005, 8.106).
    """
    snr = _snr(esno_db)
    if bits_per_symbol == 1:
        return qam_ber_rayleigh(esno_db, 1)
    order = 2.0**bits_per_symbol
    mean = 1.5 / (order - 1.0) * snr
    slope, share = np.sqrt(mean / (1.0 + mean)), 1.0 - 1.0 / math.sqrt(order)
    both = 1.0 - slope * (4.0 / math.pi) * np.arctan(1.0 / slope)
    return np.asarray(2.0 * share * (1.0 - slope) - share**2 * both)


def slow_rayleigh_outage(esno_db: ArrayLike, bits_per_use: ArrayLike) -> Array:
    """Probability that log2(1 + |h|^2 SNR) is below the rate: 1 - exp(-(2^R - 1)/SNR) (Tse & Viswanath 5.54)."""
    return -np.expm1(-(np.exp2(np.asarray(bits_per_use, dtype=np.float64)) - 1.0) / _snr(esno_db))


def awgn_capacity(esno_db: ArrayLike) -> Array:
    """log2(1 + SNR), bits per use."""
    return np.log2(1.0 + _snr(esno_db))


def ergodic_rayleigh_capacity(esno_db: ArrayLike) -> Array:
    """Mean of log2(1 + |h|^2 SNR) with receiver CSI: e^(1/SNR) E1(1/SNR) / ln 2, bits per use (Alouini & Goldsmith 1999)."""
    inverse = 1.0 / _snr(esno_db)
    # exp1 underflows where its scaled form does not: exp(x) E1(x) = U(1, 1, x)
    with np.errstate(over="ignore", invalid="ignore"):
        direct = np.exp(inverse) * special.exp1(inverse)
    tail = 1.0 / (inverse + 1.0 - 1.0 / (inverse + 3.0 - 4.0 / (inverse + 5.0)))
    return np.where(inverse < 100.0, direct, tail) / math.log(2.0)


def dispersion(esno_db: ArrayLike) -> Array:
    """Channel dispersion of complex AWGN in bits^2 per use: SNR (SNR + 2) / (SNR + 1)^2 log2(e)^2.

    Twice that of a real channel (Polyanskiy et al. 2010, eq. 293), which is the complex one's half.
    """
    snr = _snr(esno_db)
    return snr * (snr + 2.0) / (snr + 1.0) ** 2 * math.log2(math.e) ** 2


def normal_approximation_rate(esno_db: ArrayLike, uses: ArrayLike, bler: ArrayLike) -> Array:
    """Information bits per use of the best code of a length: C - sqrt(V/n) Q^-1(bler) + log2(n)/(2n), at least 0."""
    n = np.asarray(uses, dtype=np.float64)
    inverse_tail = -special.ndtri(np.asarray(bler, dtype=np.float64))
    rate = awgn_capacity(esno_db) - np.sqrt(dispersion(esno_db) / n) * inverse_tail + np.log2(n) / (2.0 * n)
    return np.maximum(rate, 0.0)


def normal_approximation_bler(esno_db: ArrayLike, uses: ArrayLike, bits_per_use: ArrayLike) -> Array:
    """Block error rate of the best code of a length and rate: Q((n (C - R) + log2(n)/2) / sqrt(n V))."""
    n = np.asarray(uses, dtype=np.float64)
    margin = n * (awgn_capacity(esno_db) - np.asarray(bits_per_use, dtype=np.float64)) + 0.5 * np.log2(n)
    return gaussian_tail(margin / np.sqrt(n * dispersion(esno_db)))


def normal_approximation_esno_db(uses: float, bits_per_use: float, bler: float) -> float:
    """Es/N0 in dB at which the best code of a length and rate has the block error rate."""
    excess: Callable[[float], float] = lambda db: float(normal_approximation_bler(db, uses, bits_per_use)) - bler  # noqa: E731
    return float(optimize.brentq(excess, -40.0, 80.0))


def opta_sdr_db(esno_db: ArrayLike, cbr: ArrayLike) -> Array:
    """Best signal-to-distortion ratio in dB of a white Gaussian source: 10 log10 (1 + SNR)^(2 CBR).

    A use carries log2(1 + SNR) bits, a source value gets CBR uses, and D(R) = 2^(-2R) (Shannon 1959).
    """
    return 20.0 * np.asarray(cbr, dtype=np.float64) * np.log10(1.0 + _snr(esno_db))
