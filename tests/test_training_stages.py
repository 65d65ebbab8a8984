"""Stages of a training run: crops that grow, the clean path first, settings that change when a run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hjscc_micro import MICRO, micro_model, pictures
from PIL import Image
from training_runs import save_pictures, settings

from jscclink.channels.awgn import Awgn
from jscclink.errors import InputError
from jscclink.simulator.codecs.hjscc import presets
from jscclink.simulator.training import trainer as trainer_module
from jscclink.simulator.training.cli import training_config
from jscclink.simulator.training.data import ImageSet, random_crops
from jscclink.simulator.training.objective import OperatingPoints, clean_terms, forward_terms, loss
from jscclink.simulator.training.trainer import Trainer

GROWING = ({"after": 0.3, "crop": 64, "batch": 3}, {"after": 0.6, "crop": 96, "batch": 1})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(autouse=True)
def micro(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(presets.PRESETS, "hjscc-micro", MICRO)


def test_crops_grow_at_their_share_of_the_steps(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(pictures(1, 97, 100, seed=9)[0].permute(1, 2, 0).numpy()).save(tmp_path / "large.png")
    Image.fromarray(pictures(1, 64, 64, seed=8)[0].permute(1, 2, 0).numpy()).save(tmp_path / "small.png")
    (tmp_path / "index.csv").write_text("file,split\nlarge.png,train\nsmall.png,train\nlarge.png,val\n")
    config = settings(tmp_path, tmp_path / "run", steps=10, larger_crops=GROWING)
    expected = [(32, 2)] * 3 + [(64, 3)] * 3 + [(96, 1)] * 4
    assert [config.crop_and_batch(step) for step in range(10)] == expected
    seen = []

    def crops(images: ImageSet, count: int, size: int, generator: torch.Generator) -> torch.Tensor:
        seen.append((size, count, images.names))
        return random_crops(images, count, size, generator)

    monkeypatch.setattr(trainer_module, "random_crops", crops)
    trainer = Trainer(config)
    seen.clear()  # the linear path's
    for _ in range(10):
        trainer.train_step()
    assert [(size, count) for size, count, _ in seen] == expected
    both = ("large.png", "small.png")
    assert [names for _, _, names in seen] == [both] * 6 + [("large.png",)] * 4  # crops come from what holds them


@pytest.mark.parametrize("cut", [2, 3])
def test_a_run_resumed_across_larger_crops_is_the_uninterrupted_one(folder: Path, tmp_path: Path, cut: int) -> None:
    """Cut one step before the crops grow (from step 3 of 6 on), and just there."""
    growing = ({"after": 0.5, "crop": 64, "batch": 1},)
    whole = Trainer(settings(folder, tmp_path / "whole", larger_crops=growing))
    list(whole.run())
    list(Trainer(settings(folder, tmp_path / "parts", larger_crops=growing, checkpoint_every=cut)).run(until=cut))
    second = Trainer(settings(folder, tmp_path / "parts", larger_crops=growing))
    assert second.step == cut
    list(second.run())
    for name, value in whole.ema.state_dict().items():
        assert torch.equal(value, second.ema.state_dict()[name]), name
    same = Trainer(settings(folder, tmp_path / "same"))
    list(same.run())
    assert any(not torch.equal(v, whole.ema.state_dict()[n]) for n, v in same.ema.state_dict().items())


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ([{"after": 0.5, "crop": 72, "batch": 4}], r"larger_crops\[0\]: crop is 72; hjscc-micro needs multiples of 16"),
        ([{"after": 0.5, "crop": 32, "batch": 4}], r"larger_crops\[0\]: crop is 32; give one above the 32 before it"),
        (
            [GROWING[0], {**GROWING[1], "after": 0.3}],
            r"larger_crops\[1\]: after is 0.3; give a share of the steps above the 0.3",
        ),
        ([{"after": 0.0, "crop": 64, "batch": 4}], r"larger_crops.0.after: .*greater than 0; got 0.0"),
        ([{"after": 1.0, "crop": 64, "batch": 4}], r"larger_crops.0.after: .*less than 1; got 1.0"),
        ([{"after": 0.5, "crop": 64, "batch": 0}], r"larger_crops.0.batch: .*greater than 0; got 0"),
        ([{"after": 0.5, "crop": 64}], r"larger_crops.0.batch: missing; a stage is {after, crop, batch}"),
        ([{**GROWING[0], "bach": 4}], r"larger_crops.0.bach: no such training setting; did you mean 'batch'"),
        ([[0.5, 64, 4]], r"larger_crops.0: a stage is {after, crop, batch}; got \[0.5, 64, 4\]"),
    ],
)
def test_wrong_stages_are_named(tmp_path: Path, stages: list[object], says: str) -> None:
    given = {"data": tmp_path, "output": tmp_path, "crop": 32, "validation_crop": 64, "larger_crops": stages}
    with pytest.raises(InputError, match=says):
        training_config("hjscc-micro", None, given)


def test_crops_larger_than_every_picture_are_refused_at_the_start(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no training picture has both sides of 96 or more; the largest crop it holds has 72"):
        Trainer(settings(folder, tmp_path, larger_crops=GROWING))


def test_stages_of_a_run_are_its_resumptions_with_changed_settings(folder: Path, tmp_path: Path) -> None:
    """First the clean path alone, then low rates at one SNR, then everything: one run, and each stage trains what it says."""

    def state(trainer: Trainer) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in trainer.model.state_dict().items()}

    def moved(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> set[str]:
        return {name.split(".")[0] for name in one if not torch.equal(one[name], two[name])}

    clean = Trainer(settings(folder, tmp_path, steps=2, clean_only_share=1.0))
    fresh = state(clean)
    list(clean.run())
    after_clean = state(clean)
    trained = moved(fresh, after_clean)
    assert {"bottom_up", "latents"} <= trained and trained.isdisjoint({"coders", "channel_conditioning"})
    low = Trainer(settings(folder, tmp_path, steps=4, cbr=(0.01, 0.03), esno_db=(10, 10)))
    assert low.step == 2 and not moved(after_clean, state(low))
    figures = low.train_step()
    assert 0.005 < figures["cbr"] < 0.04
    list(low.run())
    assert "coders" in moved(after_clean, state(low))
    mixed = Trainer(settings(folder, tmp_path, steps=6))
    assert mixed.step == 4
    list(mixed.run())
    assert mixed.step == 6


def test_the_clean_path_alone_is_that_of_both() -> None:
    model = micro_model().train()
    image = pictures(2, 64, 64).float() / 127.5 - 1.0
    points = OperatingPoints(torch.tensor([60.0, 300.0]), torch.tensor([0.03, 0.12]), torch.tensor([2.0, 15.0]))
    both = forward_terms(model, image, points, Awgn(), torch.Generator().manual_seed(4), 2)
    alone = clean_terms(model, image, points, torch.Generator().manual_seed(4))
    assert torch.allclose(alone.nats, both.nats) and torch.allclose(alone.mse_clean, both.mse_clean)
    assert float(loss(alone, points.lmbda, 0.0)) == pytest.approx(
        float((alone.nats + 0.5 * points.lmbda * alone.mse_clean).mean()), rel=1e-6
    )


def test_shares_of_steps_are_of_one_whole(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="together they may be 1 at most"):
        settings(folder, tmp_path, feedback_share=0.6, clean_only_share=0.5)
