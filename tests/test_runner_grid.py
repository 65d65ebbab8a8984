"""Grids that grow while they run, and the forecast of a run."""

import pytest
from runner_studies import shaky, table

from jscclink.simulator.forecast import describe, forecast
from jscclink.simulator.grid import Grid, crossings
from jscclink.simulator.results import load_results
from jscclink.simulator.runner import run
from jscclink.simulator.statistics import Sums, estimate


def psnr(value):
    return {"psnr": estimate("mean", [Sums.of([value, value], [1.0, 1.0])])}


def test_a_grid_grows_at_bends_and_nowhere_else():
    line = {at: psnr(20.0 + at) for at in (0.0, 2.0, 4.0, 6.0)}
    assert Grid((0.0,), 0.5).more(line, "psnr") == []
    cliff = {0.0: psnr(10.0), 3.0: psnr(10.0), 6.0: psnr(30.0), 9.0: psnr(30.0)}
    assert Grid((0.0,), 0.5).more(cliff, "psnr") == [1.5, 4.5, 7.5]
    assert Grid((0.0,), 3.0).more(cliff, "psnr") == [] == Grid((0.0,)).more(cliff, "psnr")


def test_a_target_is_sought_by_bisection(faults, tmp_path):
    study = shaky(esno_db={"from": 0, "to": 8, "step": 4, "refine": 0.5, "target": {"ber": 0.02}}, stop={"most_trials": 400})
    results = run(study, tmp_path / "a")
    (found,) = crossings(results, "ber", 0.02)
    low, high = found.bracket_db
    # Q(sqrt(2 Es/N0)) = 0.02 at Es/N0 = (2.0537)^2 / 2 = 3.24 dB
    assert 0 < high - low <= 0.5 and low - 0.25 < 3.24 < high + 0.25 and len(results.rows) == 6
    # the points follow from what is stored, whoever computes them and however often it is interrupted
    run(study, tmp_path / "b", processes=2)
    assert table(tmp_path / "a") == table(tmp_path / "b")
    assert load_results(tmp_path / "b").table() == results.table() == run(study, tmp_path / "a").table()
    assert "ber 0.02 is passed between" in found.sentence("ber", 0.02)


def test_a_grid_resumes_where_it_was(faults, tmp_path):
    from jscclink.simulator.progress import NoProgress

    class Impatient(NoProgress):
        def update(self, snapshot):
            if snapshot.batches == 23:
                raise KeyboardInterrupt

    study = shaky(esno_db={"from": 0, "to": 9, "step": 3, "refine": 1}, stop={"most_trials": 100})
    with pytest.raises(KeyboardInterrupt):
        run(study, tmp_path / "a", progress=Impatient())
    run(study, tmp_path / "a")
    run(study, tmp_path / "b")
    assert table(tmp_path / "a") == table(tmp_path / "b")
    assert len(load_results(tmp_path / "a").rows) > 4


def test_a_forecast_stores_nothing_and_adds_up(faults, photos, tmp_path):
    study = photos()
    found = forecast(study)
    assert (found.points, found.most_items, found.least_items) == (8, 8 * 9, 8 * 9)
    cost = found.costs["pixels"]
    assert found.most_s == pytest.approx(72 * cost.item_s + 2 * 3 * cost.first_s) == found.least_s
    text = describe(study, found, 2)
    assert "pixels | slow Rayleigh | CBR 0.25 | Es/N0 0, 10 dB" in text and "at most 72 pictures x draws" in text
    broken = forecast(shaky(schemes={"A": {"name": "shaky", "most_items": 0}}))
    assert "MemoryError" in broken.costs["A"].failure and "a calibration failed" in describe(shaky(), broken)
