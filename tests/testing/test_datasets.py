"""Data sets that break one promise each, and are told so."""

import itertools
from dataclasses import dataclass
from typing import Any

import anndata
import numpy as np
import pytest
from scipy import sparse

from sclaws import testing


@dataclass
class Given:
    """Gives counts with one value in place of another, as sparse or dense values."""

    value: float = 3.0
    form: Any = sparse.csr_matrix

    def load(self):
        values = np.arange(20 * 6, dtype=np.float32).reshape(20, 6) % 5
        values[7, 2] = self.value
        return anndata.AnnData(self.form(values), uns={"truth": {"i_max": 1.5}})


@dataclass
class Restless(Given):
    """Gives another value at every load."""

    def __post_init__(self):
        self.values = itertools.count(1)

    def load(self):
        self.value = next(self.values)
        return super().load()


class Renamed(Restless):
    def load(self):
        self.value = 3.0
        adata = Given.load(self)
        adata.obs_names = [f"{next(self.values)}" for _ in range(20)]
        return adata


class Twice(Given):
    def load(self):
        adata = super().load()
        adata.obs_names = ["a"] * 20
        return adata


class Endless(Given):
    def load(self):
        adata = super().load()
        adata.uns["truth"]["u_bar"] = np.inf
        return adata


class Empty(Given):
    def load(self):
        return super().load()[:0]


class Bare(Given):
    def load(self):
        return super().load().X


@pytest.mark.parametrize("form", [sparse.csr_matrix, np.asarray])
def test_counts_and_dense_values_conform(form):
    testing.conforms("datasets", Given(form=form))
    testing.conforms("datasets", Given(-0.5, form=np.asarray))


@pytest.mark.parametrize(
    ("dataset", "told"),
    [
        (Given(2.5), "the value of cell '7', gene '2' is 2.5, which is no whole number"),
        (Given(-1), "the value of cell '7', gene '2' is -1, and counts are not negative"),
        (Given(np.nan), "the value of cell '7', gene '2' is nan, which is no finite number"),
        (Given(np.inf), "the value of cell '7', gene '2' is inf, which is no finite number"),
        (Given(np.nan, np.asarray), "values are not finite"),
        (Given(form=sparse.csc_matrix), "X is sparse in the form 'csc'; csr is needed"),
        (Restless(), "loading twice gives different values"),
        (Restless(form=np.asarray), "loading twice gives different values"),
        (Renamed(), "loading twice gives other names"),
        (Endless(), "has values that are not finite"),
        (Empty(), "0 cells x 6 features is empty"),
        (Bare(), "load returned csr_matrix"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_broken_promises_are_told(dataset, told):
    with pytest.raises(AssertionError, match=told):
        testing.conforms("datasets", dataset)


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_names_that_are_not_unique_are_told():
    with pytest.raises(AssertionError, match="obs_names: 'a' occurs more than once"):
        testing.conforms("datasets", Twice())
