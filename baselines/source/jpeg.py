"""JPEG (ITU-T T.81) through Pillow's libjpeg-turbo."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jscclink.baselines.source import pillow
from jscclink.baselines.source.codec import DecodeFailure, SourceCodec
from jscclink.errors import InputError

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_SOS = 0xDA
# what a receiver that knows the image size and the quality can write itself: JFIF header, quantisers, frame headers
_KNOWN = {0xE0, 0xDB, 0xC0, 0xC1, 0xC2}
_GREY_FLAG = 0x80
# in entropy-coded data FF is followed by 00 or a restart marker D0..D7; anything else is the next marker
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")


@dataclass(frozen=True, kw_only=True)
class Jpeg(SourceCodec):
    """JPEG with Huffman tables made for the picture.

    Attributes
    ----------
    chroma : "420" or "444"
        Chroma at half resolution in both directions, or at full.
    progressive : bool
        Spectral selection and successive approximation in several scans: smaller files for large pictures.
    container : bool
        False: T.81's abbreviated format. One byte says quality (1..100) and grey (+128); the Huffman tables and scans follow;
        SOI, JFIF header, quantisation tables, frame header and EOI stay at home.
    """

    name: ClassVar[str] = "jpeg"
    qualities: ClassVar[range] = range(1, 101)
    slack: ClassVar[tuple[int, float]] = (16, 0.01)

    chroma: str = "420"
    progressive: bool = False

    def __post_init__(self) -> None:
        if self.chroma not in ("420", "444"):
            raise InputError(f"jpeg: chroma is {self.chroma!r}; it can be '420' or '444'")

    @property
    def library(self) -> str:
        return pillow.library(self.name, "libjpeg_turbo")

    def _encode(self, image: np.ndarray, quality: int) -> bytes:
        data = self._save(image, quality)
        if self.container:
            return data
        grey = _GREY_FLAG if image.ndim == 2 else 0
        return bytes([quality | grey]) + b"".join(s for s in _segments(data) if s[1] not in _KNOWN)

    def _decode(self, data: bytes, shape: tuple[int, int] | None) -> np.ndarray:
        if not self.container:
            assert shape is not None
            data = self._completed(data, shape)
        return pillow.load(self.name, data, "JPEG", shape)

    def _save(self, image: np.ndarray, quality: int) -> bytes:
        return pillow.save(
            image,
            "JPEG",
            quality=quality,
            optimize=True,
            progressive=self.progressive,
            subsampling={"420": "4:2:0", "444": "4:4:4"}[self.chroma],
        )

    def _completed(self, data: bytes, shape: tuple[int, int]) -> bytes:
        """Put before the abbreviated stream what encoding any picture of the same size and quality begins with."""
        if not data:
            raise DecodeFailure("jpeg: no bytes")
        quality = data[0] & ~_GREY_FLAG
        if quality not in self.qualities:
            raise DecodeFailure(f"jpeg: the first byte says quality {quality}")
        blank = np.zeros(shape if data[0] & _GREY_FLAG else (*shape, 3), np.uint8)
        known = (s for s in _segments(self._save(blank, quality)) if s[1] in _KNOWN)
        return _SOI + b"".join(known) + data[1:] + _EOI


def _segments(data: bytes) -> list[bytes]:
    """The marker segments of a complete file without SOI and EOI; entropy-coded data stay with their SOS."""
    segments = []
    start = len(_SOI)
    while data[start : start + 2] != _EOI:
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        if data[start + 1] == _SOS:
            following = _NEXT_MARKER.search(data, end)
            assert following is not None
            end = following.start()
        segments.append(data[start:end])
        start = end
    return segments
