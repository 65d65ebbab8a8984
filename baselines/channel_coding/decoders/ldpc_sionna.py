"""Sionna's belief propagation decoder behind the interface of ours: the reference, three orders of magnitude slower."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import Tensor

from jscclink.baselines.channel_coding.decoders.block import BlockDecoded, BlockDecoder, BlockSettings
from jscclink.baselines.channel_coding.decoders.layers import useful_rows
from jscclink.baselines.channel_coding.nr_ldpc import CodeBlock
from jscclink.errors import InputError

_CHECK_UPDATES = {"offset-min-sum": "offset-minsum", "sum-product": "boxplus-phi"}
_LARGEST = 20.0  # LLR of filler bits: Sionna's own bound on messages
_VALUES_AT_ONCE = 1 << 22  # messages held at a time


def parity_check_matrix(block: CodeBlock, rows: list[int]) -> csr_matrix:
    """Parity-check matrix of the given rows of the lifted base graph: [len(rows) * z, block.length]."""
    z = block.z
    lane = np.arange(z)
    pairs = [(i, c) for i, row in enumerate(rows) for c in np.flatnonzero(block.shifts[row] >= 0)]
    checks = np.concatenate([i * z + lane for i, _ in pairs])
    bits = np.concatenate([c * z + (lane + block.shifts[rows[i], c]) % z for i, c in pairs])
    return csr_matrix((np.ones(checks.size), (checks, bits)), shape=(len(rows) * z, block.length))


class SionnaDecoder(BlockDecoder):
    """`sionna.phy.fec.ldpc.LDPCBPDecoder` on the checks that matter, on the device of the LLRs."""

    def __init__(self, block: CodeBlock, received: NDArray[np.int64], settings: BlockSettings) -> None:
        if settings.algorithm not in _CHECK_UPDATES:
            raise InputError(
                f"LDPC5G: Sionna has no {settings.algorithm}; "
                f"with backend = 'sionna' take algorithm = {' or '.join(map(repr, _CHECK_UPDATES))}."
            )
        self.block, self.received, self.settings = block, received, settings
        rows = useful_rows(block, received)
        matrix = parity_check_matrix(block, rows)
        self._bits = np.flatnonzero(np.asarray(matrix.sum(axis=0)).ravel())  # bits that some check looks at
        self._matrix = matrix[:, self._bits]
        self._index = np.searchsorted(self._bits, received)
        self._filler = np.searchsorted(self._bits, np.arange(block.k, block.systematic))
        self._layers = np.arange(len(rows) * block.z).reshape(len(rows), block.z)
        self._decoders: dict[torch.device, torch.nn.Module] = {}

    def _decoder(self, device: torch.device) -> torch.nn.Module:
        if device not in self._decoders:
            from sionna.phy.fec.ldpc import LDPCBPDecoder

            # Sionna refuses "cuda" without a number
            name = f"cuda:{device.index or 0}" if device.type == "cuda" else device.type
            self._decoders[device] = LDPCBPDecoder(
                self._matrix,
                cn_update=_CHECK_UPDATES[self.settings.algorithm],
                cn_schedule=self._layers if self.settings.schedule == "layered" else "flooding",
                num_iter=self.settings.iterations,
                hard_out=False,
                device=name,
            )
        return self._decoders[device]

    def decode(self, llr: Tensor) -> BlockDecoded:
        # importing Sionna seeds torch's global generators
        with torch.random.fork_rng(devices=[llr.device] if llr.device.type == "cuda" else []):
            return self._decode(llr)

    def _decode(self, llr: Tensor) -> BlockDecoded:
        decoder = self._decoder(llr.device)
        step = max(1, _VALUES_AT_ONCE // self._matrix.nnz)
        index = torch.from_numpy(self._index).to(llr.device)
        bits, decided, good = [], [], []
        for begin in range(0, llr.shape[0], step):
            part = llr[begin : begin + step].clamp(-_LARGEST, _LARGEST)
            words = torch.zeros((part.shape[0], self._bits.size), dtype=torch.float32, device=llr.device)
            words[:, torch.from_numpy(self._filler).to(llr.device)] = -_LARGEST
            words[:, index] = part
            posterior = decoder(words).cpu()
            word = posterior > 0
            bits.append(word[:, : self.block.k].to(torch.uint8))
            decided.append((posterior[:, : self.block.k] != 0).all(dim=1))
            syndrome = self._matrix.astype(np.int32) @ word.numpy().T.astype(np.int32) % 2
            good.append(torch.from_numpy(~syndrome.any(axis=0)))
        iterations = torch.full((llr.shape[0],), self.settings.iterations, dtype=torch.int32)
        return BlockDecoded(torch.cat(bits), torch.cat(decided), torch.cat(good), iterations)
