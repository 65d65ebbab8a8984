"""Where the polar list decoder's paths fork: the least reliable bits of a node, and the choice of the survivors."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from jscclink.baselines.channel_coding.decoders.lanes import (
    BYTES,
    INT,
    INTEGER,
    LANES,
    ROW,
    SHORT_INTS,
    SHORTS,
    WORD_INTS,
    WORDS,
    call,
    either_width,
    lane_operation,
    magnitude,
    operation,
    permute,
    shuffle,
    splat,
)

LIST_SIZES = (1, 2, 4, 8, 16, 32)
# metrics stand above the byte that names a candidate: source lane and choice
_METRIC_SHIFT = 8


@lane_operation
def least_reliable(
    typingctx: Any, llr: Any, source: Any, count: Any, keep: Any, order: Any, kept: Any, sizes: Any, places: Any
) -> Any:
    """The `keep` smallest magnitudes of each lane of llr[source : source + count], ascending; count <= 256.

    kept[sizes + i] = the i-th smallest magnitude, kept[places + i] = its row in the node. `order` is scratch.
    """

    def emit(
        builder: Any, llr: Any, source: Any, count: Any, keep: Any, order: Any, kept: Any, sizes: Any, places: Any
    ) -> None:
        eight = splat(SHORTS, 8)
        with cgutils.for_range(builder, keep) as step:
            order.store(splat(SHORTS, 0x7FFF), step.index)
        with cgutils.for_range(builder, count) as step:
            size = builder.zext(magnitude(builder, llr.load(builder.add(source, step.index))), SHORTS)
            number = builder.insert_element(splat(SHORTS, 0), builder.trunc(step.index, ir.IntType(16)), ir.Constant(INT, 0))
            place = permute(builder, number, number, [0] * LANES)
            waiting = cgutils.alloca_once_value(builder, builder.or_(builder.shl(size, eight), place))
            with cgutils.for_range(builder, keep) as slot:
                key, held = builder.load(waiting), order.load(slot.index)
                order.store(call(builder, "umin", key, held), slot.index)
                builder.store(call(builder, "umax", key, held), waiting)
        with cgutils.for_range(builder, keep) as step:
            key = order.load(step.index)
            kept.store(builder.trunc(builder.lshr(key, eight), ROW), builder.add(sizes, step.index))
            kept.store(builder.trunc(key, ROW), builder.add(places, step.index))

    return operation(
        types.void(BYTES, INTEGER, INTEGER, INTEGER, SHORT_INTS, BYTES, INTEGER, INTEGER),
        emit,
    )


@lane_operation
def flip_costs(
    typingctx: Any, kept: Any, size: Any, least: Any, maps: Any, node_map: Any, parity: Any, costs: Any, wide: Any
) -> Any:
    """costs[0] = 0, costs[1] = what one more flip costs: its magnitude, and that of the bit that repairs the parity.

    kept[size] and kept[least] are the two magnitudes; maps[parity] is -1 where the parity is odd so far: there the flip spares
    the repair.
    """

    def emit(
        builder: Any, kept: Any, size: Any, least: Any, maps: Any, node_map: Any, parity: Any, costs: Any, wide: Any
    ) -> None:
        lanes, odd = maps.load(node_map), builder.sext(maps.load(parity), WORDS)

        def cost(is_wide: bool) -> None:
            own = builder.zext(shuffle(builder, kept.load(size), lanes, is_wide), WORDS)
            repair = builder.zext(shuffle(builder, kept.load(least), lanes, is_wide), WORDS)
            signed = builder.sub(builder.xor(repair, odd), odd)
            costs.store(splat(WORDS, 0), ir.Constant(INT, 0))
            costs.store(builder.add(own, signed), ir.Constant(INT, 1))

        either_width(builder, wide, cost)

    return operation(types.void(BYTES, INTEGER, INTEGER, BYTES, INTEGER, INTEGER, WORD_INTS, INTEGER), emit)


def _stage(builder: Any, keys: Any, distance: int, ascending: list[bool]) -> Any:
    """Compare each lane with the one `distance` away (a power of two); the smaller goes to the lower lane where ascending."""
    partners = permute(builder, keys, keys, [lane ^ distance for lane in range(LANES)])
    least, most = call(builder, "umin", keys, partners), call(builder, "umax", keys, partners)
    takes_least = [up == (lane & distance == 0) for lane, up in enumerate(ascending)]
    return permute(builder, least, most, [lane if low else lane + LANES for lane, low in enumerate(takes_least)])


def _sort(builder: Any, keys: Any, size: int, ascending: bool) -> Any:
    """Batcher's bitonic sorter within groups of `size` lanes."""
    block = 2
    while block <= size:
        up = [ascending if block == size else lane & block == 0 for lane in range(LANES)]
        distance = block // 2
        while distance:
            keys = _stage(builder, keys, distance, up)
            distance //= 2
        block *= 2
    return keys


def _merge(builder: Any, keys: Any, size: int) -> Any:
    """Sort groups that rise and then fall."""
    distance = size // 2
    while distance:
        keys = _stage(builder, keys, distance, [True] * LANES)
        distance //= 2
    return keys


@lane_operation
def fork(typingctx: Any, metrics: Any, costs: Any, maps: Any, ancestry: Any, choice: Any, list_size: Any, in_order: Any) -> Any:
    """Let every path go two ways, at costs[0] and costs[1], and keep the best `list_size` of each code word, best first.

    metrics
        Path metrics, updated.
    maps[ancestry], maps[choice]
        Set to the lane each survivor comes from, and to -1 where it went the second way.
    in_order
        Whether metrics are ascending and costs[0] is zero.
    """

    def emit(
        builder: Any, metrics: Any, costs: Any, maps: Any, ancestry: Any, choice: Any, list_size: Any, in_order: Any
    ) -> None:
        zero, one = ir.Constant(INT, 0), ir.Constant(INT, 1)

        def candidates(size: int, way: Any, number: int) -> Any:
            names = [(lane & (31 if size == 32 else 15)) << 1 | number for lane in range(LANES)]
            total = builder.add(metrics.load(zero), costs.load(way))
            return builder.or_(builder.shl(total, splat(WORDS, _METRIC_SHIFT)), ir.Constant(WORDS, names))

        def choose(size: int) -> None:
            first = cgutils.alloca_once_value(builder, candidates(size, zero, 0))
            with builder.if_then(builder.icmp_signed("==", in_order, zero)):
                builder.store(_sort(builder, builder.load(first), size, True), first)
            second = _sort(builder, candidates(size, one, 1), size, False)
            best = _merge(builder, call(builder, "umin", builder.load(first), second), size)
            metrics.store(builder.lshr(best, splat(WORDS, _METRIC_SHIFT)), zero)
            names = builder.trunc(best, ROW)
            lanes = builder.and_(builder.lshr(names, splat(ROW, 1)), splat(ROW, 31))
            maps.store(lanes, ancestry)
            maps.store(builder.sub(splat(ROW, 0), builder.and_(names, splat(ROW, 1))), choice)

        end = builder.append_basic_block("fork.end")
        switch = builder.switch(list_size, end)
        for size in LIST_SIZES:
            case = builder.append_basic_block(f"fork.{size}")
            switch.add_case(ir.Constant(INT, size), case)
            builder.position_at_end(case)
            choose(size)
            builder.branch(end)
        builder.position_at_end(end)

    return operation(types.void(WORD_INTS, WORD_INTS, BYTES, INTEGER, INTEGER, INTEGER, INTEGER), emit)
