"""Linear impairments of a waveform: carrier and timing offset, phase noise, I/Q imbalance, interference, lost bursts."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from jscclink.errors import InputError

from .channel import complex_normal
from .stages import Impairment


class CarrierOffset(Impairment):
    """Carrier frequency offset: y[n] = x[n] e^{j 2 pi offset n}.

    Parameters
    ----------
    offset
        Turns per sample, -0.5 to 0.5; over OFDM an offset of e carrier spacings is e / fft_size.
    """

    def __init__(self, *, offset: float) -> None:
        if not abs(offset) <= 0.5:
            raise InputError(f"offset of the carrier must lie in -0.5..0.5 turns per sample; got {offset}")
        self._offset = offset

    def act(self, waveform: Tensor, drawn: dict[str, Tensor], first: int, power: float) -> Tensor:
        time = torch.arange(first, first + waveform.shape[-1], device=waveform.device, dtype=torch.float64)
        return waveform * _unit(2 * math.pi * torch.remainder(self._offset * time, 1.0), waveform)


class PhaseNoise(Impairment):
    """Oscillator phase noise: y[n] = x[n] e^{j phi[n]}, phi a Wiener process or, behind a phase-locked loop, its remainder.

    Parameters
    ----------
    linewidth
        3 dB linewidth of the oscillator times the duration of a sample: phi's increments have variance 2 pi linewidth.
    loop_bandwidth
        3 dB bandwidth of a first-order phase-locked loop times the duration of a sample; phi is then stationary with variance
        linewidth / (2 loop_bandwidth) while the bandwidth is small. None: no loop, phi starts at 0 and wanders off.
    """

    def __init__(self, *, linewidth: float = 1e-5, loop_bandwidth: float | None = 1e-3) -> None:
        if not (math.isfinite(linewidth) and linewidth >= 0):
            raise InputError(f"linewidth must be 0 or more turns per sample; got {linewidth}")
        if loop_bandwidth is not None and not 0 < loop_bandwidth <= 0.5:
            raise InputError(f"loop_bandwidth must lie in 0..0.5 per sample (or be left out); got {loop_bandwidth}")
        self._deviation = math.sqrt(2 * math.pi * linewidth)
        self._memory = 1.0 if loop_bandwidth is None else math.exp(-2 * math.pi * loop_bandwidth)

    def draw(
        self, batch: int, samples: int, *, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> dict[str, Tensor]:
        steps = torch.randn(batch, samples, generator=generator, device=generator.device).mul_(self._deviation)
        if self._memory == 1.0:
            return {"phase": steps.double().cumsum(1).float().to(device)}
        steps[:, 0] /= math.sqrt(1.0 - self._memory**2)
        # phi[n] = memory phi[n-1] + step[n], by doubling: after k rounds every sample holds its last 2^k terms
        shift, factor = 1, self._memory
        while shift < samples and factor > 1e-12:
            steps = torch.cat([steps[:, :shift], steps[:, shift:] + factor * steps[:, :-shift]], 1)
            shift, factor = 2 * shift, factor * factor
        return {"phase": steps.to(device)}

    def act(self, waveform: Tensor, drawn: dict[str, Tensor], first: int, power: float) -> Tensor:
        phase = drawn["phase"][:, None, first : first + waveform.shape[-1]]
        return waveform * _unit(phase, waveform)


class TimingOffset(Impairment):
    """The receiver samples early or late: y(n) = x(n - offset), band-limited between samples; zero outside the burst.

    Parameters
    ----------
    offset
        In samples; positive: the signal comes late.
    """

    def __init__(self, *, offset: float) -> None:
        if not math.isfinite(offset):
            raise InputError(f"offset of the timing must be a finite number of samples; got {offset}")
        self._offset = offset

    def act(self, waveform: Tensor, drawn: dict[str, Tensor], first: int, power: float) -> Tensor:
        samples = waveform.shape[-1]
        # room for the shift and for the tails of the interpolation, so that nothing wraps around
        size = samples + 2 * math.ceil(abs(self._offset)) + 64
        frequency = torch.fft.fftfreq(size, device=waveform.device, dtype=torch.float64)
        shift = _unit(-2 * math.pi * frequency * self._offset, waveform)
        return torch.fft.ifft(torch.fft.fft(waveform, size) * shift)[..., :samples]


class IqImbalance(Impairment):
    """Unequal branches of a quadrature mixer: y = a x + b x*.

    a = (1 + g e^{-j phi}) / 2, b = (1 - g e^{j phi}) / 2, scaled to |a|^2 + |b|^2 = 1 (power is kept for circular x); the
    image lies |a|^2 / |b|^2 below the signal. (Schenk, RF Imperfections in High-rate Wireless Systems, 2008, ch. 5.)

    Parameters
    ----------
    amplitude_db
        Gain of the quadrature over the in-phase branch, 20 log10 g.
    phase_deg
        How far the branches are from a right angle, phi.
    """

    def __init__(self, *, amplitude_db: float = 0.0, phase_deg: float = 0.0) -> None:
        if not math.isfinite(amplitude_db) or not abs(phase_deg) < 90:
            raise InputError(
                f"amplitude_db must be finite and phase_deg lie within -90..90; got {amplitude_db} dB and {phase_deg} degrees"
            )
        gain, phase = 10.0 ** (amplitude_db / 20.0), math.radians(phase_deg)
        direct = (1 + gain * complex(math.cos(phase), -math.sin(phase))) / 2
        image = (1 - gain * complex(math.cos(phase), math.sin(phase))) / 2
        scale = math.sqrt(abs(direct) ** 2 + abs(image) ** 2)
        self._direct, self._image = direct / scale, image / scale

    def act(self, waveform: Tensor, drawn: dict[str, Tensor], first: int, power: float) -> Tensor:
        return self._direct * waveform + self._image * waveform.conj()


class Interference(Impairment):
    """Co-channel interference: y = x + sqrt(1/SIR) g u, u another transmitter's symbols of unit power.

    Parameters
    ----------
    sir_db
        Signal to interference ratio, at unit signal power.
    signal
        `normal`: complex normal samples (many carriers or many interferers). `qpsk`: one QPSK symbol per sample.
    fading
        `none`: g = 1. `rayleigh`: one complex normal g per image.
    known
        The receiver has measured the interference's mean power and counts it as noise.
    """

    def __init__(
        self,
        *,
        sir_db: float,
        signal: Literal["normal", "qpsk"] = "normal",
        fading: Literal["none", "rayleigh"] = "none",
        known: bool = True,
    ) -> None:
        if not math.isfinite(sir_db):
            raise InputError(f"sir_db must be a finite number of dB; got {sir_db}")
        self._power = 10.0 ** (-sir_db / 10.0)
        self._signal, self._fading = signal, fading
        self.measured_power = self._power if known else 0.0

    def draw(
        self, batch: int, samples: int, *, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> dict[str, Tensor]:
        if self._signal == "normal":
            other = complex_normal(batch, samples, generator=generator, device=device)
        else:
            quarter = torch.randint(0, 4, (batch, samples), generator=generator, device=generator.device)
            phase = (math.pi / 4 + math.pi / 2 * quarter).to(device)
            other = torch.polar(torch.ones_like(phase), phase)
        if self._fading == "rayleigh":
            other = other * complex_normal(batch, 1, generator=generator, device=device)
        return {"other": other}

    def act(self, waveform: Tensor, drawn: dict[str, Tensor], first: int, power: float) -> Tensor:
        other = drawn["other"][:, None, first : first + waveform.shape[-1]]
        return waveform + math.sqrt(self._power) * other


class Bursts(Impairment):
    """Burst erasures of a two-state Markov chain (Gilbert): in the bad state nothing gets through.

    Parameters
    ----------
    probability
        Long-run share of samples that are lost, under 1.
    mean_length
        Mean length of a burst in samples, at least 1.
    known
        The receiver knows which are lost (their gain is 0); only where a sample is a use, that is, without OFDM.
    """

    def __init__(self, *, probability: float, mean_length: float, known: bool = True) -> None:
        if not 0 <= probability < 1:
            raise InputError(f"probability of losing a sample must lie in 0..1, 1 excluded; got {probability}")
        least = max(1.0, probability / (1.0 - probability))
        if not (math.isfinite(mean_length) and mean_length >= least):
            raise InputError(
                f"mean_length of a burst must be at least {least:g} samples at probability {probability}; got {mean_length}"
            )
        self._probability, self._mean_length = probability, mean_length
        self.tells_losses = known

    def draw(
        self, batch: int, samples: int, *, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> dict[str, Tensor]:
        p, bad_length = self._probability, self._mean_length
        if p == 0:
            return {"lost": torch.zeros(batch, samples, dtype=torch.bool, device=device)}
        good_length = bad_length * (1 - p) / p
        draw = torch.rand(batch, samples, generator=generator, device=generator.device)
        # geometric sojourns: every sample the chain may leave its state; both fates of a sample come from one draw
        to_bad, to_good = draw < 1.0 / good_length, draw >= 1.0 - 1.0 / bad_length
        state = torch.empty_like(to_bad)
        state[:, 0] = torch.rand(batch, generator=generator, device=generator.device) < p
        bad = state[:, 0]
        for n in range(1, samples):
            bad = torch.where(bad, ~to_good[:, n], to_bad[:, n])
            state[:, n] = bad
        return {"lost": state.to(device)}

    def act(self, waveform: Tensor, drawn: dict[str, Tensor], first: int, power: float) -> Tensor:
        return torch.where(drawn["lost"][:, None, first : first + waveform.shape[-1]], 0, waveform)

    def known_losses(self, drawn: dict[str, Tensor], first: int, samples: int) -> Tensor | None:
        return drawn["lost"][:, first : first + samples] if self.tells_losses else None


def _unit(phase: Tensor, like: Tensor) -> Tensor:
    """exp(j phase) in the precision of `like`."""
    phase = phase.to(like.real.dtype)
    return torch.polar(torch.ones_like(phase), phase)
