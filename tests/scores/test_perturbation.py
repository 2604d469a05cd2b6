from types import SimpleNamespace

import anndata
import numpy as np
import pytest
from scipy import sparse

from sclaws import testing
from sclaws.errors import ScoreError
from sclaws.scores import _heads, _responses
from sclaws.scores._arms import Means, arms, expression
from sclaws.scores.perturbation import Perturbation
from sclaws.view import View

GENES = 40


def screen(effect, *, targets=6, shares=(0.5,), cells=150, apart=3.0, seed=0):
    """Return measurements of two kinds of cells, which differ in all genes, and an embedding that shows the kind.

    In context c a cell is of kind 1 with probability ``shares[c]``; ``effect(target, kind)`` (p,) is added.
    """
    rng = np.random.default_rng(seed)
    kinds = rng.normal(0, 2, size=(2, GENES))
    rows, named, where, kind = [], [], [], []
    for c, share in enumerate(shares):
        for t in range(-1, targets):
            mine = (rng.random(cells) < share).astype(int)
            rows.append(kinds[mine] + (0 if t < 0 else np.array([effect(t, k) for k in mine])))
            named += ["none" if t < 0 else f"t{t}"] * cells
            where += [f"c{c}"] * cells
            kind.append(mine)
    values = 5 + np.concatenate(rows) + rng.normal(0, 0.5, size=(len(named), GENES))
    adata = anndata.AnnData(values, obs={"target": named, "line": where})
    adata.obs_names = [f"cell{i}" for i in range(len(named))]
    x = apart * np.concatenate(kind)[:, None] + rng.normal(size=(len(named), 2))
    return SimpleNamespace(cells=View.of(adata), embedding=x), kinds


def values(probe, **fields):
    found = Perturbation("target", "none", **fields)(probe, seed=0)
    return {name: estimate.value for name, estimate in found.items()}


# ── what is known ────────────────────────────────────────────────────────────────────────────────────────────────────
SHIFT = np.random.default_rng(1).normal(size=GENES)


def test_a_shift_common_to_all_targets_is_the_average_of_the_others():
    found = values(screen(lambda t, k: SHIFT)[0])
    # 150 cells: the noise of means is .25 / 150 and what the kinds' shares add to it
    assert found["mse"] == found["average_mse"] < 0.1
    assert found["no_change_mse"] == pytest.approx(np.mean(SHIFT**2), rel=0.25)
    assert found["pearson_change"] > 0.9
    assert "shift_mse" not in found


def test_the_model_reaches_a_common_shift_in_an_unseen_context():
    found = values(screen(lambda t, k: SHIFT, shares=(0.2, 0.5, 0.8))[0], context="line", predicts="change")
    assert found["mse"] < 0.1 * found["no_change_mse"]
    assert found["mse"] < 2 * found["shift_mse"]
    assert min(found["pearson_change"], found["shift_pearson_change"]) > 0.9


def nothing(targets, contexts, seed):
    """Return cells that differ by noise alone, the same in all genes, and an embedding that is noise, too."""
    rng = np.random.default_rng(seed)
    named = np.tile(np.repeat(["none", *(f"t{i}" for i in range(targets))], 40), contexts)
    line = np.repeat([f"c{c}" for c in range(contexts)], len(named) // contexts)
    values = 5 * np.random.default_rng(0).normal(size=400) + rng.normal(size=(len(named), 400))
    adata = anndata.AnnData(values, obs={"target": named, "line": line})
    adata.obs_names = [f"cell{i}" for i in range(len(named))]
    return SimpleNamespace(cells=View.of(adata), embedding=rng.normal(size=(len(named), 2)))


@pytest.mark.parametrize(
    ("contexts", "fields"), [(1, {}), (3, {"context": "line"}), (3, {"context": "line", "predicts": "change"})]
)
def test_without_response_the_means_correlate_and_the_changes_do_not(contexts, fields):
    found = values(nothing(24 // contexts, contexts, seed=1), **fields)
    assert min(found["pearson"], found["no_change_pearson"]) > 0.99, "who knows nothing correlates with the truth"
    # 24 values of independent noise in 400 genes have a mean within .03 of zero, but that controls are shared
    assert abs(found["pearson_change"]) < 0.12
    assert found["average_mse"] < found["no_change_mse"], "an average of many arms is less noisy, and nothing else"


def test_with_the_same_control_cells_on_both_sides_the_changes_would_correlate():
    values = nothing(1, 1, seed=2).cells.to_adata().X
    control, truth = values[:40].mean(axis=0), values[40:].mean(axis=0)
    expected = 5 * np.random.default_rng(0).normal(size=400)  # the mean of all, without noise
    assert _responses.correlation(expected - control, truth - control) == pytest.approx(0.5**0.5, abs=0.1)


def test_a_response_that_depends_on_the_cells_kind_is_predicted_where_kinds_are_mixed_otherwise():
    """And no better than random partners allow.

    Contexts with shares .1, .3, .5, .7 of kind 1 have responses in proportion, on average .4. A head sees the kind and
    gives each the mean of the contexts that such a cell may be from: for kind 1 (.01 + .09 + .25 + .49) / 1.6 = .525,
    for kind 0 (.09 + .21 + .25 + .21) / 2.4 = .317; at a share of .95, .515. Of the squared error of the average that
    leaves (.95 - .515)² / (.95 - .4)².
    """

    def effect(t, kind):
        return (2.0 * np.random.default_rng(t).normal(size=GENES)) * kind

    probe, _ = screen(effect, shares=(0.1, 0.3, 0.5, 0.7, 0.95), targets=5, apart=8.0)
    blind = SimpleNamespace(cells=probe.cells, embedding=np.random.default_rng(0).normal(size=probe.embedding.shape))
    for predicts, baseline in (("expression", "average_mse"), ("change", "shift_mse")):
        asked = {"context": "line", "held_out": ("c4",), "predicts": predicts}
        seeing, guessing = values(probe, **asked), values(blind, **asked)
        assert seeing["mse"] / seeing[baseline] == pytest.approx((0.95 - 0.515) ** 2 / 0.55**2, abs=0.12)
        assert guessing["mse"] / guessing[baseline] == pytest.approx(1, abs=0.12)


def test_heads_learn_what_the_published_ones_learn_from_random_partners():
    """A network with one output a gene, trained on pairs whose partner is drawn anew each time, ends in the same."""
    import torch

    rng = np.random.default_rng(3)
    kind = [rng.random(300) < share for share in (0.1, 0.5, 0.9)]
    x = np.concatenate([3.0 * k[:, None] + rng.normal(size=(300, 2)) for k in kind])
    after = [rng.normal(size=(2, GENES))[k.astype(int)] + 0 for k in kind]
    after = [values + rng.normal(0, 0.5, size=values.shape) for values in after]
    asked = np.flatnonzero(np.concatenate(kind))
    seen, aside = zip(*(_heads.cut(np.arange(300) + 300 * c) for c in range(3)), strict=True)
    means = np.array([a[:270].mean(axis=0) for a in after])
    lesson = _heads.Lesson(asked, seen, aside, means, np.array([a[270:].mean(axis=0) for a in after]))
    ours = _heads.predicted(x, [lesson], 0)[0]

    torch.manual_seed(0)
    points = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    net = torch.nn.Sequential(torch.nn.Linear(2, 128), torch.nn.SiLU(), torch.nn.Linear(128, GENES))
    adam = torch.optim.Adam(net.parameters(), lr=3e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 600)
    for _ in range(600):
        context, row = rng.integers(3, size=128), rng.integers(270, size=128)
        partner = np.stack([after[c][i] for c, i in zip(context, rng.integers(270, size=128), strict=True)])
        adam.zero_grad()
        ((net(points[300 * context + row]) - torch.tensor(partner, dtype=torch.float32)) ** 2).mean().backward()
        adam.step()
        rate.step()
    published = net(points[asked]).mean(0).detach().numpy()
    apart = np.linalg.norm(published - means.mean(axis=0))
    assert np.linalg.norm(ours - published) < 0.2 * apart


def test_a_head_with_one_context_is_its_mean_and_a_constant_embedding_the_average():
    rng = np.random.default_rng(4)
    x, one, means = rng.normal(size=(90, 2)), np.arange(30), rng.normal(size=(2, GENES))
    alone = _heads.Lesson(one, [one + 30], [one + 60], means[:1], means[:1])
    both = _heads.Lesson(one, [one[:15], one[15:]], [one + 30, one + 60], means, means)
    np.testing.assert_allclose(_heads.predicted(x, [alone], 0)[0], means[0])
    start = np.linalg.norm(means[0] - means[1])
    assert np.linalg.norm(_heads.predicted(np.ones((90, 2)), [both], 0)[0] - means.mean(axis=0)) < 0.02 * start


# ── by hand ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_expression_is_log_normalised_and_measurements_are_as_they_are():
    counts = sparse.csr_matrix(np.array([[1, 3, 0], [0, 0, 0], [5, 0, 0]], dtype=np.float32))
    np.testing.assert_allclose(expression(counts).toarray(), np.log1p([[2500, 7500, 0], [0, 0, 0], [10000, 0, 0]]))
    np.testing.assert_allclose(expression(np.array([[0.5, -1.0]])).toarray(), [[0.5, -1.0]])
    with pytest.raises(ScoreError, match="these values are codes"):
        expression(np.array([[1, 2]]))
    with pytest.raises(ScoreError, match="some expression values are not finite"):
        expression(np.array([[np.nan, 2.0]]))


def test_means_and_metrics_are_those_of_numpy():
    view = testing.counts(400)
    found = arms(view.obs, view.cell_ids, "donor", ["d0"], None, 1000, 0)
    means = Means.of(view, found)
    values = expression(view.to_adata().X).toarray()
    donor = view.obs["donor"].to_numpy()
    np.testing.assert_allclose(means("d3", ""), values[donor == "d3"].mean(axis=0))
    assert means.noise("d3", "") == pytest.approx((values[donor == "d3"].var(axis=0, ddof=1) / 50).mean())
    halves = [values[rows].mean(axis=0) for rows in found.parts("", "")]
    np.testing.assert_allclose([means("", "", 0), means("", "", 1)], halves)
    assert not set(found.parts("", "")[0]) & set(found.parts("", "")[1])
    # every fold of targets has the average of the targets outside: with as many folds as targets, of all others
    score = Perturbation("donor", "d0", folds=7)(SimpleNamespace(cells=view, embedding=np.zeros((400, 1))), seed=0)
    own = {f"d{i}": values[donor == f"d{i}"].mean(axis=0) for i in range(1, 8)}
    average = {t: np.mean([m for other, m in own.items() if other != t], axis=0) for t in own}
    hand = {
        "mse": np.mean([np.mean((average[t] - own[t]) ** 2) for t in own]),
        "pearson": np.mean([np.corrcoef(average[t], own[t])[0, 1] for t in own]),
        "pearson_change": np.mean([np.corrcoef(average[t] - halves[0], own[t] - halves[1])[0, 1] for t in own]),
        "no_change_mse": np.mean([np.mean((halves[0] - own[t]) ** 2) for t in own]),
        "no_change_pearson": np.mean([np.corrcoef(halves[0], own[t])[0, 1] for t in own]),
    }
    for name, value in hand.items():
        assert score[name].value == pytest.approx(value, rel=1e-9), name
    assert score["mse"].details["baseline"] == pytest.approx(min(hand["mse"], hand["no_change_mse"]))
    assert score["pearson"].details["baseline"] == pytest.approx(max(hand["pearson"], hand["no_change_pearson"]))
    assert score["mse"].n == 350
    assert "whatever the embedding" in score["mse"].verdict


def test_baselines_of_an_unseen_context_are_those_of_numpy():
    probe, _ = screen(lambda t, k: SHIFT * t, targets=3, shares=(0.2, 0.8, 0.5), cells=40)
    score = Perturbation("target", "none", "line", held_out=("c1",))
    found = score(probe, seed=0)
    adata = probe.cells.to_adata()
    mean = {
        (t, c): adata.X[((adata.obs["target"] == t) & (adata.obs["line"] == c)).to_numpy()].mean(axis=0)
        for t in ("none", "t0", "t1", "t2")
        for c in ("c0", "c1", "c2")
    }
    controls = arms(probe.cells.obs, probe.cells.cell_ids, "target", ["none"], "line", 1000, 0).parts("", "c1")[0]
    start = adata.X[controls].mean(axis=0)
    names = ("t0", "t1", "t2")
    average = {t: (mean[t, "c0"] + mean[t, "c2"]) / 2 for t in names}
    shift = {t: start + average[t] - (mean["none", "c0"] + mean["none", "c2"]) / 2 for t in names}
    for name, made in (("average", average), ("shift", shift)):
        assert found[f"{name}_mse"].value == pytest.approx(
            np.mean([np.mean((made[t] - mean[t, "c1"]) ** 2) for t in names])
        )
    assert found["mse"].details["pairs"] == 3
    assert found["mse"].verdict == "interval over 3 targets"


def test_the_interval_is_over_targets():
    def response(target, context, miss):
        truth = np.arange(4.0)
        return _responses.Response(target, context, {"model": truth + miss}, truth, truth - 1, truth - 1, 0.1, 10)

    rows = [response(f"t{i}", c, 0.1 * i) for i in range(6) for c in ("a", "b")]
    found = _responses.estimates(rows, "nobody", ())["model_mse"]
    each = np.array([(0.1 * i) ** 2 for i in range(6)])
    assert found.value == pytest.approx(each.mean())
    assert found.stderr == pytest.approx(each.std(ddof=1) / np.sqrt(6))
    assert (found.n, found.verdict) == (120, "ok")
    few = _responses.estimates(rows[:6], "nobody", ())["model_mse"]
    assert few.verdict == "interval over pairs of target and context: only 3 targets"


# ── what cannot be scored ────────────────────────────────────────────────────────────────────────────────────────────
def test_what_cannot_be_scored_is_said_before_any_work():
    adata = screen(lambda t, k: SHIFT, targets=4, shares=(0.5, 0.5), cells=30)[0].cells.to_adata()
    Perturbation("target", "none").check(adata)
    for score, told in (
        (Perturbation("targt", "none"), "obs has no column 'targt'; did you mean 'target'"),
        (Perturbation("target", "nope"), "no control cells: obs.'target'. is 'nope' for no cell; did you mean 'none'"),
        (Perturbation("target", ("none", "x")), "is 'x' for no cell"),
        (Perturbation("target", "none", "lin"), "obs has no column 'lin'; did you mean 'line'"),
        (Perturbation("target", "none", "line", ("c7",)), "held_out = 'c7' is no context with enough control cells"),
        (Perturbation("target", ("none", "t0", "t1")), "2 targets to predict, and an interval needs 3"),
        (Perturbation("target", ("none", "t0", "t1", "t2")), "0 targets to predict"),
        (Perturbation("line", ("c0", "c1")), "obs.'line'. names no target with 20 cells"),
    ):
        with pytest.raises(ScoreError, match=told):
            score.check(adata)
    one = adata[adata.obs["line"] == "c0"]
    with pytest.raises(ScoreError, match="0 pairs of a target and a context, seen in another context, too, to predict"):
        Perturbation("target", "none", "line").check(one)
    few = adata[(adata.obs["target"] != "none") | (np.arange(adata.n_obs) % 10 == 0)]
    with pytest.raises(ScoreError, match="3 control cells are too few in every context: 20 are needed"):
        Perturbation("target", "none", "line").check(few)


def test_small_arms_and_cells_without_a_name_are_left_out_and_said():
    adata = screen(lambda t, k: SHIFT, targets=5, cells=30)[0].cells.to_adata()
    adata.obs["target"] = adata.obs["target"].astype(object)
    adata.obs.iloc[30:45, 0] = None  # half of t0
    probe = SimpleNamespace(cells=View.of(adata), embedding=np.zeros((adata.n_obs, 1)))
    found = Perturbation("target", "none")(probe, seed=0)["mse"]
    assert found.n == 120
    assert "1 of 6 arms left out: fewer than 20 cells" in found.verdict
    capped = Perturbation("target", "none", n_cells=50)
    assert {len(rows) for rows in capped._arms(adata.obs, probe.cells.cell_ids, 0).rows.values()} == {30}


def test_a_broken_embedding_is_refused():
    probe, _ = screen(lambda t, k: SHIFT, cells=20)
    for x, told in (
        (
            np.where(np.arange(140)[:, None] == 7, np.nan, probe.embedding),
            "1|2 values that are not finite, first in row 7",
        ),
        (probe.embedding[:9], "the embedding has 9 rows for 140 cells"),
    ):
        with pytest.raises(ScoreError, match=told):
            Perturbation("target", "none")(SimpleNamespace(cells=probe.cells, embedding=x), seed=0)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"control": ""}, "control is empty"),
        ({"folds": 1}, "folds = 1 must be at least 2"),
        ({"n_cells": 10}, "n_cells = 10 must be at least 50"),
        ({"held_out": ("a",)}, "held_out names contexts, and there is no context"),
    ],
)
def test_fields_have_a_range(fields, told):
    with pytest.raises(ScoreError, match=told):
        Perturbation(**{"target": "t", "control": "c"} | fields)


def test_it_says_what_it_needs():
    assert Perturbation.needs == "embedding"
