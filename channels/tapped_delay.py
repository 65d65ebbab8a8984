"""OFDM channels by where their paths come from: a power delay profile, 3GPP's models (on Sionna), or a recording."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from jscclink.errors import InputError

from .channel import complex_normal
from .doppler import clarke_gains, doppler_hz
from .multipath import Profile
from .ofdm_channel import OfdmChannel
from .recording import load_impulse_responses
from .sionna import sionna_draws

TdlModel = Literal["A", "B", "C", "D", "E", "A10", "A30", "B100", "C60", "C300", "D10", "D30"]
CdlModel = Literal["A", "B", "C", "D", "E"]

# Gains times sinusoids that Sionna's generators may hold at a time.
_SIONNA_CHUNK = 1 << 22


@dataclass(eq=False, kw_only=True)
class _RayleighPaths(OfdmChannel):
    """Paths of given delays and mean powers, each Rayleigh fading on its own, or fixed."""

    speed_kmh: float = 0.0
    carrier_ghz: float = 3.5

    fixed = False

    def _draw_paths(self, batch: int, steps: int, seconds: float, generator: torch.Generator) -> Tensor:
        profile = self._profile
        amplitude = torch.from_numpy(np.sqrt(profile.powers)).float()
        shape = (batch, self.receive_antennas)
        if self.fixed:
            return amplitude.to(torch.complex64).expand(*shape, 1, -1).clone()
        if steps == 1:
            return complex_normal(*shape, 1, len(amplitude), generator=generator, device="cpu") * amplitude
        gains = clarke_gains(
            *shape, len(amplitude), steps=steps, doppler_per_step=profile.doppler_hz * seconds, generator=generator
        )
        return gains.transpose(2, 3) * amplitude


@dataclass(eq=False, kw_only=True)
class Exponential(_RayleighPaths):
    """OFDM over Rayleigh paths, one per sample, of exponentially falling power: p(tau) ~ exp(-tau / delay_spread).

    Parameters
    ----------
    delay_spread_ns
        Of the untruncated profile (its root mean square); 0: one path, flat fading.
    truncate_db
        Paths weaker than the first by more are left out.
    speed_kmh, carrier_ghz
        Speed of the receiver and carrier frequency, for Jakes' Doppler spectrum; 0: still during a transmission.
    fft_size, ..., tx_bits
        As for `OfdmChannel`.
    """

    delay_spread_ns: float = 100.0
    truncate_db: float = 25.0

    def _make_profile(self) -> Profile:
        spread = _spread(self.delay_spread_ns) * self._grid.sample_rate
        if not (math.isfinite(self.truncate_db) and self.truncate_db >= 0):
            raise InputError(f"truncate_db must be 0 dB or more; got {self.truncate_db}")
        last = math.floor(spread * self.truncate_db * math.log(10.0) / 10.0)
        lags = np.arange(last + 1)
        powers = np.exp(-lags / spread) if spread else np.ones(1)
        return Profile(lags / self._grid.sample_rate, powers / powers.sum(), _doppler(self.speed_kmh, self.carrier_ghz))


@dataclass(eq=False, kw_only=True)
class Taps(_RayleighPaths):
    """OFDM over paths of one's own: delays and mean powers.

    Parameters
    ----------
    delays_ns
        From 0.
    powers_db
        One per delay; scaled to a sum of 1.
    fading
        `rayleigh`: independent complex normal gains. `none`: the gains are the roots of the powers.
    speed_kmh, carrier_ghz
        As for `Exponential`.
    fft_size, ..., tx_bits
        As for `OfdmChannel`.
    """

    delays_ns: list[float]
    powers_db: list[float]
    fading: Literal["rayleigh", "none"] = "rayleigh"

    def _make_profile(self) -> Profile:
        delays, powers = np.array(self.delays_ns, float) * 1e-9, 10.0 ** (np.array(self.powers_db, float) / 10.0)
        if len(delays) == 0 or len(delays) != len(powers):
            raise InputError(f"delays_ns has {len(delays)} values, powers_db {len(powers)}; give one power per delay")
        if not (np.isfinite(delays).all() and (delays >= 0).all()):
            raise InputError(f"delays_ns must be finite and not negative; got {self.delays_ns}")
        if not (np.isfinite(powers).all() and (powers > 0).all()):
            raise InputError(f"powers_db must be finite numbers of dB; got {self.powers_db}")
        doppler = _doppler(self.speed_kmh, self.carrier_ghz)
        self.fixed = self.fading == "none"
        if self.fixed and doppler:
            raise InputError(f"fading 'none' does not move: speed_kmh must be 0; got {self.speed_kmh}")
        return Profile(delays, powers / powers.sum(), doppler)


@dataclass(eq=False, kw_only=True)
class _Sionna(OfdmChannel):
    """Paths from one of Sionna's generators."""

    delay_spread_ns: float | None = None
    speed_kmh: float = 3.0
    carrier_ghz: float = 3.5

    @abstractmethod
    def _generator(self) -> Callable[[int, int, float], tuple[Tensor, Tensor]]:
        """A new generator of Sionna's: batch, times, rate -> gains [batch, 1, antennas, 1, 1, paths, times], delays."""

    @property
    def _metres_per_second(self) -> float:
        return self.speed_kmh / 3.6

    def _draw_paths(self, batch: int, steps: int, seconds: float, generator: torch.Generator) -> Tensor:
        profile, antennas = self._profile, self.receive_antennas
        images = max(1, _SIONNA_CHUNK // (20 * len(profile.delays) * steps * antennas))
        with sionna_draws(generator):
            model = self._generator()
            parts = []
            for i in range(0, batch, images):
                gains = model(min(images, batch - i), steps, 1.0 / seconds)[0]
                parts.append(gains[:, 0, :, 0, 0].transpose(2, 3).contiguous())
        return torch.cat(parts) if parts else torch.zeros(0, antennas, steps, len(profile.delays), dtype=torch.complex64)


@dataclass(eq=False, kw_only=True)
class Tdl(_Sionna):
    """OFDM over a tapped delay line of 3GPP TR 38.901 (sec. 7.7.2) or TS 38.101-4 (annex B.2.1), as Sionna draws it.

    Parameters
    ----------
    model
        `A` to `E` (delays scale with the delay spread), or `A30`, `B100`, `C300`, ... (delays are given).
    delay_spread_ns
        Root mean square; 100 where it is left out. Not with the models of given delays.
    speed_kmh, carrier_ghz
        Speed of the receiver and carrier frequency; 0: still during a transmission.
    fft_size, ..., tx_bits
        As for `OfdmChannel`.
    """

    model: TdlModel = "C"

    def _generator(self) -> Any:
        from sionna.phy.channel.tr38901 import TDL

        return TDL(
            self.model,
            self._spread_s(),
            self.carrier_ghz * 1e9,
            min_speed=self._metres_per_second,
            num_rx_ant=self.receive_antennas,
            device="cpu",
            precision="single",
        )

    def _spread_s(self) -> float | None:
        return None if len(self.model) > 1 else _spread(100.0 if self.delay_spread_ns is None else self.delay_spread_ns)

    def _make_profile(self) -> Profile:
        if len(self.model) > 1 and self.delay_spread_ns is not None:
            raise InputError(f"model {self.model!r} has given delays: leave delay_spread_ns out; got {self.delay_spread_ns}")
        doppler = _doppler(self.speed_kmh, self.carrier_ghz)
        with sionna_draws(torch.Generator()):
            line = self._generator()
        return Profile(_array(line.delays), _array(line.mean_powers), doppler)


@dataclass(eq=False, kw_only=True)
class Cdl(_Sionna):
    """OFDM over a clustered delay line of 3GPP TR 38.901 (sec. 7.7.1), as Sionna draws it.

    One omnidirectional vertical antenna sends (downlink); receive antennas form a horizontal line, half a wavelength apart.

    Parameters
    ----------
    model
        `A` to `E`.
    delay_spread_ns, speed_kmh, carrier_ghz
        As for `Tdl`; the direction of motion is random.
    fft_size, ..., tx_bits
        As for `OfdmChannel`.
    """

    model: CdlModel = "C"

    def _generator(self) -> Any:
        from sionna.phy.channel.tr38901 import CDL, Antenna, PanelArray

        common: dict[str, Any] = {
            "polarization": "single",
            "polarization_type": "V",
            "antenna_pattern": "omni",
            "carrier_frequency": self.carrier_ghz * 1e9,
            "device": "cpu",
            "precision": "single",
        }
        return CDL(
            self.model,
            _spread(100.0 if self.delay_spread_ns is None else self.delay_spread_ns),
            self.carrier_ghz * 1e9,
            ut_array=PanelArray(num_rows_per_panel=1, num_cols_per_panel=self.receive_antennas, **common),
            bs_array=Antenna(**common),
            direction="downlink",
            min_speed=self._metres_per_second,
            max_speed=self._metres_per_second,
            device="cpu",
            precision="single",
        )

    def _make_profile(self) -> Profile:
        doppler = _doppler(self.speed_kmh, self.carrier_ghz)
        with sionna_draws(torch.Generator()):
            gains, delays = self._generator()(1000, 1, 1.0)
        powers = _array(gains.abs().square().mean((0, 2))[0, 0, 0, :, 0])
        return Profile(_array(delays[0, 0, 0]), powers / powers.sum(), doppler)


@dataclass(eq=False, kw_only=True)
class Recorded(OfdmChannel):
    """OFDM over recorded impulse responses; every image meets one of them, drawn at random, for its whole transmission.

    Parameters
    ----------
    file
        .npz or .mat that holds complex impulse responses [records, taps] or [records, antennas, taps] at the sample rate
        fft_size x subcarrier_spacing_khz.
    variable
        Name of the array in the file.
    scale
        `set`: mean power of all records and antennas 1. `each`: every record's own. `none`: as recorded.
    fft_size, ..., tx_bits
        As for `OfdmChannel`.
    """

    file: str
    variable: str = "h"
    scale: Literal["set", "each", "none"] = "set"

    def _make_profile(self) -> Profile:
        self._records = load_impulse_responses(self.file, self.variable, self.scale)
        if self._records.shape[1] != self.receive_antennas:
            raise InputError(
                f"{self.file} holds {self._records.shape[1]} antennas, receive_antennas is {self.receive_antennas}; make them "
                "agree"
            )
        powers = self._records.abs().square().mean((0, 1)).double().numpy()
        return Profile(np.arange(len(powers)) / self._grid.sample_rate, powers / powers.sum(), 0.0)

    def _draw_paths(self, batch: int, steps: int, seconds: float, generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(self._records), (batch,), generator=generator, device=generator.device)
        return self._records[chosen.cpu()][:, :, None]


def _spread(delay_spread_ns: float) -> float:
    if not (math.isfinite(delay_spread_ns) and delay_spread_ns >= 0):
        raise InputError(f"delay_spread_ns must be 0 or more nanoseconds; got {delay_spread_ns}")
    return delay_spread_ns * 1e-9


def _doppler(speed_kmh: float, carrier_ghz: float) -> float:
    if not (math.isfinite(speed_kmh) and speed_kmh >= 0):
        raise InputError(f"speed_kmh must be 0 or more; got {speed_kmh}")
    if not (math.isfinite(carrier_ghz) and carrier_ghz > 0):
        raise InputError(f"carrier_ghz must be positive; got {carrier_ghz}")
    return doppler_hz(speed_kmh, carrier_ghz)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()
