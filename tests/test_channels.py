"""Every channel: the contract, and the facts a channel must get right (power, noise, randomness, gradients, devices)."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jscclink.channels import channel as interface
from jscclink.channels.channel import Channel
from jscclink.errors import InputError
from jscclink.simulator import registry

SMALL = {"fft_size": 16, "cyclic_prefix": 6, "symbols_per_slot": 4, "pilot_symbols": [1]}


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "h.npz"
    rng = np.random.default_rng(1)
    decay = np.exp(-np.arange(6) / 2)
    np.savez(path, h=(rng.standard_normal((5, 6)) + 1j * rng.standard_normal((5, 6))) * decay)
    return str(path)


SPECS = {
    "awgn": "awgn",
    "rayleigh fast": "rayleigh",
    "rayleigh block": {"name": "rayleigh", "form": "block", "block_length": 7, "equaliser": "zf"},
    "rayleigh slow": {"name": "rayleigh", "form": "slow", "equaliser": "none"},
    "rayleigh jakes": {"name": "rayleigh", "form": "jakes", "doppler": 0.01},
    "rayleigh csi error": {"name": "rayleigh", "form": "block", "block_length": 7, "csi_error": 0.01},
    "rayleigh none": {"name": "rayleigh", "csi": "none"},
    "rician": {"name": "rician", "k_db": 3.0, "form": "block", "block_length": 5},
    "mrc": {"name": "mimo", "receive_antennas": 3},
    "alamouti": {"name": "mimo", "scheme": "alamouti", "receive_antennas": 2, "form": "block", "block_length": 8},
    "multiplexing": {"name": "mimo", "scheme": "multiplexing", "form": "block", "block_length": 6},
    "multiplexing 4x4": {"name": "mimo", "scheme": "multiplexing", "transmit_antennas": 4, "equaliser": "zf"},
    "exponential": {"name": "exponential", "delay_spread_ns": 1000.0, "truncate_db": 10.0, "speed_kmh": 30.0, **SMALL},
    "exponential time": {"name": "exponential", "delay_spread_ns": 1000.0, "truncate_db": 10.0, "domain": "time", **SMALL},
    "taps": {"name": "taps", "delays_ns": [0.0, 4000.0], "powers_db": [0.0, -3.0], "fading": "none", **SMALL},
    "tdl": {"name": "tdl", **SMALL},
    "tdl ls": {"name": "tdl", "estimation": "ls", "pilot_spacing": 3, **SMALL},
    "tdl lmmse time": {"name": "tdl", "model": "A30", "estimation": "lmmse", "domain": "time", **SMALL},
    "tdl mrc": {"name": "tdl", "model": "E", "receive_antennas": 2, "estimation": "lmmse", **SMALL},
    "cdl": {"name": "cdl", "model": "B", **SMALL},
    "recorded": {"name": "recorded", **SMALL},
    "composite flat": [{"name": "rapp", "backoff_db": 3.0}, "rayleigh", {"name": "interference", "sir_db": 10.0}, "awgn"],
    "composite ofdm": [
        {"name": "clipping", "ratio_db": 4.0},
        "phase_noise",
        {"name": "tdl", "estimation": "ls", **SMALL},
        {"name": "timing_offset", "offset": 0.3},
        {"name": "bursts", "probability": 0.05, "mean_length": 3.0, "known": False},
        "awgn",
        {"name": "carrier_offset", "offset": 1e-4},
        {"name": "iq_imbalance", "amplitude_db": 0.5, "phase_deg": 2.0},
    ],
    "quantised": ["awgn", {"name": "quantisation", "bits": 6}],
    "bursts": [{"name": "bursts", "probability": 0.1, "mean_length": 4.0}, "awgn"],
}


@pytest.fixture(params=SPECS)
def built(request, recording):
    spec = SPECS[request.param]
    if isinstance(spec, dict) and spec["name"] == "recorded":
        spec = {**spec, "file": recording}
    return registry.build("channels", spec)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def symbols(batch, uses, seed=1, dtype=torch.complex64):
    return torch.randn(batch, uses, dtype=dtype, generator=seeded(seed))


def test_contract(built):
    batch, uses = 3, 101
    x, noise_var = symbols(batch, uses), torch.tensor([0.1, 0.01, 1.0])
    before = torch.get_rng_state()
    drawn = built.generate(batch, uses, generator=seeded())
    seen = built.apply(x, drawn, noise_var)
    assert torch.equal(before, torch.get_rng_state()), "the global random state was touched"
    assert isinstance(built, Channel) and built.csi in ("none", "rx", "tx+rx")
    assert seen.symbols.shape == seen.gain.shape == seen.noise_var.shape == (batch, uses)
    assert (seen.symbols.dtype, seen.gain.dtype, seen.noise_var.dtype) == (torch.complex64, torch.complex64, torch.float32)
    for part in (torch.view_as_real(seen.symbols), torch.view_as_real(seen.gain.contiguous()), seen.noise_var):
        assert bool(torch.isfinite(part).all())
    assert bool((seen.noise_var >= 0).all())
    assert (drawn.batch, drawn.uses) == (batch, uses)
    assert all(tensor.shape[0] == batch for tensor in drawn.tensors.values()), "the first axis is the image"

    again = pickle.loads(pickle.dumps(built))
    other = again.apply(x, again.generate(batch, uses, generator=seeded()), noise_var)
    assert torch.equal(seen.symbols, other.symbols) and torch.equal(seen.noise_var, other.noise_var)
    assert not torch.equal(seen.symbols, built(x, noise_var, generator=seeded(9)).symbols)

    gains = built.power_gains(drawn)
    assert gains.shape == (batch, uses) and bool((gains >= 0).all())
    valid = torch.tensor([101, 1, 0])
    for name, count in built.overhead(valid).uses.items():
        assert count.shape == (3,) and bool((count >= 0).all()) and int(count[2]) == 0, name


def _per_use(built):
    return type(built).__name__ != "Composite" and getattr(built, "domain", "frequency") == "frequency"


def test_a_short_burst_meets_the_beginning_of_a_longer_realisation(built):
    if not _per_use(built):
        pytest.skip("the samples of a waveform hear a little of what follows")
    x, noise_var = symbols(2, 90), torch.tensor([0.1, 0.2])
    drawn = built.generate(2, 90, generator=seeded())
    whole, short = built.apply(x, drawn, noise_var), built.apply(x[:, :30], drawn, noise_var)
    torch.testing.assert_close(whole.symbols[:, :24], short.symbols[:, :24], rtol=1e-4, atol=1e-4)


def test_bursts_one_after_the_other_meet_the_channel_of_one_long_burst(built):
    if not _per_use(built):
        pytest.skip("neighbouring samples of a waveform interfere across bursts")
    x, noise_var = symbols(2, 120), torch.tensor([0.1, 0.2])
    drawn = built.generate(2, 120, generator=seeded())
    whole = built.apply(x, drawn, noise_var)
    # pairs and vectors of space-time schemes must not be torn apart
    parts = [built.apply(x[:, a:b], drawn, noise_var, start=a) for a, b in ((0, 12), (12, 60), (60, 120))]
    for name in ("symbols", "gain", "noise_var"):
        joined = torch.cat([getattr(part, name) for part in parts], 1)
        torch.testing.assert_close(joined, getattr(whole, name), rtol=1e-4, atol=1e-5)


def test_gradients_in_double_precision(built):
    if any(type(stage).__name__ == "Quantisation" for stage in getattr(built, "_impairments", {}).values()):
        pytest.skip("a quantiser has no gradient; its straight-through estimator is tested below")
    drawn = built.generate(2, 13, generator=seeded())
    noise_var = torch.tensor([0.1, 0.3], dtype=torch.float64)
    x = symbols(2, 13, dtype=torch.complex128).requires_grad_()
    assert built.apply(x, drawn, noise_var).symbols.dtype == torch.complex128
    assert torch.autograd.gradcheck(lambda x: built.apply(x, drawn, noise_var).symbols, (x,), atol=1e-6)


def test_straight_through_gradient_of_the_quantiser():
    built = registry.build("channels", ["awgn", {"name": "quantisation", "bits": 3, "full_scale_db": 20.0}])
    x = symbols(2, 40).requires_grad_()
    drawn = built.generate(2, 40, generator=seeded())
    torch.view_as_real(built.apply(x, drawn, torch.full((2,), 0.01)).symbols).sum().backward()
    assert torch.allclose(torch.view_as_real(x.grad), torch.ones(2, 40, 2))


def test_runs_on_a_second_device(built, monkeypatch):
    """Drawn on the CPU, applied on a device without data: an operand left behind on the CPU would raise."""
    monkeypatch.setattr(interface, "_check_values", lambda realisation, noise_var: None)
    drawn = built.generate(2, 50, generator=seeded())
    x = torch.zeros(2, 50, dtype=torch.complex64, device="meta")
    seen = built.apply(x, drawn.to("meta"), torch.full((2,), 0.1, device="meta"))
    assert seen.symbols.device.type == seen.gain.device.type == seen.noise_var.device.type == "meta"
    assert seen.symbols.shape == seen.gain.shape == seen.noise_var.shape == (2, 50)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_sees_what_the_cpu_sees(built):
    x, noise_var = symbols(3, 101), torch.tensor([0.1, 0.01, 1.0])
    here = built.apply(x, built.generate(3, 101, generator=seeded()), noise_var)
    drawn = built.generate(3, 101, generator=seeded(), device="cuda")
    there = built.apply(x.cuda(), drawn, noise_var.cuda())
    torch.testing.assert_close(there.symbols.cpu(), here.symbols, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(there.noise_var.cpu(), here.noise_var, rtol=1e-3, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(uses=st.integers(1, 400), valid=st.integers(0, 400), spacing=st.integers(1, 14), prefix=st.integers(0, 16))
def test_any_length_fits_into_slots_and_every_sample_is_accounted_for(uses, valid, spacing, prefix):
    built = registry.build(
        "channels",
        {
            "name": "exponential",
            "delay_spread_ns": 0.0,
            **SMALL,
            "guard_left": 2,
            "pilot_spacing": spacing,
            "cyclic_prefix": prefix,
        },
    )
    x = symbols(1, uses)
    drawn = built.generate(1, uses, generator=seeded())
    seen = built.apply(x, drawn, torch.zeros(1))
    torch.testing.assert_close(seen.symbols, seen.gain * x)
    count = built.overhead(torch.tensor([valid])).uses
    samples = built.span(0, valid)[1]
    assert valid + sum(int(c) for c in count.values()) == samples


# few carriers far apart see as much of a multipath channel as many close together
WIDE = {"fft_size": 32, "cyclic_prefix": 24, "subcarrier_spacing_khz": 240.0}
MEASURED = [
    ("awgn", 1, 1_000_000),
    ({"name": "rayleigh"}, 1, 1_000_000),
    ({"name": "rayleigh", "form": "block", "block_length": 10}, 100, 10_000),
    ({"name": "rayleigh", "form": "slow"}, 1_000_000, 1),
    ({"name": "rayleigh", "form": "jakes", "doppler": 0.2}, 4_000, 500),
    ({"name": "rician", "k_db": 4.0}, 10, 100_000),
    ({"name": "exponential", "delay_spread_ns": 500.0, **WIDE}, 30_000, 32),
    (
        {"name": "exponential", "delay_spread_ns": 500.0, "domain": "time", "symbols_per_slot": 1, "pilot_symbols": [], **WIDE},
        30_000,
        32,
    ),
    ({"name": "taps", "delays_ns": [0.0, 260.4166667], "powers_db": [0.0, -3.0], "fading": "none"}, 50, 12 * 256),
    ({"name": "tdl", "model": "C", "delay_spread_ns": 300.0, "speed_kmh": 0.0, **WIDE}, 40_000, 32),
    ({"name": "tdl", "model": "D", "delay_spread_ns": 200.0, "speed_kmh": 0.0, **WIDE}, 80_000, 32),
    ({"name": "cdl", "model": "D", "delay_spread_ns": 200.0, "speed_kmh": 0.0, **WIDE}, 3_000, 32),
]


def measured_esno_db(spec, batch, uses, noise_var):
    """From what a receiver without CSI hears: with the symbols and without, and the noise alone."""
    built = registry.build("channels", spec if isinstance(spec, str) else {**spec, "csi": "none"})
    x = torch.polar(torch.ones(batch, uses), 6.2831853 * torch.rand(batch, uses, generator=seeded(5)))
    drawn = built.generate(batch, uses, generator=seeded(7))
    noisy = built.apply(x, drawn, torch.full((batch,), noise_var)).symbols
    clean = built.apply(x, drawn, torch.zeros(batch)).symbols
    return 10 * float((clean.abs().square().double().mean() / (noisy - clean).abs().square().double().mean()).log10())


@pytest.mark.parametrize(("spec", "batch", "uses"), MEASURED, ids=lambda value: str(value)[:60])
def test_measured_esno_is_within_two_hundredths_of_a_decibel(spec, batch, uses):
    assert measured_esno_db(spec, batch, uses, 0.1) == pytest.approx(10.0, abs=0.02)


@pytest.mark.parametrize("domain", ["frequency", "time"])
def test_a_flat_ofdm_channel_is_awgn_exactly(domain):
    built = registry.build(
        "channels", {"name": "taps", "delays_ns": [0.0], "powers_db": [0.0], "fading": "none", "domain": domain}
    )
    x, noise_var = symbols(2, 5000), torch.tensor([0.1, 1.0])
    seen = built.apply(x, built.generate(2, 5000, generator=seeded()), noise_var)
    unbiased = seen.symbols / seen.gain
    noise = unbiased - x
    assert torch.allclose(seen.noise_var / seen.gain.abs().square(), noise_var[:, None].expand(2, 5000), rtol=1e-4)
    # 5 standard deviations of the mean of 5000 exponential variables
    assert torch.allclose(noise.abs().square().mean(1), noise_var, rtol=5 / 5000**0.5)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"name": "tdl", "delay_spread_ns": 5000.0}, "cyclic_prefix of 20 samples is shorter than the channel, 332"),
        ({"name": "tdl", "pilot_spacing": 300}, "pilot_spacing 300 exceeds the 256 used carriers"),
        ({"name": "tdl", "pilot_symbols": list(range(14))}, "pilots fill all 3584 resource elements"),
        ({"name": "tdl", "pilot_symbols": [3, 20]}, r"pilot_symbols must be rising numbers .* 0\.\.13; got \[3, 20\]"),
        ({"name": "tdl", "pilot_symbols": [], "estimation": "ls"}, "needs pilots"),
        ({"name": "tdl", "model": "F"}, "option 'model' .*'A'.*got 'F'"),
        ({"name": "cdl", "model": "F"}, "option 'model' .*got 'F'"),
        ({"name": "tdl", "model": "A30", "delay_spread_ns": 30.0}, "given delays: leave delay_spread_ns out"),
        ({"name": "tdl", "delay_spread_ns": -1.0}, "delay_spread_ns must be 0 or more"),
        ({"name": "tdl", "speed_kmh": float("nan")}, "speed_kmh.*finite number; got nan"),
        ({"name": "tdl", "carrier_ghz": 0.0}, "carrier_ghz must be positive"),
        ({"name": "tdl", "fft_size": 0}, "fft_size must be at least 1; got 0"),
        ({"name": "tdl", "cyclic_prefix": -1}, "cyclic_prefix must be at least 0; got -1"),
        ({"name": "tdl", "cyclic_prefix": 300}, "cyclic_prefix must not exceed fft_size 256; got 300"),
        ({"name": "tdl", "guard_left": 200, "guard_right": 56}, "leave none of the 256 carriers"),
        ({"name": "tdl", "subcarrier_spacing_khz": 0.0}, "subcarrier_spacing_khz must be positive"),
        ({"name": "tdl", "receive_antennas": 0}, "receive_antennas must be at least 1"),
        ({"name": "tdl", "csi_error": -0.1}, "csi_error is the variance .*; got -0.1"),
        ({"name": "taps", "delays_ns": [0.0, 1.0], "powers_db": [0.0]}, "delays_ns has 2 values, powers_db 1"),
        ({"name": "taps", "delays_ns": [-1.0], "powers_db": [0.0]}, "delays_ns must be finite and not negative"),
        ({"name": "taps", "delays_ns": [0.0], "powers_db": [float("nan")]}, "powers_db.*finite"),
        ({"name": "exponential", "truncate_db": -1.0}, "truncate_db must be 0 dB or more"),
        ({"name": "rayleigh", "form": "jakes"}, "doppler .* goes with form 'jakes'"),
        ({"name": "rayleigh", "form": "jakes", "doppler": 0.7}, r"doppler must lie in 0\.\.0\.5"),
        ({"name": "rayleigh", "noise_offset_db": float("inf")}, "noise_offset_db.*finite number"),
        ({"name": "rayleigh", "tx_bits": 4}, r"tx_delay and tx_bits .* with csi 'tx\+rx', not 'rx'"),
        ({"name": "rayleigh", "csi": "tx+rx", "tx_bits": 1}, r"tx_bits per gain must lie in 2\.\.32"),
        ({"name": "rayleigh", "csi": "tx+rx", "tx_delay": -1}, "tx_delay is the age"),
        ({"name": "mimo", "scheme": "alamouti", "transmit_antennas": 4}, "has transmit_antennas 2; got 4"),
        ({"name": "mimo", "scheme": "multiplexing", "receive_antennas": 1}, "needs as many receive_antennas; got 1"),
        ({"name": "mimo", "scheme": "multiplexing", "equaliser": "none"}, "needs a detector"),
        ({"name": "mimo", "scheme": "alamouti", "form": "block", "block_length": 3}, "multiple of 2 uses"),
        ([{"name": "rapp", "backoff_db": 3.0}], "has 0 noise sources; put exactly one awgn"),
        (["awgn", "awgn"], "has 2 noise sources"),
        (["rayleigh", "tdl", "awgn"], "fades 2 times; keep one of rayleigh, tdl"),
        (["awgn", "rayleigh"], "noise of the receiver comes before rayleigh"),
        (["tdl", {"name": "bursts", "probability": 0.1, "mean_length": 2.0}, "awgn"], "set known: false"),
        ("phase_noise", "is an impairment, no channel on its own"),
        ([{"name": "phase_noise", "linewidth": -1.0}, "awgn"], "linewidth must be 0 or more"),
        ([{"name": "carrier_offset", "offset": 2.0}, "awgn"], r"offset of the carrier must lie in -0\.5\.\.0\.5"),
        ([{"name": "timing_offset", "offset": float("nan")}, "awgn"], "offset.*finite"),
        ([{"name": "iq_imbalance", "phase_deg": 95.0}, "awgn"], r"phase_deg lie within -90\.\.90"),
        ([{"name": "clipping", "ratio_db": float("nan")}, "awgn"], r"ratio_db.*finite number; got nan"),
        ([{"name": "rapp", "backoff_db": 3.0, "smoothness": 0.0}, "awgn"], "smoothness of the Rapp model must be positive"),
        (["awgn", {"name": "quantisation", "bits": 0}], r"bits of the quantiser must lie in 1\.\.16"),
        ([{"name": "bursts", "probability": 1.0, "mean_length": 2.0}, "awgn"], "probability of losing a sample"),
        ([{"name": "bursts", "probability": 0.5, "mean_length": 0.5}, "awgn"], "mean_length of a burst must be at least 1"),
        ([{"name": "interference", "sir_db": float("nan")}, "awgn"], "sir_db.*finite"),
    ],
)
def test_bad_parameters_name_themselves(spec, words):
    with pytest.raises(InputError, match=words):
        registry.build("channels", spec)


@pytest.mark.parametrize(
    ("shape", "noise_var", "start", "words"),
    [
        ((2, 10), torch.tensor([0.1, -0.1]), 0, "noise_var must be finite and not negative .*; got -0.1"),
        ((2, 10), torch.tensor([0.1, float("nan")]), 0, "noise_var must be finite .*; got nan"),
        ((2, 10), torch.tensor([0.1]), 0, r"noise_var must be \[batch\] = \[2\]"),
        ((3, 10), torch.full((3,), 0.1), 0, "do not fit a realisation"),
        ((2, 10), torch.full((2,), 0.1), 5, "generate it for at least 15 uses"),
    ],
)
@pytest.mark.parametrize("name", ["awgn", "rayleigh", "tdl", "composite flat"])
def test_apply_refuses_what_does_not_fit(name, shape, noise_var, start, words):
    built = registry.build("channels", SPECS.get(name, name))
    drawn = built.generate(2, 12, generator=seeded())
    with pytest.raises(InputError, match=words):
        built.apply(symbols(*shape), drawn, noise_var, start=start)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"gain": torch.full((2, 1), float("nan")) + 0j, "noise": torch.zeros(2, 1, 12) + 0j}, "'gain' .* not finite numbers"),
        ({"gain": torch.ones(2, 1) + 0j, "noise": torch.zeros(2, 1, 5) + 0j}, r"'noise' .* must be \[2, 1, 12 or more\]; got"),
        ({"gain": torch.ones(3, 1) + 0j}, r"'gain' of a realisation for 2 images must be \[2, \.\.\.\]; got \[3, 1\]"),
        ({"noise": torch.zeros(2, 1, 12) + 0j}, "holds no 'gain' but .*'noise'.*another kind"),
    ],
)
def test_realisations_that_do_not_fit_name_what_is_wrong(tensors, words):
    channel = registry.build("channels", {"name": "rayleigh", "form": "slow"})
    with pytest.raises(InputError, match=words):
        channel.apply(symbols(2, 12), interface.Realisation(tensors, 2, 12), torch.full((2,), 0.1))
