"""Successive cancellation list decoding of polar codes on 8-bit integers: 64 / L code words with L paths each side by side.

    LLRs [words, N] -> 8 bits, one row of 64 lanes per position -> steps of the schedule -> all paths' code words
                    -> their inputs, 64 at a time in machine words -> CRC of every path -> the best path that passes

Tal & Vardy, IEEE Trans. IT 61(5), 2015 (list decoding); Balatsoukas-Stimming, Bastani Parizi & Burg, IEEE Trans. SP 63(19),
2015 (metrics from LLRs); Hashemi, Condo & Gross, IEEE Trans. SP 65(21), 2017 (rate-1 and parity-check nodes: only the
min(L - 1, M) least reliable bits need forks).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jscclink.baselines.channel_coding.crc import crc_length
from jscclink.baselines.channel_coding.decoders.lanes import LANES
from jscclink.baselines.channel_coding.decoders.polar_fork import flip_costs, fork, least_reliable
from jscclink.baselines.channel_coding.decoders.polar_schedule import Step, make_schedule
from jscclink.baselines.channel_coding.decoders.polar_tree import (
    hard_bits,
    join_bits,
    left_llrs,
    pack_bits,
    penalties,
    right_llrs,
    shuffle_rows,
)
from jscclink.baselines.channel_coding.decoders.workers import spread
from jscclink.baselines.channel_coding.llr import LARGEST
from jscclink.baselines.channel_coding.nr_polar import PolarBlock

# geometric mean of the magnitudes of a code word's LLRs in 8-bit steps: a factor of 7 is left to saturation. With
# 7 steps the decoder is 0.03 dB worse (512/1024, list 8)
_TYPICAL_STEPS = 18.0
# LLR from which on log(1 + exp(-LLR)) counts as zero; it is 5/8 - LLR/4 before
_REACH = 2.5
# bits of the float 1e-6: smaller LLRs say nothing and take no part in the mean
_NEGLIGIBLE = int(np.float32(1e-6).view(np.int32))
# metric of a path that does not exist yet: above any that can be collected (1024 bits of at most 254), below 2^23
_NO_PATH = 1 << 21
# flips that a node can hold: the parity's repair and one less than the largest list
_FLIPS = 33

_LEFT, _RIGHT, _JOIN = int(Step.LEFT), int(Step.RIGHT), int(Step.JOIN)
_RATE_0, _REPETITION, _PARITY = int(Step.RATE_0), int(Step.REPETITION), int(Step.PARITY)


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _quantise(llr: Any, sent: Any, known: Any, sums: Any, row: Any) -> Any:
    """float32 [E] log P(1)/P(0) -> int8 [N] log P(0)/P(1); repeated bits add up, bits never sent are 0, `known` zeros certain.

    Returns the scale, 8-bit steps per LLR. It follows the geometric mean of the magnitudes: a few infinite LLRs hardly move it.
    """
    sums[:] = 0
    for i in range(sent.size):
        sums[sent[i]] += min(max(llr[i], np.float32(-LARGEST)), np.float32(LARGEST))
    total, count = np.int64(0), np.int64(0)
    for word in sums.view(np.int32):
        # the bits of a float, read as a number, are its logarithm to base 2 in units of 2^-23, to within 9 %
        size = word & 0x7FFFFFFF
        if size > _NEGLIGIBLE:
            total += size
            count += 1
    scale = np.float32(_TYPICAL_STEPS * 2.0 ** (127.0 - total / count / 2.0**23)) if count else np.float32(1.0)
    for i in range(sums.size):
        row[i] = np.int8(np.rint(min(max(-sums[i] * scale, np.float32(-127.0)), np.float32(127.0))))
    for i in range(known.size):
        row[known[i]] = 127
    return scale


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _flip(bits: Any, target: int, maps: Any, flips: int, kept: Any, places: int, first: int, last: int) -> None:
    for i in range(first, last):
        for lane in range(LANES):
            place = np.int64(np.uint8(kept[(places + i) * LANES + lane]))
            bits[(target + place) * LANES + lane] ^= maps[(flips + i) * LANES + lane]


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _walk(
    steps: Any, levels: int, list_size: int, llr: Any, bits: Any, maps: Any, metrics: Any, costs: Any, order: Any, kept: Any
) -> None:
    """Run the steps of a schedule; LLRs of the code word stand at row 2^levels - 1 of `llr`."""
    wide = list_size == 32
    size = 1 << levels
    bit_maps, node_map, flips = levels + 1, 2 * levels + 2, 2 * levels + 3
    ancestry, choice = flips + _FLIPS, flips + _FLIPS + 1
    identity, reach = flips + _FLIPS + 2, flips + _FLIPS + 4
    own = maps[identity * LANES : (identity + 1) * LANES]
    in_order = True
    for step in range(steps.shape[0]):
        kind, level, target = steps[step, 0], steps[step, 1], steps[step, 2]
        count = 1 << level
        half = count >> 1
        source = count - 1
        if kind == _LEFT:
            left_llrs(llr, source, half - 1, half, maps, reach)
            maps[(level - 1) * LANES : level * LANES] = own
        elif kind == _RIGHT:
            right_llrs(llr, source, half - 1, half, maps, level, bits, size + half - 1, wide)
            maps[(level - 1) * LANES : level * LANES] = own
            maps[(bit_maps + level - 1) * LANES : (bit_maps + level) * LANES] = own
        elif kind == _JOIN:
            join_bits(bits, size + half - 1, target, half, maps, bit_maps + level - 1, wide)
        elif kind == _RATE_0:
            penalties(llr, source, count, maps, reach, costs)
            for lane in range(LANES):
                metrics[lane] += costs[lane]
            in_order = list_size == 1
            bits[target * LANES : (target + count) * LANES] = 0
        elif kind == _REPETITION:
            penalties(llr, source, count, maps, reach, costs)
            fork(metrics, costs, maps, ancestry, choice, list_size, False)
            shuffle_rows(maps, 0, 2 * levels + 2, maps, ancestry, wide)
            chosen = maps[choice * LANES : (choice + 1) * LANES]
            for i in range(count):
                bits[(target + i) * LANES : (target + i + 1) * LANES] = chosen
            in_order = True
        else:
            # kept magnitudes 1, 2, ... may flip; number 0 repairs the parity of a parity-check node
            parity = kind == _PARITY
            penalties(llr, source, count, maps, reach, costs)
            for lane in range(LANES):
                metrics[lane] += costs[2 * LANES + lane]
            in_order = list_size == 1
            forks = min(list_size - 1, count - 1 if parity else count)
            sizes, places = 0, _FLIPS
            maps[node_map * LANES : (node_map + 1) * LANES] = own
            if parity:
                least_reliable(llr, source, count, forks + 1, order, kept, sizes, places)
                odd = maps[flips * LANES : (flips + 1) * LANES]
                odd[:] = 0
                for i in range(count):
                    for lane in range(LANES):
                        odd[lane] ^= llr[(source + i) * LANES + lane] >> 7
                for lane in range(LANES):
                    metrics[lane] += kept[sizes * LANES + lane] & odd[lane]
            else:
                least_reliable(llr, source, count, forks, order, kept, sizes + 1, places + 1)
                maps[flips * LANES : (flips + 1) * LANES] = 0
                kept[sizes * LANES : (sizes + 1) * LANES] = 0
                kept[places * LANES : (places + 1) * LANES] = 0
            for i in range(1, forks + 1):
                flip_costs(kept, sizes + i, sizes, maps, node_map, flips, costs, wide)
                fork(metrics, costs, maps, ancestry, choice, list_size, in_order)
                in_order = True
                shuffle_rows(maps, 0, flips + i, maps, ancestry, wide)
                for lane in range(LANES):
                    flipped = maps[choice * LANES + lane]
                    maps[(flips + i) * LANES + lane] = flipped
                    if parity:
                        maps[flips * LANES + lane] ^= flipped
            hard_bits(llr, source, bits, target, count, maps, node_map, wide)
            shuffle_rows(kept, places, forks + 1, maps, node_map, wide)
            _flip(bits, target, maps, flips, kept, places, 0 if parity else 1, forks + 1)


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _inputs(words: Any) -> None:
    """Code words -> encoder inputs, in place; uint64 [N], 64 code words in the bits of each."""
    size = words.size
    half = 1
    while half < size:
        for first in range(0, size, 2 * half):
            for i in range(first, first + half):
                words[i] ^= words[i + half]
        half *= 2


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _failures(words: Any, info: Any, checks: Any, remainder: Any) -> Any:
    """uint64: bit `lane` set where the CRC of that lane fails; checks uint64 [K, degree], all ones where a bit counts."""
    remainder[:] = 0
    for i in range(info.size):
        word = words[info[i]]
        for j in range(remainder.size):
            remainder[j] ^= word & checks[i, j]
    failed = np.uint64(0)
    for j in range(remainder.size):
        failed |= remainder[j]
    return failed


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _decode(
    llr: Any,
    begin: int,
    end: int,
    list_size: int,
    code: Any,
    checks: Any,
    rows: Any,
    bits: Any,
    maps: Any,
    kept: Any,
    out: Any,
    ok: Any,
) -> None:
    """Decode code words `begin` to `end`; `code` as in `ListDecoder`, the other arrays are scratch and results."""
    steps, levels, sent, known, info, output = code
    size = 1 << levels
    group = LANES // list_size
    wide = list_size == 32
    metrics, costs = np.empty(LANES, np.int32), np.empty(3 * LANES, np.int32)
    order = np.empty(_FLIPS * LANES, np.int16)
    words, remainder = np.empty(size, np.uint64), np.empty(checks.shape[1], np.uint64)
    sums, quantised = np.empty(size, np.float32), np.empty(size, np.int8)
    identity = 2 * levels + 3 + _FLIPS + 2
    leaders, reach = identity + 1, identity + 2
    for lane in range(LANES):
        maps[identity * LANES + lane] = lane & (31 if wide else 15)
        maps[leaders * LANES + lane] = lane & (31 if wide else 15) & ~(list_size - 1)
    for first in range(begin, end, group):
        count = min(group, end - first)
        for g in range(count):
            scale = _quantise(llr[first + g], sent, known, sums, quantised)
            maps[reach * LANES + g * list_size] = np.int8(min(np.rint(_REACH * scale), 127.0))
            for i in range(size):
                rows[(size - 1 + i) * LANES + g * list_size] = quantised[i]
        shuffle_rows(rows, size - 1, size, maps, leaders, wide)
        shuffle_rows(maps, reach, 1, maps, leaders, wide)
        for lane in range(LANES):
            metrics[lane] = 0 if lane % list_size == 0 else _NO_PATH
        for row in range(2 * levels + 2):
            maps[row * LANES : (row + 1) * LANES] = maps[identity * LANES : (identity + 1) * LANES]
        _walk(steps, levels, list_size, rows, bits, maps, metrics, costs, order, kept)
        pack_bits(bits, 0, size, words)
        _inputs(words)
        failed = _failures(words, info, checks, remainder)
        for g in range(count):
            best = g * list_size
            for lane in range(best + 1, best + list_size):
                bad, best_bad = (failed >> np.uint64(lane)) & np.uint64(1), (failed >> np.uint64(best)) & np.uint64(1)
                if bad < best_bad or (bad == best_bad and metrics[lane] < metrics[best]):
                    best = lane
            ok[first + g] = (failed >> np.uint64(best)) & np.uint64(1) == 0
            for i in range(output.size):
                out[first + g, i] = (words[output[i]] >> np.uint64(best)) & np.uint64(1)


def _rows(count: int) -> NDArray[np.int8]:
    """Zeroed rows of lanes that begin on a cache line."""
    raw = np.zeros((count + 1) * LANES, np.int8)
    start = -raw.ctypes.data % LANES
    return raw[start : start + count * LANES]


class ListDecoder:
    """Successive cancellation list decoder of one code on all cores; list size 1 is successive cancellation."""

    def __init__(self, block: PolarBlock) -> None:
        info = np.zeros(block.length, np.bool_)
        info[block.info_positions] = True
        self._schedule = make_schedule(info)
        # steps, levels, places of the sent bits, of the known zeros, of the encoder's inputs, of the information bits
        output = block.info_positions[np.argsort(block.input_order)[: block.k]]
        sent, known = block.sent_positions, block.known_positions
        self._code = (self._schedule.steps, self._schedule.levels, sent, known, block.info_positions, output)
        degree = crc_length(block.crc)
        used = (block.syndromes[:, None] >> np.arange(degree, dtype=np.uint32)) & 1
        self._checks = np.where(used == 1, np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(0))
        self._k = block.k

    def decode(self, llr: NDArray[np.float32], list_size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """float32 [words, E] without NaN, as sent -> information bits uint8 [words, k], CRC verdicts bool [words].

        list_size : 1, 2, 4, 8, 16 or 32
        """
        words, group = llr.shape[0], LANES // list_size
        out, ok = np.empty((words, self._k), np.uint8), np.empty(words, np.bool_)
        size, levels = 1 << self._schedule.levels, self._schedule.levels

        def run(begin: int, end: int) -> None:
            rows, bits, maps, kept = _rows(2 * size), _rows(2 * size), _rows(2 * levels + _FLIPS + 8), _rows(2 * _FLIPS)
            first, last = begin * group, min(end * group, words)
            _decode(llr, first, last, list_size, self._code, self._checks, rows, bits, maps, kept, out, ok)

        spread(run, -(-words // group))
        return out, ok
