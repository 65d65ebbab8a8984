"""The objective of HJSCC-f: every latent is formed from the receiver's state, so later latents correct what the channel did.

One walk serves both ends: enter, prior, posterior, symbols, channel, JSCC decoder, merge, latent by latent. Each latent is a
burst of its own and is scaled to unit power on its own, as the link does it.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from jscclink.channels.channel import Channel
from jscclink.simulator.codecs.hjscc.jscc import JsccCoder
from jscclink.simulator.codecs.hjscc.likelihood import likelihood
from jscclink.simulator.codecs.hjscc.model import HJSCC, Sent
from jscclink.simulator.codecs.hjscc.rates import counts_from_indices, group_indices, prefix_mask, surprise_bits

from .objective import LEAST_POWER, OperatingPoints, Terms, batch_eta, over_channel


def feedback_terms(model: HJSCC, image: Tensor, points: OperatingPoints, channel: Channel, generator: torch.Generator) -> Terms:
    """As `objective.forward_terms`, with perfect feedback after every latent and without a clean path.

    The rate is set by the bits of the clean walk, which is what a transmitter knows before it begins.
    """
    values = image[0].numel()
    with torch.no_grad():
        planned, _ = model.transmit(image, points.lmbda)
        eta = batch_eta([surprise_bits(sent.probability, model.preset.fixed_rate) for sent in planned], points, values)
    cond = model.conditioning(points.lmbda, points.esno_db)
    channel_cond = model.channel_conditioning(points.lmbda, points.esno_db)
    features = model.bottom_up(image, model.clean_conditioning(points.lmbda))
    state = model.initial_state(image.shape[0], image.shape[2], image.shape[3])
    nats = torch.zeros(image.shape[0], device=image.device)
    reals = torch.zeros_like(nats)
    for number, block in enumerate(model.blocks):
        state = model.enter(number, state, cond)
        prior = block.prior(state, points.lmbda)
        mean = block.posterior(state, features[block.level.stride], image, prior, cond)
        probability = likelihood(mean, prior.mean, prior.scale)
        noisy = mean + torch.rand(mean.shape, generator=generator).to(mean.device) - 0.5
        sampled = likelihood(noisy, prior.mean, prior.scale)
        nats = nats - sampled.log().sum((1, 2, 3)) / values
        bits = surprise_bits(probability.detach(), model.preset.fixed_rate)
        indices = group_indices(bits, eta, block.level, model.preset.round_up)
        mask = prefix_mask(counts_from_indices(indices, block.level), block.level.table[-1])
        sent = Sent(mean, prior, probability, sampled, state.d)
        symbols = model.encode_symbols(number, sent, eta[:, None, None] * bits, indices, channel_cond)
        symbols = torch.where(mask, symbols, 0.0)
        count = mask.sum((1, 2, 3))
        power = (symbols.square().sum((1, 2, 3)) / count.clamp_min(1)).clamp_min(LEAST_POWER)
        received, noise_var = over_channel(channel, [symbols], power, points.esno_db, generator)
        coder = cast("JsccCoder", model.coders[number])
        z, aux = coder.decode(received[0], noise_var[0], mask, prior, indices, state.d, channel_cond)
        state = block.merge(state, z, prior, cond, aux)
        reals = reals + count
    mse = (model.picture(state, cond) - image).square().mean((1, 2, 3))
    return Terms(mse, mse.new_zeros(0), nats, reals / (2 * values))
