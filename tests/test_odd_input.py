"""Input that users give and the makers did not think of: each was once a crash or a wrong picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from jscclink.baselines.source.bpg.cli import app
from jscclink.channels.awgn import Awgn
from jscclink.errors import InputError
from jscclink.simulator import registry
from jscclink.simulator.codecs.hjscc.weights import pretrained
from jscclink.simulator.link import Link
from jscclink.simulator.training.data import load_images


def deep_picture(folder: Path) -> Path:
    Image.fromarray(np.full((64, 64), 30000, np.uint16)).save(folder / "deep.png")
    return folder / "deep.png"


def test_pictures_of_16_bits_are_refused_and_not_clipped_to_white(tmp_path: Path) -> None:
    path = deep_picture(tmp_path)
    result = CliRunner().invoke(app, ["encode", str(path), str(tmp_path / "deep.bpg")])
    assert result.exit_code == 2
    assert "more than 8 bits per sample" in result.output
    with pytest.raises(InputError, match="more than 8 bits per sample"):
        load_images(tmp_path, [path.name], 16)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_options_are_finite_numbers(value: float) -> None:
    with pytest.raises(InputError, match="finite"):
        registry.build("schemes", {"name": "hjscc", "symbols_per_bit": value})


def test_a_folder_of_weights_that_is_not_there_is_named_as_a_folder() -> None:
    with pytest.raises(InputError, match=r"card\.json"):
        pretrained("./nowhere")


def test_harq_is_silent_where_no_picture_of_a_batch_fits() -> None:
    link, scheme = Link(Awgn(csi="rx")), registry.build("schemes", {"name": "harq", "source": "webp", "mcs": "16qam 1/2"})
    noise = torch.randint(0, 256, (2, 3, 96, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    passage = link.run(scheme, noise, link.budget((3, 96, 128), 0.0371), 3.0, generator=torch.Generator().manual_seed(2))
    assert passage.reconstruction.failed.all()
    assert float(sum(uses.sum() for uses in passage.ledger.uses.values())) == 0
