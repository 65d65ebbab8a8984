"""Study files: what is refused, with which words; what is asked for; ids and seeds."""

import re

import pytest
import yaml

from jscclink.errors import InputError
from jscclink.simulator.points import Plan, Point
from jscclink.simulator.study import Study

BITS = """
name: bits
channels:
  AWGN: awgn
schemes:
  QPSK: {name: bits, code: none, k: 64, modulation: qpsk}
esno_db: [0, 2]
metrics: [ber, bler]
"""
PICTURES = """
name: pictures
images: {set: kodak, pick: [5, 13]}
channels:
  AWGN: awgn
  slow Rayleigh: {name: rayleigh, form: slow}
schemes:
  pixels: uncoded
esno_db: {from: 0, to: 10, step: 2.5}
cbr: [1/12, 0.5]
metrics: [psnr, outage]
"""


def change(text, old, new):
    assert old in text
    return text.replace(old, new)


# what is in the file -> what the line must say
BAD = {
    "empty file": ("", "empty"),
    "only a comment": ("# nothing\n", "empty"),
    "a list": ("- 1\n- 2\n", "a list, not a mapping"),
    "a word": ("hello\n", "a str, not a mapping"),
    "no YAML": ("name: [1, 2\n", "line 2: not YAML"),
    "a tab": ("name: x\n\tseed: 1\n", "line 2: not YAML"),
    "two documents": (BITS + "---\nname: y\n", "another document"),
    "a Python object": (change(BITS, "name: bits\n", "name: !!python/object:os.system ls\n"), "line 2: not YAML"),
    "an anchor within itself": ("name: &a [*a]\n", "an anchor contains itself"),
    "an unknown alias": ("name: *a\n", "undefined alias 'a'"),
    "a bomb of aliases": (
        "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{x}: &{x} [{','.join(['*' + y] * 10)}]\n" for x, y in zip("bcdef", "abcde", strict=True)),
        "more than 100000 values",
    ),
    "nested too deeply": ("name: " + "[" * 5000, "nested too deeply"),
    "a key twice": (BITS + "name: again\n", "line 2, name: the key is there twice (again in line 9)"),
    "a label twice": (
        change(BITS, "  AWGN: awgn\n", "  AWGN: awgn\n  AWGN: noiseless\n"),
        "channels.AWGN: the key is there twice",
    ),
    "a key of its own kind": ("? [a, b]\n: c\n", "keys are words"),
    "an unknown key": (BITS + "colour: red\n", "colour: no such key; allowed: name, seed"),
    "a misspelt key": (change(BITS, "metrics", "metric"), "line 8, metric: no such key; did you mean 'metrics'?"),
    "another name of the SNR": (change(BITS, "esno_db", "snr"), "snr: no such key; did you mean 'esno_db'?"),
    "no name": (change(BITS, "name: bits\n", ""), "name: the key is missing"),
    "a name that is a number": (change(BITS, "name: bits\n", "name: 5\n"), "name: got 5; allowed: a name"),
    "a name of two lines": (change(BITS, "name: bits\n", 'name: "a\\nb"\n'), "one line"),
    "no schemes": (re.sub(r"schemes:\n.*\n", "", BITS), "schemes: the key is missing"),
    "an empty mapping of schemes": (re.sub(r"schemes:\n.*\n", "schemes: {}\n", BITS), "schemes: got {}"),
    "schemes as a list": (re.sub(r"schemes:\n.*\n", "schemes: [bits]\n", BITS), "schemes: got ['bits']"),
    "an unknown scheme": (change(BITS, "{name: bits,", "{name: bit,"), "schemes.QPSK: no scheme is called 'bit'; did you mean"),
    "a scheme without a name": (change(BITS, "{name: bits,", "{"), "schemes.QPSK: a scheme is a name, or a mapping with"),
    "a scheme that is nothing": (re.sub(r"QPSK: .*", "QPSK:", BITS), "schemes.QPSK: a scheme is a name"),
    "an unknown option": (
        change(BITS, "modulation:", "modulatoin:"),
        "schemes.QPSK.modulatoin: the scheme 'bits' has no option",
    ),
    "an unknown modulation": (
        change(BITS, "modulation: qpsk", "modulation: 17qam"),
        "schemes.QPSK: modulation '17qam' is not known",
    ),
    "an option of the wrong type": (change(BITS, "k: 64", "k: many"), "schemes.QPSK.k: option 'k'"),
    "a missing option": (change(BITS, "k: 64, ", ""), "schemes.QPSK.k: the scheme 'bits' needs the option 'k'"),
    "an option out of range": (change(BITS, "k: 64", "k: 0"), "schemes.QPSK: k must be at least 1"),
    "an unknown channel": (
        change(BITS, "AWGN: awgn", "AWGN: agwn"),
        "channels.AWGN: no channel is called 'agwn'; did you mean awgn?",
    ),
    "an unknown form of fading": (
        change(PICTURES, "form: slow", "form: slwo"),
        "line 6, channels.slow Rayleigh.form: option 'form'",
    ),
    "a channel in a list": (change(BITS, "  AWGN: awgn", "  - awgn"), "channels: got ['awgn']"),
    "an unknown side link": (BITS + "side: perfect\n", "side: no side is called 'perfect'"),
    "an unknown metric": (
        change(BITS, "[ber, bler]", "[ber, blre]"),
        "metrics.1: no metric is called 'blre'; did you mean bler",
    ),
    "a metric twice": (change(BITS, "[ber, bler]", "[ber, ber]"), "metrics.1: 'ber' is there twice"),
    "a metric for pictures": (change(BITS, "[ber, bler]", "[psnr]"), "metrics.0: 'psnr' is measured on pictures"),
    "a metric alone": (change(BITS, "[ber, bler]", "ber"), "metrics: got 'ber' (write a list, ['ber'])"),
    "no metrics": (change(BITS, "[ber, bler]", "[]"), "metrics: got []"),
    "dB beside the number": (change(BITS, "[0, 2]", "[10 dB]"), "esno_db: got ['10 dB'] (write 10 alone, without 'dB'"),
    "dB glued to the number": (change(BITS, "[0, 2]", "[10dB]"), "write 10 alone, without 'dB'"),
    "an SNR in watts": (change(BITS, "[0, 2]", "[3 W]"), "write 3 alone, without 'W'"),
    "an SNR that is a word": (change(BITS, "[0, 2]", "[high]"), "(not a number); allowed: a list of numbers in dB"),
    "an SNR that is no list": (change(BITS, "[0, 2]", "10"), "(write a list, [10])"),
    "an SNR that is truth": (change(BITS, "[0, 2]", "[true]"), "not a number"),
    "an infinite SNR": (change(BITS, "[0, 2]", "[.inf]"), "not a finite number"),
    "an SNR that is none": (change(BITS, "[0, 2]", "[.nan]"), "not a finite number"),
    "an SNR of 1000 dB": (change(BITS, "[0, 2]", "[1000]"), "beyond -200..200 dB"),
    "an SNR twice": (change(BITS, "[0, 2]", "[0, 2, 0]"), "0 is there twice"),
    "no SNR in the list": (change(BITS, "[0, 2]", "[]"), "the list is empty"),
    "no SNR at all": (change(BITS, "esno_db: [0, 2]\n", ""), "one of the keys esno_db and ebno_db"),
    "two SNRs": (BITS + "ebno_db: [1]\n", "only one"),
    "a range without a step": (change(BITS, "[0, 2]", "{from: 0, to: 2}"), "a range has the keys from, to and step"),
    "a range that goes down": (change(BITS, "[0, 2]", "{from: 5, to: 2, step: 1}"), "goes upwards"),
    "a range with step 0": (change(BITS, "[0, 2]", "{from: 0, to: 2, step: 0}"), "goes upwards"),
    "a range without end": (change(BITS, "[0, 2]", "{from: 0, to: 100, step: 1e-9}"), "at most 100000"),
    "Eb/N0 of pixels": (change(PICTURES, "esno_db", "ebno_db"), "'pixels' has no fixed number of information bits per use"),
    "a CBR for bits": (BITS + "cbr: [1/12]\n", "cbr: 'QPSK' transmits blocks of bits"),
    "draws for bits": (BITS + "draws: 3\n", "draws: 'QPSK' transmits blocks of bits"),
    "pictures for bits": (BITS + "images: {set: kodak}\n", "images: 'QPSK' transmits blocks of bits"),
    "bits and pictures": (
        change(PICTURES, "  pixels: uncoded", "  pixels: uncoded\n  b: {name: bits, code: none, k: 8}"),
        "two studies",
    ),
    "no pictures": (change(PICTURES, "images: {set: kodak, pick: [5, 13]}\n", ""), "the key 'images' is missing"),
    "pictures by a word": (change(PICTURES, "{set: kodak, pick: [5, 13]}", "kodak"), "images: got 'kodak'"),
    "an unknown set": (change(PICTURES, "kodak", "kodac"), "images: "),
    "an unknown picture": (change(PICTURES, "[5, 13]", "[99]"), "no picture 99"),
    "no such folder": (change(PICTURES, "{set: kodak, pick: [5, 13]}", "{folder: nowhere}"), "no such folder"),
    "no CBR": (change(PICTURES, "cbr: [1/12, 0.5]\n", ""), "the key 'cbr' is missing"),
    "a CBR of 0": (change(PICTURES, "[1/12, 0.5]", "[0]"), "a CBR is positive"),
    "a CBR divided by 0": (change(PICTURES, "[1/12, 0.5]", "[1/0]"), "not a number"),
    "a negative CBR": (change(PICTURES, "[1/12, 0.5]", "[-0.1]"), "a CBR is positive"),
    "a CBR twice": (change(PICTURES, "[1/12, 0.5]", "[1/2, 0.5]"), "0.5 is there twice"),
    "a CBR in per cent": (change(PICTURES, "[1/12, 0.5]", "[8%]"), "write 8 alone"),
    "half a draw": (PICTURES + "draws: 2.5\n", "draws: got 2.5 (not a whole number)"),
    "no draws": (PICTURES + "draws: 0\n", "draws: got 0; allowed: a whole number"),
    "a seed below 0": (BITS + "seed: -1\n", "seed: got -1"),
    "a seed that is a word": (BITS + "seed: lucky\n", "seed: got 'lucky' (not a number)"),
    "an unknown stop rule": (BITS + "stop: {frames: 5}\n", "stop.frames: no such key; allowed: errors"),
    "another name of a stop rule": (BITS + "stop: {max_trials: 5}\n", "did you mean 'most_trials'?"),
    "a stop rule that is a number": (BITS + "stop: 100\n", "stop: got 100"),
    "a negative target": (BITS + "stop: {errors: -5}\n", "line 9, stop.errors: got -5"),
    "seconds with a unit": (BITS + "stop: {most_seconds: 10 min}\n", "write 10 alone, without 'min'"),
    "a half-width of something else": (
        BITS + "stop: {half_width: {psnr: 0.1}}\n",
        "stop.half_width.psnr: not among the study's metrics",
    ),
    "a half-width of 0": (BITS + "stop: {half_width: {ber: 0}}\n", "stop.half_width.ber: got 0"),
    "an empty batch": (BITS + "batch: {items: 0}\n", "batch.items: got 0"),
    "a batch that is a number": (BITS + "batch: 8\n", "batch: got 8"),
    "the same scheme twice": (change(BITS, "  QPSK:", "  A: {name: bits, code: none, k: 64}\n  QPSK:"), "are the same point"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_malformed_study_gets_one_clear_line(case, tmp_path):
    text, expected = BAD[case]
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        Study.load(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and len(message) < 700
    assert expected in message


@pytest.mark.parametrize(
    "data, expected",
    [(b"\x89PNG\r\n\x1a\n\xff\xfe", "not a text"), (b"a\x00b", "not YAML"), (b"a: 1\n" * 300_000, "longer than")],
)
def test_a_file_that_is_no_text_is_refused(tmp_path, data, expected):
    path = tmp_path / "study.yaml"
    path.write_bytes(data)
    with pytest.raises(InputError, match=expected):
        Study.load(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        Study.load(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        Study.load(tmp_path)


def bits(**changes):
    return Study.from_mapping(yaml.safe_load(BITS) | changes)


def test_a_study_of_bits_as_it_stands():
    study = bits()
    assert study.block_bits and study.sets[""].plan == Plan((), 8)
    assert [(p.esno_db, p.cbr) for p in study.points] == [(0.0, None), (2.0, None)]
    assert study.points[0].ebno_db == pytest.approx(-3.0103, abs=1e-4)
    assert study.stop.most_trials == 100_000 and study.stop.draws is None
    assert list(study.metrics) == ["ber", "bler"]


def test_a_study_of_pictures_as_it_stands(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(PICTURES)
    study = Study.load(path)
    assert study.text == PICTURES
    assert len(study.points) == 1 * 2 * 2 * 5
    assert {p.cbr for p in study.points} == {1 / 12, 0.5}
    assert [p.esno_db for p in study.points[:5]] == [0.0, 2.5, 5.0, 7.5, 10.0]
    # one portrait, one landscape: two batches to a draw
    assert study.sets[""].plan.batches_per_pass == len(set(study.sets[""].images.shapes)) and study.stop.draws == 10
    assert study.metric_info["psnr"].unit == "dB"


def test_only_schemes_that_set_their_own_rate_do_without_a_cbr(tmp_path):
    path = tmp_path / "study.yaml"
    text = change(PICTURES, "cbr: [1/12, 0.5]\n", "")
    own = "{name: hjscc, cbr_target: 0.05, average_over: {set: kodak, limit: 1}}"
    path.write_text(change(text, "pixels: uncoded", f"own rate: {own}"))
    assert {point.cbr for point in Study.load(path).points} == {None}
    path.write_text(change(text, "pixels: uncoded", f"own rate: {own}\n  pixels: uncoded"))
    with pytest.raises(InputError, match="'cbr' is missing: 'pixels' transmits pictures"):
        Study.load(path)


def test_numbers_as_people_write_them():
    study = bits(stop={"most_trials": 1e5}, seed=7)
    assert study.stop.most_trials == 100_000
    tenths = bits(esno_db={"from": -0.3, "to": 0.3, "step": 0.1})
    assert [p.esno_db for p in tenths.points] == [-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3]


def test_overrides_go_into_the_study_and_its_text(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(BITS)
    study = Study.load(path, {"stop.errors": 7, "esno_db": [3], "schemes.QPSK.k": 128})
    assert study.stop.errors == 7 and study.points[0].esno_db == 3.0 and study.block_bits
    assert Study.from_mapping(yaml.safe_load(study.text)).points == study.points
    with pytest.raises(InputError, match=r"stop\.errors: got 'many'"):
        Study.load(path, {"stop.errors": "many"})
    with pytest.raises(InputError, match="needs a mapping there"):
        Study.load(path, {"name.errors": 1})


def test_a_folder_is_found_from_the_study_file(tmp_path, monkeypatch):
    from jscclink.simulator import datasets, pictures

    (tmp_path / "my").mkdir()
    pictures.write(tmp_path / "my" / "a.png", datasets.load({"set": "kodak", "pick": [1], "crop": [32, 48]}).picture(0))
    path = tmp_path / "study.yaml"
    path.write_text(change(PICTURES, "{set: kodak, pick: [5, 13]}", "{folder: my}"))
    monkeypatch.chdir("/")
    assert Study.load(path).sets[""].images.shapes == ((3, 32, 48),)


def ids(study):
    return [p.id for p in study.points]


def test_ids_follow_what_matters_and_nothing_else():
    study = bits()
    assert len(set(ids(study))) == 2
    scheme = {"name": "bits", "code": "none", "k": 64}
    same = [
        bits(name="another"),
        bits(metrics=["ber"]),
        bits(stop={"errors": 5}),
        bits(schemes={"another label": scheme | {"modulation": "qpsk"}}),
        bits(schemes={"QPSK": scheme}),  # qpsk is the default
        bits(channels={"other": {"name": "awgn", "csi": "rx"}}),
    ]
    for other in same:
        assert ids(other) == ids(study)
    different = [
        bits(seed=2),
        bits(batch={"items": 9}),
        bits(schemes={"QPSK": scheme | {"modulation": "bpsk"}}),
        bits(channels={"AWGN": {"name": "awgn", "csi": "tx+rx"}}),
        bits(esno_db=[0.001, 2.001]),
    ]
    for other in different:
        assert not set(ids(other)) & set(ids(study))


def test_schemes_meet_the_same_channel_and_the_same_bits():
    schemes = {name: {"name": "bits", "code": "none", "k": 64, "modulation": name} for name in ("bpsk", "qpsk")}
    a, b = bits(schemes=schemes, esno_db=[3]).points
    assert a.id != b.id
    assert [a.link_seed(i) for i in range(3)] == [b.link_seed(i) for i in range(3)]
    assert a.payload_seed(64, 1) == b.payload_seed(64, 1)
    assert len({p.link_seed(i) for p in bits().points for i in range(3)} | {a.payload_seed(64, i) for i in range(3)}) == 9
    assert a.payload_seed(64, 0) != a.payload_seed(65, 0)
    assert all(0 <= a.link_seed(i) < 2**63 for i in range(50))


def test_seeds_and_ids_are_what_they_always_were():
    # golden: a change means that no stored result can be resumed, and SCHEMA must be raised
    plain = {"name": "x", "options": {"a": 1}}
    point = Point("s", "c", plain, plain, plain, None, None, 2.5, None, None, 1, None, 8)
    assert point.id == "d9703cf449faa241dfae61ad8a33d30efb6c276f1a06b1575cbf9ddec641e11d"
    assert (point.link_seed(0), point.payload_seed(64, 3)) == (7951243863178042566, 5112260728938322030)


def test_ebno_is_converted_at_the_schemes_rate():
    schemes = {name: {"name": "bits", "code": "none", "k": 64, "modulation": name} for name in ("bpsk", "16qam")}
    data = yaml.safe_load(BITS) | {"schemes": schemes, "ebno_db": [4]}
    del data["esno_db"]
    bpsk, qam = Study.from_mapping(data).points
    assert (bpsk.esno_db, bpsk.ebno_db) == (4.0, 4)
    assert qam.esno_db == pytest.approx(4 + 6.0206, abs=1e-4)


def test_pictures_of_one_shape_share_batches():
    plan = Plan.for_images([(3, 4, 6), (3, 6, 4), (3, 4, 6), (3, 4, 6), (3, 6, 4)], 2)
    assert plan.chunks == ((0, 2), (3,), (1, 4))
    assert plan.images == 5 and plan.batches_per_pass == 3
    assert [plan.pictures(i) for i in (0, 4, 8)] == [(0, 2), (3,), (1, 4)]
