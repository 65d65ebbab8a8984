"""How curves look: palette, markers, lines and type for the width of a column; one place for all figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# IEEE's column and page widths in inches
COLUMN_IN, PAGE_IN = 3.5, 7.16
# Okabe & Ito's palette (colour-blind safe) without its yellow, which is too faint for a line on white
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", (0, (5, 1.5)), (0, (3, 1, 1, 1)), (0, (1, 1)))
# published points: more of them than systems in any one figure, so that no two look alike
UNFILLED = ("D", "v", "s", "^", "o", "<", "P", ">", "p", "X", "d", "h", "*")
BOUND_LINES = ((0, (4, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1, 2)), (0, (2, 1)))
STYLE: Any = {
    "font.size": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.titlesize": 8,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.35,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "pdf.fonttype": 42,
    "svg.hashsalt": "jscclink",
    "savefig.dpi": 300,
}


@dataclass(frozen=True)
class Line:
    """How a curve is drawn.

    Attributes
    ----------
    color, marker, linestyle, linewidth
        As matplotlib has them.
    arrows : bool
        Whether upper bounds are drawn.
    dodge_points : float
        Their arrows are shifted sideways by this, so that those of several curves stay apart.
    zorder : float
        What is higher covers what is lower; curves have 2.
    """

    color: str
    marker: str
    linestyle: Any
    linewidth: float
    arrows: bool = True
    dodge_points: float = 0.0
    zorder: float = 2.0


# broad and pale, under the curves that it follows
ENVELOPE_LINE = Line("#c8c8c8", "", "-", 4.0, arrows=False, zorder=1.5)


def line_of(index: int, *, bound: bool = False) -> Line:
    """Colour, marker and line of the index-th curve; bounds are thin, dashed, grey, without markers."""
    if bound:
        return Line("#707070", "", BOUND_LINES[index % len(BOUND_LINES)], 0.8, arrows=False)
    dodge = (index + 1) // 2 * (2.5 if index % 2 else -2.5)
    turn = index // len(PALETTE)
    return Line(
        PALETTE[index % len(PALETTE)], MARKERS[(index + turn) % len(MARKERS)], LINES[turn % len(LINES)], 1.1, dodge_points=dodge
    )
