"""What a study will cost, from a calibration batch per scheme that is timed and never stored."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby

from .batch import Failure, Job, run_batch
from .points import Plan, Point, panel
from .progress import duration
from .study import Study
from .tally import StopRule

# blocks of bits that a calibration transmits at most
_BLOCKS = 8


@dataclass(frozen=True)
class Cost:
    """What one scheme takes on one worker.

    Attributes
    ----------
    item_s : float
        Seconds per picture or block, over the lowest and the highest SNR.
    first_s : float
        Seconds that a picture takes more the first time (source encodings, which are kept); 0 for blocks.
    failure : str
        Why there are no figures (they are nan); else empty.
    """

    item_s: float
    first_s: float
    failure: str = ""


@dataclass(frozen=True)
class Forecast:
    """Items and time a study needs at most; times on one worker.

    Attributes
    ----------
    points : int
        To begin with; adaptive grids add to them.
    most_items : float
        Pictures x draws, or blocks, of all points: inf where only errors or time stop a point.
    least_items : float
        Where `stop.half_width` or `stop.errors` may stop points earlier: as soon as they may.
    costs : mapping of Cost
        By scheme, and by set of pictures where those have names.
    most_s, least_s : float
        Computing time; nan where a calibration failed.
    """

    points: int
    most_items: float
    least_items: float
    costs: Mapping[str, Cost]
    most_s: float
    least_s: float


def forecast(study: Study, *, device: str = "cpu", threads: int = 1) -> Forecast:
    """Time a batch of one picture (or a few blocks) per scheme; nothing is stored."""
    costs: dict[str, Cost] = {}
    most_items = least_items = most_s = least_s = 0.0
    for (label, name), points in _by_scheme_and_set(study).items():
        plan = study.sets[name].plan
        most, least = _items(study.stop, plan)
        title = panel(label, name)
        cost = costs[title] = _cost(study, points, device, threads)
        first = cost.first_s * plan.images * len({point.cbr for point in points})
        most_items += len(points) * most
        least_items += len(points) * least
        most_s += first + len(points) * most * cost.item_s
        least_s += first + len(points) * least * cost.item_s
    return Forecast(len(study.points), most_items, least_items, costs, most_s, least_s)


def _by_scheme_and_set(study: Study) -> dict[tuple[str, str], list[Point]]:
    groups: dict[tuple[str, str], list[Point]] = {}
    for label in study.schemes:
        for point in study.points:
            if point.scheme_label == label:
                groups.setdefault((label, point.image_set), []).append(point)
    return groups


def _items(stop: StopRule, plan: Plan) -> tuple[float, float]:
    """Items of a point: at most, and as soon as a rule may stop it."""
    per_batch = plan.images / plan.batches_per_pass if plan.images else plan.items
    most = stop.most_batches(plan) * per_batch
    least = most
    if stop.half_width:
        least = min(most, stop.least_draws * plan.images if plan.images else plan.items)
    if stop.errors is not None:
        least = min(least, plan.images or max(stop.errors, plan.items))
    return most, least


def _cost(study: Study, points: list[Point], device: str, threads: int) -> Cost:
    """Of points on the same pictures.

    The first call also imports and compiles; the second meets a new picture; the others know it.
    """
    low, high = (choose(points, key=lambda point: point.esno_db) for choose in (min, max))
    pictures = study.sets[points[0].image_set]
    plan = pictures.plan
    items = 1 if plan.images else min(_BLOCKS, plan.items)
    last = max(plan.images - 1, 0)
    seconds = []
    for point, picture in ((high, 0), (low, last), (low, last), (high, last)):
        job = Job(
            point=point if plan.images else replace(point, items=items),
            batch=0,
            pictures=(picture,) if plan.images else (),
            scheme=study.schemes[point.scheme_label].spec,
            channel=study.channels[point.channel_label],
            side=study.side,
            feedback=study.feedback,
            images=pictures.spec,
            metrics=study.metrics,
            device=device,
            threads=threads,
        )
        start = time.perf_counter()
        outcome = run_batch(job)
        if isinstance(outcome, Failure):
            return Cost(math.nan, math.nan, outcome.message)
        seconds.append(time.perf_counter() - start)
    _, first, again, other = seconds
    # a study of one picture has met it already
    return Cost((again + other) / 2 / items, max(first - again, 0.0) if last else 0.0)


def _curve(point: Point) -> tuple[str, str, float | None]:
    return point.scheme_label, panel(point.channel_label, point.image_set), point.cbr


def describe(study: Study, found: Forecast, processes: int = 1) -> str:
    """Points, draws, costs and time as text, for `processes` workers that share the work evenly."""
    what = "blocks" if study.block_bits else "pictures x draws"
    lines = [f"study {study.name}: {found.points} points on {len(study.curves)} curves"]
    for (scheme, place, cbr), group in groupby(study.points, key=_curve):
        budget = "" if cbr is None else f" | CBR {cbr:.6g}"
        lines.append(f"  {scheme} | {place}{budget} | Es/N0 {', '.join(f'{point.esno_db:g}' for point in group)} dB")
    growing = sum(curve.grid.adaptive for curve in study.curves)
    if growing:
        lines.append(f"  and what the adaptive grids of {growing} curves add, which is not in the figures below")
    fewer = "" if found.least_items == found.most_items else f", {found.least_items:,.0f} if every stop rule is met at once"
    lines.append(f"at most {found.most_items:,.0f} {what}{fewer}")
    for label, cost in found.costs.items():
        first = f", {cost.first_s:.3g} s more the first time" if cost.first_s > 0.1 * cost.item_s else ""
        figures = f"{cost.item_s:.3g} s per {'block' if study.block_bits else 'picture'}{first}"
        lines.append(f"  {label}: {cost.failure or figures}")
    workers = "one process" if processes == 1 else f"{processes} processes"
    if not math.isfinite(found.most_s):
        left = "unknown: a calibration failed" if math.isnan(found.most_s) else "unlimited: set stop.most_trials"
        lines.append(f"time at most, {workers}: {left}")
    else:
        lines.append(f"time at most, {workers}: {duration(found.most_s / processes)}")
    if math.isfinite(found.least_s) and found.least_items < found.most_items:
        lines.append(f"time at least, {workers}: {duration(found.least_s / processes)}")
    return "\n".join(lines) + "\n"
