"""Decoding bytes that nobody vouches for: a worker process with limits, so that a fault in a C library ends only the worker."""

from __future__ import annotations

import contextlib
import json
import os
import select
import struct
import subprocess
import sys
import threading
import time
import weakref
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from jscclink.baselines.source.codec import DecodeFailure
from jscclink.errors import InputError

if TYPE_CHECKING:
    from jscclink.baselines.source.codec import SourceCodec

_START_SECONDS = 60.0
_REPLY = struct.Struct("<BII")  # status (0: image, 1: failure), height or message length, width


class GuardedDecoder:
    """One persistent worker process that decodes for this process; callers on several threads take turns.

        decode(codec, data, shape) --pipe--> worker: header check, C library --pipe--> image or DecodeFailure

    The worker is started by the first call and again after it died. It ends when `close` is called, when this object is
    collected, at interpreter exit, or by itself once this process is gone. After a fork the child starts a worker of its own.

    Parameters
    ----------
    memory_bytes : int
        Address space of the worker.
    cpu_seconds, wall_seconds : float
        Limits of one decode. CPU time comes first, so that a busy machine changes no result.
    """

    def __init__(self, memory_bytes: int = 3 << 30, cpu_seconds: int = 20, wall_seconds: float = 300.0) -> None:
        self.memory_bytes = memory_bytes
        self.cpu_seconds = cpu_seconds
        self.wall_seconds = wall_seconds
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[bytes] | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None
        _alive.add(self)

    def decode(self, codec: SourceCodec, data: bytes, shape: tuple[int, int] | None) -> np.ndarray:
        """Any bytes -> uint8 [H, W, 3] as `codec.decode_here` gives it; raises `DecodeFailure`, also when the worker dies."""
        cls = type(codec)
        if cls.__module__ == "__main__" or "<locals>" in cls.__qualname__:
            raise InputError(
                f"codec {codec.name!r} is defined in {cls.__module__}.{cls.__qualname__}, which a worker process cannot "
                "import; define its class at the top level of a module"
            )
        request = json.dumps([cls.__module__, cls.__qualname__, codec.options, shape]).encode()
        with self._lock:
            worker = self._started()
            try:
                return _exchange(worker, request, data, self.wall_seconds)
            except _WorkerGone as gone:
                self._stop()
                raise DecodeFailure(f"{codec.name}: {len(data)} bytes do not decode: {gone}") from None
            except DecodeFailure:
                raise
            except BaseException:  # an interrupt amid an exchange leaves the pipe out of step
                self._stop()
                raise

    def close(self) -> None:
        """End the worker; a later `decode` starts a new one."""
        with self._lock:
            self._stop()

    @property
    def worker_pid(self) -> int | None:
        """Process id of the running worker, None when there is none."""
        return None if self._worker is None else self._worker.pid

    def _started(self) -> subprocess.Popen[bytes]:
        if self._worker is not None and self._worker.poll() is None:
            return self._worker
        self._stop()
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        # one thread, one arena: BLAS and malloc reserve address space for each
        # and new memory filled by glibc with 128: what a damaged stream leaves undecoded is grey, each time the same
        fixed = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "MALLOC_PERTURB_": "127"}
        program = "from jscclink.baselines.source.guard_worker import main; main()"
        worker = subprocess.Popen(
            [sys.executable, "-P", "-c", program, str(self.memory_bytes), str(self.cpu_seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | fixed | {"PYTHONPATH": paths},
        )
        self._worker = worker
        self._finalizer = weakref.finalize(self, _end, worker, os.getpid())
        try:
            _receive(worker, 1, time.monotonic() + _START_SECONDS)
        except BaseException as error:
            self._stop()
            if isinstance(error, _WorkerGone):
                raise RuntimeError(f"the decoding worker did not start: {error}") from None
            raise
        return worker

    def _stop(self) -> None:
        if self._finalizer is not None:
            self._finalizer()
        self._worker = self._finalizer = None

    def _forget(self) -> None:
        """In a forked child: the worker belongs to the parent; drop our ends of its pipes, or it would outlive the parent."""
        self._lock = threading.Lock()
        if self._worker is not None:
            self._worker.returncode = 0  # not our child: nothing to wait for, and no warning when it is collected
        self._stop()


class _WorkerGone(Exception):
    """The worker died or was too slow."""


def _exchange(worker: subprocess.Popen[bytes], request: bytes, data: bytes, wall_seconds: float) -> np.ndarray:
    deadline = time.monotonic() + wall_seconds
    assert worker.stdin is not None
    try:
        worker.stdin.write(struct.pack("<II", len(request), len(data)) + request + data)
        worker.stdin.flush()
    except BrokenPipeError:
        raise _WorkerGone(_epitaph(worker)) from None
    status, height, width = _REPLY.unpack(_receive(worker, _REPLY.size, deadline))
    if status:
        raise DecodeFailure(bytes(_receive(worker, height, deadline)).decode(errors="replace"))
    pixels = _receive(worker, height * width * 3, deadline)
    return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)


def _receive(worker: subprocess.Popen[bytes], count: int, deadline: float) -> bytearray:
    assert worker.stdout is not None
    descriptor = worker.stdout.fileno()
    buffer = bytearray(count)
    view, filled = memoryview(buffer), 0
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while filled < count:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(1000 * left):
            raise _WorkerGone("the decoder took too long")
        got = os.readv(descriptor, [view[filled:]])
        if got == 0:
            raise _WorkerGone(_epitaph(worker))
        filled += got
    return buffer


def _epitaph(worker: subprocess.Popen[bytes]) -> str:
    try:
        return f"the decoder crashed (exit code {worker.wait(5)})"
    except subprocess.TimeoutExpired:
        return "the decoder closed its pipe"


def _end(worker: subprocess.Popen[bytes], owner: int) -> None:
    """Kill and reap the worker, unless this is a fork of the process that owns it; close the pipes."""
    if os.getpid() == owner:
        worker.kill()
        worker.wait()
    for pipe in (worker.stdin, worker.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # unsent bytes for a worker that died
                pipe.close()


_alive: weakref.WeakSet[GuardedDecoder] = weakref.WeakSet()


def _after_fork() -> None:
    for decoder in list(_alive):
        decoder._forget()


os.register_at_fork(after_in_child=_after_fork)


@cache
def _shared() -> GuardedDecoder:
    return GuardedDecoder()


def guarded_decode(codec: SourceCodec, data: bytes, shape: tuple[int, int] | None) -> np.ndarray:
    """Any bytes -> uint8 [H, W, 3] by this process's common `GuardedDecoder`; raises `DecodeFailure`."""
    return _shared().decode(codec, data, shape)
