"""Weights on disk, the shipped ones, and the source codec made of the clean path."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from hjscc_micro import micro_codec, pictures

from jscclink.baselines.source.codec import DecodeFailure
from jscclink.channels.awgn import Awgn
from jscclink.errors import InputError
from jscclink.simulator.codecs.hjscc import ntc as ntc_module
from jscclink.simulator.codecs.hjscc.ntc import MAGIC, Ntc
from jscclink.simulator.codecs.hjscc.scheme import Hjscc
from jscclink.simulator.codecs.hjscc.weights import WEIGHTS, load_weights, pretrained, save_weights
from jscclink.simulator.link import Link
from jscclink.simulator.pictures import read

# one instance for all: eigenvectors of two runs differ in their last bits, and streams are cached by the weights' hash
CODEC = micro_codec()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    codec = CODEC
    save_weights(tmp_path, codec.model, codec.side, {"lmbda_at_sixteenth": 128.0, "lmbda_slope": 1.3})
    return tmp_path


def test_weights_come_back(saved: Path) -> None:
    codec, found = CODEC, load_weights(saved)
    assert found.model.preset == codec.model.preset
    for name, value in codec.model.state_dict().items():
        assert torch.allclose(found.model.state_dict()[name], value, rtol=1e-3, atol=1e-6), name
    assert np.array_equal(found.side.mean, codec.side.mean) and np.array_equal(found.side.spread, codec.side.spread)
    assert found.lmbda_for_cbr(1 / 16) == 128.0


def test_damaged_missing_and_foreign_files_say_so(saved: Path) -> None:
    shard = saved / "weights-1.safetensors"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-7])
    with pytest.raises(InputError, match="is damaged or not the file of its card"):
        load_weights(saved)
    shard.unlink()
    with pytest.raises(InputError, match="is missing"):
        load_weights(saved)
    shard.write_bytes(whole)
    card = json.loads((saved / "card.json").read_text())
    card["preset"]["jscc_width"] = 24
    (saved / "card.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match="does not fit the preset"):
        load_weights(saved)
    (saved / "card.json").write_text("{}")
    with pytest.raises(InputError, match="is no card"):
        load_weights(saved)
    with pytest.raises(InputError, match=r"has no card\.json"):
        load_weights(saved / "nowhere")


def test_a_pickle_is_refused_not_opened(saved: Path) -> None:
    import hashlib
    import pickle

    data = pickle.dumps({"weight": 1})
    (saved / "weights-1.safetensors").write_bytes(data)
    card = json.loads((saved / "card.json").read_text())
    card["files"][0]["sha256"] = hashlib.sha256(data).hexdigest()
    (saved / "card.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match="is no safetensors file"):
        load_weights(saved)


def test_unknown_presets_and_missing_weights_are_named() -> None:
    with pytest.raises(InputError, match="did you mean 'hjscc-tiny'"):
        pretrained("hjscc-tini")
    with pytest.raises(InputError, match="shipped: hjscc-tiny"):
        pretrained("hjscc-paper")


def test_a_folder_of_weights_stands_for_a_preset(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    save_weights(folder, CODEC.model, CODEC.side, {"lmbda_at_sixteenth": 128.0, "lmbda_slope": 1.3})
    assert Hjscc(preset=str(folder)).fingerprint() == load_weights(folder).fingerprint
    with pytest.raises(InputError, match=r"has no card\.json; give a folder written by"):
        Hjscc(preset=str(tmp_path / "missing"))


def test_shipped_weights_stay_under_the_size_of_a_shard_and_say_how_they_were_made() -> None:
    codec = pretrained("hjscc-tiny")
    for entry in codec.card["files"]:
        assert (WEIGHTS / "hjscc-tiny" / entry["file"]).stat().st_size == entry["bytes"] < 16 * 1024 * 1024
    for key in ("command", "config", "steps", "hours", "hardware", "data", "curve"):
        assert codec.card[key], key
    assert len(codec.fingerprint) == 64


@pytest.fixture
def micro_ntc(monkeypatch: pytest.MonkeyPatch) -> Ntc:
    monkeypatch.setattr(ntc_module, "pretrained", lambda preset: CODEC)
    return Ntc()


def image(height: int = 64, width: int = 80, seed: int = 1) -> np.ndarray:
    return pictures(1, height, width, seed)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("quality", [12, 30, 50])
def test_a_file_is_as_long_as_its_entropy(micro_ntc: Ntc, quality: int) -> None:
    big = image(256, 320)
    data = micro_ntc.encode_at(big, quality)
    head = len(MAGIC) + 4 + 3
    assert len(data) - head == pytest.approx(micro_ntc.estimated_bits(big, quality) / 8, rel=0.02, abs=8)


def test_better_qualities_give_better_pictures_and_files_decode_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = micro_codec(shake=0.0)
    monkeypatch.setattr(ntc_module, "pretrained", lambda preset: codec)
    micro_ntc = Ntc()
    sizes, errors = [], []
    for quality in (10, 30, 50):
        data = micro_ntc.encode_at(image(), quality)
        found = micro_ntc.decode_here(data, None)
        assert found.shape == (64, 80, 3)
        sizes.append(len(data))
        errors.append(float(np.square(found.astype(float) - image()).mean()))
    assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True)


def test_odd_sizes_grey_pictures_and_streams_without_container(micro_ntc: Ntc) -> None:
    assert micro_ntc.decode_here(micro_ntc.encode_at(image(37, 51), 30), None).shape == (37, 51, 3)
    grey = micro_ntc.decode_here(micro_ntc.encode_at(image()[:, :, 0].copy(), 30), None)
    assert grey.shape == (64, 80, 3)
    bare = Ntc(container=False)
    data = bare.encode_at(image(), 30)
    assert len(data) == len(micro_ntc.encode_at(image(), 30)) - 8
    assert np.array_equal(bare.decode_here(data, (64, 80)), micro_ntc.decode_here(micro_ntc.encode_at(image(), 30), None))


def test_damaged_files_are_decode_failures(micro_ntc: Ntc) -> None:
    data = bytearray(micro_ntc.encode_at(image(), 40))
    data[len(data) // 2] ^= 0x55
    for damaged in (bytes(data), b"", b"JPEG" + bytes(20), MAGIC + b"\xff\xff\xff\xff" + bytes(30), bytes(data[:9])):
        with pytest.raises(DecodeFailure):
            micro_ntc.decode_here(damaged, None)


def _decode_elsewhere(data: bytes, folder: Path) -> np.ndarray:
    codec = load_weights(folder)
    ntc_module.pretrained = lambda preset: codec  # type: ignore[assignment]
    return Ntc().decode_here(data, None)


@pytest.mark.slow
def test_a_file_decodes_to_the_same_picture_in_another_process(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = load_weights(saved)
    monkeypatch.setattr(ntc_module, "pretrained", lambda preset: codec)
    data = Ntc().encode_at(image(), 35)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert np.array_equal(pool.apply(_decode_elsewhere, (data, saved)), Ntc().decode_here(data, None))


@pytest.mark.parametrize(("esno_db", "least"), [(1.0, 26.2), (10.0, 31.5)])
def test_the_shipped_weights_transmit_a_picture(esno_db: float, least: float) -> None:
    """A sixth of kodim07 at CBR 1/16: far above what anything untrained reaches, a little below what was measured."""
    picture = read(Path(__file__).parents[1] / "data" / "kodak" / "kodim07.png")[None, :, 128:384, 128:384]
    link = Link(Awgn(csi="tx+rx"))
    budget = link.budget((3, 256, 256), 1 / 16)
    passage = link.run(Hjscc(), picture, budget, esno_db, generator=torch.Generator().manual_seed(1))
    mse = float((passage.reconstruction.data.float() - picture.float()).square().mean())
    assert 10 * np.log10(255**2 / mse) > least
    assert 0.99 / 16 < float(passage.ledger.cbr) <= 1 / 16
