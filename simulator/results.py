"""Results of a study: rows of estimates with where they come from. Everything is derived from the store."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jscclink.errors import InputError

from .histogram import Histogram
from .points import UNNAMED, Plan, panel
from .statistics import Estimate, Sums, paired_difference
from .store import Log
from .tally import StopRule, Tally, Throughput

TABLE = "table.csv"


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
        The sums of each picture by metric, in the order of its set in `Results.sets`; empty for blocks of bits.
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
    histograms : mapping of Histogram
        Of the metrics that are means, over pictures and draws (quantiles, outage below a threshold); none for blocks.
    image_set : str
        Label of its set of pictures; empty where that has none.
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
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    image_set: str = ""

    @property
    def panel(self) -> str:
        """Channel and set of pictures in one label: rows that a figure may show together."""
        return panel(self.channel, self.image_set)


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
    """All points of a study that have any batch, sorted by scheme, channel, set of pictures, CBR and Es/N0.

    Attributes
    ----------
    name : str
    rows : tuple of Row
    schemes, channels, metrics : mapping
        By label, in the order of the study: for legends and columns. `channels` maps to the plug-in.
    sets : mapping of tuple of str
        Names of the pictures by set: "" for a set without a name, and for blocks of bits, which have no pictures.
    provenance : Provenance
    notices : tuple of str
        Damage found in the store, one sentence each.
    failures : tuple of str
        Batches that raised in this run, one sentence each.
    reference : str or None
        The scheme that the study compares with, if it says which.
    """

    name: str
    rows: tuple[Row, ...]
    schemes: Mapping[str, SchemeInfo]
    channels: Mapping[str, Mapping[str, Any]]
    metrics: Mapping[str, MetricInfo]
    sets: Mapping[str, tuple[str, ...]]
    provenance: Provenance
    notices: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    reference: str | None = None

    @property
    def finished(self) -> bool:
        """Whether every point has met a stop rule."""
        return not self.failures and all(row.finished for row in self.rows)

    @property
    def images(self) -> tuple[str, ...]:
        """Names of all pictures, set by set; empty for blocks of bits."""
        return tuple(name for names in self.sets.values() for name in names)

    @property
    def panels(self) -> dict[str, tuple[str, str]]:
        """Label -> channel and set of pictures, of those that have rows: by channel, then by set, in the order of the study."""
        there = {(row.channel, row.image_set) for row in self.rows}
        pairs = [(channel, name) for channel in self.channels for name in self.sets]
        return {panel(*pair): pair for pair in pairs if pair in there}

    def curve(self, scheme: str, channel: str, cbr: float | None, image_set: str = "") -> tuple[Row, ...]:
        """Rows of one curve over Es/N0, ascending."""
        wanted = (scheme, channel, cbr, image_set)
        return tuple(row for row in self.rows if (row.scheme, row.channel, row.cbr, row.image_set) == wanted)

    def cbrs(self) -> tuple[float | None, ...]:
        """Budgets that occur, ascending."""
        return tuple(sorted({row.cbr for row in self.rows}, key=lambda cbr: -1.0 if cbr is None else cbr))

    def only(self, *, esno_db: Sequence[float] | None = None, cbr: Sequence[float] | None = None) -> Results:
        """Without the rows at other SNRs or budgets; rows of schemes that set their own rate have no budget and stay.

        Raises
        ------
        InputError
            An SNR or CBR that the study does not have.
        """
        rows = _at(self.rows, "esno_db", esno_db, "Es/N0", " dB")
        return replace(self, rows=_at(rows, "cbr", cbr, "CBR", ""))

    def table(self) -> str:
        """All numbers that are the same whoever computed them, as CSV: one line per point, floats in full."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        named = any(row.image_set for row in self.rows)
        head = ["scheme", "channel", *["images"] * named, "cbr", "esno_db", "ebno_db", "trials", "errors"]
        for key in self.metrics:
            head += [key, f"{key} low", f"{key} high", f"{key} half-width over draws", f"{key} items"]
            if any(key in row.histograms for row in self.rows):
                head += [f"{key} p5", f"{key} p5 low", f"{key} p5 high"]
        writer.writerow([*head, "stop", "id"])
        for row in self.rows:
            cells: list[Any] = [row.scheme, row.channel, *[row.image_set] * named]
            cells += [row.cbr, row.esno_db, row.ebno_db, row.trials, row.errors]
            for key in self.metrics:
                number = row.metrics[key]
                cells += [number.value, number.low, number.high, number.draws_half_width, number.n]
                if f"{key} p5" in head:
                    p5 = row.histograms.get(key, Histogram()).quantile(0.05)
                    cells += [p5.value, p5.low, p5.high]
            writer.writerow(["" if cell is None else cell for cell in [*cells, row.stop, row.id]])
        return text.getvalue()

    def difference(self, metric: str, first: Row, second: Row) -> Estimate:
        """Paired difference first - second of a metric's mean over the pictures that both have, with its interval."""
        return paired_difference(first.per_image[metric], second.per_image[metric])


def _at(rows: tuple[Row, ...], key: str, wanted: Sequence[float] | None, name: str, unit: str) -> tuple[Row, ...]:
    """The rows whose `key` is one of the wanted values, or nothing."""
    if wanted is None:
        return rows
    known = sorted({value for row in rows if (value := getattr(row, key)) is not None})
    missing = [value for value in wanted if not any(math.isclose(value, other, abs_tol=1e-9) for other in known)]
    if missing:
        has = ", ".join(f"{value:.6g}" for value in known) or "none"
        raise InputError(f"{name} {missing[0]:.6g}{unit}: the study has {has}{unit}")

    def fits(value: float | None) -> bool:
        return value is None or any(math.isclose(value, other, abs_tol=1e-9) for other in wanted)

    return tuple(row for row in rows if fits(getattr(row, key)))


def fold(records: Iterable[Mapping[str, Any]], plan: Plan, stop: StopRule, metrics: Sequence[str]) -> tuple[Tally, str | None]:
    """Records of a point in order -> their sums up to the first that meets the rule, and its reason (None: not yet)."""
    tally = Tally(plan, metrics)
    for record in records:
        tally.add(record)
        reason = stop.reason(tally)
        if reason is not None:
            return tally, reason
    return tally, None


def load_results(folder: str | Path) -> Results:
    """Results of what lies in a folder, also while a run is going on.

    The study in force is the last one of every file; files of several machines add up.

    Raises
    ------
    InputError
        No store there.
    """
    log = Log(folder)
    if not log.studies:
        raise InputError(f"{folder}: no results of a study here (*.jsonl); give the folder that `jscclink run` wrote to")
    headers = [Header(study) for study in log.studies.values()]
    metrics = {key: info for header in headers for key, info in header.metrics.items()}
    rows: dict[str, Row] = {}
    for header in headers:
        for point in header.points:
            if point["id"] not in rows:
                records = log.in_order(point["id"], metrics)
                tally, reason = fold(records, header.plan(point), header.stop, tuple(metrics))
                if tally.trials:
                    rows[point["id"]] = header.row(point, tally, reason, metrics)
    results = headers[-1].results(rows.values())
    sets = {name: names for header in headers for name, names in header.sets.items()}
    return replace(results, sets=sets, metrics=metrics, notices=tuple(log.notices))


def results_of(study: Mapping[str, Any], tallies: Iterator[tuple[Tally, str | None]]) -> Results:
    """Results of a study's header and the tallies of its points, in the header's order."""
    header = Header(study)
    pairs = zip(header.points, tallies, strict=True)
    return header.results(header.row(point, tally, reason, header.metrics) for point, (tally, reason) in pairs if tally.trials)


def _sentence(tally: Tally, reason: str | None) -> str:
    """Why a point stopped, and what is missing of it."""
    if not tally.failed:
        return reason or "Not finished: run again to go on."
    batches = "1 batch" if tally.failed == 1 else f"{tally.failed} batches"
    return f"Not finished: {batches} of {tally.batches} failed and count nowhere; run again to try them again."


def sets_of(header: Mapping[str, Any], key: str) -> dict[str, Any]:
    """`images` or `chunks` of a header by the name of the set."""
    kept = header[key]
    return kept if isinstance(kept, dict) else {UNNAMED: kept}


class Header:
    """A study as the store keeps it."""

    def __init__(self, study: Mapping[str, Any]) -> None:
        self._study = study
        self.points: list[dict[str, Any]] = study["points"]
        self.sets = {name: tuple(names) for name, names in sets_of(study, "images").items()}
        self._plans = {
            name: Plan(tuple(tuple(chunk) for chunk in chunks), study["items"])
            for name, chunks in sets_of(study, "chunks").items()
        }
        self.stop = StopRule(**study["stop"])
        self.metrics = {key: MetricInfo(*info) for key, info in study["metrics"].items()}

    def plan(self, point: Mapping[str, Any]) -> Plan:
        """How the items of a point fall into batches."""
        return self._plans[point.get("image_set", UNNAMED)]

    def row(self, point: Mapping[str, Any], tally: Tally, reason: str | None, metrics: Iterable[str]) -> Row:
        """A point's row."""
        keys = tuple(metrics)
        return Row(
            id=point["id"],
            scheme=point["scheme"],
            channel=point["channel"],
            esno_db=point["esno_db"],
            ebno_db=point["ebno_db"],
            cbr=point["cbr"],
            metrics={key: tally.estimate(key) for key in keys},
            per_image={key: tally.groups(key) for key in keys} if tally.plan.images else {},
            trials=tally.trials,
            errors=tally.errors,
            finished=reason is not None and not tally.failed,
            stop=_sentence(tally, reason),
            seconds=tally.seconds,
            throughput=tally.throughput(point["values"], point["bits"]),
            histograms={key: found for key in keys for found in [tally.histogram(key)] if found.n},
            image_set=point.get("image_set", UNNAMED),
        )

    def results(self, rows: Iterable[Row]) -> Results:
        """All of it."""
        study = self._study
        return Results(
            name=study["name"],
            rows=tuple(sorted(rows, key=lambda r: (r.scheme, r.channel, r.image_set, r.cbr or 0.0, r.esno_db))),
            schemes={label: SchemeInfo(**scheme) for label, scheme in study["schemes"].items()},
            channels=study["channels"],
            metrics=self.metrics,
            sets=self.sets,
            provenance=Provenance(study["text"], study["versions"], study["seed"]),
            reference=study.get("reference"),
        )
