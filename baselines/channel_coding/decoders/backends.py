"""Which decoder runs where."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jscclink.baselines.channel_coding.decoders.block import BlockDecoder, BlockSettings
from jscclink.baselines.channel_coding.nr_ldpc import CodeBlock
from jscclink.errors import InputError

Backend = Literal["auto", "cpu", "cuda", "sionna"]


def make_decoder(
    backend: Backend, device: str, block: CodeBlock, received: NDArray[np.int64], settings: BlockSettings
) -> BlockDecoder:
    """The decoder of `backend` for LLRs on `device` ("cpu", "cuda", ...); `received` as in `BlockDecoder`.

    "auto" takes the Triton kernel for min-sum on a CUDA device where triton is installed, the CPU's kernels otherwise.
    `InputError` where the backend asked for by name cannot run here.
    """
    if backend == "auto":
        on_gpu = device == "cuda" and find_spec("triton") is not None and settings.algorithm != "sum-product"
        backend = "cuda" if on_gpu else "cpu"
    if backend == "sionna":
        from jscclink.baselines.channel_coding.decoders.ldpc_sionna import SionnaDecoder

        return SionnaDecoder(block, received, settings)
    if backend == "cuda":
        if find_spec("triton") is None:
            raise InputError(
                "LDPC5G: backend = 'cuda' needs the package triton, which is not installed; "
                "install triton, or take backend = 'auto', which falls back to the CPU."
            )
        from jscclink.baselines.channel_coding.decoders.ldpc_cuda import TritonDecoder

        return TritonDecoder(block, received, settings)
    if settings.algorithm == "sum-product":
        from jscclink.baselines.channel_coding.decoders.ldpc_sum_product import SumProductDecoder

        return SumProductDecoder(block, received, settings)
    from jscclink.baselines.channel_coding.decoders.ldpc_cpu import MinSumDecoder

    return MinSumDecoder(block, received, settings)
