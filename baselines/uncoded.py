"""Uncoded analogue transmission of pixels: the least that a joint scheme has to beat."""

from __future__ import annotations

import math
import struct

import torch
from torch import Tensor

from jscclink.errors import InputError
from jscclink.simulator.scheme import Budget, Burst, OneShotScheme, Reception, Reconstruction, TransmitCsi

from .concealment import MEAN_COLOUR, concealed

# room is kept for side information down to -10 dB; at capacity that takes 117 uses
LOWEST_NOISE_VAR = 10.0
LEAST_RESERVE = 128
_SPREAD = struct.Struct(">e")  # standard deviation of the picture as a half-precision number


class Uncoded(OneShotScheme):
    """Pixels sent as amplitudes: two values per channel use, the picture shrunk until it fits.

        picture -> area average to the size that fits -> minus mean colour -> pairs to complex symbols
        picture <- bilinear enlargement <- plus mean colour <- linear MMSE estimate <- symbols

    Side information: the standard deviation of what is sent (2 bytes), so that the receiver can undo the power scaling.
    """

    def encode(self, source: Tensor, budget: Budget, csi: TransmitCsi | None) -> Burst:
        size = self._size(budget)
        if size is None:
            nothing = torch.zeros(source.shape[0], 0, dtype=torch.complex64, device=source.device)
            return Burst(nothing, torch.zeros(source.shape[0], dtype=torch.int64, device=source.device))
        small = torch.nn.functional.interpolate(source.float(), size=size, mode="area")
        values = (small - self._mean(small)).flatten(1)
        spread = [_SPREAD.pack(min(float(s), 60000.0)) for s in values.square().mean(1).sqrt()]
        padded = torch.nn.functional.pad(values, (0, values.shape[1] % 2))
        symbols = torch.view_as_complex(padded.reshape(source.shape[0], -1, 2).contiguous())
        valid = torch.full((source.shape[0],), symbols.shape[1], dtype=torch.int64, device=source.device)
        return Burst(symbols, valid, side=tuple(spread))

    def decode(self, reception: Reception, budget: Budget) -> Reconstruction:
        size = self._size(budget)
        batch = reception.symbols.shape[0]
        if size is None or reception.side is None:
            blank = concealed("mean_colour", budget.shape).repeat(batch, 1, 1, 1).to(reception.symbols.device)
            return Reconstruction(blank, torch.ones(batch, dtype=torch.bool, device=blank.device))
        height, width = size
        lost = torch.tensor([side is None for side in reception.side])
        spread = torch.tensor([_SPREAD.unpack(side)[0] if side else 0.0 for side in reception.side])
        count = 3 * height * width
        uses = -(-count // 2)
        symbols, noise_var = reception.unbiased()
        # of two real values per unit-power use each has power 1/2 and noise N0/2: the linear MMSE weight is 1/(1 + N0)
        estimate = symbols[:, :uses] / (1.0 + noise_var[:, :uses])
        values = torch.view_as_real(estimate).flatten(1)[:, :count] * spread.to(symbols.device)[:, None] * math.sqrt(2.0)
        small = values.reshape(-1, 3, height, width) + self._mean(values)
        full = torch.nn.functional.interpolate(small, size=budget.shape[1:], mode="bilinear", align_corners=False)
        return Reconstruction(full.round().clamp(0, 255).to(torch.uint8), lost.to(symbols.device))

    @staticmethod
    def _mean(like: Tensor) -> Tensor:
        return torch.tensor(MEAN_COLOUR, dtype=torch.float32, device=like.device)[None, :, None, None]

    @staticmethod
    def _size(budget: Budget) -> tuple[int, int] | None:
        """(height, width) of the largest shrunk picture whose pixel pairs fit beside the side information, or None."""
        if budget.uses is None:
            raise InputError("the scheme 'uncoded' fills a budget: give the study a `cbr`")
        height, width = budget.shape[1:]
        reserved = int(budget.side.uses(torch.tensor([_SPREAD.size]), torch.tensor([LOWEST_NOISE_VAR]))[0])
        values = 2 * max(budget.uses - max(reserved, LEAST_RESERVE), 0)
        scale = min(1.0, math.sqrt(values / (3 * height * width)))
        size = (int(height * scale), int(width * scale))
        return size if min(size) > 0 else None
