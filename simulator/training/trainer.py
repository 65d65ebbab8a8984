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
from typing import Any

import torch
from torch import nn

from jscclink.errors import InputError
from jscclink.simulator.codecs.hjscc.klt import initialise_linear_path
from jscclink.simulator.codecs.hjscc.model import HJSCC
from jscclink.simulator.codecs.hjscc.weights import load_weights
from jscclink.simulator.registry import build

from .checkpoint import load_checkpoint, save_checkpoint
from .config import TrainingConfig
from .data import ImageSet, centre_crops, load_images, random_crops, split_names
from .feedback import feedback_terms
from .objective import OperatingPoints, clean_terms, forward_terms, loss
from .parallel import Workers
from .validation import validate

VALIDATION_LMBDAS = (64.0, 160.0)
VALIDATION_SNRS_DB = (1.0, 10.0)
KLT_CROP = 256


def learning_rate_share(config: TrainingConfig, step: int) -> float:
    """Share of the peak learning rate at a step: linear warm-up, hold, cosine."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    start = max(config.warmup, int(config.hold * config.steps))
    if step < start:
        return 1.0
    progress = (step - start) / max(config.steps - start, 1)
    return config.final_rate + (1.0 - config.final_rate) * 0.5 * (1.0 + math.cos(math.pi * progress))


def parameter_groups(model: HJSCC, config: TrainingConfig) -> list[dict[str, Any]]:
    """Two groups: the networks, and the linear path's transforms, which start at a good place and move slowly."""
    linear: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (linear if name.endswith((".analysis", ".synthesis")) else rest).append(parameter)
    groups: list[dict[str, Any]] = [{"params": rest, "share": 1.0}]
    return [*groups, {"params": linear, "share": config.linear_rate}] if linear else groups


def draw_points(config: TrainingConfig, batch: int, generator: torch.Generator) -> OperatingPoints:
    """Operating points of a batch: CBR triangular in the log domain, lambda around what suits it, SNR as configured."""
    u = torch.rand((4, batch), generator=generator)
    low, high = config.cbr
    cbr = torch.exp(math.log(low) + (u[0] + u[1]) / 2 * math.log(high / low))
    centre = config.lmbda_at_sixteenth * (16.0 * cbr) ** config.lmbda_slope
    lmbda = centre * config.lmbda_spread ** (2.0 * u[2] - 1.0)
    low, high = config.esno_db
    return OperatingPoints(lmbda, cbr, low + u[3] ** config.esno_skew * (high - low))


class Trainer:
    """State of a run: model, its moving average, optimiser, step; `run` goes on from where it stands.

    Args:
        config: settings; if `config.output` holds a checkpoint, the run resumes from it.
        workers: this process among its fellows; default: what `torchrun` says.
    """

    def __init__(self, config: TrainingConfig, workers: Workers | None = None) -> None:
        self.config = config
        self.workers = workers or Workers.join()
        self.channels = [build("channels", spec) for spec in config.channels]
        preset = config.model_preset
        train, val = split_names(config.data)
        self.images: ImageSet = load_images(config.data, train, config.crop)
        sides = {config.crop, *(stage.crop for stage in config.larger_crops)}
        self._images_of = {side: self.images.of_side(side) for side in sides}
        held_out = load_images(config.data, val, config.validation_crop)
        self.validation = centre_crops(held_out, config.validation_images, config.validation_crop)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.model = HJSCC(preset)
            self.ema = HJSCC(preset)
        self.step, self.seconds = 0, 0.0
        config.output.mkdir(parents=True, exist_ok=True)
        resumed = (config.output / "checkpoint.json").is_file()
        if not resumed and config.start_from is not None:
            self._start_from(config.start_from)
        elif not resumed and preset.linear_path:
            generator = torch.Generator().manual_seed(config.seed)
            smallest = min(min(image.shape[:2]) for image in self.images.images)
            side = min(KLT_CROP, smallest) // preset.multiple * preset.multiple
            initialise_linear_path(self.model, random_crops(self.images, config.klt_crops, side, generator))
        self.ema.load_state_dict(self.model.state_dict())
        for model in (self.model, self.ema):
            model.to(self.workers.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema.requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            parameter_groups(self.model, config), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
        )
        if resumed:
            self.step, self.seconds = load_checkpoint(config.output, self.model, self.ema, self.optimiser)
        self.writer = self._tensorboard() if config.tensorboard and self.workers.first else None

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns its figures."""
        config = self.config
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + self.step + self.workers.rank * 1_000_000_007)
        side, batch = config.crop_and_batch(self.step)
        image = random_crops(self._images_of[side], batch, side, generator).to(self.workers.device)
        points = draw_points(config, batch, generator).to(self.workers.device)
        channel = self.channels[int(torch.randint(len(self.channels), (), generator=generator))]
        share = learning_rate_share(config, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * share * group["share"]
        other = config.feedback_share + config.clean_only_share  # steps of another kind than both paths of one batch
        kind = float(torch.rand((), generator=generator)) if other > 0 else 1.0
        with self._autocast():
            if kind < config.feedback_share:
                terms = feedback_terms(self.model, image, points, channel, generator)
            elif kind < other:
                terms = clean_terms(self.model, image, points, generator)
            else:
                clean = round(config.clean_share * batch)
                terms = forward_terms(self.model, image, points, channel, generator, clean)
            value = loss(terms, points.lmbda, config.balance)
        self.optimiser.zero_grad(set_to_none=True)
        value.backward()
        self.workers.average_gradients(self.model)
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
            "mse_clean": terms.mse_clean.mean().item() if len(terms.mse_clean) else 0.0,
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
            for name, value in self.train_step().items():
                sums[name] = sums.get(name, 0.0) + value
            if self.step % config.log_every == 0:
                seconds = self.seconds + time.monotonic() - started
                yield self._log({"seconds": seconds, **{k: v / config.log_every for k, v in sums.items()}})
                sums = {}
            if self.workers.first and (self.step % config.validate_every == 0 or self.step == end):
                with self._autocast():
                    figures = validate(self.ema, self.validation.to(self.workers.device), VALIDATION_LMBDAS, VALIDATION_SNRS_DB)
                yield self._log({"seconds": self.seconds + time.monotonic() - started, **figures})
            if self.step % config.checkpoint_every == 0 or self.step == end:
                now = time.monotonic()
                self.seconds, started = self.seconds + now - started, now
                if self.workers.first:
                    save_checkpoint(config.output, self.step, self.seconds, self.model, self.ema, self.optimiser)
                self.workers.wait()

    def _start_from(self, folder: Path) -> None:
        codec = load_weights(folder)
        if codec.model.preset != self.model.preset:
            raise InputError(f"start_from: {str(folder)!r} holds {codec.model.preset.name}, not {self.model.preset.name}")
        self.model.load_state_dict(codec.model.state_dict())

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.workers.device.type, torch.bfloat16, enabled=self.config.bf16)

    def _log(self, figures: dict[str, float]) -> dict[str, float]:
        """One line for log.jsonl (of the first process) and TensorBoard."""
        entry = {"step": self.step, **figures}
        if self.workers.first:
            with (self.config.output / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        if self.writer is not None:
            for name, value in figures.items():
                self.writer.add_scalar(name, value, self.step)
        return entry

    def _tensorboard(self) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise InputError(
                "tensorboard: true needs the package tensorboard; pip install tensorboard, or set it false"
            ) from error
        return SummaryWriter(str(self.config.output / "tensorboard"))  # type: ignore[no-untyped-call]
