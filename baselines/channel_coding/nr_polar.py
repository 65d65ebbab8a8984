"""The polar codes of 5G NR (TS 38.212): reliability order, mother code, frozen bits, interleavers and rate matching."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from math import ceil, isqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jscclink.baselines.channel_coding.crc import crc_length, parity
from jscclink.errors import InputError

Indices = NDArray[np.int64]

# TS 38.212, table 5.4.1.1-1: order of the 32 sub-blocks
_SUB_BLOCKS = np.array(
    [0, 1, 2, 4, 3, 5, 6, 7, 8, 16, 9, 17, 10, 18, 11, 19, 12, 20, 13, 21, 14, 22, 15, 23, 24, 25, 26, 28, 27, 29, 30, 31]
)
# most bits that the input interleaver takes (TS 38.212, 5.3.1.1)
MAX_INTERLEAVED = 164
# TS 38.212, 5.3.1: log2 of the shortest and of the longest mother codes
_SHORTEST, _LONGEST = 5, {"uplink": 10, "downlink": 9}


@lru_cache(maxsize=1)
def reliability_order() -> Indices:
    """int64 [1024]: positions from the least to the most reliable (TS 38.212, table 5.3.1.2-1, as shipped by Sionna)."""
    spec = find_spec("sionna")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("The polar sequence is read from the package sionna-no-rt, which is not installed; install it.")
    folder = Path(next(iter(spec.submodule_search_locations)))
    order = np.loadtxt(folder / "phy/fec/polar/codes/polar_5G.csv", delimiter=";", dtype=np.int64)[:, 1]
    order.setflags(write=False)
    return order


def sub_block_interleaver(length: int) -> Indices:
    """int64 [length]: place in the code word of the n-th bit behind the sub-block interleaver, J(n) (TS 38.212, 5.4.1.1)."""
    n = np.arange(length)
    return np.asarray(_SUB_BLOCKS[32 * n // length] * (length // 32) + n % (length // 32))


def triangular_interleaver(length: int) -> Indices:
    """int64 [length]: which rate-matched bit is sent n-th (TS 38.212, 5.4.1.3): in by rows of a triangle, out by columns."""
    side = (isqrt(8 * length + 1) - 1) // 2
    side += side * (side + 1) // 2 < length
    rows, columns = np.indices((side, side))
    inside = rows + columns < side
    places = np.full((side, side), -1)
    places[inside] = np.arange(int(inside.sum()))
    by_columns = places.T.ravel()
    return np.asarray(by_columns[(by_columns >= 0) & (by_columns < length)])


@lru_cache(maxsize=1)
def _input_pattern() -> Indices:
    """int64 [164]: the input interleaver for the longest block, TS 38.212, table 5.3.1.1-1.

    The table's first 140 entries follow from its purpose, to send each check bit of CRC-24C as soon as the bits it covers are
    out: check bit i takes with it, in ascending order, the information bits of its parity equation that are still waiting.
    """
    info = MAX_INTERLEAVED - crc_length("CRC24C")
    checks = parity(np.eye(info, dtype=np.uint8), "CRC24C").astype(bool)
    pattern: list[int] = []
    waiting = np.ones(info, dtype=bool)
    for check in range(checks.shape[1]):
        pattern += np.flatnonzero(waiting & checks[:, check]).tolist()
        waiting &= ~checks[:, check]
        pattern.append(info + check)
    return np.array(pattern)


def input_interleaver(length: int) -> Indices:
    """int64 [length]: which of the bits (information, then CRC) enters the encoder n-th (TS 38.212, 5.3.1.1)."""
    pattern = _input_pattern() - (MAX_INTERLEAVED - length)
    return np.asarray(pattern[pattern >= 0])


@dataclass(frozen=True)
class PolarBlock:
    """One code block's code.

    Attributes
    ----------
    k : int
        Information bits, CRC not counted.
    e : int
        Coded bits sent (E).
    link : "uplink" or "downlink"
        Uplink: channel interleaver, mother codes to 1024 bits. Downlink: input interleaver, mother codes to 512 bits.
    crc : str
        Name of the CRC.
    """

    k: int
    e: int
    link: str
    crc: str

    @property
    def with_crc(self) -> int:
        """Bits that enter the encoder (K)."""
        return self.k + crc_length(self.crc)

    @cached_property
    def length(self) -> int:
        """Bits of the mother code word (N), a power of two (TS 38.212, 5.3.1)."""
        log_e = (self.e - 1).bit_length()
        if 8 * self.e <= 9 << (log_e - 1) and 16 * self.with_crc < 9 * self.e:
            log_e -= 1
        log_k = (8 * self.with_crc - 1).bit_length()  # no rate below 1/8
        return 1 << max(min(log_e, log_k, _LONGEST[self.link]), _SHORTEST)

    @property
    def punctured(self) -> bool:
        """Whether a code word that is too long loses its first bits (unknown to the receiver) or its last ones (zeros)."""
        return 16 * self.with_crc <= 7 * self.e

    @cached_property
    def info_positions(self) -> Indices:
        """int64 [K]: ascending positions at the encoder's input that carry bits (TS 38.212, 5.4.1.1 and 5.3.1.2)."""
        n, e, order = self.length, self.e, sub_block_interleaver(self.length)
        usable = np.ones(n, dtype=bool)
        if e < n and self.punctured:
            usable[order[: n - e]] = False
            usable[: max(ceil(3 * n / 4 - e / 2) if 4 * e >= 3 * n else ceil(9 * n / 16 - e / 4), 0)] = False
        elif e < n:
            usable[order[e:]] = False
        ranked = reliability_order()[reliability_order() < n]
        return np.sort(ranked[usable[ranked]][-self.with_crc :])

    @cached_property
    def input_order(self) -> Indices:
        """int64 [K]: which of the bits (information, then CRC) stands at each of `info_positions`."""
        return input_interleaver(self.with_crc) if self.link == "downlink" else np.arange(self.with_crc)

    @cached_property
    def sent_positions(self) -> Indices:
        """int64 [E]: place in the mother code word of each sent bit, in the order of sending (TS 38.212, 5.4.1.1-5.4.1.3)."""
        skip = self.length - self.e if self.e < self.length and self.punctured else 0
        selected = sub_block_interleaver(self.length)[(np.arange(self.e) + skip) % self.length]
        return selected[triangular_interleaver(self.e)] if self.link == "uplink" else selected

    @cached_property
    def known_positions(self) -> Indices:
        """int64: places in the mother code word that are not sent because they are zero (shortening)."""
        if self.e >= self.length or self.punctured:
            return np.empty(0, np.int64)
        return sub_block_interleaver(self.length)[self.e :]

    @cached_property
    def syndromes(self) -> NDArray[np.uint32]:
        """uint32 [K]: what a one at each of `info_positions` adds to the CRC's remainder."""
        degree = crc_length(self.crc)
        weights = (np.uint32(1) << np.arange(degree - 1, -1, -1, dtype=np.uint32)).astype(np.uint32)
        columns = np.concatenate([parity(np.eye(self.k, dtype=np.uint8), self.crc), np.eye(degree, dtype=np.uint8)])
        return np.asarray((columns * weights).sum(axis=1, dtype=np.uint32)[self.input_order])
