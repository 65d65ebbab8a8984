"""5G polar codes against Sionna, against the standard's rules, and against bad input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jscclink.baselines.channel_coding.crc import crc_length
from jscclink.baselines.channel_coding.nr_polar import (
    PolarBlock,
    input_interleaver,
    reliability_order,
    sub_block_interleaver,
    triangular_interleaver,
)
from jscclink.baselines.channel_coding.polar import Polar5G
from jscclink.errors import InputError


def _bits(batch: int, k: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 2, (batch, k), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def _noisy(coded: torch.Tensor, esno_db: float, seed: int = 1) -> torch.Tensor:
    """LLRs of BPSK on AWGN."""
    noise_var = 10 ** (-esno_db / 10)
    noise = torch.randn(coded.shape, generator=torch.Generator().manual_seed(seed)) * math.sqrt(noise_var / 2)
    return -4 * (1 - 2 * coded.float() + noise) / noise_var


def _sionna_encoder(k: int, n: int, link: str) -> Any:
    from sionna.phy.fec.polar import Polar5GEncoder

    return Polar5GEncoder(k, n, channel_type=link)


SIZES = [
    *[(k, n, "uplink") for k, n in [(20, 31), (20, 1088), (25, 90), (64, 128), (100, 257), (140, 432), (200, 520)]],
    *[(k, n, "uplink") for k, n in [(300, 1000), (340, 1088), (512, 1024), (600, 700), (900, 1000), (1012, 1024)]],
    *[(k, n, "downlink") for k, n in [(1, 25), (12, 108), (32, 432), (40, 100), (64, 216), (140, 432), (140, 570)]],
]


@pytest.mark.parametrize(("k", "n", "link"), SIZES)
def test_encoder_equals_sionna(k: int, n: int, link: Any) -> None:
    bits = _bits(9, k)
    assert torch.equal(Polar5G(k, n, link=link).encode(bits).float(), _sionna_encoder(k, n, link)(bits.float()))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_construction_equals_sionna_but_for_the_last_frozen_position(data: st.DataObject) -> None:
    """Sionna freezes 0 .. limit - 2 where TS 38.212 says 0 .. limit - 1, and sub-blocks of a shorter code when puncturing."""
    k = data.draw(st.integers(20, 359), "k")
    n = data.draw(st.integers(k + 11, 1087), "n")
    block, encoder = PolarBlock(k, n, "uplink", "CRC11"), _sionna_encoder(k, n, "uplink")
    np.testing.assert_array_equal(block.sent_positions, encoder._ind_rate_matching)
    difference = np.setxor1d(block.info_positions, encoder.info_pos)
    assert len(difference) <= 2
    if len(difference):
        forbidden = np.intersect1d(encoder.info_pos, difference)[0]
        assert n < block.length and block.punctured
        limit = 3 * block.length / 4 - n / 2 if n >= 3 * block.length / 4 else 9 * block.length / 16 - n / 4
        assert forbidden < limit or forbidden in sub_block_interleaver(block.length)[: block.length - n]


def test_standard_rules_where_sionna_differs() -> None:
    block = PolarBlock(139, 384, "uplink", "CRC11")
    never_sent = np.setdiff1d(np.arange(512), block.sent_positions)
    assert not np.isin(never_sent, block.info_positions).any()
    assert block.info_positions.min() >= math.ceil(3 * 512 / 4 - 384 / 2)
    assert len(block.info_positions) == 150


def test_interleavers_equal_the_standards_tables() -> None:
    encoder = _sionna_encoder(100, 200, "downlink")
    for length in (25, 40, 100, 164):
        np.testing.assert_array_equal(input_interleaver(length), encoder.input_interleaver(np.arange(length)))
    for length in (18, 21, 22, 100, 431):
        np.testing.assert_array_equal(triangular_interleaver(length), encoder.channel_interleaver(np.arange(length)))
    assert sorted(reliability_order().tolist()) == list(range(1024))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_round_trip_of_any_size(data: st.DataObject) -> None:
    link = data.draw(st.sampled_from(["uplink", "downlink"]))
    k = data.draw(st.integers(20, 1706) if link == "uplink" else st.integers(1, 140), "k")
    crc = 22 if link == "uplink" else 24
    n = data.draw(st.integers(k + crc + 1, min(4 * k + 200, 16384)), "n")
    code = Polar5G(k, n, link=link, list_size=data.draw(st.sampled_from([1, 2, 4, 8, 16, 32])))
    bits = _bits(data.draw(st.integers(1, 9)), k)
    coded = code.encode(bits)
    assert coded.shape == (bits.shape[0], n) and coded.dtype == torch.uint8
    decoded = code.decode(_noisy(coded, 14.0))
    assert torch.equal(decoded.bits, bits) and bool(decoded.ok.all())


@pytest.mark.parametrize(("k", "n"), [(1013, 1200), (1501, 3001), (401, 1089), (1706, 16384)])
def test_segments_are_codes_of_their_own(k: int, n: int) -> None:
    code, bits = Polar5G(k, n), _bits(3, k)
    half, sent = -(-k // 2), n // 2
    padded = torch.nn.functional.pad(bits, (k % 2, 0))
    block = code.block
    assert (block.k, block.e) == (half, sent)
    coded = code.encode(bits)
    parts = [code._encode_blocks(part.numpy()) for part in padded.split(half, dim=1)]
    np.testing.assert_array_equal(coded.numpy()[:, : 2 * sent], np.concatenate(parts, axis=1))
    assert code.overhead_bits["crc"] == 22 and code.overhead_bits.get("filler", 0) == k % 2
    assert bool((coded[:, 2 * sent :] == 0).all())


@pytest.mark.slow
@pytest.mark.parametrize(("k", "n", "link", "esno_db"), [(64, 128, "uplink", -1.3), (140, 300, "downlink", -1.6)])
def test_list_decoder_errs_as_often_as_sionnas(k: int, n: int, link: Any, esno_db: float) -> None:
    """On the same LLRs: blocks that one decoder gets wrong and the other right are as many on both sides (99.9 %)."""
    bits = _bits(500, k)
    code = Polar5G(k, n, link=link)
    llr = _noisy(code.encode(bits), esno_db)
    wrong = (code.decode(llr).bits != bits).any(dim=1)
    reference = (Polar5G(k, n, link=link, backend="sionna").decode(llr).bits != bits).any(dim=1)
    only_ours, only_theirs = int((wrong & ~reference).sum()), int((reference & ~wrong).sum())
    assert 25 < int(reference.sum()) < 250
    assert abs(only_ours - only_theirs) <= 3.3 * math.sqrt(only_ours + only_theirs + 1)


def test_sc_errs_as_often_as_sionnas() -> None:
    bits = _bits(500, 100)
    llr = _noisy(Polar5G(100, 256).encode(bits), -2.5)
    wrong = [
        int((Polar5G(100, 256, decoder="sc", backend=backend).decode(llr).bits != bits).any(dim=1).sum())
        for backend in ("cpu", "sionna")
    ]
    assert wrong[1] > 30 and abs(wrong[0] - wrong[1]) < 4 * math.sqrt(wrong[1])


def test_longer_lists_err_less_and_adaptive_as_little() -> None:
    bits = _bits(2000, 256)
    code = Polar5G(256, 512)
    llr = _noisy(code.encode(bits), -1.2)
    wrong = [
        int((Polar5G(256, 512, list_size=size).decode(llr).bits != bits).any(dim=1).sum()) for size in (1, 2, 4, 8, 16, 32)
    ]
    assert wrong[0] > wrong[1] > wrong[2] > wrong[3] > wrong[5] > 0
    adaptive = Polar5G(256, 512, adaptive=True).decode(llr)
    full = code.decode(llr)
    assert set(adaptive.iterations.tolist()) == {1, 8} and set(full.iterations.tolist()) == {8}
    assert bool((adaptive.ok | ~full.ok).all())
    assert abs(int((adaptive.bits != bits).any(dim=1).sum()) - wrong[3]) <= 5


def test_a_block_does_not_see_its_neighbours() -> None:
    code = Polar5G(128, 300)
    llr = _noisy(code.encode(_bits(21, 128)), 0.0)
    together = code.decode(llr)
    alone = [code.decode(row[None]) for row in llr]
    assert torch.equal(together.bits, torch.cat([d.bits for d in alone]))
    assert torch.equal(together.ok, torch.cat([d.ok for d in alone]))


@pytest.mark.parametrize("list_size", [1, 2, 4, 8, 16, 32])
def test_adversarial_llrs(list_size: int) -> None:
    code = Polar5G(300, 900, list_size=list_size)
    coded = code.encode(_bits(1, 300)).float()[0]
    infinity, generator = math.inf, torch.Generator().manual_seed(5)
    random = torch.randn(900, generator=generator)
    rows = {
        "zero": torch.zeros(900),
        "certain zeros": torch.full((900,), -infinity),
        "certain ones": torch.full((900,), infinity),
        "certain noise": random.sign() * infinity,
        "certain truth": (2 * coded - 1) * infinity,
        "half certain": torch.where(torch.arange(900) % 4 == 0, (2 * coded - 1) * infinity, 8 * coded - 4),
        "largest": random.sign() * 3e38,
        "smallest": random * 1e-42,
        "noise": 1e3 * random,
        "truth": 3e38 * (2 * coded - 1),
    }
    decoded = code.decode(torch.stack(list(rows.values())))
    assert int(decoded.bits.max()) <= 1
    truth = code.decode((8 * coded - 4)[None]).bits[0]
    for name, bits, ok in zip(rows, decoded.bits, decoded.ok, strict=True):
        if "truth" in name or name == "half certain":
            assert torch.equal(bits, truth) and bool(ok), name
    assert not bool(decoded.ok[3]) and not bool(decoded.ok[8])


def test_contradicting_certainties_of_a_repeated_bit() -> None:
    code = Polar5G(40, 1024)
    llr = torch.full((2, 1024), math.inf)
    llr[0, ::2] = -math.inf
    assert code.decode(llr).bits.shape == (2, 40)


@pytest.mark.parametrize("column", [0, 431])
def test_nan_is_refused(column: int) -> None:
    llr = torch.zeros(5, 432)
    llr[3, column] = math.nan
    with pytest.raises(InputError, match=f"block 3, bit {column}"):
        Polar5G(140, 432).decode(llr)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 12, "n": 100}, "20 to 1706"),
        ({"k": 1707, "n": 5000}, "20 to 1706"),
        ({"k": 141, "n": 500, "link": "downlink"}, "1 to 140"),
        ({"k": 100, "n": 110}, "at least 111"),
        ({"k": 100, "n": 9000}, "up to 8192"),
        ({"k": 100, "n": 200, "list_size": 3}, "list_size = 3"),
        ({"k": 100, "n": 200, "decoder": "bp"}, "'bp'"),
        ({"k": 100, "n": 200, "decoder": "sc", "adaptive": True}, "adaptive"),
        ({"k": 100, "n": 201, "bits_per_symbol": 2}, "multiple"),
    ],
)
def test_refusals_name_the_fix(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Polar5G(**options)


def test_wrong_shapes_and_types_are_refused() -> None:
    code = Polar5G(100, 200)
    with pytest.raises(InputError, match="uint8"):
        code.encode(torch.zeros(3, 99, dtype=torch.uint8))
    with pytest.raises(InputError, match="uint8"):
        code.encode(torch.zeros(3, 100))
    with pytest.raises(InputError, match="200"):
        code.decode(torch.zeros(3, 100))


def test_sionna_backend_refuses_its_other_code() -> None:
    with pytest.raises(InputError, match=r"38\.212"):
        Polar5G(139, 384, backend="sionna").decode(torch.zeros(1, 384))


def test_checks_catch_every_single_flip_of_the_inputs() -> None:
    """The remainder that the decoder uses is that of the CRC: no column is zero, and all columns differ."""
    for block in (PolarBlock(140, 432, "downlink", "CRC24C"), PolarBlock(500, 1000, "uplink", "CRC11")):
        assert block.syndromes.min() > 0 and block.syndromes.max() < 1 << crc_length(block.crc)
        assert len(set(block.syndromes.tolist())) == block.with_crc


def test_empty_batch() -> None:
    code = Polar5G(100, 200)
    assert code.encode(torch.zeros(0, 100, dtype=torch.uint8)).shape == (0, 200)
    assert code.decode(torch.zeros(0, 200)).bits.shape == (0, 100)
