"""`jscclink channel NAME`: draw a realisation of a channel, say what it is like, plot it, save it for replay."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import torch
import typer

from jscclink.channels.channel import Channel, Realisation

from . import registry
from .cli import values
from .units import noise_var_from_esno_db

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Points of a scatter plot: more only blacken it.
_MOST_POINTS = 4000


def channel_command(
    name: Annotated[str, typer.Argument(help="awgn, tdl:model=A,speed_kmh=30, or a list: '[phase_noise, tdl, awgn]'.")],
    plot: Annotated[Path | None, typer.Option(help="Write a figure (.pdf, .svg, .png).")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the realisation (.npz), to be applied again.")] = None,
    esno_db: Annotated[float, typer.Option(help="Es/N0 in dB.")] = 20.0,
    uses: Annotated[int, typer.Option(min=1, help="Channel uses per image.")] = 16384,
    images: Annotated[int, typer.Option(min=1, help="Images, each with its own realisation.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the realisation.")] = 1,
) -> None:
    """Draw a realisation of a channel; print its power, capacity, peak power and overhead."""
    spec = values.plugin(name, "the channel")
    channel = registry.build("channels", spec)
    generator = torch.Generator().manual_seed(seed)
    realisation = channel.generate(images, uses, generator=generator)
    for line in summary(channel, realisation, esno_db, generator):
        typer.echo(line)
    if plot is not None:
        plot_channel(channel, realisation, esno_db, generator).savefig(plot, bbox_inches="tight")
        typer.echo(f"figure: {plot}")
    if save is not None:
        from jscclink.channels.replay import save_realisation

        save_realisation(save, realisation, spec)
        typer.echo(f"realisation: {save}")


def qpsk(batch: int, uses: int, generator: torch.Generator) -> torch.Tensor:
    """Random QPSK symbols of unit energy: complex64 [batch, uses]."""
    quarter = torch.randint(0, 4, (batch, uses), generator=generator, device=generator.device)
    phase = math.pi / 4 + math.pi / 2 * quarter
    return torch.polar(torch.ones_like(phase), phase)


def summary(channel: Channel, realisation: Realisation, esno_db: float, generator: torch.Generator) -> list[str]:
    """What there is to say about a realisation, one line each."""
    from jscclink.channels import capacity, inspection

    gains = channel.power_gains(realisation)
    noise_var = torch.full((realisation.batch,), noise_var_from_esno_db(esno_db))
    plain = capacity.capacity(gains, noise_var)
    filled = capacity.capacity(gains, noise_var, water_filling=True)
    clean, sent = inspection.transmitted(channel, qpsk(realisation.batch, realisation.uses, generator), realisation)
    lines = [
        f"images x uses: {realisation.batch} x {realisation.uses}",
        f"mean power gain: {10 * math.log10(float(gains.mean())):.2f} dB",
        f"capacity at {esno_db:g} dB: {float(plain.mean()):.3f} bit/use (lowest image {float(plain.min()):.3f}); "
        f"with water-filling {float(filled.mean()):.3f}",
        f"peak to average power, QPSK: {float(inspection.papr_db(clean).mean()):.2f} dB; as transmitted "
        f"{float(inspection.papr_db(sent).mean()):.2f} dB",
    ]
    overhead = channel.overhead(torch.full((realisation.batch,), realisation.uses)).uses
    if overhead:
        lines.append("overhead per image: " + ", ".join(f"{name} {int(count[0])}" for name, count in overhead.items()))
    return lines


def plot_channel(channel: Channel, realisation: Realisation, esno_db: float, generator: torch.Generator) -> Figure:
    """Gains over time, delay and Doppler spectra where there are any, constellations before and after equalisation."""
    from matplotlib.figure import Figure

    from jscclink.channels import inspection

    noise_var = torch.full((realisation.batch,), noise_var_from_esno_db(esno_db))
    points = inspection.constellation(channel, qpsk(realisation.batch, realisation.uses, generator), realisation, noise_var)
    delay, doppler = inspection.delay_spectrum(channel, realisation), inspection.doppler_spectrum(channel, realisation)
    scatters = [("before equalisation", points.before), ("after equalisation", points.after)]
    panels = 1 + sum(item is not None for item in (delay, doppler)) + sum(symbols is not None for _, symbols in scatters)
    figure = Figure(figsize=(3.4 * panels, 3.2), layout="constrained")
    axes = iter(figure.subplots(1, panels, squeeze=False)[0])
    axis = next(axes)
    power = channel.power_gains(realisation)[0].clamp_min(1e-6)
    axis.plot((10 * power.log10()).numpy(), linewidth=0.8)
    axis.set(xlabel="use", ylabel="power gain (dB)", title="first image")
    for spectrum, title in ((delay, "delay spectrum"), (doppler, "Doppler spectrum")):
        if spectrum is None:
            continue
        axis = next(axes)
        level = 10 * torch.from_numpy(spectrum.power).clamp_min(1e-12).log10().numpy()
        if title.startswith("delay"):
            axis.stem(spectrum.axis, level, bottom=level.min() - 3.0)
        else:
            axis.plot(spectrum.axis, level, linewidth=0.8)
        axis.set(xlabel=spectrum.unit, ylabel="power (dB)", title=title)
    for title, symbols in scatters:
        if symbols is None:
            continue
        axis = next(axes)
        shown = symbols[0, :_MOST_POINTS]
        axis.plot(shown.real.numpy(), shown.imag.numpy(), ".", markersize=1.5)
        axis.set(xlabel="in-phase", ylabel="quadrature", title=title, aspect="equal")
    figure.suptitle(f"{type(channel).__name__} at {esno_db:g} dB")
    return figure
