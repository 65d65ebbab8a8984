"""Names -> plug-ins: one registry for schemes, channels, metrics, source codecs, ..., ours and third parties'.

A plug-in is a class whose options are the annotated arguments of its constructor. The study file's
`{name: rayleigh, form: slow}` is checked against them before anything is built. Third parties add their own through entry
points of their package, in the groups `jscclink.schemes`, `jscclink.channels`, ... (one per kind).
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, PydanticSchemaGenerationError, TypeAdapter, ValidationError, create_model

from jscclink.channels.channel import Channel
from jscclink.errors import InputError

KINDS = ("schemes", "channels", "metrics", "sides", "sources", "codes", "feedbacks")

Spec = str | Mapping[str, Any] | Sequence[Any]

# Ours, by import path: imported when first asked for, so that naming a channel does not load every codec.
_OURS: dict[str, dict[str, str]] = {
    "schemes": {
        "adaptive": "jscclink.baselines.adaptive:Adaptive",
        "bits": "jscclink.baselines.bitlevel:Bits",
        "capacity_bound": "jscclink.baselines.bounds:CapacityBound",
        "digital": "jscclink.baselines.digital:Digital",
        "external": "jscclink.simulator.codecs.external.scheme:External",
        "harq": "jscclink.baselines.harq:Harq",
        "hjscc": "jscclink.simulator.codecs.hjscc.scheme:Hjscc",
        "hjscc_feedback": "jscclink.simulator.codecs.hjscc.feedback:HjsccFeedback",
        "layered": "jscclink.baselines.layered:Layered",
        "mosaic": "jscclink.baselines.mosaic:Mosaic",
        "uncoded": "jscclink.baselines.uncoded:Uncoded",
    },
    "channels": {
        "noiseless": "jscclink.channels.awgn:Noiseless",
        "awgn": "jscclink.channels.awgn:Awgn",
        "rayleigh": "jscclink.channels.fading:Rayleigh",
        "rician": "jscclink.channels.fading:Rician",
        "mimo": "jscclink.channels.mimo:Mimo",
        "exponential": "jscclink.channels.tapped_delay:Exponential",
        "taps": "jscclink.channels.tapped_delay:Taps",
        "tdl": "jscclink.channels.tapped_delay:Tdl",
        "cdl": "jscclink.channels.tapped_delay:Cdl",
        "recorded": "jscclink.channels.tapped_delay:Recorded",
        "carrier_offset": "jscclink.channels.impairments:CarrierOffset",
        "phase_noise": "jscclink.channels.impairments:PhaseNoise",
        "timing_offset": "jscclink.channels.impairments:TimingOffset",
        "iq_imbalance": "jscclink.channels.impairments:IqImbalance",
        "interference": "jscclink.channels.impairments:Interference",
        "bursts": "jscclink.channels.impairments:Bursts",
        "clipping": "jscclink.channels.amplifier:Clipping",
        "rapp": "jscclink.channels.amplifier:Rapp",
        "quantisation": "jscclink.channels.amplifier:Quantisation",
        "composite": "jscclink.channels.compose:Composite",
    },
    "feedbacks": {
        "perfect": "jscclink.channels.feedback:PerfectFeedback",
        "noisy": "jscclink.channels.feedback:NoisyFeedback",
        "quantised": "jscclink.channels.feedback:QuantisedFeedback",
    },
    "metrics": {
        "ber": "jscclink.simulator.rates:Ber",
        "bler": "jscclink.simulator.rates:Bler",
        "bpp": "jscclink.simulator.rates:Bpp",
        "cbr": "jscclink.simulator.rates:Cbr",
        "cbr_with_overhead": "jscclink.simulator.rates:CbrWithOverhead",
        "energy": "jscclink.simulator.rates:Energy",
        "ms_ssim": "jscclink.simulator.quality:MsSsim",
        "ms_ssim_db": "jscclink.simulator.quality:MsSsimDb",
        "mse": "jscclink.simulator.quality:Mse",
        "outage": "jscclink.simulator.rates:Outage",
        "psnr": "jscclink.simulator.quality:Psnr",
        "ssim": "jscclink.simulator.quality:Ssim",
    },
    "sides": {
        "coded": "jscclink.baselines.side:CodedSide",
        "ideal": "jscclink.simulator.side:IdealSide",
        "free": "jscclink.simulator.side:FreeSide",
        "normal": "jscclink.baselines.side:NormalSide",
    },
    "sources": {
        "avif": "jscclink.baselines.source.avif:Avif",
        "bpg": "jscclink.baselines.source.bpg.codec:Bpg",
        "hevc": "jscclink.baselines.source.bpg.codec:Hevc",
        "jpeg": "jscclink.baselines.source.jpeg:Jpeg",
        "jpeg2000": "jscclink.baselines.source.jpeg2000:Jpeg2000",
        "webp": "jscclink.baselines.source.webp:WebP",
        "ntc": "jscclink.simulator.codecs.hjscc.ntc:Ntc",
    },
    "codes": {
        "ldpc": "jscclink.baselines.channel_coding.ldpc:LDPC5G",
        "polar": "jscclink.baselines.channel_coding.polar:Polar5G",
    },
}


@cache
def _paths(kind: str) -> dict[str, str]:
    """name -> import path of every plug-in of a kind; third parties may not take a name that is in use."""
    if kind not in KINDS:
        raise InputError(f"{kind!r} is no kind of plug-in; allowed: {', '.join(KINDS)}")
    paths = dict(_OURS[kind])
    for entry in entry_points(group=f"jscclink.{kind}"):
        if paths.get(entry.name, entry.value) != entry.value:
            raise InputError(
                f"two plug-ins want the name {entry.name!r} among {kind}: {paths[entry.name]} and {entry.value}; "
                "rename one in its package's entry points"
            )
        paths[entry.name] = entry.value
    return paths


def names(kind: str) -> list[str]:
    """Names of all plug-ins of a kind, sorted."""
    return sorted(_paths(kind))


def plugin(kind: str, name: str) -> type:
    """The class behind a name."""
    paths = _paths(kind)
    if name not in paths:
        near = difflib.get_close_matches(str(name), paths, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise InputError(f"no {kind[:-1]} is called {name!r}; {hint}known: {', '.join(sorted(paths))}")
    module, _, attribute = paths[name].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"the {kind[:-1]} {name!r} ({paths[name]}) cannot be loaded: {error}") from error


@cache
def options(kind: str, name: str) -> type[BaseModel]:
    """The options of a plug-in as a strict pydantic model, made from its constructor's arguments.

    An argument with a default and a type that no study can write (an object of some class) is for code only, no option.
    """
    cls = plugin(kind, name)
    init = cls.__init__  # type: ignore[misc]
    parameters = [] if init is object.__init__ else list(inspect.signature(cls).parameters.values())
    # a dataclass's annotations live where each of its fields was declared, those of a constructor where that was
    hints = get_type_hints(cls if is_dataclass(cls) else init, include_extras=True) if parameters else {}
    fields: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD) or parameter.name not in hints:
            raise InputError(
                f"the {kind[:-1]} {name!r} takes {parameter.name!r} in a way that a study cannot use; its options must be "
                "annotated arguments"
            )
        default = ... if parameter.default is parameter.empty else parameter.default
        if default is not ... and not _writable(hints[parameter.name]):
            continue
        fields[parameter.name] = (hints[parameter.name], Field(default))
    return create_model(
        f"{name} options",
        __config__=ConfigDict(extra="forbid", strict=True, protected_namespaces=(), allow_inf_nan=False),
        **fields,
    )


def _writable(hint: Any) -> bool:
    """Whether a study file can hold a value of this type."""
    try:
        TypeAdapter(hint)
    except PydanticSchemaGenerationError:
        return False
    return True


def build(kind: str, spec: Spec) -> Any:
    """Make a plug-in from its name, or from `{name: ..., option: value, ...}`; a channel also from a list (see `split`).

    Raises
    ------
    InputError
        Unknown name or option, wrong type, or a combination that the plug-in refuses.
    """
    made = _make(kind, spec)
    if kind == "channels" and not isinstance(made, Channel):
        name = split(kind, spec)[0]
        raise InputError(f"{name!r} is an impairment, no channel on its own: put it into a list with awgn, like [{name}, awgn]")
    return made


def _make(kind: str, spec: Spec) -> Any:
    name, given = split(kind, spec)
    try:
        checked = options(kind, name).model_validate(given)
    except ValidationError as error:
        raise InputError(describe(kind, name, error)) from error
    chosen = {key: getattr(checked, key) for key in checked.__class__.model_fields}
    if kind == "channels" and name == "composite":
        chosen["stages"] = [_make(kind, stage) for stage in chosen["stages"]]
    return plugin(kind, name)(**chosen)


def split(kind: str, spec: Spec) -> tuple[str, dict[str, Any]]:
    """`awgn` or `{name: awgn, ...}` -> name and options; `[rapp, awgn]` -> `composite` with these `stages`."""
    if isinstance(spec, str):
        return spec, {}
    if kind == "channels" and isinstance(spec, list | tuple):
        return "composite", {"stages": list(spec)}
    if not isinstance(spec, Mapping) or not isinstance(spec.get("name"), str):
        raise InputError(f"a {kind[:-1]} is a name, or a mapping with a `name` and its options; got {spec!r}")
    return spec["name"], {key: value for key, value in spec.items() if key != "name"}


def describe(kind: str, name: str, error: ValidationError) -> str:
    """The first thing wrong with the options, as one sentence."""
    fields = options(kind, name).model_fields
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(path, fields, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"the {kind[:-1]} {name!r} has no option {path!r}; {hint}allowed: {', '.join(fields) or 'none'}"
    if first["type"] == "missing":
        return f"the {kind[:-1]} {name!r} needs the option {path!r}"
    return f"option {path!r} of the {kind[:-1]} {name!r}: {first['msg']}; got {first['input']!r}"
