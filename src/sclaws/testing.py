"""What every member of a family must pass: ours and yours.

::

    from sclaws.testing import conforms
    conforms("models", MyModel(dim=8))

Each check raises ``AssertionError`` with a sentence. The data are small and made here.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sclaws.errors import DataError, ScoreError
from sclaws.protocols import Context, Estimate, Failure, Param
from sclaws.view import View


def conforms(family: str, member: Any) -> None:
    """Check a member of a family: "models", "axes", "signals", "scores", "laws", "datasets" or "engines"."""
    CHECKS[family](member)


def counts(n: int = 240, p: int = 60, seed: int = 0) -> View:
    """Return a view of simulated counts with a label, a donor, proteins and a state, for checks and tests."""
    rng = np.random.default_rng(seed)
    state = rng.normal(size=(n, 1))
    rates = np.exp(rng.normal(0, 0.7, p) + state * rng.normal(0, 0.8, (1, p)))
    values = rng.poisson(rates / rates.sum(axis=1, keepdims=True) * rng.lognormal(5.5, 0.2, (n, 1)))
    adata = anndata.AnnData(sparse.csr_matrix(values.astype(np.float32)))
    adata.obs_names = [f"s{seed}-c{i}" for i in range(n)]
    adata.var_names = [f"g{i}" for i in range(p)]
    adata.obs["label"] = pd.Categorical(np.where(state[:, 0] > 0, "high", "low"))
    adata.obs["donor"] = pd.Categorical([f"d{i % 8}" for i in range(n)])
    adata.obsm["protein"] = state + rng.normal(0, 0.3, (n, 2))
    adata.obsm["state"] = state
    return View.of(adata)


def _call(method: Callable[..., Any], *views: View, **more: Any) -> Any:
    import inspect

    if "context" not in inspect.signature(method).parameters:
        return method(*views, **more)
    with tempfile.TemporaryDirectory() as scratch:
        return method(*views, **more, context=Context(Path(scratch)))


def _model(model: Any) -> None:
    view = counts()
    train, valid, test = (view.take(np.arange(*ends)) for ends in ((0, 150), (150, 180), (180, 240)))
    trained = _call(model.fit, train, valid, seed=1)
    found = _embedding(trained, test)
    again = _embedding(_call(model.fit, train, valid, seed=1), test)
    assert (found == again).all(), "two fits with one seed embed the same cells differently"
    order = np.random.default_rng(0).permutation(test.n_obs)
    moved = _embedding(trained, test.take(order))
    assert np.allclose(moved, found[order], rtol=1e-4, atol=1e-5), "an embedding depends on the other cells of the view"
    some = _embedding(trained, test.take(np.arange(7)))
    assert np.allclose(some, found[:7], rtol=1e-4, atol=1e-5), "an embedding depends on how many cells are embedded"
    if hasattr(model, "untrained"):
        _embedding(_call(model.untrained, train, seed=1), test)
    if getattr(model, "has_loss", False):
        losses = np.asarray(trained.losses(test, seed=0))
        assert losses.shape == (test.n_obs,), f"losses has shape {losses.shape}; one value a cell is needed"
        assert np.isfinite(losses).all(), "a loss is not finite"
        assert isinstance(trained.loss_measure, str), "loss_measure must name the reference measure"
    if hasattr(trained, "save") and hasattr(model, "load"):
        with tempfile.TemporaryDirectory() as folder:
            trained.save(Path(folder))
            loaded = _embedding(model.load(Path(folder)), test)
        assert np.allclose(loaded, found, rtol=1e-5, atol=1e-6), "a model loaded from its folder embeds differently"
    if hasattr(model, "cost"):
        assert model.cost(1000, 1000) > 0, "cost must be above 0"


def _embedding(trained: Any, view: View) -> NDArray[Any]:
    found = np.asarray(trained.embed(view))
    assert found.ndim == 2, f"embed returned shape {found.shape}; (n_cells, dim) is needed"
    assert len(found) == view.n_obs, f"embed returned {len(found)} rows for {view.n_obs} cells"
    assert np.isfinite(found).all(), "an embedding is not finite"
    return found


def _axis(axis: Any) -> None:
    assert axis.on in ("rows", "values", "features"), f"on = {axis.on!r}"
    low, high = (20.0, 40.0)
    view = counts()
    try:
        axis.prepare(view, low, seed=3)
    except DataError:  # an axis may be for values that are not counts
        view = View.of(anndata.AnnData(np.random.default_rng(0).normal(size=(240, 60)).astype(np.float32)))
    measured = axis.measure(view)
    some, more = (axis.prepare(view, level, seed=3)(view) for level in (low, high))
    again = axis.prepare(view, low, seed=3)(view)
    assert (some.to_adata().X != again.to_adata().X).sum() == 0, "a recipe made twice differs"
    if axis.on == "rows":
        assert set(some.cell_ids) <= set(more.cell_ids), "rows of a lower level are not among those of a higher one"
    if axis.on == "features":
        assert set(some.feature_ids) <= set(more.feature_ids), "features of a lower level are not among a higher one's"
    if axis.on == "values":
        half = some.take(np.arange(100)).to_adata().X
        assert (half != some.to_adata().X[:100]).sum() == 0, "corruption of a cell depends on the other cells"
    for name, value in axis.measure(some).items():
        assert math.isfinite(value), f"{name} is {value}"
    for beyond in (0.0, 1e12) if measured else (0.0,):
        try:
            axis.prepare(view, beyond, seed=3)
        except DataError:
            continue
        raise AssertionError(f"level {beyond:g} is impossible, and was not refused with a DataError")


def _signal(signal: Any) -> None:
    view = counts()
    embedding = np.random.default_rng(0).normal(size=(view.n_obs, 4))
    if hasattr(signal, "check"):
        signal.check(view.source.adata)
    pairs = signal.pairs(view, embedding, seed=0)
    n = len(pairs.rows)
    assert n > 0, "no pairs"
    assert len(pairs.x) == len(pairs.y) == len(pairs.ids) == n, "x, y, ids and rows differ in length"
    assert 0 <= pairs.rows.min() <= pairs.rows.max() < view.n_obs, "rows point outside the view"
    assert np.asarray(pairs.y).dtype.kind in "iuf", "y must be integer codes or floats"
    assert np.isfinite(np.asarray(pairs.y, dtype=float)).all(), "y is not finite"


def _score(score: Any) -> None:
    if getattr(score, "needs", "signal") == "model" or not hasattr(score, "estimate"):
        return
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    label = (x[:, 0] + rng.normal(0, 0.5, 400) > 0).astype(np.int64)
    continuous = x[:, :1] + rng.normal(0, 0.5, (400, 1))
    taken = 0
    for y in (label, continuous):
        try:
            found = score.estimate(x, y, seed=0)
        except ScoreError:
            continue  # a score may be for labels, or for continuous signals, only
        taken += 1
        check_estimate(found)
        assert found == score.estimate(x, y, seed=0), "one seed gives two values"
        assert found.value > 0.1, f"{found.value} bits where there is plenty"
        nothing = score.estimate(rng.normal(size=(400, 2)), y, seed=0)
        assert nothing.low <= 0.02, f"independent signal, and the interval starts at {nothing.low} bits"
    assert taken, "neither a label nor a continuous signal was accepted"
    for bad in (np.full((400, 2), np.nan), x[:10]):
        try:
            check_estimate(score.estimate(bad, continuous[: len(bad)] if taken == 2 else label[: len(bad)], seed=0))
        except ScoreError:
            continue
        raise AssertionError(f"an embedding of shape {bad.shape}, first value {bad[0, 0]}, was not refused")


def check_estimate(estimate: Estimate) -> None:
    """Raise ``AssertionError`` unless an estimate is finite, ordered, named and complete."""
    for name in ("value", "low", "high", "stderr"):
        assert math.isfinite(getattr(estimate, name)), f"{name} is {getattr(estimate, name)}"
    assert estimate.low <= estimate.high, f"interval [{estimate.low}, {estimate.high}]"
    assert estimate.unit, "no unit"
    assert estimate.n > 0, "no cells"
    assert estimate.verdict, "no verdict"
    assert len(estimate.draws) in (0, 64), f"{len(estimate.draws)} draws; 64 or none"


def _law(law: Any) -> None:
    assert law.inputs, "no inputs"
    params = {name: p if isinstance(p, Param) else Param(*p) for name, p in law.params.items()}
    x = {role: np.geomspace(10, 1e4, 7) for role in law.inputs}
    for name, param in params.items():
        assert param.low <= param.high, f"{name}: bounds {param.low} .. {param.high}"
    theta = {name: np.full((3, 2, 1), _inside(param)) for name, param in params.items()}
    found = np.asarray(law.predict(x, theta))
    assert np.broadcast_shapes(found.shape, (3, 2, 7)) == (3, 2, 7), f"predict gave {found.shape}; (3, 2, 7) is due"
    assert np.isfinite(found).all(), "predict is not finite inside the bounds"
    single = np.asarray(law.predict(x, {name: np.array(_inside(param)) for name, param in params.items()}))
    assert np.allclose(np.broadcast_to(found, (3, 2, 7)), single), "predict differs between one curve and many"


def _inside(param: Param) -> float:
    low, high = max(param.low, -1e6), min(param.high, 1e6)
    return math.sqrt(low * high) if low > 0 else (low + high) / 2


def _dataset(dataset: Any) -> None:
    adata = dataset.load()
    assert isinstance(adata, anndata.AnnData), f"load returned {type(adata).__name__}"
    view = View.of(adata)
    assert view.n_obs > 0, "no cells"
    assert np.isfinite(view.totals).all(), "values are not finite"
    again = dataset.load()
    assert (adata.X != again.X).sum() == 0, "loading twice gives different values"


def _engine(engine: Any) -> None:
    found = dict(engine.map(_reciprocal, [1, 2, 0, 4]))
    assert set(found) == {0, 1, 2, 4}, f"items came back as {sorted(found)}"
    assert found[4] == 0.25, f"1 / 4 came back as {found[4]}"
    lost = found[0]
    assert isinstance(lost, Failure), "an exception did not become a Failure"
    assert lost.error == "ZeroDivisionError", f"the failure is called {lost.error}"


def _reciprocal(item: int) -> float:
    return 1 / item


CHECKS: dict[str, Callable[[Any], None]] = {
    "axes": _axis,
    "datasets": _dataset,
    "engines": _engine,
    "laws": _law,
    "models": _model,
    "scores": _score,
    "signals": _signal,
}
