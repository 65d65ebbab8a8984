"""AVIF (AV1 still picture in ISO boxes) through Pillow's libavif with libaom."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from jscclink.baselines.source import pillow
from jscclink.baselines.source.codec import DecodeFailure, SourceCodec
from jscclink.errors import InputError

_CHROMA = {"420": "4:2:0", "422": "4:2:2", "444": "4:4:4"}
_GREY = "4:0:0"
_SEQUENCE_HEADER, _TEMPORAL_DELIMITER = 1, 2
# an extent of one item at a four-byte offset: index and count before, length after (ISO 14496-12, 8.11.3)
_ILOC_LENGTH_AT = 26


@dataclass(frozen=True, kw_only=True)
class Avif(SourceCodec):
    """AVIF tuned for PSNR, one thread, so that the bytes are the same everywhere.

    Attributes
    ----------
    chroma : "444", "422" or "420"
    speed : int
        0 (slow) to 10. At 6 a 768x512 picture takes some 0.7 s; 4 gains 0.7 dB there and takes ten times as long.
    container : bool
        False: one byte says grey (1) or colour (0), then the AV1 frame; boxes and sequence header follow from codec and size.
    """

    name: ClassVar[str] = "avif"
    qualities: ClassVar[range] = range(0, 100)
    slack: ClassVar[tuple[int, float]] = (48, 0.03)
    max_side: ClassVar[int] = 16384

    chroma: str = "444"
    speed: int = 6

    def __post_init__(self) -> None:
        if self.chroma not in _CHROMA:
            raise InputError(f"avif: chroma is {self.chroma!r}; it can be {', '.join(_CHROMA)}")
        if self.speed not in range(11):
            raise InputError(f"avif: speed is {self.speed}; it can be 0 to 10")

    @property
    def library(self) -> str:
        return pillow.library(self.name, "avif")

    def _encode(self, image: np.ndarray, quality: int) -> bytes:
        data = self._save(image, quality)
        if self.container:
            return data
        grey = image.ndim == 2
        boxes, sequence_header = _known_parts(self, image.shape[:2], grey)
        payload = data[len(boxes) :]
        if not payload.startswith(sequence_header) or data != _file(boxes, payload):
            raise RuntimeError("libavif wrote other boxes for this picture than for a blank one")
        return bytes([grey]) + payload[len(sequence_header) :]

    def _decode(self, data: bytes, shape: tuple[int, int] | None) -> np.ndarray:
        if not self.container:
            assert shape is not None
            if data[:1] not in (b"\x00", b"\x01"):
                raise DecodeFailure(
                    f"avif: the bytes begin with {data[:1].hex() or 'nothing'}, neither 00 (colour) nor 01 (grey)"
                )
            boxes, sequence_header = _known_parts(self, shape, bool(data[0]))
            data = _file(boxes, sequence_header + data[1:])
        return pillow.load(self.name, data, "AVIF", shape)

    def _save(self, image: np.ndarray, quality: int) -> bytes:
        grey = image.ndim == 2
        return pillow.save(
            np.repeat(image[:, :, None], 3, axis=2) if grey else image,
            "AVIF",
            quality=quality,
            subsampling=_GREY if grey else _CHROMA[self.chroma],
            speed=self.speed,
            codec="aom",
            max_threads=1,
            advanced={"tune": "psnr"},
        )


@lru_cache(maxsize=64)
def _known_parts(codec: Avif, shape: tuple[int, int], grey: bool) -> tuple[bytes, bytes]:
    """What is the same for all pictures of a size: the file up to the media data, and the sequence header; off a blank one."""
    blank = np.zeros(shape if grey else (*shape, 3), np.uint8)
    data = codec._save(blank, codec.qualities[0])
    start = data.index(b"mdat") + 4
    end = start
    while data[end] >> 3 & 15 in (_SEQUENCE_HEADER, _TEMPORAL_DELIMITER):
        end += 2 + data[end + 1]  # header byte, size (below 128, one byte of leb128), content
    return data[:start], data[start:end]


def _file(boxes: bytes, payload: bytes) -> bytes:
    """Boxes made for another payload, with the two lengths that depend on it set for this one."""
    at = boxes.index(b"iloc") - 4
    length_at = at + _ILOC_LENGTH_AT
    boxes = boxes[:length_at] + len(payload).to_bytes(4) + boxes[length_at + 4 : -8]
    return boxes + (8 + len(payload)).to_bytes(4) + b"mdat" + payload
