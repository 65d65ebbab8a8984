"""The documentation: its examples are those that run, and its reference names every module that users import."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from jscclink.simulator import registry
from jscclink.simulator.link import Link
from jscclink.simulator.study import Study

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["docs/tutorial.md", "README.md"])
def test_the_first_study_is_one(page):
    (text,) = blocks(ROOT / page, "yaml")
    study = Study.from_mapping(yaml.safe_load(text))
    assert len(study.points) == len(study.schemes) * len(study.channels) * len({p.esno_db for p in study.points})


def test_the_example_channel_loses_what_it_says():
    names = {}
    exec(blocks(DOCS / "howto" / "own_channel.md", "python")[0], names)
    scheme = registry.build("schemes", {"name": "bits", "code": "none", "k": 20000, "modulation": "qpsk"})
    bits = torch.randint(0, 2, (4, 20000), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))

    def errors(channel, esno_db):
        link = Link(channel)
        generator = torch.Generator().manual_seed(2)
        passage = link.run(scheme, bits, link.budget((20000,), None), esno_db, generator=generator)
        return (passage.reconstruction.data != bits).double().mean().item()

    plain = errors(registry.build("channels", "awgn"), 4.0)
    assert plain > 0.05
    # the same noise under half the power
    assert errors(names["Halved"](loss_db=3.0), 7.0) == pytest.approx(plain, rel=0.05)
    assert errors(names["Halved"](loss_db=0.0), 7.0) < plain / 4


def test_all_python_on_the_pages_compiles():
    pages = [page for page in DOCS.rglob("*.md") if page.parent.name != "_build"]
    found = [(page, text) for page in pages for text in blocks(page, "python")]
    assert len(found) >= 5
    for page, text in found:
        compile(text, str(page), "exec")


def test_every_page_is_in_the_contents():
    index = (DOCS / "index.md").read_text("utf-8")
    listed = set(re.findall(r"^([a-z_/]+)$", index, re.MULTILINE))
    pages = {str(p.relative_to(DOCS).with_suffix("")) for p in DOCS.rglob("*.md") if "_build" not in p.parts}
    assert pages - {"index"} == listed


def test_plugins_that_ship_are_in_the_reference():
    """Every scheme and channel of the registry: their options are what people look up."""
    reference = "".join(page.read_text("utf-8") for page in (DOCS / "reference").glob("*.md"))
    modules = {
        registry.plugin(kind, name).__module__ for kind in ("schemes", "channels", "metrics") for name in registry.names(kind)
    }
    missing = {module for module in modules if module.startswith("jscclink.") and f"automodule:: {module}\n" not in reference}
    assert not missing
