"""The scheme `external`: real workers in processes of their own, and every way in which they can fail."""

import gc
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from jscclink.channels.awgn import Awgn, Noiseless
from jscclink.channels.fading import Rayleigh
from jscclink.errors import InputError
from jscclink.simulator import registry, runner
from jscclink.simulator.codecs.external.protocol import ExternalError
from jscclink.simulator.codecs.external.scheme import External
from jscclink.simulator.link import Link
from jscclink.simulator.side import SideLink
from jscclink.simulator.study import Study

FOLDER = Path(__file__).parent / "external"
WORKER = str(FOLDER / "worker.py")
SHAPE = (3, 32, 48)


def external(mode="good", *arguments, **options):
    spec = {"name": "external", "command": [sys.executable, WORKER, mode, *map(str, arguments)], **options}
    return registry.build("schemes", spec)


@pytest.fixture
def made():
    """Makes schemes that are closed at the end of the test."""
    schemes = []

    def make(*arguments, **options):
        schemes.append(external(*arguments, **options))
        return schemes[-1]

    yield make
    for scheme in schemes:
        scheme.close()


def pictures(batch=2, seed=3):
    return torch.randint(0, 256, (batch, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def run(scheme, source=None, channel=None, cbr=0.1, esno_db=10.0, side=None):
    source = pictures() if source is None else source
    link = Link(channel or Awgn(), side=side)
    return link.run(scheme, source, link.budget(SHAPE, cbr), esno_db, generator=torch.Generator().manual_seed(5))


def pids(scheme):
    return [worker.pid for worker in scheme._workers]


def gone(pid, seconds=10.0):
    """Whether a process ends within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":  # of somebody else's: ours are reaped
            return True
        time.sleep(0.05)
    return False


def test_a_codec_in_two_other_processes_is_a_scheme(made):
    scheme = made()
    passage = run(scheme, channel=Noiseless())
    blocks = pictures().float().reshape(2, 3, 4, 8, 6, 8).mean((3, 5))
    expected = blocks.repeat_interleave(8, 2).repeat_interleave(8, 3)
    assert (passage.reconstruction.data - expected).abs().max() <= 1.0
    assert not passage.reconstruction.failed.any()
    encoder, decoder = pids(scheme)
    assert encoder and decoder and len({encoder, decoder, os.getpid()}) == 3, "each end has a process of its own"
    # 8 bytes of side information at 10 dB: 64 bits / log2(11) = 18.5 -> 19 uses, beside 3 x 4 x 6 blocks
    assert passage.ledger.total_uses.tolist() == [72 + 19] * 2


def test_same_batch_same_pictures_from_new_processes(made):
    first, second = run(made("dither")), run(made("dither"))
    assert torch.equal(first.reconstruction.data, second.reconstruction.data)
    assert torch.equal(first.bursts[0].symbols, second.bursts[0].symbols)
    other = run(made("dither"), pictures(seed=4))
    assert not torch.equal(first.bursts[0].symbols.imag, other.bursts[0].symbols.imag)


def test_the_random_seed_follows_the_runners(made):
    scheme, before = made("dither"), torch.get_rng_state()
    symbols = []
    try:
        for seed in (1, 2, 1):
            torch.manual_seed(seed)
            symbols.append(run(scheme).bursts[0].symbols)
    finally:
        torch.set_rng_state(before)
    assert torch.equal(symbols[0], symbols[2])
    assert not torch.equal(symbols[0], symbols[1])


def test_the_transmitter_learns_the_channel_only_where_the_study_grants_it(made):
    scheme = made("csi")
    sent = run(scheme, channel=Awgn(csi="tx+rx")).bursts[0].symbols
    assert torch.allclose(sent.real, torch.tensor(0.1))
    passage = run(scheme, channel=Rayleigh(form="slow", csi="tx+rx"))
    power = passage.bursts[0].symbols.abs().square()
    # the MMSE equaliser's gain at 10 dB
    assert torch.allclose(power / (power + 0.1), passage.receptions[0].gain[:, :4].real, atol=1e-5)
    with pytest.raises(ExternalError, match="NoneType"):
        run(scheme, channel=Awgn())


class Lossy(SideLink):
    """Loses the first item's side information."""

    def uses(self, n_bytes, noise_var):
        return n_bytes

    def carry(self, side, noise_var, transmit, generator):
        return (None, *side[1:])


def test_lost_side_information_arrives_as_lost(made):
    assert run(made(), side=Lossy()).reconstruction.failed.tolist() == [True, False]


FAULTS = {
    "stdout": r"broke the protocol: b'Loading weights.*no frame.*messages for people go to stderr",
    "version": "speaks protocol 2, jscclink 1",
    "role": "answers as 'decoder', not as encoder",
    "answer": "answered 'decoded' to 'hello'",
    "json": "header is no JSON",
    "huge": "a frame of 2147483648",
    "twice": "follow the answer|is no frame|answered 'hello'",
    "dtype": "array 'a' has dtype 'float16'; allowed: uint8",
    "beyond": "reaches beyond the frame's 8 bytes",
    "rest": "4 bytes follow the last array",
    "closed": "left with exit code 1; the end of its stderr: no licence",
    "die-encode": "external encoder 'blocks 1'.*left with exit code 7; the end of its stderr: my last words",
    "kill-encode": "died of signal SIGKILL",
    "raise-encode": r"reports ValueError: no such thing as \(2, 3, 32, 48\)",
    "nan": "symbols that are not finite",
    "long": "at most 460 uses",
    "valid": "valid",
    "power": "`power` is 'free'",
    "die-decode": "external decoder.*exit code 7",
    "raise-decode": "external decoder.*no such thing",
    "float": r"'images' is float32 \[2, 3, 32, 48\]; expected: uint8",
    "shape": r"'images' is uint8 \[2, 3, 31, 48\]; expected: uint8 \[2, 3, 32, 48\]",
    "batch": r"'images' is uint8 \[1, 3",
}


@pytest.mark.parametrize("mode", FAULTS)
def test_a_faulty_worker_is_named_and_ended(made, mode):
    scheme = made(mode)
    with pytest.raises(ExternalError, match=FAULTS[mode]) as caught:
        run(scheme)
    assert f"worker.py {mode}" in str(caught.value), "the command is named"
    assert None in pids(scheme), "the faulty end was ended"


@pytest.mark.parametrize("fault", ["die-encode", "raise-decode", "kill-decode"])
def test_a_fault_costs_only_its_batch(made, tmp_path, fault):
    scheme = made(f"once-{fault}", tmp_path / "mark")
    with pytest.raises(ExternalError):
        run(scheme)
    assert torch.equal(run(scheme).reconstruction.data, run(made()).reconstruction.data)


def study(*arguments):
    data = {
        "name": "faults",
        "images": {"set": "kodak", "pick": [5, 23], "crop": [32, 48]},
        "channels": {"AWGN": "awgn"},
        "schemes": {
            "other": {"name": "external", "command": [sys.executable, WORKER, *map(str, arguments)]},
            "uncoded": {"name": "uncoded"},
        },
        "esno_db": [5, 10],
        "cbr": [0.2],
        "metrics": ["psnr"],
        "draws": 2,
        "batch": {"items": 1},
    }
    return Study.from_mapping(data)


def test_a_fault_in_a_study_is_told_and_made_up_for(tmp_path):
    whole = runner.run(study("once-die-decode", FOLDER / "worker.py"), tmp_path / "whole")
    assert whole.finished and len(whole.rows) == 4
    first = runner.run(study("once-die-decode", tmp_path / "mark"), tmp_path / "faulty")
    assert len(first.failures) == 1
    assert re.search(r"batch 0 of other on AWGN at 5 dB.*external decoder.*exit code 7.*my last words", first.failures[0])
    done = {(row.scheme, row.esno_db) for row in first.rows if row.finished}
    assert done == {("other", 10.0), ("uncoded", 5.0), ("uncoded", 10.0)}, "the others are not touched"
    again = runner.run(study("once-die-decode", tmp_path / "mark"), tmp_path / "faulty")
    assert again.finished

    def numbers(results):
        return [(row.scheme, row.esno_db, row.metrics["psnr"], row.trials) for row in results.rows if row.scheme == "other"]

    # the mark's name is part of the ids, and so of the seeds of no channel: the same numbers
    assert numbers(again) == numbers(whole)


def test_a_hanging_worker_is_ended_with_its_children(made):
    scheme = made("hang-encode", timeout_s=1.5)
    with pytest.raises(ExternalError, match=r"no answer within 1.5 s \(timeout_s") as caught:
        run(scheme)
    child = int(re.search(r"child (\d+)", str(caught.value))[1])
    assert gone(child)


def test_a_worker_that_hangs_at_the_start(made):
    scheme = registry.build("schemes", {"name": "external", "command": ["sleep", "60"], "start_timeout_s": 0.3})
    with pytest.raises(ExternalError, match=r"external encoder \(sleep 60\): it gave no answer within 0.3 s"):
        run(scheme)


def test_a_chattering_worker_blocks_nobody(made):
    assert not run(made("chatter-encode", timeout_s=60)).reconstruction.failed.any()


def test_a_worker_killed_between_batches_costs_nothing(made):
    scheme = made()
    before = run(scheme)
    for pid in pids(scheme):
        os.kill(pid, 9)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # dead, and not noticed yet
    assert torch.equal(run(scheme).reconstruction.data, before.reconstruction.data)


def test_nothing_is_left_behind():
    scheme = external()
    run(scheme)
    first = pids(scheme)
    scheme.close()
    assert all(gone(pid) for pid in first) and pids(scheme) == [None, None]
    run(scheme)
    second = pids(scheme)
    del scheme
    gc.collect()
    assert all(gone(pid) for pid in second), "a scheme that is collected takes its workers along"


def test_a_copy_starts_its_own_workers(made):
    scheme = made()
    here = run(scheme)
    copy = pickle.loads(pickle.dumps(scheme))
    try:
        assert pids(copy) == [None, None]
        assert torch.equal(run(copy).reconstruction.data, here.reconstruction.data)
        assert not set(pids(copy)) & set(pids(scheme))
    finally:
        copy.close()


def _there(scheme):
    passage = run(scheme)
    return passage.reconstruction.data.numpy(), pids(scheme)


def test_in_spawned_processes(made):
    scheme = made()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        data, started = pool.submit(_there, scheme).result(timeout=120)
    assert np.array_equal(data, run(scheme).reconstruction.data.numpy())
    assert all(gone(pid) for pid in started), "workers end with the process that started them"


def test_workers_end_when_their_owner_is_killed():
    code = (
        "import os, sys, torch; sys.path.insert(0, 'tests'); import test_external as t; s = t.external(); t.run(s)\n"
        "print(*t.pids(s), flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=FOLDER.parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    assert all(gone(int(pid)) for pid in done.stdout.split())


def test_the_fingerprint_follows_the_files(tmp_path):
    program, weights = tmp_path / "worker.py", tmp_path / "weights"
    weights.mkdir()
    program.write_text("print()")
    (weights / "a.npz").write_bytes(b"1")
    spec = {"command": [sys.executable, "worker.py"], "cwd": str(tmp_path), "files": ["weights"]}
    seen = {External(**spec).fingerprint()}
    assert External(**spec).fingerprint() in seen
    for path, text in ((program, "print(1)"), (weights / "a.npz", "2"), (weights / "b.npz", "2")):
        path.write_text(text)
        seen.add(External(**spec).fingerprint())
    assert len(seen) == 4
    moved = tmp_path / "elsewhere"
    os.rename(weights, moved)
    moved.rename(weights)
    assert External(**spec).fingerprint() in seen


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "needs `command` for both ends, or else `encoder` and `decoder`"),
        ({"command": ["true"], "encoder": ["true"], "decoder": ["true"]}, "needs `command`"),
        ({"encoder": ["true"]}, "needs `command`"),
        ({"command": []}, "command is empty"),
        ({"command": ["no-such-program"]}, "no program 'no-such-program' in PATH"),
        ({"command": ["./nothing"]}, "no program './nothing' in "),
        ({"command": ["true"], "cwd": "/no/such"}, "/no/such is no folder"),
        ({"command": ["true"], "files": ["no.npz"]}, "files: no.npz does not exist"),
        ({"command": ["true"], "timeout_s": 0}, "timeout_s must be a positive number"),
        ({"command": "python worker.py"}, "option 'command'"),
        ({"command": ["true"], "comand": 1}, "did you mean 'command'"),
    ],
)
def test_bad_options_are_refused_before_anything_runs(options, words):
    with pytest.raises(InputError, match=words):
        registry.build("schemes", {"name": "external", **options})


def test_a_study_without_cbr_is_refused(made):
    with pytest.raises(InputError, match="give the study a `cbr`"):
        run(made(), cbr=None)
