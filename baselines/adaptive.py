"""Separation with link adaptation: the transmitter knows the channel and picks the modulation and coding scheme for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from jscclink.errors import InputError
from jscclink.simulator.scheme import Budget, Burst, OneShotScheme, Reception, Reconstruction, TransmitCsi

from .calibration import threshold_db
from .concealment import Concealment, concealed
from .digital import Digital
from .mcs import LITERATURE_LADDER, parse_mcs


class Adaptive(OneShotScheme):
    """The scheme `digital` with the best MCS of a ladder whose calibrated threshold lies below each picture's own SNR.

    SNR of a picture: that of an AWGN channel of the same mean capacity, 2^mean(log2(1 + |h|^2/N0)) - 1; on AWGN it is the SNR,
    on slow fading that of the realisation. Needs a channel with `csi: tx+rx`. The choice travels as a byte of side information.
    Below all thresholds nothing is sent (outage).

    Parameters
    ----------
    source, block_length, concealment
        As for `digital`.
    ladder
        MCS names, in any order; absent: the seven of the literature.
    target_bler
        Block error rate of a code block at its threshold (jscclink.baselines.calibration; bits over AWGN, never pictures).
    margin_db
        Added to every threshold.
    """

    needs_transmit_csi = True

    def __init__(
        self,
        *,
        source: str | dict[str, Any] = "jpeg",
        ladder: list[str] | None = None,
        block_length: int = 6144,
        target_bler: float = 1e-3,
        margin_db: float = 0.0,
        concealment: Concealment = "mean_colour",
    ) -> None:
        if not 1e-6 <= target_bler <= 0.5:
            raise InputError(f"target_bler must be a block error rate from 1e-6 to 0.5; got {target_bler}")
        chosen = sorted({parse_mcs(name) for name in ladder or LITERATURE_LADDER}, key=lambda mcs: mcs.efficiency)
        self._thresholds = [
            threshold_db(mcs, block_length // mcs.bits_per_symbol * mcs.bits_per_symbol, target_bler) + margin_db
            for mcs in chosen
        ]
        self._steps = [
            Digital(
                source=source,
                mcs=f"{_name(mcs.bits_per_symbol)} {mcs.rate}",
                block_length=block_length,
                concealment=concealment,
            )
            for mcs in chosen
        ]
        self._concealment: Concealment = concealment

    def encode(self, source: Tensor, budget: Budget, csi: TransmitCsi | None) -> Burst:
        if csi is None or budget.uses is None:
            raise InputError("the scheme 'adaptive' needs a budget (`cbr`) and a channel with `csi: tx+rx`")
        choice = self._choose(csi)
        within = self._within(budget)
        symbols = torch.zeros(source.shape[0], budget.uses, dtype=torch.complex64, device=source.device)
        valid = torch.zeros(source.shape[0], dtype=torch.int64, device=source.device)
        bits: dict[str, Tensor] = {}
        for step in sorted(set(choice.tolist()) - {-1}):
            items = torch.nonzero(choice == step).flatten()
            burst = self._steps[step].encode(source[items], within, None)
            symbols[items, : burst.symbols.shape[1]] = burst.symbols
            valid[items] = burst.valid
            for purpose, count in burst.bits.items():
                bits.setdefault(purpose, torch.zeros(source.shape[0], dtype=torch.int64))[items.cpu()] = count
        side = tuple(bytes([max(step, 0)]) if sent else b"" for step, sent in zip(choice.tolist(), valid.tolist(), strict=True))
        return Burst(symbols, valid, side=side, bits=bits, power="constellation")

    def decode(self, reception: Reception, budget: Budget) -> Reconstruction:
        assert reception.side is not None
        batch, device = reception.symbols.shape[0], reception.symbols.device
        pictures = concealed(self._concealment, budget.shape).repeat(batch, 1, 1, 1).to(device)
        failed = torch.ones(batch, dtype=torch.bool, device=device)
        choice = torch.tensor(
            [side[0] if side and side[0] < len(self._steps) else -1 for side in reception.side], device=device
        )
        within = self._within(budget)
        for step in sorted(set(choice.tolist()) - {-1}):
            items = torch.nonzero(choice == step).flatten()
            part = Reception(reception.symbols[items], reception.gain[items], reception.noise_var[items])
            seen = self._steps[step].decode(part, within)
            pictures[items], failed[items] = seen.data, seen.failed
        return Reconstruction(pictures, failed)

    def _choose(self, csi: TransmitCsi) -> Tensor:
        """int64 [batch]: the highest step whose threshold the picture's SNR meets, -1 for none."""
        noise_var = csi.noise_var.double()
        snr = 1.0 / noise_var
        if csi.gain is not None:
            power = (csi.gain.real.square() + csi.gain.imag.square()).double()
            snr = torch.exp2(torch.log2(1.0 + power / noise_var[:, None]).mean(1)) - 1.0
        met = 10.0 * torch.log10(snr)[:, None] >= torch.tensor(self._thresholds, dtype=torch.float64, device=snr.device)
        return met.long().sum(1) - 1

    @staticmethod
    def _within(budget: Budget) -> Budget:
        """The budget less what one byte of side information costs at -10 dB: both ends know that, whatever the SNR is."""
        reserved = int(budget.side.uses(torch.tensor([1]), torch.tensor([10.0]))[0])
        return replace(budget, uses=max((budget.uses or 0) - reserved, 0))


def _name(bits_per_symbol: int) -> str:
    return {1: "bpsk", 2: "qpsk"}.get(bits_per_symbol, f"{2**bits_per_symbol}qam")
