"""What every source codec looks like from outside: an image and a byte budget in, bytes out; bytes in, an image out."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from jscclink.baselines.source.cache import TrialCache, trial_cache
from jscclink.errors import InputError


class DecodeFailure(Exception):
    """The bytes do not decode to a picture of the expected size. The caller conceals; it is no fault of the program."""


def best_fit(size_of: Callable[[int], int], count: int, max_bytes: int, slack: float) -> int | None:
    """The largest index in 0..count-1 whose size fits, as an exhaustive search finds it; None if no index fits.

    Sizes grow with the index but for small inversions. Let `slack` be a bound on their depth: size(j) >= size(i) - slack for
    all j > i. An index over max_bytes + slack then rules out itself and all above it; bisection finds such an index (or the
    end) whose lower neighbour does not do so, and the walk down from there meets the best one first. Costs log2(count) trials
    and those few that lie within the slack.
    """
    open_below, ruled_out = -1, count
    while ruled_out - open_below > 1:
        middle = (open_below + ruled_out) // 2
        if size_of(middle) > max_bytes + slack:
            ruled_out = middle
        else:
            open_below = middle
    return next((index for index in range(ruled_out - 1, -1, -1) if size_of(index) <= max_bytes), None)


@dataclass(frozen=True, kw_only=True)
class SourceCodec(ABC):
    """A lossy image codec with an integer quality ladder. Instances are immutable, hashable, picklable and thread-safe.

        image --> best quality that fits --> bytes ... channel ... bytes --> guarded decoder --> image
                         |                                                         |
                         +----------------- trial cache ---------------------------+

    Attributes
    ----------
    name : str
        Name of the codec in tables and ids.
    qualities : range
        The ladder, from the worst quality to the best; none of its steps is lossless.
    slack : (int, float)
        Depth of the inversions of file size along the ladder, see `best_fit`: so many bytes, and this part of the size; bounds
        with a margin over what the test pictures show.
    container : bool
        True: the bytes are a complete file of the format. False: what a receiver that knows codec, settings and image size can
        restore is left out, and decoding needs `shape`.
    cache : TrialCache
        Where trials are kept; the process's common one by default.
    """

    name: ClassVar[str]
    qualities: ClassVar[range]
    slack: ClassVar[tuple[int, float]]
    max_side: ClassVar[int] = 65535

    container: bool = True
    cache: TrialCache = field(default_factory=trial_cache, compare=False, repr=False)

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments that make this codec again (JSON-able), without the cache."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.compare}

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that determines the bytes, but for library versions: for strong ids. JSON-able."""
        return {"codec": self.name, **self.options}

    @property
    @abstractmethod
    def library(self) -> str:
        """Name and version of the library that encodes; part of the keys of the trial cache."""

    def encode(self, image: np.ndarray, max_bytes: int) -> bytes | None:
        """uint8 [H, W, 3] or [H, W] (grey) -> the best quality's bytes that fit in `max_bytes`; None: nothing fits.

        The quality is the best of all that fit, as an exhaustive search over `qualities` would find it.
        """
        quality = self.best_quality(image, max_bytes)
        return None if quality is None else self.encode_at(image, quality)

    def best_quality(self, image: np.ndarray, max_bytes: int) -> int | None:
        """uint8 [H, W, 3] or [H, W] -> the best quality that fits in `max_bytes`; None: nothing fits."""
        image = self._checked(image)
        pixels = pixel_digest(image)
        best = best_fit(
            lambda index: len(self._trial(image, self.qualities[index], pixels)),
            len(self.qualities),
            max_bytes,
            self.slack[0] + self.slack[1] * max_bytes,
        )
        return None if best is None else self.qualities[best]

    def encode_at(self, image: np.ndarray, quality: int) -> bytes:
        """uint8 [H, W, 3] or [H, W] -> bytes at one step of the ladder."""
        if quality not in self.qualities:
            raise InputError(
                f"{self.name}: quality is {quality}; the ladder runs from {self.qualities[0]} (worst) to "
                f"{self.qualities[-1]} (best)"
            )
        image = self._checked(image)
        return self._trial(image, quality, pixel_digest(image))

    def decode(self, data: bytes, shape: tuple[int, int] | None = None) -> np.ndarray:
        """Bytes, trusted or not -> uint8 [H, W, 3]; raises `DecodeFailure` for anything that does not decode.

        Bytes that our own encoder made are decoded here and once only; all others in a worker process with limits on memory
        and time, see `guard`. With `shape` (H, W) a picture of any other size is a failure. Damage that still decodes gives a
        wrong picture: image formats do not detect it, the CRC of the transport block does.
        """
        from jscclink.baselines.source.guard import guarded_decode

        if shape is None and not self.container:
            raise InputError(f"{self.name} without container: the bytes do not say the image size; give shape=(H, W)")
        key = self._key(f"decoded {shape}", data)
        image = self.cache.image(key)
        if image is None:
            image = self.decode_here(data, shape) if self.cache.is_own(data) else guarded_decode(self, data, shape)
            self.cache.add_image(key, image)
        return image.copy()

    def decode_here(self, data: bytes, shape: tuple[int, int] | None) -> np.ndarray:
        """As `decode`, but in this process, whatever the C library does to it: for bytes that are known to be sound."""
        try:
            image = self._decode(data, shape)
        except DecodeFailure:
            raise
        except Exception as error:
            raise DecodeFailure(f"{self.name}: {len(data)} bytes do not decode: {type(error).__name__}: {error}") from error
        if image.ndim == 2:
            image = np.repeat(image[:, :, None], 3, axis=2)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise DecodeFailure(f"{self.name}: decoded to {image.dtype} {image.shape}, which is no 8-bit RGB picture")
        check_shape(self.name, image.shape[:2], shape)
        return image

    def _key(self, what: str, source: bytes) -> bytes:
        """Key in the cache of something made from `source`: a picture's digest, or bytes."""
        return hashlib.sha256(f"{self._identity()}|{what}|".encode() + source).digest()

    def _trial(self, image: np.ndarray, quality: int, pixels: bytes) -> bytes:
        key = self._key(f"quality {quality}", pixels)
        data = self.cache.stream(key)
        if data is None:
            data = self._encode(image, quality)
            self.cache.add_stream(key, data)
        return data

    def _identity(self) -> str:
        return json.dumps([self.settings, self.library], sort_keys=True)

    def _checked(self, image: np.ndarray) -> np.ndarray:
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
            given = f"{image.dtype} array" if isinstance(image, np.ndarray) else type(image).__name__
            raise InputError(f"{self.name}: the image is a {given}; give a numpy array of uint8")
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or 0 in image.shape:
            raise InputError(f"{self.name}: the image has shape {image.shape}; give [H, W, 3] (RGB) or [H, W] (grey)")
        if max(image.shape[:2]) > self.max_side:
            raise InputError(f"{self.name}: the image has shape {image.shape}; sides go to {self.max_side} at most")
        if image.shape[0] * image.shape[1] > MAX_PIXELS:
            raise InputError(f"{self.name}: the image has shape {image.shape}; {MAX_PIXELS} pixels at most, cut it into tiles")
        return np.ascontiguousarray(image)

    @abstractmethod
    def _encode(self, image: np.ndarray, quality: int) -> bytes:
        """uint8 [H, W, 3] or [H, W], contiguous -> bytes; the same bytes each time."""

    @abstractmethod
    def _decode(self, data: bytes, shape: tuple[int, int] | None) -> np.ndarray:
        """Any bytes -> uint8 [H, W, 3] or [H, W]; checks the size that the header claims before it decodes pixels.

        May raise anything; runs in the guarded worker when the bytes are not our own.
        """


MAX_PIXELS = 1 << 25
"""Pictures over this many pixels (33 million: 8K) are not decoded, whatever their header says."""


def check_shape(name: str, found: tuple[int, ...], expected: tuple[int, int] | None) -> None:
    """Refuse a picture whose (H, W) is not the expected one or that is over `MAX_PIXELS`."""
    if expected is not None and tuple(found) != tuple(expected):
        raise DecodeFailure(f"{name}: the bytes say {found[0]} x {found[1]} (H x W), expected {expected[0]} x {expected[1]}")
    if found[0] * found[1] > MAX_PIXELS:
        raise DecodeFailure(f"{name}: the bytes say {found[0]} x {found[1]} (H x W), over the limit of {MAX_PIXELS} pixels")


def pixel_digest(image: np.ndarray) -> bytes:
    """SHA-256 of shape and pixels."""
    return hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).digest()
