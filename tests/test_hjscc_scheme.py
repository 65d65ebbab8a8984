"""HJSCC over the link: rate, power, side information, two processes, feedback; with a miniature model."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hjscc_micro import micro_codec, pictures
from PIL import Image

from jscclink.baselines.concealment import MEAN_COLOUR
from jscclink.baselines.side import CodedSide, NormalSide
from jscclink.channels.awgn import Awgn
from jscclink.channels.fading import Rayleigh
from jscclink.channels.feedback import NoisyFeedback, PerfectFeedback
from jscclink.errors import InputError
from jscclink.simulator.codecs.hjscc.average import symbols_per_bit
from jscclink.simulator.codecs.hjscc.feedback import HjsccFeedback
from jscclink.simulator.codecs.hjscc.scheme import Hjscc
from jscclink.simulator.codecs.hjscc.weights import load_weights, save_weights
from jscclink.simulator.link import Link
from jscclink.simulator.registry import build
from jscclink.simulator.scheme import Budget, Reception, Reconstruction
from jscclink.simulator.side import IdealSide
from jscclink.simulator.study import StudyScheme

CODEC = micro_codec()
LINEAR = micro_codec(shake=0.0)
SHAPE = (3, 64, 96)
PICTURES = pictures(3, *SHAPE[1:])
VALUES = 3 * 64 * 96
# one much emptier than the others
AVERAGED = torch.stack([PICTURES[0], PICTURES[1], PICTURES[2] // 8 + 100])


def scheme(**options: object) -> Hjscc:
    return Hjscc(codec=CODEC, precision="float32", **options)  # type: ignore[arg-type]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def psnr(found: torch.Tensor, true: torch.Tensor) -> float:
    return float(10 * torch.log10(255**2 / (found.float() - true.float()).square().mean()))


@pytest.mark.parametrize("cbr", [0.03, 1 / 16, 0.15])
@pytest.mark.parametrize("side", [IdealSide(), NormalSide(), CodedSide()], ids=["ideal", "normal", "coded"])
def test_the_cbr_is_met_and_never_overrun(cbr: float, side: IdealSide | NormalSide | CodedSide) -> None:
    link = Link(Awgn(csi="tx+rx"), side=side)
    passage = link.run(scheme(), PICTURES, link.budget(SHAPE, cbr), 10.0, generator=generator())
    assert bool((passage.ledger.cbr <= cbr).all())
    if passage.reconstruction.failed.logical_not().all() and cbr > 0.06:
        # one step of one group of these small pictures is 16 reals
        assert float(passage.ledger.cbr.min()) > 0.97 * cbr - 16 / VALUES
    assert float(passage.ledger.uses["side"].min()) > 0


def test_more_room_and_less_noise_give_better_pictures() -> None:
    link = Link(Awgn(csi="tx+rx"))
    found = {}
    for cbr, snr in ((0.06, 10.0), (0.15, 10.0), (0.15, 0.0)):
        linear = Hjscc(codec=LINEAR, precision="float32")
        passage = link.run(linear, PICTURES, link.budget(SHAPE, cbr), snr, generator=generator())
        found[cbr, snr] = psnr(passage.reconstruction.data, PICTURES)
    assert found[0.15, 10.0] > found[0.06, 10.0]
    assert found[0.15, 10.0] > found[0.15, 0.0] > 12


def test_the_rate_map_adds_up_to_the_payload() -> None:
    one_shot, budget = scheme(), Budget.from_cbr(0.15, SHAPE, IdealSide())
    burst = one_shot.encode(PICTURES[:1], budget, None)
    found = one_shot.rate_map(PICTURES[0], budget)
    assert found is not None and found.shape[0] * 3 == found.shape[1] * 2, "as the picture, 64 x 96"
    assert int(np.ceil(float(found.double().sum()) - 1e-3)) == int(burst.valid[0])
    assert float(found.std()) > 0
    assert one_shot.rate_map(PICTURES[0], Budget(SHAPE, 1, IdealSide())) is None


def test_noise_behind_a_picture_s_last_symbol_is_not_looked_at() -> None:
    """A batch's bursts are as long as the longest; what a neighbour makes of that is none of a picture's business."""
    one_shot, link = scheme(symbols_per_bit=0.3, lmbda=100.0), Link(Rayleigh())
    budget = link.budget(SHAPE, 0.2)
    passage = link.run(one_shot, PICTURES[:1], budget, 10.0, generator=generator())
    reception = passage.receptions[0]
    gain, noise_var = (torch.cat([t, torch.full_like(t, 0.01)], dim=1) for t in (reception.gain, reception.noise_var))
    longer = replace(reception, symbols=torch.cat([reception.symbols] * 2, dim=1), gain=gain, noise_var=noise_var)
    assert torch.equal(one_shot.decode(longer, budget).data, passage.reconstruction.data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The pictures as files, one of them much emptier than the others."""
    path = tmp_path_factory.mktemp("pictures")
    for number, picture in enumerate(AVERAGED):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(path / f"{number}.png")
    return str(path)


@pytest.mark.parametrize("cap", [None, 0.1])
def test_the_average_over_a_set_is_met_at_every_snr(folder: str, cap: float | None) -> None:
    options = {"cbr_target": 0.08, "average_over": {"folder": folder}}
    link = Link(Awgn(csi="tx+rx"))
    for snr in (1.0, 10.0):
        passage = link.run(scheme(**options), AVERAGED, link.budget(SHAPE, cap), snr, generator=generator())
        # one step of one group of these small pictures is 16 reals
        assert float(passage.ledger.cbr.mean()) == pytest.approx(0.08, abs=8 / VALUES)
        assert float(passage.ledger.cbr.mean()) <= 0.08
        assert float(passage.ledger.cbr.max()) > 1.2 * float(passage.ledger.cbr.min())
        assert cap is None or float(passage.ledger.cbr.max()) <= cap


def test_what_capped_pictures_leave_over_goes_to_the_others() -> None:
    bits = [0.1, 0.2, 0.6]
    eta = symbols_per_bit(bits, 0.1, 0.15)
    shares = np.minimum(eta * np.array(bits) / 2, 0.15)
    assert shares.mean() == pytest.approx(0.1, rel=1e-9)
    assert shares[2] == 0.15
    assert shares[1] == pytest.approx(2 * shares[0])
    assert symbols_per_bit(bits, 0.1, 0.1) * bits[0] / 2 == pytest.approx(0.1)
    assert symbols_per_bit(bits, 0.1, None) == pytest.approx(0.2 / 0.3)


def test_the_average_is_part_of_the_fingerprint(folder: str) -> None:
    averages = [scheme(cbr_target=0.1, average_over={"folder": folder, "limit": n}).fingerprint() for n in (1, 2)]
    assert len({*averages, scheme().fingerprint()}) == 3


def test_lost_side_information_is_an_outage_with_the_mean_colour() -> None:
    one_shot, budget = scheme(), Budget.from_cbr(0.15, SHAPE, IdealSide())
    burst = one_shot.encode(PICTURES[:2], budget, None)
    assert burst.side is not None
    ones = torch.ones_like(burst.symbols)
    reception = Reception(burst.symbols, ones, torch.full(ones.shape, 0.1), (None, burst.side[1]))
    found = one_shot.decode(reception, budget)
    assert found.failed.tolist() == [True, False]
    assert found.data[0, :, 5, 5].tolist() == list(MEAN_COLOUR)


def test_a_budget_under_the_side_information_is_an_outage() -> None:
    link = Link(Awgn(csi="tx+rx"))
    passage = link.run(scheme(), PICTURES, link.budget(SHAPE, 0.0002), 10.0, generator=generator())
    assert bool(passage.reconstruction.failed.all())
    assert float(passage.ledger.cbr.max()) == 0.0


def test_garbage_for_side_information_never_raises() -> None:
    one_shot, budget = scheme(), Budget.from_cbr(0.15, SHAPE, IdealSide())
    rng = np.random.default_rng(0)
    symbols = torch.ones(1, 200, dtype=torch.complex64)
    for size in (1, 2, 3, 40):
        reception = Reception(symbols, symbols, torch.full((1, 200), 0.1), (rng.bytes(size),))
        assert one_shot.decode(reception, budget).data.shape == (1, *SHAPE)


def _far_end(folder: Path, reception: Reception, budget: Budget) -> Reconstruction:
    return Hjscc(codec=load_weights(folder), precision="float32").decode(reception, budget)


@pytest.mark.slow
def test_the_receiver_in_another_process_needs_nothing_but_the_reception(tmp_path: Path) -> None:
    save_weights(tmp_path, CODEC.model, CODEC.side, {"lmbda_at_sixteenth": 128.0, "lmbda_slope": 1.3})
    near = Hjscc(codec=load_weights(tmp_path), precision="float32")
    link = Link(Awgn(csi="tx+rx"))
    budget = link.budget(SHAPE, 0.15)
    passage = link.run(near, PICTURES, budget, 6.0, generator=generator(3))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(_far_end, (tmp_path, passage.receptions[0], budget))
    assert torch.equal(found.data, passage.reconstruction.data)


def test_odd_sizes_are_padded_and_the_padding_is_charged() -> None:
    odd = pictures(1, 37, 61)
    link = Link(Awgn(csi="tx+rx"))
    budget = link.budget((3, 37, 61), 0.15)
    passage = link.run(scheme(), odd, budget, 10.0, generator=generator())
    assert passage.reconstruction.data.shape == odd.shape
    assert float(passage.ledger.cbr) <= 0.15
    assert passage.ledger.source_values == 3 * 37 * 61


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"symbols_per_bit": 0.0}, "symbols_per_bit"),
        ({"lmbda": 1e9}, "lmbda must lie within"),
        ({"cbr_target": 0.1}, "go together"),
        ({"average_over": {"set": "kodak"}}, "go together"),
        ({"cbr_target": 0.1, "average_over": {"set": "kodak"}, "symbols_per_bit": 0.3}, "not with symbols_per_bit"),
        ({"cbr_target": 0.0, "average_over": {"set": "kodak"}}, "cbr_target must be above 0"),
        ({"cbr_target": 0.1, "average_over": {"set": "kodaq"}}, "average_over: .*kodaq"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        scheme(**options)


def test_without_a_budget_the_scheme_says_what_it_needs() -> None:
    with pytest.raises(InputError, match="needs its option lmbda"):
        scheme(symbols_per_bit=0.3).encode(PICTURES, Budget(SHAPE, None, IdealSide()), None)
    with pytest.raises(InputError, match="symbols_per_bit"):
        scheme(lmbda=64.0).encode(PICTURES, Budget(SHAPE, None, IdealSide()), None)
    with pytest.raises(InputError, match="lets no picture take more"):
        scheme(cbr_target=0.1, average_over={"set": "kodak", "limit": 1}).encode(
            PICTURES, Budget.from_cbr(0.05, SHAPE, IdealSide()), None
        )


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_feedback_in_turns_keeps_the_budget(turns: int) -> None:
    link = Link(Awgn(csi="tx+rx"))
    with_feedback = HjsccFeedback(codec=CODEC, precision="float32", turns=turns)
    passage = link.run(with_feedback, PICTURES, link.budget(SHAPE, 0.15), 8.0, generator=generator())
    assert float(passage.ledger.cbr.max()) <= 0.15
    assert float(passage.ledger.cbr.min()) > 0.13
    assert len(passage.bursts) == turns
    assert (float(passage.ledger.feedback_bits.sum()) > 0) == (turns > 1)
    assert psnr(passage.reconstruction.data, PICTURES) > 14


def test_erased_uses_do_not_drown_noisy_feedback() -> None:
    channel = build("channels", [{"name": "bursts", "probability": 0.05, "mean_length": 20}, {"name": "awgn", "csi": "tx+rx"}])
    told = {}
    for name, feedback in (("perfect", PerfectFeedback()), ("noisy", NoisyFeedback(snr_db=30.0))):
        link = Link(channel, feedback=feedback)
        both = HjsccFeedback(codec=CODEC, precision="float32", turns=3)
        told[name] = link.run(both, PICTURES, link.budget(SHAPE, 0.15), 10.0, generator=generator()).reconstruction
    assert not told["noisy"].failed.any()
    assert psnr(told["noisy"].data, PICTURES) > psnr(told["perfect"].data, PICTURES) - 0.3


def test_the_transmitter_s_mirror_is_the_receiver_s_state() -> None:
    """Played by hand: after a turn both ends hold the same state, to the bit."""
    both = HjsccFeedback(codec=CODEC, precision="float32", turns=3)
    link = Link(Awgn(csi="tx+rx"))
    budget = link.budget(SHAPE, 0.15)
    one = PICTURES[:1]
    passage = link.run(both, one, budget, 8.0, generator=generator(1))
    with torch.inference_mode():
        near = far = both._start(budget)
        for numbers, burst, reception in zip(both._turns, passage.bursts, passage.receptions, strict=True):
            received, noise_var = reception.unbiased()
            assert burst.side is not None and reception.side is not None
            far = both._take(numbers, far, received[0], noise_var[0], reception.side[0], budget)
            told = torch.complex(received.real.clone(), received.imag.clone())
            near = both._take(numbers, near, told[0], noise_var[0].clone(), burst.side[0], budget)
            assert torch.equal(near.state.canvas, far.state.canvas) and torch.equal(near.state.d, far.state.d)


def test_a_lost_turn_is_no_outage_but_hurts() -> None:
    class Loses(IdealSide):
        def carry(self, side, noise_var, transmit, generator):  # type: ignore[no-untyped-def]
            self.turn = getattr(self, "turn", 0) + 1
            return tuple(None for _ in side) if self.turn == 3 else side

    with_feedback = HjsccFeedback(codec=LINEAR, precision="float32", turns=3)
    results = []
    for side in (IdealSide(), Loses()):
        link = Link(Awgn(csi="tx+rx"), side=side)
        passage = link.run(with_feedback, PICTURES[:1], link.budget(SHAPE, 0.15), 12.0, generator=generator())
        assert not bool(passage.reconstruction.failed.any())
        results.append(psnr(passage.reconstruction.data, PICTURES[:1]))
    assert results[1] < results[0]


@pytest.mark.parametrize("damaged", [b"\x00", b"\xff" * 40])
def test_damaged_side_information_of_a_turn_counts_as_a_lost_turn(damaged: bytes) -> None:
    turns, budget = HjsccFeedback(codec=CODEC, precision="float32", turns=3), Budget.from_cbr(0.15, SHAPE, IdealSide())
    received, noise_var = torch.zeros(4000, dtype=torch.complex64), torch.full((4000,), 0.1)
    start = turns._start(budget)
    lost = turns._take(range(1), start, received, noise_var, None, budget)
    found = turns._take(range(1), start, received, noise_var, damaged, budget)
    if damaged == b"\x00":
        assert not found.heard
        assert torch.equal(found.state.canvas, lost.state.canvas)
    assert found.state.canvas.isfinite().all()


def test_fading_without_csi_at_the_transmitter() -> None:
    link = Link(Rayleigh(form="fast"))
    passage = link.run(scheme(), PICTURES, link.budget(SHAPE, 0.15), 12.0, generator=generator())
    assert psnr(passage.reconstruction.data, PICTURES) > 13
    assert bool((passage.ledger.cbr <= 0.15).all())


def test_the_fingerprint_is_that_of_the_weights() -> None:
    other = replace(CODEC, card={**CODEC.card, "files": [{"sha256": "1" * 64}]})
    assert Hjscc(codec=other).fingerprint() != scheme().fingerprint()
    assert StudyScheme.of("hjscc", scheme()).fingerprint == CODEC.fingerprint, "a study can ask for it"


@pytest.mark.parametrize("side", [IdealSide(), NormalSide()])
def test_a_blind_transmitter_s_side_information_is_lost_where_its_room_does_not_do(side: IdealSide | NormalSide) -> None:
    link = Link(Awgn(csi="rx"), side=side)
    budget = link.budget(SHAPE, 0.15)
    passage = link.run(scheme(), PICTURES, budget, -25.0, generator=generator())
    assert passage.reconstruction.failed.all()
    assert torch.stack(list(passage.ledger.uses.values())).sum(0).tolist() == [budget.uses] * len(PICTURES)
