"""The way back: what arrives, when, and what it costs; and the transmitter's CSI."""

import math

import pytest
import torch

from jscclink.channels.feedback import NoisyFeedback, PerfectFeedback, QuantisedFeedback
from jscclink.channels.receiver import TransmitterView
from jscclink.errors import InputError
from jscclink.simulator import registry
from jscclink.simulator.link import Link
from jscclink.simulator.scheme import Budget, Burst, Reconstruction, TurnTakingScheme
from jscclink.simulator.side import IdealSide


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Counting(TurnTakingScheme):
    """Sends one symbol per turn; the receiver feeds back the number of the turn."""

    def __init__(self, turns):
        self.turns, self.heard = turns, []

    def air_uses(self, budget):
        return self.turns

    def transmitter(self, source, budget, csi):
        for _ in range(self.turns):
            one = torch.ones(len(source), dtype=torch.int64)
            self.heard.append((yield Burst(torch.ones(len(source), 1, dtype=torch.complex64), one)))

    def receiver(self, budget):
        yield None
        for turn in range(self.turns - 1):
            yield torch.full((2, 3), float(turn))
        return Reconstruction(torch.zeros(2, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.bool))


@pytest.mark.parametrize("delay", [0, 1, 2])
def test_messages_come_late_by_whole_turns_and_are_charged(delay):
    scheme = Counting(5)
    link = Link(registry.build("channels", "awgn"), feedback=PerfectFeedback(delay=delay))
    source = torch.zeros(2, 4, dtype=torch.uint8)
    passage = link.run(scheme, source, Budget((4,), 8, IdealSide()), 10.0, generator=seeded())
    heard = [None if message is None else float(message[0, 0]) for message in scheme.heard]
    assert heard == [None] * delay + [float(turn) for turn in range(4 - delay)]
    assert passage.ledger.feedback_bits.tolist() == [4 * 3 * 32.0] * 2


def test_noise_on_numbers_and_flipped_bits():
    link = NoisyFeedback(snr_db=10.0, bit_error_rate=0.1)
    message = torch.randn(3, 20_000, generator=seeded()) * torch.tensor([[1.0], [5.0], [0.1]])
    heard = link.carry(message, seeded(1))
    snr = message.square().mean(1) / (heard - message).square().mean(1)
    assert torch.allclose(snr, torch.full((3,), 10.0), rtol=0.05)
    bits = torch.zeros(2, 20_000, dtype=torch.bool)
    assert float(link.carry(bits, seeded(2)).float().mean()) == pytest.approx(0.1, abs=0.006)
    octets = link.carry(torch.zeros(1, 5000, dtype=torch.uint8), seeded(3))
    flipped = sum(int(((octets >> i) & 1).sum()) for i in range(8))
    assert flipped / 40_000 == pytest.approx(0.1, abs=0.006)
    assert link.bits(bits).tolist() == [20_000.0] * 2 and link.bits(octets).tolist() == [40_000.0]
    waves = torch.randn(2, 10_000, dtype=torch.complex64, generator=seeded())
    error = (link.carry(waves, seeded(4)) - waves).abs().square().mean()
    assert float(error) == pytest.approx(0.1, rel=0.06), "half the noise on each real dimension"


def test_quantised_to_n_bits():
    link = QuantisedFeedback(bits=6, low=-2.0, high=2.0)
    message = torch.rand(2, 5000, generator=seeded()) * 4 - 2
    heard = link.carry(message, seeded())
    assert len(heard.unique()) == 64
    assert float((heard - message).abs().max()) <= 4 / 64 / 2 + 1e-6
    assert link.bits(message).tolist() == [30_000.0] * 2
    assert link.bits(message.to(torch.complex64)).tolist() == [60_000.0] * 2
    wrong = QuantisedFeedback(bits=6, low=-2.0, high=2.0, bit_error_rate=0.01).carry(message, seeded())
    share = float((wrong != heard).float().mean())
    assert share == pytest.approx(1 - 0.99**6, abs=0.01)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"name": "noisy"}, "needs snr_db .* or bit_error_rate"),
        ({"name": "noisy", "bit_error_rate": 0.7}, r"must lie in 0\.\.0\.5; got 0.7"),
        ({"name": "quantised", "bits": 0}, r"bits of the feedback must lie in 1\.\.16"),
        ({"name": "quantised", "bits": 4, "low": 1.0, "high": 1.0}, "low < high"),
        ({"name": "perfect", "delay": -1}, "number of turns, 0 or more; got -1"),
    ],
)
def test_bad_feedback_names_itself(spec, words):
    with pytest.raises(InputError, match=words):
        registry.build("feedbacks", spec)


def test_messages_that_a_feedback_link_cannot_carry():
    with pytest.raises(InputError, match=r"torch\.bool message needs the feedback's bit_error_rate"):
        NoisyFeedback(snr_db=3.0).carry(torch.zeros(1, 2, dtype=torch.bool), seeded())
    with pytest.raises(InputError, match="needs the feedback's snr_db"):
        NoisyFeedback(bit_error_rate=0.1).carry(torch.zeros(1, 2), seeded())
    with pytest.raises(InputError, match="carries real or complex numbers"):
        QuantisedFeedback(bits=3).carry(torch.zeros(1, 2, dtype=torch.int64), seeded())


def test_transmitters_csi_is_perfect_late_or_coarse():
    def gains(**options):
        channel = registry.build("channels", {"name": "rayleigh", "csi": "tx+rx", **options})
        drawn = channel.generate(50, 400, generator=seeded())
        return channel.transmitter_gain(drawn, 100, 300), drawn.tensors["gain"][:, 100:], channel.transmitter_csi_bits(drawn)

    seen, true, bits = gains()
    assert torch.equal(seen, true) and bits == 0
    seen, true, _ = gains(tx_delay=7)
    assert torch.equal(seen[:, 7:], true[:, :-7])
    errors = []
    for n in (4, 8, 12):
        seen, true, bits = gains(tx_bits=n)
        assert bits == 400 * n
        errors.append(float((seen - true).abs().square().mean()))
    assert errors[0] > 4 * errors[1] > 16 * errors[2]
    assert TransmitterView("tx+rx", delay=5).see(torch.arange(6)[None] + 0j, 0).real.tolist() == [[0, 0, 0, 0, 0, 0]]


def test_the_ledger_counts_the_bits_of_quantised_csi():
    spec = {"name": "rayleigh", "form": "block", "block_length": 10, "csi": "tx+rx", "tx_bits": 6}
    link = Link(registry.build("channels", spec))
    scheme = Counting(1)
    passage = link.run(scheme, torch.zeros(2, 4, dtype=torch.uint8), Budget((4,), 1, IdealSide()), 10.0, generator=seeded())
    assert passage.ledger.feedback_bits.tolist() == [6.0, 6.0]


def test_receivers_errors_are_those_asked_for():
    x = torch.ones(2, 200_000, dtype=torch.complex64)
    noise_var = torch.full((2,), 0.1)
    channel = registry.build("channels", {"name": "rayleigh", "equaliser": "none", "csi_error": 0.05, "noise_offset_db": 3.0})
    drawn = channel.generate(2, 200_000, generator=seeded())
    seen = channel.apply(x, drawn, noise_var)
    error = (seen.gain - drawn.tensors["gain"]).abs().square().mean()
    assert float(error) == pytest.approx(0.05, rel=0.02)
    assert 10 * math.log10(float(seen.noise_var.mean()) / 0.1) == pytest.approx(3.0, abs=1e-4)
