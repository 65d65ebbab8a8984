"""BibTeX of what a study used, from the names of its plug-ins, channels, codes and metrics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from jscclink.simulator.results import Results

_ENTRY = re.compile(r"^@\w+\{(\w+),.*?^\}$", re.MULTILINE | re.DOTALL)

# what a word in a plug-in's name or options stands for
_MEANS = {
    "ldpc": ("ts38212",),
    "polar": ("ts38212",),
    "mcs": ("ts38214",),
    "digital": ("ts38212",),
    "capacity_bound": ("shannon",),
    "normal_approximation": ("polyanskiy",),
    "normal": ("polyanskiy",),
    "bpg": ("bpg", "hevc"),
    "ms_ssim_db": ("ms_ssim",),
    "tdl": ("tr38901", "sionna"),
    "cdl": ("tr38901", "sionna"),
    "outage": ("clopper_pearson",),
    "bler": ("clopper_pearson",),
}


def citations(results: Results) -> tuple[str, ...]:
    """BibTeX entries, jscclink's own first."""
    version = results.provenance.versions.get("jscclink", "")
    title = "jscclink: end-to-end link simulation of image transmission"
    own = f"@software{{jscclink,\n  title = {{{title}}},\n  version = {{{version}}},\n}}"
    words = {word for info in results.schemes.values() for word in _words(info.plugin)}
    words |= {word for plugin in results.channels.values() for word in _words(plugin)}
    words |= set(results.metrics)
    if any(name.startswith("kodim") for name in results.images):
        words.add("kodak")
    keys = {key for word in words for key in _MEANS.get(word, (word,))} | {"pytorch"}
    bibliography = files("jscclink.simulator.report").joinpath("references.bib").read_text("utf-8")
    return own, *(entry[0] for entry in _ENTRY.finditer(bibliography) if entry[1] in keys)


def _words(value: Any) -> Iterable[str]:
    """Names and options of a plug-in, as far as they are set."""
    if isinstance(value, str):
        yield from value.split()[:1]
    elif isinstance(value, Mapping):
        for key, part in value.items():
            if part not in (None, False):
                yield str(key)
                yield from _words(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _words(part)
