"""What a receiver shows when it knows that decoding failed. Constants that it holds before the transmission, nothing else."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Concealment = Literal["mean_colour", "grey"]

# Mean RGB of the 1411 training pictures (simulator/training); never of the test set.
MEAN_COLOUR = (122, 115, 106)


def concealed(policy: Concealment, shape: tuple[int, ...]) -> Tensor:
    """uint8 [3, H, W] of one colour: the training set's mean (`mean_colour`) or mid-grey (`grey`)."""
    colour = MEAN_COLOUR if policy == "mean_colour" else (128, 128, 128)
    return torch.tensor(colour, dtype=torch.uint8)[:, None, None].expand(shape).clone()
