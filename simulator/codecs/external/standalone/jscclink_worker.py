"""The worker's side of jscclink's `external` scheme, for any Python with NumPy: one file, no other import. Copy it freely.

    from jscclink_worker import Decoded, Encoded, serve

    class Encoder:
        def encode(self, request):                  # request.images uint8 [B, 3, H, W], request.uses
            return Encoded(symbols)                 # complex64 [B, n], n <= request.uses

    class Decoder:
        def decode(self, request):                  # request.symbols complex64 [B, uses], ...
            return Decoded(images)                  # uint8 [B, 3, H, W]

    serve({"encoder": Encoder, "decoder": Decoder}, name="my codec", version="1.0")

The two ends run in two processes. docs/external.md describes the protocol for other languages. One frame:

    "JSCX" | uint32 bytes of header | uint64 bytes of arrays | header: JSON, UTF-8 | arrays, one after the other

all little-endian. The header's `arrays` gives name, dtype and shape of each array; they follow in C order, without gaps.
"""

from __future__ import annotations

import json
import math
import os
import struct
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

PROTOCOL = 1
MAGIC = b"JSCX"
PREFIX = struct.Struct("<4sIQ")
MOST_HEADER_BYTES = 1 << 20
MOST_ARRAY_BYTES = 1 << 32
MOST_ARRAYS, MOST_DIMENSIONS = 16, 8
DTYPES = {"uint8": "|u1", "int64": "<i8", "float32": "<f4", "complex64": "<c8"}


class ProtocolError(Exception):
    """Bytes that are no frame, or a frame that breaks the protocol."""


@dataclass(frozen=True)
class Message:
    """A frame: type (`hello`, `encode`, ...), small values, arrays."""

    type: str
    values: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    def pack(self) -> bytes:
        """The frame as bytes."""
        described, data = [], []
        for name, array in self.arrays.items():
            if array.dtype.name not in DTYPES:
                raise ProtocolError(f"array {name!r} has dtype {array.dtype}; allowed: {', '.join(DTYPES)}")
            described.append({"name": name, "dtype": array.dtype.name, "shape": list(array.shape)})
            data.append(np.ascontiguousarray(array, dtype=DTYPES[array.dtype.name]).tobytes())
        header = json.dumps({**self.values, "type": self.type, "arrays": described}, allow_nan=False).encode()
        return PREFIX.pack(MAGIC, len(header), sum(map(len, data))) + header + b"".join(data)

    @classmethod
    def unpack(cls, header: bytes, data: bytes) -> Message:
        """From the two parts of a frame; whatever does not fit raises `ProtocolError`."""
        try:
            values = json.loads(header)
        except ValueError as error:
            raise ProtocolError(f"the header is no JSON ({error})") from None
        if not isinstance(values, dict) or not isinstance(values.get("type"), str):
            raise ProtocolError("the header is no JSON object with a `type`")
        kind, described = values.pop("type"), values.pop("arrays", [])
        if not isinstance(described, list) or len(described) > MOST_ARRAYS:
            raise ProtocolError(f"`arrays` must be a list of at most {MOST_ARRAYS} descriptions")
        arrays, start = {}, 0
        for entry in described:
            name, dtype, shape = _described(entry)
            count = math.prod(shape)
            end = start + count * np.dtype(dtype).itemsize
            if end > len(data):
                raise ProtocolError(f"array {name!r} of shape {shape} reaches beyond the frame's {len(data)} bytes")
            arrays[name] = np.frombuffer(data, dtype, count, start).reshape(shape)
            start = end
        if start != len(data):
            raise ProtocolError(f"{len(data) - start} bytes follow the last array")
        return cls(kind, values, arrays)


def _described(entry: Any) -> tuple[str, str, tuple[int, ...]]:
    """Name, NumPy type string and shape of an array, checked."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise ProtocolError("an array needs `name`, `dtype` and `shape`")
    name, dtype, shape = entry["name"], entry.get("dtype"), entry.get("shape")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ProtocolError(f"array {name!r} has dtype {dtype!r}; allowed: {', '.join(DTYPES)}")
    if (
        not isinstance(shape, list)
        or len(shape) > MOST_DIMENSIONS
        or not all(type(size) is int and 0 <= size < 1 << 40 for size in shape)
    ):
        raise ProtocolError(f"array {name!r} has shape {shape!r}; allowed: at most {MOST_DIMENSIONS} sizes, 0 or more")
    return name, DTYPES[dtype], tuple(shape)


def lengths(prefix: bytes) -> tuple[int, int]:
    """The 16 bytes in front of a frame -> bytes of header, bytes of arrays."""
    magic, header, data = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise ProtocolError(f"{prefix!r} is no frame: frames begin with {MAGIC!r} (messages for people go to stderr)")
    if header > MOST_HEADER_BYTES or data > MOST_ARRAY_BYTES:
        raise ProtocolError(f"a frame of {header} + {data} bytes; allowed: {MOST_HEADER_BYTES} + {MOST_ARRAY_BYTES}")
    return header, data


@dataclass(frozen=True)
class EncodeRequest:
    """images uint8 [B, 3, H, W]; uses: most complex symbols per image; seed for codecs that draw random numbers.

    noise_var float32 [B] and gain complex64 [B, uses] where the study lets the transmitter know its channel, else None.
    """

    images: np.ndarray
    uses: int
    seed: int
    noise_var: np.ndarray | None
    gain: np.ndarray | None


@dataclass(frozen=True)
class Encoded:
    """symbols complex64 [B, n], n at most the request's uses; of any power, the link scales every image to 1 on average.

    valid: int64 [B], symbols sent per image (absent: all n). side: bytes per image that the link carries, at a cost.
    power: "constellation" where the symbols are points of a constellation of unit mean energy, to be sent as they are.
    """

    symbols: np.ndarray
    valid: np.ndarray | None = None
    side: list[bytes] | None = None
    power: str = "scale"


@dataclass(frozen=True)
class DecodeRequest:
    """symbols complex64 [B, uses] = gain complex64 [B, uses] x sent + noise of variance noise_var float32 [B, uses].

    height, width: of the images; uses: the encoder's budget; side: per image as received, None where lost or absent.
    """

    symbols: np.ndarray
    gain: np.ndarray
    noise_var: np.ndarray
    height: int
    width: int
    uses: int
    seed: int
    side: list[bytes | None]


@dataclass(frozen=True)
class Decoded:
    """images uint8 [B, 3, H, W]; failed: bool [B], the decoder knows that it failed (an outage), absent: none."""

    images: np.ndarray
    failed: np.ndarray | None = None


def pack_side(side: list[bytes | None]) -> dict[str, np.ndarray]:
    """Byte strings as two arrays: `side` uint8 [total], `side_bytes` int64 [B], -1 for None."""
    joined = b"".join(item or b"" for item in side)
    counts = [-1 if item is None else len(item) for item in side]
    return {"side": np.frombuffer(joined, np.uint8), "side_bytes": np.array(counts, np.int64)}


def unpack_side(arrays: Mapping[str, np.ndarray]) -> list[bytes | None] | None:
    """The reverse; None where the message has no side information."""
    if "side_bytes" not in arrays:
        return None
    joined, start, side = arrays["side"].tobytes(), 0, []
    for count in arrays["side_bytes"].tolist():
        side.append(None if count < 0 else joined[start : start + count])
        start += max(count, 0)
    if start != len(joined):
        raise ProtocolError(f"side_bytes add up to {start}, side has {len(joined)} bytes")
    return side


def serve(ends: Mapping[str, Callable[[], Any]], *, name: str, version: str = "") -> None:
    """Answer the host until it says `bye` or closes stdin.

    `ends` maps "encoder" and "decoder" to what makes that end (called once, in the process that is that end). Exceptions
    become error messages. From here on whatever is printed goes to stderr: stdout belongs to the protocol.
    """
    requests = sys.stdin.buffer
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    end: Any = None
    while (message := _read(requests)) is not None and message.type != "bye":
        try:
            if message.type == "hello":
                role = str(message.values.get("role"))
                if message.values.get("protocol") != PROTOCOL:
                    raise ProtocolError(f"this worker speaks protocol {PROTOCOL}, not {message.values.get('protocol')}")
                if role not in ends:
                    raise ProtocolError(f"this worker is no {role}, only {' and '.join(ends)}")
                end = ends[role]()
                reply = Message("hello", {"protocol": PROTOCOL, "role": role, "name": name, "version": version})
            elif message.type == "encode":
                reply = _encode(end, message)
            elif message.type == "decode":
                reply = _decode(end, message)
            else:
                raise ProtocolError(f"unknown message {message.type!r}")
            frame = reply.pack()
        except Exception as error:
            traceback.print_exc()
            frame = Message("error", {"message": f"{type(error).__name__}: {error}"}).pack()
        replies.write(frame)
        replies.flush()


def _encode(end: Any, message: Message) -> Message:
    values, arrays = message.values, message.arrays
    request = EncodeRequest(arrays["images"], values["uses"], values["seed"], arrays.get("noise_var"), arrays.get("gain"))
    made: Encoded = end.encode(request)
    symbols = np.asarray(made.symbols, np.complex64)
    valid = np.full(symbols.shape[:1], symbols.shape[-1]) if made.valid is None else np.asarray(made.valid)
    side = {} if made.side is None else pack_side(list(made.side))
    return Message("encoded", {"power": made.power}, {"symbols": symbols, "valid": valid.astype(np.int64), **side})


def _decode(end: Any, message: Message) -> Message:
    values, arrays = message.values, message.arrays
    named: dict[str, Any] = {name: arrays[name] for name in ("symbols", "gain", "noise_var")}
    named |= {name: values[name] for name in ("height", "width", "uses", "seed")}
    side = unpack_side(arrays) or [None] * len(arrays["symbols"])
    made: Decoded = end.decode(DecodeRequest(side=side, **named))
    failed = np.zeros(len(made.images), np.uint8) if made.failed is None else np.asarray(made.failed).astype(np.uint8)
    return Message("decoded", {}, {"images": np.asarray(made.images), "failed": failed})


def _read(stream: BinaryIO) -> Message | None:
    """The next frame; None at the end of the stream."""
    prefix = stream.read(PREFIX.size)
    if len(prefix) < PREFIX.size:
        return None
    header, data = lengths(prefix)
    parts = stream.read(header), stream.read(data)
    return Message.unpack(*parts) if len(parts[1]) == data else None
