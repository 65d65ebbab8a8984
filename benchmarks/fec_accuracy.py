"""Block error rates of our decoders against Sionna's algorithms on the same noise.

LDPC, against flooding sum-product: every decoder meets the same bits and noise (BPSK over AWGN), Eb/N0 rises in steps until
the rate falls below the last target. Prints each rate with its 95 % Clopper-Pearson interval, then the Eb/N0 that each decoder
needs for each target and its loss against flooding sum-product of 20 iterations. With --sionna N, Sionna's own decoder runs on
the first N blocks of each point, and the blocks where its verdict and ours differ are counted.

Polar, list 8, against Sionna's list 8: both decode the same --polar blocks at each of a few Eb/N0; the blocks are counted that
one gets wrong and the other right, with the two-sided p-value of McNemar's exact test for decoders that err equally often.

    python benchmarks/fec_accuracy.py [--codes 500,1000 4096,8192] [--errors 100] [--most 20000] [--sionna 0] [--polar 2000]

The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy.stats import beta, binomtest
from torch import Tensor

from jscclink.baselines.channel_coding.code import ChannelCode
from jscclink.baselines.channel_coding.ldpc import LDPC5G
from jscclink.baselines.channel_coding.polar import Polar5G

# first Eb/N0 in dB of each code: block error rate a few tenths
CODES = {(4096, 8192): 0.9, (8448, 25344): 0.35, (500, 1000): 0.9, (8448, 9216): 3.9}
# Eb/N0 in dB at which list 8 has block error rates of about 1e-1, 1e-2 and 1e-3
POLAR = {(512, 1024): (1.25, 1.75, 2.05), (140, 432): (0.9, 1.6, 2.1)}
DECODERS: dict[str, dict[str, Any]] = {
    "offset-min-sum": {"algorithm": "offset-min-sum"},
    "normalised-min-sum": {"algorithm": "normalised-min-sum"},
    "sum-product": {"algorithm": "sum-product"},
    "flooding sum-product": {"algorithm": "sum-product", "schedule": "flooding"},
}
REFERENCE = "flooding sum-product"
TARGETS = (1e-1, 1e-2, 1e-3, 1e-4)
BATCH = 512


def noisy(code: ChannelCode, ebno_db: float, batch: int, seed: list[int]) -> tuple[Tensor, Tensor]:
    """Random bits uint8 [batch, k] and their LLRs float32 [batch, n]."""
    rng = np.random.default_rng(seed)
    bits = torch.from_numpy(rng.integers(0, 2, (batch, code.k), dtype=np.uint8))
    noise_var = 1 / (2 * code.k / code.n * 10 ** (ebno_db / 10))  # per real dimension
    received = code.encode(bits).numpy() * np.float32(2) - 1
    received += np.float32(np.sqrt(noise_var)) * rng.standard_normal(received.shape, dtype=np.float32)
    return bits, torch.from_numpy(received * np.float32(2 / noise_var))


def interval(errors: int, blocks: int) -> tuple[float, float]:
    """95 % Clopper-Pearson."""
    low = beta.ppf(0.025, errors, blocks - errors + 1) if errors else 0.0
    return float(low), float(beta.ppf(0.975, errors + 1, blocks - errors))


def crossing(points: list[tuple[float, float]], target: float) -> float | None:
    """Eb/N0 in dB where the rate, log-linear between neighbours, meets the target; None where it was not reached."""
    for (x0, y0), (x1, y1) in pairwise(points):
        if y0 >= target >= y1 > 0:
            return x0 + (x1 - x0) * np.log(y0 / target) / np.log(y0 / y1) if y0 > y1 else x0
    return None


def sionna_decoder(k: int, n: int) -> Callable[[Tensor], Tensor]:
    from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder

    return LDPC5GDecoder(LDPC5GEncoder(k, n), num_iter=20)


def measure_ldpc(k: int, n: int, arguments: argparse.Namespace) -> dict[str, Any]:
    codes = {name: LDPC5G(k, n, crc="none", **DECODERS[name]) for name in arguments.decoders}
    curves: dict[str, list[tuple[float, float]]] = {name: [] for name in codes}
    sionna = sionna_decoder(k, n) if arguments.sionna else None
    differing = compared = 0
    ebno_db = CODES[k, n]
    running = set(codes)
    while running:
        errors = dict.fromkeys(running, 0)
        blocks = dict.fromkeys(running, 0)
        for batch in range(-(-arguments.most // BATCH)):
            active = [name for name in codes if name in running and errors[name] < arguments.errors]
            if not active:
                break
            bits, llr = noisy(codes[REFERENCE], ebno_db, BATCH, [k, n, round(ebno_db * 1000), batch])
            for name in active:
                wrong = (codes[name].decode(llr).bits != bits).any(dim=1)
                errors[name] += int(wrong.sum())
                blocks[name] += BATCH
                if sionna and name == REFERENCE and batch == 0:
                    part = slice(0, arguments.sionna)
                    theirs = (sionna(llr[part]).to(torch.uint8) != bits[part]).any(dim=1)
                    differing += int((theirs != wrong[part]).sum())
                    compared += theirs.numel()
        for name in sorted(running):
            rate = errors[name] / blocks[name]
            low, high = interval(errors[name], blocks[name])
            curves[name].append((ebno_db, rate))
            print(f"({k}, {n}) {ebno_db:5.2f} dB {name:21} {rate:.2e} [{low:.1e}, {high:.1e}]", flush=True)
            if rate < TARGETS[-1] or errors[name] < arguments.errors / 5:
                running.discard(name)
        ebno_db = round(ebno_db + arguments.step, 3)
    needed = {name: {f"{t:g}": crossing(points, t) for t in TARGETS} for name, points in curves.items()}
    losses: dict[str, dict[str, float]] = {}
    for name, found in needed.items():
        losses[name] = {}
        for target, value in found.items():
            reference = needed[REFERENCE][target]
            if value is not None and reference is not None:
                losses[name][target] = round(float(value - reference), 3)
    print(f"({k}, {n}) loss against {REFERENCE} in dB: {losses}", flush=True)
    return {"loss_db": losses, "sionna_compared": compared, "sionna_differing": differing}


def measure_polar(k: int, n: int, blocks: int) -> dict[str, Any]:
    ours, theirs = Polar5G(k, n), Polar5G(k, n, backend="sionna")
    points = {}
    for ebno_db in POLAR[k, n]:
        counts = np.zeros(4, np.int64)  # wrong: neither, theirs only, ours only, both
        for batch in range(-(-blocks // BATCH)):
            bits, llr = noisy(ours, ebno_db, BATCH, [k, n, round(ebno_db * 1000), batch])
            wrong = [(code.decode(llr).bits != bits).any(dim=1) for code in (ours, theirs)]
            counts += np.bincount((2 * wrong[0] + wrong[1].int()).numpy(), minlength=4)
        _, other, own, both = (int(c) for c in counts)
        p_value = float(binomtest(own, own + other).pvalue) if own + other else 1.0
        found = {
            "blocks": int(counts.sum()),
            "ours": own + both,
            "sionna": other + both,
            "only_ours": own,
            "only_sionna": other,
        }
        points[f"{ebno_db:g} dB"] = {**found, "p_value": round(p_value, 3)}
        print(f"polar ({k}, {n}) {ebno_db:5.2f} dB {points[f'{ebno_db:g} dB']}", flush=True)
    return points


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [f"{k},{n}" for k, n in CODES]
    parser.add_argument("--codes", nargs="*", choices=names, default=names)
    parser.add_argument("--decoders", nargs="+", choices=list(DECODERS), default=list(DECODERS), help=f"with {REFERENCE!r}")
    parser.add_argument("--errors", type=int, default=100, help="block errors after which a point is done")
    parser.add_argument("--most", type=int, default=200_000, help="most blocks of a point")
    parser.add_argument("--step", type=float, default=0.1, help="step in Eb/N0, dB")
    parser.add_argument("--sionna", type=int, default=0, help="blocks of each point (up to 512) that Sionna decodes too")
    parser.add_argument("--polar", type=int, default=0, help="blocks of each point of the polar codes")
    arguments = parser.parse_args()
    result: dict[str, Any] = {}
    for name in arguments.codes:
        k, n = map(int, name.split(","))
        result[f"ldpc_{k}_{n}"] = measure_ldpc(k, n, arguments)
    for k, n in POLAR if arguments.polar else ():
        result[f"polar_{k}_{n}"] = measure_polar(k, n, arguments.polar)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
