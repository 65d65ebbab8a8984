"""Metrics of pictures: PSNR, MSE, SSIM, MS-SSIM, per picture on 8-bit RGB as the receiver would show it."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from .link import Passage
from .metrics import Metric, Samples

# An exact copy has no finite PSNR: it counts as this, and nothing counts as more. One value of a Kodak picture that is off
# by one is 108.8 dB, so the limit is met by (nearly) exact copies only.
PSNR_LIMIT_DB = 100.0
# The same for -10 log10(1 - MS-SSIM): 1 - MS-SSIM is taken as at least 1e-6.
MS_SSIM_LIMIT_DB = 60.0
# Wang, Simoncelli & Bovik, "Multi-scale structural similarity for image quality assessment", Asilomar 2003, sec. 3.2.
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# Five scales halve four times, and the window of 11 must fit the smallest: (11 - 1) x 2^4 = 160 < side.
MS_SSIM_LEAST_SIDE = 161
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def mse(reference: Tensor, picture: Tensor) -> Tensor:
    """Mean squared error per picture: uint8 [batch, 3, H, W] twice -> float64 [batch], exact."""
    if reference.shape != picture.shape:
        raise ValueError(f"pictures of unlike shape: {tuple(reference.shape)} and {tuple(picture.shape)}")
    squares = [_squared_error(one, other) for one, other in zip(reference, picture, strict=True)]
    return torch.stack(squares) / reference[0].numel()


def _squared_error(reference: Tensor, picture: Tensor) -> Tensor:
    """uint8 [3, H, W] twice -> float64 scalar."""
    difference = (reference.to(torch.int16) - picture).flatten()
    # 256 squares of at most 255 add up to less than 2^24: exact in float32, so the order of summation cannot matter
    rows = torch.nn.functional.pad(difference, (0, -difference.numel() % 256)).float().view(-1, 256)
    return rows.square().sum(1).double().sum()


def psnr_db(reference: Tensor, picture: Tensor) -> Tensor:
    """10 log10(255^2/MSE) per picture in dB: uint8 [batch, 3, H, W] twice -> float64 [batch], at most `PSNR_LIMIT_DB`."""
    least = 255.0**2 / 10.0 ** (PSNR_LIMIT_DB / 10.0)
    return 10.0 * torch.log10(255.0**2 / mse(reference, picture).clamp_min(least))


def ssim(reference: Tensor, picture: Tensor) -> float:
    """SSIM of one picture, uint8 [3, H, W], mean over positions and colours; nan for sides below 11.

    Wang, Bovik, Sheikh & Simoncelli, "Image quality assessment", IEEE Trans. Image Process. 13(4), 2004: Gaussian window of
    11 x 11, sigma 1.5, K1 = 0.01, K2 = 0.03, windows that lie within the picture.
    """
    if min(reference.shape[1:]) < _WINDOW:
        return math.nan
    luminance, contrast = _similarity(_unit(reference), _unit(picture))
    return float((luminance * contrast).mean((1, 2)).mean())


def ms_ssim(reference: Tensor, picture: Tensor) -> float:
    """MS-SSIM of one picture, uint8 [3, H, W], per colour and then the mean; nan for sides below 161.

    Five scales, Wang's weights (see `SCALE_WEIGHTS`); the scales are 2 x 2 averages (of what there is, at an odd edge). A
    negative contrast term (patterns turned into their opposite) counts as 0.
    """
    if min(reference.shape[1:]) < MS_SSIM_LEAST_SIDE:
        return math.nan
    x, y = _unit(reference), _unit(picture)
    product = np.ones(reference.shape[0])
    for scale, weight in enumerate(SCALE_WEIGHTS):
        luminance, contrast = _similarity(x, y)
        last = scale == len(SCALE_WEIGHTS) - 1
        product *= (luminance * contrast if last else contrast).mean((1, 2)).clip(0.0) ** weight
        if not last:
            x, y = _halved(x), _halved(y)
    return float(product.mean())


def ms_ssim_db(value: Tensor) -> Tensor:
    """-10 log10(1 - MS-SSIM), at most `MS_SSIM_LIMIT_DB`; elementwise."""
    return -10.0 * torch.log10((1.0 - value).clamp_min(10.0 ** (-MS_SSIM_LIMIT_DB / 10.0)))


def _unit(picture: Tensor) -> np.ndarray:
    """uint8 [3, H, W] -> float64 [3, H, W] in 0..1."""
    return picture.detach().cpu().numpy() / 255.0


def _similarity(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luminance and contrast-structure terms of SSIM: float64 [3, H, W] twice -> float64 [3, H-10, W-10] twice.

    By scipy, not by torch's convolutions, whose last digits depend on the number of threads: results must not.
    """
    taps = np.exp(-0.5 * ((np.arange(_WINDOW) - _WINDOW // 2) / _SIGMA) ** 2)
    taps /= taps.sum()
    edge = _WINDOW // 2

    def smooth(plane: np.ndarray) -> np.ndarray:
        rows = ndimage.correlate1d(plane, taps, axis=1)[:, edge:-edge]
        return ndimage.correlate1d(rows, taps, axis=2)[:, :, edge:-edge]

    mean_x, mean_y = smooth(x), smooth(y)
    squares, product = mean_x * mean_x + mean_y * mean_y, mean_x * mean_y
    # the variances enter by their sum alone, so one filter serves both
    spread, covariance = smooth(x * x + y * y) - squares, smooth(x * y) - product
    return (2 * product + _C1) / (squares + _C1), (2 * covariance + _C2) / (spread + _C2)


def _halved(planes: np.ndarray) -> np.ndarray:
    """float64 [3, H, W] -> float64 [3, ceil(H/2), ceil(W/2)]: means of 2 x 2; the edge of an odd side repeats."""
    odd = [(0, 0), *((0, side % 2) for side in planes.shape[1:])]
    p = np.pad(planes, odd, mode="edge")
    return (p[:, ::2, ::2] + p[:, 1::2, ::2] + p[:, ::2, 1::2] + p[:, 1::2, 1::2]) / 4.0


class _Remembered:
    """Values of (picture, copy) pairs by content: a digital scheme that succeeds shows the same copy at every draw and SNR."""

    def __init__(self, function: Callable[[Tensor, Tensor], float], entries: int = 4096) -> None:
        self._function, self._entries = function, entries
        self._values: OrderedDict[bytes, float] = OrderedDict()

    def __call__(self, source: Tensor, passage: Passage) -> Tensor:
        """uint8 [batch, 3, H, W] -> float64 [batch], nan where there is no value."""
        pairs = zip(source, passage.reconstruction.data, strict=True)
        return torch.tensor([self._one(a, b) for a, b in pairs], dtype=torch.float64)

    def _one(self, reference: Tensor, picture: Tensor) -> float:
        key = hashlib.blake2b(str(tuple(reference.shape)).encode(), digest_size=32)
        for plane in (reference, picture):
            key.update(plane.contiguous().cpu().numpy().data)
        digest = key.digest()
        if digest not in self._values:
            self._values[digest] = self._function(reference, picture)
            if len(self._values) > self._entries:
                self._values.popitem(last=False)
        self._values.move_to_end(digest)
        return self._values[digest]


_ssim_of, _ms_ssim_of = _Remembered(ssim), _Remembered(ms_ssim)


def _samples(values: Tensor) -> Samples:
    """float64 [batch], nan where an item has no value -> one sample per item."""
    values = values.cpu()
    return Samples(values.nan_to_num(0.0), (~values.isnan()).double(), "mean")


class _PictureMetric(Metric):
    sources = frozenset({"image"})


class Psnr(_PictureMetric):
    """PSNR in dB on 8-bit RGB, 10 log10(255^2/MSE) per picture, then the mean over pictures (exact copies: 100 dB)."""

    unit, better = "dB", "higher"

    def measure(self, source: Tensor, passage: Passage) -> Samples:
        return _samples(psnr_db(source, passage.reconstruction.data))


class Mse(_PictureMetric):
    """Mean squared error on 8-bit RGB, mean over pictures: 10 log10(255^2/MSE) of the mean is the pooled PSNR."""

    better = "lower"

    def measure(self, source: Tensor, passage: Passage) -> Samples:
        return _samples(mse(source, passage.reconstruction.data))


class Ssim(_PictureMetric):
    """SSIM on 8-bit RGB: 11 x 11 Gaussian window, mean over positions and colours; no value for sides below 11."""

    better = "higher"

    def measure(self, source: Tensor, passage: Passage) -> Samples:
        return _samples(_ssim_of(source, passage))


class MsSsim(_PictureMetric):
    """MS-SSIM on 8-bit RGB: five scales, Wang's weights, mean over colours; no value for sides below 161."""

    better = "higher"

    def measure(self, source: Tensor, passage: Passage) -> Samples:
        return _samples(_ms_ssim_of(source, passage))


class MsSsimDb(_PictureMetric):
    """MS-SSIM as -10 log10(1 - MS-SSIM) in dB per picture, then the mean (exact copies: 60 dB)."""

    unit, better = "dB", "higher"

    def measure(self, source: Tensor, passage: Passage) -> Samples:
        return _samples(ms_ssim_db(_ms_ssim_of(source, passage)))
