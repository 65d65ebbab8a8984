"""Bad and odd picture files: each is converted as documented, or refused by one line that names it."""

import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from jscclink.errors import InputError
from jscclink.simulator import datasets, pictures


def colours(height=24, width=32):
    """uint8 [H, W, 3]: a ramp, so that turned and swapped channels show."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 7, y * 9, x + y], axis=2).astype(np.uint8)


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_16_bit(path, colour_type):
    channels = {0: 1, 2: 3, 6: 4}[colour_type]
    header = struct.pack(">IIBBBBB", 8, 8, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(8 * channels * 2) for _ in range(8))
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def bomb(path, width=200_000, height=200_000):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b""))


def saved(path, mode="RGB", **options):
    Image.fromarray(colours()).convert(mode).save(path, **options)
    return path


def truncated(path):
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def transparent(path, mode="RGBA"):
    image = Image.fromarray(colours()).convert(mode)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(path)


def palette_with_transparent_colour(path):
    Image.fromarray(colours()).convert("P", palette=Image.Palette.ADAPTIVE).save(path, transparency=0)


def frames(path, **options):
    first, second = (Image.fromarray(np.roll(colours(), shift, 1)) for shift in (0, 5))
    first.save(path, save_all=True, append_images=[second], **options)


def corrupt_middle(path):
    truncated_free = bytearray(saved(path).read_bytes())
    start = truncated_free.index(b"IDAT") + 4
    truncated_free[start + 2 : start + 60] = bytes(58)
    path.write_bytes(bytes(truncated_free))


REFUSED = {
    "cut.png": (truncated, "damaged or cut short"),
    "cut.jpg": (truncated, "damaged or cut short"),
    "cut.bmp": (truncated, "damaged or cut short"),
    "cut.webp": (truncated, "damaged|header is damaged|cut short"),
    "corrupt.png": (corrupt_middle, "damaged or cut short"),
    "cmyk.jpg": (lambda p: saved(p, "CMYK"), "colours are CMYK; convert it to sRGB"),
    "cmyk.tif": (lambda p: saved(p, "CMYK"), "colours are CMYK"),
    "lab.tif": (lambda p: saved(p, "LAB"), "colours are LAB"),
    "grey16.png": (lambda p: png_16_bit(p, 0), "16 bits per channel; save it with 8"),
    "colour16.png": (lambda p: png_16_bit(p, 2), "16 bits per channel"),
    "alpha16.png": (lambda p: png_16_bit(p, 6), "16 bits per channel"),
    "colour16.ppm": (lambda p: p.write_bytes(b"P6 2 2 65535\n" + bytes(24)), "16 bits per channel"),
    "grey16.tif": (lambda p: Image.new("I;16", (8, 8)).save(p), "16 bits per channel"),
    "float.tif": (lambda p: Image.new("F", (8, 8)).save(p), "32 bits per channel"),
    "alpha.png": (transparent, "transparent pixels; put the picture on a background"),
    "grey_alpha.png": (lambda p: transparent(p, "L"), "transparent pixels"),
    "alpha.webp": (transparent, "transparent pixels"),
    "palette_alpha.png": (palette_with_transparent_colour, "transparent pixels"),
    "bomb.png": (bomb, "pixels, more than 67108864"),
    "large.png": (lambda p: bomb(p, 9000, 9000), "9000 x 9000 pixels, more than"),
    "no_width.png": (lambda p: bomb(p, 0, 10), r"header is damaged|nothing to transmit|not a picture"),
    "empty.png": (lambda p: p.write_bytes(b""), "an empty file"),
    "text.png": (lambda p: p.write_text("this is no picture\n" * 9), "a text, not a picture"),
    "html.jpg": (lambda p: p.write_text("<html>404 not found</html>"), "a text, not a picture"),
    "random.png": (lambda p: p.write_bytes(bytes(range(256))), "not a picture of a format that is taken"),
    "signature.png": (lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n"), "damaged|not a picture"),
    "folder.png": (lambda p: p.mkdir(), "a folder, not a picture"),
    "animated.gif": (lambda p: frames(p, duration=100), "2 frames or pages"),
    "animated.png": (lambda p: frames(p), "2 frames or pages"),
    "pages.tif": (lambda p: frames(p), "2 frames or pages"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_file_is_refused_in_one_line(name, tmp_path):
    make, words = REFUSED[name]
    make(tmp_path / name)
    with pytest.raises(InputError, match=words) as caught:
        pictures.read(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)
    # a set with it in is refused before anything is transmitted: its hashes are part of every point's id
    with pytest.raises(InputError, match=words):
        _ = datasets.load({"folder": str(tmp_path)}).sha256


def test_missing_and_unreadable_files(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"none\.png: there is no such file"):
        pictures.read(tmp_path / "none.png")
    locked = saved(tmp_path / "locked.png")
    locked.chmod(0)
    if not os.access(locked, os.R_OK):
        with pytest.raises(InputError, match="you may not read this file"):
            pictures.read(locked)

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(InputError, match="you may not read this file"):
        pictures.read(locked)


def opaque(path):
    image = Image.fromarray(colours())
    image.putalpha(255)
    image.save(path)


CONVERTED = {
    "rgb.png": (lambda p: saved(p), colours()),
    "rgb.ppm": (lambda p: saved(p), colours()),
    "rgb.webp": (lambda p: saved(p, lossless=True), colours()),
    "rgb.BMP": (lambda p: saved(p), colours()),
    "opaque.png": (opaque, colours()),
    "grey.png": (lambda p: saved(p, "L"), np.asarray(Image.fromarray(colours()).convert("L").convert("RGB"))),
    "bilevel.png": (lambda p: saved(p, "1"), np.asarray(Image.fromarray(colours()).convert("1").convert("RGB"))),
    "palette.png": (
        lambda p: Image.fromarray(colours() // 128 * 255).quantize(8).save(p),
        colours() // 128 * 255,
    ),
    "still.gif": (lambda p: Image.fromarray(colours() // 128 * 255).quantize(8).save(p), colours() // 128 * 255),
    "one_pixel.png": (lambda p: Image.new("RGB", (1, 1), (1, 2, 3)).save(p), np.array([[[1, 2, 3]]], dtype=np.uint8)),
    "profile.png": (lambda p: saved(p, icc_profile=b"not looked at"), colours()),
}


@pytest.mark.parametrize("name", CONVERTED)
def test_odd_file_is_converted_as_documented(name, tmp_path):
    make, expected = CONVERTED[name]
    make(tmp_path / name)
    picture = pictures.read(tmp_path / name)
    assert picture.dtype == torch.uint8 and picture.is_contiguous()
    assert np.array_equal(picture.permute(1, 2, 0).numpy(), expected)
    assert pictures.shape(tmp_path / name) == tuple(picture.shape)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "turned.png", exif=exif)
    turned = {1: 0, 2: 0, 3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}[orientation]
    mirrored = orientation in (2, 4, 5, 7)
    # EXIF 2.32, tag 0x112: where the 0th row and column of what is stored appear to the viewer
    expected = np.rot90(colours(), turned)
    if mirrored:
        expected = expected[:, ::-1]
    picture = pictures.read(path)
    assert np.array_equal(picture.permute(1, 2, 0).numpy(), expected)
    assert pictures.shape(path) == tuple(picture.shape)


def test_written_is_read_again(tmp_path):
    picture = torch.from_numpy(colours().transpose(2, 0, 1).copy())
    pictures.write(tmp_path / "out.png", picture)
    assert torch.equal(pictures.read(tmp_path / "out.png"), picture)
