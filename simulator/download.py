"""Downloading sets of pictures from their official addresses, with checksums; nothing is ever unpickled or executed.

CIFAR-10 is checked against the MD5 that its authors publish. Of CLIC and DIV2K no checksum is published: the SHA-256 of the
first download is recorded in `checksums.json` of the data folder, and every later download must match it.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from jscclink.errors import InputError

from .datasets import data_folder
from .pictures import SUFFIXES

_CHUNK = 2**20
_TIMEOUT_S = 60
# an archive may not unpack to more than this
_MOST_BYTES = 8 * 2**30


@dataclass(frozen=True)
class Download:
    """One downloadable set.

    Attributes
    ----------
    address : str
        Official address of the archive.
    md5 : str or None
        As published by the set's authors; None where they publish none.
    suffixes : tuple of str
        Endings of the files to take out of the archive.
    about : str
        What it is, under which terms.
    """

    address: str
    md5: str | None
    suffixes: tuple[str, ...]
    about: str


DOWNLOADS = {
    "cifar10": Download(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        (".bin",),
        "CIFAR-10, binary version, 162 MB (Krizhevsky 2009; no formal licence, the authors ask for a citation)",
    ),
    "clic": Download(
        "https://data.vision.ee.ethz.ch/cvl/clic/professional_valid_2020.zip",
        None,
        SUFFIXES,
        "CLIC 2020 professional validation set, 41 pictures (Unsplash licence)",
    ),
    "div2k": Download(
        "https://data.vision.ee.ethz.ch/cvl/DIV2K/DIV2K_valid_HR.zip",
        None,
        SUFFIXES,
        "DIV2K validation set, high resolution, 100 pictures, 430 MB (Agustsson & Timofte 2017; academic research only)",
    ),
}


def fetch(
    name: str,
    *,
    address: str | None = None,
    folder: Path | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> tuple[Path, str]:
    """Download a set, check it, and unpack its pictures into a folder of the set's name.

    Parameters
    ----------
    address
        Another place for the same archive, http(s) or file; default: the official one. The checksum is the same.
    folder
        Data folder; default `data_folder()`.
    progress
        Called with bytes so far and in all (None: unknown).

    Returns
    -------
    The set's folder, and the SHA-256 of the archive.

    Raises
    ------
    InputError
        Unknown name, no network (says what to do by hand), wrong checksum, damaged or suspicious archive.
    """
    if name not in DOWNLOADS:
        raise InputError(f"no set {name!r} to download; known: {', '.join(DOWNLOADS)} (kodak comes with the package)")
    download = DOWNLOADS[name]
    folder = folder or data_folder()
    source = address or download.address
    archive = folder / PurePosixPath(download.address).name
    partial = archive.with_name(archive.name + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        md5, sha256 = _stream(source, partial, progress)
        checksums = _checked(name, download, md5, sha256, folder / "checksums.json", source)
        os.replace(partial, archive)
        target = _unpack(archive, folder / name, download.suffixes)
        if checksums:  # only now: an error page that came in place of the archive must not be trusted
            (folder / "checksums.json").write_text(json.dumps(checksums, indent=2, sort_keys=True) + "\n")
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(
            f"{source} cannot be reached ({reason}); on a machine with a network, download it, then run "
            f"`jscclink data fetch {name} --from FILE` here"
        ) from error
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(f"{source}: not the archive that was expected ({error}); download it again") from error
    except OSError as error:
        raise InputError(f"{folder}: cannot write the data there ({error.strerror or error}); set JSCCLINK_DATA") from error
    finally:
        partial.unlink(missing_ok=True)
        archive.unlink(missing_ok=True)
    return target, sha256


def _stream(source: str, target: Path, progress: Callable[[int, int | None], None] | None) -> tuple[str, str]:
    """Download to a file; MD5 and SHA-256 of it."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    if "://" not in source:
        if not Path(source).is_file():
            raise InputError(f"{source}: no such file; give the downloaded archive, or an http(s) address")
        source = Path(source).resolve().as_uri()
    done = 0
    with urllib.request.urlopen(source, timeout=_TIMEOUT_S) as response, open(target, "wb") as file:
        length = response.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            md5.update(chunk)
            sha256.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, total)
    if total is not None and done < total:
        raise InputError(f"{source}: the download broke off after {done} of {total} bytes; try again")
    return md5.hexdigest(), sha256.hexdigest()


def _checked(name: str, download: Download, md5: str, sha256: str, record: Path, source: str) -> dict[str, str]:
    """Check against the published MD5, or the SHA-256 of the first download; what is to be recorded of it."""
    if download.md5 is not None:
        if md5 != download.md5:
            raise InputError(f"{source}: MD5 {md5}, but the authors publish {download.md5}: damaged, or another file")
        return {}
    try:
        known = json.loads(record.read_text()) if record.exists() else {}
    except ValueError as error:
        raise InputError(f"{record}: not readable as JSON ({error}); repair or delete it") from error
    if known.setdefault(name, sha256) != sha256:
        raise InputError(
            f"{source}: SHA-256 {sha256}, but the first download had {known[name]}: damaged, or changed at its source; if "
            f"that is right, delete the entry {name!r} from {record}"
        )
    return known


def _unpack(archive: Path, target: Path, suffixes: tuple[str, ...]) -> Path:
    """The files of an archive with these endings, side by side in a folder that appears only when it is complete."""
    fresh = target.with_name(target.name + ".part")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        left = _MOST_BYTES
        for name, stream in _members(archive):
            # the bare name only: no path of an archive decides where a file goes
            if PurePosixPath(name).suffix.lower() not in suffixes or PurePosixPath(name).name.startswith("."):
                continue
            with open(fresh / PurePosixPath(name).name, "xb") as file:
                while chunk := stream.read(_CHUNK):
                    left -= len(chunk)
                    if left < 0:
                        raise InputError(f"{archive.name}: unpacks to more than {_MOST_BYTES >> 30} GiB; not what was expected")
                    file.write(chunk)
        if not any(fresh.iterdir()):
            raise InputError(f"{archive.name}: no file ending in {', '.join(suffixes)} in it; not what was expected")
        shutil.rmtree(target, ignore_errors=True)
        os.replace(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of every regular file of a .tar.gz or .zip."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as bundle:
            for info in bundle.infolist():
                if not info.is_dir():
                    with bundle.open(info) as stream:
                        yield info.filename, stream
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            if content is not None:
                with content:
                    yield member.name, content
