"""Results of a study: rows of estimates with where they come from. Everything is derived from the store."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .statistics import Estimate, Sums, estimate, paired_difference


@dataclass(frozen=True)
class Throughput:
    """Computing speed of a point on one worker; None where unknown. Never part of the result table.

    Attributes
    ----------
    items_per_s : Estimate
        Pictures or blocks per second, with a t interval over batches.
    values_per_s : Estimate
        Source values per second: 3HW per picture, k per block.
    info_bits_per_s : Estimate or None
        Information bits per second, for blocks of bits.
    """

    items_per_s: Estimate
    values_per_s: Estimate
    info_bits_per_s: Estimate | None


@dataclass(frozen=True)
class Row:
    """One operating point.

    Attributes
    ----------
    id : str
        Strong id, 64 hexadecimal digits.
    scheme, channel : str
        Labels of the study.
    esno_db : float
    ebno_db : float or None
        None where a scheme has no fixed number of information bits per use.
    cbr : float or None
        Budget; None for blocks of bits. The ledger's CBR is the metric `cbr`.
    metrics : mapping of Estimate
        By the labels of `Results.metrics`.
    per_image : mapping of tuple of Sums
        The sums of each picture by metric, in the order of `Results.images`; empty for blocks of bits.
    trials : int
        Pictures x draws, or blocks.
    errors : int
        Outages (the receiver knows that decoding failed), or wrong blocks.
    finished : bool
        A stop rule was met.
    stop : str
        Why the point stopped, as a sentence.
    seconds : float
        Computing time of its batches.
    throughput : Throughput
    """

    id: str
    scheme: str
    channel: str
    esno_db: float
    ebno_db: float | None
    cbr: float | None
    metrics: Mapping[str, Estimate]
    per_image: Mapping[str, tuple[Sums, ...]]
    trials: int
    errors: int
    finished: bool
    stop: str
    seconds: float
    throughput: Throughput


@dataclass(frozen=True)
class MetricInfo:
    """Unit and direction of a metric: for axes and tables."""

    unit: str
    better: str | None


@dataclass(frozen=True)
class SchemeInfo:
    """What a scheme is: plug-in with all its options; whether it is a bound, to be drawn as one."""

    plugin: Mapping[str, Any]
    bound: bool


@dataclass(frozen=True)
class Provenance:
    """Where results come from.

    Attributes
    ----------
    study : str
        The study file, overrides applied: run it to get the results again.
    versions : mapping of str
        jscclink, Python, torch, ... of the last run.
    seed : int
    """

    study: str
    versions: Mapping[str, str]
    seed: int


@dataclass(frozen=True)
class Results:
    """All points of a study that have any batch, sorted by scheme, channel, CBR and Es/N0.

    Attributes
    ----------
    name : str
    rows : tuple of Row
    schemes, channels, metrics : mapping
        By label, in the order of the study: for legends and columns. `channels` maps to the plug-in.
    images : tuple of str
        Names of the pictures; empty for blocks of bits.
    provenance : Provenance
    notices : tuple of str
        Damage found in the store, one sentence each.
    failures : tuple of str
        Batches that raised in this run, one sentence each.
    """

    name: str
    rows: tuple[Row, ...]
    schemes: Mapping[str, SchemeInfo]
    channels: Mapping[str, Mapping[str, Any]]
    metrics: Mapping[str, MetricInfo]
    images: tuple[str, ...]
    provenance: Provenance
    notices: tuple[str, ...] = ()
    failures: tuple[str, ...] = field(default=())

    @property
    def finished(self) -> bool:
        """Whether every point has met a stop rule."""
        return not self.failures and all(row.finished for row in self.rows)

    def curve(self, scheme: str, channel: str, cbr: float | None) -> tuple[Row, ...]:
        """Rows of one curve over Es/N0, ascending."""
        return tuple(r for r in self.rows if r.scheme == scheme and r.channel == channel and r.cbr == cbr)

    def cbrs(self) -> tuple[float | None, ...]:
        """Budgets that occur, ascending."""
        return tuple(sorted({row.cbr for row in self.rows}, key=lambda cbr: -1.0 if cbr is None else cbr))

    def difference(self, metric: str, first: Row, second: Row) -> Estimate:
        """Paired difference first - second of a metric's mean over the pictures that both have, with its interval."""
        return paired_difference(first.per_image[metric], second.per_image[metric])
