"""A folder that somebody trained before: as it is, fine-tuned, in a study, and damaged."""

import json
import os
from pathlib import Path

import anndata
import numpy as np
import pytest
from scipy import sparse

from sclaws.errors import ModelError, PluginError
from sclaws.models.geneformer import Geneformer
from sclaws.models.geneformer_checkpoint import GeneformerCheckpoint
from sclaws.protocols import Context, Job
from sclaws.study import Study
from sclaws.testing import cells, conforms
from sclaws.view import View

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here is to be asked of a server


@pytest.fixture(scope="module")
def parts(three_types):
    return tuple(three_types.take(np.arange(*ends)) for ends in ((0, 400), (400, 480), (480, 1080)))


@pytest.fixture(scope="module")
def before(parts):
    """What was trained before."""
    return Geneformer(size="32x2x2x2", context=64, max_updates=250, dropout=0.0).fit(*parts[:2], seed=0)


@pytest.fixture(scope="module")
def folder(before, tmp_path_factory):
    path = tmp_path_factory.mktemp("before")
    before.save(path)
    return str(path)


def thinned(view, share, seed=0):
    """Every molecule is kept with probability ``share``."""
    adata = view.to_adata()
    rng = np.random.default_rng(seed)
    adata.X = sparse.csr_matrix(rng.binomial(adata.X.toarray().astype(int), share).astype(np.float32))
    return View.of(adata)


# ── as it is ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_frozen_it_is_the_model_that_was_saved(folder, before, parts):
    model = GeneformerCheckpoint(folder)
    train, valid, test = parts
    trained = model.fit(train, valid, seed=7)
    assert not model.trains
    np.testing.assert_array_equal(trained.embed(test), before.embed(test))
    np.testing.assert_array_equal(trained.losses(test, seed=2), before.losses(test, seed=2))
    assert (trained.n_params, trained.train_flops, list(trained.history)) == (before.n_params, 0, [])


def test_frozen_the_training_cells_do_not_matter(folder, parts):
    train, valid, test = parts
    model = GeneformerCheckpoint(folder, layer=-2)
    whole = model.fit(train, valid, seed=0).embed(test)
    for fewer in (train.take(np.arange(5)), thinned(train, 0.2), train.choose(np.arange(9))):
        np.testing.assert_array_equal(model.fit(fewer, valid, seed=1).embed(test), whole)


def test_a_folder_that_transformers_wrote(tmp_path, parts):
    """Weights by its save_pretrained, dictionaries in JSON; the embedding is the mean of its last states."""
    transformers = pytest.importorskip("transformers")
    import torch

    config = transformers.BertConfig(
        vocab_size=12, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=10, hidden_act="relu",
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.BertForMaskedLM(config).eval()
    with torch.no_grad():
        for values in theirs.parameters():
            values.normal_(0, 0.5)
    theirs.save_pretrained(tmp_path)
    medians = {f"G{j}": 1.0 + j for j in range(10)}
    (tmp_path / "token_dictionary.json").write_text(
        json.dumps({"<pad>": 0, "<mask>": 1, **{f"G{j}": 11 - j for j in range(10)}})
    )
    (tmp_path / "gene_median_dictionary.json").write_text(json.dumps(medians))
    test = parts[2].take(np.arange(30))
    found = GeneformerCheckpoint(str(tmp_path)).fit(*parts[:2], seed=0).embed(test)
    tokens = 0
    for row, cell in zip(found, test.to_adata().X.toarray()[:, :10], strict=True):
        there = np.flatnonzero(cell)
        ranked = there[np.lexsort((there, -np.round(cell[there] / (1.0 + there), 8)))]
        if not len(ranked):
            assert not row.any()
            continue
        with torch.no_grad():
            states = theirs.bert(input_ids=torch.from_numpy(11 - ranked)[None]).last_hidden_state[0]
        np.testing.assert_allclose(row, states.mean(0).numpy(), atol=1e-4)
        tokens += len(ranked)
    assert tokens > 60


def test_genes_are_found_by_name(folder, parts):
    """15 of the folder's 60 genes are in the data, among others."""
    train, valid, test = (view.choose(np.arange(15)) for view in parts)
    trained = GeneformerCheckpoint(folder).fit(train, valid, seed=0)
    assert trained.share_found == 0.25
    wide = test.to_adata()
    others = sparse.csr_matrix(np.random.default_rng(0).poisson(3, (len(test), 4)).astype(np.float32))
    adata = anndata.AnnData(sparse.csr_matrix(sparse.hstack([others, wide.X])))
    adata.var_names = [*(f"other{j}" for j in range(4)), *test.feature_names]
    adata.obs_names = wide.obs_names
    np.testing.assert_array_equal(trained.embed(View.of(adata)), trained.embed(test))


# ── fine-tuned ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_fine_tuned_on_thinned_cells_it_foretells_such_cells_better(folder, parts):
    """Of 30 molecules 4 or 5 are left: fewer genes a cell, and other ranks."""
    train, valid, test = (thinned(view, 0.15, seed) for seed, view in enumerate(parts))
    frozen = GeneformerCheckpoint(folder).fit(train, valid, seed=0)
    model = GeneformerCheckpoint(folder, learn="all", max_updates=300, lr=1e-3)
    assert model.trains
    tuned = model.fit(train, valid, seed=0)
    # a cell of few tokens has one of them hidden: ten times another
    gains = np.mean([frozen.losses(test, seed=s) - tuned.losses(test, seed=s) for s in range(10)], axis=0)
    assert gains.mean() > 3 * gains.std() / np.sqrt(len(gains))
    assert tuned.train_flops > 0
    assert [row["update"] for row in tuned.history] == [50, 100, 150, 200, 250, 300]


def test_fine_tuning_starts_from_the_folders_weights(folder, before, parts):
    """After a step at next to no rate nothing is another."""
    model = GeneformerCheckpoint(folder, learn="all", max_updates=1, lr=1e-9)
    trained = model.fit(*parts[:2], seed=0)
    for name, weights in before.weights.items():
        np.testing.assert_allclose(trained.weights[name], weights, atol=1e-7)


def test_many_are_each_what_it_would_be_alone(folder, parts):
    train, valid, test = parts
    none = valid.take(np.arange(0))  # so that the last weights stay
    jobs = [Job(train, none, 0), Job(thinned(train, 0.3), none, 0), Job(train.take(np.arange(40)), none, 1)]
    model = GeneformerCheckpoint(folder, learn="all", max_updates=10, lr=1e-3)
    many = model.fit_many(jobs)
    for one, job in zip(many, jobs, strict=True):
        alone = model.fit(job.train, job.valid, seed=job.seed)
        np.testing.assert_allclose(one.embed(test), alone.embed(test), atol=1e-3)
    assert not np.allclose(many[0].embed(test), many[1].embed(test), atol=1e-3)


@pytest.mark.parametrize("learn", ["nothing", "all"])
def test_what_is_saved_is_loaded(folder, parts, tmp_path, learn):
    model = GeneformerCheckpoint(folder, learn=learn, max_updates=3, layer=-2)
    trained = model.fit(*parts[:2], seed=0)
    trained.save(tmp_path / "after")
    loaded, again = model.load(tmp_path / "after"), GeneformerCheckpoint(str(tmp_path / "after"), layer=-2)
    for other in (loaded, again.fit(*parts[:2], seed=0)):
        np.testing.assert_array_equal(other.embed(parts[2]), trained.embed(parts[2]))


@pytest.mark.parametrize("learn", ["nothing", "all"])
def test_conforms(tmp_path, learn):
    counts = cells.counts()
    trained = Geneformer(size="8x1x2x2", context=16).untrained(counts, seed=0)
    trained.save(tmp_path)
    conforms("models", GeneformerCheckpoint(str(tmp_path), learn=learn, max_updates=3, batch_size=8))


# ── in a study ───────────────────────────────────────────────────────────────────────────────────────────────────────
STUDY = """
replicates = 1
dataset = { use = "h5ad", path = "cells.h5ad" }
engine = "serial"
signals = [{ use = "obs", column = "cell_type" }]
scores = ["probe", "heldout-loss"]
levels.umis_per_cell = [6, "all"]
split = { test = 0.4, valid = 0.1 }

[[models]]
use = "geneformer-checkpoint"
name = "frozen"
path = "before"

[[models]]
use = "geneformer-checkpoint"
name = "tuned"
path = "before"
learn = "all"
max_updates = 40
lr = 1e-3
"""


def test_a_study_of_one_that_is_frozen_and_one_that_is_fine_tuned(three_types, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # two threads of one core wait for each other
    adata = three_types.choose(np.arange(2, 50)).to_adata()  # 48 of the folder's 60 genes
    adata.write_h5ad(tmp_path / "cells.h5ad")
    (tmp_path / "before").symlink_to(folder, target_is_directory=True)
    (tmp_path / "small.toml").write_text(STUDY)
    result = Study.read(tmp_path / "small.toml").run(progress=False)
    assert result.failed == 0
    frame = result.table.to_pandas()
    assert set(frame["model"]) == {"frozen", "tuned"}
    assert (frame["share_found"] == 48 / 60).all()
    shallow = frame[(frame["metric"] == "loss") & (frame["umis_per_cell_test_level"] == 6)].set_index("model")["value"]
    assert len(shallow) == 2
    assert shallow["tuned"] < shallow["frozen"]
    assert len(frame[frame["metric"] == "information"]) == 4  # either model at either depth
    cost = frame.groupby("model")["train_flops"].unique()
    assert cost["frozen"].tolist() == [0]
    assert (cost["tuned"] > 0).all()


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"learn": "head"}, "geneformer-checkpoint: learn = 'head' is none of nothing, all"),
        ({"precision": "float16"}, "precision = 'float16' is none of float32, bfloat16"),
        ({"max_updates": 0}, "max_updates = 0 must be above 0"),
        ({"lr": 0.0}, "lr = 0.0 must be above 0"),
        ({"batch_size": -1}, "batch_size = -1 must be above 0"),
    ],
)
def test_what_cannot_be_asked_for(fields, match):
    with pytest.raises(PluginError, match=match):
        GeneformerCheckpoint("anywhere", **fields)


@pytest.mark.parametrize("layer", [0, -3, 1])
def test_a_layer_that_the_folder_does_not_have(folder, parts, layer):
    with pytest.raises(ModelError, match=f"layer = {layer}, and .* has 2 layers"):
        GeneformerCheckpoint(folder, layer=layer).fit(*parts[:2], seed=0)


@pytest.mark.parametrize("learn", ["nothing", "all"])
def test_data_without_any_of_its_genes(folder, parts, learn):
    adata = parts[0].to_adata()
    adata.var_names = [f"ENSG{j:011}" for j in range(60)]
    view, model = View.of(adata), GeneformerCheckpoint(folder, learn=learn, max_updates=2)
    match = "none of the 60 genes of .* is 'G0'. is in these data .the first is 'ENSG00000000000'.; name the genes as"
    with pytest.raises(ModelError, match=match):
        model.fit(view, view, seed=0)
    found = model.fit_many([Job(view, view, 0), Job(parts[0], parts[1], 0)], context=Context(Path()))
    assert isinstance(found[0], ModelError)
    assert found[1].embed(parts[2]).shape == (600, 32)


def test_a_damaged_folder(before, parts, tmp_path):
    before.save(tmp_path)
    model = GeneformerCheckpoint(str(tmp_path))
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="model.safetensors is no whole safetensors file .*; download it again"):
        model.fit(*parts[:2], seed=0)
    weights.write_bytes(whole)
    (tmp_path / "token_dictionary.json").unlink()
    with pytest.raises(ModelError, match="has no token_dictionary.json; put the model's there"):
        model.fit(*parts[:2], seed=0)
    with pytest.raises(ModelError, match="has no config.json; name a folder that transformers"):
        GeneformerCheckpoint(str(tmp_path / "elsewhere")).fit(*parts[:2], seed=0)


def test_values_that_are_no_counts(folder):
    view = cells.measured()
    with pytest.raises(ModelError, match="none of the 60 genes"):
        GeneformerCheckpoint(folder).fit(view, view, seed=0)


def test_cost_grows_with_updates():
    frozen, tuned = (GeneformerCheckpoint("x", learn=learn).cost(1e4, 1e3) for learn in ("nothing", "all"))
    assert 0 < frozen < tuned < GeneformerCheckpoint("x", learn="all", max_updates=5000).cost(1e4, 1e3)


@pytest.mark.skipif("not __import__('torch').cuda.is_available()", reason="no CUDA device")
def test_a_gpu_tunes_as_much(folder, parts):
    model = GeneformerCheckpoint(folder, learn="all", max_updates=50, lr=1e-3)
    here, there = (model.fit(*parts[:2], seed=0, context=Context(Path(), device)) for device in ("cpu", "cuda"))
    losses = [of.losses(parts[2], seed=0).mean() for of in (here, there)]
    assert losses[1] == pytest.approx(losses[0], abs=0.05)
