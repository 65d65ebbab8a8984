"""Source codecs on tensors: the layout that schemes use, [3, H, W]."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .codec import DecodeFailure, SourceCodec


def pixels(picture: Tensor) -> np.ndarray:
    """uint8 [3, H, W] -> contiguous array [H, W, 3]."""
    return np.ascontiguousarray(picture.cpu().numpy().transpose(1, 2, 0))


def picture_of(codec: SourceCodec, file: bytes, shape: tuple[int, ...]) -> Tensor | None:
    """A file -> uint8 [3, H, W]; None where it does not decode to a picture of that shape."""
    try:
        decoded = codec.decode(file, shape=(shape[1], shape[2]))
    except DecodeFailure:
        return None
    return torch.from_numpy(np.ascontiguousarray(decoded.transpose(2, 0, 1)))
