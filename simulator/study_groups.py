"""Which schemes meet which channels, on which pictures, at which SNRs and CBRs: the study as one sweep, or its named groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from .grid import Grid
from .points import UNNAMED
from .study_file import Source, nearest
from .study_schema import GroupKeys, StudyKeys, named_sets

PLUGINS = ("schemes", "channels")


@dataclass(frozen=True)
class Sweep:
    """A product of schemes, channels, sets of pictures, CBRs and SNRs.

    Attributes
    ----------
    path : tuple of str
        Where it stands in the study file, for complaints: empty, or ("groups", name).
    schemes, channels, images : tuple of str
        Labels.
    grid : Grid
    ebno : bool
        Whether the grid is Eb/N0.
    cbrs : tuple of float or None
    """

    path: tuple[str, ...]
    schemes: tuple[str, ...]
    channels: tuple[str, ...]
    images: tuple[str, ...]
    grid: Grid
    ebno: bool
    cbrs: tuple[float | None, ...]


@dataclass(frozen=True)
class Swept:
    """All plug-ins and sets of pictures of a study by label, defaults filled in, with their places in the file; its sweeps."""

    schemes: Mapping[str, Any]
    channels: Mapping[str, Any]
    images: Mapping[str, Any]
    places: Mapping[tuple[str, str], tuple[str, ...]]
    sweeps: tuple[Sweep, ...]


def sweeps(keys: StudyKeys, source: Source) -> Swept:
    """Resolve groups and defaults.

    Raises
    ------
    InputError
        Nothing to sweep, unknown labels, one label for two things, defaults for what is not there.
    """
    found: dict[str, dict[str, Any]] = {
        "schemes": dict(keys.schemes or {}), "channels": dict(keys.channels or {}), "images": _own_sets(keys)
    }  # fmt: skip
    places = {(kind, label): (kind, label) if label else (kind,) for kind in found for label in found[kind]}
    groups: dict[tuple[str, ...], GroupKeys] = {("groups", name): group for name, group in (keys.groups or {}).items()}
    for path, group in groups.items():
        for kind in found:
            given = getattr(group, kind)
            if kind == "images" and given is not None and UNNAMED in found[kind]:
                raise source.error(("images",), "groups choose pictures by name; write `images: {some name: {...}}` here")
            for label, spec in given.items() if isinstance(given, dict) else ():
                if found[kind].setdefault(label, spec) != spec:
                    raise source.error((*path, kind, label), "the label stands for something else already; choose another")
                places.setdefault((kind, label), (*path, kind, label))
    swept = tuple(_sweep(path, group, keys, found, source) for path, group in (groups or {(): GroupKeys()}).items())
    for kind in PLUGINS:
        _fill_in(found[kind], getattr(keys.defaults, kind), kind, source)
    return Swept(found["schemes"], found["channels"], found["images"], places, swept)


def _own_sets(keys: StudyKeys) -> dict[str, Any]:
    """The study's sets of pictures by name."""
    if keys.images is None:
        return {}
    return dict(named_sets(keys.images) or {UNNAMED: keys.images})


def _sweep(
    path: tuple[str, ...], group: GroupKeys, keys: StudyKeys, found: Mapping[str, Mapping[str, Any]], source: Source
) -> Sweep:
    chosen: dict[str, tuple[str, ...]] = {}
    for kind in PLUGINS:
        given = getattr(group, kind)
        if given is None:
            own = getattr(keys, kind)
            if own is None:
                takes = StudyKeys.model_fields[kind].description
                raise source.error((*path, kind), f"the key is missing; it takes {takes}")
            given = own
        chosen[kind] = tuple(given) if isinstance(given, dict) else _labels(given, found[kind], (*path, kind), source)
    chosen["images"] = tuple(_own_sets(keys)) or (UNNAMED,)
    if group.images is not None:
        labels = group.images
        chosen["images"] = (
            tuple(labels) if isinstance(labels, dict) else _labels(labels, found["images"], (*path, "images"), source)
        )
    own_snr = group.esno_db is not None or group.ebno_db is not None
    esno, ebno = (group.esno_db, group.ebno_db) if own_snr else (keys.esno_db, keys.ebno_db)
    if (esno is None) == (ebno is None):
        example = "one of the keys esno_db and ebno_db is needed, and only one; write esno_db: [0, 5, 10]"
        raise source.error(path, example)
    grid = esno if esno is not None else ebno
    assert grid is not None
    cbrs: Sequence[float | None] = group.cbr or keys.cbr or [None]
    return Sweep(path, chosen["schemes"], chosen["channels"], chosen["images"], grid, esno is None, tuple(cbrs))


def _labels(given: Sequence[str], known: Mapping[str, Any], path: tuple[str, ...], source: Source) -> tuple[str, ...]:
    """Labels, or patterns of them -> labels in the order of the study."""
    taken: set[str] = set()
    for wanted in given:
        fitting = {wanted} & known.keys() or {label for label in known if fnmatchcase(label, wanted)}
        if not fitting:
            hint = nearest(wanted, known)
            raise source.error(path, f"no label {wanted!r}; {hint}there are: {', '.join(known) or 'none'}")
        taken |= fitting
    return tuple(label for label in known if label in taken)


def _fill_in(specs: dict[str, Any], defaults: Mapping[str, Mapping[str, Any]], kind: str, source: Source) -> None:
    """Options by plug-in name, under those that are given."""
    names = {label: spec.get("name") if isinstance(spec, dict) else spec for label, spec in specs.items()}
    present = [name for name in names.values() if isinstance(name, str)]
    for name in defaults:
        if name not in present:
            hint = nearest(name, present)
            raise source.error(
                ("defaults", kind, name), f"none of the {kind} is of that name; {hint}there are: {', '.join(present)}"
            )
    for label, plugin in names.items():
        if isinstance(plugin, str) and plugin in defaults:
            given = specs[label] if isinstance(specs[label], dict) else {"name": plugin}
            specs[label] = {**defaults[plugin], **given}
