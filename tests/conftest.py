"""What all tests share: nothing is read from or left in the user's folders."""

import os

import pytest
from runner_studies import faults, photos

__all__ = ["faults", "own_cache", "photos"]


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Calibrations of this session in a folder of its own; encodings stay in memory."""
    before = os.environ.get("HOME")
    os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))
    os.environ.pop("JSCCLINK_CACHE", None)
    yield
    if before is not None:
        os.environ["HOME"] = before
