"""Several sets of pictures in one study: points, stores, tables, figures, reports, merges and comparisons name the set."""

import csv
import io
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from jscclink.errors import InputError
from jscclink.simulator import datasets, export, figures, figures_distribution, forecast, pictures, published
from jscclink.simulator.cli import app
from jscclink.simulator.compare import compare
from jscclink.simulator.gains import gains
from jscclink.simulator.grid import crossings
from jscclink.simulator.latex import latex_text
from jscclink.simulator.merge import merge
from jscclink.simulator.report.adapter import report_from_results
from jscclink.simulator.report.samples import sample
from jscclink.simulator.results import TABLE, load_results
from jscclink.simulator.runner import run
from jscclink.simulator.store import LOG, Log
from jscclink.simulator.study import Study
from jscclink.simulator.table import trace

SMALL = {"set": "kodak", "pick": [3, 9], "crop": [32, 48]}
TALL = {"set": "kodak", "pick": [4, 5, 15], "crop": [64, 32]}


def photos(**changes):
    data = {
        "name": "photos",
        "images": {"small": SMALL, "tall": TALL},
        "channels": {"AWGN": "awgn", "slow": {"name": "rayleigh", "form": "slow"}},
        "schemes": {"pixels": "uncoded", "JPEG": {"name": "digital", "source": "jpeg", "mcs": "qpsk 1/2"}},
        "esno_db": [4, 10],
        "cbr": [0.5],
        "metrics": ["psnr", "outage"],
        "draws": 2,
    }
    return Study.from_mapping(data | changes)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    run(photos(), folder / "both")
    run(photos(images=SMALL), folder / "small alone")
    run(photos(images={"small": SMALL}), folder / "only small")
    run(photos(images={"tall": TALL}), folder / "only tall")
    return folder


def test_points_are_a_product_with_the_sets(stores):
    study = photos()
    assert {(p.scheme_label, p.channel_label, p.image_set, p.esno_db) for p in study.points} == {
        (scheme, channel, name, snr)
        for scheme in ("pixels", "JPEG") for channel in ("AWGN", "slow") for name in ("small", "tall") for snr in (4, 10)
    }  # fmt: skip
    assert study.points[0].title == "pixels on AWGN, small at 4 dB, CBR 0.5"
    # a name changes no id, and so no number
    alone = {point.id for point in photos(images=SMALL).points}
    assert alone == {point.id for point in study.points if point.image_set == "small"}
    assert len({point.id for point in study.points}) == 16


def test_numbers_are_those_of_the_set_alone(stores):
    both, alone = load_results(stores / "both"), load_results(stores / "small alone")
    assert both.finished and both.sets == {
        "small": ("kodim03.png", "kodim09.png"), "tall": ("kodim04.png", "kodim05.png", "kodim15.png"),
    }  # fmt: skip
    of_small = {row.id: row for row in both.rows if row.image_set == "small"}
    assert {id: row.metrics for id, row in of_small.items()} == {row.id: row.metrics for row in alone.rows}
    assert {len(row.per_image["psnr"]) for row in both.rows if row.image_set == "tall"} == {3}
    assert [row.esno_db for row in both.curve("JPEG", "slow", 0.5, "tall")] == [4.0, 10.0]
    assert {row.image_set for row in alone.rows} == {""} and "images" not in (stores / "small alone" / TABLE).read_text()


def test_groups_choose_among_sets_and_add_some():
    groups = {
        "all": {},
        "some": {"images": ["sm*"], "esno_db": [20]},
        "more": {"images": {"one": {"set": "kodak", "pick": [1], "crop": [32, 32]}}, "channels": ["AWGN"]},
    }
    study = photos(groups=groups, schemes={"pixels": "uncoded"})
    assert list(study.sets) == ["small", "tall", "one"]
    found = {(p.channel_label, p.image_set, p.esno_db) for p in study.points}
    assert {(name, snr) for _, name, snr in found if snr == 20} == {("small", 20)}
    assert {(channel, snr) for channel, name, snr in found if name == "one"} == {("AWGN", 4), ("AWGN", 10)}
    only = photos(images=None, groups={"g": {"images": {"small": SMALL}}})
    assert list(only.sets) == ["small"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": {"small": SMALL, "set": "kodak"}}, "either one set, or `name: {set: ...}` lines and nothing else"),
        ({"images": {"small": {"set": "nowhere"}}}, "images.small: "),
        (
            {"images": {"small": SMALL, "again": SMALL}},
            "'pixels on AWGN, small at 4 dB, CBR 0.5' and 'pixels on AWGN, again at",
        ),
        ({"groups": {"g": {"images": ["big"]}}}, "groups.g.images: no label 'big'; there are: small, tall"),
        ({"groups": {"g": {"images": SMALL}}}, "sets of a group have names"),
        ({"groups": {"g": {"images": {"small": TALL}}}}, "the label stands for something else already"),
        ({"images": SMALL, "groups": {"g": {"images": {"tall": TALL}}}}, "groups choose pictures by name"),
        ({"images": None}, "the key 'images' is missing"),
        (
            {"schemes": {"bits": {"name": "bits", "code": "none", "k": 8}}, "cbr": None, "draws": None},
            "blocks of bits, which have no images",
        ),
    ],
)
def test_what_is_wrong_is_named(changes, words):
    with pytest.raises(InputError) as refused:
        photos(**changes)
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_folders_of_included_files_stay_where_they_are(tmp_path):
    (tmp_path / "parts" / "my").mkdir(parents=True)
    pictures.write(tmp_path / "parts" / "my" / "a.png", datasets.load(SMALL).picture(0))
    rest = "channels: {AWGN: awgn}\nschemes: {pixels: uncoded}\nesno_db: [1]\ncbr: [0.5]\nmetrics: [psnr]\n"
    sets = "images: {mine: {folder: my}}\ngroups: {g: {images: {again: {folder: my, crop: [16, 16]}}}, h: {}}\n"
    (tmp_path / "parts" / "base.yaml").write_text(sets + rest)
    (tmp_path / "top.yaml").write_text("include: parts/base.yaml\nname: x\n")
    study = Study.load(tmp_path / "top.yaml")
    assert {name: one.images.shapes for name, one in study.sets.items()} == {"mine": ((3, 32, 48),), "again": ((3, 16, 16),)}
    changed = Study.load(tmp_path / "top.yaml", {"images.mine.crop": [8, 8]})
    assert changed.sets["mine"].images.shapes == ((3, 8, 8),)


def test_tables_and_exports_name_the_set(stores, tmp_path):
    results = load_results(stores / "both")
    lines = list(csv.DictReader(io.StringIO(results.table())))
    assert {line["images"] for line in lines} == {"small", "tall"} and len(lines) == 16
    text = trace(results)
    assert "# JPEG | slow, tall | CBR 0.5" in text and "# pixels | AWGN, small | CBR 0.5" in text
    rows = csv.DictReader(line for line in export.csv_text(results).splitlines() if not line.startswith("#"))
    assert {row["image_set"] for row in rows} == {"small", "tall"}
    assert "image_set" not in export.csv_text(load_results(stores / "small alone"))
    assert [cell[0] for cell in export.mat_struct(results)["results"]["image_set"]] == [row.image_set for row in results.rows]
    assert len(export.rd_curves(results)) == 16 and "slow, tall, Es/N0 4 dB, 3 pictures" in str(export.rd_curves(results))
    export.save(results, tmp_path / "r.parquet", "parquet")
    assert latex_text(results).count(r"\begin{table}") == 2 * 4 and "psnr (dB) on AWGN, tall" in latex_text(results)
    assert {one.channel for one in crossings(results, "psnr", 25.0)} == {
        "AWGN, small",
        "AWGN, tall",
        "slow, small",
        "slow, tall",
    }


def test_figures_have_a_panel_per_set(stores):
    results = load_results(stores / "both")
    page = figures.figure(results, "psnr")
    titles = [ax.get_title() for ax in page.axes if ax.get_visible()]
    assert titles == ["AWGN, small", "AWGN, tall", "slow, small", "slow, tall"]
    (row,) = results.curve("JPEG", "AWGN", 0.5, "tall")[:1]
    (line,) = [line for line in page.axes[1].lines if line.get_label() == "JPEG"]
    assert line.get_ydata()[0] == row.metrics["psnr"].value
    spread = figures_distribution.figure(results, "psnr", esno_db=[10])
    assert [ax.get_title() for ax in spread.axes] == [f"{title}, 10 dB" for title in titles]


def test_published_points_stand_beside_their_set_only(stores):
    results = load_results(stores / "both")
    kodak = tuple(f"kodim{i:02d}.png" for i in range(1, 25))
    results = replace(results, sets={"small": results.sets["small"], "tall": kodak})
    point = published.Published("kodak", "awgn", 10.0, 0.5, "psnr", 33.0, "X", "posted", "somebody")
    assert published.comparable([point], results, "psnr", "esno_db") == [point]
    page = figures.figure(results, "psnr", published=[point])
    marked = [ax.get_title() for ax in page.axes if any("somebody" in str(line.get_label()) for line in ax.lines)]
    assert marked == ["AWGN, tall"]
    charts = report_from_results(results, published=[point]).charts
    assert [chart.title for chart in charts for one in chart.series if one.kind == "published"] == ["PSNR, AWGN, tall"]


def test_the_report_names_the_set(stores):
    data = report_from_results(load_results(stores / "both"))
    assert [chart.title for chart in data.charts][:4] == [
        f"PSNR, {c}, {s}" for c in ("AWGN", "slow") for s in ("small", "tall")
    ]
    assert "5 pictures in 2 sets. Bands are 95 % intervals." in data.summary
    assert [one.title for one in data.distributions][1] == "Distribution of PSNR, AWGN, tall"
    points, differences = data.tables
    assert points.columns[2] == "pictures" and {row[2] for row in points.rows} == {"small", "tall"}
    assert len(differences.rows) == 8 and {row[2] for row in differences.rows} == {
        "AWGN, small", "AWGN, tall", "slow, small", "slow, tall",
    }  # fmt: skip
    # pictures count set by set
    assert "kodim04.png on AWGN" in sample(photos(), picture=2, esno_db=[10]).comparisons[0].title
    with pytest.raises(InputError, match="no picture 5; it has 5"):
        sample(photos(), picture=5)


def test_stores_of_single_sets_merge_into_that_of_all(stores, tmp_path):
    merged = merge(tmp_path / "merged", [stores / "only small", stores / "only tall"])
    assert (merged.points, merged.batches) == (16, 32)
    results = load_results(tmp_path / "merged")
    assert results.table() == load_results(stores / "both").table()
    assert Log(tmp_path / "merged").studies[LOG]["images"].keys() == {"small", "tall"}
    # stores in one folder add up as well
    (tmp_path / "folder").mkdir()
    for name in ("only small", "only tall"):
        (tmp_path / "folder" / f"{name}.jsonl").write_bytes((stores / name / LOG).read_bytes())
    assert load_results(tmp_path / "folder").table() == results.table()
    run(photos(images={"small": TALL}), tmp_path / "other")
    for other, words in (
        (tmp_path / "other", "set of pictures 'small' is not the same in"),
        (stores / "small alone", "are of different studies: images, chunks differ"),
    ):
        with pytest.raises(InputError, match=words):
            merge(tmp_path / "refused", [stores / "both", other])


def test_comparisons_pair_the_pictures_of_each_set(stores):
    found = compare(stores / "both", stores / "only tall")
    assert len(found.points) == 8 and found.unmatched == (8, 0)
    assert {point.test.name for point in found.points} == {"paired t over 3 pictures"}
    done = CliRunner().invoke(app, ["compare", str(stores / "both"), "--schemes", "pixels", "JPEG"])
    assert "AWGN, tall" in done.stdout and "paired t over 2 pictures" in done.stdout
    wide = [replace(row, esno_db=row.esno_db + shift) for row in load_results(stores / "both").rows for shift in (0, 1)]
    swept = gains(replace(load_results(stores / "both"), rows=tuple(wide)), "psnr")
    assert {one.channel: one.quality.n for one in swept} == {
        "AWGN, small": 2, "AWGN, tall": 3, "slow, small": 2, "slow, tall": 3,
    }  # fmt: skip


def test_a_dry_run_counts_every_set(stores):
    study = photos()
    found = forecast.forecast(study)
    assert found.most_items == 8 * 2 * (2 + 3) and set(found.costs) == {
        "pixels, small", "pixels, tall", "JPEG, small", "JPEG, tall",
    }  # fmt: skip
    assert "  pixels | slow, tall | CBR 0.5 | Es/N0 4, 10 dB" in forecast.describe(study, found)
