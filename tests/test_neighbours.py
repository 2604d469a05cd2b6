import numba
import numpy as np
import pytest
from scipy.spatial import cKDTree

from sclaws import _neighbours_torch, neighbours

RNG = np.random.default_rng(7)


def reference_radius(points, k):
    return cKDTree(points).query(points, k + 1, p=np.inf)[0][:, -1]


def reference_count(points, radius):
    # a ball of scipy is closed, ours is open: empty when its radius is zero
    inside = cKDTree(points).query_ball_point(points, np.nextafter(radius, 0), p=np.inf, return_length=True)
    return np.where(radius > 0, inside - 1, 0)


@pytest.mark.parametrize("dim", [1, 2, 3, 5, 16, 31])
@pytest.mark.parametrize("n", [5, 127, 129, 700])
def test_radii_and_counts_equal_a_trees_to_the_last_bit(n, dim):
    rng = np.random.default_rng(n * dim)
    points = rng.normal(size=(n, dim)) * rng.lognormal(size=dim)
    for k in (1, 3, 4):
        radius = neighbours.kth_distance(points, k)
        np.testing.assert_array_equal(radius, reference_radius(points, k))
        np.testing.assert_array_equal(neighbours.count_within(points, radius), reference_count(points, radius))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("points", [RNG.normal(size=(700, 5)), RNG.integers(0, 4, size=(300, 2)).astype(float)])
def test_torch_finds_the_same(points, device, monkeypatch):
    torch = pytest.importorskip("torch")
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    radius = neighbours.kth_distance(points, 3)
    inside = neighbours.count_within(points[:, :1], radius)
    monkeypatch.setattr(_neighbours_torch, "device", lambda n: device)
    monkeypatch.setattr(_neighbours_torch, "_BLOCK", 2**14)
    np.testing.assert_array_equal(neighbours.kth_distance(points, 3), radius)
    np.testing.assert_array_equal(neighbours.count_within(points[:, :1], radius), inside)


def test_a_lattice_full_of_ties_and_duplicates():
    points = np.random.default_rng(0).integers(0, 5, size=(600, 3)).astype(float)
    radius = neighbours.kth_distance(points, 5)
    np.testing.assert_array_equal(radius, reference_radius(points, 5))
    np.testing.assert_array_equal(neighbours.count_within(points, radius), reference_count(points, radius))
    assert set(radius) == {0.0, 1.0}, "the test means to have points with five copies of themselves, and without"


def test_radii_from_elsewhere_such_as_another_space_or_infinity():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(500, 4))
    radius = rng.lognormal(size=500)
    np.testing.assert_array_equal(neighbours.count_within(points, radius), reference_count(points, radius))
    np.testing.assert_array_equal(neighbours.count_within(points, np.full(500, np.inf)), 499)
    np.testing.assert_array_equal(neighbours.count_within(points, np.zeros(500)), 0)


def test_one_column_may_be_a_plain_vector():
    values = np.array([0.0, 1.0, 3.0, 7.0])
    np.testing.assert_array_equal(neighbours.kth_distance(values, 1), [1, 1, 2, 4])
    np.testing.assert_array_equal(neighbours.kth_distance(values, 3), [7, 6, 4, 7])
    np.testing.assert_array_equal(neighbours.count_within(values, np.array([3.0, 3.0, 3.1, 4.0])), [1, 2, 2, 0])


def test_the_number_of_threads_changes_nothing():
    points = np.random.default_rng(2).normal(size=(2000, 6))
    assert points.size * len(points) > neighbours._WORTH_THREADS
    before = numba.get_num_threads()
    found = []
    try:
        for threads in (1, before):
            numba.set_num_threads(threads)
            radius = neighbours.kth_distance(points, 3)
            found.append((radius, neighbours.count_within(points, radius)))
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize(
    ("k", "points", "message"),
    [
        (0, np.zeros((9, 2)), r"k must lie in \[1, 8\] for 9 points, got 0"),
        (9, np.zeros((9, 2)), r"k must lie in \[1, 8\] for 9 points, got 9"),
        (1, np.array([[0.0], [np.nan]]), "points must be finite"),
    ],
)
def test_impossible_questions_are_refused(k, points, message):
    with pytest.raises(ValueError, match=message):
        neighbours.kth_distance(points, k)


def test_one_radius_for_each_point():
    with pytest.raises(ValueError, match=r"one radius for each of the 9 points is needed, got shape \(3,\)"):
        neighbours.count_within(np.zeros((9, 2)), np.ones(3))
