"""One number of symbols per bit for a whole set of pictures: their mean CBR meets a target, and none overruns its cap."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from jscclink.errors import InputError
from jscclink.simulator import datasets

STEPS = 60


def symbols_per_bit(bits_per_value: Sequence[float], cbr_target: float, cbr_cap: float | None) -> float:
    """eta with mean over the pictures of min(eta * bits / 2, cap) = target, CBR and bits per source value.

    Args:
        bits_per_value: surprise of each picture in bits, over its number of source values 3HW.
        cbr_target: wanted mean CBR.
        cbr_cap: most that one picture may take; None: no limit.

    Returns:
        real symbols per bit. With a cap, bisected to double precision: what capped pictures leave over goes to the others.

    Raises:
        InputError: cap below the target.
    """
    bits = np.asarray(bits_per_value, dtype=np.float64)
    if cbr_cap is None:
        return float(2.0 * cbr_target / bits.mean())
    if cbr_cap < cbr_target:
        raise InputError(
            f"cbr_target is {cbr_target:.6g}, but the study's `cbr` lets no picture take more than {cbr_cap:.6g}; "
            "raise the study's `cbr` (it is the cap of a picture) or leave it out"
        )
    # at `high` every picture is at its cap
    low, high = 0.0, float(2.0 * cbr_cap / bits.min())
    for _ in range(STEPS):
        middle = (low + high) / 2
        if np.minimum(middle * bits / 2.0, cbr_cap).mean() < cbr_target:
            low = middle
        else:
            high = middle
    return low


@dataclass(frozen=True)
class Average:
    """A target for the mean CBR of a set of pictures.

    Attributes:
        cbr_target: wanted mean over the set.
        images: specification of the set, as a study's `images`.
    """

    cbr_target: float
    images: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not 0.0 < self.cbr_target <= 1.0:
            raise InputError(f"cbr_target must be above 0 and at most 1; got {self.cbr_target}")
        try:
            self._set  # noqa: B018 - a wrong specification is an error here, not in the middle of a study
        except InputError as error:
            raise InputError(f"average_over: {error}") from error

    @cached_property
    def _set(self) -> datasets.ImageSet:
        return datasets.load(self.images)

    def fingerprint(self, weights: str) -> str:
        """SHA-256 of weights and pictures: both decide what is sent."""
        return hashlib.sha256("".join((weights, *self._set.sha256)).encode()).hexdigest()

    def bits_per_value(self, bits_of: Callable[[Tensor], float]) -> list[float]:
        """Surprise of the set's pictures over their 3HW; `bits_of` gives that of a picture, uint8 [3, H, W], in bits."""
        pictures = (self._set.picture(index) for index in range(len(self._set)))
        return [bits_of(picture) / picture.numel() for picture in pictures]
