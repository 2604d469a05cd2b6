import numpy as np
import pytest

from sclaws.hashing import mix
from sclaws.scores import _knn_graph
from sclaws.scores._clustered import HALVINGS, Clustering, Measured, _halves, per_class

IDS = mix(np.arange(240, dtype=np.uint64))


def measured(apart, ids=IDS, k=15):
    rng = np.random.default_rng(0)
    y = np.arange(240) % 3
    x = rng.normal(size=(240, 3)) + apart * np.eye(3)[y]
    return Clustering(k, (0.2, 0.5, 1.0), 0).measured(x, _knn_graph.neighbours(x, 90), y, ids)


def test_types_far_apart_agree_with_their_clusters_in_every_half():
    found, about = measured(30.0)
    for metric in found.values():
        assert metric.value == pytest.approx(1)
        assert metric.missed == pytest.approx(np.zeros(HALVINGS), abs=1e-12)
    assert about["n_clusters"] == 3


def test_where_types_touch_the_graph_adds_to_the_spread():
    found, _ = measured(2.5)
    assert 0.2 < found["nmi"].value < 0.95
    for name in ("nmi", "ari"):
        assert np.ptp(found[name].missed) > 0


def test_halves_share_no_unit_and_make_up_the_whole():
    ids = np.repeat(IDS[:60], 4)
    halves = list(_halves(ids))
    assert len(halves) == HALVINGS
    for half in halves:
        assert half.sum() == 120
        assert not set(ids[half]) & set(ids[~half])
    assert len({half.tobytes() for half in halves}) == HALVINGS


def test_units_that_lie_apart_are_halved_too():
    """Every one of a cell's 90 neighbours may then be in the other half: they are looked for anew."""
    rng = np.random.default_rng(1)
    donor = np.arange(240) % 2
    x = rng.normal(size=(240, 2)) + 100 * donor[:, None]
    y = rng.integers(2, size=240)
    ids = mix(np.where(rng.random(240) < 0.02, 2, donor).astype(np.uint64))
    found, _ = Clustering(15, (0.2,), 0).measured(x, _knn_graph.neighbours(x, 90), y, ids)
    assert all(np.isfinite(metric.missed).all() for metric in found.values())


def test_a_mean_of_metrics_is_the_mean_of_all_that_is_known_of_them():
    one = Measured(0.2, np.array([1.0, -1.0]), np.full(HALVINGS, 0.1))
    mean = Measured.mean([one, Measured.smooth(0.4, np.array([3.0, -3.0]))])
    assert mean.value == pytest.approx(0.3)
    assert mean.influence.tolist() == [2, -2]
    assert mean.missed == pytest.approx(np.full(HALVINGS, 0.05))


def test_the_mean_over_classes_weighs_classes_and_not_cells():
    values, label = np.array([1.0, 0.0, 0.0, 0.0, 1.0]), np.array([0, 0, 0, 0, 1])
    value, influence = per_class(values, label)
    assert value == pytest.approx((0.25 + 1) / 2)
    assert influence == pytest.approx(5 * np.array([0.75, -0.25, -0.25, -0.25, 0]) / 8)
