"""HJSCC in tiles: what is on the air and what comes out are those of the whole picture, and memory does not grow with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hjscc_micro import MICRO, micro_codec, micro_model, pictures
from hypothesis import given, settings
from hypothesis import strategies as st

from jscclink.channels.awgn import Awgn
from jscclink.errors import InputError
from jscclink.simulator.codecs.hjscc.presets import PAPER, SMALL, TINY, Preset
from jscclink.simulator.codecs.hjscc.rates import counts_from_indices, prefix_mask
from jscclink.simulator.codecs.hjscc.scheme import Hjscc
from jscclink.simulator.codecs.hjscc.tiles import TILE_PIXELS, SymbolOrder, Tile, alignment, halo, least_pixels, tiles
from jscclink.simulator.codecs.hjscc.weights import Codec
from jscclink.simulator.link import Link, Passage
from jscclink.simulator.scheme import Budget
from jscclink.simulator.side import IdealSide

CODEC = micro_codec()
# cores of some 72 x 72 pixels, and 64 around them
SMALL_TILES = 200**2
SHAPE = (3, 203, 331)
PICTURE = pictures(1, *SHAPE[1:])


def scheme(tile_pixels: int = TILE_PIXELS, codec: Codec = CODEC) -> Hjscc:
    return Hjscc(codec=codec, precision="float32", tile_pixels=tile_pixels)


def passage(one: Hjscc, cbr: float = 0.1) -> Passage:
    link = Link(Awgn(csi="tx+rx"))
    return link.run(one, PICTURE, link.budget(SHAPE, cbr), 10.0, generator=torch.Generator().manual_seed(0))


def psnr(found: torch.Tensor, true: torch.Tensor) -> float:
    return float(10 * torch.log10(255**2 / (found.float() - true.float()).square().mean()))


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([MICRO, TINY, SMALL, PAPER]),
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(0, 3_000_000),
)
def test_tiles_cover_the_picture_once_with_their_surroundings(preset: Preset, rows: int, columns: int, more: int) -> None:
    align, around, most = alignment(preset), halo(preset), least_pixels(preset) + more
    height, width = rows * preset.multiple, columns * preset.multiple
    covered = torch.zeros(height, width, dtype=torch.int64)
    cut = tiles(height, width, preset, most)
    for tile in cut:
        tile.core.cut(covered, 1).add_(1)
        core, seen = tile.core, tile.seen
        assert seen.height * seen.width <= most
        assert core.top % align == core.left % align == seen.top % align == seen.left % align == 0
        assert (seen.top, seen.left) == (max(core.top - around, 0), max(core.left - around, 0))
        assert (seen.bottom, seen.right) == (min(core.bottom + around, height), min(core.right + around, width))
    assert bool((covered == 1).all())
    assert (len(cut) == 1) == (height * width <= most)


def test_ordinary_pictures_are_one_tile() -> None:
    for height, width in ((512, 768), (1088, 1920), (1408, 1664)):
        assert tiles(height, width, TINY, TILE_PIXELS) == [Tile.whole(height, width)]
    assert least_pixels(PAPER) <= TILE_PIXELS, "the default is allowed for every preset"


def test_symbols_stand_where_they_stand_in_the_whole_picture() -> None:
    level = MICRO.levels[2]
    generator = torch.Generator().manual_seed(1)
    for height, width in ((160, 240), (16, 400)):
        shape = (1, height // 16, width // 16)
        counts = counts_from_indices(torch.randint(0, len(level.table), shape, generator=generator), level)
        order = SymbolOrder(counts, level.table[-1], level.stride, first=7)
        mask = prefix_mask(counts, level.table[-1])
        assert order.end == 7 + int(mask.sum())
        payload = torch.randn(1, *mask.shape[1:], generator=generator)
        flat = torch.full((order.end,), float("nan"))
        for tile in tiles(height, width, MICRO, SMALL_TILES):
            found, places = order.find(tile.core)
            flat[places] = tile.core.cut(payload, level.stride)[found]
        assert torch.equal(flat[7:], payload[mask])
        whole, places = order.find(Tile.whole(height, width).core)
        assert torch.equal(whole, mask) and torch.equal(places, torch.arange(7, order.end))


def test_the_transmission_is_that_of_the_whole_picture() -> None:
    whole, tiled = scheme(), scheme(SMALL_TILES)
    assert len(tiles(208, 336, MICRO, SMALL_TILES)) >= 6
    lmbda = 200.0
    one, other = whole.analyse(PICTURE[0], lmbda), tiled.analyse(PICTURE[0], lmbda)
    assert one.sent is not None and other.sent is None
    for bits, found in zip(one.bits, other.bits, strict=True):
        assert float((bits - found).abs().max()) < 1e-2, "bits at any position, of some tens"
    a, b = passage(whole), passage(tiled)
    assert a.receptions[0].side == b.receptions[0].side
    assert torch.equal(a.ledger.cbr, b.ledger.cbr)
    difference = (a.receptions[0].symbols - b.receptions[0].symbols).abs()
    assert float(difference.max()) < 1e-2, "symbols of unit power"
    assert psnr(b.reconstruction.data, PICTURE) == pytest.approx(psnr(a.reconstruction.data, PICTURE), abs=1e-3)


@pytest.mark.parametrize(
    "sent,read", [(TILE_PIXELS, SMALL_TILES), (SMALL_TILES, TILE_PIXELS), (SMALL_TILES, least_pixels(MICRO))]
)
def test_the_receiver_may_cut_otherwise_than_the_transmitter(sent: int, read: int) -> None:
    done = passage(scheme(sent))
    budget = Link(Awgn(csi="tx+rx")).budget(SHAPE, 0.1)
    found = scheme(read).decode(done.receptions[0], budget)
    assert not bool(found.failed.any())
    difference = (found.data.int() - done.reconstruction.data.int()).abs()
    assert int(difference.max()) <= 1, "rounding"
    assert float((difference > 0).float().mean()) < 0.01


def test_a_fixed_rate_is_that_of_the_whole_picture() -> None:
    preset = replace(MICRO, fixed_rate=True)
    codec = Codec(micro_model(preset), CODEC.side, CODEC.card)
    coded = scheme(SMALL_TILES, codec).analyse(PICTURE[0], 200.0)
    for bits in coded.bits:
        assert float(bits.min()) == float(bits.max())
    assert coded.total_bits == pytest.approx(scheme(codec=codec).analyse(PICTURE[0], 200.0).total_bits, rel=1e-4)


def test_windows_of_attention_stay_where_they_are() -> None:
    preset = replace(MICRO, rate_attention="attention", jscc_width=32)
    assert alignment(preset) == halo(preset) == 128
    codec = Codec(micro_model(preset), CODEC.side, CODEC.card)
    picture = pictures(1, 500, 520, seed=2)
    link = Link(Awgn(csi="tx+rx"))
    budget = link.budget((3, 500, 520), 0.1)
    found = []
    for tile_pixels in (TILE_PIXELS, least_pixels(preset)):
        one = Hjscc(codec=codec, precision="float32", tile_pixels=tile_pixels)
        found.append(link.run(one, picture, budget, 10.0, generator=torch.Generator().manual_seed(0)).reconstruction.data.int())
    assert len(tiles(512, 528, preset, least_pixels(preset))) > 4
    difference = (found[0] - found[1]).abs()
    assert float((difference > 1).float().mean()) < 1e-3


def test_the_networks_never_see_more_than_a_tile() -> None:
    """Both ends, and a picture three times as large: the largest input of any convolution is the same."""
    model = CODEC.model
    largest = {}
    for name, shape in (("first", (3, 320, 320)), ("larger", (3, 560, 560))):
        seen = [0]

        def note(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], seen: list[int] = seen) -> None:
            seen[0] = max(seen[0], inputs[0].numel())

        hooks = [m.register_forward_pre_hook(note) for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
        try:
            one, budget = scheme(SMALL_TILES), Budget.from_cbr(0.1, shape, IdealSide())
            burst = one.encode(pictures(1, *shape[1:]), budget, None)
            sent = seen[0]
            link = Link(Awgn(csi="rx"))
            link.run(one, pictures(1, *shape[1:]), budget, 10.0, generator=torch.Generator().manual_seed(0))
        finally:
            for hook in hooks:
                hook.remove()
        assert int(burst.valid[0]) > 0
        largest[name] = (sent, seen[0])
        # a convolution's widest input: 3 x 16 x 16 values of each 16 x 16 pixels, or 2k + 3z + width at stride 8
        assert seen[0] <= SMALL_TILES * max(3, (5 * 48 + 16) / 64)
    assert largest["first"] == largest["larger"]


def test_a_tile_has_a_least_size() -> None:
    with pytest.raises(InputError, match=f"tile_pixels must be at least {least_pixels(MICRO)}"):
        scheme(least_pixels(MICRO) - 1)
