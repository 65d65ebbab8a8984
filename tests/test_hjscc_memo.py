"""What an HJSCC transmitter remembers of its last transmissions changes no bit, and is none of the receiver's business."""

from __future__ import annotations

import pytest
import torch
from hjscc_micro import micro_codec, pictures

from jscclink.channels.awgn import Awgn
from jscclink.simulator.codecs.hjscc import memo
from jscclink.simulator.codecs.hjscc.scheme import Hjscc
from jscclink.simulator.link import Link
from jscclink.simulator.scheme import Budget, Burst, TransmitCsi
from jscclink.simulator.side import IdealSide

CODEC = micro_codec()
SHAPE = (3, 64, 96)
PICTURES = pictures(2, *SHAPE[1:])
SIDE = IdealSide()


def scheme() -> Hjscc:
    return Hjscc(codec=CODEC, precision="float32")


def encode(one: Hjscc, picture: int = 0, cbr: float = 0.1, esno_db: float | None = 10.0) -> Burst:
    csi = None if esno_db is None else TransmitCsi(torch.tensor([10 ** (-esno_db / 10)]), None)
    return one.encode(PICTURES[picture : picture + 1], Budget.from_cbr(cbr, SHAPE, SIDE), csi)


def same(one: Burst, other: Burst) -> bool:
    return one.symbols.shape == other.symbols.shape and torch.equal(one.symbols, other.symbols) and one.side == other.side


def test_a_second_transmission_is_the_first_and_costs_no_network() -> None:
    one, runs = scheme(), []
    hook = CODEC.model.bottom_up.register_forward_hook(lambda *_: runs.append(1))
    try:
        first = encode(one)
        second = encode(one)
        assert len(runs) == 1
        one.forget()
        third = encode(one)
        assert len(runs) == 2
    finally:
        hook.remove()
    assert same(first, second) and same(first, third)


def test_what_went_out_may_be_written_over() -> None:
    one = scheme()
    first = encode(one)
    kept = first.symbols.clone()
    with torch.inference_mode():
        first.symbols.zero_()
    assert torch.equal(encode(one).symbols, kept)


@pytest.mark.parametrize("other", [{"picture": 1}, {"cbr": 0.12}, {"esno_db": 3.0}, {"esno_db": None}])
def test_nothing_else_is_taken_for_the_same(other: dict[str, float | None]) -> None:
    one = scheme()
    encode(one)
    assert same(encode(one, **other), encode(scheme(), **other))  # type: ignore[arg-type]
    assert not same(encode(one, **other), encode(one))  # type: ignore[arg-type]


def test_the_receiver_does_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    one, link = scheme(), Link(Awgn(csi="tx+rx"))
    budget = link.budget(SHAPE, 0.1)
    passage = link.run(one, PICTURES, budget, 10.0, generator=torch.Generator().manual_seed(0))

    def refuse(*_: object) -> None:
        raise AssertionError("the receiver looked into the transmitter's memory")

    for method in ("get", "put", "clear"):
        monkeypatch.setattr(memo.Memo, method, refuse)
    assert torch.equal(one.decode(passage.receptions[0], budget).data, passage.reconstruction.data)
    fresh = scheme().decode(passage.receptions[0], budget)
    assert torch.equal(fresh.data, passage.reconstruction.data)


def test_the_memory_is_bounded_and_keeps_what_was_used_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "MOST_BYTES", 100)
    held = memo.Memo()
    for key in ("a", "b", "c"):
        held.put(key, (torch.zeros(3, dtype=torch.complex64), b"0123456789"))
        assert held.get("a") is not None
    assert held.get("b") is None and held.get("c") is not None, "34 bytes each; a was used after b"
    held.put("large", (torch.zeros(20, dtype=torch.complex64), b""))
    assert held.get("large") is None and held.get("a") is None
    held.put("d", (torch.zeros(12, dtype=torch.complex64), b""))
    assert held.get("d") is not None
