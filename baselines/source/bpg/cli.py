"""`jscclink bpg encode|decode`: BPG files for people who want just that."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import numpy as np
import typer
from PIL import Image, UnidentifiedImageError

from jscclink.baselines.source import bpg
from jscclink.baselines.source.bpg.codec import Bpg
from jscclink.baselines.source.codec import DecodeFailure
from jscclink.errors import InputError

app = typer.Typer(help="Write and read BPG files (Better Portable Graphics).", no_args_is_help=True)

_DEFAULT_QP = 28


@app.command()
def encode(
    source: Annotated[Path, typer.Argument(metavar="IN", help="a picture in any format that Pillow reads")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="the BPG file to write")],
    qp: Annotated[int | None, typer.Option(help=f"0 (best) to 51; {_DEFAULT_QP} unless --bytes is given")] = None,
    max_bytes: Annotated[int | None, typer.Option("--bytes", help="the best quality whose file takes no more")] = None,
    chroma: Annotated[str, typer.Option(help=", ".join(bpg.PIXEL_FORMATS))] = "444",
    depth: Annotated[int, typer.Option(help="bits per sample: 8, 10 or 12")] = 8,
    preset: Annotated[str, typer.Option(help="how hard libx265 searches")] = "veryslow",
) -> None:
    """Turn a picture into a BPG file."""
    try:
        if qp is not None and max_bytes is not None:
            raise InputError("give --qp or --bytes, not both")
        codec = Bpg(chroma=chroma, bit_depth=depth, preset=preset)
        image = _read(source)
        if max_bytes is None:
            data = codec.encode_at(image, _DEFAULT_QP if qp is None else qp)
        else:
            fitting = codec.encode(image, max_bytes)
            if fitting is None:
                raise InputError(f"{source} does not fit in {max_bytes} bytes even at QP {codec.qualities[0]}; allow more")
            data = fitting
        target.write_bytes(data)
    except (InputError, OSError) as error:
        _fail(error)
    typer.echo(f"{target}: {image.shape[1]} x {image.shape[0]}, {len(data)} bytes")


@app.command()
def decode(
    source: Annotated[Path, typer.Argument(metavar="IN", help="a BPG file")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="the picture to write; its suffix says the format")],
) -> None:
    """Turn a BPG file into a picture."""
    try:
        data = source.read_bytes()
        file = bpg.BpgFile.from_bytes(data)
        if file.alpha1:
            typer.echo(f"{source}: the alpha plane is ignored", err=True)
        image = Bpg().decode(data)
        Image.fromarray(image).save(target)
    except (InputError, DecodeFailure, OSError, ValueError) as error:
        _fail(error)
    typer.echo(f"{target}: {image.shape[1]} x {image.shape[0]}")


def _read(path: Path) -> np.ndarray:
    """A picture file -> uint8 [H, W, 3] or [H, W]; what has alpha loses it, with a word on stderr."""
    try:
        with Image.open(path) as picture:
            if picture.mode.startswith(("I", "F")):
                raise InputError(f"{path}: more than 8 bits per sample ({picture.mode}); save it with 8, choosing how to round")
            if picture.mode in ("L", "1"):
                return np.array(picture.convert("L"))
            if picture.has_transparency_data:
                typer.echo(f"{path}: the alpha plane is ignored", err=True)
                return np.array(picture.convert("RGBA"))[:, :, :3]
            return np.array(picture.convert("RGB"))
    except UnidentifiedImageError:
        raise InputError(f"{path} is no picture that Pillow {Image.__version__} reads") from None


def _fail(error: Exception) -> NoReturn:
    typer.echo(f"error: {error}", err=True)
    raise typer.Exit(2)
