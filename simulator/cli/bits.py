"""`ber`: a bit and block error rate curve from flags alone."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jscclink.errors import InputError

from . import studies, values

if TYPE_CHECKING:
    import numpy as np

    from jscclink.simulator.results import Results


def ber(
    k: Annotated[int, typer.Option("--k", help="Information bits per block.")],
    n: Annotated[int | None, typer.Option("--n", help="Coded bits per block; not with code none.")] = None,
    code: Annotated[str, typer.Option(help="ldpc, polar or none; with options: ldpc:iterations=20.")] = "ldpc",
    modulation: Annotated[str, typer.Option(help="bpsk, qpsk, 16qam, 64qam, 256qam, ...")] = "qpsk",
    channel: Annotated[str, typer.Option(help="awgn, rayleigh:form=slow, ... (`jscclink list channels`).")] = "awgn",
    esno: Annotated[str | None, typer.Option(help="Es/N0 in dB: 4, or 0,2,4, or FROM:TO:STEP.")] = None,
    ebno: Annotated[str | None, typer.Option(help="Eb/N0 in dB, in place of --esno.")] = None,
    demapper: Annotated[str, typer.Option(help="maxlog or exact.")] = "maxlog",
    errors: Annotated[int, typer.Option(help="Stop a point at this many wrong blocks.")] = 100,
    trials: Annotated[int, typer.Option(help="Stop a point at this many blocks.")] = 100_000,
    seconds: Annotated[float | None, typer.Option(help="Stop a point after this computing time.")] = None,
    items: Annotated[int, typer.Option(help="Blocks per batch.")] = 64,
    seed: Annotated[int, typer.Option(help="Root seed.")] = 1,
    processes: studies.Processes = 1,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to keep the results in, and to go on from.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", "-o", help="Figure to write: .pdf, .svg or .png.")] = None,
    quiet: studies.Quiet = False,
) -> None:
    """Simulate BER and BLER of a code, modulation and channel; theory is drawn and printed beside it."""
    from jscclink.simulator.study import Study

    if (esno is None) == (ebno is None):
        raise InputError("give either --esno or --ebno, like --esno 0:10:2")
    scheme: dict[str, Any] = {"name": "bits", "code": values.plugin(code, "--code"), "k": k, "modulation": modulation}
    scheme |= {"demapper": demapper} if demapper != "maxlog" else {}
    scheme |= {"n": n} if n is not None else {}
    label = f"{code} {k}/{n}, {modulation}" if n is not None else f"uncoded {modulation}"
    stop: dict[str, Any] = {"errors": errors, "most_trials": trials}
    study = Study.from_mapping(
        {
            "name": "ber",
            "seed": seed,
            "channels": {channel: values.plugin(channel, "--channel")},
            "schemes": {label: scheme},
            **({"esno_db": values.sweep(esno, "--esno")} if esno is not None else {}),
            **({"ebno_db": values.sweep(ebno, "--ebno")} if ebno is not None else {}),
            "metrics": ["ber", "bler"],
            "stop": stop if seconds is None else {**stop, "most_seconds": seconds},
            "batch": {"items": items},
        }
    )
    with tempfile.TemporaryDirectory() as temporary:
        results = studies.compute(study, out or Path(temporary), processes=processes, quiet=quiet)
    finish(results, "ber" if n is None else "bler", "esno_db" if ebno is None else "ebno_db", plot)


def finish(results: Results, metric: str, x: str, plot: Path | None) -> None:
    """Figure and table, theory beside the measured points."""
    import numpy as np

    theory = _theory(results, metric) if results.rows else None
    if plot is not None and results.rows:
        from jscclink.simulator import figures

        ends = results.rows[0].esno_db, results.rows[-1].esno_db
        fine = np.linspace(*ends, 200)
        # Es/N0 and Eb/N0 differ by a constant
        shift = 0.0 if x == "esno_db" else ends[0] - (results.rows[0].ebno_db or 0.0)
        curves = {} if theory is None else {theory[0]: (fine - shift, theory[1](fine))}
        figures.save(figures.figure(results, metric, x=x, theory=curves), plot)
        typer.echo(f"figure: {plot}", err=True)
    notes = []
    if theory is not None:
        values_there = theory[1](np.array([row.esno_db for row in results.rows]))
        pairs = zip(results.rows, values_there, strict=True)
        notes = [f"{metric}, {theory[0]}: " + ", ".join(f"{row.esno_db:g} dB {value:.3g}" for row, value in pairs)]
    studies.finish(results, notes)


def _theory(results: Results, metric: str) -> tuple[str, Callable[[np.ndarray], np.ndarray]] | None:
    """Name and closed form over Es/N0 in dB of what belongs beside the curve; None where there is none."""
    from jscclink.baselines import mcs, theory

    options = next(iter(results.schemes.values())).plugin["options"]
    channel = next(iter(results.channels.values()))
    order = mcs.MODULATIONS[options["modulation"].lower().replace("-", "")]
    name, form = channel["name"], channel["options"].get("form")
    if metric == "ber" and name == "awgn":
        return "closed form", lambda esno_db: theory.qam_ber_awgn(esno_db, order)
    if metric == "ber" and name == "rayleigh" and channel["options"]["csi"] != "none":
        return "closed form", lambda esno_db: theory.qam_ber_rayleigh(esno_db, order)
    if metric == "bler":
        rate, uses = options["k"] * order / options["n"], options["n"] // order
        if name == "awgn":
            return "normal approximation", lambda esno_db: theory.normal_approximation_bler(esno_db, uses, rate)
        if name == "rayleigh" and form == "slow":
            return "outage probability", lambda esno_db: theory.slow_rayleigh_outage(esno_db, rate)
    return None
