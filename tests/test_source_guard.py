"""The guarded decoder: whatever happens in the worker, the caller gets a picture or a clean failure."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from faulty_codec import FaultyCodec

from jscclink.baselines.source.avif import Avif
from jscclink.baselines.source.bpg.codec import Bpg, Hevc
from jscclink.baselines.source.cache import TrialCache
from jscclink.baselines.source.codec import DecodeFailure, SourceCodec
from jscclink.baselines.source.guard import GuardedDecoder, guarded_decode
from jscclink.baselines.source.jpeg import Jpeg
from jscclink.baselines.source.jpeg2000 import Jpeg2000
from jscclink.baselines.source.webp import WebP
from jscclink.errors import InputError

CODEC = FaultyCodec()


@pytest.fixture
def guard() -> Iterator[GuardedDecoder]:
    decoder = GuardedDecoder(cpu_seconds=1, wall_seconds=120)
    yield decoder
    decoder.close()


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").exists() and ") Z" not in Path(f"/proc/{pid}/stat").read_text()


@pytest.mark.parametrize(
    ("data", "says", "survives"),
    [
        (b"segfault", "crashed", False),
        (b"abort", "crashed", False),
        (b"exit", "crashed", False),
        (b"spin", "crashed", False),
        (b"sleep", "too long", False),
        (b"memory", "MemoryError", True),
        (b"raise", "KeyError", True),
        (b"float", "float64", True),
    ],
)
def test_faults_become_failures(guard: GuardedDecoder, data: bytes, says: str, survives: bool) -> None:
    assert (guard.decode(CODEC, b"fine", None) == 4).all()
    worker = guard.worker_pid
    assert worker is not None
    guard.wall_seconds = 1 if data == b"sleep" else 120
    with pytest.raises(DecodeFailure, match=says):
        guard.decode(CODEC, data, None)
    assert (guard.worker_pid == worker) == survives == alive(worker)
    guard.wall_seconds = 120
    assert (guard.decode(CODEC, b"fine", (2, 3)) == 4).all()


def test_noise_on_stdout_is_no_reply(guard: GuardedDecoder) -> None:
    assert (guard.decode(CODEC, b"print", None) == 5).all()


def test_the_size_is_checked(guard: GuardedDecoder) -> None:
    with pytest.raises(DecodeFailure, match=r"2 x 3 \(H x W\), expected 3 x 2"):
        guard.decode(CODEC, b"fine", (3, 2))


def test_a_killed_worker_is_replaced(guard: GuardedDecoder) -> None:
    guard.decode(CODEC, b"fine", None)
    assert guard.worker_pid is not None
    os.kill(guard.worker_pid, 9)
    for _ in range(2):  # it may be noticed before or within the next decode
        try:
            assert (guard.decode(CODEC, b"fine", None) == 4).all()
        except DecodeFailure as failure:
            assert "crashed" in str(failure)


def test_closing_ends_the_worker() -> None:
    guard = GuardedDecoder()
    guard.decode(CODEC, b"fine", None)
    worker = guard.worker_pid
    guard.close()
    assert worker is not None and not alive(worker) and guard.worker_pid is None
    guard.decode(CODEC, b"fine", None)
    worker = guard.worker_pid
    del guard
    assert worker is not None and not alive(worker)


def test_threads_take_turns(guard: GuardedDecoder) -> None:
    results: dict[int, bool] = {}

    def work(n: int) -> None:
        data = b"x" * (n + 20)
        results[n] = all((guard.decode(CODEC, data, None) == n + 20).all() for _ in range(20))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(results[n] for n in range(4))


def in_worker(data: bytes) -> tuple[int, int]:
    """Decode in a worker of a pool: the sum of the pixels, and the process id of the decoder's parent."""
    return int(guarded_decode(CODEC, data, None).sum()), os.getpid()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_inside_workers_of_an_executor(method: str) -> None:
    """Also in a fork of a process that has its own decoder already."""
    assert in_worker(b"fine")[0] == 4 * 18
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        total, pid = pool.submit(in_worker, b"longer").result(60)
        assert total == 6 * 18 and pid != os.getpid()
        with pytest.raises(DecodeFailure):
            pool.submit(in_worker, b"abort").result(60)
        assert pool.submit(in_worker, b"longer").result(60)[0] == 6 * 18
    assert in_worker(b"fine")[0] == 4 * 18


def test_inside_daemonic_workers() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(in_worker, (b"fine",))[0] == 4 * 18


@pytest.mark.parametrize("end", ["pass", "raise SystemExit(0)", "os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_no_worker_outlives_its_parent(end: str) -> None:
    program = (
        "import os, numpy as np\n"
        "from jscclink.baselines.source import guard\n"
        "from jscclink.baselines.source.jpeg import Jpeg\n"
        "codec = Jpeg()\n"
        "guard.guarded_decode(codec, codec.encode_at(np.zeros((8, 8, 3), np.uint8), 50), None)\n"
        "print(guard._shared().worker_pid, flush=True)\n"
        f"{end}\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    worker = int(done.stdout)
    for _ in range(100):
        if not alive(worker):
            break
        time.sleep(0.1)
    assert not alive(worker)


def test_a_class_that_no_worker_can_import_is_refused(guard: GuardedDecoder) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Local(FaultyCodec):
        pass

    with pytest.raises(InputError, match="top level"):
        guard.decode(Local(), b"fine", None)


DAMAGED: list[SourceCodec] = [
    Jpeg(),
    Jpeg(progressive=True, chroma="444", container=False),
    Jpeg2000(),
    Jpeg2000(container=False),
    WebP(),
    WebP(container=False),
    Avif(),
    Avif(container=False),
    Bpg(),
    Bpg(chroma="420", bit_depth=10),
    Hevc(),
    Hevc(container=False),
]


@pytest.mark.slow
def test_damaged_streams_end_cleanly() -> None:
    """Truncated at every length and with flipped bits, 2,000 cases: a picture of the right size, or `DecodeFailure`."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:24, 0:20]
    image = np.stack([x * 12, y * 10, (x * y) % 251], axis=2).astype(np.uint8)
    guard = GuardedDecoder(cpu_seconds=5)
    cases = pictures = 0
    for codec in DAMAGED:
        data = codec.encode_at(image, codec.qualities[len(codec.qualities) // 2])
        damaged = [data[:length] for length in range(len(data))]
        for flips in rng.integers(1, 9, 100):
            flipped = bytearray(data)
            for bit in rng.integers(0, 8 * len(data), flips):
                flipped[bit // 8] ^= 1 << bit % 8
            damaged.append(bytes(flipped))
        for stream in damaged:
            cases += 1
            try:
                decoded = guard.decode(codec, stream, (24, 20))
            except DecodeFailure as failure:
                assert "too long" not in str(failure)
            else:
                assert decoded.shape == (24, 20, 3)
                pictures += 1
    status = Path(f"/proc/{guard.worker_pid}/status").read_text()
    peak_kib = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
    guard.close()
    assert cases > 2000 and 100 < pictures < cases
    assert peak_kib < 1 << 20


def test_the_same_damage_gives_the_same_picture() -> None:
    """FFmpeg reads past the end of a truncated slice: what stands there must not depend on what was decoded before."""
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = Bpg(preset="medium").encode_at(image, 40)
    first, second = GuardedDecoder(), GuardedDecoder()

    def outcome(guard: GuardedDecoder, length: int) -> bytes:
        try:
            return guard.decode(Bpg(), data[:length], None).tobytes()
        except DecodeFailure as failure:
            return str(failure).encode()

    lengths = range(20, len(data), 7)
    forward = [outcome(first, length) for length in lengths]
    backward = [outcome(second, length) for length in reversed(lengths)]
    assert forward == backward[::-1]
    first.close()
    second.close()


def test_forged_sizes_are_refused_before_decoding(guard: GuardedDecoder) -> None:
    jpeg = bytearray(Jpeg().encode_at(np.zeros((8, 8, 3), np.uint8), 50))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(DecodeFailure, match="bomb"):
        guard.decode(Jpeg(), bytes(jpeg), None)
    bpg = Bpg(preset="medium").encode_at(np.zeros((8, 8, 3), np.uint8), 40)
    with pytest.raises(DecodeFailure, match="limit"):
        guard.decode(Bpg(), bpg[:6] + b"\x81\x80\x80\x00" * 2 + bpg[8:], None)


def test_bytes_of_ours_need_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = FaultyCodec(cache=TrialCache())
    monkeypatch.setattr("jscclink.baselines.source.guard.guarded_decode", None)
    data = codec.encode_at(np.zeros((2, 3, 3), np.uint8), 1)
    assert (codec.decode(data) == 8).all()
    with pytest.raises(TypeError):
        codec.decode(data + b"!")
