"""Between pictures and networks, and between real symbols and channel uses: padding, pairing, effective SNR."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from jscclink.errors import InputError
from jscclink.simulator.units import esno_db_from_noise_var

from .tiles import Region

# SNRs the networks were trained for; beyond, they are told the nearest
ESNO_DB_RANGE = (-3.0, 20.0)
_INTERLEAVER_SEED = 20408


def check_shape(shape: tuple[int, ...]) -> None:
    """Colour pictures only: an `InputError` for anything but (3, H, W)."""
    if len(shape) != 3 or shape[0] != 3 or min(shape) < 1:
        raise InputError(f"hjscc codes colour pictures of shape (3, H, W); got {tuple(shape)}")


def padded_sides(shape: tuple[int, ...], multiple: int) -> tuple[int, int]:
    """Height and width after padding."""
    return -(-shape[1] // multiple) * multiple, -(-shape[2] // multiple) * multiple


def pad(picture: Tensor, multiple: int) -> Tensor:
    """uint8 [3, H, W] -> float32 [1, 3, H', W'] in [-1, 1], edges repeated to the right and below, channels last."""
    height, width = padded_sides(tuple(picture.shape), multiple)
    return pad_region(picture, Region(0, height, 0, width))


def pad_region(picture: Tensor, region: Region) -> Tensor:
    """A region of what `pad` would make of the whole picture."""
    inside = region.cut(picture, 1)
    scaled = inside[None].float() / 127.5 - 1.0
    padded = F.pad(scaled, (0, region.width - inside.shape[2], 0, region.height - inside.shape[1]), mode="replicate")
    return padded.contiguous(memory_format=torch.channels_last)


def unpad(picture: Tensor, shape: tuple[int, ...]) -> Tensor:
    """float32 [1, 3, H', W'] in [-1, 1] -> uint8 [3, H, W], clipped and rounded."""
    cut = picture[0, :, : shape[1], : shape[2]]
    return ((cut + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)


# few: one for a large picture has tens of megabytes
@lru_cache(maxsize=8)
def _order(reals: int) -> Tensor:
    """A fixed pseudo-random order of the real symbols, so that a fade does not hit one region or one level."""
    return torch.randperm(reals, generator=torch.Generator().manual_seed(_INTERLEAVER_SEED))


def pair(reals: Tensor) -> Tensor:
    """float32 [n] -> complex64 [ceil(n/2)], interleaved; an odd one gets a zero beside it."""
    mixed = F.pad(reals.float()[_order(reals.numel()).to(reals.device)], (0, reals.numel() % 2))
    return torch.view_as_complex(mixed.view(-1, 2).contiguous())


def unpair(symbols: Tensor, reals: int) -> Tensor:
    """Inverse of `pair`: complex64 [ceil(n/2)] -> float32 [n]."""
    mixed = torch.view_as_real(symbols.to(torch.complex64)).reshape(-1)[:reals]
    values = torch.empty_like(mixed)
    values[_order(reals).to(mixed.device)] = mixed
    return values


def told_esno_db(noise_var: Tensor) -> float:
    """The SNR the networks are told for a set of uses: that of an AWGN channel of the same mean capacity, within their range.

    Args:
        noise_var: complex noise variance per use after equalisation, any shape; empty counts as the lowest SNR.
    """
    if noise_var.numel() == 0:
        return ESNO_DB_RANGE[0]
    capacity = torch.log2(1.0 + 1.0 / noise_var.double().clamp_min(1e-9)).mean()
    return clamp_esno_db(-float(esno_db_from_noise_var(torch.exp2(capacity) - 1.0)))


def clamp_esno_db(esno_db: float) -> float:
    """An SNR within the range the networks know."""
    return min(max(esno_db, ESNO_DB_RANGE[0]), ESNO_DB_RANGE[1])
