"""The cyclic redundancy checks of TS 38.212, 5.1, on arrays of bits (one bit per byte)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jscclink.errors import InputError

# Generator polynomials without the leading term, TS 38.212, 5.1, and their degrees
_POLYNOMIALS: dict[str, tuple[int, int]] = {
    "CRC24A": (0x864CFB, 24),
    "CRC24B": (0x800063, 24),
    "CRC24C": (0xB2B117, 24),
    "CRC16": (0x1021, 16),
    "CRC11": (0x621, 11),
    "CRC6": (0x21, 6),
}
NAMES = tuple(_POLYNOMIALS)


def _byte_table(polynomial: int, degree: int) -> NDArray[np.uint32]:
    """Remainders of the 256 bytes, left-aligned in 32 bits so that every degree shares one loop."""
    aligned = polynomial << (32 - degree)
    table = np.zeros(256, np.uint32)
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = ((value << 1) ^ aligned) & 0xFFFFFFFF if value >> 31 else (value << 1) & 0xFFFFFFFF
        table[byte] = value
    return table


_TABLES = {name: _byte_table(*spec) for name, spec in _POLYNOMIALS.items()}


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _remainders(bits: Any, table: Any, out: Any) -> None:
    batch, length = bits.shape
    head = length % 8
    for row in range(batch):
        # leading zeros leave the remainder alone, so a first partial byte is right-aligned
        byte = np.uint32(0)
        for i in range(head):
            byte = (byte << np.uint32(1)) | np.uint32(bits[row, i] & 1)
        state = table[byte]
        for start in range(head, length, 8):
            byte = np.uint32(0)
            for i in range(8):
                byte |= np.uint32(bits[row, start + i] & 1) << np.uint32(7 - i)
            state = np.uint32((state << np.uint32(8)) ^ table[(state >> np.uint32(24)) ^ byte])
        out[row] = state


def crc_length(name: str) -> int:
    """Number of check bits of the CRC `name`; `InputError` for an unknown name."""
    if name not in _POLYNOMIALS:
        raise InputError(f"CRC {name!r} is unknown; allowed are {', '.join(NAMES)} (TS 38.212, 5.1).")
    return _POLYNOMIALS[name][1]


def _remainder(bits: NDArray[np.uint8], name: str) -> NDArray[np.uint32]:
    degree = crc_length(name)
    if bits.ndim != 2 or bits.dtype != np.uint8:
        raise InputError(
            f"{name} takes bits as uint8 [batch, length], not {bits.dtype} {list(bits.shape)}; "
            "use .astype(np.uint8) and one row per block."
        )
    out = np.empty(bits.shape[0], np.uint32)
    _remainders(np.ascontiguousarray(bits), _TABLES[name], out)
    out >>= np.uint32(32 - degree)
    return out


def parity(bits: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Check bits of each row: uint8 [batch, length] of 0/1 -> uint8 [batch, crc_length(name)], highest power first.

    The register starts at zero (TS 38.212, 5.1); where a channel asks for ones at the start (PDCCH), prepend them.
    """
    shifts = np.arange(crc_length(name) - 1, -1, -1, dtype=np.uint32)
    return ((_remainder(bits, name)[:, None] >> shifts) & 1).astype(np.uint8)


def attach(bits: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """uint8 [batch, length] -> uint8 [batch, length + crc_length(name)]: each row followed by its check bits."""
    return np.concatenate([bits, parity(bits, name)], axis=1)


def check(bits: NDArray[np.uint8], name: str) -> NDArray[np.bool_]:
    """uint8 [batch, length], check bits last -> bool [batch]: True where the remainder is zero.

    `InputError` where a row is shorter than its check bits.
    """
    if bits.ndim == 2 and bits.shape[1] < crc_length(name):
        raise InputError(
            f"{name} needs at least its own {crc_length(name)} check bits per row, got {bits.shape[1]}; "
            "hand over the bits with their check bits attached."
        )
    return _remainder(bits, name) == 0
