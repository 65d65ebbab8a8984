"""Results as a table of text that is a trace: aligned columns to read, and in its head the study to run it again.

    #  Es/N0 (dB) | Eb/N0 (dB) || trials | errors || psnr (dB)   low    high || items/s | time
             6.00 |       3.00 ||     40 |      0 ||     31.07 29.80   32.34 ||     5.1 |  8 s

Lines that begin with `#:` hold the study file; other lines that begin with `#` explain. Numbers are separated by spaces,
groups by `|` and `||`. `<` marks an upper limit (no event seen), `-` what is not known, `*` a point that is not finished.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from .progress import duration
from .results import Results, Row
from .statistics import Estimate

STUDY_PREFIX = "#: "
TRACE_HEAD = "# jscclink"


def provenance(results: Results) -> list[str]:
    """Versions, seed and study, one line each, without the comment sign."""
    versions = dict(results.provenance.versions)
    head = f"jscclink {versions.pop('jscclink', '')} | study {results.name} | seed {results.provenance.seed}"
    return [head, ", ".join(f"{name} {value}" for name, value in versions.items())]


def trace(results: Results) -> str:
    """The whole table as text, head included; one block per curve."""
    lines = [f"# {line}" for line in provenance(results)]
    lines.append("# run it again: jscclink run THIS_FILE")
    lines += [(STUDY_PREFIX + line).rstrip() for line in results.provenance.study.splitlines()]
    for (scheme, place, cbr), rows in groupby(results.rows, key=lambda row: (row.scheme, row.panel, row.cbr)):
        budget = "" if cbr is None else f" | CBR {cbr:.6g}"
        bound = " | a bound, no system" if results.schemes[scheme].bound else ""
        lines += ["#", f"# {scheme} | {place}{budget}{bound}", *_block(list(rows), results)]
    lines += [f"# failed: {failure}" for failure in results.failures]
    lines += [f"# note: {notice}" for notice in results.notices]
    return "\n".join(lines) + "\n"


def study_text(text: str) -> str | None:
    """The study in a trace; None where the text is none."""
    if not text.startswith(TRACE_HEAD):
        return None
    prefix = STUDY_PREFIX.rstrip()
    kept = [line[len(prefix) :].removeprefix(" ") for line in text.splitlines() if line.startswith(prefix)]
    return "\n".join(kept) + "\n"


def number(estimate: Estimate) -> tuple[str, str, str]:
    """Value, low and high as text of equal precision; `<` before the limit where no event was seen."""
    if estimate.value is None:
        return "-", "-", "-"
    style = _style(estimate)
    if estimate.is_upper_bound:
        return "<" + style(estimate.high), style(0.0), style(estimate.high)
    return style(estimate.value), style(estimate.low), style(estimate.high)


def _style(estimate: Estimate):
    """Events in powers of ten, means with decimals."""
    spec = ".4f" if estimate.kind == "mean" else ".2e"

    def style(value: float | None) -> str:
        return "-" if value is None else format(value, spec)

    return style


def _block(rows: Sequence[Row], results: Results) -> list[str]:
    ebno = any(row.ebno_db is not None for row in rows)
    head = [["Es/N0 (dB)"], ["Eb/N0 (dB)"] * ebno, ["trials"], ["errors"]]
    for key, info in results.metrics.items():
        head.append([key + (f" ({info.unit})" if info.unit else ""), "low", "high"])
    head += [["items/s"], ["time"]]
    cells = [_cells(row, results, ebno) for row in rows]
    return _aligned([group for group in head if group], cells)


def _cells(row: Row, results: Results, ebno: bool) -> list[list[str]]:
    groups = [[f"{row.esno_db:.2f}"]]
    if ebno:
        groups.append(["-" if row.ebno_db is None else f"{row.ebno_db:.2f}"])
    groups += [[str(row.trials) + ("" if row.finished else "*")], [str(row.errors)]]
    groups += [list(number(row.metrics[key])) for key in results.metrics]
    speed = row.throughput.items_per_s.value
    return [*groups, ["-" if speed is None else f"{speed:.3g}"], [duration(row.seconds).replace(" ", "")]]


def _aligned(head: Sequence[Sequence[str]], rows: Iterable[Sequence[Sequence[str]]]) -> list[str]:
    """Right-aligned columns; `|` between groups, `||` before and after the metrics."""
    table = [head, *rows]
    widths = [[max(len(line[g][c]) for line in table) for c in range(len(group))] for g, group in enumerate(head)]
    lines = []
    for index, line in enumerate(table):
        text = ""
        for g, group in enumerate(line):
            wide = len(group) > 1 or (g > 0 and len(line[g - 1]) > 1)
            text += "" if g == 0 else " || " if wide else " | "
            text += " ".join(cell.rjust(width) for cell, width in zip(group, widths[g], strict=True))
        lines.append(("# " if index == 0 else "  ") + text)
    return lines
