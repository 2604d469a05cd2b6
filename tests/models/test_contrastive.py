import anndata
import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import silhouette_score

from sclaws.errors import ModelError, PluginError
from sclaws.models import _stack, _training, _triplets
from sclaws.models import contrastive as module
from sclaws.models.contrastive import Contrastive
from sclaws.models.pca import PCA
from sclaws.plugins import Spec
from sclaws.protocols import Context
from sclaws.view import View

torch = pytest.importorskip("torch")
SMALL = {"study": "study", "widths": (64,), "dim": 8, "n_genes": "all", "max_updates": 300, "batch_size": 96}
TRIPLETS = {"triplet_weight": 0.9}


@pytest.fixture(scope="module")
def studies():
    """Four types in two studies; the second has the same added molecules in every cell, more than types differ by."""
    rng = np.random.default_rng(0)
    kinds, study = rng.integers(4, size=700), rng.integers(2, size=700)
    rates = np.exp(rng.normal(size=60) + rng.normal(0, 0.5, (4, 60))[kinds])
    added = rng.exponential(3.0, 60) * study[:, None]
    counts = rng.poisson(300 * rates / rates.sum(axis=1, keepdims=True) + added)
    adata = anndata.AnnData(sparse.csr_matrix(counts.astype(np.float32)))
    adata.obs_names = [f"cell{i}" for i in range(700)]
    adata.var_names = [f"gene{j}" for j in range(60)]
    adata.obs["cell_type"] = [f"type{k}" for k in kinds]
    adata.obs["study"] = [f"study{k}" for k in study]
    view = View.of(adata)
    return view.take(np.arange(400)), view.take(np.arange(400, 500)), view.take(np.arange(500, 700))


@pytest.fixture(scope="module")
def learned(studies):
    train, valid, _ = studies
    return Contrastive(**SMALL, **TRIPLETS).fit(train, valid, seed=1)


def test_the_published_number_of_weights_of_the_encoder():
    shapes = Contrastive(**Contrastive.presets["paper-C"]).shapes(19_331)
    assert _stack.count({n: form for n, form in shapes.items() if n.startswith("down.")}) == 22_032_515
    learned = Contrastive(widths=(5,), dim=2, n_genes="all")
    assert _stack.count(learned.shapes(7)) == (7 * 5 + 5 + 11) + (5 * 2 + 2) + (2 * 5 + 5 + 11) + (5 * 7 + 7)


def by_type(trained, view):
    return silhouette_score(trained.embed(view), view.obs["cell_type"])


def by_study(trained, view):
    """Return the silhouette of studies, type by type: what a cell's study shows beyond its type."""
    found = trained.embed(view)
    types = view.obs["cell_type"].to_numpy()
    return np.mean(
        [silhouette_score(found[types == t], view.obs["study"].to_numpy()[types == t]) for t in np.unique(types)]
    )


def test_it_tells_types_of_held_out_cells_and_mixes_studies(learned, studies):
    train, valid, test = studies
    untrained = Contrastive(**SMALL).untrained(train, seed=1)
    components = PCA(dim=8, n_genes="all").fit(train, valid, seed=0)
    assert by_type(learned, test) > by_type(untrained, test) + 0.1
    assert by_type(learned, test) > by_type(components, test) + 0.1
    assert by_study(learned, test) < by_study(components, test) - 0.1


def test_rows_have_length_one(learned, studies):
    np.testing.assert_allclose(np.linalg.norm(learned.embed(studies[2]), axis=1), 1, rtol=1e-5)


def test_the_loss_is_the_published_mixture(studies):
    """Of the first step, without dropout: triplets, squared error, and a penalty of the embedding's layer."""
    train, valid, _ = studies
    model = Contrastive(**SMALL | {"dropout": 0.0, "input_dropout": 0.0, "l1": 0.2, "triplet_weight": 0.25})
    data = module._mlp.prepared("it", train, valid, "all", 3)
    known, _ = _triplets.kinds("it", train, "cell_type", "study", None)
    weights = module._mlp.start(model.shapes(60), [3], "cpu")
    found = float(model._loss(data, known, weights, 3, "cpu")(1).detach())
    rows = _triplets.drawn(known.balance(), 96, 3, 1)
    counts = train.to_adata().X.toarray()[rows]
    x = torch.from_numpy(np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4).astype(np.float32))[None]
    with torch.no_grad():
        z = module.embedded(weights, x, learning=True)
        error = (module._mlp.forward(weights, "up", z, learning=True) - x).square().mean()
        near, far = (torch.from_numpy(pairs) for pairs in (known.positives(rows), known.negatives(rows)))
        uniform = _training.Random([3], 1, "cpu").uniform(96, 96)[0]
        mined = _triplets.semi_hard(z[0], near, far, 0.05, uniform)
        small = sum(weights[f"down.1.{name}"].abs().sum() for name in ("weight", "bias"))
        rate = 5e-3 * (1 + np.cos(np.pi / 300)) / 2
        expected = 0.25 * _triplets.hinge(z[0], mined, 0.05) + 0.75 * error + 0.2 * rate * small
    assert len(mined[0]) > 10
    assert found == pytest.approx(float(expected), rel=1e-4)


def test_moving_averages_are_kept_with_the_best_weights(learned, studies):
    """The validation loss of the kept weights, averages and all, is the lowest that was seen."""
    train, valid, _ = studies
    model = learned.model
    data = module._mlp.prepared("it", train, valid, "all", 1)
    known, types = _triplets.kinds("it", train, "cell_type", "study", None)
    held = _triplets.others(data.valid, known, types, "cell_type", "study")
    weights = module._mlp.tensors(learned.weights, "cpu")
    assert any(name.endswith("norm.variance") for name in weights)
    with torch.no_grad():
        loss = float(model._judge(data, held, weights, 1, "cpu")(0))
    assert loss == pytest.approx(min(look["valid_loss"] for look in learned.history), rel=1e-5)


def test_a_study_is_known_by_what_is_in_its_table_of_parents(tmp_path, studies):
    (tmp_path / "parents.tsv").write_text("child\tparent\ntype0\ttype1\n")
    spec = Spec.of("models", {"use": "contrastive", "ontology_path": "parents.tsv"}, tmp_path)
    assert spec.build().ontology_path == str(tmp_path / "parents.tsv")
    before = spec.describe()["ontology_path"]
    (tmp_path / "parents.tsv").write_text("child\tparent\ntype0\ttype2\n")
    after = Spec.of("models", {"use": "contrastive", "ontology_path": "parents.tsv"}, tmp_path).describe()
    assert before != after["ontology_path"]


def test_the_table_of_parents_changes_what_is_learned(tmp_path, studies):
    train, valid, test = studies
    (tmp_path / "parents.csv").write_text("child,parent\ntype0,type1\ntype1,type2\n")
    quick = SMALL | TRIPLETS | {"max_updates": 5}
    with_it, without = (
        Contrastive(**quick, ontology_path=path).fit(train, valid, seed=0).embed(test)
        for path in (str(tmp_path / "parents.csv"), None)
    )
    assert not np.allclose(with_it, without)


def test_labels_of_validation_cells_are_not_learned_from(studies):
    """One look, at the very end: then it cannot matter what the validation cells are, or whether there are any."""
    train, valid, test = studies
    model = Contrastive(**SMALL | TRIPLETS | {"max_updates": 5})
    bare = valid.to_adata()
    del bare.obs["cell_type"], bare.obs["study"]
    found = [model.fit(train, some, seed=0).embed(test) for some in (valid, View.of(bare), valid.take(np.arange(0)))]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_without_a_study_it_trains_and_an_untrained_one_needs_no_labels(studies):
    train, valid, test = studies
    alone = Contrastive(**SMALL | {"study": None, "max_updates": 3}).fit(train, valid, seed=0)
    assert alone.embed(test).shape == (200, 8)
    assert alone.n_params > alone.n_encoder_params > 0
    bare = View.of(anndata.AnnData(train.to_adata().X))
    assert Contrastive(**SMALL).untrained(bare, seed=0).n_params == alone.n_params


def test_training_cells_need_labels(studies):
    train, valid, _ = studies
    with pytest.raises(ModelError, match="contrastive: label = 'celltype' is not a column of obs; did you mean"):
        Contrastive(**SMALL | {"label": "celltype"}).fit(train, valid, seed=0)
    adata = train.to_adata()
    adata.obs.loc[adata.obs_names[:3], "cell_type"] = None
    with pytest.raises(ModelError, match="contrastive: 3 of 400 training cells have no value"):
        Contrastive(**SMALL).fit(View.of(adata), valid, seed=0)


def test_diverged_training_says_so(studies):
    train, valid, _ = studies
    with pytest.raises(ModelError, match="training diverged; lower lr"):
        Contrastive(**SMALL | {"lr": 1e38}).fit(train, valid, seed=0)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"batch_size": 2}, "contrastive: batch_size = 2 must be at least 3"),
        ({"triplet_weight": 1.5}, "triplet_weight = 1.5 must lie between 0 and 1"),
        ({"margin": 0.0}, "margin = 0.0 must be above 0"),
        ({"input_dropout": 1.0}, "input_dropout = 1.0 must lie between 0 and 1"),
        ({"l1": -1.0}, "l1 = -1.0 must not be below 0"),
        ({"widths": ()}, r"widths = \(\) must be at least one layer"),
    ],
)
def test_what_cannot_be_is_named(fields, told):
    with pytest.raises(PluginError, match=told):
        Contrastive(**fields)


def test_a_device_that_is_not_there_is_told(studies):
    train, valid, _ = studies
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="device 'cuda' was asked for and there is none"):
            Contrastive(**SMALL).fit(train, valid, seed=0, context=Context(None, device="cuda"))
