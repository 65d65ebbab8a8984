"""A coded link over our OFDM channel against the same chain written with Sionna's blocks alone."""

import math

import pytest
import torch

from jscclink.channels.sionna import sionna_draws
from jscclink.simulator import registry

CARRIERS, K, BITS = 32, 768, 4
N = 12 * CARRIERS * BITS


@pytest.mark.slow
def test_block_error_rate_over_tdl_c_agrees_with_sionnas_own_chain():
    blocks, esno_db = 320, 11.5
    generator = torch.Generator().manual_seed(1)
    noise_var = torch.full((blocks,), 10 ** (-esno_db / 10))
    with sionna_draws(generator):
        from sionna.phy.channel import OFDMChannel
        from sionna.phy.channel.tr38901 import TDL
        from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder
        from sionna.phy.mapping import Demapper, Mapper
        from sionna.phy.mimo import StreamManagement
        from sionna.phy.ofdm import LMMSEEqualizer, LSChannelEstimator, ResourceGrid, ResourceGridMapper

        encoder = LDPC5GEncoder(K, N, num_bits_per_symbol=BITS, device="cpu")
        decoder = LDPC5GDecoder(encoder, num_iter=12, cn_update="minsum", hard_out=True, device="cpu")
        mapper, demapper = Mapper("qam", BITS, device="cpu"), Demapper("maxlog", "qam", BITS, device="cpu")
        bits = torch.randint(0, 2, (blocks, K), generator=generator).float()
        symbols = mapper(encoder(bits))

        grid = ResourceGrid(
            14, CARRIERS, 240e3, cyclic_prefix_length=10, pilot_pattern="kronecker", pilot_ofdm_symbol_indices=[2, 11],
            device="cpu",
        )  # fmt: skip
        line = TDL("C", 100e-9, 3.5e9, min_speed=30 / 3.6, device="cpu")
        received = OFDMChannel(line, grid, device="cpu")(
            ResourceGridMapper(grid, device="cpu")(symbols[:, None, None]), noise_var
        )
        estimate, error = LSChannelEstimator(grid, interpolation_type="nn", device="cpu")(received, noise_var)
        equaliser = LMMSEEqualizer(grid, StreamManagement([[1]], 1), device="cpu")
        found, left = equaliser(received, estimate, error, noise_var)
        theirs = decoder(demapper(found[:, 0, 0], left[:, 0, 0]))

        channel = registry.build(
            "channels",
            {"name": "tdl", "model": "C", "delay_spread_ns": 100.0, "speed_kmh": 30.0, "fft_size": CARRIERS,
             "subcarrier_spacing_khz": 240.0, "cyclic_prefix": 10, "estimation": "ls", "interpolation": "nearest"},
        )  # fmt: skip
        seen = channel(symbols, noise_var, generator=generator)
        unbiased = seen.symbols / seen.gain
        ours = decoder(demapper(unbiased, seen.noise_var / seen.gain.abs().square()))
    rates = [float((decoded != bits).any(1).double().mean()) for decoded in (theirs, ours)]
    pooled = sum(rates) / 2
    assert 0.02 < pooled < 0.6, "the operating point should tell the two apart"
    assert abs(rates[0] - rates[1]) < 2.576 * math.sqrt(pooled * (1 - pooled) * 2 / blocks), rates
