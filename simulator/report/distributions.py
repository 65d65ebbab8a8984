"""Distributions over pictures and draws for the report, thinned to the room that they may take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from jscclink.simulator.figures import NAMES, label_of
from jscclink.simulator.figures_distribution import LEVEL
from jscclink.simulator.histogram import Histogram
from jscclink.simulator.results import Results, Row

from .data import Distribution, Steps
from .labels import series_label, several

# of all distributions together: half a megabyte of the page
_MOST_STEPS = 32_000
# of one: its shares are then within 1/240 of the true ones; and below that it is no curve
_STEPS, _LEAST_STEPS = 240, 24


def distributions(results: Results, axis: str) -> tuple[Distribution, ...]:
    """Of every metric that is better higher (costs are left out), per panel: curves by operating point.

    Where there is no room for all, the study's first metric alone, at evenly chosen SNRs, which the note says.
    """
    metrics = [key for key, info in results.metrics.items() if info.better == "higher" and _rows(results, key)]
    room = _MOST_STEPS // _LEAST_STEPS
    if sum(len(_rows(results, key)) for key in metrics) > room:
        metrics = metrics[:1]
    snrs = sorted({row.esno_db for key in metrics for row in _rows(results, key)})
    chosen = snrs
    while sum(row.esno_db in chosen for key in metrics for row in _rows(results, key)) > room and len(chosen) > 1:
        chosen = chosen[::2]
    note = "" if chosen == snrs else f"{len(chosen)} of {len(snrs)} SNRs; `jscclink plot --distribution` draws the others"
    count = sum(row.esno_db in chosen for key in metrics for row in _rows(results, key))
    steps = min(max(_MOST_STEPS // max(count, 1), _LEAST_STEPS), _STEPS)
    found = []
    for metric in metrics:
        for panel in results.panels:
            rows = [row for row in _rows(results, metric) if row.panel == panel and row.esno_db in chosen]
            if rows:
                label = label_of(metric, results.metrics[metric].unit)
                curves = tuple(_curves(results, rows, metric, axis, steps))
                found.append(Distribution(f"Distribution of {NAMES.get(metric, metric)}, {panel}", label, curves, note))
    return tuple(found)


def _rows(results: Results, metric: str) -> list[Row]:
    return [row for row in results.rows if metric in row.histograms]


def _curves(results: Results, rows: Sequence[Row], metric: str, axis: str, steps: int) -> Iterator[Steps]:
    """By place: budget and Es/N0. A scheme that sets its own rate stands beside those of every budget."""
    budgets: Sequence[float | None] = sorted({row.cbr for row in rows if row.cbr is not None}) or [None]
    many = several(results, axis)
    for cbr in budgets:
        for esno_db in sorted({row.esno_db for row in rows}):
            place = f"{esno_db:g} dB" + (f", CBR {cbr:.4g}" if len(budgets) > 1 else "")
            here = [row for row in rows if row.esno_db == esno_db and row.cbr in (None, cbr)]
            for scheme, info in results.schemes.items():
                for row in here:
                    if row.scheme == scheme:
                        found = row.histograms[metric]
                        percentile = found.quantile(LEVEL)
                        mark = None if info.bound else (percentile.value, percentile.low, percentile.high)
                        look = series_label(row, axis, many)
                        yield Steps(scheme, look, place, *thinned(found, steps), mark, "bound" if info.bound else "measured")


def thinned(histogram: Histogram, steps: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Values and the shares at most as large, in at most that many steps, none of which leaves out more than a share of 1/steps
    unless one value alone has more."""
    shares = np.cumsum(histogram.counts) / histogram.n
    kept = np.arange(len(shares))
    if len(shares) > steps:
        kept = np.unique(np.searchsorted(shares, np.linspace(0.0, 1.0, steps) - 1e-12).clip(0, len(shares) - 1))
    values = np.asarray(histogram.values)[kept]
    return tuple(float(f"{v:.5g}") for v in values), tuple(round(s, 5) for s in shares[kept].tolist())
