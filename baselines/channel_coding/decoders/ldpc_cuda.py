"""Layered min-sum decoding of 5G LDPC code blocks on a CUDA device: a Triton kernel, bit for bit the decoder of the CPU.

One program decodes one code word; its lanes lie along the lifting size. Posteriors and messages are bytes (at most 26 kB
and 121 kB a word) in memory that only this program touches, so they stay in the caches nearest to it. A check reads and
writes its own lane of each column, so that the threads need to meet only between layers.
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray
from torch import Tensor

from jscclink.baselines.channel_coding.decoders.block import BlockDecoded, BlockDecoder, BlockSettings
from jscclink.baselines.channel_coding.decoders.layers import useful_rows
from jscclink.baselines.channel_coding.decoders.ldpc_cpu import SOFTENING, STEPS_PER_LLR
from jscclink.baselines.channel_coding.decoders.simd import LARGEST_MESSAGE, LARGEST_POSTERIOR
from jscclink.baselines.channel_coding.nr_ldpc import CORE_ROWS, SYSTEMATIC, CodeBlock
from jscclink.errors import InputError

_BYTES_AT_ONCE = 1 << 28  # of posteriors and messages


@triton.jit  # type: ignore[untyped-decorator]
def _soften(smallest, shrink, offset, cap):  # type: ignore[no-untyped-def]
    """A smallest magnitude -> the magnitude sent back (as `simd._Layer.soften`)."""
    quarter = (((smallest + 1) >> 1) + 1) >> 1
    return tl.minimum(tl.maximum(smallest - quarter * shrink - offset, 0), cap)


@triton.jit  # type: ignore[untyped-decorator]
def _place(columns, shifts, edge, lane, z):  # type: ignore[no-untyped-def]
    """Where the lanes of an edge's rotated column lie in the code word."""
    turned = lane + tl.load(shifts + edge)
    return tl.load(columns + edge) * z + tl.where(turned >= z, turned - z, turned)


@triton.jit  # type: ignore[untyped-decorator]
def _gather(values, messages, columns, shifts, first, end, own, lane, valid, z):  # type: ignore[no-untyped-def]
    """The two smallest magnitudes of a layer's inputs, the parity of their signs and that of the posteriors' signs."""
    least = tl.where(lane >= 0, 255, 0)
    second = least
    signs = tl.where(lane >= 0, 0, 1)
    parity = signs
    for edge in range(first, end):
        posterior = tl.load(values + _place(columns, shifts, edge, lane, z), mask=valid, other=0).to(tl.int32)
        message = tl.load(messages + edge * z + lane, mask=valid, other=0).to(tl.int32)
        extrinsic = posterior - message
        size = tl.abs(extrinsic)
        second = tl.minimum(second, tl.maximum(least, size))
        least = tl.minimum(least, size)
        signs = signs ^ (extrinsic < 0).to(tl.int32)
        parity = parity ^ (posterior < 0).to(tl.int32)
    if own >= 0:
        channel = tl.load(values + own + lane, mask=valid, other=0).to(tl.int32)
        size = tl.abs(channel)
        second = tl.minimum(second, tl.maximum(least, size))
        least = tl.minimum(least, size)
        signs = signs ^ (channel < 0).to(tl.int32)
    return least, second, signs, parity


@triton.jit  # type: ignore[untyped-decorator]
def _decode(  # type: ignore[no-untyped-def]
    all_values, all_messages, columns, shifts, first_edges, own_places,
    bits, decided, verdicts, used,
    layers, edges, length, k, z, systematic, iterations, early_stop, shrink, offset, cap, limit,
    LANES: tl.constexpr,
):  # fmt: skip
    word = tl.program_id(0).to(tl.int64)
    values = all_values + word * length
    messages = all_messages + word * edges * z
    lane = tl.arange(0, LANES)
    valid = lane < z
    iteration = 0
    running = 1
    failed = 0
    zeros = 0
    while running == 1:
        for layer in range(layers):
            first, end = tl.load(first_edges + layer), tl.load(first_edges + layer + 1)
            own = tl.load(own_places + layer)
            least, second, signs, _ = _gather(values, messages, columns, shifts, first, end, own, lane, valid, z)
            others = _soften(least, shrink, offset, cap)
            alone = _soften(second, shrink, offset, cap)
            for edge in range(first, end):
                place = _place(columns, shifts, edge, lane, z)
                posterior = tl.load(values + place, mask=valid, other=0).to(tl.int32)
                message = tl.load(messages + edge * z + lane, mask=valid, other=0).to(tl.int32)
                extrinsic = posterior - message
                size = tl.where(tl.abs(extrinsic) == least, alone, others)
                answer = tl.where((extrinsic < 0).to(tl.int32) != signs, -size, size)
                taken_up = tl.minimum(tl.maximum(extrinsic + answer, -limit), limit)
                tl.store(values + place, taken_up.to(tl.int8), mask=valid)
                tl.store(messages + edge * z + lane, (taken_up - extrinsic).to(tl.int8), mask=valid)
            tl.debug_barrier()  # the next layer reads these columns in other lanes
        iteration += 1
        if (early_stop == 1) | (iteration == iterations):
            bad = tl.where(lane >= 0, 0, 1)
            for layer in range(layers):
                own = tl.load(own_places + layer)
                least, second, signs, parity = _gather(
                    values, messages, columns, shifts, tl.load(first_edges + layer), tl.load(first_edges + layer + 1),
                    own, lane, valid, z,
                )  # fmt: skip
                if own >= 0:
                    # the parity bit's posterior: its channel value plus the answer of its only check
                    channel = tl.load(values + own + lane, mask=valid, other=0).to(tl.int32)
                    size = _soften(tl.where(tl.abs(channel) == least, second, least), shrink, offset, cap)
                    answer = tl.where((channel < 0).to(tl.int32) != signs, -size, size)
                    parity = parity ^ (channel + answer < 0).to(tl.int32)
                bad = bad | parity
            failed = tl.max(tl.where(valid, bad, 0), axis=0)
            empty = tl.where(lane >= 0, 0, 1)
            for column in range(systematic):
                known = valid & (column * z + lane < k)
                posterior = tl.load(values + column * z + lane, mask=known, other=1).to(tl.int32)
                empty = empty | (posterior == 0).to(tl.int32)
            zeros = tl.max(empty, axis=0)
            if (failed == 0) & (zeros == 0):
                running = 0
        if iteration == iterations:
            running = 0
    for column in range(systematic):
        known = valid & (column * z + lane < k)
        posterior = tl.load(values + column * z + lane, mask=known, other=0).to(tl.int32)
        tl.store(bits + word * k + column * z + lane, (posterior < 0).to(tl.uint8), mask=known)
    tl.store(decided + word, tl.where(zeros == 0, 1, 0).to(tl.uint8))
    tl.store(verdicts + word, tl.where(failed == 0, 1, 0).to(tl.uint8))
    tl.store(used + word, iteration)


class TritonDecoder(BlockDecoder):
    """Normalised or offset min-sum on a CUDA device (or in Triton's interpreter); see the module."""

    def __init__(self, block: CodeBlock, received: NDArray[np.int64], settings: BlockSettings) -> None:
        if settings.algorithm not in SOFTENING:
            raise InputError(
                f"LDPC5G: backend = 'cuda' has no {settings.algorithm}; take algorithm = "
                f"{' or '.join(map(repr, SOFTENING))}, or backend = 'cpu' or 'sionna'."
            )
        self.block, self.received, self.settings = block, received, settings
        rows = useful_rows(block, received)
        systematic = SYSTEMATIC[block.base_graph]
        pairs = [np.flatnonzero(block.shifts[row, : systematic + CORE_ROWS] >= 0) for row in rows]
        shifts = [block.shifts[row, columns] for row, columns in zip(rows, pairs, strict=True)]
        own = [-1 if row < CORE_ROWS else (systematic + row) * block.z for row in rows]
        first = np.concatenate([[0], np.cumsum([len(columns) for columns in pairs])])
        self._tables = [
            torch.from_numpy(np.asarray(table, np.int32))
            for table in (np.concatenate(pairs), np.concatenate(shifts), first, own)
        ]

    def decode(self, llr: Tensor) -> BlockDecoded:
        device = self._device(llr)
        parts = []
        edges = self._tables[0].numel()
        step = max(1, _BYTES_AT_ONCE // (self.block.length + edges * self.block.z))
        for begin in range(0, llr.shape[0], step):
            parts.append(self._decode(llr[begin : begin + step].to(device)))
        return BlockDecoded(*[torch.cat(fields) for fields in zip(*parts, strict=True)])

    @staticmethod
    def _device(llr: Tensor) -> torch.device:
        if llr.device.type == "cuda" or triton.knobs.runtime.interpret:
            return llr.device
        if not torch.cuda.is_available():
            raise InputError(
                "LDPC5G: backend = 'cuda' finds no CUDA device; take backend = 'cpu' or 'auto', "
                "or set TRITON_INTERPRET=1 to run the kernel, slowly, on the CPU."
            )
        return torch.device("cuda")

    def _decode(self, llr: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        block, words, device = self.block, llr.shape[0], llr.device
        values = torch.zeros((words, block.length), dtype=torch.int8, device=device)
        values[:, block.k : block.systematic] = LARGEST_POSTERIOR
        quantised = (llr * -STEPS_PER_LLR).clamp(-LARGEST_MESSAGE, LARGEST_MESSAGE).round().to(torch.int8)
        values[:, torch.from_numpy(self.received.copy()).to(device)] = quantised
        tables = [table.to(device) for table in self._tables]
        edges, layers = tables[0].numel(), tables[3].numel()
        messages = torch.zeros((words, edges * block.z), dtype=torch.int8, device=device)
        bits = torch.empty((words, block.k), dtype=torch.uint8, device=device)
        decided, verdicts = torch.empty((2, words), dtype=torch.uint8, device=device)
        used = torch.empty(words, dtype=torch.int32, device=device)
        mask, offset = SOFTENING[self.settings.algorithm]
        lanes = max(triton.next_power_of_2(block.z), 16)
        _decode[(words,)](
            values, messages, *tables, bits, decided, verdicts, used,
            layers, edges, block.length, block.k, block.z, SYSTEMATIC[block.base_graph],
            self.settings.iterations, int(self.settings.early_stop), int(mask != 0), offset, LARGEST_MESSAGE,
            LARGEST_POSTERIOR,
            LANES=lanes, num_warps=max(1, lanes // 64),
        )  # fmt: skip
        return bits, decided.bool(), verdicts.bool(), used
