"""Several antennas over flat Rayleigh fading: receive diversity, Alamouti's code, and spatial multiplexing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from jscclink.errors import InputError

from .channel import Observation, Overhead, Realisation
from .equaliser import Equaliser, combine, equalise
from .fading import Form, Variation
from .receiver import Belief, TransmitterView
from .stages import StagedChannel


@dataclass(eq=False, kw_only=True)
class Mimo(StagedChannel):
    """Independent Rayleigh gains of variance 1 between every transmit and every receive antenna, y = H x + n.

    Total transmit power is 1 per instant, shared by the antennas; N0 is the noise variance of each receive antenna. Symbols go
    out in vectors during which H stands still: one use (`mrc`), a pair of uses (`alamouti`), or as many symbols at the same
    instant as there are transmit antennas (`multiplexing`: a use of the scheme is a symbol, not an instant).

    Parameters
    ----------
    scheme
        `mrc`: one transmit antenna, maximum ratio combining. `alamouti`: two transmit antennas, Alamouti's space-time code
        (IEEE JSAC 16(8), 1998). `multiplexing`: a stream per transmit antenna, linear detection.
    transmit_antennas, receive_antennas
        0: what the scheme needs, that is 1 and 2 (`mrc`), 2 and 1 (`alamouti`), 2 and 2 (`multiplexing`).
    form, block_length, doppler
        How H varies from vector to vector: see `Variation`; block_length counts uses.
    csi
        `rx` or `tx+rx` (without multiplexing).
    equaliser
        `zf`, `mmse` or `none` (not with multiplexing), after combining.
    csi_error, noise_offset_db, tx_delay, tx_bits
        As for `Rayleigh`.
    """

    scheme: Literal["mrc", "alamouti", "multiplexing"] = "mrc"
    transmit_antennas: int = 0
    receive_antennas: int = 0
    form: Form = "fast"
    block_length: int | None = None
    doppler: float | None = None
    csi: Literal["rx", "tx+rx"] = "rx"
    equaliser: Equaliser = "mmse"
    csi_error: float = 0.0
    noise_offset_db: float = 0.0
    tx_delay: int = 0
    tx_bits: int | None = None

    one_sample_per_use = False

    def __post_init__(self) -> None:
        needed = {"mrc": 1, "alamouti": 2, "multiplexing": None}[self.scheme]
        if self.transmit_antennas == 0:
            self.transmit_antennas = needed or 2
        if self.receive_antennas == 0:
            self.receive_antennas = {"mrc": 2, "alamouti": 1, "multiplexing": self.transmit_antennas}[self.scheme]
        if needed is not None and self.transmit_antennas != needed:
            raise InputError(f"scheme {self.scheme!r} has transmit_antennas {needed}; got {self.transmit_antennas}")
        if not (1 <= self.transmit_antennas <= 64 and 1 <= self.receive_antennas <= 64):
            raise InputError(
                f"transmit_antennas and receive_antennas must lie in 1..64; got {self.transmit_antennas} and "
                f"{self.receive_antennas}"
            )
        if self.scheme == "multiplexing":
            if self.receive_antennas < self.transmit_antennas:
                raise InputError(
                    f"linear detection of {self.transmit_antennas} streams needs as many receive_antennas; got "
                    f"{self.receive_antennas}"
                )
            if self.equaliser == "none":
                raise InputError("scheme 'multiplexing' needs a detector: equaliser 'zf' or 'mmse', not 'none'")
            if self.csi != "rx":
                raise InputError(
                    f"scheme 'multiplexing' does not precode, the transmitter's CSI is of no use: csi 'rx'; got {self.csi!r}"
                )
        self._vector = 2 if self.scheme == "alamouti" else self.transmit_antennas
        if self.block_length is not None and self.block_length % self._vector:
            raise InputError(f"block_length must be a multiple of {self._vector} uses, one vector; got {self.block_length}")
        length = None if self.block_length is None else self.block_length // self._vector
        instants = 2 if self.scheme == "alamouti" else 1
        self._variation = Variation(self.form, length, None if self.doppler is None else self.doppler * instants)
        self._belief = Belief(self.csi_error, self.noise_offset_db)
        self._view = TransmitterView(self.csi, self.tx_delay, self.tx_bits)

    def _vectors(self, start: int, uses: int) -> tuple[int, int]:
        """First vector and number of vectors."""
        first = start // self._vector
        return first, -(-(start + uses) // self._vector) - first

    def span(self, start: int, uses: int) -> tuple[int, int]:
        first, vectors = self._vectors(start, uses)
        instants = 2 if self.scheme == "alamouti" else 1
        return first * instants, vectors * instants

    def draw(
        self, batch: int, uses: int, *, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> dict[str, Tensor]:
        shape = (batch, self.receive_antennas, self.transmit_antennas)
        gain = self._variation.draw(*shape, uses=self._vectors(0, uses)[1], generator=generator, device=device)
        return {"gain": gain, **self._belief.draw(*gain.shape, generator=generator, device=device)}

    def _of_vectors(self, gain: Tensor, start: int, uses: int) -> Tensor:
        """complex [batch, receive, transmit, vectors]."""
        return self._variation.spread(gain, *self._vectors(start, uses))

    def modulate(self, symbols: Tensor, realisation: Realisation, start: int) -> Tensor:
        uses = symbols.shape[1]
        first, vectors = self._vectors(start, uses)
        lead = start - first * self._vector
        padded = torch.nn.functional.pad(symbols, (lead, vectors * self._vector - lead - uses))
        vector = padded.unflatten(1, (vectors, self._vector)) / math.sqrt(self.transmit_antennas)
        if self.scheme != "alamouti":
            return vector.transpose(1, 2)
        one, two = vector.unbind(2)
        return torch.stack([torch.stack([one, -two.conj()], 2).flatten(1), torch.stack([two, one.conj()], 2).flatten(1)], 1)

    def propagate(self, waveform: Tensor, realisation: Realisation, start: int) -> Tensor:
        uses = waveform.shape[-1] * (self._vector if self.scheme == "multiplexing" else 1)
        gain = self._of_vectors(realisation.tensors["gain"], start - start % self._vector, uses)
        if self.scheme == "alamouti":
            gain = gain.repeat_interleave(2, dim=-1)
        return (gain * waveform[:, None]).sum(2)

    def demodulate(self, received: Tensor, realisation: Realisation, noise_var: Tensor, start: int, uses: int) -> Observation:
        gain, lead = realisation.tensors["gain"], start % self._vector
        if "csi_error" in realisation.tensors:
            gain = gain + realisation.tensors["csi_error"]
        believed = self._belief.noise_var(noise_var)
        if self.scheme == "multiplexing":
            return self._detect(received, gain, believed, start, uses)
        gain = self._of_vectors(gain, start, uses)
        if self.scheme == "mrc":
            branch, norm = combine(received, gain[:, :, 0])
        else:
            branch, norm = _alamouti(received, gain)
        return equalise(branch[:, lead : lead + uses], norm[:, lead : lead + uses], believed[:, None], self.equaliser)

    def _detect(self, received: Tensor, gain: Tensor, noise_var: Tensor, start: int, uses: int) -> Observation:
        """Linear detection; one matrix per gain, not per vector."""
        streams = self.transmit_antennas
        channel = gain.permute(0, 3, 1, 2).to(received.dtype) / math.sqrt(streams)
        matrix, left, variance = detector(channel, noise_var[:, None], self.equaliser)
        first, vectors = self._vectors(start, uses)
        matrix = self._variation.spread(matrix.permute(0, 2, 3, 1), first, vectors)
        found = (matrix * received[:, None]).sum(2)
        lead = start - first * streams

        def in_order(per_stream: Tensor) -> Tensor:
            return per_stream.transpose(1, 2).flatten(1)[:, lead : lead + uses]

        left = in_order(self._variation.spread(left.transpose(1, 2), first, vectors))
        variance = in_order(self._variation.spread(variance.transpose(1, 2), first, vectors))
        return Observation(in_order(found), left.to(received.dtype), variance)

    def overhead(self, valid: Tensor) -> Overhead:
        return Overhead({"filler": -valid % self._vector})

    def gains(self, realisation: Realisation, start: int, uses: int) -> Tensor:
        """complex64 [batch, uses]: the root of the power after combining (`mrc`, `alamouti`)."""
        gain = realisation.tensors["gain"]
        power = gain.abs().square().sum((1, 2)) / self.transmit_antennas
        power = self._variation.spread(power, *self._vectors(0, start + uses)).repeat_interleave(self._vector, dim=1)
        return power[:, start : start + uses].sqrt().to(gain.dtype)

    def transmitter_gain(self, realisation: Realisation, start: int, uses: int) -> Tensor | None:
        if self.scheme == "multiplexing":
            return None
        return self._view.see(self.gains(realisation, 0, start + uses), start)

    def transmitter_csi_bits(self, realisation: Realisation) -> int:
        return (self.tx_bits or 0) * realisation.tensors["gain"].shape[-1]

    def power_gains(self, realisation: Realisation) -> Tensor:
        if self.scheme != "multiplexing":
            return self.gains(realisation, 0, realisation.uses).abs().square()
        gain = realisation.tensors["gain"].permute(0, 3, 1, 2) / math.sqrt(self.transmit_antennas)
        modes = torch.linalg.svdvals(gain).square().transpose(1, 2)
        modes = self._variation.spread(modes, *self._vectors(0, realisation.uses))
        return modes.transpose(1, 2).flatten(1)[:, : realisation.uses]


def _alamouti(received: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
    """Received [batch, receive, 2 pairs], gains [batch, receive, 2, pairs] -> one branch and its gain, [batch, 2 pairs]."""
    early, late = received.unflatten(-1, (-1, 2)).unbind(-1)
    one, two = gain.unbind(2)
    first = (one.conj() * early + two * late.conj()).sum(1)
    second = (two.conj() * early - one * late.conj()).sum(1)
    norm = gain.abs().square().sum((1, 2)).clamp_min(1e-12).sqrt()
    branch = torch.stack([first / norm, second / norm], 2).flatten(1)
    return branch, (norm * math.sqrt(0.5)).repeat_interleave(2, dim=1).to(received.dtype)


def detector(channel: Tensor, noise_var: Tensor, method: Equaliser) -> tuple[Tensor, Tensor, Tensor]:
    """Linear detector of unit-energy streams in white noise.

    Parameters
    ----------
    channel : complex [..., receive, streams]
    noise_var : float, broadcastable to [...]
    method
        `zf`: (H^H H)^-1 H^H. `mmse`: (H^H H + N0 I)^-1 H^H.

    Returns
    -------
    matrix : complex [..., streams, receive]
    gain : float [..., streams]
        Of each stream through channel and detector: 1 for zero-forcing, real and under 1 for MMSE.
    noise_var : float [..., streams]
        Noise and interference of the other streams in the output. (Tse & Viswanath, 2005, sec. 8.3.)
    """
    adjoint = channel.mH
    gram = adjoint @ channel
    if method == "mmse":
        gram = gram + torch.diag_embed(noise_var[..., None].expand(*gram.shape[:-1]).to(gram.dtype))
    inverse = torch.linalg.inv(gram)
    error = torch.diagonal(inverse, dim1=-2, dim2=-1).real * noise_var[..., None]
    if method == "zf":
        return inverse @ adjoint, torch.ones_like(error), error
    gain = 1.0 - error
    return inverse @ adjoint, gain, gain * error
