"""The bit-level chain as a scheme: blocks of bits over a channel code and QAM, for BER and BLER curves."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from jscclink.errors import InputError
from jscclink.simulator import registry
from jscclink.simulator.scheme import Budget, Burst, OneShotScheme, Reception, Reconstruction, TransmitCsi

from .channel_coding.code import ChannelCode
from .mcs import MODULATIONS
from .modulation import Modulation


class Bits(OneShotScheme):
    """Random information bits over a channel code and QAM.

        bits [k] -> channel code [n] -> QAM -> channel -> LLRs -> decoder -> bits [k]

    Parameters
    ----------
    code
        `ldpc` (5G LDPC), `polar` (5G polar), or with the decoder's options: `{name: ldpc, iterations: 20}`; see
        `jscclink list codes`. `none`: uncoded, hard decisions.
    k, n
        Information and coded bits per block; `n` is left out with code `none`. n must be whole symbols.
    modulation
        `bpsk`, `qpsk`, `16qam`, `64qam`, `256qam`, ...
    demapper
        `maxlog` or `exact` log-likelihood ratios.
    """

    def __init__(
        self,
        *,
        code: str | dict[str, Any] = "ldpc",
        k: int,
        n: int | None = None,
        modulation: str = "qpsk",
        demapper: Literal["maxlog", "exact"] = "maxlog",
    ) -> None:
        name = modulation.lower().replace("-", "")
        if name not in MODULATIONS:
            raise InputError(f"modulation {modulation!r} is not known; allowed: {', '.join(MODULATIONS)}")
        order = MODULATIONS[name]
        if k < 1:
            raise InputError(f"k must be at least 1 information bit per block; got {k}")
        if (code == "none") != (n is None):
            raise InputError(f"code {code!r} with n {n}: n (coded bits per block) goes with a channel code, and only with one")
        if (n or k) % order:
            raise InputError(f"{n or k} bits per block are not whole {modulation} symbols of {order} bits; choose a multiple")
        self.block_bits = k
        self._code: ChannelCode | None = None
        if n is not None:
            name, options = registry.split("codes", code)
            self._code = registry.build("codes", {"name": name, **options, "k": k, "n": n, "bits_per_symbol": order})
        self._uses = (n or k) // order
        self.bits_per_use = k / self._uses
        self._modulation = Modulation(order)
        self._demapper = demapper

    def encode(self, source: Tensor, budget: Budget, csi: TransmitCsi | None) -> Burst:
        coded = source if self._code is None else self._code.encode(source)
        valid = torch.full((source.shape[0],), self._uses, dtype=torch.int64, device=source.device)
        return Burst(self._modulation.map(coded), valid, bits=self._ledger(source.shape[0]), power="constellation")

    def decode(self, reception: Reception, budget: Budget) -> Reconstruction:
        symbols, noise_var = reception.unbiased()
        if self._code is None:
            bits = self._modulation.hard(symbols)
            return Reconstruction(bits, torch.zeros(bits.shape[0], dtype=torch.bool, device=bits.device))
        llr = self._modulation.demap(symbols, noise_var, method=self._demapper)
        decoded = self._code.decode(llr)
        return Reconstruction(decoded.bits, ~decoded.ok)

    def _ledger(self, batch: int) -> dict[str, Tensor]:
        bits = {"source": self.block_bits or 0}
        if self._code is not None:
            bits |= self._code.overhead_bits
            bits["parity"] = self._code.n - sum(bits.values())
        return {purpose: torch.full((batch,), count, dtype=torch.int64) for purpose, count in bits.items()}
