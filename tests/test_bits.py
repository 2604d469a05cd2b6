import numpy as np
import pytest
from scipy import optimize, sparse, stats

from sclaws import bits
from sclaws.errors import DataError


def simulate(dispersion, *, cells, mean=2.0, seed=0):
    """Negative binomial counts (cells, genes) of the given dispersions, then two steady genes that make the total."""
    rng = np.random.default_rng(seed)
    depth = rng.lognormal(0, 0.4, size=(cells, 1))
    rates = rng.gamma(1 / np.asarray(dispersion), np.asarray(dispersion), size=(cells, len(dispersion)))
    steady = rng.poisson(20_000 * depth * np.ones(2))
    return sparse.csr_matrix(np.hstack([rng.poisson(mean * depth * rates), steady]).astype(np.float32))


@pytest.mark.parametrize("dispersion", [1e-4, 0.03, 1.0, 40.0])
@pytest.mark.parametrize("mean", [1e-4, 0.3, 12.0, 900.0])
def test_negative_binomial_agrees_with_scipy(mean, dispersion):
    x = np.array([0, 1, 2, 7, 60, 1000])
    r = 1 / dispersion
    ours = bits.negative_binomial(x, mean, dispersion)
    np.testing.assert_allclose(ours, -stats.nbinom.logpmf(x, r, r / (r + mean)) / np.log(2), rtol=1e-9, atol=1e-9)


def test_negative_binomial_is_a_probability():
    x = np.arange(4000)
    assert np.sum(2 ** -bits.negative_binomial(x, 15.0, 0.8)) == pytest.approx(1, abs=1e-12)


def test_a_mean_of_zero_allows_zero_alone():
    assert bits.negative_binomial(0, 0.0, 1.0) == 0
    assert bits.negative_binomial(1, 0.0, 1.0) == np.inf


def test_losses_of_the_sparse_sum_are_those_of_the_dense_one(monkeypatch):
    counts = simulate([0.1, 0.5, 2.0, 9.0], cells=50)
    means = bits.gene_means(counts)
    totals = counts.toarray().sum(axis=1, keepdims=True)
    dense = bits.negative_binomial(counts.toarray(), totals * means.share, means.dispersion).mean(axis=1)
    np.testing.assert_allclose(means.losses(counts), dense, rtol=1e-10)
    monkeypatch.setattr(bits, "_BLOCK", 7)  # many blocks
    np.testing.assert_allclose(means.losses(counts), dense, rtol=1e-10)


def test_shares_are_molecules_over_molecules_with_half_a_molecule_each():
    counts = sparse.csr_matrix(np.array([[3, 0, 1], [4, 0, 0]], dtype=np.float32))
    np.testing.assert_allclose(bits.gene_means(counts).share, np.array([7.5, 0.5, 1.5]) / 9.5)


def test_totals_of_the_whole_transcriptome_make_shares_of_it():
    """A total may count other genes, too: mean = total x share, and shares sum to less than 1."""
    counts = simulate([0.1, 0.5, 2.0, 9.0], cells=3000)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    some = bits.gene_means(counts[:, :4], totals)
    np.testing.assert_allclose(some.share, np.asarray(counts[:, :4].sum(axis=0)).ravel() / totals.sum(), rtol=1e-3)
    assert some.share.sum() < 0.01
    np.testing.assert_allclose(some.dispersion, bits.gene_means(counts).dispersion[:4], rtol=0.05)
    dense = counts[:, :4].toarray()
    expected = bits.negative_binomial(dense, totals[:, None] * some.share, some.dispersion).mean(axis=1)
    np.testing.assert_allclose(some.losses(counts[:, :4], totals), expected, rtol=1e-10)
    assert not np.allclose(some.losses(counts[:, :4]), expected)


def test_own_totals_said_aloud_change_nothing():
    counts = simulate([0.1, 0.5, 2.0, 9.0], cells=50)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    said, unsaid = bits.gene_means(counts, totals), bits.gene_means(counts)
    assert said.share.tobytes() == unsaid.share.tobytes() and said.dispersion.tobytes() == unsaid.dispersion.tobytes()
    assert said.losses(counts, totals).tobytes() == unsaid.losses(counts).tobytes()


def test_losses_of_some_genes_are_their_share_of_the_loss_of_all():
    counts = simulate([0.1, 0.5, 2.0, 9.0], cells=50)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    means = bits.gene_means(counts)
    one, rest = np.array([1, 4]), np.array([0, 2, 3, 5])
    parts = [means.of(at).losses(counts[:, at], totals) * len(at) for at in (one, rest)]
    np.testing.assert_allclose(sum(parts), means.losses(counts) * 6, rtol=1e-10)


@pytest.mark.parametrize("totals", [np.ones(3), np.zeros(10)])
def test_totals_below_what_is_there_are_refused(totals):
    with pytest.raises(DataError, match="totals have shape .* for 10 cells, or are less than"):
        bits.gene_means(sparse.csr_matrix(np.ones((10, 3), dtype=np.float32)), totals)


def test_dispersions_are_recovered_from_many_cells():
    truth = np.repeat([0.05, 0.3, 1.0, 4.0], 25)
    fitted = bits.gene_means(simulate(truth, cells=8000)).dispersion[:100]
    for value in np.unique(truth):
        np.testing.assert_allclose(np.median(fitted[truth == value]), value, rtol=0.1)


def test_dispersion_is_the_maximum_of_the_likelihood_that_a_scalar_search_finds():
    counts = simulate(np.full(20, 0.7), cells=4000, seed=3)
    means = bits.gene_means(counts)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    for gene in (0, 7):
        x, mu = counts[:, gene].toarray().ravel(), totals * means.share[gene]
        best = optimize.minimize_scalar(
            lambda log, x=x, mu=mu: bits.negative_binomial(x, mu, np.exp(log)).sum(), bounds=(-7, 5), method="bounded"
        )
        assert means.dispersion[gene] == pytest.approx(np.exp(best.x), rel=0.02)  # the weak prior and 64 bins


def test_a_gene_unseen_in_training_has_a_finite_loss_and_poisson_noise_is_no_crash():
    rng = np.random.default_rng(0)
    train = rng.poisson(3.0, size=(200, 5)).astype(np.float32)
    train[:, 4] = 0
    means = bits.gene_means(sparse.csr_matrix(train))
    test = sparse.csr_matrix(np.array([[3, 2, 4, 1, 5], [0, 0, 0, 0, 0]], dtype=np.float32))
    losses = means.losses(test)
    assert np.isfinite(losses).all()
    assert losses[1] == 0  # a cell without molecules holds no surprise, given its total
    assert losses[0] < 20


def test_no_molecule_at_all_is_an_error():
    with pytest.raises(DataError, match="10 training cells have no molecule on these 3 genes"):
        bits.gene_means(sparse.csr_matrix((10, 3), dtype=np.float32))


def test_on_real_counts_the_dispersions_beat_poisson_and_moments(shared):
    import anndata

    counts = anndata.read_h5ad(shared / "data" / "worm_embryo.h5ad").X.tocsr()[:, :3000]
    counts = counts[np.random.default_rng(0).permutation(counts.shape[0])]
    train, test = counts[:1400], counts[1400:]
    fitted = bits.gene_means(train)
    x, totals = train.toarray(), train.toarray().sum(axis=1, keepdims=True)
    mu = totals * fitted.share
    moments = np.clip((((x - mu) ** 2 - mu).sum(axis=0)) / (mu**2).sum(axis=0), 1e-4, 1e3)
    poisson = np.full_like(moments, 1e-6)
    loss = {
        name: bits.GeneMeans(fitted.share, d).losses(test).mean()
        for name, d in {"fitted": fitted.dispersion, "moments": moments, "poisson": poisson}.items()
    }
    assert loss["fitted"] < loss["moments"] < loss["poisson"]


@pytest.mark.parametrize("size", [7, 64, 1000])
@pytest.mark.parametrize("whole", [False, True])
def test_blocks_of_any_size_give_the_same_means(size, whole):
    counts = simulate([0.1, 0.5, 2.0, 9.0], cells=300)
    totals = np.asarray(counts.sum(axis=1)).ravel() + 50.0 if whole else None
    blocks = [counts[start : start + size] for start in range(0, 300, size)]
    one, other = bits.gene_means_of_blocks(lambda: iter(blocks), 6, totals), bits.gene_means(counts, totals)
    assert one.share.tobytes() == other.share.tobytes() and one.dispersion.tobytes() == other.dispersion.tobytes()
