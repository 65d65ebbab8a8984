"""A codec whose decoder does all that a broken C library could do; the workers of `test_source_guard` import it from here."""

from __future__ import annotations

import ctypes
import os
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jscclink.baselines.source.codec import SourceCodec


@dataclass(frozen=True, kw_only=True)
class FaultyCodec(SourceCodec):
    """The bytes say what happens."""

    name: ClassVar[str] = "faulty"
    qualities: ClassVar[range] = range(3)
    slack: ClassVar[tuple[int, float]] = (0, 0.0)

    @property
    def library(self) -> str:
        return "none"

    def _encode(self, image: np.ndarray, quality: int) -> bytes:
        return b"fine" * (1 + quality)

    def _decode(self, data: bytes, shape: tuple[int, int] | None) -> np.ndarray:
        if data == b"segfault":
            ctypes.string_at(0)
        elif data == b"abort":
            os.abort()
        elif data == b"exit":
            os._exit(0)
        elif data == b"spin":
            while True:
                pass
        elif data == b"sleep":
            time.sleep(1000)
        elif data == b"memory":
            return np.ones((200_000, 200_000, 3), np.uint8)
        elif data == b"raise":
            raise KeyError("something")
        elif data == b"print":
            os.write(1, b"noise among the replies")
        elif data == b"float":
            return np.zeros((2, 2, 3))
        return np.full((2, 3, 3), len(data), np.uint8)
