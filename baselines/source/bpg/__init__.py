"""BPG (Better Portable Graphics): one HEVC intra picture with a compact header, written and read afresh on PyAV."""

from __future__ import annotations

import warnings

import numpy as np

from jscclink.baselines.source.bpg import colour, hevc
from jscclink.baselines.source.bpg.bitstream import START_CODE
from jscclink.baselines.source.bpg.container import (
    CHROMA_420,
    CHROMA_420_VIDEO,
    CHROMA_422,
    CHROMA_422_VIDEO,
    CHROMA_444,
    GREY,
    BpgFile,
)
from jscclink.baselines.source.codec import DecodeFailure, check_shape
from jscclink.errors import InputError

PIXEL_FORMATS = {"grey": GREY, "420": CHROMA_420, "422": CHROMA_422, "444": CHROMA_444}
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
BIT_DEPTHS = (8, 10, 12)
QPS = range(51, -1, -1)
"""Quantisation parameters from the worst to the best. They are HEVC's; the -q of bpgenc is another scale."""

CHROMA_FORMAT_IDC = {
    GREY: 0,
    CHROMA_420: 1,
    CHROMA_420_VIDEO: 1,
    CHROMA_422: 2,
    CHROMA_422_VIDEO: 2,
    CHROMA_444: 3,
}


def encode(image: np.ndarray, qp: int, chroma: str = "444", bit_depth: int = 8, preset: str = "veryslow") -> bytes:
    """uint8 [H, W, 3] (RGB), [H, W, 4] (alpha ignored with a warning) or [H, W] (grey) -> a BPG file.

    Parameters
    ----------
    qp : int
        0 (best) to 51 (worst): the slice's QP.
    chroma : "444", "422", "420" or "grey"
        Grey pictures are stored as grey whatever it says.
    bit_depth : 8, 10 or 12
        Of the planes; the picture has 8.
    preset : str
        libx265's: how hard it searches.
    """
    file = encode_parts(image, qp, chroma, bit_depth, preset)
    return file.to_bytes()


def encode_parts(image: np.ndarray, qp: int, chroma: str, bit_depth: int, preset: str) -> BpgFile:
    """As `encode`, the file still in its parts; `data` holds PPS, start code, slice."""
    check_options("bpg", chroma, bit_depth, preset)
    if qp not in QPS:
        raise InputError(f"bpg: qp is {qp}; it runs from 0 (best) to 51 (worst)")
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (3, 4)):
        raise InputError(f"bpg: the image is {image.dtype} {image.shape}; give uint8 [H, W, 3] or [H, W]")
    if image.ndim == 3 and image.shape[2] == 4:
        warnings.warn("bpg: the alpha plane is ignored", stacklevel=3)
        image = image[:, :, :3]
    pixel_format = GREY if image.ndim == 2 else PIXEL_FORMATS[chroma]
    planes = colour.to_planes(image, pixel_format, bit_depth)
    tools, pps, piece = hevc.encode(planes, CHROMA_FORMAT_IDC[pixel_format], bit_depth, qp, preset)
    return BpgFile(
        width=image.shape[1],
        height=image.shape[0],
        pixel_format=pixel_format,
        bit_depth=bit_depth,
        hevc=tools,
        data=pps + START_CODE + piece,
    )


def decode(data: bytes, shape: tuple[int, int] | None = None) -> np.ndarray:
    """A BPG file -> uint8 [H, W, 3]; of an animation the first picture; an alpha plane is ignored with a warning.

    Sound files only need this; bytes that nobody vouches for belong to `Bpg.decode`, which guards against faults of the C
    library. Raises `DecodeFailure` for a file outside the specification, a lossless one with implicit RDPCM, a CMYK one, and
    one whose size is not `shape` (H, W) when that is given.
    """
    return decode_parts(BpgFile.from_bytes(data), shape)


def decode_parts(file: BpgFile, shape: tuple[int, int] | None) -> np.ndarray:
    """As `decode`, from a file taken apart."""
    check_shape("bpg", (file.height, file.width), shape)
    if file.alpha2 and not file.alpha1:
        raise DecodeFailure("the BPG file holds a CMYK picture, which is not supported")
    if file.alpha1:
        warnings.warn("bpg: the alpha plane is ignored", stacklevel=2)
    chroma_format_idc = CHROMA_FORMAT_IDC[file.pixel_format]
    planes = hevc.decode(file.hevc, file.width, file.height, chroma_format_idc, file.bit_depth, file.data)
    return colour.to_rgb(planes, file)


def check_options(name: str, chroma: str, bit_depth: int, preset: str) -> None:
    """Refuse options that no encoder takes."""
    for option, value, allowed in (
        ("chroma", chroma, tuple(PIXEL_FORMATS)),
        ("bit_depth", bit_depth, BIT_DEPTHS),
        ("preset", preset, PRESETS),
    ):
        if value not in allowed:
            raise InputError(f"{name}: {option} is {value!r}; it can be {', '.join(map(str, allowed))}")
