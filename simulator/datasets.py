"""Sets of pictures: the Kodak set that comes with the package, folders of one's own, and downloaded sets.

A specification as it stands in a study:

    {set: kodak}                              all 24
    {set: kodak, pick: [5, 13]}               by number from 1, or by name: kodim05.png, kodim05
    {folder: my/pictures, limit: 10}          the first ten by name (relative to the study file)
    {set: clic, crop: [256, 256]}             the middle of every picture, height and width
    {set: cifar10, split: test, limit: 100}   `test` (10 000, the default) or `train` (50 000)

`clic` (professional validation set of 2020), `div2k` (validation, high resolution) and `cifar10` are downloaded with
`jscclink data fetch NAME`. How files become 8-bit RGB: jscclink.simulator.pictures.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from jscclink.errors import InputError

from . import pictures

SETS = ("kodak", "cifar10", "clic", "div2k")
# decoded pictures kept in memory, per set
CACHE_BYTES = 256 * 2**20
_CIFAR_SIDE = 32
_CIFAR_RECORD = 1 + 3 * _CIFAR_SIDE**2  # a label, then the red, green and blue planes
_CIFAR_FILES = {"test": ("test_batch.bin",), "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6))}

Shape = tuple[int, int, int]


def data_folder() -> Path:
    """Where downloaded sets live: $JSCCLINK_DATA, or ~/.cache/jscclink."""
    return Path(os.environ.get("JSCCLINK_DATA") or Path.home() / ".cache" / "jscclink").expanduser()


class _Spec(BaseModel):
    """The keys of a specification."""

    model_config = ConfigDict(extra="forbid", strict=True)

    set: Literal["kodak", "cifar10", "clic", "div2k"] | None = None
    folder: str | None = None
    split: Literal["test", "train"] | None = None
    pick: Annotated[list[int | str], Field(min_length=1)] | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    crop: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)] | None = None


class _Origin(ABC):
    """Where pictures come from: their names, shapes, and pixels on demand."""

    names: tuple[str, ...]

    @abstractmethod
    def shape(self, index: int) -> Shape: ...

    @abstractmethod
    def read(self, index: int) -> Tensor: ...


class _Files(_Origin):
    """Picture files of a folder, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.names = tuple(
            sorted(p.name for p in folder.iterdir() if p.suffix.lower() in pictures.SUFFIXES and not p.name.startswith("."))
        )

    def shape(self, index: int) -> Shape:
        return pictures.shape(self._folder / self.names[index])

    def read(self, index: int) -> Tensor:
        return pictures.read(self._folder / self.names[index])


class _Cifar10(_Origin):
    """CIFAR-10's binary version: records of a label and three planes of 32 x 32."""

    def __init__(self, folder: Path, split: str) -> None:
        self._paths = tuple(folder / name for name in _CIFAR_FILES[split])
        counts = []
        for path in self._paths:
            size = path.stat().st_size
            if size == 0 or size % _CIFAR_RECORD:
                raise InputError(
                    f"{path}: {size} bytes are not whole records of {_CIFAR_RECORD}; it is damaged, "
                    "delete it and run `jscclink data fetch cifar10`"
                )
            counts.append(size // _CIFAR_RECORD)
        self._starts = np.cumsum([0, *counts])
        self.names = tuple(f"{split}_{i:05d}" for i in range(sum(counts)))

    def shape(self, index: int) -> Shape:
        return (3, _CIFAR_SIDE, _CIFAR_SIDE)

    def read(self, index: int) -> Tensor:
        file = int(np.searchsorted(self._starts, index, side="right")) - 1
        with open(self._paths[file], "rb") as stream:
            stream.seek((index - int(self._starts[file])) * _CIFAR_RECORD + 1)
            planes = np.frombuffer(stream.read(_CIFAR_RECORD - 1), dtype=np.uint8)
        return torch.from_numpy(planes.reshape(3, _CIFAR_SIDE, _CIFAR_SIDE).copy())


class ImageSet:
    """Pictures in a fixed order, decoded when asked for; the most recent stay in memory (`CACHE_BYTES`).

    Attributes
    ----------
    names : tuple of str
    shapes : tuple of (3, H, W)
    sha256 : tuple of str
        Of the decoded pixels of each picture, with its shape: 64 hexadecimal digits. Decodes every picture once.
    """

    def __init__(self, origin: _Origin, chosen: Sequence[int], crop: tuple[int, int] | None) -> None:
        self._origin, self._chosen, self._crop = origin, tuple(chosen), crop
        self._cache: OrderedDict[int, Tensor] = OrderedDict()
        self._cached_bytes = 0
        self.names = tuple(origin.names[i] for i in self._chosen)
        self.shapes: tuple[Shape, ...] = tuple(self._shape(i) for i in range(len(self._chosen)))

    def __len__(self) -> int:
        return len(self._chosen)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": OrderedDict(), "_cached_bytes": 0}

    @cached_property
    def sha256(self) -> tuple[str, ...]:
        hashes = []
        for index, shape in enumerate(self.shapes):
            digest = hashlib.sha256("x".join(map(str, shape)).encode())
            digest.update(self.picture(index).numpy().data)
            hashes.append(digest.hexdigest())
        return tuple(hashes)

    def picture(self, index: int) -> Tensor:
        """uint8 [3, H, W]; not to be written to."""
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        picture = self._origin.read(self._chosen[index])
        if self._crop is not None:
            picture = pictures.centre_crop(picture, *self._crop)
        if tuple(picture.shape) != self.shapes[index]:
            raise InputError(f"{self.names[index]}: the file has changed since the set was loaded; load it again")
        self._cache[index] = picture
        self._cached_bytes += picture.numel()
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1].numel()
        return picture

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Pictures of one shape -> uint8 [len(indices), 3, H, W]."""
        shapes = {self.shapes[i] for i in indices}
        if len(shapes) != 1:
            raise ValueError(f"a batch holds pictures of one shape; got {sorted(shapes)}")
        return torch.stack([self.picture(i) for i in indices])

    def _shape(self, index: int) -> Shape:
        shape = self._origin.shape(self._chosen[index])
        if self._crop is None:
            return shape
        if self._crop[0] > shape[1] or self._crop[1] > shape[2]:
            raise InputError(
                f"crop {list(self._crop)} (height, width) is larger than {self.names[index]}, {shape[1]} x {shape[2]}; "
                "choose a smaller crop, or `pick` other pictures"
            )
        return (3, *self._crop)


def load(spec: Mapping[str, Any]) -> ImageSet:
    """A specification -> its pictures; headers are read and checked here, pixels when needed.

    Raises
    ------
    InputError
        Unknown keys or values, no such folder or picture, files that are no fit pictures; one line each.
    """
    try:
        keys = _Spec.model_validate(dict(spec))
    except ValidationError as error:
        raise InputError(_complaint(error)) from error
    if (keys.set is None) == (keys.folder is None):
        raise InputError(f"images need either `set` ({', '.join(SETS)}) or `folder` (a path); got {dict(spec)!r}")
    if keys.split is not None and keys.set != "cifar10":
        raise InputError("only the set cifar10 has a `split`; leave the key out")
    origin = _origin(keys)
    chosen = _chosen(origin.names, keys)
    return ImageSet(origin, chosen, None if keys.crop is None else (keys.crop[0], keys.crop[1]))


def _origin(keys: _Spec) -> _Origin:
    if keys.folder is not None:
        folder = Path(keys.folder).expanduser()
        if not folder.is_dir():
            what = "a file; give the folder it is in, and `pick` it by name" if folder.exists() else "no such folder"
            raise InputError(f"folder {keys.folder!r}: {what}")
        return _not_empty(_Files(folder), f"folder {keys.folder!r}")
    if keys.set == "kodak":
        return _Files(Path(str(files("jscclink.data") / "kodak")))
    assert keys.set is not None
    folder = data_folder() / keys.set
    split = keys.split or "test"
    wanted = [folder / name for name in _CIFAR_FILES[split]] if keys.set == "cifar10" else [folder]
    if not all(path.exists() for path in wanted):
        raise InputError(
            f"the set {keys.set!r} is not in {folder}; run `jscclink data fetch {keys.set}`, or set JSCCLINK_DATA to the "
            "folder that holds it"
        )
    return _Cifar10(folder, split) if keys.set == "cifar10" else _not_empty(_Files(folder), f"folder '{folder}'")


def _not_empty(origin: _Origin, where: str) -> _Origin:
    if not origin.names:
        raise InputError(f"{where}: no pictures in it; allowed endings: {', '.join(pictures.SUFFIXES)}")
    return origin


def _chosen(names: Sequence[str], keys: _Spec) -> list[int]:
    """Indices after `pick` and `limit`."""
    chosen = list(range(len(names)))
    if keys.pick is not None:
        by_name = {Path(name).stem: i for i, name in enumerate(names)} | {name: i for i, name in enumerate(names)}
        chosen = []
        for entry in keys.pick:
            index = by_name.get(entry, -1) if isinstance(entry, str) else entry - 1
            if not 0 <= index < len(names):
                allowed = f"1 to {len(names)}, or names like {names[0]!r}"
                raise InputError(f"pick: there is no picture {entry!r}; allowed: {allowed}")
            if index in chosen:
                raise InputError(f"pick: the picture {entry!r} is there twice")
            chosen.append(index)
    return chosen[: keys.limit]


def _complaint(error: ValidationError) -> str:
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        return f"images have no key {key!r}; allowed: {', '.join(_Spec.model_fields)}"
    examples = {
        "set": ", ".join(SETS),
        "folder": "a path",
        "split": "test, train",
        "pick": "a list of numbers from 1 or names, like [1, 5]",
        "limit": "a whole number from 1",
        "crop": "[height, width]",
    }
    return f"images.{key}: got {first['input']!r}; allowed: {examples[key]}"
