"""`include:` of a study file: what other files say, under what this one says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .study_file import Path_, Source, read

MOST_FILES = 100
# keys whose entries add up, with how deep; all other keys are replaced as a whole by the file that includes
_ADD_UP = {"schemes": 1, "channels": 1, "groups": 1, "defaults": 3, "stop": 1, "batch": 1}


def resolve(
    data: Mapping[str, Any], source: Source, folder: Path, above: tuple[Path, ...] = ()
) -> tuple[dict[str, Any], Source]:
    """A study's mapping with its `include` carried out.

    Parameters
    ----------
    data, source
        As `study_file.read` gives them.
    folder
        What the paths in `include` and `images.folder` are relative to.
    above
        The file itself and those that include it, outermost first: a file among them would include itself.

    Returns
    -------
    mapping without `include`, and a source that knows which file each key came from. Files that are named later count more,
    and the file that includes counts most: `schemes`, `channels`, `groups`, `defaults`, `stop` and `batch` gather entries,
    other keys are replaced. Relative picture folders are rewritten from the including file's place.

    Raises
    ------
    InputError
        No path or no list of paths, a cycle (with its files in order), more than `MOST_FILES` files.
    """
    return _resolve(data, source, folder, above, [0])


def _resolve(
    data: Mapping[str, Any], source: Source, folder: Path, above: tuple[Path, ...], read_so_far: list[int]
) -> tuple[dict[str, Any], Source]:
    if "include" not in data:
        return dict(data), source
    given = data["include"]
    paths = [given] if isinstance(given, str) else given
    if not isinstance(paths, list) or not paths or not all(isinstance(path, str) and path for path in paths):
        raise source.error(("include",), f"got {given!r}; allowed: the path of a study file, or a list of them")
    merged: dict[str, Any] = {}
    lines: dict[Path_, int] = {}
    names: dict[Path_, str] = {}
    for path in paths:
        file = (folder / Path(path).expanduser()).resolve()
        if file in above:
            chain = " includes ".join(each.name for each in (*above[above.index(file) :], file))
            raise source.error(("include",), f"{chain}: a study file cannot include itself; leave one of them out")
        read_so_far[0] += 1
        if read_so_far[0] > MOST_FILES:
            raise source.error(("include",), f"more than {MOST_FILES} files; include fewer")
        if not file.is_file():
            raise source.error(("include",), f"no such file: {path} (looked for {file}); paths are relative to the file")
        inner, inner_lines, _ = read(file)
        shown = os.path.normpath(os.path.join(os.path.dirname(source.name), path))
        inner_source = Source(shown, inner_lines.lines)
        inner, inner_source = _resolve(inner, inner_source, file.parent, (*above, file), read_so_far)
        _move_folder(inner, file.parent, folder)
        _merge(merged, inner, lines, names, inner_source)
    own = {key: value for key, value in data.items() if key != "include"}
    _merge(merged, own, lines, names, source)
    return merged, Source(source.name, lines, names)


def _move_folder(data: dict[str, Any], was: Path, becomes: Path) -> None:
    """Folders of pictures, wherever they are named, stay where they are."""
    for holder in (data, *_mappings(data.get("groups"))):
        images = holder.get("images")
        if isinstance(images, dict):
            moved = {name: _moved(spec, was, becomes) if isinstance(spec, dict) else spec for name, spec in images.items()}
            holder["images"] = _moved(moved, was, becomes)


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [inner for inner in value.values() if isinstance(inner, dict)] if isinstance(value, dict) else []


def _moved(spec: dict[str, Any], was: Path, becomes: Path) -> dict[str, Any]:
    if not isinstance(spec.get("folder"), str):
        return spec
    path = Path(spec["folder"]).expanduser()
    return spec if path.is_absolute() else {**spec, "folder": os.path.relpath(was / path, becomes)}


def _merge(
    merged: dict[str, Any], upper: Mapping[str, Any], lines: dict[Path_, int], names: dict[Path_, str], source: Source
) -> None:
    """Lay one file's keys over what there is, with their places."""

    def lay(place: dict[str, Any], over: Mapping[str, Any], path: Path_, deep: int) -> None:
        for key, value in over.items():
            here = (*path, str(key))
            before = place.get(key)
            inner = _ADD_UP.get(str(key), 0) if not path else deep
            if inner and isinstance(before, dict) and isinstance(value, dict):
                place[key] = before = dict(before)
                lay(before, value, here, inner - 1)
                continue
            for known in [known for known in lines if known[: len(here)] == here]:
                del lines[known]
                names.pop(known, None)
            place[key] = value
            for known, line in source.lines.items():
                if known[: len(here)] == here:
                    lines[known] = line
                    names[known] = source.names.get(known, source.name)

    lay(merged, upper, (), 0)
