"""What curves of the report are called: the same in charts and distributions, so that they look alike."""

from __future__ import annotations

from jscclink.simulator.results import Results, Row


def fixed(row: Row, axis: str) -> float | None:
    """What is the same along a curve: Es/N0 in dB where the CBR is the horizontal axis, else the budget."""
    return row.esno_db if axis == "cbr" else row.cbr


def several(results: Results, axis: str) -> bool:
    """Whether a scheme may have more than one curve."""
    return len({value for row in results.rows if (value := fixed(row, axis)) is not None}) > 1


def series_label(row: Row, axis: str, several: bool) -> str:
    """The scheme, and what is fixed along the curve where there are several."""
    value = fixed(row, axis)
    if value is None or not several:
        return row.scheme
    return f"{row.scheme}, {value:g} dB" if axis == "cbr" else f"{row.scheme}, CBR {value:.3g}"
