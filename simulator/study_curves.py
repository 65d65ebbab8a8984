"""From sweeps to operating points, by curve: one scheme on one channel and one set of pictures at one CBR, over Es/N0."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Protocol

from .grid import Grid
from .plugins import canonical_plugin
from .points import Point
from .study_file import Source
from .study_groups import Sweep, Swept
from .study_schema import MOST_POINTS
from .units import ebno_db_from_esno_db, esno_db_from_ebno_db


class Rated(Protocol):
    """What points need to know of a scheme."""

    @property
    def plugin(self) -> Mapping[str, object]: ...
    @property
    def fingerprint(self) -> str | None: ...
    @property
    def bits_per_use(self) -> float | None: ...


@dataclass(frozen=True)
class Curve:
    """The points of a curve so far, and how it grows.

    Attributes
    ----------
    points : tuple of Point
    grid : Grid
    bits_per_use : float or None
        Of the scheme, for Eb/N0.
    """

    points: tuple[Point, ...]
    grid: Grid
    bits_per_use: float | None

    def at(self, esno_db: float) -> Point:
        """Another point of the curve."""
        rate = self.bits_per_use
        return replace(
            self.points[0], esno_db=esno_db + 0.0, ebno_db=None if rate is None else ebno_db_from_esno_db(esno_db, rate)
        )


def curves(
    swept: Swept, schemes: Mapping[str, Rated], images: Mapping[str, str | None], template: Point, source: Source
) -> tuple[Curve, ...]:
    """All curves of a study, in its order.

    Parameters
    ----------
    images
        Digest of the pictures of each set, None for blocks of bits.
    template
        What all points share: seed, side link, feedback, batch.

    Raises
    ------
    InputError
        Too many points, Eb/N0 of schemes without a rate, one point under two labels, two rules for one curve.
    """
    count = sum(len(s.schemes) * len(s.channels) * len(s.images) * len(s.cbrs) * len(s.grid.values) for s in swept.sweeps)
    if count > MOST_POINTS:
        raise source.error((), f"{count} points; at most {MOST_POINTS} in one study")
    channels = {label: canonical_plugin("channels", spec) for label, spec in swept.channels.items()}
    found: dict[tuple[str, str, str, float | None], Curve] = {}
    for sweep in swept.sweeps:
        for scheme_label in sweep.schemes:
            scheme = schemes[scheme_label]
            if sweep.ebno and scheme.bits_per_use is None:
                message = f"{scheme_label!r} has no fixed number of information bits per use; give the SNR as esno_db"
                raise source.error((*sweep.path, "ebno_db"), message)
            for channel_label, image_set in product(sweep.channels, sweep.images):
                for cbr in sweep.cbrs:
                    start = replace(
                        template,
                        scheme_label=scheme_label,
                        channel_label=channel_label,
                        scheme=scheme.plugin,
                        channel=channels[channel_label],
                        fingerprint=scheme.fingerprint,
                        cbr=cbr,
                        images=images[image_set],
                        image_set=image_set,
                    )
                    curve = Curve(_points(start, sweep, scheme.bits_per_use), sweep.grid, scheme.bits_per_use)
                    key = (scheme_label, channel_label, image_set, cbr)
                    found[key] = _joined(found[key], curve, sweep, source) if key in found else curve
    _distinct([point for curve in found.values() for point in curve.points], source)
    return tuple(found.values())


def _points(start: Point, sweep: Sweep, rate: float | None) -> tuple[Point, ...]:
    points = []
    for value in sweep.grid.values:
        esno_db = esno_db_from_ebno_db(value, rate or math.nan) if sweep.ebno else value
        ebno_db = None if rate is None else value if sweep.ebno else ebno_db_from_esno_db(value, rate)
        points.append(replace(start, esno_db=esno_db, ebno_db=ebno_db))
    return tuple(points)


def _joined(first: Curve, second: Curve, sweep: Sweep, source: Source) -> Curve:
    """Two groups that share a curve: its points together."""
    if first.grid.adaptive or second.grid.adaptive:
        title = first.points[0].title
        raise source.error(sweep.path, f"{title!r} is in two groups, one of which refines its SNRs; leave it out of one")
    known = {point.id for point in first.points}
    new = tuple(point for point in second.points if point.id not in known)
    return replace(first, points=(*first.points, *new))


def _distinct(points: list[Point], source: Source) -> None:
    """Two labels for one and the same thing would share their results without anybody noticing."""
    seen: dict[str, Point] = {}
    for point in points:
        other = seen.setdefault(point.id, point)
        if other is not point:
            raise source.error((), f"{other.title!r} and {point.title!r} are the same point; leave one out")
