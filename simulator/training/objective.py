"""The training objective of HJSCC: (lambda/2) (MSE over the channel + MSE of the clean path) + KL, per image.

KL is -log P in nats per image value; MSE is on images in [-1, 1], averaged over values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from jscclink.channels.channel import Channel
from jscclink.simulator.codecs.hjscc.air import told_esno_db
from jscclink.simulator.codecs.hjscc.latent import Prior
from jscclink.simulator.codecs.hjscc.model import HJSCC
from jscclink.simulator.codecs.hjscc.rates import counts_from_indices, group_indices, prefix_mask, surprise_bits
from jscclink.simulator.scheme import Reception
from jscclink.simulator.units import noise_var_from_esno_db

BITS_SLOPE = 0.3
LEAST_POWER = 1e-9


@dataclass
class Terms:
    """What the objective is made of, per image, float32 [B] each (`mse_clean`: [C], the first C images).

    Attributes:
        mse_channel, mse_clean: mean squared error, images in [-1, 1].
        nats: KL in nats per image value.
        cbr: complex channel uses per image value, payload only.
    """

    mse_channel: Tensor
    mse_clean: Tensor
    nats: Tensor
    cbr: Tensor


@dataclass
class OperatingPoints:
    """Where each image of a batch is coded, float32 [B] each: lambda, wanted CBR of the payload, Es/N0 in dB.

    The wanted CBR fixes eta (real symbols per bit) for the batch: rich images take more than their share and plain ones less,
    as they do when a set is coded at one eta. Were eta itself drawn, every bit that the prior learns to save would take symbols
    away, and the two halves of the objective would work against each other unseen by the gradient.
    """

    lmbda: Tensor
    cbr: Tensor
    esno_db: Tensor

    def to(self, device: torch.device) -> OperatingPoints:
        """The same points on a device."""
        return OperatingPoints(self.lmbda.to(device), self.cbr.to(device), self.esno_db.to(device))


def forward_terms(
    model: HJSCC, image: Tensor, points: OperatingPoints, channel: Channel, generator: torch.Generator, clean_images: int
) -> Terms:
    """Both paths of a batch.

    Args:
        model: the codec.
        image: float32 [B, 3, H, W] in [-1, 1].
        points: the operating points.
        channel: any differentiable one of one use in, one use out.
        generator: randomness of quantisation noise and channel.
        clean_images: how many images of the batch also take the clean path.
    """
    batch = image.shape[0]
    values = image[0].numel()
    sent, last = model.transmit(image, points.lmbda, _quantisation_noise(generator))
    coder_cond = model.channel_conditioning(points.lmbda, points.esno_db)
    signals, masks, maps = [], [], []
    nats = torch.zeros(batch, device=image.device)
    energy = torch.zeros(batch, device=image.device)
    reals = torch.zeros(batch, device=image.device)
    maps_of_bits = [surprise_bits(latent.probability.detach(), model.preset.fixed_rate) for latent in sent]
    eta = batch_eta(maps_of_bits, points, values)
    for number, (latent, bits) in enumerate(zip(sent, maps_of_bits, strict=True)):
        level = model.blocks[number].level
        nats = nats - latent.sampled.log().sum((1, 2, 3)) / values
        indices = group_indices(bits, eta, level, model.preset.round_up)
        counts = counts_from_indices(indices, level)
        mask = prefix_mask(counts, level.table[-1])
        wanted = eta[:, None, None] * bits
        symbols = model.encode_symbols(number, latent, wanted, indices, coder_cond)
        symbols = torch.where(mask, symbols, 0.0)
        energy = energy + symbols.square().sum((1, 2, 3))
        reals = reals + mask.sum((1, 2, 3))
        signals.append(symbols)
        masks.append(mask)
        maps.append(indices)
    power = (energy / reals.clamp_min(1.0)).clamp_min(LEAST_POWER)
    received, noises = over_channel(channel, signals, power, points.esno_db, generator)
    told = torch.tensor([_told(noises, masks, power, item) for item in range(batch)], device=image.device)
    cond = model.conditioning(points.lmbda, told)
    channel_cond = model.channel_conditioning(points.lmbda, told)
    state = model.initial_state(batch, image.shape[2], image.shape[3])
    for number, (values_in, noise_var, mask, indices) in enumerate(zip(received, noises, masks, maps, strict=True)):
        state = model.receive(number, state, values_in, noise_var, mask, indices, points.lmbda, cond, channel_cond)
    mse_channel = (model.picture(state, cond) - image).square().mean((1, 2, 3))
    if clean_images:
        last.d, last.canvas = last.d[:clean_images], last.canvas[:clean_images]
        clean = model.picture(last, model.clean_conditioning(points.lmbda[:clean_images]))
        mse_clean = (clean - image[:clean_images]).square().mean((1, 2, 3))
    else:
        mse_clean = mse_channel.new_zeros(0)
    return Terms(mse_channel, mse_clean, nats, reals / (2 * values))


def clean_terms(model: HJSCC, image: Tensor, points: OperatingPoints, generator: torch.Generator) -> Terms:
    """The clean path alone: rate and distortion of a source codec; nothing of the channel, nothing of the JSCC coders.

    Args:
        model: the codec.
        image: float32 [B, 3, H, W] in [-1, 1].
        points: the operating points, of which only lambda counts.
        generator: randomness of the quantisation noise.
    """
    sent, last = model.transmit(image, points.lmbda, _quantisation_noise(generator))
    nats = -torch.stack([latent.sampled.log().sum((1, 2, 3)) for latent in sent]).sum(0) / image[0].numel()
    mse = (model.picture(last, model.clean_conditioning(points.lmbda)) - image).square().mean((1, 2, 3))
    return Terms(torch.zeros_like(mse), mse, nats, torch.zeros_like(mse))


def _quantisation_noise(generator: torch.Generator) -> Callable[[Tensor, Prior], Tensor]:
    """Latents as the objective sees them: the posterior's mean and uniform noise of one quantiser step."""

    def sample(mean: Tensor, _: Prior) -> Tensor:
        return mean + torch.rand(mean.shape, generator=generator).to(mean.device) - 0.5

    return sample


def _told(noises: list[Tensor], masks: list[Tensor], power: Tensor, item: int) -> float:
    """The SNR the receiver's networks are told for one image: from the noise of the symbols sent, unit transmit power."""
    heard = torch.cat([noise[item][mask[item]] for noise, mask in zip(noises, masks, strict=True)])
    return told_esno_db(heard.detach() / power[item].detach())


def over_channel(
    channel: Channel, signals: list[Tensor], power: Tensor, esno_db: Tensor, generator: torch.Generator
) -> tuple[list[Tensor], list[Tensor]]:
    """Real symbols over a channel, scaled to unit power for it and back.

    Positions that are not sent pass as zeros, so that all images of a batch keep one shape; no use depends on another's value.

    Args:
        channel: the channel.
        signals: per latent, float32 [B, largest, h, w], zero where nothing is sent.
        power: mean square of the real symbols that are sent, [B].
        esno_db: [B].
        generator: the channel's randomness.

    Returns:
        per latent: what was received, and the noise variance per real symbol, both as `signals`.
    """
    flat = torch.cat([s.flatten(1) for s in signals], dim=1)
    pairs = torch.view_as_complex(F.pad(flat, (0, flat.shape[1] % 2)).view(flat.shape[0], -1, 2))
    scale = (2.0 * power).sqrt()[:, None]
    realisation = channel.generate(pairs.shape[0], pairs.shape[1], generator=generator, device=pairs.device)
    seen = channel.apply(pairs / scale.clamp_min(1e-6), realisation, noise_var_from_esno_db(esno_db))
    symbols, noise_var = Reception(seen.symbols, seen.gain, seen.noise_var).unbiased()
    values = torch.view_as_real(symbols * scale).flatten(1)[:, : flat.shape[1]]
    noise = (noise_var * power[:, None]).repeat_interleave(2, 1)[:, : flat.shape[1]]
    sizes = [s[0].numel() for s in signals]
    return (
        [v.view(s.shape) for v, s in zip(values.split(sizes, 1), signals, strict=True)],
        [n.reshape(s.shape) for n, s in zip(noise.split(sizes, 1), signals, strict=True)],
    )


def batch_eta(maps_of_bits: list[Tensor], points: OperatingPoints, values: int) -> Tensor:
    """Real symbols per bit, [B], that give a batch its wanted CBRs on average.

    Images of one batch have different lambdas; their bits are brought to a common one by bits ~ lambda^0.3 (measured).
    """
    total_bits = torch.stack([bits.sum((1, 2)) for bits in maps_of_bits]).sum(0)
    at_unit_lambda = (total_bits * points.lmbda**-BITS_SLOPE).mean().clamp_min(1.0)
    return 2.0 * values * points.cbr / (at_unit_lambda * points.lmbda**BITS_SLOPE)


def loss(terms: Terms, lmbda: Tensor, balance: float) -> Tensor:
    """The objective, averaged over the batch.

    An image's loss grows by orders of magnitude with lambda and with the noise; each is weighted with its own (detached) value
    to the power `-balance`, so that easy and hard operating points learn at comparable speed. 0 is the plain objective.
    """
    per_image = 0.5 * lmbda * terms.mse_channel + terms.nats
    clean = terms.mse_clean.shape[0]
    extra = 0.5 * lmbda[:clean] * terms.mse_clean
    per_image = torch.cat([per_image[:clean] + extra, per_image[clean:]])
    weight = per_image.detach().clamp_min(1e-3) ** -balance
    return (weight * per_image).mean()
