"""From a training run to weights that load by name: the moving average, the side information's model, the card."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import torch
from safetensors.torch import load_file

from jscclink.errors import InputError
from jscclink.simulator.codecs.hjscc.model import HJSCC
from jscclink.simulator.codecs.hjscc.weights import save_weights

from .calibration import fit_side_model
from .config import TrainingConfig
from .data import centre_crops, load_images, split_names

CALIBRATION_IMAGES = 32
NAMES_FOR_COMMAND = {"data": "DATA", "output": "OUTPUT", "start_from": "WEIGHTS"}


def export(config: TrainingConfig, folder: Path, command: str) -> Path:
    """Write the weights of a run's last checkpoint.

    Args:
        config: of the run.
        folder: to write to.
        command: how the run was started, for the card.

    Returns:
        the folder.

    Raises:
        InputError: the run has no checkpoint yet.
    """
    head_file = config.output / "checkpoint.json"
    if not head_file.is_file():
        raise InputError(f"output: {str(config.output)!r} holds no checkpoint; train first")
    head = json.loads(head_file.read_text(encoding="utf-8"))
    tensors = load_file(config.output / head["file"])
    model = HJSCC(config.model_preset)
    model.load_state_dict({k.removeprefix("ema."): v for k, v in tensors.items() if k.startswith("ema.")})
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.eval()
    train, val = split_names(config.data)
    crop = config.validation_crop
    pictures = load_images(config.data, train[:: max(len(train) // (2 * CALIBRATION_IMAGES), 1)], crop)
    side = fit_side_model(
        model, centre_crops(pictures, CALIBRATION_IMAGES, crop), config.lmbda_at_sixteenth, config.lmbda_slope
    )
    settings = config.model_dump(mode="json")
    settings.update({key: name for key, name in NAMES_FOR_COMMAND.items() if settings[key] is not None})
    entries = [json.loads(line) for line in (config.output / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    card = {
        "lmbda_at_sixteenth": config.lmbda_at_sixteenth,
        "lmbda_slope": config.lmbda_slope,
        "command": command,
        "config": settings,
        "steps": head["step"],
        "hours": round(head["seconds"] / 3600, 3),
        "hardware": hardware(),
        "torch": torch.__version__,
        "data": {"train": len(train), "validation": len(val), "sha256": load_images(config.data, train, config.crop).sha256()},
        "curve": [entry for entry in entries if any(name.startswith("psnr") for name in entry)],
    }
    save_weights(folder, model, side, card)
    return folder


def hardware() -> str:
    """What the run was made on: the GPU's name, or the processor's and the threads used."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {torch.get_num_threads()} thread(s)"
