"""The oracle envelope: at every point the scheme that did best there, picked in hindsight; a bound, named for what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import takewhile

from jscclink.errors import InputError

from .points import canonical
from .results import Results, Row, SchemeInfo

LABEL = "oracle envelope"


def with_oracle_envelope(results: Results, pattern: str, metric: str) -> Results:
    """The results with one more scheme, `oracle envelope of PATTERN`: a bound, as no transmitter knows the outcome beforehand.

    Parameters
    ----------
    pattern
        Which schemes: their label, `*` for any characters (`BPG + LDPC, *`). Bounds are left out.
    metric
        What best means. The other metrics of a point are those of the scheme that was picked.

    Raises
    ------
    InputError
        Fewer than two schemes fit, or the metric has no better direction.
    """
    members = _fitting(results, pattern)
    if len(members) < 2:
        known = ", ".join(results.schemes)
        raise InputError(f"an envelope is of two schemes or more; {pattern!r} fits {', '.join(members) or 'none'} of {known}")
    return _with_envelope(results, members, pattern, metric)


def with_ladder_envelopes(results: Results, metric: str) -> Results:
    """The same for every ladder of the results: schemes that differ in their modulation and coding scheme (`mcs`) alone."""
    ladders: dict[str, list[str]] = {}
    for label, info in results.schemes.items():
        options = info.plugin["options"]
        if "mcs" in options and not info.bound:
            rest = {name: value for name, value in options.items() if name != "mcs"}
            ladders.setdefault(canonical([info.plugin["name"], rest]), []).append(label)
    for members in ladders.values():
        if len(members) > 1:
            common = takewhile(lambda signs: len(set(signs)) == 1, zip(*members, strict=False))
            pattern = "".join(signs[0] for signs in common) + "*"
            name = pattern if _fitting(results, pattern) == members else ", ".join(members)
            results = _with_envelope(results, members, name, metric)
    return results


def _fitting(results: Results, pattern: str) -> list[str]:
    return [label for label, info in results.schemes.items() if not info.bound and fnmatchcase(label, pattern)]


def _with_envelope(results: Results, members: Sequence[str], name: str, metric: str) -> Results:
    sign = {"higher": 1.0, "lower": -1.0}.get(results.metrics[metric].better or "")
    if sign is None:
        raise InputError(f"{metric!r} is neither better higher nor lower: it has no envelope")
    best: dict[tuple[str, str, float | None, float], tuple[float, Row]] = {}
    for row in results.rows:
        value = row.metrics[metric].value
        if row.scheme in members and value is not None:
            place = (row.channel, row.image_set, row.cbr, row.esno_db)
            if place not in best or sign * value > best[place][0]:
                best[place] = sign * value, row
    label = f"{LABEL} of {name}"
    picked = [replace(row, scheme=label, ebno_db=None) for _, row in best.values()]
    picked.sort(key=lambda row: (row.channel, row.image_set, -1.0 if row.cbr is None else row.cbr, row.esno_db))
    plugin = {"name": LABEL, "options": {"of": list(members), "metric": metric}}
    schemes = {**results.schemes, label: SchemeInfo(plugin, bound=True)}
    return replace(results, rows=(*results.rows, *picked), schemes=schemes)
