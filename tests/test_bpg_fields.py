"""BPG: bits, headers, parameter sets, colour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bpg_pictures import VERYSLOW, picture, plain_file
from hypothesis import given, settings
from hypothesis import strategies as st

from jscclink.baselines.source import bpg
from jscclink.baselines.source.bpg import colour, hevc
from jscclink.baselines.source.bpg.bitstream import (
    START_CODE,
    BitReader,
    BitWriter,
    escape,
    read_ue7,
    split_nal_units,
    unescape,
    write_ue7,
)
from jscclink.baselines.source.bpg.container import BpgFile, HevcHeader
from jscclink.baselines.source.bpg.parameter_sets import read_sps, write_sps
from jscclink.baselines.source.codec import DecodeFailure

# --- bits -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "code"), [(0, "1"), (1, "010"), (2, "011"), (3, "00100"), (7, "0001000"), (8, "0001001")])
def test_exp_golomb_codes_of_the_standard(value: int, code: str) -> None:
    """H.265 table 9-2."""
    out = BitWriter()
    out.ue(value)
    assert out.padded() == int(code.ljust(8, "0"), 2).to_bytes()


@pytest.mark.parametrize(
    ("value", "code"), [(0, "00"), (127, "7f"), (128, "8100"), (768, "8600"), (512, "8400"), (16384, "818000")]
)
def test_ue7_numbers(value: int, code: str) -> None:
    assert write_ue7(value).hex() == code
    assert read_ue7(bytes.fromhex(code), 0) == (value, len(code) // 2)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 2))
@settings(deadline=None)
def test_numbers_come_back(a: int, b: int) -> None:
    out = BitWriter()
    out.u(3, 5)
    out.ue(b, a % 1000)
    bits = BitReader(out.with_stop_bit())
    assert (bits.u(3), bits.ue(), bits.ue(), bits.u(1)) == (5, b, a % 1000, 1)
    assert read_ue7(b"x" + write_ue7(a) + b"x", 1)[0] == a


@pytest.mark.parametrize("bad", ["", "80", "8001", "ff", "ffffffff7f", "818181818181"])
def test_bad_ue7_numbers_fail(bad: str) -> None:
    with pytest.raises(DecodeFailure, match="ue7"):
        read_ue7(bytes.fromhex(bad), 0)


@given(st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 255]), max_size=40).map(bytes))
@settings(deadline=None)
def test_emulation_prevention(payload: bytes) -> None:
    payload += b"\x80"  # an RBSP ends with its stop bit
    escaped = escape(payload)
    assert unescape(escaped) == payload
    assert not any(bytes([0, 0, x]) in escaped for x in range(3))
    assert split_nal_units(START_CODE + escaped + b"\x00" + START_CODE + b"\x42") == [escaped, b"\x42"]


# --- headers --------------------------------------------------------------------------------------------------------------

headers = st.builds(
    HevcHeader,
    st.integers(3, 4),
    st.integers(0, 2),
    st.integers(2, 3),
    st.integers(0, 2),
    st.integers(0, 4),
    st.booleans(),
    st.none() | st.tuples(st.integers(0, 15), st.integers(0, 15), st.integers(0, 2), st.integers(0, 2), st.integers(0, 1)),
    st.booleans(),
    st.none() | st.tuples(*(st.integers(0, 1) if i != 2 else st.just(0) for i in range(9))),
)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (VERYSLOW, "924740"),
        (replace(VERYSLOW, intra_depth=3), "924250"),
        (replace(VERYSLOW, intra_depth=0), "924d00"),
        (replace(VERYSLOW, min_coding_block=4, diff_coding_block=1), "4a4740"),
    ],
)
def test_hevc_header_vectors(header: HevcHeader, code: str) -> None:
    assert header.to_bytes().hex() == code
    assert HevcHeader.from_bytes(bytes.fromhex(code)) == header


@pytest.mark.parametrize(
    ("preset", "tools"), [("veryslow", "924740"), ("slow", "924d00"), ("medium", "924d00"), ("placebo", "924250")]
)
def test_file_header_vector(preset: str, tools: str) -> None:
    """768x512, 4:4:4: as the reference encoder's files begin."""
    data = bpg.encode(np.full((512, 768, 3), 77, np.uint8), 40, preset=preset)
    assert data.hex().startswith("425047fb" + "6000" + "8600" + "8400" + "00" + "03" + tools + "4401")


@given(headers)
@settings(deadline=None)
def test_hevc_header_comes_back(header: HevcHeader) -> None:
    assert HevcHeader.from_bytes(header.to_bytes()) == header


@given(headers, st.integers(1, 5000), st.integers(1, 5000), st.integers(0, 3), st.integers(8, 14))
@settings(deadline=None)
def test_sps_comes_back(header: HevcHeader, width: int, height: int, idc: int, depth: int) -> None:
    sps = read_sps(write_sps(header, width, height, idc, depth))
    assert (sps.hevc, sps.chroma_format_idc, sps.bit_depth) == (header, idc, depth)
    assert sps.coded_size == (header.padded(width), header.padded(height))
    assert 0 <= sps.width - width <= 1 and 0 <= sps.height - height <= 1
    if idc in (0, 3):
        assert (sps.width, sps.height) == (width, height)


@given(
    st.builds(
        BpgFile,
        width=st.integers(1, 2**32 - 1),
        height=st.integers(1, 2**32 - 1),
        pixel_format=st.integers(0, 5),
        bit_depth=st.integers(8, 14),
        hevc=headers,
        data=st.binary(max_size=20),
        color_space=st.integers(0, 5),
        limited_range=st.booleans(),
    )
)
@settings(deadline=None)
def test_file_comes_back(file: BpgFile) -> None:
    assert BpgFile.from_bytes(file.to_bytes()) == file


# --- colour ---------------------------------------------------------------------------------------------------------------


def test_interpolation_taps_are_those_of_the_reference_decoder() -> None:
    """Lanczos-4 in 1/64; both sum to 64."""
    assert colour.interpolation_taps(1).tolist() == [-1, 4, -10, 57, 18, -6, 2, 0]
    assert colour.interpolation_taps(2).tolist() == [-1, 4, -11, 40, 40, -11, 4, -1]


@pytest.mark.parametrize("depth", bpg.BIT_DEPTHS)
@pytest.mark.parametrize(("chroma", "error"), [("444", 1), ("422", 6), ("420", 6)])
def test_colour_there_and_back(depth: int, chroma: str, error: int) -> None:
    image = picture(63, 65) if chroma != "444" else np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = plain_file(image, chroma, depth)
    back = colour.to_rgb([p.astype(np.uint16) for p in colour.to_planes(image, file.pixel_format, depth)], file)
    assert np.abs(back.astype(int) - image).max() <= error


def test_known_colours() -> None:
    """BT.601 full range, as JFIF gives it."""
    image = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]]], np.uint8)
    planes = np.stack(colour.to_planes(image, bpg.PIXEL_FORMATS["444"], 8), axis=2)
    assert planes[0].tolist() == [[76, 85, 255], [150, 44, 21], [29, 255, 107], [255, 128, 128], [0, 128, 128]]


@pytest.mark.parametrize("chroma", ["422", "420"])
def test_halved_chroma_stays_in_place(chroma: str) -> None:
    """A ramp of chroma comes back unshifted away from the edges: siting is right both ways."""
    ramp = np.linspace(60, 190, 64)
    for turned in (False, True):
        image = np.repeat(ramp[None, :], 64, axis=0)
        image = np.stack([image, np.full((64, 64), 128.0), 255 - image], axis=2).astype(np.uint8)
        image = np.swapaxes(image, 0, 1) if turned else image
        file = plain_file(image, chroma, 8)
        back = colour.to_rgb([p.astype(np.uint8) for p in colour.to_planes(image, file.pixel_format, 8)], file)
        error = (back.astype(float) - image)[10:-10, 10:-10]
        assert abs(error[:, :, 0].mean()) < 0.5 and np.abs(error).max() <= 3


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("space", [0, 1, 2, 3, 4])
def test_colour_spaces_of_other_encoders(space: int, limited: bool) -> None:
    """Planes made by the textbook matrices, coded finely at 10 bits, give the picture back."""
    image = picture(32, 32).astype(float)
    red, green, blue = (image[:, :, i] for i in range(3))
    if space == 1:
        full = [green, blue - 128, red - 128]
    elif space == 2:
        full = [(red + 2 * green + blue) / 4, (2 * green - red - blue) / 4, (red - blue) / 2]
    else:
        kr, kb = {0: (0.299, 0.114), 3: (0.2126, 0.0722), 4: (0.2627, 0.0593)}[space]
        luma = kr * red + (1 - kr - kb) * green + kb * blue
        full = [luma, (blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)]
    if limited:
        levels = [16 * 4 + full[0] * 219 * 4 / 255] + [
            (16 * 4 + (p + 128) * 219 * 4 / 255) if space == 1 else 512 + p * 224 * 4 / 255 for p in full[1:]
        ]
    else:
        levels = [full[0] * 1023 / 255] + [(p + 128) * 1023 / 255 if space == 1 else 512 + p * 1023 / 255 for p in full[1:]]
    planes = [np.rint(p).astype(np.int32) for p in levels]
    tools, pps, piece = hevc.encode(planes, 3, 10, 0, "medium")
    file = replace(plain_file(image, "444", 10), hevc=tools, data=pps + START_CODE + piece)
    decoded = bpg.decode(replace(file, color_space=space, limited_range=limited).to_bytes())
    assert np.abs(decoded - image).max() <= 3
