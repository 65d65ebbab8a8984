"""How one code block is laid out for the vectorised decoder: buffers, rotations and the order of the layers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jscclink.baselines.channel_coding.decoders.simd import LANES, LARGEST_POSTERIOR
from jscclink.baselines.channel_coding.nr_ldpc import CORE_ROWS, SYSTEMATIC, CodeBlock


def words_side_by_side(z: int, enough_lanes: int) -> int:
    """Code words of lifting size `z` to decode together for `enough_lanes`: a power of two up to `LANES`."""
    words = 1
    while words * z < enough_lanes and words < LANES:
        words *= 2
    return words


class Layout(NamedTuple):
    """The decoder's program for one code block: which bytes each layer reads and writes.

    Lane z * words + g of a column belongs to bit z of code word g, so a cyclic shift by s bits is a rotation by s * words
    lanes. A layer reads a column rotated into its own order and writes it back in that order to the column's second
    buffer; the next layer rotates by the difference. Rotations are contiguous loads since a column's first lanes are
    repeated behind its last. After an iteration each column stands again as at the start, in one of its two buffers.
    """

    lanes: int  # lifting size times words
    words: int
    degree: NDArray[np.int64]  # [layers] edges, the check's own parity bit not counted
    own: NDArray[np.int64]  # [layers] address of the check's own parity bits, -1 in the core
    first_edge: NDArray[np.int64]  # [layers + 1]
    source: NDArray[np.int32]  # [2, blocks * edges] where a block of lanes is read, in even and odd iterations
    target: NDArray[np.int32]  # [2, edges] where a layer writes its columns
    check_source: NDArray[np.int32]  # as `source`, for the syndrome after the iteration
    place: NDArray[np.uint32]  # [received] address of each received bit of the first code word
    output: NDArray[np.uint32]  # [2, k] address of each decided bit after even and odd iterations
    template: NDArray[np.int8]  # [size] the buffer without any reception: zero, and certainty for the filler bits
    columns: NDArray[np.int64]  # [columns] address of each column


def useful_rows(block: CodeBlock, received: NDArray[np.int64]) -> list[int]:
    """Rows of the base graph that can tell anything, given which bits of the code word are received.

    A row beyond the core whose own parity bits were never sent answers zero to everyone.
    """
    known = np.zeros(block.length, np.bool_)
    known[received] = True
    extension = np.asarray(known[block.systematic :].reshape(-1, block.z).any(axis=1))
    return [row for row in range(block.shifts.shape[0]) if row < CORE_ROWS or extension[row]]


def make_layout(block: CodeBlock, received: NDArray[np.int64], words: int) -> Layout:
    """Lay out `block` for `words` code words side by side.

    `received` is int64 [received]: the place in the code word of each LLR, in the order in which they arrive.
    """
    shifts, z = block.shifts, block.z
    rows = useful_rows(block, received)
    core = SYSTEMATIC[block.base_graph] + CORE_ROWS
    lanes = z * words
    blocks = -(-lanes // LANES)
    stride = blocks * LANES + 2 * LANES  # a column's lanes, their repeated beginning, room for the last block's tail
    edges = [[int(c) for c in np.flatnonzero(shifts[row, :core] >= 0)] for row in rows]
    visits = np.bincount(np.concatenate(edges), minlength=core)
    home = np.zeros(core, np.int64)
    for row, columns in zip(rows, edges, strict=True):
        home[columns] = shifts[row, columns]

    def address(column: int, side: int, rotation: int, index: int) -> int:
        return (2 * column + side) * stride + (rotation % z * words + index * LANES) % lanes

    sources, targets, checks = [], [], []
    for iteration in range(2):
        order, side = home.copy(), iteration * visits % 2
        final = (iteration + 1) * visits % 2
        for row, columns in zip(rows, edges, strict=True):
            for index in range(blocks):
                for c in columns:
                    sources.append(address(c, side[c], int(shifts[row, c]) - order[c], index))
                    checks.append(address(c, final[c], int(shifts[row, c]) - home[c], index))
            for c in columns:
                targets.append(address(c, 1 - side[c], 0, 0))
                side[c], order[c] = 1 - side[c], shifts[row, c]

    own_base = 2 * core * stride
    own = [-1 if row < CORE_ROWS else own_base + (i - CORE_ROWS) * stride for i, row in enumerate(rows)]
    place = np.full(block.length, -1, np.int64)
    bit = np.arange(z)
    for c in range(core):
        place[c * z + bit] = 2 * c * stride + (bit - home[c]) % z * words
    for row, start in zip(rows, own, strict=True):
        if start >= 0:
            place[(SYSTEMATIC[block.base_graph] + row) * z + bit] = start + bit * words
    template = np.zeros(own_base + max(len(rows) - CORE_ROWS, 0) * stride, np.int8)
    for filler in range(block.k, block.systematic):
        template[place[filler] : place[filler] + words] = LARGEST_POSTERIOR
    info = place[: block.k]
    after = visits[np.arange(block.k) // z]
    output = np.stack([info + stride * (after * (it + 1) % 2) for it in range(2)])
    degrees = np.array([len(e) for e in edges], np.int64)
    return Layout(
        lanes=lanes,
        words=words,
        degree=degrees,
        own=np.array(own, np.int64),
        first_edge=np.concatenate([[0], np.cumsum(degrees)]).astype(np.int64),
        source=np.array(sources, np.int32).reshape(2, -1),
        target=np.array(targets, np.int32).reshape(2, -1),
        check_source=np.array(checks, np.int32).reshape(2, -1),
        place=place[received].astype(np.uint32),
        output=output.astype(np.uint32),
        template=template,
        columns=np.array([2 * c * stride for c in range(core)], np.int64),
    )
