"""What a report shows, as plain data: it knows neither the runner nor the store (`adapter` makes it from results)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Number = float | None


@dataclass(frozen=True)
class Series:
    """One curve of a chart.

    Attributes
    ----------
    label : str
        For the legend; the same label has the same colour in every chart.
    x, y : tuple of float
        Points that were run, ascending in x.
    low, high : tuple of float or None per point
        Interval of each point; empty: no band.
    draws : tuple of float or None per point
        Half-widths of the intervals for these very pictures, over channel draws alone: the other band. Empty: none.
    kind : "measured", "bound", "envelope" or "published"
        Solid line with a band; dashed line; broad pale line under the others; unfilled markers without a line.
    note : str
        Said when the pointer is on a point: a source, a stop reason.
    upper : tuple of bool
        Points at which no event was seen: `high` is an upper limit, drawn as an arrow. Empty: none.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[Number, ...]
    low: tuple[Number, ...] = ()
    high: tuple[Number, ...] = ()
    draws: tuple[Number, ...] = ()
    kind: Literal["measured", "bound", "envelope", "published"] = "measured"
    note: str = ""
    upper: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Chart:
    """Curves on common axes; `log_y` for error rates."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log_y: bool = False


@dataclass(frozen=True)
class Steps:
    """One cumulative distribution.

    Attributes
    ----------
    label, series : str
        What it is of, and the series of the charts that it looks like.
    place : str
        Operating point: what one chooses among.
    values, shares : tuple of float
        The share of all transmissions that is at most each value, ascending.
    percentile : (value, low, high) or None
        The 5th percentile with its interval; ends may be None.
    kind : "measured" or "bound"
    """

    label: str
    series: str
    place: str
    values: tuple[float, ...]
    shares: tuple[float, ...]
    percentile: tuple[Number, Number, Number] | None = None
    kind: Literal["measured", "bound"] = "measured"


@dataclass(frozen=True)
class Distribution:
    """Cumulative distributions on common axes, those of one place at a time."""

    title: str
    x_label: str
    curves: tuple[Steps, ...]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """What a scheme made of a picture at one SNR: PNG bytes, and a line of figures (PSNR, CBR)."""

    scheme: str
    esno_db: float
    png: bytes
    caption: str = ""


@dataclass(frozen=True)
class Comparison:
    """One picture under equal conditions: the original, and what the schemes made of it. All of one size."""

    title: str
    original: bytes
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Constellation:
    """Received symbols of one transmission: real and imaginary parts."""

    title: str
    real: tuple[float, ...]
    imag: tuple[float, ...]


@dataclass(frozen=True)
class RateMap:
    """How many symbols a scheme spent where: rows of numbers from top to bottom, and what they count."""

    title: str
    values: tuple[tuple[float, ...], ...]
    unit: str


@dataclass(frozen=True)
class Table:
    """Columns and rows; None: not known. `exact` columns (hashes, seeds) are set in fixed width. The note says what it is."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int | None, ...], ...]
    exact: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class ReportData:
    """A report.

    Attributes
    ----------
    title : str
    summary : str
        A sentence or two under the title.
    study : str
        The exact study file.
    command : str
        Runs it again.
    provenance : mapping of str
        Versions, seed, hashes, by name.
    notices : tuple of str
        Damage, failures, unfinished points: shown first.
    citations : tuple of str
        BibTeX entries of all that was used.
    """

    title: str
    summary: str
    study: str
    command: str
    provenance: Mapping[str, str]
    charts: tuple[Chart, ...] = ()
    distributions: tuple[Distribution, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    constellations: tuple[Constellation, ...] = ()
    rate_maps: tuple[RateMap, ...] = ()
    tables: tuple[Table, ...] = ()
    notices: tuple[str, ...] = ()
    citations: tuple[str, ...] = field(default=())
