from types import SimpleNamespace

import numpy as np
import pytest

from sclaws import multiplier, testing
from sclaws.errors import ScoreError
from sclaws.hashing import name_ids
from sclaws.scores.heldout_loss import HeldoutLoss

N = 400
VIEW = SimpleNamespace(n_obs=N, cell_ids=name_ids(f"cell{i}" for i in range(N)))
DIFFICULTY = np.random.default_rng(0).gamma(4, 0.5, size=N)  # cells differ far more than models do
GAIN = np.random.default_rng(1).normal(0.3, 0.1, size=N)


class Bare:
    def embed(self, view):
        return np.zeros((view.n_obs, 2))


class Lossy(Bare):
    loss_measure = "counting measure"

    def losses(self, view, *, seed):
        return DIFFICULTY


class WithBaseline(Lossy):
    def baseline_losses(self, view, *, seed):
        return DIFFICULTY + GAIN


def score(trained, view=VIEW, **how):
    probe = SimpleNamespace(view=view, trained=trained, genes=lambda n: view.feature_names[:n])
    return HeldoutLoss(**how)(probe, seed=0)


def test_the_loss_is_the_mean_over_cells_with_its_textbook_interval():
    found = score(Lossy())
    assert list(found) == ["loss"]
    loss = found["loss"]
    assert loss.value == pytest.approx(DIFFICULTY.mean())
    assert loss.stderr == pytest.approx(DIFFICULTY.std(ddof=1) / 20)
    assert loss.high - loss.low == pytest.approx(2 * 1.96593 * loss.stderr, rel=1e-5)  # t(.975, 399)
    assert (loss.unit, loss.n, loss.verdict, loss.details["measure"]) == ("bits/gene", N, "ok", "counting measure")


def test_the_gain_is_paired_by_cell_and_so_far_sharper_than_the_losses():
    gain, loss = (score(WithBaseline())[name] for name in ("gain", "loss"))
    assert gain.value == pytest.approx(GAIN.mean())
    assert gain.stderr == pytest.approx(GAIN.std(ddof=1) / 20)
    assert gain.stderr < 0.2 * loss.stderr
    assert loss.details["baseline"] == pytest.approx((DIFFICULTY + GAIN).mean())
    assert gain.details["baseline"] == 0


def test_draws_are_those_of_the_cells():
    np.testing.assert_allclose(
        score(Lossy())["loss"].draws, multiplier.draws(DIFFICULTY, VIEW.cell_ids) * np.sqrt(N / (N - 1))
    )


def test_a_model_without_losses_is_named():
    with pytest.raises(
        ScoreError, match=r"Bare has no losses\(view, seed=...\): 'heldout-loss' needs a model that has"
    ):
        score(Bare())


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (np.zeros(3), r"Broken.losses returned shape \(3,\) for 400 cells"),
        (np.zeros((N, 2)), r"Broken.losses returned shape \(400, 2\)"),
        (np.where(np.arange(N) == 5, np.nan, 1.0), "Broken.losses: 1 losses are not finite, first nan in row 5"),
    ],
)
def test_losses_that_are_not_one_finite_number_a_cell_are_refused(losses, message):
    class Broken(Bare):
        def losses(self, view, *, seed):
            return losses

    with pytest.raises(ScoreError, match=message):
        score(Broken())


def test_one_cell_has_no_interval():
    view = SimpleNamespace(n_obs=1, cell_ids=VIEW.cell_ids[:1])

    class One(Bare):
        def losses(self, view, *, seed):
            return np.ones(1)

    with pytest.raises(ScoreError, match=r"shape \(1,\) for 1 cells: one loss each, and two cells, needed"):
        score(One(), view)


class ByGene(Bare):
    """Every gene has a loss of its own, and the baseline's is one bit more."""

    def losses(self, view, *, seed, genes=None):
        values = testing.cells.values(view)
        at = slice(None) if genes is None else view.feature_names.get_indexer(genes)
        return values[:, at].mean(axis=1)

    def baseline_losses(self, view, *, seed, genes=None):
        return 1 + self.losses(view, seed=0, genes=genes)


def test_the_loss_of_some_genes_is_asked_for_by_their_names():
    view = testing.counts(60)
    found = score(ByGene(), view, n_genes=9)
    assert found["loss"].value == pytest.approx(testing.cells.values(view)[:, :9].mean())
    assert found["loss"].details["baseline"] == pytest.approx(1 + found["loss"].value)
    assert found["gain"].value == pytest.approx(1)
    assert (found["loss"].details["n_genes"], score(ByGene(), view)["loss"].details["n_genes"]) == (9, "all")
    assert score(ByGene(), view)["loss"].value == pytest.approx(testing.cells.values(view).mean())


def test_a_model_that_cannot_be_asked_for_genes_is_named():
    with pytest.raises(ScoreError, match=r"Lossy.losses takes no genes=..., so it cannot be scored on 9 genes"):
        score(Lossy(), SimpleNamespace(n_obs=N, cell_ids=VIEW.cell_ids, feature_names=np.arange(20)), n_genes=9)
    with pytest.raises(ScoreError, match="n_genes = 0 must be at least 1"):
        HeldoutLoss(n_genes=0)


class ByDonor(Bare):
    """Cells of a donor have one loss: 16 cells know no more than 8 donors."""

    def losses(self, view, *, seed):
        return np.random.default_rng(3).gamma(4, size=8)[view.obs["donor"].astype(str).str[1:].astype(int)]


def test_the_interval_is_over_groups():
    view = testing.counts(240)
    found, naive = score(ByDonor(), view, group="donor")["loss"], score(ByDonor(), view)["loss"]
    assert found.value == naive.value
    assert found.stderr == pytest.approx(np.random.default_rng(3).gamma(4, size=8).std(ddof=1) / np.sqrt(8))
    half = found.stderr * 2.364624  # t(.975, 7)
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), rel=1e-6)
    assert found.stderr > 4 * naive.stderr
    assert (found.verdict, HeldoutLoss(group="donor").by, HeldoutLoss().by) == ("ok", "donor", None)


def test_cells_of_no_group_are_left_out_and_few_groups_are_no_spread():
    view = testing.counts(240)
    view.source.adata.obs["donor"] = view.obs["donor"].astype(object).where(np.arange(240) >= 24, None)
    view.source.adata.obs["batch"] = ["a", "b", "c"] * 80
    assert score(ByDonor(), view, group="donor")["loss"].n == 216
    few = score(ByGene(), view, group="batch")["loss"]
    assert few.verdict == "interval over cells: only 3 groups"
    assert few.stderr == pytest.approx(score(ByGene(), view)["loss"].stderr)
    with pytest.raises(ScoreError, match="obs has no column 'doner'; did you mean 'donor'"):
        score(ByGene(), view, group="doner")


def test_it_says_that_it_needs_the_model():
    assert HeldoutLoss.needs == "model"
