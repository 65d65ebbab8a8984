"""`list`, `doctor` and `data`: what there is, and what works here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from jscclink.errors import InputError

from .guard import FAILED

# what cannot be missing, with what needs it
_NEEDED = ("torch", "sionna-no-rt", "numpy", "scipy", "matplotlib", "numba", "pillow", "av", "pydantic", "constriction")
_USEFUL = ("triton", "safetensors", "plotly", "distributed", "pyarrow")


def list_plugins(
    kind: Annotated[str | None, typer.Argument(help="schemes, channels, metrics, ...; all of them if left out.")] = None,
    name: Annotated[str | None, typer.Argument(help="One of them.")] = None,
) -> None:
    """List schemes, channels, metrics, ... with their options, types and defaults."""
    from jscclink.simulator import registry

    if kind is not None and kind not in registry.KINDS:
        raise InputError(f"no kind {kind!r}; allowed: {', '.join(registry.KINDS)}")
    if kind is not None and name is not None:
        registry.plugin(kind, name)
    for each in [kind] if kind else registry.KINDS:
        typer.echo(f"{each}:")
        for plugin in [name] if name else registry.names(each):
            typer.echo("\n".join(_described(each, plugin, options=kind is not None)))


def _described(kind: str, name: str, *, options: bool) -> Iterator[str]:
    """A plug-in's first line, and a line per option."""
    from jscclink.simulator import registry

    try:
        cls, fields = registry.plugin(kind, name), registry.options(kind, name).model_fields
    except InputError as error:  # a third party's that is broken must not hide the others
        yield f"  {name}: {error}"
        return
    doc = (cls.__doc__ or "").strip().splitlines()
    yield f"  {name:<18} {doc[0] if doc else ''}".rstrip()
    if options:
        for key, field in fields.items():
            default = "required" if field.is_required() else f"default {_yaml(field.default)}"
            yield f"      {key}: {_type(field.annotation)}; {default}"


def _type(hint: Any) -> str:
    """A type in the words of a study file."""
    names = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null", Any: "anything"}
    if hint in names:
        return names[hint]
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " | ".join(_yaml(value) for value in inner)
    if origin in (list, tuple) and inner:
        return f"list of {_type(inner[0])}"
    if origin is dict or hint is dict:
        return "mapping"
    if hasattr(hint, "__metadata__"):
        return _type(inner[0])
    if inner:  # a union
        return " or ".join(_type(part) for part in inner)
    return getattr(hint, "__name__", str(hint))


def _yaml(value: Any) -> str:
    """A default as a study file would have it."""
    if value is None or isinstance(value, bool):
        return str(value).lower() if value is not None else "null"
    return str(value)


def doctor() -> None:
    """Print versions, device, processor and codecs; exit code 1 where something needed is missing."""
    broken = False
    for topic, lines in (("versions", _versions()), ("device", _device()), ("codecs", _codecs()), ("data", _data())):
        typer.echo(f"{topic}:")
        for name, text, fine in lines:
            broken |= not fine
            typer.echo(f"  {name:<14} {text}")
    if broken:
        typer.echo("something needed is missing: see above", err=True)
        raise typer.Exit(FAILED)


Line = tuple[str, str, bool]


def _versions() -> Iterator[Line]:
    from importlib.metadata import PackageNotFoundError, version

    yield "python", sys.version.split()[0], True
    for package in ("jscclink", *_NEEDED, *_USEFUL):
        try:
            yield package, version(package), True
        except PackageNotFoundError:
            needed = package not in _USEFUL
            yield package, "missing: pip install " + package if needed else "not installed (optional)", not needed


def _device() -> Iterator[Line]:
    import os
    import platform

    try:
        import torch
    except ImportError as error:
        yield "torch", f"cannot be imported: {error}", False
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "cpu", f"{platform.machine()}, {cores} cores, torch uses {torch.backends.cpu.get_cpu_capability()}", True
    flags = _cpu_flags()
    wanted = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "avx512_vbmi", "amx_tile", "asimd", "sve")
    yield "features", " ".join(flag for flag in wanted if flag in flags) or "unknown", True
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            yield f"cuda:{index}", torch.cuda.get_device_name(index), True
    else:
        yield "cuda", "none: everything runs on the CPU", True


def _cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    return {flag for line in text.splitlines() if line.lower().startswith(("flags", "features")) for flag in line.split()}


def _codecs() -> Iterator[Line]:
    import shutil

    from PIL import features

    for codec in ("jpg", "jpg_2000", "webp", "avif"):
        found = features.check(codec)
        yield f"Pillow {codec}", "yes" if found else "no: install Pillow's wheel", bool(found) or codec != "jpg"
    try:
        from av.codec import Codec

        for codec, mode in (("libx265", "w"), ("hevc", "r")):
            Codec(codec, mode)  # type: ignore[arg-type]
            yield f"PyAV {codec}", "yes", True
    except Exception as error:
        yield "PyAV", f"no HEVC ({error}): BPG does not work", False
    yield "bpgenc", shutil.which("bpgenc") or "not on PATH (not needed: BPG files are written with PyAV)", True


def _data() -> Iterator[Line]:
    import hashlib
    from importlib.resources import files

    from jscclink.simulator.datasets import data_folder
    from jscclink.simulator.download import DOWNLOADS

    kodak = Path(str(files("jscclink.data") / "kodak"))
    try:
        listed = [line.split() for line in (kodak / "SHA256SUMS").read_text().splitlines()]
        wrong = [name for digest, name in listed if hashlib.sha256((kodak / name).read_bytes()).hexdigest() != digest]
        yield "kodak", f"{len(listed)} pictures, checksums right" if not wrong else f"damaged: {', '.join(wrong)}", not wrong
    except OSError as error:
        yield "kodak", f"not readable: {error}", False
    for name in DOWNLOADS:
        there = (data_folder() / name).is_dir()
        yield name, str(data_folder() / name) if there else f"not there (optional): jscclink data fetch {name}", True


def data_list() -> None:
    """List the sets of pictures and where they are."""
    from jscclink.simulator.download import DOWNLOADS

    for name, text, _ in _data():
        typer.echo(f"{name:<8} {text}")
        if name in DOWNLOADS:
            typer.echo(f"         {DOWNLOADS[name].about}")


def data_fetch(
    name: Annotated[str, typer.Argument(help="cifar10, clic or div2k.")],
    source: Annotated[
        str | None, typer.Option("--from", help="The archive from elsewhere: a file or an address; checked all the same.")
    ] = None,
) -> None:
    """Download a set into $JSCCLINK_DATA (default: ~/.cache/jscclink), and check it."""
    from jscclink.simulator.download import fetch

    shown = -1

    def progress(done: int, total: int | None) -> None:
        nonlocal shown
        step = done * 20 // total if total else done >> 25
        if step != shown:
            shown = step
            typer.echo(f"{done >> 20} MiB" + (f" of {total >> 20}" if total else ""), err=True)

    folder, sha256 = fetch(name, address=source, progress=progress)
    typer.echo(f"{folder}  sha256 of the archive {sha256}")
