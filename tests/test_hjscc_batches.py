"""What a picture's transmission depends on: its own bits, its own noise, the seed; never its neighbours in a batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hjscc_micro import micro_codec, pictures

from jscclink.baselines.digital import Digital
from jscclink.baselines.side import CodedSide
from jscclink.channels.awgn import Awgn
from jscclink.channels.channel import Realisation
from jscclink.channels.fading import Rayleigh
from jscclink.simulator.codecs.hjscc import ntc as ntc_module
from jscclink.simulator.codecs.hjscc.feedback import HjsccFeedback
from jscclink.simulator.codecs.hjscc.scheme import Hjscc
from jscclink.simulator.codecs.hjscc.side import decode_side
from jscclink.simulator.link import Link, Passage
from jscclink.simulator.scheme import Scheme
from jscclink.simulator.side import IdealSide, SideLink

CODEC = micro_codec()
SHAPE = (3, 64, 96)
# pictures unlike enough to want unlike numbers of bytes and symbols
PICTURES = torch.cat([pictures(2, *SHAPE[1:]), pictures(1, *SHAPE[1:], seed=3) // 6 + 90])
SCHEMES: dict[str, Callable[[], Scheme]] = {
    "hjscc": lambda: Hjscc(codec=CODEC, precision="float32"),
    "hjscc in bfloat16": lambda: Hjscc(codec=CODEC),
    "hjscc, bits decide": lambda: Hjscc(codec=CODEC, precision="float32", symbols_per_bit=0.6, lmbda=128.0),
    "hjscc_feedback": lambda: HjsccFeedback(codec=CODEC, precision="float32", turns=3),
    "digital": lambda: Digital(source="ntc", mcs="qpsk 1/2"),
}


@pytest.fixture(autouse=True)
def micro_ntc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ntc_module, "pretrained", lambda preset: CODEC)


class EvenNoise(Awgn):
    """AWGN whose noise does not depend on the place in a batch: a picture alone meets what it meets among others."""

    def generate(self, batch: int, uses: int, *, generator: torch.Generator, device: torch.device | str = "cpu") -> Realisation:
        one = super().generate(1, uses, generator=torch.Generator().manual_seed(11), device=device)
        noise = one.tensors["noise"][:, :, :1].expand(batch, 1, uses)  # nor on the place in a burst
        return Realisation({"noise": noise}, batch, uses)


def send(scheme: Scheme, items: torch.Tensor, side: SideLink, esno_db: torch.Tensor) -> Passage:
    link = Link(EvenNoise(csi="tx+rx"), side=side)
    return link.run(scheme, items, link.budget(SHAPE, 0.08), esno_db, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("side", [IdealSide(), CodedSide()], ids=["ideal", "coded"])
@pytest.mark.parametrize("name", list(SCHEMES))
def test_a_batch_over_the_link_equals_its_pictures_one_by_one(name: str, side: SideLink) -> None:
    """Symbols, side information, ledger and pictures, each picture at an SNR of its own."""
    esno_db = torch.tensor([6.0, 12.0, 9.0])
    together = send(SCHEMES[name](), PICTURES, side, esno_db)
    assert not bool(together.reconstruction.failed.any())
    for item in range(len(PICTURES)):
        alone = send(SCHEMES[name](), PICTURES[item : item + 1], side, esno_db[item : item + 1])
        assert torch.equal(alone.reconstruction.data[0], together.reconstruction.data[item])
        for purpose, uses in together.ledger.uses.items():
            assert float(alone.ledger.uses[purpose]) == float(uses[item]), purpose
        for one, burst in zip(alone.bursts, together.bursts, strict=True):
            count = int(one.valid[0])
            assert int(burst.valid[item]) == count
            assert torch.equal(burst.symbols[item, :count], one.symbols[0, :count])
            assert (burst.side is None) == (one.side is None)
            assert burst.side is None or one.side is None or burst.side[item] == one.side[0]


def test_the_pictures_of_these_batches_differ_in_what_they_need() -> None:
    """Else the test above would say little."""
    sides = send(SCHEMES["hjscc"](), PICTURES, IdealSide(), torch.full((3,), 9.0)).bursts[0].side
    assert sides is not None and len({len(side) for side in sides}) > 1
    uses = send(SCHEMES["hjscc, bits decide"](), PICTURES, IdealSide(), torch.full((3,), 9.0)).ledger.uses["payload"]
    assert len(set(uses.tolist())) == 3


@pytest.mark.parametrize("name", ["hjscc", "hjscc_feedback"])
def test_the_seed_decides_and_nothing_else(name: str) -> None:
    link = Link(Rayleigh(form="block", block_length=16), side=CodedSide())
    budget = link.budget(SHAPE, 0.08)
    runs = [
        link.run(SCHEMES[name](), PICTURES, budget, 14.0, generator=torch.Generator().manual_seed(seed)).reconstruction
        for seed in (4, 4, 5)
    ]
    assert torch.equal(runs[0].data, runs[1].data) and torch.equal(runs[0].failed, runs[1].failed)
    assert not torch.equal(runs[0].data, runs[2].data)


@pytest.mark.parametrize("cbr", [0.06, 0.1])
def test_the_receiver_s_counts_are_the_transmitter_s(cbr: float) -> None:
    """From the bytes that came through the code over the noisy channel, at a padded size."""
    odd = pictures(3, 61, 90, seed=2)
    scheme, link = Hjscc(codec=CODEC, precision="float32"), Link(Awgn(csi="tx+rx"), side=CodedSide())
    budget = link.budget((3, 61, 90), cbr)
    passage = link.run(scheme, odd, budget, 6.0, generator=torch.Generator().manual_seed(0))
    received = passage.receptions[0].side
    assert received is not None
    for item, data in enumerate(received):
        assert data
        wanted = scheme.allot(scheme.analyse(odd[item], CODEC.lmbda_for_cbr(budget.uses / (3 * 61 * 90))), budget, 6.0)
        assert wanted is not None
        levels = CODEC.model.preset.levels
        found = decode_side(data, CODEC.side, levels, range(len(levels)), (64, 96))
        assert all(torch.equal(torch.from_numpy(f), w[0]) for f, w in zip(found.maps, wanted.indices, strict=True))
        assert int(passage.bursts[0].valid[item]) == wanted.payload_uses
        assert sum(int(w.sum()) for w in wanted.indices) > 0
