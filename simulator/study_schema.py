"""The keys of a study file, strict and typed, and what each of them allows."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, ValidationError

from .grid import TARGET_WIDTH_DB, WITHIN, Grid
from .study_file import Source, nearest

MOST_POINTS = 100_000
_WITH_UNIT = re.compile(r"\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*([a-zA-Zµ%/]+)\s*")

# what people write for what is meant
SYNONYMS = {
    **dict.fromkeys(("snr", "snr_db", "esno", "es_n0", "esn0_db", "esno_dbs", "snrs"), "esno_db"),
    **dict.fromkeys(("ebno", "ebn0", "ebn0_db"), "ebno_db"),
    **dict.fromkeys(("dataset", "data", "pictures", "image"), "images"),
    **dict.fromkeys(("bandwidth_ratio", "cbrs", "rate", "k/n"), "cbr"),
    **dict.fromkeys(("title", "label"), "name"),
    **dict.fromkeys(("codec", "codecs", "methods"), "schemes"),
    **dict.fromkeys(("max_trials", "max_frames", "trials"), "most_trials"),
    **dict.fromkeys(("max_seconds", "timeout", "max_time"), "most_seconds"),
    **dict.fromkeys(("frame_errors", "max_errors", "fe"), "errors"),
    **dict.fromkeys(("batch_size", "size"), "items"),
}


def number(value: Any) -> float:
    """A finite number, or a complaint that knows about units and fractions."""
    if isinstance(value, str):
        match = _WITH_UNIT.fullmatch(value)
        if match:
            raise ValueError(f"write {match[1]} alone, without {match[2]!r}: the unit is in the key's name")
        raise ValueError("not a number")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("not a number")
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    return float(value)


def ratio(value: Any) -> float:
    """A number, or a fraction like 1/12."""
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]+\s*/\s*0*[1-9][0-9]*\s*", value):
        return float(Fraction(value.replace(" ", "")))
    return number(value)


def whole(value: Any) -> int:
    """A whole number, also as 1e5."""
    given = number(value)
    if given != math.floor(given):
        raise ValueError("not a whole number")
    return int(value)


def _decibels(value: Any) -> float:
    given = number(value)
    if abs(given) > 200:
        raise ValueError(f"{given:g} dB is beyond -200..200 dB")
    return given + 0.0  # never -0.0, which is another text in the canonical form


def _bandwidth(value: Any) -> float:
    given = ratio(value)
    if not 0 < given <= 100:
        raise ValueError("a CBR is positive (channel uses per source value), at most 100")
    return given


_RANGE, _ADAPTIVE = ("from", "to", "step"), ("refine", "within", "target")


def _sweep(value: Any) -> Grid:
    """A list of dB, or {from, to, step}, both ends included; with `refine` or `target` it grows."""
    if not isinstance(value, dict):
        return Grid(tuple(_distinct(value, _decibels)))
    if not set(_RANGE) <= set(value) <= {*_RANGE, *_ADAPTIVE}:
        given = ", ".join(map(str, value)) or "none"
        raise ValueError(f"a range has the keys from, to and step (and refine, within, target); got {given}")
    start, stop, step = (Decimal(repr(_decibels(value[key]))) for key in _RANGE)
    if step <= 0 or stop < start:
        raise ValueError("a range goes upwards: from <= to, step > 0")
    count = int((stop - start) / step) + 1
    if count > MOST_POINTS:
        raise ValueError(f"a range of {count} values; at most {MOST_POINTS}")
    values = tuple(float(start + i * step) for i in range(count))
    target = _target(value["target"]) if "target" in value else None
    refine = number(value["refine"]) if "refine" in value else TARGET_WIDTH_DB if target else None
    if "within" in value and (refine is None or target is not None):
        raise ValueError("within goes with refine: how far a line between neighbours may miss a point")
    if refine is not None and not refine >= 1e-4:
        raise ValueError(f"refine is a width in dB from 0.0001; got {refine:g}")
    within = number(value.get("within", WITHIN))
    if within <= 0:
        raise ValueError(f"within must be above 0; got {within:g}")
    return Grid(values, refine, within, target)


def _target(value: Any) -> tuple[str, float]:
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(f"target is one metric and its value, like {{bler: 1e-2}}; got {value!r}")
    ((metric, wanted),) = value.items()
    return str(metric), number(wanted)


def _distinct(value: Any, check: Any) -> list[float]:
    if not isinstance(value, list):
        raise ValueError(f"write a list, [{value}]")
    if not value:
        raise ValueError("the list is empty")
    checked = [check(entry) for entry in value]
    twice = [entry for i, entry in enumerate(checked) if entry in checked[:i]]
    if twice:
        raise ValueError(f"{twice[0]:g} is there twice")
    return checked


def _label(value: str) -> str:
    if not value.strip() or not value.isprintable() or len(value) > 200:
        raise ValueError("a name is one line of 1 to 200 printable characters")
    return value


def _plugins(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise ValueError("write one `label: plug-in` or `label: {name: plug-in, option: value}` per line")
    return {_label(str(label)): spec for label, spec in value.items()}


def _members(value: Any) -> dict[str, Any] | list[str]:
    """What a group takes of the study, by label, or what it adds to it."""
    if isinstance(value, list) and value and all(isinstance(label, str) for label in value):
        return value
    if isinstance(value, dict):
        return _plugins(value)
    raise ValueError("write a list of labels (`*` for any characters), or lines as in the study itself")


def named_sets(value: dict[str, Any]) -> dict[str, Any] | None:
    """Sets of pictures by name; None for the specification of a single set, which has no mappings in it."""
    return value if value and all(isinstance(spec, dict) for spec in value.values()) else None


def _images(value: Any) -> Any:
    """One set, or several by name."""
    if isinstance(value, dict) and named_sets(value) is not None:
        return _plugins(value)
    if isinstance(value, dict) and any(isinstance(spec, dict) for spec in value.values()):
        raise ValueError("either one set, or `name: {set: ...}` lines and nothing else")
    return value


def _image_members(value: Any) -> dict[str, Any] | list[str]:
    """Of a group: names of the study's sets, or further ones."""
    if isinstance(value, dict) and named_sets(value) is None:
        raise ValueError("sets of a group have names")
    return _members(value)


def _metric_list(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"write a list, {[value] if isinstance(value, str) else '[psnr, outage, cbr]'}")
    return value


Whole = Annotated[int, BeforeValidator(whole)]
Decibels = Annotated[InstanceOf[Grid], BeforeValidator(_sweep)]
Bandwidths = Annotated[list[float], BeforeValidator(lambda value: _distinct(value, _bandwidth))]
Members = Annotated[dict[str, Any] | list[str], BeforeValidator(_members)]
Images = Annotated[dict[str, Any], BeforeValidator(_images)]
ImageMembers = Annotated[dict[str, Any] | list[str], BeforeValidator(_image_members)]
Plugins = Annotated[dict[str, Any], BeforeValidator(_plugins)]
_DB = "a list of numbers in dB like [0, 2.5, 5], or {from: 0, to: 10, step: 2.5} (and refine: 0.5, or target: {bler: 1e-2})"
_CBR = "a list of numbers or fractions like [1/12, 0.1]"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class StopKeys(_Strict):
    """When a point has had enough; whichever comes first."""

    errors: Whole | None = Field(
        default=None, ge=1, description="a whole number of block errors (for pictures: outages) from 1"
    )
    half_width: dict[str, Annotated[float, BeforeValidator(number), Field(gt=0)]] = Field(
        default_factory=dict, description="{metric: half-width of its 95 % interval}, like {psnr: 0.05}"
    )
    least_draws: Whole = Field(default=4, ge=2, description="a whole number from 2: draws before `half_width` may stop a point")
    most_trials: Whole | None = Field(default=None, ge=1, description="a whole number of blocks (pictures x draws) from 1")
    most_seconds: Annotated[float, BeforeValidator(number)] | None = Field(
        default=None, gt=0, description="a positive number of seconds of computing time per point"
    )


class BatchKeys(_Strict):
    """How items are batched; part of the id, because it decides the seeds."""

    items: Whole = Field(default=8, ge=1, le=1_000_000, description="a whole number of items per batch from 1")


class GroupKeys(_Strict):
    """A group: a sweep of its own; what it leaves out is the study's."""

    schemes: Members | None = Field(default=None, description="labels of the study's schemes, or `label: scheme` lines")
    channels: Members | None = Field(default=None, description="labels of the study's channels, or `label: channel` lines")
    images: ImageMembers | None = Field(
        default=None, description="names of the study's sets of pictures, or `name: {set: kodak}` lines"
    )
    esno_db: Decibels | None = Field(default=None, description=_DB)
    ebno_db: Decibels | None = Field(default=None, description=_DB)
    cbr: Bandwidths | None = Field(default=None, description=_CBR)


class DefaultKeys(_Strict):
    """Options of plug-ins by their name, for all that do not say otherwise."""

    schemes: dict[str, dict[str, Any]] = Field(default_factory=dict, description="{digital: {source: bpg}}")
    channels: dict[str, dict[str, Any]] = Field(default_factory=dict, description="{rayleigh: {form: slow}}")


class StudyKeys(_Strict):
    """A study file, its `include` carried out."""

    name: Annotated[str, AfterValidator(_label)] = Field(description="a name: one line of text")
    seed: Whole = Field(default=1, ge=0, lt=2**63, description="a whole number from 0")
    images: Images | None = Field(
        default=None,
        description="{set: kodak, pick: [1, 5]} or {folder: path}, or several by name: `Kodak: {set: kodak}` lines",
    )
    defaults: DefaultKeys = Field(
        default_factory=lambda: DefaultKeys(), description="options by plug-in: {schemes: {digital: {source: bpg}}}"
    )
    channels: Plugins | None = Field(default=None, description="`label: channel` lines (see `jscclink list channels`)")
    schemes: Plugins | None = Field(default=None, description="`label: scheme` lines (see `jscclink list schemes`)")
    reference: str | None = Field(default=None, description="the label of the scheme that differences and gains are against")
    groups: dict[str, GroupKeys] | None = Field(
        default=None, min_length=1, description="`name: {channels: [...], esno_db: [...]}` lines: sweeps of their own"
    )
    side: Any = Field(default="ideal", description="a side link, or {name: side link, option: value}")
    feedback: Any = Field(default=None, description="a feedback link, or {name: feedback link, option: value}")
    esno_db: Decibels | None = Field(default=None, description=_DB)
    ebno_db: Decibels | None = Field(default=None, description=_DB)
    cbr: Bandwidths | None = Field(default=None, description=_CBR)
    metrics: Annotated[list[Any], BeforeValidator(_metric_list)] = Field(
        description="a list of metrics like [psnr, outage, cbr] (see `jscclink list metrics`)"
    )
    draws: Whole | None = Field(
        default=None, ge=1, le=10_000_000, description="a whole number of channel draws per picture from 1"
    )
    stop: StopKeys = Field(
        default_factory=lambda: StopKeys(), description="a mapping of errors, half_width, most_trials, most_seconds"
    )
    batch: BatchKeys = Field(default_factory=lambda: BatchKeys(), description="{items: 8}")


def check(data: dict[str, Any], source: Source) -> StudyKeys:
    """Mapping -> checked keys; the first thing wrong as one line.

    Raises
    ------
    InputError
    """
    try:
        return StudyKeys.model_validate(data)
    except ValidationError as error:
        first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        raise source.error(first["loc"], _sentence(first)) from error


def _sentence(error: Any) -> str:
    """One pydantic error in the words of the study file."""
    *above, key = [str(part) for part in error["loc"]]
    inner: dict[str, type[BaseModel]] = {
        "stop": StopKeys, "batch": BatchKeys, "groups": GroupKeys, "defaults": DefaultKeys,
    }  # fmt: skip
    model = inner.get(above[0], StudyKeys) if above else StudyKeys
    if error["type"] in ("extra_forbidden", "invalid_key"):
        hint = nearest(key, model.model_fields, SYNONYMS)
        return f"no such key; {hint}allowed: {', '.join(model.model_fields)}"
    field = next((model.model_fields[part] for part in (key, *above) if part in model.model_fields), None)
    allowed = field.description if field is not None else "see the documentation"
    if error["type"] == "missing":
        return f"the key is missing; it takes {allowed}"
    cause = error.get("ctx", {}).get("error")
    reason = f" ({cause})" if cause is not None else ""
    return f"got {shown(error['input'])}{reason}; allowed: {allowed}"


def shown(value: Any) -> str:
    """A value for a message, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
