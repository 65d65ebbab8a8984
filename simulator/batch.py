"""One batch, computed anywhere: in this process, in a spawned one, on a cluster. Same job, same record, to the bit."""

from __future__ import annotations

import math
import random
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor

from jscclink.errors import InputError

from . import registry
from .link import Link, Passage
from .metrics import Metric, Samples
from .parts import Parts, in_parts
from .points import Point, canonical, digest
from .scheme import Scheme
from .statistics import Kind
from .tally import measured

if TYPE_CHECKING:
    from .datasets import ImageSet

T = TypeVar("T")


class MetricError(RuntimeError):
    """A metric gave something that is no measurement: a fault of the metric, not of the study."""


@dataclass(frozen=True)
class Job:
    """Everything a worker needs for one batch; small, and made of plain data.

    Attributes
    ----------
    point : Point
    batch : int
    pictures : tuple of int
        Indices into the pictures; empty for blocks of bits.
    scheme, channel, side, feedback : plug-in specification
    images : mapping or None
    metrics : mapping
        Key -> plug-in specification.
    device : str
    threads : int
        Threads of torch and numba: part of what makes floating-point sums repeat to the bit.
    """

    point: Point
    batch: int
    pictures: tuple[int, ...]
    scheme: Any
    channel: Any
    side: Any
    feedback: Any
    images: Mapping[str, Any] | None
    metrics: Mapping[str, Any]
    device: str
    threads: int


@dataclass(frozen=True)
class Failure:
    """A batch that raised.

    Attributes
    ----------
    message, trace : str
        What, and where.
    hopeless : bool
        Whatever it was, all batches of the point share it: something that was given cannot be used.
    """

    message: str
    trace: str
    hopeless: bool = False


class _Bench:
    """What a worker has built and may need again, most recently used last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._built: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, build: Callable[[], T], key: Hashable) -> T:
        if key not in self._built:
            self._built[key] = build()
        self._built.move_to_end(key)
        while len(self._built) > self._most:
            self._built.popitem(last=False)
        return self._built[key]


# schemes hold weights, image sets hold pictures: a few of each
_SCHEMES, _POINTS, _IMAGES, _SMALL = _Bench(8), _Bench(8), _Bench(8), _Bench(256)
# the global random state and the number of threads belong to the process: one batch at a time in each
_ONE_AT_A_TIME = threading.Lock()
# stands in for numpy's global generator while a batch runs
_NUMPY = np.random.MT19937(0)


def run_batch(job: Job) -> dict[str, Any] | Failure:
    """Compute a batch.

    Returns
    -------
    dict
        `trials`, `errors`, `seconds` and `metrics` (by key, see `tally.measured`): the record that the store keeps.
    Failure
        Where anything raised; nothing is raised itself, as not every exception survives the way back to another process.
    """
    with _ONE_AT_A_TIME:
        try:
            with _threads(job.threads), _own_random_state(job.point.scheme_seed(job.batch)), torch.no_grad():
                return _compute(job)
        except Exception as error:
            message = " ".join(f"{type(error).__name__}: {error}".split())
            return Failure(message, traceback.format_exc(), isinstance(error, InputError | MetricError))


def run_batches(jobs: Sequence[Job], most_seconds: float) -> list[dict[str, Any] | Failure]:
    """Compute several batches in one go, in order; none is begun after `most_seconds`. One outcome per batch computed."""
    start = time.monotonic()
    outcomes: list[dict[str, Any] | Failure] = []
    for job in jobs:
        if outcomes and time.monotonic() - start > most_seconds:
            break
        outcomes.append(run_batch(job))
    return outcomes


@dataclass(frozen=True)
class _Parts:
    """What a batch of a point takes."""

    scheme: Scheme
    link: Link
    metrics: Mapping[str, Metric]


def _parts(job: Job) -> _Parts:
    """Built once per worker, shared by points as far as they share plug-ins."""
    build = registry.build
    return _Parts(
        _SCHEMES.get(lambda: build("schemes", job.scheme).to(job.device), canonical([job.scheme, job.device])),
        _SMALL.get(lambda: _link(job), canonical(["link", job.channel, job.side, job.feedback])),
        {key: _SMALL.get(partial(build, "metrics", spec), canonical(["metric", spec])) for key, spec in job.metrics.items()},
    )


def _compute(job: Job) -> dict[str, Any]:
    point = job.point
    parts = _POINTS.get(lambda: _parts(job), (point.id, job.device, tuple(job.metrics)))
    scheme, link = parts.scheme, parts.link
    source = _pictures(job) if job.images is not None else _blocks(point, scheme.block_bits or 0, job.batch)
    source = source.to(job.device)
    generator = torch.Generator().manual_seed(point.link_seed(job.batch))
    start = time.perf_counter()
    key = canonical([job.scheme, job.device])
    passages = in_parts(scheme, link, source, point.cbr, point.esno_db, generator, key)
    record = {key: _measure(key, metric, passages, job) for key, metric in parts.metrics.items()}
    errors = sum(_errors(part, passage, pictures=job.images is not None) for part, passage in passages)
    return {
        "trials": source.shape[0],
        "errors": errors,
        "seconds": round(time.perf_counter() - start, 6),
        "metrics": record,
    }


def _link(job: Job) -> Link:
    feedback = None if job.feedback is None else registry.build("feedbacks", job.feedback)
    return Link(registry.build("channels", job.channel), side=registry.build("sides", job.side), feedback=feedback)


def _pictures(job: Job) -> Tensor:
    """uint8 [batch, 3, H, W], the very pictures that the study was checked with."""
    images, found = _IMAGES.get(partial(_load, job.images or {}), canonical(job.images))
    if found != job.point.images:
        raise InputError(
            f"the pictures {dict(job.images or {})} are not those that the study began with; put the same files there"
        )
    return images.batch(job.pictures)


def _load(spec: Mapping[str, Any]) -> tuple[ImageSet, str]:
    from . import datasets

    images = datasets.load(spec)
    return images, digest(list(images.sha256))


def _blocks(point: Point, block_bits: int, batch: int) -> Tensor:
    """uint8 [items, k] of random bits."""
    generator = torch.Generator().manual_seed(point.payload_seed(block_bits, batch))
    return torch.randint(0, 2, (point.items, block_bits), generator=generator, dtype=torch.uint8)


def _errors(source: Tensor, passage: Passage, *, pictures: bool) -> int:
    """Outages that the receiver knows of, or wrong blocks."""
    if pictures:
        return int(passage.reconstruction.failed.sum())
    return int((passage.reconstruction.data != source).any(1).sum())


def _measure(key: str, metric: Metric, passages: Parts, job: Job) -> dict[str, Any]:
    numerator: list[float] = []
    denominator: list[float] = []
    kind: Kind = "mean"
    for source, passage in passages:
        samples: Samples = metric.measure(source, passage)
        kind = samples.kind
        for values, part in zip((numerator, denominator), _values(key, samples, source.shape[0]), strict=True):
            values.extend(part)
    return measured(kind, numerator, denominator, pictures=job.images is not None)


def _values(key: str, samples: Samples, items: int) -> tuple[list[float], list[float]]:
    """Numerators and denominators of a metric, if they are such."""
    x, y = (part.detach().to("cpu", torch.float64) for part in (samples.numerator, samples.denominator))
    if samples.kind not in get_args(Kind) or x.shape != (items,) or y.shape != (items,):
        raise MetricError(
            f"metric {key!r} gave kind {samples.kind!r} and shapes {tuple(x.shape)}, {tuple(y.shape)}; allowed: "
            f"{', '.join(get_args(Kind))}, and one value per item, ({items},)"
        )
    numerator, denominator = x.tolist(), y.tolist()
    counts = samples.kind != "mean"
    for item, (events, trials) in enumerate(zip(numerator, denominator, strict=True)):
        if not (math.isfinite(events) and 0 <= trials < math.inf) or (counts and not 0 <= events <= trials):
            raise MetricError(
                f"metric {key!r} gave {events}/{trials} for item {item}; values are finite, and counts at most trials"
            )
    return numerator, denominator


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    """The same number of threads wherever a batch runs: reductions over more threads round differently."""
    before = torch.get_num_threads()
    numba = sys.modules.get("numba")
    numba_before = numba.get_num_threads() if numba is not None else 1
    try:
        if before != threads:
            torch.set_num_threads(threads)
        if numba is not None:
            numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        yield
    finally:
        if before != threads:
            torch.set_num_threads(before)
        if numba is not None:
            numba.set_num_threads(numba_before)


@contextmanager
def _own_random_state(seed: int) -> Iterator[None]:
    """Global random states as a function of the batch, and afterwards as they were: neither relied on nor disturbed."""
    python, numpy, cpu = random.getstate(), np.random.get_bit_generator(), torch.random.get_rng_state()  # type: ignore[attr-defined]
    try:
        random.seed(seed)
        np.random.set_bit_generator(_NUMPY)  # type: ignore[attr-defined]
        np.random.seed(seed & 0xFFFFFFFF)  # noqa: NPY002
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        random.setstate(python)
        np.random.set_bit_generator(numpy)  # type: ignore[attr-defined]
        torch.random.set_rng_state(cpu)
