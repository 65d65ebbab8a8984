"""What has been encoded or decoded once is not done again: memory first, then (if wanted) a folder on disk."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections import OrderedDict
from functools import cache
from pathlib import Path

import numpy as np

from jscclink.errors import InputError

_MAGIC = b"jscctry1"
_DIGEST_BYTES = 32


class TrialCache:
    """Least-recently-used store of encodings and decoded images, bounded in bytes; safe with several threads.

    Parameters
    ----------
    folder : path or None
        Where encodings are kept across runs. Files are written under a temporary name and renamed, so several processes may
        share the folder; each carries the SHA-256 of its content, and one that does not match is encoded again. None keeps
        nothing on disk.
    max_bytes : int
        Bound of the memory store, in bytes, for encodings and decoded images together.

    Notes
    -----
    Pickling sends the parameters only; use `trial_cache` so that all copies in one process share their content.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, max_bytes: int = 256 << 20) -> None:
        if max_bytes < 0:
            raise InputError(f"TrialCache: max_bytes is {max_bytes}; it must be 0 or more")
        self.folder = None if folder is None else Path(folder)
        if self.folder is not None and self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"TrialCache: folder {str(folder)!r} is a file; give a folder (it is made when missing)")
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, bytes | np.ndarray] = OrderedDict()
        self._used = 0
        self._own: OrderedDict[bytes, None] = OrderedDict()

    def __reduce__(self) -> tuple[object, tuple[str | None, int]]:
        return trial_cache, (None if self.folder is None else str(self.folder), self.max_bytes)

    def stream(self, key: bytes) -> bytes | None:
        """The encoding stored under `key` (32 bytes), from memory or disk; None if there is none."""
        found = self._get(key)
        if found is None and self.folder is not None:
            found = self._read(key)
            if found is not None:
                self._put(key, found)
                self._mark_own(found)
        return found if isinstance(found, bytes) else None

    def add_stream(self, key: bytes, data: bytes) -> None:
        """Keep an encoding that our own encoder made."""
        self._put(key, data)
        self._mark_own(data)
        if self.folder is not None:
            self._write(key, data)

    def is_own(self, data: bytes) -> bool:
        """Whether these bytes are exactly what our own encoder made, in this process or read back from disk."""
        with self._lock:
            return hashlib.sha256(data).digest() in self._own

    def image(self, key: bytes) -> np.ndarray | None:
        """The decoded image stored under `key`; read-only."""
        found = self._get(key)
        return found if isinstance(found, np.ndarray) else None

    def add_image(self, key: bytes, image: np.ndarray) -> None:
        """Keep a copy of a decoded image."""
        kept = image.copy()
        kept.flags.writeable = False
        self._put(key, kept)

    def _get(self, key: bytes) -> bytes | np.ndarray | None:
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
            return found

    def _put(self, key: bytes, value: bytes | np.ndarray) -> None:
        with self._lock:
            old = self._entries.pop(key, None)
            self._used += _size(value) - (0 if old is None else _size(old))
            self._entries[key] = value
            while self._used > self.max_bytes:
                _, dropped = self._entries.popitem(last=False)
                self._used -= _size(dropped)

    def _mark_own(self, data: bytes) -> None:
        with self._lock:
            self._own[hashlib.sha256(data).digest()] = None
            # a digest and its node take some 200 bytes: at most 1/16 of the store again
            while len(self._own) > max(1024, self.max_bytes >> 12):
                self._own.popitem(last=False)

    def _path(self, key: bytes) -> Path:
        assert self.folder is not None
        name = key.hex()
        return self.folder / name[:2] / name[2:]

    def _read(self, key: bytes) -> bytes | None:
        try:
            raw = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        head = len(_MAGIC) + _DIGEST_BYTES
        data = raw[head:]
        intact = raw[: len(_MAGIC)] == _MAGIC and raw[len(_MAGIC) : head] == hashlib.sha256(data).digest()
        return data if intact else None

    def _write(self, key: bytes, data: bytes) -> None:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + hashlib.sha256(data).digest() + data)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _size(value: bytes | np.ndarray) -> int:
    """Bytes an entry takes, with a flat 200 for key, node and object."""
    return 200 + (len(value) if isinstance(value, bytes) else value.nbytes)


@cache
def trial_cache(folder: str | None = None, max_bytes: int = 256 << 20) -> TrialCache:
    """The `TrialCache` of this process with these parameters: asked for twice, it is the same object.

    Without a folder: `encodings` in the folder that the environment variable JSCCLINK_CACHE names, else memory alone.
    """
    root = os.environ.get("JSCCLINK_CACHE")
    if folder is None and root:
        folder = str(Path(root) / "encodings")
    return TrialCache(folder, max_bytes)
