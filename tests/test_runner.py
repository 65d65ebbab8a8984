"""The runner: rows, stop rules, progress, settings."""

import csv

import pytest
import torch
from runner_studies import shaky, table

from jscclink.errors import InputError
from jscclink.simulator import registry
from jscclink.simulator.batch import run_batch
from jscclink.simulator.progress import NoProgress, TextProgress
from jscclink.simulator.results import load_results
from jscclink.simulator.runner import run


def test_rows_hold_what_was_computed(photos, tmp_path):
    results = run(photos(), tmp_path / "r")
    assert results.finished and len(results.rows) == 8 and results.images == ("15.png", "3.png", "9.png")
    row = results.curve("pixels", "AWGN", 0.5)[1]
    assert (row.esno_db, row.trials, row.errors, row.stop) == (10.0, 9, 0, "All 3 draws of 3 pictures are done.")
    number = row.metrics["psnr"]
    assert number.low < number.value < number.high and number.groups == 3 and number.n == 9
    assert 0 < number.draws_half_width < 0.5 * (number.high - number.low)
    assert row.metrics["cbr"].value <= 0.5 and row.metrics["outage"].is_upper_bound
    assert row.throughput.items_per_s.value > 0 and row.throughput.info_bits_per_s is None
    assert row.throughput.values_per_s.value == pytest.approx(3 * 32 * 48 * row.throughput.items_per_s.value)
    better = results.difference("psnr", row, results.curve("pixels", "AWGN", 0.25)[1])
    assert better.value > 0 and better.groups == 3
    lines = list(csv.reader(table(tmp_path / "r").decode().splitlines()))
    assert len(lines) == 9 and all(len(line) == len(lines[0]) for line in lines)
    assert float(lines[1][lines[0].index("psnr")]) == results.rows[0].metrics["psnr"].value


def test_a_batch_is_what_the_link_gives_by_hand(photos):
    from jscclink.simulator.batch import Job
    from jscclink.simulator.link import Link

    study = photos()
    point = study.points[-1]
    job = Job(point, 3, study.sets[""].plan.pictures(3), "uncoded", study.channels[point.channel_label], "ideal", None,
              study.sets[""].spec, study.metrics, "cpu", 1)  # fmt: skip
    record = run_batch(job)
    source = study.sets[""].images.batch(study.sets[""].plan.pictures(3))
    link = Link(registry.build("channels", study.channels[point.channel_label]))
    generator = torch.Generator().manual_seed(point.link_seed(3))
    budget = link.budget(tuple(source.shape[1:]), point.cbr)
    passage = link.run(registry.build("schemes", "uncoded"), source, budget, point.esno_db, generator=generator)
    mse = (source.double() - passage.reconstruction.data.double()).square().mean((1, 2, 3))
    assert record["metrics"]["psnr"]["x"] == pytest.approx((10 * torch.log10(255**2 / mse)).tolist())


def test_the_table_comes_from_the_store_alone(photos, tmp_path):
    results = run(photos(), tmp_path)
    again = load_results(tmp_path)
    assert again.table() == results.table() and again.provenance == results.provenance
    assert again.metrics["psnr"].unit == "dB" and again.rows == results.rows


def test_stop_rules_stop_where_they_say(faults, photos, tmp_path):
    rows = run(shaky(esno_db=[0], stop={"errors": 25}), tmp_path / "a").rows
    assert rows[0].errors >= 25 > rows[0].errors - 10 and rows[0].stop == "The target of 25 block errors is reached."
    rows = run(shaky(esno_db=[15], stop={"errors": 25, "most_trials": 45}), tmp_path / "b").rows
    assert rows[0].trials == 50
    assert rows[0].stop == "The most trials are done, 50 blocks with 0 of 25 errors; raise stop.most_trials to be surer."
    rows = run(shaky(esno_db=[0], stop={"half_width": {"bler": 0.05}}), tmp_path / "c").rows
    number = rows[0].metrics["bler"]
    assert (number.high - number.low) / 2 <= 0.05 and "bler 0.05" in rows[0].stop
    slow = {"A": {"name": "shaky", "seconds": 0.01}}
    rows = run(shaky(esno_db=[0], schemes=slow, stop={"most_seconds": 0.05}), tmp_path / "d").rows
    assert 10 <= rows[0].trials <= 50 and rows[0].seconds >= 0.05 and "0.05, are used up" in rows[0].stop
    # every picture has had the same number of draws, whichever batch the target was reached in
    stop = {"half_width": {"psnr": 5.0}, "least_draws": 2}
    row = run(photos(esno_db=[10], cbr=[0.5], stop=stop), tmp_path / "e").rows[0]
    assert {group.n for group in row.per_image["psnr"]} == {2} and row.metrics["psnr"].draws_half_width <= 5.0


@pytest.mark.parametrize("bad", [{"processes": 0}, {"threads": "two"}, {"in_flight": -1}, {"device": "abacus"}])
def test_run_time_settings_are_checked_first(faults, tmp_path, bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        run(shaky(), tmp_path / "r", **bad)
    assert not (tmp_path / "r").exists()


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="no results of a study here"):
        load_results(tmp_path)


def test_progress_tells_how_far_it_is(faults, tmp_path, capsys):
    import io

    class Recording(NoProgress):
        def __init__(self):
            self.seen = []

        def update(self, snapshot):
            self.seen.append(snapshot)

    recording = Recording()
    run(shaky(), tmp_path / "a", progress=recording)
    fractions = [snapshot.fraction for snapshot in recording.seen]
    assert fractions[-1] == 1.0 and all(0 < fraction <= 1 for fraction in fractions)
    assert [s.batches for s in recording.seen] == list(range(1, len(fractions) + 1))
    assert recording.seen[-1].points_done == 2 and recording.seen[2].seconds_left >= 0
    stream = io.StringIO()
    run(shaky(), tmp_path / "b", progress=TextProgress(stream))
    assert "100 %  2/2 points" in stream.getvalue() and "left" in stream.getvalue()
    assert capsys.readouterr() == ("", "")
