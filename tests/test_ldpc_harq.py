"""HARQ: what retransmissions add up to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jscclink.baselines.channel_coding.harq import INCREMENTAL, HarqBuffer
from jscclink.baselines.channel_coding.ldpc import LDPC5G
from jscclink.errors import InputError


def transmission(code, bits, rv, esno_db, rng):
    """LLRs [batch, n] of one transmission by BPSK over AWGN."""
    noise_var = 10 ** (-esno_db / 10) / 2  # per real dimension
    received = code.encode_version(bits, rv).numpy() * 2.0 - 1
    received = received + np.sqrt(noise_var) * rng.standard_normal(received.shape)
    return torch.from_numpy((2 / noise_var * received).astype(np.float32))


def random_bits(batch, k, rng):
    return torch.from_numpy(rng.integers(0, 2, (batch, k), dtype=np.uint8))


def test_chase_combining_is_decoding_the_sum():
    rng = np.random.default_rng(0)
    code = LDPC5G(600, 900, bits_per_symbol=2)
    bits = random_bits(50, 600, rng)
    first, second = (transmission(code, bits, 0, -2.0, rng) for _ in range(2))
    buffer = HarqBuffer(code, 50)
    buffer.add(first, 0)
    assert torch.equal(buffer.decode().bits, code.decode(first).bits)
    buffer.add(second, 0)
    assert torch.equal(buffer.decode().bits, code.decode(first + second).bits)


@pytest.mark.parametrize("k", [600, 20000])
def test_incremental_redundancy_reaches_where_chase_combining_fails(k):
    rng = np.random.default_rng(1)
    n = k * 5 // 4
    code = LDPC5G(k, n)
    bits = random_bits(20, k, rng)
    chase, incremental = HarqBuffer(code, 20), HarqBuffer(code, 20)
    for rv in INCREMENTAL[:2]:
        chase.add(transmission(code, bits, 0, -2.3, rng), 0)
        incremental.add(transmission(code, bits, rv, -2.3, rng), rv)
    # rate 0.4 at -2.3 dB: within capacity (0.57 bit) with redundancy, beyond the rate-0.8 code with repetition alone
    assert not chase.decode().ok.any()
    decoded = incremental.decode()
    assert decoded.ok.all() and torch.equal(decoded.bits, bits)


def test_a_version_that_cannot_stand_alone_is_not_taken_for_the_zero_word():
    # version 1 here holds parity bits only: nothing starts the decoder, all posteriors stay zero, and zeros pass any CRC
    rng = np.random.default_rng(2)
    code = LDPC5G(1000, 2500)
    bits = random_bits(5, 1000, rng)
    buffer = HarqBuffer(code, 5)
    buffer.add(transmission(code, bits, 1, 8.0, rng), 1)
    assert not buffer.decode().ok.any()
    buffer.add(transmission(code, bits, 3, 8.0, rng), 3)
    decoded = buffer.decode()
    assert decoded.ok.all() and torch.equal(decoded.bits, bits)


def test_only_the_failed_blocks_are_sent_again():
    rng = np.random.default_rng(3)
    code = LDPC5G(300, 400)
    bits = random_bits(30, 300, rng)
    buffer = HarqBuffer(code, 30)
    buffer.add(transmission(code, bits, 0, 0.7, rng), 0)
    first = buffer.decode()
    failed = ~first.ok
    assert 0 < failed.sum() < 30
    buffer.add(transmission(code, bits[failed], 2, 0.7, rng), 2, rows=failed)
    second = buffer.decode()
    assert second.ok.all()
    assert torch.equal(second.bits, bits)


def test_wrong_use_is_refused():
    code = LDPC5G(300, 400)
    buffer = HarqBuffer(code, 2)
    with pytest.raises(InputError, match="nothing has been received"):
        buffer.decode()
    with pytest.raises(InputError, match="rv = 5"):
        buffer.add(torch.zeros((2, 400)), 5)
    with pytest.raises(InputError, match=r"\[2, 400\]"):
        buffer.add(torch.zeros((3, 400)), 0)
    with pytest.raises(InputError, match="block 1, bit 0"):
        buffer.add(torch.tensor([[0.0] * 400, [torch.nan] * 400]), 0)
    with pytest.raises(InputError, match="batch = 0"):
        HarqBuffer(code, 0)
