"""The prior of a latent: a Gaussian convolved with the uniform on [-1/2, 1/2].

P(z) = Phi((z - mean + 1/2) / scale) - Phi((z - mean - 1/2) / scale); for z on the grid mean + integer the values sum to one.
Source: Balle et al., "Variational image compression with a scale hyperprior", ICLR 2018, appendix 6.2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SCALE_LOG_MIN = -2.3
LIKELIHOOD_MIN = 1e-9


def bounded_scale(raw_log_scale: Tensor) -> Tensor:
    """exp of a log-scale that a softplus keeps above `SCALE_LOG_MIN`; any shape, float32."""
    return torch.exp(SCALE_LOG_MIN + F.softplus(raw_log_scale - SCALE_LOG_MIN))


def likelihood(z: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Probability of `z` under the prior.

    Args:
        z, mean, scale: broadcastable, float32; scale positive.

    Returns:
        float32 in [LIKELIHOOD_MIN, 1].
    """
    distance = (z - mean).abs()
    # both arguments on the negative tail, where the difference of two erfc keeps its relative accuracy
    rescale = 1.0 / (scale * 2**0.5)
    p = 0.5 * (torch.erfc((distance - 0.5) * rescale) - torch.erfc((distance + 0.5) * rescale))
    return p.clamp_min(LIKELIHOOD_MIN)
