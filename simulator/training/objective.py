"""The training objective of HJSCC: (lambda/2) (MSE over the channel + MSE of the clean path) + KL, per image.

KL is -log P in nats per image value; MSE is on images in [-1, 1], averaged over values.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jscclink.simulator.codecs.hjscc.model import HJSCC
from jscclink.simulator.codecs.hjscc.rates import counts_from_indices, group_indices, prefix_mask, surprise_bits

BITS_SLOPE = 0.3


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


def forward_terms(
    model: HJSCC, image: Tensor, points: OperatingPoints, generator: torch.Generator | None, clean_images: int
) -> Terms:
    """Both paths of a batch over AWGN.

    Args:
        model: the codec.
        image: float32 [B, 3, H, W] in [-1, 1].
        points: the operating points.
        generator: randomness of quantisation noise and channel; None codes posterior means (evaluation) with torch's default
            generator for the channel.
        clean_images: how many images of the batch also take the clean path.
    """
    batch = image.shape[0]
    values = image[0].numel()

    def sample(mean: Tensor) -> Tensor:
        return mean + torch.rand(mean.shape, generator=generator, device=mean.device) - 0.5

    sent, last = model.transmit(image, points.lmbda, sample)
    channel_cond = model.channel_conditioning(points.lmbda, points.esno_db)
    signals, masks, maps = [], [], []
    nats = torch.zeros(batch, device=image.device)
    energy = torch.zeros(batch, device=image.device)
    reals = torch.zeros(batch, device=image.device)
    maps_of_bits = [surprise_bits(latent.probability.detach()) for latent in sent]
    eta = batch_eta(maps_of_bits, points, values)
    for number, (latent, bits) in enumerate(zip(sent, maps_of_bits, strict=True)):
        level = model.latents[number].level
        nats = nats - latent.sampled.log().sum((1, 2, 3)) / values
        indices = group_indices(bits, eta, level, model.preset.round_up)
        counts = counts_from_indices(indices, level)
        mask = prefix_mask(counts, level.table[-1])
        wanted = eta[:, None, None] * bits
        symbols = model.encode_symbols(number, latent, wanted, indices, channel_cond)
        symbols = torch.where(mask, symbols, 0.0)
        energy = energy + symbols.square().sum((1, 2, 3))
        reals = reals + mask.sum((1, 2, 3))
        signals.append(symbols)
        masks.append(mask)
        maps.append(indices)
    # power 1 per complex use and noise N0 are power 1 per real symbol and noise N0, in units of twice the size
    power = (energy / reals.clamp_min(1.0))[:, None, None, None]
    noise_var = power * (10.0 ** (-points.esno_db / 10.0))[:, None, None, None]
    cond = model.conditioning(points.lmbda, points.esno_db)
    state = model.initial_state(batch, image.shape[2], image.shape[3])
    for number, (symbols, mask, indices) in enumerate(zip(signals, masks, maps, strict=True)):
        noise = torch.randn(symbols.shape, generator=generator, device=image.device)
        received = symbols + noise_var.sqrt() * noise
        state = model.receive(
            number, state, received, noise_var, mask, indices, points.lmbda, cond, channel_cond
        )
    mse_channel = (model.picture(state, cond) - image).square().mean((1, 2, 3))
    if clean_images:
        last.d, last.canvas = last.d[:clean_images], last.canvas[:clean_images]
        clean = model.picture(last, model.clean_conditioning(points.lmbda[:clean_images]))
        mse_clean = (clean - image[:clean_images]).square().mean((1, 2, 3))
    else:
        mse_clean = mse_channel.new_zeros(0)
    return Terms(mse_channel, mse_clean, nats, reals / (2 * values))


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
