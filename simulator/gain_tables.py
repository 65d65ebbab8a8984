"""Average gains as tables, each with what exactly its numbers are: for the command line and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .gains import LEAST_PICTURES, Gain
from .statistics import Estimate

Cell = str | float | None
_WHO = ("scheme", "against", "channel")
_INTERVAL = (
    "Curves of the means over pictures, interpolated by monotone cubics, over the range that both were measured on. 95 % "
    f"bootstrap intervals over pictures, both schemes on the same ones; none below {LEAST_PICTURES} pictures."
)


@dataclass(frozen=True)
class GainTable:
    """Columns and rows; None: not known, or not defined."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def gain_tables(gains: Sequence[Gain], metric: str, unit: str) -> tuple[GainTable, ...]:
    """One table for the sweeps over the CBR, one for those over Es/N0; neither where there is none."""
    name = f"{metric} ({unit})" if unit else metric
    bd = f"BD-{'PSNR' if metric == 'psnr' else metric}"
    tables = []
    over_cbr = [gain for gain in gains if gain.over == "cbr"]
    if over_cbr:
        head = (*_WHO, "Es/N0 (dB)", "CBR from", "to", bd + (f" ({unit})" if unit else ""), "low", "high")
        rate = ("BD-rate (%)", "low", "high", f"{name} from", "to")
        note = (
            f"{bd}: mean difference of {metric} at equal CBR, over log10 CBR. BD-rate: mean difference in CBR at equal "
            f"{metric}, negative where the scheme needs less; not defined where a curve does not get better with every step "
            "of CBR. "
        )
        rows = tuple(
            (*_place(gain), *_ends(gain.quality), *_ends(gain.rate), *(gain.rate_between or (None, None))) for gain in over_cbr
        )
        tables.append(GainTable("Average gain over the CBR, at a fixed Es/N0", note + _INTERVAL, head + rate, rows))
    over_snr = [gain for gain in gains if gain.over == "esno_db"]
    if over_snr:
        head = (*_WHO, "CBR budget", "Es/N0 from (dB)", "to", f"mean difference of {name}", "low", "high")
        note = f"Mean difference of {metric} at equal Es/N0, over Es/N0 in dB. "
        rows = tuple((*_place(gain), *_ends(gain.quality)) for gain in over_snr)
        tables.append(GainTable("Average gain over Es/N0, at a fixed CBR", note + _INTERVAL, head, rows))
    return tuple(tables)


def _place(gain: Gain) -> tuple[Cell, ...]:
    return gain.scheme, gain.reference, gain.channel, gain.at, *gain.between


def _ends(number: Estimate | None) -> tuple[Cell, ...]:
    return (None, None, None) if number is None else (number.value, number.low, number.high)
