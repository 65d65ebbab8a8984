"""The link: power, budget, ledger, and that nothing but bursts and receptions passes from end to end."""

import math
import multiprocessing
import pickle

import pytest
import torch

from jscclink.channels.awgn import Awgn, Noiseless
from jscclink.channels.fading import Rayleigh
from jscclink.simulator import registry
from jscclink.simulator.link import Link, LinkError
from jscclink.simulator.scheme import Budget, Burst, OneShotScheme, Reconstruction, TurnTakingScheme
from jscclink.simulator.side import IdealSide


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Fixed(OneShotScheme):
    """Sends what it was given, to try the link's rules."""

    def __init__(self, burst):
        self._burst = burst

    def encode(self, source, budget, csi):
        return self._burst

    def decode(self, reception, budget):
        self.reception = reception
        return Reconstruction(torch.zeros(len(reception.symbols), *budget.shape, dtype=torch.uint8), torch.zeros(1, dtype=bool))


def pictures(batch=2, height=16, width=24, seed=3):
    return torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=seeded(seed))


def run_fixed(burst, uses=64, channel=None, side=None):
    source = pictures(len(burst.valid))
    scheme = Fixed(burst)
    passage = Link(channel or Noiseless(), side=side).run(
        scheme, source, Budget((3, 16, 24), uses, IdealSide()), 10.0, generator=seeded()
    )
    return passage, scheme.reception


def test_power_is_one_on_average_over_each_items_valid_uses():
    symbols = torch.randn(2, 50, dtype=torch.complex64, generator=seeded()) * torch.tensor([[0.01], [30.0]])
    valid = torch.tensor([50, 20])
    passage, reception = run_fixed(Burst(symbols, valid))
    energy = reception.symbols.abs().square().sum(1)
    assert torch.allclose(energy, valid.float(), rtol=1e-5)
    assert torch.allclose(passage.ledger.energy, valid.double(), rtol=1e-5)
    assert torch.count_nonzero(reception.symbols[1, 20:]) == 0, "what lies beyond `valid` must not be sent"


def test_reception_is_as_long_as_the_budget_whatever_was_sent():
    _, reception = run_fixed(Burst(torch.ones(2, 10, dtype=torch.complex64), torch.tensor([10, 3])), channel=Awgn())
    assert reception.symbols.shape == (2, 64)
    assert bool((reception.symbols[1, 3:].abs() > 0).all()), "beyond `valid` the receiver hears noise"


@pytest.mark.parametrize(
    ("burst", "words"),
    [
        (Burst(torch.ones(2, 65, dtype=torch.complex64), torch.tensor([65, 1])), "65 channel uses, the budget allows 64"),
        (Burst(torch.ones(2, 8, dtype=torch.complex64), torch.tensor([9, 1])), "valid must be"),
        (Burst(torch.ones(2, 8), torch.tensor([8, 1])), "must be complex"),
        (Burst(torch.full((2, 8), math.nan, dtype=torch.complex64), torch.tensor([8, 1])), "not finite"),
        (Burst(1.5 * torch.ones(2, 60, dtype=torch.complex64), torch.tensor([60, 1]), power="constellation"), "more power"),
        (Burst(torch.ones(2, 8, dtype=torch.complex64), torch.tensor([8, 1]), genie=(b"", b"")), "only bounds may"),
        (Burst(torch.ones(2, 60, dtype=torch.complex64), torch.tensor([60, 60]), side=(b"x" * 3, b"")), "the budget allows 64"),
    ],
)
def test_a_scheme_that_breaks_the_rules_is_stopped(burst, words):
    with pytest.raises(LinkError, match=words):
        run_fixed(burst)


def test_ledger_adds_up_by_hand():
    # 40 uses of payload of which 6 are filler; 5 bytes of side information at 10 dB: 40 bits / log2(1 + 10) = 11.56 -> 12 uses
    burst = Burst(
        torch.ones(2, 40, dtype=torch.complex64),
        torch.tensor([40, 40]),
        side=(b"12345", b""),
        uses={"filler": torch.tensor([6, 0])},
    )
    ledger = run_fixed(burst)[0].ledger
    assert ledger.uses["payload"].tolist() == [34, 40]
    assert ledger.uses["filler"].tolist() == [6, 0]
    assert ledger.uses["side"].tolist() == [12, 0]
    assert ledger.total_uses.tolist() == [52, 40]
    assert ledger.cbr.tolist() == [52 / (3 * 16 * 24), 40 / (3 * 16 * 24)]


class EchoUntilGood(TurnTakingScheme):
    """Sends the mean of each picture; the receiver feeds back what it got, the transmitter sends the error, twice."""

    def air_uses(self, budget):
        return 3

    def transmitter(self, source, budget, csi):
        left = source.float().mean((1, 2, 3)) / 255
        one = torch.ones(len(source), dtype=torch.int64)
        for _ in range(3):
            received = yield Burst(torch.polar(torch.ones(len(source)), left)[:, None], one)
            left = left - received

    def receiver(self, budget):
        total = 0.0
        reception = yield None
        for turn in range(3):
            angle = reception.symbols[:, 0].angle()
            total = total + angle
            if turn < 2:
                reception = yield angle
        data = (255 * total)[:, None, None, None].clamp(0, 255).round().to(torch.uint8).expand(-1, *budget.shape)
        return Reconstruction(data.clone(), torch.zeros(len(data), dtype=torch.bool))


def test_turn_taking_scheme_gets_feedback_and_pays_for_it():
    source = pictures(4)
    link = Link(Awgn())
    passage = link.run(EchoUntilGood(), source, link.budget((3, 16, 24), 1.0), 30.0, generator=seeded())
    assert len(passage.bursts) == 3
    assert passage.ledger.total_uses.tolist() == [3.0] * 4
    assert passage.ledger.feedback_bits.tolist() == [64.0] * 4, "two messages of one 32-bit number"
    mean = source.double().mean((1, 2, 3))
    assert float((passage.reconstruction.data[:, 0, 0, 0].double() - mean).abs().max()) < 40


def test_same_generator_same_channel_for_schemes_of_unlike_length():
    link = Link(Rayleigh(form="slow"))
    gains = []
    for length in (5, 60):
        burst = Burst(torch.ones(2, length, dtype=torch.complex64), torch.tensor([length, length]))
        scheme = Fixed(burst)
        link.run(scheme, pictures(), Budget((3, 16, 24), 64, IdealSide()), 10.0, generator=seeded(9))
        gains.append(scheme.reception.gain[:, 0])
    assert torch.equal(*gains)


def test_link_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    run_fixed(Burst(torch.ones(2, 8, dtype=torch.complex64), torch.tensor([8, 8])), channel=Rayleigh(form="fast"))
    assert torch.equal(before, torch.get_rng_state())


def test_per_item_snr():
    burst = Burst(torch.ones(2, 20000, dtype=torch.complex64), torch.tensor([20000, 20000]))
    scheme = Fixed(burst)
    Link(Awgn()).run(scheme, pictures(), Budget((3, 16, 24), 20000, IdealSide()), torch.tensor([0.0, 10.0]), generator=seeded())
    measured = (scheme.reception.symbols - 1).abs().square().mean(1)
    # 4.5 standard deviations of the mean of 20000 exponential variables: a false alarm in 1e5 runs
    assert torch.allclose(measured, torch.tensor([1.0, 0.1]), rtol=4.5 / math.sqrt(20000))


SCHEMES = [
    {"name": "digital", "source": "jpeg", "mcs": "qpsk 1/2"},
    {"name": "digital", "source": "jpeg", "mcs": "16qam 1/2", "block_length": 2048},
    {"name": "uncoded"},
]


def _receiving_end(spec, budget, receptions, results):
    """The other process: builds its own scheme and sees receptions only."""
    receiver = registry.build("schemes", spec).receiver(budget)
    next(receiver)
    for data in iter(receptions.get, None):
        try:
            receiver.send(pickle.loads(data))
        except StopIteration as stop:
            results.put(pickle.dumps(stop.value))
            return


@pytest.mark.parametrize("spec", SCHEMES, ids=str)
def test_two_ends_in_two_processes_give_the_same_pictures(spec):
    source = pictures(2, 48, 64)
    source = (
        torch.nn.functional.interpolate(source[:, :, :6, :8].float(), size=(48, 64), mode="bicubic")
        .clamp(0, 255)
        .to(torch.uint8)
    )
    link = Link(Awgn())
    budget = link.budget((3, 48, 64), 0.5)
    here = link.run(registry.build("schemes", spec), source, budget, 12.0, generator=seeded(5))

    context = multiprocessing.get_context("spawn")
    receptions, results = context.Queue(), context.Queue()
    other = context.Process(target=_receiving_end, args=(spec, budget, receptions, results))
    other.start()
    try:
        for reception in here.receptions:
            receptions.put(pickle.dumps(reception))
        there = pickle.loads(results.get(timeout=120))
    finally:
        receptions.put(None)
        other.join(timeout=30)
        receptions.close()
        results.close()
    assert torch.equal(here.reconstruction.data, there.data)
    assert torch.equal(here.reconstruction.failed, there.failed)
    assert not bool(there.failed.any())
