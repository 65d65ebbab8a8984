"""Names, options and their errors; third parties' entry points are tested in test_thirdparty.py."""

import importlib.metadata

import pytest

from jscclink.channels.fading import Rayleigh
from jscclink.errors import InputError
from jscclink.simulator import registry


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_registered_plugin_loads_and_describes_its_options(kind):
    for name in registry.names(kind):
        model = registry.options(kind, name)
        assert registry.plugin(kind, name).__doc__, f"{kind} {name} has no docstring"
        assert model.model_config["extra"] == "forbid"


def test_build_from_name_and_options():
    assert isinstance(registry.build("channels", {"name": "rayleigh", "form": "slow"}), Rayleigh)


@pytest.mark.parametrize(
    ("kind", "spec", "words"),
    [
        ("channels", "rayliegh", r"did you mean rayleigh\?.*known: .*awgn"),
        ("channels", "zzz", r"no channel is called 'zzz'; known: "),
        ("channels", {"name": "rayleigh", "frm": "slow"}, r"no option 'frm'; did you mean 'form'\?"),
        ("channels", {"name": "rayleigh", "form": "slo"}, r"option 'form' .*'fast', 'block', 'slow' or 'jakes'; got 'slo'"),
        ("channels", {"name": "rician"}, r"needs the option 'k_db'"),
        ("channels", {"name": "rician", "k_db": "3 dB"}, r"option 'k_db' .*got '3 dB'"),
        ("channels", {"name": "rician", "k_db": float("nan")}, r"k_db.*finite number"),
        ("channels", {"name": "rayleigh", "form": "block"}, r"block_length .* goes with form 'block'"),
        ("channels", {"name": "rayleigh", "form": "block", "block_length": 0}, r"at least 1 use"),
        ("channels", {"form": "slow"}, r"a name, or a mapping with a `name`"),
        ("channels", 7, r"a name, or a mapping with a `name`"),
        ("schemes", {"name": "digital"}, r"needs the option 'mcs'"),
        ("schemes", {"name": "digital", "mcs": "qpsk 1/2", "source": "jpg"}, r"no source is called 'jpg'; did you mean jpeg"),
        ("schemes", {"name": "bits", "k": 100, "n": 201}, r"not whole qpsk symbols"),
        ("flavours", "awgn", r"'flavours' is no kind of plug-in"),
    ],
)
def test_errors_name_the_thing_and_the_nearest_word(kind, spec, words):
    with pytest.raises(InputError, match=words) as caught:
        registry.build(kind, spec)
    assert "\n" not in str(caught.value)


def test_two_plugins_of_one_name_are_refused(monkeypatch):
    entry = importlib.metadata.EntryPoint("awgn", "elsewhere:Awgn", "jscclink.channels")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry] if group == "jscclink.channels" else [])
    registry._paths.cache_clear()
    try:
        with pytest.raises(InputError, match="two plug-ins want the name 'awgn'"):
            registry.names("channels")
    finally:
        monkeypatch.undo()
        registry._paths.cache_clear()
