"""One worker process: started when first needed, asked one thing at a time, ended without leaving anything behind."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import subprocess
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .standalone.jscclink_worker import PREFIX, Message, ProtocolError, lengths

STANDALONE = Path(__file__).parent / "standalone"
_STDERR_TAIL = 2000
_GRACE_S = 2.0
_READ_BYTES = 1 << 20
# these point to packages of this environment, which the worker's does not want
_OURS_ONLY = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


class WorkerFault(Exception):
    """The worker died, was too slow, or said something that is no frame."""


class WorkerProcess:
    """A program that answers frames on stdout to frames on stdin; what it writes to stderr is kept for error messages.

    It ends by `close`, when this object is collected, at interpreter exit, or by itself at the end of its stdin once this
    process is gone. It leads a process group of its own, so that what it starts ends with it and Ctrl-C stays here. After a
    fork the child starts a worker of its own. Callers on several threads take turns.

    Parameters
    ----------
    command : sequence of str
    cwd : str or None
    env : mapping of str
        Added to this process's environment.
    """

    def __init__(self, command: Sequence[str], cwd: str | None, env: Mapping[str, str]) -> None:
        self._command, self._cwd, self._env = list(command), cwd, dict(env)
        self.lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None
        self._stderr = b""
        _alive.add(self)

    @property
    def title(self) -> str:
        """The command, for messages."""
        return shlex.join(self._command)

    @property
    def pid(self) -> int | None:
        """Process id of the running worker, None when there is none."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether there is a worker, and it has not died meanwhile."""
        return self._process is not None and _ended(self._process, 0.0) is None

    @property
    def last_words(self) -> str:
        """The end of what it wrote to stderr."""
        return self._stderr.decode(errors="replace").strip()

    def start(self) -> None:
        """Start the program; `WorkerFault` where there is none."""
        self.close()
        inherited = {key: value for key, value in os.environ.items() if key not in _OURS_ONLY}
        path = os.pathsep.join(part for part in (str(STANDALONE), self._env.get("PYTHONPATH")) if part)
        self._stderr = b""
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=self._cwd,
                env=inherited | self._env | {"PYTHONPATH": path},
                start_new_session=True,
            )
        except OSError as error:
            raise WorkerFault(f"it cannot be started: {error}") from None
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        self._process = process
        self._finalizer = weakref.finalize(self, _end, process, os.getpid(), 0.0)

    def ask(self, request: Message, timeout_s: float) -> Message:
        """Send a message and wait for the answer; after a fault the worker is ended, and its last words are known."""
        assert self._process is not None
        try:
            return _Exchange(self, self._process, time.monotonic() + timeout_s, timeout_s).run(request.pack())
        except ProtocolError as error:
            self.kill()
            raise WorkerFault(f"it broke the protocol: {error}") from None
        except BaseException:  # also an interrupt: amid an exchange the pipes are out of step
            self.kill()
            raise

    def heard(self, data: bytes) -> None:
        """Keep the tail of stderr."""
        self._stderr = (self._stderr + data)[-_STDERR_TAIL:]

    def close(self) -> None:
        """Say goodbye, wait a moment, end it."""
        with self.lock:
            self._finish(_GRACE_S)

    def kill(self) -> None:
        """End it at once."""
        self._finish(0.0)

    def _finish(self, grace_s: float) -> None:
        process, finalizer = self._process, self._finalizer
        self._process = self._finalizer = None
        if process is not None and finalizer is not None and finalizer.detach() is not None:
            _end(process, os.getpid(), grace_s, self)

    def forget(self) -> None:
        """In a forked child: the worker is the parent's; drop our ends of its pipes, or it would outlive the parent."""
        self.lock = threading.RLock()
        process, self._process = self._process, None
        if process is not None and self._finalizer is not None:
            process.returncode = 0  # not our child: nothing to wait for, and no warning when it is collected
            self._finalizer.detach()
            _close_pipes(process)


class _Exchange:
    """One request and its answer: all three pipes are served at once, so that neither side can block the other."""

    def __init__(self, owner: WorkerProcess, process: subprocess.Popen[bytes], deadline: float, timeout_s: float) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self._owner, self._process, self._deadline, self._timeout_s = owner, process, deadline, timeout_s
        self._in, self._out, self._err = (pipe.fileno() for pipe in (process.stdin, process.stdout, process.stderr))

    def run(self, request: bytes) -> Message:
        unsent, answer = memoryview(request), bytearray()
        wanted, sizes = PREFIX.size, None
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        poll.register(self._err, select.POLLIN)
        poll.register(self._in, select.POLLOUT)
        while len(answer) < wanted or unsent:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise WorkerFault(f"it gave no answer within {self._timeout_s:g} s (timeout_s, start_timeout_s)")
            for descriptor, _ in poll.poll(1000 * left):
                if descriptor == self._err:
                    if not self._listen():
                        poll.unregister(self._err)
                elif descriptor == self._in:
                    unsent = unsent[self._write(unsent) :]
                    if not unsent:
                        poll.unregister(self._in)
                else:
                    answer += self._read()
            if sizes is None and len(answer) >= PREFIX.size:
                sizes = lengths(bytes(answer[: PREFIX.size]))
                wanted = PREFIX.size + sum(sizes)
            if len(answer) > wanted:
                raise ProtocolError(f"{len(answer) - wanted} bytes follow the answer")
        assert sizes is not None
        start = PREFIX.size + sizes[0]
        return Message.unpack(bytes(answer[PREFIX.size : start]), bytes(answer[start:]))

    def _read(self) -> bytes:
        data = os.read(self._out, _READ_BYTES)
        if not data:
            raise self._epitaph()
        return data

    def _write(self, data: memoryview) -> int:
        try:
            return os.write(self._in, data)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            raise self._epitaph() from None

    def _listen(self) -> bool:
        """Take in what is on stderr; False once it is closed."""
        try:
            data = os.read(self._err, _READ_BYTES)
        except BlockingIOError:
            return True
        self._owner.heard(data)
        return bool(data)

    def _epitaph(self) -> WorkerFault:
        end = _ended(self._process, time.monotonic() + _GRACE_S)
        with contextlib.suppress(OSError):
            while data := os.read(self._err, _READ_BYTES):
                self._owner.heard(data)
        if end is None:
            return WorkerFault("it closed its pipe to us")
        if end.si_code == os.CLD_EXITED:
            return WorkerFault(f"it left with exit code {end.si_status}")
        return WorkerFault(f"it died of signal {signal.Signals(end.si_status).name}")


def _end(process: subprocess.Popen[bytes], owner_pid: int, grace_s: float, heard: WorkerProcess | None = None) -> None:
    """Ask it to leave, end it and its group, reap it, close the pipes; nothing of that in a fork of the owner."""
    if os.getpid() == owner_pid and process.returncode is None:
        if grace_s:
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                os.write(process.stdin.fileno(), Message("bye").pack())
            with contextlib.suppress(OSError):
                process.stdin.close()
            _ended(process, time.monotonic() + grace_s)
        # before it is reaped its number belongs to nobody else
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if heard is not None and process.stderr is not None:
            with contextlib.suppress(OSError):
                heard.heard(os.read(process.stderr.fileno(), _READ_BYTES))
    _close_pipes(process)


def _ended(process: subprocess.Popen[bytes], deadline: float) -> os.waitid_result | None:
    """Wait until it has ended, without reaping it, and say how; None if it has not by then."""
    while (end := os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)) is None:
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.005)
    return end


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


_alive: weakref.WeakSet[WorkerProcess] = weakref.WeakSet()


def _after_fork() -> None:
    for worker in list(_alive):
        worker.forget()


os.register_at_fork(after_in_child=_after_fork)
