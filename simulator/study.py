"""The study: what a study file asks for, checked in full before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from jscclink.errors import InputError

from .grid import Grid
from .plugins import canonical_plugin, make, short_name
from .points import UNNAMED, Plan, Point, digest
from .results import MetricInfo, SchemeInfo
from .scheme import Scheme
from .study_curves import Curve, curves
from .study_file import Source, nearest, override, read
from .study_groups import Swept, sweeps
from .study_include import resolve
from .study_schema import StudyKeys, check
from .tally import StopRule

if TYPE_CHECKING:
    from .datasets import ImageSet

# blocks per point of a bit-level study that sets no other limit
MOST_BLOCKS = 100_000


@dataclass(frozen=True)
class StudyScheme:
    """A scheme of a study: what workers build it from, and what the runner has to know of it."""

    spec: Any
    plugin: Mapping[str, Any]
    fingerprint: str | None
    block_bits: int | None
    bits_per_use: float | None
    sets_own_rate: bool
    bound: bool

    @classmethod
    def of(cls, spec: Any, scheme: Scheme) -> StudyScheme:
        """Ask a built scheme."""
        fingerprint = getattr(scheme, "fingerprint", None)
        return cls(
            spec,
            canonical_plugin("schemes", spec),
            fingerprint() if fingerprint is not None else None,
            scheme.block_bits,
            scheme.bits_per_use,
            scheme.sets_own_rate,
            scheme.bound,
        )


@dataclass(frozen=True)
class PictureSet:
    """What the points of a study that share it transmit.

    Attributes
    ----------
    images : ImageSet or None
        None for blocks of bits.
    spec : mapping or None
        What workers load the pictures from.
    plan : Plan
    """

    images: ImageSet | None
    spec: Mapping[str, Any] | None
    plan: Plan


@dataclass(frozen=True)
class Study:
    """A checked study.

    Attributes
    ----------
    name : str
    seed : int
    text : str
        The study file, overrides applied.
    schemes : mapping of StudyScheme
        By label, like `channels` (plug-in specifications).
    side, feedback : plug-in specification; feedback may be None
    sets : mapping of PictureSet
        By name (`Point.image_set`): "" where there is one set without a name, or blocks of bits.
    metrics : mapping
        Key -> plug-in specification.
    metric_info : mapping of MetricInfo
    stop : StopRule
    points : tuple of Point
        In the order of the study; adaptive grids add to them while they run.
    curves : tuple of Curve
        The same by curve, with the rules by which they grow.
    reference : str or None
        Label of the scheme that reports compare with; None: they choose (`gains.reference_of`).
    """

    name: str
    seed: int
    text: str
    schemes: Mapping[str, StudyScheme]
    channels: Mapping[str, Any]
    side: Any
    feedback: Any
    sets: Mapping[str, PictureSet]
    metrics: Mapping[str, Any]
    metric_info: Mapping[str, MetricInfo]
    stop: StopRule
    points: tuple[Point, ...]
    curves: tuple[Curve, ...]
    reference: str | None = None

    @classmethod
    def load(cls, path: str | Path, overrides: Mapping[str, Any] | None = None) -> Study:
        """Read and check a study file.

        Parameters
        ----------
        overrides
            Values by dotted path, in place of the file's: `{"draws": 2, "stop.errors": 10}`.

        Raises
        ------
        InputError
            One line: file, line, path in the file, what was given, what is allowed, the nearest valid word.
        """
        data, source, text = read(path)
        whole, folder = Path(path).resolve(), Path(path).resolve().parent
        includes = "include" in data
        data, source = resolve(data, source, folder, (whole,))
        if overrides:
            data = override(data, overrides, source)
        return _resolve(check(data, source), source, _dump(data) if overrides or includes else text, folder)

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], *, folder: str | Path = ".") -> Study:
        """The same from a mapping; paths within it are relative to `folder`."""
        whole, source = resolve(data, Source("study", {}), Path(folder).resolve())
        return _resolve(check(whole, source), source, _dump(whole), Path(folder).resolve())

    @property
    def block_bits(self) -> bool:
        """Whether blocks of bits are transmitted, not pictures."""
        return all(pictures.images is None for pictures in self.sets.values())

    def scheme_info(self) -> dict[str, SchemeInfo]:
        """By label."""
        return {label: SchemeInfo(scheme.plugin, scheme.bound) for label, scheme in self.schemes.items()}


def _dump(data: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True)


def _resolve(keys: StudyKeys, source: Source, text: str, folder: Path) -> Study:
    swept = sweeps(keys, source)
    schemes = {
        label: StudyScheme.of(spec, make("schemes", spec, source, swept.places["schemes", label]))
        for label, spec in swept.schemes.items()
    }
    for label, spec in swept.channels.items():
        make("channels", spec, source, swept.places["channels", label])
    make("sides", keys.side, source, ("side",))
    if keys.feedback is not None:
        make("feedbacks", keys.feedback, source, ("feedback",))
    if keys.reference is not None and keys.reference not in schemes:
        hint = nearest(keys.reference, schemes)
        raise source.error(("reference",), f"no scheme {keys.reference!r}; {hint}there are: {', '.join(schemes)}")
    bits = _source_kind(keys, swept, schemes, source)
    metrics, info = _metrics(keys, "bits" if bits else "image", source)
    sets = _sets(keys, swept, source, folder)
    template = Point(
        scheme_label="",
        channel_label="",
        scheme={},
        channel={},
        side=canonical_plugin("sides", keys.side),
        feedback=None if keys.feedback is None else canonical_plugin("feedbacks", keys.feedback),
        fingerprint=None,
        esno_db=0.0,
        ebno_db=None,
        cbr=None,
        seed=keys.seed,
        images=None,
        items=keys.batch.items,
    )
    for sweep in swept.sweeps:
        _check_target(sweep.grid, metrics, (*sweep.path, "ebno_db" if sweep.ebno else "esno_db"), source)
    digests = {name: None if one.images is None else digest(list(one.images.sha256)) for name, one in sets.items()}
    grown = curves(swept, schemes, digests, template, source)
    return Study(
        name=keys.name,
        seed=keys.seed,
        text=text,
        schemes=schemes,
        channels=swept.channels,
        side=keys.side,
        feedback=keys.feedback,
        sets=sets,
        metrics=metrics,
        metric_info=info,
        stop=_stop(keys, metrics, bits, source),
        points=tuple(point for curve in grown for point in curve.points),
        curves=grown,
        reference=keys.reference,
    )


def _check_target(grid: Grid, metrics: Mapping[str, Any], path: tuple[str, ...], source: Source) -> None:
    if grid.target is not None and grid.target[0] not in metrics:
        raise source.error((*path, "target", grid.target[0]), f"not among the study's metrics: {', '.join(metrics)}")


def _source_kind(keys: StudyKeys, swept: Swept, schemes: Mapping[str, StudyScheme], source: Source) -> bool:
    """Whether the schemes transmit blocks of bits; they all do or none, and the other keys go with it."""
    bits = [label for label, scheme in schemes.items() if scheme.block_bits is not None]
    pictures = [label for label in schemes if label not in bits]
    if bits and pictures:
        message = f"{bits[0]!r} transmits blocks of bits, {pictures[0]!r} pictures; make two studies of it"
        raise source.error(("schemes",), message)
    if bits:
        for key in ("images", "cbr", "draws"):
            if getattr(keys, key) is not None or (key == "images" and swept.images):
                raise source.error((key,), f"{bits[0]!r} transmits blocks of bits, which have no {key}; leave the key out")
        for sweep in swept.sweeps:
            if sweep.cbrs != (None,):
                raise source.error((*sweep.path, "cbr"), f"{bits[0]!r} transmits blocks of bits, which have no cbr")
    else:
        for sweep in swept.sweeps:
            if not all(name in swept.images for name in sweep.images):
                raise _missing("images", pictures[0], "{set: kodak}", source)
            limited = [label for label in sweep.schemes if not schemes[label].sets_own_rate]
            if sweep.cbrs == (None,) and limited:
                raise _missing("cbr", limited[0], "[1/12]", source)
    return bool(bits)


def _missing(key: str, label: str, example: str, source: Source) -> InputError:
    return source.error((), f"the key {key!r} is missing: {label!r} transmits pictures; write {key}: {example}")


def _metrics(keys: StudyKeys, kind: str, source: Source) -> tuple[dict[str, Any], dict[str, MetricInfo]]:
    metrics: dict[str, Any] = {}
    info: dict[str, MetricInfo] = {}
    for index, spec in enumerate(keys.metrics):
        path = ("metrics", str(index))
        metric = make("metrics", spec, source, path)
        key = short_name(canonical_plugin("metrics", spec), "metrics")
        if key in metrics:
            raise source.error(path, f"{key!r} is there twice")
        if kind not in metric.sources:
            what = {"bits": "blocks of bits", "image": "pictures"}
            allowed = " and ".join(what[source_kind] for source_kind in sorted(metric.sources))
            raise source.error(path, f"{key!r} is measured on {allowed}; the schemes transmit {what[kind]}")
        metrics[key] = spec
        info[key] = MetricInfo(metric.unit, metric.better)
    return metrics, info


def _sets(keys: StudyKeys, swept: Swept, source: Source, folder: Path) -> dict[str, PictureSet]:
    if not swept.images:
        return {UNNAMED: PictureSet(None, None, Plan((), keys.batch.items))}
    from . import datasets  # with its image libraries, which blocks of bits do not need

    found = {}
    for name, given in swept.images.items():
        spec = dict(given)
        if isinstance(spec.get("folder"), str):
            spec["folder"] = str(folder / Path(spec["folder"]).expanduser())
        try:
            images = datasets.load(spec)
            _ = images.sha256  # decodes every picture: one that cannot be read is found here
        except ValueError as error:
            raise source.error(swept.places["images", name], str(error)) from error
        found[name] = PictureSet(images, spec, Plan.for_images(images.shapes, keys.batch.items))
    return found


def _stop(keys: StudyKeys, metrics: Mapping[str, Any], bits: bool, source: Source) -> StopRule:
    stop = keys.stop
    for key in stop.half_width:
        if key not in metrics:
            raise source.error(("stop", "half_width", key), f"not among the study's metrics: {', '.join(metrics)}")
    most_trials = stop.most_trials
    if bits and most_trials is None and stop.most_seconds is None:
        most_trials = MOST_BLOCKS
    return StopRule(
        draws=None if bits else keys.draws or 10,
        errors=stop.errors,
        half_width=dict(stop.half_width),
        least_draws=stop.least_draws,
        most_trials=most_trials,
        most_seconds=stop.most_seconds,
    )
