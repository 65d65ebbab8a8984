"""Training images: a folder of pictures in memory as uint8, and seeded random crops of them."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from jscclink.errors import InputError

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
VALIDATION_SHARE = 20


@dataclass(frozen=True)
class ImageSet:
    """Pictures in memory.

    Attributes:
        names: file names, sorted.
        images: uint8 [H, W, 3] each.
    """

    names: tuple[str, ...]
    images: tuple[NDArray[np.uint8], ...]

    def sha256(self) -> str:
        """Hash over names and pixels."""
        digest = hashlib.sha256()
        for name, image in zip(self.names, self.images, strict=True):
            digest.update(f"{name} {image.shape}".encode())
            digest.update(np.ascontiguousarray(image).data)
        return digest.hexdigest()

    def of_side(self, smallest: int) -> ImageSet:
        """Those with both sides of `smallest` pixels or more (the same arrays); an `InputError` where there is none."""
        kept = [i for i, image in enumerate(self.images) if min(image.shape[:2]) >= smallest]
        if not kept:
            largest = max(min(image.shape[:2]) for image in self.images)
            raise InputError(
                f"data: no training picture has both sides of {smallest} or more; the largest crop it holds has {largest}"
            )
        return ImageSet(tuple(self.names[i] for i in kept), tuple(self.images[i] for i in kept))


def split_names(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the training and of the validation pictures of a folder.

    The column `split` (train/val) of `index.csv` decides where there is one; otherwise the hash of a name sends one picture
    in twenty to validation.
    """
    if not folder.is_dir():
        raise InputError(f"data: {str(folder)!r} is not a folder; give a folder of pictures ({', '.join(sorted(SUFFIXES))})")
    index = folder / "index.csv"
    if index.is_file():
        with index.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if rows and "split" in rows[0] and "file" in rows[0]:
            train = sorted(r["file"] for r in rows if r["split"] == "train")
            val = sorted(r["file"] for r in rows if r["split"] == "val")
            return train, val
    names = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if len(names) < 2:
        raise InputError(f"data: {str(folder)!r} holds {len(names)} pictures; at least 2 are needed (train and validation)")
    val = [n for n in names if int(hashlib.sha256(n.encode()).hexdigest(), 16) % VALIDATION_SHARE == 0] or names[-1:]
    return [n for n in names if n not in set(val)], val


def load_images(folder: Path, names: list[str], smallest_side: int) -> ImageSet:
    """Read pictures as RGB; those with a side under `smallest_side` are left out."""
    kept, images = [], []
    for name in names:
        with Image.open(folder / name) as file:
            if file.mode.startswith(("I", "F")):
                raise InputError(f"data: {name!r} has more than 8 bits per sample ({file.mode}); save it with 8")
            array = np.asarray(file.convert("RGB"))
        if min(array.shape[:2]) >= smallest_side:
            kept.append(name)
            images.append(array)
    if not images:
        raise InputError(f"data: no picture of {str(folder)!r} has both sides of {smallest_side} or more; use smaller crops")
    return ImageSet(tuple(kept), tuple(images))


def random_crops(images: ImageSet, count: int, size: int, generator: torch.Generator) -> Tensor:
    """Seeded random crops, flipped and turned at random.

    Args:
        images: to crop from.
        count: number of crops.
        size: side in pixels.
        generator: decides everything.

    Returns:
        float32 [count, 3, size, size] in [-1, 1], channels last.
    """
    crops = torch.empty(count, size, size, 3, dtype=torch.uint8)
    draws = torch.rand((count, 4), generator=generator, dtype=torch.float64).tolist()
    for crop, (which, down, right, turn) in zip(crops, draws, strict=True):
        image = images.images[int(which * len(images.images))]
        y = int(down * (image.shape[0] - size + 1))
        x = int(right * (image.shape[1] - size + 1))
        window = image[y : y + size, x : x + size]
        way = int(turn * 8)
        window = np.rot90(window[:, ::-1] if way & 4 else window, way & 3)
        crop.copy_(torch.from_numpy(window.copy()))
    return crops.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def centre_crops(images: ImageSet, count: int, size: int) -> Tensor:
    """The middle of `count` pictures spread evenly over the set: float32 [count, 3, size, size] in [-1, 1]."""
    picked = np.linspace(0, len(images.images) - 1, count).round().astype(int)
    crops = []
    for i in picked:
        image = images.images[i]
        y, x = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
        crops.append(torch.from_numpy(image[y : y + size, x : x + size].copy()))
    return torch.stack(crops).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
