"""Every axis brings training cells to its level, nests its levels, and says what it cannot do."""

import anndata
import numpy as np
import pytest
from scipy import sparse

from sclaws.axes.n_cells import NCells
from sclaws.axes.n_genes import NGenes
from sclaws.axes.snr import Snr
from sclaws.axes.umis_per_cell import UmisPerCell
from sclaws.errors import DataError
from sclaws.testing import cells
from sclaws.view import View


@pytest.fixture
def view() -> View:
    rng = np.random.default_rng(0)
    adata = anndata.AnnData(sparse.csr_matrix(rng.poisson(np.geomspace(0.05, 8, 200), (400, 200)).astype(np.float32)))
    adata.obs_names, adata.var_names = [f"c{i}" for i in range(400)], [f"g{i}" for i in range(200)]
    return View.of(adata)


def test_cells_are_a_nested_prefix(view: View) -> None:
    small, large = (NCells().prepare(view, n, seed=5)(view) for n in (50, 300))
    assert (small.cell_ids == large.cell_ids[:50]).all()
    assert NCells().measure(large) == {"n_cells": 300.0}
    with pytest.raises(DataError, match="n_cells = 401 is not between 2 and the 400 training cells"):
        NCells().prepare(view, 401, seed=5)


@pytest.mark.parametrize("mode", ["per-molecule", "global", "per-gene-floor"])
def test_depth_is_reached_and_recipe_carries_over(view: View, mode: str) -> None:
    full = UmisPerCell().measure(view)["umis_per_cell"]
    recipe = UmisPerCell(mode).prepare(view, full / 4, seed=1)
    # five standard errors of a mean of binomials, and the floor's loss of at most one molecule a gene
    slack = 5 * np.sqrt(full / 4 / 400) + 200 / 400
    for some in (view, view.take(np.arange(200))):
        expected = some.totals.mean() / 4
        assert abs(UmisPerCell().measure(recipe(some))["umis_per_cell"] - expected) < slack
    with pytest.raises(DataError, match=r"umis_per_cell = 1e\+06 is not above 0 and within the"):
        UmisPerCell(mode).prepare(view, 1e6, seed=1)


def test_genes_are_nested_and_learned_on_training_cells_only(view: View) -> None:
    train, test = view.take(np.arange(200)), view.take(np.arange(200, 400))
    for by in ("random", "expressed"):
        small, large = (NGenes(by).prepare(train, n, seed=2)(test) for n in (20, 90))
        assert set(small.feature_names) < set(large.feature_names)
        assert NGenes(by).measure(large) == {"n_genes": 90.0}
    top = NGenes("expressed").prepare(train, 20, seed=2)(test)
    totals = np.asarray(train.to_adata().X.sum(axis=0)).ravel()
    assert set(top.feature_names) == set(train.feature_names[np.argsort(-totals)[:20]])
    with pytest.raises(DataError, match="n_genes = 201 is not between 1 and the 200 genes"):
        NGenes().prepare(view, 201, seed=0)


def test_snr_adds_noise_of_the_stated_variance() -> None:
    view = View.of(anndata.AnnData(np.zeros((500, 40), dtype=np.float32)))
    noisy = Snr().prepare(view, 4.0, seed=0)(view)
    assert Snr().measure(noisy) == {"snr": pytest.approx(4.0)}
    assert Snr().measure(noisy.materialise()) == {"snr": pytest.approx(4.0)}
    assert noisy.to_adata().X.var() == pytest.approx(0.25, rel=4 * np.sqrt(2 / 20000))
    assert Snr().measure(view) == {}
    with pytest.raises(DataError, match="dense whole numbers are codes; use the axis intact_odds for residues"):
        Snr().prepare(cells.sequences(), 4.0, seed=0)
    with pytest.raises(DataError, match="snr = 0 must be above 0"):
        Snr().prepare(view, 0.0, seed=0)
