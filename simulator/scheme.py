"""The interfaces of a scheme's two ends, and what passes between them and the link.

transmitter --Burst--> link --Reception--> receiver
     ^                                        |
     +------ feedback (turn-taking only) -----+
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from .side import SideLink
from .units import uses_from_cbr


@dataclass(frozen=True)
class Budget:
    """What both ends agree on before the transmission.

    Attributes
    ----------
    shape : tuple of int
        Shape of one source item: (3, H, W) for pictures, (k,) for blocks of bits. All items of a batch share it.
    uses : int or None
        Most channel uses per item, payload and side information together; None: as many as the scheme takes (bit-level
        schemes have a fixed length).
    side : SideLink
        How side information travels and what it costs.
    """

    shape: tuple[int, ...]
    uses: int | None
    side: SideLink

    @classmethod
    def from_cbr(cls, cbr: float, shape: tuple[int, ...], side: SideLink) -> Budget:
        """The budget of a CBR on the unpadded size."""
        values = 1
        for size in shape:
            values *= size
        return cls(shape, uses_from_cbr(cbr, values), side)


@dataclass(frozen=True)
class TransmitCsi:
    """What a transmitter is granted to know of the channel (absent: nothing).

    Attributes
    ----------
    noise_var : float32 [batch]
        Complex noise variance N0 per item.
    gain : complex64 [batch, uses] or None
        Channel gains, where the study grants `csi: tx+rx` and the channel has any.
    """

    noise_var: Tensor
    gain: Tensor | None


@dataclass(frozen=True)
class Burst:
    """One turn of the transmitter.

    Attributes
    ----------
    symbols : complex64 [batch, uses]
        What lies beyond `valid` of an item is not sent.
    valid : int64 [batch]
        Uses sent per item.
    side : tuple of bytes, one per item, or None
        Side information for the link to carry; the cost is charged by the budget's `SideLink`.
    uses : mapping of int64 [batch]
        The parts of `valid` that are not payload, by purpose (`filler`, `header`, `side`); the rest is payload.
    bits : mapping of int64 [batch]
        Where the bits of a digital payload went: `source`, `crc`, `filler`, `parity`, `header`.
    power : "scale" or "constellation"
        `scale`: the link scales each item to average power 1 over its valid uses. `constellation`: symbols of a fixed
        constellation of unit mean energy, sent as they are (the receiver relies on their scale); the link checks them.
    genie : tuple of bytes, one per item, or None
        Handed to the receiver free of cost and error: only for bounds (`Scheme.bound`), the link refuses it to all others.
    """

    symbols: Tensor
    valid: Tensor
    side: tuple[bytes, ...] | None = None
    uses: Mapping[str, Tensor] = field(default_factory=dict)
    bits: Mapping[str, Tensor] = field(default_factory=dict)
    power: Literal["scale", "constellation"] = "scale"
    genie: tuple[bytes, ...] | None = None


@dataclass(frozen=True)
class Reception:
    """What the receiver gets of one burst, and all that it gets: symbols = gain * sent + noise.

    Attributes
    ----------
    symbols : complex64 [batch, uses]
        After the channel's equaliser. The receiver is not told `valid`: one-shot transmissions are as long as the budget,
        and it hears noise where nothing was sent.
    gain : complex64 [batch, uses]
        Effective gain after equalisation.
    noise_var : float32 [batch, uses]
        Complex noise variance after equalisation.
    side : tuple of bytes or None per item, or None
        Side information as received; None for an item where it was lost.
    genie : tuple of bytes or None
        What a bound's transmitter handed over.
    """

    symbols: Tensor
    gain: Tensor
    noise_var: Tensor
    side: tuple[bytes | None, ...] | None = None
    genie: tuple[bytes, ...] | None = None

    def unbiased(self) -> tuple[Tensor, Tensor]:
        """Symbols divided by their gain, and the noise variance that goes with them: complex64, float32 [batch, uses]."""
        power = (self.gain.real.square() + self.gain.imag.square()).clamp_min(1e-12)
        return self.symbols * self.gain.conj() / power, self.noise_var / power


@dataclass(frozen=True)
class Reconstruction:
    """What the receiver makes of it.

    Attributes
    ----------
    data : uint8 [batch, *shape]
        Pictures or bits.
    failed : bool [batch]
        The receiver knows that decoding failed and put its declared concealment there (outage).
    """

    data: Tensor
    failed: Tensor


TransmitterTurns = Generator[Burst, Tensor | None, None]
ReceiverTurns = Generator[Tensor | None, Reception, Reconstruction]


class Scheme(ABC):
    """Both ends of a transmission scheme. Final schemes derive from `OneShotScheme` or `TurnTakingScheme`.

    A scheme holds settings and weights only: nothing of an item may pass from one end to the other through the object.

    Attributes
    ----------
    block_bits : int or None
        None for schemes that transmit pictures, uint8 [batch, 3, H, W]. A bit-level scheme says k here and transmits
        blocks of bits, uint8 [batch, k] of 0/1.
    bits_per_use : float or None
        Information bits per channel use, where that is fixed: Eb/N0 refers to it.
    deterministic_given_success : bool
        Two transmissions of one picture that both succeed give the same picture (digital schemes).
    needs_transmit_csi : bool
        The transmitter must know the channel: studies refuse channels whose `csi` is not `tx+rx`.
    sets_own_rate : bool
        It decides itself how many uses a picture takes: studies may leave `cbr` out, which is then only a limit.
    bound : bool
        No system but a bound on systems: it may use a genie, always knows the channel, and is drawn as a bound.
    """

    block_bits: int | None = None
    bits_per_use: float | None = None
    deterministic_given_success: bool = False
    needs_transmit_csi: bool = False
    sets_own_rate: bool = False
    bound: bool = False

    def to(self, device: torch.device | str) -> Scheme:
        """Move weights, where there are any; returns the scheme."""
        return self

    @abstractmethod
    def air_uses(self, budget: Budget) -> int | None:
        """How many uses of the channel a batch occupies at most, padding between its items included.

        One burst per transmission: the budget. With several turns the items' bursts are padded to the longest in every
        turn, so the sum can exceed the budget of a single item.
        """

    @abstractmethod
    def transmitter(self, source: Tensor, budget: Budget, csi: TransmitCsi | None) -> TransmitterTurns:
        """The transmitting end: yields bursts, is sent the feedback as received (None where there is none)."""

    @abstractmethod
    def receiver(self, budget: Budget) -> ReceiverTurns:
        """The receiving end: first yields None, is sent receptions, yields feedback, returns the reconstruction."""


class OneShotScheme(Scheme):
    """A scheme without feedback: `encode` at one end, `decode` at the other."""

    @abstractmethod
    def encode(self, source: Tensor, budget: Budget, csi: TransmitCsi | None) -> Burst:
        """uint8 [batch, *shape] -> Burst within the budget."""

    @abstractmethod
    def decode(self, reception: Reception, budget: Budget) -> Reconstruction:
        """Reception -> uint8 [batch, *shape], from what was received and nothing else."""

    def air_uses(self, budget: Budget) -> int | None:
        return budget.uses

    def transmitter(self, source: Tensor, budget: Budget, csi: TransmitCsi | None) -> TransmitterTurns:
        yield self.encode(source, budget, csi)

    def receiver(self, budget: Budget) -> ReceiverTurns:
        reception = yield None
        return self.decode(reception, budget)


class TurnTakingScheme(Scheme):
    """A scheme with feedback: implement `transmitter` and `receiver` as generators; the link drives them in turn."""
