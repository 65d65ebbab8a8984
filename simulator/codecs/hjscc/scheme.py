"""HJSCC as a scheme: pictures to symbols and back over the link, with rate control, side information and power.

picture -> pad -> transmit walk -> rate control -> JSCC encoders -> first `count` symbols per position -> pairs -> Burst
Reception -> side information -> counts -> positions -> receive walk -> picture
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from jscclink.baselines.concealment import MEAN_COLOUR
from jscclink.errors import InputError
from jscclink.simulator.scheme import Budget, Burst, OneShotScheme, Reception, Reconstruction, TransmitCsi
from jscclink.simulator.units import esno_db_from_noise_var, noise_var_from_esno_db

from .air import check_shape, pad, padded_sides, unpad
from .average import Average, symbols_per_bit
from .ends import Ends, Precision
from .model import Sent
from .rate_control import Allotment, allot
from .rates import counts_from_indices, spread, surprise_bits
from .side import code_of_lmbda, decode_side, lmbda_from_code
from .weights import Codec, pretrained

# a transmitter that does not know its channel keeps room for side information down to this SNR
LOWEST_SIDE_ESNO_DB = -3.0
LMBDA_RANGE = (4.0, 4096.0)


@dataclass(frozen=True)
class Coded:
    """One picture at the transmitter before its symbols go out: latents, their surprise in bits, index of lambda."""

    sent: list[Sent]
    bits: list[Tensor]
    lmbda_code: int

    @property
    def total_bits(self) -> float:
        """Surprise of the whole picture in bits."""
        return sum(float(b.double().sum()) for b in self.bits)


class Hjscc(OneShotScheme):
    """Hierarchical joint source-channel coding with one checkpoint for all rates and SNRs.

    Parameters
    ----------
    preset : str
        Whose shipped weights to use, or a folder of weights that `jscclink train` wrote (a path with a slash).
    symbols_per_bit : float or None
        None: every picture fills the budget. A number (real symbols per bit of surprise): picture by picture as many uses as
        its content asks for, side information included, within the budget if there is one.
    cbr_target, average_over : float and mapping, or None
        The number that gives the pictures `average_over` (written as a study's `images`) this CBR on average; the study's
        `cbr`, if there is one, is the cap of a single picture. They are analysed once per worker.
    lmbda : float or None
        Rate-distortion weight; None: what suits the budget's CBR (the weights' card says).
    esno_db : float
        The SNR that a transmitter without CSI codes for.
    precision : "float32" or "bfloat16"
        Arithmetic of the networks.
    codec : Codec, optional
        A model in hand instead of the shipped one.
    """

    def __init__(
        self,
        *,
        preset: str = "hjscc-tiny",
        symbols_per_bit: float | None = None,
        cbr_target: float | None = None,
        average_over: dict[str, Any] | None = None,
        lmbda: float | None = None,
        esno_db: float = 10.0,
        precision: Precision = "bfloat16",
        codec: Codec | None = None,
    ) -> None:
        if symbols_per_bit is not None and symbols_per_bit <= 0:
            raise InputError(f"symbols_per_bit must be above 0; got {symbols_per_bit}")
        if (cbr_target is None) != (average_over is None) or None not in (cbr_target, symbols_per_bit):
            raise InputError(
                "cbr_target and average_over go together, and not with symbols_per_bit; got "
                f"cbr_target={cbr_target}, average_over={average_over}, symbols_per_bit={symbols_per_bit}"
            )
        if lmbda is not None and not LMBDA_RANGE[0] <= lmbda <= LMBDA_RANGE[1]:
            raise InputError(f"lmbda must lie within {LMBDA_RANGE[0]:g}..{LMBDA_RANGE[1]:g}; got {lmbda}")
        self._ends = Ends(codec or pretrained(preset), precision)
        self._symbols_per_bit, self._lmbda, self._esno_db = symbols_per_bit, lmbda, esno_db
        self._average = None if cbr_target is None or average_over is None else Average(cbr_target, average_over)
        self.sets_own_rate = self._average is not None or (symbols_per_bit is not None and lmbda is not None)
        self._bits_per_value: dict[float, list[float]] = {}  # of the pictures averaged over, by lambda

    def fingerprint(self) -> str:
        """SHA-256 of the weights, and of the pictures averaged over: ids of operating points change with them."""
        weights = self._ends.codec.fingerprint
        return weights if self._average is None else self._average.fingerprint(weights)

    @torch.inference_mode()
    def encode(self, source: Tensor, budget: Budget, csi: TransmitCsi | None) -> Burst:
        """uint8 [batch, 3, H, W] -> Burst, each picture on its own."""
        check_shape(budget.shape)
        symbols, sides = [], []
        for item, picture in enumerate(source):
            esno_db, side_esno_db = self._esno_db, LOWEST_SIDE_ESNO_DB
            if csi is not None:
                esno_db = side_esno_db = float(esno_db_from_noise_var(csi.noise_var[item]))
            coded = self.analyse(picture, self._lmbda_of(budget))
            allotment = self.allot(coded, budget, side_esno_db)
            one, side = torch.zeros(0, dtype=torch.complex64), b""
            if allotment is not None:
                one, side = self._ends.send(self._ends.all, coded.sent, coded.bits, allotment, coded.lmbda_code, esno_db)
            symbols.append(one)
            sides.append(side)
        valid = torch.tensor([s.numel() for s in symbols])
        return Burst(torch.nn.utils.rnn.pad_sequence(symbols, batch_first=True), valid, side=tuple(sides))

    @torch.inference_mode()
    def decode(self, reception: Reception, budget: Budget) -> Reconstruction:
        """Reception -> uint8 [batch, 3, H, W]; a picture whose side information was lost is the training set's mean colour."""
        check_shape(budget.shape)
        received, noise_var = reception.unbiased()
        assert reception.side is not None
        pictures = [
            None if not data else self._decode(received[item], noise_var[item], data, budget.shape)
            for item, data in enumerate(reception.side)
        ]
        blank = torch.tensor(MEAN_COLOUR, dtype=torch.uint8)[:, None, None].expand(budget.shape)
        return Reconstruction(
            torch.stack([blank if p is None else p for p in pictures]), torch.tensor([p is None for p in pictures])
        )

    @torch.inference_mode()
    def analyse(self, picture: Tensor, lmbda: float) -> Coded:
        """The transmitter's walk over one picture: uint8 [3, H, W] -> latents and their surprise."""
        code = code_of_lmbda(lmbda)
        ends = self._ends
        with ends.autocast():
            sent, _ = ends.model.transmit(pad(picture, ends.preset.multiple), torch.tensor([lmbda_from_code(code)]))
        return Coded(sent, [surprise_bits(s.probability, ends.preset.fixed_rate) for s in sent], code)

    def allot(self, coded: Coded, budget: Budget, side_esno_db: float) -> Allotment | None:
        """Counts that fill a picture's uses; None where not even the side information fits. See `rate_control.allot`."""
        noise_var = torch.tensor([noise_var_from_esno_db(side_esno_db)])

        def side_uses(n_bytes: int) -> int:
            return int(budget.side.uses(torch.tensor([n_bytes]), noise_var))

        caps = [] if budget.uses is None else [budget.uses]
        per_bit = self._symbols_per_bit_of(budget)
        if per_bit is not None:
            caps.append(math.floor(per_bit * coded.total_bits / 2.0))
        if not caps:
            raise InputError(
                "the scheme hjscc needs a CBR in the study, or its options cbr_target and average_over, or symbols_per_bit"
            )
        preset, ends = self._ends.preset, self._ends
        return allot(coded.bits, preset.levels, ends.all, preset.round_up, ends.codec.side, side_uses, min(caps))

    @torch.inference_mode()
    def rate_map(self, picture: Tensor, budget: Budget) -> Tensor | None:
        """Where a picture's symbols go, for a transmitter without CSI.

        Args:
            picture: uint8 [3, H, W].
            budget: as for `encode`.

        Returns:
            float32 [h, w]: channel uses per position of the finest latents, all levels together (the payload's uses add up to
            their number, rounded up); None where nothing fits.
        """
        allotment = self.allot(self.analyse(picture, self._lmbda_of(budget)), budget, LOWEST_SIDE_ESNO_DB)
        if allotment is None:
            return None
        levels = self._ends.preset.levels
        factors = [level.stride // min(other.stride for other in levels) for level in levels]
        uses = [
            spread(counts_from_indices(indices, level) / (2.0 * factor**2), factor)[0]
            for indices, level, factor in zip(allotment.indices, levels, factors, strict=True)
        ]
        return torch.stack(uses).sum(0)

    def _decode(self, received: Tensor, noise_var: Tensor, data: bytes, shape: tuple[int, ...]) -> Tensor | None:
        ends = self._ends
        size = padded_sides(shape, ends.preset.multiple)
        try:
            side = decode_side(data, ends.codec.side, ends.preset.levels, ends.all, size)
        except InputError:
            return None
        state = ends.take(ends.all, ends.model.initial_state(1, *size), received, noise_var, side)
        return None if state is None else unpad(ends.show(state, side.lmbda_code, noise_var), shape)

    def _symbols_per_bit_of(self, budget: Budget) -> float | None:
        if self._average is None:
            return self._symbols_per_bit
        lmbda = self._lmbda_of(budget)
        if lmbda not in self._bits_per_value:
            self._bits_per_value[lmbda] = self._average.bits_per_value(lambda p: self.analyse(p, lmbda).total_bits)
        cap = None if budget.uses is None else budget.uses / math.prod(budget.shape)
        return symbols_per_bit(self._bits_per_value[lmbda], self._average.cbr_target, cap)

    def _lmbda_of(self, budget: Budget) -> float:
        if self._lmbda is not None:
            return self._lmbda
        if self._average is not None:
            cbr = self._average.cbr_target
        elif budget.uses is not None:
            cbr = budget.uses / math.prod(budget.shape)
        else:
            raise InputError("without a CBR in the study the scheme hjscc needs its option lmbda, beside symbols_per_bit")
        return min(max(self._ends.codec.lmbda_for_cbr(cbr), LMBDA_RANGE[0]), LMBDA_RANGE[1])
