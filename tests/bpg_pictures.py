"""Pictures and files that the BPG tests share."""

from __future__ import annotations

import numpy as np

from jscclink.baselines.source import bpg
from jscclink.baselines.source.bpg.container import BpgFile, HevcHeader

VERYSLOW = HevcHeader(3, 3, 2, 3, 2, True, None, True, None)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Slow colour waves and a little noise: chroma survives halving."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 24
    waves = [np.sin(x * a + b) + np.cos(y * a - b) for a, b in rng.uniform(0.3, 2, (3, 2))]
    return np.clip(128 + 45 * np.stack(waves, axis=2) + rng.normal(0, 1, (height, width, 3)), 0, 255).astype(np.uint8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Of two pictures with 255 as the largest value, in dB."""
    return float(10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b) ** 2))))


def plain_file(image: np.ndarray, chroma: str, depth: int) -> BpgFile:
    """The header that goes with a picture, without data."""
    pixel_format = bpg.PIXEL_FORMATS[chroma]
    return BpgFile(
        width=image.shape[1], height=image.shape[0], pixel_format=pixel_format, bit_depth=depth, hevc=VERYSLOW, data=b""
    )
