"""HARQ, layers, link adaptation, mosaics, side information: what goes beyond one fixed MCS."""

import numpy as np
import pytest
import torch

from jscclink.baselines.calibration import threshold_db
from jscclink.baselines.layout import lay_out
from jscclink.baselines.mcs import parse_mcs
from jscclink.baselines.theory import awgn_capacity, normal_approximation_esno_db
from jscclink.channels.awgn import Awgn
from jscclink.channels.fading import Rayleigh
from jscclink.errors import InputError
from jscclink.simulator import registry
from jscclink.simulator.link import Link

SHAPE = (3, 64, 64)


@pytest.fixture(autouse=True)
def own_calibration_folder(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("JSCCLINK_CACHE", str(tmp_path_factory.getbasetemp() / "calibration"))


def pictures(batch):
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(batch, 3, 4, 4, generator=generator) * 255
    full = torch.nn.functional.interpolate(coarse, size=SHAPE[1:], mode="bicubic", align_corners=True)
    return full.clamp(0, 255).to(torch.uint8)


def transmit(spec, esno_db, *, batch=4, cbr=0.5, channel=None, side=None, seed=0):
    link = Link(channel or Awgn(), side=side)
    scheme = registry.build("schemes", spec)
    budget = link.budget(SHAPE, cbr)
    return link.run(scheme, pictures(batch), budget, esno_db, generator=torch.Generator().manual_seed(seed))


def psnr(passage):
    data = passage.reconstruction.data
    mse = (data.double() - pictures(len(data)).double()).square().mean((1, 2, 3))
    return 10 * torch.log10(255**2 / mse)


HARQ = {"name": "harq", "mcs": "16qam 2/3", "rounds": 4, "block_length": 1024}


def test_harq_on_a_good_channel_takes_one_round():
    passage = transmit(HARQ, 14.0)
    assert not passage.reconstruction.failed.any()
    assert len(passage.bursts) == 1
    # a quarter of the budget of 6144 uses, in whole blocks of at most 1024 bits
    assert (passage.ledger.total_uses <= 1536).all() and (passage.ledger.total_uses > 1536 - 6).all()


def test_harq_retransmits_only_what_failed_and_the_ledger_shows_it():
    # QPSK-like SNR for 16-QAM 2/3: the first round fails, combined rounds succeed
    passage = transmit(HARQ, 6.5)
    first = int(passage.bursts[0].valid[0])
    assert len(passage.bursts) > 1
    assert not passage.reconstruction.failed.any()
    spent = sum(burst.valid for burst in passage.bursts)
    assert torch.equal(passage.ledger.total_uses, spent.double())
    assert (spent > first).any() and (spent <= 6144).all()
    blocks = passage.bursts[0].bits["crc"][0] // 16
    assert passage.ledger.feedback_bits.tolist() == [float(blocks * (len(passage.bursts) - 1))] * 4
    without = transmit({"name": "digital", "mcs": "16qam 2/3", "block_length": 1024}, 6.5, cbr=1536 / (3 * 64 * 64))
    assert without.reconstruction.failed.all()


def test_incremental_redundancy_needs_no_more_than_chase_combining():
    spent = [transmit({**HARQ, "combining": c}, 4.5).ledger.total_uses.mean() for c in ("ir", "chase")]
    assert spent[0] <= spent[1]


def test_harq_that_never_gets_through_is_an_outage_within_the_budget():
    passage = transmit(HARQ, -12.0)
    assert passage.reconstruction.failed.all()
    assert len(passage.bursts) == 4
    assert (passage.ledger.total_uses <= 6144).all()


LAYERED = {"name": "layered", "mcs": ["qpsk 1/3", "16qam 2/3"], "shares": [0.4, 0.6], "block_length": 1024}


def test_layers_degrade_in_steps():
    good, middle, bad = (transmit(LAYERED, db) for db in (14.0, 4.0, -8.0))
    assert not good.reconstruction.failed.any() and not middle.reconstruction.failed.any()
    assert bad.reconstruction.failed.all()
    assert (psnr(good) > psnr(middle) + 1.0).all()
    assert (psnr(middle) > psnr(bad) + 3.0).all()
    assert torch.equal(good.ledger.total_uses, middle.ledger.total_uses)
    # 40 % and 60 % of 6144 uses: 2457 of QPSK and 3686 of 16-QAM
    layouts = [lay_out(uses, parse_mcs(mcs), 1024) for uses, mcs in ((2457, "qpsk 1/3"), (3686, "16qam 2/3"))]
    assert good.ledger.total_uses.tolist() == [sum(layout.uses for layout in layouts)] * 4
    assert sum(good.ledger.bits.values()).tolist() == [sum(layout.blocks * layout.n for layout in layouts)] * 4
    assert (good.ledger.total_uses <= 6144).all()


def test_a_lost_layer_costs_the_picture_where_the_study_says_so():
    strict = {**LAYERED, "lost_layer": "conceal", "concealment": "grey"}
    assert not transmit(strict, 14.0).reconstruction.failed.any()
    lost = transmit(strict, 4.0)
    assert lost.reconstruction.failed.all() and (lost.reconstruction.data == 128).all()


def test_a_mosaic_has_the_options_of_digital():
    options = [registry.options("schemes", name).model_fields for name in ("mosaic", "digital")]
    assert options[0].keys() == options[1].keys()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shares": [0.5, 0.4]}, "add up to 1"),
        ({"shares": [1.0]}, "one share per layer"),
        ({"mcs": ["qpsk 1/2", "8psk 1/2"]}, "8psk"),
    ],
)
def test_wrong_layers_are_refused(change, words):
    with pytest.raises(InputError, match=words):
        registry.build("schemes", {**LAYERED, **change})


def test_threshold_lies_a_little_above_the_normal_approximation():
    mcs = parse_mcs("qpsk 1/2")
    threshold = threshold_db(mcs, 1024, 1e-1)
    assert awgn_capacity(threshold) > mcs.efficiency
    bound = normal_approximation_esno_db(512, mcs.efficiency * (512 - 16) / 512, 1e-1)
    # Gaussian symbols do 0.2 dB better than QPSK at this rate, and no code of this length is ideal
    assert bound < threshold < bound + 1.5
    threshold_db.cache_clear()
    assert threshold_db(mcs, 1024, 1e-1) == threshold, "read back from the store"


ADAPTIVE = {"name": "adaptive", "ladder": ["qpsk 1/2", "16qam 1/2", "64qam 2/3"], "block_length": 1024, "target_bler": 0.01}


def test_adaptation_picks_better_pictures_on_better_channels_and_sends_nothing_below_all_thresholds():
    awgn = Awgn(csi="tx+rx")
    quality = [float(psnr(transmit(ADAPTIVE, db, channel=awgn)).mean()) for db in (3.0, 10.0, 20.0)]
    assert quality == sorted(quality) and quality[2] > quality[0] + 1
    silent = transmit(ADAPTIVE, -10.0, channel=awgn)
    assert silent.reconstruction.failed.all() and not silent.ledger.total_uses.any()
    sent = transmit(ADAPTIVE, 20.0, channel=awgn)
    assert (sent.ledger.uses["side"] > 0).all() and (sent.ledger.total_uses <= 6144).all()


def test_adaptation_to_each_realisation_of_slow_fading():
    passage = transmit(ADAPTIVE, 12.0, batch=40, channel=Rayleigh(form="slow", csi="tx+rx"))
    chosen = {side for side in passage.bursts[0].side if side}
    assert len(chosen) >= 2, "forty realisations call for several MCS"
    sent = passage.ledger.total_uses > 0
    # the thresholds were met at a block error rate of 1e-2; a handful of blocks per picture
    assert passage.reconstruction.failed[sent].double().mean() < 0.2


def test_mosaic_is_cheaper_per_picture_than_pictures_alone_and_lost_as_a_whole():
    spec = {"mcs": "16qam 1/2", "block_length": 1024}
    mosaic, alone = (transmit({"name": name, **spec}, 15.0, batch=9, cbr=0.12) for name in ("mosaic", "digital"))
    assert not mosaic.reconstruction.failed.any()
    assert float(psnr(mosaic).mean()) > float(psnr(alone).mean())
    assert (mosaic.ledger.total_uses <= 0.12 * 3 * 64 * 64).all()
    lost = transmit({"name": "mosaic", **spec}, 0.0, batch=9, cbr=0.12)
    assert lost.reconstruction.failed.all()


@pytest.mark.parametrize("side", ["ideal", "normal", {"name": "coded", "mcs": "qpsk 1/3"}], ids=str)
def test_side_information_arrives_and_is_charged(side):
    passage = transmit({"name": "uncoded"}, 10.0, side=registry.build("sides", side))
    assert (passage.ledger.uses["side"] > 0).all()
    assert not passage.reconstruction.failed.any()
    assert (psnr(passage) > 15).all()


def test_normal_side_information_costs_more_than_ideal_and_coded_most():
    sides = [registry.build("sides", name) for name in ("ideal", "normal", "coded")]
    cost = [int(side.uses(torch.tensor([40]), torch.tensor([0.5]))[0]) for side in sides]
    assert cost == sorted(cost)
    # 320 bits / log2(1 + 2) = 201.9 uses
    assert cost[0] == 202


def test_coded_side_information_is_lost_on_a_bad_channel():
    passage = transmit({"name": "uncoded"}, -12.0, side=registry.build("sides", "coded"), batch=6)
    assert passage.reconstruction.failed.all()


def test_the_length_of_coded_side_information_holds_as_far_down_as_the_bytes():
    """At -0.5 dB long code words of QPSK 1/3 arrive; one of the length's 32 bits at that rate is lost three times in ten."""
    side, rng = registry.build("sides", "coded"), np.random.default_rng(3)
    sent = tuple(rng.bytes(400) for _ in range(60))
    noise_var = torch.full((60,), 10**0.05)

    def transmit(symbols):
        realisation = Awgn().generate(*symbols.shape, generator=torch.Generator().manual_seed(2))
        return Awgn().apply(symbols, realisation, noise_var)

    assert side.carry(sent, noise_var, transmit, torch.Generator()) == sent


def test_normal_side_information_is_lost_as_often_as_it_says():
    side = registry.build("sides", {"name": "normal", "bler": 0.2})
    received = side.carry((b"x",) * 2000, torch.ones(2000), None, torch.Generator().manual_seed(0))
    # 4.5 standard deviations of a binomial share
    assert abs(np.mean([item is None for item in received]) - 0.2) < 4.5 * (0.16 / 2000) ** 0.5
