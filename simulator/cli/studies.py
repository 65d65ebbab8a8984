"""`run`, `plot` and `export`: from a study file to results, figures and files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jscclink.errors import InputError

from . import values
from .guard import FAILED

if TYPE_CHECKING:
    from jscclink.simulator.progress import Progress
    from jscclink.simulator.results import Results
    from jscclink.simulator.study import Study

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Processes = Annotated[int, typer.Option("--processes", "-p", help="Worker processes.", metavar="N")]
Dask = Annotated[
    str | None,
    typer.Option(
        help="Run on a Dask cluster: its scheduler's address, or 'local' for one of this machine. With it, -p says how many "
        "workers to keep busy; default: all that are there.",
        metavar="ADDRESS",
    ),
]


def run(
    study: Annotated[Path, typer.Argument(help="Study file (YAML), or a trace that `run` printed.", metavar="STUDY")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the results; default: results/NAME of the file.")] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", "-p", help="Worker processes; default: 1.", metavar="N")
    ] = None,
    dask: Dask = None,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another value for a key of the study: stop.errors=10.", metavar="KEY=VALUE"),
    ] = None,
    device: Annotated[str, typer.Option(help="Torch device of the workers: cpu, cuda:0, ...")] = "cpu",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the points, the cost and the time to expect; compute and store nothing.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Run a study, or what is missing of it; the table goes to stdout, and is a trace that can be run again."""
    loaded = load(study, values.overrides(override or []))
    if dry_run:
        from jscclink.simulator.forecast import describe, forecast

        typer.echo(describe(loaded, forecast(loaded, device=device), processes or 1), nl=False)
        return
    folder = out or Path("results") / study.stem
    results = compute(loaded, folder, processes=processes, dask=dask, device=device, quiet=quiet)
    finish(results, _targets(loaded, results))
    if not quiet:
        typer.echo(f"results are in {folder}; `jscclink plot {folder} -o figure.pdf` draws them", err=True)


def plot(
    results: Annotated[Path, typer.Argument(help="Folder of results, or a study file that was run.", metavar="FOLDER")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Figure to write: .pdf, .svg or .png.")],
    metric: Annotated[str | None, typer.Option(help="Metric to draw; default: the study's first.")] = None,
    x: Annotated[str | None, typer.Option("--x", help="esno_db, ebno_db or cbr; default: whichever was swept.")] = None,
    band: Annotated[str, typer.Option(help="interval (confidence), draws (over channel draws only) or none.")] = "interval",
    published: Annotated[Path | None, typer.Option(help="CSV file of published points to draw beside the curves.")] = None,
    system: Annotated[list[str] | None, typer.Option(help="Which of its systems; may be given again. Default: all.")] = None,
    envelope: Annotated[
        str | None, typer.Option(help="Draw the oracle envelope of the schemes whose labels fit: 'BPG + LDPC, *'.")
    ] = None,
    distribution: Annotated[
        bool,
        typer.Option(
            "--distribution",
            help="Instead: the distribution over pictures and draws at each of a few SNRs, with the "
            "5th percentile. Goes with --metric, --esno and --cbr alone.",
        ),
    ] = False,
    esno: Annotated[
        list[str] | None,
        typer.Option(help="Only this Es/N0 in dB; may be given again. Default: all, with --distribution three."),
    ] = None,
    cbr: Annotated[list[str] | None, typer.Option(help="Only this CBR, a number or a fraction; may be given again.")] = None,
) -> None:
    """Draw the curves of a study: one panel per channel, bands for the intervals."""
    from jscclink.simulator import figures
    from jscclink.simulator import published as literature
    from jscclink.simulator.envelope import with_oracle_envelope

    found = results_in(results)
    if band not in ("interval", "draws", "none"):
        raise InputError(f"--band {band!r}: allowed are interval, draws and none")
    chosen = metric or next(iter(found.metrics))
    snrs, budgets = _numbers(esno, "--esno"), _numbers(cbr, "--cbr")
    found = found.only(esno_db=snrs, cbr=budgets)
    if distribution:
        if x or band != "interval" or published or system or envelope:
            raise InputError("--distribution goes with --metric, --esno and --cbr alone; leave the other options out")
        from jscclink.simulator import figures_distribution

        figures.save(figures_distribution.figure(found, chosen, esno_db=snrs), output)
        typer.echo(str(output))
        return
    axis = x or figures.natural_axis(found)
    points = []
    if published is not None:
        points = literature.comparable(literature.read(published), found, chosen, axis, system or ())
    if envelope is not None:
        found = with_oracle_envelope(found, envelope, chosen)
    shown: Any = band
    figures.save(figures.figure(found, chosen, x=axis, band=shown, published=points), output)
    typer.echo(str(output))


def _numbers(texts: list[str] | None, option: str) -> list[float] | None:
    return None if texts is None else [values.number(text, option) for text in texts]


def export(
    results: Annotated[Path, typer.Argument(help="Folder of results, or a study file that was run.", metavar="FOLDER")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    form: Annotated[str, typer.Option("--format", help="csv, mat, rd-json, trace, latex or parquet.")] = "csv",
) -> None:
    """Write results for other programs."""
    from jscclink.simulator.export import save

    for path in save(results_in(results), output, form):
        typer.echo(str(path))


def load(path: Path, changed: dict[str, Any]) -> Study:
    """A study file, or the study in a trace."""
    from jscclink.simulator.study import Study
    from jscclink.simulator.study_file import Source, override, parse
    from jscclink.simulator.table import TRACE_HEAD, study_text

    try:
        with open(path, "rb") as file:
            is_trace = file.read(len(TRACE_HEAD)) == TRACE_HEAD.encode()
    except OSError:
        is_trace = False  # whatever is wrong with it, `Study.load` has the words for it
    if not is_trace:
        return Study.load(path, changed)
    text = study_text(path.read_text(encoding="utf-8", errors="replace")) or ""
    data, lines = parse(text, str(path))
    if not isinstance(data, dict):
        raise InputError(f"{path}: a trace without its study (lines that begin with '#:'); give the study file")
    study = Study.from_mapping(override(data, changed, Source(str(path), lines)), folder=path.parent)
    return study if changed else replace(study, text=text)


def compute(
    study: Study, folder: Path, *, processes: int | None, quiet: bool, device: str = "cpu", dask: str | None = None
) -> Results:
    """Run with progress on stderr; when interrupted, what there is still goes to stdout."""
    from jscclink.simulator.cluster import dask_executor
    from jscclink.simulator.results import load_results
    from jscclink.simulator.runner import run as run_study
    from jscclink.simulator.table import trace

    progress = _progress(quiet)
    try:
        if dask is None:
            return run_study(study, folder, processes=1 if processes is None else processes, device=device, progress=progress)
        with dask_executor(dask, processes) as (executor, in_flight):
            return run_study(study, folder, executor=executor, in_flight=in_flight, device=device, progress=progress)
    except KeyboardInterrupt:
        typer.echo(trace(load_results(folder)), nl=False)
        raise


def finish(results: Results, notes: Sequence[str] = ()) -> None:
    """The table on stdout, with further lines of explanation; exit code 1 where batches failed."""
    from jscclink.simulator.table import trace

    typer.echo(trace(results), nl=False)
    for note in notes:
        typer.echo(f"# {note}")
    if results.failures:
        typer.echo(f"{len(results.failures)} batches failed, first: {results.failures[0]}", err=True)
        raise typer.Exit(FAILED)


def _targets(study: Study, results: Results) -> list[str]:
    """Where the curves pass the targets of their grids, one sentence each."""
    from jscclink.simulator.grid import crossings

    targets = dict.fromkeys(curve.grid.target for curve in study.curves if curve.grid.target is not None)
    return [each.sentence(*target) for target in targets for each in crossings(results, *target)]


def results_in(path: Path) -> Results:
    """Results of a folder, or of the folder that `run` chooses for a study file."""
    from jscclink.simulator.results import load_results

    if path.is_file():
        folder = Path("results") / path.stem
        if not folder.is_dir():
            raise InputError(f"{path}: not run yet ({folder} is not there); run it, or give the folder of its results")
        path = folder
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; give the one that `jscclink run` wrote to")
    return load_results(path)


def _progress(quiet: bool) -> Progress:
    from jscclink.simulator.progress import NoProgress, RichProgress, TextProgress

    if quiet:
        return NoProgress()
    return RichProgress() if sys.stderr.isatty() else TextProgress()
