"""Speed and memory of HJSCC-tiny: a 768x512 picture, a training step, and a 4000x3000 picture.

    python benchmarks/codecs.py [--threads 1 2] [--picture FILE] [--repeats N] [--large 3000x4000 ...]

For every number of threads: encoding and decoding of a 768x512 picture alone and both with the channel (`total_s`), in bfloat16
and float32; a training step, and two yardsticks of the same run and threads: the best rate of a large bfloat16 matrix
product (`matmul_gflops`, what the machine can do) and that of a dense 3x3 convolution of the shape the model spends most of
its time in (`convolution_gflops`). `training_share_of_*` is the step's arithmetic rate over the yardstick's. Large pictures
(the picture repeated) cross the link in processes of their own, in tiles and in one piece: `peak_gib` is the process's resident
memory (Linux only), `before_gib` what it held with picture and weights loaded. All seconds but those of large pictures are the
least wall times of some repeats.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
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
from jscclink.simulator.codecs.hjscc.tiles import TILE_PIXELS
from jscclink.simulator.link import Link, Passage
from jscclink.simulator.scheme import TransmitCsi
from jscclink.simulator.training.objective import OperatingPoints, forward_terms, loss

CBR, ESNO_DB = 1 / 16, 10.0
BATCH, CROP = 8, 128
MATMUL_SIDES = (1024, 2048)


def best_seconds(work: Callable[[], object], repeats: int) -> float:
    """The least wall time of some repeats after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def cross(scheme: Hjscc, picture: Tensor) -> Passage:
    """A picture through encoder, channel and decoder; the transmitter has never seen it."""
    link = Link(Awgn(csi="tx+rx"))
    scheme.forget()
    budget = link.budget(tuple(picture.shape), CBR)
    return link.run(scheme, picture[None], budget, ESNO_DB, generator=torch.Generator().manual_seed(0))


def psnr(found: Tensor, true: Tensor) -> float:
    """In dB, channel by channel so that large pictures are not held in float at once."""
    mse = sum(float((f.float() - t.float()).square().mean()) for f, t in zip(found, true, strict=True)) / len(true)
    return 10 * math.log10(255**2 / mse)


def codec_figures(picture: Tensor, repeats: int) -> dict[str, float]:
    """Seconds of encoding and decoding, alone and together with the channel, and PSNR, in both precisions."""
    budget = Link(Awgn(csi="tx+rx")).budget(tuple(picture.shape), CBR)
    csi = TransmitCsi(torch.tensor([10 ** (-ESNO_DB / 10)]), None)
    figures = {}
    for name, scheme in (("bf16", Hjscc()), ("fp32", Hjscc(precision="float32"))):

        def encode(one: Hjscc = scheme) -> None:
            one.forget()
            one.encode(picture[None], budget, csi)

        passage = cross(scheme, picture)
        reception = passage.receptions[0]
        figures[f"psnr_{name}"] = psnr(passage.reconstruction.data[0], picture)
        figures[f"encode_s_{name}"] = best_seconds(encode, repeats)
        figures[f"decode_s_{name}"] = best_seconds(lambda s=scheme, r=reception: s.decode(r, budget), repeats)
        figures[f"total_s_{name}"] = best_seconds(lambda s=scheme: cross(s, picture), repeats)
    figures["psnr_gap_db"] = figures["psnr_bf16"] - figures["psnr_fp32"]
    return figures


def matmul_gflops(repeats: int) -> float:
    """The best arithmetic rate of square bfloat16 matrix products."""
    rates = []
    for side in MATMUL_SIDES:
        a, b = torch.randn(side, side).bfloat16(), torch.randn(side, side).bfloat16()
        with torch.inference_mode():
            rates.append(2 * side**3 / best_seconds(lambda a=a, b=b: a @ b, repeats) / 1e9)
    return max(rates)


def convolution_gflops(repeats: int) -> float:
    """Arithmetic rate of one dense convolution, forward: 128 to 256 channels, 64x96 positions."""
    layer = nn.Conv2d(128, 256, 3, padding=1).to(memory_format=torch.channels_last).bfloat16()
    x = torch.randn(1, 128, 64, 96).to(memory_format=torch.channels_last).bfloat16()
    with torch.inference_mode():
        seconds = best_seconds(lambda: layer(x), 5 * repeats)
    return 2 * 128 * 256 * 9 * 64 * 96 / seconds / 1e9


def training_figures(repeats: int) -> dict[str, float]:
    """Seconds of a training step's forward and backward pass, crops per second, GFLOP/s, shares of the yardsticks."""
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
    gflops = counter.get_total_flops() / seconds / 1e9
    matmul, convolution = matmul_gflops(repeats), convolution_gflops(repeats)
    return {
        "training_step_s": seconds,
        "training_crops_per_s": BATCH / seconds,
        "training_gflops": gflops,
        "matmul_gflops": matmul,
        "convolution_gflops": convolution,
        "training_share_of_matmul": gflops / matmul,
        "training_share_of_convolution": gflops / convolution,
    }


def large_figures(picture: Tensor, height: int, width: int, tile_pixels: int) -> dict[str, float]:
    """Peak memory, seconds and PSNR of one large picture; for a process of its own."""

    def peak_gib() -> float:
        # not getrusage's, which a process inherits from its parent
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 2**20

    repeated = picture.repeat(1, -(-height // picture.shape[1]), -(-width // picture.shape[2]))
    large = repeated[:, :height, :width].contiguous()
    del repeated
    scheme, before = Hjscc(tile_pixels=tile_pixels), peak_gib()
    started = time.perf_counter()
    passage = cross(scheme, large)
    seconds, peak = time.perf_counter() - started, peak_gib()
    figures = {"before_gib": before, "peak_gib": peak, "total_s": seconds}
    return {**figures, "psnr": psnr(passage.reconstruction.data[0], large), "cbr": float(passage.ledger.cbr[0])}


def rounded(figures: dict[str, float]) -> dict[str, float]:
    """To four places behind the point."""
    return {name: round(value, 4) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--picture", type=Path, default=Path("data/kodak/kodim07.png"))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--large", nargs="*", default=["3000x4000"], help="height x width, each in tiles and in one piece")
    parser.add_argument("--one-large", nargs=3, type=int, metavar=("HEIGHT", "WIDTH", "TILE_PIXELS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    picture = pictures.read(options.picture)
    torch.set_num_threads(max(options.threads))
    if options.one_large:
        print(json.dumps(rounded(large_figures(picture, *options.one_large))))
        return
    found: dict[str, object] = {"cores": os.cpu_count(), "load_before": os.getloadavg()[0]}
    for threads in options.threads:
        torch.set_num_threads(threads)
        found[f"threads_{threads}"] = rounded(codec_figures(picture, options.repeats) | training_figures(options.repeats))
        print(f"{threads} threads: {found[f'threads_{threads}']}", flush=True)
    for size in options.large:
        height, width = (int(side) for side in size.split("x"))
        for name, tile_pixels in (("tiles", TILE_PIXELS), ("one_piece", 2 * height * width)):
            command = [sys.executable, __file__, "--picture", str(options.picture), "--threads", str(max(options.threads))]
            command += ["--one-large", str(height), str(width), str(tile_pixels)]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            found[f"{size}_{name}"] = json.loads(run.stdout.splitlines()[-1])
            print(f"{size}, {name}: {found[f'{size}_{name}']}", flush=True)
    found["load_after"] = os.getloadavg()[0]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
