"""What tests of the runner share: plug-ins that go wrong, and small studies."""

import importlib
from pathlib import Path

import pytest

from jscclink.simulator import datasets, pictures, registry
from jscclink.simulator.results import TABLE
from jscclink.simulator.study import Study

FAULTS = str(Path(__file__).parent / "faults")


@pytest.fixture
def faults(monkeypatch):
    """Plug-ins that go wrong, also in spawned workers (they get this path)."""
    monkeypatch.syspath_prepend(FAULTS)
    registry._paths.cache_clear()
    importlib.invalidate_caches()
    yield
    registry._paths.cache_clear()


def shaky(*, schemes=None, **changes):
    """A study of blocks over plug-ins of tests/faults."""
    data = {
        "name": "shaky",
        "channels": {"AWGN": "awgn"},
        "schemes": {"A": {"name": "shaky"}} if schemes is None else schemes,
        "esno_db": [0, 3],
        "metrics": ["ber", "bler"],
        "stop": {"errors": 60, "most_trials": 200},
        "batch": {"items": 10},
    }
    return Study.from_mapping(data | changes)


@pytest.fixture
def photos(tmp_path):
    """Three small pictures of two shapes, as a study of two schemes over two channels; keyword arguments replace keys."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, crop in ((3, [32, 48]), (9, [48, 32]), (15, [32, 48])):
        picture = datasets.load({"set": "kodak", "pick": [index], "crop": crop}).picture(0)
        pictures.write(folder / f"{index}.png", picture)

    def study(**changes):
        data = {
            "name": "photos",
            "images": {"folder": str(folder)},
            "channels": {"AWGN": "awgn", "slow Rayleigh": {"name": "rayleigh", "form": "slow"}},
            "schemes": {"pixels": "uncoded"},
            "esno_db": [0, 10],
            "cbr": ["1/4", 0.5],
            "metrics": ["psnr", "outage", "cbr"],
            "draws": 3,
        }
        return Study.from_mapping(data | changes)

    return study


def table(folder):
    return (folder / TABLE).read_bytes()
