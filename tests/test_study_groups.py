"""Study files made of several: includes, defaults, named groups."""

import pytest
import yaml

from jscclink.errors import InputError
from jscclink.simulator.study import Study

BASE = """
name: base
channels:
  AWGN: awgn
  noiseless: noiseless
schemes:
  QPSK: {name: bits, code: none, k: 64, modulation: qpsk}
esno_db: [0, 2]
metrics: [ber, bler]
stop: {errors: 5}
"""


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / f"{next(iter(files))}.yaml"


def places(study):
    return {(p.scheme_label, p.channel_label, p.esno_db) for p in study.points}


def test_what_a_file_includes_lies_under_what_it_says(tmp_path):
    (tmp_path / "parts").mkdir()
    write(tmp_path / "parts", base=BASE)
    top = "include: parts/base.yaml\nname: top\nesno_db: [4]\nschemes: {BPSK: {name: bits, code: none, k: 8}}\n"
    study = Study.load(write(tmp_path, top=top + "stop: {most_trials: 80}\n"))
    assert study.name == "top" and {p.esno_db for p in study.points} == {4.0}
    assert list(study.schemes) == ["QPSK", "BPSK"]  # entries gather
    assert (study.stop.errors, study.stop.most_trials) == (5, 80)
    # the whole study, as one file, is what the results keep
    assert "include" not in yaml.safe_load(study.text)
    assert Study.from_mapping(yaml.safe_load(study.text)).points == study.points


def test_later_includes_count_more_and_overrides_most(tmp_path):
    path = write(tmp_path, top="include: [a.yaml, b.yaml]\n", a=BASE, b="name: b\nseed: 5\n")
    assert (Study.load(path).name, Study.load(path).seed) == ("b", 5)
    assert Study.load(path, {"seed": 7, "stop.errors": 9}).stop.errors == 9


def test_a_picture_folder_is_found_from_the_file_that_names_it(tmp_path):
    from jscclink.simulator import datasets, pictures

    (tmp_path / "parts" / "my").mkdir(parents=True)
    pictures.write(
        tmp_path / "parts" / "my" / "a.png", datasets.load({"set": "kodak", "pick": [1], "crop": [32, 48]}).picture(0)
    )
    write(tmp_path / "parts", base="images: {folder: my}\n")
    rest = "name: x\nchannels: {AWGN: awgn}\nschemes: {pixels: uncoded}\nesno_db: [1]\ncbr: [0.5]\nmetrics: [psnr]\n"
    study = Study.load(write(tmp_path, top="include: parts/base.yaml\n" + rest))
    assert study.sets[""].images.shapes == ((3, 32, 48),)
    assert Study.from_mapping(yaml.safe_load(study.text), folder=tmp_path).points == study.points


@pytest.mark.parametrize(
    "files, expected",
    [
        ({"a": "include: a.yaml\n"}, "a.yaml, line 1, include: a.yaml includes a.yaml: a study file cannot include itself"),
        (
            {"a": "include: b.yaml\n", "b": "\ninclude: [a.yaml]\n"},
            "b.yaml, line 2, include: a.yaml includes b.yaml includes a.y",
        ),
        ({"a": "include: none.yaml\n"}, "a.yaml, line 1, include: no such file: none.yaml"),
        ({"a": "include: [1]\n"}, "include: got [1]; allowed: the path of a study file, or a list"),
        ({"a": "include: []\n"}, "include: got []"),
        ({"a": "include: b.yaml\n", "b": "- x\n"}, "b.yaml: a list, not a mapping"),
        ({"a": "include: b.yaml\n", "b": BASE + "draws: none\n"}, "b.yaml, line 11, draws: got 'none'"),
        ({"a": "include: b.yaml\nesno_db: [high]\n", "b": BASE}, "a.yaml, line 2, esno_db: got ['high']"),
        (
            {"a": "include: b.yaml\n", "b": BASE.replace("qpsk}", "17qam}")},
            "b.yaml, line 7, schemes.QPSK: modulation '17qam'",
        ),
        ({"a": "include: [b.yaml, b.yaml]\n", "b": "include: [" + "c.yaml," * 60 + "]\n", "c": BASE}, "more than 100 files"),
    ],
)
def test_what_is_wrong_with_an_include_is_told_with_its_place(tmp_path, files, expected):
    with pytest.raises(InputError) as caught:
        Study.load(write(tmp_path, **files))
    message = str(caught.value)
    assert expected in message and "\n" not in message


def study(**changes):
    return Study.from_mapping(yaml.safe_load(BASE) | changes)


def test_defaults_are_options_by_plug_in():
    schemes = {"A": {"name": "bits", "modulation": "bpsk"}, "B": {"name": "bits", "k": 32}}
    made = study(schemes=schemes, defaults={"schemes": {"bits": {"code": "none", "k": 16}}})
    assert {label: scheme.block_bits for label, scheme in made.schemes.items()} == {"A": 16, "B": 32}
    plain = {label: {"name": "bits", "code": "none", "k": 16} | spec for label, spec in schemes.items()}
    assert made.points == study(schemes=plain).points
    fading = study(channels={"R": "rayleigh"}, defaults={"channels": {"rayleigh": {"form": "slow"}}})
    assert fading.points[0].channel["options"]["form"] == "slow"


def test_groups_are_sweeps_of_their_own():
    groups = {
        "loud": {"channels": ["AWGN"], "esno_db": [9]},
        "more": {"channels": {"fading": "rayleigh"}, "schemes": ["Q*"]},
        "again": {"channels": ["AWGN"], "esno_db": [9, 10]},
    }
    assert places(study(groups=groups)) == {
        ("QPSK", "AWGN", 9.0),
        ("QPSK", "fading", 0.0),
        ("QPSK", "fading", 2.0),
        ("QPSK", "AWGN", 10.0),
    }


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"groups": {}}, "groups: got {}"),
        ({"groups": {"g": {"snr": [1]}}}, "groups.g.snr: no such key; did you mean 'esno_db'?"),
        ({"groups": {"g": {"channels": ["AWGM"]}}}, "groups.g.channels: no label 'AWGM'; did you mean 'AWGN'?"),
        ({"groups": {"g": {"channels": {"AWGN": "rayleigh"}}}}, "groups.g.channels.AWGN: the label stands for something else"),
        ({"groups": {"g": {"channels": {"new": "agwn"}}}}, "groups.g.channels.new: no channel is called 'agwn'"),
        ({"groups": {"g": {"cbr": [0.5]}}}, "groups.g.cbr: 'QPSK' transmits blocks of bits"),
        ({"defaults": {"schemes": {"bit": {}}}}, "defaults.schemes.bit: none of the schemes is of that name; did you mean"),
        ({"defaults": {"scheme": {}}}, "defaults.scheme: no such key; did you mean 'schemes'? allowed: schemes, channels"),
        ({"defaults": {"schemes": {"bits": {"kk": 3}}}}, "schemes.QPSK.kk: the scheme 'bits' has no option"),
        ({"esno_db": {"from": 0, "to": 9, "step": 3, "refine": 0}}, "refine is a width in dB"),
        ({"esno_db": {"from": 0, "to": 9, "step": 3, "target": {"psnr": 3}}}, "esno_db.target.psnr: not among the study's"),
        ({"esno_db": {"from": 0, "to": 9, "step": 3, "target": 3}}, "target is one metric and its value"),
        ({"esno_db": {"from": 0, "to": 9, "step": 3, "refin": 3}}, "a range has the keys from, to and step (and refine"),
        ({"esno_db": {"from": 0, "to": 9, "step": 3, "within": 3}}, "within goes with refine"),
        (
            {"groups": {"a": {"esno_db": {"from": 0, "to": 9, "step": 3, "refine": 1}}, "b": {}}},
            "is in two groups, one of which refines",
        ),
    ],
)
def test_what_is_wrong_with_groups_and_grids_is_told(changes, expected):
    with pytest.raises(InputError) as caught:
        study(**changes)
    assert expected in str(caught.value)
