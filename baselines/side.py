"""Side information over codes of finite length: by the normal approximation, or truly coded over the link's channel."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from jscclink.errors import InputError
from jscclink.simulator.scheme import Reception
from jscclink.simulator.side import ReceivedSide, Side, SideLink, Transmit

from .channel_coding.ldpc import LDPC5G
from .mcs import Mcs, parse_mcs
from .modulation import Modulation
from .theory import normal_approximation_rate

_LENGTH_BITS = 16
_CRC_BITS = 16
_GRAIN = 8  # bytes: side information is padded to a multiple, so that few code sizes occur


class NormalSide(SideLink):
    """The cost of the best code of finite length on AWGN (normal approximation), lost with its block error rate.

    Uses: the least n with n R(n, SNR, bler) >= 8 x bytes (Polyanskiy, Poor & Verdu, IEEE Trans. IT 56(5), 2010).

    Parameters
    ----------
    bler
        Block error rate; every item's side information is lost with this probability.
    """

    def __init__(self, *, bler: float = 1e-3) -> None:
        if not 0 < bler < 0.5:
            raise InputError(f"bler must be a probability above 0 and below 1/2; got {bler}")
        self._bler = bler

    def uses(self, n_bytes: Tensor, noise_var: Tensor) -> Tensor:
        esno_db = -10.0 * torch.log10(noise_var.double().clamp_min(1e-12))
        pairs = zip(n_bytes.tolist(), esno_db.tolist(), strict=True)
        return torch.tensor([_least_uses(8 * count, round(db, 6), self._bler) for count, db in pairs], device=n_bytes.device)

    def carry(self, side: Side, noise_var: Tensor, transmit: Transmit, generator: torch.Generator) -> ReceivedSide:
        lost = torch.rand(len(side), generator=generator, device=generator.device) < self._bler
        return tuple(None if gone else item for item, gone in zip(side, lost.tolist(), strict=True))


@lru_cache(maxsize=4096)
def _least_uses(bits: int, esno_db: float, bler: float) -> int:
    """The least block length that carries the bits, by bisection: n R(n) grows with n."""
    if bits == 0:
        return 0
    enough = 1
    while enough * float(normal_approximation_rate(esno_db, enough, bler)) < bits:
        enough *= 2
    short = enough // 2
    while enough - short > 1:
        middle = (enough + short) // 2
        if middle * float(normal_approximation_rate(esno_db, middle, bler)) < bits:
            short = middle
        else:
            enough = middle
    return enough


class CodedSide(SideLink):
    """Side information in 5G LDPC code words over the link's own channel, ahead of the payload; what fails is lost.

        length (16 bits) + CRC-16 -> LDPC, half the rate -> QAM | bytes, padded to multiples of 8, + CRC-16 -> LDPC -> QAM

    A code word as short as the length's needs half the rate of a long one to hold as far down: at the same rate it was lost in
    16 % of all cases at 0 dB, where the bytes never are (QPSK 1/3, 430 bytes).

    Parameters
    ----------
    mcs
        Modulation and code rate of the bytes' code word, as for the scheme `digital`. The default holds down to about -1 dB.
    """

    on_air = True

    def __init__(self, *, mcs: str = "qpsk 1/3") -> None:
        self._mcs = parse_mcs(mcs)
        self._modulation = Modulation(self._mcs.bits_per_symbol)

    def uses(self, n_bytes: Tensor, noise_var: Tensor) -> Tensor:
        body = [_code(self._mcs, 8 * _padded(int(count))).n if count else 0 for count in n_bytes.tolist()]
        bits = torch.tensor(body, device=n_bytes.device) + _length_code(self._mcs).n
        return bits // self._mcs.bits_per_symbol

    def carry(self, side: Side, noise_var: Tensor, transmit: Transmit, generator: torch.Generator) -> ReceivedSide:
        symbols = [self._symbols(item) for item in side]
        sent = torch.nn.utils.rnn.pad_sequence(symbols, batch_first=True).to(noise_var.device)
        seen = transmit(sent)
        clean, left = Reception(seen.symbols, seen.gain, seen.noise_var).unbiased()
        llr = self._modulation.demap(clean, left).cpu()
        return tuple(self._bytes(item) for item in llr)

    def _symbols(self, item: bytes) -> Tensor:
        if len(item) >= 1 << _LENGTH_BITS:
            raise InputError(f"side information of {len(item)} bytes; coded side information takes up to 65535 bytes per item")
        words = [_length_code(self._mcs).encode(_bits(len(item).to_bytes(2, "big")))]
        if item:
            padded = item.ljust(_padded(len(item)), b"\0")
            words.append(_code(self._mcs, 8 * len(padded)).encode(_bits(padded)))
        return self._modulation.map(torch.cat(words, 1))[0]

    def _bytes(self, llr: Tensor) -> bytes | None:
        """float32 [bits] -> what the receiver makes of it, length first."""
        header = _length_code(self._mcs)
        decoded = header.decode(llr[None, : header.n].contiguous())
        length = int.from_bytes(np.packbits(decoded.bits[0].numpy()).tobytes(), "big")
        if not bool(decoded.ok[0]):
            return None
        if length == 0:
            return b""
        body = _code(self._mcs, 8 * _padded(length))
        rest = llr[None, header.n : header.n + body.n]
        if rest.shape[1] < body.n:
            return None
        decoded = body.decode(rest.contiguous())
        return np.packbits(decoded.bits[0].numpy()).tobytes()[:length] if bool(decoded.ok[0]) else None


def _padded(count: int) -> int:
    return -(-count // _GRAIN) * _GRAIN


def _bits(data: bytes) -> Tensor:
    return torch.from_numpy(np.unpackbits(np.frombuffer(data, dtype=np.uint8)))[None]


def _length_code(mcs: Mcs) -> LDPC5G:
    return _code(mcs, _LENGTH_BITS, slower=2)


@lru_cache(maxsize=1024)
def _code(mcs: Mcs, k: int, slower: int = 1) -> LDPC5G:
    """The code word of k bits + CRC-16 at a rate over `slower`, whole symbols."""
    symbols = -(-(k + _CRC_BITS) * slower // (mcs.bits_per_symbol * mcs.rate))
    return LDPC5G(k, int(symbols) * mcs.bits_per_symbol, bits_per_symbol=mcs.bits_per_symbol)
