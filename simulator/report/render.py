"""ReportData -> one HTML file that needs nothing else: no network, no server, no other file."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from jscclink.errors import InputError

from .data import Comparison, ReportData, Table

MOST_BYTES = 10_000_000
SCRIPTS = ("charts.js", "distributions.js", "pictures.js", "tables.js", "page.js")


def render(data: ReportData) -> str:
    """The report as HTML; the same data give the same text."""
    import plotly.offline  # slow to import, and needed for its JavaScript only

    here = files("jscclink.simulator.report")
    scripts = "\n".join(here.joinpath(name).read_text("utf-8") for name in SCRIPTS)
    return Template(here.joinpath("template.html").read_text("utf-8")).substitute(
        title=html.escape(data.title),
        summary=html.escape(data.summary),
        style=here.joinpath("report.css").read_text("utf-8"),
        notices=_section("notices", "Notices", _list(data.notices)) if data.notices else "",
        charts=_section("curves", "Curves", _charts(data)) if data.charts else "",
        distributions=_section("distributions", "Distributions over pictures and draws", _distributions(data))
        if data.distributions
        else "",
        pictures=_section("pictures", "Pictures", _pictures(data.comparisons)) if data.comparisons else "",
        signals=_section("signals", "Constellations and rate maps", _signals(data)) if _has_signals(data) else "",
        tables=_section("tables", "Tables", "".join(map(_table, data.tables))) if data.tables else "",
        contents=_contents(data),
        command=html.escape(data.command),
        study=html.escape(data.study),
        provenance=_definitions(data.provenance.items()),
        citations=html.escape("\n\n".join(data.citations)),
        data=_script_json(_payload(data)),
        plotly=plotly.offline.get_plotlyjs().replace("</script", "<\\/script"),
        scripts=scripts,
    )


def write(data: ReportData, path: str | Path) -> Path:
    """Write the report; returns the path.

    Raises
    ------
    InputError
        More than 10 MB (with what takes the room), or a place that cannot be written to.
    """
    text = render(data).encode()
    if len(text) > MOST_BYTES:
        pictures = sum(len(p.png) for c in data.comparisons for p in c.pictures) + sum(
            len(c.original) for c in data.comparisons
        )
        raise InputError(
            f"{path}: the report would have {len(text) / 1e6:.1f} MB, at most {MOST_BYTES / 1e6:g} are allowed; its pictures "
            f"have {pictures / 1e6:.1f} MB (a third more in HTML): show fewer pictures or SNRs, or smaller ones"
        )
    path = Path(path)
    try:
        path.write_bytes(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error
    return path


def _payload(data: ReportData) -> dict[str, Any]:
    """What the scripts draw from."""
    comparisons = [
        {
            "title": c.title,
            "original": _png(c.original),
            "pictures": [
                {"scheme": p.scheme, "esno_db": p.esno_db, "caption": p.caption, "source": _png(p.png)} for p in c.pictures
            ],
        }
        for c in data.comparisons
    ]
    return {
        "charts": [asdict(chart) for chart in data.charts],
        "distributions": [asdict(distribution) for distribution in data.distributions],
        "comparisons": comparisons,
        "constellations": [asdict(c) for c in data.constellations],
        "rateMaps": [asdict(m) for m in data.rate_maps],
    }


def _png(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _script_json(value: Any) -> str:
    """JSON that may stand in a script element."""
    return json.dumps(_finite(value), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _finite(value: Any) -> Any:
    """Numbers that JSON cannot hold are not known."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _section(name: str, title: str, body: str) -> str:
    return f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{title}</h2>{body}</section>'


def _contents(data: ReportData) -> str:
    parts = [
        ("curves", "Curves", bool(data.charts)),
        ("distributions", "Distributions", bool(data.distributions)),
        ("pictures", "Pictures", bool(data.comparisons)),
        ("signals", "Constellations and rate maps", _has_signals(data)),
        ("tables", "Tables", bool(data.tables)),
        ("again", "Run it again", True),
        ("citations", "BibTeX", True),
    ]
    return "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title, there in parts if there)


def _has_signals(data: ReportData) -> bool:
    return bool(data.constellations or data.rate_maps)


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(item)}</li>" for item in items) + "</ul>"


def _charts(data: ReportData) -> str:
    bands = (("interval", "95 % interval"), ("draws", "over channel draws, for these pictures"), ("none", "none"))
    options = "".join(f'<option value="{value}">{text}</option>' for value, text in bands)
    choice = f'<p class="controls"><label>Bands <select id="bands">{options}</select></label></p>'
    return choice + "".join(
        f'<figure class="chart" data-chart="{index}"><figcaption>{html.escape(chart.title)}</figcaption>'
        f'<div class="plot" role="img" aria-label="{html.escape(_spoken(chart.title, chart.y_label, chart.x_label))}"></div>'
        '<fieldset class="toggles"><legend>Show</legend></fieldset></figure>'
        for index, chart in enumerate(data.charts)
    )


def _distributions(data: ReportData) -> str:
    return "".join(
        f'<figure class="distribution" data-index="{index}"><figcaption>{html.escape(one.title)}<span class="place"></span>'
        f'</figcaption>{_note(one.note)}<div class="controls"></div><div class="plot" role="img" '
        f'aria-label="{html.escape(_spoken(one.title, "share of pictures and draws", one.x_label))}"></div>'
        '<fieldset class="toggles"><legend>Show</legend></fieldset></figure>'
        for index, one in enumerate(data.distributions)
    )


def _note(text: str) -> str:
    return f'<p class="note">{html.escape(text)}</p>' if text else ""


def _spoken(title: str, y_label: str, x_label: str) -> str:
    return f"{title}: {y_label} over {x_label}; the numbers are in the tables below"


def _pictures(comparisons: Iterable[Comparison]) -> str:
    return "".join(
        f'<div class="comparison" data-comparison="{index}"><h3>{html.escape(comparison.title)}</h3></div>'
        for index, comparison in enumerate(comparisons)
    )


def _signals(data: ReportData) -> str:
    figures = [("constellation", index, c.title) for index, c in enumerate(data.constellations)]
    figures += [("rate-map", index, m.title) for index, m in enumerate(data.rate_maps)]
    return (
        '<div class="grid">'
        + "".join(
            f'<figure class="{kind}" data-index="{index}"><figcaption>{html.escape(title)}</figcaption>'
            f'<div class="plot" role="img" aria-label="{html.escape(title)}"></div></figure>'
            for kind, index, title in figures
        )
        + "</div>"
    )


def _table(table: Table) -> str:
    head = "".join(
        f'<th scope="col" aria-sort="none"><button type="button">{html.escape(column)}</button></th>'
        for column in table.columns
    )
    body = "".join(
        "<tr>"
        + "".join(_cell(value, column in table.exact) for value, column in zip(row, table.columns, strict=True))
        + "</tr>"
        for row in table.rows
    )
    return (
        f'<div class="table"><div class="bar"><h3>{html.escape(table.title)}</h3>'
        f'<button type="button" class="copy-table no-print">Copy</button></div>{_note(table.note)}'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(table.title)}"><table><thead><tr>{head}</tr>'
        f"</thead><tbody>{body}</tbody></table></div></div>"
    )


def _cell(value: str | float | int | None, exact: bool) -> str:
    if value is None:
        return '<td class="number" data-value="">–</td>'
    if isinstance(value, str):
        text = html.escape(value)
        return f"<td><code>{text}</code></td>" if exact else f"<td>{text}</td>"
    shown = (
        str(value)
        if isinstance(value, int)
        else f"{value:.4g}"
        if abs(value) < 1e-2
        else f"{value:.4f}".rstrip("0").rstrip(".")
    )
    return f'<td class="number" data-value="{value!r}">{shown}</td>'


def _definitions(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<dt>{html.escape(name)}</dt><dd><code>{html.escape(value)}</code></dd>" for name, value in pairs)
