"""QAM with the Gray labels of TS 38.211, 5.1: bits to symbols, symbols to log-likelihood ratios."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from jscclink.errors import InputError

Method = Literal["maxlog", "exact"]

ORDERS = (1, 2, 4, 6, 8, 10)


class Modulation:
    """Square QAM of 1 (BPSK, on the real axis), 2, 4, 6, 8 or 10 bits per symbol, unit mean energy.

        bits b0 b1 b2 b3 ... -> I from b0 b2 ..., Q from b1 b3 ... -> symbol

    Both dimensions are Gray-labelled amplitudes, e.g. for 16-QAM I = (1-2 b0) (2 - (1-2 b2)) / sqrt(10), so everything is done
    per real dimension: 2 sqrt(M) distances per symbol instead of M.
    """

    def __init__(self, bits_per_symbol: int) -> None:
        if bits_per_symbol not in ORDERS:
            raise InputError(f"bits_per_symbol is {bits_per_symbol}; allowed: {', '.join(map(str, ORDERS))}")
        self.bits_per_symbol = bits_per_symbol
        self.bits_per_dimension = max(bits_per_symbol // 2, 1)
        self.dimensions = min(bits_per_symbol, 2)
        self.amplitudes = _amplitudes(self.bits_per_dimension, self.dimensions)

    def map(self, bits: Tensor) -> Tensor:
        """uint8 [..., n] of 0/1 -> complex64 [..., n / bits_per_symbol], the first bit of a symbol first."""
        if bits.dtype != torch.uint8 or (bits.numel() and int(bits.max()) > 1):
            raise InputError(f"Modulation.map takes bits as uint8 of 0 and 1, not {bits.dtype} up to {bits.max().item()}")
        n = bits.shape[-1]
        if n % self.bits_per_symbol:
            raise InputError(f"{n} bits are not whole symbols of {self.bits_per_symbol} bits")
        if bits.device.type == "cpu":
            from .qam_kernels import map_bits  # compiled: numba takes a second to import

            symbols = map_bits(bits.contiguous().reshape(-1).numpy(), self.amplitudes, self.dimensions)
            return torch.from_numpy(symbols).reshape(*bits.shape[:-1], -1)
        # [..., symbols, position in the dimension's label, dimension]
        labels = bits.reshape(*bits.shape[:-1], -1, self.bits_per_dimension, self.dimensions)
        index = torch.zeros_like(labels[..., 0, :], dtype=torch.int64)
        for position in range(self.bits_per_dimension):
            index = 2 * index + labels[..., position, :]
        values = torch.from_numpy(self.amplitudes).to(bits.device)[index]
        imaginary = values[..., 1] if self.dimensions == 2 else torch.zeros_like(values[..., 0])
        return torch.complex(values[..., 0], imaginary)

    def demap(self, symbols: Tensor, noise_var: Tensor, *, method: Method = "maxlog") -> Tensor:
        """Log-likelihood ratios of all bits, log P(b=1)/P(b=0).

        Parameters
        ----------
        symbols : complex64 [..., s]
            Unbiased: sent symbol plus noise. A NaN gives NaN LLRs, which decoders refuse.
        noise_var : float32, broadcastable to [..., s]
            Complex noise variance of each symbol (after equalisation), not negative; 0 counts as 1e-12,
            infinity gives LLRs of 0.
        method
            `maxlog`: difference of the least squared distances. `exact`: log of the sums over the constellation.

        Returns
        -------
        float32 [..., s * bits_per_symbol]. No gradient.
        """
        if method not in get_args(Method):
            raise InputError(f"demapping method {method!r} is unknown; allowed: {', '.join(get_args(Method))}")
        if bool((noise_var < 0).any()):
            raise InputError(f"noise_var = {float(noise_var.min())} is negative; it is a variance, E|noise|^2 of the symbol")
        symbols = symbols.detach().to(torch.complex64)
        scale = (1.0 / noise_var.detach().clamp_min(1e-12)).to(torch.float32).expand(symbols.shape)
        if symbols.device.type == "cpu":
            llr = self._demap_cpu(symbols, scale, method)
        else:
            llr = self._demap_torch(symbols, scale, method)
        return llr.reshape(*symbols.shape[:-1], -1)

    def hard(self, symbols: Tensor) -> Tensor:
        """complex64 [..., s] -> uint8 [..., s * bits_per_symbol]: bits of the nearest symbol."""
        return (self.demap(symbols, torch.ones((), device=symbols.device)) > 0).to(torch.uint8)

    def _demap_cpu(self, symbols: Tensor, scale: Tensor, method: Method) -> Tensor:
        from .qam_kernels import demap_reals  # compiled: numba takes a second to import

        reals = torch.view_as_real(symbols.contiguous()).reshape(-1, 2)[:, : self.dimensions].reshape(-1)
        llr = demap_reals(
            reals.numpy(), scale.contiguous().reshape(-1).numpy(), self.amplitudes, self.dimensions, method == "exact"
        )
        return torch.from_numpy(llr)

    def _demap_torch(self, symbols: Tensor, scale: Tensor, method: Method) -> Tensor:
        """The same in tensor operations, for any device."""
        levels = torch.from_numpy(self.amplitudes).to(symbols.device)
        reals = torch.view_as_real(symbols)[..., : self.dimensions]
        metric = -scale[..., None, None] * (reals[..., None] - levels).square()
        bits = (
            torch.arange(len(levels), device=symbols.device)[:, None] >> _shifts(self.bits_per_dimension, symbols.device)
        ) & 1
        llrs = []
        for position in range(self.bits_per_dimension):
            one, zero = metric[..., bits[:, position] == 1], metric[..., bits[:, position] == 0]
            if method == "exact":
                llrs.append(one.logsumexp(-1) - zero.logsumexp(-1))
            else:
                llrs.append(one.amax(-1) - zero.amax(-1))
        return torch.stack(llrs, -2)


@lru_cache
def _amplitudes(bits: int, dimensions: int) -> np.ndarray:
    """float32 [2^bits]: amplitude by label (first bit most significant), so that the symbol's mean energy is 1."""
    amplitudes = np.zeros(1)
    for position in range(bits):
        # from the innermost bit outwards, TS 38.211: a -> (1 - 2 b) (2^position - a)
        sign = np.repeat([1.0, -1.0], len(amplitudes))
        inner = np.tile(amplitudes, 2)
        amplitudes = sign * (2.0**position - inner) if position else sign
    return (amplitudes / np.sqrt(dimensions * np.mean(amplitudes**2))).astype(np.float32)


def _shifts(bits: int, device: torch.device) -> Tensor:
    return torch.arange(bits - 1, -1, -1, device=device)
