"""OFDM over a multipath channel: slots, pilots, estimation, equalisation; simulated per carrier or sample by sample."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from jscclink.errors import InputError

from .channel import Csi, Observation, Overhead, Realisation, check_apply, complex_normal
from .equaliser import Equaliser, combine, equalise
from .estimation import Estimator, Interpolation
from .multipath import Profile, TapMap, through_taps
from .ofdm import Grid
from .receiver import Belief, TransmitterView
from .stages import StagedChannel

# Resource elements that are worked on at a time: more would only leave the cache and fill the memory.
_CHUNK = 1 << 19


@dataclass(eq=False, kw_only=True)
class OfdmChannel(StagedChannel):
    """What all OFDM channels share; the finals say how the paths are drawn (jscclink.channels.tapped_delay).

        symbols -> slots -> [IFFT, prefix] -> multipath -> (+ noise) -> [FFT] -> estimate -> combine, equalise
                     ^ pilots

    A data symbol of a slot is a use; E|h|^2 = 1 and N0 is the noise variance per resource element, data and pilots of unit
    energy: a flat channel is exactly AWGN. A last slot is filled with zeros. Pilots, filler, guards and prefix go into
    `overhead`, in complex samples.

    Parameters
    ----------
    fft_size, cyclic_prefix, subcarrier_spacing_khz, guard_left, guard_right, dc_null, symbols_per_slot
        See `Grid`.
    pilot_symbols
        OFDM symbols of a slot that carry pilots. None: the third, and from 12 symbols on the twelfth too.
    pilot_spacing
        Every so many carriers of them is a pilot, the others carry data.
    estimation
        `perfect`: the receiver knows the gains. `ls`: from the pilots by least squares, interpolated. `lmmse`: by linear MMSE
        from the channel's power delay profile and Doppler spectrum. Their error variance adds to the reported noise.
    interpolation
        `linear` or `nearest`, for `ls`.
    equaliser
        `zf`, `mmse` or `none` (jscclink.channels.equaliser), per resource element, after maximum ratio combining.
    receive_antennas
        With independent fading.
    domain
        `frequency`: one gain per resource element, as if the prefix sufficed and nothing moved during a symbol. `time`: the
        waveform's samples, with the interference that comes of a short prefix and of motion. In a list of stages: time.
    csi, csi_error, noise_offset_db, tx_delay, tx_bits
        As for `Rayleigh`. CSI `none`: no equalisation.
    """

    fft_size: int = 256
    cyclic_prefix: int = 20
    subcarrier_spacing_khz: float = 30.0
    guard_left: int = 0
    guard_right: int = 0
    dc_null: bool = False
    symbols_per_slot: int = 14
    pilot_symbols: list[int] | None = None
    pilot_spacing: int = 1
    estimation: Literal["perfect", "ls", "lmmse"] = "perfect"
    interpolation: Interpolation = "linear"
    equaliser: Equaliser = "mmse"
    receive_antennas: int = 1
    domain: Literal["frequency", "time"] = "frequency"
    csi: Csi = "rx"
    csi_error: float = 0.0
    noise_offset_db: float = 0.0
    tx_delay: int = 0
    tx_bits: int | None = None

    one_sample_per_use = False

    def __post_init__(self) -> None:
        if self.pilot_symbols is None:
            self.pilot_symbols = [s for s in (2, 11) if s < self.symbols_per_slot] or [0]
        spacing = self.subcarrier_spacing_khz * 1e3
        self._grid = grid = Grid(
            self.fft_size, self.cyclic_prefix, spacing, self.guard_left, self.guard_right, self.dc_null,
            self.symbols_per_slot, tuple(self.pilot_symbols), self.pilot_spacing,
        )  # fmt: skip
        if self.receive_antennas < 1:
            raise InputError(f"receive_antennas must be at least 1; got {self.receive_antennas}")
        if self.estimation != "perfect" and not grid.pilots:
            raise InputError(f"estimation {self.estimation!r} needs pilots; give pilot_symbols")
        self._belief = Belief(self.csi_error, self.noise_offset_db)
        self._view = TransmitterView(self.csi, self.tx_delay, self.tx_bits)
        self._profile = profile = self._make_profile()
        longest = float(profile.delays.max()) * grid.sample_rate
        if self.domain == "frequency" and longest > self.cyclic_prefix + 1e-6:
            raise InputError(
                f"the cyclic_prefix of {self.cyclic_prefix} samples is shorter than the channel, {longest:.1f} samples; make "
                "it longer, or simulate the interference with domain: time"
            )
        carriers = grid.carriers_from_centre
        self._taps = TapMap.of(profile, grid.sample_rate, carriers, grid.fft_size, self.cyclic_prefix)
        self.sample_noise = self.fft_size / len(grid.carriers)
        self._per_carrier = torch.from_numpy(profile.response(grid.frequencies))
        self._per_carrier_of_taps = torch.from_numpy(self._taps.response(carriers, grid.fft_size))
        self._data = torch.from_numpy(grid.data_index)

    @abstractmethod
    def _make_profile(self) -> Profile:
        """Delays and powers, checked."""

    @abstractmethod
    def _draw_paths(self, batch: int, steps: int, seconds: float, generator: torch.Generator) -> Tensor:
        """complex64 [batch, antennas, steps, paths] at `steps` times that lie `seconds` apart; one step if none moves."""

    @cached_property
    def _estimator_per_carrier(self) -> Estimator:
        return self._make_estimator(self._per_carrier)

    @cached_property
    def _estimator_of_taps(self) -> Estimator:
        return self._make_estimator(self._per_carrier_of_taps)

    def _make_estimator(self, response: Tensor) -> Estimator:
        grid, symbols = self._grid, np.array(self._grid.pilot_symbols)
        if self.estimation == "ls":
            carriers = len(grid.carriers)
            return Estimator.least_squares(grid.symbols, symbols, carriers, grid.pilot_carriers, self.interpolation)
        times = np.arange(grid.symbols) * grid.symbol_samples / grid.sample_rate
        return Estimator.linear_mmse(
            self._profile.time_covariance(times),
            symbols,
            self._profile.frequency_covariance(response.numpy()),
            grid.pilot_carriers,
        )

    def draw(
        self, batch: int, uses: int, *, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> dict[str, Tensor]:
        grid = self._grid
        slots = grid.slots(0, uses)[1]
        steps = slots * grid.symbols if self._profile.doppler_hz else 1
        paths = self._draw_paths(batch, steps, grid.symbol_samples / grid.sample_rate, generator).to(device)
        shape = (batch, self.receive_antennas, uses)
        return {"paths": paths, **self._belief.draw(*shape, generator=generator, device=device)}

    def generate(self, batch: int, uses: int, *, generator: torch.Generator, device: torch.device | str = "cpu") -> Realisation:
        if self.domain == "time":
            return super().generate(batch, uses, generator=generator, device=device)
        tensors = self.draw(batch, uses, generator=generator, device=device)
        antennas, slots = self.receive_antennas, self._grid.slots(0, uses)[1]
        tensors["noise"] = complex_normal(batch, antennas, uses, generator=generator, device=device)
        if self.estimation != "perfect":
            pilots = (batch, antennas, slots, self._grid.pilots)
            tensors["pilot_noise"] = complex_normal(*pilots, generator=generator, device=device)
        return Realisation(tensors, batch, uses)

    def apply(self, symbols: Tensor, realisation: Realisation, noise_var: Tensor, *, start: int = 0) -> Observation:
        if self.domain == "time":
            return super().apply(symbols, realisation, noise_var, start=start)
        check_apply(symbols, realisation, noise_var, start)
        images = max(1, _CHUNK // max(1, symbols.shape[1] * self.receive_antennas))
        parts = []
        for i in range(0, max(1, len(symbols)), images):
            tensors = {name: tensor[i : i + images] for name, tensor in realisation.tensors.items()}
            part = Realisation(tensors, len(symbols[i : i + images]), realisation.uses)
            parts.append(self._per_element(symbols[i : i + images], part, noise_var[i : i + images], start))
        if len(parts) == 1:
            return parts[0]
        return Observation(
            torch.cat([p.symbols for p in parts]), torch.cat([p.gain for p in parts]), torch.cat([p.noise_var for p in parts])
        )

    def _per_element(self, symbols: Tensor, realisation: Realisation, noise_var: Tensor, start: int) -> Observation:
        uses = symbols.shape[1]
        deviation = noise_var.sqrt()[:, None, None]
        gain = self._data_gains(realisation, start, uses, self._per_carrier).to(symbols.dtype)
        noise = realisation.tensors["noise"][..., start : start + uses]
        received = torch.addcmul(noise * deviation, gain, symbols[:, None])
        estimate = None
        if self.estimation != "perfect":
            first, slots = self._grid.slots(start, uses)
            all_gains = self._element_gains(realisation, first, slots, self._per_carrier)
            noise = realisation.tensors["pilot_noise"][:, :, first : first + slots]
            measured = all_gains[..., torch.from_numpy(self._grid.pilot_index)] + noise * deviation[..., None]
            estimate = self._estimate(self._estimator_per_carrier, measured, noise_var, start, uses)
        return self._observe(received, gain, estimate, realisation, noise_var, start)

    def _estimate(
        self, estimator: Estimator, measured: Tensor, noise_var: Tensor, start: int, uses: int
    ) -> tuple[Tensor, Tensor]:
        """Gains at the pilots, [batch, antennas, slots, pilots] -> estimates [batch, antennas, uses], errors [batch, uses]."""
        grid = self._grid
        raster = measured.unflatten(-1, (len(grid.pilot_symbols), -1))
        estimate, error = estimator.estimate(raster, self._belief.noise_var(noise_var))
        lead = start % grid.data
        gain = self._pick_data(estimate.flatten(-2))[..., lead : lead + uses]
        error = self._pick_data(error.flatten(-2)[:, None].expand(-1, measured.shape[2], -1))
        return gain, error[..., lead : lead + uses]

    def _observe(
        self,
        received: Tensor,
        gain: Tensor,
        estimate: tuple[Tensor, Tensor] | None,
        realisation: Realisation,
        noise_var: Tensor,
        start: int,
    ) -> Observation:
        """complex [batch, antennas, uses] received and true gains -> Observation."""
        uses = received.shape[-1]
        variance = self._belief.noise_var(noise_var)[:, None]
        if estimate is not None:
            gain, error = estimate[0].to(received.dtype), estimate[1]
            variance = variance + error
        if "csi_error" in realisation.tensors:
            gain = gain + realisation.tensors["csi_error"][..., start : start + uses]
        if self.csi == "none":
            symbols = received[:, 0]
            return Observation(symbols, symbols.new_ones(()).expand(symbols.shape), variance.expand(symbols.shape))
        received, gain = combine(received, gain)
        return equalise(received, gain, variance, self.equaliser)

    def _pick_data(self, elements: Tensor) -> Tensor:
        """[..., slots, elements] -> [..., slots x data]."""
        return elements.index_select(-1, self._data.to(elements.device)).flatten(-2)

    def _element_gains(self, realisation: Realisation, first: int, slots: int, response: Tensor) -> Tensor:
        """complex [batch, antennas, slots, elements]: the gain of every resource element."""
        grid, paths = self._grid, realisation.tensors["paths"]
        response = response.to(paths.device, paths.dtype)
        if paths.shape[2] == 1:
            gain = (paths @ response)[:, :, :, None].expand(-1, -1, slots, grid.symbols, -1)
        else:
            steps = paths[:, :, first * grid.symbols : (first + slots) * grid.symbols]
            gain = (steps @ response).unflatten(2, (slots, grid.symbols))
        return gain.flatten(-2)

    def _data_gains(self, realisation: Realisation, start: int, uses: int, response: Tensor) -> Tensor:
        """complex [batch, antennas, uses]: the gain of every use."""
        first, slots = self._grid.slots(start, uses)
        lead = start - first * self._grid.data
        gain = self._element_gains(realisation, first, slots, response)
        return self._pick_data(gain)[..., lead : lead + uses]

    def span(self, start: int, uses: int) -> tuple[int, int]:
        per_slot = self._grid.symbols * self._grid.symbol_samples
        first, slots = self._grid.slots(start, uses)
        return first * per_slot, slots * per_slot

    def modulate(self, symbols: Tensor, realisation: Realisation, start: int) -> Tensor:
        grid, (batch, uses) = self._grid, symbols.shape
        first, slots = grid.slots(start, uses)
        lead = start - first * grid.data
        filled = torch.nn.functional.pad(symbols, (lead, slots * grid.data - lead - uses)).unflatten(1, (slots, grid.data))
        elements = symbols.new_zeros(batch, slots, grid.elements)
        elements = elements.index_copy(2, self._data.to(symbols.device), filled)
        pilots = grid.pilot_values.to(symbols.device, symbols.dtype).expand(batch, slots, -1)
        elements = elements.index_copy(2, torch.from_numpy(grid.pilot_index).to(symbols.device), pilots)
        return grid.modulate(elements)[:, None]

    def propagate(self, waveform: Tensor, realisation: Realisation, start: int) -> Tensor:
        grid, paths = self._grid, realisation.tensors["paths"]
        weights = torch.from_numpy(self._taps.weights).to(paths.device, paths.dtype)
        if paths.shape[2] > 1:
            first = start // grid.data * grid.symbols
            paths = paths[:, :, first : first + waveform.shape[-1] // grid.symbol_samples]
        return through_taps(waveform, paths @ weights, self._taps.first_lag, grid.symbol_samples)

    def demodulate(self, received: Tensor, realisation: Realisation, noise_var: Tensor, start: int, uses: int) -> Observation:
        elements = self._grid.demodulate(received, early=-self._taps.first_lag)
        lead = start % self._grid.data
        data = self._pick_data(elements)[..., lead : lead + uses]
        gain = self._data_gains(realisation, start, uses, self._per_carrier_of_taps)
        estimate = None
        if self.estimation != "perfect":
            pilots = self._grid.pilot_values.to(elements.device, elements.dtype).conj()
            measured = elements[..., torch.from_numpy(self._grid.pilot_index)] * pilots
            estimate = self._estimate(self._estimator_of_taps, measured, noise_var, start, uses)
        return self._observe(data, gain, estimate, realisation, noise_var, start)

    @property
    def delays(self) -> np.ndarray:
        """float64 [paths], seconds."""
        return self._profile.delays

    @property
    def symbol_rate(self) -> float:
        """OFDM symbols per second, prefix included."""
        return self._grid.sample_rate / self._grid.symbol_samples

    def overhead(self, valid: Tensor) -> Overhead:
        return Overhead(self._grid.overhead(valid))

    def gains(self, realisation: Realisation, start: int, uses: int) -> Tensor:
        """complex64 [batch, uses]: h, or the root of its power over all antennas."""
        gain = self._data_gains(realisation, start, uses, self._per_carrier)
        if self.receive_antennas == 1:
            return gain[:, 0]
        return gain.abs().square().sum(1).sqrt().to(gain.dtype)

    def transmitter_gain(self, realisation: Realisation, start: int, uses: int) -> Tensor | None:
        return self._view.see(self.gains(realisation, 0, start + uses), start)

    def transmitter_csi_bits(self, realisation: Realisation) -> int:
        return (self.tx_bits or 0) * realisation.uses

    def power_gains(self, realisation: Realisation) -> Tensor:
        return self.gains(realisation, 0, realisation.uses).abs().square()
