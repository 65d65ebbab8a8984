"""VPS and SPS of a still picture: ITU-T H.265, 7.3.2 and annex E."""

from __future__ import annotations

from dataclasses import dataclass

from jscclink.baselines.source.bpg.bitstream import BitReader, BitWriter, escape, unescape
from jscclink.baselines.source.bpg.container import HevcHeader, read_block_sizes, read_extension, read_pcm
from jscclink.baselines.source.codec import DecodeFailure

VPS, SPS, PPS = 32, 33, 34
"""NAL unit types."""

# samples of luma per sample of chroma, by chroma_format_idc: 0 grey, 1 4:2:0, 2 4:2:2, 3 4:4:4
_H_STEP = {0: 1, 1: 2, 2: 2, 3: 1}
_V_STEP = {0: 1, 1: 2, 2: 1, 3: 1}
_PROFILE_TIER_LEVEL = ((8, 0x04), (32, 0x08000000), (48, 0), (8, 0xFF))
"""(bits, value): format range extensions (4), main tier, any level: fits every chroma format and depth."""


@dataclass(frozen=True)
class Sps:
    """What an SPS says of a still picture; `width`, `height` after cropping, `coded_size` (width, height) before."""

    hevc: HevcHeader
    coded_size: tuple[int, int]
    width: int
    height: int
    chroma_format_idc: int
    bit_depth: int


def read_sps(unit: bytes) -> Sps:
    """An SPS NAL unit -> its fields; raises `DecodeFailure` for what BPG has no place for."""
    bits = BitReader(unescape(unit[2:]))
    bits.u(4)  # VPS id
    if bits.u(3):
        raise DecodeFailure("SPS with temporal sub-layers")
    bits.u(1 + 88 + 8)  # nesting, profile, tier, level
    bits.ue()  # SPS id
    idc = bits.ue()
    if idc not in _H_STEP or (idc == 3 and bits.u(1)):
        raise DecodeFailure("SPS with separate colour planes or an unknown chroma format")
    coded_size = bits.ue(), bits.ue()
    left, right, top, bottom = (bits.ue() for _ in range(4)) if bits.u(1) else (0, 0, 0, 0)
    width, height = coded_size[0] - right * _H_STEP[idc], coded_size[1] - bottom * _V_STEP[idc]
    if left or top or width <= 0 or height <= 0:
        raise DecodeFailure("SPS that crops at the left or the top, or everything")
    bit_depth, chroma_bit_depth = bits.ue() + 8, bits.ue() + 8
    if bit_depth != chroma_bit_depth or bit_depth > 14:
        raise DecodeFailure(f"SPS with bit depths {bit_depth} and {chroma_bit_depth}; they must be equal and 8 to 14")
    bits.ue()  # picture order count
    bits.u(1)
    for _ in range(3):
        bits.ue()  # decoded picture buffer
    sizes = read_block_sizes(bits)
    bits.ue()  # transform depth of inter blocks
    intra_depth = bits.ue()
    if bits.u(1):
        raise DecodeFailure("SPS with scaling lists")
    bits.u(1)  # asymmetric motion partitions
    sao = bool(bits.u(1))
    pcm = read_pcm(bits)
    if bits.ue() or bits.u(1):
        raise DecodeFailure("SPS with reference pictures")
    bits.u(1)  # temporal motion vectors
    strong = bool(bits.u(1))
    if bits.u(1):
        _skip_vui(bits)
    hevc = HevcHeader(*sizes, intra_depth, sao, pcm, strong, read_extension(bits))
    return Sps(hevc, coded_size, width, height, idc, bit_depth)


def _skip_vui(bits: BitReader) -> None:
    """Usability information, H.265 annex E, without a hypothetical reference decoder."""
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
            raise DecodeFailure("SPS with HRD parameters, which a still picture has no use for")
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
    return bytes([VPS << 1, 1]) + escape(out.with_stop_bit())


def write_sps(header: HevcHeader, width: int, height: int, chroma_format_idc: int, bit_depth: int) -> bytes:
    """The SPS NAL unit for a picture of this true size: cropped, full range BT.601 as its VUI says."""
    coded_width, coded_height = header.padded(width), header.padded(height)
    kept_width, kept_height = cropped_size(width, height, chroma_format_idc)
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
    return bytes([SPS << 1, 1]) + escape(out.with_stop_bit())


def cropped_size(width: int, height: int, chroma_format_idc: int) -> tuple[int, int]:
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
    out.u(7, 0)  # nothing else of annex E
