"""Source codecs: round trips, budgets, best fit, caching, clear errors."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jscclink.baselines.source import pillow
from jscclink.baselines.source.avif import Avif
from jscclink.baselines.source.bpg.codec import Bpg, Hevc
from jscclink.baselines.source.cache import TrialCache
from jscclink.baselines.source.codec import DecodeFailure, SourceCodec, best_fit
from jscclink.baselines.source.jpeg import Jpeg
from jscclink.baselines.source.jpeg2000 import Jpeg2000
from jscclink.baselines.source.tensors import file_of
from jscclink.baselines.source.webp import WebP
from jscclink.errors import InputError
from jscclink.simulator import registry

KODAK = sorted((Path(__file__).parent.parent / "data" / "kodak").glob("kodim*.png"))
CACHE = TrialCache(max_bytes=64 << 20)

CODECS: list[SourceCodec] = [
    Jpeg(cache=CACHE),
    Jpeg(cache=CACHE, chroma="444", progressive=True, container=False),
    Jpeg2000(cache=CACHE),
    Jpeg2000(cache=CACHE, container=False),
    WebP(cache=CACHE),
    WebP(cache=CACHE, container=False),
    Avif(cache=CACHE, speed=8),
    Avif(cache=CACHE, speed=8, container=False),
    Bpg(cache=CACHE, preset="medium"),
    Hevc(cache=CACHE, preset="medium"),
    Hevc(cache=CACHE, preset="medium", chroma="420", bit_depth=10, container=False),
]
IDS = [f"{codec.name}-{'file' if codec.container else 'bare'}" for codec in CODECS]


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colours with an edge and some noise: nothing a codec could call special."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 16
    waves = [np.sin(x * a + b) + np.cos(y * a - b) for a, b in rng.uniform(0.3, 2, (3, 2))]
    image = 128 + 40 * np.stack(waves, axis=2) + 40 * (x > y)[:, :, None] + rng.normal(0, 5, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def natural(index: int, size: int = 32) -> np.ndarray:
    """A crop of a Kodak picture."""
    rng = np.random.default_rng(index)
    image = np.asarray(Image.open(KODAK[index % len(KODAK)]).convert("RGB"))
    y, x = (int(rng.integers(0, side - size + 1)) for side in image.shape[:2])
    return np.ascontiguousarray(image[y : y + size, x : x + size])


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b) ** 2))))


@pytest.mark.parametrize("codec", CODECS, ids=IDS)
def test_better_quality_is_closer_to_the_picture(codec: SourceCodec) -> None:
    image = picture(48, 64)
    found = []
    for share in (0.1, 0.5, 0.95):
        data = codec.encode_at(image, codec.qualities[int(share * len(codec.qualities))])
        found.append((len(data), psnr(codec.decode(data, image.shape[:2]), image)))
    assert found == sorted(found)
    assert found[-1][1] > 33


@pytest.mark.parametrize("codec", CODECS, ids=IDS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 18), (34, 2), (33, 47), (16, 16, 3), (1, 1, 3), (2, 34, 3), (35, 9, 3)])
def test_any_size_grey_or_colour(codec: SourceCodec, shape: tuple[int, ...]) -> None:
    image = picture(*shape[:2])
    if len(shape) == 2:
        image = image[:, :, 0]
    decoded = codec.decode(codec.encode_at(image, codec.qualities[int(0.9 * len(codec.qualities))]), shape[:2])
    assert decoded.shape == (*shape[:2], 3) and decoded.dtype == np.uint8
    grey = image[:, :, None] if image.ndim == 2 else image
    # the plain mean survives every transform and chroma format
    assert np.abs(decoded.mean((0, 1)) - grey.mean((0, 1))).max() < 6
    if image.ndim == 2 and codec.name != "webp":
        assert (decoded == decoded[:, :, :1]).all()


@pytest.mark.parametrize("codec", CODECS, ids=IDS)
def test_the_guarded_decoder_gives_the_same_picture(codec: SourceCodec) -> None:
    image = picture(40, 24, 1)
    data = codec.encode_at(image, codec.qualities[len(codec.qualities) // 2])
    stranger = replace(codec, cache=TrialCache())
    assert not stranger.cache.is_own(data) and codec.cache.is_own(data)
    assert (stranger.decode(data, image.shape[:2]) == codec.decode(data, image.shape[:2])).all()


@pytest.mark.parametrize("codec", CODECS, ids=IDS)
def test_a_picture_of_another_size_is_a_failure(codec: SourceCodec) -> None:
    data = codec.encode_at(picture(24, 40), codec.qualities[50])
    if codec.container:
        assert codec.decode(data).shape == (24, 40, 3)
        with pytest.raises(DecodeFailure, match="24 x 40"):
            codec.decode(data, (40, 24))
    else:
        with pytest.raises(InputError, match="shape"):
            codec.decode(data)


@pytest.mark.parametrize("whole", [CODECS[index] for index in (0, 2, 4, 6, 9)], ids=lambda codec: codec.name)
def test_leaving_the_container_out_saves_bytes(whole: SourceCodec) -> None:
    image, bare = picture(32, 32), replace(whole, container=False)
    quality = whole.qualities[len(whole.qualities) // 2]
    saved = len(whole.encode_at(image, quality)) - len(bare.encode_at(image, quality))
    assert saved > 15
    same = whole.decode(whole.encode_at(image, quality)), bare.decode(bare.encode_at(image, quality), (32, 32))
    if whole.name != "jpeg2000":  # there the header counts towards the rate that the encoder aims at
        assert (same[0] == same[1]).all()


@pytest.mark.parametrize("codec", CODECS, ids=IDS)
def test_the_chosen_quality_is_the_best_that_fits(codec: SourceCodec) -> None:
    """Against exhaustive search, at budgets on, just under and between the sizes of the ladder."""
    rng = np.random.default_rng(3)
    for index in range(3):
        image = natural(index, (32, 24, 8)[index])
        sizes = [len(codec.encode_at(image, quality)) for quality in codec.qualities]
        picks = rng.choice(sizes, 30)
        for budget in {*picks, *(picks - 1), *rng.integers(0, max(sizes) + 10, 30), 0, -1}:
            fitting = [quality for quality, size in zip(codec.qualities, sizes, strict=True) if size <= budget]
            assert codec.best_quality(image, int(budget)) == (fitting[-1] if fitting else None)


@pytest.mark.slow
def test_no_budget_is_ever_exceeded() -> None:
    """10,000 random budgets over pictures and codecs."""
    rng = np.random.default_rng(4)
    pictures = [natural(index, int(size)) for index, size in enumerate(rng.integers(12, 33, 8))]
    pictures += [picture(17, 29, 6), picture(24, 24, 7)[:, :, 0]]
    outages = 0
    for _ in range(10_000):
        codec, image = CODECS[rng.integers(len(CODECS))], pictures[rng.integers(len(pictures))]
        budget = int(np.exp(rng.uniform(0, 8.5)))
        data = codec.encode(image, budget)
        if data is None:
            outages += 1
        else:
            assert len(data) <= budget
    assert 1000 < outages < 9000


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_best_fit_equals_exhaustive_search(data: st.DataObject) -> None:
    """For any sizes whose inversions are as shallow as promised."""
    steps = data.draw(st.lists(st.integers(-5, 20), min_size=1, max_size=60))
    sizes = np.cumsum(steps) + 300
    slack = int((np.maximum.accumulate(sizes) - sizes).max())
    budget = data.draw(st.integers(int(sizes.min()) - 3, int(sizes.max()) + 3))
    fitting = [index for index, size in enumerate(sizes) if size <= budget]
    assert best_fit(lambda index: int(sizes[index]), len(sizes), budget, slack) == (fitting[-1] if fitting else None)


def test_remembered_files_are_those_of_the_same_pixels_and_budget() -> None:
    """Pictures that agree wherever they are sampled for the memory's key are still told apart."""
    first = torch.from_numpy(picture(64, 64).transpose(2, 0, 1).copy())
    other = first.clone()
    other[0, 0, 1:33] = 255
    codec = Jpeg(cache=CACHE)
    for _ in range(2):
        for image, budget in ((first, 900), (other, 900), (first, 1400), (first, 3)):
            assert file_of(codec, image, budget) == codec.encode(image.permute(1, 2, 0).numpy(), budget)
    assert file_of(codec, first, 900) != file_of(codec, other, 900)
    first.zero_()  # the caller's tensor is its own
    assert file_of(codec, first, 900) == codec.encode(np.zeros((64, 64, 3), np.uint8), 900)


def test_bisection_needs_few_trials() -> None:
    asked = set()

    def size_of(index: int) -> int:
        asked.add(index)
        return 100 * index

    assert best_fit(size_of, 352, 12_345, 16) == 123
    assert len(asked) <= 10


def test_layers_of_jpeg2000_refine_the_picture() -> None:
    image = picture(64, 96)
    for codec in (Jpeg2000(), Jpeg2000(container=False)):
        targets = [300, 700, 2000]
        pieces = codec.encode_layers(image, targets)
        assert pieces is not None and len(pieces) == 3
        ends = np.cumsum([len(piece) for piece in pieces])
        assert (ends <= targets).all() and (ends >= 0.85 * np.array(targets)).all()
        quality = [psnr(codec.decode_layers(pieces[: n + 1], (64, 96)), image) for n in range(3)]
        assert quality[0] + 1 < quality[1] and quality[1] + 1 < quality[2]
        single = codec.encode(image, 2000)
        assert single is not None
        assert psnr(codec.decode(single, (64, 96)), image) - quality[2] < 1.0
        assert codec.encode_layers(image, [3, 9]) is None
        assert codec.encode_layers(image, targets) == pieces
    with pytest.raises(InputError, match="growing"):
        Jpeg2000().encode_layers(image, [700, 300])


def test_a_jpeg_file_is_what_pillow_writes_and_reads(tmp_path: Path) -> None:
    image = picture(40, 40)
    file = tmp_path / "a.jpg"
    file.write_bytes(Jpeg(chroma="444").encode_at(image, 60))
    with Image.open(file) as other:
        assert other.size == (40, 40)
        assert (np.asarray(other) == Jpeg(chroma="444").decode(file.read_bytes())).all()


@pytest.mark.parametrize(("chroma", "depth"), [("444", 8), ("420", 8), ("422", 10)])
def test_an_hevc_stream_is_what_any_player_reads(chroma: str, depth: int) -> None:
    """FFmpeg's demuxer and decoder on the bytes alone: size, range and matrix are in the stream."""
    image = picture(42, 38)
    data = Hevc(chroma=chroma, bit_depth=depth).encode_at(image, 10)
    with av.open(io.BytesIO(data), format="hevc") as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height) == (38, 42)
    assert frame.color_range == 2 and frame.colorspace == 5
    # the scaler has its own chroma filter, so the pictures are close, not equal
    assert psnr(frame.to_ndarray(format="rgb24"), image) > 30


def test_trials_are_kept_on_disk_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(16, 16)
    first = Jpeg(cache=TrialCache(tmp_path)).encode(image, 600)
    calls = []
    plain = pillow.save
    monkeypatch.setattr(pillow, "save", lambda *a, **k: calls.append(1) or plain(*a, **k))
    again = Jpeg(cache=TrialCache(tmp_path))
    assert again.encode(image, 600) == first and not calls
    assert first is not None and again.cache.is_own(first)
    for path in tmp_path.glob("*/*"):  # a torn or altered file is encoded again
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert Jpeg(cache=TrialCache(tmp_path)).encode(image, 600) == first and calls
    assert not list(tmp_path.glob("*/.new-*"))


def test_the_cache_stays_within_its_bound() -> None:
    cache = TrialCache(max_bytes=20_000)
    codec = Jpeg(cache=cache)
    for seed in range(20):
        codec.decode(codec.encode_at(picture(32, 32, seed), 50))
    assert cache._used <= 20_000
    assert cache._used == sum(200 + (len(v) if isinstance(v, bytes) else v.nbytes) for v in cache._entries.values())


def test_a_decoded_picture_belongs_to_the_caller() -> None:
    codec, image = Jpeg(), picture(8, 8)
    data = codec.encode_at(image, 50)
    first = codec.decode(data)
    first[:] = 0
    assert codec.decode(data).any()


@pytest.mark.parametrize("codec", CODECS, ids=IDS)
def test_a_codec_is_its_settings(codec: SourceCodec) -> None:
    other = pickle.loads(pickle.dumps(codec))
    assert other == codec and hash(other) == hash(codec) and other.cache is pickle.loads(pickle.dumps(codec)).cache
    assert registry.build("sources", {"name": codec.name, **codec.options}) == codec
    assert codec.settings["codec"] == codec.name and "cache" not in codec.settings


def test_all_codecs_are_tested() -> None:
    learned = {"ntc"}  # tested with the models
    assert {codec.name for codec in CODECS} == set(registry.names("sources")) - learned


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: registry.build("sources", "jpg"), "did you mean jpeg"),
        (lambda: registry.build("sources", {"name": "bpg", "chrome": "444"}), "did you mean 'chroma'"),
        (lambda: Bpg(chroma="411"), "411.*420, 422, 444"),
        (lambda: Bpg(container=False), "hevc"),
        (lambda: Bpg(preset="fastest"), "preset is 'fastest'"),
        (lambda: Hevc(bit_depth=9), "bit_depth is 9"),
        (lambda: Hevc(chroma="420").encode_at(picture(3, 4), 30), "odd size"),
        (lambda: Jpeg(chroma="422"), "422"),
        (lambda: WebP(method=7), "method is 7"),
        (lambda: Avif(speed=11), "speed is 11"),
        (lambda: Avif(chroma="440"), "440"),
        (lambda: Jpeg().encode_at(picture(4, 4), 0), "1 .worst. to 100 .best."),
        (lambda: Jpeg().encode(picture(4, 4).astype(float), 99), "float64"),
        (lambda: Jpeg().encode(np.zeros((4, 4, 4), np.uint8), 99), r"\(4, 4, 4\)"),
        (lambda: WebP().encode(np.zeros((1, 16384), np.uint8), 99), "16383"),
        (lambda: Bpg().encode(np.broadcast_to(np.uint8(0), (8192, 8192)), 99), "tiles"),
        (lambda: TrialCache(max_bytes=-1), "max_bytes"),
    ],
)
def test_mistakes_are_named(make: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()  # type: ignore[operator]
