"""Every installed member of every family passes the conformance suite; what is asked of it must make sense.

That each check can fail is in tests/testing, a file a family.
"""

import anndata
import numpy as np
import pytest

from sclaws import testing
from sclaws.errors import PluginError
from sclaws.models.pca import PCA
from sclaws.plugins import FAMILIES, Spec, names
from sclaws.residues import GAP, PADDING

FIELDS = {
    ("signals", "clone"): {"column": "clone"},
    ("signals", "obs"): {"column": "label"},
    ("signals", "obsm"): {"key": "protein"},
    ("models", "contrastive"): {"label": "label", "study": "donor", "widths": (16,), "dim": 4, "max_updates": 20},
    ("models", "esm2"): {"size": "16x1x2", "dim": 4, "max_updates": 10},
    ("models", "geneformer"): {"size": "16x1x2x2", "context": 64, "max_updates": 20},
    ("models", "hvg"): {"n_genes": 20},
    ("models", "masked-autoencoder"): {"widths": (16,), "dim": 4, "max_updates": 20},
    ("models", "masked-reconstruction"): {"size": "8x1x2x2", "max_updates": 20},
    ("models", "mobilenet"): {"dim": 4, "max_updates": 4, "batch_size": 32},
    ("models", "pca"): {"dim": 4},
    ("models", "random-projection"): {"dim": 4},
    ("models", "scvi"): {"n_latent": 4, "n_hidden": 16, "max_updates": 20},
    ("scores", "perturbation"): {"target": "label", "control": "low", "context": "donor"},
    ("datasets", "simulated-tissue"): {"n_cells": 200, "n_genes": 80},
    ("datasets", "gaussian-channel"): {"n_cells": 200},
    ("scores", "integration"): {"batch": "donor"},
    ("engines", "processes"): {"workers": 2},
}
OF_FILES = [
    ("datasets", "corpus"),
    ("datasets", "h5ad"),
    ("datasets", "images"),
    ("datasets", "sequences"),
    ("engines", "ray"),
    ("models", "geneformer-checkpoint"),
    ("signals", "function"),
]  # need a file, or seconds to start, and have tests of their own
MEMBERS = [(family, name) for family in FAMILIES for name in names(family) if (family, name) not in OF_FILES]


@pytest.mark.parametrize(("family", "name"), MEMBERS)
def test_member_conforms(family: str, name: str) -> None:
    testing.conforms(family, Spec.of(family, {"use": name, **FIELDS.get((family, name), {})}).build())


@pytest.mark.parametrize(
    ("family", "fields"),
    [
        ("signals", {"use": "obs", "column": "label", "group": "donor"}),
        ("signals", {"use": "obsm", "key": "protein", "group": "donor"}),
        ("signals", {"use": "obs", "column": "day", "bins": [4, 6]}),
        ("signals", {"use": "obs", "column": "donor", "positive": "d3"}),
        ("signals", {"use": "clone", "column": "clone", "time": "day", "early": [2, 4], "late": [6]}),
        ("signals", {"use": "neighbour", "k": 1}),
        ("axes", {"use": "n_cells", "choose": "reweighted", "by": "donor", "types": "label"}),
        ("axes", {"use": "n_cells", "choose": "sketched", "dims": 4, "vendi": True}),
        ("axes", {"use": "n_cells", "choose": "spiked", "by": "donor", "spike": "d3", "share": 0.25}),
        ("axes", {"use": "n_genes", "by": "expressed"}),
        ("models", {"use": "mobilenet", "dim": None, "max_updates": 2, "size": 32}),
        ("models", {"use": "random-projection", "dim": 4, "on": "lognorm"}),
        ("scores", {"use": "fine-tuning", "frozen": False}),
        ("scores", {"use": "gaussian", "margins": "as-is"}),
        (
            "scores",
            {"use": "perturbation", "target": "label", "control": ["low"], "context": "donor", "predicts": "change"},
        ),
    ],
    ids=str,
)
def test_member_conforms_with_other_fields(family: str, fields: dict[str, object]) -> None:
    testing.conforms(family, Spec.of(family, fields).build())


def test_the_h5ad_file_conforms(tmp_path) -> None:
    testing.counts().to_adata().write_h5ad(tmp_path / "cells.h5ad")
    testing.conforms("datasets", Spec.of("datasets", {"use": "h5ad", "path": "cells.h5ad"}, tmp_path).build())


def test_the_file_of_sequences_conforms(tmp_path) -> None:
    (tmp_path / "some.fasta").write_text(">a\nMKVLWAA\n>b\nMKILWFEQ\n")
    testing.conforms("datasets", Spec.of("datasets", {"use": "sequences", "path": "some.fasta"}, tmp_path).build())


def test_every_family_is_checked() -> None:
    assert set(testing.CHECKS) == set(FAMILIES)


@pytest.mark.parametrize(
    ("family", "told"),
    [
        ("nonsense", "unknown family 'nonsense': valid: axes, datasets, engines, laws, models, scores, signals"),
        ("model", "unknown family 'model': did you mean 'models'[?] valid: axes, "),
    ],
)
def test_an_unknown_family_is_told(family: str, told: str) -> None:
    with pytest.raises(PluginError, match=told):
        testing.conforms(family, PCA(dim=4))


def test_a_class_is_no_member() -> None:
    with pytest.raises(AssertionError, match="PCA is a class: give an object"):
        testing.conforms("models", PCA)


def test_a_version_is_a_whole_number() -> None:
    class Versioned:
        version = "1.2"

    with pytest.raises(AssertionError, match="version = '1.2'; a whole number is needed"):
        testing.conforms("models", Versioned())


def test_the_cells_are_what_they_are_said_to_be() -> None:
    view = testing.counts(300, 50, seed=4)
    assert (view.n_obs, view.n_vars, view.counts) == (300, 50, True)
    other = testing.cells.measured(300, 50, seed=4)
    assert not other.counts
    assert np.array_equal(other.cell_ids, view.cell_ids)
    assert np.array_equal(testing.cells.values(other), np.log1p(view.to_adata().X.toarray()))
    assert isinstance(view.to_adata(), anndata.AnnData)
    sequences = testing.cells.sequences(300, 50, seed=4)
    assert np.array_equal(sequences.cell_ids, view.cell_ids)
    assert testing.cells.values(sequences).dtype == np.int8
    assert set(np.unique(testing.cells.values(sequences))) == {*range(20), GAP, PADDING}
    seen = testing.cells.images(30, side=12, seed=4).to_adata()
    pixels = seen.X.reshape(30, 12, 12)
    lines, columns = (pixels.mean(axis=axis).std(axis=1) for axis in (2, 1))
    assert (np.where(lines > columns, "high", "low") == seen.obs["label"]).all()
    assert pixels.min() >= 0
    assert pixels.max() <= 1
