"""What BICM can carry, against textbook limits, simulation of its definition, and this project's chain on fading channels."""

import math

import pytest
import torch

from jscclink.baselines import theory
from jscclink.baselines.bicm import bicm_capacity, bicm_esno_db, bicm_limit_esno_db
from jscclink.baselines.channel_coding.ldpc import LDPC5G
from jscclink.baselines.modulation import Modulation
from jscclink.channels.awgn import Awgn
from jscclink.channels.fading import Rayleigh
from jscclink.errors import InputError
from jscclink.simulator.scheme import Reception
from jscclink.simulator.units import noise_var_from_esno_db


def over(channel, symbols, esno_db, generator):
    """Unbiased symbols and their noise variance behind a channel."""
    realisation = channel.generate(*symbols.shape, generator=generator)
    noise_var = torch.full((len(symbols),), noise_var_from_esno_db(esno_db))
    seen = channel.apply(symbols, realisation, noise_var)
    return Reception(seen.symbols, seen.gain, seen.noise_var).unbiased()


def test_textbook_limits_of_rate_one_half():
    # antipodal signals at rate 1/2: Eb/N0 of 0.187 dB on AWGN (Richardson & Urbanke, Modern Coding Theory, table 4.1 as
    # sigma = 0.97869), 1.83 dB on fast Rayleigh fading with receiver CSI (Hou, Siegel & Milstein, IEEE JSAC 19(5), 2001).
    # QPSK at rate 1/2 carries one bit per use, so Es/N0 is Eb/N0
    assert bicm_limit_esno_db(1.0, 2) == pytest.approx(-20 * math.log10(0.97869), abs=0.002)
    assert bicm_limit_esno_db(1.0, 2, "rayleigh") == pytest.approx(1.83, abs=0.01)


@pytest.mark.parametrize("order", [1, 2, 4, 6, 8])
@pytest.mark.parametrize("fading", ["none", "rayleigh"])
def test_capacity_is_what_exact_likelihood_ratios_tell(order, fading):
    """m - E log2(1 + exp(-(2 b - 1) L)) summed over the bits: the definition, by simulation."""
    generator, modulation, esno_db = torch.Generator().manual_seed(order), Modulation(order), 3.0 + order
    bits = torch.randint(0, 2, (1, 60_000 * order), dtype=torch.uint8, generator=generator)
    channel = Awgn() if fading == "none" else Rayleigh()
    llr = modulation.demap(*over(channel, modulation.map(bits), esno_db, generator), method="exact").double()
    missing = torch.nn.functional.softplus(-(2.0 * bits.double() - 1.0) * llr) / math.log(2.0)
    information = order - missing.reshape(-1, order).sum(1)
    deviation = float(information.std()) / math.sqrt(len(information))
    assert abs(float(information.mean()) - float(bicm_capacity(esno_db, order, fading))) < 4 * deviation


@pytest.mark.parametrize("fading", ["none", "rayleigh"])
def test_capacity_stays_below_gaussian_inputs_and_meets_the_alphabet(fading):
    gaussian = theory.awgn_capacity if fading == "none" else theory.ergodic_rayleigh_capacity
    for order in (2, 4, 6):
        grid = [-10.0, 0.0, 10.0, 20.0]
        found = bicm_capacity(grid, order, fading)
        assert (found <= gaussian(grid) + 1e-4).all() and (found[1:] > found[:-1]).all()
        assert float(bicm_capacity(50.0, order, fading)) == pytest.approx(order, abs=1e-2)


def test_finite_blocks_need_more_and_long_ones_no_more():
    limit = bicm_limit_esno_db(2.0, 4, "rayleigh")
    needed = [bicm_esno_db(uses, 2.0, 1e-2, 4, "rayleigh") for uses in (200, 1536, 10_000_000)]
    assert needed[0] > needed[1] > needed[2] and needed[2] == pytest.approx(limit, abs=0.02)
    # QPSK at low rates is as good as Gaussian symbols
    gaussian = theory.normal_approximation_esno_db(3072, 0.2, 1e-3)
    assert bicm_esno_db(3072, 0.2, 1e-3, 2) == pytest.approx(gaussian, abs=0.02)


def test_what_no_code_carries_is_refused():
    with pytest.raises(InputError, match="bits_per_use is 2"):
        bicm_limit_esno_db(2.0, 2)
    with pytest.raises(InputError, match="fading is 'rician'"):
        bicm_capacity(3.0, 2, "rician")


def lost(channel, order, rate, n, esno_db, blocks, seed=1):
    """How many of so many LDPC blocks are lost; the rate counts the CRC in."""
    generator, modulation = torch.Generator().manual_seed(seed), Modulation(order)
    coder = LDPC5G(int(n * rate) - 16, n, bits_per_symbol=order)
    bits = torch.randint(0, 2, (blocks, coder.k), generator=generator, dtype=torch.uint8)
    symbols, left = over(channel, modulation.map(coder.encode(bits)), esno_db, generator)
    return int((coder.decode(modulation.demap(symbols, left)).bits != bits).any(1).sum())


@pytest.mark.parametrize(("order", "rate"), [(2, 1 / 3), (2, 1 / 2), (2, 2 / 3), (4, 1 / 2)])
def test_cliffs_on_fast_rayleigh_lie_where_theory_has_them(order, rate):
    """Nothing gets through below the BICM limit; from 1.5 dB above the best code of this length nearly everything does."""
    limit = bicm_limit_esno_db(order * rate, order, "rayleigh")
    best = bicm_esno_db(6144 // order, order * rate, 1e-2, order, "rayleigh")
    assert lost(Rayleigh(), order, rate, 6144, limit, 96) == 96
    assert lost(Rayleigh(), order, rate, 6144, best + 1.5, 96) <= 2


@pytest.mark.parametrize("esno_db", [3.0, 8.0, 13.0])
def test_slow_rayleigh_is_an_outage_at_the_codes_distance_from_capacity(esno_db):
    """1 - exp(-(2^R - 1)/SNR), moved by what the code needs beyond capacity on AWGN; 99.9 % interval of 2000 draws."""
    order, rate, n, draws = 2, 1 / 2, 1024, 2000
    needed = next(db for db in (0.1 * step for step in range(5, 40)) if lost(Awgn(), order, rate, n, db, 192) <= 96)
    gap_db = needed - 10 * math.log10(2 ** (order * rate) - 1)
    expected = float(theory.slow_rayleigh_outage(esno_db - gap_db, order * rate))
    measured = lost(Rayleigh(form="slow"), order, rate, n, esno_db, draws) / draws
    # the threshold is known to 0.1 dB, 2.3 % of -log(1 - outage)
    slack = 3.3 * math.sqrt(expected * (1 - expected) / draws) - 0.023 * (1 - expected) * math.log(1 - expected)
    assert abs(measured - expected) < slack
    assert 0.5 < gap_db < 2.0
