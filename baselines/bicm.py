"""What bit-interleaved coded QAM can carry at most, on AWGN and on fast Rayleigh fading with receiver CSI.

A demapper that hands each bit's likelihood to a binary decoder (BICM) carries, of the labels b_1 ... b_m of a symbol x,

    C = E i(x, y),   i = m - sum_k log2( sum over all x' of p(y|x') / sum over x' with the same bit k of p(y|x') )

bits per use (Caire, Taricco & Biglieri, IEEE Trans. IT 44(3), 1998), and at finite length about C - sqrt(V/n) Q^-1(BLER) +
log2(n)/(2n) with V the variance of i (normal approximation, Polyanskiy, Poor & Verdu, IEEE Trans. IT 56(5), 2010; for BICM
Martinez & Guillen i Fabregas, ITA 2011). Square QAM falls apart into its two real dimensions; the noise is integrated by
Gauss-Hermite quadrature, the power gain over a grid of its logarithm.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from jscclink.errors import InputError

from .modulation import Modulation
from .theory import gaussian_tail

Array = NDArray[np.float64]
Fading = Literal["none", "rayleigh"]

_NOISE_NODES = 48
_GAIN_NODES = 240
# ln |h|^2: below and above, an exponential variable lies with a probability under 1e-5 and carries nothing, or under 1e-10
_LOG_GAIN = (-12.0, 3.2)


def bicm_capacity(esno_db: ArrayLike, bits_per_symbol: int, fading: Fading = "none") -> Array:
    """Bits per use of BICM with Gray-labelled QAM: float64, of the shape of `esno_db`.

    Parameters
    ----------
    esno_db : array_like
        Mean Es/N0 in dB.
    bits_per_symbol : int
        1, 2, 4, 6, 8 or 10.
    fading : "none" or "rayleigh"
        AWGN, or a complex normal gain per use that the receiver knows (ergodic).
    """
    return np.vectorize(lambda db: _moments(float(db), bits_per_symbol, fading)[0], otypes=[np.float64])(esno_db)


def bicm_limit_esno_db(bits_per_use: float, bits_per_symbol: int, fading: Fading = "none") -> float:
    """Es/N0 in dB at which the capacity is `bits_per_use`: no BICM code of that rate is reliable below."""
    if not 0 < bits_per_use < bits_per_symbol:
        raise InputError(
            f"bits_per_use is {bits_per_use}; symbols of {bits_per_symbol} bits carry more than 0 and fewer than that"
        )
    excess = lambda db: _moments(db, bits_per_symbol, fading)[0] - bits_per_use  # noqa: E731
    return float(optimize.brentq(excess, -30.0, 60.0, xtol=1e-4))


def bicm_esno_db(uses: int, bits_per_use: float, bler: float, bits_per_symbol: int, fading: Fading = "none") -> float:
    """Es/N0 in dB at which the best BICM code over so many uses has the block error rate, by the normal approximation."""

    def excess(db: float) -> float:
        capacity, dispersion = _moments(db, bits_per_symbol, fading)
        margin = uses * (capacity - bits_per_use) + 0.5 * np.log2(uses)
        return float(gaussian_tail(margin / np.sqrt(uses * dispersion))) - bler

    limit = bicm_limit_esno_db(bits_per_use, bits_per_symbol, fading)
    return float(optimize.brentq(excess, limit - 3.0, limit + 20.0, xtol=1e-4))


@lru_cache(maxsize=4096)
def _moments(esno_db: float, bits_per_symbol: int, fading: Fading) -> tuple[float, float]:
    """Mean and variance of i(x, y), in bits and bits^2 per use."""
    if fading not in get_args(Fading):
        raise InputError(f"fading is {fading!r}; allowed: {', '.join(get_args(Fading))}")
    snr = 10.0 ** (esno_db / 10.0)
    if fading == "none":
        mean, variance = _at_gains(np.array([snr]), bits_per_symbol)
        return float(mean[0]), float(variance[0])
    log_gain, step = np.linspace(*_LOG_GAIN, _GAIN_NODES, retstep=True)
    weight = np.exp(log_gain - np.exp(log_gain)) * step
    weight /= weight.sum()
    mean, variance = _at_gains(snr * np.exp(log_gain), bits_per_symbol)
    capacity = float(weight @ mean)
    return capacity, float(weight @ (variance + (mean - capacity) ** 2))


def _at_gains(snr: Array, bits_per_symbol: int) -> tuple[Array, Array]:
    """float64 [gains] of Es/N0 -> mean and variance of i(x, y) on AWGN, [gains] each."""
    modulation = Modulation(bits_per_symbol)
    levels = modulation.amplitudes.astype(np.float64)
    bits = modulation.bits_per_dimension
    labels = (np.arange(levels.size)[:, None] >> np.arange(bits - 1, -1, -1)) & 1
    nodes, weights = np.polynomial.hermite.hermgauss(_NOISE_NODES)
    weights = weights / weights.sum() / levels.size
    # N0/2 per real dimension: y = a + x / sqrt(SNR) under the weight exp(-x^2)
    received = levels[:, None] + nodes / np.sqrt(snr)[:, None, None]
    metric = -snr[:, None, None, None] * (received[..., None] - levels) ** 2  # [gains, sent, nodes, candidates]
    everything = special.logsumexp(metric, axis=3)
    information = np.full_like(everything, float(bits))
    for bit in labels.T:
        for value in (0, 1):
            sent = np.flatnonzero(bit == value)
            same = special.logsumexp(metric[:, sent][..., sent], axis=3)
            information[:, sent] -= (everything[:, sent] - same) / np.log(2.0)
    mean = (information * weights).sum((1, 2))
    variance = ((information - mean[:, None, None]) ** 2 * weights).sum((1, 2))
    return modulation.dimensions * mean, modulation.dimensions * variance
