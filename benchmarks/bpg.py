"""BPG over the Kodak pictures: rate and PSNR against the reference encoder's curve, and "BPG + capacity" as papers plot it.

    python benchmarks/bpg.py [FOLDER WITH kodim*.png] [--cache FOLDER] [--processes N]

The reference curve is bpgenc 0.9.8 (x265, 4:4:4, its default options) at q 47, 42, ... 12: mean bits per pixel and mean RGB
PSNR over the 24 pictures. "BPG + capacity" grants CBR * 3HW * log2(1 + SNR) bits, which is a bound and no system. Papers (WITT)
read it off the curve of means at equal QP, so that pictures lend each other bits; `per_picture` is what the simulator does:
each picture gets its budget and the best integer QP that fits. The two differ by the steps of QP and by how pictures differ.
"""

from __future__ import annotations

import argparse
import json
import math
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from bjontegaard import bd_psnr, bd_rate
from PIL import Image
from scipy.interpolate import PchipInterpolator

from jscclink.baselines.source.bpg.codec import Bpg
from jscclink.baselines.source.cache import trial_cache

REFERENCE_BPP = [0.0678, 0.1610, 0.3516, 0.6847, 1.1997, 1.9297, 3.0579, 4.7031]
REFERENCE_PSNR = [26.20, 28.68, 31.59, 34.86, 38.26, 41.48, 44.70, 47.63]
QPS = range(44, 8, -5)
BITS_PER_USE = math.log2(1 + 10)  # capacity at 10 dB
CBRS = {"1/48": 1 / 48, "1/24": 1 / 24, "1/16": 1 / 16, "1/12": 1 / 12}


def psnr(image: np.ndarray, other: np.ndarray) -> float:
    """Of two uint8 pictures, in dB."""
    return 10 * math.log10(255**2 / np.mean((image.astype(float) - other) ** 2))


def measure(path: Path, cache: str | None) -> dict[str, tuple[float, float]]:
    """One picture: (bits per pixel, PSNR) at each QP and at each CBR."""
    image = np.asarray(Image.open(path).convert("RGB"))
    codec, shape = Bpg(cache=trial_cache(cache)), image.shape[:2]
    pixels = shape[0] * shape[1]
    found = {}
    for qp in QPS:
        data = codec.encode_at(image, qp)
        found[f"qp {qp}"] = 8 * len(data) / pixels, psnr(image, codec.decode(data, shape))
    for name, cbr in CBRS.items():
        bits = cbr * 3 * pixels * BITS_PER_USE
        data = codec.encode(image, int(bits / 8))
        if data is None:
            raise SystemExit(f"{path.name} does not fit in {bits:.0f} bits")
        found[f"cbr {name}"] = 8 * len(data) / pixels, psnr(image, codec.decode(data, shape))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default=Path("data/kodak"), type=Path)
    parser.add_argument("--cache", help="folder that keeps the encodings")
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    paths = sorted(given.folder.glob("kodim*.png"))
    if not paths:
        raise SystemExit(f"no kodim*.png in {given.folder}")
    with ProcessPoolExecutor(given.processes) as pool:
        found = list(pool.map(measure, paths, [given.cache] * len(paths)))
    means = {key: np.mean([one[key] for one in found], axis=0).round(4).tolist() for key in found[0]}
    for key, (bpp, quality) in means.items():
        print(f"{key:>9}  {bpp:.4f} bit/pixel  {quality:.2f} dB")
    bpp, quality = zip(*(means[f"qp {qp}"] for qp in QPS), strict=True)
    curve = PchipInterpolator(np.log(bpp), quality)
    figures = {
        "benchmark": "bpg",
        "pictures": len(paths),
        "bd_rate_percent": round(bd_rate(REFERENCE_BPP, REFERENCE_PSNR, bpp, quality, method="akima"), 3),
        "bd_psnr_db": round(bd_psnr(REFERENCE_BPP, REFERENCE_PSNR, bpp, quality, method="akima"), 4),
        "bpp": bpp,
        "psnr_db": quality,
        "capacity_psnr_db_at_10_db": {
            name: round(float(curve(math.log(3 * cbr * BITS_PER_USE))), 3) for name, cbr in CBRS.items()
        },
        "capacity_psnr_db_at_10_db_per_picture": {name: means[f"cbr {name}"][1] for name in CBRS},
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
