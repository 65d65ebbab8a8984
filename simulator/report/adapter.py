"""Results of a study -> what the report shows of them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from jscclink.errors import InputError
from jscclink.simulator import published as literature
from jscclink.simulator.envelope import LABEL as ENVELOPE
from jscclink.simulator.envelope import with_ladder_envelopes
from jscclink.simulator.figures import NAMES, abscissa, label_of, natural_axis
from jscclink.simulator.published import Published
from jscclink.simulator.results import Results, Row
from jscclink.simulator.statistics import Estimate

from .citations import citations
from .data import Chart, ReportData, Series
from .distributions import distributions
from .labels import fixed, series_label, several
from .samples import Samples
from .tabulated import tables

COSTS = ("cbr", "cbr_with_overhead", "energy", "bpp")
# what the page says of the kinds of curves that it has
_LOOKS = {
    "measured": "bands are 95 % intervals",
    "bound": "bounds are dashed",
    "envelope": "oracle envelopes (the best MCS of each point, picked in hindsight) are broad and pale",
    "published": "published figures are unfilled markers",
}
AXES = {"esno_db": "Es/N0 (dB)", "ebno_db": "Eb/N0 (dB)", "cbr": "channel bandwidth ratio"}


def report_from_results(
    results: Results,
    *,
    x: str | None = None,
    published: Sequence[Published] = (),
    systems: Sequence[str] = (),
    reference: str | None = None,
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
    reference : str, optional
        Label of the scheme that differences and gains are against; default: `gains.reference_of`.

    Raises
    ------
    InputError
        No results, another axis, no such reference, or published points of which none belongs to this study.
    """
    axis = x or natural_axis(results) if results.rows else None
    if axis not in AXES:
        allowed = ", ".join(AXES)
        raise InputError(
            f"{results.name!r} has no results yet; run it" if axis is None else f"no axis {axis!r}; allowed: {allowed}"
        )
    beside = _published(results, axis, published, systems)
    charts = tuple(_charts(results, axis, beside))
    return ReportData(
        title=results.name,
        summary=_summary(results, charts),
        study=results.provenance.study,
        command=_command(results.name),
        provenance=_provenance(results),
        charts=charts,
        distributions=distributions(results, axis),
        tables=tuple(tables(results, reference)),
        notices=tuple(_notices(results)),
        citations=citations(results),
    )


def _summary(results: Results, charts: Sequence[Chart]) -> str:
    pictures = f"{len(results.images)} pictures" if results.images else "blocks of bits"
    pictures += f" in {len(results.sets)} sets" if len(results.sets) > 1 else ""
    kinds = {series.kind for chart in charts for series in chart.series}
    looks = "; ".join(text for kind, text in _LOOKS.items() if kind in kinds)
    what = f"{len(results.rows)} points: {len(results.schemes)} schemes on {', '.join(results.channels)}; {pictures}."
    return f"{what} {looks[:1].upper()}{looks[1:]}." if looks else what


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
        # what costs has no best scheme
        shown = results if info.better is None or metric in COSTS else with_ladder_envelopes(results, metric)
        for panel, (channel, image_set) in results.panels.items():
            rows = [row for row in shown.rows if row.panel == panel and row.metrics[metric].value is not None]
            series = [one for scheme in shown.schemes for one in _series(shown, rows, scheme, metric, axis)]
            series += _markers([p for key, p in beside if key == metric and p.belongs(results, channel, image_set)], axis)
            if rows:
                log = rows[0].metrics[metric].kind != "mean"
                yield Chart(f"{name}, {panel}", AXES[axis], label_of(metric, info.unit), tuple(series), log)


def _series(results: Results, rows: Sequence[Row], scheme: str, metric: str, axis: str) -> Iterator[Series]:
    """Curves of a scheme: one per CBR, or per Es/N0 where the CBR is the horizontal axis."""
    bound = results.schemes[scheme].bound
    envelope = results.schemes[scheme].plugin["name"] == ENVELOPE
    of_scheme, many = [row for row in rows if row.scheme == scheme], several(results, axis)
    for value in sorted({fixed(row, axis) for row in of_scheme}, key=lambda value: -math.inf if value is None else value):
        curve = [row for row in of_scheme if fixed(row, axis) == value]
        placed = [(abscissa(row, axis), row.metrics[metric]) for row in curve]
        points: list[tuple[float, Estimate]] = sorted(((at, n) for at, n in placed if at is not None), key=lambda p: p[0])
        yield Series(
            series_label(curve[0], axis, many),
            tuple(at for at, _ in points),
            tuple(number.value for _, number in points),
            () if bound else tuple(number.low for _, number in points),
            () if bound else tuple(number.high for _, number in points),
            () if bound else tuple(number.draws_half_width for _, number in points),
            "envelope" if envelope else "bound" if bound else "measured",
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
