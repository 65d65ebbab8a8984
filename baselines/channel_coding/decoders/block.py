"""What the decoders of one LDPC code block have in common, whatever machine they run on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from jscclink.baselines.channel_coding.nr_ldpc import CodeBlock

Algorithm = Literal["normalised-min-sum", "offset-min-sum", "sum-product"]
Schedule = Literal["layered", "flooding"]


@dataclass(frozen=True)
class BlockSettings:
    """How a code block is decoded.

    Attributes
    ----------
    algorithm : Algorithm
        Check update: min-sum with messages of 3/4 of the smallest magnitude or half an LLR less, or the exact sum-product.
    schedule : Schedule
        Each layer of checks after the other, or all at once from the same posteriors (sum-product and Sionna only).
    iterations : int
        Most iterations over all checks.
    early_stop : bool
        Stop a block as soon as its syndrome is zero and all its bits are decided.
    """

    algorithm: Algorithm
    schedule: Schedule
    iterations: int
    early_stop: bool


@dataclass(frozen=True)
class BlockDecoded:
    """Decisions on code blocks.

    Attributes
    ----------
    bits : uint8 [words, k]
    decided : bool [words]
        False where the posterior of any of the k bits is exactly zero: too little was received, and the zeros that stand
        for such bits must not pass a CRC (all zeros are a code word of every code and every CRC).
    syndrome_ok : bool [words]
    iterations : int32 [words]
    """

    bits: Tensor
    decided: Tensor
    syndrome_ok: Tensor
    iterations: Tensor


class BlockDecoder(ABC):
    """Decodes code blocks of one size. `received` int64 [e] is the place in the code word of each LLR that arrives."""

    block: CodeBlock
    received: NDArray[np.int64]
    settings: BlockSettings

    @abstractmethod
    def decode(self, llr: Tensor) -> BlockDecoded:
        """float32 [words, e], log P(b=1)/P(b=0), finite or infinite but not NaN -> `BlockDecoded`."""
