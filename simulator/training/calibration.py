"""After training: fit what the weights' card carries beside them, on training pictures.

The entropy model of the side information is fitted by least squares (its mean on the indices, its spread on the absolute
residuals) over index maps of the rates and lambdas the codec is used at.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jscclink.simulator.codecs.hjscc.model import HJSCC
from jscclink.simulator.codecs.hjscc.rates import group_indices, surprise_bits
from jscclink.simulator.codecs.hjscc.side import FEATURES, FRACTION_BITS, SideModel, co_located, feature_maps

from .objective import OperatingPoints, batch_eta

CBRS = (0.015, 0.03, 0.0625, 0.0625, 0.12)
RIDGE = 1e-3


@torch.no_grad()
def index_maps(model: HJSCC, image: Tensor, lmbda: float, cbr: float) -> list[list[NDArray[np.int64]]]:
    """Index maps of a batch coded at one lambda and one eta: per image, per level."""
    ones = torch.ones(image.shape[0])
    sent, _ = model.transmit(image, lmbda * ones)
    bits = [surprise_bits(s.probability, model.preset.fixed_rate) for s in sent]
    eta = batch_eta(bits, OperatingPoints(lmbda * ones, cbr * ones, ones), image[0].numel())
    maps = [
        group_indices(b, eta, level, model.preset.round_up).numpy() for b, level in zip(bits, model.preset.levels, strict=True)
    ]
    return [[m[i] for m in maps] for i in range(image.shape[0])]


def fit_side_model(model: HJSCC, image: Tensor, lmbda_at_sixteenth: float, lmbda_slope: float) -> SideModel:
    """The side information's entropy model.

    Args:
        model: trained, in evaluation.
        image: training pictures, float32 [N, 3, S, S] in [-1, 1].
        lmbda_at_sixteenth, lmbda_slope: which lambda goes with which CBR.
    """
    levels = len(model.preset.levels)
    seen: list[list[NDArray[np.int64]]] = [[] for _ in range(levels)]
    wanted: list[list[NDArray[np.int64]]] = [[] for _ in range(levels)]
    for cbr in CBRS:
        for maps in index_maps(model, image, lmbda_at_sixteenth * (16 * cbr) ** lmbda_slope, cbr):
            below = None
            for number, current in enumerate(maps):
                average = round(float(current.mean()))
                seen[number].append(feature_maps(current, co_located(below, *current.shape), average))
                wanted[number].append(current.reshape(-1))
                below = current
    mean = np.zeros((levels, FEATURES), dtype=np.int64)
    spread = np.zeros((levels, FEATURES), dtype=np.int64)
    for number in range(levels):
        x, y = np.concatenate(seen[number]).astype(float), np.concatenate(wanted[number]).astype(float)
        mean[number] = _fixed_point(_ridge(x, y))
        centre = np.clip(x @ (mean[number] / (1 << FRACTION_BITS)), 0, None)
        spread[number] = _fixed_point(_ridge(x, np.abs(y - centre)))
    return SideModel(mean, spread)


def _ridge(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.solve(x.T @ x + RIDGE * len(y) * np.eye(x.shape[1]), x.T @ y), dtype=np.float64)


def _fixed_point(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.round(values * (1 << FRACTION_BITS)).astype(np.int64)
