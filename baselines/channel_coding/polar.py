"""5G NR polar codes as a channel code: CRC, encoding, rate matching, successive cancellation (list) decoding."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from jscclink.baselines.channel_coding.code import ChannelCode, Decoded
from jscclink.baselines.channel_coding.crc import attach, crc_length
from jscclink.baselines.channel_coding.decoders.polar_cpu import ListDecoder
from jscclink.baselines.channel_coding.decoders.polar_fork import LIST_SIZES
from jscclink.baselines.channel_coding.decoders.workers import spread
from jscclink.baselines.channel_coding.llr import refuse_nan
from jscclink.baselines.channel_coding.nr_polar import PolarBlock
from jscclink.errors import InputError

Link = Literal["uplink", "downlink"]
Algorithm = Literal["scl", "sc"]
Backend = Literal["auto", "cpu", "sionna"]

# limits of TS 38.212: 5.2.1 and 6.3.1.2.1 (uplink segments, shortest uplink block with CRC-11), 7.3 (downlink), 5.4.1.3 (E)
_SEGMENTED_FROM, _SEGMENTED_LONG = 1013, (360, 1088)
_SHORTEST_UPLINK, _LONGEST_UPLINK, _LONGEST_DOWNLINK = 20, 1706, 140
_MOST_SENT = 8192
# coded bits that one step may hold besides input and output: keeps the memory flat in the number of blocks
_STEP_BITS = 1 << 23


@njit(nogil=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator]
def _encode(source: Any, order: Any, info: Any, sent: Any, size: int, begin: int, end: int, out: Any) -> None:
    """Eight code words at a time, one in each bit of a byte."""
    word = np.empty(size, np.uint8)
    for first in range(begin, end, 8):
        count = min(8, end - first)
        word[:] = 0
        for g in range(count):
            for i in range(info.size):
                word[info[i]] |= (source[first + g, order[i]] & 1) << g
        half = 1
        while half < size:
            for start in range(0, size, 2 * half):
                for i in range(start, start + half):
                    word[i] ^= word[i + half]
            half *= 2
        for g in range(count):
            for i in range(sent.size):
                out[first + g, i] = (word[sent[i]] >> g) & 1


class Polar5G(ChannelCode):
    """The polar code of 5G NR's control channels (TS 38.212) for `k` information bits in `n` coded bits.

        bits [batch, k] --(segments), CRC, (input interleaver)--> encode --rate-match, (interleave)--> [batch, n]
        LLR [batch, n] --de-interleave, combine repeated bits--> list decoder with CRC --> bits [batch, k], verdict [batch]

    Parameters
    ----------
    k, n : int
        Information bits (CRC not counted) and coded bits. Uplink: k from 20 to 1706, in two segments from 1013 bits on, or from
        360 bits on if n >= 1088. Downlink: k up to 140. n is at least k and the CRC, at most 8192 per segment.
    decoder : "scl" (default) or "sc"
        Successive cancellation with or without a list.
    list_size : 1, 2, 4, 8 (default), 16 or 32
        Paths of the list decoder. The CRC chooses among them.
    adaptive : bool
        Try successive cancellation first; only blocks whose CRC fails go through the list decoder. `Decoded.iterations` tells.
    link : "uplink" (default) or "downlink"
        Uplink: CRC-11 and the triangular channel interleaver. Downlink: CRC-24C, its register started at zero and not scrambled
        with an RNTI, and the input interleaver; mother codes to 512 bits.
    bits_per_symbol : int
        Modulation order, of which n must be a multiple. The standard's interleavers do not depend on it.
    backend : "auto" (default), "cpu" or "sionna"
        "auto" is the CPU's decoder. "sionna" is Sionna's list decoder, for reference.

    Raises `InputError` for what cannot be coded. Uplink blocks of 12 to 19 bits are not supported: the standard protects them
    with parity bits inside the polar code.
    """

    def __init__(
        self,
        k: int,
        n: int,
        *,
        decoder: Algorithm = "scl",
        list_size: int = 8,
        adaptive: bool = False,
        link: Link = "uplink",
        bits_per_symbol: int = 1,
        backend: Backend = "auto",
    ) -> None:
        for name, value, allowed in (
            ("decoder", decoder, get_args(Algorithm)),
            ("list_size", list_size, LIST_SIZES),
            ("adaptive", adaptive, (False, True)),
            ("link", link, get_args(Link)),
            ("backend", backend, get_args(Backend)),
        ):
            if value not in allowed:
                raise InputError(f"Polar5G: {name} = {value!r} is unknown; allowed are {', '.join(map(repr, allowed))}.")
        if adaptive and (decoder == "sc" or backend == "sionna"):
            raise InputError("Polar5G: adaptive = True needs decoder 'scl' on backend 'cpu' or 'auto'; leave it out.")
        if bits_per_symbol < 1 or n % bits_per_symbol:
            raise InputError(f"Polar5G: n = {n} is not a multiple of bits_per_symbol = {bits_per_symbol}; choose one that is.")
        self.k, self.n, self.link, self.adaptive = k, n, link, adaptive
        self.list_size = 1 if decoder == "sc" else list_size
        self.backend = backend
        crc = "CRC11" if link == "uplink" else "CRC24C"
        self._check_sizes(crc)
        k_long, n_long = _SEGMENTED_LONG
        self.segments = 2 if link == "uplink" and (k >= _SEGMENTED_FROM or (k >= k_long and n >= n_long)) else 1
        self.block = PolarBlock(-(-k // self.segments), n // self.segments, link, crc)
        if self.block.with_crc > self.block.e:
            raise InputError(
                f"Polar5G: n = {n} coded bits cannot carry k = {k} information bits and their CRC; "
                f"n must be at least {self.segments * self.block.with_crc}."
            )
        if self.block.e > _MOST_SENT:
            raise InputError(f"Polar5G: n = {n} is too long; allowed are up to {self.segments * _MOST_SENT} coded bits here.")
        self.overhead_bits = {"crc": self.segments * crc_length(crc)}
        if self._filler:
            self.overhead_bits["filler"] = self._filler
        if n % self.segments:
            self.overhead_bits["padding"] = n % self.segments

    def _check_sizes(self, crc: str) -> None:
        least, most = (_SHORTEST_UPLINK, _LONGEST_UPLINK) if self.link == "uplink" else (1, _LONGEST_DOWNLINK)
        if not least <= self.k <= most:
            raise InputError(
                f"Polar5G: k = {self.k} information bits are not possible on the {self.link} with {crc}; "
                f"allowed are {least} to {most}. Longer blocks: LDPC5G."
            )

    @property
    def _filler(self) -> int:
        """Zeros ahead of the first segment."""
        return self.segments * self.block.k - self.k

    @cached_property
    def _decoder(self) -> ListDecoder:
        return ListDecoder(self.block)

    @property
    def _step(self) -> int:
        """Blocks worked on at a time."""
        return max(1, _STEP_BITS // (self.segments * self.block.length))

    def encode(self, bits: Tensor) -> Tensor:
        """uint8 [batch, k] of 0/1 -> uint8 [batch, n] on the same device."""
        if bits.ndim != 2 or bits.shape[1] != self.k or bits.dtype != torch.uint8:
            raise InputError(f"Polar5G: encode takes bits as uint8 [batch, {self.k}], not {bits.dtype} {list(bits.shape)}.")
        source = bits.detach().cpu().numpy()
        out = np.zeros((source.shape[0], self.n), np.uint8)
        for begin in range(0, source.shape[0], self._step):
            rows = slice(begin, begin + self._step)
            padded = np.pad(source[rows], ((0, 0), (self._filler, 0)))
            coded = self._encode_blocks(padded.reshape(-1, self.block.k))
            out[rows, : self.segments * self.block.e] = coded.reshape(padded.shape[0], -1)
        return torch.from_numpy(out).to(bits.device)

    def _encode_blocks(self, bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [blocks, block.k] -> uint8 [blocks, block.e]."""
        block = self.block
        source, out = attach(bits, block.crc), np.empty((bits.shape[0], block.e), np.uint8)
        order, info, sent, size = block.input_order, block.info_positions, block.sent_positions, block.length

        def run(begin: int, end: int) -> None:
            _encode(source, order, info, sent, size, 8 * begin, min(8 * end, out.shape[0]), out)

        spread(run, -(-out.shape[0] // 8))
        return out

    def decode(self, llr: Tensor) -> Decoded:
        """float32 [batch, n], log P(b=1)/P(b=0) -> `Decoded` on the same device; `iterations` is the largest list used."""
        if llr.ndim != 2 or llr.shape[1] != self.n or not llr.is_floating_point():
            raise InputError(f"Polar5G: decode takes LLRs as float32 [batch, {self.n}], not {llr.dtype} {list(llr.shape)}.")
        batch, used = llr.shape[0], self.segments * self.block.e
        bits, ok, lists = np.empty((batch, self.k), np.uint8), np.empty(batch, np.bool_), np.empty(batch, np.int32)
        for begin in range(0, batch, self._step):
            rows = slice(begin, begin + self._step)
            part = llr[rows].detach().float().cpu()
            refuse_nan(part, begin)
            received = np.ascontiguousarray(part.numpy()[:, :used].reshape(-1, self.block.e))
            decided, good, sizes = self._decode_blocks(received)
            bits[rows] = decided.reshape(part.shape[0], -1)[:, self._filler :]
            ok[rows] = good.reshape(-1, self.segments).all(axis=1)
            lists[rows] = sizes.reshape(-1, self.segments).max(axis=1)
        return Decoded(*(torch.from_numpy(result).to(llr.device) for result in (bits, ok, lists)))

    def _decode_blocks(self, llr: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.int32]]:
        """float32 [blocks, block.e] -> bits [blocks, block.k], verdicts [blocks], list sizes [blocks]."""
        if self.backend == "sionna":
            from jscclink.baselines.channel_coding.decoders.polar_sionna import decode_with_sionna

            bits, ok = decode_with_sionna(self.block, llr, self.list_size)
            return bits, ok, np.full(ok.shape, self.list_size, np.int32)
        first = 1 if self.adaptive else self.list_size
        bits, ok = self._decoder.decode(llr, first)
        lists = np.full(ok.shape, first, np.int32)
        if self.adaptive and self.list_size > 1 and not ok.all():
            failed = np.flatnonzero(~ok)
            bits[failed], ok[failed] = self._decoder.decode(llr[failed], self.list_size)
            lists[failed] = self.list_size
        return bits, ok, lists
