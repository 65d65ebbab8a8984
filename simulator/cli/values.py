"""Values on the command line: plug-ins, numbers, sweeps, overrides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jscclink.errors import InputError


def yaml_value(text: str, where: str) -> Any:
    """A value as a study file would read it: `3` is a number, `[1, 2]` a list, `awgn` a word."""
    from jscclink.simulator.study_file import parse

    return parse(text, where)[0]


def overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """`["draws=2", "stop.errors=10"]` -> `{"draws": 2, "stop.errors": 10}`."""
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise InputError(f"--set {pair!r}: write key=value, like --set draws=2 or --set stop.errors=10")
        values[key.strip()] = yaml_value(text, f"--set {key}")
    return values


def plugin(text: str, option: str) -> Any:
    """`awgn`, `rayleigh:form=slow,csi=none`, or YAML (`{name: ..., ...}`, `[rapp, awgn]`) -> a plug-in as studies have it."""
    if text.lstrip().startswith(("{", "[")):
        return yaml_value(text, option)
    name, colon, rest = text.partition(":")
    if not colon:
        return name.strip()
    spec: dict[str, Any] = {"name": name.strip()}
    for part in _parts(rest):
        key, equals, value = part.partition("=")
        if not equals:
            raise InputError(f"{option} {text!r}: write name:option=value,option=value; {part!r} has no '='")
        spec[key.strip()] = yaml_value(value, option)
    return spec


def _parts(text: str) -> list[str]:
    """Split at commas outside brackets."""
    parts, depth, start = [], 0, 0
    for index, sign in enumerate(text):
        depth += (sign in "[{(") - (sign in "]})")
        if sign == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    return [*parts, text[start:]]


def number(text: str, option: str) -> float:
    """`0.5`, `1e-3` or `1/12` -> float."""
    from jscclink.simulator.study_schema import ratio

    try:
        return ratio(yaml_value(text, option))
    except ValueError as error:
        raise InputError(f"{option}: got {text!r} ({error}); write a number like 0.0833, or a fraction like 1/12") from error


def sweep(text: str, option: str) -> list[float] | dict[str, float]:
    """`4`, `0,2,4` or `0:10:2.5` (from:to:step, both ends included; step 1 if left out) -> what a study takes."""
    if ":" in text:
        ends = [number(part, option) for part in text.split(":")]
        if len(ends) not in (2, 3):
            raise InputError(f"{option} {text!r}: write FROM:TO:STEP, like 0:10:2.5")
        return {"from": ends[0], "to": ends[1], "step": ends[2] if len(ends) == 3 else 1.0}
    return [number(part, option) for part in text.split(",")]
