"""Sionna's polar decoders behind ours, as the reference."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jscclink.baselines.channel_coding.nr_polar import PolarBlock
from jscclink.errors import InputError


@lru_cache(maxsize=4)
def _decoder(block: PolarBlock, list_size: int) -> Any:
    from sionna.phy.fec.polar import Polar5GDecoder, Polar5GEncoder

    try:
        encoder = Polar5GEncoder(block.k, block.e, channel_type=block.link)
    except ValueError as error:
        raise InputError(
            f"Sionna has no {block.link} polar code ({block.k}, {block.e}): {error}; use backend 'cpu'."
        ) from error
    frozen = np.setdiff1d(np.arange(block.length), block.info_positions)
    if not np.array_equal(encoder.frozen_pos, frozen) or block.e >= 2 * block.length:
        raise InputError(
            f"Sionna's {block.link} polar code ({block.k}, {block.e}) is not that of TS 38.212: it freezes one position fewer "
            "where it punctures, and does not combine bits sent three times; use backend 'cpu'."
        )
    with warnings.catch_warnings():
        # Sionna warns that successive cancellation alone makes no use of the CRC
        warnings.simplefilter("ignore")
        kind = "SC" if list_size == 1 else "SCL"
        return Polar5GDecoder(encoder, dec_type=kind, list_size=list_size, return_crc_status=True)


def decode_with_sionna(
    block: PolarBlock, llr: NDArray[np.float32], list_size: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """float32 [blocks, e], as sent -> information bits uint8 [blocks, k], CRC verdicts bool [blocks]; list size 1 is SC."""
    bits, ok = _decoder(block, list_size)(torch.from_numpy(llr))
    return bits.numpy().astype(np.uint8), ok.numpy().reshape(-1).astype(np.bool_)
