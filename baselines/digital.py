"""Separate source and channel coding: a picture file over CRC, channel code and QAM."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from jscclink.simulator import registry
from jscclink.simulator.scheme import Budget, Burst, OneShotScheme, Reception, Reconstruction, TransmitCsi

from .concealment import Concealment, concealed
from .layout import Layout
from .source.codec import SourceCodec
from .source.tensors import file_of, picture_of
from .transport import Demapper, Transport, bits_ledger


class Digital(OneShotScheme):
    """A picture file over CRC, channel code and QAM, with a fixed modulation and coding scheme.

        picture -> source codec (best quality that fits) -> header, filler -> scrambling -> code blocks -> QAM
        concealed <-- a CRC fails, or the file does not decode
        picture <- source codec <- file <- descrambling <- decoder <- LLRs <- QAM demapper

    The budget is filled with equal code blocks (jscclink.baselines.layout); one block lost loses the picture. A picture whose
    coarsest file does not fit is not sent: an outage that costs no channel uses.

    Parameters
    ----------
    source
        Source codec: a name or `{name: bpg, ...options}`, see `jscclink list sources`.
    mcs
        Modulation and code rate: `16qam 1/2`, or a table of TS 38.214 and its index: `table1/13`.
    block_length
        Most coded bits per code block; absent: the longest that the code takes, with 5G LDPC 8448 bits before coding.
    code
        `ldpc` (5G LDPC), `polar` (5G polar, for short blocks: at most 1024 coded bits), or with the decoder's options:
        `{name: ldpc, iterations: 20, backend: sionna}`; see `jscclink list codes`.
    demapper
        `maxlog` or `exact` log-likelihood ratios.
    concealment
        What is shown for a lost picture: `mean_colour` (of the training set) or `grey`.
    """

    deterministic_given_success = True

    def __init__(
        self,
        *,
        source: str | dict[str, Any] = "jpeg",
        mcs: str,
        block_length: int | None = None,
        code: str | dict[str, Any] = "ldpc",
        demapper: Demapper = "maxlog",
        concealment: Concealment = "mean_colour",
    ) -> None:
        self._source: SourceCodec = registry.build("sources", source)
        self._transport = Transport(mcs, block_length, code, demapper)
        self.bits_per_use = self._transport.mcs.efficiency
        self._concealment: Concealment = concealment

    def layout(self, budget: Budget) -> Layout | None:
        """How a picture's bits fill the budget; None where no code block fits."""
        return self._transport.layout(budget.uses)

    def encode(self, source: Tensor, budget: Budget, csi: TransmitCsi | None) -> Burst:
        layout = self.layout(budget)
        if layout is None or layout.max_file_bytes < 1:
            return silence(source.shape[0], source.device)
        files = [file_of(self._source, picture, layout.max_file_bytes) for picture in source]
        symbols = self._transport.send(files, layout, source.device)
        valid = torch.tensor([layout.uses if file is not None else 0 for file in files], device=source.device)
        return Burst(symbols, valid, bits=bits_ledger(files, layout), power="constellation")

    def decode(self, reception: Reception, budget: Budget) -> Reconstruction:
        layout = self.layout(budget)
        batch, device = reception.symbols.shape[0], reception.symbols.device
        pictures = concealed(self._concealment, budget.shape).repeat(batch, 1, 1, 1)
        failed = torch.ones(batch, dtype=torch.bool)
        if layout is not None:
            symbols, noise_var = reception.unbiased()
            files = self._transport.receive(symbols[:, : layout.uses], noise_var[:, : layout.uses], layout)
            for item, file in enumerate(files):
                picture = None if file is None else picture_of(self._source, file, budget.shape)
                if picture is not None:
                    pictures[item], failed[item] = picture, False
        return Reconstruction(pictures.to(device), failed.to(device))


def silence(batch: int, device: torch.device) -> Burst:
    """A burst of nothing: the budget holds no code block."""
    nothing = torch.zeros(batch, 0, dtype=torch.complex64, device=device)
    return Burst(nothing, torch.zeros(batch, dtype=torch.int64, device=device), power="constellation")
