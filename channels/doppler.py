"""Gains that vary with the receiver's motion: Clarke's isotropic scattering, with Jakes' spectrum."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .channel import complex_normal

_SINUSOIDS = 64
SPEED_OF_LIGHT = 299_792_458.0


def doppler_hz(speed_kmh: float, carrier_ghz: float) -> float:
    """Largest Doppler shift in Hz: speed / wavelength."""
    return speed_kmh / 3.6 * carrier_ghz * 1e9 / SPEED_OF_LIGHT


def clarke_gains(
    *shape: int, steps: int, doppler_per_step: float, generator: torch.Generator, device: torch.device | str = "cpu"
) -> Tensor:
    """Independent Rayleigh gains with autocorrelation J0(2 pi f n): complex64 [*shape, steps] of variance 1.

    Sum of 64 plane waves with complex normal amplitudes from equally spaced directions that are turned at random (the
    angles of Xiao, Zheng & Beaulieu, IEEE Trans. Wireless Commun. 5(12), 2006, eq. 6-7; normal amplitudes make every sample
    exactly complex normal). exp(j w n) is split into a coarse and a fine factor, so that a product of two small matrices
    replaces a sine per sample and wave.

    Parameters
    ----------
    doppler_per_step
        f: largest Doppler shift times the time between two steps.
    """
    waves = torch.arange(1, _SINUSOIDS + 1, dtype=torch.float64)
    turn = torch.rand(*shape, 1, generator=generator, device=generator.device, dtype=torch.float64).cpu()
    angle = 2 * math.pi / _SINUSOIDS * (waves + turn - 0.5)
    step = 2 * math.pi * doppler_per_step * torch.cos(angle)
    amplitude = complex_normal(*shape, _SINUSOIDS, generator=generator, device="cpu") / math.sqrt(_SINUSOIDS)
    fine = max(1, math.isqrt(steps))
    coarse = -(-steps // fine)
    # angles in double precision: w n grows to thousands of turns
    slow = _rotations(step, torch.arange(coarse, dtype=torch.float64) * fine).mul_(amplitude[..., None, :])
    fast = _rotations(step, torch.arange(fine, dtype=torch.float64))
    gains = slow.to(device) @ fast.to(device).transpose(-1, -2)
    return gains.flatten(-2)[..., :steps].contiguous()


def _rotations(step: Tensor, times: Tensor) -> Tensor:
    """exp(j step t): complex64 [*shape, times, waves]."""
    phase = torch.remainder(step[..., None, :] * times[:, None], 2 * math.pi).float()
    return torch.polar(torch.ones_like(phase), phase)
