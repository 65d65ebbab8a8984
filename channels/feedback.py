"""The way back from receiver to transmitter of schemes that take turns; the ledger counts its bits, never its time."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from jscclink.errors import InputError


class FeedbackLink(ABC):
    """Carries one message per turn and item.

    Attributes
    ----------
    delay : int
        Turns by which a message comes late; until the first arrives the transmitter gets None.
    """

    delay: int = 0

    @abstractmethod
    def carry(self, message: Tensor, generator: torch.Generator) -> Tensor:
        """Message [batch, ...] as the transmitter gets it, of the same shape and type."""

    @abstractmethod
    def bits(self, message: Tensor) -> Tensor:
        """float64 [batch]: bits of a message [batch, ...] per item."""


class PerfectFeedback(FeedbackLink):
    """Messages arrive as they are; a value costs the bits of its type (a bool one bit).

    Parameters
    ----------
    delay
        Turns by which they come late.
    """

    def __init__(self, *, delay: int = 0) -> None:
        self.delay = _checked_delay(delay)

    def carry(self, message: Tensor, generator: torch.Generator) -> Tensor:
        return message

    def bits(self, message: Tensor) -> Tensor:
        return _bits(message, _width(message))


class NoisyFeedback(FeedbackLink):
    """Messages are disturbed: real and complex numbers by white Gaussian noise, bits and integers by flipped bits.

    Parameters
    ----------
    snr_db
        Mean power of an item's message over the noise variance; for messages of real or complex numbers.
    bit_error_rate
        Of every bit of a bool or uint8 message, independently, 0 to 0.5.
    delay
        Turns by which messages come late.
    """

    def __init__(self, *, snr_db: float | None = None, bit_error_rate: float | None = None, delay: int = 0) -> None:
        if snr_db is None and bit_error_rate is None:
            raise InputError("noisy feedback needs snr_db (numbers) or bit_error_rate (bits), or both")
        if snr_db is not None and not math.isfinite(snr_db):
            raise InputError(f"snr_db of the feedback must be a finite number of dB; got {snr_db}")
        self._snr_db, self._error_rate = snr_db, _checked_rate(bit_error_rate or 0.0)
        self._flips = bit_error_rate is not None
        self.delay = _checked_delay(delay)

    def carry(self, message: Tensor, generator: torch.Generator) -> Tensor:
        if message.dtype in (torch.bool, torch.uint8):
            if not self._flips:
                raise InputError(f"a {message.dtype} message needs the feedback's bit_error_rate, which was not given")
            return _flip(message, _width(message), self._error_rate, generator)
        if self._snr_db is None:
            raise InputError(f"a {message.dtype} message needs the feedback's snr_db, which was not given")
        parts = torch.view_as_real(message) if message.is_complex() else message
        power = parts.square().flatten(1).mean(1) * 10.0 ** (-self._snr_db / 10.0)
        noise = torch.randn(parts.shape, generator=generator, device=generator.device, dtype=parts.dtype).to(parts.device)
        heard = parts + noise * power.sqrt().view(-1, *[1] * (parts.ndim - 1))
        return torch.view_as_complex(heard) if message.is_complex() else heard

    def bits(self, message: Tensor) -> Tensor:
        return _bits(message, _width(message))


class QuantisedFeedback(FeedbackLink):
    """Real (or complex) numbers as n bits per real dimension over a known range, which may be flipped on the way.

    Parameters
    ----------
    bits
        Per real number, 1 to 16.
    low, high
        Range of the uniform quantiser; what lies outside is clipped.
    bit_error_rate
        Of every bit, independently, 0 to 0.5.
    delay
        Turns by which messages come late.
    """

    def __init__(self, *, bits: int, low: float = -1.0, high: float = 1.0, bit_error_rate: float = 0.0, delay: int = 0) -> None:
        if not 1 <= bits <= 16:
            raise InputError(f"bits of the feedback must lie in 1..16 per real number; got {bits}")
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise InputError(f"low and high of the feedback must be finite with low < high; got {low} and {high}")
        self._bits, self._low, self._high = bits, low, high
        self._error_rate = _checked_rate(bit_error_rate)
        self.delay = _checked_delay(delay)

    def carry(self, message: Tensor, generator: torch.Generator) -> Tensor:
        if not (message.is_floating_point() or message.is_complex()):
            raise InputError(f"quantised feedback carries real or complex numbers; got {message.dtype}")
        parts = torch.view_as_real(message) if message.is_complex() else message
        levels = 2**self._bits
        step = (self._high - self._low) / levels
        cell = ((parts - self._low) / step).floor().clamp(0, levels - 1).long()
        cell = _flip(cell, self._bits, self._error_rate, generator)
        heard = self._low + (cell.to(parts.dtype) + 0.5) * step
        return torch.view_as_complex(heard) if message.is_complex() else heard

    def bits(self, message: Tensor) -> Tensor:
        return _bits(message, self._bits * (2 if message.is_complex() else 1))


def _width(message: Tensor) -> int:
    return 1 if message.dtype == torch.bool else 8 * message.element_size()


def _bits(message: Tensor, width: int) -> Tensor:
    values = message.numel() // max(message.shape[0], 1)
    return torch.full((message.shape[0],), float(values * width), dtype=torch.float64)


def _flip(value: Tensor, width: int, rate: float, generator: torch.Generator) -> Tensor:
    """Flip each of the `width` bits of every value with a probability."""
    wrong = torch.rand(*value.shape, width, generator=generator, device=generator.device) < rate
    weight = 2 ** torch.arange(width, device=generator.device)
    mask = (wrong * weight).sum(-1).to(value.device)
    return value ^ mask.to(value.dtype)


def _checked_delay(delay: int) -> int:
    if delay < 0:
        raise InputError(f"delay of the feedback is a number of turns, 0 or more; got {delay}")
    return delay


def _checked_rate(rate: float) -> float:
    if not 0 <= rate <= 0.5:
        raise InputError(f"bit_error_rate of the feedback must lie in 0..0.5; got {rate}")
    return rate
