"""Side information: what the receiver must know beyond the symbols, entropy coded.

    lambda (6 bits) | power (10 bits) | range coded, per level: mean index, index map   --> bytes

The index maps are coded position by position. The model of an index sees only what both ends know to the bit: indices coded
before (left, above, above right, the co-located one of the level before) and the map's mean index. Its mean and spread are
linear in these, with integer coefficients, so that both ends compute them alike on any machine; the symbols themselves go
through a quantised Laplace distribution and a range coder (the `constriction` library). Nothing here depends on what went
through the noisy channel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import mul
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jscclink.errors import InputError

from .presets import LevelSpec

FRACTION_BITS = 12
FEATURES = 8
LMBDA_LOG2_RANGE = (2.0, 12.0)
LMBDA_CODES = 1 << 6
POWER_LOG2_RANGE = (-20.0, 20.0)
POWER_CODES = 1 << 10
HEAD_BYTES = 2
SPREAD_MIN = 0.15

Map = NDArray[np.int64]


@dataclass(frozen=True)
class SideInformation:
    """What is sent beside the symbols.

    Attributes:
        lmbda_code: index of lambda, see `lmbda_from_code`.
        power_code: index of the power the transmitter divided by, see `power_from_code`.
        maps: index map per level, int64 [h/group, w/group].
    """

    lmbda_code: int
    power_code: int
    maps: tuple[Map, ...]


@dataclass(frozen=True)
class SideModel:
    """Coefficients of the index model, fixed point with `FRACTION_BITS` fractional bits.

    Attributes:
        mean: int64 [levels, FEATURES].
        spread: int64 [levels, FEATURES].
    """

    mean: Map
    spread: Map


def lmbda_from_code(code: int) -> float:
    """Lambda of an index: LMBDA_CODES values, geometric over 2^LMBDA_LOG2_RANGE."""
    low, high = LMBDA_LOG2_RANGE
    return 2.0 ** (low + (high - low) * code / (LMBDA_CODES - 1))


def code_of_lmbda(lmbda: float) -> int:
    """The nearest index."""
    low, high = LMBDA_LOG2_RANGE
    code = round((math.log2(lmbda) - low) / (high - low) * (LMBDA_CODES - 1))
    return min(max(code, 0), LMBDA_CODES - 1)


def power_from_code(code: int) -> float:
    """Power of an index: POWER_CODES values, steps of 0.12 dB."""
    low, high = POWER_LOG2_RANGE
    return 2.0 ** (low + (high - low) * code / (POWER_CODES - 1))


def code_of_power(power: float) -> int:
    """The nearest index."""
    low, high = POWER_LOG2_RANGE
    code = round((math.log2(max(power, 1e-30)) - low) / (high - low) * (POWER_CODES - 1))
    return min(max(code, 0), POWER_CODES - 1)


def co_located(previous: Map | None, rows: int, columns: int) -> Map:
    """The map of the level before at this level's resolution (groups may be finer or coarser)."""
    if previous is None:
        return np.zeros((rows, columns), dtype=np.int64)
    r = np.arange(rows) * previous.shape[0] // rows
    c = np.arange(columns) * previous.shape[1] // columns
    return previous[r[:, None], c[None, :]]


def features(average: int, left: int, above: int, corner: int, below: int) -> tuple[int, ...]:
    """Integers the model of one index sees, each a function of what was coded before; `corner` is the one above right.

    (1, mean, left, above, above right, below, |left - above|, |left - mean| + |above - mean|)
    """
    return (1, average, left, above, corner, below, abs(left - above), abs(left - average) + abs(above - average))


def feature_maps(current: Map, below: Map, average: int) -> Map:
    """`features` of every position of a complete map at once: int64 [rows x columns, FEATURES].

    Outside the map the mean index stands in; above right of the last column, the one above.
    """
    padded = np.pad(current, ((1, 0), (1, 1)), constant_values=average)
    left, above, corner = padded[1:, :-2], padded[:-1, 1:-1].copy(), padded[:-1, 2:].copy()
    corner[:, -1] = above[:, -1]
    ones = np.ones_like(current)
    seen = (ones, average * ones, left, above, corner, below, abs(left - above), abs(left - average) + abs(above - average))
    return np.stack(seen, axis=-1).reshape(-1, FEATURES)


def _parameters(seen: Map, mean: Map, spread: Map, largest: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and scales of the quantised Laplace model: exact in float64, since they are integers over a power of two."""
    unit = 1 << FRACTION_BITS
    centres = np.clip(seen @ mean, 0, largest * unit)
    widths = np.clip(seen @ spread, round(SPREAD_MIN * unit), largest * unit)
    return centres / unit, widths / unit


def _read_map(decoder: Any, below: Map, average: int, mean: list[int], spread: list[int], largest: int) -> Map:
    """An index map from a range decoder, position by position.

    In Python's integers and floats, a fifth of the time that arrays of one element take; exact, so the same as `_parameters`.
    """
    import constriction

    laplace = constriction.stream.model.QuantizedLaplace
    unit = 1 << FRACTION_BITS
    narrowest, widest = round(SPREAD_MIN * unit), largest * unit
    rows, above = [], [average] * (below.shape[1] + 1)
    for under in below.tolist():
        row, left = [], average
        for column, co_located_one in enumerate(under):
            seen = features(average, left, above[column], above[column + 1], co_located_one)
            centre = min(max(sum(map(mul, seen, mean)), 0), widest)
            width = min(max(sum(map(mul, seen, spread)), narrowest), widest)
            left = decoder.decode(laplace(0, largest, centre / unit, width / unit))
            row.append(left)
        rows.append(row)
        above = [*row, left]
    return np.array(rows, dtype=np.int64)


def map_shape(size: tuple[int, int], level: LevelSpec) -> tuple[int, int]:
    """Shape of a level's index map for a picture of the padded size (height, width)."""
    side = level.stride * level.group
    return size[0] // side, size[1] // side


def encode_side(
    side: SideInformation, model: SideModel, levels: tuple[LevelSpec, ...], numbers: range, previous: Map | None = None
) -> bytes:
    """Side information as bytes.

    Args:
        side: its maps are those of the levels `numbers`.
        model: the entropy model, of all levels.
        levels: all levels of the preset.
        numbers: the levels that are sent.
        previous: the map of the level before the first, where both ends know one.
    """
    import constriction

    encoder = constriction.stream.queue.RangeEncoder()

    def uniform(value: int, size: int) -> None:
        encoder.encode(np.array([value], dtype=np.int32), constriction.stream.model.Uniform(size))

    for number, current in zip(numbers, side.maps, strict=True):
        largest = len(levels[number].table) - 1
        average = round(float(current.mean()))
        uniform(average, largest + 1)
        seen = feature_maps(current, co_located(previous, *current.shape), average)
        centres, widths = _parameters(seen, model.mean[number], model.spread[number], largest)
        laplace = constriction.stream.model.QuantizedLaplace(0, largest)
        encoder.encode(current.reshape(-1).astype(np.int32), laplace, centres, widths)
        previous = current
    head = side.lmbda_code * POWER_CODES + side.power_code
    return head.to_bytes(HEAD_BYTES, "big") + trim(encoder.get_compressed())


def decode_side(
    data: bytes,
    model: SideModel,
    levels: tuple[LevelSpec, ...],
    numbers: range,
    size: tuple[int, int],
    previous: Map | None = None,
) -> SideInformation:
    """Inverse of `encode_side` for a picture of the padded size (height, width).

    Raises:
        InputError: the bytes cannot be side information of such a picture.
    """
    import constriction

    if len(data) < HEAD_BYTES:
        raise InputError(f"side information: {len(data)} bytes, at least {HEAD_BYTES} are needed")
    lmbda_code, power_code = divmod(int.from_bytes(data[:HEAD_BYTES], "big"), POWER_CODES)
    decoder = constriction.stream.queue.RangeDecoder(words(data[HEAD_BYTES:]))

    def uniform(size: int) -> int:
        return int(decoder.decode(constriction.stream.model.Uniform(size)))

    try:
        maps = []
        for number in numbers:
            level = levels[number]
            largest = len(level.table) - 1
            average = uniform(largest + 1)
            below = co_located(previous, *map_shape(size, level))
            mean, spread = model.mean[number].tolist(), model.spread[number].tolist()
            current = _read_map(decoder, below, average, mean, spread, largest)
            maps.append(current)
            previous = current
    except AssertionError as error:
        raise InputError("side information: the bytes are no side information of a picture of this size") from error
    return SideInformation(lmbda_code, power_code, tuple(maps))


def trim(compressed: NDArray[np.uint32]) -> bytes:
    """The range coder's words as bytes without trailing zeros, which `words` puts back."""
    return compressed.astype(">u4").tobytes().rstrip(b"\0")


def words(data: bytes) -> NDArray[np.uint32]:
    """Inverse of `trim`, up to further zeros, which a range decoder reads past the end anyway."""
    padded = data + b"\0" * (-len(data) % 4 + 8)
    return np.frombuffer(padded, dtype=">u4").astype(np.uint32)
