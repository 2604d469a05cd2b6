"""Scores that break one promise each, and are told so."""

import dataclasses

import numpy as np
import pytest

from sclaws import testing
from sclaws.errors import ScoreError
from sclaws.scores.fine_tuning import FineTuning
from sclaws.scores.gaussian import Gaussian
from sclaws.scores.heldout_loss import HeldoutLoss


class Wrapped:
    """A good score, whose estimates are changed by what follows."""

    def __call__(self, probe, *, seed):
        pairs = probe.pairs
        return {"information": self.estimate(pairs.x, pairs.y, groups=pairs.groups, ids=pairs.ids, seed=seed)}

    def estimate(self, x, y, *, groups=None, ids=None, seed=0):
        return self.changed(Gaussian().estimate(x, y, groups=groups, ids=ids))

    def changed(self, found):
        return found


class Bragging(Wrapped):
    def changed(self, found):
        return dataclasses.replace(found, value=found.value + 1, low=found.low + 1, high=found.high + 1)


class Timid(Wrapped):
    def changed(self, found):
        return dataclasses.replace(found, value=0.0, low=-1.0, high=1.0)


class Outside(Wrapped):
    def changed(self, found):
        return dataclasses.replace(found, value=found.high + 1)


class Narrow(Wrapped):
    """Its draws have ten times the spread that its interval admits."""

    def changed(self, found):
        return dataclasses.replace(found, stderr=found.stderr / 10)


class FewDraws(Wrapped):
    def changed(self, found):
        return dataclasses.replace(found, draws=found.draws[:10])


class Unitless(Wrapped):
    def changed(self, found):
        return dataclasses.replace(found, unit="")


class Moody(Wrapped):
    def changed(self, found):
        nudge = 1e-9 * np.random.default_rng().normal()
        return dataclasses.replace(found, value=found.value + nudge)


class Nameless(Wrapped):
    """Gives draws by the position of a cell, so that runs on the same cells do not share their errors."""

    def estimate(self, x, y, *, groups=None, ids=None, seed=0):
        return Gaussian().estimate(x, y, groups=groups)


class Ordered(Wrapped):
    def estimate(self, x, y, *, groups=None, ids=None, seed=0):
        shift = 0.0 if len(x) != 400 else float(x[0, 0]) / 100
        found = super().estimate(x, y, groups=groups, ids=ids)
        return dataclasses.replace(found, value=found.value + shift, low=found.low - 1, high=found.high + 1)


class Forgiving(Wrapped):
    def estimate(self, x, y, *, groups=None, ids=None, seed=0):
        return super().estimate(np.nan_to_num(x) + 0.0, y, groups=groups, ids=ids)


class Padding(Wrapped):
    """Takes ten cells for a sample."""

    def estimate(self, x, y, *, groups=None, ids=None, seed=0):
        if len(x) == 10 == len(y):
            x, y = np.tile(x, (10, 1)), np.tile(y, (10, 1))
        return super().estimate(x, y, groups=groups, ids=ids if ids is None or len(ids) == len(x) else None)


class TwoTongues(Wrapped):
    def __call__(self, probe, *, seed):
        return {name: dataclasses.replace(f, low=f.low - 1) for name, f in super().__call__(probe, seed=seed).items()}


class Mute(Wrapped):
    def __call__(self, probe, *, seed):
        return {}


class Misnamed(Wrapped):
    metrics = ("bits",)


class Shut(Wrapped):
    def __call__(self, probe, *, seed):
        raise ScoreError("no")


class Misplaced(Wrapped):
    needs = "cells"


class AtOnce(Wrapped):
    """Measures several at once; each of the following does so wrongly in one way."""

    together = 4

    def many(self, probes, *, seed):
        return [self.one(probe, seed) for probe in probes]

    def one(self, probe, seed):
        try:
            return self(probe, seed=seed)
        except ScoreError as error:
            return error


class Unasked(AtOnce):
    together = 0


class Losing(AtOnce):
    def many(self, probes, *, seed):
        return super().many(probes, seed=seed)[1:]


class Infecting(AtOnce):
    def many(self, probes, *, seed):
        found = super().many(probes, seed=seed)
        return [next((one for one in found if isinstance(one, Exception)), None) or one for one in found]


class Shuffling(AtOnce):
    def many(self, probes, *, seed):
        found = super().many(probes, seed=seed)
        good = [one for one in found if not isinstance(one, Exception)][::-1]
        return [one if isinstance(one, Exception) else good.pop(0) for one in found]


class Healing(AtOnce):
    def one(self, probe, seed):
        return super().one(probe, seed) if np.isfinite(probe.embedding).all() else {}


class Renaming(AtOnce):
    def one(self, probe, seed):
        found = super().one(probe, seed)
        return found if isinstance(found, Exception) else {"bits": found["information"]}


class BareScore:
    """No ``estimate`` on arrays: the checks go through the probe, and the NaN are found there."""

    def __call__(self, probe, *, seed):
        x = np.nan_to_num(probe.pairs.x)
        return {"information": Gaussian().estimate(x, probe.pairs.y, ids=probe.pairs.ids)}


class BlindLoss(HeldoutLoss):
    """Does not look at the model's losses."""

    def __call__(self, probe, *, seed):
        units = np.random.default_rng(0).normal(size=(probe.view.n_obs, 2))
        return {"loss": Gaussian().estimate(units[:, :1], units[:, 1:])}


class HopefulLoss(HeldoutLoss):
    """Takes losses that are not finite for zero."""

    def __call__(self, probe, *, seed):
        class Patched:
            def losses(self, view, *, seed):
                return np.nan_to_num(probe.trained.losses(view, seed=seed))

        return super().__call__(dataclasses.replace(probe, trained=Patched()), seed=seed)


class ReadsCells(Wrapped):
    """Reads the label from the cells."""

    needs = "embedding"

    def __call__(self, probe, *, seed):
        y = probe.view.obs["donor"].cat.codes.to_numpy()[:, None] + probe.view.obsm("state")
        return {"information": self.estimate(self.seen(probe.embedding), y, ids=probe.view.cell_ids)}

    def seen(self, x):
        return x


class Unseeing(ReadsCells):
    def seen(self, x):
        Gaussian().estimate(x, x[:, :1] + np.random.default_rng(0).normal(size=(len(x), 1)))  # refuses NaN
        return np.random.default_rng(0).normal(size=x.shape)


class InOrder(ReadsCells):
    """Looks at the cells that come first."""

    def seen(self, x):
        return np.where(np.arange(len(x))[:, None] < 100, x, 0 * x)


class HopefulReader(ReadsCells):
    def seen(self, x):
        return np.nan_to_num(x) + 1e-3 * np.random.default_rng(0).normal(size=x.shape)


class Checked(ReadsCells):
    def check(self, adata):
        raise ScoreError("no such column")


class Adapting(FineTuning):
    """The bits alone."""

    def __call__(self, probe, *, seed):
        return {"information": super().__call__(probe, seed=seed)["information"]}


class DeafAdapting(Adapting):
    """Does not look at what the adapted model says."""

    def __call__(self, probe, *, seed):
        return {"information": FineTuning().__call__(probe, seed=seed)["information"]}


class HopefulAdapting(Adapting):
    """Takes probabilities that are not finite for equal ones."""

    def __call__(self, probe, *, seed):
        sharp = np.nan_to_num(getattr(probe.trained, "sharp", 0.0))
        return super().__call__(
            dataclasses.replace(probe, trained=dataclasses.replace(probe.trained, sharp=sharp)), seed=seed
        )


@pytest.mark.parametrize(
    "score", [Wrapped(), HeldoutLoss(), ReadsCells(), Adapting(frozen=False)], ids=lambda score: type(score).__name__
)
def test_promises_that_are_kept(score):
    testing.conforms("scores", score)


@pytest.mark.parametrize(
    ("score", "told"),
    [
        (Bragging(), "independent signal, and the interval starts at"),
        (Timid(), "0.0 bits where there is plenty"),
        (Outside(), "is not in its interval"),
        (Narrow(), "draws spread by .*, and stderr is"),
        (FewDraws(), "10 draws; 64 or none"),
        (Unitless(), "no unit"),
        (Moody(), "one seed gives two values"),
        (Nameless(), "the same cells in another order have other draws: their signs are not those of the ids"),
        (Ordered(), "the same cells in another order have another value"),
        (Forgiving(), "an embedding of NaN was not refused"),
        (Padding(), "a sample of 10 cells was not refused"),
        (TwoTongues(), "says something else than the score of a probe"),
        (Mute(), "a score returned no metric"),
        (Misnamed(), r"metrics = \('bits',\), and the score returned \['information'\]"),
        (Shut(), "neither a label nor a continuous signal was accepted"),
        (Misplaced(), "needs = 'cells'; one of 'signal', 'embedding', 'model', 'model and signal' is needed"),
        (BareScore(), "an embedding of NaN was not refused"),
        (Unasked(), "together = 0; many needs a whole number, 1 or more"),
        (Losing(), r"many gave \d answers for \d probes"),
        (Infecting(), "many: one that was to fail took another with it: "),
        (Shuffling(), "many: information is [^ ]* among others, and [^ ]* alone"),
        (Healing(), "many: an embedding of NaN among others was not refused in its place"),
        (Renaming(), r"many gives \['bits'\], and one alone \['information'\]"),
        (BlindLoss(), "a model with a lower loss has the same scores"),
        (Unseeing(), "an embedding of noise has the same scores"),
        (InOrder(), "information: the same cells in another order have another value"),
        (HopefulReader(), "an embedding of NaN was not refused"),
        (HopefulLoss(), "a model whose losses are NaN was not refused"),
        (
            DeafAdapting(frozen=False),
            "a model that tells classes apart when adapted has the scores of one that does not",
        ),
        (HopefulAdapting(frozen=False), "a model whose probabilities are NaN was not refused"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_broken_promises_are_told(score, told):
    with pytest.raises(AssertionError, match=told):
        testing.conforms("scores", score)


def test_cells_that_a_score_refuses_are_told():
    with pytest.raises(ScoreError, match="no such column"):
        testing.conforms("scores", Checked())


def test_a_score_that_measures_several_at_once_passes():
    testing.conforms("scores", AtOnce())
