"""Layered min-sum decoding of 5G LDPC code blocks on 8-bit integers, vectorised along the lifting size, on the CPU.

    float LLR --quantise--> int8 --[per layer: subtract, two smallest, soften, add]--> posteriors --> bits
                                        ^                                   |
                                        +----------- messages <-------------+

The LLR is carried in quarters (int8). Messages and channel values saturate at +-40, posteriors at +-87. A message is kept as
what its posterior could take up, so a posterior is at all times the channel's value and the messages kept, and no iteration
subtracts what was never added. Scaling, caps and offset were chosen by measurement over rates 1/3 to 0.92 (docs/decoders.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import get_num_threads, njit
from numpy.typing import NDArray
from torch import Tensor

from jscclink.baselines.channel_coding.decoders.block import BlockDecoded, BlockDecoder, BlockSettings
from jscclink.baselines.channel_coding.decoders.layers import Layout, make_layout, words_side_by_side
from jscclink.baselines.channel_coding.decoders.simd import LANES, LARGEST_MESSAGE, failed_checks, update_layer
from jscclink.baselines.channel_coding.decoders.workers import spread
from jscclink.baselines.channel_coding.nr_ldpc import CodeBlock

STEPS_PER_LLR = 4.0
OFFSET = 2  # half an LLR
_ENOUGH_LANES = 384  # enough blocks of lanes per layer to hide the latency of writing a column and reading it rotated
# algorithm -> (mask of the quarter that normalisation takes off, offset)
SOFTENING = {"normalised-min-sum": (255, 0), "offset-min-sum": (0, OFFSET)}


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _aligned(size: Any) -> Any:
    """int8 [size] at a multiple of 64 bytes, so that whole blocks of lanes never straddle two cache lines."""
    raw = np.empty(size + 64, np.int8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _quantise(llr: Any, out: Any) -> None:
    """LLRs -> quarters with the sign turned: positive where the bit is rather 0."""
    cap = np.float32(LARGEST_MESSAGE)
    for i in range(llr.size):
        value = llr[i] * np.float32(-STEPS_PER_LLR)
        out[i] = np.int8(np.rint(min(max(value, -cap), cap)))


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _load(llr: Any, first: int, count: int, layout: Any, values: Any, quantised: Any) -> None:
    template = layout.template
    for i in range(template.size):  # a loop becomes vector code, the assignment of a slice does not
        values[i] = template[i]
    for word in range(count):
        _quantise(llr[first + word], quantised)
        lane = values[word:]
        for i in range(quantised.size):
            lane[layout.place[i]] = quantised[i]
    for column in layout.columns:
        for i in range(LANES):
            values[column + layout.lanes + i] = values[column + i]


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _layer_numbers(layout: Any, layer: Any, blocks: Any, softening: Any) -> Any:
    """The numbers that the intrinsics want of a layer, see `update_layer`."""
    edge, width = layout.first_edge[layer], blocks * LANES
    return (
        edge * width, edge * blocks, edge,
        layout.own[layer], layout.degree[layer], blocks, layout.lanes,
        softening[0], softening[1], softening[2],
    )  # fmt: skip


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _failed_words(layout: Any, blocks: Any, side: Any, settled: Any, softening: Any, values: Any, messages: Any) -> Any:
    """Bit mask of the code words with a failing check; stops looking once each unsettled word has one."""
    failed = np.int64(0)
    words = np.int64(0)
    for layer in range(layout.degree.size):
        numbers = _layer_numbers(layout, layer, blocks, softening)
        failed |= failed_checks(values, messages, layout.check_source[side], layout.target[side], numbers)
        words = failed
        width = LANES // 2
        while width >= layout.words:
            words |= (words >> width) & ((np.int64(1) << width) - 1)
            width //= 2
        if words | settled == -1:
            break
    return words


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _read_off(values: Any, places: Any, word: Any, bits: Any) -> Any:
    """Hard decisions of one code word into `bits`; False where a posterior is zero."""
    zeros = 0
    lane = values[word:]
    for i in range(bits.size):
        value = lane[places[i]]
        bits[i] = value < 0
        zeros += value == 0
    return zeros == 0


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _decode_groups(
    llr: Any, begin: int, end: int, layout: Any, softening: Any, iterations: int, early_stop: bool,
    bits: Any, decided: Any, verdicts: Any, used: Any,
) -> None:  # fmt: skip
    """Decode groups begin..end of `layout.words` code words each."""
    blocks = (layout.lanes + LANES - 1) // LANES
    values = _aligned(layout.template.size)
    messages = _aligned(layout.first_edge[-1] * blocks * LANES)
    quantised = np.empty(layout.place.size, np.int8)
    for group in range(begin, end):
        first = group * layout.words
        count = min(layout.words, llr.shape[0] - first)
        _load(llr, first, count, layout, values, quantised)
        messages[:] = 0
        absent = np.int64(0) if count == 64 else np.int64(-1) << count
        settled = absent
        for iteration in range(iterations):
            side = iteration & 1
            for layer in range(layout.degree.size):
                numbers = _layer_numbers(layout, layer, blocks, softening)
                update_layer(values, messages, layout.source[side], layout.target[side], numbers)
            last = iteration == iterations - 1
            if not (early_stop or last):
                continue
            failed = _failed_words(layout, blocks, side, settled, softening, values, messages)
            # a word is read off when its own syndrome vanishes, so that its neighbours in the group do not matter
            leaving = ~settled if last else ~settled & ~failed
            for word in range(count):
                if (leaving >> word) & 1:
                    index = first + word
                    decided[index] = _read_off(values, layout.output[side], word, bits[index])
                    verdicts[index] = (failed >> word) & 1 == 0
                    used[index] = iteration + 1
                    if decided[index]:
                        settled |= np.int64(1) << word
            if settled == -1:
                break


class MinSumDecoder(BlockDecoder):
    """Normalised or offset min-sum on the CPU, on all of numba's threads; see the module for the number format."""

    def __init__(self, block: CodeBlock, received: NDArray[np.int64], settings: BlockSettings) -> None:
        self.block, self.received, self.settings = block, received, settings
        self._layouts: dict[int, Layout] = {}

    def _layout(self, batch: int) -> Layout:
        words = words_side_by_side(self.block.z, _ENOUGH_LANES)
        while words > 1 and (words // 2) * get_num_threads() >= batch:
            words //= 2
        if words not in self._layouts:
            self._layouts[words] = make_layout(self.block, self.received, words)
        return self._layouts[words]

    def decode(self, llr: Tensor) -> BlockDecoded:
        values = llr.detach().cpu().contiguous().numpy()
        batch = values.shape[0]
        layout = self._layout(batch)
        bits = np.empty((batch, self.block.k), np.uint8)
        decided, verdicts = np.empty((2, batch), np.bool_)
        used = np.empty(batch, np.int32)
        softening = (*SOFTENING[self.settings.algorithm], LARGEST_MESSAGE)

        def task(begin: int, end: int) -> None:
            _decode_groups(
                values, begin, end, layout, softening, self.settings.iterations, self.settings.early_stop,
                bits, decided, verdicts, used,
            )  # fmt: skip

        spread(task, -(-batch // layout.words))
        return BlockDecoded(*map(torch.from_numpy, (bits, decided, verdicts, used)))
