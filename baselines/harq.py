"""Separation with hybrid ARQ: blocks that fail are sent again, and the receiver combines what it got."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from jscclink.errors import InputError
from jscclink.simulator import registry
from jscclink.simulator.scheme import (
    Budget,
    Burst,
    ReceiverTurns,
    Reconstruction,
    TransmitCsi,
    TransmitterTurns,
    TurnTakingScheme,
)

from .channel_coding.code import Decoded
from .channel_coding.harq import INCREMENTAL, HarqBuffer
from .channel_coding.ldpc import LDPC5G
from .concealment import Concealment, concealed
from .digital import silence
from .layout import Layout
from .source.codec import SourceCodec
from .source.tensors import file_of, picture_of
from .transport import Demapper, Transport, bits_ledger


class Harq(TurnTakingScheme):
    """The scheme `digital` with up to n rounds: the receiver asks for the code blocks whose CRC failed.

        round 1: all code blocks                   -> soft buffer -> decoder -> one bit per block back: send again?
        round r: blocks asked for, another version -> soft buffer -> decoder -> ...

    The budget must hold the worst case, so the first round gets budget / rounds; what later rounds really use is in the ledger,
    and the CBR of a good channel is a fraction of the budget.

    Parameters
    ----------
    source, mcs, block_length, demapper, concealment
        As for `digital`; the code is 5G LDPC.
    rounds
        Transmissions of a block at most, 2 to 8.
    combining
        `ir`: incremental redundancy, versions 0, 2, 3, 1 in turn. `chase`: the same bits again.
    iterations
        Of the decoder, at most.
    """

    deterministic_given_success = True

    def __init__(
        self,
        *,
        source: str | dict[str, Any] = "jpeg",
        mcs: str,
        rounds: int = 4,
        combining: Literal["ir", "chase"] = "ir",
        block_length: int | None = None,
        iterations: int = 20,
        demapper: Demapper = "maxlog",
        concealment: Concealment = "mean_colour",
    ) -> None:
        if not 2 <= rounds <= 8:
            raise InputError(f"rounds must be 2 to 8 transmissions of a block; got {rounds}")
        self._source: SourceCodec = registry.build("sources", source)
        self._transport = Transport(mcs, block_length, {"name": "ldpc", "iterations": iterations}, demapper)
        self._versions = [INCREMENTAL[r % len(INCREMENTAL)] if combining == "ir" else 0 for r in range(rounds)]
        self._concealment: Concealment = concealment

    def air_uses(self, budget: Budget) -> int | None:
        layout = self._layout(budget)
        return 0 if layout is None else len(self._versions) * layout.uses

    def transmitter(self, source: Tensor, budget: Budget, csi: TransmitCsi | None) -> TransmitterTurns:
        layout, batch = self._layout(budget), source.shape[0]
        if layout is None or layout.max_file_bytes < 1:
            yield silence(batch, source.device)
            return
        files = [file_of(self._source, picture, layout.max_file_bytes) for picture in source]
        sent = torch.tensor([file is not None for file in files])
        wanted = sent[:, None].expand(-1, layout.blocks)
        bits = self._transport.payload(files, layout)
        for turn, version in enumerate(self._versions):
            burst = self._burst(bits, wanted, layout, version)
            if turn == 0:
                burst = Burst(burst.symbols, burst.valid, bits=bits_ledger(files, layout), power="constellation")
            asked = yield burst
            wanted = torch.zeros_like(wanted) if asked is None else asked.cpu().bool() & sent[:, None]

    def receiver(self, budget: Budget) -> ReceiverTurns:
        layout = self._layout(budget)
        reception = yield None
        batch = reception.symbols.shape[0]
        pictures = concealed(self._concealment, budget.shape).repeat(batch, 1, 1, 1)
        failed = torch.ones(batch, dtype=torch.bool)
        if layout is None or layout.max_file_bytes < 1:
            return Reconstruction(pictures, failed)
        buffer = HarqBuffer(self._coder(layout), batch * layout.blocks)
        wanted = torch.ones(batch, layout.blocks, dtype=torch.bool)
        decoded: Decoded | None = None
        for turn, version in enumerate(self._versions):
            symbols, noise_var = reception.unbiased()
            rows, llr = self._soft_bits(symbols, noise_var, wanted, layout)
            if len(rows):
                buffer.add(llr, version, rows)
            if not len(rows) and decoded is None:  # nothing has arrived yet: no file of the batch fitted
                if turn < len(self._versions) - 1:
                    reception = yield wanted
                continue
            decoded = buffer.decode()
            wanted = ~decoded.ok.reshape(batch, -1).cpu()
            if turn == len(self._versions) - 1 or not bool(wanted.any()):
                break
            reception = yield wanted
        if decoded is None:
            return Reconstruction(pictures, failed)
        for item, file in enumerate(self._transport.files(decoded.bits, decoded.ok, layout)):
            picture = None if file is None else picture_of(self._source, file, budget.shape)
            if picture is not None:
                pictures[item], failed[item] = picture, False
        return Reconstruction(pictures, failed)

    def _layout(self, budget: Budget) -> Layout | None:
        return self._transport.layout(None if budget.uses is None else budget.uses // len(self._versions))

    def _coder(self, layout: Layout) -> LDPC5G:
        coder = self._transport.coder(layout)
        assert isinstance(coder, LDPC5G)
        return coder

    def _burst(self, bits: Tensor, wanted: Tensor, layout: Layout, version: int) -> Burst:
        """Bits uint8 [items x blocks, k] of the blocks in bool [items, blocks], packed at the front of each item's burst."""
        if not bool(wanted.any()):
            return silence(len(wanted), bits.device)
        coded = self._coder(layout).encode_version(bits[wanted.flatten()].contiguous(), version)
        blocks = self._transport.modulation.map(coded)
        count = wanted.sum(1)
        per_block = layout.n // layout.bits_per_symbol
        symbols = torch.zeros(len(wanted), int(count.max()) * per_block, dtype=torch.complex64)
        own = torch.split(blocks, count.tolist())
        for row, mine in zip(symbols, own, strict=True):
            row[: mine.numel()] = mine.flatten()
        return Burst(symbols, count * per_block, power="constellation")

    def _soft_bits(self, symbols: Tensor, noise_var: Tensor, wanted: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """What arrived for the blocks asked for: their numbers int64 [asked], and LLRs float32 [asked, n].

        A burst shorter than what was asked for (feedback that got lost) has nothing for the last of them.
        """
        per_block = layout.n // layout.bits_per_symbol
        available = symbols.shape[1] // per_block
        place = wanted.cumsum(1) - 1
        there = wanted & (place < available)
        rows = torch.nonzero(there.flatten()).flatten()
        if not len(rows):
            return rows, torch.zeros(0, layout.n)
        item = rows // layout.blocks
        starts = place.flatten()[rows] * per_block
        index = starts[:, None] + torch.arange(per_block)
        llr = self._transport.soft_bits(symbols[item[:, None], index], noise_var[item[:, None], index], layout)
        return rows, llr
