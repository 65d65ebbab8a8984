"""A million batch records: merged, loaded, tabled and drawn; and a runner whose memory does not grow with its batches.

Two stores as two machines would leave them (ten points of eight pictures and three metrics, a fifth of the batches on both)
are merged into one. The seconds are of this process, wall clock and CPU time; the peak counts the mapped store, too.

    python benchmarks/store.py [--records 1000000]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path

import torch

from jscclink.simulator import figures
from jscclink.simulator.merge import merge
from jscclink.simulator.progress import NoProgress, Snapshot
from jscclink.simulator.results import load_results
from jscclink.simulator.runner import run
from jscclink.simulator.store import LOG, Writer
from jscclink.simulator.study import Study

POINTS = 10


def study(draws: int) -> Study:
    """Eight small pictures, three metrics, no coding."""
    return Study.from_mapping(
        {
            "name": "small pictures",
            "seed": 1,
            "images": {"set": "kodak", "limit": 8, "crop": [32, 32]},
            "channels": {"AWGN": "awgn"},
            "schemes": {"S": "uncoded"},
            "esno_db": [8.0],
            "cbr": ["1/6"],
            "metrics": ["psnr", "outage", "cbr"],
            "draws": draws,
        }
    )


def synthesise(folder: Path, header: dict, record: dict, batches: range) -> None:
    """A store with these batches of every point, as they would come in, all points in turn."""
    writer = Writer(folder)
    writer.write_study(header)
    kept = {key: record[key] for key in ("trials", "errors", "seconds", "metrics")}
    for batch in batches:
        for point in header["points"]:
            kept["metrics"]["psnr"]["x"][0] = 30.0 + point["esno_db"] / 2 + (batch % 1000) / 997
            writer.write_batch(point["id"], batch, kept)
    writer.close()


def large_store(records: int) -> dict[str, float]:
    """Merge, load, table and figure of that many records."""
    per_point = records // POINTS
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        run(study(1), folder / "seed")
        study_line, batch_line = (folder / "seed" / LOG).read_text().splitlines()[:2]
        header, record = json.loads(study_line)["study"], json.loads(batch_line)
        names = [f"{index:x}" + record["point"][1:] for index in range(POINTS)]
        header["points"] = [{**header["points"][0], "id": name, "esno_db": float(i)} for i, name in enumerate(names)]
        header["stop"]["draws"] = per_point
        synthesise(folder / "east", header, record, range(per_point * 6 // 10))
        synthesise(folder / "west", header, record, range(per_point * 4 // 10, per_point))
        before = _peak_mib()
        start, cpu = time.perf_counter(), time.process_time()
        seconds = {}
        merged = merge(folder / "both", [folder / "east", folder / "west"])
        seconds["merge"] = time.perf_counter() - start
        results = load_results(folder / "both")
        text = results.table()
        seconds["load"] = time.perf_counter() - start - seconds["merge"]
        figures.save(figures.figure(results, "psnr"), folder / "figure.pdf")
        seconds["all"], cpu = time.perf_counter() - start, time.process_time() - cpu
        seconds["plot"] = seconds["all"] - seconds["merge"] - seconds["load"]
        size = (folder / "both" / LOG).stat().st_size
    assert merged.batches == POINTS * per_point, "records were lost in the merge"
    assert sum(row.trials for row in results.rows) == 8 * merged.batches, "not all records were taken in"
    shares = ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items() if name != "all")
    print(f"{merged.batches} records, {size / 1e6:.0f} MB: {seconds['all']:.1f} s ({shares}; {cpu:.1f} s CPU); {len(text)} B")
    figures_of = {f"{name}_s": round(value, 2) for name, value in seconds.items()}
    return {
        "records": merged.batches,
        **figures_of,
        "cpu_s": round(cpu, 2),
        "peak_mib": round(_peak_mib()),
        "before_mib": round(before),
    }


def runner_growth(batches: int) -> dict[str, float]:
    """Resident memory of a run at 10 %, 50 % and 100 % of its batches."""
    resident: dict[int, float] = {}
    marks = (batches // 10, batches // 2, batches)

    class Watch(NoProgress):
        def update(self, snapshot: Snapshot) -> None:
            if snapshot.batches in marks:
                resident[snapshot.batches] = _resident_mib()

    with tempfile.TemporaryDirectory() as folder:
        run(study(batches), folder, progress=Watch())
    early, middle, late = (resident[mark] for mark in marks)
    print("runner: " + ", ".join(f"{resident[mark]:.1f} MiB after {mark} batches" for mark in marks))
    return {
        "at_10_percent_mib": round(early, 1),
        "at_50_percent_mib": round(middle, 1),
        "at_100_percent_mib": round(late, 1),
        "bytes_per_batch": round((late - early) * 2**20 / (batches * 0.9)),
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, default=5_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    growth = runner_growth(arguments.batches)
    print(json.dumps({"store": large_store(arguments.records), "runner": growth}))


if __name__ == "__main__":
    main()
