"""The separation scheme: layout and ledger by hand, budget, outage, concealment."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jscclink.baselines.concealment import MEAN_COLOUR
from jscclink.baselines.layout import lay_out, rules_of
from jscclink.baselines.mcs import LITERATURE_LADDER, Mcs, parse_mcs
from jscclink.baselines.scrambling import gold_sequence
from jscclink.baselines.transport import Transport
from jscclink.channels.awgn import Awgn, Noiseless
from jscclink.channels.fading import Rayleigh
from jscclink.errors import InputError
from jscclink.simulator import registry
from jscclink.simulator.link import Link


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def smooth_pictures(batch, height, width, seed=1):
    coarse = torch.rand(batch, 3, 4, 4, generator=seeded(seed)) * 255
    full = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)
    return full.clamp(0, 255).to(torch.uint8)


def test_layout_of_a_kodak_picture_by_hand():
    # CBR 1/16 of 3 x 512 x 768 = 73,728 uses; 16-QAM: 294,912 coded bits = 48 blocks of 6144
    layout = lay_out(73728, parse_mcs("16qam 1/2"), 6144)
    assert (layout.blocks, layout.n, layout.k + layout.crc_bits, layout.crc_bits) == (48, 6144, 3072, 16)
    assert layout.uses == 73728
    # 48 x (3072 - 16) = 146,688 payload bits; less 24 of header: 18,333 bytes
    assert layout.max_file_bytes == 18333
    assert layout.bits(18000) == {
        "source": 144000, "header": 24, "filler": 146688 - 24 - 144000, "crc": 768, "parity": 294912 - 48 * 3072
    }  # fmt: skip


@given(
    st.integers(1, 200_000),
    st.sampled_from([1, 2, 4, 6, 8]),
    st.fractions(Fraction(1, 10), Fraction(99, 100), max_denominator=1024),
    st.one_of(st.none(), st.integers(64, 20_000)),
    st.sampled_from([rules_of("ldpc", {}), rules_of("polar", {}), rules_of("polar", {"link": "downlink"})]),
)
def test_layout_never_exceeds_the_budget_and_accounts_for_every_bit(uses, order, rate, block_length, rules):
    layout = lay_out(uses, Mcs(order, rate), block_length, rules)
    if layout is None:
        return
    assert layout.uses <= uses
    assert layout.uses * order == layout.blocks * layout.n
    # equal blocks cost less than one symbol per block
    assert layout.uses > uses - layout.blocks
    if block_length is not None:
        assert layout.n <= block_length
    assert sum(layout.bits(max(layout.max_file_bytes, 0)).values()) == layout.blocks * layout.n
    assert layout.k + layout.crc_bits <= layout.n * rate


@pytest.mark.parametrize(
    "text", ["16qam", "8psk 1/2", "16qam 2", "16qam 0/1", "16qam 1/0", "table4/1", "table1/29", "", "16qam -1/2"]
)
def test_unknown_mcs_is_refused_by_name(text):
    with pytest.raises(InputError, match=r"mcs|table"):
        parse_mcs(text)


def test_mcs_names():
    assert parse_mcs("16-QAM 1/2") == Mcs(4, Fraction(1, 2))
    # TS 38.214, table 5.1.3.1-1, index 10: 16-QAM, 340/1024; table 2, index 27: 256-QAM, 948/1024; table 3, index 0: 30/1024
    assert parse_mcs("table1/10") == Mcs(4, Fraction(340, 1024))
    assert parse_mcs("table2/27") == Mcs(8, Fraction(948, 1024))
    assert parse_mcs("table3/0") == Mcs(2, Fraction(30, 1024))
    assert [parse_mcs(name).efficiency for name in LITERATURE_LADDER] == pytest.approx([2 / 3, 1, 4 / 3, 2, 8 / 3, 3, 4])


def test_gold_sequence_against_the_recursion_of_the_standard():
    c_init, length = 0x2E51, 500
    x1, x2 = [1] + [0] * 30, [(c_init >> i) & 1 for i in range(31)]
    for n in range(1600 + length):
        x1.append((x1[n + 3] + x1[n]) % 2)
        x2.append((x2[n + 3] + x2[n + 2] + x2[n + 1] + x2[n]) % 2)
    expected = [(x1[n + 1600] + x2[n + 1600]) % 2 for n in range(length)]
    assert gold_sequence(length, c_init).tolist() == expected


def test_ledger_of_jpeg_and_ldpc_equals_a_hand_count():
    pictures = smooth_pictures(2, 64, 96)
    scheme = registry.build("schemes", {"name": "digital", "source": "jpeg", "mcs": "16qam 1/2", "block_length": 2048})
    link = Link(Awgn())
    budget = link.budget((3, 64, 96), 1 / 3)
    passage = link.run(scheme, pictures, budget, 15.0, generator=seeded())
    # 3 x 64 x 96 / 3 = 6144 uses x 4 bits = 24,576 coded bits = 12 blocks of 2048; each carries 1024 - 16 (CRC) bits
    assert passage.ledger.uses["payload"].tolist() == [6144, 6144]
    assert passage.ledger.cbr.tolist() == [1 / 3, 1 / 3]
    bits = {purpose: count.tolist() for purpose, count in passage.ledger.bits.items()}
    files = [
        registry.build("sources", "jpeg").encode(picture.permute(1, 2, 0).numpy(), (12 * 1008 - 24) // 8)
        for picture in pictures
    ]
    assert bits["source"] == [8 * len(file) for file in files]
    assert bits["header"] == [24, 24]
    assert bits["crc"] == [12 * 16] * 2
    assert bits["parity"] == [12 * 1024] * 2
    assert [sum(column) for column in zip(*bits.values(), strict=True)] == [24576, 24576]
    assert not bool(passage.reconstruction.failed.any())
    for picture, file in zip(passage.reconstruction.data, files, strict=True):
        assert np.array_equal(picture.permute(1, 2, 0).numpy(), registry.build("sources", "jpeg").decode(file))


@pytest.mark.parametrize(("link", "mcs", "crc"), [("uplink", "16qam 1/2", 11), ("downlink", "qpsk 1/4", 24)])
def test_polar_blocks_in_a_study_carry_pictures_and_their_own_crc(link, mcs, crc):
    pictures = smooth_pictures(2, 48, 64)
    spec = {"name": "digital", "source": "webp", "mcs": mcs, "code": {"name": "polar", "link": link, "list_size": 4}}
    scheme = registry.build("schemes", spec)
    budget = Link(Awgn()).budget((3, 48, 64), 1 / 2)
    layout = scheme.layout(budget)
    assert layout.n <= 1024 and layout.crc_bits == crc and layout.blocks > 10
    passage = Link(Awgn()).run(scheme, pictures, budget, 12.0, generator=seeded())
    assert not passage.reconstruction.failed.any()
    assert passage.ledger.bits["crc"].tolist() == [layout.blocks * crc] * 2
    assert sum(passage.ledger.bits.values()).tolist() == [layout.blocks * layout.n] * 2
    # the list decoder of a short block works where its rate is half a bit below capacity, and not above capacity
    assert Link(Awgn()).run(scheme, pictures, budget, -6.0, generator=seeded()).reconstruction.failed.all()


def test_a_picture_that_cannot_fit_is_an_outage_without_any_cost():
    noise = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8, generator=seeded())
    pictures = torch.cat([noise, torch.full_like(noise, 90)])
    scheme = registry.build("schemes", {"name": "digital", "source": "jpeg", "mcs": "qpsk 1/2"})
    for channel in (Awgn(), Noiseless()):
        link = Link(channel)
        passage = link.run(scheme, pictures, link.budget((3, 64, 96), 0.16), 20.0, generator=seeded())
        assert passage.reconstruction.failed.tolist() == [True, False]
        assert passage.ledger.cbr[0] == 0 and 0 < passage.ledger.cbr[1] <= 0.16
        assert passage.reconstruction.data[0, :, 5, 5].tolist() == list(MEAN_COLOUR)


def test_below_its_threshold_everything_fails_and_shows_the_declared_concealment():
    pictures = smooth_pictures(3, 48, 48)
    link = Link(Awgn())
    for policy, colour in (("mean_colour", list(MEAN_COLOUR)), ("grey", [128] * 3)):
        scheme = registry.build("schemes", {"name": "digital", "mcs": "64qam 2/3", "concealment": policy})
        passage = link.run(scheme, pictures, link.budget((3, 48, 48), 1 / 2), 3.0, generator=seeded())
        assert passage.reconstruction.failed.all()
        assert (passage.reconstruction.data == torch.tensor(colour, dtype=torch.uint8)[:, None, None]).all()


def test_giving_up_early_changes_no_outcome():
    """Near the threshold, where first blocks, later blocks or none fail: as if all blocks of all items were decoded."""
    transport = Transport("16qam 1/2", 512)
    layout = transport.layout(1280)
    assert layout.blocks == 10
    generator, files = seeded(3), [bytes([item] * 30) for item in range(60)]
    sent = transport.send(files, layout, torch.device("cpu"))
    noise_var = torch.full(sent.shape, 10 ** (-0.76))
    received = sent + noise_var.sqrt() * torch.randn(sent.shape, dtype=torch.complex64, generator=generator)
    decoded = transport.coder(layout).decode(transport.soft_bits(received, noise_var, layout))
    ok = decoded.ok.reshape(60, 10)
    assert not ok[:, :4].all(1).all() and ok.all(1).any() and (ok[:, :4].all(1) & ~ok.all(1)).any()
    assert transport.receive(received, noise_var, layout) == transport.files(decoded.bits, decoded.ok, layout)
    assert transport.receive(sent, noise_var, layout) == files
    assert transport.receive(sent[:, :0].new_zeros(2, layout.uses), noise_var[:2], layout) == [None, None]


@pytest.mark.parametrize("uses", [0, 1, 5, 30])
def test_tiny_budgets_are_outages(uses):
    pictures = smooth_pictures(1, 8, 8)
    for spec in ({"name": "digital", "mcs": "qpsk 1/2"}, {"name": "uncoded"}, {"name": "capacity_bound"}):
        link = Link(Awgn())
        passage = link.run(
            registry.build("schemes", spec), pictures, link.budget((3, 8, 8), uses / 192), 10.0, generator=seeded()
        )
        assert passage.reconstruction.failed.all()
        assert float(passage.ledger.cbr.max()) <= uses / 192


def test_capacity_bound_carries_capacity_and_no_more():
    pictures = smooth_pictures(1, 64, 64)
    link = Link(Awgn())
    budget = link.budget((3, 64, 64), 1 / 8)
    run = lambda spec: link.run(registry.build("schemes", spec), pictures, budget, 10.0, generator=seeded())  # noqa: E731
    file = run({"name": "capacity_bound"}).bursts[0].genie[0]
    assert 8 * len(file) <= 1536 * np.log2(11) < 8 * (len(file) + 40)
    assert not run({"name": "capacity_bound", "rate": 3.4}).reconstruction.failed.any()
    assert run({"name": "capacity_bound", "rate": 3.5}).reconstruction.failed.all()


def test_pictures_that_share_their_bits_take_one_quality_or_the_next():
    pictures = smooth_pictures(6, 64, 64, seed=4)
    codec = registry.build("sources", "jpeg")
    budget = Link(Awgn()).budget((3, 64, 64), 1 / 8)
    run = lambda spec: Link(Awgn()).run(registry.build("schemes", spec), pictures, budget, 10.0, generator=seeded())  # noqa: E731
    passage = run({"name": "capacity_bound", "share": "batch"})
    files = passage.bursts[0].genie
    total = 6 * int(1536 * np.log2(11) / 8)
    images = [picture.permute(1, 2, 0).numpy() for picture in pictures]
    sizes = [sum(len(codec.encode_at(image, quality)) for image in images) for quality in codec.qualities]
    best = max(index for index, size in enumerate(sizes) if size <= total)
    expected = [[codec.encode_at(image, codec.qualities[best + step]) for image in images] for step in (0, 1)]
    better = sum(file == other for file, other in zip(files, expected[1], strict=True))
    assert files == (*expected[1][:better], *expected[0][better:])
    assert sum(map(len, files)) <= total < sum(map(len, [*expected[1][: better + 1], *expected[0][better + 1 :]]))
    assert not passage.reconstruction.failed.any()
    assert any(8 * len(file) > 1536 * np.log2(11) for file in files), "some picture lives on the others' bits"


def test_sharing_bits_is_for_awgn_capacity_only():
    with pytest.raises(InputError, match="share: batch"):
        registry.build("schemes", {"name": "capacity_bound", "share": "batch", "rate": 1.0})
    link = Link(Rayleigh(csi="tx+rx"))
    with pytest.raises(InputError, match="AWGN"):
        scheme = registry.build("schemes", {"name": "capacity_bound", "share": "batch"})
        link.run(scheme, smooth_pictures(1, 32, 32), link.budget((3, 32, 32), 1 / 4), 10.0, generator=seeded())
