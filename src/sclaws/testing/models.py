"""What a model must do: learn the same from one seed, embed every cell by itself, and keep what it says it has."""

from __future__ import annotations

import functools
import inspect
import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sclaws.errors import ModelError
from sclaws.protocols import Context, Job
from sclaws.testing import cells
from sclaws.view import View

_GENES = (slice(None), slice(7))


def check(model: Any) -> None:
    """Raise ``AssertionError`` unless this is a model of counts, of other values, of images or of sequences."""
    view, trained = _accepted(model)
    before = cells.values(view)
    train, valid, test = _parts(view)
    found = _embedding(trained, test)
    again = _embedding(_call(model.fit, train, valid, seed=1), test)
    assert np.array_equal(found, again), "two fits with one seed embed the same cells differently"
    _each_cell_by_itself(found, lambda some: _embedding(trained, some), test, "an embedding")
    if not getattr(model, "trains", True):
        other = _embedding(_call(model.fit, train.take(np.arange(75)), valid, seed=1), test)
        assert np.array_equal(found, other), "trains = False, and other training cells give another embedding"
    if hasattr(model, "untrained"):
        one, two = (_embedding(_call(model.untrained, train, seed=1), test) for _ in range(2))
        assert np.array_equal(one, two), "two untrained models with one seed embed the same cells differently"
    _losses(model, trained, test)
    if hasattr(trained, "adapt"):
        _adapts(trained, test, found)
    _kept(model, trained, test, found)
    _numbers(model, trained)
    if hasattr(model, "fit_many"):
        _many(model, train, valid, test)
    assert np.array_equal(cells.values(view), before), "the cells' values were changed in place"


def _accepted(model: Any) -> tuple[View, Any]:
    refusals = []
    for view in (cells.counts(), cells.measured(), cells.images(), cells.sequences()):
        train, valid, _ = _parts(view)
        try:
            return view, _call(model.fit, train, valid, seed=1)
        except ModelError as error:
            refusals.append(str(error))
    raise AssertionError(f"fit refused counts, other values, images and sequences: {'; '.join(refusals)}")


def _parts(view: View) -> tuple[View, View, View]:
    train, valid, test = (view.take(np.arange(*ends)) for ends in ((0, 150), (150, 180), (180, 240)))
    return train, valid, test


def _call(method: Callable[..., Any], *views: View, **more: Any) -> Any:
    if "context" not in inspect.signature(method).parameters:
        return method(*views, **more)
    with tempfile.TemporaryDirectory() as scratch:
        return method(*views, **more, context=Context(Path(scratch)))


def _embedding(trained: Any, view: View) -> NDArray[Any]:
    found = np.asarray(trained.embed(view))
    assert found.ndim == 2 and found.shape[1], f"embed returned shape {found.shape}; (n_cells, dim) is needed"
    assert len(found) == view.n_obs, f"embed returned {len(found)} rows for {view.n_obs} cells"
    assert np.isfinite(found).all(), "an embedding is not finite"
    return found


def _each_cell_by_itself(found: NDArray[Any], ask: Callable[[View], NDArray[Any]], test: View, what: str) -> None:
    order = np.random.default_rng(0).permutation(test.n_obs)
    moved = ask(test.take(order))
    assert np.allclose(moved, found[order], rtol=1e-4, atol=1e-5), f"{what} depends on the order of the cells"
    some = ask(test.take(order[:7]))
    assert np.allclose(some, found[order[:7]], rtol=1e-4, atol=1e-5), f"{what} depends on the other cells of the view"


def _losses(model: Any, trained: Any, test: View) -> None:
    says, has = bool(getattr(model, "has_loss", False)), hasattr(trained, "losses")
    assert says == has, f"has_loss = {says}, and what fit returns has {'' if has else 'no '}losses"
    if not has:
        return
    losses = _loss(trained.losses(test, seed=0), test, "losses")
    assert np.array_equal(losses, trained.losses(test, seed=0)), "one seed gives two values of a loss"
    assert isinstance(trained.loss_measure, str), "loss_measure must name the reference measure"
    if hasattr(trained, "baseline_losses"):
        baseline = _loss(trained.baseline_losses(test, seed=0), test, "baseline_losses")
        _each_cell_by_itself(
            baseline, lambda some: np.asarray(trained.baseline_losses(some, seed=0)), test, "a baseline loss"
        )
    _losses_of_some_genes(trained, test)


def _losses_of_some_genes(trained: Any, test: View) -> None:
    """Both kinds of losses take ``genes``, or neither; all genes are what there is without saying so."""
    asked = {"losses": functools.partial(trained.losses, seed=0)}
    if hasattr(trained, "baseline_losses"):
        asked["baseline_losses"] = functools.partial(trained.baseline_losses, seed=0)
    taking = [name for name, losses in asked.items() if "genes" in inspect.signature(losses).parameters]
    assert len(taking) in (0, len(asked)), f"{taking} take genes, and the others of {list(asked)} do not"
    for name in taking:
        every, some = (_loss(asked[name](test, genes=test.feature_names[s]), test, name) for s in _GENES)
        assert np.allclose(every, asked[name](test), rtol=1e-5), f"{name} with all genes named are others"
        assert not np.allclose(some, every, rtol=1e-5), f"{name} of 7 genes are those of all: genes is not looked at"


def _loss(found: Any, test: View, what: str) -> NDArray[Any]:
    losses = np.asarray(found)
    assert losses.shape == (test.n_obs,), f"{what} has shape {losses.shape}; one value a cell is needed"
    assert np.isfinite(losses).all(), f"{what}: a value is not finite"
    return losses


def _adapts(trained: Any, test: View, before: NDArray[Any]) -> None:
    """``adapt`` gives probabilities, the same ones again, cell by cell, and leaves the model as it was."""
    y = (test.obs["label"] == "high").to_numpy().astype(np.int64)
    for frozen, times in ((True, 1), (False, 2)):
        what = f"adapt, frozen = {frozen}"
        answers = [trained.adapt(test, y, seed=0, frozen=frozen).probabilities for _ in range(times)]
        unchanged = np.array_equal(_embedding(trained, test), before)
        assert unchanged, f"{what}: the model that was asked embeds differently afterwards"
        found, again = (_probabilities_of(answer, what, test) for answer in (answers[0], answers[-1]))
        assert np.array_equal(found, again), f"{what}: one seed gives two answers"
        ask = functools.partial(_probabilities_of, answers[0], what)
        _each_cell_by_itself(found, ask, test, f"{what}: a probability")


def _probabilities_of(answer: Callable[[View], Any], what: str, view: View) -> NDArray[Any]:
    found, n = np.asarray(answer(view)), view.n_obs
    assert found.shape == (n, 2), f"{what}: probabilities have shape {found.shape} for {n} cells and 2 classes"
    assert (found >= 0).all(), f"{what}: a probability is below 0, or not a number"
    assert np.allclose(found.sum(axis=1), 1, atol=1e-4), f"{what}: the probabilities of a cell do not sum to one"
    return found


def _kept(model: Any, trained: Any, test: View, found: NDArray[Any]) -> None:
    saves, loads = hasattr(trained, "save"), hasattr(model, "load")
    assert saves == loads, "what is saved cannot be loaded" if saves else "there is a load, and fit's model has no save"
    if not saves:
        return
    with tempfile.TemporaryDirectory() as folder:
        trained.save(Path(folder))
        assert any(Path(folder).iterdir()), "save wrote nothing into its folder"
        loaded = model.load(Path(folder))
        there = _embedding(loaded, test)
    assert np.allclose(there, found, rtol=1e-5, atol=1e-6), "a model loaded from its folder embeds differently"
    if hasattr(trained, "losses"):
        now, then = trained.losses(test, seed=0), loaded.losses(test, seed=0)
        assert np.allclose(then, now, rtol=1e-5), "a model loaded from its folder has other losses"


def _many(model: Any, train: View, valid: View, test: View) -> None:
    """``fit_many`` gives what ``fit`` gives, job by job, with any neighbours, and fails where ``fit`` does."""
    fewer, genes, other = np.arange(75), np.arange(train.n_vars - 20), cells.measured() if train.counts else train
    jobs = [
        Job(train, valid, 1),
        Job(train.take(np.arange(0)), valid.take(np.arange(0)), 1),
        Job(train.take(fewer), valid, 2),
        Job(train.choose(genes), valid.choose(genes), 1),
        Job(other, other, 3),
    ]
    alone = [_tried(lambda job=job: _call(model.fit, job.train, job.valid, seed=job.seed)) for job in jobs]  # type: ignore[misc]
    for places in ([0, 1, 2, 3, 4], [3, 2], [2]):
        with tempfile.TemporaryDirectory() as scratch:
            found = list(model.fit_many([jobs[at] for at in places], context=Context(Path(scratch))))
        assert len(found) == len(places), f"fit_many returned {len(found)} models for {len(places)} jobs"
        for at, trained in zip(places, found, strict=True):
            what = f"fit_many, job {places.index(at) + 1} of {len(places)}"
            fails = [isinstance(of, Exception) for of in (alone[at], trained)]
            assert fails[0] == fails[1], f"{what}: fit alone {'fails' if fails[0] else 'works'}, and here it does not"
            if not fails[0]:
                seen = test.choose(genes) if at == 3 else test
                mine, expected = (_embedding(of, seen) for of in (trained, alone[at]))
                assert np.allclose(mine, expected, rtol=1e-3, atol=1e-3), (
                    f"{what}: it embeds differently than fit's alone"
                )


def _tried(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception as error:
        return error


def _numbers(model: Any, trained: Any) -> None:
    if hasattr(model, "cost"):
        costs = [model.cost(*size) for size in ((1000, 1000), (100_000, 1000))]
        assert all(math.isfinite(cost) and cost > 0 for cost in costs), f"cost is {costs}; seconds above 0 are needed"
    for name in ("n_params", "train_flops"):
        if (value := getattr(trained, name, None)) is not None:
            assert math.isfinite(value) and value >= 0, f"{name} is {value}"
    told = {f"history, row {row}": of for row, of in enumerate(getattr(trained, "history", ()), start=1)}
    for what, values in (told | {"speed": getattr(trained, "speed", {})}).items():
        assert isinstance(values, Mapping), f"{what} is {values!r}; {{name: number}} is needed"
        for name, value in values.items():
            finite = isinstance(value, (int, float, np.number)) and math.isfinite(value)
            assert finite, f"{what}: {name} is {value!r}; a finite number is needed"
