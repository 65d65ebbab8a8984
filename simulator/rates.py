"""Metrics of errors, and of what a transmission cost by the ledger."""

from __future__ import annotations

import torch
from torch import Tensor

from .link import Passage
from .metrics import Metric, Samples


def _per_item(values: Tensor, kind: str = "mean") -> Samples:
    numerator = values.double().cpu()
    return Samples(numerator, torch.ones_like(numerator), kind)  # type: ignore[arg-type]


class Ber(Metric):
    """Bit error rate: wrong information bits over information bits, blocks with detected errors included."""

    better, sources = "lower", frozenset({"bits"})

    def measure(self, source: Tensor, passage: Passage) -> Samples:
        errors = (source != passage.reconstruction.data).sum(1, dtype=torch.float64).cpu()
        return Samples(errors, torch.full_like(errors, source.shape[1]), "ratio")


class Bler(Metric):
    """Block error rate: blocks with at least one wrong information bit, whether the receiver noticed or not."""

    better, sources = "lower", frozenset({"bits"})

    def measure(self, source: Tensor, passage: Passage) -> Samples:
        return _per_item((source != passage.reconstruction.data).any(1), "proportion")


class Outage(Metric):
    """Outage rate: items that the receiver knows to be lost (a CRC failed, nothing decodable, nothing fitted the budget)."""

    better = "lower"

    def measure(self, source: Tensor, passage: Passage) -> Samples:
        return _per_item(passage.reconstruction.failed, "proportion")


class Cbr(Metric):
    """Channel bandwidth ratio by the ledger: channel uses over 3HW; payload, side information, headers, CRC, filler."""

    better, sources = "lower", frozenset({"image"})

    def measure(self, source: Tensor, passage: Passage) -> Samples:
        return _per_item(passage.ledger.cbr)


class CbrWithOverhead(Metric):
    """Channel bandwidth ratio by the ledger, pilots and cyclic prefix included."""

    better, sources = "lower", frozenset({"image"})

    def measure(self, source: Tensor, passage: Passage) -> Samples:
        return _per_item(passage.ledger.cbr_with_overhead)


class Bpp(Metric):
    """Bits of the source code per pixel (file bytes as sent); no value for items and schemes that send no such bits."""

    unit, sources = "bit", frozenset({"image"})

    def measure(self, source: Tensor, passage: Passage) -> Samples:
        nothing = torch.zeros(source.shape[0], dtype=torch.float64)
        bits = passage.ledger.bits.get("source", nothing)
        return Samples(bits / (source.shape[2] * source.shape[3]), (bits > 0).double(), "mean")


class Energy(Metric):
    """Energy sent per source value, the sum of |x|^2 over 3HW, in units of Es: equals the CBR at unit power."""

    unit, better, sources = "Es", "lower", frozenset({"image"})

    def measure(self, source: Tensor, passage: Passage) -> Samples:
        return _per_item(passage.ledger.energy / passage.ledger.source_values)
