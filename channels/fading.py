"""Flat fading: y = h x + n with complex h, E|h|^2 = 1; the noise variance refers to transmit power."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from jscclink.errors import InputError

from .channel import Csi, Observation, Realisation, complex_normal
from .doppler import clarke_gains
from .equaliser import Equaliser, equalise
from .receiver import Belief, TransmitterView
from .stages import StagedChannel

Form = Literal["fast", "block", "slow", "jakes"]


@dataclass(frozen=True)
class Variation:
    """How a flat channel's gain varies over a transmission.

    Parameters
    ----------
    form
        `fast`: one independent gain per use. `block`: one per `block_length` uses. `slow`: one per image. `jakes`: every use
        its own, correlated by J0(2 pi doppler n) (jscclink.channels.doppler).
    block_length
        Uses per gain; with form `block` and only with it.
    doppler
        Largest Doppler shift times the duration of a use; with form `jakes` and only with it.
    """

    form: Form = "fast"
    block_length: int | None = None
    doppler: float | None = None

    def __post_init__(self) -> None:
        if (self.form == "block") != (self.block_length is not None):
            raise InputError(
                f"form {self.form!r} with block_length {self.block_length}: block_length (uses per gain) goes with form "
                "'block', and only with it"
            )
        if (self.form == "jakes") != (self.doppler is not None):
            raise InputError(
                f"form {self.form!r} with doppler {self.doppler}: doppler (Doppler shift times the duration of a use) goes "
                "with form 'jakes', and only with it"
            )
        if self.block_length is not None and self.block_length < 1:
            raise InputError(f"block_length must be at least 1 use per gain; got {self.block_length}")
        if self.doppler is not None and not 0 <= self.doppler <= 0.5:
            raise InputError(f"doppler must lie in 0..0.5 turns per use; got {self.doppler}")

    def draw(self, *shape: int, uses: int, generator: torch.Generator, device: torch.device | str) -> Tensor:
        """complex64 [*shape, gains] of variance 1."""
        if self.doppler is not None:
            return clarke_gains(*shape, steps=uses, doppler_per_step=self.doppler, generator=generator, device=device)
        count = 1 if self.form == "slow" else -(-uses // (self.block_length or 1))
        return complex_normal(*shape, count, generator=generator, device=device)

    def spread(self, gain: Tensor, start: int, uses: int) -> Tensor:
        """complex [..., gains] -> [..., uses]: the gain of every use from `start` on."""
        if self.form == "slow":
            return gain.expand(*gain.shape[:-1], uses)
        if self.block_length is None:
            return gain[..., start : start + uses]
        first, last = start // self.block_length, (start + uses - 1) // self.block_length
        gain = gain[..., first : last + 1].repeat_interleave(self.block_length, dim=-1)
        offset = start - first * self.block_length
        return gain[..., offset : offset + uses]


@dataclass(eq=False, kw_only=True)
class Rayleigh(StagedChannel):
    """Rayleigh fading: h complex normal of variance 1.

        x --(*)--(+)--> equaliser --> Observation
             h    n

    Parameters
    ----------
    form, block_length, doppler
        How h varies: see `Variation`.
    csi
        `rx`: the receiver knows h and equalises. `tx+rx`: the transmitter knows it too. `none`: neither; y goes on as it is.
    equaliser
        `zf`, `mmse` or `none` (jscclink.channels.equaliser); only used with CSI.
    csi_error, noise_offset_db
        What the receiver has wrong: see `Belief`.
    tx_delay, tx_bits
        What the transmitter sees late or coarsely: see `TransmitterView`.
    """

    form: Form = "fast"
    block_length: int | None = None
    doppler: float | None = None
    csi: Csi = "rx"
    equaliser: Equaliser = "mmse"
    csi_error: float = 0.0
    noise_offset_db: float = 0.0
    tx_delay: int = 0
    tx_bits: int | None = None

    def __post_init__(self) -> None:
        self._variation = Variation(self.form, self.block_length, self.doppler)
        self._belief = Belief(self.csi_error, self.noise_offset_db)
        self._view = TransmitterView(self.csi, self.tx_delay, self.tx_bits)

    def draw(
        self, batch: int, uses: int, *, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> dict[str, Tensor]:
        gain = self._line_of_sight(self._variation.draw(batch, uses=uses, generator=generator, device=device), generator)
        return {"gain": gain, **self._belief.draw(*gain.shape, generator=generator, device=device)}

    def _line_of_sight(self, scattered: Tensor, generator: torch.Generator) -> Tensor:
        return scattered

    def gains(self, realisation: Realisation, start: int, uses: int) -> Tensor:
        """complex64 [batch, uses]: the gain of every use."""
        return self._variation.spread(realisation.tensors["gain"], start, uses)

    def propagate(self, waveform: Tensor, realisation: Realisation, start: int) -> Tensor:
        return waveform * self.gains(realisation, start, waveform.shape[-1])[:, None]

    def demodulate(self, received: Tensor, realisation: Realisation, noise_var: Tensor, start: int, uses: int) -> Observation:
        symbols, believed = received[:, 0], self._belief.noise_var(noise_var)[:, None]
        if self.csi == "none":
            return Observation(symbols, symbols.new_ones(()).expand(symbols.shape), believed.expand(symbols.shape))
        gain = realisation.tensors["gain"]
        if "csi_error" in realisation.tensors:
            gain = gain + realisation.tensors["csi_error"]
        return equalise(symbols, self._variation.spread(gain, start, uses), believed, self.equaliser)

    def transmitter_gain(self, realisation: Realisation, start: int, uses: int) -> Tensor | None:
        return self._view.see(self.gains(realisation, 0, start + uses), start)

    def transmitter_csi_bits(self, realisation: Realisation) -> int:
        return (self.tx_bits or 0) * realisation.tensors["gain"].shape[-1]

    def power_gains(self, realisation: Realisation) -> Tensor:
        return self.gains(realisation, 0, realisation.uses).abs().square()


@dataclass(eq=False, kw_only=True)
class Rician(Rayleigh):
    """Rician fading: h = sqrt(K/(K+1)) e^{j phi} + sqrt(1/(K+1)) g, g complex normal of variance 1, phi uniform per image.

    Parameters
    ----------
    k_db
        K-factor in dB: power of the line of sight over the scattered power.
    form, ..., tx_bits
        As for `Rayleigh`; the line of sight keeps its phase for the whole transmission.
    """

    k_db: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.k_db):
            raise InputError(f"k_db must be a finite number of dB; got {self.k_db} (for no line of sight use rayleigh)")
        super().__post_init__()
        self._sight_power = 1.0 / (1.0 + 10.0 ** (-self.k_db / 10.0))

    def _line_of_sight(self, scattered: Tensor, generator: torch.Generator) -> Tensor:
        phase = torch.rand(scattered.shape[0], 1, generator=generator, device=generator.device) * (2 * math.pi)
        sight = torch.polar(torch.full_like(phase, math.sqrt(self._sight_power)), phase).to(scattered.device)
        return sight + math.sqrt(1.0 - self._sight_power) * scattered
