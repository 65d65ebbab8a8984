"""Reading YAML by the letter: one clear line for whatever is wrong with a study file, with its place."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from jscclink.errors import InputError

MAX_BYTES = 1_000_000
MAX_NODES = 100_000
Path_ = tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """Where a mapping was read from: names the file and the line in every complaint.

    Attributes
    ----------
    name : str
        File name as given.
    lines : mapping of path -> int
        Line of each key, counted from 1.
    names : mapping of path -> str
        The file of each key that came from another one (`include`).
    """

    name: str
    lines: Mapping[Path_, int]
    names: Mapping[Path_, str] = field(default_factory=dict)

    def error(self, path: Iterable[str | int], message: str) -> InputError:
        """`study.yaml, line 7, schemes.JPEG.mcs: message`."""
        keys = tuple(str(part) for part in path)
        known = next((keys[:n] for n in range(len(keys), 0, -1) if keys[:n] in self.lines), None)
        line = f", line {self.lines[known]}" if known else ""
        place = self.names.get(known or (), self.name) + line + (f", {'.'.join(keys)}" if keys else "")
        return InputError(f"{place}: {' '.join(message.split())}")


def nearest(word: str, allowed: Iterable[str], synonyms: Mapping[str, str] | None = None) -> str:
    """`did you mean 'esno_db'? ` or nothing."""
    known = (synonyms or {}).get(word.lower())
    near = [known] if known else difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}? " if near else ""


class _Loader(yaml.SafeLoader):
    """YAML with the scalars people expect: 1e5 is a number, 1:30 and 2024-01-01 are text, only true and false are truth."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag.rsplit(":", 1)[-1] in ("null", "merge")]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _rule, _first in (
    ("bool", r"^(?:true|false|True|False)$", "tTfF"),
    ("int", r"^[-+]?(?:0|[1-9][0-9_]*)$", "-+0123456789"),
    ("float", r"^[-+]?(?:(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|\.inf|\.nan)$", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_rule), list(_first))


def read(path: str | Path) -> tuple[dict[str, Any], Source, str]:
    """A YAML file -> mapping, its source for messages, and its text.

    Raises
    ------
    InputError
        Not there, not readable, too long, not text, not YAML, not a mapping, a key twice, anchors within themselves.
    """
    name = str(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror or error}; give the path of a study file") from error
    if len(data) > MAX_BYTES:
        raise InputError(f"{name}: longer than {MAX_BYTES} bytes; a study file is a short text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: not a text in UTF-8 (byte {error.start}); a study file is YAML") from error
    loaded, lines = parse(text, name)
    if not isinstance(loaded, dict):
        kind = "empty" if loaded is None else f"a {type(loaded).__name__}, not a mapping"
        raise InputError(f"{name}: {kind}; a study file holds keys like `name:`, `schemes:`, `channels:`")
    return loaded, Source(name, lines), text


def parse(text: str, name: str) -> tuple[Any, dict[Path_, int]]:
    """YAML text -> value, and the line of each path."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        lines: dict[Path_, int] = {}
        _walk(node, (), lines, [], name)
        return loader.construct_document(node), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{name}{line}: not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name}: not YAML: {' '.join(str(error).split())[:200]}") from error
    except RecursionError as error:
        raise InputError(f"{name}: brackets nested too deeply; a study file is flat") from error


def _walk(node: yaml.Node, path: Path_, lines: dict[Path_, int], above: list[yaml.Node], name: str) -> None:
    """Note the lines; refuse what a study file must not have."""
    source = Source(name, lines)
    if any(node is other for other in above):
        raise source.error(path, "an anchor contains itself; write the values out")
    lines.setdefault(path, node.start_mark.line + 1)
    if len(lines) > MAX_NODES:
        raise InputError(f"{name}: more than {MAX_NODES} values, anchors expanded; a study file is short")
    above.append(node)
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            _walk(child, (*path, str(index)), lines, above, name)
    elif isinstance(node, yaml.MappingNode):
        seen = set()
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise source.error(path, f"a key that is itself a collection (line {key.start_mark.line + 1}); keys are words")
            if key.value in seen:
                raise source.error((*path, key.value), f"the key is there twice (again in line {key.start_mark.line + 1})")
            seen.add(key.value)
            lines[(*path, key.value)] = key.start_mark.line + 1
            _walk(child, (*path, key.value), lines, above, name)
    above.pop()


def override(data: dict[str, Any], overrides: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """A copy of a mapping with values put in at dotted paths: `{"stop.errors": 10}`."""
    result = dict(data)
    for dotted, value in overrides.items():
        keys = dotted.split(".")
        place = result
        for depth, key in enumerate(keys[:-1], 1):
            inner = place.get(key, {})
            if not isinstance(inner, dict):
                raise source.error(keys[:depth], f"holds {inner!r}; the override {dotted!r} needs a mapping there")
            place[key] = place = dict(inner)
        place[keys[-1]] = value
    return result
