"""Validation: rate and distortion on held-out training pictures at fixed lambda, CBR and SNR."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from jscclink.channels.awgn import Awgn
from jscclink.simulator.codecs.hjscc.model import HJSCC
from jscclink.simulator.codecs.hjscc.rates import group_indices, real_symbols, surprise_bits

from .objective import OperatingPoints, batch_eta, forward_terms

VALIDATION_CBR = 1.0 / 16.0
RATE_CORRECTIONS = 2


def rate(model: HJSCC, image: Tensor, points: OperatingPoints) -> float:
    """CBR of a batch's payload with the counts rounded to their tables."""
    sent, _ = model.transmit(image, points.lmbda)
    bits = [surprise_bits(s.probability, model.preset.fixed_rate) for s in sent]
    eta = batch_eta(bits, points, image[0].numel())
    reals = 0.0
    for b, block in zip(bits, model.blocks, strict=True):
        reals += real_symbols(group_indices(b, eta, block.level, model.preset.round_up), block.level).double().sum().item()
    return reals / (2 * image.numel())


def psnr_db(mse: Tensor) -> float:
    """Mean over images of the PSNR for MSEs of images in [-1, 1], dB."""
    return (10.0 * torch.log10(4.0 / mse.double())).mean().item()


@torch.no_grad()
def validate(model: HJSCC, image: Tensor, lmbdas: tuple[float, ...], snrs_db: tuple[float, ...]) -> dict[str, float]:
    """PSNR over the channel at CBR 1/16 for every lambda and SNR, and the clean path's rate and PSNR.

    Args:
        model: in evaluation.
        image: float32 [N, 3, S, S] in [-1, 1].
        lmbdas, snrs_db: the grid.

    Returns:
        figures by name: `psnr_l256_10db`, `eta_l256`, `bpp_l256`, `clean_psnr_l256`.
    """
    figures = {}
    ones = torch.ones(image.shape[0], device=image.device)
    for value in lmbdas:
        lmbda = value * ones
        tag = f"l{value:g}"
        asked = VALIDATION_CBR
        for _ in range(RATE_CORRECTIONS):
            points = OperatingPoints(lmbda, asked * ones, snrs_db[0] * ones)
            asked *= VALIDATION_CBR / rate(model, image, points)
        for k, snr in enumerate(snrs_db):
            generator = torch.Generator().manual_seed(7)
            points = OperatingPoints(lmbda, asked * ones, snr * ones)
            terms = forward_terms(model, image, points, Awgn(), generator, image.shape[0] if k == 0 else 0)
            figures[f"psnr_{tag}_{snr:g}db"] = psnr_db(terms.mse_channel)
            if k == 0:
                figures[f"cbr_{tag}"] = terms.cbr.mean().item()
                figures[f"bpp_{tag}"] = terms.nats.mean().item() * 3 / math.log(2)
                figures[f"clean_psnr_{tag}"] = psnr_db(terms.mse_clean)
    return figures
