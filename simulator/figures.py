"""Figures for papers: curves with bands on axes of one's own or on a ready page, as PDF, SVG or PNG.

Nothing here touches pyplot or the global settings: `Figure` objects, drawn by Agg, with the same bytes for the same results.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from jscclink.errors import InputError

from .envelope import LABEL as ENVELOPE
from .look import COLUMN_IN, ENVELOPE_LINE, PAGE_IN, PALETTE, STYLE, UNFILLED, Line, line_of
from .published import Published
from .results import Results, Row
from .statistics import Estimate

Band = Literal["interval", "draws", "none"]

AXES = {"esno_db": "$E_s/N_0$ (dB)", "ebno_db": "$E_b/N_0$ (dB)", "cbr": "channel bandwidth ratio"}
NAMES = {
    "psnr": "PSNR",
    "ms_ssim": "MS-SSIM",
    "ms_ssim_db": "MS-SSIM",
    "ssim": "SSIM",
    "mse": "MSE",
    "ber": "bit error rate",
    "bler": "block error rate",
    "outage": "outage rate",
    "cbr": "channel bandwidth ratio",
    "cbr_with_overhead": "CBR with overhead",
    "bpp": "bits per pixel",
    "energy": "energy per source value",
}
_LEGEND_ROW_IN = 0.15


def draw(
    ax: Axes,
    rows: Sequence[Row],
    metric: str,
    *,
    x: str = "esno_db",
    label: str | None = None,
    line: Line | None = None,
    band: Band = "interval",
) -> None:
    """One curve on axes of your own: the metric's values, a band for the intervals, arrows for upper bounds.

    Parameters
    ----------
    rows : sequence of Row
        Of one curve (`Results.curve`); points that were not run are absent, not zero.
    metric : str
        Key of the metric.
    x : "esno_db", "ebno_db" or "cbr"
        `cbr` is what the ledger says where the metric `cbr` was measured, else the budget.
    label : str, optional
        For the legend.
    line : Line, optional
        Default: the first of the palette.
    band : "interval", "draws" or "none"
        `interval`: the confidence interval (for means of pictures it covers the spread among pictures). `draws`: how sure
        the mean over these very pictures is, given the channel draws.

    Error rates are drawn on a logarithmic axis; a point without errors is an arrow down from its upper confidence limit.
    """
    line = line or line_of(0)
    places = [(at, number) for row in rows for at, number in [(abscissa(row, x), row.metrics[metric])] if at is not None]
    places = sorted((place for place in places if place[1].value is not None), key=lambda place: place[0])
    if not places:
        return
    logarithmic = places[0][1].kind != "mean"
    if logarithmic:
        ax.set_yscale("log")
    # nan where nothing was seen: the curve breaks there, instead of passing over the arrow
    seen = [(at, None if logarithmic and number.is_upper_bound else number) for at, number in places]
    style = {"color": line.color, "marker": line.marker, "linestyle": line.linestyle, "linewidth": line.linewidth}
    horizontal = np.array([at for at, _ in seen])
    values = [math.nan if number is None or number.value is None else number.value for _, number in seen]
    ax.plot(horizontal, np.array(values), label=label, zorder=line.zorder, **style)
    low, high = np.array([_band(number, band) for _, number in seen]).T
    if np.isfinite(low).any():
        ax.fill_between(horizontal, low, high, color=line.color, alpha=0.15, linewidth=0)
    for at, number in places:
        if logarithmic and number.is_upper_bound and number.high and line.arrows:
            _arrow(ax, at, number.high, line)


def _band(number: Estimate | None, band: Band) -> tuple[float, float]:
    """Lower and upper edge; nan where there is none."""
    if number is None:
        return math.nan, math.nan
    if band == "draws" and number.kind == "mean" and number.draws_half_width is not None and number.value is not None:
        return number.value - number.draws_half_width, number.value + number.draws_half_width
    if band == "none" or number.low is None or number.high is None:
        return math.nan, math.nan
    return number.low, number.high


def _arrow(ax: Axes, at: float, high: float, line: Line) -> None:
    """An upper bound: a bar at the limit with an arrow down from it, half a decade long."""
    tip = high / math.sqrt(10.0)
    place = ax.transData + ScaledTranslation(line.dodge_points / 72.0, 0.0, ax.figure.dpi_scale_trans)
    ax.plot([at], [high], color=line.color, marker="_", markersize=6, linestyle="none", transform=place)
    arrow = {"arrowstyle": "->", "color": line.color, "lw": 0.8, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", (at, tip), (at, high), xycoords=place, textcoords=place, arrowprops=arrow)
    # an annotation does not widen the axes by itself
    ax.plot([at, at], [tip, high], alpha=0.0, linestyle="none", marker=".")


def abscissa(row: Row, x: str) -> float | None:
    """Where a row lies on the horizontal axis; None where it has no such value."""
    if x == "cbr" and "cbr" in row.metrics:
        return row.metrics["cbr"].value
    if x not in AXES:
        raise InputError(f"no horizontal axis {x!r}; allowed: {', '.join(AXES)}")
    return getattr(row, x)


def label_of(metric: str, unit: str) -> str:
    """Axis label: name and unit."""
    name = NAMES.get(metric, metric)
    return f"{name} ({unit})" if unit else name


def figure(
    results: Results,
    metric: str | None = None,
    *,
    x: str | None = None,
    band: Band = "interval",
    published: Sequence[Published] = (),
    theory: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> Figure:
    """One panel per channel and set of pictures, one curve per scheme (and per CBR, or Es/N0, whichever is not the axis).

    Parameters
    ----------
    metric : str, optional
        Default: the study's first.
    x : "esno_db", "ebno_db" or "cbr", optional
        Default: `cbr` where the study has more CBRs than SNRs, else `esno_db`.
    band
        As in `draw`; bounds have none.
    published : sequence of Published
        Drawn as unfilled markers with their source, in the panels of their channel (jscclink.simulator.published).
    theory : mapping of label -> (x, y), optional
        Further lines, drawn as bounds are, in every panel.
    """
    metric = metric or next(iter(results.metrics))
    if metric not in results.metrics:
        raise InputError(f"the results have no metric {metric!r}; measured: {', '.join(results.metrics)}")
    if not any(row.metrics[metric].value is not None for row in results.rows):
        raise InputError(f"no point of {results.name!r} has a value of {metric!r}: not run yet, or nothing to measure it on")
    x = x or natural_axis(results)
    places = results.panels
    columns = min(len(places), 3)
    lines = -(-len(places) // columns)
    with mpl.rc_context(STYLE):
        width = COLUMN_IN if columns == 1 else PAGE_IN
        page = Figure(figsize=(width, 0.6 + lines * (2.5 if columns < 3 else 2.1)), layout="constrained")
        FigureCanvasAgg(page)
        grid = page.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        panels = dict(zip(places, grid.flat, strict=False))
        for spare in grid.flat[len(places) :]:
            spare.set_visible(False)
        for panel, ax in panels.items():
            _panel(ax, results, panel, metric, x, band, theory or {})
            for index, group in enumerate(_systems(published)):
                if group[0].belongs(results, *places[panel]):
                    _overlay(ax, group, x, index)
            if len(places) > 1 or x != "esno_db":
                ax.set_title(panel)
        _decorate(page, list(panels.values()), label_of(metric, results.metrics[metric].unit), AXES[x])
    return page


def natural_axis(results: Results) -> str:
    """`cbr` where a study has more CBRs than SNRs, else `esno_db`."""
    several = len({row.cbr for row in results.rows}) > len({row.esno_db for row in results.rows})
    return "cbr" if several else "esno_db"


def _panel(ax: Axes, results: Results, panel: str, metric: str, x: str, band: Band, theory: Mapping[str, Any]) -> None:
    curve, bound = 0, 0
    for scheme, info in results.schemes.items():
        for suffix, rows in _curves([r for r in results.rows if r.scheme == scheme and r.panel == panel], x, results):
            envelope = info.plugin["name"] == ENVELOPE
            index = bound if info.bound else curve
            shown: Band = "none" if info.bound else band
            line = ENVELOPE_LINE if envelope else line_of(index, bound=info.bound)
            draw(ax, rows, metric, x=x, label=scheme + suffix, line=line, band=shown)
            bound, curve = bound + (info.bound and not envelope), curve + (not info.bound)
    measured = ax.get_ylim()
    for index, (label, (at, value)) in enumerate(theory.items(), start=bound):
        line = line_of(index, bound=True)
        ax.plot(at, value, label=label, color=line.color, linestyle=line.linestyle, linewidth=line.linewidth)
    if theory and ax.get_yscale() == "log":
        ax.set_ylim(measured)  # closed forms go down to where nobody measures


def _curves(rows: Sequence[Row], x: str, results: Results) -> Iterable[tuple[str, list[Row]]]:
    """A scheme's rows in curves, each with what its label needs to tell it from the others."""
    if x == "cbr":
        values = sorted({row.esno_db for row in rows})
        several = len({row.esno_db for row in results.rows}) > 1
        for esno_db in values:
            yield f", {esno_db:g} dB" if several else "", [row for row in rows if row.esno_db == esno_db]
        return
    for cbr in sorted({row.cbr for row in rows}, key=lambda value: value or 0.0):
        several = sum(budget is not None for budget in results.cbrs()) > 1
        yield f", CBR {cbr:.3g}" if several and cbr is not None else "", [row for row in rows if row.cbr == cbr]


def _systems(published: Sequence[Published]) -> list[list[Published]]:
    """What is one entry of the legend, and one look."""
    groups: dict[tuple[str, str, str], list[Published]] = {}
    for point in published:
        groups.setdefault((point.system, point.short_source, point.channel), []).append(point)
    return list(groups.values())


def _overlay(ax: Axes, points: Sequence[Published], x: str, index: int) -> None:
    """Published points of one system and source: unfilled markers, no line."""
    places = sorted((p.cbr if x == "cbr" else p.esno_db, p.value) for p in points)
    ax.plot(
        [at for at, _ in places],
        [value for _, value in places],
        linestyle="none",
        marker=UNFILLED[index % len(UNFILLED)],
        markerfacecolor="none",
        markeredgecolor=PALETTE[-1 - (index + index // len(UNFILLED)) % len(PALETTE)],
        markeredgewidth=0.8,
        markersize=4.5,
        label=f"{points[0].system} ({points[0].short_source})",
    )


def _decorate(page: Figure, panels: Sequence[Axes], y_label: str, x_label: str) -> None:
    handles: dict[str, Any] = {}
    for ax in panels:
        handles |= {label: handle for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        if ax.get_yscale() != "log":
            ax.yaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10]))
    page.supxlabel(x_label, fontsize=8)
    page.supylabel(y_label, fontsize=8)
    longest = max((len(label) for label in handles), default=0)
    columns = max(1, min(len(handles), int(page.get_figwidth() * 20 / (longest + 9))))
    # the legend stands above the panels and takes nothing from them
    page.set_figheight(page.get_figheight() + _LEGEND_ROW_IN * (-(-len(handles) // columns) - 1))
    page.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=columns)


def save(page: Figure, path: str | Path) -> None:
    """Write .pdf, .svg or .png; the same figure gives the same bytes (no dates).

    Raises
    ------
    InputError
        Another ending, or a place that cannot be written to.
    """
    metadata: dict[str, dict[str, Any]] = {
        ".pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": "jscclink"},
        ".svg": {"Date": None, "Creator": "jscclink"},
        ".png": {"Software": None},
    }
    suffix = Path(path).suffix.lower()
    if suffix not in metadata:
        raise InputError(f"{path}: figures end in {', '.join(metadata)}")
    try:
        with mpl.rc_context(STYLE):
            page.savefig(path, metadata=metadata[suffix])
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error
