"""What both HJSCC schemes do at their two ends, for one picture: symbols out of latents, and a state out of symbols.

Both work tile by tile (`tiles.py`); a picture in one piece is the case of one tile.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .air import clamp_esno_db, pad_region, pair, told_esno_db, unpair
from .latent import State
from .model import Sent
from .rate_control import Allotment
from .rates import counts_from_indices
from .side import SideInformation, code_of_power, encode_side, lmbda_from_code, power_from_code
from .tiles import Region, SymbolOrder, Tile
from .weights import Codec

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Payload:
    """What a receiver got of some latents.

    Attributes:
        values, noise: the real symbols in the transmitter's power, and their noise variances, float32 [reals].
        orders, indices: per latent, where its symbols stand, and its index map [1, h/group, w/group].
        lmbda, cond, channel_cond: lambda [1], and what it and the noise make of backbone and JSCC coders.
    """

    values: Tensor
    noise: Tensor
    orders: list[SymbolOrder]
    indices: list[Tensor]
    lmbda: Tensor
    cond: Tensor
    channel_cond: Tensor

    @property
    def uses(self) -> int:
        """Channel uses of the symbols."""
        return -(-self.values.numel() // 2)


class Ends:
    """Transmitting and receiving steps with one set of weights. Holds nothing of a picture."""

    def __init__(self, codec: Codec, precision: Precision) -> None:
        self.codec, self.model, self.preset = codec, codec.model, codec.model.preset
        self._precision = precision
        self.all = range(len(self.preset.levels))

    def autocast(self) -> torch.autocast:
        """The arithmetic of the networks."""
        return torch.autocast(self.model.start.device.type, torch.bfloat16, enabled=self._precision == "bfloat16")

    def walk(self, picture: Tensor, region: Region, lmbda_code: int) -> list[Sent]:
        """The transmitter's walk over a region of a picture, uint8 [3, H, W]: its latents."""
        with self.autocast():
            return self.model.transmit(pad_region(picture, region), torch.tensor([lmbda_from_code(lmbda_code)]))[0]

    def send(
        self,
        numbers: range,
        walks: Iterable[tuple[Tile, list[Sent]]],
        bits: list[Tensor],
        allotment: Allotment,
        lmbda_code: int,
        esno_db: float,
        previous: Tensor | None = None,
    ) -> tuple[Tensor, bytes]:
        """Symbols and side information of the latents `numbers`.

        Args:
            numbers: the latents to send; `walks`, `bits` and the allotment's indices are theirs.
            walks: the picture's tiles with the latents of what each sees.
            bits: surprise per position of the whole picture, [1, h, w] each.
            lmbda_code: index of lambda.
            esno_db: the SNR coded for.
            previous: index map [1, h, w] of the latent before the first, where the receiver has it.

        Returns:
            complex64 [uses], not yet scaled; the side information.
        """
        orders = self._orders(numbers, allotment.indices)
        flat = torch.empty(orders[-1].end)
        lmbda = torch.tensor([lmbda_from_code(lmbda_code)])
        with self.autocast():
            cond = self.model.channel_conditioning(lmbda, torch.tensor([clamp_esno_db(esno_db)]))
        for tile, sent in walks:
            for number, latent, bit, indices, order in zip(numbers, sent, bits, allotment.indices, orders, strict=True):
                level = self.preset.levels[number]
                wanted = allotment.eta * tile.seen.cut(bit, level.stride)
                asked = tile.seen.cut(indices, level.stride * level.group)
                with self.autocast():
                    symbols = self.model.encode_symbols(number, latent, wanted, asked, cond)
                mask, places = order.find(tile.core)
                flat[places] = tile.inner(symbols, level.stride)[mask]
        # of a complex use, which the link scales to 1: twice that of a real symbol
        power = 2.0 * float(flat.double().square().mean()) if flat.numel() else 0.0
        maps = tuple(i[0].numpy().astype(np.int64) for i in allotment.indices)
        side = SideInformation(lmbda_code, code_of_power(power), maps)
        before = None if previous is None else previous[0].numpy()
        return pair(flat), encode_side(side, self.codec.side, self.preset.levels, numbers, before)

    def unpack(self, numbers: range, received: Tensor, noise_var: Tensor, side: SideInformation) -> Payload | None:
        """What the receiver got of the latents `numbers`.

        Args:
            received: complex64 [uses or more], equalised, gain 1.
            noise_var: float32, complex noise variance per use.
            side: as decoded.

        Returns:
            None where the side information asks for more symbols than there are.
        """
        indices = [torch.from_numpy(m)[None] for m in side.maps]
        orders = self._orders(numbers, indices)
        reals = orders[-1].end
        uses = -(-reals // 2)
        if uses > received.numel():
            return None
        power = power_from_code(side.power_code)
        values = unpair(received[:uses] * math.sqrt(power), reals)
        noise = unpair(torch.complex(noise_var[:uses], noise_var[:uses]), reals) * (power / 2.0)
        lmbda = torch.tensor([lmbda_from_code(side.lmbda_code)])
        return Payload(values, noise, orders, indices, lmbda, *self._receiver_conditioning(lmbda, noise_var[:uses]))

    def take(self, numbers: range, state: State, payload: Payload, region: Region) -> State:
        """Take the latents `numbers` in: the receiver's state of a region before -> after."""
        for number, order, indices in zip(numbers, payload.orders, payload.indices, strict=True):
            level = self.preset.levels[number]
            mask, places = order.find(region)
            taken, loud = payload.values.new_zeros(mask.shape), payload.noise.new_ones(mask.shape)
            taken[mask], loud[mask] = payload.values[places], payload.noise[places]
            asked = region.cut(indices, level.stride * level.group)
            with self.autocast():
                state = self.model.receive(
                    number, state, taken, loud, mask, asked, payload.lmbda, payload.cond, payload.channel_cond
                )
        return state

    def show(self, state: State, lmbda_code: int, noise_var: Tensor) -> Tensor:
        """The picture of a final state, float32 [1, 3, H', W']."""
        lmbda = torch.tensor([lmbda_from_code(lmbda_code)])
        with self.autocast():
            return self.model.picture(state, self._receiver_conditioning(lmbda, noise_var)[0])

    def _receiver_conditioning(self, lmbda: Tensor, noise_var: Tensor) -> tuple[Tensor, Tensor]:
        """Conditioning of backbone and JSCC coders at a receiver that sees this noise."""
        esno_db = torch.tensor([told_esno_db(noise_var)])
        return self.model.conditioning(lmbda, esno_db), self.model.channel_conditioning(lmbda, esno_db)

    def _orders(self, numbers: range, indices: Iterable[Tensor]) -> list[SymbolOrder]:
        """Where the symbols of every latent stand, one latent after the other."""
        orders: list[SymbolOrder] = []
        for number, index in zip(numbers, indices, strict=True):
            level = self.preset.levels[number]
            first = orders[-1].end if orders else 0
            orders.append(SymbolOrder(counts_from_indices(index, level), level.table[-1], level.stride, first))
        return orders
