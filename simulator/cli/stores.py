"""`merge` and `compare`: what to do with the stores of several machines or versions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jscclink.errors import InputError

if TYPE_CHECKING:
    from jscclink.simulator.compare import Comparison
    from jscclink.simulator.gains import Gain

# exit code of `compare` where something differs; 1 and 2 are errors
DIFFERENT = 3


def merge(
    out: Annotated[Path, typer.Argument(help="Folder of the new store.", metavar="OUT")],
    stores: Annotated[list[Path], typer.Argument(help="Folders of results, of one study.", metavar="STORE...")],
) -> None:
    """Make one store of those of several machines; batches that two of them have must agree to the bit."""
    from jscclink.simulator.merge import merge as merge_stores
    from jscclink.simulator.results import TABLE, load_results

    merged = merge_stores(out, stores)
    (out / TABLE).write_text(load_results(out).table(), encoding="utf-8")
    for notice in merged.notices:
        typer.echo(notice, err=True)
    typer.echo(f"{out}: {merged.points} points, {merged.batches} batches; {merged.duplicates} records were there twice")


def compare(
    first: Annotated[Path, typer.Argument(help="Folder of results.", metavar="A")],
    second: Annotated[
        Path | None, typer.Argument(help="Folder of results; default: the same one, with --schemes.", metavar="[B]")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="Metric to compare; default: the first study's first.")] = None,
    schemes: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Scheme in A and scheme in B, by their labels; default: those called alike.", metavar="IN_A IN_B"),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="With A alone: the scheme that all others are compared with; default: the first digital one."),
    ] = None,
    over: Annotated[
        str, typer.Option(help="pictures (the answer holds for pictures like these) or draws (for these).")
    ] = "pictures",
    level: Annotated[float, typer.Option(help="Significance level, all points together.", metavar="P")] = 0.05,
) -> None:
    """Compare two stores (or two schemes of one) point by point, with a significance test each, corrected for their number.

    Average gains along sweeps follow (BD-PSNR and BD-rate over the CBR, the mean difference over Es/N0), with intervals. Of one
    store alone: the average gains of all schemes.

    Exit code 0: no point differs significantly. 3: at least one does.
    """
    from jscclink.simulator.compare import compare as compare_stores

    if not 0.0 < level < 1.0:
        raise InputError(f"--level {level}: a probability between 0 and 1")
    if second is None and schemes is None:
        _average_gains(first, metric, reference)
        return
    if reference is not None:
        raise InputError("--reference goes with one folder alone; two folders or --schemes are compared with each other")
    wanted: Any = over
    other = first if second is None else second
    found = compare_stores(first, other, metric=metric, schemes=schemes, over=wanted)
    typer.echo("\n".join(_lines(found, f"{first}", f"{other}", level)))
    typer.echo("".join(_gain_lines(found.gains, found.metric, found.unit)), nl=False)
    if found.significant(level):
        raise typer.Exit(DIFFERENT)


def _average_gains(folder: Path, metric: str | None, reference: str | None) -> None:
    from jscclink.simulator.gains import gains

    from .studies import results_in

    results = results_in(folder)
    chosen = metric or next(iter(results.metrics))
    found = gains(results, chosen, reference)
    if not found:
        raise InputError(
            f"{folder}: no average gain of {chosen!r}: it takes a mean over pictures, two schemes, and three CBRs or SNRs"
        )
    typer.echo("".join(_gain_lines(found, chosen, results.metrics[chosen].unit)), nl=False)


def _gain_lines(gains: Sequence[Gain], metric: str, unit: str) -> list[str]:
    from jscclink.simulator.gain_tables import gain_tables

    lines = []
    for table in gain_tables(gains, metric, unit):
        cells = [[cell if isinstance(cell, str) else _number(cell) for cell in row] for row in table.rows]
        told = wrap(f"{table.title}. {table.note}", 120, initial_indent="# ", subsequent_indent="# ")
        lines += ["#", *told, *_aligned([list(table.columns), *cells])]
    return [line + "\n" for line in lines]


def _lines(found: Comparison, first: str, second: str, level: float) -> list[str]:
    unit = f" ({found.unit})" if found.unit else ""
    names = [row.scheme for row in (found.points[0].first, found.points[0].second)]
    chosen = names[0] != names[1]
    places = [f"{place}, {name}" if chosen else place for place, name in zip((first, second), names, strict=True)]
    lines = [
        f"# {found.metric}{unit} | A {places[0]} | B {places[1]}",
        f"# 95 % intervals of A - B; p corrected for {len(found.points)} points after Holm; * not finished",
    ]
    for side, count in zip("AB", found.unmatched, strict=True):
        lines += [f"# {count} points only in {side}"] if count else []
    head = ["scheme", "channel", "CBR", "Es/N0 (dB)", "A", "B", "A - B", "low", "high", "p", "p (Holm)", "verdict", "test"]
    rows = [head]
    for point in found.points:
        a, b, test = point.first, point.second, point.test
        ends = [_number(row.metrics[found.metric].value) + "*" * (not row.finished) for row in (a, b)]
        numbers = [_number(value) for value in (test.difference, test.low, test.high)]
        chances = ["-" if p is None else f"{p:.3g}" for p in (test.p, point.p_holm)]
        cbr = "-" if a.cbr is None else f"{a.cbr:.4g}"
        place = [a.scheme if not chosen else "-", a.panel, cbr, f"{a.esno_db:.2f}"]
        rows.append([*place, *ends, *numbers, *chances, _verdict(found, test.difference, point.p_holm, level), test.name])
    return lines + _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Right-aligned columns under the first row."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    cells = [" | ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [("  " if index else "# ") + line for index, line in enumerate(cells)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _verdict(found: Comparison, difference: float | None, p: float | None, level: float) -> str:
    if p is None or difference is None:
        return "no test"
    if p > level or difference == 0.0:
        return "not shown"
    higher = "A" if difference > 0 else "B"
    if found.better is None:
        return f"{higher} higher"
    lower = "B" if higher == "A" else "A"
    return f"{higher if found.better == 'higher' else lower} better"
