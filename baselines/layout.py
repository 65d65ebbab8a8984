"""How the bits of one picture are laid out in code blocks, so that the CBR is met and every bit is accounted for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from .mcs import Mcs

HEADER_BITS = 24  # length of the file in bytes, ahead of it
# bits of a code block, CRC included, that 5G LDPC does not cut up (TS 38.212, 5.2.2 and 7.2.2): base graph 1, and base graph 2,
# which takes over at code rates up to 1/4 (here a little earlier: the CRC does not count in the rate that decides)
_LONGEST_BLOCK, _LONGEST_BLOCK_AT_LOW_RATE, _LOW_RATE = 8448, 3840, 0.26


@dataclass(frozen=True)
class Layout:
    """`blocks` equal code blocks of one picture.

        | length 24 | file ........ | filler |      payload: blocks x k bits, scrambled
        |  k + CRC -> n  |  k + CRC -> n  | ...     -> blocks x n / bits_per_symbol channel uses

    Attributes
    ----------
    blocks : int
    k, n : int
        Payload bits (without CRC) and coded bits per block.
    crc_bits : int
        CRC bits per block.
    bits_per_symbol : int
    """

    blocks: int
    k: int
    n: int
    crc_bits: int
    bits_per_symbol: int

    @property
    def payload_bits(self) -> int:
        return self.blocks * self.k

    @property
    def uses(self) -> int:
        """Channel uses per picture."""
        return self.blocks * self.n // self.bits_per_symbol

    @property
    def max_file_bytes(self) -> int:
        """The longest file that fits; below 0 where not even the header does."""
        return (self.payload_bits - HEADER_BITS) // 8

    def bits(self, file_bytes: int) -> dict[str, int]:
        """Where the bits of one picture go: they sum up to blocks x n."""
        crc = self.blocks * self.crc_bits
        return {
            "source": 8 * file_bytes,
            "header": HEADER_BITS,
            "filler": self.payload_bits - HEADER_BITS - 8 * file_bytes,
            "crc": crc,
            "parity": self.blocks * self.n - self.payload_bits - crc,
        }


@lru_cache(maxsize=256)
def lay_out(uses: int, mcs: Mcs, block_length: int | None) -> Layout | None:
    """The layout that fills a budget of channel uses with blocks of at most `block_length` coded bits.

    None for the length: the longest blocks that 5G LDPC takes without segmentation, 8448 bits before coding (3840 at code rates
    up to 1/4). A longer `block_length` is cut down to that.

    The blocks are equal (a short last one would be the weakest): n is the budget's bits shared out evenly and rounded down to
    whole symbols. k + CRC is the rate times n, rounded down. The CRC is that of a transport block of TS 38.212, 7.2.1: 16 bits
    up to 3824 payload bits, 24 beyond. None where the budget holds no block of at least one payload byte.
    """
    longest = int((_LONGEST_BLOCK_AT_LOW_RATE if mcs.rate <= _LOW_RATE else _LONGEST_BLOCK) / mcs.rate)
    block_length = longest if block_length is None else min(block_length, longest)
    symbols_at_most = max(block_length // mcs.bits_per_symbol, 1)
    blocks = -(-uses // symbols_at_most)
    if blocks == 0:
        return None
    n = uses // blocks * mcs.bits_per_symbol
    protected = int(n * mcs.rate)
    crc_bits = 16 if protected - 16 <= 3824 else 24
    k = protected - crc_bits
    if k < HEADER_BITS + 8:
        return None
    return Layout(blocks, k, n, crc_bits, mcs.bits_per_symbol)
