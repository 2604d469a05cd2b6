"""The contracts. Plain protocols and the small frozen records they exchange; imports nothing of ours.

Nobody inherits from these: a class with the right members *is* a member of the family. Names, units and shapes are
written here once and hold everywhere: information in bits, depth in UMI per cell, ``n`` cells, ``p`` features,
``d`` embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # AnnData takes a second to import, and the analysis half does not need it
    import pandas as pd
    from anndata import AnnData
    from scipy import sparse

    from sclaws.stored import Stored

Floats: TypeAlias = NDArray[np.floating[Any]]
Ints: TypeAlias = NDArray[np.integer[Any]]
Ids: TypeAlias = NDArray[np.uint64]
Values: TypeAlias = "sparse.csr_matrix | NDArray[Any]"
Level: TypeAlias = "float | Literal['all']"


# ── records ──────────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Block:
    """Some cells of a view, as they are after every corruption.

    ``cell_ids`` (n,) and ``feature_ids`` (p,) are 64-bit hashes of the source's own names; ``values`` (n, p) is CSR
    for counts and a dense array otherwise. Values are raw: nothing is normalised.
    """

    cell_ids: Ids
    feature_ids: Ids
    values: Values


@dataclass(frozen=True)
class Pairs:
    """What a score compares: row ``i`` of ``x`` with row ``i`` of ``y``.

    ``x`` (n, d) floats. ``y`` (n,) integer codes for a label, or (n, k) floats for a continuous signal. ``rows`` (n,)
    positions in the view. ``ids`` (n,) names the unit that is resampled (a cell, or its group), so that runs on the
    same cells share their sampling error; ``groups`` (n,) integer codes keep partners together in folds, or ``None``.
    """

    x: Floats
    y: NDArray[Any]
    rows: Ints
    ids: Ids
    groups: Ints | None = None


@dataclass(frozen=True)
class Estimate:
    """One number that a score measured, and how far to trust it.

    ``low`` and ``high`` bound a 95 % interval over test cells, ``stderr`` is its standard error, ``n`` the number of
    cells behind it, ``verdict`` is "ok" or a sentence. ``draws`` holds 64 deviations of ``value`` under a multiplier
    bootstrap whose signs are hashed from the cells' ids (:mod:`sclaws.multiplier`): two runs scored on the same cells
    have correlated draws, which is how a fit learns the covariance along a curve. Empty when unknown.
    """

    value: float
    low: float
    high: float
    stderr: float
    unit: str
    n: int
    verdict: str = "ok"
    details: Mapping[str, Any] = field(default_factory=dict)
    draws: tuple[float, ...] = ()


@dataclass(frozen=True)
class Param:
    """A law's parameter: bounds, unit, ``log`` (searched on a log scale), ``linear`` (enters the law linearly)."""

    low: float
    high: float
    unit: str = ""
    log: bool = False
    linear: bool = False


@dataclass(frozen=True)
class Context:
    """What a model may ask of its surroundings: passed to ``fit``, and but for the folder to ``load``, by ``context``.

    ``folder`` is scratch space, gone when ``fit`` returns or raises. It survives a kill: whoever trains the same trial
    next finds what was written, and may go on from there if it ends with the same numbers; a file may be half written.
    ``device`` "cpu" or "cuda"; ``threads`` the number of cores it may use; ``progress(message)`` says how far it is,
    for ``sclaws status`` to tell.
    """

    folder: Path
    device: str = "cpu"
    threads: int = 1
    progress: Callable[[str], None] = field(default=lambda message: None)


@dataclass(frozen=True)
class Job:
    """One training of several that ``fit_many`` is handed: what ``fit`` would get."""

    train: View
    valid: View
    seed: int


@dataclass(frozen=True)
class Failure:
    """An item that could not be done: the error's class name, its message, and the traceback as text."""

    error: str
    message: str
    traceback: str = ""


# ── experiments ──────────────────────────────────────────────────────────────────────────────────────────────────────
class Dataset(Protocol):
    """Where cells come from. ``load`` returns AnnData with raw values in ``X``, or :class:`sclaws.stored.Stored`.

    CSR is counts; a dense array of floats is measurements, such as the pixels of an image (``var`` has y, x and
    channel); a dense array of integers is codes, such as the residues of a sequence, whose order means nothing.

    ``uns["truth"]`` of a simulated data set holds what is known exactly. A field ``path`` (or one that ends in
    ``_path``) starts at the study file, and it is the content of what it leads to that counts in a key.
    """

    def load(self) -> AnnData | Stored:
        """Return the validated data; raise ``DataError`` naming file, field and remedy."""
        ...


class Corruption(Protocol):
    """A pure function of (seed, cell id, feature id, molecule): the same in any order, block size or process."""

    def apply(self, block: Block) -> Values:
        """Return the corrupted values of the block, same shape."""
        ...


class View(Protocol):
    """Rows x features x corruptions of a source, as a recipe. The concrete class is :class:`sclaws.view.View`."""

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        ...

    @property
    def n_vars(self) -> int:
        """Number of features."""

    @property
    def cell_ids(self) -> Ids:
        """(n,) 64-bit ids of the cells, from their names."""
        ...

    @property
    def feature_ids(self) -> Ids:
        """(p,) 64-bit ids of the features, from their names."""
        ...

    @property
    def feature_names(self) -> pd.Index:
        """(p,) names of the features."""
        ...

    @property
    def obs(self) -> pd.DataFrame:
        """(n, ...) annotations of the cells."""
        ...

    @property
    def var(self) -> pd.DataFrame:
        """(p, ...) annotations of the features: where a pixel is, say."""
        ...

    @property
    def counts(self) -> bool:
        """Whether the values are counts (sparse), and not images, sequences or measurements (dense)."""
        ...

    @property
    def on_disk(self) -> bool:
        """Whether every walk over the values reads them from disk: they are too many for memory."""
        ...

    @property
    def totals(self) -> NDArray[np.float64]:
        """(n,) sum of each cell's values: its depth in UMI, for counts."""
        ...

    @property
    def feature_totals(self) -> NDArray[np.float64]:
        """(p,) sum of each feature's values."""
        ...

    @property
    def library(self) -> NDArray[np.float64]:
        """(n,) sum of each cell's values over *every* feature of the source, as corrupted, whatever was chosen.

        For counts the molecules of the whole transcriptome: a model that normalises by it sees a depth that does not
        depend on the vocabulary. ``DataError`` where it is lost, by a corruption after chosen genes were materialised.
        """
        ...

    @property
    def applied(self) -> tuple[Corruption, ...]:
        """Every corruption the values went through."""
        ...

    def obsm(self, key: str) -> NDArray[Any]:
        """(n, k) array that belongs to the cells."""
        ...

    def batches(self, size: int = 4096) -> Iterator[Block]:
        """Yield the cells in order, ``size`` at a time, corrupted."""

    def to_adata(self) -> AnnData:
        """Return everything at once, in memory; ``X`` is the corrupted values."""
        ...

    def take(self, rows: Any) -> View:
        """Return the view of these rows (positions or a mask over the current rows)."""
        ...

    def choose(self, features: Any) -> View:
        """Return the view of these features (positions or a mask over the current features)."""
        ...

    def corrupt(self, corruption: Corruption) -> View:
        """Return the view with one more corruption, applied after those before it."""
        ...

    def materialise(self) -> View:
        """Return an equal view whose corruptions have been carried out, in memory."""
        ...

    def in_memory(self) -> View:
        """Return the same if there is room for it; else the same cells on disk, in an order that is quick to read."""
        ...


Recipe: TypeAlias = "Callable[[View], View]"


class Axis(Protocol):
    """One thing that can be made scarce.

    Every recipe is prepared on the whole training part of the split, uncorrupted, so that a depth means the same
    whatever the number of cells, and 512 genes are the same genes at every number of cells and depth. A recipe is
    applied unchanged to any view, a "rows" recipe to training cells alone. Optional: ``whole = True`` for
    levels that are whole numbers; ``scheme``, in a few words, how a "rows" axis chooses cells, if not uniformly.
    """

    @property
    def on(self) -> Literal["rows", "values", "features"]:
        """Which part of a view the axis acts on."""
        ...

    def prepare(self, train: View, level: float, *, seed: int) -> Recipe:
        """Return the recipe that brings ``train`` to ``level``; raise ``DataError`` when there is not that much."""
        ...

    def measure(self, view: View) -> dict[str, float]:
        """Return what the view has, by column name: ``{"umis_per_cell": 812.4}``."""
        ...


class Signal(Protocol):
    """What the embedding should know about: a label, proteins, a clone's other cell.

    Optional: ``check(adata)`` raises ``DataError`` before any work is lost, and may return a sentence on what it found;
    ``by`` names the ``obs`` column whose groups a split must not cut.
    """

    def pairs(self, view: View, embedding: Floats, *, seed: int) -> Pairs:
        """Return what is compared with what, both partners inside the view."""
        ...


@runtime_checkable
class Trained(Protocol):
    """A trained model.

    Optional: ``losses(view, *, seed)`` (n,) held-out bits per gene of each cell, with ``loss_measure`` naming the
    reference measure, and ``baseline_losses(view, *, seed)`` (n,) of the gene-mean baseline on the same genes, and the
    same hidden values if some are (both are used if the model says ``has_loss``); both may take
    ``genes: pd.Index | None = None``, names of genes over which alone the mean is taken, everything else unchanged, so
    that models of different vocabularies are scored on the same genes;
    ``n_params``, ``train_flops`` and ``share_found`` (of a checkpoint's genes), columns of the table; ``history``, a
    sequence of {name: number}, one a check of the training, such as {"update": 50, "cells": 1600, "train_loss": 0.61,
    "valid_loss": 0.63}; ``speed``, {name: number}, such as {"tokens_per_second": 4.1e5}; ``save(folder)``;
    ``adapt(view, y, *, seed, frozen)``, fine-tuning: see :class:`Adapted`.
    """

    def embed(self, view: View) -> Floats:
        """Return (n, d) coordinates of the cells."""
        ...


class Adapted(Protocol):
    """What ``Trained.adapt(view, y, *, seed, frozen)`` returns: a copy of the model with a head that gives classes.

    ``y`` (n,) label codes 0..K-1 of the view's cells; ``frozen`` leaves the model's own weights as they are. The model
    that was asked is not changed. What it keeps aside to stop early, it takes from these cells.
    """

    def probabilities(self, view: View) -> Floats:
        """Return (n, K) probabilities of the classes; rows sum to one."""
        ...


class Model(Protocol):
    """Something that learns from cells.

    Optional: ``load(folder)`` of what ``save`` wrote, ``untrained(train, *, seed)``, ``cost(cells, features)`` in CPU
    seconds, ``trains = False`` for a frozen one (training levels then drop out of its key), ``has_loss = True`` when
    what it trains has ``losses``, ``adapts = True`` when it has ``adapt`` (each may be a property of the fields),
    ``version`` raised when its numbers change, ``stacks = True`` when ``fit_many`` is worth more than sharing prepared
    cells with other models: its trials then are bundled together, and not with theirs.
    ``fit``, ``untrained`` and ``load`` get a :class:`Context` if their signatures name a ``context``.

    Optional: ``fit_many(jobs: Sequence[Job], *, context) -> list[Trained | Exception]`` trains several at once, which
    may differ in cells, genes and seed: one result a job, in order, which is what ``fit`` alone gives (to rounding)
    whatever the neighbours, and an exception in the place of a job that cannot be done. What shares a batch is for
    the model to decide; the cells of all jobs are in memory at once. After a kill the same jobs come in the same order
    with the same ``context.folder``.
    """

    def fit(self, train: View, valid: View, *, seed: int) -> Trained:
        """Learn from ``train``, stopping early on ``valid`` if at all; see nothing else."""
        ...


class Probe(Protocol):
    """What a score may look at, each part made only when asked for."""

    @property
    def view(self) -> View:
        """The test cells as the model saw them."""
        ...

    @property
    def cells(self) -> View:
        """The same cells, in the same order, as they were measured: every feature of their own, nothing taken away."""
        ...

    @property
    def embedding(self) -> Floats:
        """(n, d) embedding of the test cells."""
        ...

    @property
    def pairs(self) -> Pairs:
        """Embedding and signal side by side."""
        ...

    @property
    def trained(self) -> Trained:
        """The trained model."""
        ...

    def genes(self, n: int) -> pd.Index:
        """Return the names of the ``n`` genes that the study's axis ``n_genes`` gives at this level.

        They are among those of every higher level. ``ScoreError`` when the trial has fewer, or not that axis.
        """
        ...


class Score(Protocol):
    """A measure of what a model knows.

    Information scores also have ``estimate(x, y, *, groups=None, ids=None, seed=0) -> Estimate`` on bare arrays.
    ``needs`` says what is given to it: "signal" (the default) embedding and signal; "embedding" the embedding and the
    cells, whose annotations it reads itself; "model" the trained model and the cells; "model and signal" all of them.
    ``metrics`` names what it returns, for studies to be checked by. Optional: ``n_genes``, the number it will ask
    ``probe.genes`` for, ``by``, the ``obs`` column whose groups a split must not cut, and ``check(adata)``, which
    raises ``DataError`` or ``ScoreError`` for cells that it cannot score, are checked before any work is lost.

    Optional, of a score that does not need the model: ``many(probes: Iterable[Probe], *, seed) -> list[Mapping |
    Exception]`` measures several at once: one answer a probe, in order, which is what ``__call__`` alone gives (to .01)
    whatever the neighbours, and an exception in the place of one that cannot be measured. Probes are best read one by
    one. ``together``, with it, is how many it wants of the runs of a bundle, on this machine: results are stored when
    all of them are measured. Below 2, ``many`` is not used.
    """

    def __call__(self, probe: Probe, *, seed: int) -> Mapping[str, Estimate]:
        """Return {metric: estimate}."""
        ...


class Engine(Protocol):
    """Where bundles run. A lost worker is a failure of the item it was at, not of the sweep."""

    def map(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[Any, Any | Failure]]:
        """Yield (item, result or failure) in any order."""
        ...


# ── analysis ─────────────────────────────────────────────────────────────────────────────────────────────────────────
class Law(Protocol):
    """A formula with named parameters.

    ``inputs`` are roles that the study binds to columns, in order. ``params`` maps a name to a :class:`Param`, or to
    the bare tuple ``(low, high)``. Optional: ``bounds(x, y) -> {name: (low, high)}`` tightens bounds from the data,
    without which those of ``params`` must be finite; ``limit(theta)``, y at an infinite input, and
    ``transition(theta)``, the inputs between which most of y changes, let verdicts say more; ``ceiling`` names the
    parameter that a known upper limit of y bounds; ``formula`` and ``source`` are for the report.
    """

    @property
    def inputs(self) -> tuple[str, ...]:
        """Roles of the inputs, e.g. ``("depth",)``."""
        ...

    @property
    def params(self) -> Mapping[str, Param | tuple[float, float]]:
        """Parameters by name."""
        ...

    def predict(self, x: Mapping[str, Floats], theta: Mapping[str, Floats]) -> Floats:
        """Return y for inputs by role and parameters by name; all arrays broadcast against each other."""
        ...
