"""Small training runs for tests: six pictures, the miniature, a few steps."""

from __future__ import annotations

from pathlib import Path

from hjscc_micro import pictures
from PIL import Image

from jscclink.simulator.training.config import TrainingConfig


def save_pictures(path: Path) -> Path:
    """Six pictures of 80 x 72 as files."""
    for number, picture in enumerate(pictures(6, 80, 72)):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(path / f"{number}.png")
    return path


def settings(folder: Path, output: Path, **changes: object) -> TrainingConfig:
    """Six steps over AWGN and fading, a checkpoint after three; `changes` on top."""
    base = {
        "preset": "hjscc-micro", "data": folder, "output": output, "steps": 6, "batch": 2, "crop": 32, "klt_crops": 12,
        "validation_images": 1, "validation_crop": 64, "validate_every": 100, "checkpoint_every": 3, "log_every": 2,
        "warmup": 2, "channels": ("awgn", {"name": "rayleigh", "form": "fast"}),
    }  # fmt: skip
    return TrainingConfig.model_validate({**base, **changes})
