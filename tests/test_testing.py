"""Every installed member of every family passes the conformance suite, and the suite can fail."""

import dataclasses

import numpy as np
import pytest

from sclaws import testing
from sclaws.plugins import FAMILIES, Spec, names

FIELDS = {
    ("signals", "obs"): {"column": "label"},
    ("signals", "obsm"): {"key": "protein"},
    ("models", "pca"): {"dim": 4},
    ("models", "random-projection"): {"dim": 4},
    ("models", "scvi"): {"n_latent": 4, "n_hidden": 16, "max_updates": 20},
    ("datasets", "simulated-tissue"): {"n_cells": 200, "n_genes": 80},
    ("datasets", "gaussian-channel"): {"n_cells": 200},
    ("engines", "processes"): {"workers": 2},
}
MEMBERS = [(family, name) for family in FAMILIES for name in names(family) if (family, name) != ("datasets", "h5ad")]


@pytest.mark.parametrize(("family", "name"), MEMBERS)
def test_member_conforms(family: str, name: str) -> None:
    testing.conforms(family, Spec.of(family, {"use": name, **FIELDS.get((family, name), {})}).build())


def test_the_h5ad_file_conforms(tmp_path) -> None:
    testing.counts().to_adata().write_h5ad(tmp_path / "cells.h5ad")
    testing.conforms("datasets", Spec.of("datasets", {"use": "h5ad", "path": "cells.h5ad"}, tmp_path).build())


@dataclasses.dataclass
class Peeking:
    """A model whose embedding depends on the batch it is given: it must not pass."""

    def fit(self, train, valid, *, seed):
        return self

    def embed(self, view):
        values = view.to_adata().X.toarray()
        return values[:, :3] - values[:, :3].mean(axis=0)


class Divergent:
    inputs = ("size",)
    params = {"a": (0.0, 10.0)}

    def predict(self, x, theta):
        return theta["a"] / (x["size"] - x["size"])


class Eager:
    on = "rows"

    def prepare(self, train, level, *, seed):
        return lambda view: view.take(np.arange(min(int(level), view.n_obs)))

    def measure(self, view):
        return {"n": float(view.n_obs)}


@pytest.mark.parametrize(
    ("family", "member", "match"),
    [
        ("models", Peeking(), "depends on (the other|how many) cells"),
        ("laws", Divergent(), "not finite inside the bounds"),
        ("axes", Eager(), "was not refused"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_does_not_conform_is_told(family: str, member: object, match: str) -> None:
    with pytest.raises(AssertionError, match=match):
        testing.conforms(family, member)
