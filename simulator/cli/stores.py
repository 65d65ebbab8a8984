"""`merge` and `compare`: what to do with the stores of several machines or versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
