"""One HEVC intra picture through PyAV: libx265 encodes, FFmpeg decodes, the parameter sets are our own."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache

import av
import numpy as np

from jscclink.baselines.source.bpg.bitstream import START_CODE, split_nal_units
from jscclink.baselines.source.bpg.container import HevcHeader
from jscclink.baselines.source.bpg.parameter_sets import PPS, SPS, cropped_size, read_sps, write_sps, write_vps
from jscclink.baselines.source.codec import DecodeFailure
from jscclink.errors import InputError

SLICES = range(16, 22)
"""NAL unit types of slices of a picture that needs no other (IRAP)."""

# psychovisual options and adaptive quantisation spend bits on what PSNR does not see; without wavefronts, thread pools and
# look-ahead threads the bytes are the same whatever the core count; ipratio 1 makes qp the slice's own QP
_X265 = (
    "qp={qp}:ipratio=1:keyint=1:psy-rd=0:psy-rdoq=0:aq-mode=0:rect=1:amp=1:info=0:repeat-headers=1:aud=0:hrd=0:"
    "log-level=none:pools=none:frame-threads=1:wpp=0"
)
_FORMATS = {0: "gray", 1: "yuv420p", 2: "yuv422p", 3: "yuv444p"}


_PADDING_BYTES = 64  # AV_INPUT_BUFFER_PADDING_SIZE


@cache
def require_libx265() -> str:
    """Name of the encoder with PyAV's version; a clear error when PyAV was built without it."""
    try:
        av.codec.Codec("libx265", "w")
    except av.codec.codec.UnknownCodecError:
        raise InputError(
            f"PyAV {av.__version__} has no encoder 'libx265'; install the wheel of av >= 14 from the package index"
        ) from None
    # the two libraries come with the wheel; its version stands for theirs
    return f"libx265 of av {av.__version__}"


def pixel_format_name(chroma_format_idc: int, bit_depth: int) -> str:
    """FFmpeg's name of a planar format: chroma_format_idc 0 (grey), 1 (4:2:0), 2 (4:2:2), 3 (4:4:4)."""
    return _FORMATS[chroma_format_idc] + ("" if bit_depth == 8 else f"{bit_depth}le")


def encode(
    planes: Sequence[np.ndarray], chroma_format_idc: int, bit_depth: int, qp: int, preset: str
) -> tuple[HevcHeader, bytes, bytes]:
    """Planes of integers [h, w] (1 or 3, true size) -> coding tools, PPS, slice; the NAL units without start codes.

    The planes are replicated at the right and bottom edge up to the coded size. The same input gives the same bytes.
    """
    require_libx265()
    height, width = planes[0].shape
    parameters, block = _X265.format(qp=qp), 8
    if min(height, width) <= 8:  # libx265 wants sides of 16 at least, BPG the next multiple of the smallest block
        parameters, block = parameters + ":ctu=16:min-cu-size=16", 16
    coded_height, coded_width = -(-height // block) * block, -(-width // block) * block
    name = pixel_format_name(chroma_format_idc, bit_depth)
    frame = av.VideoFrame(coded_width, coded_height, name)
    for target, source in zip(frame.planes, planes, strict=True):
        _fill(target, source, bit_depth)
    encoder = av.CodecContext.create("libx265", "w")
    encoder.width, encoder.height, encoder.pix_fmt = coded_width, coded_height, name
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"preset": preset, "x265-params": parameters}
    stream = b"".join(bytes(packet) for given in (frame, None) for packet in encoder.encode(given))
    units = {unit[0] >> 1: unit for unit in split_nal_units(stream)}
    slices = [kind for kind in units if kind in SLICES]
    if len(slices) != 1 or SPS not in units or PPS not in units:
        raise RuntimeError(f"libx265 gave NAL units of types {sorted(units)}; expected one SPS, one PPS and one slice")
    sps = read_sps(units[SPS])
    if not sps.coded_size == (sps.width, sps.height) == (sps.hevc.padded(width), sps.hevc.padded(height)):
        raise RuntimeError(f"libx265 coded {sps.coded_size} for {width} x {height}, which a BPG decoder would not expect")
    return sps.hevc, units[PPS], units[slices[0]]


def _fill(target: av.video.plane.VideoPlane, source: np.ndarray, bit_depth: int) -> None:
    height, width = source.shape
    padded = np.pad(source, ((0, target.height - height), (0, target.width - width)), mode="edge")
    samples = padded.astype(np.uint8 if bit_depth == 8 else "<u2").view(np.uint8)
    rows = np.zeros((target.height, target.line_size), np.uint8)
    rows[:, : samples.shape[1]] = samples
    target.update(rows.tobytes())


def decode(
    header: HevcHeader, width: int, height: int, chroma_format_idc: int, bit_depth: int, data: bytes
) -> list[np.ndarray]:
    """PPS and slices (NAL units with start codes, the first may lack it) -> planes, uint8 or uint16, of the true size.

    With halved chroma an odd side of the luma plane is one longer.

    Raises `DecodeFailure`, or whatever PyAV raises, for a stream that gives no picture of this size.
    """
    units = [unit for unit in split_nal_units(START_CODE + data) if _is_of_the_picture(unit)]
    sets = [write_vps(), write_sps(header, width, height, chroma_format_idc, bit_depth)]
    decoder = av.CodecContext.create("hevc", "r")
    decoder.thread_count = 1
    stream = b"".join(START_CODE + unit for unit in sets + units)
    # FFmpeg reads on past the end of a truncated slice, and PyAV hands our own buffer over: end it as FFmpeg wants it ended
    frames = list(decoder.decode(av.Packet(stream + bytes(_PADDING_BYTES))))
    frames += decoder.decode(None)
    if not frames:
        raise DecodeFailure("the HEVC stream gives no picture")
    frame = frames[0]
    expected = pixel_format_name(chroma_format_idc, bit_depth)
    size = cropped_size(width, height, chroma_format_idc)
    if frame.format.name.replace("yuvj", "yuv") != expected or (frame.width, frame.height) != size:
        raise DecodeFailure(f"the HEVC stream gives {frame.format.name} {frame.width} x {frame.height}, expected {expected}")
    return [_samples(plane, bit_depth) for plane in frame.planes]


def _is_of_the_picture(unit: bytes) -> bool:
    """A PPS or slice of the base layer: not of the alpha plane, which has nuh_layer_id 1, and no parameter set but ours."""
    kind, layer = unit[0] >> 1, (unit[0] & 1) << 5 | unit[1] >> 3 if len(unit) > 1 else 0
    return layer == 0 and (kind == PPS or kind in SLICES)


def _samples(plane: av.video.plane.VideoPlane, bit_depth: int) -> np.ndarray:
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height]
    return rows[:, : plane.width] if bit_depth == 8 else rows.view("<u2")[:, : plane.width]
