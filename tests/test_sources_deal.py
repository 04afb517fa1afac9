"""Dealing: lanes are disjoint, together everything, and equal in bytes."""

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
def test_every_byte_is_in_one_lane_and_lanes_are_equal(sizes: list[int], lanes: int, seed: int, shuffle: bool) -> None:
    dealt = partition_source(made(sizes), lanes, seed, shuffle)
    assert len(dealt) == lanes
    covered: dict[int, list[tuple[int, int]]] = {}
    for part in (part for lane in dealt for part in lane):
        assert part.start < part.stop
        covered.setdefault(part.file, []).append((part.start, part.stop))
    for number, spans in covered.items():
        edges = [0, *(edge for span in sorted(spans) for edge in span), sizes[number]]
        assert edges[::2] == edges[1::2]  # one begins where the last ends
    assert set(covered) == {number for number, size in enumerate(sizes) if size}
    fair = sum(sizes) / lanes
    for lane in dealt:
        assert abs(sum(part.stop - part.start for part in lane) - fair) <= 0.02 * fair + 1


@given(
    sizes=st.lists(st.integers(0, 1000) | st.integers(0, 10**12), min_size=1, max_size=40), lanes=st.integers(1, 3000)
)
def test_a_lane_dealt_alone_is_that_of_all_lanes_cut_one_after_another(sizes: list[int], lanes: int) -> None:
    edges = np.cumsum([0, *(size for size in sizes if size)], dtype=np.int64)
    total, cuts = int(edges[-1]), [0]
    for lane in range(1, lanes):
        place = total * lane // lanes
        edge = int(edges[np.abs(edges - place).argmin()])
        cuts.append(max(cuts[-1], edge if abs(edge - place) <= 0.01 * total / lanes else place))
    cuts.append(total)
    dealt = partition_source(made([size for size in sizes if size]), lanes, 0, False)
    for lane in {0, lanes // 3, lanes // 2, lanes - 1}:
        stretch = [(int(edges[part.file]) + part.start, int(edges[part.file]) + part.stop) for part in dealt[lane]]
        whole = [cuts[lane], cuts[lane + 1]] if cuts[lane] < cuts[lane + 1] else []
        assert [stretch[0][0], stretch[-1][1]] == whole if stretch else whole == []


def test_a_seed_fixes_the_order_of_files_and_another_gives_another() -> None:
    found = made([100] * 50)
    orders = [[part.file for part in partition_source(found, 1, seed, True)[0]] for seed in (1, 1, 2)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert sorted(orders[0]) == list(range(50))
    assert [part.file for part in partition_source(found, 1, 1, False)[0]] == list(range(50))


def test_the_order_of_files_stays_as_published() -> None:
    found = made([100] * 8)
    assert [part.file for part in partition_source(found, 1, 42, True)[0]] == [1, 6, 3, 7, 4, 2, 5, 0]


def test_files_are_cut_only_where_they_must_be() -> None:
    assert tuple(partition_source(made([1000, 1004, 996, 1000]), 4, 0, False)) == (
        (ShardSlice(0, 0, 1000),),
        (ShardSlice(1, 0, 1004),),
        (ShardSlice(2, 0, 996),),
        (ShardSlice(3, 0, 1000),),
    )
    assert tuple(partition_source(made([100]), 2, 0, True)) == ((ShardSlice(0, 0, 50),), (ShardSlice(0, 50, 100),))


def test_a_source_without_bytes_gives_empty_lanes() -> None:
    assert tuple(partition_source(made([0]), 3, 0, True)) == ((), (), ())


def test_a_lane_that_there_is_not_is_refused() -> None:
    dealt = partition_source(made([10]), 3, 0, True)
    assert dealt[1:] == [dealt[1], dealt[2]]
    with pytest.raises(IndexError, match="there is no lane 3 of 3"):
        dealt[3]


def test_lanes_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="lanes must be at least 1, not 0"):
        partition_source(made([1]), 0, 0, True)


@given(st.integers(1, 500), st.lists(st.integers(1, 999), max_size=16, unique=True))
def test_stripes_deal_each_row_once_and_in_proportion(rows: int, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), 1000]
    numbers = np.arange(rows)
    parts = [ShardSlice(0, a, b) for a, b in itertools.pairwise(edges)]
    masks = np.array([row_stripe(part, 1000, numbers) for part in parts])
    assert (masks.sum(axis=0) == 1).all()
    for part, mask in zip(parts, masks, strict=True):
        assert abs(mask.sum() - rows * (part.stop - part.start) / 1000) < 5  # discrepancy of the golden ratio


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 10**6)), max_size=20), st.lists(st.integers(0, 1000)))
def test_cuts_of_a_parquet_file_ascend_and_reach_its_ends(groups: list[tuple[int, int]], places: list[int]) -> None:
    edges = [0, *np.cumsum([rows for rows, _ in groups], dtype=int).tolist()]
    weights = [weight for _, weight in groups]
    found = [cut(edges, weights, place, 1000) for place in [0, *sorted(places), 1000]]
    assert found == sorted(found)
    assert found[0] == 0 or (groups and groups[0][0] == 0)
    assert found[-1] == edges[-1]


def test_an_edge_as_far_away_as_the_snap_allows_still_ends_the_lane() -> None:
    lanes = partition_source(made([101, 99, 98, 102]), 4, 0, False)  # a lane has 100, of which a hundredth is 1
    assert tuple(lanes) == (
        (ShardSlice(0, 0, 101),),
        (ShardSlice(1, 0, 99),),
        (ShardSlice(2, 0, 98), ShardSlice(3, 0, 2)),
        (ShardSlice(3, 2, 102),),
    )


def test_a_stripe_begins_with_its_start_and_ends_before_its_stop() -> None:
    numbers = np.arange(1000)
    place = 700 * 2654435769 % 2**32
    assert row_stripe(ShardSlice(0, place, place + 1), 2**32, numbers).nonzero()[0].tolist() == [700]
    assert 700 not in row_stripe(ShardSlice(0, 0, place), 2**32, numbers).nonzero()[0]


def test_sources_with_equal_files_have_their_own_orders() -> None:
    orders = []
    for name in ("web", "code"):
        found = ResolvedSource(name, "parquet", "r", made([100] * 8).files)
        orders.append([part.file for part in partition_source(found, 1, 42, True)[0]])
    assert orders == [[1, 6, 3, 7, 4, 2, 5, 0], [1, 5, 3, 4, 7, 6, 0, 2]]


def test_stored_lanes_are_read_in_order_of_lane_and_part_whatever_folder_they_are_in() -> None:
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
