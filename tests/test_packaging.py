"""The three rooms at the top level, one import name: what setup.cfg lists is what the tree holds."""

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("simulator", "channels", "baselines")


def setup_cfg():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_package_of_the_tree_is_listed():
    found = {"jscclink"}
    for room in ROOMS:
        for init in (ROOT / room).rglob("__init__.py"):
            found.add(".".join(("jscclink", *init.parent.relative_to(ROOT).parts)))
    listed = set(setup_cfg()["options"]["packages"].split())
    own = {name for name in listed if name.split(".")[1:2] in ([], *([room] for room in ROOMS))}
    assert own == found


def test_links_for_editors_point_to_the_rooms():
    for room in ROOMS:
        assert (ROOT / "src" / "jscclink" / room).resolve() == ROOT / room


@pytest.mark.parametrize("room", ROOMS)
def test_bare_import_of_a_room_says_what_to_import(room):
    done = subprocess.run([sys.executable, "-c", f"import {room}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"import jscclink.{room}" in done.stderr


def test_package_root_is_light():
    code = "import sys, jscclink; print([m for m in ('torch', 'sionna', 'matplotlib', 'numba', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_arrow_goes_back():
    """channels know nobody; nothing below the runner knows the runner, figures or the command line."""
    above = ("runner", "store", "study", "figures", "report", "export", "cli")
    for path in (ROOT / "channels").rglob("*.py"):
        text = path.read_text()
        assert "jscclink.simulator" not in text.replace("(jscclink.simulator.units)", ""), path
        assert "jscclink.baselines" not in text, path
    for room in ("channels", "baselines", "simulator/codecs"):
        for path in (ROOT / room).rglob("*.py"):
            for module in above:
                assert f"import {module}" not in path.read_text(), path
                assert f"jscclink.simulator.{module} " not in path.read_text(), path
