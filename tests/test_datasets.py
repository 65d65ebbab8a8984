"""Sets of pictures: what a specification selects, what is refused, and the sets on disk."""

import configparser
import hashlib
import pickle
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jscclink.errors import InputError
from jscclink.simulator import datasets

KODAK = Path(__file__).parents[1] / "data" / "kodak"


def test_kodak_is_complete_and_unchanged():
    listed = dict(reversed(line.split()) for line in (KODAK / "SHA256SUMS").read_text().splitlines())
    assert len(listed) == 24
    for name, expected in listed.items():
        assert hashlib.sha256((KODAK / name).read_bytes()).hexdigest() == expected, name
    kodak = datasets.load({"set": "kodak"})
    assert kodak.names == tuple(f"kodim{i:02d}.png" for i in range(1, 25))
    assert {shape for shape in kodak.shapes} == {(3, 512, 768), (3, 768, 512)}
    assert sum(shape == (3, 768, 512) for shape in kodak.shapes) == 6


def test_kodak_is_package_data():
    """So that an installed copy finds it, too: `pip install .` takes along what these keys name."""
    parser = configparser.ConfigParser()
    parser.read(KODAK.parents[1] / "setup.cfg")
    assert "jscclink.data" in parser["options"]["packages"].split()
    assert "jscclink.data = data" in parser["options"]["package_dir"].splitlines()
    (pattern,) = parser["options.package_data"]["jscclink.data"].split()
    assert len(set(KODAK.parent.glob(pattern)) & set(KODAK.glob("kodim*.png"))) == 24
    assert Path(str(files("jscclink.data"))).resolve() == KODAK.parent


def test_pixels_and_their_hashes():
    chosen = datasets.load({"set": "kodak", "pick": [5, 13]})
    batch = chosen.batch([1, 0])
    assert batch.dtype == torch.uint8 and batch.shape == (2, 3, 512, 768)
    with Image.open(KODAK / "kodim13.png") as image:
        expected = np.asarray(image).transpose(2, 0, 1)
    assert np.array_equal(batch[0].numpy(), expected)
    assert chosen.sha256[1] == hashlib.sha256(b"3x512x768" + expected.tobytes()).hexdigest()


def test_pick_limit_and_crop():
    assert datasets.load({"set": "kodak", "pick": ["kodim24", "kodim02.png", 1]}).names == (
        "kodim24.png",
        "kodim02.png",
        "kodim01.png",
    )
    assert len(datasets.load({"set": "kodak", "limit": 3})) == 3
    assert datasets.load({"set": "kodak", "pick": [3, 4], "limit": 1}).names == ("kodim03.png",)
    whole, cut = (datasets.load({"set": "kodak", "pick": [7], **more}) for more in ({}, {"crop": [100, 65]}))
    assert cut.shapes == ((3, 100, 65),)
    top, left = (512 - 100) // 2, (768 - 65) // 2
    assert torch.equal(cut.picture(0), whole.picture(0)[:, top : top + 100, left : left + 65])
    assert cut.sha256 != whole.sha256


def test_set_survives_pickling_without_its_cache():
    chosen = datasets.load({"set": "kodak", "pick": [1]})
    chosen.batch([0])
    data = pickle.dumps(chosen)
    assert len(data) < 10_000
    assert torch.equal(pickle.loads(data).batch([0]), chosen.batch([0]))


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(datasets, "CACHE_BYTES", 2 * 3 * 512 * 768)
    chosen = datasets.load({"set": "kodak", "pick": [1, 2, 3, 5]})
    for index in (0, 1, 2, 3, 0):
        chosen.batch([index])
    assert list(chosen._cache) == [3, 0]


def folder(tmp_path, *names):
    for i, name in enumerate(names):
        Image.new("RGB", (10 + i, 8), (i, 2 * i, 3 * i)).save(tmp_path / name)
    return str(tmp_path)


def test_folder_takes_pictures_in_order_of_names(tmp_path):
    where = folder(tmp_path, "b.png", "a.JPG", "c.bmp")
    (tmp_path / "notes.txt").write_text("not a picture, not listed")
    (tmp_path / ".hidden.png").write_text("neither")
    (tmp_path / "deeper").mkdir()
    found = datasets.load({"folder": where})
    assert found.names == ("a.JPG", "b.png", "c.bmp")
    assert found.shapes == ((3, 8, 11), (3, 8, 10), (3, 8, 12))
    with pytest.raises(ValueError, match="one shape"):
        found.batch([0, 1])


def test_file_that_changes_underway_is_noticed(tmp_path):
    found = datasets.load({"folder": folder(tmp_path, "a.png")})
    Image.new("RGB", (5, 5)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: the file has changed"):
        found.batch([0])


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, r"need either `set` \(kodak, cifar10, clic, div2k\) or `folder`"),
        ({"set": "kodak", "folder": "x"}, "need either `set`"),
        ({"set": "kodack"}, r"images\.set: got 'kodack'; allowed: kodak, cifar10"),
        ({"set": "kodak", "picks": [1]}, r"no key 'picks'; allowed: set, folder, split, pick"),
        ({"set": "kodak", "pick": [0]}, r"no picture 0; allowed: 1 to 24"),
        ({"set": "kodak", "pick": [25]}, r"no picture 25; allowed: 1 to 24"),
        ({"set": "kodak", "pick": ["kodim99"]}, r"no picture 'kodim99'"),
        ({"set": "kodak", "pick": [1, "kodim01"]}, r"'kodim01' is there twice"),
        ({"set": "kodak", "pick": []}, r"images\.pick: got \[\]"),
        ({"set": "kodak", "pick": 5}, r"images\.pick: got 5; allowed: a list"),
        ({"set": "kodak", "pick": [True]}, r"images\.pick: got True"),
        ({"set": "kodak", "limit": 0}, r"images\.limit: got 0; allowed: a whole number from 1"),
        ({"set": "kodak", "crop": [64]}, r"images\.crop: .*allowed: \[height, width\]"),
        ({"set": "kodak", "crop": [600, 64]}, r"crop \[600, 64\] .* is larger than kodim01\.png, 512 x 768"),
        ({"set": "kodak", "split": "test"}, r"only the set cifar10 has a `split`"),
        ({"folder": "no/such/folder"}, r"folder 'no/such/folder': no such folder"),
        ({"folder": __file__}, r"a file; give the folder it is in"),
        ({"set": "clic"}, r"the set 'clic' is not in .*clic; run `jscclink data fetch clic`, or set JSCCLINK_DATA"),
        ({"set": "cifar10"}, r"run `jscclink data fetch cifar10`"),
    ],
)
def test_bad_specification_is_one_clear_line(spec, words, tmp_path, monkeypatch):
    monkeypatch.setenv("JSCCLINK_DATA", str(tmp_path))
    with pytest.raises(InputError, match=words) as caught:
        datasets.load(spec)
    assert "\n" not in str(caught.value)


def test_empty_folder(tmp_path):
    with pytest.raises(InputError, match=r"no pictures in it; allowed endings: \.png"):
        datasets.load({"folder": str(tmp_path)})


def cifar_files(root, records=3):
    """The binary version's layout: per record a label, then 1024 red, 1024 green and 1024 blue values in rows."""
    (root / "cifar10").mkdir(parents=True)
    rng = np.random.default_rng(10)
    kept = {}
    for name in ("test_batch.bin", *(f"data_batch_{i}.bin" for i in range(1, 6))):
        planes = rng.integers(0, 256, (records, 3, 32, 32), dtype=np.uint8)
        labels = rng.integers(0, 10, (records, 1), dtype=np.uint8)
        (root / "cifar10" / name).write_bytes(np.hstack([labels, planes.reshape(records, -1)]).tobytes())
        kept[name] = planes
    return kept


def test_cifar10_binary_records(tmp_path, monkeypatch):
    monkeypatch.setenv("JSCCLINK_DATA", str(tmp_path))
    kept = cifar_files(tmp_path)
    test = datasets.load({"set": "cifar10"})
    assert len(test) == 3 and test.shapes[0] == (3, 32, 32)
    assert np.array_equal(test.batch([0, 1, 2]).numpy(), kept["test_batch.bin"])
    train = datasets.load({"set": "cifar10", "split": "train"})
    assert len(train) == 15
    assert np.array_equal(train.batch([3, 14]).numpy(), [kept["data_batch_2.bin"][0], kept["data_batch_5.bin"][2]])


def test_damaged_cifar10_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("JSCCLINK_DATA", str(tmp_path))
    cifar_files(tmp_path)
    path = tmp_path / "cifar10" / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"test_batch\.bin: 9218 bytes are not whole records of 3073"):
        datasets.load({"set": "cifar10"})
