"""How the bits of one picture are laid out in code blocks, so that the CBR is met and every bit is accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .mcs import Mcs

HEADER_BITS = 24  # length of the file in bytes, ahead of it


@dataclass(frozen=True)
class BlockRules:
    """How long a code block of a channel code may be, and which CRC it carries.

    Attributes
    ----------
    most_protected, most_protected_at_low_rate : int
        Bits before coding, CRC included, that the code does not cut up; the second at code rates up to 1/4 or a little above.
    most_coded : int or None
        Coded bits.
    crc_bits, long_crc_bits : int
        CRC bits up to 3824 payload bits, and beyond.
    """

    most_protected: int
    most_protected_at_low_rate: int
    most_coded: int | None
    crc_bits: int
    long_crc_bits: int

    def crc_of(self, protected: int) -> int:
        """CRC bits among so many bits before coding."""
        return self.crc_bits if protected - self.crc_bits <= _LONGEST_WITH_SHORT_CRC else self.long_crc_bits

    def longest(self, mcs: Mcs) -> int:
        """Most coded bits of a block."""
        protected = self.most_protected_at_low_rate if mcs.rate <= _LOW_RATE else self.most_protected
        longest = int(protected / mcs.rate)
        return longest if self.most_coded is None else min(longest, self.most_coded)


# TS 38.212, 7.2.1: CRC of a transport block; 5.2.2 and 7.2.2: base graph 1, and base graph 2, which takes over at code rates up
# to 1/4 (here a little earlier: the CRC does not count in the rate that decides)
_LONGEST_WITH_SHORT_CRC, _LOW_RATE = 3824, 0.26
LDPC_RULES = BlockRules(8448, 3840, None, 16, 24)
# 6.3.1.2.1: CRC-11, one segment below 1013 bits of payload; 5.3.1: a mother code of at most 1024 bits. 7.3.2: CRC-24, 140 bits
_POLAR_RULES = {"uplink": BlockRules(1023, 1023, 1024, 11, 11), "downlink": BlockRules(164, 164, 8192, 24, 24)}


def rules_of(code: str, options: Mapping[str, Any]) -> BlockRules:
    """The rules of a channel code of the registry with its options; codes that are not known here count as LDPC."""
    return _POLAR_RULES[options.get("link", "uplink")] if code == "polar" else LDPC_RULES


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
def lay_out(uses: int, mcs: Mcs, block_length: int | None, rules: BlockRules = LDPC_RULES) -> Layout | None:
    """The layout that fills a budget of channel uses with blocks of at most `block_length` coded bits.

    None for the length: the longest blocks that the code takes without segmentation: with 5G LDPC 8448 bits before coding (3840
    at code rates up to 1/4), with polar codes 1024 coded bits. A longer `block_length` is cut down to that.

    The blocks are equal (a short last one would be the weakest): n is the budget's bits shared out evenly and rounded down to
    whole symbols. k + CRC is the rate times n, rounded down; the CRC is what the code attaches. None where the budget holds no
    block of at least one payload byte.
    """
    longest = rules.longest(mcs)
    block_length = longest if block_length is None else min(block_length, longest)
    symbols_at_most = max(block_length // mcs.bits_per_symbol, 1)
    blocks = -(-uses // symbols_at_most)
    if blocks == 0:
        return None
    n = uses // blocks * mcs.bits_per_symbol
    protected = int(n * mcs.rate)
    crc_bits = rules.crc_of(protected)
    k = protected - crc_bits
    if k < HEADER_BITS + 8:
        return None
    return Layout(blocks, k, n, crc_bits, mcs.bits_per_symbol)
