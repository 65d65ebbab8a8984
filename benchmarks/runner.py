"""What the runner costs over a bare loop.

Overhead: the same batches through `run` (seeds, ids, store, statistics, stop rules) and through a bare loop (build, link,
metrics), in turn, CPU time, the median of the paired ratios. Small batches show the cost, realistic ones the share.

    python benchmarks/runner.py
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile

import numba
import torch

from jscclink.simulator import registry
from jscclink.simulator.link import Link
from jscclink.simulator.runner import run
from jscclink.simulator.scheme import Scheme
from jscclink.simulator.study import Study

REPEATS = 5


def study(name: str) -> Study:
    """A study by name: real pictures over LDPC, small pictures, small blocks."""
    common = {"seed": 1, "channels": {"AWGN": "awgn"}, "esno_db": [8.0]}
    pictures = {
        "schemes": {"S": {"name": "digital", "source": "jpeg", "mcs": "qpsk 1/2"}},
        "cbr": ["1/12"],
        "metrics": ["psnr"],
    }
    data = {
        "pictures": pictures | {"images": {"set": "kodak", "pick": [5, 13]}, "draws": 40},
        "small pictures": {
            "schemes": {"S": "uncoded"},
            "cbr": ["1/6"],
            "metrics": ["psnr", "outage", "cbr"],
            "images": {"set": "kodak", "limit": 8, "crop": [128, 128]},
            "draws": 100,
        },
        "blocks": {
            "schemes": {"S": {"name": "bits", "k": 1024, "n": 2048}},
            "metrics": ["ber", "bler"],
            "batch": {"items": 64},
            "stop": {"most_trials": 64 * 100},
        },
    }[name]
    return Study.from_mapping({"name": name} | common | data)


def bare(study: Study, scheme: Scheme, batches: int) -> None:
    """The same number of batches of the first point with nothing around them."""
    point = study.points[0]
    pictures = study.sets[point.image_set]
    link = Link(registry.build("channels", study.channels[point.channel_label]))
    metrics = [registry.build("metrics", spec) for spec in study.metrics.values()]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for batch in range(batches):
            if pictures.images is not None:
                source = pictures.images.batch(pictures.plan.pictures(batch))
            else:
                shape = (point.items, scheme.block_bits or 0)
                source = torch.randint(0, 2, shape, generator=generator, dtype=torch.uint8)
            passage = link.run(scheme, source, link.budget(tuple(source.shape[1:]), point.cbr), 8.0, generator=generator)
            for metric in metrics:
                metric.measure(source, passage)


def overhead(name: str) -> dict[str, float]:
    """Share of the runner in CPU time, and its cost per batch.

    User time, and with system time beside it: that is page faults, which depend on what the allocator gives back between
    batches more than on who calls.
    """
    one = study(name)
    scheme = registry.build("schemes", one.schemes["S"].spec)  # once, as workers do: it remembers what it encoded
    batches = int(one.stop.most_batches(one.sets[""].plan))
    user, both = [], []
    for repeat in range(REPEATS + 1):
        with tempfile.TemporaryDirectory() as folder:
            start = os.times()
            run(one, folder)
            middle = os.times()
            bare(one, scheme, batches)
            end = os.times()
        if repeat:  # the first warms up
            ours, theirs = middle.user - start.user, end.user - middle.user
            user.append((ours / theirs, ours - theirs))
            both.append((ours + middle.system - start.system) / (theirs + end.system - middle.system))
    share, with_system = statistics.median(ratio for ratio, _ in user) - 1, statistics.median(both) - 1
    cost = 1e3 * statistics.median(extra for _, extra in user) / batches
    figures = f"{100 * share:+.1f} % user time ({cost:+.2f} ms a batch), {100 * with_system:+.1f} % with system time"
    print(f"{name}: {batches} batches, {figures}")
    return {"share": round(share, 4), "ms_per_batch": round(cost, 3), "share_with_system": round(with_system, 4)}


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    numba.set_num_threads(1)  # as in the runner's workers
    figures = {f"overhead {name}": overhead(name) for name in ("pictures", "small pictures", "blocks")}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
