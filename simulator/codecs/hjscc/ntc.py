"""The clean path as a source codec of its own: latents quantised and range coded to a file.

    [magic 'NTC1' | height, width (16 bits each)]   only with container
    lambda index (8 bits) | CRC-16 of the quantised latents (16 bits) | range-coded latents, block after block

A latent is coded as q = round(z - prior mean), under the prior's probabilities Phi((q + 1/2)/s) - Phi((q - 1/2)/s), with the
scale s rounded to an eighth of an octave. Encoder and decoder run the same networks on the same numbers, on one thread each,
because sums over several are added in another order, and one scale in half a million then rounds otherwise. Should arithmetic
differ between two machines, the checksum says so instead of a wrong picture.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import jscclink.baselines.source.codec as source_codec
from jscclink.baselines.source.codec import DecodeFailure, SourceCodec

from .air import pad, padded_sides, unpad
from .latent import Prior
from .model import Sent
from .side import LMBDA_CODES, lmbda_from_code, trim, words
from .weights import pretrained

MAGIC = b"NTC1"
LARGEST = 4095
SCALE_STEPS_PER_OCTAVE = 8


@contextmanager
def one_thread() -> Iterator[None]:
    """Arithmetic that does not depend on the number of threads of the process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def coded_scale(scale: Tensor) -> NDArray[np.float64]:
    """The scale the range coder uses: rounded to an eighth of an octave, float64, flat."""
    steps = torch.round(torch.log2(scale.double()) * SCALE_STEPS_PER_OCTAVE)
    return torch.exp2(steps / SCALE_STEPS_PER_OCTAVE).reshape(-1).numpy()


@dataclass(frozen=True, kw_only=True)
class Ntc(SourceCodec):
    """Learned compression with the networks of an HJSCC preset. The quality is the index of lambda.

    Attributes
    ----------
    preset : str
        Whose shipped weights to use.
    container : bool
        False: magic and image size stay at home.
    """

    name: ClassVar[str] = "ntc"
    qualities: ClassVar[range] = range(LMBDA_CODES)
    slack: ClassVar[tuple[int, float]] = (64, 0.1)

    preset: Literal["hjscc-tiny", "hjscc-small", "hjscc-paper"] = "hjscc-tiny"

    @property
    def library(self) -> str:
        files = pretrained(self.preset).card["files"]
        return f"torch {torch.__version__}, weights {' '.join(entry['sha256'][:16] for entry in files)}"

    def _encode(self, image: np.ndarray, quality: int) -> bytes:
        import constriction

        if image.ndim == 2:
            image = np.repeat(image[:, :, None], 3, axis=2)
        picture = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        encoder = constriction.stream.queue.RangeEncoder()
        gaussian = constriction.stream.model.QuantizedGaussian(-LARGEST, LARGEST, 0.0)
        symbols = []
        for latent in quantised_walk(self.preset, picture, quality):
            symbols.append(steps(latent.z, latent.prior).reshape(-1).to(torch.int32).numpy())
            encoder.encode(symbols[-1], gaussian, coded_scale(latent.prior.scale))
        head = b"" if not self.container else MAGIC + b"".join(side.to_bytes(2, "big") for side in image.shape[:2])
        return head + bytes([quality]) + checksum(symbols) + trim(encoder.get_compressed())

    def estimated_bits(self, image: np.ndarray, quality: int) -> float:
        """Entropy of the quantised latents under the unrounded prior, bits: what the range coder should come close to."""
        sent = quantised_walk(self.preset, torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), quality)
        return -sum(float(latent.sampled.double().log2().sum()) for latent in sent)

    @one_thread()
    @torch.inference_mode()
    def _decode(self, data: bytes, shape: tuple[int, int] | None) -> np.ndarray:
        import constriction

        if self.container:
            if data[:4] != MAGIC or len(data) < 8:
                raise DecodeFailure("ntc: the bytes do not begin with 'NTC1' and a picture's size")
            shape = (int.from_bytes(data[4:6], "big"), int.from_bytes(data[6:8], "big"))
            data = data[8:]
        assert shape is not None
        source_codec.check_shape(self.name, shape, None)
        if len(data) < 3 or data[0] >= LMBDA_CODES or min(shape) < 1:
            raise DecodeFailure("ntc: the head is cut or holds an impossible lambda or size")
        model = pretrained(self.preset).model
        decoder = constriction.stream.queue.RangeDecoder(words(data[3:]))
        gaussian = constriction.stream.model.QuantizedGaussian(-LARGEST, LARGEST, 0.0)
        lmbda = torch.tensor([lmbda_from_code(data[0])])
        cond = model.clean_conditioning(lmbda)
        state = model.initial_state(1, *padded_sides((3, *shape), model.preset.multiple))
        symbols = []
        for number, block in enumerate(model.blocks):
            state = model.enter(number, state, cond)
            prior = block.prior(state, lmbda)
            flat = decoder.decode(gaussian, coded_scale(prior.scale))
            symbols.append(flat)
            z = torch.from_numpy(flat.astype(np.float32)).view(prior.mean.shape) + prior.mean
            state = block.merge(state, z, prior, cond)
        if checksum(symbols) != data[1:3]:
            raise DecodeFailure("ntc: damaged, made with other weights, or coded on a machine that computes otherwise")
        return unpad(model.picture(state, cond), (3, *shape)).numpy().transpose(1, 2, 0)


def checksum(symbols: list[NDArray[Any]]) -> bytes:
    """CRC-16 (CCITT) over the quantised latents."""
    crc = 0xFFFF
    for flat in symbols:
        crc = binascii.crc_hqx(flat.astype("<i4").tobytes(), crc)
    return crc.to_bytes(2, "big")


@one_thread()
@torch.inference_mode()
def quantised_walk(preset: str, picture: Tensor, quality: int) -> list[Sent]:
    """The transmitter's walk with latents quantised around their prior means: uint8 [3, H, W] -> latents in order."""
    model = pretrained(preset).model

    def quantise(mean: Tensor, prior: Prior) -> Tensor:
        return steps(mean, prior) + prior.mean

    sent, _ = model.transmit(pad(picture, model.preset.multiple), torch.tensor([lmbda_from_code(quality)]), quantise)
    return sent


def steps(mean: Tensor, prior: Prior) -> Tensor:
    """Quantiser steps from the prior's mean, float32 whole numbers, same shape."""
    return torch.round(mean - prior.mean).clamp(-LARGEST, LARGEST)
