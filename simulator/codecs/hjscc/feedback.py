"""HJSCC-f: the transmitter learns after every turn what the receiver got, and goes on from the receiver's state.

    transmitter                                         receiver
    walk turn 1 from the start state --- burst 1 --->   take turn 1, state 1
    mirror state 1          <--- received symbols ---   feed back
    walk turn 2 from state 1 ---------- burst 2 --->    take turn 2, state 2     ... last turn: picture

A later latent's posterior is what the image still lacks of the *receiver's* canvas, so it also corrects what the channel did
to earlier ones. The transmitter mirrors the receiver by taking in the symbols it is told were received; feedback that is
noisy or quantised on its way makes the mirror dim, not wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jscclink.baselines.concealment import MEAN_COLOUR
from jscclink.errors import InputError
from jscclink.simulator.scheme import (
    Budget,
    Burst,
    ReceiverTurns,
    Reception,
    Reconstruction,
    TransmitCsi,
    TransmitterTurns,
    TurnTakingScheme,
)
from jscclink.simulator.side import LOWEST_BLIND_ESNO_DB
from jscclink.simulator.units import esno_db_from_noise_var, noise_var_from_esno_db

from .air import check_shape, clamp_esno_db, pad, padded_sides, unpad
from .ends import Ends, Precision
from .latent import State
from .rate_control import allot
from .rates import surprise_bits
from .scheme import LMBDA_RANGE
from .side import SideInformation, code_of_lmbda, decode_side, lmbda_from_code, map_shape
from .tiles import Tile
from .weights import Codec, pretrained

# what the head of a turn's side information costs at least
HEAD_RESERVE_BYTES = 4
NO_NOISE_VAR = -1.0
LOUDEST = 10.0  # noise variance from which on a use counts as erased


@dataclass(frozen=True)
class End:
    """What either end knows of one picture between turns: the receiver's state, the last index map, the index of lambda."""

    state: State
    previous: Tensor | None
    lmbda_code: int
    heard: bool = False


@dataclass(frozen=True)
class Plan:
    """One picture at the transmitter: the picture, its features, bits of every latent as first estimated, uses left."""

    image: Tensor
    features: dict[int, Tensor]
    bits: list[Tensor]
    uses_left: int


class HjsccFeedback(TurnTakingScheme):
    """HJSCC with feedback after every turn, on the weights of a preset.

    Parameters
    ----------
    preset : str
        Whose shipped weights to use, or a folder of weights (a path with a slash); they have to be trained for
        feedback after every latent.
    turns : int
        In how many turns the latents are sent; at most one per latent (what the weights are trained for). 1 is no feedback.
    lmbda, esno_db, precision, codec
        As for `Hjscc`.
    """

    def __init__(
        self,
        *,
        preset: str = "hjscc-tiny-feedback",
        turns: int = 4,
        lmbda: float | None = None,
        esno_db: float = 10.0,
        precision: Precision = "bfloat16",
        codec: Codec | None = None,
    ) -> None:
        self._ends = Ends(codec or pretrained(preset), precision)
        latents = len(self._ends.all)
        if not 1 <= turns <= latents:
            raise InputError(f"turns must lie within 1..{latents}, the number of latents of {preset!r}; got {turns}")
        if lmbda is not None and not LMBDA_RANGE[0] <= lmbda <= LMBDA_RANGE[1]:
            raise InputError(f"lmbda must lie within {LMBDA_RANGE[0]:g}..{LMBDA_RANGE[1]:g}; got {lmbda}")
        self._lmbda, self._esno_db = lmbda, esno_db
        parts = np.array_split(np.arange(latents), turns)
        self._turns = [range(int(p[0]), int(p[-1]) + 1) for p in parts]

    def fingerprint(self) -> str:
        """SHA-256 of the weights: ids of operating points change with them."""
        return self._ends.codec.fingerprint

    def air_uses(self, budget: Budget) -> int | None:
        return None if budget.uses is None else len(self._turns) * budget.uses

    @torch.inference_mode()
    def transmitter(self, source: Tensor, budget: Budget, csi: TransmitCsi | None) -> TransmitterTurns:
        self._check(budget)
        plans = [self._plan(picture, budget) for picture in source]
        ends = [self._start(budget) for _ in source]
        for numbers in self._turns:
            symbols, sides = [], []
            for item, (plan, end) in enumerate(zip(plans, ends, strict=True)):
                known = None if csi is None else float(esno_db_from_noise_var(csi.noise_var[item]))
                one, side, used = self._send(numbers, plan, end, budget, known)
                plans[item] = replace(plan, uses_left=plan.uses_left - used)
                symbols.append(one)
                sides.append(side)
            valid = torch.tensor([s.numel() for s in symbols])
            message = yield Burst(torch.nn.utils.rnn.pad_sequence(symbols, batch_first=True), valid, side=tuple(sides))
            if message is None:
                continue
            for item, end in enumerate(ends):
                seen = message[item]
                lost = seen.numel() == 0 or float(seen[:, 2].mean()) < 0.0
                noise_var = seen[:, 2].clamp(1e-6, LOUDEST)
                received = torch.complex(seen[:, 0].contiguous(), seen[:, 1].contiguous())
                ends[item] = self._take(numbers, end, received, noise_var, None if lost else sides[item], budget)

    @torch.inference_mode()
    def receiver(self, budget: Budget) -> ReceiverTurns:
        self._check(budget)
        ends: list[End] = []
        reception = yield None
        for number, numbers in enumerate(self._turns):
            received, noise_var = _audible(*reception.unbiased())
            assert reception.side is not None
            ends = ends or [self._start(budget) for _ in reception.side]
            for item, data in enumerate(reception.side):
                ends[item] = self._take(numbers, ends[item], received[item], noise_var[item], data, budget)
            if number + 1 < len(self._turns):
                reception = yield _feedback(received, noise_var, reception)
        pictures = []
        for item, end in enumerate(ends):
            blank = torch.tensor(MEAN_COLOUR, dtype=torch.uint8)[:, None, None].expand(budget.shape)
            shown = unpad(self._ends.show(end.state, end.lmbda_code, noise_var[item]), budget.shape) if end.heard else blank
            pictures.append(shown)
        return Reconstruction(torch.stack(pictures), torch.tensor([not end.heard for end in ends]))

    def _check(self, budget: Budget) -> None:
        check_shape(budget.shape)
        if budget.uses is None:
            raise InputError("the scheme hjscc_feedback needs a CBR in the study")

    def _lmbda_code(self, budget: Budget) -> int:
        """Lambda where none was received: both ends know it from the budget or the option."""
        assert budget.uses is not None
        lmbda = self._lmbda or self._ends.codec.lmbda_for_cbr(budget.uses / math.prod(budget.shape))
        return code_of_lmbda(min(max(lmbda, LMBDA_RANGE[0]), LMBDA_RANGE[1]))

    def _start(self, budget: Budget) -> End:
        size = padded_sides(budget.shape, self._ends.preset.multiple)
        return End(self._ends.model.initial_state(1, *size), None, self._lmbda_code(budget))

    def _plan(self, picture: Tensor, budget: Budget) -> Plan:
        model = self._ends.model
        lmbda = torch.tensor([lmbda_from_code(self._lmbda_code(budget))])
        image = pad(picture, self._ends.preset.multiple)
        with self._ends.autocast():
            features = model.bottom_up(image, model.clean_conditioning(lmbda))
            sent, _ = model.transmit(image, lmbda)
        assert budget.uses is not None
        return Plan(image, features, [surprise_bits(s.probability, self._ends.preset.fixed_rate) for s in sent], budget.uses)

    def _send(
        self, numbers: range, plan: Plan, end: End, budget: Budget, known_esno_db: float | None
    ) -> tuple[Tensor, bytes, int]:
        """Symbols, side information and channel uses of one picture's turn."""
        ends = self._ends
        lmbda = torch.tensor([lmbda_from_code(end.lmbda_code)])
        side_esno_db = LOWEST_BLIND_ESNO_DB if known_esno_db is None else known_esno_db
        noise_var = torch.tensor([noise_var_from_esno_db(side_esno_db)])

        def side_uses(n_bytes: int) -> int:
            return int(budget.side.uses(torch.tensor([n_bytes]), noise_var))

        esno_db = self._esno_db if known_esno_db is None else known_esno_db
        with ends.autocast():
            cond = ends.model.conditioning(lmbda, torch.tensor([clamp_esno_db(esno_db)]))
            sent, _ = ends.model.walk(plan.image, plan.features, end.state, numbers, lmbda, cond)
        bits = [surprise_bits(s.probability, self._ends.preset.fixed_rate) for s in sent]
        later = range(numbers[-1] + 1, len(ends.all))
        left = range(numbers[0], len(ends.all))
        turns_left = sum(t[0] > numbers[-1] for t in self._turns)
        uses = plan.uses_left - turns_left * side_uses(HEAD_RESERVE_BYTES)
        previous = None if end.previous is None else end.previous[0].numpy()
        preset, model = ends.preset, ends.codec.side
        wanted = bits + [plan.bits[n] for n in later]
        allotment = allot(wanted, preset.levels, left, preset.round_up, model, side_uses, uses, previous)
        if allotment is None:
            return torch.zeros(0, dtype=torch.complex64), b"", 0
        allotment = replace(allotment, indices=allotment.indices[: len(numbers)])
        walks = [(Tile.whole(*plan.image.shape[2:]), sent)]
        symbols, side = ends.send(numbers, walks, bits, allotment, end.lmbda_code, esno_db, end.previous)
        return symbols, side, symbols.numel() + side_uses(len(side))

    def _take(self, numbers: range, end: End, received: Tensor, noise_var: Tensor, data: bytes | None, budget: Budget) -> End:
        """One turn of one picture; one whose side information was lost or damaged counts as one in which nothing was sent."""
        ends = self._ends
        size = padded_sides(budget.shape, ends.preset.multiple)
        previous: Any = None if end.previous is None else end.previous[0].numpy()
        try:
            side = decode_side(data or b"", ends.codec.side, ends.preset.levels, numbers, size, previous)
            payload = ends.unpack(numbers, received, noise_var, side)
        except InputError:
            payload = None
        heard = payload is not None
        if payload is None:
            nothing = tuple(np.zeros(map_shape(size, ends.preset.levels[n]), dtype=np.int64) for n in numbers)
            side = SideInformation(end.lmbda_code, 0, nothing)
            payload = ends.unpack(numbers, received, noise_var, side)
            assert payload is not None
        state = ends.take(numbers, end.state, payload, Tile.whole(*size).seen)
        return End(state, torch.from_numpy(side.maps[-1])[None], side.lmbda_code, heard or end.heard)


def _audible(received: Tensor, noise_var: Tensor) -> tuple[Tensor, Tensor]:
    """Uses below -10 dB as if erased, with a noise variance that can be told.

    Erased uses and deep fades have noise variances up to 1e12: a feedback link of limited power would spend it all on them.
    """
    deaf = noise_var > LOUDEST
    return torch.where(deaf, torch.zeros_like(received), received), noise_var.clamp_max(LOUDEST)


def _feedback(received: Tensor, noise_var: Tensor, reception: Reception) -> Tensor:
    """What the receiver tells: float32 [batch, uses, 3], received symbols and noise variance; -1 where the turn was lost."""
    assert reception.side is not None
    lost = torch.tensor([not data for data in reception.side])
    told = torch.where(lost[:, None], NO_NOISE_VAR, noise_var)
    return torch.stack([received.real, received.imag, told], dim=-1)
