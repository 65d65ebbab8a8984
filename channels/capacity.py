"""Capacity of a channel's realisations, and its mean: the bound that goes with every figure.

A realisation is a set of parallel Gaussian channels (`Channel.power_gains`): one per use, or one per eigenmode and instant
of a MIMO channel. The receiver knows it. (Tse & Viswanath, 2005, sec. 5.3, 5.4 and 8.2.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from jscclink.errors import InputError

from .channel import Channel, Realisation


def capacity(power_gains: Tensor, noise_var: Tensor, *, water_filling: bool = False) -> Tensor:
    """Bits per use of each image's realisation, float64 [batch].

    Parameters
    ----------
    power_gains : float [batch, uses]
        Signal over noise power at N0 = 1 and unit transmit power.
    noise_var : float [batch]
        N0 > 0.
    water_filling
        The transmitter knows the gains and spends its power, 1 per use on average over the realisation, where it pays:
        p = max(0, level - N0/g). Otherwise p = 1 everywhere.
    """
    if power_gains.ndim != 2 or noise_var.shape != power_gains.shape[:1]:
        raise InputError(
            f"power_gains must be [batch, uses] and noise_var [batch]; got {list(power_gains.shape)}, {list(noise_var.shape)}"
        )
    if not bool((noise_var > 0).all()):
        raise InputError(f"capacity needs positive noise variances; got {noise_var.min().item()}")
    snr = power_gains.double() / noise_var.double()[:, None]
    if water_filling:
        snr = snr * _water_filling(snr)
    return torch.log2(1.0 + snr).mean(1)


def _water_filling(snr: Tensor) -> Tensor:
    """Power per use of mean 1: the best k uses share the power, for the largest k in which all get some."""
    uses = snr.shape[1]
    floor = 1.0 / snr.clamp_min(1e-30)
    ordered = floor.sort(1).values
    count = torch.arange(1, uses + 1, device=snr.device, dtype=snr.dtype)
    level = (uses + ordered.cumsum(1)) / count
    filled = (level > ordered).sum(1, keepdim=True)
    return (level.gather(1, filled - 1) - floor).clamp_min(0.0)


@dataclass(frozen=True)
class MeanCapacity:
    """Ergodic capacity, estimated from realisations.

    Attributes
    ----------
    bits_per_use : float
        Mean over the realisations.
    half_width : float
        Of the 95 % interval around it (normal approximation; independent realisations).
    realisations : int
    """

    bits_per_use: float
    half_width: float
    realisations: int


def mean_capacity(
    channel: Channel,
    noise_var: float,
    *,
    uses: int,
    realisations: int,
    generator: torch.Generator,
    water_filling: bool = False,
) -> MeanCapacity:
    """Draw realisations of `uses` uses each and average their capacity.

    With `water_filling` the power is spread within a realisation, never between realisations.
    """
    if realisations < 2:
        raise InputError(f"realisations must be at least 2, for an interval; got {realisations}")
    values = []
    images = max(1, (1 << 22) // max(uses, 1))
    for i in range(0, realisations, images):
        count = min(images, realisations - i)
        drawn = channel.generate(count, uses, generator=generator)
        values.append(realised_capacity(channel, drawn, noise_var, water_filling=water_filling))
    bits = torch.cat(values)
    half_width = 1.96 * float(bits.std()) / math.sqrt(realisations)
    return MeanCapacity(float(bits.mean()), half_width, realisations)


def realised_capacity(channel: Channel, drawn: Realisation, noise_var: float, *, water_filling: bool = False) -> Tensor:
    """Bits per use of each image of a realisation, float64 [batch]."""
    gains = channel.power_gains(drawn)
    return capacity(gains, gains.new_full((drawn.batch,), noise_var), water_filling=water_filling)
