"""A miniature HJSCC for tests: the same code as the presets, thousands of parameters instead of millions."""

from __future__ import annotations

import numpy as np
import torch

from jscclink.simulator.codecs.hjscc.klt import initialise_linear_path
from jscclink.simulator.codecs.hjscc.model import HJSCC
from jscclink.simulator.codecs.hjscc.presets import LevelSpec, Preset, StageSpec
from jscclink.simulator.codecs.hjscc.side import FEATURES, FRACTION_BITS, SideModel
from jscclink.simulator.codecs.hjscc.weights import Codec

MICRO = Preset(
    name="hjscc-micro",
    block="fused",
    cond_width=16,
    bottom_up=(StageSpec(8, 16, 1, 3, 1.0), StageSpec(16, 16, 1, 3, 1.0)),
    top_down=(StageSpec(16, 16, 1, 3, 1.0), StageSpec(8, 16, 1, 3, 1.0)),
    tail=(StageSpec(8, 16, 1, 3, 1.0),),
    levels=(
        LevelSpec(16, 24, (0, 2, 4, 8, 12, 16, 20, 24), 1),
        LevelSpec(8, 16, (0, 1, 2, 4, 6, 8, 12, 16), 2),
        LevelSpec(8, 48, (0, 2, 4, 8, 12, 16, 24, 32, 40, 48), 2),
    ),
    end_block=True,
    posterior_extra=False,
    linear_path=True,
    backbone_snr=True,
    jscc_width=16,
    jscc_depth=1,
    rate_attention="film",
    round_up=False,
)


def pictures(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Smooth random pictures with edges, uint8 [count, 3, height, width]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 32.0
    out = []
    for _ in range(count):
        waves = [np.sin(rng.uniform(-3, 3) * x + rng.uniform(-3, 3) * y + rng.uniform(0, 6)) for _ in range(4)]
        edge = (x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1) > rng.uniform(-1, 1)).astype(float)
        mix = rng.uniform(-1, 1, (3, 5)) @ np.stack([*waves, edge]).reshape(5, -1)
        out.append(np.clip(128 + 40 * mix.reshape(3, height, width) + rng.normal(0, 3, (3, height, width)), 0, 255))
    return torch.from_numpy(np.stack(out).astype(np.uint8))


def micro_model(preset: Preset = MICRO, seed: int = 0, shake: float = 0.02) -> HJSCC:
    """A model whose zero layers are shaken a little, so that every path carries something; 0: the linear codec."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = HJSCC(preset)
        if preset.linear_path:
            initialise_linear_path(model, pictures(24, 64, 64, seed=5).float() / 127.5 - 1.0)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("weight") and not parameter.any():
                    parameter.normal_(0, shake)
    return model.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def micro_codec(seed: int = 0, shake: float = 0.02) -> Codec:
    """The model with a plain side model: an index is about the mean of its left and upper neighbours."""
    unit = 1 << FRACTION_BITS
    levels = len(MICRO.levels)
    mean, spread = np.zeros((levels, FEATURES), dtype=np.int64), np.zeros((levels, FEATURES), dtype=np.int64)
    mean[:, 2] = mean[:, 3] = unit // 2
    spread[:, 0], spread[:, 6] = unit // 2, unit // 4
    card = {"lmbda_at_sixteenth": 128.0, "lmbda_slope": 1.3, "files": [{"sha256": f"{seed} {shake}".ljust(64)}]}
    return Codec(micro_model(seed=seed, shake=shake), SideModel(mean, spread), card)
