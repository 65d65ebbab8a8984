"""Plug-ins that go wrong on purpose, for tests of the runner: put this folder on the path and they are found."""

import os
import time
from pathlib import Path

import torch

from jscclink.simulator.metrics import Metric, Samples
from jscclink.simulator.scheme import Burst, OneShotScheme, Reconstruction


class Shaky(OneShotScheme):
    """BPSK without a code, and with a temper.

    Parameters
    ----------
    k
        Bits per block.
    seconds
        Taken over each batch.
    log
        A file that gets a letter per batch.
    raises, dies
        Files: while there is one, a batch raises; a batch removes it and ends its process.
    rarely
        It raises in about every fourth batch only, always in the same ones.
    murderous
        Every batch ends its process.
    most_items
        More items at a time do not fit into its memory.
    dreams
        Decides by the global random state.
    """

    def __init__(
        self,
        *,
        k: int = 32,
        seconds: float = 0.0,
        log: str | None = None,
        raises: str | None = None,
        dies: str | None = None,
        rarely: bool = False,
        murderous: bool = False,
        most_items: int | None = None,
        dreams: bool = False,
    ) -> None:
        self.block_bits = k
        self._seconds, self._log, self._raises, self._dies = seconds, log, raises, dies
        self._murderous, self._dreams = murderous, dreams
        self._rarely, self._most_items = rarely, most_items

    def encode(self, source, budget, csi):
        time.sleep(self._seconds)
        if self._most_items is not None and source.shape[0] > self._most_items:
            raise MemoryError
        unlucky = not self._rarely or int(source[0, :2].sum()) == 2
        if unlucky and self._raises and Path(self._raises).exists():
            raise ArithmeticError("the dog\nate it")
        if self._murderous:
            os._exit(9)
        if self._dies and Path(self._dies).exists():
            Path(self._dies).unlink()
            os._exit(9)
        if self._log:
            with open(self._log, "a") as file:
                file.write("x")
        valid = torch.full((source.shape[0],), source.shape[1], dtype=torch.int64)
        return Burst((1.0 - 2.0 * source).to(torch.complex64), valid, power="constellation")

    def decode(self, reception, budget):
        bits = (reception.symbols.real < 0).to(torch.uint8)
        if self._dreams:
            bits ^= (torch.rand(bits.shape) < 0.1).to(torch.uint8)
        return Reconstruction(bits, torch.zeros(bits.shape[0], dtype=torch.bool))


class Infinite(Metric):
    """No number."""

    def measure(self, source, passage):
        ones = torch.ones(source.shape[0], dtype=torch.float64)
        return Samples(ones * float("inf"), ones, "mean")
