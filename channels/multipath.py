"""Multipath propagation: path gains to frequency responses, and waveforms through time-varying impulse responses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Samples of the sinc pulse kept on either side of a path that falls between two samples (as Sionna's default).
_PULSE_TAIL = 6


@dataclass(frozen=True)
class Profile:
    """What is known about a multipath channel before it is drawn.

    Attributes
    ----------
    delays : float64 [paths], seconds
    powers : float64 [paths], sum 1
    doppler_hz : float
        Largest Doppler shift; 0: the paths keep their gains during a transmission.
    """

    delays: np.ndarray
    powers: np.ndarray
    doppler_hz: float

    def frequency_covariance(self, response: np.ndarray) -> np.ndarray:
        """E h(f) h*(f') of uncorrelated paths: complex128 [paths, carriers] -> [carriers, carriers]."""
        return (response.T * self.powers) @ response.conj()

    def time_covariance(self, times: np.ndarray) -> np.ndarray:
        """float64 [times, times]: J0 of Clarke's model, which a line of sight is given as well."""
        from scipy.special import j0

        return j0(2 * math.pi * self.doppler_hz * (times[:, None] - times))

    def response(self, frequencies: np.ndarray) -> np.ndarray:
        """complex128 [paths, carriers]: exp(-j 2 pi f tau)."""
        return np.exp(-2j * math.pi * np.outer(self.delays, frequencies))


@dataclass(frozen=True)
class TapMap:
    """From paths at any delay to taps at whole samples: band-limited to the sample rate.

    Attributes
    ----------
    weights : float64 [paths, taps]
        sinc(lag - delay x rate), scaled to unit mean power over the used carriers; exactly one 1 per path where all delays
        are whole samples.
    first_lag : int
        Lag of the first tap, 0 or less.
    """

    weights: np.ndarray
    first_lag: int

    @classmethod
    def of(cls, profile: Profile, sample_rate: float, carriers: np.ndarray, fft_size: int, most_early: int) -> TapMap:
        """Taps that start at most `most_early` samples before the first path where paths arrive between two samples."""
        delays = profile.delays * sample_rate
        whole = bool(np.all(np.abs(delays - np.round(delays)) < 1e-6))
        if whole:
            delays = np.round(delays)
        first = 0 if whole else -min(_PULSE_TAIL, most_early)
        last = math.ceil(delays.max()) + (0 if whole else _PULSE_TAIL)
        taps = cls(np.sinc(np.arange(first, last + 1) - delays[:, None]), first)
        power = (np.abs(taps.response(carriers, fft_size)) ** 2).mean(1, keepdims=True)
        return cls(taps.weights / np.sqrt(power), first)

    def response(self, carriers: np.ndarray, fft_size: int) -> np.ndarray:
        """complex128 [paths, carriers]: what the taps make of each carrier (numbered from the centre)."""
        lags = self.first_lag + np.arange(self.weights.shape[1])
        return self.weights @ np.exp(-2j * math.pi * np.outer(lags, carriers) / fft_size)


def through_taps(waveform: Tensor, taps: Tensor, first_lag: int, period: int) -> Tensor:
    """y[n] = sum_l h_l[n] x[n - l], x zero outside.

    Parameters
    ----------
    waveform : complex [batch, 1, samples]
    taps : complex [batch, antennas, steps, taps]
        At the middle of every period; between two of them the gains are interpolated, beyond the outermost ones they keep
        their value. One step: constant.
    first_lag : int
        Lag of the first tap, 0 or less.
    period : int
        Samples per step; samples = steps x period unless there is one step.

    Returns
    -------
    complex [batch, antennas, samples]
    """
    samples, steps = waveform.shape[-1], taps.shape[2]
    if steps == 1:
        full = _convolve(waveform, taps[:, :, 0])
        return full[..., -first_lag : samples - first_lag]
    # the gains of a step act on the two half-periods around its middle and one more on either side, weighted by a triangle
    half = period // 2
    length, window = taps.shape[-1], 2 * period
    ahead, behind = length - 1 + first_lag, -first_lag
    padded = torch.nn.functional.pad(waveform, (ahead + period - half, behind + period + half))
    pieces = padded.unfold(-1, window + length - 1, period)[:, :, :steps]
    passed = _convolve(pieces, taps)[..., length - 1 : length - 1 + window]
    ramp = torch.arange(period, device=waveform.device, dtype=waveform.real.dtype) / period
    weight = torch.cat([ramp, 1.0 - ramp]).repeat(steps, 1)
    weight[0, :period] = 1.0
    weight[-1, period:] = 1.0
    passed = passed * weight
    summed = passed.new_zeros(*passed.shape[:2], steps + 1, period)
    summed = torch.cat([passed[..., :period], summed[:, :, :1]], 2) + torch.cat([summed[:, :, :1], passed[..., period:]], 2)
    opening = period - half
    return summed.flatten(-2)[..., opening : opening + samples]


def _convolve(signal: Tensor, taps: Tensor) -> Tensor:
    """Full convolution along the last axis, by FFT."""
    full = signal.shape[-1] + taps.shape[-1] - 1
    size = 1 << (full - 1).bit_length()
    return torch.fft.ifft(torch.fft.fft(signal, size) * torch.fft.fft(taps.to(signal.dtype), size))[..., :full]
