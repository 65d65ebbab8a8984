"""What a process runs: the versions that decide the numbers, and this project's code. Light, as schedulers import it, too."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("jscclink", "torch", "numpy", "sionna-no-rt", "numba", "pillow", "av"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@cache
def environment() -> dict[str, str]:
    """`versions`, and as `code` a digest of this project's modules."""
    import jscclink
    from jscclink import baselines, channels, simulator

    digest = blake2b(digest_size=8)
    for package in (jscclink, simulator, channels, baselines):
        for folder in package.__path__:
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return {**versions(), "code": digest.hexdigest()}


def unlike(expected: Mapping[str, str], found: Mapping[str, str]) -> str:
    """How an environment differs from the one expected, in words; empty where it does not."""
    keys = [key for key in {**expected, **found} if expected.get(key) != found.get(key)]
    return ", ".join(f"{key} is {found.get(key, 'missing')}, here {expected.get(key, 'missing')}" for key in keys)
