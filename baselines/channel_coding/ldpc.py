"""5G NR LDPC as a channel code: segmentation, encoding, rate matching, decoding on the backend of one's choice."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jscclink.baselines.channel_coding.code import ChannelCode, Decoded
from jscclink.baselines.channel_coding.decoders.backends import Backend, make_decoder
from jscclink.baselines.channel_coding.decoders.block import Algorithm, BlockDecoded, BlockDecoder, BlockSettings, Schedule
from jscclink.baselines.channel_coding.ldpc_encoder import encode_blocks
from jscclink.baselines.channel_coding.llr import combine, refuse_nan
from jscclink.baselines.channel_coding.segmentation import Segmentation, segment, sent_per_block
from jscclink.errors import InputError

# float32 values that one step may hold besides its input and output: keeps the memory flat in the number of blocks
_STEP_VALUES = 1 << 23


class LDPC5G(ChannelCode):
    """The LDPC code of 5G NR's shared channels (TS 38.212) for one transport block of `k` bits in `n` coded bits.

        bits [batch, k] --CRC, segments--> code blocks --encode, rate-match, interleave--> [batch, n]
        LLR [batch, n] --de-interleave, combine repeated bits--> decoder --CRCs--> bits [batch, k], verdict [batch]

    Parameters
    ----------
    k, n : int
        Information bits and coded bits; k < n. Rates below the mother code's repeat bits of the circular buffer.
    bits_per_symbol : int
        Modulation order of the standard's bit interleaver (TS 38.212, 5.4.2.2); 1 for none. n must be a multiple.
    algorithm : "offset-min-sum" (default), "normalised-min-sum" or "sum-product"
        Check update. The min-sums run on 8-bit integers in steps of a quarter LLR, so they want true LLRs; offset
        min-sum is as quick as normalised and nearer to the exact, slower sum-product.
    schedule : "layered" (default) or "flooding"
        Checks one layer after the other, or all at once: about half as effective, and Sionna's default; sum-product and
        the backend "sionna" offer it.
    iterations : int
        Most iterations over all checks.
    early_stop : bool
        Stop a code block once its syndrome is zero.
    backend : "auto" (default), "cpu", "cuda" or "sionna"
        "auto" follows the LLRs: Triton where they lie on a CUDA device and triton is installed, else the CPU.
    rv : 0-3
        Redundancy version: where in the circular buffer the coded bits begin.
    crc : "auto" (default), "none" or a CRC's name
        "auto" attaches the standard's CRCs (they count as overhead, not as information). With "none" and k of one code
        block the code is the plain (k, n) code that Sionna's `LDPC5GEncoder` makes.
    base_graph : 1, 2 or None
        By default the standard's choice.
    n_ref : int or None
        Bits of a limited circular buffer per code block (N_ref), filler included.

    Raises `InputError` for what cannot be coded.
    """

    def __init__(
        self,
        k: int,
        n: int,
        *,
        bits_per_symbol: int = 1,
        algorithm: Algorithm = "offset-min-sum",
        schedule: Schedule = "layered",
        iterations: int = 20,
        early_stop: bool = True,
        backend: Backend = "auto",
        rv: int = 0,
        crc: str = "auto",
        base_graph: Literal[1, 2] | None = None,
        n_ref: int | None = None,
    ) -> None:
        _check_choice("algorithm", algorithm, get_args(Algorithm))
        _check_choice("schedule", schedule, get_args(Schedule))
        _check_choice("backend", backend, get_args(Backend))
        _check_choice("rv", rv, (0, 1, 2, 3))
        _check_choice("base_graph", base_graph, (None, 1, 2))
        for name, value in (("k", k), ("bits_per_symbol", bits_per_symbol), ("iterations", iterations)):
            if value < 1:
                raise InputError(f"LDPC5G: {name} = {value} is not allowed; it must be at least 1.")
        if schedule == "flooding" and algorithm != "sum-product" and backend != "sionna":
            raise InputError(
                f"LDPC5G: schedule = 'flooding' is not offered for {algorithm} on backend {backend!r}; "
                "take schedule = 'layered', algorithm = 'sum-product' or backend = 'sionna'."
            )
        if n <= k:
            raise InputError(f"LDPC5G: n = {n} coded bits cannot carry k = {k} information bits; n must exceed k.")
        self.k, self.n, self.bits_per_symbol, self.rv = k, n, bits_per_symbol, rv
        self.backend = backend
        self.settings = BlockSettings(algorithm, schedule, iterations, early_stop)
        self.segmentation: Segmentation = segment(k, k / n, crc, base_graph, n_ref)
        block = self.segmentation.block
        needed = self.segmentation.count * block.k
        if n <= needed:
            raise InputError(
                f"LDPC5G: n = {n} coded bits cannot carry k = {k} information bits and {needed - k} bits of CRC and padding; "
                f"take n > {needed}, a smaller k, or crc = 'none'."
            )
        if n_ref is not None and n_ref < 3 * block.z:
            raise InputError(f"LDPC5G: n_ref = {n_ref} is too small a buffer; allowed are {3 * block.z} bits and more.")
        self.sent = sent_per_block(n, self.segmentation.count, bits_per_symbol)
        self.overhead_bits = self.segmentation.overhead_bits
        self._decoders: dict[tuple[int | bytes, str], BlockDecoder] = {}

    def positions(self, count: int, rv: int) -> NDArray[np.int64]:
        """int64 [count]: places in the code word of the `count` bits that a code block sends in redundancy version rv."""
        return self.segmentation.block.sent_positions(count, rv, self.bits_per_symbol)

    def encode(self, bits: Tensor) -> Tensor:
        """uint8 [batch, k] of 0/1 -> uint8 [batch, n] on the same device."""
        return self.encode_version(bits, self.rv)

    def encode_version(self, bits: Tensor, rv: int) -> Tensor:
        """`encode` in redundancy version `rv`, for retransmissions."""
        if bits.ndim != 2 or bits.shape[1] != self.k or bits.dtype != torch.uint8:
            raise InputError(f"LDPC5G: encode takes bits as uint8 [batch, {self.k}], not {bits.dtype} {list(bits.shape)}.")
        source = bits.detach().cpu().contiguous().numpy()
        if source.size and source.max() > 1:
            raise InputError(f"LDPC5G: encode takes bits of 0 and 1, got the value {source.max()}.")
        out = np.empty((source.shape[0], self.n), np.uint8)
        block = self.segmentation.block
        for begin in range(0, source.shape[0], self._step):
            rows = slice(begin, begin + self._step)
            pieces = self.segmentation.split(source[rows]).reshape(-1, self.segmentation.count, block.k)
            first, column = 0, 0
            for count, size in self._groups:
                members = pieces[:, first : first + count].reshape(-1, block.k)
                coded = encode_blocks(members, block, self.positions(size, rv))
                out[rows, column : column + count * size] = coded.reshape(-1, count * size)
                first, column = first + count, column + count * size
        return torch.from_numpy(out).to(bits.device)

    def decode(self, llr: Tensor) -> Decoded:
        """float32 [batch, n], log P(b=1)/P(b=0) -> `Decoded` on the same device; `iterations` is the slowest block's."""
        if llr.ndim != 2 or llr.shape[1] != self.n or not llr.is_floating_point():
            raise InputError(f"LDPC5G: decode takes LLRs as float32 [batch, {self.n}], not {llr.dtype} {list(llr.shape)}.")

        def decode_rows(rows: Tensor, begin: int) -> list[BlockDecoded]:
            rows = rows.float()
            refuse_nan(rows, begin)
            groups, column = [], 0
            for count, size in self._groups:
                groups.append(self._decode_blocks(rows[:, column : column + count * size].reshape(-1, size)))
                column += count * size
            return groups

        return self._in_steps(llr.detach(), decode_rows)

    def decode_buffer(self, buffer: Tensor, received: NDArray[np.bool_]) -> Decoded:
        """Decode what several transmissions left in the circular buffers (`HarqBuffer` keeps them).

        buffer : float32 [batch, code blocks, buffer bits], log P(b=1)/P(b=0) in the order of `CodeBlock.buffer_positions`.
        received : bool [buffer bits], True where any LLR has arrived in any code block.
        """
        places = self.segmentation.block.buffer_positions()[received]
        columns = torch.from_numpy(np.flatnonzero(received)).to(buffer.device)
        decoder = self._block_decoder(received.tobytes(), places, buffer.device.type)

        def decode_rows(rows: Tensor, begin: int) -> list[BlockDecoded]:
            return [decoder.decode(rows.flatten(0, 1).index_select(1, columns))]

        return self._in_steps(buffer, decode_rows)

    def _in_steps(self, received: Tensor, decode_rows: Callable[[Tensor, int], list[BlockDecoded]]) -> Decoded:
        """Apply `decode_rows(rows, number of the first)` to so many transport blocks at a time that memory stays flat."""
        batch = received.shape[0]
        bits = np.empty((batch, self.k), np.uint8)
        ok = np.empty(batch, np.bool_)
        iterations = np.empty(batch, np.int32)
        for begin in range(0, batch, self._step):
            part = slice(begin, min(begin + self._step, batch))
            bits[part], ok[part], iterations[part] = self._join(decode_rows(received[part], begin))
        device = received.device
        return Decoded(
            torch.from_numpy(bits).to(device), torch.from_numpy(ok).to(device), torch.from_numpy(iterations).to(device)
        )

    @property
    def _step(self) -> int:
        """Transport blocks worked on at a time."""
        return max(1, _STEP_VALUES // (self.segmentation.count * self.segmentation.block.length))

    @property
    def _groups(self) -> list[tuple[int, int]]:
        """(number of code blocks, coded bits of each) of the consecutive code blocks that send equally many bits."""
        return [(len(list(members)), size) for size, members in groupby(self.sent)]

    def _decode_blocks(self, llr: Tensor) -> BlockDecoded:
        """float32 [code blocks, sent bits] of one redundancy version."""
        places = self.positions(llr.shape[1], self.rv)
        ring = self.segmentation.block.buffer_positions()
        if places.size > ring.size:  # repeated bits are added up first
            llr, places = combine(llr, np.searchsorted(ring, places), ring.size), ring
        return self._block_decoder(places.size, places, llr.device.type).decode(llr)

    def _block_decoder(self, name: int | bytes, places: NDArray[np.int64], device: str) -> BlockDecoder:
        """The decoder for LLRs of the bits at `places`, which `name` identifies, made at first need."""
        key = (name, device)
        if key not in self._decoders:
            self._decoders[key] = make_decoder(self.backend, device, self.segmentation.block, places, self.settings)
        return self._decoders[key]

    def _join(self, groups: list[BlockDecoded]) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.int32]]:
        """Code blocks, group by group, -> bits [batch, k], verdicts [batch] and iterations [batch] of transport blocks."""
        count, block = self.segmentation.count, self.segmentation.block
        sizes = [blocks for blocks, _ in self._groups] if len(groups) > 1 else [count]
        pieces, decided, good, used = (
            _side_by_side([field.cpu().numpy() for field in fields], sizes)
            for fields in zip(*[(g.bits, g.decided, g.syndrome_ok, g.iterations) for g in groups], strict=True)
        )
        bits, verdict = self.segmentation.join(pieces.reshape(-1, block.k), decided.reshape(-1), good.reshape(-1))
        return bits, verdict, used.max(axis=1)


def _side_by_side(fields: list[NDArray[Any]], sizes: list[int]) -> NDArray[Any]:
    """Fields of code blocks [batch * size, ...] -> [batch, sum of sizes, ...]."""
    shaped = [field.reshape(-1, size, *field.shape[1:]) for field, size in zip(fields, sizes, strict=True)]
    return shaped[0] if len(shaped) == 1 else np.concatenate(shaped, axis=1)


def _check_choice(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise InputError(f"LDPC5G: {name} = {value!r} is unknown; allowed are {', '.join(map(repr, allowed))}.")
