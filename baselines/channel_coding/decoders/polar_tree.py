"""The polar list decoder's operations on rows of lanes (see `lanes`): LLRs down the tree, bits up the tree."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from jscclink.baselines.channel_coding.decoders.lanes import (
    BYTES,
    INT,
    INTEGER,
    MASKS,
    ROW,
    SHORTS,
    WORD_INTS,
    WORDS,
    call,
    either_width,
    lane_operation,
    magnitude,
    operation,
    shuffle,
    splat,
)


def _softness(builder: Any, size: Any, reach: Any) -> Any:
    """max(reach - size, 0) of unsigned bytes: four times log(1 + exp(-size)), as (5/8 - size/4) in LLRs, if reach = 5/2."""
    return call(builder, "usub.sat", reach, size)


def _quarter(builder: Any, value: Any) -> Any:
    """Unsigned bytes over 4, rounded."""
    return builder.lshr(builder.add(value, splat(ROW, 2)), splat(ROW, 2))


@lane_operation
def left_llrs(typingctx: Any, llr: Any, source: Any, target: Any, half: Any, maps: Any, reach: Any) -> Any:
    """LLRs of a node's left child: llr[target + i] = boxplus of llr[source + i] and llr[source + half + i].

    sign(a) sign(b) (min(|a|, |b|) + log(1 + exp(-|a| - |b|)) - log(1 + exp(-||a| - |b||))), the logarithms as straight lines
    that reach zero at maps[reach], 5/2 in the units of the LLRs.
    """

    def emit(builder: Any, llr: Any, source: Any, target: Any, half: Any, maps: Any, reach: Any) -> None:
        limit = maps.load(reach)
        with cgutils.for_range(builder, half) as step:
            first = builder.add(source, step.index)
            a, b = llr.load(first), llr.load(builder.add(first, half))
            sizes = magnitude(builder, a), magnitude(builder, b)
            least, most = call(builder, "umin", *sizes), call(builder, "umax", *sizes)
            gain = _softness(builder, builder.add(least, most), limit)
            loss = _softness(builder, builder.sub(most, least), limit)
            size = builder.sub(least, _quarter(builder, builder.sub(loss, gain)))
            sign = builder.ashr(builder.xor(a, b), splat(ROW, 7))
            llr.store(builder.sub(builder.xor(size, sign), sign), builder.add(target, step.index))

    return operation(types.void(BYTES, INTEGER, INTEGER, INTEGER, BYTES, INTEGER), emit)


@lane_operation
def right_llrs(
    typingctx: Any, llr: Any, source: Any, target: Any, half: Any, maps: Any, llr_map: Any, bits: Any, left: Any, wide: Any
) -> Any:
    """LLRs of a node's right child, given the left one's bits, which were just decided: b + a or b - a, saturated at +-127."""

    def emit(
        builder: Any, llr: Any, source: Any, target: Any, half: Any, maps: Any, llr_map: Any, bits: Any, left: Any, wide: Any
    ) -> None:
        lanes = maps.load(llr_map)

        def loop(is_wide: bool) -> None:
            with cgutils.for_range(builder, half) as step:
                first = builder.add(source, step.index)
                a = shuffle(builder, llr.load(first), lanes, is_wide)
                b = shuffle(builder, llr.load(builder.add(first, half)), lanes, is_wide)
                bit = bits.load(builder.add(left, step.index))
                total = call(builder, "sadd.sat", b, builder.sub(builder.xor(a, bit), bit))
                llr.store(call(builder, "smax", total, splat(ROW, -127)), builder.add(target, step.index))

        either_width(builder, wide, loop)

    return operation(types.void(BYTES, INTEGER, INTEGER, INTEGER, BYTES, INTEGER, BYTES, INTEGER, INTEGER), emit)


@lane_operation
def join_bits(typingctx: Any, bits: Any, left: Any, target: Any, half: Any, maps: Any, bit_map: Any, wide: Any) -> Any:
    """A node's bits from its children's: bits[target + i] = bits[left + i] xor bits[target + half + i]."""

    def emit(builder: Any, bits: Any, left: Any, target: Any, half: Any, maps: Any, bit_map: Any, wide: Any) -> None:
        lanes = maps.load(bit_map)

        def loop(is_wide: bool) -> None:
            with cgutils.for_range(builder, half) as step:
                row = builder.add(target, step.index)
                bit = shuffle(builder, bits.load(builder.add(left, step.index)), lanes, is_wide)
                bits.store(builder.xor(bit, bits.load(builder.add(row, half))), row)

        either_width(builder, wide, loop)

    return operation(types.void(BYTES, INTEGER, INTEGER, INTEGER, BYTES, INTEGER, INTEGER), emit)


@lane_operation
def shuffle_rows(typingctx: Any, rows: Any, first: Any, count: Any, source: Any, source_row: Any, wide: Any) -> Any:
    """rows[first + i] = rows[first + i][source]."""

    def emit(builder: Any, rows: Any, first: Any, count: Any, source: Any, source_row: Any, wide: Any) -> None:
        lanes = source.load(source_row)

        def loop(is_wide: bool) -> None:
            with cgutils.for_range(builder, count) as step:
                row = builder.add(first, step.index)
                rows.store(shuffle(builder, rows.load(row), lanes, is_wide), row)

        either_width(builder, wide, loop)

    return operation(types.void(BYTES, INTEGER, INTEGER, BYTES, INTEGER, INTEGER), emit)


@lane_operation
def hard_bits(
    typingctx: Any, llr: Any, source: Any, bits: Any, target: Any, count: Any, maps: Any, llr_map: Any, wide: Any
) -> Any:
    """bits[target + i] = -1 where llr[source + i] is negative, else 0."""

    def emit(
        builder: Any, llr: Any, source: Any, bits: Any, target: Any, count: Any, maps: Any, llr_map: Any, wide: Any
    ) -> None:
        lanes = maps.load(llr_map)

        def loop(is_wide: bool) -> None:
            with cgutils.for_range(builder, count) as step:
                value = shuffle(builder, llr.load(builder.add(source, step.index)), lanes, is_wide)
                bits.store(builder.ashr(value, splat(ROW, 7)), builder.add(target, step.index))

        either_width(builder, wide, loop)

    return operation(types.void(BYTES, INTEGER, BYTES, INTEGER, INTEGER, BYTES, INTEGER, INTEGER), emit)


@lane_operation
def penalties(typingctx: Any, llr: Any, source: Any, count: Any, maps: Any, reach: Any, costs: Any) -> Any:
    """What bits cost against llr[source : source + count], log(1 + exp(-llr)) each with the sign of the bit; count <= 256.

    costs[0]: all zeros, costs[1]: all ones, costs[2]: the likeliest values.
    """

    def emit(builder: Any, llr: Any, source: Any, count: Any, maps: Any, reach: Any, costs: Any) -> None:
        limit, zero = maps.load(reach), splat(SHORTS, 0)
        totals = [cgutils.alloca_once_value(builder, zero) for _ in range(3)]
        with cgutils.for_range(builder, count) as step:
            row = llr.load(builder.add(source, step.index))
            value = builder.sext(row, SHORTS)
            soft = builder.zext(_quarter(builder, _softness(builder, magnitude(builder, row), limit)), SHORTS)
            hard = (call(builder, "smax", builder.sub(zero, value), zero), call(builder, "smax", value, zero), zero)
            for total, cost in zip(totals, hard, strict=True):
                builder.store(builder.add(builder.load(total), builder.add(cost, soft)), total)
        for row_number, total in enumerate(totals):
            costs.store(builder.zext(builder.load(total), WORDS), ir.Constant(INT, row_number))

    return operation(types.void(BYTES, INTEGER, INTEGER, BYTES, INTEGER, WORD_INTS), emit)


@lane_operation
def pack_bits(typingctx: Any, bits: Any, source: Any, count: Any, words: Any) -> Any:
    """uint64 words[i]: bit `lane` set where bits[source + i] is -1."""

    def emit(builder: Any, bits: Any, source: Any, count: Any, words: Any) -> None:
        with cgutils.for_range(builder, count) as step:
            row = bits.load(builder.add(source, step.index))
            word = builder.bitcast(builder.icmp_signed("<", row, splat(ROW, 0)), INT)
            builder.store(word, builder.gep(words.pointer, [step.index]))

    return operation(types.void(BYTES, INTEGER, INTEGER, MASKS), emit)
