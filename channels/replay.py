"""Realisations as files, so that two schemes, or the same one a year later, meet the very same channel."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jscclink.errors import InputError

from .channel import Realisation

_FORMAT = "jscclink realisation 1"
_PREFIX = "tensor."


def save_realisation(
    file: str | Path, realisation: Realisation, channel: str | Mapping[str, Any] | Sequence[Any] | None = None
) -> None:
    """Write a realisation to a .npz file (arrays and text only, no pickle).

    Parameters
    ----------
    channel
        The channel as a study names it; `load_realisation` then refuses the file for any other.
    """
    arrays = {_PREFIX + name: tensor.detach().cpu().numpy() for name, tensor in realisation.tensors.items()}
    head = {"format": _FORMAT, "batch": realisation.batch, "uses": realisation.uses, "channel": channel}
    with open(file, "wb") as stream:
        np.savez_compressed(stream, head=np.array(json.dumps(head, sort_keys=True)), **arrays)  # type: ignore[arg-type]


def load_realisation(
    file: str | Path, channel: str | Mapping[str, Any] | Sequence[Any] | None = None, *, device: torch.device | str = "cpu"
) -> Realisation:
    """Read a realisation.

    Raises
    ------
    InputError
        No such file, another format, or saved for another channel than `channel` (where both say which).
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            head = json.loads(str(stored["head"]))
            tensors = {
                name[len(_PREFIX) :]: torch.from_numpy(stored[name]).to(device)
                for name in stored.files
                if name.startswith(_PREFIX)
            }
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"{file} is no realisation saved by save_realisation: {error}") from error
    if not isinstance(head, dict) or head.get("format") != _FORMAT:
        raise InputError(f"{file} is no realisation in the format {_FORMAT!r}")
    here = json.loads(json.dumps(channel))
    if channel is not None and head["channel"] is not None and head["channel"] != here:
        raise InputError(
            f"{file} was saved for the channel {head['channel']}, not for {here}; give the channel it was drawn from"
        )
    return Realisation(tensors, head["batch"], head["uses"])
