"""Substitutions: at their rate, to every other residue alike, nested, and the same however they are read."""

import itertools

import anndata
import numpy as np
import pytest

from sclaws.residues import GAP, PADDING, UNKNOWN
from sclaws.substitution import Substitute, total_rate
from sclaws.view import View

N, P = 1000, 120


def read(view, rate, seed=0):
    return view.corrupt(Substitute(rate, seed)).to_adata().X


@pytest.fixture(scope="module")
def view():
    rng = np.random.default_rng(0)
    return View.of(anndata.AnnData(rng.integers(0, 20, (N, P)).astype(np.int8)))


@pytest.mark.parametrize("rate", [1e-4, 0.05, 0.5, 1.0])
def test_residues_are_substituted_at_the_rate(view, rate):
    found, before = read(view, rate), view.to_adata().X
    assert found.dtype == np.int8
    assert abs((found != before).mean() - rate) <= 5 * np.sqrt(rate * (1 - rate) / (N * P))


def test_the_other_nineteen_are_equally_likely(view):
    found, before = read(view, 0.5), view.to_adata().X
    changed = found != before
    pairs = np.zeros((20, 20))
    np.add.at(pairs, (before[changed], found[changed]), 1)
    assert (pairs.diagonal() == 0).all()
    expected = pairs.sum(axis=1, keepdims=True) / 19
    chi2 = ((pairs - expected) ** 2 / expected)[~np.eye(20, dtype=bool)].sum()
    assert abs(chi2 - 360) < 5 * np.sqrt(2 * 360)  # 20 x 18 degrees of freedom


def test_levels_are_nested_and_end_in_the_same_letter(view):
    before = view.to_adata().X
    rates = [read(view, rate) for rate in (0.01, 0.1, 0.6)]
    for low, high in itertools.pairwise(rates):
        changed = low != before
        assert (low[changed] == high[changed]).all()
    other = read(view, 0.1, seed=1)
    both = (other != before) & (rates[1] != before)
    assert abs(both.mean() - 0.01) < 5 * np.sqrt(0.01 / (N * P))  # another seed substitutes independently


def test_the_same_however_it_is_read(view):
    noisy = view.corrupt(Substitute(0.3, 7))
    whole = noisy.to_adata().X
    rows, features = np.random.default_rng(1).permutation(N)[:50], np.array([7, 3, 50])
    assert (noisy.take(rows).to_adata().X == whole[rows]).all()
    assert (noisy.choose(features).to_adata().X == whole[:, features]).all()
    assert (np.vstack([block.values for block in noisy.batches(37)]) == whole).all()


def test_what_is_no_amino_acid_stays():
    codes = np.array([[0, UNKNOWN, GAP, PADDING]] * 50, dtype=np.int8)
    view = View.of(anndata.AnnData(codes))
    found = read(view, 1.0)
    assert (found[:, 0] != 0).all()
    assert (found[:, 1:] == codes[:, 1:]).all()
    assert (view.to_adata().X == codes).all(), "the source was changed in place"


def test_rates_of_two_substitutions_add_up_as_observed(view):
    twice = view.corrupt(Substitute(0.4, 1)).corrupt(Substitute(0.5, 2)).to_adata().X
    expected = total_rate([0.4, 0.5])
    assert expected == pytest.approx(0.4 + 0.5 - 0.4 * 0.5 * 20 / 19)
    differs = (twice != view.to_adata().X).mean()
    assert abs(differs - expected) < 5 * np.sqrt(expected * (1 - expected) / (N * P))
    assert total_rate([0.123]) == 0.123
