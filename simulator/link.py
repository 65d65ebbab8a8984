"""The link: the only path from transmitter to receiver. It scales power, runs the channel and charges the ledger."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from jscclink.channels.channel import Channel, Observation, Realisation
from jscclink.channels.feedback import FeedbackLink, PerfectFeedback

from .scheme import Budget, Burst, OneShotScheme, Reception, Reconstruction, Scheme, TransmitCsi
from .side import LOWEST_BLIND_ESNO_DB, IdealSide, ReceivedSide, Side, SideLink
from .units import noise_var_from_esno_db


class LinkError(RuntimeError):
    """A scheme broke the rules of the link (budget, power, shapes): a fault of the scheme, not of the study."""


@dataclass(frozen=True)
class Ledger:
    """What a transmission cost, per item. CBR is what the ledger says.

    Attributes
    ----------
    source_values : int
        3HW of the unpadded picture, or k bits.
    uses : mapping of float64 [batch]
        Channel uses by purpose: `payload`, `side`, and what else the bursts name (`filler`, `header`).
    overhead : mapping of float64 [batch]
        Uses of the physical layer, a second figure: `pilots`, `prefix`, ...
    bits : mapping of float64 [batch]
        Where the bits of a digital payload went: `source`, `crc`, `filler`, `parity`, `header`.
    energy : float64 [batch]
        Sum of |x|^2 over all uses sent.
    feedback_bits : float64 [batch]
        Bits that came back from the receiver.
    """

    source_values: int
    uses: Mapping[str, Tensor]
    overhead: Mapping[str, Tensor] = field(default_factory=dict)
    bits: Mapping[str, Tensor] = field(default_factory=dict)
    energy: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    feedback_bits: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))

    @property
    def total_uses(self) -> Tensor:
        """float64 [batch]: uses that count for the CBR."""
        return torch.stack(list(self.uses.values())).sum(0)

    @property
    def cbr(self) -> Tensor:
        """float64 [batch]: channel bandwidth ratio, everything but the physical layer's overhead."""
        return self.total_uses / self.source_values

    @property
    def cbr_with_overhead(self) -> Tensor:
        """float64 [batch]: CBR with pilots and cyclic prefix."""
        extra = sum(self.overhead.values(), torch.zeros_like(self.total_uses))
        return (self.total_uses + extra) / self.source_values


@dataclass(frozen=True)
class Passage:
    """One batch that crossed the link."""

    reconstruction: Reconstruction
    ledger: Ledger
    bursts: tuple[Burst, ...]
    receptions: tuple[Reception, ...]


class Link:
    """Carries a scheme's bursts over a channel.

        transmitter --Burst--> [power] -> [channel -> equaliser] --Reception--> receiver
             ^                    `---> ledger <---'                                |
             +----------------------- feedback link <-------------------------------+

    Parameters
    ----------
    channel : Channel
    side : SideLink, optional
        How side information travels; default `IdealSide`.
    feedback : FeedbackLink, optional
        The way back of turn-taking schemes; default perfect.
    """

    def __init__(self, channel: Channel, *, side: SideLink | None = None, feedback: FeedbackLink | None = None) -> None:
        self.channel = channel
        self.side = side or IdealSide()
        self.feedback = feedback or PerfectFeedback()

    def budget(self, shape: tuple[int, ...], cbr: float | None) -> Budget:
        """The budget of a CBR for items of a shape; None where the scheme's length is its own affair."""
        return Budget(shape, None, self.side) if cbr is None else Budget.from_cbr(cbr, shape, self.side)

    def run(
        self,
        scheme: Scheme,
        source: Tensor,
        budget: Budget,
        esno_db: float | Tensor,
        *,
        generator: torch.Generator,
        realisation: Realisation | None = None,
    ) -> Passage:
        """Pass one batch from end to end.

        Parameters
        ----------
        source : uint8 [batch, *budget.shape]
        esno_db : float or float [batch]
            Es/N0 per item in dB.
        generator : torch.Generator
            All of the link's randomness: the channel's realisation, lost side information, noisy feedback.
        realisation : Realisation, optional
            Meet this realisation of the channel instead of a fresh one (replay).
        """
        crossing = _Crossing(self, scheme, source, budget, esno_db, generator, realisation)
        transmitter = scheme.transmitter(source, budget, crossing.transmit_csi(genie=scheme.bound))
        receiver = scheme.receiver(budget)
        next(receiver)
        burst = next(transmitter)
        while True:
            if burst.genie is not None and not scheme.bound:
                raise LinkError(f"{type(scheme).__name__} hands bytes to its receiver past the channel: only bounds may")
            reception = crossing.carry(burst)
            try:
                message = receiver.send(reception)
            except StopIteration as stop:
                return crossing.finish(stop.value)
            burst = transmitter.send(crossing.feed_back(message))


class _Crossing:
    """The state of one batch on its way: position in the realisation, and the ledger so far."""

    def __init__(
        self,
        link: Link,
        scheme: Scheme,
        source: Tensor,
        budget: Budget,
        esno_db: float | Tensor,
        generator: torch.Generator,
        realisation: Realisation | None,
    ) -> None:
        if tuple(source.shape[1:]) != tuple(budget.shape):
            raise LinkError(f"source items are {tuple(source.shape[1:])}, the budget was made for {tuple(budget.shape)}")
        self._link, self._budget, self._generator = link, budget, generator
        self._batch, self._device = source.shape[0], source.device
        esno = torch.as_tensor(esno_db, dtype=torch.float32, device=self._device).expand(self._batch)
        self._noise_var = noise_var_from_esno_db(esno)
        self._realisation = realisation
        air_uses = scheme.air_uses(budget)
        self._one_burst = isinstance(scheme, OneShotScheme)
        self._blind = link.channel.csi != "tx+rx" and not scheme.bound
        self._foreseen = self._zeros()  # uses as a blind transmitter counts them
        if realisation is None and air_uses is not None:
            # drawn for the whole budget, so that schemes of unlike length meet the same channel
            self._draw(2 * air_uses if link.side.on_air else air_uses)
        self._position = 0
        self._uses: dict[str, Tensor] = {"payload": self._zeros()}
        self._bits: dict[str, Tensor] = {}
        self._overhead: dict[str, Tensor] = {}
        self._energy, self._feedback_bits = self._zeros(), self._zeros()
        self._bursts: list[Burst] = []
        self._receptions: list[Reception] = []
        self._way_back: list[Tensor | None] = []

    def _zeros(self) -> Tensor:
        return torch.zeros(self._batch, dtype=torch.float64)

    def _draw(self, uses: int) -> Realisation:
        self._realisation = self._link.channel.generate(self._batch, uses, generator=self._generator, device=self._device)
        return self._realisation

    def transmit_csi(self, *, genie: bool) -> TransmitCsi | None:
        """What the transmitter may know: nothing unless the channel's CSI is `tx+rx`, or a genie tells."""
        if self._link.channel.csi != "tx+rx" and not genie:
            return None
        gain = None
        if self._realisation is not None:
            gain = self._link.channel.transmitter_gain(self._realisation, 0, self._realisation.uses)
            self._feedback_bits += self._link.channel.transmitter_csi_bits(self._realisation)
        return TransmitCsi(self._noise_var, gain)

    def carry(self, burst: Burst) -> Reception:
        """Burst -> Reception: check, scale, charge, transmit."""
        self._check(burst)
        self._foreseen += burst.valid.double().cpu()
        side = None if burst.side is None else self._carry_side(burst.side, burst.valid)
        sent = self._scaled(burst)
        self._charge_energy(sent)
        for purpose, uses in burst.uses.items():
            self._charge(purpose, uses)
        self._charge("payload", burst.valid - sum(burst.uses.values(), torch.zeros_like(burst.valid)))
        for purpose, bits in burst.bits.items():
            self._bits[purpose] = self._bits.get(purpose, self._zeros()) + bits.double().cpu()
        for purpose, uses in self._link.channel.overhead(burst.valid).uses.items():
            self._overhead[purpose] = self._overhead.get(purpose, self._zeros()) + uses.double().cpu()
        self._check_budget()
        seen = self._transmit(sent)
        reception = Reception(seen.symbols, seen.gain, seen.noise_var, side, burst.genie)
        self._bursts.append(burst)
        self._receptions.append(reception)
        return reception

    def feed_back(self, message: Tensor | None) -> Tensor | None:
        """Feedback as the transmitter gets it: late by the feedback link's delay, None until the first arrives."""
        if message is not None:
            self._feedback_bits += self._link.feedback.bits(message)
            message = self._link.feedback.carry(message, self._generator)
        self._way_back.append(message)
        turn = len(self._way_back) - 1 - self._link.feedback.delay
        return self._way_back[turn] if turn >= 0 else None

    def finish(self, reconstruction: Reconstruction) -> Passage:
        ledger = Ledger(
            math.prod(self._budget.shape), self._uses, self._overhead, self._bits, self._energy, self._feedback_bits
        )
        return Passage(reconstruction, ledger, tuple(self._bursts), tuple(self._receptions))

    def _charge_energy(self, sent: Tensor) -> None:
        self._energy += (sent.real.square() + sent.imag.square()).double().sum(1).cpu()

    def _charge(self, purpose: str, uses: Tensor) -> None:
        self._uses[purpose] = self._uses.get(purpose, self._zeros()) + uses.double().cpu()

    def _carry_side(self, side: Side, valid: Tensor) -> ReceivedSide:
        """Charge and carry side information.

        A transmitter that does not know its channel leaves room for side information down to `LOWEST_BLIND_ESNO_DB`. On a
        worse channel the room may not do: then it is all used, and the item's side information is lost.
        """
        n_bytes = torch.tensor([len(s) for s in side], device=self._device)
        uses = self._link.side.uses(n_bytes, self._noise_var).double().cpu()
        lost = torch.zeros(self._batch, dtype=torch.bool)
        if self._blind and self._budget.uses is not None:
            lowest = torch.full_like(self._noise_var, noise_var_from_esno_db(LOWEST_BLIND_ESNO_DB))
            self._foreseen += self._link.side.uses(n_bytes, lowest).double().cpu()
            room = self._budget.uses - torch.stack(list(self._uses.values())).sum(0) - valid.double().cpu()
            lost = (uses > room) & (self._foreseen <= self._budget.uses)
            uses = torch.where(lost, room, uses)
        self._charge("side", uses)
        received = self._link.side.carry(side, self._noise_var, self._transmit_side, self._generator)
        return tuple(None if gone else data for data, gone in zip(received, lost.tolist(), strict=True))

    def _transmit_side(self, symbols: Tensor) -> Observation:
        self._charge_energy(symbols)
        return self._transmit(symbols)

    def _transmit(self, symbols: Tensor) -> Observation:
        uses = symbols.shape[1]
        realisation = self._realisation
        if realisation is None:
            if self._bursts:
                raise LinkError("a scheme that takes turns needs a budget: the channel is drawn once, for all of it")
            realisation = self._draw(uses)
        seen = self._link.channel.apply(symbols, realisation, self._noise_var, start=self._position)
        self._position += uses
        return seen

    def _check(self, burst: Burst) -> None:
        shape = burst.symbols.shape
        if burst.symbols.ndim != 2 or not burst.symbols.is_complex() or shape[0] != self._batch:
            raise LinkError(
                f"a burst's symbols must be complex [{self._batch}, uses]; got {burst.symbols.dtype} {tuple(shape)}"
            )
        if burst.valid.shape != (self._batch,) or int(burst.valid.max()) > shape[1] or int(burst.valid.min()) < 0:
            raise LinkError(f"valid must be [{self._batch}] within 0..{shape[1]} uses; got {burst.valid.tolist()[:8]}")
        if not bool(torch.isfinite(torch.view_as_real(burst.symbols)).all()):
            raise LinkError("a burst holds symbols that are not finite numbers")

    def _scaled(self, burst: Burst) -> Tensor:
        """Symbols as sent: nothing beyond `valid`, average power 1 per item over the valid uses."""
        index = torch.arange(burst.symbols.shape[1], device=self._device)
        sent = torch.where(index < burst.valid[:, None], burst.symbols, 0)
        if self._one_burst and self._budget.uses is not None:
            # one burst fills the budget's time, or the length of what arrives would tell the receiver what nobody sent
            sent = torch.nn.functional.pad(sent[:, : self._budget.uses], (0, max(self._budget.uses - sent.shape[1], 0)))
        energy = (sent.real.square() + sent.imag.square()).sum(1)
        if burst.power == "scale":
            return sent * torch.where(energy > 0, burst.valid / energy.clamp_min(1e-30), 0.0).sqrt()[:, None]
        # independent uniform bits: the mean energy of n symbols of a unit-energy QAM strays by less than 0.62/sqrt(n) rms
        limit = burst.valid + 5.0 * burst.valid.sqrt()
        if bool((energy > limit).any()):
            raise LinkError("a burst declared as a constellation of unit mean energy has more power than that")
        return sent

    def _check_budget(self) -> None:
        if self._budget.uses is None:
            return
        worst = int(torch.stack(list(self._uses.values())).sum(0).max())
        if worst > self._budget.uses:
            raise LinkError(f"the scheme used {worst} channel uses, the budget allows {self._budget.uses}")
