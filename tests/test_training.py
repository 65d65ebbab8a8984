"""Training: data, objective, schedule, resuming to the bit, several processes, the command's settings."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hjscc_micro import MICRO, micro_model, pictures
from training_runs import save_pictures, settings

from jscclink.channels.awgn import Awgn
from jscclink.channels.fading import Rayleigh
from jscclink.errors import InputError
from jscclink.simulator.codecs.hjscc import presets
from jscclink.simulator.codecs.hjscc.klt import initialise_linear_path
from jscclink.simulator.codecs.hjscc.model import HJSCC
from jscclink.simulator.codecs.hjscc.weights import WEIGHTS, load_weights
from jscclink.simulator.training.cli import training_config
from jscclink.simulator.training.config import TrainingConfig
from jscclink.simulator.training.data import centre_crops, load_images, random_crops, split_names
from jscclink.simulator.training.export import export
from jscclink.simulator.training.feedback import feedback_terms
from jscclink.simulator.training.objective import OperatingPoints, clean_terms, forward_terms, loss, over_channel
from jscclink.simulator.training.trainer import Trainer, learning_rate_share


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(autouse=True)
def micro(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(presets.PRESETS, "hjscc-micro", MICRO)


def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(folder: Path, tmp_path: Path) -> None:
    whole = Trainer(settings(folder, tmp_path / "whole"))
    list(whole.run())
    first = Trainer(settings(folder, tmp_path / "parts"))
    list(first.run(until=3))
    second = Trainer(settings(folder, tmp_path / "parts"))
    assert second.step == 3
    entries = list(second.run())
    assert entries[-1]["step"] == 6
    for kind in ("model", "ema"):
        for name, value in getattr(whole, kind).state_dict().items():
            assert torch.equal(value, getattr(second, kind).state_dict()[name]), (kind, name)


def test_a_run_is_its_seed_s_to_the_bit_and_no_other_s(folder: Path, tmp_path: Path) -> None:
    runs = [Trainer(settings(folder, tmp_path / f"{n}", steps=2, seed=seed)) for n, seed in enumerate((1, 1, 2))]
    for trainer in runs:
        trainer.train_step()
    states = [trainer.model.state_dict() for trainer in runs]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert any(not torch.equal(value, states[2][name]) for name, value in states[0].items())


def test_training_leaves_the_global_random_state_alone(folder: Path, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    Trainer(settings(folder, tmp_path)).train_step()
    assert torch.equal(before, torch.get_rng_state())


def test_a_run_exports_weights_that_load(folder: Path, tmp_path: Path) -> None:
    stage = {"after": 0.3, "crop": 64, "batch": 3}
    config = settings(folder, tmp_path / "run", steps=2, larger_crops=(stage,))
    with pytest.raises(InputError, match="no checkpoint"):
        export(config, tmp_path / "weights", "test")
    list(Trainer(config).run())
    codec = load_weights(export(config, tmp_path / "weights", "test"))
    assert codec.card["config"]["larger_crops"] == [stage]
    assert codec.card["steps"] == 2 and codec.card["command"] == "test"
    assert any("psnr_l160_10db" in entry for entry in codec.card["curve"])
    assert str(folder) not in json.dumps(codec.card)


def test_another_model_s_checkpoint_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    list(Trainer(settings(folder, tmp_path, steps=1)).run())
    other = {**MICRO.to_dict(), "jscc_width": 24}
    monkeypatch.setitem(presets.PRESETS, "hjscc-micro", presets.Preset.from_dict(other))
    with pytest.raises(InputError, match="checkpoint of another model"):
        Trainer(settings(folder, tmp_path))


WORKER = """
import sys, torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from hjscc_micro import MICRO
from jscclink.simulator.codecs.hjscc import presets
from jscclink.simulator.training.config import TrainingConfig
from jscclink.simulator.training.trainer import Trainer
presets.PRESETS["hjscc-micro"] = MICRO
trainer = Trainer(TrainingConfig.model_validate_json(open(sys.argv[2]).read()))
list(trainer.run())
torch.save({k: v for k, v in trainer.model.state_dict().items()}, f"{sys.argv[3]}/rank{trainer.workers.rank}.pt")
trainer.workers.leave()
"""


@pytest.mark.slow
def test_two_processes_over_gloo_train_one_model(folder: Path, tmp_path: Path) -> None:
    growing = ({"after": 0.5, "crop": 64, "batch": 1},)  # the second step's
    config = settings(folder, tmp_path / "run", steps=2, bf16=False, larger_crops=growing)
    (tmp_path / "config.json").write_text(config.model_dump_json())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    script = [sys.executable, "-c", WORKER, str(Path(__file__).parent), str(tmp_path / "config.json"), str(tmp_path)]
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    runs = [subprocess.Popen(script, env={**common, "RANK": str(r), "LOCAL_RANK": str(r)}) for r in range(2)]
    assert [run.wait(timeout=240) for run in runs] == [0, 0]
    states = [torch.load(tmp_path / f"rank{r}.pt", weights_only=True) for r in range(2)]
    alone = Trainer(settings(folder, tmp_path / "alone", steps=2, bf16=False, larger_crops=growing))
    list(alone.run())
    changed = False
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
        changed |= not torch.equal(value, alone.model.state_dict()[name])
    assert changed  # the second process's pictures counted


VARIANTS = {
    "fused": {},
    "attention": {"rate_attention": "attention", "jscc_width": 32},
    "convnext": {"block": "convnext", "posterior_extra": True},
}


@pytest.mark.parametrize("kind", ["both paths", "clean path", "feedback"])
@pytest.mark.parametrize("variant", list(VARIANTS))
def test_every_parameter_that_serves_a_path_gets_a_finite_gradient(variant: str, kind: str) -> None:
    preset = presets.Preset.from_dict({**MICRO.to_dict(), **VARIANTS[variant]})
    model = micro_model(preset).train().requires_grad_(True)
    image = pictures(2, 64, 64).float() / 127.5 - 1.0
    points = OperatingPoints(torch.tensor([60.0, 300.0]), torch.tensor([0.03, 0.12]), torch.tensor([2.0, 15.0]))
    rng = torch.Generator().manual_seed(0)
    if kind == "both paths":
        terms = forward_terms(model, image, points, Awgn(), rng, 1)
    else:
        terms = (
            clean_terms(model, image, points, rng)
            if kind == "clean path"
            else feedback_terms(model, image, points, Awgn(), rng)
        )
    loss(terms, points.lmbda, 0.5).backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    assert all(bool(g.isfinite().all()) for g in gradients.values() if g is not None)
    silent = {name for name, g in gradients.items() if g is None or not bool(g.any())}
    # rows of tables for counts that did not occur have none, which is as it should be
    expected = {"latents.0.canvas_in.weight"}  # the first latent's canvas is empty
    if kind == "clean path":
        expected |= {name for name in gradients if name.startswith(("coders.", "channel_conditioning."))}
    assert silent == expected


def test_feedback_training_reaches_every_latent_and_starts_from_given_weights(folder: Path, tmp_path: Path) -> None:
    config = settings(folder, tmp_path / "first", steps=1)
    list(Trainer(config).run())
    weights = export(config, tmp_path / "weights", "test")
    trainer = Trainer(settings(folder, tmp_path / "second", feedback_share=1.0, start_from=weights, steps=2))
    start = load_weights(weights).model.state_dict()
    assert all(torch.equal(value, start[name]) for name, value in trainer.model.state_dict().items())
    figures = trainer.train_step()
    assert math.isfinite(figures["loss"]) and figures["cbr"] > 0
    moved = {name for name, value in trainer.model.state_dict().items() if not torch.equal(value, start[name])}
    for number in range(len(MICRO.levels)):
        assert {f"latents.{number}.posterior_head.weight", f"coders.{number}.encoder_out.weight"} <= moved


def test_weights_of_another_preset_are_no_start(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds hjscc-tiny, not hjscc-micro"):
        Trainer(settings(folder, tmp_path, start_from=WEIGHTS / "hjscc-tiny"))


def test_the_paper_s_kind_of_model_trains_too() -> None:
    """ConvNeXt blocks, attention and per-count maps in the coders, no linear path, counts rounded up."""
    changes = {"block": "convnext", "linear_path": False, "rate_attention": "attention", "posterior_extra": True}
    preset = presets.Preset.from_dict({**MICRO.to_dict(), **changes, "round_up": True, "jscc_width": 32, "backbone_snr": False})
    model = micro_model(preset).train().requires_grad_(True)
    image = pictures(1, 64, 64).float() / 127.5 - 1.0
    points = OperatingPoints(torch.tensor([300.0]), torch.tensor([0.06]), torch.tensor([10.0]))
    terms = forward_terms(model, image, points, Awgn(), torch.Generator().manual_seed(0), 1)
    value = loss(terms, points.lmbda, 0.0)
    value.backward()
    assert math.isfinite(float(value.detach())) and float(terms.cbr) > 0
    assert all(p.grad is not None for n, p in model.named_parameters() if n.startswith("coders") and "log_amplitude" not in n)


def test_silence_is_no_division_by_zero() -> None:
    with torch.random.fork_rng(devices=[]):
        model = HJSCC(MICRO)  # no KLT: every symbol is zero
    points = OperatingPoints(torch.tensor([300.0]), torch.tensor([0.06]), torch.tensor([10.0]))
    image = pictures(1, 64, 64).float() / 127.5 - 1.0
    terms = forward_terms(model, image, points, Awgn(), torch.Generator().manual_seed(0), 0)
    assert bool(torch.isfinite(terms.mse_channel).all())


@pytest.mark.parametrize("esno_db", [0.0, 10.0])
def test_the_training_channel_has_the_stated_snr(esno_db: float) -> None:
    rng = torch.Generator().manual_seed(0)
    signals = [3.0 * torch.randn(2, 8, 32, 32, generator=rng), torch.randn(2, 4, 32, 32, generator=rng)]
    power = torch.cat([s.flatten(1) for s in signals], 1).square().mean(1)
    received, noise = over_channel(Awgn(), signals, power, torch.full((2,), esno_db), rng)
    error = torch.cat([(r - s).flatten(1) for r, s in zip(received, signals, strict=True)], 1).square().mean(1)
    measured = 10 * torch.log10(power / error)
    assert measured.tolist() == pytest.approx([esno_db] * 2, abs=0.2)
    assert float(noise[0][0, 0, 0, 0]) == pytest.approx(float(power[0]) * 10 ** (-esno_db / 10), rel=1e-4)


def test_fading_noise_is_told_symbol_by_symbol() -> None:
    rng = torch.Generator().manual_seed(0)
    signals = [torch.randn(1, 8, 64, 64, generator=rng)]
    received, noise = over_channel(Rayleigh(), signals, torch.ones(1), torch.tensor([10.0]), rng)
    told, seen = noise[0].flatten(), (received[0] - signals[0]).square().flatten()
    for low, high in ((0.5, 0.6), (0.2, 0.3)):
        chosen = (told > told.quantile(low)) & (told < told.quantile(high))
        assert float(seen[chosen].mean() / told[chosen].mean()) == pytest.approx(1.0, abs=0.15)


def test_the_schedule_warms_up_holds_and_falls() -> None:
    config = TrainingConfig(preset="hjscc-tiny", data=Path("d"), output=Path("o"), steps=1000, warmup=100, hold=0.5)
    shares = [learning_rate_share(config, step) for step in (0, 49, 99, 300, 499, 750, 1000)]
    assert shares == pytest.approx([0.01, 0.5, 1.0, 1.0, 1.0, 0.505, 0.01], abs=1e-3)


def test_crops_are_seeded_and_lie_in_range(folder: Path) -> None:
    train, val = split_names(folder)
    assert sorted(train + val) == [f"{n}.png" for n in range(6)] and train and val
    images = load_images(folder, train, 32)
    crops = [random_crops(images, 3, 32, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(crops[0], crops[1]) and not torch.equal(crops[0], crops[2])
    assert crops[0].shape == (3, 3, 32, 32) and float(crops[0].abs().max()) <= 1.0
    assert centre_crops(images, 2, 48).shape == (2, 3, 48, 48)
    assert len(images.sha256()) == 64


def test_an_index_decides_the_split(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("file,split\nb.png,val\na.png,train\nc.png,train\n")
    assert split_names(tmp_path) == (["a.png", "c.png"], ["b.png"])
    with pytest.raises(InputError, match="is not a folder"):
        split_names(tmp_path / "nowhere")
    with pytest.raises(InputError, match="use smaller crops"):
        load_images(folder, ["0.png"], 100)


def test_settings_are_strict(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("learning_rat: 1.0e-3\ndata: x\noutput: y\n")
    with pytest.raises(InputError, match="learning_rat: no such training setting; did you mean 'learning_rate'"):
        training_config("hjscc-tiny", file, {})
    file.write_text("crop: 100\n")
    with pytest.raises(InputError, match="needs multiples of 32"):
        training_config("hjscc-tiny", file, {"data": tmp_path, "output": tmp_path})
    with pytest.raises(InputError, match="data: missing"):
        training_config("hjscc-tiny", None, {"output": tmp_path})
    file.write_text("cbr: [0.2, 0.1]\ndata: x\noutput: y\n")
    with pytest.raises(InputError, match="low <= high"):
        training_config("hjscc-tiny", file, {})
    found = training_config("hjscc-tiny", None, {"data": tmp_path, "output": tmp_path, "steps": 7, "seed": None})
    assert (found.steps, found.seed) == (7, 1)


@pytest.mark.slow
def test_two_hundred_steps_overfit_one_picture() -> None:
    """Over 35 dB through a channel of 20 dB within 200 steps, from the linear start."""
    image = pictures(1, 64, 64, seed=3).float() / 127.5 - 1.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = HJSCC(MICRO)
    initialise_linear_path(model, image)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    points = OperatingPoints(torch.tensor([4000.0]), torch.tensor([0.17]), torch.tensor([20.0]))
    best = 0.0
    for step in range(200):
        terms = forward_terms(model, image, points, Awgn(), torch.Generator().manual_seed(step), 0)
        optimiser.zero_grad()
        loss(terms, points.lmbda, 0.5).backward()
        optimiser.step()
        best = max(best, 10 * math.log10(4.0 / float(terms.mse_channel.detach())))
    assert best > 35.0
