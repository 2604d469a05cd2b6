import numpy as np
import pytest

from sclaws.datasets.simulated_tissue import Genes, SimulatedTissue
from sclaws.errors import PluginError
from sclaws.thinning import Thin
from sclaws.view import View


def gaussian_information(x, y):
    """Closed form from log-determinants, in bits, less the leading bias dx·dy/(2n) nats."""
    both = np.cov(np.hstack([x, y]).T)
    d = x.shape[1]
    log_det = [np.linalg.slogdet(part)[1] for part in (both[:d, :d], both[d:, d:], both)]
    return (0.5 * (log_det[0] + log_det[1] - log_det[2]) - d * y.shape[1] / (2 * len(x))) / np.log(2)


@pytest.mark.parametrize(("d", "proteins", "noise"), [(1, 4, 0.25), (2, 3, 0.5), (3, 3, 1.0)])
def test_the_proteins_hold_the_stated_information_about_the_state(d, proteins, noise):
    adata = SimulatedTissue(
        n_cells=30_000, n_genes=40, n_programmes=d, n_proteins=proteins, noise=noise, depth=10
    ).load()
    measured = gaussian_information(adata.obsm["state"], adata.obsm["protein"])
    truth = adata.uns["truth"]
    assert truth["protein_information"] == pytest.approx(d / 2 * np.log2(1 + noise**-2))
    # each canonical pair has a standard error of at most 1/sqrt(n) nats
    assert measured == pytest.approx(truth["protein_information"], abs=4 * np.sqrt(d / 30_000) / np.log(2))


def test_the_label_is_known_from_the_state_and_has_its_stated_entropy():
    adata = SimulatedTissue(n_cells=20_000, n_genes=60, n_types=5, depth=10).load()
    state = adata.obsm["state"][:, 1:]
    from_state = np.where(state.any(axis=1), state.argmax(axis=1) + 1, 0)
    np.testing.assert_array_equal(adata.obs["cell_type"].cat.codes, from_state)
    shares = np.bincount(from_state) / 20_000
    assert adata.uns["truth"]["label_information"] == np.log2(5)
    assert -(shares * np.log2(shares)).sum() == pytest.approx(np.log2(5), abs=0.005)


def test_programmes_are_orthogonal_over_molecules_to_types_and_to_depth():
    adata = SimulatedTissue(n_cells=100, n_programmes=2, depth=50).load()
    share = np.exp(adata.var["log_base"].to_numpy())
    share /= share.sum()
    w = adata.varm["programmes"]
    np.testing.assert_allclose(w.T @ (share[:, None] * w), 0.3**2 * np.eye(2), atol=1e-12)
    np.testing.assert_allclose(share @ w, 0, atol=1e-12)
    np.testing.assert_allclose(w.T @ (share[:, None] * adata.varm["types"]), 0, atol=1e-12)


def test_depth_and_its_spread_are_as_asked():
    adata = SimulatedTissue(n_cells=20_000, n_genes=50, depth=400, depth_sd=0.5).load()
    totals = np.asarray(adata.X.sum(axis=1)).ravel()
    assert totals.mean() == pytest.approx(400, rel=4 * 0.53 / np.sqrt(20_000))
    assert np.log(adata.obs["depth"]).std() == pytest.approx(0.5, abs=0.01)
    assert np.corrcoef(totals, adata.obs["depth"])[0, 1] > 0.99


def posterior_means(adata, counts, grid):
    """The ideal observer: E[s | counts] with everything known but type and activity, by summing over a grid of s."""
    genes = Genes(adata.var["log_base"].to_numpy(), adata.varm["types"], adata.varm["programmes"])
    n_types = adata.varm["types"].shape[1]
    log_posterior = np.stack(
        [
            counts @ np.log(genes.shares(np.full(len(grid), kind), grid[:, None])).T - grid**2 / 2
            for kind in range(n_types)
        ]
    )
    weight = np.exp(log_posterior - log_posterior.max(axis=(0, 2), keepdims=True))
    return (weight.sum(axis=0) @ grid) / weight.sum(axis=(0, 2))


@pytest.mark.parametrize("depth", [2000, 600, 200, 60])
def test_an_ideal_observer_follows_the_noise_law_of_the_truth(depth):
    adata = SimulatedTissue(n_cells=4000, seed=5).load()
    view = View.of(adata).corrupt(Thin.keep(depth / 2000, seed=1)) if depth < 2000 else View.of(adata)
    estimate = posterior_means(adata, view.to_adata().X, np.linspace(-5, 5, 401))
    measured = gaussian_information(estimate[:, None], adata.obsm["protein"])
    i_max, u_bar = adata.uns["truth"]["i_max"], adata.uns["truth"]["u_bar"]
    law = i_max - 0.5 * np.log2((1 + depth / u_bar) / (depth / u_bar + 2 ** (-2 * i_max)))
    # "a few hundredths of a bit" of approximation, and the sampling error of 4,000 cells (.02 bits a sigma)
    assert measured == pytest.approx(law, abs=0.05 + 3 / np.sqrt(4000) / np.log(2))


def test_the_default_puts_u_bar_inside_the_depths_that_can_be_simulated():
    truth = SimulatedTissue(n_cells=500).load().uns["truth"]
    assert 100 < truth["u_bar"] < 300
    assert truth["i_max"] == truth["protein_information"]


def test_same_seed_same_tissue_other_seed_other_cells():
    one, again, other = (SimulatedTissue(n_cells=50, seed=s).load() for s in (1, 1, 2))
    np.testing.assert_array_equal(one.X.toarray(), again.X.toarray())
    np.testing.assert_array_equal(one.obsm["protein"], again.obsm["protein"])
    assert not set(one.obs_names) & set(other.obs_names)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"n_cells": 0}, "n_cells = 0 must be above 0"),
        ({"n_programmes": 5}, "4 proteins cannot show 5 programmes"),
        ({"n_genes": 6}, "n_genes = 6 is too few, at least 10"),
    ],
)
def test_a_field_out_of_range_is_named(fields, says):
    with pytest.raises(PluginError, match=f"simulated-tissue: {says}"):
        SimulatedTissue(**fields)
