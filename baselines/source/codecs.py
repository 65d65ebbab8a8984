"""All source codecs by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from jscclink.baselines.source.avif import Avif
from jscclink.baselines.source.bpg.codec import Bpg, Hevc
from jscclink.baselines.source.cache import TrialCache, trial_cache
from jscclink.baselines.source.codec import SourceCodec
from jscclink.baselines.source.jpeg import Jpeg
from jscclink.baselines.source.jpeg2000 import Jpeg2000
from jscclink.baselines.source.webp import WebP
from jscclink.errors import InputError

SOURCE_CODECS: dict[str, type[SourceCodec]] = {cls.name: cls for cls in (Jpeg, Jpeg2000, WebP, Avif, Hevc, Bpg)}


def source_codec(name: str, options: Mapping[str, Any] | None = None, cache: TrialCache | None = None) -> SourceCodec:
    """The codec of this name with these options (those of its class, as `SourceCodec.options` gives them).

    Raises `InputError` for an unknown name or option, saying what there is.
    """
    cls = SOURCE_CODECS.get(name)
    if cls is None:
        raise InputError(f"there is no source codec {name!r}{_near(name, SOURCE_CODECS)}; there are {', '.join(SOURCE_CODECS)}")
    allowed = [f.name for f in fields(cls) if f.compare]
    for option in options or {}:
        if option not in allowed:
            raise InputError(f"{name} has no option {option!r}{_near(option, allowed)}; it has {', '.join(allowed)}")
    return cls(**(options or {}), cache=trial_cache() if cache is None else cache)


def _near(given: str, names: Any) -> str:
    near = difflib.get_close_matches(given, names, 1)
    return f" (did you mean {near[0]!r}?)" if near else ""
