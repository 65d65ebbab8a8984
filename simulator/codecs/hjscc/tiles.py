"""Large pictures in tiles: the networks see one tile and its surroundings at a time, so their memory does not grow.

    +-----------------+
    |      seen       |   a tile's `core` is what counts of it; `seen` reaches `halo` pixels further, up to the
    |   +---------+   |   picture's edge, so that the core is what it would be in the whole picture (to within what
    |   |  core   |   |   the networks' fading memory of farther pixels still tells)
    |   +---------+   |
    +-----------------+

Whatever belongs to a position (latents, surprise, counts, symbols) is cut to the cores and put together. What is on the air is
that of the whole picture, so the two ends may use tiles of different sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .attention import WINDOW
from .presets import Preset

# of a tile with its surroundings: 2.4 megapixels; ordinary pictures are one tile
TILE_PIXELS = 1536**2
# measured with hjscc-tiny, see docs/hjscc.md
HALO = 64


@dataclass(frozen=True)
class Region:
    """A rectangle of the padded picture: pixels [top, bottom) x [left, right), whole multiples of the preset's."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return self.right - self.left

    def cut(self, whole: Tensor, stride: int) -> Tensor:
        """Its part of a map of the whole picture, one position per `stride` pixels: [..., h, w] -> [..., h', w'], a view."""
        return whole[..., self.top // stride : self.bottom // stride, self.left // stride : self.right // stride]


@dataclass(frozen=True)
class Tile:
    """See the module's drawing."""

    core: Region
    seen: Region

    @classmethod
    def whole(cls, height: int, width: int) -> Tile:
        """A picture in one piece."""
        region = Region(0, height, 0, width)
        return cls(region, region)

    def inner(self, seen: Tensor, stride: int) -> Tensor:
        """The core's part of a map of what is seen, one position per `stride` pixels: a view."""
        core, around = self.core, self.seen
        inside = Region(core.top - around.top, core.bottom - around.top, core.left - around.left, core.right - around.left)
        return inside.cut(seen, stride)


def alignment(preset: Preset) -> int:
    """Tiles begin at multiples of this many pixels: groups of positions stay whole, windows of attention where they are."""
    windowed = preset.rate_attention == "attention"
    return max(preset.multiple, WINDOW * max(level.stride for level in preset.levels) if windowed else 1)


def halo(preset: Preset) -> int:
    """Pixels seen around a tile: `HALO`, aligned."""
    align = alignment(preset)
    return -(-HALO // align) * align


def least_pixels(preset: Preset) -> int:
    """Pixels of the smallest tile and its surroundings."""
    return (alignment(preset) + 2 * halo(preset)) ** 2


def tiles(height: int, width: int, preset: Preset, most_pixels: int) -> list[Tile]:
    """Cut a padded picture.

    Args:
        height, width: multiples of `preset.multiple`.
        preset: gives alignment and halo.
        most_pixels: most pixels of a tile and its surroundings; where not even the smallest tile keeps to it, the smallest.

    Returns:
        the tiles, row by row; their cores cover the picture once. One tile if the picture has no more than `most_pixels`,
        otherwise of nearly equal sizes such that the fewest pixels are seen twice.
    """
    if height * width <= most_pixels:
        return [Tile.whole(height, width)]
    align, around = alignment(preset), halo(preset)
    rows, columns = _grid(height, width, align, around, most_pixels)
    cores = [Region(*row, *column) for row in rows for column in columns]
    return [
        Tile(
            core,
            Region(
                max(core.top - around, 0),
                min(core.bottom + around, height),
                max(core.left - around, 0),
                min(core.right + around, width),
            ),
        )
        for core in cores
    ]


def _grid(height: int, width: int, align: int, around: int, most_pixels: int) -> tuple[list[tuple[int, int]], ...]:
    """Bands of rows and of columns with the least to see twice."""
    best, found = None, (_bands(height, align, align), _bands(width, align, align))
    for side in range(align, height + align, align):
        rows = _bands(height, side, align)
        room = most_pixels // min(max(b - t for t, b in rows) + 2 * around, height)
        side = width if room >= width else (room - 2 * around) // align * align
        if side < align:
            continue
        columns = _bands(width, side, align)
        seen = (height + 2 * around * (len(rows) - 1)) * (width + 2 * around * (len(columns) - 1))
        if best is None or seen < best:
            best, found = seen, (rows, columns)
    return found


def _bands(length: int, most: int, align: int) -> list[tuple[int, int]]:
    """`length` in as few aligned pieces of at most `most` as do, of nearly equal lengths."""
    count = -(-length // most)
    step = -(-length // (count * align)) * align
    return [(start, min(start + step, length)) for start in range(0, length, step)]


class SymbolOrder:
    """Where a latent's symbols stand in the picture's flat payload: symbol by symbol, row by row, those that are sent.

    Holds counts per row only, and works out the rest for the region asked about.
    """

    def __init__(self, counts: Tensor, largest: int, stride: int, first: int) -> None:
        """
        Args:
            counts: real symbols per position, int64 [1, h, w].
            largest: most of them.
            stride: pixels per position and side.
            first: place of the first one.
        """
        self.counts, self.largest, self.stride, self.first = counts[0], largest, stride, first
        sent = self._above(self.counts)
        self._starts = (sent.flatten().cumsum(0) - sent.flatten()).view_as(sent) + first
        self.end = first + int(sent.sum())

    def _above(self, counts: Tensor) -> Tensor:
        """Positions per row at which symbol k is sent: [h, w] -> int64 [largest, h]."""
        histogram = counts.new_zeros(counts.shape[0], self.largest + 1).scatter_add_(1, counts, torch.ones_like(counts))
        return histogram.flip(1).cumsum(1).flip(1)[:, 1:].T

    def find(self, region: Region) -> tuple[Tensor, Tensor]:
        """The symbols of a region.

        Returns:
            bool [1, largest, h, w], True where one is sent; int64 [n], their places in the payload, in the mask's order.
        """
        counts = region.cut(self.counts, self.stride)
        mask = torch.arange(self.largest)[:, None, None] < counts
        if counts.shape == self.counts.shape:
            return mask[None], torch.arange(self.first, self.end)
        rows = slice(region.top // self.stride, region.bottom // self.stride)
        starts = self._starts[:, rows] + self._above(self.counts[rows, : region.left // self.stride])
        places = mask.cumsum(2, dtype=torch.int32) + (starts - 1)[:, :, None]
        return mask[None], places[mask]
