"""The HJSCC model: bottom-up path, top-down path with latent blocks, one JSCC coder per latent.

    image --bottom-up--> features(/8, /16, /32, ...)
                             |
    constant --latent block l--> z_l --JSCC encoder--> symbols   (transmitter: the state runs on its own latents)
    constant --latent block l--> z_hat_l <--JSCC decoder-- received  (receiver: the same weights on what arrived)
                   ...--tail--> image

Images are float32 [B, 3, H, W] in [-1, 1], sides multiples of `preset.multiple`. The two ends are `transmit` and a `Receiver`
walk; neither sees anything of the other but symbols and count indices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import CLEAN_ESNO_DB, Conditioning, Down, Stage, Up, space_to_depth, zero_conv
from .jscc import JsccCoder
from .latent import LatentBlock, Prior, State
from .likelihood import likelihood
from .presets import Preset


@dataclass
class Sent:
    """One latent at the transmitter.

    Attributes:
        z: posterior mean, float32 [B, z, h, w], in quantiser steps.
        prior: the prior it was drawn against.
        probability: P(z), float32 [B, z, h, w]; decides how many symbols it gets.
        sampled: P of the latent the state went on with, which is what the KL term counts.
        d: the transmitter's features at this latent.
    """

    z: Tensor
    prior: Prior
    probability: Tensor
    sampled: Tensor
    d: Tensor


class BottomUp(nn.Module):
    """Image to features at every stride of the preset."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.strides = [s.stride for s in preset.bottom_up]
        downs, stages, width, stride = [], [], 3, 1
        for spec in preset.bottom_up:
            downs.append(Down(width, spec.width, spec.stride // stride))
            stages.append(Stage(preset.block, spec.depth, spec.width, preset.cond_width, spec.kernel, spec.ratio))
            width, stride = spec.width, spec.stride
        self.downs, self.stages = nn.ModuleList(downs), nn.ModuleList(stages)

    def forward(self, image: Tensor, cond: Tensor) -> dict[int, Tensor]:
        """Features by stride."""
        features, x = {}, image
        for stride, down, stage in zip(self.strides, self.downs, self.stages, strict=True):
            x = stage(down(x), cond)
            features[stride] = x
        return features


class HJSCC(nn.Module):
    """Hierarchical joint source-channel codec. See the module's drawing; sizes come from a `Preset`."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset = preset
        self.conditioning = Conditioning(preset.cond_width, preset.backbone_snr)
        self.channel_conditioning = Conditioning(preset.cond_width)
        self.bottom_up = BottomUp(preset)
        bottom_width = {s.stride: s.width for s in preset.bottom_up}
        stage_of = {s.stride: s for s in preset.top_down}
        self.start = nn.Parameter(torch.zeros(1, preset.top_down[0].width, 1, 1))
        blocks, ups, coders = [], [], []
        width, stride = preset.top_down[0].width, preset.top_down[0].stride
        for level in preset.levels:
            spec = stage_of[level.stride]
            ups.append(Up(width, spec.width, stride // spec.stride) if spec.stride != stride else nn.Identity())
            blocks.append(LatentBlock(preset, level, spec, bottom_width[level.stride]))
            coders.append(JsccCoder(preset, level, spec.width))
            width, stride = spec.width, spec.stride
        self.ups, self.latents, self.coders = nn.ModuleList(ups), nn.ModuleList(blocks), nn.ModuleList(coders)
        tail_ups, tail_in, tail = [], [], []
        for spec in preset.tail:
            tail_ups.append(Up(width, spec.width, stride // spec.stride) if spec.stride != stride else nn.Identity())
            tail_in.append(nn.Conv2d(3 * spec.stride**2, spec.width, 1) if preset.linear_path else nn.Identity())
            tail.append(Stage(preset.block, spec.depth, spec.width, preset.cond_width, spec.kernel, spec.ratio))
            width, stride = spec.width, spec.stride
        self.tail_ups, self.tail_in, self.tail = nn.ModuleList(tail_ups), nn.ModuleList(tail_in), nn.ModuleList(tail)
        self.to_image = zero_conv(width, 3 * stride**2)
        self.tail_stride = stride

    @property
    def blocks(self) -> list[LatentBlock]:
        """The latent blocks in order."""
        return cast("list[LatentBlock]", list(self.latents))

    def initial_state(self, batch: int, height: int, width: int) -> State:
        """The decoder's state before anything is known: the learned constant and an empty canvas."""
        stride = self.preset.top_down[0].stride
        d = self.start.expand(batch, -1, height // stride, width // stride)
        return State(d, torch.zeros(batch, 3, height, width, device=d.device))

    def enter(self, number: int, state: State, cond: Tensor) -> State:
        """State at latent `number`, brought to its resolution and through its front block."""
        return self.blocks[number].enter(State(self.ups[number](state.d), state.canvas), cond)

    def clean_conditioning(self, lmbda: Tensor) -> Tensor:
        """Conditioning of the transmitter and of the clean path: lambda [B] -> [B, cond_width]."""
        return self.conditioning(lmbda, torch.full_like(lmbda, CLEAN_ESNO_DB))

    def transmit(
        self, image: Tensor, lmbda: Tensor, sample: Callable[[Tensor, Prior], Tensor] | None = None
    ) -> tuple[list[Sent], State]:
        """Walk down the hierarchy at the transmitter.

        Args:
            image: float32 [B, 3, H, W] in [-1, 1].
            lmbda: float32 [B].
            sample: maps a posterior mean and its prior to the latent the state goes on with (training adds U(-1/2, 1/2),
                the source codec quantises); default: the mean itself.

        Returns:
            the latents in order, and the last state.
        """
        cond = self.clean_conditioning(lmbda)
        features = self.bottom_up(image, cond)
        state = self.initial_state(image.shape[0], image.shape[2], image.shape[3])
        return self.walk(image, features, state, range(len(self.latents)), lmbda, cond, sample)

    def walk(
        self,
        image: Tensor,
        features: dict[int, Tensor],
        state: State,
        numbers: range,
        lmbda: Tensor,
        cond: Tensor,
        sample: Callable[[Tensor, Prior], Tensor] | None = None,
    ) -> tuple[list[Sent], State]:
        """The transmitter's walk over some latents from a given state (with feedback: the receiver's); see `transmit`."""
        sent = []
        for number in numbers:
            block = self.blocks[number]
            state = self.enter(number, state, cond)
            prior = block.prior(state, lmbda)
            mean = block.posterior(state, features[block.level.stride], image, prior, cond)
            probability = sampled = likelihood(mean, prior.mean, prior.scale)
            z = mean
            if sample is not None:
                z = sample(mean, prior)
                sampled = likelihood(z, prior.mean, prior.scale)
            sent.append(Sent(mean, prior, probability, sampled, state.d))
            state = block.merge(state, z, prior, cond)
        return sent, state

    def encode_symbols(self, number: int, sent: Sent, wanted: Tensor, indices: Tensor, channel_cond: Tensor) -> Tensor:
        """Symbols of latent `number`, float32 [B, largest, h, w], before masking and power normalisation."""
        coder = cast("JsccCoder", self.coders[number])
        prior = Prior(sent.prior.mean.detach(), sent.prior.scale.detach(), sent.prior.unit, sent.prior.gain)
        return coder.encode(sent.z, prior, sent.probability.detach(), wanted, indices, sent.d, channel_cond)

    def receive(
        self,
        number: int,
        state: State,
        received: Tensor,
        noise_var: Tensor,
        mask: Tensor,
        indices: Tensor,
        lmbda: Tensor,
        cond: Tensor,
        channel_cond: Tensor,
    ) -> State:
        """Take latent `number` in at the receiver: its state before -> its state after.

        Args:
            received, noise_var, mask, indices: see `JsccCoder.decode`.
            lmbda: float32 [B].
            cond, channel_cond: conditioning of the backbone and of the JSCC coders, at the receiver's SNR.
        """
        block = self.blocks[number]
        state = self.enter(number, state, cond)
        prior = block.prior(state, lmbda)
        z, aux = cast("JsccCoder", self.coders[number]).decode(received, noise_var, mask, prior, indices, state.d, channel_cond)
        return block.merge(state, z, prior, cond, aux)

    def picture(self, state: State, cond: Tensor) -> Tensor:
        """The image of a final state: float32 [B, 3, H, W], about [-1, 1], not clipped."""
        d = state.d
        for up, canvas_in, stage in zip(self.tail_ups, self.tail_in, self.tail, strict=True):
            d = up(d)
            if self.preset.linear_path:
                stride = state.canvas.shape[2] // d.shape[2]
                d = d + canvas_in(space_to_depth(state.canvas, stride))
            d = stage(d, cond)
        return state.canvas + F.pixel_shuffle(self.to_image(d).float(), self.tail_stride)
