"""The interface of every channel, split in *generate* (draw a realisation) and *apply* (pass symbols through it)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from jscclink.errors import InputError

Csi = Literal["none", "rx", "tx+rx"]


class _Named(dict[str, Tensor]):
    """Tensors by name; a missing one means that the realisation belongs to another channel."""

    def __missing__(self, name: str) -> Tensor:
        raise InputError(f"the realisation holds no {name!r} but {sorted(self)}; it was drawn from a channel of another kind")


@dataclass(frozen=True)
class Realisation:
    """Everything random about a channel, drawn once; `Channel.apply` is a deterministic function of it.

    Attributes
    ----------
    tensors : dict[str, Tensor]
        Named tensors, the first axis is the image; e.g. `gain` complex64 [batch, gains], `noise` complex64 [batch, uses]
        of variance 1 (scaled by the noise variance when applied).
    batch, uses : int
        What the realisation was drawn for. A shorter transmission meets the first uses of it.
    """

    tensors: Mapping[str, Tensor]
    batch: int
    uses: int

    def __post_init__(self) -> None:
        for name, tensor in self.tensors.items():
            if tensor.ndim < 1 or tensor.shape[0] != self.batch:
                raise InputError(
                    f"{name!r} of a realisation for {self.batch} images must be [{self.batch}, ...]; got {list(tensor.shape)}"
                )
        object.__setattr__(self, "tensors", _Named(self.tensors))

    def to(self, device: torch.device | str) -> Realisation:
        """The same realisation on another device."""
        return Realisation({k: v.to(device) for k, v in self.tensors.items()}, self.batch, self.uses)


@dataclass(frozen=True)
class Observation:
    """What the receiver's front end hands on: symbols = gain * x + noise, elementwise.

    Attributes
    ----------
    symbols : complex64 [batch, uses]
    gain : complex64 [batch, uses]
        The effective gain that the receiver believes in: 1 after zero-forcing (or without CSI), |h|^2/(|h|^2+N0) after
        MMSE equalisation, h where the equaliser is `none` and the receiver knows the channel.
    noise_var : float32 [batch, uses]
        Complex noise variance in `symbols`, after equalisation, as the receiver believes it to be.
    """

    symbols: Tensor
    gain: Tensor
    noise_var: Tensor


@dataclass(frozen=True)
class Overhead:
    """Channel uses per image that carry no payload: int64 [batch] each (pilots, cyclic prefix, filler of the last slot)."""

    uses: Mapping[str, Tensor] = field(default_factory=dict)


class Channel(ABC):
    """x -> Observation; batched per image, differentiable in x, on the device of x.

        generate --Realisation--+
                                v
        symbols x ----------> apply ----> Observation(symbols, gain, noise_var)

    A channel knows noise variances, never SNRs: the link converts (jscclink.simulator.units). E|h|^2 = 1 for every fading
    channel, so that the noise variance refers to transmit power. Draws come from the caller's `torch.Generator` and never
    touch the global state; they are made on the generator's device and moved to `device`, so one CPU generator gives the
    same realisation on every device.
    """

    csi: Csi = "rx"

    @abstractmethod
    def generate(self, batch: int, uses: int, *, generator: torch.Generator, device: torch.device | str = "cpu") -> Realisation:
        """Draw a realisation for `batch` images of at most `uses` complex symbols each."""

    @abstractmethod
    def apply(self, symbols: Tensor, realisation: Realisation, noise_var: Tensor, *, start: int = 0) -> Observation:
        """Pass symbols through a realisation.

        Parameters
        ----------
        symbols : complex64 [batch, uses]
        realisation : Realisation
        noise_var : float32 [batch]
            Complex noise variance N0 per image, relative to unit transmit power.
        start : int
            Position of the first symbol within the transmission (turn-taking schemes send several bursts).
        """

    def transmitter_gain(self, realisation: Realisation, start: int, uses: int) -> Tensor | None:
        """The gains that a transmitter with CSI sees: complex64 [batch, uses], or None where the channel has none."""
        return None

    def transmitter_csi_bits(self, realisation: Realisation) -> int:
        """Bits per image that it took to tell the transmitter; 0 where the knowledge is a gift (perfect CSI)."""
        return 0

    def power_gains(self, realisation: Realisation) -> Tensor:
        """float32 [batch, uses]: the channel as parallel Gaussian channels, signal over noise power per use at N0 = 1.

        What capacity is computed from (jscclink.channels.capacity); perfect CSI at the receiver.
        """
        raise InputError(f"no capacity is known for the channel {type(self).__name__}: it has no power_gains")

    def overhead(self, valid: Tensor) -> Overhead:
        """Uses beyond the payload for int64 [batch] payload uses per image."""
        return Overhead()

    def __call__(self, symbols: Tensor, noise_var: Tensor, *, generator: torch.Generator) -> Observation:
        """Draw and apply in one go."""
        batch, uses = symbols.shape
        drawn = self.generate(batch, uses, generator=generator, device=symbols.device)
        return self.apply(symbols, drawn, noise_var)


def check_apply(symbols: Tensor, realisation: Realisation, noise_var: Tensor, start: int) -> None:
    """Refuse shapes that do not fit together, before anything is computed; for use by implementations of `apply`."""
    if symbols.ndim != 2 or not symbols.is_complex():
        raise InputError(f"symbols must be complex [batch, uses]; got {symbols.dtype} {tuple(symbols.shape)}")
    batch, uses = symbols.shape
    if batch != realisation.batch or start < 0 or start + uses > realisation.uses:
        raise InputError(
            f"symbols [{batch}, {uses}] from use {start} do not fit a realisation of [{realisation.batch}, "
            f"{realisation.uses}]; generate it for at least {start + uses} uses and {batch} images"
        )
    if noise_var.shape != (batch,):
        raise InputError(f"noise_var must be [batch] = [{batch}], one value per image; got {tuple(noise_var.shape)}")
    _check_values(realisation, noise_var)


def _check_values(realisation: Realisation, noise_var: Tensor) -> None:
    for name, tensor in realisation.tensors.items():
        # the sum of finite values is finite, and takes one pass; noise is the larger part, and spared
        if not name.endswith("noise") and not bool(torch.isfinite(tensor.sum())):
            raise InputError(f"{name!r} of the realisation holds values that are not finite numbers; draw or load it anew")
    good = torch.isfinite(noise_var) & (noise_var >= 0)
    if not bool(good.all()):
        raise InputError(f"noise_var must be finite and not negative (N0 = 10^(-SNR/10)); got {noise_var[~good][0].item()}")


def complex_normal(*shape: int, generator: torch.Generator, device: torch.device | str) -> Tensor:
    """Circularly symmetric complex normal samples of variance 1, complex64, drawn on the generator's device."""
    drawn = torch.randn(*shape, 2, generator=generator, device=generator.device).mul_(0.5**0.5)
    return torch.view_as_complex(drawn).to(device)
