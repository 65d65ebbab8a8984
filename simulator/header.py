"""A study as the store keeps it: all that tables and figures need, without its plug-ins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .environment import versions
from .points import digest
from .study import Study


def study_header(study: Study, device: str, threads: int) -> dict[str, Any]:
    """Study and run-time settings as plain data; `results.Header` reads it."""
    shapes = [3 * h * w for _, h, w in study.images.shapes] if study.images is not None else []
    points = []
    for point in study.points:
        bits = study.schemes[point.scheme_label].block_bits
        values = bits if bits is not None else sum(shapes) / len(shapes)
        named = {"id": point.id, "link": point.link_id, "scheme": point.scheme_label, "channel": point.channel_label}
        snr = {"esno_db": point.esno_db, "ebno_db": point.ebno_db, "cbr": point.cbr}
        points.append({**named, **snr, "values": values, "bits": bits})
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
        "images": list(study.images.names) if study.images is not None else [],
        "chunks": [list(chunk) for chunk in study.plan.chunks],
        "items": study.plan.items,
        "stop": asdict(study.stop),
        "points": points,
    }


def study_hash(header: Mapping[str, Any]) -> str:
    """64 hexadecimal digits that studies share whose results may lie in one store: seed, pictures, composition of batches."""
    return digest({key: header[key] for key in ("seed", "images", "chunks", "items")})
