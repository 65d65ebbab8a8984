"""Sum-product decoding of 5G LDPC code blocks in float32, exact up to rounding, on the CPU.

With u = exp(-abs(L)), two magnitudes combine at a check as u = (u1 + u2) / (1 + u1 u2): the tanh rule without its
cancellation, from tanh(abs(L) / 2) = (1 - u) / (1 + u). A check of d edges takes running combinations from both ends.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray
from torch import Tensor

from jscclink.baselines.channel_coding.decoders.block import BlockDecoded, BlockDecoder, BlockSettings
from jscclink.baselines.channel_coding.decoders.layers import useful_rows, words_side_by_side
from jscclink.baselines.channel_coding.decoders.simd import bits_of_float, float_of_bits
from jscclink.baselines.channel_coding.decoders.workers import spread
from jscclink.baselines.channel_coding.nr_ldpc import CORE_ROWS, SYSTEMATIC, CodeBlock

_ENOUGH_LANES = 64  # four full registers of float32
_CERTAIN = np.float32(1000.0)  # LLR of a filler bit; infinite LLRs saturate here
_LARGEST = np.float32(40.0)  # exp(-40) is nothing beside 1 in float32, and still a normal number
_LOG2_E = np.float32(1 / np.log(2))
_LN_2 = np.float32(np.log(2))
_SIGN = np.int32(-(2**31))
_HALF_ROOT_BITS = np.int32(np.float32(0.5**0.5).view(np.int32))


def _polynomial(function: Any, low: float, high: float, degree: int) -> tuple[np.float32, ...]:
    """Coefficients, highest power first, of a nearly minimax polynomial on [low, high]."""
    fit = Chebyshev.interpolate(function, degree, domain=[low, high]).convert(kind=Polynomial)
    return tuple(np.float32(c) for c in fit.coef[::-1])


# relative errors 3e-9 and 5e-9, below float32's rounding
_EXP2 = _polynomial(lambda x: 2.0**-x, 0.0, 1.0, 6)
_LOG1P = _polynomial(lambda x: np.log1p(x) / x, 0.5**0.5 - 1, 2**0.5 - 1, 9)


class _Graph(NamedTuple):
    """One code block's graph for `words` code words side by side: lane z * words + g is bit z of code word g."""

    lanes: int
    words: int
    column: NDArray[np.int64]  # [edges]
    shift: NDArray[np.int64]  # [edges] in lanes
    first_edge: NDArray[np.int64]  # [layers + 1]
    own: NDArray[np.int64]  # [layers] row of the check's own parity bits among the columns, -1 in the core
    place: NDArray[np.int64]  # [received] place of the first word's bits among all lanes of all columns
    filler: NDArray[np.int64]  # [filler bits] likewise
    columns: int


@njit(nogil=True, cache=True, boundscheck=False, fastmath={"contract"})  # type: ignore[untyped-decorator]
def _exp_minus(x: Any) -> Any:
    """exp(-x) for 0 <= x <= 40, by a power of two and a polynomial."""
    scaled = x * _LOG2_E
    whole = np.int32(scaled)
    part = scaled - np.float32(whole)
    a, b, c, d, e, f, g = _EXP2
    power = (((((a * part + b) * part + c) * part + d) * part + e) * part + f) * part + g
    return float_of_bits(np.int32(bits_of_float(power) - (whole << np.int32(23))))


@njit(nogil=True, cache=True, boundscheck=False, fastmath={"contract"})  # type: ignore[untyped-decorator]
def _minus_log(u: Any) -> Any:
    """-log(u) for normal u <= 1, never negative."""
    bits = bits_of_float(u)
    exponent = np.int32(np.int32(bits - _HALF_ROOT_BITS) >> np.int32(23))
    x = float_of_bits(np.int32(bits - np.int32(exponent << np.int32(23)))) - np.float32(1.0)
    a, b, c, d, e, f, g, h, i, j = _LOG1P
    series = ((((((((a * x + b) * x + c) * x + d) * x + e) * x + f) * x + g) * x + h) * x + i) * x + j
    return max(-(np.float32(exponent) * _LN_2 + x * series), np.float32(0.0))


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _rotate(values: Any, shift: Any, out: Any) -> None:
    """out[i] = values[(i + shift) mod size]."""
    rest = out.size - shift
    out[:rest] = values[shift:]
    out[rest:] = values[:shift]


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _add_rotated(values: Any, shift: Any, total: Any) -> None:
    """total[(i + shift) mod size] += values[i]."""
    rest = total.size - shift
    for i in range(rest):
        total[shift + i] += values[i]
    for i in range(shift):
        total[i] += values[rest + i]


# numpy's error model: no branch on a divisor of zero, which cannot occur, to stand in the way of vectors
@njit(nogil=True, cache=True, boundscheck=False, fastmath={"contract"}, error_model="numpy")  # type: ignore[untyped-decorator]
def _combine(a: Any, b: Any, out: Any) -> None:
    """u of two edges together from the u of each; all float32 [lanes]."""
    for i in range(out.size):
        out[i] = (a[i] + b[i]) / (np.float32(1.0) + a[i] * b[i])


@njit(nogil=True, cache=True, boundscheck=False, fastmath={"contract"})  # type: ignore[untyped-decorator]
def _answer(rest: Any, signs: Any, edge: Any) -> None:
    """The LLR that a check sends along `edge`, in place: magnitude from the other edges' u, sign from all but its own."""
    for i in range(edge.size):
        sign = np.int32((bits_of_float(signs[i]) ^ bits_of_float(edge[i])) & _SIGN)
        edge[i] = float_of_bits(np.int32(bits_of_float(_minus_log(rest[i])) | sign))


@njit(nogil=True, cache=True, boundscheck=False, fastmath={"contract"})  # type: ignore[untyped-decorator]
def _combined(inputs: Any, degree: Any, u: Any, ahead: Any, last: Any) -> None:
    """float32 inputs[:degree], one row per edge -> the check's answers, in place.

    Scratch: `u` and `ahead` hold a row per edge (and `u` one more), `last` three rows.
    """
    signs, behind, rest = last[0], last[1], last[2]
    signs[:] = np.float32(0.0)
    for edge in range(degree):
        for i in range(signs.size):
            value = inputs[edge, i]
            u[edge, i] = _exp_minus(min(abs(value), _LARGEST))
            signs[i] = float_of_bits(np.int32(bits_of_float(signs[i]) ^ (bits_of_float(value) & _SIGN)))
    ahead[0] = u[0]
    for edge in range(1, degree - 1):
        _combine(ahead[edge - 1], u[edge], ahead[edge])
    _answer(ahead[degree - 2], signs, inputs[degree - 1])
    behind[:] = u[degree - 1]
    for edge in range(degree - 2, 0, -1):
        _combine(ahead[edge - 1], behind, rest)
        _answer(rest, signs, inputs[edge])
        _combine(u[edge], behind, behind)
    _answer(behind, signs, inputs[0])


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _update(graph: Any, values: Any, target: Any, own_values: Any, messages: Any, scratch: Any) -> None:
    """One iteration over all layers: posteriors are read from `values`, their changes added to `target`.

    The two are one array for a layered schedule; for a flooding one `target` starts as a copy. `own_values` takes the
    posteriors of the parity bits of one check only.
    """
    inputs, u, ahead, last = scratch[0], scratch[1], scratch[2], scratch[3]
    change = last[0]
    for layer in range(graph.own.size):
        first, end = graph.first_edge[layer], graph.first_edge[layer + 1]
        degree = end - first
        for edge in range(first, end):
            row = inputs[edge - first]
            _rotate(values[graph.column[edge]], graph.shift[edge], row)
            for i in range(graph.lanes):
                row[i] -= messages[edge, i]
        own = graph.own[layer]
        if own >= 0:
            inputs[degree] = values[own]
        _combined(inputs, degree + 1 if own >= 0 else degree, u, ahead, last)
        for edge in range(first, end):
            row = inputs[edge - first]
            for i in range(graph.lanes):
                change[i] = row[i] - messages[edge, i]
                messages[edge, i] = row[i]
            _add_rotated(change, graph.shift[edge], target[graph.column[edge]])
        if own >= 0:
            for i in range(graph.lanes):
                own_values[own, i] = values[own, i] + inputs[degree, i]


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _failed_words(graph: Any, values: Any, own_values: Any, scratch: Any, failed: Any) -> None:
    """failed[g] = whether code word g has a check that fails."""
    parity, row = scratch[0, 0], scratch[0, 1]
    failed[:] = False
    for layer in range(graph.own.size):
        parity[:] = np.float32(1.0)
        if graph.own[layer] >= 0:
            parity[:] = own_values[graph.own[layer]]
        for edge in range(graph.first_edge[layer], graph.first_edge[layer + 1]):
            _rotate(values[graph.column[edge]], graph.shift[edge], row)
            for i in range(graph.lanes):
                parity[i] = np.float32(-1.0) if (parity[i] < 0) != (row[i] < 0) else np.float32(1.0)
        for i in range(graph.lanes):
            if parity[i] < 0:
                failed[i % graph.words] = True


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _decode_groups(
    llr: Any, begin: int, end: int, graph: Any, edges_at_most: int, flooding: bool, iterations: int, early_stop: bool,
    bits: Any, decided: Any, verdicts: Any, used: Any,
) -> None:  # fmt: skip
    """Decode groups begin..end of `graph.words` code words each."""
    lanes, words = graph.lanes, graph.words
    values = np.empty((graph.columns, lanes), np.float32)
    own_values = np.empty((graph.columns, lanes), np.float32)
    before = np.empty((graph.columns, lanes), np.float32)
    messages = np.empty((graph.column.size, lanes), np.float32)
    scratch = np.empty((4, edges_at_most + 2, lanes), np.float32)
    failed = np.empty(words, np.bool_)
    settled = np.empty(words, np.bool_)
    flat = values.reshape(-1)
    for group in range(begin, end):
        count = min(words, llr.shape[0] - group * words)
        values[:] = 0
        messages[:] = 0
        for place in graph.filler:
            flat[place : place + words] = _CERTAIN
        for word in range(count):
            for i in range(graph.place.size):
                flat[graph.place[i] + word] = min(max(-llr[group * words + word, i], -_CERTAIN), _CERTAIN)
        settled[:] = False
        for iteration in range(iterations):
            if flooding:
                before[:] = values
                _update(graph, before, values, own_values, messages, scratch)
            else:
                _update(graph, values, values, own_values, messages, scratch)
            last = iteration == iterations - 1
            if not (early_stop or last):
                continue
            _failed_words(graph, values, own_values, scratch, failed)
            for word in range(count):
                if not settled[word] and (last or not failed[word]):
                    # read off now, so that its neighbours in the group do not matter
                    index = group * words + word
                    decided[index] = True
                    for i in range(bits.shape[1]):
                        bits[index, i] = flat[i * words + word] < 0
                        decided[index] &= flat[i * words + word] != 0
                    verdicts[index] = not failed[word]
                    used[index] = iteration + 1
                    settled[word] = decided[index]
            if settled[:count].all():
                break


def _make_graph(block: CodeBlock, received: NDArray[np.int64], words: int) -> _Graph:
    rows = useful_rows(block, received)
    systematic = SYSTEMATIC[block.base_graph]
    core = systematic + CORE_ROWS
    pairs = [np.flatnonzero(block.shifts[row, :core] >= 0) for row in rows]
    shifts = np.concatenate([block.shifts[row, columns] for row, columns in zip(rows, pairs, strict=True)])
    return _Graph(
        lanes=block.z * words,
        words=words,
        column=np.concatenate(pairs).astype(np.int64),
        shift=shifts * words,
        first_edge=np.concatenate([[0], np.cumsum([len(p) for p in pairs])]).astype(np.int64),
        own=np.array([-1 if row < CORE_ROWS else systematic + row for row in rows], np.int64),
        place=received * words,
        filler=np.arange(block.k, block.systematic, dtype=np.int64) * words,
        columns=block.shifts.shape[1],
    )


class SumProductDecoder(BlockDecoder):
    """Exact belief propagation in float32, layered or flooding, on the CPU, on all of numba's threads."""

    def __init__(self, block: CodeBlock, received: NDArray[np.int64], settings: BlockSettings) -> None:
        self.block, self.received, self.settings = block, received, settings
        self._graph = _make_graph(block, received, words_side_by_side(block.z, _ENOUGH_LANES))

    def decode(self, llr: Tensor) -> BlockDecoded:
        values = llr.detach().cpu().contiguous().numpy()
        bits = np.empty((values.shape[0], self.block.k), np.uint8)
        decided, verdicts = np.empty((2, values.shape[0]), np.bool_)
        used = np.empty(values.shape[0], np.int32)
        most = int(np.diff(self._graph.first_edge).max())

        def task(begin: int, end: int) -> None:
            _decode_groups(
                values, begin, end, self._graph, most, self.settings.schedule == "flooding",
                self.settings.iterations, self.settings.early_stop, bits, decided, verdicts, used,
            )  # fmt: skip

        spread(task, -(-values.shape[0] // self._graph.words))
        return BlockDecoded(*map(torch.from_numpy, (bits, decided, verdicts, used)))
