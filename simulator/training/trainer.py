"""The training loop: one process or several under `torchrun`, resumable to the bit.

Every step draws its crops, operating points and noise from a generator seeded with (seed, step, rank), so a resumed run does
what the uninterrupted one would have done. Checkpoints hold tensors and plain numbers in safetensors and JSON: no pickle.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from jscclink.simulator.codecs.hjscc.klt import initialise_linear_path
from jscclink.simulator.codecs.hjscc.model import HJSCC
from jscclink.simulator.codecs.hjscc.presets import preset_by_name

from .checkpoint import load_checkpoint, save_checkpoint
from .config import TrainingConfig
from .data import ImageSet, centre_crops, load_images, random_crops, split_names
from .objective import OperatingPoints, forward_terms, loss
from .validation import validate

VALIDATION_LMBDAS = (64.0, 160.0)
VALIDATION_SNRS_DB = (1.0, 10.0)


def learning_rate_share(config: TrainingConfig, step: int) -> float:
    """Share of the peak learning rate at a step: linear warm-up, hold, cosine."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    start = max(config.warmup, int(config.hold * config.steps))
    if step < start:
        return 1.0
    progress = (step - start) / max(config.steps - start, 1)
    return config.final_rate + (1.0 - config.final_rate) * 0.5 * (1.0 + math.cos(math.pi * progress))


def parameter_groups(model: HJSCC, config: TrainingConfig) -> list[dict[str, object]]:
    """Two groups: the networks, and the linear path's transforms, which start at a good place and move slowly."""
    linear, rest = [], []
    for name, parameter in model.named_parameters():
        (linear if name.endswith((".analysis", ".synthesis")) else rest).append(parameter)
    return [{"params": rest, "share": 1.0}, {"params": linear, "share": config.linear_rate}]


def draw_points(config: TrainingConfig, generator: torch.Generator) -> OperatingPoints:
    """Operating points of a batch: CBR triangular in the log domain, lambda around what suits it, SNR uniform."""
    u = torch.rand((4, config.batch), generator=generator)
    low, high = config.cbr
    cbr = torch.exp(math.log(low) + (u[0] + u[1]) / 2 * math.log(high / low))
    centre = config.lmbda_at_sixteenth * (16.0 * cbr) ** config.lmbda_slope
    lmbda = centre * config.lmbda_spread ** (2.0 * u[2] - 1.0)
    low, high = config.esno_db
    return OperatingPoints(lmbda, cbr, low + u[3] * (high - low))


class Trainer:
    """State of a run: model, its moving average, optimiser, step; `run` goes on from where it stands."""

    def __init__(self, config: TrainingConfig) -> None:
        self.config = config
        preset = preset_by_name(config.preset)
        train, val = split_names(config.data)
        self.images: ImageSet = load_images(config.data, train, config.crop)
        held_out = load_images(config.data, val, config.validation_crop)
        self.validation = centre_crops(held_out, config.validation_images, config.validation_crop)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.model = HJSCC(preset)
        self.step, self.seconds = 0, 0.0
        config.output.mkdir(parents=True, exist_ok=True)
        self.resumed = (config.output / "checkpoint.json").is_file()
        if not self.resumed and self.model.preset.linear_path:
            generator = torch.Generator().manual_seed(config.seed)
            initialise_linear_path(self.model, random_crops(self.images, 700, 256, generator))
        self.model.to(memory_format=torch.channels_last)
        self.ema = HJSCC(preset)
        self.ema.load_state_dict(self.model.state_dict())
        self.ema.to(memory_format=torch.channels_last).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            parameter_groups(self.model, config), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
        )
        if self.resumed:
            self.step, self.seconds = load_checkpoint(config.output, self.model, self.ema, self.optimiser)

    def generator(self, step: int) -> torch.Generator:
        """All randomness of a step."""
        return torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns its figures."""
        config = self.config
        generator = self.generator(self.step)
        image = random_crops(self.images, config.batch, config.crop, generator)
        points = draw_points(config, generator)
        share = learning_rate_share(config, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * share * group["share"]
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            terms = forward_terms(self.model, image, points, generator, round(config.clean_share * config.batch))
            value = loss(terms, points.lmbda, config.balance)
        self.optimiser.zero_grad(set_to_none=True)
        value.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        self.optimiser.step()
        decay = min(config.ema, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.model.parameters()), 1.0 - decay)
        self.step += 1
        return {
            "loss": value.item(),
            "gradient_norm": float(norm),
            "mse_channel": terms.mse_channel.mean().item(),
            "mse_clean": terms.mse_clean.mean().item(),
            "nats": terms.nats.mean().item(),
            "cbr": terms.cbr.mean().item(),
            "learning_rate": config.learning_rate * share,
        }

    def run(self, until: int | None = None) -> Iterator[dict[str, float]]:
        """Train to the last step (or `until`); yields log entries, writes them to log.jsonl, checkpoints and validates."""
        config = self.config
        end = config.steps if until is None else min(until, config.steps)
        sums: dict[str, float] = {}
        started = time.monotonic()
        while self.step < end:
            figures = self.train_step()
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + value
            if self.step % config.log_every == 0:
                seconds = self.seconds + time.monotonic() - started
                yield self.log({"seconds": seconds, **{k: v / config.log_every for k, v in sums.items()}})
                sums = {}
            if self.step % config.validate_every == 0 or self.step == end:
                with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
                    figures = validate(self.ema, self.validation, VALIDATION_LMBDAS, VALIDATION_SNRS_DB)
                yield self.log({"seconds": self.seconds + time.monotonic() - started, **figures})
            if self.step % config.checkpoint_every == 0 or self.step == end:
                now = time.monotonic()
                self.seconds, started = self.seconds + now - started, now
                save_checkpoint(config.output, self.step, self.seconds, self.model, self.ema, self.optimiser)

    def log(self, figures: dict[str, float]) -> dict[str, float]:
        """Append one line to log.jsonl."""
        entry = {"step": self.step, **figures}
        with (Path(self.config.output) / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        return entry
