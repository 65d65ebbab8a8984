"""What HJSCC's parts are worth: variants of hjscc-tiny trained on equal budgets, then measured by studies/hjscc_ablations.yaml.

    python benchmarks/ablations.py --data FOLDER --output trained [--only whole groups] [--threads 1]

Trains (or resumes) every variant into OUTPUT/<variant>, with the same seed, crops and steps, and exports
OUTPUT/<variant>/weights.
The last line is JSON: per variant its training minutes and its PSNR on the validation pictures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from jscclink.simulator.codecs.hjscc.weights import WEIGHTS
from jscclink.simulator.training.config import TrainingConfig
from jscclink.simulator.training.export import export
from jscclink.simulator.training.trainer import Trainer

PRESET = "hjscc-tiny"
COMMON: dict[str, Any] = {"preset": PRESET, "lmbda_at_sixteenth": 250.0, "lmbda_spread": 2.5, "esno_skew": 1.4}
FROM_SCRATCH = {**COMMON, "steps": 2000, "hold": 0.3, "ema": 0.995, "validate_every": 500}
# the settings of studies/train_hjscc_tiny_feedback.yaml, so that the shipped feedback weights are the other half of the pair
FROM_SHIPPED = {
    **COMMON,
    "start_from": WEIGHTS / PRESET,
    "steps": 800,
    "learning_rate": 0.0005,
    "warmup": 30,
    "hold": 0.3,
    "ema": 0.99,
    "cbr": (0.02, 0.15),
}
VARIANTS: dict[str, dict[str, Any]] = {
    "whole": FROM_SCRATCH,
    "without-rate-attention": {**FROM_SCRATCH, "without": ("rate_attention",)},
    "without-groups": {**FROM_SCRATCH, "without": ("groups",)},
    "fixed-rate": {**FROM_SCRATCH, "without": ("dynamic_rate",)},
    "one-shot": FROM_SHIPPED,
}


def train(name: str, data: Path, output: Path) -> dict[str, float]:
    """Train or resume one variant; returns its last validation figures."""
    settings = TrainingConfig(**VARIANTS[name], data=data, output=output / name)
    trainer = Trainer(settings)
    figures: dict[str, float] = {}
    for entry in trainer.run():
        print(name, json.dumps({k: float(f"{v:.5g}") for k, v in entry.items()}), flush=True)
        if any(key.startswith("psnr") for key in entry):
            figures = entry
    export(settings, settings.output / "weights", "python benchmarks/ablations.py --data DATA --output OUTPUT")
    return {"minutes": trainer.seconds / 60.0, **figures}


def main() -> None:
    """Train what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of training pictures")
    parser.add_argument("--output", type=Path, required=True, help="folder for checkpoints and weights")
    parser.add_argument("--only", nargs="+", choices=sorted(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(json.dumps({name: train(name, args.data, args.output) for name in args.only}))


if __name__ == "__main__":
    main()
