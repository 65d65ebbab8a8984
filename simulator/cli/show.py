"""`show`: one picture through one link."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jscclink.errors import InputError

from . import values

if TYPE_CHECKING:
    from torch import Tensor

    from jscclink.simulator.link import Passage


def show(
    image: Annotated[str, typer.Argument(help="Picture file, or the name of a Kodak picture: kodim05.")],
    scheme: Annotated[str, typer.Option(help="Scheme with its options: 'digital:mcs=16qam 1/2'.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Figure to write: .png, .pdf or .svg.")],
    esno: Annotated[str, typer.Option(help="Es/N0 in dB.")] = "10",
    cbr: Annotated[str, typer.Option(help="Channel bandwidth ratio: a number or a fraction.")] = "1/12",
    channel: Annotated[str, typer.Option(help="awgn, rayleigh:form=slow, ... (`jscclink list channels`).")] = "awgn",
    side: Annotated[str, typer.Option(help="How side information travels (`jscclink list sides`).")] = "ideal",
    seed: Annotated[int, typer.Option(help="Seed of the channel.")] = 1,
    received: Annotated[Path | None, typer.Option(help="Also write the received picture alone, as it is.")] = None,
) -> None:
    """Send one picture; show original, received and error side by side, with the figures."""
    import torch

    from jscclink.simulator import pictures, registry
    from jscclink.simulator.link import Link

    if output.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise InputError(f"{output}: figures end in .pdf, .svg, .png")
    source = _picture(image)[None]
    sender = registry.build("schemes", values.plugin(scheme, "--scheme"))
    if sender.block_bits is not None:
        raise InputError(f"--scheme {scheme!r} transmits blocks of bits, not pictures; see `jscclink ber`")
    link = Link(
        registry.build("channels", values.plugin(channel, "--channel")),
        side=registry.build("sides", values.plugin(side, "--side")),
    )
    if sender.needs_transmit_csi and link.channel.csi != "tx+rx":
        raise InputError(f"--scheme {scheme!r} must know the channel; give one with csi=tx+rx, like --channel awgn:csi=tx+rx")
    esno_db, ratio = values.number(esno, "--esno"), values.number(cbr, "--cbr")
    if not 0 < ratio <= 100 or abs(esno_db) > 200:
        raise InputError(f"--cbr {cbr} --esno {esno}: a CBR is positive and at most 100, Es/N0 within -200..200 dB")
    with torch.no_grad():
        passage = link.run(
            sender, source, link.budget(tuple(source.shape[1:]), ratio), esno_db, generator=torch.Generator().manual_seed(seed)
        )
    numbers = _numbers(source, passage)
    _draw(source[0], passage.reconstruction.data[0].cpu(), numbers, f"{scheme}, {channel} at {esno_db:g} dB", output)
    if received is not None:
        try:
            pictures.write(received, passage.reconstruction.data[0])
        except (OSError, ValueError) as error:
            raise InputError(f"{received}: cannot be written ({error}); choose another place or ending") from error
    for name, text in numbers.items():
        typer.echo(f"{name:<8} {text}")
    typer.echo(f"figure   {output}")


def _picture(image: str) -> Tensor:
    """uint8 [3, H, W] of a file, or of the Kodak set."""
    from jscclink.simulator import datasets, pictures

    if not Path(image).exists() and image.removesuffix(".png") in {f"kodim{i:02d}" for i in range(1, 25)}:
        return datasets.load({"set": "kodak", "pick": [image]}).picture(0)
    return pictures.read(image)


def _numbers(source: Tensor, passage: Passage) -> dict[str, str]:
    """The figures of one picture, by name, with units."""
    from jscclink.simulator import registry

    numbers = {}
    for name, spec in (("psnr", ".2f"), ("ms_ssim", ".4f"), ("cbr", ".5f"), ("bpp", ".4f")):
        metric = registry.build("metrics", name)
        samples = metric.measure(source, passage)
        if samples.denominator.item() > 0:
            numbers[name] = format(samples.numerator.item(), spec) + (f" {metric.unit}" if metric.unit else "")
    if bool(passage.reconstruction.failed.item()):
        numbers["outage"] = "yes: the receiver knows that the picture is lost, and shows its concealment"
    uses = {name: int(value.item()) for name, value in passage.ledger.uses.items() if value.item()}
    numbers["uses"] = ", ".join(f"{count} {name}" for name, count in uses.items()) or "none"
    return numbers


def _draw(original: Tensor, received: Tensor, numbers: dict[str, str], title: str, output: Path) -> None:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from jscclink.simulator import figures

    error = (original.int() - received.int()).abs().amax(0)
    height, width = error.shape
    with mpl.rc_context(figures.STYLE):
        page = Figure(figsize=(figures.PAGE_IN, 0.9 + figures.PAGE_IN / 3 * min(height / width, 2.0)), layout="constrained")
        FigureCanvasAgg(page)
        left, middle, right = page.subplots(1, 3)
        left.imshow(original.permute(1, 2, 0).numpy(), interpolation="nearest")
        middle.imshow(received.permute(1, 2, 0).numpy(), interpolation="nearest")
        shown = right.imshow(error.numpy(), cmap="magma", vmin=0, vmax=max(int(error.max()), 1), interpolation="nearest")
        page.colorbar(shown, ax=right, fraction=0.046, label="largest error (levels)")
        quality = ", ".join(f"{figures.NAMES.get(n, n)} {numbers[n]}" for n in ("psnr", "ms_ssim") if n in numbers)
        for ax, text in ((left, "original"), (middle, f"received: {quality}"), (right, "error")):
            ax.set_title(text)
            ax.set_axis_off()
        page.suptitle(f"{title}, CBR {numbers['cbr']}" + (", outage" if "outage" in numbers else ""), fontsize=8)
    figures.save(page, output)
