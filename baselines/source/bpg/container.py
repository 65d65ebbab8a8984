"""The BPG file: a fixed head, sizes as ue7, and the few SPS fields that the decoder cannot assume (BPG specification 0.9.5)."""

from __future__ import annotations

from dataclasses import dataclass

from jscclink.baselines.source.bpg.bitstream import BitReader, BitWriter, read_ue7, write_ue7
from jscclink.baselines.source.codec import DecodeFailure

MAGIC = b"BPG\xfb"
GREY, CHROMA_420, CHROMA_422, CHROMA_444, CHROMA_420_VIDEO, CHROMA_422_VIDEO = range(6)
"""Values of pixel_format; `VIDEO`: chroma sited on the even luma columns instead of between two."""

_IMPLICIT_RDPCM = 2


@dataclass(frozen=True)
class HevcHeader:
    """The coding tools of a picture that vary, under their H.265 names shortened (sizes as log2).

    `pcm` holds (bit depth luma - 1, bit depth chroma - 1, log2 min size - 3, log2 difference, loop filter off) or None;
    `range_extension` the nine flags of sps_range_extension or None.
    """

    min_coding_block: int
    diff_coding_block: int
    min_transform_block: int
    diff_transform_block: int
    intra_depth: int
    sample_adaptive_offset: bool
    pcm: tuple[int, int, int, int, int] | None
    strong_intra_smoothing: bool
    range_extension: tuple[int, ...] | None

    def __post_init__(self) -> None:
        largest = self.min_coding_block + self.diff_coding_block
        if largest > 6 or self.min_transform_block + self.diff_transform_block > 5:
            raise DecodeFailure(f"HEVC header with coding blocks of 2^{largest} samples (64 at most) or transforms over 32")
        if self.range_extension is not None and self.range_extension[_IMPLICIT_RDPCM]:
            raise DecodeFailure(
                "HEVC header with implicit RDPCM (lossless coding): FFmpeg decodes it wrongly, so it is refused"
            )

    def padded(self, length: int) -> int:
        """A side in samples -> the coded side: the next multiple of the smallest coding block."""
        return -(-length >> self.min_coding_block) << self.min_coding_block

    def to_bytes(self) -> bytes:
        """The field hevc_header of a BPG file, without its length."""
        out = BitWriter()
        self.write_block_sizes(out)
        out.ue(self.intra_depth)
        out.u(1, self.sample_adaptive_offset)
        self.write_pcm(out)
        out.u(1, self.strong_intra_smoothing)
        self.write_extension(out)
        return out.padded()

    def write_block_sizes(self, out: BitWriter) -> None:
        """The four size fields that the BPG header and the SPS share."""
        out.ue(self.min_coding_block - 3, self.diff_coding_block)
        out.ue(self.min_transform_block - 2, self.diff_transform_block)

    def write_pcm(self, out: BitWriter) -> None:
        """pcm_enabled_flag and what depends on it."""
        out.u(1, self.pcm is not None)
        if self.pcm is not None:
            out.u(4, self.pcm[0])
            out.u(4, self.pcm[1])
            out.ue(self.pcm[2], self.pcm[3])
            out.u(1, self.pcm[4])

    def write_extension(self, out: BitWriter) -> None:
        """sps_extension_present_flag and the range extension."""
        out.u(1, self.range_extension is not None)
        if self.range_extension is not None:
            out.u(8, 0x80)
            for flag in self.range_extension:
                out.u(1, flag)

    @classmethod
    def from_bytes(cls, data: bytes) -> HevcHeader:
        """Read the field hevc_header of a BPG file."""
        bits = BitReader(data)
        sizes = read_block_sizes(bits)
        return cls(*sizes, bits.ue(), bool(bits.u(1)), read_pcm(bits), bool(bits.u(1)), read_extension(bits))


def read_block_sizes(bits: BitReader) -> tuple[int, int, int, int]:
    """The four size fields, in the order of `HevcHeader`."""
    return bits.ue() + 3, bits.ue(), bits.ue() + 2, bits.ue()


def read_pcm(bits: BitReader) -> tuple[int, int, int, int, int] | None:
    """pcm_enabled_flag and what depends on it."""
    return (bits.u(4), bits.u(4), bits.ue(), bits.ue(), bits.u(1)) if bits.u(1) else None


def read_extension(bits: BitReader) -> tuple[int, ...] | None:
    """sps_extension_present_flag and the range extension; any other extension is refused."""
    if not bits.u(1):
        return None
    kinds = bits.u(8)
    if kinds & 0x7F:
        raise DecodeFailure(
            f"HEVC header with extensions {kinds:#04x}; only the range extension (0x80) belongs in a still picture"
        )
    return tuple(bits.u(1) for _ in range(9)) if kinds else None


@dataclass(frozen=True)
class BpgFile:
    """A BPG file taken apart.

    Attributes
    ----------
    width, height : int
        True size in pixels.
    pixel_format, color_space : int
        Codes of the specification.
    bit_depth : int
        8 to 14.
    limited_range : bool
        Video levels (16..235) instead of full range.
    alpha1, alpha2 : bool
        A fourth plane: (1, 0) alpha, (1, 1) alpha with premultiplied colours, (0, 1) the W plane of CMYK.
    animation : bool
        More pictures follow the first.
    hevc : HevcHeader
        Of the colour planes.
    data : bytes
        PPS and slices: NAL units with start codes, the first without.
    """

    width: int
    height: int
    pixel_format: int
    bit_depth: int
    hevc: HevcHeader
    data: bytes
    color_space: int = 0
    limited_range: bool = False
    alpha1: bool = False
    alpha2: bool = False
    animation: bool = False

    def to_bytes(self) -> bytes:
        """Write a file of one picture without fourth plane and extension data."""
        head = BitWriter()
        head.u(3, self.pixel_format)
        head.u(1, 0)
        head.u(4, self.bit_depth - 8)
        head.u(4, self.color_space)
        head.u(2, 0)
        head.u(1, self.limited_range)
        head.u(1, 0)
        hevc = self.hevc.to_bytes()
        sizes = write_ue7(self.width) + write_ue7(self.height) + write_ue7(0)
        return MAGIC + head.padded() + sizes + write_ue7(len(hevc)) + hevc + self.data

    @classmethod
    def from_bytes(cls, file: bytes) -> BpgFile:
        """Take a file apart; raises `DecodeFailure` for anything outside the specification."""
        if file[:4] != MAGIC:
            raise DecodeFailure(f"no BPG file: it begins with {file[:4].hex() or 'nothing'}, not {MAGIC.hex()}")
        head = BitReader(file[4:6])
        pixel_format, alpha1, bit_depth = head.u(3), bool(head.u(1)), head.u(4) + 8
        color_space, extension, alpha2 = head.u(4), head.u(1), bool(head.u(1))
        limited_range, animation = bool(head.u(1)), bool(head.u(1))
        if pixel_format > CHROMA_422_VIDEO or bit_depth > 14 or color_space > 5:
            raise DecodeFailure(
                f"BPG header with pixel format {pixel_format} (0..5), bit depth {bit_depth} (8..14), "
                f"colour space {color_space} (0..5)"
            )
        width, at = read_ue7(file, 6)
        height, at = read_ue7(file, at)
        length, at = read_ue7(file, at)
        if width == 0 or height == 0:
            raise DecodeFailure(f"BPG header with size {width} x {height}")
        if extension:
            skipped, at = read_ue7(file, at)
            at += skipped
        end = at + length if length else len(file)
        if end > len(file):
            raise DecodeFailure(f"BPG file ends after {len(file)} of {end} bytes")
        if alpha1 or alpha2:
            size, at = read_ue7(file, at)
            at += size
        size, at = read_ue7(file, at)
        hevc = HevcHeader.from_bytes(file[at : at + size])
        return cls(
            width=width,
            height=height,
            pixel_format=pixel_format,
            bit_depth=bit_depth,
            hevc=hevc,
            data=file[at + size : end],
            color_space=color_space,
            limited_range=limited_range,
            alpha1=alpha1,
            alpha2=alpha2,
            animation=animation,
        )
