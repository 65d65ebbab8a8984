"""Stores of several machines become one: nothing finished is lost, and what contradicts itself is named."""

import json

import pytest
from typer.testing import CliRunner

from jscclink.errors import InputError
from jscclink.simulator.cli import app
from jscclink.simulator.merge import merge
from jscclink.simulator.results import TABLE, load_results
from jscclink.simulator.runner import run
from jscclink.simulator.store import LOG, Log, Writer, line_of
from jscclink.simulator.study import Study


def blocks(**changes):
    data = {
        "name": "blocks",
        "channels": {"AWGN": "awgn"},
        "schemes": {"A": {"name": "bits", "code": "none", "k": 32, "modulation": "bpsk"}},
        "esno_db": [0, 3],
        "metrics": ["ber", "bler"],
        "stop": {"most_trials": 60},
        "batch": {"items": 10},
    }
    return Study.from_mapping(data | changes)


def edited(folder, change, line=2):
    """A line of a store with a change in its record, and a checksum that fits: not damage, but another result."""
    path = folder / LOG
    lines = path.read_bytes().splitlines(keepends=True)
    record = json.loads(lines[line])
    del record["check"]
    change(record)
    lines[line] = line_of(record)
    path.write_bytes(b"".join(lines))


def test_halves_make_the_whole(tmp_path):
    run(blocks(esno_db=[0]), tmp_path / "east")
    run(blocks(esno_db=[3]), tmp_path / "west")
    run(blocks(), tmp_path / "all")
    merged = merge(tmp_path / "both", [tmp_path / "east", tmp_path / "west"])
    assert (merged.points, merged.batches, merged.duplicates, merged.notices) == (2, 12, 0, ())
    assert load_results(tmp_path / "both").table() == load_results(tmp_path / "all").table()
    # and a run finds all of it there
    before = (tmp_path / "both" / LOG).read_bytes().splitlines()
    run(blocks(), tmp_path / "both")
    assert (tmp_path / "both" / LOG).read_bytes().splitlines()[: len(before)] == before
    assert len((tmp_path / "both" / LOG).read_bytes().splitlines()) <= len(before) + 1


def test_what_both_have_is_kept_once_and_the_bytes_repeat(tmp_path):
    run(blocks(stop={"most_trials": 30}), tmp_path / "short")
    run(blocks(), tmp_path / "long")
    stores = [tmp_path / "long", tmp_path / "short"]
    merged = merge(tmp_path / "a", stores)
    assert merged.batches == 12 and merged.duplicates == 6
    assert len(merged.notices) == 1 and "stop differs" in merged.notices[0]
    merge(tmp_path / "b", stores)
    assert (tmp_path / "a" / LOG).read_bytes() == (tmp_path / "b" / LOG).read_bytes()
    assert load_results(tmp_path / "a").table() == load_results(tmp_path / "long").table()


def test_metrics_of_two_machines_complete_each_other(tmp_path):
    run(blocks(metrics=["ber"]), tmp_path / "a")
    run(blocks(metrics=["bler", "ber"]), tmp_path / "b")
    run(blocks(), tmp_path / "all")
    merge(tmp_path / "both", [tmp_path / "a", tmp_path / "b"])
    assert load_results(tmp_path / "both").table() == load_results(tmp_path / "all").table()


def test_records_that_disagree_are_named_and_nothing_is_written(tmp_path):
    for name in ("east", "west"):
        run(blocks(), tmp_path / name)
    edited(tmp_path / "west", lambda record: record.update(errors=record["errors"] + 1))
    with pytest.raises(InputError, match=r"1 batches disagree.* batch 1 of A on AWGN at 0 dB \(\S+east and \S+west\)"):
        merge(tmp_path / "both", [tmp_path / "east", tmp_path / "west"])
    assert not (tmp_path / "both" / LOG).exists() and list((tmp_path / "both").iterdir()) == []


def test_damage_in_a_source_is_named_and_mended_by_the_other(tmp_path):
    for name in ("east", "west"):
        run(blocks(), tmp_path / name)
    path = tmp_path / "west" / LOG
    path.write_bytes(path.read_bytes().replace(b'"batch":3,', b'"batch":4,', 1)[:-20])
    merged = merge(tmp_path / "both", [tmp_path / "west", tmp_path / "east"])
    assert [word in notice for word, notice in zip(("line", "cut short"), merged.notices, strict=True)] == [True, True]
    assert merged.batches == 12
    assert load_results(tmp_path / "both").table() == load_results(tmp_path / "east").table()


def test_a_batch_that_failed_on_one_machine_and_not_on_the_other_is_there(tmp_path):
    run(blocks(), tmp_path / "good")
    record = json.loads((tmp_path / "good" / LOG).read_text().splitlines()[1])
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / LOG).write_bytes((tmp_path / "good" / LOG).read_bytes().splitlines(keepends=True)[0])
    writer = Writer(tmp_path / "bad")
    for batch in (record["batch"], 99):
        writer.write_batch(record["point"], batch, {"failed": "no memory"})
    writer.close()
    merge(tmp_path / "both", [tmp_path / "bad", tmp_path / "good"])
    log = Log(tmp_path / "both")
    assert log.record(record["point"], record["batch"], ["ber"]) is not None
    assert json.loads(log.lines(record["point"], 99)[0])["failed"] == "no memory"


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"seed": 2}, "are of different studies: seed differ"),
        ({"batch": {"items": 20}}, "are of different studies: items differ"),
        (
            {"schemes": {"A": {"name": "bits", "code": "none", "k": 64, "modulation": "bpsk"}}},
            "scheme 'A' is not the same in .*west",
        ),
        ({"channels": {"AWGN": "rayleigh"}}, "channel 'AWGN' is not the same in .*west"),
    ],
)
def test_other_studies_are_refused(tmp_path, changes, named):
    run(blocks(), tmp_path / "east")
    run(blocks(**changes), tmp_path / "west")
    with pytest.raises(InputError, match=named):
        merge(tmp_path / "both", [tmp_path / "east", tmp_path / "west"])


def test_a_point_that_is_called_alike_and_is_another_is_refused(tmp_path):
    for name in ("east", "west"):
        run(blocks(), tmp_path / name)
    edited(tmp_path / "west", lambda line: line["study"]["points"][0].update(id="0" * 64), line=0)
    named = "A on AWGN at 0 dB is another point in .*west than in .*east: other pictures, weights or options"
    with pytest.raises(InputError, match=named):
        merge(tmp_path / "both", [tmp_path / "east", tmp_path / "west"])


def test_places_that_cannot_be_used_are_named(tmp_path):
    run(blocks(), tmp_path / "a")
    with pytest.raises(InputError, match="there is a store already"):
        merge(tmp_path / "a", [tmp_path / "a"])
    with pytest.raises(InputError, match="nothing: no results of a study here"):
        merge(tmp_path / "b", [tmp_path / "a", tmp_path / "nothing"])


def test_the_command_writes_store_and_table(tmp_path):
    for snr in (0, 3):
        run(blocks(esno_db=[snr]), tmp_path / str(snr))
    done = CliRunner().invoke(app, ["merge", *(str(tmp_path / name) for name in ("both", "0", "3"))])
    assert done.exit_code == 0 and "2 points, 12 batches; 0 records were there twice" in done.stdout, done.output
    run(blocks(), tmp_path / "all")
    assert (tmp_path / "both" / TABLE).read_bytes() == (tmp_path / "all" / TABLE).read_bytes()
    done = CliRunner().invoke(app, ["merge", *(str(tmp_path / name) for name in ("both", "0", "3"))])
    assert done.exit_code == 2 and len(done.stderr.splitlines()) == 1
