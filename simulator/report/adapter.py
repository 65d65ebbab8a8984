"""Results of a study -> what the report shows of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from jscclink.errors import InputError
from jscclink.simulator import published as literature
from jscclink.simulator.figures import NAMES, abscissa, natural_axis
from jscclink.simulator.published import Published
from jscclink.simulator.results import Results, Row
from jscclink.simulator.statistics import Estimate

from .citations import citations
from .data import Chart, ReportData, Series, Table
from .samples import Samples

AXES = {"esno_db": "Es/N0 (dB)", "ebno_db": "Eb/N0 (dB)", "cbr": "channel bandwidth ratio"}


def report_from_results(
    results: Results,
    *,
    x: str | None = None,
    published: Sequence[Published] = (),
    systems: Sequence[str] = (),
) -> ReportData:
    """Everything about a study on one page.

    Parameters
    ----------
    results : Results
        Unfinished ones too; what is missing is said.
    x : "esno_db", "ebno_db" or "cbr", optional
        Horizontal axis; default: whichever was swept.
    published : sequence of Published
        Drawn beside the curves that they belong to (`published.read`).
    systems : sequence of str
        Which of the published systems; empty: all.

    Raises
    ------
    InputError
        No results, another axis, or published points of which none belongs to this study.
    """
    axis = x or natural_axis(results) if results.rows else None
    if axis not in AXES:
        allowed = ", ".join(AXES)
        raise InputError(
            f"{results.name!r} has no results yet; run it" if axis is None else f"no axis {axis!r}; allowed: {allowed}"
        )
    beside = _published(results, axis, published, systems)
    pictures = f"{len(results.images)} pictures" if results.images else "blocks of bits"
    return ReportData(
        title=results.name,
        summary=f"{len(results.rows)} points: {len(results.schemes)} schemes on {', '.join(results.channels)}; {pictures}. "
        "Bands are 95 % intervals; bounds are dashed; published figures are unfilled markers.",
        study=results.provenance.study,
        command=_command(results.name),
        provenance=_provenance(results),
        charts=tuple(_charts(results, axis, beside)),
        tables=tuple(_tables(results)),
        notices=tuple(_notices(results)),
        citations=citations(results),
    )


def with_samples(data: ReportData, samples: Samples) -> ReportData:
    """The report with pictures, constellations and rate maps (`samples.sample`)."""
    return replace(data, comparisons=samples.comparisons, constellations=samples.constellations, rate_maps=samples.rate_maps)


def _command(name: str) -> str:
    file = "".join(c if c.isalnum() or c in "-_" else "_" for c in name) or "study"
    return (
        f"# save the study below as {file}.yaml, then\n"
        f"jscclink run {file}.yaml --out results/{file}\njscclink report results/{file} -o report.html"
    )


def _provenance(results: Results) -> dict[str, str]:
    source = results.provenance
    return {
        **source.versions,
        "seed": str(source.seed),
        "SHA-256 of the study": hashlib.sha256(source.study.encode()).hexdigest(),
        "SHA-256 of the table of results": hashlib.sha256(results.table().encode()).hexdigest(),
        **({"pictures": ", ".join(results.images[:24]) + ", ..." * (len(results.images) > 24)} if results.images else {}),
    }


def _notices(results: Results) -> Iterator[str]:
    unfinished = sum(not row.finished for row in results.rows)
    if unfinished:
        yield f"{unfinished} of {len(results.rows)} points are not finished."
    yield from results.failures
    yield from results.notices


def _charts(results: Results, axis: str, beside: Sequence[tuple[str, Published]]) -> Iterator[Chart]:
    for metric, info in results.metrics.items():
        if axis == metric:
            continue
        name = NAMES.get(metric, metric)
        for channel, plugin in results.channels.items():
            rows = [row for row in results.rows if row.channel == channel and row.metrics[metric].value is not None]
            series = [one for scheme in results.schemes for one in _series(results, rows, scheme, metric, axis)]
            series += _markers([p for key, p in beside if key == metric and p.matches(plugin)], axis)
            if rows:
                log = rows[0].metrics[metric].kind != "mean"
                label = f"{name} ({info.unit})" if info.unit else name
                yield Chart(f"{name}, {channel}", AXES[axis], label, tuple(series), log)


def _series(results: Results, rows: Sequence[Row], scheme: str, metric: str, axis: str) -> Iterator[Series]:
    """Curves of a scheme: one per CBR, or per Es/N0 where the CBR is the horizontal axis."""
    bound = results.schemes[scheme].bound

    def other(row: Row) -> float:
        return row.esno_db if axis == "cbr" else row.cbr or 0.0

    several = len({other(row) for row in results.rows}) > 1
    for value in sorted({other(row) for row in rows if row.scheme == scheme}):
        placed = [(abscissa(row, axis), row.metrics[metric]) for row in rows if row.scheme == scheme and other(row) == value]
        points: list[tuple[float, Estimate]] = sorted(((at, n) for at, n in placed if at is not None), key=lambda p: p[0])
        unlimited = axis != "cbr" and value == 0.0
        suffix = "" if not several or unlimited else f", {value:g} dB" if axis == "cbr" else f", CBR {value:.3g}"
        yield Series(
            scheme + suffix,
            tuple(at for at, _ in points),
            tuple(number.value for _, number in points),
            () if bound else tuple(number.low for _, number in points),
            () if bound else tuple(number.high for _, number in points),
            () if bound else tuple(number.draws_half_width for _, number in points),
            "bound" if bound else "measured",
            upper=() if bound else tuple(number.is_upper_bound for _, number in points),
        )


def _published(results: Results, axis: str, points: Sequence[Published], systems: Sequence[str]) -> list[tuple[str, Published]]:
    """(metric, point) of all published points that belong to the study; an error where none does."""
    found: list[tuple[str, Published]] = []
    refused: InputError | None = None
    for metric in results.metrics if points else ():
        try:
            found += [(metric, point) for point in literature.comparable(points, results, metric, axis, systems)]
        except InputError as error:
            refused = refused or error
    if refused is not None and not found:
        raise refused
    return found


def _markers(points: Sequence[Published], axis: str) -> Iterator[Series]:
    groups: dict[tuple[str, str], list[Published]] = {}
    for point in points:
        groups.setdefault((point.system, point.source), []).append(point)
    for (system, source), group in groups.items():
        places = sorted((point.cbr if axis == "cbr" else point.esno_db, point.value) for point in group)
        label = f"{system} ({group[0].short_source})"
        yield Series(label, tuple(a for a, _ in places), tuple(v for _, v in places), kind="published", note=source)


def _tables(results: Results) -> Iterator[Table]:
    ebno = any(row.ebno_db is not None for row in results.rows)
    columns = ["scheme", "channel", "CBR budget", "Es/N0 (dB)", *(["Eb/N0 (dB)"] if ebno else []), "trials", "errors"]
    for metric, info in results.metrics.items():
        columns += [f"{metric} ({info.unit})" if info.unit else metric, "low", "high", "± over draws"]
    rows = []
    for row in results.rows:
        cells: list[Any] = [
            row.scheme,
            row.channel,
            row.cbr,
            row.esno_db,
            *([row.ebno_db] if ebno else []),
            row.trials,
            row.errors,
        ]
        for metric in results.metrics:
            number = row.metrics[metric]
            cells += [number.value, number.low, number.high, number.draws_half_width]
        rows.append((*cells, row.stop, row.id))
    yield Table("Operating points", (*columns, "stop", "id"), tuple(rows), exact=("id",))
    differences = tuple(_differences(results))
    if differences:
        metric = next(iter(results.metrics))
        head = ("scheme", "against", "channel", "CBR budget", "Es/N0 (dB)", f"difference of {metric}", "low", "high")
        yield Table(f"Paired differences of {metric} over the same pictures", head, differences)


def _differences(results: Results) -> Iterator[tuple[str | float | None, ...]]:
    """Every scheme against the study's first one, where both met the same pictures."""
    metric, first = next(iter(results.metrics)), next(iter(results.schemes))
    base = {(row.channel, row.cbr, row.esno_db): row for row in results.rows if row.scheme == first and row.per_image}
    for row in results.rows:
        other = base.get((row.channel, row.cbr, row.esno_db))
        if row.scheme != first and other is not None and row.per_image and not results.schemes[row.scheme].bound:
            number = results.difference(metric, row, other)
            yield row.scheme, first, row.channel, row.cbr, row.esno_db, number.value, number.low, number.high
