"""Workers for test_external.py, with NumPy alone: `worker.py good`, or a way to fail, at one end or the other."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from jscclink_worker import Decoded, Encoded, Message, serve

MODE = sys.argv[1]
BLOCK = 8


class Encoder:
    """Means of 8 x 8 blocks as amplitudes, one per use; the mean of each picture as side information."""

    def encode(self, request):
        fail("encode", request.images)
        batch, _, height, width = request.images.shape
        blocks = request.images.reshape(batch, 3, height // BLOCK, BLOCK, width // BLOCK, BLOCK).mean((3, 5)).reshape(batch, -1)
        mean = blocks.mean(1)
        symbols = (blocks - mean[:, None]) / 64 + 0j
        if MODE == "dither":
            symbols = symbols + 1j * np.random.default_rng(request.seed).standard_normal(symbols.shape)
        if MODE == "csi":
            symbols = np.full((batch, 4), request.noise_var[:, None] if request.gain is None else request.gain[:, :4])
        if MODE == "nan":
            symbols[-1, -1] = np.nan
        if MODE == "long":
            symbols = np.ones((batch, request.uses + 1))
        if MODE == "valid":
            return Encoded(symbols, np.full(batch, symbols.shape[1] + 1))
        if MODE == "power":
            return Encoded(symbols, power="free")
        spread = np.sqrt((np.abs(symbols) ** 2).mean(1))
        return Encoded(symbols, side=[np.array([m, s], "<f4").tobytes() for m, s in zip(mean, spread, strict=True)])


class Decoder:
    def decode(self, request):
        fail("decode", request.symbols)
        batch, shape = len(request.symbols), (3, request.height // BLOCK, request.width // BLOCK)
        known = np.array([np.frombuffer(side or bytes(8), "<f4") for side in request.side])
        lost = np.array([side is None for side in request.side])
        values = (request.symbols / request.gain).real[:, : np.prod(shape)] * known[:, 1:] * 64 + known[:, :1]
        images = values.reshape(batch, *shape).repeat(BLOCK, 2).repeat(BLOCK, 3)
        if MODE == "float":
            return Decoded(images.astype(np.float32))
        images = np.clip(np.round(images), 0, 255).astype(np.uint8)
        if MODE == "shape":
            images = images[:, :, 1:]
        if MODE == "batch":
            images = images[:-1]
        return Decoded(images, lost)


def fail(stage, array):
    """Modes like `die-encode`; `once-...` only the first time, as noted by a file."""
    mode = MODE
    if mode.startswith("once-"):
        mark, mode = Path(sys.argv[2]), mode.removeprefix("once-")
        if mark.exists() or not mode.endswith(stage):
            return
        mark.touch()
    if mode == f"die-{stage}":
        print("my last words", file=sys.stderr, flush=True)
        os._exit(7)
    if mode == f"kill-{stage}":
        os.kill(os.getpid(), 9)
    if mode == f"hang-{stage}":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(f"child {child.pid}", file=sys.stderr, flush=True)
        time.sleep(600)
    if mode == f"raise-{stage}":
        raise ValueError(f"no such thing as {array.shape}")
    if mode == f"chatter-{stage}":  # more than any pipe holds
        print("x" * 1_000_000)
        print("y" * 1_000_000, file=sys.stderr, flush=True)


def raw(reply):
    """Wait for the first request and answer it with bytes of one's own."""
    sys.stdin.buffer.read(16)
    sys.stdout.buffer.write(reply)
    sys.stdout.flush()
    sys.stdin.buffer.read()


HELLO = {"protocol": 1, "role": "encoder", "name": "raw"}
RAW = {
    "stdout": b"Loading weights, please wait ...\n",
    "version": Message("hello", HELLO | {"protocol": 2}).pack(),
    "role": Message("hello", HELLO | {"role": "decoder"}).pack(),
    "answer": Message("decoded").pack(),
    "json": b"JSCX" + (3).to_bytes(4, "little") + bytes(8) + b"{,}",
    "huge": b"JSCX" + (1 << 31).to_bytes(4, "little") + bytes(8),
    "twice": 2 * Message("hello", HELLO).pack(),
    "dtype": Message("hello", HELLO, {"a": np.zeros(2, np.float32)}).pack().replace(b"float32", b"float16"),
    "beyond": Message("hello", HELLO, {"a": np.zeros(2, np.float32)}).pack().replace(b"[2]", b"[9]"),
    "rest": Message("hello", HELLO, {"a": np.zeros(2, np.float32)}).pack().replace(b"[2]", b"[1]"),
}

if MODE in RAW:
    raw(RAW[MODE])
elif MODE == "closed":
    sys.exit("no licence")
else:
    serve({"encoder": Encoder, "decoder": Decoder}, name="blocks", version="1")
