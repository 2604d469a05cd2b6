from dataclasses import replace

import numpy as np
import pytest

from sclaws import multiplier
from sclaws.scores._rule import Witness, believed, choose

IDS = np.arange(400, dtype=np.uint64)
RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=400)


def witness(name, value, honest=None, evidence=None, noise=0.0):
    """An answer whose cells differ from others' by ``noise``: a standard error of a twentieth of it over 400 cells."""
    influence = NOISE + noise * RNG.normal(size=400)
    honest = value if honest is None else honest
    return Witness(name, value, honest, honest if evidence is None else evidence, influence, 0.05)


@pytest.mark.parametrize(
    ("claimed", "held_out", "gain", "error", "answer"),
    [
        (1.0, 0.98, 0.0, 0.0, True),
        (1.0, 0.80, 0.0, 0.0, False),  # clusters: claims a fifth more than it reaches
        (1.0, 0.80, 0.1, 0.0, True),  # too few cells for many dimensions: more of them would reach it
        (1.0, 0.80, 0.0, 0.1, True),  # too few cells to tell
        (0.0, -0.02, 0.0, 0.0, True),
    ],
)
def test_a_closed_form_is_believed_when_unseen_cells_bear_it_out(claimed, held_out, gain, error, answer):
    assert believed(claimed, held_out, gain, error) is answer


def test_the_gaussian_stands_where_nothing_finds_more():
    normal = witness("gaussian", 1.0)
    choice = choose(normal, [witness("critics", 1.03, 0.98), witness("neighbours", 0.99)], IDS)
    assert choice.witness is normal and choice.verdict == ""
    assert choice.below == choice.above == pytest.approx(0.02)


def test_extrapolation_alone_does_not_overturn_the_gaussian():
    choice = choose(witness("gaussian", 1.0), [witness("critics", 1.5, 1.0)], IDS)
    assert choice.witness.name == "gaussian"
    assert choice.above == pytest.approx(0.25)  # but it widens the interval


def test_more_than_noise_overturns_it():
    quiet, loud = witness("critics", 1.1), witness("critics", 1.1, noise=2.0)
    assert choose(witness("gaussian", 1.0), [quiet], IDS).witness is quiet
    assert choose(witness("gaussian", 1.0), [loud], IDS).witness.name == "gaussian"


def test_terms_that_scatter_more_than_their_cells_say_must_find_more():
    """Neighbourhoods overlap: their standard error is larger than that of independent terms, and so is the hurdle."""
    normal, loud = witness("gaussian", 1.0), witness("neighbours", 1.2, noise=1.0)  # .2: four standard errors of .05
    assert choose(normal, [loud], IDS).witness is loud
    overlapping = replace(loud, stderr=2 * multiplier.standard_error(loud.influence, IDS))
    assert choose(normal, [overlapping], IDS).witness is normal


def test_the_larger_of_two_low_witnesses_is_taken_and_disagreement_widens_above_only():
    critics, neighbours = witness("critics", 1.0, 0.9), witness("neighbours", 0.4)
    choice = choose(None, [critics, neighbours], IDS)
    agreeing = choose(None, [critics, witness("neighbours", 1.0, 0.9)], IDS)
    assert choice.witness is critics
    assert choice.above == pytest.approx(agreeing.above + 0.25 * 0.6)
    assert choice.below < choice.above
    assert "estimators disagree" in choose(None, [critics, witness("neighbours", -0.5)], IDS).verdict


def test_what_was_extrapolated_is_in_the_interval_and_said():
    choice = choose(None, [witness("critics", 1.0, 0.8)], IDS)
    assert choice.below >= 0.2 and choice.above >= 0.2
    assert choice.verdict.startswith("extrapolated: 0.29 of the bits")
