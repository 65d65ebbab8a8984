"""Building blocks of the HJSCC networks: conditioning, normalisation, residual blocks, changes of resolution.

Every block maps `[B, C, H, W]` to the same shape and starts as the identity: the last layer of its residual branch is zero,
so a freshly built network is exactly the linear transform that `model.py` lays under it, and learns from there.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLEAN_ESNO_DB = 40.0
"""The SNR that stands for "no channel at all" in the conditioning vector."""


class Conditioning(nn.Module):
    """Embeds the scalars a codec adapts to: the rate-distortion weight lambda and the SNR.

    Sinusoids of the two values (lambda in the log domain), then a two-layer MLP. A method note: the published model embeds
    log(lambda) alone; here the receiving side also knows how noisy its latents are.

    Args:
        width: width of the embedding, [B, width].
        use_snr: False leaves the SNR out (the paper's backbone).
    """

    frequencies: Tensor

    def __init__(self, width: int, use_snr: bool = True) -> None:
        super().__init__()
        self.width = width
        self.use_snr = use_snr
        frequencies = torch.exp(torch.linspace(math.log(0.25), math.log(32.0), width // 4))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.mlp = nn.Sequential(nn.Linear((width // 4) * (4 if use_snr else 2), width), nn.GELU(), nn.Linear(width, width))

    def forward(self, lmbda: Tensor, esno_db: Tensor) -> Tensor:
        """Embed.

        Args:
            lmbda: [B], float32, positive.
            esno_db: [B], float32, dB; `CLEAN_ESNO_DB` for the clean path.

        Returns:
            [B, width], float32.
        """
        values = [torch.log(lmbda) / 8.0]
        if self.use_snr:
            values.append(esno_db / 20.0)
        phases = torch.cat([v[:, None] * self.frequencies for v in values], dim=1)
        return self.mlp(torch.cat([phases.sin(), phases.cos()], dim=1))


def space_to_depth(x: Tensor, factor: int) -> Tensor:
    """`F.pixel_unshuffle`, channels last and in half its time: [B, C, H, W] -> [B, C factor^2, H/factor, W/factor]."""
    batch, channels, height, width = x.shape
    rows, columns = height // factor, width // factor
    blocks = x.view(batch, channels, rows, factor, columns, factor).permute(0, 2, 4, 1, 3, 5)
    return blocks.reshape(batch, rows, columns, channels * factor**2).permute(0, 3, 1, 2)


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of `[B, C, H, W]`, without affine parameters."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each position; same shape and dtype."""
        return F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],)).permute(0, 3, 1, 2)


class AdaptiveNorm(nn.Module):
    """Layer normalisation whose scale and shift come from the conditioning vector (zero at the start: plain LayerNorm)."""

    def __init__(self, channels: int, cond_width: int) -> None:
        super().__init__()
        self.norm = LayerNorm2d()
        self.film = nn.Linear(cond_width, 2 * channels)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        """Normalise and modulate `x` [B, C, H, W] by `cond` [B, cond_width]."""
        scale, shift = self.film(cond)[:, :, None, None].chunk(2, dim=1)
        return self.norm(x) * (1.0 + scale) + shift


class FusedBlock(nn.Module):
    """Residual inverted bottleneck with one dense 3x3 convolution (fused MBConv).

        x --adaptive norm--> conv 3x3 (C -> rC) --> GELU --> conv 1x1 (rC -> C) --> + x

    Dense convolutions run at four times the arithmetic rate of depthwise ones on the CPUs this was measured on.
    """

    def __init__(self, channels: int, cond_width: int, kernel: int = 3, ratio: float = 2.0) -> None:
        super().__init__()
        hidden = round(channels * ratio)
        self.norm = AdaptiveNorm(channels, cond_width)
        self.expand = nn.Conv2d(channels, hidden, kernel, padding=kernel // 2)
        self.project = zero_conv(hidden, channels)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        """[B, C, H, W] and [B, cond_width] to [B, C, H, W]."""
        return x + self.project(F.gelu(self.expand(self.norm(x, cond))))


class ConvNeXtBlock(nn.Module):
    """ConvNeXt block with adaptive layer norm, as the published model uses it.

    x --depthwise conv--> adaptive norm --> MLP with GELU --> x layer scale --> + x
    """

    def __init__(self, channels: int, cond_width: int, kernel: int = 7, ratio: float = 2.0) -> None:
        super().__init__()
        hidden = round(channels * ratio)
        self.depthwise = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = AdaptiveNorm(channels, cond_width)
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.project = nn.Conv2d(hidden, channels, 1)
        self.layer_scale = nn.Parameter(torch.full((channels, 1, 1), 1e-6))

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        """[B, C, H, W] and [B, cond_width] to [B, C, H, W]."""
        branch = self.project(F.gelu(self.expand(self.norm(self.depthwise(x), cond))))
        return x + self.layer_scale * branch


BLOCKS: dict[str, type[FusedBlock] | type[ConvNeXtBlock]] = {"fused": FusedBlock, "convnext": ConvNeXtBlock}


class Stage(nn.Module):
    """A chain of blocks at one resolution that share a conditioning vector."""

    def __init__(self, kind: str, depth: int, channels: int, cond_width: int, kernel: int, ratio: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(BLOCKS[kind](channels, cond_width, kernel, ratio) for _ in range(depth))

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        """[B, C, H, W] and [B, cond_width] to [B, C, H, W]."""
        for block in self.blocks:
            x = block(x, cond)
        return x


def zero_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A 1x1 convolution that starts at zero."""
    conv = nn.Conv2d(in_channels, out_channels, 1)
    nn.init.zeros_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


class Down(nn.Module):
    """[B, C, H, W] to [B, D, H/factor, W/factor]: space to depth, then a 1x1 convolution (a patch convolution)."""

    def __init__(self, in_channels: int, out_channels: int, factor: int = 2) -> None:
        super().__init__()
        self.factor = factor
        self.conv = nn.Conv2d(in_channels * factor**2, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Halve (or divide by `factor`) both sides."""
        return self.conv(space_to_depth(x, self.factor))


class Up(nn.Module):
    """[B, C, H, W] to [B, D, factor H, factor W]: a 1x1 convolution, then depth to space."""

    def __init__(self, in_channels: int, out_channels: int, factor: int = 2) -> None:
        super().__init__()
        self.factor = factor
        self.conv = nn.Conv2d(in_channels, out_channels * factor**2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Double (or multiply by `factor`) both sides."""
        return F.pixel_shuffle(self.conv(x), self.factor)
