"""How well classes are told apart after a classifier, or the model itself, was trained on some of the test cells."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sclaws import heads
from sclaws.errors import ScoreError
from sclaws.hashing import ranked
from sclaws.protocols import Estimate, Ints, Pairs, Probe
from sclaws.scores import _estimate, _f1, _networks
from sclaws.scores._estimate import Sample


@dataclass(frozen=True)
class FineTuning:
    """F1 and bits of a label on cells that were not trained on: a share ``test`` of the evaluation cells.

    The others train a perceptron (:class:`sclaws.heads.Recipe`, that of DenAdel et al.) on the embedding as it is;
    with ``frozen`` = false the model's own weights learn, too, for which it needs ``adapt``. Cells are dealt class by
    class, by a hash of the seed and their ids, so all models learn from the same ones; groups stay whole where there
    are any.

    ``micro_f1`` (the accuracy), ``macro_f1`` (the mean over classes) and ``information``: H(label) of the tested cells
    less the cross-entropy, a lower bound in bits, as of score ``probe``. Intervals are over tested cells (or groups),
    and leave out what another training would change. A class of one cell is left out, and the verdict says so; one of
    which no cell trains is never foretold.
    """

    frozen: bool = True
    test: float = 0.5

    version: ClassVar[int] = 1
    metrics: ClassVar[tuple[str, ...]] = ("micro_f1", "macro_f1", "information")

    def __post_init__(self) -> None:
        if not 0 < self.test < 1:
            raise ScoreError(f"fine-tuning: test = {self.test} must lie between 0 and 1; 0.5 is usual")
        _networks.needed("fine-tuning")

    @property
    def needs(self) -> str:
        """What is asked of a probe: the model only where it learns."""
        return "signal" if self.frozen else "model and signal"

    def __call__(self, probe: Probe, *, seed: int) -> dict[str, Estimate]:
        """Return the three metrics of the probe's pairs.

        ``ScoreError``: a continuous signal, one class, under 50 cells, an embedding that is not finite, a model that
        cannot be adapted.
        """
        given, verdict = _cells(probe.pairs)
        seed = _estimate.seeded(seed)
        tested, note = _dealt(given, self.test, seed)
        known, codes = np.unique(given.y[~tested], return_inverse=True)
        unknown = np.setdiff1d(given.y[tested], known)
        _refuse_one_class(given.y, tested, len(known))
        train = self._frozen if self.frozen else functools.partial(self._unfrozen, probe)
        found = np.zeros((int(tested.sum()), int(given.y.max()) + 1))
        with _estimate.one_thread(), _networks.one_thread():
            found[:, known] = train(given, tested, codes.reshape(-1), seed)
        missed = f"{len(unknown)} of {found.shape[1]} classes have no cell that trains" if len(unknown) else ""
        details = {"frozen": self.frozen, "n_classes": found.shape[1], "n_trained": int((~tested).sum())}
        return _measured(found, given, tested, (verdict, note, missed), details)

    def _frozen(self, given: Sample, tested: NDArray[np.bool_], codes: Ints, seed: int) -> NDArray[np.float64]:
        x = given.x[:, :-1]
        ids = _estimate.distinct(given.ids)[~tested]
        return heads.on_coordinates(x[~tested], codes, ids, seed=seed)(x[tested])

    def _unfrozen(
        self, probe: Probe, given: Sample, tested: NDArray[np.bool_], codes: Ints, seed: int
    ) -> NDArray[np.float64]:
        name, adapt = type(probe.trained).__name__, getattr(probe.trained, "adapt", None)
        if not callable(adapt):
            raise ScoreError(
                f"{name} has no adapt(view, y, ...): fine-tuning with frozen = false needs a model whose weights can "
                "learn; frozen = true works with every model"
            )
        rows = given.x[:, -1].astype(np.int64)
        view = probe.view.take(rows[tested])
        adapted = adapt(probe.view.take(rows[~tested]), codes, seed=seed, frozen=False)
        return _checked(adapted.probabilities, view, int(codes.max()) + 1, name)


def _cells(pairs: Pairs) -> tuple[Sample, str]:
    """Return the checked cells of classes with two or more; the last column of x says which cell of the view it is."""
    given = _estimate.sample(np.column_stack([pairs.x, pairs.rows]), pairs.y, pairs.groups, pairs.ids)
    if not given.is_label:
        raise ScoreError("the signal is continuous, and fine-tuning needs a label: say kind = 'label', or give bins")
    return given.classes_of(2, "fine-tuning")


def _dealt(given: Sample, share: float, seed: int) -> tuple[NDArray[np.bool_], str]:
    """Return which (n,) cells are tested, and a sentence where groups could not be kept whole.

    Of every class its share, but at least one cell on either side. Groups in hashed order go to the side that lacks
    more of its due.
    """
    n, note = len(given.y), ""
    if given.groups is not None:
        codes = np.unique(given.groups, return_inverse=True)[1].reshape(-1)
        tested = _groups(np.bincount(codes), share, seed)[codes]
        if min(tested.sum() / share, (~tested).sum() / (1 - share)) >= n / 4:
            return tested, ""
        note = "dealt by cells: the groups are too unequal, or too few"
    order = ranked(_estimate.distinct(given.ids), seed)
    order = order[np.argsort(given.y[order], kind="stable")]
    sizes = np.bincount(given.y)
    place = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    due = np.clip(np.round(share * sizes), 1, sizes - 1)
    tested = np.zeros(n, dtype=bool)
    tested[order] = place < np.repeat(due, sizes)
    return tested, note


def _groups(sizes: Ints, share: float, seed: int) -> NDArray[np.bool_]:
    """Return which groups of these sizes are tested."""
    tested, held = np.zeros(len(sizes), dtype=bool), [0.0, 0.0]
    for group in ranked(np.arange(len(sizes), dtype=np.uint64), seed):
        tested[group] = held[1] / share < held[0] / (1 - share)
        held[int(tested[group])] += sizes[group]
    return tested


def _refuse_one_class(y: Ints, tested: NDArray[np.bool_], known: int) -> None:
    for number, what in ((known, "that train"), (len(np.unique(y[tested])), "that are tested")):
        if number < 2:
            raise ScoreError(
                f"fine-tuning: all cells {what} are of one class; give more cells or groups, or groups of mixed classes"
            )


def _checked(ask: Callable[[Any], Any], view: Any, classes: int, name: str) -> NDArray[np.float64]:
    found = np.asarray(ask(view), dtype=np.float64)
    if found.shape != (view.n_obs, classes):
        raise ScoreError(
            f"{name}: probabilities have shape {found.shape} for {view.n_obs} cells and {classes} classes; "
            "(n_cells, n_classes) is needed"
        )
    if not ((found >= 0).all() and np.allclose(found.sum(axis=1), 1, atol=1e-3)):
        raise ScoreError(
            f"{name}: probabilities are not finite, or below 0, or their rows do not sum to one; diverged?"
        )
    return found


def _measured(
    found: NDArray[np.float64], given: Sample, tested: NDArray[np.bool_], verdicts: tuple[str, ...],
    details: dict[str, Any],
) -> dict[str, Estimate]:  # fmt: skip
    """Return the metrics of probabilities (m, K) of the tested cells."""
    truth, predicted = given.y[tested], found.argmax(axis=1)
    groups = None if given.groups is None else given.groups[tested]
    units = _estimate.Units.of(len(truth), given.ids[tested], groups)
    frequency = np.bincount(truth) / len(truth)
    if not _estimate.varying(given.x[:, :-1]).any() and details["frozen"]:
        verdicts = (*verdicts, "the embedding is constant")
    details |= {"commonest": float(frequency.max())}  # what always foretelling that class would give as micro-F1
    out = {}
    for name, f1 in (("micro_f1", _f1.micro_f1), ("macro_f1", _f1.macro_f1)):
        value, influence = f1(truth, predicted)
        out[name] = _estimate.estimate(
            value, influence, units, unit="F1", bounds=(0.0, 1.0), verdicts=verdicts, details=details
        )
    n, classes = details["n_trained"], found.shape[1]
    own = found[np.arange(len(truth)), truth] * n / (n + 1) + 1 / (n + 1) / classes  # bounds what one cell can cost
    influence = np.log2(own) - np.log2(frequency[truth])
    bits, value = _estimate.entropy(truth), float(influence.mean())
    out["information"] = _estimate.estimate(
        value, influence, units, bounds=(0.0, bits), verdicts=verdicts,
        details=details | {"entropy": bits, "unclipped": value},
    )  # fmt: skip
    return out
