"""Flat fading: y = h x + n with complex h, E|h|^2 = 1; the noise variance refers to transmit power."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from jscclink.errors import InputError

from .channel import Channel, Csi, Observation, Realisation, check_apply, complex_normal
from .equaliser import Equaliser, equalise

Form = Literal["fast", "block", "slow"]


class Rician(Channel):
    """Rician fading: h = sqrt(K/(K+1)) e^{j phi} + sqrt(1/(K+1)) g, g complex normal of variance 1, phi uniform.

        x --(*)--(+)--> equaliser --> Observation
             h    n

    Parameters
    ----------
    k_db
        K-factor in dB: power of the line of sight over the scattered power.
    form
        `fast`: one gain per use. `block`: one per `block_length` uses. `slow`: one per image.
    block_length
        Uses per gain; only with form `block`.
    csi
        `rx`: the receiver knows h and equalises. `tx+rx`: the transmitter knows it too. `none`: neither; y goes on as it is.
    equaliser
        `zf`, `mmse` or `none` (jscclink.channels.equaliser); only used with CSI.
    """

    def __init__(
        self,
        *,
        k_db: float,
        form: Form = "fast",
        block_length: int | None = None,
        csi: Csi = "rx",
        equaliser: Equaliser = "mmse",
    ) -> None:
        if not math.isfinite(k_db):
            raise InputError(f"k_db must be a finite number of dB; got {k_db} (for no line of sight use rayleigh)")
        self._line_of_sight = 1.0 / (1.0 + 10.0 ** (-k_db / 10.0))
        self._fading = FlatFading(form=form, block_length=block_length, csi=csi, equaliser=equaliser)
        self.csi = csi

    def generate(self, batch: int, uses: int, *, generator: torch.Generator, device: torch.device | str = "cpu") -> Realisation:
        drawn = self._fading.draw(batch, uses, generator=generator, device=device)
        phase = torch.rand(batch, 1, generator=generator, device=generator.device).to(device) * (2 * math.pi)
        sight = torch.polar(torch.full_like(phase, math.sqrt(self._line_of_sight)), phase)
        gain = sight + math.sqrt(1.0 - self._line_of_sight) * drawn["gain"]
        return Realisation({"gain": gain, "noise": drawn["noise"]}, batch, uses)

    def apply(self, symbols: Tensor, realisation: Realisation, noise_var: Tensor, *, start: int = 0) -> Observation:
        return self._fading.apply(symbols, realisation, noise_var, start=start)

    def transmitter_gain(self, realisation: Realisation, start: int, uses: int) -> Tensor | None:
        return self._fading.gains(realisation, start, uses)


class Rayleigh(Channel):
    """Rayleigh fading: h complex normal of variance 1. Options as for `Rician`."""

    def __init__(
        self, *, form: Form = "fast", block_length: int | None = None, csi: Csi = "rx", equaliser: Equaliser = "mmse"
    ) -> None:
        self._fading = FlatFading(form=form, block_length=block_length, csi=csi, equaliser=equaliser)
        self.csi = csi

    def generate(self, batch: int, uses: int, *, generator: torch.Generator, device: torch.device | str = "cpu") -> Realisation:
        return Realisation(self._fading.draw(batch, uses, generator=generator, device=device), batch, uses)

    def apply(self, symbols: Tensor, realisation: Realisation, noise_var: Tensor, *, start: int = 0) -> Observation:
        return self._fading.apply(symbols, realisation, noise_var, start=start)

    def transmitter_gain(self, realisation: Realisation, start: int, uses: int) -> Tensor | None:
        return self._fading.gains(realisation, start, uses)


class FlatFading:
    """What flat fading channels share: how many gains there are, and what becomes of the symbols."""

    def __init__(self, *, form: Form, block_length: int | None, csi: Csi, equaliser: Equaliser) -> None:
        if (form == "block") != (block_length is not None):
            raise InputError(
                f"form {form!r} with block_length {block_length}: block_length (uses per gain) goes with form 'block', "
                "and only with it"
            )
        if block_length is not None and block_length < 1:
            raise InputError(f"block_length must be at least 1 use per gain; got {block_length}")
        self._form, self._csi, self._equaliser = form, csi, equaliser
        self._block_length = block_length or 1

    def draw(self, batch: int, uses: int, *, generator: torch.Generator, device: torch.device | str) -> dict[str, Tensor]:
        """Scattered gains complex64 [batch, gains] of variance 1, then noise complex64 [batch, uses]."""
        count = 1 if self._form == "slow" else -(-uses // self._block_length)
        gain = complex_normal(batch, count, generator=generator, device=device)
        return {"gain": gain, "noise": complex_normal(batch, uses, generator=generator, device=device)}

    def gains(self, realisation: Realisation, start: int, uses: int) -> Tensor:
        """complex64 [batch, uses]: the gain of every use."""
        gain = realisation.tensors["gain"]
        if self._form == "slow":
            return gain.expand(-1, uses)
        if self._block_length == 1:
            return gain[:, start : start + uses]
        index = torch.arange(start, start + uses, device=gain.device) // self._block_length
        return gain[:, index]

    def apply(self, symbols: Tensor, realisation: Realisation, noise_var: Tensor, *, start: int) -> Observation:
        check_apply(symbols, realisation, noise_var, start)
        uses = symbols.shape[1]
        gain = self.gains(realisation, start, uses)
        noise = realisation.tensors["noise"][:, start : start + uses]
        received = gain * symbols + noise * noise_var.sqrt()[:, None]
        if self._csi == "none":
            return Observation(received, symbols.new_ones(()).expand(symbols.shape), noise_var[:, None].expand(symbols.shape))
        return equalise(received, gain, noise_var[:, None], self._equaliser)
