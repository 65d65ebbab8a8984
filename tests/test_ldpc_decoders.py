"""LDPC decoders under noise and under attack: against Sionna on the same noise, against each other, against nonsense."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from jscclink.baselines.channel_coding.decoders.layers import make_layout
from jscclink.baselines.channel_coding.decoders.ldpc_cpu import MinSumDecoder
from jscclink.baselines.channel_coding.decoders.ldpc_sum_product import _combined
from jscclink.baselines.channel_coding.ldpc import LDPC5G
from jscclink.errors import InputError

ALGORITHMS = ["offset-min-sum", "normalised-min-sum", "sum-product"]


def bpsk(code, batch, ebno_db, seed):
    """Random bits [batch, k] and their LLRs [batch, n] after BPSK over AWGN."""
    rng = np.random.default_rng(seed)
    bits = torch.from_numpy(rng.integers(0, 2, (batch, code.k), dtype=np.uint8))
    noise_var = 1 / (2 * code.k / code.n * 10 ** (ebno_db / 10))  # per real dimension
    received = code.encode(bits).numpy() * 2.0 - 1 + np.sqrt(noise_var) * rng.standard_normal((batch, code.n))
    return bits, torch.from_numpy((2 / noise_var * received).astype(np.float32))


def block_errors(decoded, bits):
    return (decoded.bits != bits).any(dim=1).numpy()


@pytest.mark.slow
def test_sum_product_is_sionnas_on_the_same_noise():
    # flooding against flooding: the same algorithm, so that blocks differ only where rounding tips the balance
    from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder

    code = LDPC5G(500, 1000, crc="none", algorithm="sum-product", schedule="flooding")
    bits, llr = bpsk(code, 120, 1.2, seed=3)
    with torch.random.fork_rng():
        reference = LDPC5GDecoder(LDPC5GEncoder(500, 1000), num_iter=20)(llr).to(torch.uint8)
    ours, theirs = block_errors(code.decode(llr), bits), (reference != bits).any(dim=1).numpy()
    assert 10 < theirs.sum() < 90  # the waterfall, or the comparison says nothing
    assert (ours != theirs).sum() <= 3


@pytest.mark.parametrize("algorithm", ["offset-min-sum", "normalised-min-sum"])
def test_min_sum_on_8_bits_beats_flooding_sum_product(algorithm):
    # 20 layered iterations of either min-sum lose fewer blocks than 20 flooding iterations of sum-product, which is what
    # Sionna runs; one-sided sign test on the blocks that only one of them loses, false alarm below 1e-6
    reference = LDPC5G(500, 1000, crc="none", algorithm="sum-product", schedule="flooding")
    code = LDPC5G(500, 1000, crc="none", algorithm=algorithm)
    bits, llr = bpsk(code, 1000, 1.4, seed=4)
    ours, theirs = block_errors(code.decode(llr), bits), block_errors(reference.decode(llr), bits)
    worse, better = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    assert theirs.sum() > 50
    assert binomtest(worse, worse + better, 0.5, alternative="greater").pvalue > 1e-6
    assert better > worse


def test_saturated_posteriors_do_not_diverge():
    # blocks (4096, 8192) of 16-QAM at 6.8 dB on which a decoder ended with over 1000 wrong bits: its posteriors saturated,
    # later iterations subtracted messages that had never been added, and the sums crept over zero
    stored = np.load(Path(__file__).parent / "golden" / "ldpc_saturation.npz")
    bits = torch.from_numpy(np.unpackbits(stored["bits"], axis=1))
    llr = torch.from_numpy(stored["quarter_llrs"].astype(np.float32) / 4)
    decoded = LDPC5G(4096, 8192, crc="none", bits_per_symbol=4).decode(llr)
    assert torch.equal(decoded.bits, bits)


@pytest.mark.parametrize(("k", "n", "ebno_db"), [(20, 100, 6.0), (500, 1000, 3.0), (4096, 8192, 2.0), (8448, 9216, 5.5)])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_decodes_above_the_waterfall(k, n, ebno_db, algorithm):
    code = LDPC5G(k, n, crc="none", algorithm=algorithm)
    bits, llr = bpsk(code, 8, ebno_db, seed=k)
    decoded = code.decode(llr)
    assert torch.equal(decoded.bits, bits)
    assert decoded.ok.all()
    assert decoded.iterations.max() < 20


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_early_stop_changes_the_work_and_not_the_decisions(algorithm):
    stopping = LDPC5G(120, 300, algorithm=algorithm)
    going_on = LDPC5G(120, 300, algorithm=algorithm, early_stop=False)
    bits, llr = bpsk(stopping, 300, 2.0, seed=1)
    early, full = stopping.decode(llr), going_on.decode(llr)
    assert early.iterations.float().mean() < 10 and (full.iterations == 20).all()
    good = early.ok
    assert good.float().mean() > 0.5
    assert torch.equal(early.bits[good], bits[good])
    assert (early.bits == full.bits).all(dim=1).float().mean() > 0.98


@given(st.integers(1, 70), st.sampled_from([(20, 60), (60, 100), (200, 500)]), st.sampled_from(ALGORITHMS))
@settings(max_examples=25, deadline=None)
def test_a_block_decodes_the_same_in_any_company(batch, size, algorithm):
    code = LDPC5G(*size, algorithm=algorithm)
    _, llr = bpsk(code, 70, 1.0, seed=2)
    alone, together = code.decode(llr[:batch]), code.decode(llr)
    assert torch.equal(alone.bits, together.bits[:batch])
    assert torch.equal(alone.ok, together.ok[:batch])
    assert torch.equal(alone.iterations, together.iterations[:batch])


@given(
    st.sampled_from([(16, 40), (100, 220), (300, 1200), (1000, 1100), (9000, 12000)]), st.sampled_from(ALGORITHMS),
    st.sampled_from(["zero", "infinite", "mixed", "huge", "tiny", "random"]), st.integers(0, 3), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_nonsense_is_decoded_to_something(size, algorithm, kind, rv, seed):
    code = LDPC5G(*size, algorithm=algorithm, rv=rv, iterations=5)
    rng = np.random.default_rng(seed)
    shape = (3, code.n)
    llr = {
        "zero": np.zeros(shape),
        "infinite": rng.choice([-np.inf, np.inf], shape),
        "mixed": rng.choice([-np.inf, np.inf, 0.0, 1.0], shape),
        "huge": rng.standard_normal(shape) * 1e37,
        "tiny": rng.standard_normal(shape) * 1e-40,
        "random": rng.standard_normal(shape) * 3,
    }[kind]
    decoded = code.decode(torch.from_numpy(llr.astype(np.float32)))
    assert decoded.bits.shape == (3, code.k) and decoded.bits.max() <= 1
    assert ((decoded.iterations >= 1) & (decoded.iterations <= 5)).all()
    if kind == "zero":
        assert not decoded.ok.any()  # nothing was received: the zero word must not pass for one


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_infinite_llrs_of_a_code_word_are_certain(algorithm):
    code = LDPC5G(100, 700, algorithm=algorithm)  # repeats bits
    bits = torch.from_numpy(np.random.default_rng(0).integers(0, 2, (4, 100), dtype=np.uint8))
    decoded = code.decode((code.encode(bits).float() * 2 - 1) * torch.inf)
    assert torch.equal(decoded.bits, bits) and decoded.ok.all()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nan_is_refused_with_its_place(algorithm):
    code = LDPC5G(100, 300, algorithm=algorithm)
    llr = torch.zeros((5, 300))
    llr[3, 17] = torch.nan
    llr[2, 5], llr[2, 6] = torch.inf, -torch.inf
    with pytest.raises(InputError, match="block 3, bit 17"):
        code.decode(llr)


def test_check_node_rule_is_the_tanh_rule():
    values = np.random.default_rng(0).normal(0, 4, (7, 33)).astype(np.float32)
    halves = np.tanh(values.astype(np.float64) / 2)
    expected = [2 * np.arctanh(np.prod(np.delete(halves, i, axis=0), axis=0)) for i in range(7)]
    scratch = np.empty((3, 8, 33), np.float32)
    _combined(values, 7, scratch[0], scratch[1], scratch[2])
    np.testing.assert_allclose(values, expected, atol=1e-6, rtol=1e-5)


@given(st.sampled_from([(16, 40), (60, 100), (700, 900), (3000, 9000), (5000, 8000)]), st.sampled_from([1, 2, 8, 64]))
@settings(max_examples=20, deadline=None)
def test_the_decoders_program_stays_inside_its_buffers(size, words):
    code = LDPC5G(*size)
    layout = make_layout(code.segmentation.block, code.positions(size[1], 0), min(words, 32))
    vector, room = 64, layout.template.size
    last = -(-layout.lanes // vector) * vector  # a column's lanes with the tail of its last block
    assert layout.source.min() >= 0 and layout.source.max() + vector <= room
    assert layout.check_source.min() >= 0 and layout.check_source.max() + vector <= room
    assert layout.target.min() >= 0 and layout.target.max() + max(last, layout.lanes + vector) <= room
    assert layout.own.max() + last <= room
    for places in (layout.place, layout.output):
        assert places.min() >= 0 and places.max() + layout.words <= room
    assert len(set(layout.place.tolist())) == layout.place.size


def test_unlike_groups_of_code_words_agree_bit_for_bit():
    # small batches are decoded in smaller groups of code words; every grouping must decide alike
    code = LDPC5G(40, 100, crc="none")
    _, llr = bpsk(code, 64, 2.0, seed=9)
    decoder = code._block_decoder(100, code.positions(100, 0), "cpu")
    assert isinstance(decoder, MinSumDecoder)
    expected = decoder.decode(llr)
    for words in (1, 2, 4, 8, 16, 32):
        decoder._layout = lambda _batch, words=words: make_layout(decoder.block, decoder.received, words)
        other = decoder.decode(llr)
        assert torch.equal(other.bits, expected.bits)
        assert torch.equal(other.iterations, expected.iterations)


@pytest.mark.slow
def test_machines_without_wide_vectors_decide_alike():
    # compiled for AVX2 only, in a process of its own: half as many lanes, the same arithmetic
    program = """
import sys
import numpy as np
import torch
from jscclink.baselines.channel_coding.decoders.simd import LANES
from jscclink.baselines.channel_coding.ldpc import LDPC5G

assert LANES == 32
llr = torch.from_numpy(np.random.default_rng(0).normal(-2, 2.2, (70, 100)).astype(np.float32))
decoded = LDPC5G(40, 100, crc="none").decode(llr)
sys.stdout.write(decoded.bits.numpy().tobytes().hex() + decoded.iterations.numpy().tobytes().hex())
"""
    environment = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+avx2,+sse4.2,+ssse3"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    llr = torch.from_numpy(np.random.default_rng(0).normal(-2, 2.2, (70, 100)).astype(np.float32))
    decoded = LDPC5G(40, 100, crc="none").decode(llr)
    assert len(decoded.iterations.unique()) > 3
    assert done.stdout == decoded.bits.numpy().tobytes().hex() + decoded.iterations.numpy().tobytes().hex()


def test_sionna_backend_decodes_and_leaves_the_random_state_alone():
    code = LDPC5G(60, 200, backend="sionna", algorithm="sum-product", iterations=8)
    bits, llr = bpsk(code, 20, 6.0, seed=0)
    before = torch.get_rng_state()
    decoded = code.decode(llr)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(decoded.bits, bits) and decoded.ok.all() and (decoded.iterations == 8).all()
    with pytest.raises(InputError, match="Sionna has no normalised"):
        LDPC5G(60, 200, backend="sionna", algorithm="normalised-min-sum").decode(llr)
