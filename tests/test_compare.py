"""Comparing stores: the tests agree with SciPy's, pair where pairs exist, and keep their false-alarm rate."""

import math

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from jscclink.errors import InputError
from jscclink.simulator import significance
from jscclink.simulator.cli import app
from jscclink.simulator.compare import compare
from jscclink.simulator.gains import gains
from jscclink.simulator.results import load_results
from jscclink.simulator.runner import run
from jscclink.simulator.statistics import Sums, estimate
from jscclink.simulator.store import Log
from jscclink.simulator.study import Study


def photos(**changes):
    data = {
        "name": "photos",
        "images": {"set": "kodak", "pick": [3, 5, 8, 13], "crop": [32, 32]},
        "channels": {"AWGN": "awgn"},
        "schemes": {"pixels": "uncoded"},
        "esno_db": [0, 10],
        "cbr": [0.5],
        "metrics": ["psnr", "outage"],
        "draws": 3,
    }
    return Study.from_mapping(data | changes)


def blocks(**changes):
    data = {
        "name": "blocks",
        "channels": {"AWGN": "awgn"},
        "schemes": {
            "BPSK": {"name": "bits", "code": "none", "k": 32, "modulation": "bpsk"},
            "QPSK": {"name": "bits", "code": "none", "k": 32, "modulation": "qpsk"},
        },
        "esno_db": [4],
        "metrics": ["bler", "ber"],
        "stop": {"most_trials": 400},
        "batch": {"items": 40},
    }
    return Study.from_mapping(data | changes)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The same study with two seeds, with another CBR label, and blocks."""
    folder = tmp_path_factory.mktemp("stores")
    run(photos(), folder / "a")
    run(photos(seed=2), folder / "b")
    run(photos(cbr=[0.25]), folder / "less")
    run(photos(images={"set": "kodak", "pick": [2, 4, 7], "crop": [32, 32]}), folder / "other pictures")
    run(photos(images={"set": "kodak", "pick": [3], "crop": [32, 32]}, draws=5), folder / "one picture")
    two = {"pixels": "uncoded", "JPEG": {"name": "digital", "source": "jpeg", "mcs": "qpsk 1/2"}}
    run(photos(schemes=two), folder / "two")
    wide = {"set": "kodak", "limit": 6, "crop": [32, 32]}
    run(photos(schemes=two, images=wide, cbr=[0.3, 0.4, 0.5], esno_db=[4, 7, 10], draws=1), folder / "swept")
    run(blocks(), folder / "blocks")
    run(blocks(seed=5), folder / "blocks 5")
    return folder


def test_paired_t_is_scipys():
    rng = np.random.default_rng(1)
    first, second = rng.normal(30, 3, 24), rng.normal(30.3, 3, 24)
    ours = significance.paired_t(list(first - second), "pictures")
    theirs = stats.ttest_rel(first, second)
    interval = theirs.confidence_interval(0.95)
    assert ours.p == pytest.approx(theirs.pvalue) and ours.name == "paired t over 24 pictures"
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high))


def test_welch_t_is_scipys():
    rng = np.random.default_rng(2)
    first, second = rng.normal(30, 3, 24), rng.normal(32, 1, 9)
    ours = significance.welch_t(first, second, "pictures")
    theirs = stats.ttest_ind(first, second, equal_var=False)
    assert ours.p == pytest.approx(theirs.pvalue) and ours.difference == pytest.approx(first.mean() - second.mean())
    interval = theirs.confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high))


def test_equal_and_constant_differences_are_no_division_by_zero():
    assert significance.paired_t([0.0, 0.0, 0.0], "x").p == 1.0
    assert significance.paired_t([0.5, 0.5, 0.5], "x").p == 0.0
    assert significance.paired_t([0.5], "x").p is None


def test_stratified_t_keeps_its_false_alarm_rate():
    # four pictures far apart, ten draws each: 5 % of 2000 equal pairs are called different (3 sigma: 1.5 %)
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(2000):
        groups = [
            [Sums.of(rng.normal(level, spread, 10), [1.0] * 10) for level, spread in ((20, 0.1), (25, 1), (30, 2), (40, 0.5))]
            for _ in "ab"
        ]
        alarms += significance.stratified_t(groups[0], "", groups[1]).p < 0.05
    assert 0.035 < alarms / 2000 < 0.065


def test_rates_are_compared_by_fishers_test():
    sums = [Sums.of([1.0] * events + [0.0] * (n - events), [1.0] * n) for events, n in ((3, 100), (14, 120))]
    numbers = [estimate("proportion", [each]) for each in sums]
    ours = significance.fisher(*numbers, *sums)
    assert ours.p == pytest.approx(stats.fisher_exact([[3, 97], [14, 106]]).pvalue)
    assert ours.name == "Fisher's exact, 3/100 and 14/120" and ours.low < ours.difference < ours.high
    assert ours.difference == pytest.approx(3 / 100 - 14 / 120)


def test_bit_errors_count_with_the_trials_their_interval_has():
    # 100 blocks of 1000 bits whose errors come in bursts: far fewer trials than bits
    sums = [Sums.of([50.0] * events + [0.0] * (100 - events), [1000.0] * 100) for events in (10, 20)]
    numbers = [estimate("ratio", [each]) for each in sums]
    ours = significance.fisher(*numbers, *sums)
    naive = stats.fisher_exact([[500, 99500], [1000, 99000]]).pvalue
    blocks_only = stats.fisher_exact([[10, 90], [20, 80]]).pvalue
    assert naive < 1e-30 < 0.2 * blocks_only < ours.p < 5 * blocks_only


def test_holm_by_hand():
    assert significance.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert significance.holm([0.9, 0.8]) == [1.0, 1.0] and significance.holm([]) == []


def test_same_pictures_pair(stores):
    found = compare(stores / "a", stores / "b")
    rows = [load_results(stores / name).rows for name in "ab"]
    assert found.metric == "psnr" and len(found.points) == 2 and found.unmatched == (0, 0)
    for point, a, b in zip(found.points, *rows, strict=True):
        means = [[group.value for group in row.per_image["psnr"]] for row in (a, b)]
        assert point.test.p == pytest.approx(stats.ttest_rel(*means).pvalue)
        assert point.test.name == "paired t over 4 pictures" and point.test.p <= point.p_holm
    assert not found.significant(1e-3)


def test_a_store_compared_with_itself_differs_nowhere(stores):
    for over in ("pictures", "draws"):
        found = compare(stores / "a", stores / "a", over=over)
        assert all(point.test.p == 1.0 and point.test.difference == 0.0 for point in found.points)


def test_draws_pair_on_the_same_channel_and_do_not_on_another(stores):
    same = compare(stores / "two", stores / "two", schemes=("pixels", "JPEG"), over="draws")
    assert {point.test.name for point in same.points} == {"paired t over 12 draws of 4 pictures"}
    other = compare(stores / "a", stores / "b", over="draws")
    assert {point.test.name for point in other.points} == {"Welch's t over 12 and 12 draws"}
    # by hand: four pictures of equal shape, three draws of each
    log, point = Log(stores / "two"), same.points[0]
    x, y = (
        np.array([record["metrics"]["psnr"]["x"] for record in log.in_order(row.id, ["psnr"])])
        for row in (point.first, point.second)
    )
    assert point.test.difference == pytest.approx((x - y).mean())
    error = math.sqrt(((x - y).var(axis=0, ddof=1) / 3).sum()) / 4
    assert 2.0 * error < point.test.high - point.test.difference < 4.4 * error


def test_one_picture_is_compared_over_its_draws(stores):
    found = compare(stores / "one picture", stores / "one picture")
    assert {point.test.name for point in found.points} == {"paired t over 5 draws of 1 pictures"}


def test_other_pictures_do_not_pair(stores):
    found = compare(stores / "a", stores / "other pictures")
    assert {point.test.name for point in found.points} == {"Welch's t over 4 and 3 pictures"}


def test_blocks_are_compared_by_their_counts(stores):
    found = compare(stores / "blocks", stores / "blocks 5")
    assert [point.first.scheme for point in found.points] == ["BPSK", "QPSK"] and found.metric == "bler"
    assert all(point.test.name.startswith("Fisher's exact, ") and point.test.name.endswith("/400") for point in found.points)
    ber = compare(stores / "blocks", stores / "blocks", schemes=("BPSK", "QPSK"), metric="ber").points[0]
    assert ber.p_holm < 1e-6 and ber.test.difference < 0  # 3 dB less energy per bit


def test_what_cannot_be_compared_is_named(stores):
    with pytest.raises(InputError, match=r"no point in common \(\S+a has 'pixels' and \S+less has 'pixels'\)"):
        compare(stores / "a", stores / "less")
    with pytest.raises(InputError, match="has no metric 'ber'; it has 'psnr', 'outage'"):
        compare(stores / "a", stores / "b", metric="ber")
    with pytest.raises(InputError, match="has no scheme 'pix'; it has 'pixels'"):
        compare(stores / "a", stores / "b", schemes=("pixels", "pix"))
    with pytest.raises(InputError, match="over 'time': allowed are pictures and draws"):
        compare(stores / "a", stores / "b", over="time")


def test_the_command_says_who_is_better_and_ends_with_3(stores):
    def call(*arguments):
        return CliRunner().invoke(app, ["compare", *map(str, arguments)])

    done = call(stores / "blocks", stores / "blocks", "--schemes", "BPSK", "QPSK")
    assert done.exit_code == 3 and "A better" in done.stdout, done.output
    rows = [line.split(" | ") for line in done.stdout.splitlines()]
    assert all(len(row) == 13 for row in rows if not row[0].startswith("# b") and not row[0].startswith("# 9"))
    assert math.isclose(float(rows[-1][3]), 4.0)
    done = call(stores / "a", stores / "a")
    assert done.exit_code == 0 and "not shown" in done.stdout and "better" not in done.stdout
    done = call(stores / "a", stores / "a", "--level", "2")
    assert done.exit_code == 2 and len(done.stderr.splitlines()) == 1


def table(output, title):
    """Rows of a table of average gains, by column."""
    lines = output.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"# {title}"))
    at = next(i for i, line in enumerate(lines[at:], at) if " | " in line)  # after what explains it
    columns, *rows = ([cell.strip() for cell in line[2:].split("|")] for line in lines[at:])
    return [dict(zip(columns, row, strict=True)) for row in rows[: next((i for i, r in enumerate(rows) if len(r) < 2), None)]]


def test_average_gains_of_one_store_and_of_two_schemes(stores):
    def call(*arguments):
        return CliRunner().invoke(app, ["compare", *map(str, arguments)])

    results = load_results(stores / "swept")
    wanted = gains(results, "psnr")
    assert {(one.scheme, one.reference) for one in wanted} == {("pixels", "JPEG")}, "the digital one is the reference"
    done = call(stores / "swept")
    assert done.exit_code == 0, done.output
    over_cbr, over_snr = table(done.stdout, "Average gain over the CBR"), table(done.stdout, "Average gain over Es/N0")
    assert [row["Es/N0 (dB)"] for row in over_cbr] == ["4", "7", "10"] and len(over_snr) == 3
    for row, gain in zip(over_cbr, wanted, strict=False):
        assert float(row["BD-PSNR (dB)"]) == pytest.approx(gain.quality.value, rel=1e-3)
        assert gain.quality.low < gain.quality.value < gain.quality.high
    assert (over_snr[0]["Es/N0 from (dB)"], over_snr[0]["to"]) == ("4", "10")
    # two schemes by name: the same numbers follow the points
    done = call(stores / "swept", "--schemes", "pixels", "JPEG")
    assert done.exit_code == 3 and table(done.stdout, "Average gain over Es/N0") == over_snr
    # the other way round they change their sign, and a store against itself gains nothing
    turned = table(call(stores / "swept", "--reference", "pixels").stdout, "Average gain over Es/N0")
    assert [float(row["mean difference of psnr (dB)"]) for row in turned] == pytest.approx(
        [-float(row["mean difference of psnr (dB)"]) for row in over_snr]
    )
    same = compare(stores / "swept", stores / "swept").gains
    assert len(same) == 12 and {one.quality.value for one in same} == {0.0}
    for arguments, words in (
        ([stores / "blocks"], "no average gain of 'bler'"),
        ([stores / "two", "--reference", "pixels"], "three CBRs or SNRs"),
        ([stores / "swept", "--reference", "pix"], "no scheme 'pix' to compare with; there are 'pixels', 'JPEG'"),
        ([stores / "swept", stores / "swept", "--reference", "JPEG"], "--reference goes with one folder alone"),
    ):
        refused = call(*arguments)
        assert refused.exit_code == 2 and words in refused.output, refused.output


def test_other_pictures_have_no_average_gain(stores):
    assert compare(stores / "a", stores / "other pictures").gains == ()
