"""Progress of a run, as objects: nothing, lines of text, or a live bar."""

from __future__ import annotations

import math
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, TextIO


@dataclass(frozen=True)
class Snapshot:
    """Where a run stands.

    Attributes
    ----------
    points_done, points : int
    batches : int
        Finished in this run.
    fraction : float
        Of the batches expected, 0 to 1.
    seconds_left : float
        At the present pace; nan while unknown. An estimate: how many errors will be seen is not known beforehand.
    title : str
        The point that got the latest batch.
    """

    points_done: int
    points: int
    batches: int
    fraction: float
    seconds_left: float
    title: str


class Progress(ABC):
    """Is told about every finished batch; must be quick."""

    @abstractmethod
    def update(self, snapshot: Snapshot) -> None:
        """After every batch."""

    @abstractmethod
    def message(self, text: str) -> None:
        """Something the user should see: damage in the store, a batch that failed, a worker that died."""

    @abstractmethod
    def close(self) -> None:
        """At the end, also of an interrupted run."""


class NoProgress(Progress):
    """Says nothing."""

    def update(self, snapshot: Snapshot) -> None:
        pass

    def message(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


class TextProgress(Progress):
    """A line of text now and then, for logs.

    Parameters
    ----------
    stream : text stream, optional
        Default: standard error.
    every_s : float
        Least seconds between two lines.
    """

    def __init__(self, stream: TextIO | None = None, *, every_s: float = 5.0) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._every_s = every_s
        self._last = -math.inf

    def update(self, snapshot: Snapshot) -> None:
        now = time.monotonic()
        if now - self._last >= self._every_s or snapshot.points_done == snapshot.points:
            self._last = now
            self.message(describe(snapshot))

    def message(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def close(self) -> None:
        pass


class RichProgress(Progress):
    """A live bar on a terminal.

    Parameters
    ----------
    stream : text stream, optional
        Default: standard error.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        console = Console(file=stream if stream is not None else sys.stderr)
        self._bar: Any = Bar(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"), console=console
        )
        self._task = self._bar.add_task("starting", total=1.0)
        self._bar.start()

    def update(self, snapshot: Snapshot) -> None:
        self._bar.update(self._task, completed=snapshot.fraction, description=describe(snapshot))

    def message(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        self._bar.stop()


def describe(snapshot: Snapshot) -> str:
    """A snapshot as a short line."""
    left = "" if math.isnan(snapshot.seconds_left) else f", about {duration(snapshot.seconds_left)} left"
    done = f"{snapshot.points_done}/{snapshot.points} points, {snapshot.batches} batches"
    return f"{100 * snapshot.fraction:3.0f} %  {done}{left}  ({snapshot.title})"


def duration(seconds: float) -> str:
    """Seconds in words: `45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
