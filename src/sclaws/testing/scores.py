"""What a score must do: find what is there, find nothing where nothing is, and refuse what cannot be measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.errors import ScoreError
from sclaws.protocols import Estimate, Pairs
from sclaws.testing import cells
from sclaws.view import View

_CELLS = 400
_NEEDS = ("signal", "embedding", "model", "model and signal")


def check(score: Any) -> None:
    """Raise ``AssertionError`` unless this is a score."""
    needs = getattr(score, "needs", "signal")
    assert needs in _NEEDS, f"needs = {needs!r}; one of {', '.join(map(repr, _NEEDS))} is needed"
    if needs in ("model", "model and signal"):
        (_reads_model if needs == "model" else _adapts_model)(score)
        return
    if needs == "embedding":
        _reads_cells(score)
        if hasattr(score, "many"):
            _at_once(score, cells.counts(_CELLS), [_codes(cells.counts(_CELLS))])
        return
    view = cells.counts(_CELLS)
    signals = {"a label": _codes(view), "a continuous signal": view.obsm("protein")}
    taken = {name: y for name, y in signals.items() if _takes(score, view, y)}
    assert taken, "neither a label nor a continuous signal was accepted"
    for y in taken.values():
        _through_probe(score, view, y)
        if hasattr(score, "estimate"):
            _on_arrays(score, view, y)
    if hasattr(score, "many"):
        _at_once(score, view, [*taken.values()])


@dataclass(frozen=True)
class _Probe:
    view: View
    embedding: NDArray[Any]
    pairs: Pairs
    trained: Any = None

    @property
    def cells(self) -> View:
        return self.view

    def genes(self, n: int) -> pd.Index:
        return self.view.feature_names[:n]

    @classmethod
    def of(cls, view: View, x: NDArray[Any], y: NDArray[Any], trained: Any = None) -> _Probe:
        return cls(view, x, Pairs(x, y, np.arange(len(x)), view.cell_ids), trained)


@dataclass(frozen=True)
class _Lossy:
    """A trained model whose losses are known: ``loss`` bits per gene more or less, and the baseline's one more."""

    loss: float
    loss_measure: str = "counting measure"

    def embed(self, view: View) -> NDArray[Any]:
        return np.zeros((view.n_obs, 1))

    def losses(self, view: View, *, seed: int, genes: pd.Index | None = None) -> NDArray[Any]:
        del seed, genes
        return self.loss + np.random.default_rng(0).normal(0, 0.1, view.n_obs)

    def baseline_losses(self, view: View, *, seed: int, genes: pd.Index | None = None) -> NDArray[Any]:
        return 1 + self.losses(view, seed=seed, genes=genes)


@dataclass(frozen=True)
class _Adaptable:
    """A trained model that can be adapted: cells go to the class whose mean state is nearest, ``sharp`` or not."""

    sharp: float

    def embed(self, view: View) -> NDArray[Any]:
        return np.asarray(view.obsm("state"))

    def adapt(self, view: View, y: NDArray[Any], *, seed: int, frozen: bool) -> _Adapted:
        del seed, frozen
        x = self.embed(view)
        return _Adapted(self, np.stack([x[y == code].mean(axis=0) for code in range(int(y.max()) + 1)]))


@dataclass(frozen=True)
class _Adapted:
    of: _Adaptable
    means: NDArray[Any]

    def probabilities(self, view: View) -> NDArray[Any]:
        far = np.square(self.of.embed(view)[:, None] - self.means).sum(axis=2)
        weights = np.exp(-self.of.sharp * far)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _codes(view: View) -> NDArray[np.int64]:
    return np.asarray(view.obs["label"].cat.codes, dtype=np.int64)


def _embeddings(view: View) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return an (n, 2) embedding that knows about the signals, and one that knows nothing."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2, view.n_obs, 2))
    return view.obsm("state") * [1, 0] + noise[0] * [0.5, 1], noise[1]


def _takes(score: Any, view: View, y: NDArray[Any]) -> bool:
    try:
        score(_Probe.of(view, _embeddings(view)[0], y), seed=0)
    except ScoreError:
        return False  # a score may be for labels, or for continuous signals, only
    return True


def _measured(score: Any, probe: _Probe) -> dict[str, Estimate]:
    found = dict(score(probe, seed=0))
    assert found, "a score returned no metric"
    said = getattr(score, "metrics", tuple(found))
    assert set(found) <= set(said), f"metrics = {said}, and the score returned {sorted(found)}"
    for estimate in found.values():
        check_estimate(estimate)
    assert found == dict(score(probe, seed=0)), "one seed gives two values"
    return found


def _through_probe(score: Any, view: View, y: NDArray[Any]) -> None:
    x = _embeddings(view)[0]
    found = _measured(score, _Probe.of(view, x, y))
    if hasattr(score, "estimate"):
        bare = score.estimate(x, y, ids=view.cell_ids, seed=0)
        assert bare in found.values(), "estimate(x, y) says something else than the score of a probe with this x and y"
    _refused(lambda: score(_Probe.of(view, np.full_like(x, np.nan), y), seed=0), "an embedding of NaN")


def _on_arrays(score: Any, view: View, y: NDArray[Any]) -> None:
    x, blind = _embeddings(view)
    found = score.estimate(x, y, ids=view.cell_ids, seed=0)
    assert found.value > 0.1, f"{found.value} bits where there is plenty"
    nothing = score.estimate(blind, y, seed=0)
    assert nothing.low <= 0.02, f"independent signal, and the interval starts at {nothing.low} bits"
    order = np.random.default_rng(1).permutation(len(x))
    moved = score.estimate(x[order], y[order], ids=view.cell_ids[order], seed=0)
    assert math.isclose(moved.value, found.value, abs_tol=1e-3), "the same cells in another order have another value"
    if found.draws:
        together = np.corrcoef(moved.draws, found.draws)[0, 1]
        assert together > 0.99, "the same cells in another order have other draws: their signs are not those of the ids"
    _refused(lambda: score.estimate(x[:10], y[:10], seed=0), "a sample of 10 cells")
    _refused(lambda: score.estimate(x, y[:-1], seed=0), "a signal of one cell less than the embedding")
    _refused(lambda: score.estimate(x, np.zeros_like(y), seed=0), "a signal that is the same for every cell")


def _at_once(score: Any, view: View, signals: list[NDArray[Any]]) -> None:
    """Check ``many`` on several embeddings, one of them of NaN, against one by one."""
    together = getattr(score, "together", None)
    assert isinstance(together, int) and together >= 1, f"together = {together!r}; many needs a whole number, 1 or more"
    x, blind = _embeddings(view)
    probes = [_Probe.of(view, each, y) for y in signals for each in (x, np.full_like(x, np.nan), blind)]
    found = score.many(iter(probes), seed=0)
    assert len(found) == len(probes), f"many gave {len(found)} answers for {len(probes)} probes"
    for one, probe in zip(found, probes, strict=True):
        if not np.isfinite(probe.embedding).all():
            assert isinstance(one, ScoreError), "many: an embedding of NaN among others was not refused in its place"
            continue
        assert not isinstance(one, Exception), f"many: one that was to fail took another with it: {one}"
        alone = score(probe, seed=0)
        assert one.keys() == alone.keys(), f"many gives {sorted(one)}, and one alone {sorted(alone)}"
        for name, estimate in one.items():
            check_estimate(estimate)
            same = math.isclose(estimate.value, alone[name].value, abs_tol=0.01)
            assert same, f"many: {name} is {estimate.value} among others, and {alone[name].value} alone"
    assert score.many(iter(()), seed=0) == [], "many of nothing is not []"


def _reads_model(score: Any) -> None:
    view = cells.counts(_CELLS)
    x, y = _embeddings(view)[0], _codes(view)
    found, better = (_measured(score, _Probe.of(view, x, y, _Lossy(loss))) for loss in (2.0, 1.0))
    values = [{name: estimate.value for name, estimate in of.items()} for of in (found, better)]
    assert values[0] != values[1], "a model with a lower loss has the same scores"
    _refused(lambda: score(_Probe.of(view, x, y, _Lossy(math.nan)), seed=0), "a model whose losses are NaN")


def _reads_cells(score: Any) -> None:
    """Check a score that reads the annotations itself: of ``cells.counts``, label and donor among them."""
    view = cells.counts(_CELLS)
    if hasattr(score, "check"):
        score.check(view.source.adata)
    x, blind = _embeddings(view)
    found, other = (_measured(score, _Probe.of(view, each, _codes(view))) for each in (x, blind))
    assert found != other, "an embedding of noise has the same scores: the embedding is not looked at"
    order = np.random.default_rng(1).permutation(view.n_obs)
    moved = _measured(score, _Probe.of(view.take(order), x[order], _codes(view)[order]))
    for name, estimate in found.items():
        same = math.isclose(moved[name].value, estimate.value, abs_tol=1e-3)
        assert same, f"{name}: the same cells in another order have another value"
    _refused(lambda: score(_Probe.of(view, np.full_like(x, np.nan), _codes(view)), seed=0), "an embedding of NaN")


def _adapts_model(score: Any) -> None:
    view = cells.counts(_CELLS)
    x, y = _embeddings(view)[0], _codes(view)
    blind, sharp = (_measured(score, _Probe.of(view, x, y, _Adaptable(sharp))) for sharp in (0.0, 2.0))
    values = [{name: estimate.value for name, estimate in of.items()} for of in (blind, sharp)]
    assert values[0] != values[1], "a model that tells classes apart when adapted has the scores of one that does not"
    _refused(lambda: score(_Probe.of(view, x, y, _Adaptable(math.nan)), seed=0), "a model whose probabilities are NaN")
    _refused(lambda: score(_Probe.of(view, x, y, _Lossy(1.0)), seed=0), "a model without adapt")


def _refused(ask: Any, what: str) -> None:
    try:
        ask()
    except ScoreError:
        return
    raise AssertionError(f"{what} was not refused with a ScoreError")


def check_estimate(estimate: Estimate) -> None:
    """Raise ``AssertionError`` unless an estimate is finite, ordered, named and complete.

    Draws must have the spread that ``stderr`` states: a standard deviation of 64 numbers errs by a tenth, seldom by a
    half.
    """
    for name in ("value", "low", "high", "stderr"):
        assert math.isfinite(getattr(estimate, name)), f"{name} is {getattr(estimate, name)}"
    inside = estimate.low <= estimate.value <= estimate.high
    assert inside, f"{estimate.value} is not in its interval [{estimate.low}, {estimate.high}]"
    assert estimate.stderr >= 0, f"stderr is {estimate.stderr}"
    assert estimate.unit, "no unit"
    assert estimate.n > 0, "no cells"
    assert estimate.verdict, "no verdict"
    assert len(estimate.draws) in (0, 64), f"{len(estimate.draws)} draws; 64 or none"
    if estimate.draws:
        spread = math.sqrt(np.mean(np.square(estimate.draws)))
        good = 0.5 * estimate.stderr <= spread <= 1.5 * estimate.stderr
        assert good, f"draws spread by {spread:.3g}, and stderr is {estimate.stderr:.3g}"
