"""HJSCC as a scheme: pictures to symbols and back over the link, with rate control, side information and power.

    picture -> pad -> transmit walk -> rate control -> JSCC encoders -> first `count` symbols per position -> pairs -> Burst
    Reception -> side information -> counts -> positions -> receive walk -> picture
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from jscclink.baselines.concealment import MEAN_COLOUR
from jscclink.errors import InputError
from jscclink.simulator.scheme import Budget, Burst, OneShotScheme, Reception, Reconstruction, TransmitCsi
from jscclink.simulator.units import esno_db_from_noise_var

from .air import check_shape, clamp_esno_db, pad, padded_sides, pair, told_esno_db, unpad, unpair
from .model import Sent
from .rate_control import Allotment, allot
from .rates import counts_from_indices, prefix_mask, surprise_bits
from .side import (
    SideInformation,
    code_of_lmbda,
    code_of_power,
    decode_side,
    encode_side,
    lmbda_from_code,
    power_from_code,
)
from .weights import Codec, pretrained

LOWEST_SIDE_ESNO_DB = -3.0


@dataclass
class Coded:
    """One picture at the transmitter, before its symbols go out."""

    sent: list[Sent]
    bits: list[Tensor]
    lmbda_code: int


class Hjscc(OneShotScheme):
    """Hierarchical joint source-channel coding with one checkpoint for all rates and SNRs.

    Parameters
    ----------
    preset : str
        Whose shipped weights to use.
    symbols_per_bit : float or None
        None: every picture fills the budget. A number (real symbols per bit of surprise, eta): picture by picture as many
        uses as its content asks for, side information included, within the budget if there is one; see
        `eta_for_average_cbr`.
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
        lmbda: float | None = None,
        esno_db: float = 10.0,
        precision: Literal["float32", "bfloat16"] = "bfloat16",
        codec: Codec | None = None,
    ) -> None:
        if symbols_per_bit is not None and symbols_per_bit <= 0:
            raise InputError(f"symbols_per_bit must be above 0; got {symbols_per_bit}")
        if lmbda is not None and not 4 <= lmbda <= 4096:
            raise InputError(f"lmbda must lie within 4..4096; got {lmbda}")
        self._codec = codec or pretrained(preset)
        self._model = self._codec.model
        self._preset = self._model.preset
        self._symbols_per_bit, self._lmbda, self._esno_db = symbols_per_bit, lmbda, esno_db
        self._precision = precision

    @torch.inference_mode()
    def encode(self, source: Tensor, budget: Budget, csi: TransmitCsi | None) -> Burst:
        """uint8 [batch, 3, H, W] -> Burst, each picture on its own."""
        check_shape(budget.shape)
        known = None if csi is None else esno_db_from_noise_var(csi.noise_var.float())
        symbols, sides = [], []
        for item, picture in enumerate(source):
            esno_db = self._esno_db if known is None else float(known[item])
            # without CSI the side information must fit at the worst SNR it is meant for
            side_esno_db = LOWEST_SIDE_ESNO_DB if known is None else esno_db
            one, side = self._encode_one(picture, budget, esno_db, side_esno_db)
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
        pictures, failed = [], []
        for item, data in enumerate(reception.side):
            picture = None if not data else self._decode_one(received[item], noise_var[item], data, budget.shape)
            failed.append(picture is None)
            blank = torch.tensor(MEAN_COLOUR, dtype=torch.uint8)[:, None, None].expand(budget.shape)
            pictures.append(blank if picture is None else picture)
        return Reconstruction(torch.stack(pictures), torch.tensor(failed))

    def analyse(self, picture: Tensor, lmbda: float) -> Coded:
        """The transmitter's walk over one picture: uint8 [3, H, W] -> latents and their surprise."""
        code = code_of_lmbda(lmbda)
        value = torch.tensor([lmbda_from_code(code)])
        with self._autocast():
            sent, _ = self._model.transmit(pad(picture, self._preset.multiple), value)
        return Coded(sent, [surprise_bits(s.probability) for s in sent], code)

    def _encode_one(self, picture: Tensor, budget: Budget, esno_db: float, side_esno_db: float) -> tuple[Tensor, bytes]:
        coded = self.analyse(picture, self._lmbda_of(budget))
        allotment = self._allot(coded, budget, side_esno_db)
        if allotment is None:
            return torch.zeros(0, dtype=torch.complex64), b""
        lmbda = torch.tensor([lmbda_from_code(coded.lmbda_code)])
        with self._autocast():
            cond = self._model.channel_conditioning(lmbda, torch.tensor([clamp_esno_db(esno_db)]))
            reals = []
            for number, (latent, bits, indices) in enumerate(zip(coded.sent, coded.bits, allotment.indices, strict=True)):
                symbols = self._model.encode_symbols(number, latent, allotment.eta * bits, indices, cond)
                level = self._preset.levels[number]
                mask = prefix_mask(counts_from_indices(indices, level), level.table[-1])
                reals.append(symbols[mask])
        flat = torch.cat(reals)
        power = 2.0 * float(flat.double().square().mean()) if flat.numel() else 0.0
        maps = tuple(i[0].numpy().astype(np.int64) for i in allotment.indices)
        side = encode_side(
            SideInformation(coded.lmbda_code, code_of_power(power), maps), self._codec.side, self._preset.levels
        )
        return pair(flat), side

    def _decode_one(self, received: Tensor, noise_var: Tensor, data: bytes, shape: tuple[int, ...]) -> Tensor | None:
        height, width = padded_sides(shape, self._preset.multiple)
        side = decode_side(data, self._codec.side, self._preset.levels, height, width)
        indices = [torch.from_numpy(m)[None] for m in side.maps]
        masks = [
            prefix_mask(counts_from_indices(i, level), level.table[-1])
            for i, level in zip(indices, self._preset.levels, strict=True)
        ]
        reals = sum(int(m.sum()) for m in masks)
        uses = -(-reals // 2)
        if uses > received.numel():
            return None
        power = power_from_code(side.power_code)
        values = unpair(received[:uses] * math.sqrt(power), reals)
        # noise per real dimension, in the encoder's units
        noise = unpair(torch.complex(noise_var[:uses], noise_var[:uses]), reals) * (power / 2.0)
        lmbda = torch.tensor([lmbda_from_code(side.lmbda_code)])
        esno_db = torch.tensor([told_esno_db(noise_var[:uses])])
        with self._autocast():
            cond = self._model.conditioning(lmbda, esno_db)
            channel_cond = self._model.channel_conditioning(lmbda, esno_db)
            state = self._model.initial_state(1, height, width)
            start = 0
            for number, (mask, index) in enumerate(zip(masks, indices, strict=True)):
                count = int(mask.sum())
                taken, loud = values.new_zeros(mask.shape), noise.new_ones(mask.shape)
                taken[mask], loud[mask] = values[start : start + count], noise[start : start + count]
                start += count
                state = self._model.receive(number, state, taken, loud, mask, index, lmbda, cond, channel_cond)
            picture = self._model.picture(state, cond)
        return unpad(picture, shape)

    def _allot(self, coded: Coded, budget: Budget, side_esno_db: float) -> Allotment | None:
        noise_var = torch.tensor([10.0 ** (-side_esno_db / 10.0)])

        def side_uses(n_bytes: int) -> int:
            return int(budget.side.uses(torch.tensor([n_bytes]), noise_var))

        caps = [] if budget.uses is None else [budget.uses]
        if self._symbols_per_bit is not None:
            caps.append(math.floor(self._symbols_per_bit * sum(float(b.double().sum()) for b in coded.bits) / 2.0))
        if not caps:
            raise InputError("without a CBR the scheme hjscc needs symbols_per_bit: set one of them")
        preset = self._preset
        return allot(coded.bits, preset.levels, preset.round_up, self._codec.side, side_uses, min(caps))

    def _lmbda_of(self, budget: Budget) -> float:
        if self._lmbda is not None:
            return self._lmbda
        if budget.uses is None:
            raise InputError("without a CBR the scheme hjscc needs lmbda: set it beside symbols_per_bit")
        return self._codec.lmbda_for_cbr(budget.uses / math.prod(budget.shape))

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self._precision == "bfloat16")
