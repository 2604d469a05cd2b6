"""Axes that break one promise each, and are told so."""

from dataclasses import dataclass

import numpy as np
import pytest

from sclaws import testing
from sclaws.errors import DataError
from sclaws.hashing import mix, ranked
from sclaws.substitution import Substitute
from sclaws.testing import cells
from sclaws.thinning import Thin


def refuse(level, most):
    if not 0 < level <= most:
        raise DataError(f"level {level} is not within {most}")


class Cells:
    on = "rows"

    def prepare(self, train, level, *, seed):
        refuse(level, train.n_obs)
        return lambda view: view.take(ranked(view.cell_ids, seed)[: int(level)])

    def measure(self, view):
        return {"n": float(view.n_obs)}


class Eager(Cells):
    def prepare(self, train, level, *, seed):
        return lambda view: view.take(np.arange(min(max(int(level), 0), view.n_obs)))


class Reshuffled(Cells):
    def prepare(self, train, level, *, seed):
        return super().prepare(train, level, seed=int(level))


class Unseeded(Cells):
    def prepare(self, train, level, *, seed):
        return super().prepare(train, level, seed=int(np.random.default_rng().integers(1 << 30)))


class Generous(Cells):
    def prepare(self, train, level, *, seed):
        refuse(level, train.n_obs)
        return super().prepare(train, 2 * level, seed=seed)


class Wordless(Cells):
    def measure(self, view):
        return {"n": float("nan")}


class Unplaced(Cells):
    on = "columns"


class Refusing(Cells):
    def prepare(self, train, level, *, seed):
        raise DataError("never")


class Genes:
    """Features that the recipe chooses anew on every view it is applied to: a leak from test cells."""

    on = "features"

    def prepare(self, train, level, *, seed):
        refuse(level, train.n_vars)
        return lambda view: view.choose(np.argsort(cells.values(view).sum(axis=0))[-int(level) :])

    def measure(self, view):
        return {"n_genes": float(view.n_vars)}


class Depth:
    """Keeps molecules by their hashes: what follows breaks it."""

    on = "values"

    def prepare(self, train, level, *, seed):
        refuse(level, train.totals.mean())
        return lambda view: view.corrupt(self.corruption(level / train.totals.mean(), seed))

    def corruption(self, fraction, seed):
        return Thin.keep(fraction, seed)

    def measure(self, view):
        return {"depth": float(view.totals.mean())}


@dataclass(frozen=True)
class Drawn:
    """Draws molecules one after another, so that a cell's draws depend on the cells before it in the batch."""

    fraction: float
    seed: int

    def apply(self, block):
        values = block.values.copy()
        values.data = np.random.default_rng(self.seed).binomial(values.data.astype(int), self.fraction).astype(float)
        return values


@dataclass(frozen=True)
class DrawnByCell:
    """Has a generator for each cell, and draws gene after gene: depends on which other genes are there."""

    fraction: float
    seed: int

    def apply(self, block):
        values = block.values.toarray().astype(int)
        for row, cell in zip(values, block.cell_ids, strict=True):
            row[:] = np.random.default_rng([self.seed, int(cell)]).binomial(row, self.fraction)
        return values.astype(float)


@dataclass(frozen=True)
class Blurred:
    """Averages over the pixels that are there, whichever."""

    strict: bool

    def apply(self, block):
        if self.strict and len(block.feature_ids) < 60:
            raise DataError("give whole images")
        values = block.values.toarray() if hasattr(block.values, "toarray") else block.values
        return values / 2 + values.mean(axis=1, keepdims=True) / 2


class Blur:
    """An axis of images alone, whose levels say nothing; ``strict`` refuses parts of an image, as it must."""

    on = "values"

    def __init__(self, strict, of_images=True):
        self.strict, self.of_images = strict, of_images

    def prepare(self, train, level, *, seed):
        if "channel" not in train.var and self.of_images:
            raise DataError("no images")
        refuse(level, 100)
        return lambda view: view.corrupt(Blurred(self.strict))

    def measure(self, view):
        return {"blur": 20.0}


class BatchWise(Depth):
    def corruption(self, fraction, seed):
        return Drawn(fraction, seed)


class CellWise(Depth):
    def corruption(self, fraction, seed):
        return DrawnByCell(fraction, seed)


class LevelWise(Depth):
    def corruption(self, fraction, seed):
        return Thin.keep(fraction, int(mix(np.uint64(1e6 * fraction)) >> np.uint64(33)))


class Residues:
    """Substitutes residues by their hashes, at a rate of 1 / level: what follows breaks it."""

    on = "values"

    def prepare(self, train, level, *, seed):
        if train.counts or cells.values(train).dtype.kind == "f":
            raise DataError("no residues")
        refuse(level, 1e6)
        return lambda view: view.corrupt(Substitute(1 / level, self.seed(seed, level)))

    def seed(self, seed, level):
        return seed

    def measure(self, view):
        rates = [corruption.rate for corruption in view.applied]
        return {"odds": 1 / rates[0]} if rates else {}


class ResiduesAnew(Residues):
    def seed(self, seed, level):
        return seed + int(level)


@pytest.mark.parametrize(
    "axis", [Cells(), Depth(), Residues(), Blur(strict=True)], ids=lambda axis: type(axis).__name__
)
def test_promises_that_are_kept(axis):
    testing.conforms("axes", axis)


@pytest.mark.parametrize(
    ("axis", "told"),
    [
        (Eager(), "level 0 is impossible, and was not refused with a DataError"),
        (Reshuffled(), "rows of a lower level are not among those of a higher one"),
        (Unseeded(), "a recipe made twice differs"),
        (Generous(), "level 20 was asked for, and measure says {'n': 40.0}"),
        (Wordless(), "measure gave {'n': nan}"),
        (Unplaced(), "on = 'columns'"),
        (Refusing(), "level 20 was refused, on counts, other values, images and sequences: never; never; never; never"),
        (Genes(), "features were not chosen once"),
        (BatchWise(), "corruption of a cell depends on the other cells, or on their order"),
        (CellWise(), "corruption of a feature depends on the other features"),
        (LevelWise(), "levels are not nested: a lower one keeps molecules"),
        (
            ResiduesAnew(),
            "levels are not nested: what a higher one changes, a lower one does not change in the same way",
        ),
        (Blur(strict=False), "corruption of a feature depends on the other features"),
        (Blur(strict=True, of_images=False), "a feature is not corrupted without the others"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_broken_promises_are_told(axis, told):
    with pytest.raises(AssertionError, match=told):
        testing.conforms("axes", axis)
