"""Makes the golden BPG files anew: `python tests/golden/bpg/make.py`. Only for a deliberate change of the decoder's output."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from jscclink.baselines.source import bpg

CASES = [
    (33, 47, "444", 8, 24),
    (33, 47, "422", 8, 24),
    (33, 47, "420", 8, 24),
    (33, 47, "grey", 8, 24),
    (40, 24, "444", 10, 20),
    (40, 24, "420", 10, 20),
    (31, 25, "422", 12, 20),
    (31, 25, "444", 12, 20),
    (1, 1, "444", 8, 30),
    (5, 64, "420", 8, 30),
    (64, 64, "444", 8, 44),
    (66, 18, "grey", 12, 10),
]


def main() -> None:
    folder = Path(__file__).parent
    pixels = {}
    for height, width, chroma, depth, qp in CASES:
        rng = np.random.default_rng(height)
        y, x = np.mgrid[0:height, 0:width] / 9
        image = (
            128 + 60 * np.stack([np.sin(x), np.cos(y + x / 2), np.sin(y * 1.7)], axis=2) + rng.normal(0, 8, (height, width, 3))
        )
        data = bpg.encode(np.clip(image, 0, 255).astype(np.uint8), qp, chroma, depth)
        decoded = bpg.decode(data)
        name = f"{width}x{height}-{chroma}-{depth}bit-qp{qp}.bpg"
        (folder / name).write_bytes(data)
        pixels[name] = [*decoded.shape, hashlib.sha256(decoded.tobytes()).hexdigest()]
    (folder / "pixels.json").write_text(json.dumps(pixels, indent=1) + "\n")


if __name__ == "__main__":
    main()
