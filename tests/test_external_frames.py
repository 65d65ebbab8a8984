"""Frames between jscclink and external codecs: the documented bytes, and nonsense refused as nonsense."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jscclink.simulator.codecs.external.standalone import jscclink_worker as wire


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(sorted(wire.DTYPES)), max_size=4), st.lists(st.integers(0, 4), max_size=4), st.integers(0, 99))
def test_frames_round_trip(dtypes, shape, seed):
    data = np.random.default_rng(seed).integers(0, 256, shape)
    arrays = {f"a{i}": data.astype(dtype) for i, dtype in enumerate(dtypes)}
    frame = wire.Message("x", {"seed": seed}, arrays).pack()
    header, size = wire.lengths(frame[:16])
    assert len(frame) == 16 + header + size
    read = wire.Message.unpack(frame[16 : 16 + header], frame[16 + header :])
    assert (read.type, read.values) == ("x", {"seed": seed})
    for name, array in arrays.items():
        assert read.arrays[name].dtype == array.dtype and np.array_equal(read.arrays[name], array)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=120), st.binary(max_size=40))
def test_nonsense_is_refused_as_nonsense(header, data):
    with pytest.raises(wire.ProtocolError):
        wire.Message.unpack(b"{" + header, data + b"x")


def test_the_wire_format_is_the_documented_one():
    frame = wire.Message("decoded", {"n": 1}, {"failed": np.array([0, 1], np.uint8)}).pack()
    header = b'{"n": 1, "type": "decoded", "arrays": [{"name": "failed", "dtype": "uint8", "shape": [2]}]}'
    assert frame == b"JSCX" + len(header).to_bytes(4, "little") + (2).to_bytes(8, "little") + header + b"\x00\x01"
