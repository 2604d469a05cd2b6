"""Experiments of TileDB-SOMA, CELLxGENE Census among them, read in blocks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sclaws.errors import DataError, did_you_mean
from sclaws.ingest.files import telling
from sclaws.ingest.recipe import Part

_LAYER = "raw"
_CELLS = ("obs_id", "soma_joinid")  # what cells are called, the first that there is
_GENES = ("feature_id", "var_id", "soma_joinid")


class Experiment:
    """The cells of an experiment that a filter chooses, in the order of their ids."""

    def __init__(self, part: Part, query: Any) -> None:
        self._part, self._query, self._layer = part, query, part.layer or _LAYER
        self.n_obs = int(query.n_obs)
        if not self.n_obs:
            raise DataError(f"{part.where}: filter = {part.filter!r} leaves no cell")
        self.var = self._genes(query.var().concat().to_pandas())
        called = next(name for name in _CELLS if name in self._columns)
        self._names = query.obs(column_names=[called]).concat().column(called)

    @property
    def _columns(self) -> list[str]:
        return list(self._query.experiment.obs.schema.names)

    def _genes(self, var: pd.DataFrame) -> pd.DataFrame:
        called = next(name for name in _GENES if name in var)
        return var.set_index(pd.Index(var[called].astype(str)))

    def obs(self, columns: Sequence[str]) -> pd.DataFrame:
        """Return these columns of the cells; raise ``DataError`` for one that is not there."""
        for column in columns:
            if column not in self._columns:
                raise DataError(f"obs has no column {column!r}; {did_you_mean(column, self._columns)}")
        if not columns:
            return pd.DataFrame(index=pd.RangeIndex(self.n_obs))
        with telling(self._part):
            found = self._query.obs(column_names=list(columns)).concat().to_pandas()
        return found[list(columns)].set_axis(pd.RangeIndex(self.n_obs), axis=0)

    def names(self, start: int, stop: int) -> NDArray[Any]:
        """Return the names of some cells: their ``obs_id``, or the number that SOMA gives each."""
        return np.array([str(name) for name in self._names.slice(start, stop - start).to_pylist()], dtype=object)

    def non_zeros(self) -> int:
        """Return about how many counts there are: as many a cell as in the whole experiment."""
        matrix = self._matrix()
        return int(matrix.nnz * self.n_obs / max(matrix.shape[0], 1))

    def _matrix(self) -> Any:
        layers = self._query.experiment.ms[self._part.measurement].X
        if self._layer not in layers:
            raise DataError(f"{self._part.where} has no layer {self._layer!r}; {did_you_mean(self._layer, layers)}")
        return layers[self._layer]

    def blocks(self, size: int) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Yield (position of the first cell, counts of the next ``size`` cells), in order."""
        first = 0
        with telling(self._part):
            found = iter(self._query.X(self._layer).blockwise(axis=0, size=size).scipy(compress=True))
        while True:
            with telling(self._part):
                block = next(found, None)
            if block is None:
                return
            counts = sparse.csr_matrix(block[0])
            yield first, counts
            first += counts.shape[0]


@contextlib.contextmanager
def experiment(part: Part) -> Iterator[Experiment]:
    """Open an experiment, or a release of Census; raise ``DataError`` naming it and the remedy."""
    with contextlib.ExitStack() as stack:
        with telling(part):
            soma = _imported("tiledbsoma")
            opened = stack.enter_context(soma.open(part.path or part.soma) if not part.census else _census(part))
            found = opened["census_data"][part.organism] if part.census else opened
            if part.measurement not in found.ms:
                raise DataError(
                    f"{part.where} has no measurement {part.measurement!r}; {did_you_mean(part.measurement, found.ms)}"
                )
            chosen = soma.AxisQuery(value_filter=part.filter) if part.filter else None
            query = stack.enter_context(found.axis_query(part.measurement, obs_query=chosen))
            made = Experiment(part, query)
        yield made


def _census(part: Part) -> Any:
    return _imported("cellxgene_census").open_soma(census_version=part.census)


def _imported(package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise DataError(
            f"SOMA is read by {package}, which is not installed ({error}): pip install 'sclaws[census]'"
        ) from error
