"""Rate control: the counts of a picture that fill a number of channel uses, side information included, and never overrun it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .presets import LevelSpec
from .rates import entries, group_means, real_symbols
from .side import Map, SideInformation, SideModel, encode_side

STEPS = 20
LOG_ETA_RANGE = (math.log(1e-3), math.log(1e4))


@dataclass(frozen=True)
class Allotment:
    """The counts of one picture.

    Attributes:
        indices: table index per group and level, int64 [1, h/group, w/group] each.
        eta: real symbols per bit they were made with.
        payload_uses: complex channel uses of the payload.
        side_bytes: size of the side information.
    """

    indices: tuple[Tensor, ...]
    eta: float
    payload_uses: int
    side_bytes: int


def allot(
    bits: list[Tensor],
    levels: tuple[LevelSpec, ...],
    numbers: range,
    round_up: bool,
    side_model: SideModel,
    side_uses: Callable[[int], int],
    uses: int,
    previous: Map | None = None,
) -> Allotment | None:
    """Bisect eta so that payload and side information together fill `uses` from below.

    Args:
        bits: surprise per position of the levels `numbers`, [1, h, w] each.
        levels, round_up: of the preset.
        numbers: the levels to share the uses among.
        side_model: the side information's entropy model.
        side_uses: channel uses of that many bytes of side information.
        uses: most channel uses in all.
        previous: index map of the level before, see `encode_side`.

    Returns:
        the largest allotment found that fits; None where not even an empty payload does.
    """

    means = [group_means(b, levels[n]) for b, n in zip(bits, numbers, strict=True)]

    def fitting(log_eta: float) -> Allotment | None:
        """What this eta asks for, if it fits. The side information is coded only where the payload leaves room for any."""
        eta = torch.tensor([math.exp(log_eta)])[:, None, None]
        indices = tuple(entries(eta * m, levels[n], round_up) for m, n in zip(means, numbers, strict=True))
        reals = sum(int(real_symbols(i, levels[n])) for i, n in zip(indices, numbers, strict=True))
        payload = -(-reals // 2)
        if payload > uses:
            return None
        maps = tuple(i[0].numpy().astype(np.int64) for i in indices)
        size = len(encode_side(SideInformation(0, 0, maps), side_model, levels, numbers, previous))
        return Allotment(indices, math.exp(log_eta), payload, size) if payload + side_uses(size) <= uses else None

    low, high = LOG_ETA_RANGE
    best = fitting(low)
    if best is None:
        return None
    most = fitting(high)
    if most is not None:
        return most
    for _ in range(STEPS):
        middle = (low + high) / 2
        tried = fitting(middle)
        if tried is not None:
            low, best = middle, tried
        else:
            high = middle
    return best
