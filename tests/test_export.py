"""Every export is read back by a reader that is not ours, and says the same as the results."""

import csv
import io
import json
import math
import re
import sys

import duckdb
import pytest
import synthetic_results
import yaml
from matplotlib.mathtext import MathTextParser
from pylatexenc.latex2text import LatexNodes2Text
from pylatexenc.latexwalker import LatexEnvironmentNode, LatexWalker
from scipy.io import loadmat

from jscclink.errors import InputError
from jscclink.simulator import export, latex, table
from jscclink.simulator.statistics import Sums, estimate


def read_csv(text):
    return list(csv.DictReader(io.StringIO("".join(line for line in io.StringIO(text) if not line.startswith("#")))))


def test_csv_has_every_number_in_full_with_its_interval():
    results = synthetic_results.pictures()
    lines = read_csv(export.csv_text(results))
    assert len(lines) == len(results.rows) * 3
    found = {(line["id"], line["metric"]): line for line in lines}
    for row in results.rows:
        for key, number in row.metrics.items():
            line = found[row.id, key]
            assert float(line["value"]) == number.value and float(line["esno_db"]) == row.esno_db
            assert (float(line["low"]), float(line["high"])) == (number.low, number.high)
            assert line["kind"] == number.kind and int(line["n"]) == number.n
            assert line["ebno_db"] == "" and float(line["cbr"]) == row.cbr
            assert bool(int(line["is_upper_bound"])) == number.is_upper_bound


def test_csv_head_holds_versions_seed_and_study():
    text = export.csv_text(synthetic_results.pictures())
    head = [line for line in text.splitlines() if line.startswith("#")]
    assert "jscclink 0.1.0" in head[0] and "seed 3" in head[0]
    assert yaml.safe_load("\n".join(line[2:] for line in head if line.startswith("#:"))) == yaml.safe_load(
        synthetic_results.STUDY
    )
    assert all("#" not in line for line in text.splitlines() if not line.startswith("#"))


def test_mat_is_read_back(tmp_path):
    results = synthetic_results.bits()
    export.save(results, tmp_path / "r.mat", "mat")
    loaded = loadmat(tmp_path / "r.mat", simplify_cells=True)["results"]
    assert loaded["study"] == "bits" and loaded["seed"] == 3
    assert list(loaded["scheme"]) == ["QPSK"] * 3
    assert loaded["esno_db"].tolist() == [0, 2, 4]
    assert loaded["finished"].tolist() == [1, 0, 1]
    assert all(math.isnan(value) for value in loaded["cbr"])
    ber = loaded["metrics"]["ber"]
    assert ber["value"].tolist() == [row.metrics["ber"].value for row in results.rows]
    assert ber["is_upper_bound"].tolist() == [0, 0, 1]
    assert yaml.safe_load(loaded["study_file"])["seed"] == 3
    struct = export.mat_struct(synthetic_results.pictures())["results"]
    assert struct["versions"]["sionna_no_rt"] == "2.2.0"
    assert struct["metrics"]["psnr"]["value"].shape == (18, 1)


def test_rd_json_follows_the_schema(tmp_path):
    results = synthetic_results.pictures(cbrs=(1 / 24, 1 / 12), snrs=(10,))
    paths = export.save(results, tmp_path / "rd.json", "rd-json")
    assert [path.name for path in paths] == [f"rd-{i}.json" for i in range(1, 7)]
    for path in paths:
        curve = json.loads(path.read_text())
        assert set(curve) == {"name", "description", "esno_db", "results"}
        rows = [r for r in results.rows if r.scheme == curve["name"] and curve["description"].startswith(f"{r.channel},")]
        assert curve["results"]["psnr-rgb"] == [row.metrics["psnr"].value for row in rows]
        # the ledger's ratio, not the budget
        assert curve["results"]["cbr"] == [row.metrics["cbr"].value for row in rows]
        assert len({len(column) for column in curve["results"].values()}) == 1
        # no bits measured: the capacity's equivalent, and said
        assert curve["results"]["bpp"] == pytest.approx([3 * cbr * math.log2(11) for cbr in curve["results"]["cbr"]])
        assert "the most that the CBR carries" in curve["description"]


def test_rd_json_of_one_curve_is_one_file(tmp_path):
    results = synthetic_results.pictures(snrs=(10,))
    one = [row for row in results.rows if row.scheme == "Joint" and row.channel == "AWGN"]
    results = synthetic_results.Results(**{**results.__dict__, "rows": tuple(one)})
    assert export.save(results, tmp_path / "rd.json", "rd-json") == [tmp_path / "rd.json"]


def test_exports_refuse_what_they_cannot_write(tmp_path):
    results = synthetic_results.bits()
    with pytest.raises(InputError, match="no format 'xlsx'; allowed: csv, mat, rd-json, trace, latex, parquet"):
        export.save(results, tmp_path / "x", "xlsx")
    with pytest.raises(InputError, match="blocks of bits; rate-distortion curves need pictures"):
        export.save(results, tmp_path / "x.json", "rd-json")
    with pytest.raises(InputError, match="cannot be written"):
        export.save(results, tmp_path / "no" / "folder.csv", "csv")
    empty = synthetic_results.Results(**{**results.__dict__, "rows": ()})
    with pytest.raises(InputError, match="no finished batch yet"):
        export.save(empty, tmp_path / "x.csv", "csv")


def test_trace_columns_and_study():
    text = table.trace(synthetic_results.bits())
    rows = [line for line in text.splitlines() if not line.startswith("#")]
    cells = [[cell.split() for cell in line.replace("||", "|").split("|")] for line in rows]
    assert [float(cell[0][0]) for cell in cells] == [0, 2, 4]
    assert [float(cell[1][0]) for cell in cells] == pytest.approx([-3.01, -1.01, 0.99])
    assert [cell[2][0] for cell in cells] == ["40", "40*", "40"]
    assert [float(cell[4][0]) for cell in cells[:2]] == pytest.approx([0.06, 0.01])
    limit = synthetic_results.bits().rows[2].metrics["ber"].high
    assert cells[2][4] == [f"<{limit:.2e}", "0.00e+00", f"{limit:.2e}"]
    assert len({len(line.rstrip()) for line in rows}) == 1
    assert yaml.safe_load(table.study_text(text)) == yaml.safe_load(synthetic_results.STUDY)
    assert table.study_text("name: a study, no trace\n") is None


def test_trace_names_curves_bounds_and_failures():
    results = synthetic_results.pictures()
    results = synthetic_results.Results(**{**results.__dict__, "failures": ("batch 3 of X: no memory",)})
    text = table.trace(results)
    assert "# Joint | slow Rayleigh | CBR 0.0833333\n" in text
    assert "# Capacity (bound) | AWGN | CBR 0.0833333 | a bound, no system\n" in text
    assert "psnr (dB)" in text and "Eb/N0" not in text
    assert text.endswith("# failed: batch 3 of X: no memory\n")


def test_parquet_is_read_back_by_duckdb(tmp_path):
    for results in (synthetic_results.pictures(), synthetic_results.bits()):
        path = tmp_path / f"{results.name}.parquet"
        export.save(results, path, "parquet")
        lines = duckdb.read_parquet(str(path))
        found = [dict(zip(lines.columns, line, strict=True)) for line in lines.fetchall()]
        wanted = [(row, key, row.metrics[key]) for row in results.rows for key in results.metrics]
        assert len(found) == len(wanted)
        for line, (row, key, number) in zip(found, wanted, strict=True):
            assert (line["id"], line["metric"], line["scheme"], line["cbr"]) == (row.id, key, row.scheme, row.cbr)
            assert (line["value"], line["low"], line["high"], line["n"]) == (number.value, number.low, number.high, number.n)
            assert line["finished"] is row.finished and line["is_upper_bound"] is number.is_upper_bound
            assert line["ebno_db"] == row.ebno_db and line["draws_half_width"] == number.draws_half_width
        kept = duckdb.sql(f"select key, value from parquet_kv_metadata('{path}')").fetchall()
        assert (b"jscclink.study", synthetic_results.STUDY.encode()) in kept and (b"jscclink.seed", b"3") in kept


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'jscclink\[parquet\]'"):
        export.save(synthetic_results.bits(), tmp_path / "x.parquet", "parquet")


def tables_of(text):
    """Caption and rows of every table, by a parser of LaTeX that is not ours."""
    nodes, _, _ = LatexWalker(text).get_latex_nodes()
    for table_node in (node for node in nodes if isinstance(node, LatexEnvironmentNode)):
        assert table_node.environmentname == "table"
        body = next(node for node in table_node.nodelist if isinstance(node, LatexEnvironmentNode))
        source = body.latex_verbatim()
        rows = re.split(r"\\\\\n", source.split(r"\toprule", 1)[1].rsplit(r"\bottomrule", 1)[0])
        cells = [
            [cell.strip().removeprefix(r"\midrule").strip() for cell in re.split(r"(?<!\\)&", row)]
            for row in rows
            if row.strip()
        ]
        alignment = re.match(r"\\begin\{tabular\}\{(\w+)\}", source)[1]
        assert {len(row) for row in cells} == {len(alignment)}
        yield LatexNodes2Text().nodelist_to_text(table_node.nodelist), cells


def test_latex_tables_hold_every_value_with_its_interval(tmp_path):
    results = synthetic_results.pictures(cbrs=(1 / 24, 1 / 12))
    export.save(results, tmp_path / "t.tex", "latex")
    tables = list(tables_of((tmp_path / "t.tex").read_text()))
    assert len(tables) == 6
    text, cells = tables[0]
    assert "psnr (dB) on AWGN, study made up, with 95% intervals" in text
    assert cells[0] == ["CBR", "$E_s/N_0$ (dB)", *results.schemes]
    assert [row[0] for row in cells[1:]] == ["0.04167", "", "", "0.08333", "", ""]
    parser = MathTextParser("path")
    for row in cells[1:]:
        for label, cell in zip(cells[0][2:], row[2:], strict=True):
            texts = re.fullmatch(r"\$([\d.]+) \\pm ([\d.]+)\$", cell).groups()
            last_digit = 10.0 ** -len(texts[0].partition(".")[2])
            cbr = 1 / 24 if cells.index(row) <= 3 else 1 / 12
            number = next(r for r in results.curve(label, "AWGN", cbr) if r.esno_db == float(row[1])).metrics["psnr"]
            assert float(texts[0]) == pytest.approx(number.value, abs=0.501 * last_digit)
            assert float(texts[1]) == pytest.approx(number.high - number.value, abs=0.501 * last_digit)
            assert last_digit < 0.1 * (number.high - number.value)
    for _, cells in tables:
        for cell in (cell for row in cells for cell in row if cell.startswith("$")):
            parser.parse(cell.removesuffix("*"))  # matplotlib can set it


def test_latex_rates_limits_and_stars():
    ((text, cells),) = tables_of(latex.latex_text(synthetic_results.bits()))
    assert "ber on AWGN" in text and cells[0][0] == "$E_s/N_0$ (dB)"
    limit = synthetic_results.bits().rows[2].metrics["ber"].high
    assert re.fullmatch(r"\$6\.0\^\{\+[\d.]+\}_\{-[\d.]+\} \\cdot 10\^\{-2\}\$", cells[1][1]), cells[1]
    assert cells[2][1].endswith("*")
    mantissa, exponent = re.fullmatch(r"\$<([\d.]+) \\cdot 10\^\{(-\d+)\}\$", cells[3][1]).groups()
    assert float(mantissa) * 10 ** int(exponent) == pytest.approx(limit, rel=0.05)
    assert latex.cell(estimate("mean", [Sums.of([31.0], [1.0])])) == "$31.00$" and latex.cell(None) == "--"
    assert latex.escape("50% of A_1 & #2") == r"50\% of A\_1 \& \#2"
