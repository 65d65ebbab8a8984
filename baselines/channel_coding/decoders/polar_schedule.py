"""The polar decoder's program: the tree of a code, pruned and flattened into a list of steps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

# the largest node that is decided at once: sums of 256 magnitudes of 127 fit 16 bits
LARGEST_NODE = 256


class Step(IntEnum):
    """Kinds of steps. LEFT, RIGHT and JOIN walk the tree, the others decide all bits of a node at once."""

    LEFT = 0
    RIGHT = 1
    JOIN = 2
    RATE_0 = 3
    RATE_1 = 4
    REPETITION = 5
    PARITY = 6


@dataclass(frozen=True)
class Schedule:
    """Steps of a code of length 2^levels.

    Attributes
    ----------
    levels : int
        log2 of the code length.
    steps : int64 [steps, 3]
        `Step`, level of the node (log2 of its size), row where the node's bits go. Rows 0..2^levels - 1 hold the bits of the
        whole code word, behind them those of a left child on each level (`left_row`).
    """

    levels: int
    steps: NDArray[np.int64]


def left_row(level: int) -> int:
    """Row of LLRs or bits where those of a node of size 2^level begin: the smaller levels stand first."""
    return (1 << level) - 1


def make_schedule(info: NDArray[np.bool_]) -> Schedule:
    """Flatten the tree of a code; `info` is bool [2^levels], True where the encoder's input carries a bit."""
    levels = info.size.bit_length() - 1
    steps: list[tuple[int, int, int]] = []

    def visit(first: int, level: int, target: int) -> None:
        node = info[first : first + (1 << level)]
        kind = _kind(node)
        if kind is not None and node.size <= LARGEST_NODE:
            steps.append((kind, level, target))
            return
        half = node.size // 2
        steps.append((Step.LEFT, level, target))
        visit(first, level - 1, info.size + left_row(level - 1))
        steps.append((Step.RIGHT, level, target))
        visit(first + half, level - 1, target + half)
        steps.append((Step.JOIN, level, target))

    visit(0, levels, 0)
    return Schedule(levels, np.array(steps, np.int64))


def _kind(node: NDArray[np.bool_]) -> Step | None:
    """How a node's bits can be decided at once, if they can."""
    count = int(node.sum())
    if count == 0:
        return Step.RATE_0
    if count == node.size:
        return Step.RATE_1
    if count == 1 and node[-1]:
        return Step.REPETITION
    if count == node.size - 1 and not node[0]:
        return Step.PARITY
    return None
