"""The mixture over σ and ρ: textbook intervals where they exist, and the likelihood of the covariance it stands for."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sclaws.fit import fit
from sclaws.fit.curves import Points, Reading, numbered, stack
from sclaws.fit.scatter import RHO, SPACING, _quantile, scatter
from sclaws.laws.noise import Noise
from sclaws.table import Table

LEVELS, REPLICATES = 8, 3
X = np.tile(np.arange(1.0, LEVELS + 1), REPLICATES)
CODES = np.repeat(np.arange(REPLICATES), LEVELS)
DESIGN = np.column_stack([np.ones(len(X)), X])


def curves(y, sampling=None, replicate=True):
    codes = CODES if replicate else None
    some = [Points(X[:, None], row, numbered(X), codes, sampling) for row in np.atleast_2d(y)]
    return stack(some, Reading(["u"]))


def residuals(y):
    return y - y @ np.linalg.pinv(DESIGN).T @ DESIGN.T


def found(y, **how):
    made = curves(y, **how)
    return scatter(made, residuals(np.atleast_2d(y)), np.broadcast_to(DESIGN, (len(made.y), *DESIGN.shape)))


def test_without_replicates_it_is_students_t():
    y = np.random.default_rng(0).standard_normal((5, len(X)))
    linear = np.linalg.pinv(DESIGN)
    half = found(y, replicate=False).half_width(np.broadcast_to(linear, (5, 2, len(X))))
    s2 = (residuals(y) ** 2).sum(axis=1) / (len(X) - 2)
    textbook = stats.t.ppf(0.975, len(X) - 2) * np.sqrt(s2[:, None] * (linear**2).sum(axis=1))
    np.testing.assert_allclose(half, textbook, rtol=0.01)


def restricted(got, k, r, known):
    """The restricted log-likelihood of one covariance of the grid, from its definition."""
    mixture = (1 - got.rho[k]) * np.eye(len(X)) + got.rho[k] * (CODES[:, None] == CODES)
    covariance = got.sigma2[0, k] * mixture + known
    inverse, basis = np.linalg.inv(covariance), DESIGN / np.sqrt((DESIGN**2).sum(axis=0))
    hessian, pull = basis.T @ inverse @ basis, basis.T @ inverse @ r
    full = stats.multivariate_normal(np.zeros(len(X)), covariance).logpdf(r)
    return full - 0.5 * (np.linalg.slogdet(hessian)[1] - pull @ np.linalg.solve(hessian, pull))


@pytest.mark.parametrize("size", [0.0, 0.3])
def test_weights_are_restricted_likelihoods_times_the_spacing(size):
    y = np.random.default_rng(1).standard_normal(len(X))
    root = np.random.default_rng(2).standard_normal((len(X), len(X)))
    known = size * root @ root.T / len(X)
    got = found(y, sampling=known if size else None)
    at = {k: restricted(got, k, residuals(y[None])[0], known) for k in (3 * 41 + 20, 3 * 41 + 23, 8 * 41 + 19)}
    spacing = {k: SPACING[k % 41] for k in at}
    first, *others = at
    for k in others:
        ratio = np.log(got.weight[0, k] / got.weight[0, first]) - np.log(spacing[k] / spacing[first])
        assert ratio == pytest.approx(at[k] - at[first], rel=1e-4)


def test_the_quantile_of_a_mixture():
    weight, scale = np.array([0.3, 0.7]), np.array([1.0, 4.0])
    half = _quantile(weight, scale, None)
    assert (weight * stats.norm.sf(half / scale)).sum() == pytest.approx(0.025, rel=1e-6)
    freedom = np.array([64.0, 200.0])
    half = _quantile(weight, scale, freedom)
    assert (weight * stats.t.sf(half / scale, freedom)).sum() == pytest.approx(0.025, rel=2e-3)


def test_the_prior_of_rho_is_the_arcsine():
    """Equal steps of the grid hold equal shares of Beta(½, ½)."""
    shares = stats.beta(0.5, 0.5).cdf(RHO)
    np.testing.assert_allclose(np.diff(shares), 1 / len(RHO), rtol=1e-9)


def test_noise_has_the_covariance_it_was_drawn_from():
    y = np.random.default_rng(3).standard_normal(len(X))
    got = found(y)
    draws = got.noise([np.random.default_rng(4)], 40_000)[0]
    mixed = got.weight[0] * got.sigma2[0]
    assert draws.var(axis=0) == pytest.approx(mixed.sum(), rel=0.06)
    shared = np.mean(draws[:, 0] * draws[:, 1])
    assert shared == pytest.approx((mixed * got.rho).sum(), rel=0.15)
    assert abs(np.mean(draws[:, 0] * draws[:, LEVELS])) < 0.05 * mixed.sum()


def test_a_misfit_that_all_replicates_share_does_not_pass_for_their_scatter():
    """Points off the law in the same way in every replicate say nothing of how replicates differ.

    Shifts of −.03, 0 and .03 bits alone leave the ceiling uncertain by t(.975, 2)·.03/√3 = .075 bits. A random effect
    that may explain the misfit, too, would find shifts of .2 bits, and a ceiling that is not known to .2.
    """
    depth = np.geomspace(40, 1500, 7)
    law = {"i_max": 2.0, "u_bar": 300.0}
    misfit = 0.04 * np.array([1.0, 0.5, -0.5, -1.0, -0.5, 0.0, 0.5])
    rng = np.random.default_rng(0)
    rows = [
        pd.DataFrame({"u": depth, "y": Noise().predict({"depth": depth}, law) + misfit + shift, "replicate": k})
        for k, shift in enumerate((-0.03, 0.0, 0.03))
    ]
    table = pd.concat(rows, ignore_index=True)
    table["y"] += rng.normal(0, 0.008, len(table))
    one = fit(table, Noise(), x="u", y="y", replicate="replicate")[0]
    half = (one.high["i_max"] - one.low["i_max"]) / 2
    assert 0.04 < half < 1.5 * 0.075


def test_replicates_whose_points_are_equal_have_a_fit_beside_known_errors():
    """A random projection trained on ever fewer molecules: one value a replicate, whatever the depth."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"u": [29.75, 29.88, 30.26, 2007.7, 2009.6, 2004.3], "rep": [2, 1, 0, 1, 2, 0]})
    value = np.array([0.264, 0.171, 0.303])
    frame = frame.assign(metric="information", run=list("abcdef"), value=value[frame["rep"]])
    shared = 0.04 * rng.standard_normal((3, 64))[frame["rep"]]
    table = Table(frame, pd.DataFrame(shared, index=pd.MultiIndex.from_frame(frame[["run", "metric"]])))
    assert fit(table, Noise(), "u", replicate="rep")[0].verdict.startswith(("flat", "underpowered"))
