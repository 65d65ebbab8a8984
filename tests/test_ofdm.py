"""OFDM: the grid and the standard's profiles against Sionna, both domains against each other, estimators against theory."""

import math

import numpy as np
import pytest
import torch
from scipy import special, stats

from jscclink.baselines import theory
from jscclink.baselines.modulation import Modulation
from jscclink.channels.estimation import Estimator
from jscclink.channels.mimo import detector
from jscclink.channels.multipath import through_taps
from jscclink.channels.recording import load_impulse_responses
from jscclink.channels.replay import load_realisation, save_realisation
from jscclink.channels.sionna import sionna_draws
from jscclink.errors import InputError
from jscclink.simulator import registry


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def symbols(batch, uses, seed=1):
    return torch.randn(batch, uses, dtype=torch.complex64, generator=seeded(seed))


def test_error_rate_of_every_carrier_of_a_fixed_two_tap_channel():
    spec = {
        "name": "taps", "delays_ns": [0.0, 1041.6666667], "powers_db": [0.0, -2.0], "fading": "none", "fft_size": 32,
        "pilot_symbols": [], "symbols_per_slot": 1, "cyclic_prefix": 4,
    }  # fmt: skip
    channel = registry.build("channels", spec)
    blocks, carriers = 6000, 32
    bits = torch.randint(0, 2, (1, 2 * blocks * carriers), dtype=torch.uint8, generator=seeded())
    modulation = Modulation(2)
    seen = channel(modulation.map(bits), torch.full((1,), 0.25), generator=seeded(1))
    wrong = (modulation.hard(seen.symbols / seen.gain) ^ bits).view(blocks, carriers, 2).sum((0, 2)).numpy()
    p = 10 ** (-2.0 / 10)
    k = np.arange(32) - 16
    h = (1 + math.sqrt(p) * np.exp(-2j * math.pi * k / 32)) / math.sqrt(1 + p)
    rate = theory.qam_ber_awgn(10 * np.log10(np.abs(h) ** 2 / 0.25), 2)
    expected = rate * 2 * blocks
    enough = expected > 10
    assert enough.sum() >= 20
    chi2 = ((wrong - expected) ** 2 / (expected * (1 - rate)))[enough].sum()
    assert stats.chi2.sf(chi2, enough.sum()) > 0.01
    assert (wrong[~enough] <= 40).all()


def test_profiles_are_those_of_the_standard():
    # TR 38.901 table 7.7.2-3 (TDL-C)
    delays = [0, .2099, .2219, .2329, .2176, .6366, .6448, .6560, .6584, .7935, .8213, .9336, 1.2285, 1.3083, 2.1704, 2.7105,
              4.2589, 4.6003, 5.4902, 5.6077, 6.3065, 6.6374, 7.0427, 8.6523]  # fmt: skip
    powers_db = [-4.4, -1.2, -3.5, -5.2, -2.5, 0, -2.2, -3.9, -7.4, -7.1, -10.7, -11.1, -5.1, -6.8, -8.7, -13.2, -13.9, -13.9,
                 -15.8, -17.1, -16, -15.7, -21.6, -22.8]  # fmt: skip
    powers = 10 ** (np.array(powers_db) / 10)
    powers /= powers.sum()
    channel = registry.build("channels", {"name": "tdl", "model": "C", "delay_spread_ns": 100.0})
    order, ours = np.argsort(delays), np.argsort(channel.delays)
    np.testing.assert_allclose(channel.delays[ours], np.array(delays)[order] * 1e-7, rtol=1e-5, atol=1e-12)
    paths = channel.generate(3000, 1, generator=seeded()).tensors["paths"][:, 0, 0]
    power = paths.abs().square().double()
    half_width = 4.0 * power.std(0) / math.sqrt(len(power))
    assert bool(((power.mean(0)[ours.tolist()] - torch.from_numpy(powers[order])).abs() < half_width[ours.tolist()]).all())


def test_tdl_gains_have_jakes_autocorrelation():
    channel = registry.build(
        "channels", {"name": "tdl", "model": "A30", "speed_kmh": 300.0, "fft_size": 32, "cyclic_prefix": 4}
    )
    paths = channel.generate(1500, 28 * 32, generator=seeded()).tensors["paths"]
    shift = 300 / 3.6 / 299_792_458.0 * 3.5e9 / channel.symbol_rate
    reference = (paths[:, :, 0].abs().square()).mean()
    for lag in (1, 5, 13, 27):
        found = (paths[:, :, lag] * paths[:, :, 0].conj()).mean() / reference
        assert abs(complex(found) - special.j0(2 * math.pi * shift * lag)) < 0.04


def both_domains(spec, uses=3000, guard=0):
    common = {"fft_size": 64, "cyclic_prefix": 20, "guard_left": guard, "guard_right": guard, **spec}
    frequency = registry.build("channels", common)
    time = registry.build("channels", {**common, "domain": "time"})
    x = symbols(3, uses)
    drawn = time.generate(3, uses, generator=seeded(4))
    zeros = torch.zeros(3)
    tensors = {**drawn.tensors, "noise": torch.zeros(3, time.receive_antennas, uses, dtype=torch.complex64)}
    in_frequency = frequency.apply(x, type(drawn)(tensors, 3, uses), zeros)
    in_time = time.apply(x, drawn, zeros)
    return x, in_frequency, in_time


@pytest.mark.parametrize("equaliser", ["none", "mmse"])
def test_the_domains_agree_where_the_prefix_suffices(equaliser):
    spec = {
        "name": "exponential",
        "delay_spread_ns": 1500.0,
        "truncate_db": 25.0,
        "receive_antennas": 2,
        "equaliser": equaliser,
    }
    _, frequency, time = both_domains(spec)
    torch.testing.assert_close(time.symbols, frequency.symbols, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(time.gain, frequency.gain, rtol=1e-3, atol=1e-4)


def test_the_domains_agree_for_paths_between_samples_away_from_the_edge_of_the_band():
    _, frequency, time = both_domains({"name": "tdl", "delay_spread_ns": 300.0, "speed_kmh": 0.0, "equaliser": "none"}, guard=8)
    error = (time.gain - frequency.gain).abs().square().mean() / frequency.gain.abs().square().mean()
    assert 10 * math.log10(float(error)) < -25


def test_a_short_prefix_costs_interference():
    spec = {"name": "exponential", "delay_spread_ns": 1500.0, "truncate_db": 25.0, "equaliser": "none", "domain": "time"}
    left = []
    for prefix in (20, 4):
        channel = registry.build("channels", {**spec, "fft_size": 64, "cyclic_prefix": prefix})
        x = symbols(20, 3000)
        seen = channel(x, torch.zeros(20), generator=seeded(4))
        left.append(float((seen.symbols - seen.gain * x).abs().square().mean()))
    assert left[0] < 1e-8 and left[1] > 1e-3


def test_motion_during_a_symbol_costs_the_interference_of_theory():
    # Clarke's model: interference power (pi f T)^2 / 6 for small f T, as the leading term of the sum over carriers;
    # linear interpolation between symbols keeps it
    channel = registry.build(
        "channels",
        {"name": "exponential", "delay_spread_ns": 0.0, "speed_kmh": 400.0, "fft_size": 128, "cyclic_prefix": 4,
         "domain": "time", "equaliser": "none", "pilot_symbols": []},
    )  # fmt: skip
    x = torch.polar(torch.ones(60, 14 * 128 * 2), 6.28 * torch.rand(60, 14 * 128 * 2, generator=seeded()))
    seen = channel(x, torch.zeros(60), generator=seeded(2))
    found = float((seen.symbols - seen.gain * x).abs().square().mean())
    turns = 400 / 3.6 / 299_792_458.0 * 3.5e9 / 30e3
    assert found == pytest.approx((math.pi * turns) ** 2 / 6, rel=0.25)


def test_estimators_report_their_own_error():
    for estimation, spacing in (("ls", 1), ("lmmse", 1), ("lmmse", 4)):
        spec = {"name": "tdl", "speed_kmh": 10.0, "estimation": estimation, "pilot_spacing": spacing, "equaliser": "none",
                "delay_spread_ns": 50.0, "fft_size": 64, "carrier_ghz": 1.0}  # fmt: skip
        channel = registry.build("channels", spec)
        drawn = channel.generate(300, 800, generator=seeded())
        noise_var = torch.cat([torch.full((150,), 0.1), torch.full((150,), 0.5)])
        seen = channel.apply(torch.zeros(300, 800, dtype=torch.complex64), drawn, noise_var)
        error = (seen.gain - channel.gains(drawn, 0, 800)).abs().square()
        told = seen.noise_var - noise_var[:, None]
        for half in (slice(0, 150), slice(150, 300)):
            assert float(error[half].mean()) == pytest.approx(float(told[half].mean()), rel=0.15)


def test_linear_mmse_is_the_textbook_formula():
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((n, n)) + 1j * rng.standard_normal((n, n)) for n in (5, 12))
    time, frequency = a @ a.conj().T, b @ b.conj().T
    rows, columns = np.array([1, 3]), np.arange(0, 12, 3)
    covariance = np.kron(time, frequency)
    pilots = (rows[:, None] * 12 + columns).ravel()
    measured = rng.standard_normal((2, 2, 4)) + 1j * rng.standard_normal((2, 2, 4))
    noise_var = np.array([0.3, 2.0])
    found, error = Estimator.linear_mmse(time, rows, frequency, columns).estimate(
        torch.from_numpy(measured), torch.from_numpy(noise_var)
    )
    for i in range(2):
        gain = covariance[:, pilots] @ np.linalg.inv(covariance[np.ix_(pilots, pilots)] + noise_var[i] * np.eye(8))
        np.testing.assert_allclose(found[i].numpy().ravel(), gain @ measured[i].ravel(), rtol=1e-6)
        left = np.diag(covariance - gain @ covariance[pilots]).real
        np.testing.assert_allclose(error[i].numpy().ravel(), left, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["zf", "mmse"])
def test_linear_detection_is_sionnas(method):
    with sionna_draws(seeded()):
        from sionna.phy.mimo import lmmse_equalizer, zf_equalizer
    h = torch.randn(50, 4, 3, dtype=torch.complex64, generator=seeded())
    y = torch.randn(50, 4, dtype=torch.complex64, generator=seeded(1))
    noise_var = torch.full((50,), 0.2)
    matrix, gain, variance = detector(h, noise_var, method)
    found = (matrix @ y[..., None])[..., 0] / gain
    covariance = 0.2 * torch.eye(4, dtype=torch.complex64).expand(50, 4, 4)
    expected, left = (zf_equalizer if method == "zf" else lmmse_equalizer)(y, h, covariance)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(variance / gain**2, left, rtol=1e-3, atol=1e-4)


def test_the_grid_is_sionnas():
    with sionna_draws(seeded()):
        from sionna.phy.ofdm import OFDMModulator, ResourceGrid
    grid = ResourceGrid(
        14, 64, 30e3, num_guard_carriers=(5, 6), dc_null=True, cyclic_prefix_length=7, pilot_pattern="kronecker",
        pilot_ofdm_symbol_indices=[2, 11], device="cpu",
    )  # fmt: skip
    channel = registry.build(
        "channels",
        {"name": "exponential", "delay_spread_ns": 0.0, "fft_size": 64, "cyclic_prefix": 7, "guard_left": 5, "guard_right": 6,
         "dc_null": True},
    )  # fmt: skip
    assert grid.num_data_symbols == channel._grid.data
    np.testing.assert_array_equal(np.asarray(grid.effective_subcarrier_ind), channel._grid.carriers)
    elements = symbols(2, channel._grid.elements)
    full = torch.zeros(2, 14, 64, dtype=torch.complex64)
    full[:, :, channel._grid.carriers] = elements.view(2, 14, -1)
    expected = OFDMModulator(7, device="cpu")(full) * math.sqrt(64 / len(channel._grid.carriers))
    torch.testing.assert_close(channel._grid.modulate(elements[:, None]), expected, rtol=1e-4, atol=1e-5)
    back = channel._grid.demodulate(channel._grid.modulate(elements[:, None]), early=3)
    torch.testing.assert_close(back[:, 0], elements, rtol=1e-4, atol=1e-5)


def test_time_varying_convolution_is_the_sum_it_says():
    period, steps, taps = 9, 4, 5
    x, h = symbols(2, period * steps)[:, None], torch.randn(2, 3, steps, taps, dtype=torch.complex64, generator=seeded(3))
    found = through_taps(x, h, -2, period)
    middles = np.arange(steps) * period + period // 2
    weight = torch.tensor(np.stack([np.interp(np.arange(period * steps), middles, unit) for unit in np.eye(steps)]))
    gains = torch.einsum("brsl,sn->brnl", h.to(torch.complex128), weight.to(torch.complex128))
    expected = torch.zeros(2, 3, period * steps, dtype=torch.complex128)
    for n in range(period * steps):
        for tap in range(taps):
            if 0 <= n - (tap - 2) < period * steps:
                expected[:, :, n] += gains[:, :, n, tap] * x[:, :, n - (tap - 2)]
    torch.testing.assert_close(found.to(torch.complex128), expected, rtol=1e-4, atol=1e-4)


def test_recordings_from_both_kinds_of_file_and_what_is_wrong_with_others(tmp_path):
    from scipy.io import savemat

    rng = np.random.default_rng(0)
    h = rng.standard_normal((4, 2, 5)) + 1j * rng.standard_normal((4, 2, 5))
    np.savez(tmp_path / "h.npz", h=h)
    savemat(tmp_path / "h.mat", {"h": h})
    one, other = (load_impulse_responses(str(tmp_path / name), "h", "set") for name in ("h.npz", "h.mat"))
    assert torch.equal(one, other) and one.shape == (4, 2, 5)
    assert float(one.abs().square().sum(-1).mean()) == pytest.approx(1.0, rel=1e-5)
    each = load_impulse_responses(str(tmp_path / "h.npz"), "h", "each")
    torch.testing.assert_close(each.abs().square().sum(-1).mean(1), torch.ones(4))
    channel = registry.build("channels", {"name": "recorded", "file": str(tmp_path / "h.npz"), "receive_antennas": 2})
    drawn = channel.generate(50, 10, generator=seeded())
    assert {int((one == path).flatten(1).all(1).nonzero()) for path in drawn.tensors["paths"][:, :, 0]} == {0, 1, 2, 3}

    h[1, 0, 0] = np.nan
    np.savez(tmp_path / "nan.npz", h=h)
    np.savez(tmp_path / "flat.npz", h=np.ones(4))
    (tmp_path / "text.npz").write_text("no")
    for name, words in (
        ("nan.npz", "gains that are not finite numbers, first in record 1"),
        ("flat.npz", r"must be numbers \[records, taps\]"),
        ("text.npz", "cannot be read"),
        ("none.npz", "no file"),
    ):
        with pytest.raises(InputError, match=words):
            registry.build("channels", {"name": "recorded", "file": str(tmp_path / name)})
    with pytest.raises(InputError, match="holds no variable 'g'; it holds: h"):
        load_impulse_responses(str(tmp_path / "flat.npz"), "g", "set")
    with pytest.raises(InputError, match="holds 2 antennas, receive_antennas is 1"):
        registry.build("channels", {"name": "recorded", "file": str(tmp_path / "h.mat")})


def test_a_saved_realisation_gives_the_same_channel_again(tmp_path):
    spec = ["phase_noise", {"name": "exponential", "estimation": "ls"}, "awgn"]
    channel = registry.build("channels", spec)
    drawn = channel.generate(2, 500, generator=seeded())
    save_realisation(tmp_path / "r.npz", drawn, spec)
    again = load_realisation(tmp_path / "r.npz", spec)
    x, noise_var = symbols(2, 500), torch.full((2,), 0.1)
    assert torch.equal(channel.apply(x, drawn, noise_var).symbols, channel.apply(x, again, noise_var).symbols)
    with pytest.raises(InputError, match="was saved for the channel"):
        load_realisation(tmp_path / "r.npz", "awgn")
    with pytest.raises(InputError, match="is no realisation"):
        load_realisation(tmp_path / "nothing.npz")


def test_the_command_describes_plots_and_saves_a_channel(tmp_path):
    from typer.testing import CliRunner

    from jscclink.simulator.cli import app

    figure, saved = tmp_path / "c.png", tmp_path / "c.npz"
    spec = "[{name: rapp, backoff_db: 3}, {name: exponential, speed_kmh: 60}, awgn]"
    arguments = ["channel", spec, "--uses", "4000", "--images", "2", "--plot", str(figure), "--save", str(saved)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    for words in ("mean power gain", "capacity at 20 dB", "with water-filling", "peak to average power", "pilots 1024"):
        assert words in result.output
    assert figure.stat().st_size > 10_000
    assert load_realisation(saved).tensors["paths"].shape[:2] == (2, 1)


def test_two_schemes_meet_the_very_same_channel_and_the_ledger_counts_pilots_and_prefix():
    from jscclink.simulator.link import Link

    channel = registry.build("channels", {"name": "exponential", "speed_kmh": 30.0, "estimation": "lmmse"})
    link = Link(channel)
    source = torch.randint(0, 256, (2, 3, 16, 32), dtype=torch.uint8, generator=seeded())
    budget = link.budget((3, 16, 32), 1.0)
    drawn = channel.generate(2, 2 * budget.uses, generator=seeded(8))
    uncoded = registry.build("schemes", "uncoded")
    one = link.run(uncoded, source, budget, 20.0, generator=seeded(1), realisation=drawn)
    other = link.run(uncoded, source, budget, 20.0, generator=seeded(2), realisation=drawn)
    assert torch.equal(one.receptions[0].symbols, other.receptions[0].symbols)
    slots = -(-one.bursts[0].valid // (12 * 256))
    assert one.ledger.overhead["pilots"].tolist() == (slots * 512).tolist()
    assert one.ledger.overhead["prefix"].tolist() == (slots * 14 * 20).tolist()
    assert bool((one.ledger.cbr_with_overhead > one.ledger.cbr).all())


def test_sionnas_generator_goes_on_as_if_we_had_drawn_nothing():
    with sionna_draws(seeded()):
        from sionna.phy import config
    before = config.torch_rng("cpu").get_state()
    drawn = [registry.build("channels", {"name": "tdl"}).generate(2, 10, generator=seeded(seed)) for seed in (3, 3, 4)]
    assert torch.equal(config.torch_rng("cpu").get_state(), before)
    paths = [realisation.tensors["paths"] for realisation in drawn]
    assert torch.equal(paths[0], paths[1]) and not torch.equal(paths[0], paths[2])
