"""One store out of those of several machines: every finished batch once, in order, and nothing that contradicts itself.

Stores belong together when their study hashes agree (seed, pictures, composition of batches) and what they call alike is
alike: labels mean the same plug-ins, and a point of the same labels, Es/N0 and CBR has the same strong id. Which of the
study's points and batches each machine computed does not matter.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jscclink.errors import InputError

from .header import study_hash
from .points import UNNAMED, panel
from .store import LOG, Log, StoreError, agree, line_of

_SHOWN = 5
_PointKey = tuple[str, str, str, float, float | None]


@dataclass(frozen=True)
class Merged:
    """What went into a merged store.

    Attributes
    ----------
    points, batches : int
        Operating points and finished batches that it holds.
    duplicates : int
        Records left out, as another one of the same batch says the same.
    notices : tuple of str
        Damage found in the sources, and where their studies differ without contradiction, one sentence each.
    """

    points: int
    batches: int
    duplicates: int
    notices: tuple[str, ...]


def merge(out: str | Path, sources: Sequence[str | Path]) -> Merged:
    """Merge stores into a new one; the sources are only read.

    The same sources in the same order give the same bytes.

    Parameters
    ----------
    out
        Folder of the new store; must not hold one.
    sources
        Folders that `run` (or `merge`) wrote to.

    Raises
    ------
    InputError
        A source holds no results, they are of different studies, two records of one batch disagree (each is named), or `out`
        cannot be used. Nothing is written then.
    StoreError
        The new store does not fit on the disk. Nothing is left of it.
    """
    target = Path(out) / LOG
    if target.exists():
        raise InputError(f"{target}: there is a store already; merge into a new folder")
    logs = [_log(Path(source)) for source in sources]
    headers = [(str(log.folder), header) for log in logs for header in log.studies.values()]
    notices = [f"{log.folder}: {notice}" for log in logs for notice in log.notices]
    study = _union(headers, notices)
    count = _Count()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        try:
            with open(part, "wb") as file:
                file.write(line_of({"study": study}))
                file.writelines(_lines(study, logs, count))
                file.flush()
                os.fsync(file.fileno())
            if count.disagreements:
                raise InputError(_named(count.disagreements))
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            error.errno, f"{target} cannot be written ({error.strerror}); make room, or choose another folder"
        ) from error
    return Merged(len(study["points"]), count.batches, count.duplicates, tuple(notices))


def _log(folder: Path) -> Log:
    log = Log(folder)
    if not log.studies:
        raise InputError(f"{folder}: no results of a study here (*.jsonl); give folders that `jscclink run` wrote to")
    return log


def _union(headers: Sequence[tuple[str, Mapping[str, Any]]], notices: list[str]) -> dict[str, Any]:
    """The first header with the points, schemes, channels and metrics of all of them."""
    first_place, first = headers[0]
    merged: dict[str, Any] = {**first, "points": [], "schemes": {}, "channels": {}, "metrics": {}}
    sets = [kind for kind in ("images", "chunks") if isinstance(first[kind], dict)]
    merged |= {kind: {} for kind in sets}
    seen: dict[_PointKey, tuple[str, str]] = {}
    for place, header in headers:
        if study_hash(header) != study_hash(first):
            keys = [key for key in ("seed", "images", "chunks", "items") if header[key] != first[key]]
            raise InputError(
                f"{place} and {first_place} are of different studies: {', '.join(keys)} differ; merge stores of one"
            )
        for kind in ("schemes", "channels", "metrics", *sets):
            for label, value in header[kind].items():
                if merged[kind].setdefault(label, value) != value:
                    what = "set of pictures" if kind in sets else kind[:-1]
                    one = f"{what} {label!r} is not the same in {place} as in those before"
                    raise InputError(f"{one}; give them different labels, and do not merge them")
        for point in header["points"]:
            key = point["scheme"], point["channel"], point.get("image_set", UNNAMED), point["esno_db"], point["cbr"]
            there = seen.get(key)
            if there is None:
                seen[key] = point["id"], place
                merged["points"].append(point)
            elif there[0] != point["id"]:
                raise InputError(
                    f"{_title(point)} is another point in {place} than in {there[1]}: other pictures, weights or options; "
                    f"they cannot be merged"
                )
        for what in ("stop", "versions", "device", "threads"):
            if header[what] != first[what]:
                notices.append(
                    f"{what} differs: {first_place} has {first[what]}, {place} has {header[what]}; the first is kept."
                )
    return merged


@dataclass
class _Count:
    batches: int = 0
    duplicates: int = 0
    disagreements: list[str] = field(default_factory=list)


def _lines(study: Mapping[str, Any], logs: Sequence[Log], count: _Count) -> Iterator[bytes]:
    """Records of all points in the study's order, then of points that no study has any more, batches ascending."""
    titles = {point["id"]: _title(point) for point in study["points"]}
    rest = sorted({point for log in logs for point in log.points()} - titles.keys())
    for point in (*titles, *rest):
        for batch in sorted({batch for log in logs for batch in log.batches(point)}):
            found = [(log, line) for log in logs for line in log.lines(point, batch)]
            line = _one(found)
            if line is None:
                where = " and ".join(dict.fromkeys(str(log.folder) for log, _ in found))
                count.disagreements.append(f"batch {batch} of {titles.get(point, point[:12])} ({where})")
                continue
            count.batches += 1
            count.duplicates += len(found) - 1
            yield line


def _one(found: Sequence[tuple[Log, bytes]]) -> bytes | None:
    """The line that says what all of them say; None where they contradict each other."""
    first = found[0][1]
    if all(line == first for _, line in found[1:]):
        return first
    records = [json.loads(line) for _, line in found]
    good = [record for record in records if "failed" not in record]
    if not good:
        return first
    merged, *others = good
    if not all(agree(merged, other) for other in others):
        return None
    for other in others:
        merged = {**merged, "metrics": {**other["metrics"], **merged["metrics"]}}
    return line_of({key: value for key, value in merged.items() if key != "check"})


def _title(point: Mapping[str, Any]) -> str:
    budget = "" if point["cbr"] is None else f", CBR {point['cbr']:.4g}"
    return f"{point['scheme']} on {panel(point['channel'], point.get('image_set', UNNAMED))} at {point['esno_db']:g} dB{budget}"


def _named(listed: Sequence[str]) -> str:
    more = f"; and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return (
        f"{len(listed)} batches disagree, so at least one store is wrong: {'; '.join(listed[:_SHOWN])}{more}. "
        f"Run them again on one machine, and leave out the store that differs"
    )
