"""Bounds on what separate source and channel coding can reach: drawn as bounds, never called a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from jscclink.errors import InputError
from jscclink.simulator import registry
from jscclink.simulator.scheme import Budget, Burst, OneShotScheme, Reception, Reconstruction, TransmitCsi

from .concealment import Concealment, concealed
from .source.codec import SourceCodec, best_fit
from .source.tensors import file_of, picture_of, pixels
from .theory import normal_approximation_rate


class CapacityBound(OneShotScheme):
    """A source codec over an ideal channel code: "JPEG + capacity", "BPG + outage capacity", ...

        picture -> best file of at most R x uses bits --genie--> picture, if R <= mean of log2(1 + SNR per use)

    Parameters
    ----------
    source
        Source codec: a name or `{name: bpg, ...options}`.
    rate
        Information bits per channel use that the ideal code carries. Absent: the capacity of each picture's own channel
        realisation, known to the transmitter: the AWGN capacity; the ergodic capacity on fast fading; on slow fading the
        bound for perfect CSI at the transmitter. Given: outage where the realisation does not carry it.
    normal_approximation
        With `rate` absent: the rate of the best code of finite length at a block error rate of 1e-3 (Polyanskiy, Poor &
        Verdu 2010) instead of capacity, one block over the whole budget. AWGN only.
    share
        `picture`: every picture gets the bits of its own uses. `batch`: the pictures of a batch lend each other bits, as in
        the literature, which reads "BPG + capacity" off the curve of mean rate and mean PSNR: all take the same quality of the
        codec, and as many as the bits of all uses together allow, in their order, the next better one. AWGN capacity only; make
        the study's batch the whole set.
    concealment
        What is shown in an outage.
    """

    deterministic_given_success = True
    bound = True

    def __init__(
        self,
        *,
        source: str | dict[str, Any] = "jpeg",
        rate: float | None = None,
        normal_approximation: bool = False,
        share: Literal["picture", "batch"] = "picture",
        concealment: Concealment = "mean_colour",
    ) -> None:
        if rate is not None and not 0 < rate < 40:
            raise InputError(f"rate must be a positive number of bits per channel use; got {rate}")
        if rate is not None and normal_approximation:
            raise InputError("normal_approximation chooses the rate itself: leave `rate` out")
        if share == "batch" and (rate is not None or normal_approximation):
            raise InputError("share: batch goes with capacity: leave `rate` and `normal_approximation` out")
        self._shared = share == "batch"
        self._source: SourceCodec = registry.build("sources", source)
        self._rate, self._finite, self._concealment = rate, normal_approximation, concealment

    def encode(self, source: Tensor, budget: Budget, csi: TransmitCsi | None) -> Burst:
        if budget.uses is None or csi is None:
            raise InputError("a capacity bound needs a budget: give the study a `cbr`")
        batch, uses = source.shape[0], budget.uses
        rates = self._rates(batch, uses, csi)
        budgets = [int(rate * uses / 8 + 1e-6) for rate in rates.tolist()]
        if self._shared:
            if csi.gain is not None:
                raise InputError("share: batch holds for AWGN; on fading leave it out")
            files = shared_files(self._source, [pixels(picture) for picture in source], sum(budgets))
        else:
            files = [
                file_of(self._source, picture, most) or b"" if most else b""
                for picture, most in zip(source, budgets, strict=True)
            ]
        # what carries the ideal code's symbols does not matter; a tone of unit power lets the receiver see its channel
        symbols = torch.ones(batch, uses, dtype=torch.complex64, device=source.device)
        sent = torch.tensor([uses if file else 0 for file in files], device=source.device)
        return Burst(symbols, sent, power="constellation", genie=tuple(files))

    def decode(self, reception: Reception, budget: Budget) -> Reconstruction:
        assert reception.genie is not None
        batch = reception.symbols.shape[0]
        pictures = concealed(self._concealment, budget.shape).repeat(batch, 1, 1, 1)
        failed = torch.ones(batch, dtype=torch.bool)
        carried = _capacity(reception.gain, reception.noise_var).cpu()
        for item, file in enumerate(reception.genie):
            in_outage = self._rate is not None and float(carried[item]) < self._rate
            if in_outage or not file:
                continue
            picture = picture_of(self._source, file, budget.shape)
            if picture is not None:
                pictures[item], failed[item] = picture, False
        return Reconstruction(pictures.to(reception.symbols.device), failed.to(reception.symbols.device))

    def _rates(self, batch: int, uses: int, csi: TransmitCsi) -> Tensor:
        """float64 [batch]: information bits per use."""
        if self._rate is not None:
            return torch.full((batch,), self._rate, dtype=torch.float64)
        if self._finite:
            if csi.gain is not None:
                raise InputError("normal_approximation holds for AWGN; on fading leave it out")
            esno_db = -10.0 * torch.log10(csi.noise_var.double())
            return torch.as_tensor(normal_approximation_rate(esno_db.cpu().numpy(), uses, 1e-3), dtype=torch.float64)
        if csi.gain is None:
            return torch.log2(1.0 + 1.0 / csi.noise_var.double()).cpu()
        return _capacity(csi.gain[:, :uses], csi.noise_var[:, None]).cpu()


def shared_files(codec: SourceCodec, images: Sequence[np.ndarray], max_bytes: int) -> list[bytes]:
    """Pictures uint8 [H, W, 3] -> files of one quality that fit together, the first one step better as far as it goes.

    Empty files where not even the worst quality fits.
    """

    @cache
    def at(index: int) -> list[bytes]:
        return [codec.encode_at(image, codec.qualities[index]) for image in images]

    slack = len(images) * codec.slack[0] + codec.slack[1] * max_bytes
    best = best_fit(lambda index: sum(map(len, at(index))), len(codec.qualities), max_bytes, slack)
    if best is None:
        return [b""] * len(images)
    files = list(at(best))
    if best + 1 < len(codec.qualities):
        left = max_bytes - sum(map(len, files))
        for item, better in enumerate(at(best + 1)):
            left -= len(better) - len(files[item])
            if left < 0:
                break
            files[item] = better
    return files


def _capacity(gain: Tensor, noise_var: Tensor) -> Tensor:
    """complex [batch, uses], broadcastable -> float64 [batch]: mean of log2(1 + |gain|^2/N0), bits per use."""
    power = (gain.real.square() + gain.imag.square()).double()
    return torch.log2(1.0 + power / noise_var.double().clamp_min(1e-30)).mean(1)
