"""Results for other programs: CSV (long form), MATLAB's .mat, rate-distortion JSON (CompressAI's schema), text trace,
LaTeX tables, Parquet."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jscclink.errors import InputError

from .latex import latex_text
from .results import Results, Row
from .statistics import Estimate
from .table import STUDY_PREFIX, provenance, trace
from .units import bits_per_pixel, noise_var_from_esno_db

FORMATS = ("csv", "mat", "rd-json", "trace", "latex", "parquet")
# names of CompressAI's schema; what it has no name for keeps ours
_RD_NAMES = {"psnr": "psnr-rgb", "ms_ssim": "ms-ssim-rgb", "ms_ssim_db": "ms-ssim-db-rgb"}
_ESTIMATE = ("value", "low", "high", "draws_half_width", "n", "groups", "kind", "is_upper_bound", "confidence")
_POINT = ("scheme", "channel", "cbr", "esno_db", "ebno_db")
# where sets of pictures have names
_NAMED_POINT = ("scheme", "channel", "image_set", "cbr", "esno_db", "ebno_db")
# Parquet's, where it is not float64
_TYPES = {
    **dict.fromkeys(("scheme", "channel", "image_set", "metric", "unit", "kind", "id"), "string"),
    **dict.fromkeys(("n", "groups", "trials", "errors"), "int64"),
    **dict.fromkeys(("is_upper_bound", "finished"), "bool_"),
}
_RUN = ("trials", "errors", "finished", "seconds", "id")


def csv_text(results: Results) -> str:
    """Long form, one line per point and metric, after a head of `#` lines with versions, seed and the study.

    Empty cells: not known. `pandas.read_csv(path, comment="#")` and MATLAB's `readtable(path, "CommentStyle", "#")` read it.
    """
    text = io.StringIO()
    text.write("".join(f"# {line}\n" for line in provenance(results)))
    text.write("".join((STUDY_PREFIX + line).rstrip() + "\n" for line in results.provenance.study.splitlines()))
    writer = csv.writer(text, lineterminator="\n")
    names = _point(results)
    writer.writerow(["study", *names, "metric", "unit", *_ESTIMATE, *_RUN])
    for row in results.rows:
        for key, info in results.metrics.items():
            number = [_cell(getattr(row.metrics[key], name)) for name in _ESTIMATE]
            point = [_cell(getattr(row, name)) for name in names]
            writer.writerow([_text(results.name), *point, key, info.unit, *number, *(_cell(getattr(row, n)) for n in _RUN)])
    return text.getvalue()


def _point(results: Results) -> tuple[str, ...]:
    return _NAMED_POINT if any(row.image_set for row in results.rows) else _POINT


def _text(value: str) -> str:
    # a comment sign within a field would cut the line for readers that know comments but not quotes
    return value.replace("#", "no.")


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        return _text(value)
    return "" if value is None else value


def save_parquet(results: Results, path: Path) -> None:
    """The columns of the CSV with their types, null where not known; the study, versions and seed are in the metadata.

    `pandas.read_parquet`, `polars.read_parquet`, DuckDB and MATLAB's `parquetread` read it.

    Raises
    ------
    InputError
        pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise InputError("Parquet needs pyarrow; pip install 'jscclink[parquet]'") from error
    pairs = [(row, key) for row in results.rows for key in results.metrics]
    columns: dict[str, Any] = {"study": pyarrow.array([results.name] * len(pairs), pyarrow.string())}
    for name in (*_point(results), "metric", "unit", *_ESTIMATE, *_RUN):
        values = [_entry(results, row, key, name) for row, key in pairs]
        columns[name] = pyarrow.array(values, getattr(pyarrow, _TYPES.get(name, "float64"))())
    provenance = {
        "jscclink.study": results.provenance.study,
        "jscclink.versions": json.dumps(dict(results.provenance.versions)),
        "jscclink.seed": str(results.provenance.seed),
    }
    parquet.write_table(pyarrow.table(columns).replace_schema_metadata(provenance), path)


def _entry(results: Results, row: Row, key: str, name: str) -> Any:
    if name in ("metric", "unit"):
        return key if name == "metric" else results.metrics[key].unit
    return getattr(row.metrics[key] if name in _ESTIMATE else row, name)


def mat_struct(results: Results) -> dict[str, Any]:
    """What the .mat file holds: a struct `results` of columns, one entry per point; nan: not known.

    `results.metrics.psnr.value(i)` belongs to `results.scheme{i}` at `results.esno_db(i)`.
    """
    rows = results.rows

    def column(values: list[float | int | None]) -> np.ndarray:
        return np.array([[math.nan if value is None else float(value)] for value in values]).reshape(-1, 1)

    def cells(values: list[str]) -> np.ndarray:
        array = np.empty((len(values), 1), dtype=object)
        array[:, 0] = values
        return array

    metrics: dict[str, Any] = {}
    for key, info in results.metrics.items():
        numbers: list[Estimate] = [row.metrics[key] for row in rows]
        names = [name for name in _ESTIMATE if name != "kind"]
        kept: dict[str, Any] = {name: column([getattr(number, name) for number in numbers]) for name in names}
        metrics[_identifier(key)] = {**kept, "kind": cells([number.kind for number in numbers]), "unit": info.unit}
    struct: dict[str, Any] = {
        "study": results.name,
        "study_file": results.provenance.study,
        "seed": float(results.provenance.seed),
    }
    for name in (*(name for name in _point(results) if name in _TYPES), "id"):
        struct[name] = cells([getattr(row, name) for row in rows])
    for name in ("cbr", "esno_db", "ebno_db", "trials", "errors", "finished", "seconds"):
        struct[name] = column([getattr(row, name) for row in rows])
    versions = {_identifier(name): value for name, value in results.provenance.versions.items()}
    return {"results": {**struct, "metrics": metrics, "versions": versions}}


def _identifier(name: str) -> str:
    """A name as MATLAB allows it for fields: letters, digits and underscores, a letter first, at most 63."""
    cleaned = re.sub(r"\W", "_", name, flags=re.ASCII)
    return (cleaned if cleaned[:1].isalpha() else f"x{cleaned}")[:63]


def rd_curves(results: Results) -> list[dict[str, Any]]:
    """Rate-distortion curves in CompressAI's schema, one per scheme, channel, set of pictures and Es/N0, over the CBR.

    `results.cbr` is the ledger's where it was measured, else the budget. `results.bpp` is the metric `bpp` where it was
    measured, else what the CBR could carry at most, 3 CBR log2(1 + Es/N0); the description says which. Points without a value
    of some metric are left out.
    """
    if not results.images:
        raise InputError(f"{results.name!r} is a study of blocks of bits; rate-distortion curves need pictures")
    groups: dict[tuple[str, str, str, float], list[Row]] = {}
    for row in results.rows:
        groups.setdefault((row.scheme, row.panel, row.image_set, row.esno_db), []).append(row)
    curves = []
    for (scheme, place, image_set, esno_db), rows in groups.items():
        bits = any(row.metrics["bpp"].value is not None for row in rows) if "bpp" in results.metrics else False
        names = {key: _RD_NAMES.get(key, key) for key in results.metrics if key != "bpp" or bits}
        kept = [row for row in rows if all(row.metrics[key].value is not None for key in names)]
        columns: dict[str, list[float]] = {"cbr": [float(row.cbr or 0.0) for row in kept]}
        columns |= {name: [_value(row.metrics[key]) for row in kept] for key, name in names.items()}
        if not bits:
            capacity = math.log2(1.0 + 1.0 / noise_var_from_esno_db(esno_db))
            columns["bpp"] = [bits_per_pixel(cbr, capacity) for cbr in columns["cbr"]]
        source = "bpp of the source code" if bits else "bpp: 3 CBR log2(1 + Es/N0), the most that the CBR carries"
        description = f"{place}, Es/N0 {esno_db:g} dB, {len(results.sets[image_set])} pictures, study {results.name}; {source}"
        if kept:
            curves.append({"name": scheme, "description": description, "esno_db": esno_db, "results": columns})
    return curves


def _value(number: Estimate) -> float:
    assert number.value is not None
    return number.value


def save(results: Results, path: str | Path, form: str) -> list[Path]:
    """Write results to a file; several rate-distortion curves go to one file each, numbered.

    Returns
    -------
    The files written.

    Raises
    ------
    InputError
        Unknown format, nothing to write, or a place that cannot be written to.
    """
    if form not in FORMATS:
        raise InputError(f"no format {form!r}; allowed: {', '.join(FORMATS)}")
    if not results.rows:
        raise InputError(f"{results.name!r} has no finished batch yet; run the study first")
    path = Path(path)
    try:
        if form == "mat":
            from scipy.io import savemat

            savemat(path, mat_struct(results), appendmat=False, do_compression=True, long_field_names=True)
            return [path]
        if form == "rd-json":
            return _save_curves(rd_curves(results), path)
        if form == "parquet":
            save_parquet(results, path)
            return [path]
        texts = {"csv": csv_text, "trace": trace, "latex": latex_text}
        path.write_text(texts[form](results), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error
    return [path]


def _save_curves(curves: Sequence[Mapping[str, Any]], path: Path) -> list[Path]:
    digits = len(str(len(curves)))
    paths = [path] if len(curves) == 1 else [path.with_stem(f"{path.stem}-{i:0{digits}d}") for i in range(1, len(curves) + 1)]
    for place, curve in zip(paths, curves, strict=True):
        place.write_text(json.dumps(curve, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return paths
