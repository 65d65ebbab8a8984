"""Source codecs on tensors: the layout that schemes use, [3, H, W]."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor

from .codec import DecodeFailure, SourceCodec


def pixels(picture: Tensor) -> np.ndarray:
    """uint8 [3, H, W] -> contiguous array [H, W, 3]."""
    return np.ascontiguousarray(picture.cpu().numpy().transpose(1, 2, 0))


def file_of(codec: SourceCodec, picture: Tensor, max_bytes: int) -> bytes | None:
    """uint8 [3, H, W] -> the best file that fits, as `codec.encode` gives it.

    Every draw and every SNR of a study asks for the same few files again: those of the last pictures are remembered here, found
    by comparing pixels, which takes a tenth of the time of hashing them.
    """
    return _RECENT.get(codec, picture.cpu(), max_bytes)


class _Recent:
    """The files of the last pictures, as many as fit in a bound on their pixels."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._used = 0
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[object, ...], tuple[Tensor, bytes | None]] = OrderedDict()

    def get(self, codec: SourceCodec, picture: Tensor, max_bytes: int) -> bytes | None:
        key = (codec, max_bytes, tuple(picture.shape), picture.flatten()[::_SAMPLED].numpy().tobytes())
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
        if known is not None and torch.equal(known[0], picture):
            return known[1]
        file = codec.encode(pixels(picture), max_bytes)
        self._keep(key, picture, file)
        return file

    def _keep(self, key: tuple[object, ...], picture: Tensor, file: bytes | None) -> None:
        with self._lock:
            old = self._known.pop(key, None)
            self._used += picture.numel() - (0 if old is None else old[0].numel())
            self._known[key] = picture.clone(), file
            while self._used > self._max_bytes:
                _, (dropped, _) = self._known.popitem(last=False)
                self._used -= dropped.numel()


_SAMPLED = 997  # every so manieth value tells pictures apart at first sight
_RECENT = _Recent(64 << 20)


def picture_of(codec: SourceCodec, file: bytes, shape: tuple[int, ...]) -> Tensor | None:
    """A file -> uint8 [3, H, W]; None where it does not decode to a picture of that shape."""
    try:
        decoded = codec.decode(file, shape=(shape[1], shape[2]))
    except DecodeFailure:
        return None
    return torch.from_numpy(np.ascontiguousarray(decoded.transpose(2, 0, 1)))
