"""Plug-ins of a study: checked against the registry with their place in the file, and in canonical form for strong ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from jscclink.errors import InputError

from . import registry
from .study_file import Source

# options that hold plug-ins themselves
_NESTED = {"source": "sources", "code": "codes", "stages": "channels", "side": "sides"}


def make(kind: str, spec: Any, source: Source, path: tuple[str, ...]) -> Any:
    """Build a plug-in; whatever is wrong is told with its place in the study file.

    Raises
    ------
    InputError
    """
    try:
        name, given = registry.split(kind, spec)
        model = registry.options(kind, name)
    except InputError as error:
        raise source.error(path, str(error)) from error
    try:
        model.model_validate(given)
    except ValidationError as error:
        raise source.error((*path, *error.errors()[0]["loc"]), registry.describe(kind, name, error)) from error
    try:
        return registry.build(kind, spec)
    except InputError as error:
        raise source.error(path, str(error)) from error
    except Exception as error:
        # whatever a plug-in's constructor stumbles over (a missing file, a third party's bug) concerns this entry only
        raise source.error(path, f"the {kind[:-1]} {name!r} cannot be made: {type(error).__name__}: {error}") from error


def canonical_plugin(kind: str, spec: Any) -> dict[str, Any]:
    """`{"name": ..., "options": {...}}` with all defaults written out, also of plug-ins within plug-ins."""
    name, given = registry.split(kind, spec)
    model = registry.options(kind, name)
    # not every nested plug-in is complete (the scheme chooses the lengths of its code): defaults, then what is given
    options = {key: field.default for key, field in model.model_fields.items() if not field.is_required()}
    return {"name": name, "options": {key: _plain(key, value) for key, value in {**options, **given}.items()}}


def _plain(key: str, value: Any) -> Any:
    """An option's value as JSON has it."""
    kind = _NESTED.get(key)
    if kind is not None and key == "stages":
        return [canonical_plugin(kind, stage) for stage in value]
    if kind is not None and _is_plugin(kind, value):
        return canonical_plugin(kind, value)
    if isinstance(value, Mapping):
        return {str(k): _plain("", v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain("", v) for v in value]
    # 1 and 1.0 mean the same
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _is_plugin(kind: str, value: Any) -> bool:
    name = value.get("name") if isinstance(value, Mapping) else value
    return isinstance(name, str) and name in registry.names(kind)


def short_name(plugin: Mapping[str, Any], kind: str) -> str:
    """A plug-in in canonical form -> its name, with the options that are not the defaults."""
    defaults = {k: _plain(k, f.default) for k, f in registry.options(kind, plugin["name"]).model_fields.items()}
    special = {k: v for k, v in plugin["options"].items() if defaults.get(k) != v}
    return plugin["name"] + (f"({', '.join(f'{k}={v}' for k, v in sorted(special.items()))})" if special else "")
