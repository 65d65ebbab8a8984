"""Distributions of a metric over pictures and draws: a panel per channel, set of pictures and SNR, a step curve per scheme."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jscclink.errors import InputError

from .figures import label_of
from .look import COLUMN_IN, LINES, PAGE_IN, STYLE, line_of
from .results import Results, Row

LEVEL = 0.05


def figure(
    results: Results,
    metric: str,
    *,
    esno_db: Sequence[float] | None = None,
    cbr: float | None = None,
) -> Figure:
    """The share of pictures and draws that are no better than a value, with the 5th percentile and its 95 % interval marked.

    Parameters
    ----------
    metric : str
        A mean over pictures; rates have no distribution.
    esno_db : sequence of float, optional
        Which SNRs of the study; default: the lowest, the middle and the highest.
    cbr : float, optional
        Which budget; default: the study's first.

    Raises
    ------
    InputError
        An SNR or CBR that the study does not have, or nothing to draw.
    """
    if metric not in results.metrics:
        raise InputError(f"the results have no metric {metric!r}; measured: {', '.join(results.metrics)}")
    known = sorted({row.esno_db for row in results.rows if metric in row.histograms})
    if not known:
        raise InputError(f"no point of {results.name!r} has a distribution of {metric!r}: only means over pictures have one")
    chosen = sorted({known[0], known[len(known) // 2], known[-1]}) if esno_db is None else sorted(set(esno_db))
    if not set(chosen) <= set(known):
        raise InputError(f"SNRs {chosen} dB: the study has {', '.join(f'{value:g}' for value in known)} dB")
    budget = results.cbrs()[0] if cbr is None else cbr
    rows = [row for row in results.rows if metric in row.histograms and row.cbr == budget and row.esno_db in chosen]
    if not rows:
        raise InputError(f"CBR {budget}: the study has {', '.join(f'{value:.4g}' for value in results.cbrs() if value)}")
    panels = [name for name in results.panels if any(row.panel == name for row in rows)]
    with mpl.rc_context(STYLE):
        width = COLUMN_IN if len(chosen) == 1 else PAGE_IN
        page = Figure(figsize=(width, 0.7 + 2.0 * len(panels)), layout="constrained")
        FigureCanvasAgg(page)
        grid = page.subplots(len(panels), len(chosen), squeeze=False, sharex=True, sharey=True)
        for panel, line in zip(panels, grid, strict=True):
            for snr, ax in zip(chosen, line, strict=True):
                _panel(ax, [row for row in rows if row.panel == panel and row.esno_db == snr], results, metric)
                ax.set_title(f"{panel}, {snr:g} dB")
        page.supxlabel(label_of(metric, results.metrics[metric].unit), fontsize=8)
        page.supylabel("share of pictures and draws", fontsize=8)
        handles: dict[str, Any] = {}
        for ax in grid.flat:
            handles |= {label: handle for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        longest = max(map(len, handles))
        columns = max(1, min(len(handles), int(width * 20 / (longest + 9))))
        page.set_figheight(page.get_figheight() + 0.15 * (-(-len(handles) // columns) - 1))
        page.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=columns)
    return page


def _panel(ax: Axes, rows: Sequence[Row], results: Results, metric: str) -> None:
    ax.axhline(LEVEL, color="#707070", linewidth=0.6, linestyle=(0, (1, 2)))
    curve, bound = 0, 0
    for scheme, info in results.schemes.items():
        of_scheme = [row for row in rows if row.scheme == scheme]
        look = line_of(bound if info.bound else curve, bound=info.bound)
        # steps have no room for markers: the line tells the curves apart on a grey copy, the marker sits at the percentile
        dashes = look.linestyle if info.bound else LINES[curve % len(LINES)]
        for row in of_scheme:
            found = row.histograms[metric]
            steps = np.array([found.values[0], *found.values]), np.cumsum([0, *found.counts]) / found.n
            ax.step(*steps, where="post", color=look.color, linestyle=dashes, linewidth=look.linewidth, label=scheme)
            percentile = found.quantile(LEVEL)
            if not info.bound and percentile.value is not None:
                places = [place for place in (percentile.low, percentile.value, percentile.high) if place is not None]
                ax.plot(places, [LEVEL] * len(places), color=look.color, linewidth=2.5, alpha=0.5)
                ax.plot([percentile.value], [LEVEL], color=look.color, marker=look.marker, linestyle="none")
        bound, curve = bound + info.bound, curve + (not info.bound)
    ax.set_ylim(0.0, 1.0)
