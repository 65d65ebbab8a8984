"""One self-contained HTML page of a study: `adapter.report_from_results` makes the data, `write(data, path)` the page."""

from .data import Chart, Comparison, Constellation, Distribution, Picture, RateMap, ReportData, Series, Steps, Table
from .render import render, write

__all__ = [
    "Chart",
    "Comparison",
    "Constellation",
    "Distribution",
    "Picture",
    "RateMap",
    "ReportData",
    "Series",
    "Steps",
    "Table",
    "render",
    "write",
]
