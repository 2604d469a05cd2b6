"""Models that break one promise each, and are told so."""

import json

import numpy as np
import pytest

from sclaws import testing
from sclaws.errors import ModelError


class Sums:
    """A model that keeps its promises: log-sums of three groups of genes, scaled by the training cells' mean."""

    def fit(self, train, valid, *, seed):
        self.scale = self.sums(train).mean(axis=0)
        return self

    def sums(self, view):
        values = view.to_adata().X.toarray()
        return np.log1p(np.stack([values[:, i::3].sum(axis=1) for i in range(3)], axis=1))

    def embed(self, view):
        return self.sums(view) / self.scale


class Careless(Sums):
    def fit(self, train, valid, *, seed):
        super().fit(train, valid, seed=seed)
        self.scale = self.scale * np.random.default_rng().normal(size=3)
        return self


class Peeking(Sums):
    def embed(self, view):
        return super().embed(view) - super().embed(view).mean(axis=0)


class Counting(Sums):
    def embed(self, view):
        return super().embed(view) + np.arange(view.n_obs)[:, None]


class Flat(Sums):
    def embed(self, view):
        return super().embed(view)[:, 0]


class Short(Sums):
    def embed(self, view):
        return super().embed(view)[1:]


class Diverged(Sums):
    def embed(self, view):
        return super().embed(view) * np.inf


class NotFrozen(Sums):
    trains = False


class Spoiling(Sums):
    """Scales the cells in place; here a few at a time only, or its own embeddings would differ first."""

    def embed(self, view):
        found = super().embed(view)
        if view.n_obs < 10:
            view.source.adata.X.data[:] += 1
        return found


class Lucky(Sums):
    def untrained(self, train, *, seed):
        return Careless().fit(train, train, seed=seed)


class Discreet(Sums):
    """Has losses, and the class does not say so: no study would ever ask for them."""

    def losses(self, view, *, seed):
        return self.embed(view)[:, 0]


class Boastful(Sums):
    has_loss = True


class Lossy(Sums):
    has_loss = True
    loss_measure = "counting measure"

    def losses(self, view, *, seed):
        return self.embed(view)[:, 0]


class OneLoss(Lossy):
    def losses(self, view, *, seed):
        return self.embed(view)[:, 0].mean()


class Unstable(Lossy):
    def losses(self, view, *, seed):
        return super().losses(view, seed=seed) + np.random.default_rng().normal()


class Unnamed(Lossy):
    loss_measure = None


class ByGene(Lossy):
    def losses(self, view, *, seed, genes=None):
        some = view if genes is None else view.choose(view.feature_names.get_indexer(genes))
        return np.log1p(some.totals) / some.n_vars

    def baseline_losses(self, view, *, seed, genes=None):
        return 1 + self.losses(view, seed=0, genes=genes)


class DeafToGenes(ByGene):
    def losses(self, view, *, seed, genes=None):
        return super().losses(view, seed=seed)


class OtherGenes(ByGene):
    def losses(self, view, *, seed, genes=None):
        return super().losses(view, seed=seed, genes=genes) + (genes is not None)


class HalfByGene(ByGene):
    def baseline_losses(self, view, *, seed):
        return 1 + self.losses(view, seed=0)


class SharedBaseline(Lossy):
    def baseline_losses(self, view, *, seed):
        return np.full(view.n_obs, view.totals.mean())


class Hoarding(Sums):
    def save(self, folder):
        (folder / "scale.json").write_text(json.dumps(self.scale.tolist()))


class Saved(Hoarding):
    def load(self, folder):
        found = type(self)()
        found.scale = np.array(json.loads((folder / "scale.json").read_text()))
        return found


class Rounded(Saved):
    def save(self, folder):
        (folder / "scale.json").write_text(json.dumps(self.scale.round(1).tolist()))


class Elsewhere(Saved):
    def save(self, folder):
        pass


class Free(Sums):
    def cost(self, cells, features):
        return 0.0


class Weightless(Sums):
    n_params = -1


class Told(Sums):
    history = ({"update": 50, "train_loss": 1.5}, {"update": 100, "train_loss": np.float32(1.25)})
    speed = {"cells_per_second": 1e4}


class Overflowed(Sums):
    history = ({"update": 50, "train_loss": 1.5}, {"update": 100, "train_loss": np.inf})


class Listed(Sums):
    history = (1.5, 1.25)


class Wordy(Sums):
    speed = {"cells_per_second": "many"}


class Picky(Sums):
    def fit(self, train, valid, *, seed):
        raise ModelError(f"{train.n_obs} cells are not to my liking")


class Fixed:
    """What Sums learns, apart from the model."""

    def __init__(self, scale):
        self.scale = scale

    embed = Sums.embed
    sums = Sums.sums


class Many(Sums):
    """A model that trains several at once."""

    def fit(self, train, valid, *, seed):
        if not train.counts or not train.n_obs:
            raise ModelError("no counts")
        return Fixed(self.sums(train).mean(axis=0) * (1 + seed / 10))

    def fit_many(self, jobs, *, context):
        return [self.one(job) for job in jobs]

    def one(self, job):
        try:
            return self.fit(job.train, job.valid, seed=job.seed)
        except ModelError as error:
            return error


class Reversed(Many):
    def fit_many(self, jobs, *, context):
        return super().fit_many(jobs, context=context)[::-1]


class Forgetful(Many):
    def fit_many(self, jobs, *, context):
        return [one for one in super().fit_many(jobs, context=context) if not isinstance(one, Exception)]


class AllOrNothing(Many):
    def fit_many(self, jobs, *, context):
        found = super().fit_many(jobs, context=context)
        bad = [one for one in found if isinstance(one, Exception)]
        return bad[:1] * len(found) if bad else found


class Neighbourly(Many):
    """Models trained together learn a little from each other."""

    def fit_many(self, jobs, *, context):
        found = super().fit_many(jobs, context=context)
        for one in found:
            if not isinstance(one, Exception):
                one.scale = one.scale * (1 + 0.01 * (len(jobs) - 1))
        return found


class Adapting(Sums):
    """Has classes told apart by the first coordinate, more steeply the more it learned."""

    shift = 0.0

    def adapt(self, view, y, *, seed, frozen):
        middle = np.mean([self.embed(view)[y == code, 0].mean() for code in (0, 1)]) + self.shift
        return Steep(self, middle)


class Steep:
    def __init__(self, of, middle):
        self.of, self.middle = of, middle

    def probabilities(self, view):
        p = 1 / (1 + np.exp(-(self.of.embed(view)[:, 0] - self.middle)))
        return np.stack([1 - p, p], axis=1)


class Unsure(Adapting):
    def adapt(self, view, y, *, seed, frozen):
        self.shift = np.random.default_rng().normal()
        return super().adapt(view, y, seed=seed, frozen=frozen)


class Overwritten(Adapting):
    def adapt(self, view, y, *, seed, frozen):
        adapted = super().adapt(view, y, seed=seed, frozen=frozen)
        adapted.of = Fixed(self.scale.copy())
        if not frozen:
            self.scale = self.scale * 2
        return adapted


class Leaning(Adapting):
    """Asks the cells of a view about each other."""

    def adapt(self, view, y, *, seed, frozen):
        adapted = super().adapt(view, y, seed=seed, frozen=frozen)
        adapted.of = Peeking()
        adapted.of.scale = self.scale
        return adapted


class Scored(Adapting):
    """Gives scores and calls them probabilities."""

    def adapt(self, view, y, *, seed, frozen):
        adapted = super().adapt(view, y, seed=seed, frozen=frozen)
        answer = adapted.probabilities
        adapted.probabilities = lambda cells: 2 * answer(cells)
        return adapted


class OneSided(Scored):
    def adapt(self, view, y, *, seed, frozen):
        adapted = Adapting.adapt(self, view, y, seed=seed, frozen=frozen)
        answer = adapted.probabilities
        adapted.probabilities = lambda cells: answer(cells)[:, 1]
        return adapted


@pytest.mark.parametrize(
    "model", [Sums(), Lossy(), ByGene(), Saved(), Many(), Told(), Adapting()], ids=lambda model: type(model).__name__
)
def test_promises_that_are_kept(model):
    testing.conforms("models", model)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (Careless(), "two fits with one seed embed the same cells differently"),
        (Peeking(), "an embedding depends on the other cells of the view"),
        (Counting(), "an embedding depends on the order of the cells"),
        (Flat(), r"embed returned shape \(60,\)"),
        (Short(), "embed returned 59 rows for 60 cells"),
        (Diverged(), "an embedding is not finite"),
        (NotFrozen(), "trains = False, and other training cells give another embedding"),
        (Spoiling(), "the cells' values were changed in place"),
        (Lucky(), "two untrained models with one seed"),
        (Discreet(), "has_loss = False, and what fit returns has losses"),
        (Boastful(), "has_loss = True, and what fit returns has no losses"),
        (OneLoss(), r"losses has shape \(\)"),
        (Unstable(), "one seed gives two values of a loss"),
        (Unnamed(), "loss_measure must name the reference measure"),
        (SharedBaseline(), "a baseline loss depends on the other cells"),
        (DeafToGenes(), "losses of 7 genes are those of all: genes is not looked at"),
        (OtherGenes(), "losses with all genes named are others"),
        (HalfByGene(), r"\['losses'\] take genes, and the others of"),
        (Reversed(), "fit_many, job 1 of 5: fit alone works, and here it does not"),
        (Forgetful(), "fit_many returned 3 models for 5 jobs"),
        (AllOrNothing(), "fit_many, job 1 of 5: fit alone works, and here it does not"),
        (Neighbourly(), "fit_many, job 1 of 5: it embeds differently than fit's alone"),
        (Unsure(), "adapt, frozen = False: one seed gives two answers"),
        (Overwritten(), "adapt, frozen = False: the model that was asked embeds differently afterwards"),
        (Leaning(), "adapt, frozen = True: a probability depends on the other cells of the view"),
        (Scored(), "adapt, frozen = True: the probabilities of a cell do not sum to one"),
        (OneSided(), r"adapt, frozen = True: probabilities have shape \(60,\) for 60 cells and 2 classes"),
        (Hoarding(), "what is saved cannot be loaded"),
        (Rounded(), "a model loaded from its folder embeds differently"),
        (Elsewhere(), "save wrote nothing into its folder"),
        (Free(), r"cost is \[0.0, 0.0\]"),
        (Weightless(), "n_params is -1"),
        (Overflowed(), "history, row 2: train_loss is inf; a finite number is needed"),
        (Listed(), "history, row 1 is 1.5"),
        (Wordy(), "speed: cells_per_second is 'many'"),
        (Picky(), "fit refused counts, other values, images and sequences: 150 cells are not to my liking"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_broken_promises_are_told(model, told):
    with pytest.raises(AssertionError, match=told), np.errstate(invalid="ignore"):
        testing.conforms("models", model)
