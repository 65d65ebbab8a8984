"""Pictures, constellations and rate maps for a report: one picture sent again over the study's own links."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from jscclink.errors import InputError
from jscclink.simulator import registry
from jscclink.simulator.link import Link, Passage
from jscclink.simulator.scheme import Scheme

from .data import Comparison, Constellation, Picture, RateMap

if TYPE_CHECKING:
    from jscclink.simulator.points import Point
    from jscclink.simulator.study import Study

# with plotly's 4.8 MB and a third more for base64 this leaves a megabyte of the report's 10 to curves and tables
MOST_PNG_BYTES = 3_000_000
_WINDOWS = ((512, 768), (384, 512), (256, 384), (224, 288), (192, 256), (144, 192), (96, 128))
_MOST_SYMBOLS = 1500


@dataclass(frozen=True)
class Samples:
    """What a report shows beside curves and tables."""

    comparisons: tuple[Comparison, ...] = ()
    constellations: tuple[Constellation, ...] = ()
    rate_maps: tuple[RateMap, ...] = ()


def sample(study: Study, *, picture: int = 0, esno_db: Sequence[float] | None = None) -> Samples:
    """Send one picture over every channel with every scheme, at a few SNRs.

    Parameters
    ----------
    picture : int
        Index into the study's pictures, set by set.
    esno_db : sequence of float, optional
        Out of the study's; default: the lowest, the middle and the highest.

    Raises
    ------
    InputError
        A study of blocks of bits, or a picture or SNR that the study does not have.
    """
    everything = [(name, index) for name, one in study.sets.items() for index in range(len(one.images or ()))]
    if not everything:
        return Samples()
    if not 0 <= picture < len(everything):
        raise InputError(f"the study has no picture {picture}; it has {len(everything)}, counted from 0, set by set")
    image_set, index = everything[picture]
    images = study.sets[image_set].images
    assert images is not None
    points = [point for point in study.points if point.image_set == image_set]
    known = sorted({point.esno_db for point in points})
    chosen = sorted({known[0], known[len(known) // 2], known[-1]}) if esno_db is None else list(esno_db)
    if not set(chosen) <= set(known):
        raise InputError(f"SNRs {chosen} dB: the study has {', '.join(f'{value:g}' for value in known)} dB")
    source = images.picture(index)
    cbrs = sorted({point.cbr for point in points if point.cbr is not None})
    # schemes that set their own rate have no budget
    budgets = (None, cbrs[len(cbrs) // 2] if cbrs else None)
    shown = [p for p in points if p.esno_db in chosen and p.cbr in budgets]
    schemes = {label: registry.build("schemes", study.schemes[label].spec) for label in {p.scheme_label: 0 for p in shown}}
    sent = [(point, _send(study, point, schemes[point.scheme_label], source)) for point in shown]
    return Samples(
        tuple(_comparisons(images.names[index], source, sent)),
        tuple(_constellations(sent, chosen[len(chosen) // 2])),
        tuple(_rate_maps(study, schemes, source, sent)),
    )


def _send(study: Study, point: Point, scheme: Scheme, source: Tensor) -> Passage:
    feedback = None if study.feedback is None else registry.build("feedbacks", study.feedback)
    channel = registry.build("channels", study.channels[point.channel_label])
    link = Link(channel, side=registry.build("sides", study.side), feedback=feedback)
    # of its own, but the same for every scheme: they meet the same channel
    generator = torch.Generator().manual_seed(point.link_seed(0))
    with torch.no_grad():
        return link.run(scheme, source[None], link.budget(tuple(source.shape), point.cbr), point.esno_db, generator=generator)


def _comparisons(name: str, source: Tensor, sent: Sequence[tuple[Point, Passage]]) -> list[Comparison]:
    for height, width in _WINDOWS:
        made = [_comparison(name, channel, source, sent, (height, width)) for channel in {p.channel_label: 0 for p, _ in sent}]
        total = sum(len(c.original) + sum(len(p.png) for p in c.pictures) for c in made)
        if total <= MOST_PNG_BYTES:
            return made
    raise InputError(f"{len(sent)} pictures are too many for a report; choose fewer SNRs")


def _comparison(
    name: str, channel: str, source: Tensor, sent: Sequence[tuple[Point, Passage]], window: tuple[int, int]
) -> Comparison:
    pictures = []
    cut = _window(source, window)
    for point, passage in sent:
        if point.channel_label == channel:
            received = passage.reconstruction.data[0].cpu()
            psnr = registry.build("metrics", "psnr").measure(source[None], passage).numerator.item()
            caption = f"PSNR {psnr:.2f} dB, CBR {passage.ledger.cbr.item():.4f}"
            caption += ", outage" if bool(passage.reconstruction.failed[0]) else ""
            pictures.append(Picture(point.scheme_label, point.esno_db, _png(_window(received, window)), caption))
    whole = cut.shape == source.shape
    part = "" if whole else f", {cut.shape[2]} x {cut.shape[1]} from its middle (PSNR is of the whole picture)"
    return Comparison(f"{name} on {channel}, one draw{part}", _png(cut), tuple(pictures))


def _window(picture: Tensor, window: tuple[int, int]) -> Tensor:
    """The middle of uint8 [3, H, W]; portrait pictures get a portrait window."""
    sides = sorted(window, reverse=picture.shape[1] > picture.shape[2])
    for axis, side in enumerate(sides, start=1):
        side = min(side, picture.shape[axis])
        picture = picture.narrow(axis, (picture.shape[axis] - side) // 2, side)
    return picture


def _png(picture: Tensor) -> bytes:
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()).save(data, "PNG", optimize=True)
    return data.getvalue()


def _constellations(sent: Sequence[tuple[Point, Passage]], esno_db: float) -> list[Constellation]:
    """Received symbols over their gain, of every scheme that is no bound, at one SNR."""
    made = []
    for point, passage in sent:
        reception = passage.receptions[0]
        valid = int(passage.bursts[0].valid[0])
        if point.esno_db != esno_db or not valid or passage.bursts[0].genie is not None:
            continue
        symbols = reception.unbiased()[0][0, :valid].cpu()
        symbols = symbols[:: -(-valid // _MOST_SYMBOLS)]
        title = f"{point.scheme_label} on {point.channel_label}, {esno_db:g} dB"
        real, imag = (tuple(round(v, 4) for v in part.tolist()) for part in (symbols.real, symbols.imag))
        made.append(Constellation(title, real, imag))
    return made


def _rate_maps(
    study: Study, schemes: Mapping[str, Scheme], source: Tensor, sent: Sequence[tuple[Point, Passage]]
) -> list[RateMap]:
    """Of the schemes that have the method `rate_map` (they spend their symbols where the picture needs them)."""
    made, seen = [], set()
    for point, _ in sent:
        draw = getattr(schemes[point.scheme_label], "rate_map", None)
        if draw is None or point.scheme_label in seen:
            continue
        seen.add(point.scheme_label)
        link = Link(registry.build("channels", study.channels[point.channel_label]), side=registry.build("sides", study.side))
        values = draw(source, link.budget(tuple(source.shape), point.cbr))
        if values is not None:
            rows = tuple(tuple(round(v, 4) for v in row) for row in values.tolist())
            budget = "" if point.cbr is None else f", CBR {point.cbr:.4g}"
            made.append(RateMap(f"{point.scheme_label}{budget}", rows, "uses"))
    return made
