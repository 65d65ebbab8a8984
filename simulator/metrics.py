"""The interface of metrics: what one batch that crossed the link says of each of its items."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from .link import Passage


@dataclass(frozen=True)
class Samples:
    """One value per item of a batch, as numerator over denominator, so that sums add.

    Attributes
    ----------
    numerator, denominator : float64 [batch]
        `mean`: the value (PSNR in dB, ...) over 1. `proportion`: 0 or 1 over 1 (block error, outage). `ratio`: events over
        trials within the item (bit errors over bits), items being independent of each other, trials within one not.
        An item that has no value (MS-SSIM of a small picture) has numerator and denominator 0.
    kind : "mean", "proportion" or "ratio"
        Decides the interval: t over images; Clopper-Pearson over items; Clopper-Pearson with the design effect of the items.
    """

    numerator: Tensor
    denominator: Tensor
    kind: Literal["mean", "proportion", "ratio"]


class Metric(ABC):
    """A figure of merit of every item that crossed the link.

    Attributes
    ----------
    unit : str
        For axes and tables; empty for pure numbers.
    better : "higher", "lower" or None
    sources : frozenset of "image", "bits"
        What it can be measured on.
    """

    unit: str = ""
    better: Literal["higher", "lower"] | None = None
    sources: frozenset[str] = frozenset({"image", "bits"})

    @abstractmethod
    def measure(self, source: Tensor, passage: Passage) -> Samples:
        """Source uint8 [batch, ...] and what became of it -> one value per item."""
