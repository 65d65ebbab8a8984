"""The sizes HJSCC comes in. A preset is data: everything a model is built from, and nothing about its training."""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass, replace
from typing import Any

from jscclink.errors import InputError


@dataclass(frozen=True)
class LevelSpec:
    """One latent block of the top-down path.

    Attributes:
        stride: image samples per latent position and side (64, 32, 16 or 8).
        z_channels: channels of the latent.
        table: symbol counts (real numbers per position) the block may send, ascending; 0 means nothing is sent.
        group: side of the square of positions that share one count.
    """

    stride: int
    z_channels: int
    table: tuple[int, ...]
    group: int


@dataclass(frozen=True)
class StageSpec:
    """A stage of residual blocks: width, number of blocks, kernel and MLP ratio at one stride."""

    stride: int
    width: int
    depth: int
    kernel: int
    ratio: float


@dataclass(frozen=True)
class Preset:
    """Everything an HJSCC model is built from.

    Attributes:
        name: the preset's name.
        block: "fused" (dense 3x3) or "convnext".
        cond_width: width of the conditioning vector.
        bottom_up: stages of the bottom-up path, from fine to coarse.
        top_down: one stage per stride of the latents, from coarse to fine; `depth` blocks stand before every latent (the
            front) and, with `end_block`, one after it.
        tail: the stages after the last latent, from coarse to fine; the last one is shuffled up to the image.
        levels: the latent blocks in order.
        end_block: whether a residual block follows the addition of each latent.
        posterior_extra: whether each of the two features a posterior is made from passes a block of its own first.
        linear_path: lay an adaptive linear transform (initialised to the KLT of the training images) under the networks.
        backbone_snr: whether the backbone is conditioned on the SNR as well as on lambda.
        jscc_width: width of the per-block JSCC coders.
        jscc_depth: residual or attention blocks in each JSCC coder.
        rate_attention: "film" (feature-wise modulation and convolutions), "attention" (windowed attention blocks) or "none"
            (the JSCC coders see neither probabilities nor counts; for ablations).
        round_up: counts are rounded up to the table (the published rule) instead of to the nearest entry.
        fixed_rate: every position of a level gets the picture's mean count instead of one that follows its content (for
            ablations).
    """

    name: str
    block: str
    cond_width: int
    bottom_up: tuple[StageSpec, ...]
    top_down: tuple[StageSpec, ...]
    tail: tuple[StageSpec, ...]
    levels: tuple[LevelSpec, ...]
    end_block: bool
    posterior_extra: bool
    linear_path: bool
    backbone_snr: bool
    jscc_width: int
    jscc_depth: int
    rate_attention: str
    round_up: bool
    fixed_rate: bool = False

    @property
    def multiple(self) -> int:
        """Sides are padded to a multiple of this, so that every group of positions is whole."""
        return max(max(level.stride * level.group for level in self.levels), self.bottom_up[-1].stride)

    def to_dict(self) -> dict[str, Any]:
        """The preset as plain JSON-ready data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Preset:
        """Inverse of `to_dict`, also of what became of it in JSON (lists for tuples)."""
        given = dict(data)
        for name in ("bottom_up", "top_down", "tail"):
            given[name] = tuple(StageSpec(**stage) for stage in given[name])
        given["levels"] = tuple(LevelSpec(**{**level, "table": tuple(level["table"])}) for level in given["levels"])
        return cls(**given)


TINY = Preset(
    name="hjscc-tiny",
    block="fused",
    cond_width=128,
    bottom_up=(
        StageSpec(4, 64, 1, 3, 2.0),
        StageSpec(8, 128, 2, 3, 2.0),
        StageSpec(16, 192, 2, 3, 2.0),
        StageSpec(32, 192, 1, 3, 2.0),
    ),
    top_down=(
        StageSpec(32, 192, 1, 3, 2.0),
        StageSpec(16, 192, 1, 3, 2.0),
        StageSpec(8, 128, 1, 3, 2.0),
    ),
    tail=(StageSpec(8, 128, 2, 3, 2.0), StageSpec(4, 64, 2, 3, 2.0)),
    levels=(
        LevelSpec(32, 32, tuple(range(0, 33, 2)), 1),
        LevelSpec(16, 64, tuple(range(0, 65, 4)), 2),
        LevelSpec(16, 96, tuple(range(0, 97, 4)), 2),
        LevelSpec(8, 40, (0, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 36, 40), 4),
    ),
    end_block=False,
    posterior_extra=False,
    linear_path=True,
    backbone_snr=True,
    jscc_width=96,
    jscc_depth=1,
    rate_attention="film",
    round_up=False,
)


SMALL = Preset(
    name="hjscc-small",
    block="fused",
    cond_width=192,
    bottom_up=(
        StageSpec(4, 96, 2, 3, 2.0),
        StageSpec(8, 192, 2, 3, 2.0),
        StageSpec(16, 256, 2, 3, 2.0),
        StageSpec(32, 256, 1, 3, 2.0),
    ),
    top_down=(
        StageSpec(32, 256, 1, 3, 2.0),
        StageSpec(16, 256, 1, 3, 2.0),
        StageSpec(8, 192, 1, 3, 2.0),
    ),
    tail=(StageSpec(8, 192, 3, 3, 2.0), StageSpec(4, 96, 3, 3, 2.0)),
    levels=(
        LevelSpec(32, 32, tuple(range(0, 33, 2)), 1),
        LevelSpec(16, 64, tuple(range(0, 65, 4)), 2),
        LevelSpec(16, 96, tuple(range(0, 97, 4)), 2),
        LevelSpec(8, 16, (0, 1, 2, 3, 4, 6, 8, 10, 12, 16), 4),
        LevelSpec(8, 32, (0, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32), 4),
    ),
    end_block=False,
    posterior_extra=False,
    linear_path=True,
    backbone_snr=True,
    jscc_width=128,
    jscc_depth=1,
    rate_attention="film",
    round_up=False,
)

PAPER = Preset(
    name="hjscc-paper",
    block="convnext",
    cond_width=256,
    bottom_up=(
        StageSpec(4, 192, 7, 7, 2.0),
        StageSpec(8, 384, 7, 7, 2.0),
        StageSpec(16, 512, 7, 5, 2.0),
        StageSpec(32, 512, 5, 3, 2.0),
        StageSpec(64, 512, 4, 1, 2.0),
    ),
    top_down=(
        StageSpec(64, 512, 1, 1, 4.0),
        StageSpec(32, 512, 1, 3, 3.0),
        StageSpec(16, 384, 1, 5, 2.0),
        StageSpec(8, 256, 1, 7, 1.75),
    ),
    tail=(StageSpec(4, 128, 8, 7, 1.5),),
    levels=(
        LevelSpec(64, 32, tuple(range(2, 33, 2)), 1),
        *(2 * (LevelSpec(32, 32, tuple(range(2, 33, 2)), 2),)),
        *(3 * (LevelSpec(16, 96, tuple(range(4, 97, 4)), 2),)),
        *(3 * (LevelSpec(8, 8, tuple(range(1, 9)), 4),)),
    ),
    end_block=True,
    posterior_extra=True,
    linear_path=False,
    backbone_snr=False,
    jscc_width=192,
    jscc_depth=4,
    rate_attention="attention",
    round_up=True,
)


PRESETS = {preset.name: preset for preset in (TINY, SMALL, PAPER)}


def preset_by_name(name: str) -> Preset:
    """A preset by its name; an unknown one is an `InputError` that lists the names."""
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"no HJSCC preset is called {name!r}; {hint}known: {', '.join(PRESETS)}")
    return PRESETS[name]


ABLATIONS = ("rate_attention", "groups", "dynamic_rate")


def ablated(preset: Preset, without: tuple[str, ...]) -> Preset:
    """A preset without some of its parts, named after what is missing.

    Args:
        preset: the whole one.
        without: of `ABLATIONS`: "rate_attention" (the coders see neither probabilities nor counts), "groups" (every position
            has a count of its own), "dynamic_rate" (all positions of a level have the same count).
    """
    if "rate_attention" in without:
        preset = replace(preset, rate_attention="none")
    if "groups" in without:
        preset = replace(preset, levels=tuple(replace(level, group=1) for level in preset.levels))
    if "dynamic_rate" in without:
        preset = replace(preset, fixed_rate=True)
    return replace(preset, name="-without-".join([preset.name, *without]))
