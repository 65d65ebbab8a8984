"""HARQ: retransmissions whose LLRs add up in the receiver's soft buffer (chase combining, incremental redundancy)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jscclink.baselines.channel_coding.code import Decoded
from jscclink.baselines.channel_coding.ldpc import LDPC5G
from jscclink.baselines.channel_coding.llr import combine, refuse_nan
from jscclink.errors import InputError

# redundancy versions of successive transmissions: the order of TS 38.214, 5.1.2.1 for rvs unspecified by the scheduler
INCREMENTAL = (0, 2, 3, 1)


class HarqBuffer:
    """The receiver's soft buffer for a batch of transport blocks.

        bits --code.encode_version(bits, rv)--> channel --> LLR --buffer.add(llr, rv)--> buffer.decode()
                          ^                                                                  |
                          +------------ next redundancy version while not ok <---------------+

    The same redundancy version again is chase combining; another one is incremental redundancy.

    Parameters
    ----------
    code : LDPC5G
        The code of every transmission; its own `rv` plays no part here.
    batch : int
        Transport blocks.
    """

    def __init__(self, code: LDPC5G, batch: int) -> None:
        if batch < 1:
            raise InputError(f"HarqBuffer: batch = {batch} is not allowed; it must be at least 1.")
        self.code = code
        size = code.segmentation.block.buffer_positions().size
        self._sums = torch.zeros((batch, code.segmentation.count, size), dtype=torch.float32)
        self._received: NDArray[np.bool_] = np.zeros(size, np.bool_)

    def add(self, llr: Tensor, rv: int, rows: Tensor | None = None) -> None:
        """Add one transmission.

        llr : float32 [blocks, n]
            log P(b=1)/P(b=0) in the order in which the bits were sent. Infinite values saturate, NaN is refused.
        rv : 0-3
            Redundancy version that was sent.
        rows : int64 or bool, optional
            Which transport blocks of the batch were sent again, one row of `llr` each; all of them by default.
        """
        if rv not in (0, 1, 2, 3):
            raise InputError(f"HarqBuffer: redundancy version rv = {rv} is unknown; allowed are 0, 1, 2, 3.")
        blocks = torch.arange(self._sums.shape[0])
        blocks = blocks if rows is None else blocks[rows.cpu()]
        if llr.shape != (blocks.numel(), self.code.n):
            raise InputError(
                f"HarqBuffer: LLRs of shape {list(llr.shape)} do not fit; "
                f"{blocks.numel()} transport blocks of n = {self.code.n} coded bits make "
                f"[{blocks.numel()}, {self.code.n}]."
            )
        values = llr.detach().float()
        refuse_nan(values)
        self._sums = self._sums.to(llr.device)
        ring = self.code.segmentation.block.buffer_positions()
        column = 0
        for index, size in enumerate(self.code.sent):
            places = np.searchsorted(ring, self.code.positions(size, rv))
            sums = combine(values[:, column : column + size], places, ring.size)
            self._sums[blocks.to(llr.device), index] += sums
            self._received[places] = True
            column += size

    def decode(self) -> Decoded:
        """Decode all transport blocks from what has arrived so far."""
        if not self._received.any():
            raise InputError("HarqBuffer: nothing has been received yet; call add(llr, rv) first.")
        return self.code.decode_buffer(self._sums, self._received)
