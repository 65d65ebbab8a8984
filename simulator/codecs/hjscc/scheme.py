"""HJSCC as a scheme: pictures to symbols and back over the link, with rate control, side information and power.

picture -> pad -> transmit walk -> rate control -> JSCC encoders -> first `count` symbols per position -> pairs -> Burst
Reception -> side information -> counts -> positions -> receive walk -> picture

The walks and the JSCC coders go tile by tile (`tiles.py`). Rate control needs the surprise of the whole picture first, so a
picture of several tiles is walked twice; what is kept meanwhile is one number per position of the latents.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from jscclink.baselines.concealment import MEAN_COLOUR
from jscclink.errors import InputError
from jscclink.simulator.scheme import Budget, Burst, OneShotScheme, Reception, Reconstruction, TransmitCsi
from jscclink.simulator.side import LOWEST_BLIND_ESNO_DB
from jscclink.simulator.units import esno_db_from_noise_var, noise_var_from_esno_db

from .air import check_shape, padded_sides, unpad
from .average import Average, symbols_per_bit
from .ends import Ends, Precision
from .memo import Memo, digest
from .model import Sent
from .rate_control import Allotment, allot
from .rates import counts_from_indices, levelled, spread, surprise_bits
from .side import code_of_lmbda, decode_side
from .tiles import TILE_PIXELS, Tile, least_pixels, tiles
from .weights import Codec, pretrained

LMBDA_RANGE = (4.0, 4096.0)


@dataclass(frozen=True)
class Coded:
    """One picture at the transmitter before its symbols go out.

    Attributes:
        picture: uint8 [3, H, W].
        bits: surprise per position in bits, float32 [1, h, w] per latent.
        lmbda_code: index of lambda.
        sent: the latents of a picture in one piece; None where there are several tiles.
    """

    picture: Tensor
    bits: list[Tensor]
    lmbda_code: int
    sent: list[Sent] | None

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
    tile_pixels : int
        Pictures of more pixels than this are processed in tiles with at most so many each, surroundings included; bounds the
        memory at either end. Not on the air: the ends may differ in it.
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
        tile_pixels: int = TILE_PIXELS,
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
        least = least_pixels(self._ends.preset)
        if tile_pixels < least:
            raise InputError(
                f"tile_pixels must be at least {least}, what the smallest tile of {preset!r} and its surroundings have; "
                f"got {tile_pixels}"
            )
        self._tile_pixels, self._memo = tile_pixels, Memo()
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
            esno_db, side_esno_db = self._esno_db, LOWEST_BLIND_ESNO_DB
            if csi is not None:
                esno_db = side_esno_db = float(esno_db_from_noise_var(csi.noise_var[item]))
            key = (digest(picture), picture.shape, budget.uses, budget.side, esno_db, side_esno_db)
            known = self._memo.get(key)
            if known is None:
                known = self._encode(picture, budget, esno_db, side_esno_db)
                self._memo.put(key, known)
            one, side = known
            symbols.append(one)
            sides.append(side)
        valid = torch.tensor([s.numel() for s in symbols])
        return Burst(torch.nn.utils.rnn.pad_sequence(symbols, batch_first=True), valid, side=tuple(sides))

    def forget(self) -> None:
        """Make the transmitter forget what it sent: the next `encode` works it out anew, to the same bits (for timing)."""
        self._memo.clear()

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
        """The transmitter's walk over one picture: uint8 [3, H, W] -> the surprise of its latents."""
        code, preset = code_of_lmbda(lmbda), self._ends.preset
        height, width = padded_sides(tuple(picture.shape), preset.multiple)
        bits = [torch.empty(1, height // level.stride, width // level.stride) for level in preset.levels]
        cut, sent = self._tiles(height, width), []
        for tile in cut:
            sent = self._ends.walk(picture, tile.seen, code)
            for whole, latent, level in zip(bits, sent, preset.levels, strict=True):
                tile.core.cut(whole, level.stride).copy_(tile.inner(surprise_bits(latent.probability), level.stride))
        if preset.fixed_rate:
            bits = [levelled(b) for b in bits]
        return Coded(picture, bits, code, sent if len(cut) == 1 else None)

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
        allotment = self.allot(self.analyse(picture, self._lmbda_of(budget)), budget, LOWEST_BLIND_ESNO_DB)
        if allotment is None:
            return None
        levels = self._ends.preset.levels
        factors = [level.stride // min(other.stride for other in levels) for level in levels]
        uses = [
            spread(counts_from_indices(indices, level) / (2.0 * factor**2), factor)[0]
            for indices, level, factor in zip(allotment.indices, levels, factors, strict=True)
        ]
        return torch.stack(uses).sum(0)

    def _encode(self, picture: Tensor, budget: Budget, esno_db: float, side_esno_db: float) -> tuple[Tensor, bytes]:
        """One picture's symbols and side information; none where not even an empty payload fits."""
        coded = self.analyse(picture, self._lmbda_of(budget))
        allotment = self.allot(coded, budget, side_esno_db)
        if allotment is None:
            return torch.zeros(0, dtype=torch.complex64), b""
        return self._ends.send(self._ends.all, self._walks(coded), coded.bits, allotment, coded.lmbda_code, esno_db)

    def _tiles(self, height: int, width: int) -> list[Tile]:
        return tiles(height, width, self._ends.preset, self._tile_pixels)

    def _walks(self, coded: Coded) -> Iterator[tuple[Tile, list[Sent]]]:
        """A picture's tiles and their latents, which are worked out again where there are several."""
        for tile in self._tiles(*padded_sides(tuple(coded.picture.shape), self._ends.preset.multiple)):
            yield tile, coded.sent or self._ends.walk(coded.picture, tile.seen, coded.lmbda_code)

    def _decode(self, received: Tensor, noise_var: Tensor, data: bytes, shape: tuple[int, ...]) -> Tensor | None:
        ends = self._ends
        size = padded_sides(shape, ends.preset.multiple)
        try:
            side = decode_side(data, ends.codec.side, ends.preset.levels, ends.all, size)
        except InputError:
            return None
        payload = ends.unpack(ends.all, received, noise_var, side)
        if payload is None:
            return None
        picture = torch.empty(shape, dtype=torch.uint8)
        for tile in self._tiles(*size):
            state = ends.take(ends.all, ends.model.initial_state(1, tile.seen.height, tile.seen.width), payload, tile.seen)
            shown = tile.inner(ends.show(state, side.lmbda_code, noise_var[: payload.uses]), 1)
            inside = tile.core.cut(picture, 1)
            inside.copy_(unpad(shown, tuple(inside.shape)))
        return picture

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
