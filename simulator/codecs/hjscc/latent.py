"""A latent block of the top-down path: prior, posterior, and what a latent adds to the decoder's state.

    state (d, canvas) --front--> d --+--> prior (mean, scale)
                                     |
           bottom-up features -------+--> posterior mean --> z
                                     |
    d + projection of z [+ end block], canvas + linear synthesis of z  --> next state

The canvas is an estimate of the image that grows with every latent. A latent's posterior is a linear transform of what the
canvas still lacks (the KLT of the training images, at the start) plus what the networks make of it, so the codec begins as an
adaptive linear transform code and the networks, whose last layers start at zero, learn to do better. Without `linear_path`
(the paper's model) the canvas is not used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import Stage, space_to_depth, zero_conv
from .likelihood import bounded_scale
from .presets import LevelSpec, Preset, StageSpec

LOG_UNIFORM_VARIANCE = math.log(1.0 / 12.0)


@dataclass
class State:
    """The decoder's state between latent blocks.

    Attributes:
        d: features, [B, width, h, w].
        canvas: the image so far, float32 [B, 3, H, W] in [-1, 1] (zeros without a linear path).
    """

    d: Tensor
    canvas: Tensor


@dataclass
class Prior:
    """The prior of a latent, all float32, in quantiser steps.

    Attributes:
        mean, scale: [B, z_channels, h, w].
        unit: the typical size of a channel, [B, z_channels, 1, 1].
        gain: quantiser steps per image unit, [B, z_channels, 1, 1].
    """

    mean: Tensor
    scale: Tensor
    unit: Tensor
    gain: Tensor


class LatentBlock(nn.Module):
    """One latent of the hierarchy (see the module's drawing)."""

    def __init__(self, preset: Preset, level: LevelSpec, stage: StageSpec, bottom_width: int) -> None:
        super().__init__()
        self.level = level
        self.linear_path = preset.linear_path
        width, cond, z = stage.width, preset.cond_width, level.z_channels
        self.front = Stage(preset.block, stage.depth, width, cond, stage.kernel, stage.ratio)
        self.prior_head = zero_conv(width, 2 * z)
        self.merge_features = nn.Conv2d(width + bottom_width, width, 1)
        extra = int(preset.posterior_extra)
        self.bottom_blocks = Stage(preset.block, extra, bottom_width, cond, stage.kernel, stage.ratio)
        self.top_blocks = Stage(preset.block, extra, width, cond, stage.kernel, stage.ratio)
        self.posterior_blocks = Stage(preset.block, 1, width, cond, stage.kernel, stage.ratio)
        self.posterior_head = zero_conv(width, z)
        self.z_project = nn.Conv2d(z, width, 1)
        self.end = Stage(preset.block, int(preset.end_block), width, cond, stage.kernel, stage.ratio)
        # log standard deviation of a channel in image units; log of the gain that brings it to quantiser steps
        self.log_size = nn.Parameter(torch.zeros(z))
        self.log_gain = nn.Parameter(torch.zeros(z))
        if self.linear_path:
            values = 3 * level.stride**2
            self.canvas_in = nn.Conv2d(values, width, 1)
            self.gain_slope = nn.Parameter(torch.full((z,), 0.5))
            self.analysis = nn.Parameter(torch.zeros(z, values))
            self.synthesis = nn.Parameter(torch.zeros(values, z))
            nn.init.constant_(self.log_gain, 0.5 * LOG_UNIFORM_VARIANCE)

    def gain(self, lmbda: Tensor) -> Tensor:
        """Quantiser steps per image unit: lambda [B] -> [B, z_channels, 1, 1].

        A uniform quantiser of step D costs D^2/12; at the optimum of lambda x MSE + nats that is about 1/lambda, so the gain
        1/D starts at sqrt(lambda/12).
        """
        log_gain = self.log_gain[None]
        if self.linear_path:
            log_gain = log_gain + self.gain_slope * torch.log(lmbda)[:, None]
        else:
            log_gain = log_gain.expand(lmbda.shape[0], -1)
        return torch.exp(log_gain)[:, :, None, None]

    def enter(self, state: State, cond: Tensor) -> State:
        """Run the front block: the state the prior is read from."""
        d = state.d
        if self.linear_path:
            d = d + self.canvas_in(space_to_depth(state.canvas, self.level.stride))
        return State(self.front(d, cond), state.canvas)

    def prior(self, state: State, lmbda: Tensor) -> Prior:
        """The prior at an entered state."""
        gain = self.gain(lmbda)
        unit = gain * torch.exp(self.log_size)[None, :, None, None]
        mean, log_scale = self.prior_head(state.d).float().chunk(2, dim=1)
        # the floor of the scale is the same for every channel, in quantiser steps
        scale = bounded_scale(log_scale + unit.log())
        return Prior(mean * unit, scale, unit, gain)

    def posterior(self, state: State, feature: Tensor, image: Tensor, prior: Prior, cond: Tensor) -> Tensor:
        """Posterior mean: float32 [B, z_channels, h, w], in quantiser steps."""
        top, bottom = self.top_blocks(state.d, cond), self.bottom_blocks(feature, cond)
        h = self.merge_features(torch.cat([top, bottom.to(top.dtype)], dim=1))
        z = self.posterior_head(self.posterior_blocks(h, cond)).float() * prior.unit
        if self.linear_path:
            patches = space_to_depth(image - state.canvas, self.level.stride)
            z = z + prior.gain * linear(patches, self.analysis)
        return z

    def merge(self, state: State, z: Tensor, prior: Prior, cond: Tensor, aux: Tensor | None = None) -> State:
        """Add a latent (or what was received of it, with the JSCC decoder's features `aux`) to the state."""
        d = state.d + self.z_project(z / prior.unit)
        if aux is not None:
            d = d + aux
        canvas = state.canvas
        if self.linear_path:
            canvas = canvas + F.pixel_shuffle(linear(z / prior.gain, self.synthesis), self.level.stride)
        return State(self.end(d, cond), canvas)


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """A 1x1 convolution in float32 whatever the autocast state: [B, C, h, w] and [D, C] -> [B, D, h, w]."""
    with torch.autocast(x.device.type, enabled=False):
        return F.linear(x.float().permute(0, 2, 3, 1), weight.float()).permute(0, 3, 1, 2)
