"""One HEVC intra picture through PyAV: libx265 encodes, FFmpeg decodes, the parameter sets are our own (ITU-T H.265, 7.3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache

import av
import numpy as np

from jscclink.baselines.source.bpg.bitstream import START_CODE, BitReader, BitWriter, escape, split_nal_units, unescape
from jscclink.baselines.source.bpg.container import HevcHeader, read_block_sizes, read_extension, read_pcm
from jscclink.baselines.source.codec import DecodeFailure
from jscclink.errors import InputError

_VPS, _SPS, PPS = 32, 33, 34
SLICES = range(16, 22)
"""NAL unit types of slices of a picture that needs no other (IRAP)."""

# psychovisual options and adaptive quantisation spend bits on what PSNR does not see; without wavefronts, thread pools and
# look-ahead threads the bytes are the same whatever the core count; ipratio 1 makes qp the slice's own QP
_X265 = (
    "qp={qp}:ipratio=1:keyint=1:psy-rd=0:psy-rdoq=0:aq-mode=0:rect=1:amp=1:info=0:repeat-headers=1:aud=0:hrd=0:"
    "log-level=none:pools=none:frame-threads=1:wpp=0"
)
_FORMATS = {0: "gray", 1: "yuv420p", 2: "yuv422p", 3: "yuv444p"}
_H_STEP = {0: 1, 1: 2, 2: 2, 3: 1}
_V_STEP = {0: 1, 1: 2, 2: 1, 3: 1}
_PROFILE_TIER_LEVEL = (  # format range extensions (4), main tier, any level: fits every chroma format and depth
    (8, 0x04), (32, 0x08000000), (48, 0), (8, 0xFF),
)  # fmt: skip


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
    if len(slices) != 1 or _SPS not in units or PPS not in units:
        raise RuntimeError(f"libx265 gave NAL units of types {sorted(units)}; expected one SPS, one PPS and one slice")
    header, size = read_sps(units[_SPS])
    if size != (header.padded(width), header.padded(height)):
        raise RuntimeError(f"libx265 coded {size} for {width} x {height}, which a BPG decoder would not expect")
    return header, units[PPS], units[slices[0]]


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
    units = [unit for unit in split_nal_units(START_CODE + data) if unit[0] >> 1 == PPS or unit[0] >> 1 in SLICES]
    sets = [write_vps(), write_sps(header, width, height, chroma_format_idc, bit_depth)]
    decoder = av.CodecContext.create("hevc", "r")
    decoder.thread_count = 1
    frames = list(decoder.decode(av.Packet(b"".join(START_CODE + unit for unit in sets + units))))
    frames += decoder.decode(None)
    if not frames:
        raise DecodeFailure("the HEVC stream gives no picture")
    frame = frames[0]
    expected = pixel_format_name(chroma_format_idc, bit_depth)
    size = _cropped_size(width, height, chroma_format_idc)
    if frame.format.name.replace("yuvj", "yuv") != expected or (frame.width, frame.height) != size:
        raise DecodeFailure(f"the HEVC stream gives {frame.format.name} {frame.width} x {frame.height}, expected {expected}")
    return [_samples(plane, bit_depth) for plane in frame.planes]


def _samples(plane: av.video.plane.VideoPlane, bit_depth: int) -> np.ndarray:
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height]
    return rows[:, : plane.width] if bit_depth == 8 else rows.view("<u2")[:, : plane.width]


def read_sps(unit: bytes) -> tuple[HevcHeader, tuple[int, int]]:
    """An SPS of libx265 -> coding tools and coded size (width, height). Goes as far as a still picture needs."""
    bits = BitReader(unescape(unit[2:]))
    bits.u(4 + 3 + 1)  # VPS id, sub-layers, nesting
    bits.u(88 + 8)  # profile, tier, level
    bits.ue()  # SPS id
    if bits.ue() == 3:
        bits.u(1)  # separate planes
    size = bits.ue(), bits.ue()
    if bits.u(1):
        raise RuntimeError("libx265 wrote a conformance window, which BPG has no place for")
    bits.ue(), bits.ue(), bits.ue()  # bit depths, picture order count
    bits.u(1)
    bits.ue(), bits.ue(), bits.ue()  # decoded picture buffer
    sizes = read_block_sizes(bits)
    bits.ue()  # transform depth of inter blocks
    intra_depth = bits.ue()
    if bits.u(1):
        raise RuntimeError("libx265 used scaling lists, which BPG has no place for")
    bits.u(1)  # asymmetric motion partitions
    sao = bool(bits.u(1))
    pcm = read_pcm(bits)
    if bits.ue():
        raise RuntimeError("libx265 wrote reference picture sets for a single picture")
    bits.u(1), bits.u(1)  # long-term pictures, temporal motion vectors
    strong = bool(bits.u(1))
    if bits.u(1):
        _skip_vui(bits)
    return HevcHeader(*sizes, intra_depth, sao, pcm, strong, read_extension(bits)), size


def _skip_vui(bits: BitReader) -> None:
    """Usability information, H.265 annex E, without a hypothetical reference decoder (the encoder is told to write none)."""
    if bits.u(1) and bits.u(8) == 255:
        bits.u(32)  # sample aspect ratio
    if bits.u(1):
        bits.u(1)  # overscan
    if bits.u(1):
        bits.u(4)  # video format and range
        if bits.u(1):
            bits.u(24)  # colour description
    if bits.u(1):
        bits.ue(), bits.ue()  # chroma location
    bits.u(3)
    if bits.u(1):
        bits.ue(), bits.ue(), bits.ue(), bits.ue()  # default window
    if bits.u(1):
        bits.u(64)
        if bits.u(1):
            bits.ue()
        if bits.u(1):
            raise RuntimeError("libx265 wrote HRD parameters")
    if bits.u(1):
        bits.u(3)
        for _ in range(5):
            bits.ue()


def write_vps() -> bytes:
    """The VPS NAL unit of every still picture."""
    out = BitWriter()
    for width, value in ((4, 0), (2, 3), (6, 0), (3, 0), (1, 1), (16, 0xFFFF), *_PROFILE_TIER_LEVEL, (1, 1)):
        out.u(width, value)
    out.ue(0, 0, 0)
    out.u(6, 0)
    out.ue(0)
    out.u(2, 0)
    return bytes([_VPS << 1, 1]) + escape(out.with_stop_bit())


def write_sps(header: HevcHeader, width: int, height: int, chroma_format_idc: int, bit_depth: int) -> bytes:
    """The SPS NAL unit for a picture of this true size: cropped, full range BT.601 as its VUI says."""
    coded_width, coded_height = header.padded(width), header.padded(height)
    kept_width, kept_height = _cropped_size(width, height, chroma_format_idc)
    # the window counts in chroma samples
    crop = (coded_width - kept_width) // _H_STEP[chroma_format_idc], (coded_height - kept_height) // _V_STEP[chroma_format_idc]
    out = BitWriter()
    for bits, value in ((4, 0), (3, 0), (1, 1), *_PROFILE_TIER_LEVEL):
        out.u(bits, value)
    out.ue(0)
    out.ue(chroma_format_idc)
    if chroma_format_idc == 3:
        out.u(1, 0)
    out.ue(coded_width, coded_height)
    out.u(1, any(crop))
    if any(crop):
        out.ue(0, crop[0], 0, crop[1])
    out.ue(bit_depth - 8, bit_depth - 8, 4)
    out.u(1, 1)
    out.ue(0, 0, 0)
    header.write_block_sizes(out)
    out.ue(header.intra_depth, header.intra_depth)
    out.u(2, 1)  # no scaling list, asymmetric motion partitions
    out.u(1, header.sample_adaptive_offset)
    header.write_pcm(out)
    out.ue(0)
    out.u(2, 1)  # no long-term pictures, temporal motion vectors
    out.u(1, header.strong_intra_smoothing)
    _write_vui(out)
    header.write_extension(out)
    return bytes([_SPS << 1, 1]) + escape(out.with_stop_bit())


def _cropped_size(width: int, height: int, chroma_format_idc: int) -> tuple[int, int]:
    """What HEVC's cropping leaves of a picture: an odd size with halved chroma keeps one column or row more."""
    h_step, v_step = _H_STEP[chroma_format_idc], _V_STEP[chroma_format_idc]
    return -(-width // h_step) * h_step, -(-height // v_step) * v_step


def _write_vui(out: BitWriter) -> None:
    out.u(1, 1)
    out.u(2, 0)  # aspect ratio, overscan
    out.u(1, 1)
    out.u(3, 5)  # unspecified video format
    out.u(1, 1)  # full range
    out.u(1, 1)
    out.u(24, 0x010D05)  # BT.709 primaries, sRGB transfer, BT.601 matrix (H.273)
    out.u(8, 0)  # nothing else of annex E
