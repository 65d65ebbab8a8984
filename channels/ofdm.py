"""The OFDM resource grid: carriers, pilots, prefix; symbols to slots and slots to waveform."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from jscclink.errors import InputError


@dataclass(frozen=True)
class Grid:
    """Slots of OFDM symbols of `fft_size` carriers.

    Resource elements are counted symbol by symbol, carrier by carrier in rising frequency; only used carriers count. A
    pilot symbol carries pilots on every `pilot_spacing`-th used carrier and data on the others.

    Parameters
    ----------
    fft_size, cyclic_prefix
        Samples.
    spacing_hz
        Between carriers; the sample rate is fft_size x spacing.
    guard_left, guard_right
        Unused carriers at the lower and the upper end.
    dc_null
        Leave the centre carrier (number fft_size // 2) empty.
    symbols
        OFDM symbols per slot.
    pilot_symbols
        Which of them carry pilots.
    pilot_spacing
        In carriers.
    """

    fft_size: int
    cyclic_prefix: int
    spacing_hz: float
    guard_left: int
    guard_right: int
    dc_null: bool
    symbols: int
    pilot_symbols: tuple[int, ...]
    pilot_spacing: int
    carriers: np.ndarray = field(init=False)
    data_index: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self._check()
        carriers = np.arange(self.guard_left, self.fft_size - self.guard_right)
        if self.dc_null:
            carriers = carriers[carriers != self.fft_size // 2]
        if len(carriers) == 0:
            raise InputError(
                f"guard_left {self.guard_left}, guard_right {self.guard_right} and dc_null {self.dc_null} leave none of the "
                f"{self.fft_size} carriers"
            )
        if self.pilot_symbols and self.pilot_spacing > len(carriers):
            raise InputError(f"pilot_spacing {self.pilot_spacing} exceeds the {len(carriers)} used carriers; make it smaller")
        object.__setattr__(self, "carriers", carriers)
        pilots = np.zeros((self.symbols, len(carriers)), bool)
        pilots[np.ix_(np.array(self.pilot_symbols, int), self.pilot_carriers)] = True
        object.__setattr__(self, "data_index", np.flatnonzero(~pilots))
        if len(self.data_index) == 0:
            raise InputError(
                f"pilots fill all {pilots.size} resource elements of a slot (pilot_symbols {list(self.pilot_symbols)}, "
                f"pilot_spacing {self.pilot_spacing}); leave some for data"
            )

    def _check(self) -> None:
        for name, least in (("fft_size", 1), ("cyclic_prefix", 0), ("guard_left", 0), ("guard_right", 0), ("symbols", 1)):
            if getattr(self, name) < least:
                option = "symbols_per_slot" if name == "symbols" else name
                raise InputError(f"{option} must be at least {least}; got {getattr(self, name)}")
        if self.cyclic_prefix > self.fft_size:
            raise InputError(f"cyclic_prefix must not exceed fft_size {self.fft_size}; got {self.cyclic_prefix}")
        if not (math.isfinite(self.spacing_hz) and self.spacing_hz > 0):
            raise InputError(f"subcarrier_spacing_khz must be positive; got {self.spacing_hz / 1e3}")
        if self.pilot_spacing < 1:
            raise InputError(f"pilot_spacing must be at least 1 carrier; got {self.pilot_spacing}")
        ordered = tuple(sorted(set(self.pilot_symbols)))
        if ordered != self.pilot_symbols or any(not 0 <= s < self.symbols for s in ordered):
            raise InputError(
                f"pilot_symbols must be rising numbers of OFDM symbols in 0..{self.symbols - 1}; got {list(self.pilot_symbols)}"
            )

    @property
    def pilot_carriers(self) -> np.ndarray:
        """Positions of the pilots among the used carriers."""
        return np.arange(0, len(self.carriers), self.pilot_spacing)

    @property
    def carriers_from_centre(self) -> np.ndarray:
        """Numbers of the used carriers, 0 at the centre."""
        return self.carriers - self.fft_size // 2

    @property
    def frequencies(self) -> np.ndarray:
        """Hz of every used carrier, relative to the centre carrier."""
        return self.carriers_from_centre * self.spacing_hz

    @property
    def sample_rate(self) -> float:
        """Hz."""
        return self.fft_size * self.spacing_hz

    @property
    def symbol_samples(self) -> int:
        """Samples of an OFDM symbol with its prefix."""
        return self.fft_size + self.cyclic_prefix

    @property
    def elements(self) -> int:
        """Used resource elements per slot."""
        return self.symbols * len(self.carriers)

    @property
    def data(self) -> int:
        """Data symbols per slot."""
        return len(self.data_index)

    @property
    def pilots(self) -> int:
        """Pilots per slot."""
        return self.elements - self.data

    @property
    def pilot_index(self) -> np.ndarray:
        """Resource elements of the pilots, symbol by symbol."""
        return (np.array(self.pilot_symbols, int)[:, None] * len(self.carriers) + self.pilot_carriers).ravel()

    @property
    def pilot_values(self) -> Tensor:
        """complex64 [pilots]: QPSK of unit energy from a fixed pseudo-random sequence that both ends know."""
        quarter = np.random.Generator(np.random.PCG64(38211)).integers(0, 4, self.pilots)
        return torch.from_numpy(np.exp(1j * np.pi * (0.25 + 0.5 * quarter)).astype(np.complex64))

    def slots(self, start: int, uses: int) -> tuple[int, int]:
        """First slot, and slots, that hold `uses` data symbols from data symbol `start` of the transmission on."""
        first = start // self.data
        return first, max(-(-(start + uses) // self.data) - first, 0)

    def overhead(self, valid: Tensor) -> dict[str, Tensor]:
        """int64 [batch] payload uses -> what else is on the air, in complex samples.

        `pilots`, `filler` (empty data elements of the last slot), `guards` (unused carriers) and `prefix`: with the
        payload they add up to the samples of the waveform.
        """
        slots = -(-valid // self.data)
        return {
            "pilots": slots * self.pilots,
            "filler": slots * self.data - valid,
            "guards": slots * self.symbols * (self.fft_size - len(self.carriers)),
            "prefix": slots * self.symbols * self.cyclic_prefix,
        }

    def modulate(self, elements: Tensor) -> Tensor:
        """complex [batch, slots, elements] -> waveform [batch, samples] of mean power 1 (unitary IFFT, then scaled)."""
        batch = elements.shape[0]
        spectrum = elements.new_zeros(batch, elements.shape[1] * self.symbols, self.fft_size)
        spectrum[..., self._bins(elements.device)] = elements.reshape(batch, -1, len(self.carriers))
        time = torch.fft.ifft(spectrum, norm="ortho") * math.sqrt(self.fft_size / len(self.carriers))
        return torch.cat([time[..., self.fft_size - self.cyclic_prefix :], time], -1).flatten(1)

    def demodulate(self, waveform: Tensor, early: int = 0) -> Tensor:
        """Waveform [..., samples] -> complex [..., slots, elements].

        The window opens `early` samples ahead of the prefix's end; the phases that come with that are taken out.
        """
        symbols = waveform.unflatten(-1, (-1, self.symbol_samples))
        opening = self.cyclic_prefix - early
        spectrum = torch.fft.fft(symbols[..., opening : opening + self.fft_size], norm="ortho")
        bins = self._bins(waveform.device)
        phases = np.exp(2j * np.pi * early / self.fft_size * self.carriers_from_centre)
        turn = torch.from_numpy(phases * math.sqrt(len(self.carriers) / self.fft_size)).to(waveform.device, waveform.dtype)
        spectrum = spectrum[..., bins] * turn
        return spectrum.flatten(-2).unflatten(-1, (-1, self.elements))

    def _bins(self, device: torch.device) -> Tensor:
        return torch.from_numpy(self.carriers_from_centre % self.fft_size).to(device)
