"""examples/tensorflow_codec in its own environment: a real Keras codec, in a study, from two other processes."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from jscclink.channels.awgn import Awgn
from jscclink.simulator import datasets, registry
from jscclink.simulator.codecs.external.protocol import ExternalError
from jscclink.simulator.link import Link
from jscclink.simulator.study import Study

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "tensorflow_codec"
PYTHON = ROOT / ".venv-tensorflow" / "bin" / "python"

needs_tensorflow = pytest.mark.skipif(
    not (ROOT / ".venv-tensorflow" / ".ready").exists(),
    reason="no TensorFlow environment; make it with: make .venv-tensorflow/.ready",
)


def study_data():
    return yaml.safe_load((EXAMPLE / "study.yaml").read_text())


def codec():
    return registry.build(
        "schemes", study_data()["schemes"]["Keras JSCC"] | {"cwd": str(EXAMPLE), "command": [str(PYTHON), "worker.py"]}
    )


def test_its_weights_are_small_and_hold_no_pickle():
    weights = EXAMPLE / "weights.npz"
    assert weights.stat().st_size < 200_000
    with np.load(weights, allow_pickle=False) as arrays:
        assert all(arrays[name].dtype == np.float16 for name in arrays.files)


def test_no_jscclink_in_its_requirements():
    wanted = [line.split("==")[0] for line in (EXAMPLE / "requirements.txt").read_text().splitlines() if "==" in line]
    assert wanted == ["tensorflow-cpu"], "TensorFlow is pinned, and nothing of ours is needed beside it"


@needs_tensorflow
@pytest.mark.slow
def test_study_with_a_keras_codec(monkeypatch):
    monkeypatch.chdir(EXAMPLE)
    study = Study.load("study.yaml", {"images": {"set": "kodak", "pick": [23]}})
    assert study.schemes["Keras JSCC"].fingerprint
    picture = datasets.load({"set": "kodak", "pick": [23]}).batch([0])
    scheme = codec()
    try:
        psnr = {}
        for cbr, esno_db in ((1 / 6, 1.0), (1 / 6, 19.0), (1 / 24, 19.0)):
            link = Link(Awgn())
            generator = torch.Generator().manual_seed(1)
            passage = link.run(scheme, picture, link.budget(tuple(picture.shape[1:]), cbr), esno_db, generator=generator)
            error = (passage.reconstruction.data.double() - picture.double()).square().mean()
            psnr[cbr, esno_db] = 10 * float(torch.log10(255**2 / error))
            assert float(passage.ledger.cbr) == pytest.approx(cbr, rel=1e-6)
        assert psnr[1 / 6, 19.0] > psnr[1 / 6, 1.0] + 1.0, psnr
        assert psnr[1 / 6, 19.0] > psnr[1 / 24, 19.0] + 0.5, psnr
        # the mean colour alone gives 15 dB
        assert psnr[1 / 6, 19.0] > 24.0, psnr
        again = link.run(scheme, picture, link.budget((3, 512, 768), cbr), esno_db, generator=torch.Generator().manual_seed(1))
        assert torch.equal(again.reconstruction.data, passage.reconstruction.data)
    finally:
        scheme.close()


@needs_tensorflow
@pytest.mark.slow
def test_a_budget_below_the_least_is_said_by_the_codec():
    scheme = codec()
    try:
        link = Link(Awgn())
        picture = torch.zeros(1, 3, 30, 45, dtype=torch.uint8)
        with pytest.raises(ExternalError, match=r"keras-jscc 1.*30 uses for 30 x 45 pixels; this codec needs at least 96"):
            link.run(scheme, picture, link.budget((3, 30, 45), 30.5 / 4050), 10.0, generator=torch.Generator().manual_seed(1))
        # sides that are no multiples of 4 are padded, and cut again
        done = link.run(scheme, picture, link.budget((3, 30, 45), 0.1), 10.0, generator=torch.Generator().manual_seed(1))
        assert done.reconstruction.data.shape == picture.shape
    finally:
        scheme.close()


@needs_tensorflow
@pytest.mark.slow
def test_damaged_weights_are_named(tmp_path):
    for name in ("worker.py", "codec.py"):
        shutil.copy(EXAMPLE / name, tmp_path)
    (tmp_path / "weights.npz").write_bytes(os.urandom(100))
    scheme = registry.build("schemes", {"name": "external", "command": [str(PYTHON), "worker.py"], "cwd": str(tmp_path)})
    try:
        link = Link(Awgn())
        with pytest.raises(ExternalError, match=r"external encoder .*(weights\.npz|pickle)"):
            picture = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
            link.run(scheme, picture, link.budget((3, 32, 32), 0.1), 10.0, generator=torch.Generator().manual_seed(1))
    finally:
        scheme.close()
