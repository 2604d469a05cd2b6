import numpy as np
import pytest

from sclaws.scores import _nearest, _reliability

WHOLE = np.zeros(600, dtype=np.int64)


def related(rng, n, d, rho):
    x = rng.normal(size=(n, d))
    return x, rho * x + np.sqrt(1 - rho**2) * rng.normal(size=(n, d))


def test_the_matched_normal_has_the_same_covariances_and_the_unbiased_information():
    rng = np.random.default_rng(0)
    x, y = related(rng, 4000, 3, 0.8)
    x = x @ np.array([[1, 2, 0], [0, 1, 0], [0, 0.5, 3]])
    a, b, information = _reliability.matched_normal(x, y, rng)
    truth = -1.5 * np.log(1 - 0.64)
    assert information == pytest.approx(truth, abs=4 * np.sqrt(3 / 4000))
    both, drawn = np.cov(np.hstack([x, y]).T), np.cov(np.hstack([a, b]).T)
    np.testing.assert_allclose(drawn, both, atol=0.06 * np.sqrt(np.outer(np.diag(both), np.diag(both))).max())


def test_without_information_the_match_has_none_in_many_dimensions():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(500, 20)), rng.normal(size=(500, 20))
    plug_in = 20 * 20 / 2 / 500  # nats that sample correlations promise
    found = [_reliability.matched_normal(x, rng.permutation(y), rng)[2] for _ in range(20)]
    assert np.mean(found) < 0.15 * plug_in


def test_neighbours_miss_little_in_one_dimension_and_much_in_eight():
    rng = np.random.default_rng(2)
    for d, least, most in ((1, -0.05, 0.05), (8, 0.5, 4.0)):
        x, y = related(rng, 600, d, 0.8)
        short, whole = _reliability.missed(x, y, WHOLE, 3, 0)
        assert whole == pytest.approx(-0.5 * d * np.log(1 - 0.64), rel=0.15)
        assert least < short < most
        assert bool(_reliability.too_many_dimensions(whole - short, short, whole)) == (d == 8)
        assert not _reliability.too_many_dimensions(0.3 * (whole - short), short, whole)  # no match, no verdict


def test_given_back_what_is_missed_a_gaussian_is_estimated_without_bias():
    rng = np.random.default_rng(3)
    found = []
    for _ in range(20):
        x, y = related(rng, 600, 5, 0.7)
        terms = _nearest.kraskov(_nearest.spread(x, 1), _nearest.spread(y, 2), WHOLE, 3)
        found.append(terms.mean() + _reliability.missed(x, y, WHOLE, 3, 0)[0])
    truth = -2.5 * np.log(1 - 0.49)
    assert np.mean(found) == pytest.approx(truth, abs=3.5 * np.std(found) / np.sqrt(20) + 0.01)


def test_half_of_the_cells_see_less_where_there_are_too_few():
    rng = np.random.default_rng(4)
    said = []
    for d, n in ((1, 600), (6, 600)):
        x, y = related(rng, n, d, 0.9)
        left, right = _nearest.spread(x, 1), _nearest.spread(y, 2)
        terms = lambda part: _nearest.kraskov(left, right, part, 3)  # noqa: E731, B023
        said.append(_reliability.too_few_cells(terms, np.zeros(n, dtype=np.int64), 0))
    assert said[0][0] == ""
    assert said[1][0].startswith("too few cells: half of them see ") and said[1][1] > 0.1


def test_shuffled_partners_share_nothing():
    x, y = related(np.random.default_rng(5), 600, 2, 0.99)
    said, null = _reliability.sees_what_is_not_there(x, y, WHOLE, 3, 0)
    assert said == "" and abs(null) < 0.1


def test_the_scan_levels_off_at_the_number_of_shared_dimensions():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(2000, 6)), rng.normal(size=(2000, 6))
    y[:, :2] = 0.9 * x[:, :2] + np.sqrt(1 - 0.81) * y[:, :2]
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    found = _reliability.scan(x @ turn, y, np.zeros(2000, dtype=np.int64), 3)
    each = -0.5 * np.log2(1 - 0.81)
    assert list(found.bits) == [1, 2, 4, 6] and found.effective == 2
    assert found.bits[1] == pytest.approx(each, abs=0.15)
    assert found.bits[2] == pytest.approx(2 * each, abs=0.25)
    assert found.bits[4] < found.bits[2] + 0.05


def test_a_scan_of_less_than_nothing_has_one_dimension():
    assert _reliability.Scan(np.zeros((5, 2)), np.zeros((5, 2)), {1: -0.02, 2: -0.03}).effective == 1
