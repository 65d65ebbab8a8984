"""Files over code blocks: what all digital schemes share between the source codec and the channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from jscclink.errors import InputError
from jscclink.simulator import registry

from .channel_coding.code import ChannelCode, Decoded
from .layout import HEADER_BITS, Layout, lay_out, rules_of
from .mcs import parse_mcs
from .modulation import Modulation
from .scrambling import gold_sequence

Demapper = Literal["maxlog", "exact"]

_FIRST_BLOCKS = 4


class Transport:
    """Carries one file per item in equal code blocks at one modulation and code rate.

        file -> length, file, filler -> scrambling -> blocks: CRC, channel code -> QAM symbols
        file <- length <- descrambling <- all CRCs right <- decoder <- LLRs <- symbols

    Parameters
    ----------
    mcs : str
        `16qam 1/2`, `table1/13`, ... (jscclink.baselines.mcs).
    block_length : int or None
        Most coded bits per block.
    code : str or mapping
        A channel code of the registry, with its options.
    demapper
        `maxlog` or `exact`.
    """

    def __init__(
        self, mcs: str, block_length: int | None = None, code: str | dict[str, Any] = "ldpc", demapper: Demapper = "maxlog"
    ) -> None:
        if block_length is not None and block_length < 64:
            raise InputError(f"block_length must be at least 64 coded bits; got {block_length}")
        self.mcs = parse_mcs(mcs)
        self.modulation = Modulation(self.mcs.bits_per_symbol)
        self._block_length = block_length
        self._demapper: Demapper = demapper
        self._code_name, self._code_options = registry.split("codes", code)
        registry.plugin("codes", self._code_name)
        self._coders: dict[Layout, ChannelCode] = {}

    def layout(self, uses: int | None) -> Layout | None:
        """How an item's bits fill so many channel uses; None where no code block fits."""
        if uses is None:
            raise InputError("digital schemes fill a budget: give the study a `cbr`")
        return lay_out(uses, self.mcs, self._block_length, rules_of(self._code_name, self._code_options))

    def coder(self, layout: Layout) -> ChannelCode:
        """The channel code of a layout's blocks, built at first need."""
        if layout not in self._coders:
            spec = {"name": self._code_name, **self._code_options, "k": layout.k, "n": layout.n}
            self._coders[layout] = registry.build("codes", {**spec, "bits_per_symbol": layout.bits_per_symbol})
        return self._coders[layout]

    def payload(self, files: Sequence[bytes | None], layout: Layout) -> Tensor:
        """Files of at most `layout.max_file_bytes` -> scrambled bits uint8 [items x blocks, k]; None: filler alone."""
        bits = np.zeros((len(files), layout.payload_bits), dtype=np.uint8)
        for row, file in zip(bits, files, strict=True):
            if file is not None:
                framed = len(file).to_bytes(HEADER_BITS // 8, "big") + file
                row[: 8 * len(framed)] = np.unpackbits(np.frombuffer(framed, dtype=np.uint8))
        bits ^= gold_sequence(layout.payload_bits)
        return torch.from_numpy(bits.reshape(-1, layout.k))

    def files(self, bits: Tensor, ok: Tensor, layout: Layout) -> list[bytes | None]:
        """Decoded uint8 [items x blocks, k] and their verdicts bool [items x blocks] -> files; None where a block is lost."""
        arrived = ok.reshape(-1, layout.blocks).all(1).tolist()
        payload = bits.reshape(-1, layout.payload_bits).cpu().numpy() ^ gold_sequence(layout.payload_bits)
        found: list[bytes | None] = []
        for row, all_right in zip(payload, arrived, strict=True):
            if not all_right:
                found.append(None)
                continue
            data = np.packbits(row[: row.size // 8 * 8]).tobytes()
            length = int.from_bytes(data[: HEADER_BITS // 8], "big")
            found.append(data[HEADER_BITS // 8 :][:length])
        return found

    def send(self, files: Sequence[bytes | None], layout: Layout, device: torch.device) -> Tensor:
        """Files -> complex64 [items, layout.uses]."""
        coded = self.coder(layout).encode(self.payload(files, layout).to(device))
        return self.modulation.map(coded.reshape(len(files), -1))

    def soft_bits(self, symbols: Tensor, noise_var: Tensor, layout: Layout) -> Tensor:
        """Unbiased symbols and their noise variance [items, layout.uses] -> LLRs float32 [items x blocks, n]."""
        return self.modulation.demap(symbols, noise_var, method=self._demapper).reshape(-1, layout.n)

    def receive(self, symbols: Tensor, noise_var: Tensor, layout: Layout) -> list[bytes | None]:
        """Unbiased symbols and their noise variance [items, layout.uses] -> files; None where a block is lost.

        One lost block loses the file, so an item whose first blocks fail is given up: below the threshold, where a decoder
        takes longest, most blocks need not be looked at.
        """
        first = min(_FIRST_BLOCKS, layout.blocks)
        cut = first * layout.n // layout.bits_per_symbol
        head = self._decode(symbols[:, :cut], noise_var[:, :cut], layout)
        alive = torch.nonzero(head.ok.reshape(-1, first).all(1)).flatten()
        bits, ok = head.bits.reshape(-1, first, layout.k)[alive], head.ok.reshape(-1, first)[alive]
        if first < layout.blocks and len(alive):
            tail = self._decode(symbols[alive, cut:], noise_var[alive, cut:], layout)
            bits = torch.cat([bits, tail.bits.reshape(len(alive), -1, layout.k)], 1)
            ok = torch.cat([ok, tail.ok.reshape(len(alive), -1)], 1)
        found: list[bytes | None] = [None] * len(symbols)
        for item, file in zip(alive.tolist(), self.files(bits, ok, layout), strict=True):
            found[item] = file
        return found

    def _decode(self, symbols: Tensor, noise_var: Tensor, layout: Layout) -> Decoded:
        return self.coder(layout).decode(self.soft_bits(symbols, noise_var, layout))


def bits_ledger(files: Sequence[bytes | None], layout: Layout) -> dict[str, Tensor]:
    """Where the bits of each item went, int64 [items] by purpose; items without a file are not sent."""
    rows = [None if file is None else layout.bits(len(file)) for file in files]
    return {purpose: torch.tensor([row[purpose] if row else 0 for row in rows]) for purpose in layout.bits(0)}
