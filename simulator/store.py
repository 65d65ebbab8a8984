"""The store of results: an append-only log of JSON lines, one per finished batch.

    {"check":"<16 hex>","point":"<64 hex>","batch":17,"trials":8,"errors":0,"seconds":0.41,"metrics":{...}}
    {"check":"<16 hex>","study":{...}}

`check` is the BLAKE2b-64 of the rest of the line. Every batch is written at once when it is finished, in one piece. A line
that a killed process left half-written is ignored and named, so is a line that was damaged or edited; their batches run
again. Files of several machines add up when they lie in one folder; `merge` makes one file of them. Two records of one
batch must agree; a disagreement is named, the first counts.
"""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from jscclink.errors import InputError

LOG = "batches.jsonl"
_HEAD = re.compile(rb'\{"check":"([0-9a-f]{16})",(?:"point":"([0-9a-f]{64})","batch":(\d+),|"study":)')
_CHECKED_FROM = len('{"check":"0123456789abcdef",')
_FSYNC_EVERY_S = 5.0
# of a place: the number of the file in the lower bits, the offset above
_FILE_BITS = 12
_FILE_MASK = (1 << _FILE_BITS) - 1


class StoreError(OSError):
    """The store cannot take another record (disk full, ...); what is in it is safe."""


def line_of(body: Mapping[str, Any]) -> bytes:
    """A record as its line: the body's JSON with its checksum in front."""
    text = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
    check = blake2b(text[1:], digest_size=8).hexdigest().encode()
    return b'{"check":"' + check + b'",' + text[1:] + b"\n"


class Log:
    """All records of a folder, read without being held in memory: per batch only where its lines are.

    Attributes
    ----------
    notices : list of str
        Damage found, one sentence each.
    studies : dict
        The last study of each file, by the file's name; that of this machine's own log comes last.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.notices: list[str] = []
        self.studies: dict[str, dict[str, Any]] = {}
        self._maps: list[mmap.mmap | bytes] = []
        # point -> batch -> where its line starts, and in which file, in one number; a million of them are kept
        self._places: dict[str, dict[int, int]] = {}
        # where a batch has further records
        self._more_places: dict[tuple[str, int], list[int]] = {}
        for path in sorted(self.folder.glob("*.jsonl"), key=lambda path: (path.name == LOG, path.name)):
            self._scan(path)

    def _scan(self, path: Path) -> None:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data: mmap.mmap | bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        number = len(self._maps)
        self._maps.append(data)
        start = count = 0
        study = None
        while start < size:
            end = data.find(b"\n", start)
            count += 1
            if end < 0:
                self.notices.append(f"{path.name}: the last line ({count}) is cut short; its batch is run again.")
                break
            head = _HEAD.match(data, start)
            body = start + _CHECKED_FROM
            if head is None or blake2b(data[body:end], digest_size=8).hexdigest().encode() != head[1]:
                self.notices.append(f"{path.name}: line {count} is damaged or was edited; its batch is run again.")
            elif head[2] is None:
                study = json.loads(data[start:end])["study"]
            else:
                point, batch, place = head[2].decode(), int(head[3]), start << _FILE_BITS | number
                if self._places.setdefault(point, {}).setdefault(batch, place) != place:
                    self._more_places.setdefault((point, batch), []).append(place)
            start = end + 1
        if study is not None:
            self.studies[path.name] = study

    def points(self) -> Iterable[str]:
        """Ids of the points that have a record."""
        return self._places.keys()

    def lines(self, point: str, batch: int) -> list[bytes]:
        """A batch's records as they were written, line breaks included, in the order of the files."""
        first = self._places.get(point, {}).get(batch)
        places = [] if first is None else [first, *self._more_places.get((point, batch), ())]
        found = []
        for place in places:
            data, start = self._maps[place & _FILE_MASK], place >> _FILE_BITS
            found.append(data[start : data.find(b"\n", start) + 1])
        return found

    def batches(self, point: str) -> Iterable[int]:
        """Indices of the batches that have a record, in no order."""
        return self._places.get(point, {}).keys()

    def record(self, point: str, batch: int, metrics: Iterable[str]) -> dict[str, Any] | None:
        """A batch's record with (at least) these metrics; None where there is none, or not with all of them."""
        merged: dict[str, Any] | None = None
        for line in self.lines(point, batch):
            record = from_json(line)
            if "failed" in record:
                continue
            if merged is None:
                merged = record
            elif agree(merged, record):
                merged["metrics"] = {**record["metrics"], **merged["metrics"]}
            else:
                message = f"Two records of batch {batch} of point {point[:12]} disagree; the first counts."
                if message not in self.notices:
                    self.notices.append(message)
        if merged is None or any(key not in merged["metrics"] for key in metrics):
            return None
        return merged

    def failure(self, point: str, batch: int) -> dict[str, Any] | None:
        """`{"failed": message}` of a batch that raised the last time it was tried; None where it did not."""
        for line in reversed(self.lines(point, batch)):
            record = from_json(line)
            if "failed" in record:
                return {"failed": record["failed"]}
        return None

    def in_order(self, point: str, metrics: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Records of a point from batch 0 up to the first that is missing; `failure` where a batch failed and has no other."""
        keys = tuple(metrics)
        for batch in range(len(self._places.get(point, ()))):
            record = self.record(point, batch, keys) or self.failure(point, batch)
            if record is None:
                return
            yield record


def agree(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two records of one batch say the same, but for the time it took and for metrics that only one has."""
    same = all(first[key] == second[key] for key in ("trials", "errors"))
    shared = first["metrics"].keys() & second["metrics"].keys()
    return same and all(first["metrics"][key] == second["metrics"][key] for key in shared)


class Writer:
    """Appends records to the log of a folder; one writer at a time.

    Raises
    ------
    InputError
        The folder cannot be written, or another process is writing to it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / LOG
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise InputError(f"results cannot be written to {folder}: {error.strerror}; choose another folder") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                message = f"another run is writing to {self.path}; wait for it, or choose another folder and merge them later"
                raise InputError(message) from error
            raise InputError(f"{self.path} cannot be locked ({error.strerror}); choose a folder on a local disk") from error
        self._cut_tail()
        self._synced = time.monotonic()

    def _cut_tail(self) -> None:
        """Remove the half line of a killed process, or the next record would be glued to it."""
        size = os.fstat(self._fd).st_size
        end, block = size, 1 << 16
        while end > 0:
            start = max(end - block, 0)
            newline = os.pread(self._fd, end - start, start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._fd, end)

    def write_study(self, study: Mapping[str, Any]) -> None:
        """Note the study that the following records belong to."""
        self._write({"study": study})

    def write_batch(self, point: str, batch: int, record: Mapping[str, Any]) -> None:
        """Append a finished batch: its record, or `{"failed": message}` of one that raised, which is tried again.

        Raises
        ------
        StoreError
            The record did not fit; the log is as it was before.
        """
        self._write({"point": point, "batch": batch, **record})

    def _write(self, body: Mapping[str, Any]) -> None:
        line = line_of(body)
        size = os.fstat(self._fd).st_size
        try:
            written = os.write(self._fd, line)
            if written < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if time.monotonic() - self._synced > _FSYNC_EVERY_S:
                self._sync()
        except OSError as error:
            os.ftruncate(self._fd, size)
            message = f"{self.path} cannot grow ({error.strerror}); all batches before are safe: make room and run again"
            raise StoreError(error.errno, message) from error

    def _sync(self) -> None:
        os.fsync(self._fd)
        self._synced = time.monotonic()

    def close(self) -> None:
        """Flush to disk and let go of the log."""
        try:
            self._sync()
        finally:
            os.close(self._fd)
