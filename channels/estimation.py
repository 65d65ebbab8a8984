"""Channel estimation from pilots on a rectangular raster: least squares with interpolation, and linear MMSE.

Both are separable: a matrix along time, one along frequency. The linear MMSE estimate h = R_hp (R_pp + N0 I)^-1 y_p with
R = R_time (x) R_frequency uses the eigenvectors of both pilot covariances, so every image may have its own N0 at no cost.
(Kay, Fundamentals of Statistical Signal Processing: Estimation Theory, 1993, ch. 12; Hoeher, Kaiser & Robertson, 1997.)
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

Interpolation = Literal["linear", "nearest"]


class Estimator:
    """Estimates all gains of a slot from those measured at its pilots.

    Parameters
    ----------
    time, frequency : complex128 [symbols, modes], [carriers, modes]
        From the modes of the pilots to all symbols and carriers.
    time_modes, frequency_modes : complex128 [modes, pilots]
        From the pilots to their modes.
    power : float64 [time modes, frequency modes] or None
        Eigenvalues of the pilots' covariance; None: no statistics (least squares).
    prior : float64 [symbols, carriers] or None
        Variance of every gain.
    """

    def __init__(
        self,
        time: np.ndarray,
        frequency: np.ndarray,
        time_modes: np.ndarray | None = None,
        frequency_modes: np.ndarray | None = None,
        power: np.ndarray | None = None,
        prior: np.ndarray | None = None,
    ) -> None:
        self._time, self._frequency = time, frequency
        self._time_modes, self._frequency_modes = time_modes, frequency_modes
        self._power, self._prior = power, prior

    @classmethod
    def least_squares(
        cls, symbols: int, pilot_symbols: np.ndarray, carriers: int, pilot_carriers: np.ndarray, interpolation: Interpolation
    ) -> Estimator:
        """y/p at the pilots, and interpolation along both axes; beyond the outermost pilots it keeps their value."""
        return cls(
            _interpolation(symbols, pilot_symbols, interpolation), _interpolation(carriers, pilot_carriers, interpolation)
        )

    @classmethod
    def linear_mmse(
        cls,
        time_covariance: np.ndarray,
        pilot_symbols: np.ndarray,
        frequency_covariance: np.ndarray,
        pilot_carriers: np.ndarray,
    ) -> Estimator:
        """From the covariances of a slot's gains, [symbols, symbols] and [carriers, carriers]."""
        time_power, time_modes = _eigen(time_covariance[np.ix_(pilot_symbols, pilot_symbols)])
        frequency_power, frequency_modes = _eigen(frequency_covariance[np.ix_(pilot_carriers, pilot_carriers)])
        return cls(
            time_covariance[:, pilot_symbols] @ time_modes,
            frequency_covariance[:, pilot_carriers] @ frequency_modes,
            time_modes.conj().T,
            frequency_modes.conj().T,
            np.outer(time_power, frequency_power),
            np.outer(np.diagonal(time_covariance).real, np.diagonal(frequency_covariance).real),
        )

    def estimate(self, measured: Tensor, noise_var: Tensor) -> tuple[Tensor, Tensor]:
        """Gains measured at the pilots in noise -> all gains, and what is wrong with them.

        Parameters
        ----------
        measured : complex [batch, ..., pilot symbols, pilot carriers]
        noise_var : float [batch]

        Returns
        -------
        gains : complex [batch, ..., symbols, carriers]
        error : float [batch, symbols, carriers]
            Variance of the estimate's error. Least squares counts the noise only, for it knows nothing of the channel
            between the pilots.
        """
        time, frequency = _like(self._time, measured), _like(self._frequency, measured)
        if self._power is None:
            error = noise_var[:, None, None] * _square_sum(time)[:, None] * _square_sum(frequency)
            return time @ measured @ frequency.mT, error
        assert self._time_modes is not None and self._frequency_modes is not None and self._prior is not None
        power = torch.from_numpy(self._power).to(measured.device, measured.real.dtype)
        weight = 1.0 / (power + noise_var[:, None, None].clamp_min(1e-9))
        modes = _like(self._time_modes, measured) @ measured @ _like(self._frequency_modes, measured).mT
        modes = modes * weight.view(len(weight), *[1] * (measured.ndim - 3), *power.shape)
        explained = _square(time) @ weight @ _square(frequency).mT
        prior = torch.from_numpy(self._prior).to(explained.device, explained.dtype)
        return time @ modes @ frequency.mT, (prior - explained).clamp_min(0.0)


def _interpolation(points: int, known: np.ndarray, method: Interpolation) -> np.ndarray:
    """float64 [points, known]: each point from the known positions."""
    if method == "nearest":
        return np.eye(len(known))[np.abs(np.arange(points)[:, None] - known).argmin(1)]
    return np.stack([np.interp(np.arange(points), known, unit) for unit in np.eye(len(known))], 1)


def _eigen(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    power, modes = np.linalg.eigh(covariance)
    kept = power > power[-1] * 1e-12
    return power[kept], modes[:, kept]


def _like(matrix: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(matrix)).to(like.device, like.dtype)


def _square(matrix: Tensor) -> Tensor:
    return matrix.real.square() + matrix.imag.square()


def _square_sum(matrix: Tensor) -> Tensor:
    return _square(matrix).sum(1)
