"""What a realisation looks like: delay and Doppler spectra, peak power, constellations. Arrays out; plots are elsewhere."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jscclink.errors import InputError

from .channel import Channel, Realisation
from .compose import Composite
from .mimo import Mimo
from .ofdm_channel import OfdmChannel
from .stages import StagedChannel


@dataclass(frozen=True)
class Spectrum:
    """A power spectrum; `power` sums to the channel's mean power.

    Attributes
    ----------
    axis, power : float64 [bins]
    unit : str
        Of the axis: `ns`, `Hz` or `turns per gain`.
    """

    axis: np.ndarray
    power: np.ndarray
    unit: str


def papr_db(waveform: Tensor) -> Tensor:
    """Peak to average power ratio: complex [batch, antennas, samples] -> float [batch, antennas], dB."""
    power = waveform.real.square() + waveform.imag.square()
    return 10.0 * (power.amax(-1) / power.mean(-1).clamp_min(1e-30)).log10()


def evm_db(symbols: Tensor, reference: Tensor) -> Tensor:
    """Error vector magnitude over the reference's rms: complex [batch, uses] each -> float [batch], dB; -Es/N0 on AWGN."""
    error = (symbols - reference).abs().square().mean(1)
    return 10.0 * (error / reference.abs().square().mean(1)).log10()


def core(channel: Channel) -> StagedChannel:
    """The channel that fades, within a list of stages or by itself."""
    found = channel.core if isinstance(channel, Composite) else channel
    if not isinstance(found, StagedChannel):
        raise InputError(f"{type(channel).__name__} does not come apart into stages: nothing to inspect")
    return found


def delay_spectrum(channel: Channel, realisation: Realisation) -> Spectrum | None:
    """Mean power per path over delay, over all images, antennas and times; None for channels without multipath."""
    ofdm = core(channel)
    if not isinstance(ofdm, OfdmChannel):
        return None
    power = realisation.tensors["paths"].abs().square().double().mean((0, 1, 2)).cpu().numpy()
    return Spectrum(ofdm.delays * 1e9, power, "ns")


def doppler_spectrum(channel: Channel, realisation: Realisation) -> Spectrum | None:
    """Periodogram (Hann window) of the gains over time, mean over all images, antennas and paths; None where nothing moves."""
    inner, tensors = core(channel), realisation.tensors
    if isinstance(inner, OfdmChannel):
        series, rate, unit = tensors["paths"].transpose(-1, -2), inner.symbol_rate, "Hz"
    elif "gain" in tensors:
        series, rate, unit = tensors["gain"], 1.0, "turns per gain"
    else:
        return None
    steps = series.shape[-1]
    if steps < 2:
        return None
    window = torch.hann_window(steps, periodic=False, device=series.device) if steps > 2 else torch.ones(steps)
    window = window / window.square().sum().sqrt()
    power = torch.fft.fft(series * window).abs().square().double() / steps
    power = power.sum(-2) if isinstance(inner, OfdmChannel) else power
    power = power.reshape(-1, steps).mean(0)
    axis = np.fft.fftshift(np.fft.fftfreq(steps, 1.0 / rate))
    return Spectrum(axis, np.fft.fftshift(power.cpu().numpy()), unit)


@dataclass(frozen=True)
class Constellation:
    """One transmission, symbol by symbol: complex64 [batch, uses] each.

    Attributes
    ----------
    sent, after : Tensor
        As sent, and behind the equaliser, divided by the gain that is left.
    before : Tensor or None
        As received ahead of the equaliser, by the first antenna; None for `mimo`, whose antennas hear sums of symbols.
    """

    sent: Tensor
    before: Tensor | None
    after: Tensor


def constellation(channel: Channel, symbols: Tensor, realisation: Realisation, noise_var: Tensor) -> Constellation:
    """Pass symbols, complex64 [batch, uses] of unit power, through a realisation and look at both ends of the equaliser."""
    seen = channel.apply(symbols, realisation, noise_var)
    after = seen.symbols / torch.where(seen.gain.abs() > 1e-6, seen.gain, torch.ones_like(seen.gain))
    before = None
    if not isinstance(core(channel), Mimo):
        before = _without_csi(channel).apply(symbols, realisation, noise_var).symbols
    return Constellation(symbols, before, after)


def _without_csi(channel: Channel) -> Channel:
    """The same channel as met by a receiver that does not equalise."""
    bare = copy.copy(channel)
    if isinstance(bare, Composite):
        bare.core = _without_csi(bare.core)  # type: ignore[assignment]
    else:
        bare.csi = "none"
    return bare


def transmitted(channel: Channel, symbols: Tensor, realisation: Realisation) -> tuple[Tensor, Tensor]:
    """Waveform complex [batch, antennas, samples] before and after the transmitter's impairments, for `papr_db`."""
    if isinstance(channel, Composite):
        return channel.transmitted(symbols, realisation)
    waveform = core(channel).modulate(symbols, realisation, 0)
    return waveform, waveform
