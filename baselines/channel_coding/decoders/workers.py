"""Spread compiled kernels that release the interpreter's lock over the cores."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from numba import get_num_threads

_CHUNKS_PER_THREAD = 4  # blocks that stop early leave their thread free for another chunk


def spread(task: Callable[[int, int], None], items: int) -> None:
    """Call `task(begin, end)` for consecutive ranges that cover 0..items, on as many threads as numba is set to use.

    The threads live for one call only, so that nothing is left behind for a process that forks.
    """
    threads = min(get_num_threads(), items)
    if threads <= 1:
        if items:
            task(0, items)
        return
    chunks = min(items, _CHUNKS_PER_THREAD * threads)
    bounds = [items * i // chunks for i in range(chunks + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(task, bounds[:-1], bounds[1:]))
