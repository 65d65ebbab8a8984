"""What a receiver or transmitter believes about the channel where that is not the truth: errors, offsets, delay, few bits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from jscclink.errors import InputError

from .channel import Csi, complex_normal

# Rayleigh gains lie outside this range of power with probability 0.01 (below) and 5e-5 (above).
_QUANTISER_DB = (-20.0, 10.0)


@dataclass(frozen=True)
class Belief:
    """The receiver's errors, for robustness studies: it takes its estimates for the truth.

    Parameters
    ----------
    csi_error
        Variance of a complex normal error on every channel gain (whose own power is 1).
    noise_offset_db
        The receiver's noise variance over the true one, in dB.
    """

    csi_error: float = 0.0
    noise_offset_db: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.csi_error) and self.csi_error >= 0):
            raise InputError(f"csi_error is the variance of the receiver's channel estimate, 0 or more; got {self.csi_error}")
        if not math.isfinite(self.noise_offset_db):
            raise InputError(f"noise_offset_db must be a finite number of dB; got {self.noise_offset_db}")

    def draw(self, *shape: int, generator: torch.Generator, device: torch.device | str) -> dict[str, Tensor]:
        """The estimate's error, complex64 of the gains' shape and variance `csi_error`; nothing where there is none."""
        if self.csi_error == 0:
            return {}
        error = complex_normal(*shape, generator=generator, device=device)
        return {"csi_error": error.mul_(math.sqrt(self.csi_error))}

    def noise_var(self, noise_var: Tensor) -> Tensor:
        """The noise variance that the receiver works with."""
        if self.noise_offset_db == 0:
            return noise_var
        return noise_var * 10.0 ** (self.noise_offset_db / 10.0)


@dataclass(frozen=True)
class TransmitterView:
    """What a transmitter with CSI sees of the gains: late, or through few bits.

    Parameters
    ----------
    csi
        The channel's CSI; delay and bits need `tx+rx`.
    delay
        Age of the gains in channel uses; before the first report the gain of the first use.
    bits
        Bits per gain: the power in dB between -20 and 10, and the phase, take half each. None: not quantised.
    """

    csi: Csi
    delay: int = 0
    bits: int | None = None

    def __post_init__(self) -> None:
        if self.delay < 0:
            raise InputError(f"tx_delay is the age of the transmitter's CSI in channel uses, 0 or more; got {self.delay}")
        if self.bits is not None and not 2 <= self.bits <= 32:
            raise InputError(f"tx_bits per gain must lie in 2..32 (power and phase take half each); got {self.bits}")
        if self.csi != "tx+rx" and (self.delay or self.bits is not None):
            raise InputError(
                f"tx_delay and tx_bits say how the transmitter knows the channel: with csi 'tx+rx', not {self.csi!r}"
            )

    def see(self, gains: Tensor, start: int) -> Tensor:
        """True gains of all uses, complex64 [batch, uses] -> those from `start` on, as the transmitter sees them."""
        uses = gains.shape[1]
        if self.delay:
            index = (torch.arange(start, uses, device=gains.device) - self.delay).clamp_min(0)
            seen = gains[:, index]
        else:
            seen = gains[:, start:]
        return seen if self.bits is None else self._quantised(seen, self.bits)

    def _quantised(self, gain: Tensor, bits: int) -> Tensor:
        low, high = _QUANTISER_DB
        levels, phases = 2 ** (bits - bits // 2), 2 ** (bits // 2)
        step = (high - low) / levels
        power_db = 20.0 * gain.abs().clamp_min(1e-6).log10()
        cell = ((power_db - low) / step).floor().clamp(0, levels - 1)
        magnitude = 10.0 ** ((low + (cell + 0.5) * step) / 20.0)
        angle = (gain.angle() * (phases / (2 * math.pi))).round() * (2 * math.pi / phases)
        return torch.polar(magnitude, angle).to(gain.dtype)
