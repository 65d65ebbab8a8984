"""Rate control: the counts of a picture that fill a number of channel uses, side information included, and never overrun it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .presets import LevelSpec
from .rates import group_indices, real_symbols
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

    def at(log_eta: float) -> Allotment:
        eta = torch.tensor([math.exp(log_eta)])
        indices = tuple(group_indices(b, eta, levels[n], round_up) for b, n in zip(bits, numbers, strict=True))
        reals = sum(int(real_symbols(i, levels[n])) for i, n in zip(indices, numbers, strict=True))
        maps = tuple(i[0].numpy().astype(np.int64) for i in indices)
        size = len(encode_side(SideInformation(0, 0, maps), side_model, levels, numbers, previous))
        return Allotment(indices, math.exp(log_eta), -(-reals // 2), size)

    low, high = LOG_ETA_RANGE
    best: Allotment | None = None
    for log_eta in (low, high):
        ends = at(log_eta)
        if ends.payload_uses + side_uses(ends.side_bytes) <= uses:
            best = ends
        elif log_eta == low:
            return None
    if best is not None and best.eta > math.exp(low):
        return best
    for _ in range(STEPS):
        middle = (low + high) / 2
        tried = at(middle)
        if tried.payload_uses + side_uses(tried.side_bytes) <= uses:
            low, best = middle, tried
        else:
            high = middle
    return best
