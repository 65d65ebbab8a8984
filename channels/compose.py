"""A list of stages as one channel: `channel: [phase_noise, tdl, awgn]`."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from jscclink.errors import InputError

from .awgn import Awgn, Noiseless
from .channel import Channel, Observation, Overhead, Realisation, check_apply, complex_normal
from .stages import Impairment, StagedChannel


class Composite(Channel):
    """Stages in the order in which the waveform meets them.

        symbols -> modulate -> [impairments] -> propagate -> [impairments] -> (+ noise) -> [impairments] -> demodulate
                                                 fading                         awgn

    A list holds exactly one `awgn` (or `noiseless`): there the receiver's noise comes in. It may hold one fading channel
    ahead of it, which here contributes its fading, its CSI, its modem and its receiver, and leaves the noise to `awgn`.
    Impairments ahead of the fading are the transmitter's; those after it act on what arrives; those after `awgn` act on
    the noise too. Over OFDM channels they meet the samples of the waveform in time; elsewhere a sample is a use. What
    impairments do to the signal is unknown to the receiver, but for what it estimates from pilots.

    Parameters
    ----------
    stages
        Names or mappings, as for any channel; built, for callers in Python.

    Attributes
    ----------
    core : StagedChannel
        The fading channel, or `awgn` where nothing fades.
    """

    def __init__(self, *, stages: list[Any]) -> None:
        names = [_name(stage) for stage in stages]
        shown = f"[{', '.join(names)}]"
        noises = [i for i, stage in enumerate(stages) if isinstance(stage, Awgn | Noiseless)]
        fadings = [i for i, stage in enumerate(stages) if isinstance(stage, StagedChannel) and not isinstance(stage, Awgn)]
        for stage, name in zip(stages, names, strict=True):
            if not isinstance(stage, StagedChannel | Noiseless | Impairment):
                raise InputError(f"{name} cannot be a stage of {shown}: it does not come apart into stages")
        if len(noises) != 1:
            raise InputError(
                f"the channel {shown} has {len(noises)} noise sources; put exactly one awgn (or noiseless) where the "
                "receiver's noise comes in"
            )
        if len(fadings) > 1:
            raise InputError(
                f"the channel {shown} fades {len(fadings)} times; keep one of {', '.join(names[i] for i in fadings)}"
            )
        if fadings and fadings[0] > noises[0]:
            raise InputError(
                f"in the channel {shown} the noise of the receiver comes before {names[fadings[0]]}; put awgn after it"
            )
        noise = stages[noises[0]]
        self._noisy = isinstance(noise, Awgn)
        self.core: StagedChannel = stages[fadings[0]] if fadings else (noise if isinstance(noise, Awgn) else Awgn())
        self.csi = self.core.csi
        self._impairments = {i: s for i, s in enumerate(stages) if isinstance(s, Impairment)}
        for impairment in self._impairments.values():
            if impairment.tells_losses and not self.core.one_sample_per_use:
                raise InputError(
                    f"{_name(impairment)} tells the receiver which samples are lost, but in {_name(self.core)} a sample is no "
                    "use; set known: false"
                )
        self._fading_at = fadings[0] if fadings else noises[0]
        self._noise_at = noises[0]

    def generate(self, batch: int, uses: int, *, generator: torch.Generator, device: torch.device | str = "cpu") -> Realisation:
        core = self.core
        samples = core.span(0, uses)[1]
        tensors = dict(core.draw(batch, uses, generator=generator, device=device))
        tensors["noise"] = complex_normal(batch, core.receive_antennas, samples, generator=generator, device=device)
        for index, impairment in self._impairments.items():
            drawn = impairment.draw(batch, samples, generator=generator, device=device)
            tensors.update({f"stage{index}.{name}": tensor for name, tensor in drawn.items()})
        return Realisation(tensors, batch, uses)

    def apply(self, symbols: Tensor, realisation: Realisation, noise_var: Tensor, *, start: int = 0) -> Observation:
        check_apply(symbols, realisation, noise_var, start)
        core, uses = self.core, symbols.shape[1]
        first, samples = core.span(start, uses)
        waveform = core.modulate(symbols, realisation, start)
        waveform = self._between(-1, self._fading_at, waveform, realisation, first, 1.0 / core.transmit_antennas)
        waveform = core.propagate(waveform, realisation, start)
        waveform = self._between(self._fading_at, self._noise_at, waveform, realisation, first, 1.0)
        if not self._noisy:
            noise_var = torch.zeros_like(noise_var)
        noise = core.noise(realisation, first, samples)
        waveform = waveform + noise * (noise_var * core.sample_noise).sqrt()[:, None, None]
        waveform = self._between(self._noise_at, len(self._impairments) + 2, waveform, realisation, first, 1.0)
        measured = sum(stage.measured_power for stage in self._impairments.values())
        seen = core.demodulate(waveform, realisation, noise_var + measured / core.sample_noise, start, uses)
        return self._mark_losses(seen, realisation, first, samples)

    def transmitted(self, symbols: Tensor, realisation: Realisation, *, start: int = 0) -> tuple[Tensor, Tensor]:
        """The waveform [batch, antennas, samples] before and after the transmitter's impairments."""
        core = self.core
        clean = core.modulate(symbols, realisation, start)
        first = core.span(start, symbols.shape[1])[0]
        return clean, self._between(-1, self._fading_at, clean, realisation, first, 1.0 / core.transmit_antennas)

    def _between(self, after: int, before: int, waveform: Tensor, realisation: Realisation, first: int, power: float) -> Tensor:
        for index, impairment in self._impairments.items():
            if after < index < before:
                waveform = impairment.act(waveform, self._drawn(index, realisation), first, power)
        return waveform

    def _drawn(self, index: int, realisation: Realisation) -> dict[str, Tensor]:
        prefix = f"stage{index}."
        return {name[len(prefix) :]: t for name, t in realisation.tensors.items() if name.startswith(prefix)}

    def _mark_losses(self, seen: Observation, realisation: Realisation, first: int, samples: int) -> Observation:
        gain = seen.gain
        for index, impairment in self._impairments.items():
            lost = impairment.known_losses(self._drawn(index, realisation), first, samples)
            if lost is not None:
                gain = torch.where(lost, torch.zeros_like(gain), gain)
        return Observation(seen.symbols, gain, seen.noise_var)

    def overhead(self, valid: Tensor) -> Overhead:
        return self.core.overhead(valid)

    def transmitter_gain(self, realisation: Realisation, start: int, uses: int) -> Tensor | None:
        return self.core.transmitter_gain(realisation, start, uses)

    def transmitter_csi_bits(self, realisation: Realisation) -> int:
        return self.core.transmitter_csi_bits(realisation)

    def power_gains(self, realisation: Realisation) -> Tensor:
        """Those of the fading: capacity without the impairments."""
        return self.core.power_gains(realisation)


def _name(stage: object) -> str:
    """`PhaseNoise` -> phase_noise."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(stage).__name__).lower()
