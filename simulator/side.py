"""How side information travels, and what it costs.

Three ways that count it: `ideal` (error-free at capacity: a lower bound on the cost, as most papers assume), `normal`
(the normal approximation at finite block length, lost with the stated probability) and `coded` (a real code over the same
channel). A fourth, `free`, counts nothing and serves ablations only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from jscclink.channels.channel import Observation

Side = tuple[bytes, ...]
ReceivedSide = tuple[bytes | None, ...]
# sends complex64 [batch, uses] of unit mean energy over the link's channel
Transmit = Callable[[Tensor], Observation]
# a transmitter that does not know its channel keeps room for side information down to this SNR
LOWEST_BLIND_ESNO_DB = -3.0


class SideLink(ABC):
    """Carries one byte string per item, ahead of the payload.

    Attributes
    ----------
    on_air : bool
        Whether `carry` transmits over the link's channel (and so takes up room in its realisation).
    """

    on_air: bool = False

    @abstractmethod
    def uses(self, n_bytes: Tensor, noise_var: Tensor) -> Tensor:
        """int64 [batch] bytes at float32 [batch] N0 -> int64 [batch] channel uses."""

    @abstractmethod
    def carry(self, side: Side, noise_var: Tensor, transmit: Transmit, generator: torch.Generator) -> ReceivedSide:
        """Side information as received; None for an item where it was lost."""


class FreeSide(SideLink):
    """Error-free and at no cost: no system, but what side information costs shows against it (an ablation)."""

    def uses(self, n_bytes: Tensor, noise_var: Tensor) -> Tensor:
        return torch.zeros_like(n_bytes, dtype=torch.int64)

    def carry(self, side: Side, noise_var: Tensor, transmit: Transmit, generator: torch.Generator) -> ReceivedSide:
        return side


class IdealSide(SideLink):
    """Error-free at the AWGN capacity log2(1 + Es/N0) of the average SNR, rounded up to whole uses per item."""

    def uses(self, n_bytes: Tensor, noise_var: Tensor) -> Tensor:
        capacity = torch.log2(1.0 + 1.0 / noise_var.double().clamp_min(1e-12))
        return torch.ceil(8.0 * n_bytes.double() / capacity - 1e-9).long()

    def carry(self, side: Side, noise_var: Tensor, transmit: Transmit, generator: torch.Generator) -> ReceivedSide:
        return side
