"""Where the code blocks of the literature's MCS ladder get through: theory, this project's chain, Sionna's blocks beside it.

    python benchmarks/thresholds.py [--channel awgn|rayleigh] [--blocks N] [--iterations N] [--algorithm NAME] [--sionna N]

Per MCS at 6144 coded bits, CRC included in the rate: the BICM limit, the normal approximation of the best BICM code of that
length at a block error rate of 1e-2 (jscclink.baselines.bicm), and the Es/N0 at which the LDPC code of the scheme `digital` has
block error rates of 1/2 and 1e-2 (log-linear between steps of 0.1 dB). On fading: one complex normal gain per use, known to
the receiver. With --sionna N: N blocks over Sionna's encoder, mapper, flat fading channel, demapper and decoder (flooding
sum-product, 20 iterations; its k includes what is our CRC) 0.2 dB below and 0.2 dB above our point of 1/2.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from typing import Any

import torch

from jscclink.baselines.bicm import bicm_esno_db, bicm_limit_esno_db
from jscclink.baselines.channel_coding.ldpc import LDPC5G
from jscclink.baselines.mcs import LITERATURE_LADDER, Mcs, parse_mcs
from jscclink.baselines.modulation import Modulation
from jscclink.channels.awgn import Awgn
from jscclink.channels.fading import Rayleigh
from jscclink.simulator.scheme import Reception
from jscclink.simulator.units import noise_var_from_esno_db

N = 6144
STEP_DB = 0.1
ENOUGH_ERRORS = 100
BATCH = 96


def coder_of(mcs: Mcs, options: argparse.Namespace) -> LDPC5G:
    """The code of a 6144-bit block: the rate counts the CRC in, as in TS 38.214."""
    protected = int(N * mcs.rate)
    k = protected - (16 if protected - 16 <= 3824 else 24)
    return LDPC5G(k, N, bits_per_symbol=mcs.bits_per_symbol, algorithm=options.algorithm, iterations=options.iterations)


def block_error_rate(mcs: Mcs, coder: LDPC5G, channel: Awgn | Rayleigh, esno_db: float, blocks: int) -> float:
    """Over so many blocks, or fewer once 100 are wrong."""
    modulation, generator = Modulation(mcs.bits_per_symbol), torch.Generator().manual_seed(1)
    uses, noise_var = N // mcs.bits_per_symbol, torch.tensor(noise_var_from_esno_db(esno_db))
    done = errors = 0
    while done < blocks and errors < ENOUGH_ERRORS:
        bits = torch.randint(0, 2, (BATCH, coder.k), generator=generator, dtype=torch.uint8)
        realisation = channel.generate(BATCH, uses, generator=generator)
        seen = channel.apply(modulation.map(coder.encode(bits)), realisation, noise_var.expand(BATCH))
        symbols, left = Reception(seen.symbols, seen.gain, seen.noise_var).unbiased()
        errors += int((coder.decode(modulation.demap(symbols, left)).bits != bits).any(1).sum())
        done += BATCH
    return errors / done


def sionna_block_error_rate(mcs: Mcs, fading: bool, esno_db: float, blocks: int) -> float:
    """The same with none of this project's code between the bits."""
    from sionna.phy import config
    from sionna.phy.channel import AWGN, FlatFadingChannel
    from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder
    from sionna.phy.mapping import Demapper, Mapper

    config.seed = 1
    encoder = LDPC5GEncoder(int(N * mcs.rate), N, num_bits_per_symbol=mcs.bits_per_symbol)
    decoder = LDPC5GDecoder(encoder, num_iter=20, hard_out=True)
    mapper, demapper = (
        Mapper("qam", mcs.bits_per_symbol),
        Demapper("app", "qam", mcs.bits_per_symbol),
    )
    noise_var = torch.tensor(noise_var_from_esno_db(esno_db))
    bits = torch.randint(0, 2, (blocks, encoder.k), generator=torch.Generator().manual_seed(2)).float()
    sent = mapper(encoder(bits))
    if fading:
        # one transmission of one symbol over one antenna each: an own gain for every use
        received, gain = FlatFadingChannel(1, 1, return_channel=True)(sent.reshape(-1, 1), noise_var)
        gain = gain.reshape(sent.shape)
        symbols, left = received.reshape(sent.shape) / gain, noise_var / gain.abs().square()
    else:
        symbols, left = AWGN()(sent, noise_var), noise_var.expand(sent.shape)
    return float((decoder(demapper(symbols, left)) != bits).any(1).double().mean())


def crossing(points: list[tuple[float, float]], rate: float) -> float:
    """Es/N0 in dB at which the block error rate falls through a value, from pairs (Es/N0, rate), rising in Es/N0."""
    pairs = itertools.pairwise(points)
    (low_db, above), (high_db, below) = next((a, b) for a, b in pairs if a[1] > rate >= b[1])
    floor = 1e-4  # no error seen
    share = math.log(above / rate) / math.log(above / max(below, floor))
    return low_db + share * (high_db - low_db)


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    mcs, fading = parse_mcs(name), options.channel == "rayleigh"
    kind = "rayleigh" if fading else "none"
    limit = bicm_limit_esno_db(mcs.efficiency, mcs.bits_per_symbol, kind)
    best = bicm_esno_db(N // mcs.bits_per_symbol, mcs.efficiency, 1e-2, mcs.bits_per_symbol, kind)
    channel, coder = Rayleigh() if fading else Awgn(), coder_of(mcs, options)
    step, points = math.floor(limit / STEP_DB), [(limit, 1.0)]
    while points[-1][1] >= 3e-3:
        step += 1
        points.append((step * STEP_DB, block_error_rate(mcs, coder, channel, step * STEP_DB, options.blocks)))
    half, low = crossing(points, 0.5), crossing(points, 1e-2)
    row = {"mcs": str(mcs), "bits_per_use": mcs.efficiency, "bicm_limit_db": limit, "normal_approximation_db": best}
    row |= {"bler_half_db": half, "bler_1e-2_db": low, "gap_to_normal_approximation_db": low - best}
    row = {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}
    if options.sionna:
        beside = [round(half + offset, 2) for offset in (-0.2, 0.2)]
        row["sionna"] = {str(db): round(sionna_block_error_rate(mcs, fading, db, options.sionna), 3) for db in beside}
        row["ours"] = {str(db): round(block_error_rate(mcs, coder, channel, db, options.blocks), 3) for db in beside}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channel", choices=("awgn", "rayleigh"), default="awgn")
    parser.add_argument("--blocks", type=int, default=4800)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--algorithm", default="offset-min-sum")
    parser.add_argument("--sionna", type=int, default=0, metavar="N", help="blocks over Sionna's chain at two SNRs per MCS")
    parser.add_argument("--mcs", nargs="*", default=LITERATURE_LADDER)
    options = parser.parse_args()
    rows = []
    for name in options.mcs:
        rows.append(measure(name, options))
        print(rows[-1])
    settings = {key: getattr(options, key) for key in ("channel", "blocks", "iterations", "algorithm")}
    print(json.dumps({"benchmark": "thresholds", "n": N, **settings, "rows": rows}))


if __name__ == "__main__":
    main()
