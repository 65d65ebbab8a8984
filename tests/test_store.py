"""The store: nothing finished is lost, damage is named, files of several machines add up."""

import os
import subprocess
import sys
import textwrap

import pytest

from jscclink.errors import InputError
from jscclink.simulator.store import LOG, Log, StoreError, Writer

POINT, OTHER = "a" * 64, "b" * 64


def record(value, *metrics, seconds=0.1):
    kept = {name: {"kind": "mean", "x": [value, 0.1 + value]} for name in metrics or ("psnr",)}
    return {"trials": 2, "errors": 0, "seconds": seconds, "metrics": kept}


def filled(folder, values, point=POINT):
    writer = Writer(folder)
    for batch, value in enumerate(values):
        writer.write_batch(point, batch, record(value))
    writer.close()
    return folder / LOG


def values(log, point=POINT):
    return [r["metrics"]["psnr"]["x"][0] for r in log.in_order(point, ["psnr"])]


def test_floats_come_back_to_the_bit(tmp_path):
    numbers = [0.1, 1 / 3, 1e-300, 123456789.123456789, 5e-324, -0.0, 2.0**53, 31.415926535897931]
    filled(tmp_path, numbers)
    assert [x.hex() for x in values(Log(tmp_path))] == [float(x).hex() for x in numbers]


def test_batches_come_in_order_up_to_the_first_that_is_missing(tmp_path):
    writer = Writer(tmp_path)
    for batch in (2, 0, 1, 4):
        writer.write_batch(POINT, batch, record(float(batch)))
    writer.close()
    log = Log(tmp_path)
    assert values(log) == [0.0, 1.0, 2.0] and set(log.batches(POINT)) == {0, 1, 2, 4}
    assert values(log, OTHER) == [] and log.notices == []


def test_a_line_cut_short_is_named_and_the_log_goes_on(tmp_path):
    path = filled(tmp_path, [1.0, 2.0, 3.0])
    for cut in (1, 20, 150):
        filled(tmp_path, [])
        data = path.read_bytes()
        path.write_bytes(data[:-cut])
        log = Log(tmp_path)
        assert values(log) == [1.0, 2.0]
        assert log.notices == [f"{LOG}: the last line (3) is cut short; its batch is run again."]
        writer = Writer(tmp_path)
        writer.write_batch(POINT, 2, record(3.0))
        writer.close()
        log = Log(tmp_path)
        assert values(log) == [1.0, 2.0, 3.0] and log.notices == []


def test_every_edited_byte_is_noticed(tmp_path):
    path = filled(tmp_path, [1.25, 2.5])
    data = path.read_bytes()
    second = data.index(b"\n") + 1
    for position in range(second, len(data) - 1):
        edited = bytearray(data)
        edited[position] ^= 1
        if edited[position] == 10:
            continue
        path.write_bytes(edited)
        log = Log(tmp_path)
        assert values(log) == [1.25]
        assert log.notices == [f"{LOG}: line 2 is damaged or was edited; its batch is run again."]


def test_rubbish_between_the_lines_is_named(tmp_path):
    path = filled(tmp_path, [1.0, 2.0])
    path.write_bytes(path.read_bytes().replace(b"\n", b"\nrubbish \xff\x00\n\n", 1))
    log = Log(tmp_path)
    assert values(log) == [1.0, 2.0] and len(log.notices) == 2 and "line 2" in log.notices[0]


def test_an_empty_log_and_an_empty_folder_hold_nothing(tmp_path):
    assert values(Log(tmp_path)) == []
    (tmp_path / LOG).touch()
    assert values(Log(tmp_path)) == []


def test_files_of_several_machines_add_up(tmp_path):
    writer = Writer(tmp_path)
    for batch in (0, 2, 4):
        writer.write_batch(POINT, batch, record(float(batch), seconds=1.0))
    writer.close()
    (tmp_path / LOG).rename(tmp_path / "east.jsonl")
    filled(tmp_path, [0.0, 1.0, 2.0, 3.0])
    log = Log(tmp_path)
    assert values(log) == [0.0, 1.0, 2.0, 3.0, 4.0] and log.notices == []
    together = (tmp_path / "east.jsonl").read_bytes() + (tmp_path / LOG).read_bytes()
    (tmp_path / "east.jsonl").unlink()
    (tmp_path / LOG).write_bytes(together)
    assert values(Log(tmp_path)) == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_disagreement_is_named_and_the_first_counts(tmp_path):
    filled(tmp_path, [1.0])
    (tmp_path / LOG).rename(tmp_path / "another.jsonl")
    filled(tmp_path, [1.5])
    log = Log(tmp_path)
    assert values(log) == [1.0]
    assert log.notices == [f"Two records of batch 0 of point {POINT[:12]} disagree; the first counts."]


def test_metrics_of_two_runs_complete_each_other(tmp_path):
    writer = Writer(tmp_path)
    writer.write_batch(POINT, 0, record(1.0, "psnr"))
    writer.write_batch(POINT, 0, record(1.0, "psnr", "outage"))
    writer.close()
    log = Log(tmp_path)
    assert set(log.record(POINT, 0, ["psnr", "outage"])["metrics"]) == {"psnr", "outage"}
    assert log.record(POINT, 0, ["psnr", "ms_ssim"]) is None


def test_the_last_study_of_each_file_is_in_force(tmp_path):
    writer = Writer(tmp_path)
    for name in ("first", "second"):
        writer.write_study({"name": name})
    writer.close()
    assert Log(tmp_path).studies == {LOG: {"name": "second"}}


def test_two_writers_at_once_are_refused(tmp_path):
    writer = Writer(tmp_path)
    with pytest.raises(InputError, match="another run is writing to"):
        Writer(tmp_path)
    writer.close()
    Writer(tmp_path).close()


def test_a_place_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="results cannot be written to"):
        Writer(tmp_path / "file")


def test_a_full_disk_loses_nothing_and_says_so(tmp_path):
    script = """
        import resource, sys
        from jscclink.simulator.store import StoreError, Writer
        resource.setrlimit(resource.RLIMIT_FSIZE, (700, resource.RLIM_INFINITY))
        writer = Writer(sys.argv[1])
        kept = {"trials": 1, "errors": 0, "seconds": 0.1, "metrics": {"psnr": {"kind": "mean", "x": [1.0]}}}
        for batch in range(9):
            try:
                writer.write_batch("a" * 64, batch, kept)
            except StoreError as error:
                print(batch, error)
                break
        writer.close()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    batch, message = done.stdout.split(" ", 1)
    assert "cannot grow" in message and "run again" in message
    log = Log(tmp_path)
    assert int(batch) > 0 and values(log) == [1.0] * int(batch) and log.notices == []


def test_a_failing_write_leaves_the_log_as_it_was(tmp_path, monkeypatch):
    writer = Writer(tmp_path)
    writer.write_batch(POINT, 0, record(1.0))
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:30]))
    with pytest.raises(StoreError, match="all batches before are safe"):
        writer.write_batch(POINT, 1, record(2.0))
    monkeypatch.undo()
    writer.write_batch(POINT, 1, record(3.0))
    writer.close()
    assert values(Log(tmp_path)) == [1.0, 3.0]
