"""Recorded impulse responses from files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from jscclink.errors import InputError


def load_impulse_responses(file: str, variable: str, scale: Literal["set", "each", "none"]) -> Tensor:
    """Read complex impulse responses from .npz or .mat (up to version 7.2): complex64 [records, antennas, taps].

    Raises
    ------
    InputError
        No such file or variable, wrong kind or shape, or values that are not finite.
    """
    path = Path(file)
    if not path.is_file():
        raise InputError(f"no file {file!r} with impulse responses; give an existing .npz or .mat file")
    arrays = _read(path)
    if variable not in arrays:
        raise InputError(f"{file} holds no variable {variable!r}; it holds: {', '.join(sorted(arrays)) or 'none'}")
    records = np.asarray(arrays[variable])
    if records.dtype.kind not in "fciu" or records.ndim not in (2, 3) or records.size == 0:
        raise InputError(
            f"{variable!r} of {file} must be numbers [records, taps] or [records, antennas, taps]; got {records.dtype} "
            f"{list(records.shape)}"
        )
    records = records.astype(np.complex128)
    if records.ndim == 2:
        records = records[:, None]
    bad = ~np.isfinite(records).all((1, 2))
    if bad.any():
        raise InputError(f"{variable!r} of {file} has gains that are not finite numbers, first in record {int(bad.argmax())}")
    power = (np.abs(records) ** 2).sum(-1, keepdims=True).mean(1, keepdims=True)
    if scale == "set":
        power = power.mean(0, keepdims=True)
    if not (power > 0).all():
        raise InputError(f"{variable!r} of {file} has records without power; leave them out")
    if scale != "none":
        records = records / np.sqrt(power)
    return torch.from_numpy(records.astype(np.complex64))


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        if path.suffix == ".mat":
            from scipy.io import loadmat

            return {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    except (OSError, ValueError, NotImplementedError, EOFError) as error:
        raise InputError(
            f"{path} cannot be read as {path.suffix}: {error}; save it as .npz, or .mat up to version 7.2"
        ) from error
    raise InputError(f"{path} is no .npz or .mat file")
