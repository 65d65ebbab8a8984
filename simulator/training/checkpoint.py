"""Checkpoints of a training run: model, moving average and optimiser in one safetensors file, the step beside it in JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from jscclink.errors import InputError


def _optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimiser.state_dict()["state"]
    return {f"optimiser.{i}.{key}": value for i, entry in state.items() for key, value in entry.items()}


def save_checkpoint(
    folder: Path, step: int, seconds: float, model: nn.Module, ema: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Write `checkpoint.safetensors` and `checkpoint.json`; a crash in between leaves the previous pair usable."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in ema.state_dict().items()}
    tensors |= _optimiser_tensors(optimiser)
    name = f"checkpoint-{step}.safetensors"
    save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, folder / name)
    head = folder / "checkpoint.json.tmp"
    head.write_text(json.dumps({"step": step, "seconds": seconds, "file": name}), encoding="utf-8")
    os.replace(head, folder / "checkpoint.json")
    for old in folder.glob("checkpoint-*.safetensors"):
        if old.name != name:
            old.unlink()


def load_checkpoint(folder: Path, model: nn.Module, ema: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[int, float]:
    """Restore a run; returns (step, seconds trained).

    Raises:
        InputError: the folder's checkpoint belongs to another model.
    """
    head = json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / head["file"])
    for prefix, module in (("model.", model), ("ema.", ema)):
        own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            raise InputError(f"output: {str(folder)!r} holds the checkpoint of another model; choose another folder") from error
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, number, name = key.split(".", 2)
            state.setdefault(int(number), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return int(head["step"]), float(head["seconds"])
