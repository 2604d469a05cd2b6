"""Laws that break one promise each, and are told so."""

import numpy as np
import pytest

from sclaws import testing
from sclaws.protocols import Param


class Line:
    inputs = ("size",)
    params = {"a": Param(-5, 5, linear=True), "b": Param(0.1, 3.0, log=True)}

    def predict(self, x, theta):
        return theta["a"] + theta["b"] * np.log(x["size"])


class Unbound(Line):
    params = {"a": Param(-np.inf, np.inf, linear=True), "b": Param(0.1, 3.0)}


class Bound(Unbound):
    def bounds(self, x, y):
        return {"a": (y.min() - 10, y.max() + 10)}


class Misnamed(Bound):
    def bounds(self, x, y):
        return super().bounds(x, y) | {"slope": (0, 1)}


class Divergent(Line):
    def predict(self, x, theta):
        return theta["a"] / (x["size"] - x["size"])


class Averaging(Line):
    """Mixes the curves of one call: right for one curve, wrong for many."""

    def predict(self, x, theta):
        return theta["a"] + np.mean(theta["b"]) * np.log(x["size"])


class MixingPoints(Line):
    """Takes the largest of all curves' sizes for its own."""

    def predict(self, x, theta):
        return super().predict(x, theta) - np.log(np.max(x["size"]))


class Summed(Line):
    def predict(self, x, theta):
        return super().predict(x, theta).sum(axis=-1)


class Squared(Line):
    def predict(self, x, theta):
        return theta["a"] ** 2 + theta["b"] * np.log(x["size"])


class Together(Line):
    """Linear in each of two, and not in both."""

    params = {"a": Param(0, 5, linear=True), "b": Param(0.1, 3.0, linear=True)}

    def predict(self, x, theta):
        return theta["a"] * theta["b"] * np.log(x["size"])


class Reversed(Line):
    params = {"a": (3, 1), "b": (0.1, 3.0)}


class NegativeLog(Line):
    params = {"a": Param(-1, 1, log=True), "b": (0.1, 3.0)}


class OneWord(Line):
    inputs = "size"


class Nameless(Line):
    params = {}


@pytest.mark.parametrize("law", [Line(), Bound()], ids=lambda law: type(law).__name__)
def test_promises_that_are_kept(law):
    testing.conforms("laws", law)


@pytest.mark.parametrize(
    ("law", "told"),
    [
        (Unbound(), "a: no finite bounds to search within"),
        (Misnamed(), r"bounds has \['slope'\], which are no parameters"),
        (Divergent(), "predict is not finite inside the bounds"),
        (Averaging(), "predict differs between one curve and many"),
        (MixingPoints(), "predict differs between one curve and many"),
        (Summed(), r"predict gave \(3, 2\); \(3, 2, 7\) is due"),
        (Squared(), "not linear in a"),
        (Together(), "not linear in a, b"),
        (Reversed(), "a: bounds 3 .. 1"),
        (NegativeLog(), "a: searched as a logarithm, from -1"),
        (OneWord(), "inputs = 'size'; a tuple of roles is needed"),
        (Nameless(), "no params"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # Divergent divides by zero
def test_broken_promises_are_told(law, told):
    with pytest.raises(AssertionError, match=told):
        testing.conforms("laws", law)
