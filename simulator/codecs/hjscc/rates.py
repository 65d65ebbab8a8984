"""Dynamic rate: from the surprise of a latent to the number of symbols each group of positions may send.

Counts are real symbols per position; two of them share one complex channel use. The counts of a level form an index map
[B, h/group, w/group] into the level's table; index maps are what the side information carries.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .presets import LevelSpec


def surprise_bits(probability: Tensor, fixed_rate: bool = False) -> Tensor:
    """-log2 P summed over channels: [B, C, h, w] -> [B, h, w], float32; at a fixed rate every position has the mean."""
    bits = -probability.log2().sum(1)
    return levelled(bits) if fixed_rate else bits


def levelled(bits: Tensor) -> Tensor:
    """Every position's share of a picture's bits at a fixed rate: [B, h, w] -> [B, h, w]."""
    return bits.mean((1, 2), keepdim=True).expand_as(bits).contiguous()


def group_indices(bits: Tensor, eta: Tensor, level: LevelSpec, round_up: bool) -> Tensor:
    """Table index per group for the bits at each position.

    Args:
        bits: [B, h, w], float32; h and w multiples of the group's side.
        eta: [B], float32: real symbols per bit.
        level: gives table and group.
        round_up: the published rule; otherwise to the nearest entry.

    Returns:
        int64 [B, h/group, w/group].
    """
    return entries(eta[:, None, None] * group_means(bits, level), level, round_up)


def group_means(bits: Tensor, level: LevelSpec) -> Tensor:
    """Mean over each group: [B, h, w] -> [B, h/group, w/group]."""
    return F.avg_pool2d(bits[:, None], level.group)[:, 0]


def entries(wanted: Tensor, level: LevelSpec, round_up: bool) -> Tensor:
    """Table index for a wanted number of symbols: float32, any shape -> int64."""
    table = torch.tensor(level.table, dtype=torch.float32, device=wanted.device)
    edges = table[:-1] if round_up else (table[1:] + table[:-1]) / 2
    return torch.bucketize(wanted, edges).clamp_max(len(level.table) - 1)


def spread(groups: Tensor, group: int) -> Tensor:
    """Repeat per-group values over their positions: [B, h/group, w/group] -> [B, h, w], any dtype."""
    return groups.repeat_interleave(group, 1).repeat_interleave(group, 2)


def counts_from_indices(indices: Tensor, level: LevelSpec) -> Tensor:
    """Index map [B, h/group, w/group] -> real symbols per position, int64 [B, h, w]."""
    return spread(torch.tensor(level.table, device=indices.device)[indices], level.group)


def prefix_mask(counts: Tensor, largest: int) -> Tensor:
    """Which of the `largest` symbols of a position are sent: counts [B, h, w] -> bool [B, largest, h, w]."""
    return torch.arange(largest, device=counts.device)[:, None, None] < counts[:, None]


def real_symbols(indices: Tensor, level: LevelSpec) -> Tensor:
    """Real symbols a level sends per image: int64 [B]."""
    table = torch.tensor(level.table, device=indices.device)
    return table[indices].sum((1, 2)) * level.group**2


def fixed_length_side_bits(height: int, width: int, levels: tuple[LevelSpec, ...]) -> float:
    """Bits of side information with one fixed-length index per group, as the published model counts it."""
    total = 0.0
    for level in levels:
        side = level.stride * level.group
        total += math.ceil(math.log2(len(level.table))) * (height // side) * (width // side)
    return total
