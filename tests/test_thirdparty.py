"""A third party's channel, scheme and metric, installed as a package of their own, work in a study like ours."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "thirdparty"

STUDY = """
name: third party
seed: 1
images: {set: kodak, pick: [5], crop: [64, 96]}
channels:
  erasures: {name: erasure, probability: 0.3}
schemes:
  thumbnail: thumbnail
esno_db: [20]
cbr: [1/12]
metrics: [mean_error, psnr, cbr]
draws: 3
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The environment of a process that has the package installed, and nothing else has."""
    folder = tmp_path_factory.mktemp("thirdparty")
    source = shutil.copytree(PACKAGE, folder / "source")
    target = folder / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(source)], check=True, capture_output=True)
    return {**os.environ, "PYTHONPATH": str(target)}


def jscclink(env, *arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "jscclink", *arguments], env=env, cwd=cwd, capture_output=True, text=True, check=False
    )


def test_plugins_of_another_package_are_used_in_a_study(installed, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    done = jscclink(installed, "run", "study.yaml", "--out", "results", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "results" / "table.csv").read_text()
    assert "thumbnail" in table and "erasures" in table and "mean_error" in table


def test_they_are_listed_with_their_options_and_checked_like_ours(installed, tmp_path):
    done = jscclink(installed, "list", "channels", cwd=tmp_path)
    assert "erasure" in done.stdout and "probability" in done.stdout
    (tmp_path / "wrong.yaml").write_text(STUDY.replace("probability", "probabilty"))
    done = jscclink(installed, "run", "wrong.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'probability'" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_package_the_name_is_unknown(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    done = jscclink({**os.environ}, "run", "study.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "no scheme is called 'thumbnail'" in done.stderr
