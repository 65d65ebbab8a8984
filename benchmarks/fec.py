"""How fast our decoders are beside Sionna's in the same run, and where the time of a coded chain goes.

Decoders: the same LLRs (BPSK over AWGN near the waterfall) through `decode`, LLRs in and checked bits out, at equal
iterations without early stop; Sionna's own decoder beside it, alternating, the median of each. Chain: source, encoder,
16-QAM mapper, AWGN, demapper, decoder with early stop, error counter.

    python benchmarks/fec.py [--repeats 5] [--threads 2] [--clock cpu] [--skip-sionna]

Rates are information bits per second over all threads. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from jscclink.baselines.channel_coding.code import ChannelCode
from jscclink.baselines.channel_coding.ldpc import LDPC5G
from jscclink.baselines.channel_coding.polar import Polar5G
from jscclink.baselines.modulation import Modulation
from jscclink.channels.awgn import Awgn

ITERATIONS = 20
# (k, n, Eb/N0 in dB, blocks for us, blocks for Sionna)
LDPC = [(4096, 8192, 1.5, 1024, 4), (8448, 25344, 0.9, 512, 2), (500, 1000, 2.5, 4096, 32), (8448, 9216, 4.8, 512, 4)]
POLAR = [(512, 1024, 2.5, 2048, 16), (140, 432, 2.5, 4096, 32)]
CHAIN_ESNO_DB = 6.6  # 16-QAM, rate 1/2, block error rate about 1e-2


def noisy_llr(code: ChannelCode, ebno_db: float, blocks: int) -> tuple[Tensor, Tensor]:
    """Random bits uint8 [blocks, k] and their LLRs float32 [blocks, n] after BPSK over AWGN."""
    rng = np.random.default_rng(1)
    bits = torch.from_numpy(rng.integers(0, 2, (blocks, code.k), dtype=np.uint8))
    noise_var = 1 / (2 * code.k / code.n * 10 ** (ebno_db / 10))
    received = code.encode(bits).numpy() * np.float32(2) - 1
    received += np.sqrt(noise_var) * rng.standard_normal(received.shape, dtype=np.float32)
    return bits, torch.from_numpy((2 / noise_var * received).astype(np.float32))


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def rates(arguments: argparse.Namespace, work: dict[str, tuple[Callable[[], object], int]]) -> dict[str, float]:
    """Mb/s of each piece of work (callable, information bits), taken in turn after a warm-up, the median of the repeats."""
    clock = CLOCKS[arguments.clock]
    for call, _ in work.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(arguments.repeats):
        for name, (call, _) in work.items():
            start = clock()
            call()
            taken[name].append(clock() - start)
    return {name: work[name][1] / statistics.median(times) / 1e6 for name, times in taken.items()}


def ldpc_row(k: int, n: int, ebno_db: float, blocks: int, few: int, arguments: argparse.Namespace) -> dict[str, float]:
    variants: dict[str, dict[str, Any]] = {
        "ours": {"early_stop": False},
        "ours_normalised": {"early_stop": False, "algorithm": "normalised-min-sum"},
        "ours_early_stop": {},
        "ours_sum_product": {"early_stop": False, "algorithm": "sum-product", "schedule": "flooding"},
    }
    codes = {name: LDPC5G(k, n, crc="none", iterations=ITERATIONS, **options) for name, options in variants.items()}
    bits, llr = noisy_llr(codes["ours"], ebno_db, blocks)
    work: dict[str, tuple[Callable[[], object], int]] = {}
    for name, code in codes.items():
        part = llr[: blocks // 64] if "sum_product" in name else llr
        work[name] = (lambda code=code, part=part: code.decode(part), part.shape[0] * k)
    work["encoder"] = (lambda: codes["ours"].encode(bits), blocks * k)
    if not arguments.skip_sionna:
        from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder

        decoder = LDPC5GDecoder(LDPC5GEncoder(k, n), cn_update="offset-minsum", num_iter=ITERATIONS)  # its quickest
        work["sionna"] = (lambda: decoder(llr[:few]), few * k)
    row = {f"{name}_mbps": rate for name, rate in rates(arguments, work).items()}
    row["ours_bler"] = (codes["ours"].decode(llr).bits != bits).any(dim=1).float().mean().item()
    return row


def polar_row(k: int, n: int, ebno_db: float, blocks: int, few: int, arguments: argparse.Namespace) -> dict[str, float]:
    ours = Polar5G(k, n, list_size=8)
    adaptive = Polar5G(k, n, list_size=8, adaptive=True)
    bits, llr = noisy_llr(ours, ebno_db, blocks)
    work: dict[str, tuple[Callable[[], object], int]] = {
        "ours": (lambda: ours.decode(llr), blocks * k),
        "ours_adaptive": (lambda: adaptive.decode(llr), blocks * k),
        "encoder": (lambda: ours.encode(bits), blocks * k),
    }
    if not arguments.skip_sionna:
        reference = Polar5G(k, n, list_size=8, backend="sionna")
        work["sionna"] = (lambda: reference.decode(llr[:few]), few * k)
    row = {f"{name}_mbps": rate for name, rate in rates(arguments, work).items()}
    row["ours_bler"] = (ours.decode(llr).bits != bits).any(dim=1).float().mean().item()
    return row


def chain(arguments: argparse.Namespace, blocks: int = 1024) -> tuple[float, dict[str, float], float]:
    """(Mb/s, share of each block, block error rate) of the coded chain at 16-QAM, k = 4096, n = 8192."""
    code, modulation, channel = LDPC5G(4096, 8192, bits_per_symbol=4, crc="none"), Modulation(4), Awgn()
    clock, repeats = CLOCKS[arguments.clock], arguments.repeats
    generator = torch.Generator().manual_seed(1)
    noise_var = torch.full((blocks,), 10 ** (-CHAIN_ESNO_DB / 10))
    spent: dict[str, list[float]] = {}
    errors = 0

    def timed(name: str, work: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
        start = clock()
        result = work(*inputs, **options)
        spent.setdefault(name, []).append(clock() - start)
        return result

    def source() -> Tensor:
        words = torch.randint(-(2**63), 2**63 - 1, (blocks, code.k // 64), dtype=torch.int64, generator=generator)
        return torch.from_numpy(np.unpackbits(words.numpy().view(np.uint8), axis=1))

    def count_errors(decided: Tensor, sent: Tensor) -> int:
        return int((decided != sent).any(dim=1).sum())

    for _ in range(repeats + 1):  # the first round warms up
        bits = timed("source", source)
        coded = timed("encoder", code.encode, bits)
        symbols = timed("mapper", modulation.map, coded)
        noise = timed("noise", channel.generate, blocks, symbols.shape[1], generator=generator)
        seen = timed("channel", channel.apply, symbols, noise, noise_var)
        llr = timed("demapper", modulation.demap, seen.symbols, seen.noise_var)
        decoded = timed("decoder", code.decode, llr)
        errors += timed("error counter", count_errors, decoded.bits, bits)
    medians = {name: statistics.median(times[1:]) for name, times in spent.items()}
    total = sum(medians.values())
    shares = {name: value / total for name, value in medians.items()}
    return blocks * code.k / total / 1e6, shares, errors / (blocks * (repeats + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each, of which the median counts")
    parser.add_argument("--threads", type=int, default=numba.get_num_threads(), help="threads, ours and Sionna's")
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="cpu: bits per second of processor time, for machines that do other work too (with --threads 1)",
    )
    parser.add_argument("--skip-sionna", action="store_true", help="measure ours only")
    arguments = parser.parse_args()
    numba.set_num_threads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    result: dict[str, Any] = {"threads": arguments.threads, "clock": arguments.clock, "iterations": ITERATIONS}
    for family, codes, measure in (("ldpc", LDPC, ldpc_row), ("polar", POLAR, polar_row)):
        for settings in codes:
            row = measure(*settings, arguments)
            if "sionna_mbps" in row:
                row["ratio"] = row["ours_mbps"] / row["sionna_mbps"]
            name = f"{family}_{settings[0]}_{settings[1]}"
            result[name] = {key: float(f"{value:.4g}") for key, value in row.items()}
            print(f"{name:18}", ", ".join(f"{key} {value}" for key, value in result[name].items()), flush=True)
    rate, shares, bler = chain(arguments)
    result["chain_16qam_mbps"] = float(f"{rate:.4g}")
    result["chain_16qam_shares"] = {name: round(share, 3) for name, share in shares.items()}
    result["chain_16qam_bler"] = bler
    print(f"chain at 16-QAM, {CHAIN_ESNO_DB} dB: {rate:.1f} Mb/s, BLER {bler:.2g}")
    print(", ".join(f"{name} {share:.1%}" for name, share in shares.items()))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
