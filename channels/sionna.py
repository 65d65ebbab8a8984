"""Sionna's random numbers, drawn from the caller's generator; nobody else's random state is touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def sionna_draws(generator: torch.Generator) -> Iterator[None]:
    """Within this context Sionna's CPU generator continues from one number of `generator`.

    Importing Sionna reseeds torch's global generators; that is undone, too.
    """
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        from sionna.phy import config  # takes seconds to import

        seed = int(torch.randint(0, 2**62, (), generator=generator, device=generator.device))
        rng = config.torch_rng("cpu")
        before = rng.get_state()
        rng.manual_seed(seed)
        try:
            yield
        finally:
            rng.set_state(before)
