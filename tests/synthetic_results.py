"""Results as a run would give them, made up: no scheme is run for tests of figures, tables and exports."""

from jscclink.simulator.results import MetricInfo, Provenance, Results, Row, SchemeInfo
from jscclink.simulator.statistics import Sums, estimate
from jscclink.simulator.tally import Throughput

STUDY = "name: made up  # a note\nseed: 3\nschemes:\n  A: {name: digital, mcs: qpsk 1/2}\n"


def _throughput():
    speed = estimate("mean", [Sums.of([4.0, 5.0], [1.0, 1.0])])
    return Throughput(speed, speed, None)


def row(scheme, channel, esno_db, cbr, metrics, *, ebno_db=None, finished=True):
    return Row(
        id=f"{scheme}{channel}{esno_db}{cbr}".encode().hex().ljust(64, "0")[:64],
        scheme=scheme,
        channel=channel,
        esno_db=float(esno_db),
        ebno_db=ebno_db,
        cbr=cbr,
        metrics=metrics,
        per_image={},
        trials=40,
        errors=3,
        finished=finished,
        stop="Enough draws.",
        seconds=12.5,
        throughput=_throughput(),
    )


def pictures(cbrs=(1 / 12,), snrs=(0, 5, 10), images=("a.png", "b.png")):
    """Two schemes and a bound on two channels: PSNR, outage, CBR."""
    rows = []
    for scheme, gain in (("JPEG + LDPC", 0.0), ("Joint", 1.0), ("Capacity (bound)", 4.0)):
        for channel in ("AWGN", "slow Rayleigh"):
            for cbr in cbrs:
                for snr in snrs:
                    used = cbr or 0.05
                    level = 20 + gain + snr / 2 + 40 * used
                    metrics = {
                        "psnr": estimate(
                            "mean", [Sums.of([level, level + 1], [1, 1]), Sums.of([level + 2, level + 3], [1, 1])]
                        ),
                        "outage": estimate("proportion", [Sums.of([1.0] * (snr < 7) + [0.0] * 9, [1.0] * (9 + (snr < 7)))]),
                        "cbr": estimate("mean", [Sums.of([used * 0.99], [1]), Sums.of([used * 0.98], [1])]),
                    }
                    rows.append(row(scheme, channel, snr, cbr, metrics))
    return Results(
        name="made up",
        rows=tuple(sorted(rows, key=lambda r: (r.scheme, r.channel, r.cbr or 0.0, r.esno_db))),
        schemes={
            "JPEG + LDPC": SchemeInfo({"name": "digital", "options": {}}, False),
            "Joint": SchemeInfo({"name": "hjscc", "options": {}}, False),
            "Capacity (bound)": SchemeInfo({"name": "capacity_bound", "options": {}}, True),
        },
        channels={"AWGN": {"name": "awgn", "options": {}}, "slow Rayleigh": {"name": "rayleigh", "options": {}}},
        metrics={"psnr": MetricInfo("dB", "higher"), "outage": MetricInfo("", "lower"), "cbr": MetricInfo("", "lower")},
        sets={"": tuple(images)},
        provenance=Provenance(STUDY, {"jscclink": "0.1.0", "python": "3.11.0", "sionna-no-rt": "2.2.0"}, 3),
    )


def bits():
    """A BER curve whose last point saw no error, and one that is not finished."""
    errors = {0: [5.0, 7.0, 6.0], 2: [1.0, 0.0, 2.0], 4: [0.0, 0.0, 0.0]}
    rows = [
        row("QPSK", "AWGN", snr, None, {"ber": estimate("ratio", [Sums.of(found, [100.0] * 3)])}, ebno_db=snr - 3.0103)
        for snr, found in errors.items()
    ]
    rows[1] = row("QPSK", "AWGN", 2, None, rows[1].metrics, ebno_db=-1.0103, finished=False)
    return Results(
        name="bits",
        rows=tuple(rows),
        schemes={"QPSK": SchemeInfo({"name": "bits", "options": {}}, False)},
        channels={"AWGN": {"name": "awgn", "options": {}}},
        metrics={"ber": MetricInfo("", "lower")},
        sets={"": ()},
        provenance=Provenance(STUDY, {"jscclink": "0.1.0"}, 3),
    )
