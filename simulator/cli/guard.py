"""What commands end with: one line for what users can cause, and an exit code that says which kind it was."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import typer

from jscclink.errors import InputError

P = ParamSpec("P")
T = TypeVar("T")

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130


def guarded(command: Callable[P, T]) -> Callable[P, T]:
    """A command whose errors end in one line on stderr and an exit code, without a traceback."""

    @wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except InputError as error:
            raise _ended(f"error: {' '.join(str(error).split())}", BAD_INPUT) from error
        except KeyboardInterrupt as error:
            raise _ended("interrupted; what was finished is kept", INTERRUPTED) from error
        except (RuntimeError, OSError) as error:
            # only computing knows these; importing them costs what it costs
            if type(error).__name__ not in ("WorkerError", "StoreError"):
                raise
            raise _ended(f"error: {error}", FAILED) from error

    return call


def _ended(line: str, code: int) -> typer.Exit:
    typer.echo(line, err=True)
    return typer.Exit(code)
