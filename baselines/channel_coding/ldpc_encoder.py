"""Encoding of 5G LDPC code blocks: cyclic shifts added modulo 2, one bit per byte, vectorised along the lifting size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jscclink.baselines.channel_coding.decoders.workers import spread
from jscclink.baselines.channel_coding.nr_ldpc import CORE_ROWS, SYSTEMATIC, CodeBlock


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _add(total: Any, column: Any) -> None:
    """total ^= column, byte by byte."""
    for i in range(total.size):
        total[i] ^= column[i]


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _encode_words(
    bits: Any, begin: int, end: int, shifts: Any, size: int, systematic: int, rows: int, single_row: int,
    places: Any, out: Any,
) -> None:  # fmt: skip
    # every column twice in a row: its cyclic shift by s is then the contiguous stretch from s on
    word = np.empty((shifts.shape[1], 2 * size), np.uint8)
    flat = word.reshape(-1)
    sums = np.empty((CORE_ROWS, size), np.uint8)
    for index in range(begin, end):
        for column in range(systematic):
            first = column * size
            known = max(min(bits.shape[1] - first, size), 0)
            word[column] = 0
            _add(word[column, :known], bits[index, first:])
            _add(word[column, size:], word[column])
        sums[:] = 0
        for row in range(CORE_ROWS):
            for column in range(systematic):
                if shifts[row, column] >= 0:
                    _add(sums[row], word[column, shifts[row, column] :])
        p0, p1, p2, p3 = word[systematic], word[systematic + 1], word[systematic + 2], word[systematic + 3]
        # the four core rows add up to one shifted copy of the first parity column
        turn = shifts[single_row, systematic]
        for i in range(size):
            p0[(i + turn) % size] = sums[0, i] ^ sums[1, i] ^ sums[2, i] ^ sums[3, i]
        p0[size:] = 0
        _add(p0[size:], p0)
        p1[:size] = sums[0]
        _add(p1[:size], p0[shifts[0, systematic] :])
        p3[:size] = sums[3]
        _add(p3[:size], p0[shifts[3, systematic] :])
        # the third parity column from the row that holds it beside a known one and no first column
        if single_row == 1:
            p2[:size] = sums[2]
            _add(p2[:size], p3)
        else:
            p2[:size] = sums[1]
            _add(p2[:size], p1)
        for column in range(systematic + 1, systematic + CORE_ROWS):
            word[column, size:] = 0
            _add(word[column, size:], word[column])
        for row in range(CORE_ROWS, rows):
            parity = word[systematic + row, :size]
            parity[:] = 0
            for column in range(systematic + CORE_ROWS):
                if shifts[row, column] >= 0:
                    _add(parity, word[column, shifts[row, column] :])
        for i in range(places.size):
            out[index, i] = flat[places[i]]


def encode_blocks(bits: NDArray[np.uint8], block: CodeBlock, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Encode and rate-match code blocks.

    bits : uint8 [words, block.k]
        Information and CRC bits; the filler bits are this function's affair.
    positions : int64 [e]
        Place in the code word of each bit to send (`CodeBlock.sent_positions`).
    returns : uint8 [words, e]

    The parity part of the core is solved in closed form: TS 38.212's base graphs repeat one shift in rows 1 and 4 of the
    first parity column, so that the sum of the four core rows leaves one shifted copy of it.
    """
    out = np.empty((bits.shape[0], positions.size), np.uint8)
    systematic = SYSTEMATIC[block.base_graph]
    last = int(positions.max()) // block.z if positions.size else 0
    rows = max(last - systematic + 1, CORE_ROWS)  # parity beyond the last bit sent is not needed
    source = np.ascontiguousarray(bits)
    places = (positions // block.z * 2 * block.z + positions % block.z).astype(np.uint32)
    shifts = block.shifts.astype(np.int64)
    single_row = 1 if block.base_graph == 1 else 2

    def task(begin: int, end: int) -> None:
        _encode_words(source, begin, end, shifts, block.z, systematic, rows, single_row, places, out)

    spread(task, bits.shape[0])
    return out
