"""Pillow as the encoder and decoder of several formats: arrays in, bytes out and back."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from PIL import Image, features

from jscclink.baselines.source.codec import MAX_PIXELS, DecodeFailure, check_shape
from jscclink.errors import InputError


def save(image: np.ndarray, file_format: str, **parameters: Any) -> bytes:
    """uint8 [H, W, 3] or [H, W] -> a file; `parameters` are those of Pillow's writer for the format."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, file_format, **parameters)
    return file.getvalue()


def load(name: str, data: bytes, file_format: str, shape: tuple[int, int] | None) -> np.ndarray:
    """A file -> uint8 [H, W, 3]; the header's size is checked before any pixel is decoded. Raises what Pillow raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged files make Pillow warn before it fails
        with Image.open(io.BytesIO(data), formats=[file_format]) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise DecodeFailure(f"{name}: the header says {picture.height} x {picture.width}, over {MAX_PIXELS} pixels")
            check_shape(name, (picture.height, picture.width), shape)
            return np.array(picture.convert("RGB"))


def library(name: str, feature: str) -> str:
    """Name and version of the C library behind a format; a clear error when this Pillow was built without it."""
    version = features.version(feature)
    if version is None:
        raise InputError(f"{name}: this Pillow was built without {feature!r}; install the wheel of pillow >= 11.3")
    return f"{feature} {version}"
