"""One layer of a min-sum decoder as vector code: the two intrinsics that numba's own language cannot express.

Numba compiles scalar loops; whether LLVM finds the byte-wide saturating instructions in them is luck. These intrinsics
write the vectors down: `LANES` checks of one layer at a time, all edges of the layer held in registers between the pass
that finds the two smallest magnitudes and the pass that sends the answers back. Each compiles once per layer degree, and
LLVM splits the vectors where the machine's registers are narrower.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic


def _has_wide_bytes() -> bool:
    """Whether numba compiles for a machine with byte instructions on 512 bits."""
    settings: Any = config
    if settings.CPU_NAME is None and settings.CPU_FEATURES is None:
        return bool(llvm.get_host_cpu_features().get("avx512bw", False))
    return "+avx512bw" in (settings.CPU_FEATURES or "")


# 64 one-byte lanes fill an AVX-512 register; half of that elsewhere
LANES = 64 if _has_wide_bytes() else 32
# The number format: a posterior less a message of the other sign just fits 8 bits, so that no subtraction ever saturates.
LARGEST_MESSAGE = 40
LARGEST_POSTERIOR = 127 - LARGEST_MESSAGE
# (edges, has a parity bit of its own) of the layers that occur in the two base graphs, that bit not counted as an edge
LAYER_KINDS = (*[(degree, True) for degree in range(2, 10)], (8, False), (10, False), (19, False))

_BYTE = ir.IntType(8)
_INT = ir.IntType(64)
_OFFSET = ir.IntType(32)
_VECTOR = ir.VectorType(_BYTE, LANES)
_MASK = ir.IntType(LANES)


def _splat(builder: Any, value: Any) -> Any:
    first = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(_OFFSET, 0))
    zeros = ir.Constant(ir.VectorType(_OFFSET, LANES), None)
    return builder.shuffle_vector(first, ir.Constant(_VECTOR, ir.Undefined), zeros)


def _call(builder: Any, name: str, *args: Any) -> Any:
    """Call an LLVM vector intrinsic on bytes."""
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(_VECTOR, [a.type for a in args]),
        f"llvm.{name}.v{LANES}i8",
    )
    return builder.call(function, args)


def _magnitude(builder: Any, value: Any) -> Any:
    return _call(builder, "abs", value, ir.Constant(ir.IntType(1), 0))


class _Layer:
    """Emits the vector code of one layer of a given degree; see `update_layer` for the arguments."""

    def __init__(self, builder: Any, arrays: dict[str, Any], numbers: dict[str, Any], degree: int, own: bool) -> None:
        self.builder, self.arrays, self.numbers, self.degree, self.own = builder, arrays, numbers, degree, own
        self.settings = {name: _splat(builder, builder.trunc(numbers[name], _BYTE)) for name in ("shrink", "offset", "cap")}

    def load(self, array: str, offset: Any) -> Any:
        pointer = self.builder.gep(self.arrays[array], [offset])
        return self.builder.load(self.builder.bitcast(pointer, _VECTOR.as_pointer()), align=1)

    def store(self, value: Any, array: str, offset: Any) -> None:
        pointer = self.builder.gep(self.arrays[array], [offset])
        self.builder.store(value, self.builder.bitcast(pointer, _VECTOR.as_pointer()), align=1)

    def entry(self, table: str, index: Any) -> Any:
        return self.builder.zext(self.builder.load(self.builder.gep(self.arrays[table], [index])), _INT)

    def soften(self, smallest: Any) -> Any:
        """A smallest magnitude -> the magnitude sent back: about 3/4 of it where normalised, less the offset, capped."""
        builder = self.builder
        quarter = self.half_up(self.half_up(smallest))
        value = builder.sub(smallest, builder.and_(quarter, self.settings["shrink"]))
        value = _call(builder, "usub.sat", value, self.settings["offset"])
        return _call(builder, "umin", value, self.settings["cap"])

    def half_up(self, value: Any) -> Any:
        """(value + 1) >> 1, written such that LLVM finds the averaging instruction."""
        wide = ir.VectorType(ir.IntType(16), LANES)
        one = ir.Constant(wide, [1] * LANES)
        total = self.builder.add(self.builder.zext(value, wide), one)
        return self.builder.trunc(self.builder.lshr(total, one), _VECTOR)

    def gather(self, block: Any) -> tuple[list[Any], list[Any], Any, Any, Any]:
        """First pass over one block of lanes: posteriors, extrinsics, the two smallest magnitudes, the product of signs."""
        builder = self.builder
        first_edge = builder.mul(block, ir.Constant(_INT, self.degree))
        posteriors, extrinsics = [], []
        for edge in range(self.degree):
            index = builder.add(first_edge, ir.Constant(_INT, edge))
            posteriors.append(self.load("values", self.entry("source", index)))
            message = self.load("messages", builder.mul(index, ir.Constant(_INT, LANES)))
            extrinsics.append(_call(builder, "ssub.sat", posteriors[-1], message))
        inputs = list(extrinsics)
        if self.own:
            inputs.append(self.load("values", builder.add(self.numbers["own"], self.lane(block))))
        least, second, signs = _magnitude(builder, inputs[0]), ir.Constant(_VECTOR, [-1] * LANES), inputs[0]
        for value in inputs[1:]:
            size = _magnitude(builder, value)
            second = _call(builder, "umin", second, _call(builder, "umax", least, size))
            least = _call(builder, "umin", least, size)
            signs = builder.xor(signs, value)
        return posteriors, extrinsics, least, second, signs

    def lane(self, block: Any) -> Any:
        return self.builder.mul(block, ir.Constant(_INT, LANES))

    def update(self, block: Any) -> None:
        builder, zero = self.builder, ir.Constant(_VECTOR, None)
        _, extrinsics, least, second, signs = self.gather(block)
        others, own = self.soften(least), self.soften(second)
        lowest, highest = (ir.Constant(_VECTOR, [limit] * LANES) for limit in (-LARGEST_POSTERIOR, LARGEST_POSTERIOR))
        first_edge = builder.mul(block, ir.Constant(_INT, self.degree))
        for edge, value in enumerate(extrinsics):
            is_least = builder.icmp_unsigned("==", _magnitude(builder, value), least)
            size = builder.select(is_least, own, others)
            negative = builder.icmp_signed("<", builder.xor(value, signs), zero)
            message = builder.select(negative, builder.sub(zero, size), size)
            posterior = _call(builder, "sadd.sat", value, message)
            posterior = _call(builder, "smin", _call(builder, "smax", posterior, lowest), highest)
            target = builder.add(self.entry("target", ir.Constant(_INT, edge)), self.lane(block))
            self.store(posterior, "values", target)
            # what the posterior could take up, not what was sent: the next iteration must not subtract more than was added
            index = builder.add(first_edge, ir.Constant(_INT, edge))
            self.store(builder.sub(posterior, value), "messages", builder.mul(index, ir.Constant(_INT, LANES)))

    def mirror(self) -> None:
        """Repeat each column's first lanes behind its last, so that every rotation is one contiguous load."""
        for edge in range(self.degree):
            start = self.entry("target", ir.Constant(_INT, edge))
            self.store(self.load("values", start), "values", self.builder.add(start, self.numbers["lanes"]))

    def failures(self, block: Any) -> Any:
        """Bit mask of the lanes of one block whose check fails."""
        builder, zero = self.builder, ir.Constant(_VECTOR, None)
        posteriors, _, least, second, signs = self.gather(block)
        parity = posteriors[0]
        for value in posteriors[1:]:
            parity = builder.xor(parity, value)
        if self.own:
            # the parity bit's posterior: its channel value plus the answer of its only check
            channel = self.load("values", builder.add(self.numbers["own"], self.lane(block)))
            is_least = builder.icmp_unsigned("==", _magnitude(builder, channel), least)
            size = self.soften(builder.select(is_least, second, least))
            negative = builder.icmp_signed("<", builder.xor(channel, signs), zero)
            answer = builder.select(negative, builder.sub(zero, size), size)
            parity = builder.xor(parity, _call(builder, "sadd.sat", channel, answer))
        failed = builder.bitcast(builder.icmp_signed("<", parity, zero), _MASK)
        return builder.zext(failed, _INT)


_ARRAYS = ("values", "messages", "source", "target")
_NUMBERS = ("first_message", "first_source", "first_target", "own", "degree", "blocks", "lanes", "shrink", "offset", "cap")


def _unpack(context: Any, builder: Any, signature: Any, args: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments by name; arrays as pointers to where the layer's part begins."""
    arrays = {
        name: context.make_array(kind)(context, builder, value).data
        for name, kind, value in zip(_ARRAYS, signature.args, args, strict=False)
    }
    numbers = dict(zip(_NUMBERS, cgutils.unpack_tuple(builder, args[-1]), strict=True))
    for array, first in (("messages", "first_message"), ("source", "first_source"), ("target", "first_target")):
        arrays[array] = builder.gep(arrays[array], [numbers[first]])
    return arrays, numbers


def _signature(result: Any) -> Any:
    kinds = (types.int8, types.int8, types.int32, types.int32)
    return result(*[types.Array(kind, 1, "C") for kind in kinds], types.UniTuple(types.int64, len(_NUMBERS)))


def _by_degree(builder: Any, numbers: dict[str, Any], emit: Any) -> None:
    """Branch to the code of the layer's degree, `emit(degree, own)`; `own` is negative where the check has no own bit."""
    has_own = builder.icmp_signed(">=", numbers["own"], ir.Constant(_INT, 0))
    key = builder.add(builder.shl(numbers["degree"], ir.Constant(_INT, 1)), builder.zext(has_own, _INT))
    end = builder.append_basic_block("layer.end")
    switch = builder.switch(key, end)
    for degree, own in LAYER_KINDS:
        case = builder.append_basic_block(f"layer.{degree}.{int(own)}")
        switch.add_case(ir.Constant(_INT, 2 * degree + own), case)
        builder.position_at_end(case)
        emit(degree, own)
        builder.branch(end)
    builder.position_at_end(end)


def _update_layer(typingctx: Any, values: Any, messages: Any, source: Any, target: Any, numbers: Any) -> Any:
    """Update one layer of a group of code words; nothing is checked.

    values : int8 [...]
        Posteriors of all columns and channel values of the parity bits of one check only (`layers.Layout`).
    messages : int8 [...]
        Messages from checks to bits, by layer, block of lanes and edge.
    source, target : int32 [...]
        Where the layers read and write the posteriors.
    numbers : 10 int64
        Where this layer's messages, reading places and writing places begin; address of the check's own parity bits (-1
        for none); edges; blocks of lanes; lanes; then the softening: mask of the quarter to take off, offset, cap.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arrays, numbers = _unpack(context, builder, signature, args)

        def emit(degree: int, own: bool) -> None:
            layer = _Layer(builder, arrays, numbers, degree, own)
            with cgutils.for_range(builder, numbers["blocks"]) as loop:
                layer.update(loop.index)
            layer.mirror()

        _by_degree(builder, numbers, emit)
        return context.get_dummy_value()

    return _signature(types.void), codegen


def _failed_checks(typingctx: Any, values: Any, messages: Any, source: Any, target: Any, numbers: Any) -> Any:
    """Bit mask (int64) of the lanes with a failing check, the blocks of one layer folded together.

    Arguments as of `update_layer`; `source` says where the posteriors lie after the iteration.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arrays, numbers = _unpack(context, builder, signature, args)
        total = cgutils.alloca_once_value(builder, ir.Constant(_INT, 0))

        def emit(degree: int, own: bool) -> None:
            layer = _Layer(builder, arrays, numbers, degree, own)
            with cgutils.for_range(builder, numbers["blocks"]) as loop:
                failed = layer.failures(loop.index)
                left = builder.sub(numbers["lanes"], layer.lane(loop.index))
                partial = builder.icmp_signed("<", left, ir.Constant(_INT, LANES))
                valid = builder.sub(builder.shl(ir.Constant(_INT, 1), left), ir.Constant(_INT, 1))
                failed = builder.and_(failed, builder.select(partial, valid, ir.Constant(_INT, -1)))
                builder.store(builder.or_(builder.load(total), failed), total)

        _by_degree(builder, numbers, emit)
        return builder.load(total)

    return _signature(types.int64), codegen


update_layer: Any = intrinsic(_update_layer)
failed_checks: Any = intrinsic(_failed_checks)


def _reinterpreted(result: Any, argument: Any, kind: Any) -> Any:
    """Intrinsic body that reads a 32-bit number's bits as another type."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], kind)

    return result(argument), codegen


def _bits_of_float(typingctx: Any, value: Any) -> Any:
    """float32 -> the int32 of the same bits."""
    return _reinterpreted(types.int32, types.float32, ir.IntType(32))


def _float_of_bits(typingctx: Any, value: Any) -> Any:
    """int32 -> the float32 of the same bits."""
    return _reinterpreted(types.float32, types.int32, ir.FloatType())


bits_of_float: Any = intrinsic(_bits_of_float)
float_of_bits: Any = intrinsic(_float_of_bits)
