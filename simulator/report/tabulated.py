"""Results as the report's tables: operating points, paired differences, average gains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jscclink.simulator.gain_tables import gain_tables
from jscclink.simulator.gains import gains, reference_of
from jscclink.simulator.histogram import Histogram
from jscclink.simulator.results import Results

from .data import Table

_LEVEL = 0.05


def tables(results: Results, reference: str | None) -> Iterator[Table]:
    """All of them; those without a row are left out."""
    against = reference_of(results, reference)
    yield _points(results)
    metric = next(iter(results.metrics))
    differences = tuple(_differences(results, metric, against))
    if differences:
        head = ("scheme", "against", "channel", "CBR budget", "Es/N0 (dB)", f"difference of {metric}", "low", "high")
        note = (
            f"Mean of {metric} of the scheme minus that of {against}, with the 95 % t interval over the pictures' differences."
        )
        yield Table(f"Paired differences of {metric} over the same pictures", head, differences, note=note)
    for table in gain_tables(gains(results, metric, against), metric, results.metrics[metric].unit):
        yield Table(table.title, table.columns, table.rows, note=table.note)


def _points(results: Results) -> Table:
    ebno = any(row.ebno_db is not None for row in results.rows)
    spread = [metric for metric in results.metrics if any(metric in row.histograms for row in results.rows)]
    named = any(row.image_set for row in results.rows)
    columns = [
        "scheme",
        "channel",
        *["pictures"] * named,
        "CBR budget",
        "Es/N0 (dB)",
        *(["Eb/N0 (dB)"] if ebno else []),
        "trials",
        "errors",
    ]
    for metric, info in results.metrics.items():
        columns += [f"{metric} ({info.unit})" if info.unit else metric, "low", "high", "± over draws"]
        columns += [f"{metric} p5", "low", "high"] if metric in spread else []
    rows = []
    for row in results.rows:
        cells: list[Any] = [row.scheme, row.channel, *[row.image_set] * named, row.cbr, row.esno_db]
        cells += [*([row.ebno_db] if ebno else []), row.trials, row.errors]
        for metric in results.metrics:
            number = row.metrics[metric]
            cells += [number.value, number.low, number.high, number.draws_half_width]
            if metric in spread:
                percentile = row.histograms.get(metric, Histogram()).quantile(_LEVEL)
                cells += [percentile.value, percentile.low, percentile.high]
        rows.append((*cells, row.stop, row.id))
    note = "Intervals are of 95 %: low and high, ± over draws for these very pictures."
    if spread:
        note += " p5: the 5th percentile over pictures and draws; – where there are too few of them for an end of its interval."
    return Table("Operating points", (*columns, "stop", "id"), tuple(rows), exact=("id",), note=note)


def _differences(results: Results, metric: str, against: str) -> Iterator[tuple[str | float | None, ...]]:
    """Every scheme against the reference, where both met the same pictures."""
    base = {(row.panel, row.cbr, row.esno_db): row for row in results.rows if row.scheme == against and row.per_image}
    for row in results.rows:
        other = base.get((row.panel, row.cbr, row.esno_db))
        if row.scheme != against and other is not None and row.per_image and not results.schemes[row.scheme].bound:
            number = results.difference(metric, row, other)
            yield row.scheme, against, row.panel, row.cbr, row.esno_db, number.value, number.low, number.high
