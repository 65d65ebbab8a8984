"""At which SNR a modulation and coding scheme meets a block error rate: simulated once on random bits over AWGN, and stored."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from functools import cache
from pathlib import Path

import torch

from jscclink.channels.channel import complex_normal
from jscclink.simulator import registry
from jscclink.simulator.units import esno_db_from_noise_var, noise_var_from_esno_db

from .channel_coding.code import ChannelCode
from .layout import rules_of
from .mcs import Mcs
from .modulation import Modulation

_STEP_DB = 0.1
_SEED = 1
_ERRORS = 20  # block errors after which an SNR is given up
_VERSION = 2  # raise when anything below changes the thresholds


@cache
def threshold_db(mcs: Mcs, n: int, target_bler: float, code: str = "ldpc") -> float:
    """The least Es/N0 in dB, on a grid of 0.1 dB, at which the block error rate is at most the target.

    Parameters
    ----------
    mcs : Mcs
    n : int
        Coded bits per block; k is the rate times n, rounded down, CRC-16 or CRC-24 included.
    target_bler : float
    code : str
        A name among the registry's codes.

    Blocks of random bits over AWGN, `20 / target_bler` at each SNR, upwards from the Shannon limit; an SNR is given up after
    20 errors. The result is a pure function of the arguments (seeded), stored by the hash of all settings in the folder
    `$JSCCLINK_CACHE` or `~/.cache/jscclink/calibration`.
    """
    settings = {
        "mcs": [mcs.bits_per_symbol, str(mcs.rate)], "n": n, "target_bler": target_bler, "code": code,
        "step_db": _STEP_DB, "errors": _ERRORS, "seed": _SEED, "version": _VERSION,
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    path = _folder() / f"{digest}.json"
    try:
        return float(json.loads(path.read_text())["threshold_db"])
    except (OSError, ValueError, KeyError):
        found = _search(mcs, n, target_bler, code)
    _write(path, {"settings": settings, "threshold_db": found})
    return found


def _search(mcs: Mcs, n: int, target_bler: float, code: str) -> float:
    protected = int(n * mcs.rate)
    crc_bits = rules_of(code, {}).crc_of(protected)
    spec = {"name": code, "k": protected - crc_bits, "n": n, "bits_per_symbol": mcs.bits_per_symbol}
    coder: ChannelCode = registry.build("codes", spec)
    shannon_db = esno_db_from_noise_var(1.0 / (2.0**mcs.efficiency - 1.0))
    step = math.floor(shannon_db / _STEP_DB)
    while not _meets(coder, Modulation(mcs.bits_per_symbol), step * _STEP_DB, target_bler):
        step += 1
    return round(step * _STEP_DB, 6)


def _meets(coder: ChannelCode, modulation: Modulation, esno_db: float, target_bler: float) -> bool:
    """Whether at most the target share of 20 / target_bler blocks is lost."""
    generator = torch.Generator().manual_seed(_SEED)
    noise_var = noise_var_from_esno_db(esno_db)
    left, errors = math.ceil(_ERRORS / target_bler), 0
    while left > 0:
        batch = min(left, 64)
        bits = torch.randint(0, 2, (batch, coder.k), generator=generator, dtype=torch.uint8)
        symbols = modulation.map(coder.encode(bits))
        received = symbols + math.sqrt(noise_var) * complex_normal(*symbols.shape, generator=generator, device="cpu")
        decoded = coder.decode(modulation.demap(received, torch.tensor(noise_var), method="maxlog"))
        errors += int((decoded.bits != bits).any(1).sum())
        if errors > _ERRORS:
            return False
        left -= batch
    return True


def _folder() -> Path:
    root = os.environ.get("JSCCLINK_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "jscclink") / "calibration"


def _write(path: Path, content: dict[str, object]) -> None:
    """Whole or not at all: several processes may calibrate at once, with the same result."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            json.dump(content, file, indent=1)
        os.replace(file.name, path)
    except OSError:
        # a read-only home costs the time to calibrate again, nothing else
        return
