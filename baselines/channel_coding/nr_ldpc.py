"""The LDPC codes of 5G NR (TS 38.212): base graphs, lifting sizes, encoding structure and rate matching of one code block."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jscclink.errors import InputError

# TS 38.212, table 5.3.2-1: lifting sizes a * 2^j by set index i_LS
_LIFTING_FACTORS = (2, 3, 5, 7, 9, 11, 13, 15)
_MAX_LIFTING = 384
LIFTING_SIZES: dict[int, int] = {
    a << j: index for index, a in enumerate(_LIFTING_FACTORS) for j in range(8) if a << j <= _MAX_LIFTING
}

# rows, columns and systematic columns of base graphs 1 and 2 (TS 38.212, 5.3.2)
_ROWS = {1: 46, 2: 42}
COLUMNS = {1: 68, 2: 52}
SYSTEMATIC = {1: 22, 2: 10}
# largest code block in bits, CRC included (TS 38.212, 5.2.2)
MAX_BLOCK = {1: 8448, 2: 3840}
# numerators of the starting positions k0 (TS 38.212, table 5.4.2.1-2)
_START_NUMERATORS = {1: (0, 17, 33, 56), 2: (0, 13, 25, 43)}
CORE_ROWS = 4


@lru_cache(maxsize=16)
def base_matrix(base_graph: int, set_index: int) -> NDArray[np.int16]:
    """Shift values of a base graph: int16 [rows, columns], -1 where the block is zero.

    Read from the tables of TS 38.212 (5.3.2-2 and 5.3.2-3) that Sionna ships; `set_index` is i_LS, 0-7. The values are
    those of the table, still to be taken modulo the lifting size.
    """
    spec = find_spec("sionna")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("The 5G base graphs are read from the package sionna-no-rt, which is not installed; install it.")
    folder = Path(next(iter(spec.submodule_search_locations)))
    table = np.genfromtxt(folder / f"phy/fec/ldpc/codes/5G_bg{base_graph}.csv", delimiter=";", skip_header=2)
    matrix = np.full((_ROWS[base_graph], COLUMNS[base_graph]), -1, np.int16)
    row = 0
    for line in table:
        row = row if np.isnan(line[0]) else int(line[0])  # the row index stands only at the row's first entry
        matrix[row, int(line[1])] = int(line[2 + set_index])
    matrix.setflags(write=False)
    return matrix


def select_base_graph(k: int, rate: float) -> int:
    """Base graph 1 or 2 for `k` transport-block bits (without CRC) at code rate `rate` (TS 38.212, 7.2.2)."""
    return 2 if k <= 292 or (k <= 3824 and rate <= 0.67) or rate <= 0.25 else 1


def select_lifting_size(block_bits: int, transport_bits: int, base_graph: int) -> int:
    """Smallest lifting size Z with K_b Z >= `block_bits`; `transport_bits` (CRC included) sets K_b (TS 38.212, 5.2.2)."""
    if base_graph == 1:
        columns = 22
    else:
        columns = 10 if transport_bits > 640 else 9 if transport_bits > 560 else 8 if transport_bits > 192 else 6
    return min(z for z in LIFTING_SIZES if columns * z >= block_bits)


@dataclass(frozen=True)
class CodeBlock:
    """One code block's code: a lifted base graph with its filler bits and circular buffer (TS 38.212, 5.3.2 and 5.4.2).

    Attributes
    ----------
    base_graph : 1 or 2
    z : int
        Lifting size Z_c.
    k : int
        Bits that enter the encoder ahead of the filler bits (information and CRC).
    n_ref : int or None
        Size in bits of a limited circular buffer (N_ref); None for the whole buffer.
    """

    base_graph: int
    z: int
    k: int
    n_ref: int | None = None

    @property
    def shifts(self) -> NDArray[np.int64]:
        """int64 [rows, columns]: cyclic shifts modulo Z, -1 where the block is zero."""
        return _shifts(self.base_graph, self.z)

    @property
    def systematic(self) -> int:
        """Bits of the systematic part, filler included."""
        return SYSTEMATIC[self.base_graph] * self.z

    @property
    def length(self) -> int:
        """Bits of the whole code word, punctured and filler bits included."""
        return COLUMNS[self.base_graph] * self.z

    @property
    def buffer_length(self) -> int:
        """N_cb: bits of the circular buffer, filler included."""
        full = self.length - 2 * self.z
        return full if self.n_ref is None else min(full, self.n_ref)

    def buffer_positions(self) -> NDArray[np.int64]:
        """int64 [buffer bits without filler]: their places in the code word, in the buffer's order."""
        return _buffer_positions(self)

    def start(self, rv: int) -> int:
        """Place of redundancy version `rv`'s first bit among `buffer_positions`."""
        ring = self.buffer_length
        width = (COLUMNS[self.base_graph] - 2) * self.z
        k0 = _START_NUMERATORS[self.base_graph][rv] * ring // width * self.z
        return int(np.searchsorted(self.buffer_positions(), k0 + 2 * self.z)) % self.buffer_positions().size

    def sent_positions(self, count: int, rv: int, bits_per_symbol: int = 1) -> NDArray[np.int64]:
        """int64 [count]: place in the code word of each of `count` sent bits, interleaved (TS 38.212, 5.4.2.1-5.4.2.2)."""
        return _sent_positions(self, count, rv, bits_per_symbol)


@lru_cache(maxsize=64)
def _shifts(base_graph: int, z: int) -> NDArray[np.int64]:
    matrix = base_matrix(base_graph, LIFTING_SIZES[z]).astype(np.int64)
    return _frozen(np.where(matrix < 0, matrix, matrix % z))


@lru_cache(maxsize=64)
def _buffer_positions(block: CodeBlock) -> NDArray[np.int64]:
    places = np.arange(2 * block.z, 2 * block.z + block.buffer_length)
    return _frozen(places[(places < block.k) | (places >= block.systematic)])


@lru_cache(maxsize=64)
def _sent_positions(block: CodeBlock, count: int, rv: int, bits_per_symbol: int) -> NDArray[np.int64]:
    ring = block.buffer_positions()
    selected = ring[(block.start(rv) + np.arange(count)) % ring.size]
    return _frozen(np.ascontiguousarray(selected.reshape(bits_per_symbol, -1).T).reshape(-1))


def _frozen(array: NDArray[np.int64]) -> NDArray[np.int64]:
    """The array, closed to writing since all who ask share it."""
    array.setflags(write=False)
    return array
