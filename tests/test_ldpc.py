"""5G LDPC: the standard's structure, and encoding and decoding without noise, for every lifting size."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jscclink.baselines.channel_coding.decoders.ldpc_sionna import parity_check_matrix
from jscclink.baselines.channel_coding.ldpc import LDPC5G
from jscclink.baselines.channel_coding.ldpc_encoder import encode_blocks
from jscclink.baselines.channel_coding.nr_ldpc import (
    COLUMNS,
    LIFTING_SIZES,
    SYSTEMATIC,
    CodeBlock,
    base_matrix,
    select_base_graph,
    select_lifting_size,
)
from jscclink.baselines.channel_coding.segmentation import segment, sent_per_block
from jscclink.errors import InputError


def random_bits(batch, k, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 2, (batch, k), dtype=np.uint8))


def certain(coded):
    """LLRs of a channel without noise."""
    return (coded.float() * 2 - 1) * 8


def test_there_are_the_standards_51_lifting_sizes_in_8_sets():
    assert len(LIFTING_SIZES) == 51
    assert min(LIFTING_SIZES) == 2 and max(LIFTING_SIZES) == 384
    assert [LIFTING_SIZES[z] for z in (256, 384, 320, 224, 288, 352, 208, 240)] == list(range(8))


@pytest.mark.parametrize("graph", [1, 2])
@pytest.mark.parametrize("set_index", range(8))
def test_base_matrices_have_the_standards_shape(graph, set_index):
    matrix = base_matrix(graph, set_index)
    assert matrix.shape == {1: (46, 68), 2: (42, 52)}[graph]
    assert (matrix >= 0).sum() == {1: 316, 2: 197}[graph]  # entries in tables 5.3.2-2 and 5.3.2-3
    extension = matrix[4:, SYSTEMATIC[graph] + 4 :]
    np.testing.assert_array_equal(extension, np.where(np.eye(len(extension)), 0, -1))


@pytest.mark.parametrize("graph", [1, 2])
@pytest.mark.parametrize("z", sorted(LIFTING_SIZES))
def test_every_code_word_meets_every_check(graph, z):
    block = CodeBlock(graph, z, SYSTEMATIC[graph] * z - z // 2)
    bits = random_bits(3, block.k, z).numpy()
    word = encode_blocks(bits, block, np.arange(block.length))
    matrix = parity_check_matrix(block, list(range(block.shifts.shape[0]))).astype(np.int64)
    assert not (matrix @ word.T.astype(np.int64) % 2).any()
    np.testing.assert_array_equal(word[:, : block.k], bits)
    assert not word[:, block.k : block.systematic].any()


@pytest.mark.parametrize(
    ("k", "n", "bits_per_symbol"),
    [(12, 40, 1), (100, 300, 2), (500, 1000, 4), (292, 800, 1), (2000, 3000, 6), (3840, 16000, 1), (4096, 8192, 4),
     (8448, 9216, 8), (8448, 25344, 1)],
)  # fmt: skip
def test_encoder_equals_sionnas_in_all_redundancy_versions(k, n, bits_per_symbol):
    from sionna.phy.fec.ldpc import LDPC5GEncoder

    reference = LDPC5GEncoder(k, n, num_bits_per_symbol=bits_per_symbol)
    bits = random_bits(3, k)
    expected = reference(bits.float(), rv=[0, 1, 2, 3]).to(torch.uint8)
    for rv in range(4):
        code = LDPC5G(k, n, bits_per_symbol=bits_per_symbol, crc="none", rv=rv)
        assert torch.equal(code.encode(bits), expected[:, rv])


@given(
    st.sampled_from([1, 2]), st.sampled_from(sorted(LIFTING_SIZES)), st.integers(0, 3), st.sampled_from([1, 2, 4, 6]),
    st.sampled_from(["offset-min-sum", "normalised-min-sum"]), st.integers(0, 1000),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_round_trip_without_noise(graph, z, rv, bits_per_symbol, algorithm, seed):
    # the whole buffer, so that redundancy versions that cannot stand alone can too; a few bits are repeated
    k = max(SYSTEMATIC[graph] * z - seed % (2 * z), 12)
    k = min(k, {1: 8448, 2: 3840}[graph])
    n = (COLUMNS[graph] + 1) * z // bits_per_symbol * bits_per_symbol
    code = LDPC5G(
        k, n, bits_per_symbol=bits_per_symbol, rv=rv, base_graph=graph, crc="none", algorithm=algorithm, iterations=50
    )
    bits = random_bits(3, k, seed)
    decoded = code.decode(certain(code.encode(bits)))
    assert torch.equal(decoded.bits, bits)
    assert decoded.ok.all()


@pytest.mark.parametrize("graph", [1, 2])
@pytest.mark.parametrize("rv", [0, 3])
def test_self_decodable_versions_at_half_rate_for_every_lifting_size(graph, rv):
    for z in sorted(LIFTING_SIZES):
        k = SYSTEMATIC[graph] * z
        if k < 12:
            continue
        rate = 0.5 if rv == 0 else 0.35  # version 3 starts near the buffer's end: less of it carries information bits
        code = LDPC5G(k, int(k / rate), rv=rv, base_graph=graph, crc="none", iterations=50)
        if code.segmentation.block.z != z:
            continue  # short blocks of base graph 2 take a larger lifting size
        bits = random_bits(2, k, z)
        decoded = code.decode(certain(code.encode(bits)))
        assert torch.equal(decoded.bits, bits) and decoded.ok.all(), f"Z = {z}"


@given(st.integers(1, 30000), st.floats(0.1, 0.92), st.sampled_from([1, 2, 4, 6, 8]), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_transport_blocks_of_any_size_come_back(k, rate, bits_per_symbol, seed):
    n = (int(k / rate) + 60) // bits_per_symbol * bits_per_symbol
    code = LDPC5G(k, n, bits_per_symbol=bits_per_symbol)
    bits = random_bits(2, k, seed)
    coded = code.encode(bits)
    assert coded.shape == (2, n) and coded.dtype == torch.uint8
    decoded = code.decode(certain(coded))
    assert torch.equal(decoded.bits, bits)
    assert decoded.ok.all()
    assert decoded.bits.dtype == torch.uint8 and decoded.iterations.dtype == torch.int32


def test_segmentation_follows_the_standard():
    # a transport block of 30000 bits: B = 30024, L = 24, C = ceil(30024 / 8424) = 4 (TS 38.212, 5.2.2)
    plan = segment(30000, 0.5)
    assert (plan.transport_crc, plan.block_crc, plan.count, plan.padding) == ("CRC24A", "CRC24B", 4, 0)
    assert plan.block == CodeBlock(1, 352, 30024 // 4 + 24)
    assert plan.overhead_bits == {"crc": 24 + 4 * 24, "padding": 0}
    assert segment(3824, 0.5).transport_crc == "CRC16" and segment(3825, 0.5).transport_crc == "CRC24A"
    assert segment(8448, 0.9, "none").count == 1 and segment(8449, 0.9, "none").block_crc is None
    assert segment(8424, 0.9).count == 1 and segment(8425, 0.9).count == 2
    assert segment(30001, 0.5).padding == 3
    assert segment(100, 0.5, "CRC11").block.k == 111


@pytest.mark.parametrize(
    ("k", "rate", "graph"),
    [(292, 0.9, 2), (293, 0.68, 1), (293, 0.67, 2), (3824, 0.67, 2), (3825, 0.67, 1), (9000, 0.25, 2), (9000, 0.26, 1)],
)
def test_base_graph_follows_the_standard(k, rate, graph):
    assert select_base_graph(k, rate) == graph


def test_lifting_sizes_at_the_borders_of_base_graph_2():
    assert [select_lifting_size(b, b, 2) for b in (192, 193, 560, 561, 640, 641)] == [32, 26, 72, 64, 72, 72]


def test_bits_per_code_block_follow_the_standard():
    # 10003 symbols over 3 blocks: two of 3334 (the first has 3334 too: 10003 = 3334 + 3334 + 3335)
    assert sent_per_block(40012, 3, 4) == [4 * 3334, 4 * 3334, 4 * 3335]
    assert sent_per_block(30, 4, 2) == [6, 8, 8, 8]


def test_limited_buffer_repeats_early():
    block = CodeBlock(1, 8, 176, n_ref=300)
    positions = block.sent_positions(310, 0)
    np.testing.assert_array_equal(positions[:300], np.arange(16, 316))
    np.testing.assert_array_equal(positions[300:], np.arange(16, 26))
    assert [block.start(rv) for rv in range(4)] == [17 * 0, 300 * 17 // 528 * 8, 300 * 33 // 528 * 8, 300 * 56 // 528 * 8]
    code = LDPC5G(176, 600, crc="none", base_graph=1, n_ref=300)
    bits = random_bits(4, 176)
    assert torch.equal(code.decode(certain(code.encode(bits))).bits, bits)


def test_crc_verdict_refuses_a_wrong_block_that_meets_all_checks():
    code = LDPC5G(100, 300)
    other = LDPC5G(116, 300, crc="none")
    assert other.segmentation.block == code.segmentation.block
    word = other.encode(random_bits(20, 116, 5))  # code words without a proper CRC
    assert other.decode(certain(word)).ok.all()
    assert not code.decode(certain(word)).ok.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0, "n": 10}, "k = 0"),
        ({"k": 100, "n": 100}, "must exceed"),
        ({"k": 100, "n": 116}, "16 bits of CRC"),
        ({"k": 100, "n": 301, "bits_per_symbol": 4}, "n = 300 or 304"),
        ({"k": 100, "n": 300, "algorithm": "min-sum"}, "offset-min-sum"),
        ({"k": 100, "n": 300, "backend": "gpu"}, "cuda"),
        ({"k": 100, "n": 300, "rv": 4}, "rv = 4"),
        ({"k": 100, "n": 300, "crc": "CRC8"}, "CRC8"),
        ({"k": 100, "n": 300, "iterations": 0}, "iterations = 0"),
        ({"k": 100, "n": 300, "base_graph": 3}, "base_graph = 3"),
        ({"k": 100, "n": 300, "schedule": "flooding"}, "layered"),
        ({"k": 100, "n": 300, "n_ref": 10}, "n_ref = 10"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(InputError, match=message):
        LDPC5G(**arguments)


def test_wrong_shapes_and_types_are_refused():
    code = LDPC5G(100, 300)
    with pytest.raises(InputError, match=r"\[batch, 100\]"):
        code.encode(torch.zeros((2, 99), dtype=torch.uint8))
    with pytest.raises(InputError, match="uint8"):
        code.encode(torch.zeros((2, 100)))
    with pytest.raises(InputError, match="value 2"):
        code.encode(torch.full((2, 100), 2, dtype=torch.uint8))
    with pytest.raises(InputError, match=r"\[batch, 300\]"):
        code.decode(torch.zeros((2, 299)))


def test_an_empty_batch_gives_empty_results():
    code = LDPC5G(100, 300)
    assert code.encode(torch.zeros((0, 100), dtype=torch.uint8)).shape == (0, 300)
    decoded = code.decode(torch.zeros((0, 300)))
    assert decoded.bits.shape == (0, 100) and decoded.ok.shape == (0,) and decoded.iterations.shape == (0,)


def test_memory_beyond_input_and_output_does_not_grow_with_the_number_of_blocks(monkeypatch):
    monkeypatch.setattr("jscclink.baselines.channel_coding.ldpc._STEP_VALUES", 1 << 18)
    code = LDPC5G(400, 2400, bits_per_symbol=2)
    extra = []
    for batch in (200, 1600):
        bits = random_bits(batch, 400)
        llr = certain(code.encode(bits))
        tracemalloc.start()
        decoded, coded = code.decode(llr), code.encode(bits)
        kept = sum(t.numel() * t.element_size() for t in (decoded.bits, decoded.ok, decoded.iterations, coded))
        extra.append(tracemalloc.get_traced_memory()[1] - kept)
        tracemalloc.stop()
    assert extra[1] < 1.2 * extra[0] + 50_000
