"""Scalar equalisers: from y = h x + n to an `Observation` that says which gain and noise variance are left."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from .channel import Observation

Equaliser = Literal["zf", "mmse", "none"]

# Below this |h|^2 a zero-forcing division would overflow float32; such a use carries nothing anyway.
_LEAST_POWER = 1e-12


def equalise(received: Tensor, gain: Tensor, noise_var: Tensor, method: Equaliser) -> Observation:
    """Equalise with known gains.

    Parameters
    ----------
    received, gain : complex64 [batch, uses]
        y = h x + n and h.
    noise_var : float32, broadcastable to [batch, uses]
        Variance N0 of n.
    method
        `zf`: y/h, gain 1, noise N0/|h|^2. `mmse`: h* y/(|h|^2 + N0), gain |h|^2/(|h|^2 + N0), noise
        |h|^2 N0/(|h|^2 + N0)^2 (divide by the gain for the unbiased estimate). `none`: y, gain h, noise N0.
        (Tse & Viswanath, Fundamentals of Wireless Communication, 2005, sec. 3.1 and 8.3.)
    """
    if method == "none":
        return Observation(received, gain, noise_var.expand(received.shape))
    power = gain.real.square() + gain.imag.square()
    if method == "zf":
        power = power.clamp_min(_LEAST_POWER)
        symbols = received * gain.conj() / power
        return Observation(symbols, symbols.new_ones(()).expand(symbols.shape), noise_var / power)
    total = power + noise_var.clamp_min(_LEAST_POWER)
    left = power / total
    return Observation(received * gain.conj() / total, left.to(received.dtype), left * noise_var / total)


def combine(received: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum ratio combining: complex [batch, antennas, uses] -> one branch of the same noise variance, [batch, uses] each.

    sum(h* y) / |h| and |h| = sqrt(sum |h_r|^2); one antenna is passed on as it is.
    """
    if received.shape[1] == 1:
        return received[:, 0], gain[:, 0]
    power = (gain.real.square() + gain.imag.square()).sum(1)
    norm = power.clamp_min(_LEAST_POWER).sqrt()
    return (gain.conj() * received).sum(1) / norm, norm.to(received.dtype)
