"""Two stores point by point: how much they differ, and whether that is more than chance.

Points are those of the same labels (scheme, channel, set of pictures), Es/N0 and CBR. The test depends on what the two
have in common:

| metric | in common | test |
|---|---|---|
| a mean (PSNR, CBR, ...) | pictures, by name | paired t over pictures: each picture's mean over its draws |
| | the same, `over="draws"` | t over draws for these very pictures, paired draw by draw on the same channel realisations |
| | nothing | Welch's t over pictures, or over blocks |
| a rate (outage, BLER), an error ratio (BER) | | Fisher's exact test |

P-values are corrected for the number of points by Holm's method.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from jscclink.errors import InputError

from .gains import Gain, gains_between
from .results import Header, Results, Row, fold, load_results
from .significance import Test, fisher, holm, paired_t, stratified_t, welch_t
from .statistics import Sums
from .store import Log
from .tally import Tally

Over = Literal["pictures", "draws"]


@dataclass(frozen=True)
class Compared:
    """One point of both stores.

    Attributes
    ----------
    first, second : Row
    test : Test
        Of first - second.
    p_holm : float or None
        Corrected for all points compared; None where no test was possible.
    """

    first: Row
    second: Row
    test: Test
    p_holm: float | None


@dataclass(frozen=True)
class Comparison:
    """All points that both stores have.

    Attributes
    ----------
    metric, unit : str
    better : str or None
        "higher" or "lower".
    points : tuple of Compared
    unmatched : tuple of int
        Points that only the first, and only the second store has.
    gains : tuple of Gain
        Of the first over the second along the sweeps that both have; none where the pictures differ.
    """

    metric: str
    unit: str
    better: str | None
    points: tuple[Compared, ...]
    unmatched: tuple[int, int]
    gains: tuple[Gain, ...] = ()

    def significant(self, level: float) -> tuple[Compared, ...]:
        """Points that differ at this level, all of them together."""
        return tuple(point for point in self.points if point.p_holm is not None and point.p_holm <= level)


def compare(
    first: str | Path,
    second: str | Path,
    *,
    metric: str | None = None,
    schemes: tuple[str, str] | None = None,
    over: Over = "pictures",
) -> Comparison:
    """Compare two stores, or two schemes of one.

    Parameters
    ----------
    metric
        Default: the first store's first.
    schemes
        Label in the first store and label in the second, where they are not called alike.
    over
        What the answer shall hold for: pictures like these, or these very pictures.

    Raises
    ------
    InputError
        No results there; no such metric or scheme; no point in common.
    """
    if over not in ("pictures", "draws"):
        raise InputError(f"over {over!r}: allowed are pictures and draws")
    sides = [_Side(Path(folder)) for folder in (first, second)]
    key = metric or next(iter(sides[0].results.metrics))
    labels = schemes or (None, None)
    found: list[dict[Any, Row]] = [side.rows(key, label) for side, label in zip(sides, labels, strict=True)]
    shared = [place for place in found[0] if place in found[1]]
    if not shared:
        has = " and ".join(f"{side.folder} has {', '.join(map(repr, side.results.schemes))}" for side in sides)
        raise InputError(f"no point in common ({has}); same channel labels, Es/N0 and CBR are needed, and labels of schemes")
    pairs = [(found[0][place], found[1][place]) for place in shared]
    tests = [_test(sides, a, b, key, over) for a, b in pairs]
    adjusted = iter(holm([test.p for test in tests if test.p is not None]))
    points = tuple(
        Compared(a, b, test, None if test.p is None else next(adjusted)) for (a, b), test in zip(pairs, tests, strict=True)
    )
    info = sides[0].results.metrics[key]
    unmatched = (len(found[0]) - len(shared), len(found[1]) - len(shared))
    return Comparison(key, info.unit, info.better, points, unmatched, tuple(_gains(sides, found, key)))


def _gains(sides: Sequence[_Side], found: Sequence[Mapping[Any, Row]], metric: str) -> Iterator[Gain]:
    """Scheme by scheme, or of the two that were chosen."""
    first, second = (side.results for side in sides)
    same = {name for name, pictures in first.sets.items() if pictures and second.sets.get(name) == pictures}
    better = first.metrics[metric].better
    for label in dict.fromkeys(place[-1] for place in found[0]):
        ours, theirs = ([row for place, row in rows.items() if place[-1] == label and row.image_set in same] for rows in found)
        yield from gains_between(ours, theirs, metric, better=better)


class _Side:
    """A store with what its results leave out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results: Results = load_results(folder)
        self._log = Log(folder)
        headers = [(study, Header(study)) for study in self._log.studies.values()]
        self._points = {point["id"]: (point, header) for study, header in headers for point in study["points"]}

    def rows(self, metric: str, label: str | None) -> dict[Any, Row]:
        """By what makes a point the same; without the scheme where one was chosen."""
        results = self.results
        for what, wanted, there in (("metric", metric, results.metrics), ("scheme", label, results.schemes)):
            if wanted is not None and wanted not in there:
                raise InputError(f"{self.folder} has no {what} {wanted!r}; it has {', '.join(map(repr, there))}")
        chosen = [row for row in results.rows if label in (None, row.scheme)]
        return {(row.channel, row.image_set, row.esno_db, row.cbr, None if label else row.scheme): row for row in chosen}

    def pictures(self, row: Row) -> tuple[str, ...]:
        """Names of the pictures of a row."""
        return self.results.sets[row.image_set]

    def link(self, row: Row) -> str | None:
        """What two points share that met the same channel realisations; None in stores that do not know."""
        return self._points[row.id][0].get("link")

    def groups(self, row: Row, metric: str) -> tuple[Sums, ...]:
        """Sums per picture, or of all blocks."""
        return row.per_image[metric] if row.per_image else self._tally(row, metric).groups(metric)

    def _tally(self, row: Row, metric: str) -> Tally:
        header = self._points[row.id][1]
        return fold(self._log.in_order(row.id, [metric]), header.plan(self._points[row.id][0]), header.stop, (metric,))[0]

    def draws(self, row: Row, metric: str) -> Iterator[Mapping[int, tuple[float, float]]]:
        """Per batch up to the stop: picture -> numerator and denominator of its draw; empty for a batch that failed."""
        point, header = self._points[row.id]
        plan = header.plan(point)
        records = islice(self._log.in_order(row.id, [metric]), self._tally(row, metric).batches)
        for batch, record in enumerate(records):
            kept = record.get("metrics", {}).get(metric, {"x": ()})
            weights = kept.get("y", [1.0] * len(kept["x"]))
            yield dict(zip(plan.pictures(batch), zip(kept["x"], weights, strict=True), strict=False))


def _test(sides: Sequence[_Side], a: Row, b: Row, key: str, over: Over) -> Test:
    first, second = a.metrics[key], b.metrics[key]
    if first.value is None or second.value is None:
        return Test("no value", None, None, None, None)
    groups = [side.groups(row, key) for side, row in zip(sides, (a, b), strict=True)]
    if first.kind != "mean":
        return fisher(first, second, *(sum(group, Sums()) for group in groups))
    if sides[0].pictures(a) != sides[1].pictures(b) or not a.per_image:
        means = [[group.value for group in side if group.n] for side in groups]
        if a.per_image and b.per_image:
            return welch_t(means[0], means[1], "pictures")
        return stratified_t(groups[0], f"Welch's t over {first.n} and {second.n} blocks", groups[1])
    both = [(x, y) for x, y in zip(*groups, strict=True) if x.n and y.n]
    if over == "pictures" and len(both) > 1:
        return paired_t([x.value - y.value for x, y in both], "pictures")
    if sides[0].link(a) is not None and sides[0].link(a) == sides[1].link(b):
        paired = _paired_draws(sides, a, b, key)
        return stratified_t(paired, f"paired t over {sum(s.n for s in paired)} draws of {len(paired)} pictures")
    draws = [sum(pair[side].n for pair in both) for side in (0, 1)]
    return stratified_t([x for x, _ in both], f"Welch's t over {draws[0]} and {draws[1]} draws", [y for _, y in both])


def _paired_draws(sides: Sequence[_Side], a: Row, b: Row, key: str) -> list[Sums]:
    """Sums of the differences draw by draw, per picture; batches beyond either's stop are in neither."""
    differences: dict[int, list[float]] = {}
    for first, second in zip(sides[0].draws(a, key), sides[1].draws(b, key), strict=False):
        for picture in first.keys() & second.keys():
            (x, weight_x), (y, weight_y) = first[picture], second[picture]
            if weight_x > 0 and weight_y > 0:
                differences.setdefault(picture, []).append(x / weight_x - y / weight_y)
    return [Sums.of(values, [1.0] * len(values)) for _, values in sorted(differences.items())]
