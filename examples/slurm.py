"""A study on a Slurm cluster: jobs of workers come and go, the results are those of one laptop.

    python examples/slurm.py study.yaml results/study --jobs 4 --cores 16 --memory 64GB --walltime 04:00:00 --queue standard
    python examples/slurm.py study.yaml results/study --jobs 8 --gpu         # one worker and one GPU per job

Needs `pip install 'jscclink[dask]'` and a folder that all nodes see. Start it on a node that stays (a login node, or a small
job of its own); if it is killed, start it again: what was finished is in the store. Other batch systems: `PBSCluster`,
`LSFCluster`, ... of dask-jobqueue in the place of `SLURMCluster`. On one machine with several GPUs, give dask-cuda's
`LocalCUDACluster()` to `dask_executor`: it starts one worker per GPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import dask_jobqueue

from jscclink.simulator.cluster import dask_executor
from jscclink.simulator.progress import TextProgress
from jscclink.simulator.runner import run
from jscclink.simulator.study import Study
from jscclink.simulator.table import trace


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("folder")
    parser.add_argument("--jobs", type=int, default=1, help="Slurm jobs")
    parser.add_argument("--cores", type=int, default=4, help="cores of a job, with a worker each")
    parser.add_argument("--memory", default="16GB", help="memory of a job")
    parser.add_argument("--walltime", default="01:00:00")
    parser.add_argument("--queue", help="partition; default: the cluster's")
    parser.add_argument("--gpu", action="store_true", help="one worker per job, with a GPU of its own")
    return parser.parse_args(arguments)


def cluster(chosen: argparse.Namespace) -> Any:
    """Workers of one thread each: batches share nothing, and a worker that dies takes one batch with it."""
    return dask_jobqueue.SLURMCluster(
        cores=1 if chosen.gpu else chosen.cores,
        processes=1 if chosen.gpu else chosen.cores,
        memory=chosen.memory,
        walltime=chosen.walltime,
        queue=chosen.queue,
        job_extra_directives=["--gres=gpu:1"] if chosen.gpu else [],
        # numerical libraries with threads of their own would fight over the cores
        job_script_prologue=["export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1"],
        scheduler_options={"dashboard_address": ":0"},
    )


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = parse(arguments)
    study = Study.load(chosen.study)
    with cluster(chosen) as slurm:
        slurm.scale(jobs=chosen.jobs)
        workers = chosen.jobs * (1 if chosen.gpu else chosen.cores)
        with dask_executor(slurm, workers) as (executor, in_flight):
            device = "cuda:0" if chosen.gpu else "cpu"
            results = run(study, chosen.folder, executor=executor, in_flight=in_flight, device=device, progress=TextProgress())
    print(trace(results), end="")


if __name__ == "__main__":
    main()
