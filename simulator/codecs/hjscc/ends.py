"""What both HJSCC schemes do at their two ends, for one picture: symbols out of latents, and a state out of symbols."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .air import clamp_esno_db, pair, told_esno_db, unpair
from .latent import State
from .model import Sent
from .rate_control import Allotment
from .rates import counts_from_indices, prefix_mask
from .side import SideInformation, code_of_power, encode_side, lmbda_from_code, power_from_code
from .weights import Codec

Precision = Literal["float32", "bfloat16"]


class Ends:
    """Transmitting and receiving steps with one set of weights. Holds nothing of a picture."""

    def __init__(self, codec: Codec, precision: Precision) -> None:
        self.codec, self.model, self.preset = codec, codec.model, codec.model.preset
        self._precision = precision
        self.all = range(len(self.preset.levels))

    def autocast(self) -> torch.autocast:
        """The arithmetic of the networks."""
        return torch.autocast(self.model.start.device.type, torch.bfloat16, enabled=self._precision == "bfloat16")

    def send(
        self,
        numbers: range,
        sent: list[Sent],
        bits: list[Tensor],
        allotment: Allotment,
        lmbda_code: int,
        esno_db: float,
        previous: Tensor | None = None,
    ) -> tuple[Tensor, bytes]:
        """Symbols and side information of the latents `numbers`.

        Args:
            numbers: the latents to send; `sent`, `bits` and the allotment's indices are theirs.
            lmbda_code: index of lambda.
            esno_db: the SNR coded for.
            previous: index map [1, h, w] of the latent before the first, where the receiver has it.

        Returns:
            complex64 [uses], not yet scaled; the side information.
        """
        lmbda = torch.tensor([lmbda_from_code(lmbda_code)])
        reals = []
        with self.autocast():
            cond = self.model.channel_conditioning(lmbda, torch.tensor([clamp_esno_db(esno_db)]))
            for number, latent, bit, indices in zip(numbers, sent, bits, allotment.indices, strict=True):
                symbols = self.model.encode_symbols(number, latent, allotment.eta * bit, indices, cond)
                reals.append(symbols[self.mask(number, indices)])
        flat = torch.cat(reals)
        # of a complex use, which the link scales to 1: twice that of a real symbol
        power = 2.0 * float(flat.double().square().mean()) if flat.numel() else 0.0
        maps = tuple(i[0].numpy().astype(np.int64) for i in allotment.indices)
        side = SideInformation(lmbda_code, code_of_power(power), maps)
        before = None if previous is None else previous[0].numpy()
        return pair(flat), encode_side(side, self.codec.side, self.preset.levels, numbers, before)

    def take(self, numbers: range, state: State, received: Tensor, noise_var: Tensor, side: SideInformation) -> State | None:
        """Take the latents `numbers` in: the receiver's state before -> after.

        Args:
            received: complex64 [uses or more], equalised, gain 1.
            noise_var: float32, complex noise variance per use.
            side: as decoded.

        Returns:
            the state; None where the side information asks for more symbols than there are.
        """
        indices = [torch.from_numpy(m)[None] for m in side.maps]
        masks = [self.mask(number, index) for number, index in zip(numbers, indices, strict=True)]
        reals = sum(int(m.sum()) for m in masks)
        uses = -(-reals // 2)
        if uses > received.numel():
            return None
        power = power_from_code(side.power_code)
        values = unpair(received[:uses] * math.sqrt(power), reals)
        noise = unpair(torch.complex(noise_var[:uses], noise_var[:uses]), reals) * (power / 2.0)
        lmbda = torch.tensor([lmbda_from_code(side.lmbda_code)])
        cond, channel_cond = self.receiver_conditioning(lmbda, noise_var[:uses])
        start = 0
        with self.autocast():
            for number, mask, index in zip(numbers, masks, indices, strict=True):
                count = int(mask.sum())
                taken, loud = values.new_zeros(mask.shape), noise.new_ones(mask.shape)
                taken[mask], loud[mask] = values[start : start + count], noise[start : start + count]
                start += count
                state = self.model.receive(number, state, taken, loud, mask, index, lmbda, cond, channel_cond)
        return state

    def show(self, state: State, lmbda_code: int, noise_var: Tensor) -> Tensor:
        """The picture of a final state, float32 [1, 3, H', W']."""
        lmbda = torch.tensor([lmbda_from_code(lmbda_code)])
        with self.autocast():
            return self.model.picture(state, self.receiver_conditioning(lmbda, noise_var)[0])

    def receiver_conditioning(self, lmbda: Tensor, noise_var: Tensor) -> tuple[Tensor, Tensor]:
        """Conditioning of backbone and JSCC coders at a receiver that sees this noise."""
        esno_db = torch.tensor([told_esno_db(noise_var)])
        return self.model.conditioning(lmbda, esno_db), self.model.channel_conditioning(lmbda, esno_db)

    def mask(self, number: int, indices: Tensor) -> Tensor:
        """Which symbols of a latent are sent: indices [1, h/group, w/group] -> bool [1, largest, h, w]."""
        level = self.preset.levels[number]
        return prefix_mask(counts_from_indices(indices, level), level.table[-1])
