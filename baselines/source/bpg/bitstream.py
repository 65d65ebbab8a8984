"""Bits, Exp-Golomb codes, ue7 numbers and NAL units: ITU-T H.265 clauses 7.3, 9.2 and annex B, and the BPG specification."""

from __future__ import annotations

import re

from jscclink.baselines.source.codec import DecodeFailure

START_CODE = b"\x00\x00\x01"


class BitWriter:
    """Collects bits, most significant first."""

    def __init__(self) -> None:
        self._value = 0
        self._length = 0

    def u(self, bits: int, value: int) -> None:
        """An unsigned number in a fixed count of bits."""
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{value} does not fit in {bits} bits")
        self._value = self._value << bits | value
        self._length += bits

    def ue(self, *values: int) -> None:
        """Unsigned Exp-Golomb numbers, ue(v), one after the other."""
        for value in values:
            width = (value + 1).bit_length()
            self.u(2 * width - 1, value + 1)

    def padded(self) -> bytes:
        """The bits, filled up with zeros to whole bytes."""
        fill = -self._length % 8
        return (self._value << fill).to_bytes((self._length + fill) // 8)

    def with_stop_bit(self) -> bytes:
        """The bits with the RBSP stop bit, filled up with zeros to whole bytes."""
        whole = BitWriter()
        whole._value, whole._length = self._value << 1 | 1, self._length + 1
        return whole.padded()


class BitReader:
    """Takes bits from bytes, most significant first; raises `DecodeFailure` past the end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data)
        self._left = 8 * len(data)

    def u(self, bits: int) -> int:
        """An unsigned number in a fixed count of bits."""
        if bits > self._left:
            raise DecodeFailure(f"header ends {bits - self._left} bits early")
        self._left -= bits
        return self._value >> self._left & ((1 << bits) - 1)

    def ue(self) -> int:
        """An unsigned Exp-Golomb number, ue(v), below 2^32 - 1."""
        zeros = 0
        while self.u(1) == 0:
            zeros += 1
            if zeros > 31:
                raise DecodeFailure("header holds an Exp-Golomb code of more than 32 bits")
        return (1 << zeros) - 1 + self.u(zeros)


def write_ue7(value: int) -> bytes:
    """A number in base 128, big-endian, the high bit set on all bytes but the last; shortest form."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))


def read_ue7(data: bytes, start: int) -> tuple[int, int]:
    """The ue7 number (at most 32 bits, shortest form) at `start` and where the next field begins."""
    value = 0
    for position in range(start, min(start + 5, len(data))):
        if position == start and data[position] == 0x80:
            raise DecodeFailure("header holds a ue7 number with a leading zero")
        value = value << 7 | data[position] & 0x7F
        if not data[position] & 0x80:
            if value >> 32:
                break
            return value, position + 1
    raise DecodeFailure("header ends within a ue7 number, or the number takes more than 32 bits")


def escape(payload: bytes) -> bytes:
    """Put emulation prevention bytes in: no 00 00 0x (x <= 3) remains."""
    return re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", payload)


def unescape(payload: bytes) -> bytes:
    """Take emulation prevention bytes out."""
    return payload.replace(b"\x00\x00\x03", b"\x00\x00")


def split_nal_units(stream: bytes) -> list[bytes]:
    """Annex B byte stream -> its NAL units, without start codes and trailing zero bytes; empty ones dropped."""
    units = (unit.rstrip(b"\x00") for unit in stream.split(START_CODE))
    return [unit for unit in units if unit]
