"""The conventions of the project: one meaning for every quantity, and the only place that converts.

SNR is Es/N0 in dB at the receiver with E|x|^2 = 1; N0 is the variance of the whole complex noise sample (N0/2 per real
dimension). A channel use is one complex symbol. CBR is channel uses per source value, 3HW values for a colour picture.
Every function takes and returns floats or tensors of any shape, elementwise.
"""

from __future__ import annotations

import math
from typing import TypeVar

from torch import Tensor

Number = TypeVar("Number", float, Tensor)


def noise_var_from_esno_db(esno_db: Number) -> Number:
    """Es/N0 in dB -> complex noise variance N0 = 10^(-SNR/10), for unit symbol energy."""
    return 10.0 ** (-esno_db / 10.0)  # type: ignore[return-value]


def esno_db_from_noise_var(noise_var: Number) -> Number:
    """Complex noise variance N0 > 0 -> Es/N0 in dB, for unit symbol energy."""
    if isinstance(noise_var, Tensor):
        return -10.0 * noise_var.log10()
    return -10.0 * math.log10(noise_var)


def esno_db_from_ebno_db(ebno_db: Number, bits_per_use: float) -> Number:
    """Eb/N0 in dB -> Es/N0 in dB; `bits_per_use` = information bits per complex symbol (bits per symbol x code rate)."""
    return ebno_db + 10.0 * math.log10(bits_per_use)  # type: ignore[return-value]


def ebno_db_from_esno_db(esno_db: Number, bits_per_use: float) -> Number:
    """Es/N0 in dB -> Eb/N0 in dB; `bits_per_use` = information bits per complex symbol (bits per symbol x code rate)."""
    return esno_db - 10.0 * math.log10(bits_per_use)  # type: ignore[return-value]


def uses_from_cbr(cbr: float, source_values: int) -> int:
    """Most whole channel uses within a CBR: floor(cbr x source_values), source_values = 3HW for a colour picture.

    A relative slack of 1e-9 keeps 1/3, 1/6, ... typed as decimals or computed in binary from losing a use.
    """
    return math.floor(cbr * source_values * (1.0 + 1e-9))


def cbr_from_uses(uses: Number, source_values: int) -> Number:
    """Channel uses -> CBR = uses / source_values."""
    return uses / source_values  # type: ignore[return-value]


def bits_per_pixel(cbr: Number, bits_per_use: float, values_per_pixel: int = 3) -> Number:
    """Source bits per pixel that a CBR carries at a spectral efficiency: bpp = 3 R CBR."""
    return values_per_pixel * bits_per_use * cbr  # type: ignore[return-value]
