"""Sphinx: `make docs`. Warnings are errors, notebooks are shown as they are, nothing is fetched."""

import re
from importlib.metadata import version as installed

project = "jscclink"
author = "The jscclink authors"
project_copyright = "The jscclink authors, Apache License 2.0"
release = version = installed("jscclink")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = f"jscclink {release}"
html_copy_source = False
exclude_patterns = ["_build"]

nb_execution_mode = "off"  # CI runs the notebooks with pytest
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints = "both"
autodoc_typehints_description_target = "documented_params"
napoleon_use_ivar = True
# `name` in a docstring is code
default_role = "literal"
pygments_style = "tango"

_CODE = re.compile(r"(``.+?``|`.+?`)", re.DOTALL)


def _plain_text(app, what, name, obj, options, lines):
    """The docstrings are plain text with `code`, headed sections and indented drawings; here they become reST."""
    paragraphs = "\n".join(lines).split("\n\n")
    headed = next((i for i, text in enumerate(paragraphs) if re.search(r"^(---+)$", text, re.MULTILINE)), len(paragraphs))
    made = []
    for index, text in enumerate(paragraphs):
        drawing = index < headed and text.strip() and all(line.startswith("    ") for line in text.splitlines())
        made.append("::\n\n" + text if drawing else _escaped(text))
    lines[:] = "\n\n".join(made).split("\n")


def _escaped(text):
    parts = _CODE.split(text)
    return "".join(part if part.startswith("`") else re.sub(r"([*|])", r"\\\1", part) for part in parts)


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _plain_text, priority=400)  # before napoleon
