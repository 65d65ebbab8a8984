"""`jscclink train PRESET`: start or resume a training run, and export its weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from jscclink.errors import InputError
from jscclink.simulator.codecs.hjscc.presets import preset_by_name
from jscclink.simulator.study_file import nearest, read

from .config import LargerCrops, TrainingConfig


def training_config(preset: str, file: Path | None, overrides: dict[str, Any]) -> TrainingConfig:
    """Settings from a file (YAML, keys of `TrainingConfig`), with what the command line says on top.

    Raises:
        InputError: unknown preset or key, wrong value; the message names the key and what is allowed.
    """
    preset_by_name(preset)
    given: dict[str, Any] = {}
    if file is not None:
        given, _, _ = read(file)
    given = {**given, "preset": preset, **{k: v for k, v in overrides.items() if v is not None}}
    try:
        return TrainingConfig.model_validate(given)
    except ValidationError as error:
        raise InputError(_first_complaint(error)) from error


def _first_complaint(error: ValidationError) -> str:
    """One line for the first thing that is wrong: the key, what is allowed, what was given."""
    first = error.errors()[0]
    loc = first["loc"]
    key = ".".join(str(part) for part in loc)
    in_stage = len(loc) > 1 and loc[0] == "larger_crops"
    fields = list((LargerCrops if in_stage else TrainingConfig).model_fields)
    if first["type"] == "extra_forbidden":
        return f"{key}: no such training setting; {nearest(str(loc[-1]), fields)}allowed: {', '.join(fields)}"
    if first["type"] == "missing":
        return f"{key}: missing; " + ("a stage is {after, crop, batch}" if in_stage else f"give it in the file or as --{key}")
    if first["type"] == "model_type":
        return f"{key}: a stage is {{after, crop, batch}}; got {first['input']!r}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}: {message}; got {first['input']!r}" if key else message


def train_command(
    preset: Annotated[str, typer.Argument(help="hjscc-tiny, hjscc-small or hjscc-paper")],
    config: Annotated[Path | None, typer.Option(help="YAML file of training settings")] = None,
    data: Annotated[Path | None, typer.Option(help="folder of pictures")] = None,
    output: Annotated[Path | None, typer.Option(help="folder for checkpoints, log and weights; resumes what it holds")] = None,
    steps: Annotated[int | None, typer.Option(help="optimiser steps in all")] = None,
    seed: Annotated[int | None, typer.Option(help="root of all randomness")] = None,
) -> None:
    """Train a preset, or go on with a run; the weights are exported to OUTPUT/weights at the end.

    Several GPUs: torchrun --nproc-per-node=N -m jscclink train PRESET ...
    """
    from .export import export
    from .trainer import Trainer

    settings = training_config(preset, config, {"data": data, "output": output, "steps": steps, "seed": seed})
    trainer = Trainer(settings)
    try:
        for entry in trainer.run():
            if trainer.workers.first:
                typer.echo(json.dumps({k: float(f"{v:.5g}") for k, v in entry.items()}), err=True)
        if trainer.workers.first:
            folder = export(settings, settings.output / "weights", " ".join(["jscclink", *sys.argv[1:]]))
            typer.echo(str(folder))
    finally:
        trainer.workers.leave()
