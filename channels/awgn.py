"""Channels without fading: noiseless and additive white Gaussian noise."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .channel import Channel, Observation, Realisation, check_apply
from .receiver import Belief
from .stages import StagedChannel


class Noiseless(Channel):
    """y = x, whatever the noise variance: what a scheme reaches on its own."""

    def generate(self, batch: int, uses: int, *, generator: torch.Generator, device: torch.device | str = "cpu") -> Realisation:
        return Realisation({}, batch, uses)

    def apply(self, symbols: Tensor, realisation: Realisation, noise_var: Tensor, *, start: int = 0) -> Observation:
        check_apply(symbols, realisation, noise_var, start)
        ones = symbols.new_ones(()).expand(symbols.shape)
        return Observation(symbols, ones, torch.zeros_like(symbols.real))


class Awgn(StagedChannel):
    """y = x + n, n complex normal of variance N0 (N0/2 per real dimension), independent from use to use.

    Parameters
    ----------
    csi
        `rx`: the receiver knows N0. `tx+rx`: the transmitter knows it too (and may adapt to it).
    noise_offset_db
        The receiver's noise variance over the true one, in dB.
    """

    def __init__(self, *, csi: Literal["rx", "tx+rx"] = "rx", noise_offset_db: float = 0.0) -> None:
        self.csi = csi
        self._belief = Belief(noise_offset_db=noise_offset_db)

    def draw(
        self, batch: int, uses: int, *, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> dict[str, Tensor]:
        return {}

    def propagate(self, waveform: Tensor, realisation: Realisation, start: int) -> Tensor:
        return waveform

    def demodulate(self, received: Tensor, realisation: Realisation, noise_var: Tensor, start: int, uses: int) -> Observation:
        symbols = received[:, 0]
        ones = symbols.new_ones(()).expand(symbols.shape)
        return Observation(symbols, ones, self._belief.noise_var(noise_var)[:, None].expand(symbols.shape))

    def power_gains(self, realisation: Realisation) -> Tensor:
        return realisation.tensors["noise"].real.new_ones(()).expand(realisation.batch, realisation.uses)
