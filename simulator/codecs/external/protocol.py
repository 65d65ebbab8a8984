"""The host's side of the protocol: requests to a worker, and its answers checked in every respect before they count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NoReturn

import numpy as np

from .process import WorkerFault, WorkerProcess
from .standalone.jscclink_worker import PROTOCOL, Message, ProtocolError, unpack_side

Role = Literal["encoder", "decoder"]


class ExternalError(RuntimeError):
    """An external codec failed: which end, how, and the last it wrote to stderr. Its worker starts anew for the next batch."""


class End:
    """One end of an external codec.

    Parameters
    ----------
    role : "encoder" or "decoder"
    worker : WorkerProcess
    timeout_s, start_timeout_s : float
        For an answer; for the first one, which waits for the program to load.
    """

    def __init__(self, role: Role, worker: WorkerProcess, timeout_s: float, start_timeout_s: float) -> None:
        self._role, self._worker = role, worker
        self._timeout_s, self._start_timeout_s = timeout_s, start_timeout_s
        self._name = ""

    def encode(self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Message:
        """Request of images uint8 [B, 3, H, W] and `uses`, `seed` -> `encoded`.

        symbols complex64 [B, n <= uses], finite; valid int64 [B] within 0..n; `power`; maybe `side` and `side_bytes`.
        """
        batch, uses = arrays["images"].shape[0], values["uses"]
        with self._worker.lock:
            reply = self._ask(Message("encode", values, arrays), "encoded")
            symbols = self._array(reply, "symbols", "complex64", (batch, None), f"[{batch}, at most {uses}]")
            valid = self._array(reply, "valid", "int64", (batch,), f"[{batch}]")
            if symbols.shape[1] > uses or (batch and (valid.min() < 0 or valid.max() > symbols.shape[1])):
                self._refuse(
                    f"it sent symbols {symbols.shape} with valid {valid.tolist()[:8]}; allowed: at most {uses} uses (the "
                    "budget), and valid within the symbols sent"
                )
            if not np.isfinite(symbols.view(np.float32)).all():
                self._refuse("it sent symbols that are not finite numbers (NaN or infinity)")
            if reply.values.get("power") not in ("scale", "constellation"):
                self._refuse(f"`power` is {reply.values.get('power')!r}; allowed: scale, constellation")
            self._side(reply, batch)
            return reply

    def decode(self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Message:
        """Request of symbols, gain, noise_var [B, uses] and `height`, `width`, `uses`, `seed` -> `decoded`.

        images uint8 [B, 3, H, W]; failed uint8 [B] of 0/1.
        """
        batch, shape = arrays["symbols"].shape[0], (3, values["height"], values["width"])
        with self._worker.lock:
            reply = self._ask(Message("decode", values, arrays), "decoded")
            self._array(reply, "images", "uint8", (batch, *shape), str([batch, *shape]))
            if self._array(reply, "failed", "uint8", (batch,), f"[{batch}]").max(initial=0) > 1:
                self._refuse("`failed` holds other numbers than 0 and 1")
            return reply

    def _ask(self, request: Message, expected: str) -> Message:
        try:
            if not self._worker.running:
                self._start()
            return self._answer(request, expected, self._timeout_s)
        except WorkerFault as fault:
            self._refuse(str(fault))

    def _start(self) -> None:
        self._worker.start()
        hello = self._answer(Message("hello", {"protocol": PROTOCOL, "role": self._role}), "hello", self._start_timeout_s)
        spoken = hello.values.get("protocol")
        if spoken != PROTOCOL:
            self._refuse(f"it speaks protocol {spoken!r}, jscclink {PROTOCOL}; bring its jscclink_worker.py up to date")
        if hello.values.get("role") != self._role:
            self._refuse(f"it answers as {hello.values.get('role')!r}, not as {self._role}")
        self._name = f"{hello.values.get('name', '')} {hello.values.get('version', '')}".strip()

    def _answer(self, request: Message, expected: str, timeout_s: float) -> Message:
        reply = self._worker.ask(request, timeout_s)
        if reply.type == "error":
            self._refuse(f"it reports {reply.values.get('message')}")
        if reply.type != expected:
            self._refuse(f"it answered {reply.type!r} to {request.type!r}; expected: {expected!r}")
        return reply

    def _array(self, reply: Message, name: str, dtype: str, shape: tuple[int | None, ...], said: str) -> np.ndarray:
        array = reply.arrays.get(name)
        if array is None:
            self._refuse(f"its answer has no array {name!r}")
        fits = array.ndim == len(shape) and all(b in (None, a) for a, b in zip(array.shape, shape, strict=True))
        if array.dtype.name != dtype or not fits:
            self._refuse(f"{name!r} is {array.dtype.name} {list(array.shape)}; expected: {dtype} {said}")
        return array

    def _side(self, reply: Message, batch: int) -> None:
        if "side_bytes" not in reply.arrays:
            return
        self._array(reply, "side", "uint8", (None,), "[bytes]")
        if self._array(reply, "side_bytes", "int64", (batch,), f"[{batch}]").min(initial=0) < 0:
            self._refuse("`side_bytes` holds negative numbers")
        try:
            unpack_side(reply.arrays)
        except ProtocolError as error:
            self._refuse(str(error))

    def _refuse(self, why: str) -> NoReturn:
        """End the worker and say what it did, with its last words."""
        self._worker.kill()
        words = self._worker.last_words
        tail = f"; the end of its stderr: {words}" if words else ""
        name = f" {self._name!r}" if self._name else ""
        raise ExternalError(f"external {self._role}{name} ({self._worker.title}): {why}{tail}")
