"""JPEG 2000 (ITU-T T.800) through Pillow's OpenJPEG, in one quality layer or in several that can be cut off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import ClassVar

import numpy as np

from jscclink.baselines.source import pillow
from jscclink.baselines.source.codec import DecodeFailure, SourceCodec, pixel_digest
from jscclink.errors import InputError

_SOC, _EOC = b"\xff\x4f", b"\xff\xd9"
_SOT, _PLT, _SOD, _COD, _COMMENT = 0x90, 0x58, 0x93, 0x52, 0x64
_GREY_FLAG = 0x80
_MAX_LAYERS = 64
_ROUNDS, _CLOSE = 10, 0.01
_STEPS_PER_OCTAVE = 32


@dataclass(frozen=True, kw_only=True)
class Jpeg2000(SourceCodec):
    """JPEG 2000: wavelet 9/7, one tile, one precinct per resolution, packets in the order layer, resolution, component.

    The ladder is geometric in the rate: quality q asks for a compression by 2000 / 2^(q/32).

    Attributes
    ----------
    container : bool
        True: a JP2 file (layers: its code-stream, boxes left out). False: one byte says the number of layers and grey (+128);
        the packets follow; main header and markers follow from codec and size.
    """

    name: ClassVar[str] = "jpeg2000"
    qualities: ClassVar[range] = range(0, 353)
    slack: ClassVar[tuple[int, float]] = (16, 0.01)
    max_side: ClassVar[int] = 32767

    @property
    def library(self) -> str:
        return pillow.library(self.name, "jpg_2000")

    def encode_layers(self, image: np.ndarray, byte_targets: Sequence[int]) -> list[bytes] | None:
        """uint8 [H, W, 3] or [H, W] -> one piece of bytes per layer; the first i + 1 together take byte_targets[i] at most.

        The pieces are to be sent in order, each as well protected as wanted; any number of them from the first decodes, see
        `decode_layers`. None: the first target is too small for anything. Headers are part of the first piece.
        """
        targets = list(byte_targets)
        if not 1 <= len(targets) <= _MAX_LAYERS or any(a >= b for a, b in pairwise(targets)):
            raise InputError(f"jpeg2000: byte_targets is {targets}; give 1 to {_MAX_LAYERS} growing numbers")
        image = self._checked(image)
        key = self._key(f"layers {targets}", pixel_digest(image))
        packed = self.cache.stream(key)
        if packed is None:
            packed = _pack(self._fitted_pieces(image, targets))
            self.cache.add_stream(key, packed)
        return _unpack(packed) or None

    def _fitted_pieces(self, image: np.ndarray, targets: list[int]) -> list[bytes]:
        """The layers that fill the targets best without exceeding one; an empty list if none was found.

        OpenJPEG aims at sizes that count its own headers and meets them from below, in steps. What to ask for is bracketed for
        each layer by itself; the last round asks for what fitted.
        """
        best: list[bytes] = []
        asked = [float(target) for target in targets]
        low, high = [1.0] * len(targets), [math.inf] * len(targets)
        for rounds_left in reversed(range(_ROUNDS)):
            pieces = self._pieces(image, [max(image.size / max(size, 1.0), 1.0) for size in asked])
            ends = list(accumulate(map(len, pieces)))
            left = [target - end for target, end in zip(targets, ends, strict=True)]
            if min(left) >= 0 and sum(ends) > sum(accumulate(map(len, best))):
                best = pieces
            if all(0 <= spare <= target * _CLOSE for spare, target in zip(left, targets, strict=True)):
                break
            for i, spare in enumerate(left):
                if spare >= 0:
                    low[i] = max(low[i], asked[i])
                else:
                    high[i] = min(high[i], asked[i])
                aimed = asked[i] + spare
                inside = low[i] < aimed < high[i]
                asked[i] = low[i] if rounds_left == 1 else aimed if inside else (low[i] + min(high[i], 2 * low[i])) / 2
            asked = list(accumulate(asked, max))  # layers must grow
        return best

    def decode_layers(self, pieces: Sequence[bytes], shape: tuple[int, int] | None = None) -> np.ndarray:
        """The first one or more pieces of `encode_layers` -> uint8 [H, W, 3]; raises `DecodeFailure` as `decode` does."""
        data = b"".join(pieces)
        if self.container:
            data = _with_layers(data, len(pieces))
        elif data:
            data = bytes([data[0] & _GREY_FLAG | len(pieces)]) + data[1:]
        return self.decode(data, shape)

    def _encode(self, image: np.ndarray, quality: int) -> bytes:
        ratio = 2000 * 2 ** (-quality / _STEPS_PER_OCTAVE)
        if not self.container:
            return self._pieces(image, [ratio])[0]
        file = self._save(image, [ratio], no_jp2=False)
        start = file.index(b"jp2c") + 4
        stream = _without_comment(file[start:])
        return file[: start - 8] + (8 + len(stream)).to_bytes(4) + b"jp2c" + stream

    def _decode(self, data: bytes, shape: tuple[int, int] | None) -> np.ndarray:
        if not self.container:
            assert shape is not None
            layers = data[0] & ~_GREY_FLAG if data else 0
            if not 1 <= layers <= _MAX_LAYERS:
                raise DecodeFailure(f"jpeg2000: the bytes begin with {data[:1].hex() or 'nothing'}, no number of layers")
            head = _known_head(self, shape, bool(data[0] & _GREY_FLAG))
            data = _with_layers(head + _tile_head() + data[1:], layers)
        return pillow.load(self.name, data, "JPEG2000", shape)

    def _save(self, image: np.ndarray, ratios: list[float], no_jp2: bool) -> bytes:
        return pillow.save(
            image,
            "JPEG2000",
            quality_mode="rates",
            quality_layers=ratios,
            irreversible=True,
            mct=int(image.ndim == 3),
            progression="LRCP",
            # five decompositions as usual, fewer for sides that cannot be halved so often
            num_resolutions=min(6, min(image.shape[:2]).bit_length()),
            no_jp2=no_jp2,
            plt=no_jp2,
        )

    def _pieces(self, image: np.ndarray, ratios: list[float]) -> list[bytes]:
        """Encode with one layer per ratio and cut the packets at the layers' ends, as the packet lengths (PLT) tell."""
        stream = self._save(image, ratios, no_jp2=True)
        head, lengths, packets = _taken_apart(stream)
        per_layer = len(lengths) // len(ratios)
        ends = list(accumulate((sum(lengths[i : i + per_layer]) for i in range(0, len(lengths), per_layer)), initial=0))
        if per_layer * len(ratios) != len(lengths) or ends[-1] != len(packets):
            raise RuntimeError(f"OpenJPEG wrote {len(lengths)} packets of {sum(lengths)} bytes for {len(ratios)} layers")
        grey = image.ndim == 2
        if self.container:
            first = head + _tile_head()
        else:
            if _set_layers(head, 1) != _known_head(self, image.shape[:2], grey):
                raise RuntimeError("OpenJPEG wrote another header for this picture than for a blank one")
            first = bytes([len(ratios) | (_GREY_FLAG if grey else 0)])
        pieces = [packets[a:b] for a, b in pairwise(ends)]
        return [first + pieces[0], *pieces[1:]]


@lru_cache(maxsize=64)
def _known_head(codec: Jpeg2000, shape: tuple[int, int], grey: bool) -> bytes:
    """The main header of any picture of this size in one layer, read off a blank one."""
    blank = np.zeros(shape if grey else (*shape, 3), np.uint8)
    return _taken_apart(codec._save(blank, [100.0], no_jp2=True))[0]


def _pack(pieces: list[bytes]) -> bytes:
    """Count and lengths of the pieces, four bytes each, then the pieces."""
    return b"".join(n.to_bytes(4) for n in (len(pieces), *map(len, pieces))) + b"".join(pieces)


def _unpack(packed: bytes) -> list[bytes]:
    count, *lengths = (int.from_bytes(packed[i : i + 4]) for i in range(0, 4 + 4 * int.from_bytes(packed[:4]), 4))
    ends = accumulate(lengths, initial=4 + 4 * count)
    return [packed[a:b] for a, b in pairwise(ends)]


def _markers(stream: bytes) -> dict[int, tuple[int, int]]:
    """Where each marker segment of main and tile header begins and ends, up to SOD; markers come once but for PLT."""
    found = {}
    start = len(_SOC)
    while stream[start : start + 2] != bytes([0xFF, _SOD]):
        if start + 4 > len(stream) or stream[start] != 0xFF:
            raise DecodeFailure("jpeg2000: the code-stream's headers are damaged")
        end = start + 2 + int.from_bytes(stream[start + 2 : start + 4])
        found[stream[start + 1] if stream[start + 1] != _PLT else start << 8 | _PLT] = start, end
        start = end
    found[_SOD] = start, start + 2
    return found


def _without_comment(stream: bytes) -> bytes:
    start, end = _markers(stream).get(_COMMENT, (0, 0))
    return stream[:start] + stream[end:]


def _taken_apart(stream: bytes) -> tuple[bytes, list[int], bytes]:
    """A complete code-stream of one tile -> main header without comment, packet lengths, packets."""
    stream = _without_comment(stream)
    markers = _markers(stream)
    lengths, value = [], 0
    for key, (start, end) in markers.items():
        if key & 0xFF == _PLT:
            for byte in stream[start + 5 : end]:
                value = value << 7 | byte & 0x7F
                if not byte & 0x80:
                    lengths.append(value)
                    value = 0
    return stream[: markers[_SOT][0]], lengths, stream[markers[_SOD][1] : -len(_EOC)]


def _tile_head() -> bytes:
    """SOT of tile 0 as its only part, reaching to the end of the code-stream (length 0), and SOD."""
    return bytes([0xFF, _SOT, 0, 10, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF, _SOD])


def _set_layers(head: bytes, layers: int) -> bytes:
    """The main header with another number of layers in COD."""
    at = head.index(bytes([0xFF, _COD])) + 6
    return head[:at] + layers.to_bytes(2) + head[at + 2 :]


def _with_layers(stream: bytes, layers: int) -> bytes:
    """A code-stream without EOC, perhaps cut off after some layers -> a complete one of that many layers."""
    if not stream.startswith(_SOC):
        raise DecodeFailure("jpeg2000: no code-stream: it does not begin with SOC")
    start = _markers(stream)[_SOT][0]
    length = (len(stream) - start).to_bytes(4)
    return _set_layers(stream[:start], layers) + stream[start : start + 6] + length + stream[start + 10 :] + _EOC
