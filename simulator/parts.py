"""A batch that does not fit into memory crosses the link in parts, over the same channel realisation.

Where a batch is cut is not part of its result: its channel is drawn for all of it, each part meets its own items' share.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from jscclink.channels.channel import Realisation

from .link import Link, Passage
from .scheme import OneShotScheme, Scheme

Parts = list[tuple[Tensor, Passage]]
# how allocators say it: torch's for the CPU, CUDA's, the C library's
_NO_MEMORY = re.compile(
    r"out of memory|not enough memory|cannot allocate memory|can't allocate memory|bad_alloc", re.IGNORECASE
)
# items at a time that did fit, by scheme: the next batch begins there
_FITTING: dict[str, int] = {}


def is_memory_error(error: BaseException) -> bool:
    """Whether something could not be allocated."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)) is not None


def in_parts(
    scheme: Scheme, link: Link, source: Tensor, cbr: float | None, esno_db: float, generator: torch.Generator, key: str
) -> Parts:
    """`Link.run` for a batch; halves the number of items at a time as long as they do not fit into memory.

    Parameters
    ----------
    source : uint8 [batch, ...]
    key : str
        What the memory needed depends on: number of items that fit is remembered under it.

    Returns
    -------
    list of (uint8 [part, ...], Passage)
        In order; one, where the batch fits as a whole.

    Raises
    ------
    MemoryError, RuntimeError
        One item alone does not fit, or the scheme cannot be cut: one that takes turns (bursts are padded to the longest of
        the batch), or a link that draws more than the channel's realisation (lost side information).
    """
    batch = source.shape[0]
    state = generator.get_state()
    items = min(_FITTING.get(key, batch), batch)
    while True:
        try:
            generator.set_state(state)
            return _run(scheme, link, source, cbr, esno_db, generator, items)
        except (MemoryError, RuntimeError) as error:
            if not is_memory_error(error) or items == 1 or not isinstance(scheme, OneShotScheme):
                raise
            items = (items + 1) // 2
        if source.device.type == "cuda":
            torch.cuda.empty_cache()
        _FITTING[key] = items


def _run(
    scheme: Scheme, link: Link, source: Tensor, cbr: float | None, esno_db: float, generator: torch.Generator, items: int
) -> Parts:
    budget = link.budget(tuple(source.shape[1:]), cbr)
    batch = source.shape[0]
    if items >= batch:
        return [(source, link.run(scheme, source, budget, esno_db, generator=generator))]
    uses = scheme.air_uses(budget)
    if uses is None:  # a bit-level scheme: as long as its burst, whatever the bits
        uses = next(scheme.transmitter(source[:1], budget, None)).symbols.shape[1]
    drawn = link.channel.generate(
        batch, 2 * uses if link.side.on_air else uses, generator=generator, device=source.device
    )  # as the link itself would
    after = generator.get_state()
    parts = []
    for first in range(0, batch, items):
        part = source[first : first + items]
        share = Realisation({name: t[first : first + items] for name, t in drawn.tensors.items()}, part.shape[0], drawn.uses)
        parts.append((part, link.run(scheme, part, budget, esno_db, generator=generator, realisation=share)))
        if not torch.equal(generator.get_state(), after):
            raise MemoryError(
                f"{batch} items do not fit into memory, and a link that loses side information cannot cut them; set batch.items"
            )
    return parts
