"""Published figures from a CSV file, to be drawn beside one's own with their source.

Columns: `dataset`, `channel`, `snr_db`, `cbr`, `metric`, `value`, `system`, `how`, `source`; one point per line.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jscclink.errors import InputError

from .results import Results

COLUMNS = ("dataset", "channel", "snr_db", "cbr", "metric", "value", "system", "how", "source")
# two ratios, or two SNRs in dB, that count as the same
_CBR_SLACK, _DB_SLACK = 0.01, 0.01


@dataclass(frozen=True)
class Published:
    """A published number.

    Attributes
    ----------
    dataset, channel, metric, system : str
    esno_db, cbr, value : float
    how : str
        How the number was come by: `posted numbers`, `figure` (read off), `derived`.
    source : str
    """

    dataset: str
    channel: str
    esno_db: float
    cbr: float
    metric: str
    value: float
    system: str
    how: str
    source: str

    @property
    def short_source(self) -> str:
        """The source up to its first comma or bracket, for legends; read-off figures are marked as such."""
        name = re.split(r"[,(]", self.source)[0].strip()
        return f"{name}, read off" if self.how == "figure" else name

    def belongs(self, results: Results, channel: str, image_set: str) -> bool:
        """Whether the number is of this channel and all pictures of this set, by their labels."""
        return results.channels[channel]["name"] == self.channel and dataset_of(results.sets[image_set]) == self.dataset


def read(path: str | Path) -> list[Published]:
    """All points of a file that have an SNR and a CBR.

    Raises
    ------
    InputError
        No such file, other columns, or a value that is no number, with its line.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(line for line in file if not line.startswith("#"))
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise InputError(f"{path}: the columns must be {', '.join(COLUMNS)}; got {', '.join(reader.fieldnames or ())}")
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not readable as CSV ({error})") from error
    points = []
    for number, row in enumerate(rows, start=2):
        if not row["snr_db"] or row["cbr"].endswith("bpp"):  # source coding without a channel
            continue
        try:
            esno_db, cbr, value = (float(row[column]) for column in ("snr_db", "cbr", "value"))
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}, entry {number - 1}: snr_db, cbr and value are numbers; {error}") from error
        metric = re.sub(r"^psnr_db$", "psnr", row["metric"])
        points.append(
            Published(row["dataset"], row["channel"], esno_db, cbr, metric, value, row["system"], row["how"], row["source"])
        )
    return points


def comparable(
    points: Iterable[Published], results: Results, metric: str, x: str, systems: Sequence[str] = ()
) -> list[Published]:
    """The points that belong beside a study's curves: same pictures, metric, channel, and CBR (or Es/N0).

    Raises
    ------
    InputError
        A system that the file does not have, or nothing that belongs there.
    """
    points = list(points)
    known = sorted({point.system for point in points})
    for system in systems:
        if system not in known:
            raise InputError(f"no published points of {system!r}; known: {', '.join(known)}")
    panels = results.panels.values()
    cbrs = [cbr for cbr in results.cbrs() if cbr is not None]
    snrs = {row.esno_db for row in results.rows}
    kept = [
        point
        for point in points
        if point.metric == metric
        and (not systems or point.system in systems)
        and any(point.belongs(results, *panel) for panel in panels)
        and (
            any(math.isclose(point.esno_db, snr, abs_tol=_DB_SLACK) for snr in snrs)
            if x == "cbr"
            else any(math.isclose(point.cbr, cbr, rel_tol=_CBR_SLACK) for cbr in cbrs)
        )
    ]
    if not kept:
        datasets = " and ".join(dict.fromkeys(dataset_of(results.sets[name]) or "pictures of its own" for _, name in panels))
        raise InputError(
            f"no published point belongs to this study ({metric} on {datasets}, its channels, "
            f"{'Es/N0' if x == 'cbr' else 'CBR'}): they are means over all pictures of a set"
        )
    return kept


def dataset_of(images: Sequence[str]) -> str | None:
    """`kodak` or `cifar10` where a study used all of the set that papers use, else None."""
    if list(images) == [f"kodim{i:02d}.png" for i in range(1, 25)]:
        return "kodak"
    if len(images) == 10_000 and all(name.startswith("test_") for name in images):
        return "cifar10"
    return None
