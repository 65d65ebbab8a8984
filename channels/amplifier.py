"""Nonlinear stages without memory: clipping, the Rapp amplifier, and the receiver's quantiser."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from jscclink.errors import InputError

from .stages import Impairment


class Clipping(Impairment):
    """Envelope clipping: y = x min(1, A/|x|).

    Parameters
    ----------
    ratio_db
        Clipping level over the rms of the waveform, 20 log10(A / rms).
    """

    def __init__(self, *, ratio_db: float) -> None:
        self._level = _level("ratio_db", ratio_db)

    def act(self, waveform: Tensor, drawn: dict[str, Tensor], first: int, power: float) -> Tensor:
        level = self._level * math.sqrt(power)
        return waveform * (level / waveform.abs().clamp_min(level))


class Rapp(Impairment):
    """Solid-state amplifier: y = x / (1 + (|x|/A)^{2p})^{1/(2p)}, small-signal gain 1 (Rapp, 1991).

    Parameters
    ----------
    backoff_db
        Saturation level over the rms of the input, 20 log10(A / rms): the input back-off.
    smoothness
        p > 0: the larger, the closer to an ideal limiter.
    """

    def __init__(self, *, backoff_db: float, smoothness: float = 2.0) -> None:
        self._level = _level("backoff_db", backoff_db)
        if not 0 < smoothness <= 100:
            raise InputError(f"smoothness of the Rapp model must be positive, at most 100; got {smoothness}")
        self._smoothness = smoothness

    def act(self, waveform: Tensor, drawn: dict[str, Tensor], first: int, power: float) -> Tensor:
        drive = waveform.real.square() + waveform.imag.square()
        drive = drive / (self._level**2 * power)
        p = self._smoothness
        # (1 + d^p)^(-1/(2p)) by way of the larger of 1 and d: d^p overflows at high drive
        large = drive.clamp_min(1.0)
        ratio = (1.0 / large).pow(p) + (drive / large).clamp_min(1e-30).pow(p)
        return waveform * (ratio.pow(-0.5 / p) * large.rsqrt())


class Quantisation(Impairment):
    """Receiver's analogue-to-digital converter: uniform, midrise, per real dimension, behind an ideal gain control.

    The full scale is `full_scale_db` over the rms of a real dimension, measured per image over the waveform. The gradient
    is passed through within full scale, as if there were no steps (straight-through estimator): the only stage whose
    gradient is not that of its output.

    Parameters
    ----------
    bits
        Per real dimension, 1 to 16.
    full_scale_db
        Where the converter saturates, over the rms.
    """

    def __init__(self, *, bits: int, full_scale_db: float = 10.0) -> None:
        if not 1 <= bits <= 16:
            raise InputError(f"bits of the quantiser must lie in 1..16 per real dimension; got {bits}")
        self._level = _level("full_scale_db", full_scale_db)
        self._steps = 2**bits

    def act(self, waveform: Tensor, drawn: dict[str, Tensor], first: int, power: float) -> Tensor:
        parts = torch.view_as_real(waveform)
        rms = parts.detach().square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-30)
        full = self._level * rms
        step = 2.0 * full / self._steps
        inside = torch.minimum(torch.maximum(parts, -full), full)
        cell = (inside.detach() / step).floor().clamp(-self._steps // 2, self._steps // 2 - 1)
        quantised = (cell + 0.5) * step
        return torch.view_as_complex((inside + (quantised - inside).detach()).contiguous())


def _level(option: str, level_db: float) -> float:
    if not -60 <= level_db <= 60:
        raise InputError(f"{option} must lie in -60..60 dB; got {level_db}")
    return 10.0 ** (level_db / 20.0)
