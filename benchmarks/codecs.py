"""Speed of HJSCC-tiny: a 768x512 picture encoded and decoded in bfloat16 and float32, and a training step.

    python benchmarks/codecs.py [--threads N] [--picture FILE] [--repeats N]

The yardstick of the same run is a dense 3x3 convolution (128 to 256 channels, 64x96 positions, bfloat16), the shape the model
spends most of its time in: `share_of_peak` of the training step is its arithmetic rate over the yardstick's.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from jscclink.channels.awgn import Awgn
from jscclink.simulator import pictures
from jscclink.simulator.codecs.hjscc.model import HJSCC
from jscclink.simulator.codecs.hjscc.presets import TINY
from jscclink.simulator.codecs.hjscc.scheme import Hjscc
from jscclink.simulator.link import Link
from jscclink.simulator.scheme import TransmitCsi
from jscclink.simulator.training.objective import OperatingPoints, forward_terms, loss

CBR, ESNO_DB = 1 / 16, 10.0
BATCH, CROP = 8, 128


def best_seconds(work: Callable[[], object], repeats: int) -> float:
    """The least wall time of some repeats after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def codec_figures(picture: Tensor, repeats: int) -> dict[str, float]:
    """Seconds of encoding and decoding, and PSNR, in both precisions."""
    link = Link(Awgn(csi="tx+rx"))
    budget = link.budget(tuple(picture.shape), CBR)
    csi = TransmitCsi(torch.tensor([10 ** (-ESNO_DB / 10)]), None)
    figures = {}
    for name, scheme in (("bf16", Hjscc()), ("fp32", Hjscc(precision="float32"))):
        passage = link.run(scheme, picture[None], budget, ESNO_DB, generator=torch.Generator().manual_seed(0))
        reception = passage.receptions[0]
        mse = (passage.reconstruction.data[0].float() - picture.float()).square().mean()
        figures[f"psnr_{name}"] = 10 * math.log10(255**2 / float(mse))
        figures[f"encode_s_{name}"] = best_seconds(lambda s=scheme: s.encode(picture[None], budget, csi), repeats)
        figures[f"decode_s_{name}"] = best_seconds(lambda s=scheme, r=reception: s.decode(r, budget), repeats)
    return figures


def yardstick_gflops(repeats: int) -> float:
    """Arithmetic rate of one dense convolution, forward, in GFLOP/s."""
    layer = nn.Conv2d(128, 256, 3, padding=1).to(memory_format=torch.channels_last).bfloat16()
    x = torch.randn(1, 128, 64, 96).to(memory_format=torch.channels_last).bfloat16()
    with torch.inference_mode():
        seconds = best_seconds(lambda: layer(x), 5 * repeats)
    return 2 * 128 * 256 * 9 * 64 * 96 / seconds / 1e9


def training_figures(repeats: int) -> dict[str, float]:
    """Seconds of a training step's forward and backward pass, crops per second and GFLOP/s."""
    model = HJSCC(TINY).to(memory_format=torch.channels_last)
    image = torch.rand(BATCH, 3, CROP, CROP).to(memory_format=torch.channels_last) * 2 - 1
    points = OperatingPoints(torch.full((BATCH,), 250.0), torch.full((BATCH,), CBR), torch.full((BATCH,), ESNO_DB))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            terms = forward_terms(model, image, points, Awgn(), torch.Generator().manual_seed(0), BATCH // 2)
            value = loss(terms, points.lmbda, 0.5)
        value.backward()

    with FlopCounterMode(display=False) as counter:
        step()
    seconds = best_seconds(step, repeats)
    return {
        "training_step_s": seconds,
        "training_crops_per_s": BATCH / seconds,
        "training_gflops": counter.get_total_flops() / seconds / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--picture", type=Path, default=Path("data/kodak/kodim07.png"))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    figures = codec_figures(pictures.read(options.picture), options.repeats)
    figures |= training_figures(options.repeats)
    rates = [yardstick_gflops(options.repeats) for _ in range(3)]
    figures["yardstick_gflops"] = statistics.median(rates)
    figures["share_of_peak"] = figures["training_gflops"] / figures["yardstick_gflops"]
    print(json.dumps({"threads": options.threads, **{k: round(v, 4) for k, v in figures.items()}}))


if __name__ == "__main__":
    main()
