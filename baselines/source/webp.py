"""WebP, lossy (VP8 key frame, RFC 6386 and RFC 9649), through Pillow's libwebp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jscclink.baselines.source import pillow
from jscclink.baselines.source.codec import DecodeFailure, SourceCodec
from jscclink.errors import InputError

_RIFF_BYTES = 20  # "RIFF" size "WEBP" "VP8 " size
_TAG_BYTES = 3
_START_CODE = b"\x9d\x01\x2a"
_KNOWN_BYTES = len(_START_CODE) + 4  # and width and height, 14 bits each, no scaling


@dataclass(frozen=True, kw_only=True)
class WebP(SourceCodec):
    """Lossy WebP; the format knows 4:2:0 only, and stores grey pictures as colour.

    Attributes
    ----------
    method : int
        0 (fast) to 6 (small files).
    container : bool
        False: the VP8 frame without RIFF headers, start code and size.
    """

    name: ClassVar[str] = "webp"
    qualities: ClassVar[range] = range(0, 101)
    slack: ClassVar[tuple[int, float]] = (32, 0.02)
    max_side: ClassVar[int] = 16383

    method: int = 6

    def __post_init__(self) -> None:
        if self.method not in range(7):
            raise InputError(f"webp: method is {self.method}; it can be 0 to 6")

    @property
    def library(self) -> str:
        return pillow.library(self.name, "webp")

    def _encode(self, image: np.ndarray, quality: int) -> bytes:
        if image.ndim == 2:
            image = np.repeat(image[:, :, None], 3, axis=2)
        data = pillow.save(image, "WEBP", quality=quality, method=self.method)
        if self.container:
            return data
        frame = data[_RIFF_BYTES : _RIFF_BYTES + int.from_bytes(data[_RIFF_BYTES - 4 : _RIFF_BYTES], "little")]
        return frame[:_TAG_BYTES] + frame[_TAG_BYTES + _KNOWN_BYTES :]

    def _decode(self, data: bytes, shape: tuple[int, int] | None) -> np.ndarray:
        if not self.container:
            assert shape is not None
            data = _riff_file(data, shape)
        return pillow.load(self.name, data, "WEBP", shape)


def _riff_file(data: bytes, shape: tuple[int, int]) -> bytes:
    if max(shape) > WebP.max_side:
        raise DecodeFailure(f"webp: no picture is {shape[0]} x {shape[1]}; sides go to {WebP.max_side}")
    size = shape[1].to_bytes(2, "little") + shape[0].to_bytes(2, "little")
    frame = data[:_TAG_BYTES] + _START_CODE + size + data[_TAG_BYTES:]
    even = frame + bytes(len(frame) % 2)
    chunk = b"VP8 " + len(frame).to_bytes(4, "little") + even
    return b"RIFF" + (4 + len(chunk)).to_bytes(4, "little") + b"WEBP" + chunk
