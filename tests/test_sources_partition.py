"""Partitioning: lanes are disjoint, cover the source, and are equal in bytes."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smollm3_mix.sources.formats.parquet import cut
from smollm3_mix.sources.partition import count_stored_lanes, partition_source, partition_stored_source, row_stripe
from smollm3_mix.sources.source_files import ResolvedSource, ShardSlice, SourceFile


def made(sizes: list[int]) -> ResolvedSource:
    return ResolvedSource(
        "web", "parquet", "r", tuple(SourceFile(f"f{n}", f"f{n}", size) for n, size in enumerate(sizes))
    )


@given(
    sizes=st.lists(st.integers(0, 10**9), max_size=60),
    lanes=st.integers(1, 40),
    seed=st.integers(0, 2**63 - 1),
    shuffle=st.booleans(),
)
def test_partition_assigns_each_byte_once_in_equal_lanes(
    sizes: list[int], lanes: int, seed: int, shuffle: bool
) -> None:
    partition = partition_source(made(sizes), lanes, seed, shuffle)
    assert len(partition) == lanes
    covered: dict[int, list[tuple[int, int]]] = {}
    for part in (part for lane in partition for part in lane):
        assert part.start < part.stop
        covered.setdefault(part.file, []).append((part.start, part.stop))
    for number, spans in covered.items():
        edges = [0, *(edge for span in sorted(spans) for edge in span), sizes[number]]
        assert edges[::2] == edges[1::2]  # each slice begins where the previous ends
    assert set(covered) == {number for number, size in enumerate(sizes) if size}
    fair = sum(sizes) / lanes
    for lane in partition:
        assert abs(sum(part.stop - part.start for part in lane) - fair) <= 0.02 * fair + 1


@given(
    sizes=st.lists(st.integers(0, 1000) | st.integers(0, 10**12), min_size=1, max_size=40), lanes=st.integers(1, 3000)
)
def test_partition_computes_each_lane_independently(sizes: list[int], lanes: int) -> None:
    edges = np.cumsum([0, *(size for size in sizes if size)], dtype=np.int64)
    total, cuts = int(edges[-1]), [0]
    for lane in range(1, lanes):
        position = total * lane // lanes
        edge = int(edges[np.abs(edges - position).argmin()])
        cuts.append(max(cuts[-1], edge if abs(edge - position) <= 0.01 * total / lanes else position))
    cuts.append(total)
    partition = partition_source(made([size for size in sizes if size]), lanes, 0, False)
    for lane in {0, lanes // 3, lanes // 2, lanes - 1}:
        stretch = [(int(edges[part.file]) + part.start, int(edges[part.file]) + part.stop) for part in partition[lane]]
        complete = [cuts[lane], cuts[lane + 1]] if cuts[lane] < cuts[lane + 1] else []
        assert [stretch[0][0], stretch[-1][1]] == complete if stretch else complete == []


def test_seed_decides_the_order_of_files() -> None:
    found = made([100] * 50)
    orders = [[part.file for part in partition_source(found, 1, seed, True)[0]] for seed in (1, 1, 2)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert sorted(orders[0]) == list(range(50))
    assert [part.file for part in partition_source(found, 1, 1, False)[0]] == list(range(50))


def test_order_of_files_is_pinned() -> None:
    found = made([100] * 8)
    assert [part.file for part in partition_source(found, 1, 42, True)[0]] == [1, 6, 3, 7, 4, 2, 5, 0]


def test_partition_cuts_files_only_where_necessary() -> None:
    assert tuple(partition_source(made([1000, 1004, 996, 1000]), 4, 0, False)) == (
        (ShardSlice(0, 0, 1000),),
        (ShardSlice(1, 0, 1004),),
        (ShardSlice(2, 0, 996),),
        (ShardSlice(3, 0, 1000),),
    )
    assert tuple(partition_source(made([100]), 2, 0, True)) == ((ShardSlice(0, 0, 50),), (ShardSlice(0, 50, 100),))


def test_partition_of_empty_files_has_empty_lanes() -> None:
    assert tuple(partition_source(made([0]), 3, 0, True)) == ((), (), ())


def test_partition_rejects_lanes_out_of_range() -> None:
    partition = partition_source(made([10]), 3, 0, True)
    assert partition[1:] == [partition[1], partition[2]]
    with pytest.raises(IndexError, match="lane must be from 0 to 2, got 3"):
        partition[3]


def test_partition_rejects_fewer_than_one_lane() -> None:
    with pytest.raises(ValueError, match="lanes must be at least 1, got 0"):
        partition_source(made([1]), 0, 0, True)


@given(st.integers(1, 500), st.lists(st.integers(1, 999), max_size=16, unique=True))
def test_row_stripes_assign_each_row_once_in_proportion(rows: int, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), 1000]
    numbers = np.arange(rows)
    parts = [ShardSlice(0, a, b) for a, b in itertools.pairwise(edges)]
    masks = np.array([row_stripe(part, 1000, numbers) for part in parts])
    assert (masks.sum(axis=0) == 1).all()
    for part, mask in zip(parts, masks, strict=True):
        assert abs(mask.sum() - rows * (part.stop - part.start) / 1000) < 5  # discrepancy of the golden ratio


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 10**6)), max_size=20), st.lists(st.integers(0, 1000)))
def test_parquet_cuts_ascend_and_reach_both_ends(groups: list[tuple[int, int]], places: list[int]) -> None:
    edges = [0, *np.cumsum([rows for rows, _ in groups], dtype=int).tolist()]
    weights = [weight for _, weight in groups]
    found = [cut(edges, weights, position, 1000) for position in [0, *sorted(places), 1000]]
    assert found == sorted(found)
    assert found[0] == 0 or (groups and groups[0][0] == 0)
    assert found[-1] == edges[-1]


def test_lane_ends_at_an_edge_within_the_snap_distance() -> None:
    lanes = partition_source(made([101, 99, 98, 102]), 4, 0, False)  # a lane has 100 bytes, a hundredth of it is 1
    assert tuple(lanes) == (
        (ShardSlice(0, 0, 101),),
        (ShardSlice(1, 0, 99),),
        (ShardSlice(2, 0, 98), ShardSlice(3, 0, 2)),
        (ShardSlice(3, 2, 102),),
    )


def test_row_stripe_includes_start_and_excludes_stop() -> None:
    numbers = np.arange(1000)
    position = 700 * 2654435769 % 2**32
    assert row_stripe(ShardSlice(0, position, position + 1), 2**32, numbers).nonzero()[0].tolist() == [700]
    assert 700 not in row_stripe(ShardSlice(0, 0, position), 2**32, numbers).nonzero()[0]


def test_sources_with_equal_files_have_different_orders() -> None:
    orders = []
    for name in ("web", "code"):
        found = ResolvedSource(name, "parquet", "r", made([100] * 8).files)
        orders.append([part.file for part in partition_source(found, 1, 42, True)[0]])
    assert orders == [[1, 6, 3, 7, 4, 2, 5, 0], [1, 5, 3, 4, 7, 6, 0, 2]]


def test_stored_lanes_are_ordered_by_lane_and_shard_in_any_folder() -> None:
    paths = ["a/train-00002-00000.parquet", "z/train-00000-00000.parquet", "a/train-00000-00001.parquet"]
    paths += ["b/train-00001-00000.parquet"]
    found = ResolvedSource("web", "parquet", "r", tuple(SourceFile(path, path, 10 + n) for n, path in enumerate(paths)))
    assert count_stored_lanes(found) == 3
    order = [[part.file for part in lane] for lane in partition_stored_source(found, 2)]
    assert order == [[1, 2, 0], [3]]
    assert partition_stored_source(found, 3) == (
        (ShardSlice(1, 0, 11), ShardSlice(2, 0, 12)),
        (ShardSlice(3, 0, 13),),
        (ShardSlice(0, 0, 10),),
    )
