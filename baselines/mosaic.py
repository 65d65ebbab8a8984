"""The literature's way with small pictures: many tiled into one file, sent as one. Named for what it is, not a system."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from jscclink.errors import InputError
from jscclink.simulator.scheme import Budget, Burst, Reception, Reconstruction, TransmitCsi

from .digital import Digital


class Mosaic(Digital):
    """The scheme `digital` on a mosaic of the whole batch: one header for all, one loss loses all.

        pictures of the batch -> tiled into one picture -> digital -> its channel uses, shared out evenly
        pictures of the batch <- cut apart <- digital <- the uses of all

    Many papers quote BPG + LDPC on CIFAR-10 this way. It hides the headers that a 32x32 picture would pay, lets a codec's
    prediction cross from picture to picture, and is no way to send one picture; coding each picture is the row to compare with.

    Options as for `digital`. The number of pictures per mosaic is the study's batch.
    """

    def encode(self, source: Tensor, budget: Budget, csi: TransmitCsi | None) -> Burst:
        batch, channels, height, width = source.shape
        rows, columns = _grid(batch)
        # empty tiles repeat the last picture: they cost next to nothing
        tiles = torch.cat([source, source[-1:].expand(rows * columns - batch, -1, -1, -1)])
        picture = tiles.reshape(rows, columns, channels, height, width).permute(2, 0, 3, 1, 4)
        picture = picture.reshape(1, channels, rows * height, columns * width)
        burst = super().encode(picture, _whole(budget, batch), None)
        share = -(-int(burst.valid[0]) // batch)
        sent = burst.symbols[0, : int(burst.valid[0])]
        symbols = torch.nn.functional.pad(sent, (0, share * batch - sent.shape[0])).reshape(batch, share)
        # the last pictures' uses may be short of their share; bits are shared out alike, the remainder to the first
        index = torch.arange(batch, device=source.device)
        valid = (int(burst.valid[0]) - index * share).clamp(0, share)
        bits = {purpose: _shared(int(count[0]), batch) for purpose, count in burst.bits.items()}
        return Burst(symbols, valid, bits=bits, power="constellation")

    def decode(self, reception: Reception, budget: Budget) -> Reconstruction:
        batch = reception.symbols.shape[0]
        rows, columns = _grid(batch)
        whole = _whole(budget, batch)
        layout = self.layout(whole)
        share = -(-(layout.uses if layout else 0) // batch)

        def joined(tensor: Tensor) -> Tensor:
            return tensor[:, :share].reshape(1, -1)

        seen = super().decode(Reception(joined(reception.symbols), joined(reception.gain), joined(reception.noise_var)), whole)
        channels, height, width = budget.shape
        tiles = seen.data.reshape(channels, rows, height, columns, width).permute(1, 3, 0, 2, 4)
        return Reconstruction(
            tiles.reshape(-1, channels, height, width)[:batch].contiguous(), seen.failed.expand(batch).clone()
        )


def _grid(batch: int) -> tuple[int, int]:
    """Rows and columns of the mosaic, as square as it gets."""
    columns = math.isqrt(batch - 1) + 1
    return -(-batch // columns), columns


def _whole(budget: Budget, batch: int) -> Budget:
    """The batch's budget for the mosaic's size."""
    if budget.uses is None:
        raise InputError("the scheme 'mosaic' fills a budget: give the study a `cbr`")
    rows, columns = _grid(batch)
    channels, height, width = budget.shape
    return replace(budget, shape=(channels, rows * height, columns * width), uses=budget.uses * batch)


def _shared(count: int, batch: int) -> Tensor:
    """int64 [batch] that adds up to the count."""
    share = torch.full((batch,), count // batch, dtype=torch.int64)
    share[: count % batch] += 1
    return share
