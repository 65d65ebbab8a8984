"""The compiled mapper and demapper of Gray-labelled amplitudes, one real dimension at a time."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .channel_coding.decoders.workers import spread

# reals handled together, so that the loops over them become vector instructions
_LANES = 64
# sums of probabilities below this have lost their precision; there each sum is taken relative to its own largest term
_LEAST_SUM = 1e-30

# no "nnan" or "ninf": a NaN that comes in must come out, for the decoder to refuse it
_FAST = {"nsz", "arcp", "contract", "afn", "reassoc"}


def map_bits(bits: NDArray[np.uint8], amplitudes: NDArray[np.float32], dimensions: int) -> NDArray[np.complex64]:
    """uint8 [symbols x bits] of 0/1 -> complex64 [symbols]; amplitudes as for `demap_reals`."""
    per_symbol = (len(amplitudes).bit_length() - 1) * dimensions
    # all symbols by label, first bit most significant; the labels of the two dimensions are interleaved
    label = np.arange(1 << per_symbol)
    split = [(label >> (per_symbol - 1 - position)) & 1 for position in range(per_symbol)]
    own = [split[dimension::dimensions] for dimension in range(dimensions)]
    places = [np.sum([bit << (len(o) - 1 - i) for i, bit in enumerate(o)], axis=0) for o in own]
    table = np.zeros(1 << per_symbol, dtype=np.complex64)
    table.real = amplitudes[places[0]]
    if dimensions == 2:
        table.imag = amplitudes[places[1]]
    out = np.empty(bits.size // per_symbol, dtype=np.complex64)
    spread(lambda begin, end: _look_up(bits, table, per_symbol, begin, end, out), out.size)
    return out


@njit(cache=True, nogil=True)
def _look_up(bits, table, per_symbol, begin, end, out):
    for symbol in range(begin, end):
        label = 0
        for position in range(symbol * per_symbol, (symbol + 1) * per_symbol):
            label = 2 * label + bits[position]
        # bits are 0 or 1; whatever else is given must not read beyond the table
        out[symbol] = table[label & (len(table) - 1)]


def demap_reals(
    reals: NDArray[np.float32], scale: NDArray[np.float32], amplitudes: NDArray[np.float32], dimensions: int, exact: bool
) -> NDArray[np.float32]:
    """float32 [symbols x dimensions] received amplitudes -> float32 [symbols x bits]: LLRs in the order of TS 38.211.

    scale : float32 [symbols]
        1/N0 of each symbol.
    amplitudes : float32 [2^bits per dimension]
        By label, first bit most significant.
    """
    bits = len(amplitudes).bit_length() - 1
    out = np.empty(reals.size * bits, dtype=np.float32)
    pieces = -(-reals.size // _LANES)
    spread(lambda begin, end: _demap(reals, scale, amplitudes, dimensions, exact, begin, end, out), pieces)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _demap(reals, scale, amplitudes, dimensions, exact, begin, end, out):
    """Pieces of `_LANES` reals, from `begin` to `end`."""
    levels = len(amplitudes)
    bits = 0
    while (1 << bits) < levels:
        bits += 1
    y = np.zeros(_LANES, dtype=np.float32)
    s = np.ones(_LANES, dtype=np.float32)
    llr = np.empty((bits, _LANES), dtype=np.float32)
    work = np.empty((levels + 2, _LANES), dtype=np.float32)
    for piece in range(begin, end):
        first = piece * _LANES
        count = min(_LANES, reals.size - first)
        for i in range(count):
            y[i] = reals[first + i]
            s[i] = scale[(first + i) // dimensions]
        _maxlog(y, s, amplitudes, work, llr)
        if exact:
            _exact(y, s, amplitudes, work, llr)
        for i in range(count):
            symbol = (first + i) // dimensions
            place = symbol * bits * dimensions + (first + i) % dimensions
            for b in range(bits):
                out[place + b * dimensions] = llr[b, i]


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _maxlog(y, scale, amplitudes, work, llr):
    """Received amplitudes and 1/N0 float32 [lanes] -> llr float32 [bits, lanes]: least squared distances, bit 0 less bit 1."""
    for b in range(llr.shape[0]):
        shift = llr.shape[0] - 1 - b
        for i in range(_LANES):
            work[0, i] = np.float32(3e38)
            work[1, i] = np.float32(3e38)
        for level in range(len(amplitudes)):
            a = amplitudes[level]
            row = (level >> shift) & 1
            for i in range(_LANES):
                difference = y[i] - a
                distance = difference * difference
                work[row, i] = distance if distance < work[row, i] else work[row, i]
        for i in range(_LANES):
            # the comparisons above pass over a NaN
            llr[b, i] = (work[0, i] - work[1, i]) * scale[i] if y[i] == y[i] else y[i]


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _exact(y, scale, amplitudes, work, llr):
    """Replace max-log LLRs by log of the sums of probabilities, relative to the nearest amplitude where these are precise."""
    zero, one = work[0], work[1]
    for i in range(_LANES):
        zero[i] = np.float32(3e38)
    for level in range(len(amplitudes)):
        a = amplitudes[level]
        for i in range(_LANES):
            difference = y[i] - a
            distance = difference * difference
            work[level + 2, i] = distance
            zero[i] = distance if distance < zero[i] else zero[i]
    for level in range(len(amplitudes)):
        for i in range(_LANES):
            work[level + 2, i] = np.exp((zero[i] - work[level + 2, i]) * scale[i])
    least = np.float32(_LEAST_SUM)
    for b in range(llr.shape[0]):
        shift = llr.shape[0] - 1 - b
        for i in range(_LANES):
            zero[i] = np.float32(0.0)
            one[i] = np.float32(0.0)
        for level in range(len(amplitudes)):
            row = (level >> shift) & 1
            for i in range(_LANES):
                work[row, i] += work[level + 2, i]
        for i in range(_LANES):
            if zero[i] > least and one[i] > least:
                llr[b, i] = np.log(one[i] / zero[i])
            else:
                llr[b, i] += _correction(y[i], scale[i], amplitudes, shift)


@njit(cache=True, nogil=True, error_model="numpy")
def _correction(y, scale, amplitudes, shift):
    """Exact less max-log LLR of one bit, each sum relative to its own largest term."""
    total = np.float32(0.0)
    for value in range(2):
        nearest, first = np.float32(np.inf), -1
        for level in range(len(amplitudes)):
            distance = (y - amplitudes[level]) * (y - amplitudes[level])
            if (level >> shift) & 1 == value and distance < nearest:
                nearest, first = distance, level
        rest = np.float32(1.0)
        for level in range(len(amplitudes)):
            if (level >> shift) & 1 == value and level != first:
                # compiled to a fused product, the difference may come out above zero
                further = min(nearest - (y - amplitudes[level]) * (y - amplitudes[level]), np.float32(0.0))
                rest += np.exp(further * scale)
        total += np.log(rest) if value else -np.log(rest)
    return total
