"""Initial state of the linear path: the Karhunen-Loeve transform of the training images, level by level.

Level by level, coarse to fine: the principal components of the patches of what the levels before left over. Two levels of the
same stride share one set of components, the second continues where the first ended.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from .jscc import JsccCoder
from .model import HJSCC


@torch.no_grad()
def initialise_linear_path(model: HJSCC, images: Tensor) -> None:
    """Set analysis, synthesis, sizes and amplitudes of every latent block from a sample of images.

    Args:
        model: with `preset.linear_path`.
        images: float32 [N, 3, S, S] in [-1, 1], S a multiple of the largest stride; N large enough for as many patches as a
            patch has values (3072 at stride 32).
    """
    left = images.clone()
    done_stride, basis, taken = 0, torch.empty(0), 0
    for block, coder in zip(model.blocks, cast("list[JsccCoder]", list(model.coders)), strict=True):
        stride, z = block.level.stride, block.level.z_channels
        patches = F.pixel_unshuffle(left, stride)
        if stride != done_stride:
            vectors = patches.permute(0, 2, 3, 1).reshape(-1, patches.shape[1])
            # uncentred: the constant part of a patch has to be sent as well
            _, components = torch.linalg.eigh((vectors.T @ vectors / vectors.shape[0]).double())
            basis, done_stride, taken = components.flip(1).T.float(), stride, 0
        chosen = basis[taken : taken + z]
        taken += z
        coefficients = F.conv2d(patches, chosen[:, :, None, None])
        size = coefficients.square().mean((0, 2, 3)).sqrt().clamp_min(1e-3)
        block.analysis.copy_(chosen)
        block.synthesis.copy_(chosen.T)
        block.log_size.copy_(size.log())
        coder.log_amplitude.copy_(-0.5 * size.log())
        left -= F.pixel_shuffle(F.conv2d(coefficients, chosen.T[:, :, None, None]), stride)
