"""BPG: round trips, golden files, rate and distortion, files of other encoders, what is refused, the command."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bjontegaard import bd_rate
from bpg_pictures import VERYSLOW, picture, plain_file, psnr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from jscclink.baselines.source import bpg
from jscclink.baselines.source.bpg import colour
from jscclink.baselines.source.bpg.bitstream import (
    START_CODE,
    BitWriter,
    split_nal_units,
    write_ue7,
)
from jscclink.baselines.source.bpg.cli import app
from jscclink.baselines.source.bpg.container import BpgFile, HevcHeader
from jscclink.baselines.source.codec import DecodeFailure
from jscclink.errors import InputError

HERE = Path(__file__).parent
KODAK = HERE.parent / "data" / "kodak"
GOLDEN = HERE / "golden" / "bpg"


# --- pictures -------------------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 65),
    st.integers(1, 65),
    st.sampled_from(list(bpg.PIXEL_FORMATS)),
    st.sampled_from(bpg.BIT_DEPTHS),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_round_trip(height: int, width: int, chroma: str, depth: int, grey: bool) -> None:
    """Any size, format and depth: at QP 2 the codec adds little to what colour conversion costs."""
    image = picture(height, width)
    given_image = image[:, :, 0] if grey else image
    chroma = "grey" if grey else chroma
    file = plain_file(image, chroma, depth)
    planes = colour.to_planes(given_image, file.pixel_format, depth)
    ideal = colour.to_rgb([p.astype(np.uint16) for p in planes], file)
    decoded = bpg.decode(bpg.encode(given_image, 2, chroma, depth, "medium"), (height, width))
    assert decoded.shape == (height, width, 3)
    assert psnr(decoded, ideal) > 44


@pytest.mark.parametrize("shape", [(8, 8), (8, 64), (64, 8), (7, 9), (9, 7), (15, 16), (1, 200), (200, 1)])
def test_narrow_pictures(shape: tuple[int, int]) -> None:
    image = picture(*shape)
    assert psnr(bpg.decode(bpg.encode(image, 2, preset="veryslow")), image) > 43


def test_the_smallest_file() -> None:
    assert len(bpg.encode(np.full((1, 1, 3), 90, np.uint8), 40)) <= 31


def test_encoding_is_deterministic() -> None:
    image = picture(70, 90)
    assert bpg.encode(image, 30) == bpg.encode(image, 30)


def test_golden_files_decode_to_the_same_pixels() -> None:
    """`golden/bpg/make.py` made them."""
    expected = json.loads((GOLDEN / "pixels.json").read_text())
    files = sorted(GOLDEN.glob("*.bpg"))
    assert {file.name for file in files} == set(expected) and len(files) >= 10
    for file in files:
        image = bpg.decode(file.read_bytes())
        assert [*image.shape, hashlib.sha256(image.tobytes()).hexdigest()] == expected[file.name], file.name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "bpp", "quality"),
    [
        ("kodim05.png", [0.3619, 0.7096, 1.2408, 1.9956], [26.606, 30.13, 33.875, 37.752]),
        ("kodim23.png", [0.0945, 0.1789, 0.3268, 0.5808], [32.099, 34.889, 37.587, 40.113]),
    ],
)
def test_rate_distortion_of_kodak_pictures(name: str, bpp: list[float], quality: list[float]) -> None:
    """Against the curve measured with libx265 4.2; its default psychovisual options would cost 13 %."""
    image = np.asarray(Image.open(KODAK / name).convert("RGB"))
    found = []
    for qp in (39, 34, 29, 24):
        data = bpg.encode(image, qp)
        found.append((8 * len(data) / image[:, :, 0].size, psnr(bpg.decode(data), image)))
    assert abs(bd_rate(bpp, quality, *zip(*found, strict=True), method="akima")) < 1.0


@pytest.mark.skipif(shutil.which("bpgdec") is None, reason="the reference decoder is not installed")
@pytest.mark.parametrize("chroma", list(bpg.PIXEL_FORMATS))
def test_the_reference_decoder_sees_the_same_pixels(tmp_path: Path, chroma: str) -> None:
    data = bpg.encode(picture(61, 83), 20, chroma)
    (tmp_path / "a.bpg").write_bytes(data)
    subprocess.run(["bpgdec", "-o", tmp_path / "a.png", tmp_path / "a.bpg"], check=True)
    with Image.open(tmp_path / "a.png") as other:
        assert (np.asarray(other.convert("RGB")) == bpg.decode(data)).all()


# --- what other encoders write, and what is refused -----------------------------------------------------------------------


def test_extension_data_are_skipped() -> None:
    data = bpg.encode(picture(20, 20), 30)
    head = bytearray(data[:9])
    head[5] |= 0x08
    assert (bpg.decode(bytes(head) + b"\x03abc" + data[9:]) == bpg.decode(data)).all()


def test_a_stated_data_length_is_honoured() -> None:
    file = bpg.encode_parts(picture(20, 20), 30, "444", 8, "medium")
    data = file.to_bytes()
    assert data[8] == 0
    rest = data[9:]
    stated = data[:8] + write_ue7(len(rest)) + rest
    assert (bpg.decode(stated) == bpg.decode(data)).all()
    with pytest.raises(DecodeFailure, match="ends after"):
        bpg.decode(stated[:-1])


def with_alpha(premultiplied: bool) -> tuple[bytes, bytes]:
    """A colour file, and the same with an alpha plane as the specification lays it out."""
    data = bpg.encode(picture(20, 20), 30)
    alpha = bpg.encode_parts(picture(20, 20)[:, :, 0], 30, "grey", 8, "veryslow")
    units = [bytes([unit[0], unit[1] | 1 << 3]) + unit[2:] for unit in split_nal_units(START_CODE + alpha.data)]
    head = bytearray(data[:9])
    head[4] |= 0x10
    head[5] |= 0x04 * premultiplied
    tools = alpha.hevc.to_bytes()
    start = 10 + data[9]
    first, *others = split_nal_units(START_CODE + data[start:])
    layers = [units[0], first, units[1], *others]
    return data, bytes(head) + write_ue7(len(tools)) + tools + data[9:start] + START_CODE.join(layers)


@pytest.mark.parametrize("premultiplied", [False, True])
def test_alpha_is_ignored_with_a_warning(premultiplied: bool) -> None:
    plain, data = with_alpha(premultiplied)
    with pytest.warns(UserWarning, match="alpha"):
        assert (bpg.decode(data) == bpg.decode(plain)).all()
    with pytest.warns(UserWarning, match="alpha"):
        assert bpg.encode(np.dstack([picture(20, 20), picture(20, 20)[:, :, 0]]), 30) == plain


def test_video_siting_moves_chroma_by_a_quarter_sample() -> None:
    """Formats 4 and 5: the same planes, chroma on the even columns; a ramp is read a quarter of a chroma sample on."""
    ramp = np.repeat(np.linspace(0, 255, 64)[None], 64, axis=0)
    planes = [np.full((64, 64), 128, np.uint8), *(np.full((32, 32), 128, np.uint8) for _ in range(2))]
    planes[2] = np.clip(ramp[:32, ::2] * 0.6 + 50, 0, 255).astype(np.uint8)
    file = plain_file(ramp, "420", 8)
    midway, even = (colour.to_rgb(planes, replace(file, pixel_format=kind))[30, 16:48, 0].astype(int) for kind in (1, 4))
    step = 0.6 * 255 / 63 * 1.402
    assert abs((even - midway).mean() - 0.5 * step) < 0.25


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: b"PNG" + d[3:], "no BPG file"),
        (lambda d: d[:4] + b"\xc0" + d[5:], "pixel format 6"),
        (lambda d: d[:4] + b"\x6f" + d[5:], "bit depth 23"),
        (lambda d: d[:5] + b"\x60" + d[6:], "colour space 6"),
        (lambda d: d[:5] + b"\x50" + d[6:], "constant luminance"),
        (lambda d: d[:5] + b"\x04" + d[6:9] + d[9 : 10 + d[9]] + d[9:], "CMYK"),
        (lambda d: d[:6] + b"\x00" + d[7:], "size 0 x 20"),
        (lambda d: d[:6] + write_ue7(2**20) * 2 + d[8:], "limit"),
        (lambda d: d[: 10 + d[9]], "no picture"),
        (lambda d: d[:9], "ue7"),
        (lambda d: d[:11], "early"),
    ],
)
def test_refused_files(change: object, says: str) -> None:
    data = bpg.encode(picture(20, 20), 30)
    with pytest.raises((DecodeFailure, ValueError), match=says):
        bpg.decode(change(data))  # type: ignore[operator]


def test_implicit_rdpcm_is_refused() -> None:
    """FFmpeg decodes the reference encoder's lossless files to other pixels."""
    out = BitWriter()
    VERYSLOW.write_block_sizes(out)
    out.ue(2)
    for bits, value in ((1, 1), (1, 0), (1, 1), (1, 1), (8, 0x80), (9, 0b001000000)):
        out.u(bits, value)
    with pytest.raises(DecodeFailure, match="RDPCM"):
        HevcHeader.from_bytes(out.padded())


@pytest.mark.parametrize(
    ("options", "says"),
    [({"qp": 52}, "qp is 52"), ({"qp": 3, "bit_depth": 9}, "8, 10, 12"), ({"qp": 3, "chroma": "4:4:4"}, "444")],
)
def test_mistakes_are_named(options: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        bpg.encode(picture(4, 4), **options)
    with pytest.raises(InputError, match="float64"):
        bpg.encode(np.zeros((4, 4, 3)), 30)


# --- command --------------------------------------------------------------------------------------------------------------


def test_command_writes_and_reads(tmp_path: Path) -> None:
    source, packed, back = (str(tmp_path / name) for name in ("a.png", "a.bpg", "b.png"))
    Image.fromarray(picture(33, 47)).save(source)
    result = CliRunner().invoke(app, ["encode", source, packed, "--bytes", "900", "--chroma", "420", "--depth", "10"])
    assert result.exit_code == 0, result.output
    data = Path(packed).read_bytes()
    assert len(data) <= 900 and BpgFile.from_bytes(data).bit_depth == 10
    assert CliRunner().invoke(app, ["decode", packed, back]).exit_code == 0
    assert (np.asarray(Image.open(back)) == bpg.decode(data)).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["encode", "a.png", "x.bpg", "--qp", "60"], "60"),
        (["encode", "a.png", "x.bpg", "--qp", "6", "--bytes", "9"], "not both"),
        (["encode", "a.png", "x.bpg", "--bytes", "9"], "does not fit in 9 bytes"),
        (["encode", "text", "x.bpg"], "no picture"),
        (["encode", "nothing", "x.bpg"], "No such file"),
        (["decode", "text", "x.png"], "no BPG file"),
        (["decode", "a.bpg", "x.what"], "what"),
    ],
)
def test_command_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture(8, 8)).save("a.png")
    Path("text").write_text("neither")
    Path("a.bpg").write_bytes(bpg.encode(picture(8, 8), 30))
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and says in result.output
    assert not Path("x.bpg").exists()
