import math

import numpy as np
import pytest
import scipy.stats
from scipy import sparse

from sclaws import bits
from sclaws.models import _likelihoods
from sclaws.models._likelihoods import FLOOR, OUTPUTS, as_bits, constants, nats

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
N = 300
LIBRARY = RNG.uniform(50, 5000, N)
COUNT = RNG.poisson(LIBRARY * 0.01).astype(float)
VALUE = np.log1p(1e4 * COUNT / LIBRARY)
OUT = RNG.normal(0, 1, size=(N, 2))
KNOWN = {
    "nb": {"share": RNG.uniform(1e-3, 0.03, N), "dispersion": RNG.uniform(0.05, 3, N)},
    "gaussian": {"mean": RNG.uniform(0, 4, N), "variance": RNG.uniform(0, 2, N)},
    "mse": {"mean": RNG.uniform(0, 4, N), "variance": RNG.uniform(0, 2, N)},
}


def tensors(*arrays):
    return [torch.from_numpy(np.asarray(a)) for a in arrays]


def found(likelihood, out, known=None):
    known = {n: torch.from_numpy(c) for n, c in (known or KNOWN[likelihood]).items()}
    return nats(likelihood, torch.as_tensor(out)[..., : OUTPUTS[likelihood]], *tensors(COUNT, VALUE, LIBRARY), known)


def test_a_negative_binomial_is_ours_and_scipys():
    known = KNOWN["nb"]
    mu = LIBRARY * known["share"] * np.exp(OUT[:, 0])
    dispersion = known["dispersion"] * np.exp(OUT[:, 1])
    got = found("nb", OUT).numpy()
    np.testing.assert_allclose(as_bits("nb", got, 1.0), bits.negative_binomial(COUNT, mu, dispersion), rtol=1e-9)
    r = 1 / dispersion
    np.testing.assert_allclose(got, -scipy.stats.nbinom.logpmf(COUNT, r, r / (r + mu)), rtol=1e-8)


def test_a_gaussian_is_scipys():
    known = KNOWN["gaussian"]
    sd = np.sqrt(FLOOR + known["variance"] * np.exp(OUT[:, 1]))
    expected = -scipy.stats.norm.logpdf(VALUE, known["mean"] + OUT[:, 0], sd)
    np.testing.assert_allclose(found("gaussian", OUT).numpy(), expected, rtol=1e-10)
    got = as_bits("gaussian", found("gaussian", OUT), 123.0).numpy()  # its variance is its own
    np.testing.assert_allclose(got, expected / math.log(2), rtol=1e-10)


def test_squared_errors_in_bits_are_the_entropy_of_a_gaussian_on_average():
    errors = found("mse", OUT).numpy()
    np.testing.assert_allclose(errors, (VALUE - KNOWN["mse"]["mean"] - OUT[:, 0]) ** 2)
    mse = errors.mean()
    assert as_bits("mse", errors, mse).mean() == pytest.approx(0.5 * math.log2(2 * math.pi * math.e * mse), rel=1e-12)
    for other in (0.5 * mse, 2 * mse):  # and with any other variance they are more
        assert as_bits("mse", errors, other).mean() > as_bits("mse", errors, mse).mean()
    one = as_bits("mse", errors[:1], mse)[0]
    assert one == pytest.approx(-scipy.stats.norm.logpdf(math.sqrt(errors[0]), 0, math.sqrt(mse)) / math.log(2))


def test_paper_as_floor_in_bits():
    """Its c = 1.443758 is 2.312 bits (SCIENCE, "Bits per gene")."""
    assert as_bits("mse", np.array(1.443758), 1.443758) == pytest.approx(2.312, abs=5e-4)


@pytest.mark.parametrize("likelihood", OUTPUTS)
def test_no_outputs_are_the_baseline(likelihood):
    counts = sparse.csr_matrix(RNG.negative_binomial(2, 0.3, size=(N, 12)).astype(np.float32))
    library = np.asarray(counts.sum(axis=1), dtype=float).ravel() + 100
    known = constants(likelihood, counts, library)
    dense = counts.toarray().astype(float)
    values = np.log1p(1e4 * dense / library[:, None])
    got = nats(
        likelihood, torch.zeros(N, 12, OUTPUTS[likelihood]), *tensors(dense, values, library[:, None]),
        {n: torch.from_numpy(c) for n, c in known.items()},
    ).numpy()  # fmt: skip
    if likelihood == "nb":
        expected = bits.gene_means(counts, library).losses(counts, library)
        np.testing.assert_allclose(got.mean(axis=1) / math.log(2), expected, rtol=1e-8)
    elif likelihood == "gaussian":
        sd = np.sqrt(values.var(axis=0) + FLOOR)
        np.testing.assert_allclose(got, -scipy.stats.norm.logpdf(values, values.mean(axis=0), sd), rtol=1e-8)
    else:
        np.testing.assert_allclose(got.mean(axis=0), values.var(axis=0), rtol=1e-8)


@pytest.mark.parametrize("likelihood", OUTPUTS)
@pytest.mark.parametrize("extreme", [-1e4, -16.0, -14.9, 0.0, 14.9, 16.0, 1e4])
def test_losses_and_gradients_stay_finite(likelihood, extreme):
    known = {n: np.where(np.arange(N) % 3, c, 1e-4 if n != "mean" else 0.0) for n, c in KNOWN[likelihood].items()}
    for other in (-extreme, extreme, 0.0):
        out = torch.tensor([[extreme, other]], dtype=torch.float32).repeat(N, 1).requires_grad_()
        losses = found(likelihood, out, known)
        losses.mean().backward()
        assert torch.isfinite(losses).all()
        assert torch.isfinite(out.grad).all()


def test_a_gene_that_is_never_seen_costs_a_finite_number_of_bits():
    counts = sparse.csr_matrix(np.r_[[[0.0, 3.0]], np.ones((5, 1)) * [[0.0, 2.0]]].astype(np.float32))
    for likelihood in OUTPUTS:
        known = {n: torch.from_numpy(c) for n, c in constants(likelihood, counts, np.full(6, 5.0)).items()}
        one = torch.ones(2, dtype=torch.float64)
        got = nats(likelihood, torch.zeros(2, OUTPUTS[likelihood]), one, one * np.log1p(2000), one * 5, known)
        assert torch.isfinite(got).all()


def test_every_likelihood_names_its_measure():
    assert _likelihoods.MEASURE.keys() == OUTPUTS.keys()
    assert len(set(_likelihoods.MEASURE.values())) == 3
