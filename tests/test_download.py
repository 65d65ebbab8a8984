"""Downloads from local addresses: checksums, trust on first use, archives that are not what they should be."""

import hashlib
import http.server
import io
import json
import tarfile
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from jscclink.errors import InputError
from jscclink.simulator import datasets, download


def picture_bytes(value=7):
    stream = io.BytesIO()
    Image.new("RGB", (6, 5), (value, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def zip_file(path, entries):
    with zipfile.ZipFile(path, "w") as bundle:
        for name, data in entries.items():
            bundle.writestr(name, data)
    return path


@pytest.fixture
def server(tmp_path):
    """A web server of a folder; its address."""
    root = tmp_path / "web"
    root.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(root))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield root, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("JSCCLINK_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_fetch_over_http_then_load(server, data):
    root, address = server
    zip_file(root / "valid.zip", {"valid/b.png": picture_bytes(2), "valid/a.png": picture_bytes(1), "valid/README.txt": "x"})
    seen = []
    folder, sha256 = download.fetch(
        "clic", address=f"{address}/valid.zip", progress=lambda done, total: seen.append((done, total))
    )
    size = (root / "valid.zip").stat().st_size
    assert seen[-1] == (size, size)
    assert sha256 == hashlib.sha256((root / "valid.zip").read_bytes()).hexdigest()
    assert json.loads((data / "checksums.json").read_text()) == {"clic": sha256}
    assert sorted(p.name for p in folder.iterdir()) == ["a.png", "b.png"]
    assert datasets.load({"set": "clic"}).batch([0, 1])[:, 0, 0, 0].tolist() == [1, 2]
    assert sorted(p.name for p in data.iterdir()) == ["checksums.json", "clic"]


def test_trust_on_first_use_refuses_another_file(tmp_path, data):
    download.fetch("div2k", address=str(zip_file(tmp_path / "one.zip", {"a.png": picture_bytes(1)})))
    other = zip_file(tmp_path / "two.zip", {"a.png": picture_bytes(2)})
    with pytest.raises(InputError, match=r"SHA-256 .* but the first download had"):
        download.fetch("div2k", address=str(other))
    assert datasets.load({"set": "div2k"}).batch([0])[0, 0, 0, 0] == 1
    download.fetch("div2k", address=str(tmp_path / "one.zip"))


def cifar_archive(path):
    record = bytes([3]) + bytes(range(256)) * 12
    with tarfile.open(path, "w:gz") as tar:
        for name in ("test_batch.bin", *(f"data_batch_{i}.bin" for i in range(1, 6)), "batches.meta.txt"):
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = len(record)
            tar.addfile(entry, io.BytesIO(record))
    return path


def test_cifar10_is_checked_against_the_published_md5(tmp_path, data, monkeypatch):
    archive = cifar_archive(tmp_path / "cifar.tar.gz")
    with pytest.raises(InputError, match="the authors publish c32a1d4ab5d03f1284b67883e8d87530"):
        download.fetch("cifar10", address=str(archive))
    assert list(data.iterdir()) == []
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setitem(download.DOWNLOADS, "cifar10", replace(download.DOWNLOADS["cifar10"], md5=md5))
    folder, _ = download.fetch("cifar10", address=archive.as_uri())
    assert sorted(p.name for p in folder.iterdir())[-1] == "test_batch.bin"
    assert np.array_equal(datasets.load({"set": "cifar10"}).picture(0).flatten()[:256].numpy(), np.arange(256))


def test_no_path_of_an_archive_leaves_its_folder(tmp_path, data):
    archive = zip_file(tmp_path / "a.zip", {"../../escaped.png": picture_bytes(), "/absolute.png": picture_bytes()})
    folder, _ = download.fetch("clic", address=str(archive))
    assert sorted(p.name for p in folder.iterdir()) == ["absolute.png", "escaped.png"]
    assert not (tmp_path / "escaped.png").exists()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p.write_text("<html>moved</html>"), "not the archive that was expected"),
        (lambda p: zip_file(p, {"readme.txt": "nothing"}), r"no file ending in \.png"),
        (lambda p: None, "no such file"),
    ],
)
def test_wrong_archives(make, words, tmp_path, data):
    make(tmp_path / "a.zip")
    with pytest.raises(InputError, match=words) as caught:
        download.fetch("clic", address=str(tmp_path / "a.zip"))
    assert "\n" not in str(caught.value)
    assert not (data / "clic").exists()
    # what could not be used is not remembered as the right one
    download.fetch("clic", address=str(zip_file(tmp_path / "good.zip", {"a.png": picture_bytes()})))


def test_archive_that_unpacks_to_too_much_is_stopped(tmp_path, data, monkeypatch):
    monkeypatch.setattr(download, "_MOST_BYTES", 100_000)
    archive = zip_file(tmp_path / "a.zip", {"a.png": bytes(200_000)})
    with pytest.raises(InputError, match="unpacks to more than"):
        download.fetch("clic", address=str(archive))
    assert not (data / "clic").exists() and not (data / "clic.part").exists()


def test_no_network_says_what_to_do_by_hand(server, data):
    _, address = server
    with pytest.raises(InputError, match=r"cannot be reached \(.*\); .* run `jscclink data fetch clic --from FILE`"):
        download.fetch("clic", address="http://127.0.0.1:9/valid.zip")
    with pytest.raises(InputError, match=r"cannot be reached \(File not found\)"):
        download.fetch("clic", address=f"{address}/missing.zip")


def test_unknown_set(data):
    with pytest.raises(InputError, match=r"no set 'kodak' to download; known: cifar10, clic, div2k \(kodak comes"):
        download.fetch("kodak")
