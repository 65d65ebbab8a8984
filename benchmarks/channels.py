"""Channel uses per second of every channel, beside Sionna's own blocks called directly; and memory of a large batch.

    python benchmarks/channels.py [--images 64] [--seconds 0.5] [--memory]

One thread; CPU time of the process, best of as many repeats as the seconds per channel allow, ours and Sionna's taking turns.
Both sides draw and apply the channel and add noise. `mimo 2x2` detects and `tdl ls` estimates and equalises on both sides;
`tdl`, `tdl time` and `cdl` equalise on our side only. Sionna computes the paths of `tdl time` anew for every sample, we
interpolate between OFDM symbols.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

import torch

from jscclink.channels.channel import Channel
from jscclink.simulator import registry

USES = 12 * 256


def sionna_chains(images: int) -> dict[str, Callable[[], object]]:
    """Name of our channel -> the same work with Sionna's blocks."""
    from sionna.phy.channel import (
        AWGN,
        FlatFadingChannel,
        OFDMChannel,
        RayleighBlockFading,
        TimeChannel,
        cir_to_ofdm_channel,
    )
    from sionna.phy.channel.tr38901 import CDL, TDL, Antenna
    from sionna.phy.mimo import StreamManagement, lmmse_equalizer
    from sionna.phy.ofdm import LMMSEEqualizer, LSChannelEstimator, OFDMModulator, ResourceGrid, ResourceGridMapper

    x = torch.polar(torch.ones(images, USES), torch.rand(images, USES))
    noise_var = torch.full((images,), 0.1)
    grid = ResourceGrid(
        14, 256, 30e3, cyclic_prefix_length=20, pilot_pattern="kronecker", pilot_ofdm_symbol_indices=[2, 11], device="cpu"
    )
    mapped = ResourceGridMapper(grid, device="cpu")
    tdl = TDL("C", 100e-9, 3.5e9, min_speed=3 / 3.6, device="cpu")
    common = {"polarization": "single", "polarization_type": "V", "antenna_pattern": "omni", "carrier_frequency": 3.5e9}
    cdl = CDL(
        "C", 100e-9, 3.5e9, ut_array=Antenna(**common, device="cpu"), bs_array=Antenna(**common, device="cpu"),
        direction="downlink", min_speed=3 / 3.6, max_speed=3 / 3.6, device="cpu",
    )  # fmt: skip
    over_tdl, over_cdl = OFDMChannel(tdl, grid, return_channel=True, device="cpu"), OFDMChannel(cdl, grid, device="cpu")
    estimator = LSChannelEstimator(grid, interpolation_type="lin", device="cpu")
    equaliser = LMMSEEqualizer(grid, StreamManagement([[1]], 1), device="cpu")
    block = RayleighBlockFading(1, 1, 1, 1, device="cpu")
    awgn, flat = AWGN(device="cpu"), FlatFadingChannel(1, 1, return_channel=True, device="cpu")
    flat2 = FlatFadingChannel(2, 2, return_channel=True, device="cpu")
    modulator = OFDMModulator(20, device="cpu")
    in_time = TimeChannel(tdl, grid.bandwidth, grid.num_time_samples, l_min=-6, l_max=14, device="cpu")

    def on_grid() -> torch.Tensor:
        return mapped(x[:, None, None])

    def slow() -> torch.Tensor:
        gains, delays = block(images, 1, 1.0)
        h = cir_to_ofdm_channel(torch.zeros(1), gains, delays)[:, 0, 0, 0, 0, 0]
        return awgn(h * x, noise_var[:, None])

    def estimated() -> object:
        received, _ = over_tdl(on_grid(), noise_var)
        return equaliser(received, *estimator(received, noise_var), noise_var)

    def multiplexed() -> object:
        y, h = flat2(x.reshape(-1, 2) / 2**0.5, torch.tensor(0.1))
        return lmmse_equalizer(y, h / 2**0.5, 0.1 * torch.eye(2, dtype=torch.complex64).expand(len(y), 2, 2))

    return {
        "awgn": lambda: awgn(x, noise_var[:, None]),
        "rayleigh fast": lambda: flat(x.reshape(-1, 1), torch.tensor(0.1)),
        "rayleigh slow": slow,
        "mimo 2x2": multiplexed,
        "tdl": lambda: over_tdl(on_grid(), noise_var),
        "tdl ls": estimated,
        "tdl time": lambda: in_time(modulator(on_grid())[:, 0, 0][:, None, None], noise_var),
        "cdl": lambda: over_cdl(on_grid(), noise_var),
    }


OURS = {
    "awgn": "awgn",
    "rayleigh fast": {"name": "rayleigh", "equaliser": "none"},
    "rayleigh slow": {"name": "rayleigh", "form": "slow", "equaliser": "none"},
    "rayleigh fast, mmse": "rayleigh",
    "rayleigh block": {"name": "rayleigh", "form": "block", "block_length": 64},
    "rayleigh jakes": {"name": "rayleigh", "form": "jakes", "doppler": 0.01},
    "mrc 1x2": {"name": "mimo", "receive_antennas": 2},
    "alamouti": {"name": "mimo", "scheme": "alamouti"},
    "mimo 2x2": {"name": "mimo", "scheme": "multiplexing"},
    "exponential": "exponential",
    "tdl": "tdl",
    "tdl ls": {"name": "tdl", "estimation": "ls"},
    "tdl lmmse": {"name": "tdl", "estimation": "lmmse"},
    "tdl time": {"name": "tdl", "domain": "time"},
    "cdl": "cdl",
    "rapp, phase noise, tdl": [{"name": "rapp", "backoff_db": 6.0}, "phase_noise", {"name": "tdl", "estimation": "ls"}, "awgn"],
}


def best_seconds(runs: list[Callable[[], object]], seconds: float) -> list[float]:
    """CPU seconds of each, best of at least three; they take turns, so that the machine's moods hit all alike."""
    best, rounds, start = [float("inf")] * len(runs), 0, time.process_time()
    while rounds < 3 or time.process_time() - start < seconds:
        for i, run in enumerate(runs):
            begin = time.process_time()
            run()
            best[i] = min(best[i], time.process_time() - begin)
        rounds += 1
    return best


def our_run(channel: Channel, images: int, generator: torch.Generator) -> Callable[[], object]:
    x = torch.polar(torch.ones(images, USES), torch.rand(images, USES))
    noise_var = torch.full((images,), 0.1)
    return lambda: channel(x, noise_var, generator=generator)


def peak_gib(spec: object) -> tuple[float, float]:
    """Peak memory in GiB and CPU seconds of 1,000 images x 16,384 uses in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_large_batch, (spec,))


def _large_batch(spec: object) -> tuple[float, float]:
    torch.set_num_threads(1)
    channel = registry.build("channels", spec)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1000, 16384, dtype=torch.complex64, generator=generator)
    begin = time.process_time()
    channel(x, torch.full((1000,), 0.1), generator=generator)
    seconds = time.process_time() - begin
    # not getrusage: its peak counts the parent's memory, too, which a spawned process shares until it starts
    peak_kib = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return peak_kib / 2**20, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=0.5, help="CPU time per channel")
    parser.add_argument("--memory", action="store_true", help="also run the large batches")
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    chains = sionna_chains(options.images)
    figures: dict[str, object] = {"images": options.images, "uses": USES}
    million = options.images * USES / 1e6
    for name, spec in OURS.items():
        runs = [our_run(registry.build("channels", spec), options.images, generator)]
        if name in chains:
            runs.append(chains[name])
        seconds = best_seconds(runs, options.seconds)
        figures[name] = {"muses_per_s": round(million / seconds[0], 2)}
        line = f"{name:24s} {million / seconds[0]:8.2f} million uses/s"
        if name in chains:
            ratio = seconds[1] / seconds[0]
            figures[name] = {**figures[name], "sionna": round(million / seconds[1], 2), "ratio": round(ratio, 2)}  # type: ignore[dict-item]
            line += f"   Sionna {million / seconds[1]:8.2f}   ratio {ratio:.2f}"
        print(line, flush=True)
    if options.memory:
        for name in ("rayleigh block", "tdl"):
            peak, seconds_large = peak_gib(OURS[name])
            figures[f"1000 x 16384, {name}"] = {"peak_gib": round(peak, 2), "muses_per_s": round(16.384 / seconds_large, 2)}
            print(f"1000 x 16384 {name}: {peak:.2f} GiB, {16.384 / seconds_large:.2f} million uses/s", flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
