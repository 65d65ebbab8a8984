"""How the polar list decoder writes vector instructions: rows of 64 lanes, which numba's own language cannot express.

A row holds one position of 64 / L code words with L paths each, the paths of a code word side by side. What a path needs of
its ancestors is found through *maps*: a map is a row that names, for each lane, the lane of the same code word to read from.
So a fork permutes a few maps, never the LLRs or the bits themselves. Maps count lanes within 16 (within 32 if L = 32), as the
byte shuffles of the machines do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 64
# numba's decorator, for type checkers: what it makes is called without the typing context that the function takes
lane_operation: Any = intrinsic

INT, _BYTE = ir.IntType(64), ir.IntType(8)
ROW = ir.VectorType(_BYTE, LANES)
SHORTS = ir.VectorType(ir.IntType(16), LANES)
WORDS = ir.VectorType(ir.IntType(32), LANES)
_FEATURES = llvm.get_host_cpu_features()


def _byte_shuffle() -> tuple[str, int]:
    """Name and bytes of the machine's instruction that permutes bytes within 16; ("", 1) where none is known."""
    if llvm.get_default_triple().startswith("x86_64"):
        for feature, name, width in (
            ("avx512bw", "llvm.x86.avx512.pshuf.b.512", 64),
            ("avx2", "llvm.x86.avx2.pshuf.b", 32),
            ("ssse3", "llvm.x86.ssse3.pshuf.b.128", 16),
        ):
            if _FEATURES.get(feature, False):
                return name, width
    if llvm.get_default_triple().startswith(("aarch64", "arm64")):
        return "llvm.aarch64.neon.tbl1.v16i8", 16
    return "", 1


_SHUFFLE, _SHUFFLE_BYTES = _byte_shuffle()


def splat(kind: Any, value: int) -> Any:
    return ir.Constant(kind, [value] * LANES)


def permute(builder: Any, first: Any, second: Any, order: list[int]) -> Any:
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order)
    return builder.shuffle_vector(first, second, mask)


def call(builder: Any, name: str, *args: Any) -> Any:
    """Call an LLVM vector intrinsic named after the type of its first operand."""
    kind = args[0].type
    suffix = f"v{kind.count}i{kind.element.width}"
    function_type = ir.FunctionType(kind, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, f"llvm.{name}.{suffix}"), args)


def magnitude(builder: Any, value: Any) -> Any:
    return call(builder, "abs", value, ir.Constant(ir.IntType(1), 0))


def _within_16(builder: Any, row: Any, source: Any) -> Any:
    """row[source] within groups of 16 lanes; `source` in 0..15."""
    if not _SHUFFLE:
        result = row
        for lane in range(LANES):
            index = builder.zext(builder.extract_element(source, ir.Constant(ir.IntType(32), lane)), ir.IntType(32))
            index = builder.add(index, ir.Constant(ir.IntType(32), lane & ~15))
            result = builder.insert_element(result, builder.extract_element(row, index), ir.Constant(ir.IntType(32), lane))
        return result
    kind = ir.VectorType(_BYTE, _SHUFFLE_BYTES)
    function_type = ir.FunctionType(kind, [kind, kind])
    function = cgutils.get_or_insert_function(builder.module, function_type, _SHUFFLE)
    pieces = []
    for first in range(0, LANES, _SHUFFLE_BYTES):
        order = list(range(first, first + _SHUFFLE_BYTES))
        pieces.append(builder.call(function, [permute(builder, row, row, order), permute(builder, source, source, order)]))
    while len(pieces) > 1:
        pairs = zip(pieces[::2], pieces[1::2], strict=True)
        pieces = [permute(builder, a, b, list(range(2 * a.type.count))) for a, b in pairs]
    return pieces[0]


def shuffle(builder: Any, row: Any, source: Any, wide: bool) -> Any:
    """row[source] within code words; `wide` where a code word has 32 lanes."""
    if not wide:
        return _within_16(builder, row, source)
    inner = builder.and_(source, splat(ROW, 15))
    low = _within_16(builder, permute(builder, row, row, [i & ~16 for i in range(LANES)]), inner)
    high = _within_16(builder, permute(builder, row, row, [i | 16 for i in range(LANES)]), inner)
    return builder.select(builder.icmp_unsigned(">", source, splat(ROW, 15)), high, low)


class Rows:
    """Rows of an array in memory."""

    def __init__(self, builder: Any, pointer: Any, kind: Any = ROW) -> None:
        self.builder, self.pointer, self.kind = builder, pointer, kind

    def address(self, row: Any) -> Any:
        lane = self.builder.mul(row, ir.Constant(INT, LANES))
        return self.builder.bitcast(self.builder.gep(self.pointer, [lane]), self.kind.as_pointer())

    def load(self, row: Any) -> Any:
        return self.builder.load(self.address(row), align=1)

    def store(self, value: Any, row: Any) -> None:
        self.builder.store(value, self.address(row), align=1)


def _unpack(context: Any, builder: Any, signature: Any, args: Any) -> list[Any]:
    """Arguments as `Rows` (arrays) and integers."""
    kinds = {8: ROW, 16: SHORTS, 32: WORDS, 64: INT}
    unpacked = []
    for kind, value in zip(signature.args, args, strict=True):
        if isinstance(kind, types.Array):
            data = context.make_array(kind)(context, builder, value).data
            unpacked.append(Rows(builder, data, kinds[kind.dtype.bitwidth]))
        else:
            unpacked.append(value)
    return unpacked


def either_width(builder: Any, wide: Any, emit: Callable[[bool], None]) -> None:
    """Emit code for both widths of a code word and a branch between them."""
    with builder.if_else(builder.icmp_signed("!=", wide, ir.Constant(INT, 0))) as (then, otherwise):
        with then:
            emit(True)
        with otherwise:
            emit(False)


BYTES, SHORT_INTS, WORD_INTS, MASKS = (
    types.Array(kind, 1, "C") for kind in (types.int8, types.int16, types.int32, types.uint64)
)
INTEGER = types.int64


def operation(signature: Any, emit: Callable[..., None]) -> Any:
    """What an intrinsic returns to numba: its signature and the function that writes its code."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit(builder, *_unpack(context, builder, signature, args))
        return context.get_dummy_value()

    return signature, codegen
