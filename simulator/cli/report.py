"""`report`: a study's results as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from jscclink.errors import InputError

from . import values
from .studies import results_in

if TYPE_CHECKING:
    from jscclink.simulator.report.samples import Samples
    from jscclink.simulator.results import Results


def report(
    results: Annotated[Path, typer.Argument(help="Folder of results, or a study file that was run.", metavar="FOLDER")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Page to write (.html).")] = Path("report.html"),
    x: Annotated[str | None, typer.Option("--x", help="esno_db, ebno_db or cbr; default: whichever was swept.")] = None,
    published: Annotated[Path | None, typer.Option(help="CSV file of published points to draw beside the curves.")] = None,
    system: Annotated[list[str] | None, typer.Option(help="Which of its systems; may be given again. Default: all.")] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="Scheme that differences and gains are against, by its label; default: the first digital."),
    ] = None,
    pictures: Annotated[bool, typer.Option(help="Send a picture again with every scheme, to compare and to magnify.")] = True,
    picture: Annotated[int, typer.Option(help="Which of the study's pictures, counted from 0, set by set.", min=0)] = 0,
    esno: Annotated[list[str] | None, typer.Option(help="At which Es/N0 in dB; may be given again. Default: three.")] = None,
    folder: Annotated[Path, typer.Option(help="Where the study's relative paths start (its pictures).")] = Path(),
) -> None:
    """Write one self-contained HTML page: curves, pictures, tables, study, versions, BibTeX."""
    from jscclink.simulator import published as literature
    from jscclink.simulator.report import adapter, write

    if output.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{output}: a report ends in .html")
    found = results_in(results)
    points = literature.read(published) if published is not None else []
    snrs = [values.number(value, "--esno") for value in esno or []]
    data = adapter.report_from_results(found, x=x, published=points, systems=system or (), reference=reference)
    if pictures and found.images:
        data = adapter.with_samples(data, _samples(found, folder, picture, snrs))
    typer.echo(str(write(data, output)))


def _samples(results: Results, folder: Path, picture: int, esno_db: list[float]) -> Samples:
    from jscclink.simulator.report.samples import sample
    from jscclink.simulator.study import Study

    try:
        study = Study.from_mapping(yaml.safe_load(results.provenance.study), folder=folder)
    except InputError as error:
        raise InputError(
            f"the study cannot be loaded to send a picture ({error}); give --folder where its paths start, or --no-pictures"
        ) from error
    return sample(study, picture=picture, esno_db=esno_db or None)
