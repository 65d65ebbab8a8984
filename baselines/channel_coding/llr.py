"""What every receiver does with log-likelihood ratios before a decoder sees them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from jscclink.baselines.channel_coding.decoders.workers import spread
from jscclink.errors import InputError

# certainty beyond any doubt; finite, so that contradicting certainties add up to a number
LARGEST = 1e4


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _rows_with_nan(llr: Any, begin: int, end: int, found: Any) -> None:
    for row in range(begin, end):
        seen = False
        for value in llr[row]:
            seen |= value != value
        found[row] = seen


def refuse_nan(llr: Tensor, first_block: int = 0) -> None:
    """Raise `InputError` where a row of float32 [batch, n] holds NaN; `first_block` is the number of the first row."""
    if llr.device.type == "cpu":
        values = llr.contiguous().numpy()
        found = np.zeros(values.shape[0], np.bool_)
        spread(lambda begin, end: _rows_with_nan(values, begin, end, found), values.shape[0])
    else:
        found = torch.isnan(llr).any(dim=1).cpu().numpy()
    if found.any():
        row = int(found.argmax())
        column = int(torch.isnan(llr[row]).nonzero()[0, 0])
        raise InputError(
            f"The LLR of block {first_block + row}, bit {column} is NaN; allowed are finite and infinite values. "
            "NaN usually comes from a noise variance of 0 or from 0/0 in an equaliser."
        )


def combine(llr: Tensor, places: NDArray[np.int64], size: int, buffer: Tensor | None = None) -> Tensor:
    """Add LLRs that tell of the same bit: float32 [words, e] -> float32 [words, size].

    places : int64 [e]
        The place of each LLR among the `size` bits; places may repeat.
    buffer : float32 [words, size], optional
        Sums so far; it is updated in place and returned.
    """
    if buffer is None:
        buffer = torch.zeros((llr.shape[0], size), dtype=torch.float32, device=llr.device)
    index = torch.from_numpy(places).to(llr.device)
    return buffer.index_add_(1, index, llr.clamp(-LARGEST, LARGEST))
