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

from .config import TrainingConfig


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
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "training settings"
        if first["type"] == "extra_forbidden":
            raise InputError(
                f"{key}: no such training setting; {nearest(key, TrainingConfig.model_fields)}allowed: "
                f"{', '.join(TrainingConfig.model_fields)}"
            ) from error
        if first["type"] == "missing":
            raise InputError(f"{key}: missing; give it in the file or as --{key}") from error
        raise InputError(f"{key}: {first['msg'].removeprefix('Value error, ')}; got {first['input']!r}") from error


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
