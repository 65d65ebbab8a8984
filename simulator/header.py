"""A study as the store keeps it: all that tables and figures need, without its plug-ins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .environment import versions
from .points import UNNAMED, digest
from .study import PictureSet, Study


def study_header(study: Study, device: str, threads: int) -> dict[str, Any]:
    """Study and run-time settings as plain data; `results.Header` reads it."""
    points = []
    means = {name: sum(sizes) / len(sizes) for name, one in study.sets.items() if (sizes := _sizes(one))}
    for point in study.points:
        bits = study.schemes[point.scheme_label].block_bits
        values = bits if bits is not None else means[point.image_set]
        named = {"id": point.id, "link": point.link_id, "scheme": point.scheme_label, "channel": point.channel_label}
        snr = {"esno_db": point.esno_db, "ebno_db": point.ebno_db, "cbr": point.cbr}
        points.append({**named, **_named(point.image_set), **snr, "values": values, "bits": bits})
    return {
        "name": study.name,
        "seed": study.seed,
        "text": study.text,
        "versions": versions(),
        "device": device,
        "threads": threads,
        "schemes": {label: asdict(info) for label, info in study.scheme_info().items()},
        "channels": {point.channel_label: point.channel for point in study.points},
        "metrics": {key: [info.unit, info.better] for key, info in study.metric_info.items()},
        **_pictures(study),
        "stop": asdict(study.stop),
        "points": points,
        **({} if study.reference is None else {"reference": study.reference}),
    }


def _sizes(pictures: PictureSet) -> list[int]:
    """Source values of each picture."""
    return [] if pictures.images is None else [3 * h * w for _, h, w in pictures.images.shapes]


def _named(image_set: str) -> dict[str, str]:
    """What a point says of its set of pictures: nothing where that has no name."""
    return {"image_set": image_set} if image_set else {}


def _pictures(study: Study) -> dict[str, Any]:
    """Names of the pictures and composition of batches: of the one set, or by the names of the sets."""
    names = {name: list(one.images.names) if one.images is not None else [] for name, one in study.sets.items()}
    chunks = {name: [list(chunk) for chunk in one.plan.chunks] for name, one in study.sets.items()}
    items = next(iter(study.sets.values())).plan.items
    if UNNAMED in names:
        return {"images": names[UNNAMED], "chunks": chunks[UNNAMED], "items": items}
    return {"images": names, "chunks": chunks, "items": items}


def study_hash(header: Mapping[str, Any]) -> str:
    """64 hexadecimal digits that studies share whose results may lie in one store: seed, pictures, composition of batches.

    Sets of pictures that have names may be there or not; those of one name must be alike, which `merge` sees to.
    """
    kept = {key: header[key] for key in ("seed", "images", "chunks", "items")}
    return digest({key: "by name" if isinstance(value, dict) else value for key, value in kept.items()})
