"""Separate source and channel coding: a picture file over CRC, channel code and QAM."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from jscclink.errors import InputError
from jscclink.simulator import registry
from jscclink.simulator.scheme import Budget, Burst, OneShotScheme, Reception, Reconstruction, TransmitCsi

from .channel_coding.code import ChannelCode
from .concealment import Concealment, concealed
from .layout import HEADER_BITS, Layout, lay_out
from .mcs import parse_mcs
from .modulation import Modulation
from .scrambling import gold_sequence
from .source.codec import DecodeFailure, SourceCodec


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
        Most coded bits per code block; absent: the longest that 5G LDPC takes, 8448 bits before coding.
    code
        `ldpc` (5G LDPC), or with the decoder's options: `{name: ldpc, iterations: 20, backend: sionna}`; see
        `jscclink list codes`.
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
        demapper: Literal["maxlog", "exact"] = "maxlog",
        concealment: Concealment = "mean_colour",
    ) -> None:
        self._source: SourceCodec = registry.build("sources", source)
        self._mcs = parse_mcs(mcs)
        if block_length is not None and block_length < 64:
            raise InputError(f"block_length must be at least 64 coded bits; got {block_length}")
        self._block_length = block_length
        self._code_name, self._code_options = registry.split("codes", code)
        self._concealment: Concealment = concealment
        self._modulation = Modulation(self._mcs.bits_per_symbol)
        self._demapper: Literal["maxlog", "exact"] = demapper
        self._coders: dict[Layout, ChannelCode] = {}

    def layout(self, budget: Budget) -> Layout | None:
        """How a picture's bits fill the budget; None where no code block fits."""
        if budget.uses is None:
            raise InputError("the scheme 'digital' fills a budget: give the study a `cbr`")
        return lay_out(budget.uses, self._mcs, self._block_length)

    def encode(self, source: Tensor, budget: Budget, csi: TransmitCsi | None) -> Burst:
        layout = self.layout(budget)
        batch = source.shape[0]
        valid = torch.zeros(batch, dtype=torch.int64)
        if layout is None:
            return Burst(torch.zeros(batch, 0, dtype=torch.complex64), valid, power="constellation")
        payload = np.zeros((batch, layout.payload_bits), dtype=np.uint8)
        ledger: dict[str, Tensor] = {}
        for item, picture in enumerate(source.cpu().numpy()):
            file = None
            if layout.max_file_bytes > 0:
                file = self._source.encode(np.ascontiguousarray(picture.transpose(1, 2, 0)), layout.max_file_bytes)
            if file is None:
                continue
            framed = len(file).to_bytes(HEADER_BITS // 8, "big") + file
            payload[item, : 8 * len(framed)] = np.unpackbits(np.frombuffer(framed, dtype=np.uint8))
            valid[item] = layout.uses
            for purpose, bits in layout.bits(len(file)).items():
                ledger.setdefault(purpose, torch.zeros(batch, dtype=torch.int64))[item] = bits
        payload ^= gold_sequence(layout.payload_bits)
        coded = self._coder(layout).encode(torch.from_numpy(payload.reshape(-1, layout.k)).to(source.device))
        symbols = self._modulation.map(coded.reshape(batch, -1))
        return Burst(symbols, valid.to(source.device), bits=ledger, power="constellation")

    def decode(self, reception: Reception, budget: Budget) -> Reconstruction:
        layout = self.layout(budget)
        batch = reception.symbols.shape[0]
        pictures = concealed(self._concealment, budget.shape).repeat(batch, 1, 1, 1)
        failed = torch.ones(batch, dtype=torch.bool)
        if layout is None:
            return Reconstruction(pictures, failed)
        symbols, noise_var = reception.unbiased()
        llr = self._modulation.demap(symbols[:, : layout.uses], noise_var[:, : layout.uses], method=self._demapper)
        decoded = self._coder(layout).decode(llr.reshape(-1, layout.n))
        arrived = decoded.ok.reshape(batch, -1).all(1).cpu()
        payload = decoded.bits.reshape(batch, -1).cpu().numpy() ^ gold_sequence(layout.payload_bits)
        for item in torch.nonzero(arrived).flatten().tolist():
            picture = self._picture(payload[item], budget)
            if picture is not None:
                pictures[item], failed[item] = picture, False
        return Reconstruction(pictures.to(reception.symbols.device), failed.to(reception.symbols.device))

    def _picture(self, payload: np.ndarray, budget: Budget) -> Tensor | None:
        """Bits that passed their CRC -> uint8 [3, H, W]; None where they are no picture after all."""
        data = np.packbits(payload[: payload.size // 8 * 8]).tobytes()
        length = int.from_bytes(data[: HEADER_BITS // 8], "big")
        height, width = budget.shape[1:]
        try:
            picture = self._source.decode(data[HEADER_BITS // 8 :][:length], shape=(height, width))
        except DecodeFailure:
            return None
        return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))

    def _coder(self, layout: Layout) -> ChannelCode:
        if layout not in self._coders:
            spec = {"name": self._code_name, **self._code_options, "k": layout.k, "n": layout.n}
            self._coders[layout] = registry.build("codes", {**spec, "bits_per_symbol": layout.bits_per_symbol})
        return self._coders[layout]
