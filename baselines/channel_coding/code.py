"""What every channel code looks like from outside: bits in, coded bits out; LLRs in, bits and a verdict out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Decoded:
    """What a decoder says of a batch of blocks.

    Attributes
    ----------
    bits : uint8 [blocks, k]
        Decided information bits (without the CRC bits that the code itself attached).
    ok : bool [blocks]
        The receiver's own verdict: the CRC where the code carries one, else the syndrome. Never compared with the truth.
    iterations : int32 [blocks]
        Decoder iterations (LDPC) or the list size that was used (polar); 0 where that has no meaning.
    """

    bits: Tensor
    ok: Tensor
    iterations: Tensor


class ChannelCode(ABC):
    """A block code of fixed size; blocks are independent and batched along the first axis.

    Attributes
    ----------
    k : int
        Information bits per block, as the user hands them over (CRC, segmentation and filler are the code's own affair).
    n : int
        Coded bits per block, as sent.
    overhead_bits : dict[str, int]
        Bits per block that are neither information nor parity, by name (`crc`, `filler`), for the ledger.
    """

    k: int
    n: int
    overhead_bits: dict[str, int]

    @abstractmethod
    def encode(self, bits: Tensor) -> Tensor:
        """uint8 [blocks, k] of 0/1 -> uint8 [blocks, n], in the order in which the bits are sent (interleaved)."""

    @abstractmethod
    def decode(self, llr: Tensor) -> Decoded:
        """float32 [blocks, n], log P(b=1)/P(b=0), in the order in which the bits were sent -> `Decoded`.

        Infinite LLRs are saturated; NaN raises `InputError`.
        """
