"""The joint source-channel coder of one latent block.

    z, prior, likelihood, counts, SNR --> encoder --> symbols [B, largest, h, w], of which a prefix is sent
    received prefix, noise, counts, the receiver's prior --> decoder --> z_hat, features

Under the networks lies, in presets with a linear path, the scheme that is optimal for Gaussian sources: a channel of
standard deviation s is sent with amplitude proportional to sqrt(s) (Lee and Petersen 1976), and received by the Bayesian
update of the receiver's prior. What was not sent keeps the prior mean.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .attention import AttentionStage, CountLinear
from .blocks import Stage, zero_conv
from .latent import Prior
from .presets import LevelSpec, Preset
from .rates import spread

LOG_AMPLITUDE_RATE = 3.0


class JsccCoder(nn.Module):
    """Encoder and decoder of one latent block; they share only the amplitudes, which the counts make known to both ends."""

    def __init__(self, preset: Preset, level: LevelSpec, feature_width: int) -> None:
        super().__init__()
        self.level = level
        self.largest = level.table[-1]
        z, k, h = level.z_channels, self.largest, preset.jscc_width
        if z != k:
            raise ValueError(f"a level's largest count ({k}) must equal its latent channels ({z})")
        self.linear_path = preset.linear_path
        self.per_count = preset.rate_attention == "attention"
        self.rate_blind = preset.rate_attention == "none"
        # log amplitude per symbol and, on top, per entry of the count table
        self.log_amplitude = nn.Parameter(torch.zeros(k))
        self.log_amplitude_by_count = nn.Parameter(torch.zeros(len(level.table), k))
        self.encoder_in = nn.Conv2d(4 * z + feature_width + 1, h, 1)
        self.encoder_count = nn.Embedding(len(level.table), h)
        self.encoder_blocks = self._stage(preset)
        self.encoder_out = CountLinear(len(level.table), h, k) if self.per_count else zero_conv(h, k)
        self.decoder_in = nn.Conv2d(2 * k + 3 * z + feature_width, h, 1)
        self.decoder_count = nn.Embedding(len(level.table), h)
        self.decoder_blocks = self._stage(preset)
        self.decoder_out = CountLinear(len(level.table), h, z) if self.per_count else zero_conv(h, z)
        self.feature_out = zero_conv(h, feature_width)

    @staticmethod
    def _stage(preset: Preset) -> Stage | AttentionStage:
        if preset.rate_attention == "attention":
            return AttentionStage(preset.jscc_depth, preset.jscc_width, preset.cond_width)
        return Stage("fused", preset.jscc_depth, preset.jscc_width, preset.cond_width, 3, 2.0)

    def _out(self, layer: nn.Module, h: Tensor, indices: Tensor) -> Tensor:
        return (layer(h, indices, self.level.group) if self.per_count else layer(h)).float()

    def _amplitude(self, indices: Tensor) -> Tensor:
        """Amplitude per symbol, [B, largest, h, w]."""
        log = self.log_amplitude + LOG_AMPLITUDE_RATE * self.log_amplitude_by_count
        return spread_channels(torch.exp(log)[indices], self.level.group)

    def encode(
        self, z: Tensor, prior: Prior, probability: Tensor, wanted: Tensor, indices: Tensor, d: Tensor, cond: Tensor
    ) -> Tensor:
        """Symbols before power normalisation.

        Args:
            z: latent (posterior mean), float32 [B, z, h, w].
            prior: the transmitter's prior.
            probability: P(z), [B, z, h, w] (detached by the caller).
            wanted: real symbols each position would have got alone, [B, h, w].
            indices: table index per group, int64 [B, h/group, w/group].
            d: the transmitter's features, [B, width, h, w].
            cond: [B, cond_width], with the channel's SNR.

        Returns:
            float32 [B, largest, h, w]; the caller sends the first `count` of every position.
        """
        if self.rate_blind:
            probability, wanted, indices = torch.ones_like(probability), torch.zeros_like(wanted), torch.zeros_like(indices)
        seen = torch.cat([z / prior.unit, prior.mean / prior.unit, (prior.scale / prior.unit).log(), 1.0 - probability], dim=1)
        seen = torch.cat([seen, torch.log1p(wanted)[:, None]], dim=1)
        h = self.encoder_in(torch.cat([seen.to(d.dtype), d], dim=1))
        h = h + spread_channels(self.encoder_count(indices), self.level.group)
        symbols = self._out(self.encoder_out, self.encoder_blocks(h, cond), indices)
        return symbols + (z / prior.gain) * self._amplitude(indices) if self.linear_path else symbols

    def decode(
        self, received: Tensor, noise_var: Tensor, mask: Tensor, prior: Prior, indices: Tensor, d: Tensor, cond: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Latent and features from what was received.

        Args:
            received: [B, largest, h, w], float32, rescaled to the encoder's power.
            noise_var: its noise variance per real symbol, broadcastable to it.
            mask: bool [B, largest, h, w], True where a symbol was sent.
            prior: the receiver's prior.
            indices: as in `encode`.
            d: the receiver's features.
            cond: [B, cond_width], with the channel's SNR.

        Returns:
            z_hat float32 [B, z, h, w]; features [B, width, h, w].
        """
        if self.rate_blind:
            indices = torch.zeros_like(indices)
        received = torch.where(mask, received, 0.0)
        amplitude = self._amplitude(indices)
        mean, var = prior.mean / prior.gain, (prior.scale / prior.gain).square()
        signal = var * amplitude.square()
        trust = torch.where(mask, signal / (signal + noise_var), 0.0)
        size = prior.unit / prior.gain
        update = mean + trust * (received / amplitude - mean)
        # what the network sees of a symbol stays bounded in the deepest fade
        usual = (amplitude * size).square()
        damped = received * (usual / (usual + noise_var))
        log_noise = torch.where(mask, torch.log(noise_var + 1e-4), 0.0)
        seen = torch.cat([damped, log_noise, update / size, (update - mean) / size, (prior.scale / prior.unit).log()], dim=1)
        h = self.decoder_in(torch.cat([seen.to(d.dtype), d], dim=1))
        h = h + spread_channels(self.decoder_count(indices), self.level.group)
        h = self.decoder_blocks(h, cond)
        network = size * self._out(self.decoder_out, h, indices)
        return prior.gain * (network + (update if self.linear_path else mean)), self.feature_out(h)


def spread_channels(per_group: Tensor, group: int) -> Tensor:
    """Per-group vectors over their positions: [B, h/group, w/group, C] -> [B, C, h, w]."""
    batch, rows, columns, channels = per_group.shape
    flat = per_group.permute(0, 3, 1, 2).reshape(batch * channels, rows, columns)
    return spread(flat, group).view(batch, channels, rows * group, columns * group)
