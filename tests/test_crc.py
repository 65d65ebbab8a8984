"""CRCs of TS 38.212 against Sionna's, against catalogued check values and against the algebra of cyclic codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jscclink.baselines.channel_coding import crc
from jscclink.errors import InputError

DEGREES = {"CRC24A": 24, "CRC24B": 24, "CRC24C": 24, "CRC16": 16, "CRC11": 11, "CRC6": 6}
# catalogued remainders of the ASCII text 123456789 (CRC-24/LTE-A, CRC-24/LTE-B and CRC-16/XMODEM)
CATALOGUE = {"CRC24A": 0xCDE703, "CRC24B": 0x23EF52, "CRC16": 0x31C3}


@pytest.mark.parametrize("name", CATALOGUE)
def test_matches_catalogued_check_values(name):
    bits = np.unpackbits(np.frombuffer(b"123456789", np.uint8))[None]
    value = int("".join(map(str, crc.parity(bits, name)[0])), 2)
    assert value == CATALOGUE[name]


@pytest.mark.parametrize("name", crc.NAMES)
@pytest.mark.parametrize("length", [1, 7, 8, 29, 1000])
def test_matches_sionna(name, length):
    from sionna.phy.fec.crc import CRCEncoder

    bits = np.random.default_rng(length).integers(0, 2, (5, length), dtype=np.uint8)
    expected = CRCEncoder(name)(torch.from_numpy(bits).float()).numpy().astype(np.uint8)
    np.testing.assert_array_equal(crc.attach(bits, name), expected)


@given(st.sampled_from(crc.NAMES), st.integers(1, 300), st.integers(0, 2**32 - 1), st.data())
@settings(max_examples=60, deadline=None)
def test_accepts_its_own_words_and_refuses_single_and_burst_errors(name, length, seed, data):
    word = crc.attach(np.random.default_rng(seed).integers(0, 2, (3, length), dtype=np.uint8), name)
    assert crc.check(word, name).all()
    total = length + DEGREES[name]
    start = data.draw(st.integers(0, total - 1))
    width = data.draw(st.integers(1, min(DEGREES[name], total - start)))
    burst = np.random.default_rng(seed + 1).integers(0, 2, width, dtype=np.uint8)
    burst[0] = burst[-1] = 1
    word[1, start : start + width] ^= burst
    np.testing.assert_array_equal(crc.check(word, name), [True, False, True])


def test_refuses_unknown_names_wrong_types_and_short_rows():
    bits = np.zeros((2, 10), np.uint8)
    with pytest.raises(InputError, match="CRC32"):
        crc.attach(bits, "CRC32")
    with pytest.raises(InputError, match="uint8"):
        crc.attach(bits.astype(np.int64), "CRC6")
    with pytest.raises(InputError, match="24"):
        crc.check(bits, "CRC24A")
