"""Scrambling of TS 38.211, 5.2.1: a length-31 Gold sequence makes any payload look random, so that its mean power is 1."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

_DISCARDED = 1600  # Nc of TS 38.211, 5.2.1
_STRIDE = 28  # x(n+31) needs nothing newer than x(n+3): 28 bits follow from the state at once


@lru_cache(maxsize=16)
def gold_sequence(length: int, c_init: int = 0x2E51) -> np.ndarray:
    """uint8 [length] of 0/1: the pseudo-random sequence c(n) of TS 38.211, 5.2.1; read-only (it is cached)."""
    total = _DISCARDED + length
    x1 = np.zeros(31 + total + _STRIDE, dtype=np.uint8)
    x2 = np.zeros_like(x1)
    x1[0] = 1
    x2[:31] = (c_init >> np.arange(31)) & 1
    for n in range(0, total, _STRIDE):
        m = n + _STRIDE
        x1[n + 31 : m + 31] = x1[n + 3 : m + 3] ^ x1[n:m]
        x2[n + 31 : m + 31] = x2[n + 3 : m + 3] ^ x2[n + 2 : m + 2] ^ x2[n + 1 : m + 1] ^ x2[n:m]
    sequence = x1[_DISCARDED:total] ^ x2[_DISCARDED:total]
    sequence.flags.writeable = False
    return sequence
