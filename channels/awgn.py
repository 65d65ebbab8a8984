"""Channels without fading: noiseless and additive white Gaussian noise."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .channel import Channel, Observation, Realisation, check_apply, complex_normal


class Noiseless(Channel):
    """y = x, whatever the noise variance: what a scheme reaches on its own."""

    def generate(self, batch: int, uses: int, *, generator: torch.Generator, device: torch.device | str = "cpu") -> Realisation:
        return Realisation({}, batch, uses)

    def apply(self, symbols: Tensor, realisation: Realisation, noise_var: Tensor, *, start: int = 0) -> Observation:
        check_apply(symbols, realisation, noise_var, start)
        ones = symbols.new_ones(()).expand(symbols.shape)
        return Observation(symbols, ones, torch.zeros_like(symbols.real))


class Awgn(Channel):
    """y = x + n, n complex normal of variance N0 (N0/2 per real dimension), independent from use to use.

    Parameters
    ----------
    csi
        `rx`: the receiver knows N0. `tx+rx`: the transmitter knows it too (and may adapt to it).
    """

    def __init__(self, *, csi: Literal["rx", "tx+rx"] = "rx") -> None:
        self.csi = csi

    def generate(self, batch: int, uses: int, *, generator: torch.Generator, device: torch.device | str = "cpu") -> Realisation:
        return Realisation({"noise": complex_normal(batch, uses, generator=generator, device=device)}, batch, uses)

    def apply(self, symbols: Tensor, realisation: Realisation, noise_var: Tensor, *, start: int = 0) -> Observation:
        check_apply(symbols, realisation, noise_var, start)
        noise = realisation.tensors["noise"][:, start : start + symbols.shape[1]]
        received = symbols + noise * noise_var.sqrt()[:, None]
        ones = symbols.new_ones(()).expand(symbols.shape)
        return Observation(received, ones, noise_var[:, None].expand(symbols.shape))
