"""The shipped weights on real pictures: files as long as their entropy, wherever they are decoded; rates met on average."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from jscclink.channels.awgn import Awgn
from jscclink.simulator.codecs.hjscc import ntc as ntc_module
from jscclink.simulator.codecs.hjscc.ntc import MAGIC, Ntc, quantised_walk, steps
from jscclink.simulator.codecs.hjscc.scheme import Hjscc
from jscclink.simulator.link import Link
from jscclink.simulator.pictures import read

KODAK = Path(__file__).parents[1] / "data" / "kodak"
HEAD_BYTES = len(MAGIC) + 4 + 3


def crop(number: int, top: int, left: int, side: int) -> torch.Tensor:
    return read(KODAK / f"kodim{number:02}.png")[:, top : top + side, left : left + side]


def rows(picture: torch.Tensor) -> NDArray[np.uint8]:
    return picture.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("quality", [24, 40])
@pytest.mark.parametrize("number", [7, 13], ids=["smooth", "textured"])
def test_a_real_picture_s_file_is_as_long_as_its_entropy(number: int, quality: int) -> None:
    """lambda 56 and 340; within 2 %, and up to 4 bytes of the coder's last word."""
    image = rows(crop(number, 128, 128, 256))
    data = Ntc().encode_at(image, quality)
    estimate = Ntc().estimated_bits(image, quality) / 8
    assert len(data) - HEAD_BYTES == pytest.approx(estimate, rel=0.02, abs=4)
    assert estimate > 2000


def _decode_elsewhere(data: bytes, threads: int) -> tuple[NDArray[np.uint8], list[NDArray[np.int32]]]:
    torch.set_num_threads(threads)
    latents: list[NDArray[np.int32]] = []
    checksum = ntc_module.checksum

    def kept(symbols: list[NDArray[np.int32]]) -> bytes:
        latents.extend(symbols)
        return checksum(symbols)

    ntc_module.checksum = kept
    picture = Ntc().decode_here(data, None)
    assert torch.get_num_threads() == threads
    return picture, latents


@pytest.mark.slow
def test_files_decode_to_the_same_latents_in_another_process_of_more_threads() -> None:
    """Sums over more threads round otherwise: of half a million scales of this picture two then fell into another step."""
    image = rows(read(KODAK / "kodim01.png"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    data = Ntc().encode_at(image, 38)
    torch.set_num_threads(before)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        picture, latents = pool.apply(_decode_elsewhere, (data, 2))
    sent = quantised_walk("hjscc-tiny", torch.from_numpy(image).permute(2, 0, 1).contiguous(), 38)
    for found, latent in zip(latents, sent, strict=True):
        assert np.array_equal(found, steps(latent.z, latent.prior).reshape(-1).numpy())
    assert np.array_equal(picture, Ntc().decode_here(data, None))


def test_a_handful_of_real_pictures_meets_its_average_and_no_picture_its_cap(tmp_path: Path) -> None:
    corners = {1: (0, 0), 5: (100, 200), 15: (100, 300), 20: (0, 200), 23: (200, 100)}
    crops = torch.stack([crop(number, *corner, 192) for number, corner in corners.items()])
    for number, picture in zip(corners, crops, strict=True):
        Image.fromarray(rows(picture)).save(tmp_path / f"{number:02}.png")
    target, cap = 1 / 16, 1 / 12
    scheme = Hjscc(cbr_target=target, average_over={"folder": str(tmp_path)})
    link = Link(Awgn(csi="tx+rx"))
    budget = link.budget((3, 192, 192), cap)
    cbr = link.run(scheme, crops, budget, 7.0, generator=torch.Generator().manual_seed(0)).ledger.cbr
    assert float(cbr.mean()) == pytest.approx(target, rel=0.01)
    assert float(cbr.max()) <= cap
    assert float(cbr.max()) > 0.98 * cap and float(cbr.min()) < 0.8 * target, "pictures that want more, and less"
