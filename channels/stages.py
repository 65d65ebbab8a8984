"""What compound channels are made of: channels that come apart into stages, and impairments that act in between.

symbols -> modulate -> [impairments] -> propagate -> [impairments] -> (+ noise) -> [impairments] -> demodulate
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from jscclink.errors import InputError

from .channel import Channel, Observation, Realisation, check_apply, complex_normal


class StagedChannel(Channel):
    """A channel that comes apart into waveform, propagation, noise and receiver.

    Waveforms are complex [batch, antennas, samples] of mean power 1 over the transmit antennas together. Without OFDM a
    sample is a use.

    Attributes
    ----------
    transmit_antennas, receive_antennas : int
    sample_noise : float
        Noise variance of a waveform sample over N0; 1 unless carriers are left empty.
    one_sample_per_use : bool
        A sample of the waveform is a use of the channel, at the same place.
    """

    transmit_antennas: int = 1
    receive_antennas: int = 1
    sample_noise: float = 1.0
    one_sample_per_use: bool = True

    @abstractmethod
    def draw(
        self, batch: int, uses: int, *, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> dict[str, Tensor]:
        """All that is random but the noise."""

    def span(self, start: int, uses: int) -> tuple[int, int]:
        """First sample and number of samples of the waveform that carries `uses` symbols from use `start` on."""
        return start, uses

    def modulate(self, symbols: Tensor, realisation: Realisation, start: int) -> Tensor:
        """complex [batch, uses] -> waveform [batch, transmit antennas, samples]."""
        return symbols[:, None]

    @abstractmethod
    def propagate(self, waveform: Tensor, realisation: Realisation, start: int) -> Tensor:
        """Waveform [batch, transmit antennas, samples] -> [batch, receive antennas, samples], without noise."""

    @abstractmethod
    def demodulate(self, received: Tensor, realisation: Realisation, noise_var: Tensor, start: int, uses: int) -> Observation:
        """Waveform [batch, receive antennas, samples] in noise of variance N0 (float32 [batch]) -> Observation of `uses`."""

    def noise(self, realisation: Realisation, first: int, samples: int) -> Tensor:
        """complex64 [batch, receive antennas, samples] of variance 1, of a stretch of the waveform."""
        noise = realisation.tensors["noise"]
        if noise.ndim != 3 or noise.shape[1] != self.receive_antennas or noise.shape[2] < first + samples:
            raise InputError(
                f"'noise' of the realisation must be [{noise.shape[0]}, {self.receive_antennas}, {first + samples} or more]; "
                f"got {list(noise.shape)}: it was drawn from another channel"
            )
        return noise[:, :, first : first + samples]

    def generate(self, batch: int, uses: int, *, generator: torch.Generator, device: torch.device | str = "cpu") -> Realisation:
        drawn = self.draw(batch, uses, generator=generator, device=device)
        samples = self.span(0, uses)[1]
        noise = complex_normal(batch, self.receive_antennas, samples, generator=generator, device=device)
        return Realisation({**drawn, "noise": noise}, batch, uses)

    def apply(self, symbols: Tensor, realisation: Realisation, noise_var: Tensor, *, start: int = 0) -> Observation:
        check_apply(symbols, realisation, noise_var, start)
        uses = symbols.shape[1]
        received = self.propagate(self.modulate(symbols, realisation, start), realisation, start)
        noise = self.noise(realisation, *self.span(start, uses))
        received = received + noise * (noise_var * self.sample_noise).sqrt()[:, None, None]
        return self.demodulate(received, realisation, noise_var, start, uses)


class Impairment(ABC):
    """Something that happens to a waveform on its way, in a list of stages (jscclink.channels.compose).

    Attributes
    ----------
    measured_power : float
        Power of what it adds to the waveform, where the receiver has measured it as part of its noise.
    tells_losses : bool
        Whether `known_losses` says anything.
    """

    measured_power: float = 0.0
    tells_losses: bool = False

    def draw(
        self, batch: int, samples: int, *, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> dict[str, Tensor]:
        """All that is random about it, for `samples` samples; the first axis is the image."""
        return {}

    @abstractmethod
    def act(self, waveform: Tensor, drawn: dict[str, Tensor], first: int, power: float) -> Tensor:
        """Waveform [batch, antennas, samples] -> the same shape.

        Parameters
        ----------
        drawn
            From `draw`.
        first : int
            Position of the waveform's first sample within the transmission.
        power : float
            Nominal mean power of a sample, per antenna.
        """

    def known_losses(self, drawn: dict[str, Tensor], first: int, samples: int) -> Tensor | None:
        """bool [batch, samples], true where a sample was lost and the receiver knows; None: nothing of the kind."""
        return None
