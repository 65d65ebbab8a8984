"""Modulation and coding schemes: free pairs, the tables of TS 38.214, and the ladder of the JSCC literature."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from jscclink.errors import InputError

MODULATIONS = {"bpsk": 1, "qpsk": 2, "4qam": 2, "16qam": 4, "64qam": 6, "256qam": 8, "1024qam": 10}
_NAMES = {1: "BPSK", 2: "QPSK", 4: "16-QAM", 6: "64-QAM", 8: "256-QAM", 10: "1024-QAM"}

# The ladder of WITT (Yang et al., ICASSP 2023) and of the papers that follow it, at 6144 coded bits per block.
LITERATURE_LADDER = ("qpsk 1/3", "qpsk 1/2", "qpsk 2/3", "16qam 1/2", "16qam 2/3", "64qam 1/2", "64qam 2/3")


@dataclass(frozen=True)
class Mcs:
    """A modulation and a target code rate.

    Attributes
    ----------
    bits_per_symbol : int
    rate : Fraction
        Information bits (CRC included, as in TS 38.214) over coded bits.
    """

    bits_per_symbol: int
    rate: Fraction

    @property
    def efficiency(self) -> float:
        """Information bits per channel use."""
        return float(self.bits_per_symbol * self.rate)

    def __str__(self) -> str:
        return f"{_NAMES[self.bits_per_symbol]} {self.rate}"


def parse_mcs(text: str) -> Mcs:
    """`16qam 1/2`, `qpsk 0.4` (free pairs) or `table1/13` (TS 38.214, tables 1 to 3, PDSCH) -> Mcs.

    Raises
    ------
    InputError
        For anything else, and for code rates outside 1/10 <= R < 1.
    """
    words = text.lower().split()
    words[:1] = [word.replace("-", "") for word in words[:1]]
    if len(words) == 1 and (match := re.fullmatch(r"table([123])/(\d+)", words[0])):
        return _from_table(int(match[1]), int(match[2]))
    if len(words) != 2 or words[0] not in MODULATIONS:
        raise InputError(
            f"mcs {text!r} is not understood; write a modulation ({', '.join(MODULATIONS)}) and a code rate, as in "
            "'16qam 1/2', or a table of TS 38.214 and its index, as in 'table1/13'"
        )
    try:
        rate = Fraction(words[1])
    except (ValueError, ZeroDivisionError):
        raise InputError(f"mcs {text!r}: the code rate {words[1]!r} is no number; write '1/2' or '0.5'") from None
    if not Fraction(1, 10) <= rate < 1:
        raise InputError(f"mcs {text!r}: the code rate must be at least 1/10 and below 1; got {words[1]}")
    return Mcs(MODULATIONS[words[0]], rate)


@cache
def _from_table(table: int, index: int) -> Mcs:
    from sionna.phy.nr.utils import decode_mcs_index  # takes seconds to import

    try:
        order, rate = decode_mcs_index(index, table_index=table, is_pusch=False)
    except (ValueError, AssertionError):
        highest = 28 if table != 2 else 27
        raise InputError(f"table {table} of TS 38.214 has no index {index} with a code rate; allowed: 0..{highest}") from None
    # the tables hold R x 1024, in steps of a half
    return Mcs(int(order), Fraction(round(float(rate) * 2048), 2048))
