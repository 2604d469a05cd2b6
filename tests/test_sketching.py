"""Boxes are those of a grid, as many as were asked for; rounds are the water-filling of its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sclaws.hashing import name_ids
from sclaws.sketching import boxes, boxes_of_blocks, in_rounds


@pytest.fixture(scope="module")
def points():
    """A dense cloud, a sparse one that is as wide, and five points far from both."""
    rng = np.random.default_rng(0)
    parts = [rng.normal(0, 1, (4000, 6)), rng.normal(0, 1, (300, 6)) + 12, rng.normal(0, 0.1, (5, 6)) - 15]
    return np.concatenate(parts).astype(np.float32)


@pytest.mark.parametrize("k", [1, 20, 200, 2000])
def test_as_many_boxes_as_asked_for(points, k):
    assert abs(len(np.unique(boxes(points, k))) - k) <= 0.1 * k


def test_two_points_share_a_box_if_and_only_if_a_grid_of_equal_sides_says_so():
    """On whole numbers from 0 to 7, four boxes of a line are 0-1, 2-3, 4-5, 6-7, or a grid close to it."""
    line = np.repeat(np.arange(8), 3)[:, None].astype(float)
    codes = boxes(line, 4, tolerance=0)
    found = [tuple(np.flatnonzero(codes == code)) for code in dict.fromkeys(codes)]
    assert len(found) == 4
    assert [i for box in found for i in box] == list(range(24))  # every box is an interval


def test_sides_are_equal_in_all_dimensions():
    """A box is one box along a dimension a thousandth as wide as the other."""
    rng = np.random.default_rng(1)
    wide = rng.uniform(0, 1, 3000)
    flat = np.column_stack([wide, rng.uniform(0, 1e-3, 3000)])
    assert len(set(zip(boxes(wide[:, None], 50), boxes(flat, 50), strict=True))) <= 55


def test_boxes_do_not_depend_on_the_order_shift_or_scale_of_the_points(points):
    codes, order = boxes(points, 200), np.random.default_rng(2).permutation(len(points))
    np.testing.assert_array_equal(boxes(points[order], 200), codes[order])
    np.testing.assert_array_equal(boxes(points * 8, 200), codes)  # exact in floating point


@pytest.mark.parametrize("size", [1, 100, 5000])
@pytest.mark.parametrize("k", [20, 2000])
def test_blocks_of_any_size_give_the_same_boxes(points, size, k):
    points = points[:600] if size == 1 else points
    k = min(k, 500) if size == 1 else k
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    np.testing.assert_array_equal(boxes_of_blocks(lambda: iter(parts), k), boxes(points, k))


def test_what_is_not_finite_is_told_whatever_block_it_is_in(points):
    with pytest.raises(ValueError, match="points must be finite"):
        boxes_of_blocks(lambda: [points, np.full((1, 6), np.inf)], 20)
    with pytest.raises(ValueError, match=r"k = 3 boxes must lie in \[1, 0\]"):
        boxes_of_blocks(list, 3)


@pytest.mark.parametrize(("distinct", "k"), [(1, 5), (7, 30), (30, 30)])
def test_points_that_coincide_give_the_boxes_that_there_are(distinct, k):
    place = np.random.default_rng(3).normal(size=(distinct, 3))[np.arange(60) % distinct]
    codes = boxes(place, k)
    assert len(np.unique(codes)) >= 0.9 * min(distinct, k)
    assert all(len(set(codes[i::distinct])) == 1 for i in range(distinct))


@pytest.mark.parametrize(
    ("points", "k", "told"),
    [
        (np.zeros((4, 2)), 0, r"k = 0 boxes must lie in \[1, 4\]"),
        (np.zeros((4, 2)), 5, r"k = 5 boxes must lie in \[1, 4\]"),
        (np.full((4, 2), np.nan), 2, "points must be finite"),
        (np.zeros(4), 2, r"of shape \(n, d\), got shape \(4,\)"),
    ],
)
def test_impossible_grids_are_told(points, k, told):
    with pytest.raises(ValueError, match=told):
        boxes(points, k)


def test_a_sketch_covers_what_a_uniform_sample_misses(points):
    """86 of 4,305 cells: the five far ones are in 1 of 10 uniform samples of 2 %, and always in the sketch."""
    ids = np.arange(len(points), dtype=np.uint64)
    codes = boxes(points, 86)
    for seed in range(5):
        sketch = in_rounds(codes, ids, seed)[:86]
        missing = np.random.default_rng(seed).permutation(4300)[:86]
        assert (sketch >= 4300).any()
        assert farthest(points, sketch) < farthest(points, missing)


def farthest(points: np.ndarray, chosen: np.ndarray) -> float:
    """The Hausdorff distance of points from those that were chosen."""
    return float(np.linalg.norm(points[:, None] - points[chosen][None], axis=2).min(axis=1).max())


def test_equal_areas_give_equal_numbers_however_many_cells_they_hold():
    """Two unit squares with 6,000 and 400 cells; about 50 boxes, in a square a corner of one is all that can differ."""
    rng = np.random.default_rng(5)
    squares = np.concatenate([rng.uniform(0, 1, (6000, 2)), rng.uniform(0, 1, (400, 2)) + 3])
    codes = boxes(squares, 50)
    here, there = (len(np.unique(part)) for part in (codes[:6000], codes[6000:]))
    n = here + there
    assert (in_rounds(codes, np.arange(6400, dtype=np.uint64), 0)[:n] >= 6000).sum() == there
    assert abs(here - there) <= 2 * np.sqrt(n / 2) + 1  # where the grid meets the second square: a row and a column


def water(sizes: list[int], n: int) -> int:
    """The quota of the definition: the largest whole level q with Σ min(size, q) <= n."""
    return max(q for q in range(n + 1) if sum(min(size, q) for size in sizes) <= n)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(0, 99), st.data())
def test_every_prefix_is_the_water_filling_of_its_length(sizes, seed, data):
    strata = name_ids(np.repeat(np.arange(len(sizes)), sizes))
    ids = name_ids([f"cell {i}" for i in range(len(strata))])
    order = in_rounds(strata, ids, seed)
    assert sorted(order) == list(range(len(strata)))
    n = data.draw(st.integers(0, len(strata)))
    taken = [(strata[order[:n]] == name_ids([i])[0]).sum() for i in range(len(sizes))]
    least = [min(size, water(sizes, n)) for size in sizes]
    over = np.array(taken) - least
    assert set(over) <= {0, 1}  # what does not go into equal quotas goes to one stratum each
    assert all(size > low for size, low, more in zip(sizes, least, over, strict=True) if more)


def test_the_order_of_cells_does_not_matter_and_the_seed_does():
    rng = np.random.default_rng(4)
    strata, ids = rng.integers(5, size=300).astype(np.uint64), name_ids(range(300))
    shuffled = rng.permutation(300)
    one, other = ids[in_rounds(strata, ids, 1)], ids[shuffled][in_rounds(strata[shuffled], ids[shuffled], 1)]
    np.testing.assert_array_equal(one, other)
    assert (one != ids[in_rounds(strata, ids, 2)]).any()


def test_cells_of_a_stratum_are_chosen_uniformly():
    """Over 2,000 seeds each of four cells is first in its stratum a quarter of the time, to five standard errors."""
    strata, ids = np.array([1, 1, 1, 1, 2], dtype=np.uint64), name_ids("abcde")
    firsts = [next(i for i in in_rounds(strata, ids, seed) if i < 4) for seed in range(2000)]
    assert np.abs(np.bincount(firsts, minlength=4) / 2000 - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 2000)
