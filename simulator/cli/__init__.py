"""The `jscclink` command. Results go to stdout, progress and complaints to stderr.

Exit codes: 0 done, 1 something failed while computing (the rest is kept), 2 what was given cannot be used (one line says what
and why), 3 `compare` found a difference, 130 interrupted (what was finished is kept). Heavy libraries are imported by the
commands that need them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from jscclink import __version__

from . import bits, information, report, show, stores, studies
from .guard import guarded

app = typer.Typer(
    name="jscclink",
    help="End-to-end link simulation of image transmission: joint source-channel coding and digital baselines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text: quicker by half, and complaints are lines, not boxes
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


@app.callback()
def _version(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


for _name, _command in (
    ("run", studies.run),
    ("plot", studies.plot),
    ("report", report.report),
    ("export", studies.export),
    ("merge", stores.merge),
    ("compare", stores.compare),
    ("ber", bits.ber),
    ("show", show.show),
    ("list", information.list_plugins),
    ("doctor", information.doctor),
):
    app.command(_name)(guarded(_command))

_data = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Sets of pictures: what there is, and downloads.")
_data.command("list")(guarded(information.data_list))
_data.command("fetch")(guarded(information.data_fetch))
app.add_typer(_data, name="data")

# commands of other rooms: they parse their own arguments, and are imported when they are called
_FOREIGN: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def _pass_on(ctx: typer.Context, command: Any) -> None:
    made = typer.main.get_command(command)
    made.main(args=list(ctx.args), prog_name=f"jscclink {ctx.info_name}", standalone_mode=False)


@app.command("bpg", context_settings=_FOREIGN, add_help_option=False)
@guarded
def _bpg(ctx: typer.Context) -> None:
    """Write and read BPG files (Better Portable Graphics)."""
    from jscclink.baselines.source.bpg.cli import app as bpg

    _pass_on(ctx, bpg)


@app.command("train", context_settings=_FOREIGN, add_help_option=False)
@guarded
def _train(ctx: typer.Context) -> None:
    """Train a learned codec, or go on with a run."""
    from jscclink.simulator.training.cli import train_command

    train = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})
    train.command()(train_command)
    _pass_on(ctx, train)


@app.command("channel", context_settings=_FOREIGN, add_help_option=False)
@guarded
def _channel(ctx: typer.Context) -> None:
    """Draw a realisation of a channel: its power, capacity and spectra; plot it, save it for replay."""
    from jscclink.simulator.inspect_channel import channel_command

    channel = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})
    channel.command()(channel_command)
    _pass_on(ctx, channel)


def main() -> None:
    """The console script. Encodings and calibrations are kept in `$JSCCLINK_CACHE`, by default `~/.cache/jscclink`."""
    os.environ.setdefault("JSCCLINK_CACHE", str(Path.home() / ".cache" / "jscclink"))
    app()
