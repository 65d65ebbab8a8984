"""A transmitter's memory of its last transmissions.

A study sends each picture once per draw of the channel, and without other knowledge of the channel than its SNR the transmitter
sends the same every time. Only the transmitter looks in here.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable

from torch import Tensor

MOST_BYTES = 64 << 20
Transmission = tuple[Tensor, bytes]


class Memo:
    """Symbols and side information by what they follow from, the last used ones within `MOST_BYTES`."""

    def __init__(self) -> None:
        self._held: OrderedDict[Hashable, Transmission] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable) -> Transmission | None:
        """What was put there, if it is still held."""
        if key not in self._held:
            return None
        self._held.move_to_end(key)
        return self._held[key]

    def put(self, key: Hashable, transmission: Transmission) -> None:
        """Hold a transmission under a new key; whatever was longest without use makes room."""
        self._held[key] = transmission
        self._bytes += _size(transmission)
        while self._bytes > MOST_BYTES:
            self._bytes -= _size(self._held.popitem(last=False)[1])

    def clear(self) -> None:
        """Forget all."""
        self._held.clear()
        self._bytes = 0


def digest(picture: Tensor) -> bytes:
    """SHA-256 of a picture's values, uint8, any shape."""
    return hashlib.sha256(picture.contiguous().cpu().numpy().data).digest()


def _size(transmission: Transmission) -> int:
    symbols, side = transmission
    return symbols.numel() * symbols.element_size() + len(side)
