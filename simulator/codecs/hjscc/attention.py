"""Attention blocks and per-count maps of the published JSCC coders (preset `hjscc-paper`)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import AdaptiveNorm
from .rates import spread

WINDOW = 8
HEAD_WIDTH = 32


class AttentionBlock(nn.Module):
    """Transformer block within windows of 8 x 8 positions, both halves modulated by the conditioning vector.

    x --> adaptive norm --> windowed self-attention --> + x --> adaptive norm --> MLP with GELU --> +
    """

    def __init__(self, channels: int, cond_width: int, ratio: float = 2.0) -> None:
        super().__init__()
        self.heads = max(channels // HEAD_WIDTH, 1)
        self.norm_attention = AdaptiveNorm(channels, cond_width)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        self.norm_mlp = AdaptiveNorm(channels, cond_width)
        hidden = round(channels * ratio)
        self.expand, self.project = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)
        # one learned bias per head and relative position within a window
        self.bias = nn.Parameter(torch.zeros(self.heads, 2 * WINDOW - 1, 2 * WINDOW - 1))

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        """[B, C, H, W] and [B, cond_width] to [B, C, H, W]; sides need not be multiples of the window."""
        x = x + self.out(self._attend(self.qkv(self.norm_attention(x, cond))))
        return x + self.project(F.gelu(self.expand(self.norm_mlp(x, cond))))

    def _attend(self, qkv: Tensor) -> Tensor:
        batch, channels, height, width = qkv.shape
        rows, columns = min(WINDOW, height), min(WINDOW, width)
        down, right = -height % rows, -width % columns
        padded = F.pad(qkv, (0, right, 0, down))
        across, along = (height + down) // rows, (width + right) // columns
        # [B, 3, heads, C/heads, window row, row, window column, column] -> q, k, v as [B x windows, heads, positions, C/heads]
        parts = padded.view(batch, 3, self.heads, -1, across, rows, along, columns)
        q, k, v = parts.permute(1, 0, 4, 6, 2, 5, 7, 3).reshape(3, -1, self.heads, rows * columns, channels // 3 // self.heads)
        bias = self._relative_bias(rows, columns).to(q.dtype) + self._inside(height, width, rows, columns, q)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.repeat(batch, 1, 1, 1))
        mixed = mixed.view(batch, across, along, self.heads, rows, columns, -1).permute(0, 3, 6, 1, 4, 2, 5)
        return mixed.reshape(batch, channels // 3, height + down, width + right)[..., :height, :width]

    def _relative_bias(self, rows: int, columns: int) -> Tensor:
        r, c = torch.arange(rows, device=self.bias.device), torch.arange(columns, device=self.bias.device)
        dr, dc = r[:, None] - r[None] + WINDOW - 1, c[:, None] - c[None] + WINDOW - 1
        n = rows * columns
        return self.bias[:, dr[:, None, :, None], dc[None, :, None, :]].reshape(1, self.heads, n, n)

    @staticmethod
    def _inside(height: int, width: int, rows: int, columns: int, like: Tensor) -> Tensor:
        """0 for positions of the map, a large negative number for padding: [windows, 1, 1, positions]."""
        down, right = -height % rows, -width % columns
        real = F.pad(torch.ones(height, width, device=like.device), (0, right, 0, down))
        windows = real.view((height + down) // rows, rows, (width + right) // columns, columns)
        flat = windows.permute(0, 2, 1, 3).reshape(-1, 1, 1, rows * columns)
        return ((flat - 1.0) * 1e4).to(like.dtype)


class AttentionStage(nn.Module):
    """A chain of attention blocks that share a conditioning vector."""

    def __init__(self, depth: int, channels: int, cond_width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(AttentionBlock(channels, cond_width) for _ in range(depth))

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        """[B, C, H, W] and [B, cond_width] to [B, C, H, W]."""
        for block in self.blocks:
            x = block(x, cond)
        return x


class CountLinear(nn.Module):
    """A linear map per position, one for every entry of the count table."""

    def __init__(self, entries: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(entries, out_channels, in_channels) * in_channels**-0.5)
        self.bias = nn.Parameter(torch.zeros(entries, out_channels))

    def forward(self, x: Tensor, indices: Tensor, group: int) -> Tensor:
        """[B, C, h, w] and the index map [B, h/group, w/group] -> [B, D, h, w]."""
        entry = spread(indices, group)
        tokens = x.permute(0, 2, 3, 1)
        out = tokens.new_zeros(*tokens.shape[:3], self.bias.shape[1])
        for number in torch.unique(entry).tolist():
            here = entry == number
            out[here] = F.linear(tokens[here], self.weight[number].to(x.dtype), self.bias[number].to(x.dtype)).to(out.dtype)
        return out.permute(0, 3, 1, 2)
