"""The scheme `external`: a codec of another world as one of ours."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jscclink.errors import InputError
from jscclink.simulator.scheme import Budget, Burst, OneShotScheme, Reception, Reconstruction, TransmitCsi

from .process import WorkerProcess
from .protocol import End
from .standalone.jscclink_worker import pack_side, unpack_side

# what runs a program rather than being it: their bytes differ from machine to machine and say nothing of the codec
_INTERPRETER = re.compile(r"(python|pypy|octave|matlab|julia|node|java|ruby|perl|bash|dash|sh|env|Rscript)[\d.]*(-cli)?")


class External(OneShotScheme):
    """A codec whose two ends are programs of their own, in environments of their own (docs/external.md).

        images -> [encoder process] -> symbols -> link -> reception -> [decoder process] -> images

    Every end is started when it is first needed, once per process that computes batches, and lives as long as the scheme.
    An end that dies, hangs or answers nonsense is ended and costs its batch; the next batch starts it anew.

    Parameters
    ----------
    command
        Program and arguments that serve both ends (one process each); or:
    encoder, decoder
        Program and arguments of each end.
    files
        Files and folders that decide what the codec does: its weights, modules that the program imports. With those named in
        the commands, their contents are part of every operating point's id.
    cwd
        Folder that the programs start in, and that relative paths above start from; default: this process's.
    env
        Environment variables for the programs.
    timeout_s
        Longest wait for an answer.
    start_timeout_s
        Longest wait for the first answer, while the program loads its libraries.
    """

    def __init__(
        self,
        *,
        command: list[str] | None = None,
        encoder: list[str] | None = None,
        decoder: list[str] | None = None,
        files: list[str] | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        timeout_s: float = 300.0,
        start_timeout_s: float = 300.0,
    ) -> None:
        given = [part is not None for part in (command, encoder, decoder)]
        if given not in ([True, False, False], [False, True, True]):
            raise InputError("the scheme 'external' needs `command` for both ends, or else `encoder` and `decoder`")
        for name, seconds in (("timeout_s", timeout_s), ("start_timeout_s", start_timeout_s)):
            if not 0 < seconds < float("inf"):
                raise InputError(f"{name} must be a positive number of seconds; got {seconds}")
        if cwd is not None and not Path(cwd).is_dir():
            raise InputError(f"cwd: {cwd} is no folder (relative paths start at {Path.cwd()})")
        self._cwd, self._env, self._files = cwd, dict(env or {}), list(files or [])
        self._timeout_s, self._start_timeout_s = timeout_s, start_timeout_s
        self._commands = {"encoder": command or encoder or [], "decoder": command or decoder or []}
        for role, words in self._commands.items():
            self._check(role, words)
        for file in self._files:
            if not self._place(file).exists():
                raise InputError(f"files: {self._place(file)} does not exist")
        self._make_ends()

    def encode(self, source: Tensor, budget: Budget, csi: TransmitCsi | None) -> Burst:
        if budget.uses is None:
            raise InputError("the scheme 'external' fills a budget: give the study a `cbr`")
        images = source.cpu().numpy()
        arrays = {"images": images}
        if csi is not None:
            arrays["noise_var"] = csi.noise_var.float().cpu().numpy()
            if csi.gain is not None:
                arrays["gain"] = csi.gain.to(torch.complex64).cpu().numpy()
        # the runner seeds the process for every batch; what it seeded with is read, nothing is drawn
        seed = _seed(torch.initial_seed().to_bytes(16, "little", signed=True), images)
        reply = self._encoder.encode({"uses": budget.uses, "seed": seed}, arrays)
        side = unpack_side(reply.arrays)
        return Burst(
            torch.from_numpy(reply.arrays["symbols"].copy()).to(source.device),
            torch.from_numpy(reply.arrays["valid"].copy()).to(source.device),
            side=None if side is None else tuple(item or b"" for item in side),
            power=reply.values["power"],
        )

    def decode(self, reception: Reception, budget: Budget) -> Reconstruction:
        symbols = reception.symbols.to(torch.complex64).cpu().numpy()
        arrays = {
            "symbols": symbols,
            "gain": reception.gain.to(torch.complex64).cpu().numpy(),
            "noise_var": reception.noise_var.float().cpu().numpy(),
        }
        if reception.side is not None:
            arrays |= pack_side(list(reception.side))
        _, height, width = budget.shape
        # a receiver knows nothing but what it received
        values = {"height": height, "width": width, "uses": budget.uses, "seed": _seed(b"", symbols)}
        reply = self._decoder.decode(values, arrays)
        device = reception.symbols.device
        failed = torch.from_numpy(reply.arrays["failed"].astype(bool)).to(device)
        return Reconstruction(torch.from_numpy(reply.arrays["images"].copy()).to(device), failed)

    def fingerprint(self) -> str:
        """SHA-256 over the contents of all files that the commands and `files` name: ids change with the codec."""
        total = hashlib.sha256()
        for role, words in self._commands.items():
            program = [] if _INTERPRETER.fullmatch(Path(words[0]).name) else [self._program(words[0])]
            named = [self._place(word) for word in words[1:]]
            for path in (*program, *(place for place in named if place.is_file())):
                _digest(total, role, path)
        for file in self._files:
            _digest(total, "file", self._place(file))
        return total.hexdigest()

    def close(self) -> None:
        """End both programs; they start again when they are needed."""
        for worker in self._workers:
            worker.close()

    def __getstate__(self) -> dict[str, Any]:
        # processes stay here: a copy elsewhere starts its own
        return {key: value for key, value in self.__dict__.items() if key not in ("_workers", "_encoder", "_decoder")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_ends()

    def _make_ends(self) -> None:
        self._workers = [WorkerProcess(words, self._cwd, self._env) for words in self._commands.values()]
        times = self._timeout_s, self._start_timeout_s
        self._encoder = End("encoder", self._workers[0], *times)
        self._decoder = End("decoder", self._workers[1], *times)

    def _check(self, role: str, words: list[str]) -> None:
        if not words or not words[0]:
            raise InputError(f"the {role}'s command is empty; give a program and its arguments, like [python, worker.py]")
        self._program(words[0])

    def _program(self, name: str) -> Path:
        """The program, found as the system will find it."""
        found = shutil.which(name) if os.sep not in name else str(self._place(name))
        if found is None or not os.access(found, os.X_OK) or Path(found).is_dir():
            place = f" in {Path(self._cwd or '.').resolve()}" if os.sep in name else " in PATH"
            raise InputError(f"no program {name!r}{place}; give the path of one, or set up the environment that it belongs to")
        return Path(found)

    def _place(self, name: str) -> Path:
        return Path(self._cwd or ".") / name


def _seed(salt: bytes, array: np.ndarray) -> int:
    """63 bits that depend on a batch's content: repeatable wherever it is computed."""
    content = hashlib.blake2b(salt, digest_size=8)
    content.update(np.ascontiguousarray(array).data)
    return int.from_bytes(content.digest(), "little") >> 1


def _digest(total: Any, what: str, path: Path) -> None:
    """Add a file, or all files of a folder in order, by name and content."""
    files = sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts) if path.is_dir() else [path]
    for file in files:
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        total.update(f"{what}\0{name}\0{file.stat().st_size}\0".encode())
        with open(file, "rb") as data:
            while block := data.read(1 << 20):
                total.update(block)
