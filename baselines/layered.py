"""Graceful separation: a progressive file in layers, each at a modulation and code rate of its own."""

from __future__ import annotations

from itertools import accumulate, takewhile
from typing import Literal

import torch
from torch import Tensor

from jscclink.errors import InputError
from jscclink.simulator.scheme import Budget, Burst, OneShotScheme, Reception, Reconstruction, TransmitCsi

from .concealment import Concealment, concealed
from .digital import silence
from .layout import Layout
from .source.codec import DecodeFailure
from .source.jpeg2000 import Jpeg2000
from .source.tensors import pixels
from .transport import Transport, bits_ledger

_LENGTH_BYTES = 3


class Layered(OneShotScheme):
    """JPEG 2000 in quality layers with unequal protection: time sharing between modulation and coding schemes.

        picture -> layer 1 | layer 2 | ...   each over its own share of the channel uses, at its own MCS
        picture <- the layers up to the first that failed ("last good layer"); concealment if that is the first

    The layers' lengths (3 bytes each) go ahead of the first. With two MCS the picture degrades in two steps, not in one cliff.

    Parameters
    ----------
    mcs
        MCS of each layer, most robust first, e.g. [qpsk 1/2, 16qam 1/2].
    shares
        Share of the channel uses of each layer; they add up to 1.
    block_length
        Most coded bits per code block.
    lost_layer
        `last_good_layer`: the picture of the layers before the first that is lost. `conceal`: all or nothing.
    concealment
        What is shown when even the first layer is lost, or any with `conceal`.
    """

    deterministic_given_success = False

    def __init__(
        self,
        *,
        mcs: list[str],
        shares: list[float],
        block_length: int | None = None,
        lost_layer: Literal["last_good_layer", "conceal"] = "last_good_layer",
        concealment: Concealment = "mean_colour",
    ) -> None:
        if not 1 <= len(mcs) <= 16 or len(mcs) != len(shares):
            raise InputError(f"mcs has {len(mcs)} layers and shares {len(shares)}; give 1 to 16 of each, one share per layer")
        if min(shares) <= 0 or abs(sum(shares) - 1.0) > 1e-6:
            raise InputError(f"shares must be positive and add up to 1; got {shares} with the sum {sum(shares):g}")
        self._source = Jpeg2000(container=False)
        self._transports = [Transport(name, block_length) for name in mcs]
        self._shares = shares
        self._all_or_nothing = lost_layer == "conceal"
        self._concealment: Concealment = concealment

    def encode(self, source: Tensor, budget: Budget, csi: TransmitCsi | None) -> Burst:
        layouts = self._layouts(budget)
        if layouts is None:
            return silence(source.shape[0], source.device)
        room = [layout.max_file_bytes for layout in layouts]
        ends = list(accumulate(room))
        head = _LENGTH_BYTES * len(room)
        if room[0] <= head:
            return silence(source.shape[0], source.device)
        files = [self._source.encode_layers(pixels(picture), [end - head for end in ends]) for picture in source]
        streams = [None if layers is None else _joined(layers) for layers in files]
        # layer i ends within share i: whoever has the shares up to i has the layers up to i, whole
        pieces = [
            [None if stream is None else stream[end - size : end] for stream in streams]
            for end, size in zip(ends, room, strict=True)
        ]
        parts = [
            transport.send(own, layout, source.device)
            for transport, own, layout in zip(self._transports, pieces, layouts, strict=True)
        ]
        symbols = torch.cat(parts, 1)
        valid = torch.tensor([symbols.shape[1] if stream else 0 for stream in streams], device=source.device)
        bits: dict[str, Tensor] = {}
        for own, layout in zip(pieces, layouts, strict=True):
            for purpose, count in bits_ledger(own, layout).items():
                bits[purpose] = bits.get(purpose, torch.zeros_like(count)) + count
        return Burst(symbols, valid, bits=bits, power="constellation")

    def decode(self, reception: Reception, budget: Budget) -> Reconstruction:
        layouts = self._layouts(budget)
        batch, device = reception.symbols.shape[0], reception.symbols.device
        pictures = concealed(self._concealment, budget.shape).repeat(batch, 1, 1, 1)
        failed = torch.ones(batch, dtype=torch.bool)
        if layouts is None:
            return Reconstruction(pictures.to(device), failed.to(device))
        symbols, noise_var = reception.unbiased()
        received, start = [], 0
        for transport, layout in zip(self._transports, layouts, strict=True):
            part = slice(start, start + layout.uses)
            received.append(transport.receive(symbols[:, part], noise_var[:, part], layout))
            start += layout.uses
        for item in range(batch):
            shares = [layer[item] for layer in received]
            good = _layers(shares)
            if not good or (self._all_or_nothing and None in shares):
                continue
            try:
                picture = self._source.decode_layers(good, shape=(budget.shape[1], budget.shape[2]))
            except DecodeFailure:
                continue
            pictures[item] = torch.from_numpy(picture.transpose(2, 0, 1).copy())
            failed[item] = False
        return Reconstruction(pictures.to(device), failed.to(device))

    def _layouts(self, budget: Budget) -> list[Layout] | None:
        """One layout per layer; None where any holds no byte."""
        if budget.uses is None:
            raise InputError("the scheme 'layered' fills a budget: give the study a `cbr`")
        layouts = []
        for transport, share in zip(self._transports, self._shares, strict=True):
            layout = transport.layout(int(budget.uses * share + 1e-6))
            if layout is None or layout.max_file_bytes < 1:
                return None
            layouts.append(layout)
        return layouts


def _joined(layers: list[bytes]) -> bytes:
    """Lengths, then layers."""
    return b"".join(len(layer).to_bytes(_LENGTH_BYTES, "big") for layer in layers) + b"".join(layers)


def _layers(shares: list[bytes | None]) -> list[bytes]:
    """The shares of one picture as received -> the layers that are whole, up to the first that is not."""
    stream = b"".join(takewhile(lambda share: share is not None, shares))  # type: ignore[arg-type]
    start, good = _LENGTH_BYTES * len(shares), []
    for index in range(len(shares)):
        length = int.from_bytes(stream[_LENGTH_BYTES * index : _LENGTH_BYTES * (index + 1)], "big")
        if not length or start + length > len(stream):
            break
        good.append(stream[start : start + length])
        start += length
    return good
