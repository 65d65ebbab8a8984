"""The Triton kernel: the same decisions as the CPU's, in Triton's interpreter; compiled for a GPU where triton allows."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from jscclink.baselines.channel_coding.ldpc import LDPC5G
from jscclink.errors import InputError

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")

# runs by itself: Triton decides between interpreter and compiler when the kernel's module is imported
COMPARISON = """
import torch
from jscclink.baselines.channel_coding.ldpc import LDPC5G

torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"
for k, n, scale, options in CASES:
    settings = {"crc": "none", **options}
    ours, theirs = (LDPC5G(k, n, backend=backend, **settings) for backend in ("cpu", "cuda"))
    bits = torch.randint(0, 2, (2, k), dtype=torch.uint8)
    llr = (ours.encode(bits).float() * 2 - 1) * scale + torch.randn(2, n) * scale**0.5
    expected, result = ours.decode(llr), theirs.decode(llr.to(device))
    for field in ("bits", "ok", "iterations"):
        assert torch.equal(getattr(expected, field), getattr(result, field).cpu()), (k, n, field)
    print(k, n, expected.iterations.tolist(), expected.ok.tolist())
"""
CASES = [
    (60, 84, 8.0, {"iterations": 3}),  # core and extension, filler bits, lanes that are no power of two, early stop
    (60, 76, 1.0, {"iterations": 2, "early_stop": False, "algorithm": "normalised-min-sum"}),  # hopeless noise
]


@needs_triton
@pytest.mark.slow
def test_kernel_decides_as_the_cpu_does_bit_for_bit():
    environment = {**os.environ, "TRITON_INTERPRET": "0" if torch.cuda.is_available() else "1"}
    program = COMPARISON.replace("CASES", repr(CASES))
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(CASES)
    assert "[True, True]" in done.stdout and "[False, False]" in done.stdout


@needs_triton
@pytest.mark.slow
def test_kernel_compiles_for_a_gpu_without_one():
    program = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from jscclink.baselines.channel_coding.decoders.ldpc_cuda import _decode

kinds = {"all_values": "*i8", "all_messages": "*i8", "bits": "*u8", "decided": "*u8", "verdicts": "*u8", "LANES": "constexpr"}
kinds |= dict.fromkeys(("columns", "shifts", "first_edges", "own_places", "used"), "*i32")
signature = {name: kinds.get(name, "i32") for name in _decode.arg_names}
source = ASTSource(fn=_decode, signature=signature, constexprs={"LANES": 256})
binary = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4})
assert len(binary.asm["cubin"]) > 0
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device, so nothing is missing")
def test_backend_cuda_without_a_device_says_so():
    code = LDPC5G(60, 84, backend="cuda")
    with pytest.raises(InputError, match="no CUDA device" if find_spec("triton") else "needs the package triton"):
        code.decode(torch.zeros((1, 84)))


def test_backend_auto_stays_on_the_cpu_for_llrs_on_the_cpu():
    code = LDPC5G(60, 84, backend="auto")
    bits = torch.ones((3, 60), dtype=torch.uint8)
    assert torch.equal(code.decode((code.encode(bits).float() * 2 - 1) * 5).bits, bits)


@needs_triton
def test_sum_product_on_cuda_is_refused_by_name():
    code = LDPC5G(60, 84, backend="cuda", algorithm="sum-product")
    with pytest.raises(InputError, match="has no sum-product"):
        code.decode(torch.zeros((1, 84)))
