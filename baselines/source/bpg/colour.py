"""RGB to planes and back as BPG defines it: BT.601 and relatives, chroma at half resolution by Lanczos filters."""

from __future__ import annotations

from functools import cache

import numpy as np

from jscclink.baselines.source.bpg.container import (
    CHROMA_420,
    CHROMA_420_VIDEO,
    CHROMA_422,
    CHROMA_422_VIDEO,
    GREY,
    BpgFile,
)
from jscclink.baselines.source.codec import DecodeFailure

_KR, _KB = 0.299, 0.114
# luma weights (red, blue) of the colour spaces that are a YCbCr
_WEIGHTS = {0: (_KR, _KB), 3: (0.2126, 0.0722), 4: (0.2627, 0.0593)}
_RGB, _YCGCO = 1, 2
_FRACTION_BITS = 22


def to_planes(image: np.ndarray, pixel_format: int, bit_depth: int) -> list[np.ndarray]:
    """uint8 [H, W, 3] -> Y [H, W], Cb, Cr (halved for 4:2:0 and 4:2:2, rounded up) as int32; uint8 [H, W] -> [Y].

    BT.601 full range (ITU-R BT.601, JFIF), rounded half up and clipped. Chroma is sited mid-way between luma samples and
    decimated by a Lanczos-3 filter stretched by 2 (12 taps), edges replicated; BPG leaves the choice of that filter open.
    """
    scale = ((1 << bit_depth) - 1) / 255
    if image.ndim == 2:
        return [_rounded(image * scale, bit_depth)]
    red, green, blue = (image[:, :, channel].astype(np.float64) for channel in range(3))
    luma = _KR * red + (1 - _KR - _KB) * green + _KB * blue
    planes = [_rounded(luma * scale, bit_depth)]
    if pixel_format == GREY:
        return planes
    for chroma in ((blue - luma) / (2 * (1 - _KB)), (red - luma) / (2 * (1 - _KR))):
        if pixel_format in (CHROMA_420, CHROMA_422):
            chroma = _halved(chroma)
        if pixel_format == CHROMA_420:
            chroma = _halved(chroma.T).T
        planes.append(_rounded(chroma * scale + (1 << (bit_depth - 1)), bit_depth))
    return planes


def to_rgb(planes: list[np.ndarray], file: BpgFile) -> np.ndarray:
    """Planes of the true size (chroma halves rounded up) -> uint8 [H, W, 3], in fixed point with 22 fractional bits."""
    height, width, depth = file.height, file.width, file.bit_depth
    luma = planes[0][:height, :width].astype(np.int64)
    scale = 255 * (1 << _FRACTION_BITS)
    full = scale / ((1 << depth) - 1)
    luma_gain, chroma_gain = (
        (scale / (219 << (depth - 8)), scale / (224 << (depth - 8))) if file.limited_range else (full, full)
    )
    if file.limited_range:
        luma -= 16 << (depth - 8)
    half = 1 << (_FRACTION_BITS - 1)
    luma = luma * round(luma_gain) + half
    if file.pixel_format == GREY:
        return np.repeat(_finished(luma)[:, :, None], 3, axis=2)
    first, second = (_full_size(plane, file).astype(np.int64) for plane in planes[1:])
    if file.color_space == _RGB:
        offset = 16 << (depth - 8) if file.limited_range else 0
        red, blue = ((plane - offset) * round(luma_gain) + half for plane in (second, first))
        return np.stack([_finished(red), _finished(luma), _finished(blue)], axis=2)
    first -= 1 << (depth - 1)
    second -= 1 << (depth - 1)
    if file.color_space == _YCGCO:
        green_part, orange = first * round(chroma_gain), second * round(chroma_gain)
        planes = [luma - green_part + orange, luma + green_part, luma - green_part - orange]
    elif file.color_space in _WEIGHTS:
        kr, kb = _WEIGHTS[file.color_space]
        kg = 1 - kr - kb
        planes = [
            luma + round(2 * (1 - kr) * chroma_gain) * second,
            luma - round(2 * kb * (1 - kb) / kg * chroma_gain) * first - round(2 * kr * (1 - kr) / kg * chroma_gain) * second,
            luma + round(2 * (1 - kb) * chroma_gain) * first,
        ]
    else:
        raise DecodeFailure(f"BPG colour space {file.color_space} (BT.2020 with constant luminance) is not supported")
    return np.stack([_finished(plane) for plane in planes], axis=2)


def _finished(plane: np.ndarray) -> np.ndarray:
    return np.clip(plane >> _FRACTION_BITS, 0, 255).astype(np.uint8)


def _rounded(plane: np.ndarray, bit_depth: int) -> np.ndarray:
    return np.clip(np.floor(plane + 0.5), 0, (1 << bit_depth) - 1).astype(np.int32)


def lanczos(x: np.ndarray, lobes: int) -> np.ndarray:
    """sinc(x) sinc(x / lobes) within the lobes, 0 outside."""
    return np.where(np.abs(x) < lobes, np.sinc(x) * np.sinc(x / lobes), 0.0)


@cache
def _decimation_taps() -> np.ndarray:
    taps = lanczos((np.arange(12) - 5.5) / 2, 3)
    return taps / taps.sum()


@cache
def interpolation_taps(quarters: int) -> np.ndarray:
    """int64 [8]: Lanczos-4 in 1/64 for a position `quarters`/4 samples right of sample 3 of 0..7."""
    taps = lanczos(np.arange(-3, 5) - quarters / 4, 4)
    return np.rint(64 * taps / taps.sum()).astype(np.int64)


def _halved(plane: np.ndarray) -> np.ndarray:
    """[h, w] -> [h, ceil(w / 2)]: sample i sits between columns 2i and 2i + 1."""
    out = (plane.shape[1] + 1) // 2
    wide = np.pad(plane, ((0, 0), (5, 7)), mode="edge")
    return sum(tap * wide[:, k : k + 2 * out : 2] for k, tap in enumerate(_decimation_taps()))


def _doubled(plane: np.ndarray, midway: bool) -> np.ndarray:
    """int64 [h, n] -> [h, 2n] in 1/64; sample i sits between columns 2i and 2i + 1 (`midway`) or on column 2i."""
    n = plane.shape[1]
    wide = np.pad(plane, ((0, 0), (4, 4)), mode="edge")

    def filtered(taps: np.ndarray, first: int) -> np.ndarray:
        return sum(tap * wide[:, 4 + first + k : 4 + first + k + n] for k, tap in enumerate(taps) if tap)

    doubled = np.empty((plane.shape[0], 2 * n), np.int64)
    if midway:
        quarter = interpolation_taps(1)
        doubled[:, 0::2] = filtered(quarter[::-1], -4)
        doubled[:, 1::2] = filtered(quarter, -3)
    else:
        doubled[:, 0::2] = 64 * plane
        doubled[:, 1::2] = filtered(interpolation_taps(2), -3)
    return doubled


def _full_size(plane: np.ndarray, file: BpgFile) -> np.ndarray:
    """A chroma plane at luma resolution [H, W]; integer arithmetic as the reference decoder's, so that pixels are equal."""
    height, width, depth = file.height, file.width, file.bit_depth
    tall = file.pixel_format in (CHROMA_420, CHROMA_420_VIDEO)
    halved = tall or file.pixel_format in (CHROMA_422, CHROMA_422_VIDEO)
    rows = (height + 1) // 2 if tall else height
    columns = (width + 1) // 2 if halved else width
    plane = plane[:rows, :columns]
    if not halved:
        return plane
    midway = file.pixel_format in (CHROMA_420, CHROMA_422)
    samples, shift = plane.astype(np.int64), 6
    if tall:
        # the first pass keeps all bits of 8-bit samples; deeper ones are brought to the same 14 bits
        samples = _doubled(samples.T, True).T >> (depth - 8)
        shift = 20 - depth
    samples = _doubled(samples, midway) + (1 << (shift - 1)) >> shift
    return np.clip(samples, 0, (1 << depth) - 1)[:height, :width]
