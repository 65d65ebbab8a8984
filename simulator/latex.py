r"""Results as LaTeX tables (package `booktabs`): one per metric and channel, schemes as columns, `31.07 \pm 0.42`.

Values are rounded to two digits of their interval. Means have a symmetric interval; rates have two ends, `1.2^{+0.5}_{-0.4}`
times a power of ten. `<` precedes the limit where no event was seen; an asterisk marks points that are not finished.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from .results import Results, Row
from .statistics import Estimate
from .table import provenance

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
}


def latex_text(results: Results) -> str:
    """All metrics, as `table` environments to be put into a paper with `\\input`."""
    head = [f"% {line}" for line in provenance(results)] + [r"% needs \usepackage{booktabs}"]
    tables = [
        _table(results, metric, panel)
        for metric in results.metrics
        for panel in dict.fromkeys(row.panel for row in results.rows)
    ]
    return "\n".join([*head, *tables])


def escape(text: str) -> str:
    """Plain text as LaTeX prints it."""
    return "".join(_SPECIAL.get(sign, sign) for sign in text)


def cell(number: Estimate | None) -> str:
    """A value with its interval."""
    if number is None or number.value is None:
        return "--"
    if number.kind == "mean":
        return _mean(number.value, None if number.high is None else number.high - number.value)
    return _rate(number)


def _table(results: Results, metric: str, panel: str) -> str:
    rows = [row for row in results.rows if row.panel == panel]
    schemes = [label for label in results.schemes if any(row.scheme == label for row in rows)]
    budgets = any(row.cbr is not None for row in rows)
    by_place: dict[tuple[float, float], dict[str, Row]] = {}
    for row in rows:
        by_place.setdefault((row.cbr or 0.0, row.esno_db), {})[row.scheme] = row
    unit = results.metrics[metric].unit
    confidence = next(iter(rows)).metrics[metric].confidence
    title = f"{metric}{f' ({unit})' if unit else ''} on {panel}, study {results.name}, with {confidence:.0%} intervals"
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(title)}}}",
        rf"\begin{{tabular}}{{{'r' * (1 + budgets)}{'c' * len(schemes)}}}",
        r"\toprule",
        _line([*(["CBR"] * budgets), r"$E_s/N_0$ (dB)", *(escape(label) for label in schemes)]),
        r"\midrule",
    ]
    last: float | None = None
    for (cbr, esno_db), found in sorted(by_place.items()):
        budget = f"{cbr:.4g}" if cbr else "--"
        first = [] if not budgets else [budget if cbr != last else ""]
        last = cbr
        lines.append(_line([*first, f"{esno_db:g}", *(_marked(found.get(label), metric) for label in schemes)]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _marked(row: Row | None, metric: str) -> str:
    if row is None:
        return "--"
    text = cell(row.metrics[metric])
    return text if row.finished or text == "--" else text + "*"


def _digits(widths: Sequence[float]) -> int:
    """Decimals that show two digits of the narrowest width; two where there is none."""
    seen = [width for width in widths if width > 0]
    return 2 if not seen else max(1 - math.floor(math.log10(min(seen))), 0)


def _mean(value: float, half: float | None) -> str:
    if half is None:
        return f"${value:.2f}$"
    decimals = min(_digits([half]), 6)
    return rf"${value:.{decimals}f} \pm {half:.{decimals}f}$"


def _rate(number: Estimate) -> str:
    value, low, high = number.value or 0.0, number.low, number.high
    if high is None or low is None:
        return f"${value:.3g}$"
    if number.is_upper_bound:
        exponent = math.floor(math.log10(high)) if high > 0 else 0
        return rf"$<{high / 10.0**exponent:.1f}{_power(exponent)}$"
    exponent = math.floor(math.log10(value)) if value < 0.1 else 0
    scale = 10.0**exponent
    up, down = (high - value) / scale, (value - low) / scale
    decimals = min(_digits([up, down]), 6)
    return rf"${value / scale:.{decimals}f}^{{+{up:.{decimals}f}}}_{{-{down:.{decimals}f}}}{_power(exponent)}$"


def _power(exponent: int) -> str:
    return "" if exponent == 0 else rf" \cdot 10^{{{exponent}}}"
