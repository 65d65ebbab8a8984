"""From transport block to code blocks and back: CRCs, segmentation, base graph and sizes (TS 38.212, 5.2.2, 5.4.2, 7.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jscclink.baselines.channel_coding import crc
from jscclink.baselines.channel_coding.nr_ldpc import MAX_BLOCK, CodeBlock, select_base_graph, select_lifting_size
from jscclink.errors import InputError

BLOCK_CRC = "CRC24B"
_LARGEST_WITH_SHORT_CRC = 3824  # bits of a transport block that carries CRC16 rather than CRC24A


@dataclass(frozen=True)
class Segmentation:
    """How `k` information bits become code blocks of equal size.

    Attributes
    ----------
    k : int
        Information bits of the transport block.
    padding : int
        Zeros appended to it so that the code blocks come out equal (0 for the standard's transport block sizes).
    transport_crc : str or None
        CRC of the transport block.
    block_crc : str or None
        CRC of each code block; None where there is one block only or no CRC is wanted.
    count : int
        Number of code blocks C.
    block : CodeBlock
        The code of each of them.
    """

    k: int
    padding: int
    transport_crc: str | None
    block_crc: str | None
    count: int
    block: CodeBlock

    @property
    def overhead_bits(self) -> dict[str, int]:
        """Bits per transport block that are neither information nor parity, by name; filler bits are not sent."""
        length = self._length(self.transport_crc) + self.count * self._length(self.block_crc)
        return {"crc": length, "padding": self.padding}

    @staticmethod
    def _length(name: str | None) -> int:
        return 0 if name is None else crc.crc_length(name)

    def split(self, bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [batch, k] -> uint8 [batch * count, block.k]: padded, CRCs attached, blocks of one row consecutive."""
        if self.padding:
            bits = np.pad(bits, ((0, 0), (0, self.padding)))
        if self.transport_crc is not None:
            bits = crc.attach(bits, self.transport_crc)
        pieces = bits.reshape(bits.shape[0] * self.count, -1)
        return pieces if self.block_crc is None else crc.attach(pieces, self.block_crc)

    def join(
        self, pieces: NDArray[np.uint8], decided: NDArray[np.bool_], syndrome_ok: NDArray[np.bool_]
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Code blocks -> information bits uint8 [batch, k] and verdicts bool [batch].

        pieces : uint8 [batch * count, block.k]
        decided, syndrome_ok : bool [batch * count]

        A transport block is good if all its bits are decided and every CRC it carries is zero; where it carries none, if
        every syndrome is.
        """
        verdict = decided
        if self.block_crc is not None:
            verdict = verdict & crc.check(pieces, self.block_crc)
            pieces = pieces[:, : -self._length(self.block_crc)]
        elif self.transport_crc is None:
            verdict = verdict & syndrome_ok
        bits = pieces.reshape(pieces.shape[0] // self.count, -1)
        verdict = np.asarray(verdict.reshape(bits.shape[0], self.count).all(axis=1))
        if self.transport_crc is not None:
            verdict &= crc.check(bits, self.transport_crc)
        return bits[:, : self.k], verdict


def segment(
    k: int,
    rate: float,
    transport_crc: str = "auto",
    base_graph: Literal[1, 2] | None = None,
    n_ref: int | None = None,
) -> Segmentation:
    """Plan the code blocks of `k` information bits at code rate `rate`.

    transport_crc : "auto" takes the standard's (CRC24A above 3824 bits, else CRC16), "none" attaches no CRC at all, not
        even to code blocks; any other CRC of TS 38.212 by its name.
    base_graph : by default the standard's choice from `k` and `rate` (TS 38.212, 7.2.2).
    n_ref : bits of a limited circular buffer per code block; None for all.
    """
    name: str | None = transport_crc
    if transport_crc == "auto":
        name = "CRC24A" if k > _LARGEST_WITH_SHORT_CRC else "CRC16"
    elif transport_crc == "none":
        name = None
    else:
        crc.crc_length(transport_crc)
    graph = base_graph or select_base_graph(k, rate)
    largest = MAX_BLOCK[graph]
    total = k + (0 if name is None else crc.crc_length(name))
    if total <= largest:
        block_crc, count, padding, block_bits = None, 1, 0, total
    else:
        block_crc = None if name is None else BLOCK_CRC
        extra = 0 if block_crc is None else crc.crc_length(block_crc)
        count = -(-total // (largest - extra))
        padding = -total % count
        block_bits = (total + padding) // count + extra
    z = select_lifting_size(block_bits, total + padding, graph)
    return Segmentation(k, padding, name, block_crc, count, CodeBlock(graph, z, block_bits, n_ref))


def sent_per_block(n: int, count: int, bits_per_symbol: int) -> list[int]:
    """Coded bits E_r of each of `count` code blocks out of `n`, in whole symbols (TS 38.212, 5.4.2.1).

    `InputError` where `n` is not a whole number of symbols or leaves a block without any.
    """
    if n % bits_per_symbol:
        raise InputError(
            f"n = {n} coded bits do not fill whole symbols of {bits_per_symbol} bits; "
            f"take n = {n - n % bits_per_symbol} or {n + -n % bits_per_symbol}."
        )
    symbols = n // bits_per_symbol
    if symbols < count:
        raise InputError(f"n = {n} coded bits are too few for {count} code blocks; take a larger n.")
    small = count - symbols % count
    return [bits_per_symbol * (symbols // count + (r >= small)) for r in range(count)]
