"""BPG and its bare HEVC picture as source codecs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from jscclink.baselines.source import bpg
from jscclink.baselines.source.bpg import hevc
from jscclink.baselines.source.bpg.bitstream import START_CODE, split_nal_units
from jscclink.baselines.source.bpg.container import CHROMA_444, GREY, BpgFile, HevcHeader
from jscclink.baselines.source.bpg.parameter_sets import SPS, cropped_size, read_sps, write_sps, write_vps
from jscclink.baselines.source.codec import DecodeFailure, SourceCodec
from jscclink.errors import InputError


@dataclass(frozen=True, kw_only=True)
class _IntraPicture(SourceCodec):
    qualities: ClassVar[range] = bpg.QPS
    slack: ClassVar[tuple[int, float]] = (32, 0.02)

    chroma: str = "444"
    bit_depth: int = 8
    preset: str = "veryslow"

    def __post_init__(self) -> None:
        bpg.check_options(self.name, self.chroma, self.bit_depth, self.preset)

    @property
    def library(self) -> str:
        return hevc.require_libx265()

    def _parts(self, image: np.ndarray, quality: int) -> BpgFile:
        return bpg.encode_parts(image, quality, self.chroma, self.bit_depth, self.preset)


@dataclass(frozen=True, kw_only=True)
class Bpg(_IntraPicture):
    """Genuine BPG files, see `bpg.encode` for the options. Without its container the picture is the codec `hevc`."""

    name: ClassVar[str] = "bpg"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.container:
            raise InputError("bpg: a BPG file without its container is the codec 'hevc' with container=False; use that")

    def _encode(self, image: np.ndarray, quality: int) -> bytes:
        return self._parts(image, quality).to_bytes()

    def _decode(self, data: bytes, shape: tuple[int, int] | None) -> np.ndarray:
        return bpg.decode(data, shape)


@dataclass(frozen=True, kw_only=True)
class Hevc(_IntraPicture):
    """The HEVC intra picture of a BPG file, coded and decoded the same way.

    With container the bytes are an Annex B stream that any HEVC decoder opens: VPS, SPS (with cropping and colour), PPS, slice;
    4:2:0 and 4:2:2 then need even sizes, which is what HEVC's cropping can say. Without, they are one byte for the pixel format
    of BPG (0 grey, 1 4:2:0, 2 4:2:2, 3 4:4:4) and the slice without its NAL header: all else follows from codec and size.
    """

    name: ClassVar[str] = "hevc"

    def _encode(self, image: np.ndarray, quality: int) -> bytes:
        file = self._parts(image, quality)
        pps, piece = file.data.split(START_CODE, 1)
        if not self.container:
            known_pps, nal_header = _known_parts(self, image.shape[:2], file.pixel_format)[1:]
            if pps != known_pps or piece[:2] != nal_header:
                raise RuntimeError("libx265 wrote another PPS for this picture than for a blank one")
            return bytes([file.pixel_format]) + piece[2:]
        size, idc = (file.width, file.height), bpg.CHROMA_FORMAT_IDC[file.pixel_format]
        if cropped_size(*size, idc) != size:
            raise InputError(
                f"hevc: chroma {self.chroma!r} cannot be cropped to the odd size {file.width} x {file.height}; "
                "use chroma '444', codec 'bpg', or container=False"
            )
        units = (write_vps(), write_sps(file.hevc, *size, idc, file.bit_depth), pps, piece)
        return b"".join(START_CODE + unit for unit in units)

    def _decode(self, data: bytes, shape: tuple[int, int] | None) -> np.ndarray:
        file = self._file_of_stream(data) if self.container else self._file_of_slice(data, shape)
        return bpg.decode_parts(file, shape)

    def _file_of_slice(self, data: bytes, shape: tuple[int, int] | None) -> BpgFile:
        assert shape is not None
        if not data or data[0] not in bpg.CHROMA_FORMAT_IDC:
            raise DecodeFailure(f"hevc: the bytes begin with {data[:1].hex() or 'nothing'}, which is no pixel format of BPG")
        tools, pps, nal_header = _known_parts(self, shape, data[0])
        return BpgFile(
            width=shape[1],
            height=shape[0],
            pixel_format=data[0],
            bit_depth=self.bit_depth,
            hevc=tools,
            data=pps + START_CODE + nal_header + data[1:],
        )

    def _file_of_stream(self, data: bytes) -> BpgFile:
        sps = next((read_sps(unit) for unit in split_nal_units(data) if unit[0] >> 1 == SPS), None)
        if sps is None:
            raise DecodeFailure("hevc: the stream holds no SPS")
        pixel_formats = {idc: pixel_format for pixel_format, idc in bpg.CHROMA_FORMAT_IDC.items() if pixel_format <= CHROMA_444}
        return BpgFile(
            width=sps.width,
            height=sps.height,
            pixel_format=pixel_formats[sps.chroma_format_idc],
            bit_depth=sps.bit_depth,
            hevc=sps.hevc,
            data=data,
        )


@lru_cache(maxsize=64)
def _known_parts(codec: Hevc, shape: tuple[int, int], pixel_format: int) -> tuple[HevcHeader, bytes, bytes]:
    """What is the same for all pictures of a size: coding tools, PPS, NAL header of the slice; read off a blank picture."""
    blank = np.zeros(shape if pixel_format == GREY else (*shape, 3), np.uint8)
    file = codec._parts(blank, codec.qualities[0])
    pps, piece = file.data.split(START_CODE, 1)
    return file.hevc, pps, piece[:2]
