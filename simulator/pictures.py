"""Reading picture files: 8-bit RGB out, or one line that says what is wrong with which file and what to do.

Taken as they are: RGB with 8 bits per channel. Converted, without loss: grey, black-and-white and palette pictures to RGB; an
alpha channel that is opaque everywhere is dropped; EXIF orientation is applied. Refused, because a conversion would need a
choice that is not ours: transparency (which background?), CMYK, Lab and other colour spaces (which profile?), more than 8
bits per channel (which rounding?), animations and multi-page files (which frame?). Colour profiles (ICC) are ignored: the
values stored in the file are what is transmitted and measured.
"""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from jscclink.errors import InputError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".gif")
# 64 million pixels: the largest cameras' pictures pass, decompression bombs do not.
MOST_PIXELS = 2**26

_CONVERTED = {"RGB", "RGBA", "RGBX", "L", "LA", "La", "P", "PA", "1"}
_OTHER_COLOURS = {"CMYK", "YCbCr", "LAB", "HSV", "RGBa"}
_ROTATED = (5, 6, 7, 8)  # EXIF orientations that swap the sides
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258
# what decoders raise on damaged files
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, MemoryError)
_DAMAGE_TOO = (struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning, RuntimeError)


def read(path: str | Path) -> Tensor:
    """One picture file -> uint8 [3, H, W].

    Raises
    ------
    InputError
        One line: the file, what is wrong with it, the fix.
    """
    with _opened(path) as image:
        try:
            image.load()
            upright = ImageOps.exif_transpose(image)
            pixels = np.asarray(_rgb(upright, path))
        except InputError:
            raise
        except (*_DAMAGE, *_DAMAGE_TOO) as error:
            raise InputError(f"{path}: damaged or cut short ({_first_line(error)}); get the file again") from error
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def shape(path: str | Path) -> tuple[int, int, int]:
    """(3, H, W) of what `read` will return, from the file's header alone; refuses what the header shows to be unfit."""
    with _opened(path) as image:
        width, height = image.size
        try:
            turned = image.getexif().get(_ORIENTATION) in _ROTATED
        except (*_DAMAGE, *_DAMAGE_TOO):  # exif_transpose in `read` reports it, if it matters there
            turned = False
    return (3, width, height) if turned else (3, height, width)


def write(path: str | Path, picture: Tensor) -> None:
    """uint8 [3, H, W] -> picture file, in the format that the name's ending says."""
    Image.fromarray(picture.permute(1, 2, 0).contiguous().cpu().numpy()).save(path)


def _opened(path: str | Path) -> Image.Image:
    """The file, header read, checked for everything that the header shows."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: a folder, not a picture; rename it, or name the pictures in it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our own limits follow
            image = Image.open(path, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: {_what_it_is(path)}; allowed: {', '.join(FORMATS)}") from error
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except PermissionError as error:
        raise InputError(f"{path}: you may not read this file; change its permissions") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: {_too_large('more than 178 million')}") from error
    except (*_DAMAGE, *_DAMAGE_TOO) as error:
        raise InputError(f"{path}: the file's header is damaged ({_first_line(error)}); get the file again") from error
    try:
        _check_header(image, path)
    except InputError:
        image.close()
        raise
    return image


def _check_header(image: Image.Image, path: Path) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise InputError(f"{path}: a picture of {width} x {height} pixels has nothing to transmit")
    if width * height > MOST_PIXELS:
        raise InputError(f"{path}: {_too_large(f'{width} x {height}')}")
    # an MPO file is a JPEG with a preview or second view behind it: the first is the picture
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1:
        raise InputError(f"{path}: {frames} frames or pages, not a single picture; save the one that is meant on its own")
    depth = _bits_per_channel(image)
    if depth > 8:
        raise InputError(f"{path}: {depth} bits per channel; save it with 8, choosing how to round")
    if image.mode in _OTHER_COLOURS:
        raise InputError(f"{path}: its colours are {image.mode}; convert it to sRGB with its colour profile, and save that")
    if image.mode not in _CONVERTED:
        raise InputError(f"{path}: pixels of the kind {image.mode!r} are not taken; save it as RGB with 8 bits per channel")


def _bits_per_channel(image: Image.Image) -> int:
    """Bits per channel in the file; Pillow itself cuts 16-bit colour down to 8 without a word."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return 16
    if image.mode == "F":
        return 32
    tags = getattr(image, "tag_v2", None)
    if tags is not None and _BITS_PER_SAMPLE in tags:
        return int(max(np.atleast_1d(tags[_BITS_PER_SAMPLE])))
    for tile in getattr(image, "tile", []):
        arguments = tile[3] if isinstance(tile[3], tuple | list) else (tile[3],)
        if any(isinstance(a, str) and ";16" in a for a in arguments):
            return 16
        if image.format == "PPM" and any(isinstance(a, int) and a > 255 for a in arguments):
            return 16
    return 8


def _rgb(image: Image.Image, path: str | Path) -> Image.Image:
    """A decoded picture of an allowed mode -> mode RGB."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        if np.asarray(image.getchannel("A")).min() < 255:
            raise InputError(f"{path}: transparent pixels; put the picture on a background of your choice, without alpha")
    return image.convert("RGB")


def _what_it_is(path: Path) -> str:
    """Why Pillow knows no format for a file."""
    with open(path, "rb") as file:
        start = file.read(512)
    if not start:
        return "an empty file, not a picture"
    if b"\0" not in start and all(byte >= 32 or byte in b"\t\r\n\f" for byte in start):
        return "a text, not a picture, whatever its name says"
    return "not a picture of a format that is taken, or its beginning is damaged"


def _too_large(size: str) -> str:
    return f"{size} pixels, more than {MOST_PIXELS} (64 million); cut it into pieces, or scale it down"


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:120] if text else type(error).__name__


def centre_crop(picture: Tensor, height: int, width: int) -> Tensor:
    """uint8 [3, H, W] -> uint8 [3, height, width] from the middle (rounded up and left)."""
    top, left = (math.floor((have - want) / 2) for have, want in zip(picture.shape[1:], (height, width), strict=True))
    return picture[:, top : top + height, left : left + width].contiguous()
