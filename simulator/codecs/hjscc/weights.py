"""Weights by preset name: safetensors shards and a JSON card in the package, checked by hash, never unpickled.

weights/<preset>/card.json            preset, files with their SHA-256, how it was trained
weights/<preset>/weights-<n>.safetensors   matrices in float16, everything else in float32, each file under 16 MiB
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from jscclink.errors import InputError

from .model import HJSCC
from .presets import Preset, preset_by_name
from .side import FEATURES, SideModel

SHARD_BYTES = 15 * 1024 * 1024
WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Codec:
    """A trained model and what goes with it.

    Attributes:
        model: in evaluation mode, float32.
        side: coefficients of the side information's entropy model.
        card: the JSON card.
    """

    model: HJSCC
    side: SideModel
    card: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the hashes of the weights' files."""
        return hashlib.sha256("".join(entry["sha256"] for entry in self.card["files"]).encode()).hexdigest()

    def lmbda_for_cbr(self, cbr: float) -> float:
        """The lambda that suits a CBR, by validation (`lmbda_at_sixteenth` and `lmbda_slope` of the card)."""
        return float(self.card["lmbda_at_sixteenth"] * (16.0 * cbr) ** self.card["lmbda_slope"])


def save_weights(folder: Path, model: HJSCC, side: SideModel, card: dict[str, Any]) -> None:
    """Write shards and card.

    Args:
        folder: created where missing.
        model: the model; its preset goes into the card.
        side: the side information's model.
        card: further JSON-ready entries.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("weights-*.safetensors"):
        old.unlink()
    tensors = {k: v.half() if v.ndim > 1 else v for k, v in model.state_dict().items()}
    tensors |= {"side.mean": torch.from_numpy(side.mean), "side.spread": torch.from_numpy(side.spread)}
    shards: list[dict[str, Tensor]] = [{}]
    room = SHARD_BYTES
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if size > room:
            shards.append({})
            room = SHARD_BYTES
        shards[-1][name] = tensor.contiguous().clone(memory_format=torch.contiguous_format)
        room -= size
    files = []
    for number, shard in enumerate(shards, 1):
        data = save(shard)
        name = f"weights-{number}.safetensors"
        (folder / name).write_bytes(data)
        files.append({"file": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    text = json.dumps({"preset": model.preset.to_dict(), "files": files, **card}, indent=1)
    (folder / "card.json").write_text(text + "\n", encoding="utf-8")


def load_weights(folder: Path) -> Codec:
    """Load a model from a folder that `save_weights` wrote.

    Raises:
        InputError: the folder, a file or its content is missing, damaged or of another model; the message says which.
    """
    card_file = folder / "card.json"
    if not card_file.is_file():
        raise InputError(f"weights: {str(folder)!r} has no card.json; give a folder written by `jscclink train`")
    try:
        card = json.loads(card_file.read_text(encoding="utf-8"))
        files, preset = card["files"], Preset.from_dict(card["preset"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"weights: {str(card_file)!r} is no card of HJSCC weights ({error})") from error
    tensors: dict[str, Tensor] = {}
    for entry in files:
        tensors |= _read_shard(folder / entry["file"], entry["sha256"])
    side = [tensors.pop(name, torch.zeros(0)).numpy() for name in ("side.mean", "side.spread")]
    if any(s.shape != (len(preset.levels), FEATURES) for s in side):
        raise InputError(f"weights: {str(folder)!r} lacks the model of the side information; export the weights again")
    model = HJSCC(preset)
    try:
        model.load_state_dict({k: v.float() for k, v in tensors.items()})
    except RuntimeError as error:
        raise InputError(f"weights: {str(folder)!r} does not fit the preset {preset.name!r} of its card: {error}") from error
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.eval().requires_grad_(False)
    return Codec(model, SideModel(*side), card)


def _read_shard(path: Path, sha256: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"weights: {str(path)!r} is missing; restore the file or train again")
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise InputError(
            f"weights: {str(path)!r} is damaged or not the file of its card (SHA-256 {found[:12]}..., the card says "
            f"{sha256[:12]}...); restore it"
        )
    try:
        return load(data)
    except SafetensorError as error:
        raise InputError(f"weights: {str(path)!r} is no safetensors file: {error}") from error


@cache
def pretrained(name: str) -> Codec:
    """Weights by name, loaded once per process.

    Args:
        name: a preset (or a variant of one) whose weights are shipped, or a folder of weights that `jscclink train` wrote.

    Raises:
        InputError: no such preset or folder, or no weights are shipped for it.
    """
    if len(Path(name).parts) > 1 or "/" in name:
        return load_weights(Path(name))
    folder = WEIGHTS / name
    if not folder.is_dir():
        preset_by_name(name)
        shipped = sorted(p.name for p in WEIGHTS.iterdir() if p.is_dir()) if WEIGHTS.is_dir() else []
        raise InputError(
            f"preset {name!r} comes without weights; shipped: {', '.join(shipped) or 'none'}. Train it: "
            f"jscclink train {name}, and give the folder of the weights it writes"
        )
    return load_weights(folder)
