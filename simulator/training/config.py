"""What a training run is told: a strict, typed file. Whatever is not named here is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from jscclink.simulator.codecs.hjscc.presets import Preset, ablated, preset_by_name


class LargerCrops(BaseModel):
    """A later stage of a run, with larger crops.

    Attributes:
        after: share of the run's steps after which it begins.
        crop: side of its crops in pixels.
        batch: images per step and process.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: float = Field(gt=0, lt=1)
    crop: int = Field(gt=0)
    batch: int = Field(gt=0)


class TrainingConfig(BaseModel):
    """Settings of one training run.

    Attributes:
        preset: the model's preset.
        without: parts of the preset to leave out, see `presets.ablated`.
        data: folder of pictures.
        output: folder for checkpoints and log.
        seed: root of all randomness.
        steps: optimiser steps in all.
        batch: images per step and process.
        crop: side of the training crops in pixels.
        larger_crops: stages that follow, in order, each `{after, crop, batch}`: after this share of the steps, larger crops of
            the pictures that hold them, and so many per step.
        learning_rate, warmup, hold: peak rate; linear warm-up steps; share of the steps before the cosine begins.
        final_rate: the cosine's end, as a share of the peak.
        linear_rate: rate of the linear path's transforms, as a share of the others'.
        clip: largest gradient norm.
        ema: decay of the moving average of the weights.
        balance: see `objective.loss`.
        cbr: range of the payload's CBR, drawn triangularly in the log domain; eta follows, picture by picture.
        lmbda_at_sixteenth, lmbda_slope, lmbda_spread: lambda is drawn log-uniformly within a factor `lmbda_spread` of
            `lmbda_at_sixteenth * (16 cbr)^lmbda_slope`.
        esno_db: range [low, high] of the SNR in dB; drawn as low + (high - low) u^esno_skew with u uniform, so that a skew over
            1 favours low SNRs.
        channels: channels to train over, as in a study; each step takes one of them, all equally often.
        clean_share: share of the images that also take the clean path.
        feedback_share: share of the steps that train HJSCC-f.
        clean_only_share: share of the steps that train the clean path alone, at about half the cost; 1 for a first stage.
        start_from: folder of weights to begin with instead of a fresh model.
        bf16: bfloat16 autocast.
        checkpoint_every, validate_every, log_every: in steps.
        validation_images, validation_crop: held-out crops, and their side.
        klt_crops: training crops from which the linear path is initialised.
        tensorboard: also write TensorBoard events (needs the package `tensorboard`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: str
    without: tuple[Literal["rate_attention", "groups", "dynamic_rate"], ...] = ()
    data: Path
    output: Path
    seed: int = 1
    steps: int = Field(11600, gt=0)
    batch: int = Field(8, gt=0)
    crop: int = Field(128, gt=0)
    larger_crops: tuple[LargerCrops, ...] = ()
    learning_rate: float = Field(1e-3, gt=0)
    warmup: int = Field(200, ge=0)
    hold: float = Field(0.4, ge=0, le=1)
    final_rate: float = Field(0.01, ge=0, le=1)
    linear_rate: float = Field(0.05, ge=0, le=1)
    clip: float = Field(1.0, gt=0)
    ema: float = Field(0.999, ge=0, lt=1)
    balance: float = Field(0.5, ge=0, le=1)
    cbr: tuple[float, float] = (0.01, 0.2)
    lmbda_at_sixteenth: float = Field(128.0, gt=0)
    lmbda_slope: float = Field(1.3, ge=0)
    lmbda_spread: float = Field(3.0, ge=1)
    esno_db: tuple[float, float] = (-3.0, 20.0)
    esno_skew: float = Field(1.0, gt=0)
    channels: tuple[Any, ...] = ("awgn",)
    clean_share: float = Field(0.5, ge=0, le=1)
    feedback_share: float = Field(0.0, ge=0, le=1)
    clean_only_share: float = Field(0.0, ge=0, le=1)
    start_from: Path | None = None
    bf16: bool = True
    checkpoint_every: int = Field(500, gt=0)
    validate_every: int = Field(1000, gt=0)
    log_every: int = Field(50, gt=0)
    validation_images: int = Field(8, gt=0)
    validation_crop: int = Field(256, gt=0)
    klt_crops: int = Field(700, gt=0)
    tensorboard: bool = False

    @property
    def model_preset(self) -> Preset:
        """What the model is built from."""
        return ablated(preset_by_name(self.preset), self.without) if self.without else preset_by_name(self.preset)

    def crop_and_batch(self, step: int) -> tuple[int, int]:
        """Side of the crops and images per process at a step (0 is the first)."""
        found = self.crop, self.batch
        for stage in self.larger_crops:
            if step >= round(stage.after * self.steps):
                found = stage.crop, stage.batch
        return found

    @model_validator(mode="after")
    def _ranges(self) -> TrainingConfig:
        for name in ("cbr", "esno_db"):
            low, high = getattr(self, name)
            if low > high or (name == "cbr" and low <= 0):
                raise ValueError(f"{name} is [{low}, {high}]; give [low, high] with low <= high, above 0 for cbr")
        if self.feedback_share + self.clean_only_share > 1:
            raise ValueError(
                f"feedback_share is {self.feedback_share}, clean_only_share {self.clean_only_share}; "
                "together they may be 1 at most"
            )
        multiple = self.model_preset.multiple
        if self.crop % multiple or self.validation_crop % multiple:
            raise ValueError(
                f"crop is {self.crop}, validation_crop {self.validation_crop}; {self.preset} needs multiples of {multiple}"
            )
        after, crop = 0.0, self.crop
        for number, stage in enumerate(self.larger_crops):
            where = f"larger_crops[{number}]"
            if stage.crop % multiple:
                raise ValueError(f"{where}: crop is {stage.crop}; {self.preset} needs multiples of {multiple}")
            if stage.crop <= crop:
                raise ValueError(f"{where}: crop is {stage.crop}; give one above the {crop} before it, or drop the stage")
            if stage.after <= after:
                raise ValueError(f"{where}: after is {stage.after}; give a share of the steps above the {after} before it")
            after, crop = stage.after, stage.crop
        return self
