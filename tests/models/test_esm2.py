"""A transformer of proteins: what it learns of families that are known, and folders that transformers reads."""

import copy
import json
import math
import os
import sys

import anndata
import numpy as np
import pytest

from sclaws.errors import ModelError, PluginError
from sclaws.hashing import mix
from sclaws.models import _esm, _esm_states, _esm_training
from sclaws.models.esm2 import ESM2
from sclaws.residues import GAP, PADDING, UNKNOWN
from sclaws.testing import cells, conforms
from sclaws.view import View

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here is to be asked of a server
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

QUICK = ESM2(size="32x1x2", dim=4, max_updates=400, batch_size=32)
KEPT, FAMILIES, LENGTH = 0.95, 4, 24


def family_view(n=800, seed=0):
    """Families of sequences, a twentieth of whose residues is any; each family has a date of its own."""
    rng = np.random.default_rng(seed)
    parents = np.random.default_rng(99).permuted(np.tile(np.arange(20), (LENGTH, 1)), axis=1)[:, :FAMILIES].T
    kind = rng.integers(FAMILIES, size=n)
    codes = np.where(rng.random((n, LENGTH)) < KEPT, parents[kind], rng.integers(20, size=(n, LENGTH)))
    adata = anndata.AnnData(codes.astype(np.int8))
    adata.obs_names = [f"s{seed}-{i}" for i in range(n)]
    adata.obs["date"] = 2000.0 + kind
    return View.of(adata)


@pytest.fixture(scope="module")
def parts():
    view = family_view()
    return tuple(view.take(np.arange(*ends)) for ends in ((0, 500), (500, 600), (600, 800)))


@pytest.fixture(scope="module")
def trained(parts):
    return QUICK.fit(*parts[:2], seed=3)


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("esm")
    trained.save(path)
    return path


def theirs_on(net, row):
    """Hidden states (L, width) of transformers' own forward pass of one sequence, its beginning and end left out."""
    ids = [_esm.CLS, *_esm.TOKENS[row[row != PADDING]], _esm.EOS]
    with torch.no_grad():
        found = net.esm(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long))
    return found.last_hidden_state[0, 1:-1].numpy()


# ── what it learns ───────────────────────────────────────────────────────────────────────────────────────────────────
def test_it_beats_the_frequencies_and_not_the_truth(trained, parts):
    """Who knows the family is right at 95 + 5/20 % of the residues; who does not has four guesses at each position."""
    test = parts[2]
    loss, baseline = (ask(test, seed=0) for ask in (trained.losses, trained.baseline_losses))
    right = KEPT + (1 - KEPT) / 20
    least = -right * math.log2(right) - (1 - right) * math.log2((1 - right) / 19)
    error = 4 * loss.std() / math.sqrt(len(loss))
    assert loss.mean() > least - error
    assert loss.mean() < least + 0.5
    shares = (1 - right) / 19 * np.ones(20) * (1 - 1 / FAMILIES) + right / FAMILIES * (np.arange(20) < FAMILIES)
    shares[FAMILIES:] = (1 - right) / 19
    assert shares.sum() == pytest.approx(1, abs=0.01)
    assert baseline.mean() == pytest.approx(-(shares * np.log2(shares)).sum(), abs=4 * baseline.std() / 200**0.5 + 0.05)
    assert trained.history[-1]["valid_loss"] < trained.history[0]["valid_loss"]


def test_the_embedding_tells_the_date(trained, parts):
    from sklearn.neighbors import KNeighborsClassifier

    date = [view.obs["date"].astype(int) for view in parts]
    found = KNeighborsClassifier(5).fit(trained.embed(parts[0]), date[0]).score(trained.embed(parts[2]), date[2])
    assert trained.embed(parts[2]).shape == (200, 4)
    assert found > 0.95


def test_the_baseline_is_that_of_positions_counted_one_by_one(trained, parts):
    train, test = (view.to_adata().X for view in (parts[0], parts[2]))
    rows, at = _esm_states.hidden(_esm_states.read(parts[2]), 5)
    expected = [[] for _ in test]
    for row, position in zip(rows, at, strict=True):
        same = sum(int(other[position] == test[row, position]) for other in train)
        expected[row].append(-math.log2((same + 0.5) / (len(train) + 10)))
    means = [np.mean(values) for values in expected]
    np.testing.assert_allclose(trained.baseline_losses(parts[2], seed=5), means, rtol=1e-9)


def test_the_loss_is_that_of_transformers_own_logits(trained, parts):
    some = parts[2].take(np.arange(5))
    proteins = _esm_states.read(some)
    rows, at = _esm_states.hidden(proteins, 1)
    for row, loss in enumerate(trained.losses(some, seed=1)):
        mine = at[rows == row]
        ids = torch.tensor([[_esm.CLS, *_esm.TOKENS[proteins.codes[row]], _esm.EOS]])
        ids[0, mine + 1] = _esm.MASK
        with torch.no_grad():
            logits = trained.net(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, mine + 1]
        amino = torch.log_softmax(logits[:, _esm.TOKENS[:20]], 1).numpy()
        assert loss == pytest.approx(-amino[np.arange(len(mine)), proteins.codes[row, mine]].mean() / math.log(2), 1e-4)


def test_of_ten_hidden_residues_eight_are_masks():
    rng = np.random.default_rng(0)
    codes = rng.integers(20, size=(400, 100)).astype(np.int8)
    codes[:, :5] = UNKNOWN, GAP, GAP, UNKNOWN, GAP
    ids, asked, target = _esm_training.hide(
        _esm_states.Proteins(codes, mix(np.arange(400)), mix(np.arange(100))), seed=1, step=2
    )
    truth = _esm.TOKENS[codes]
    assert not asked[:, [0, 1, 2, 3, 4, 5, -1]].any(), "hidden although it is no known residue"
    hidden, shown = asked[:, 6:-1], ids[:, 6:-1]
    n = hidden.sum()
    assert abs(hidden.mean() - 0.15) < 5 * math.sqrt(0.15 * 0.85 / hidden.size)
    assert (target == truth[:, 5:][hidden]).all()
    same = (shown[hidden] == target).mean()
    for found, share in (((shown[hidden] == _esm.MASK).mean(), 0.8), (same, 0.1 + 0.1 / 20)):
        assert abs(found - share) < 5 * math.sqrt(share * (1 - share) / n)
    assert (shown[~hidden] == truth[:, 5:][~hidden]).all()


def test_one_seed_one_model_and_no_global_state(parts):
    model = ESM2(size="16x1x2", dim=2, max_updates=20)
    before = torch.get_rng_state(), torch.get_num_threads()
    first, again, other = (model.fit(*parts[:2], seed=seed).embed(parts[2]) for seed in (1, 1, 2))
    assert (first == again).all()
    assert not np.allclose(first, other)
    assert (torch.get_rng_state() == before[0]).all()
    assert torch.get_num_threads() == before[1]


def test_the_weights_kept_are_the_best():
    """Of sequences without any rule there is nothing to learn but by heart, and the validation loss rises."""
    codes = np.random.default_rng(1).integers(20, size=(100, LENGTH)).astype(np.int8)
    view = View.of(anndata.AnnData(codes))
    train, valid = view.take(np.arange(30)), view.take(np.arange(30, 100))
    trained = ESM2(size="32x1x2", dim=2, max_updates=500, patience=50).fit(train, valid, seed=1)
    looks = [look["valid_loss"] / math.log(2) for look in trained.history]
    assert looks[-1] > min(looks) + 0.01
    assert trained.losses(valid, seed=1).mean() == pytest.approx(min(looks), rel=1e-3)


# ── what it sees ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_embedding_is_the_mean_over_residues_alone(parts):
    codes = parts[2].to_adata().X[:6].copy()
    codes[0, 3:5], codes[1, 7] = GAP, UNKNOWN
    codes[2, 9:] = codes[3, 1:] = codes[4] = PADDING
    adata = anndata.AnnData(codes)
    adata.var_names = parts[0].feature_names
    trained = ESM2(size="16x2x2", dim="all").untrained(parts[0], seed=4)
    found = trained.embed(View.of(adata))
    assert found.shape == (6, 16)
    for row, mean in zip(codes, found, strict=True):
        kept = row[row != PADDING] != GAP
        expected = theirs_on(trained.net, row)[kept].mean(axis=0) if kept.any() else np.zeros(16)
        np.testing.assert_allclose(mean, expected, atol=2e-5)


def test_a_sequence_without_known_residues_has_no_loss(trained, parts):
    adata = anndata.AnnData(np.full((2, LENGTH), [[UNKNOWN], [PADDING]], dtype=np.int8))
    adata.var_names = parts[0].feature_names
    for ask in (trained.losses, trained.baseline_losses):
        assert ask(View.of(adata), seed=0).tolist() == [0.0, 0.0]


def test_gelu_in_one_pass_is_theirs():
    net = _esm.network(_esm.parse("16x2x2"), 0)
    plain = transformers.EsmForMaskedLM(net.config).eval()
    plain.load_state_dict(net.state_dict())
    row = np.arange(20)
    np.testing.assert_allclose(theirs_on(net, row), theirs_on(plain, row), atol=1e-5)


def test_gradients_in_training_are_those_of_the_network_itself():
    """Weights are handed in from outside, with the words tied to the decoder: both gradients must come together."""
    net = _esm.network(_esm.parse("16x2x2"), 0)
    foretell = _esm_states.foreteller(net)
    ids = torch.from_numpy(np.random.default_rng(0).integers(4, 24, size=(3, 10)))
    asked = torch.zeros(3, 10, dtype=torch.bool)
    asked[:, 4] = True
    outside = {f"net.{name}": w.detach().clone().requires_grad_() for name, w in _esm.weights(net).items()}
    torch.func.functional_call(foretell, outside, (ids, None, asked)).square().sum().backward()
    net(input_ids=ids).logits[asked].square().sum().backward()
    for name, w in _esm.weights(net).items():
        np.testing.assert_allclose(outside[f"net.{name}"].grad, w.grad, rtol=1e-3, atol=1e-4, err_msg=name)


# ── sizes ────────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("size", "millions"), [("t6_8M", 8), ("t12_35M", 35), ("t30_150M", 150), ("t33_650M", 650), ("16x2x2", 0)]
)
def test_parameters_are_as_many_as_transformers_counts(size, millions):
    """All but those of the head for contacts, which no loss here depends on. The names round generously: 33.5 to 35."""
    shape = _esm.parse(size)
    with torch.device("meta"):
        config = _esm.network(_esm.Shape(2, 1, 1), 0).config
        config.update(
            {
                "hidden_size": shape.width,
                "num_hidden_layers": shape.layers,
                "num_attention_heads": shape.heads,
                "intermediate_size": 4 * shape.width,
            }
        )
        net = transformers.EsmForMaskedLM(config)
    contacts = shape.layers * shape.heads + 1
    assert net.num_parameters() == _esm.n_params(shape) + contacts
    assert sum(w.numel() for w in _esm.weights(net).values()) == _esm.n_params(shape)
    assert not millions or abs(net.num_parameters() / 1e6 / millions - 1) < 0.07


def test_the_numbers_of_what_was_trained(trained):
    assert trained.n_params == _esm.n_params(_esm.parse("32x1x2"))
    from torch.utils.flop_counter import FlopCounterMode

    seen = trained.history[-1]["cells"]
    ids = torch.from_numpy(np.full((8, LENGTH + 2), 5))
    net = copy.deepcopy(trained.net)
    net.set_attn_implementation("eager")  # the counter does not know the fused attention of a CPU
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.esm(ids)
    assert trained.train_flops == pytest.approx(3 * counter.get_total_flops() / 8 * seen)
    assert trained.speed["tokens_per_second"] > 0


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"size": "8M"}, "size = '8M' is none of t6_8M, .* as \"64x2x4\" is"),
        ({"size": "64x2x5"}, "the width an even multiple of the heads"),
        ({"size": "8x1x1"}, "dim = 16 is above the width of 8x1x1, 8"),
        ({"dim": 0}, "dim = 0 must be above 0"),
        ({"learn": "some"}, "learn = 'some' is none of nothing, all"),
        ({"learn": "nothing"}, 'learn = "nothing" is for a folder'),
    ],
)
def test_fields_that_make_no_sense(fields, told):
    with pytest.raises(PluginError, match=told):
        ESM2(**fields)


@pytest.mark.parametrize(("view", "told"), [(cells.counts(), "are counts"), (cells.measured(), "are measurements")])
def test_other_values_are_refused(view, told):
    with pytest.raises(ModelError, match=f"esm2 needs sequences, .*{told}"):
        QUICK.fit(view, view, seed=0)


def test_too_few_sequences_are_told(parts):
    with pytest.raises(ModelError, match="3 training sequences, and 5 are needed; lower dim"):
        QUICK.untrained(parts[0].take(np.arange(3)), seed=0)
    with pytest.raises(ModelError, match="0 training sequences, and 1 are needed"):
        ESM2(size="16x1x2", dim="all").fit(parts[0].take(np.arange(0)), parts[1], seed=0)


def test_a_missing_package_is_told(parts, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"esm2 needs a package .*pip install 'sclaws\[sequences\]'"):
        QUICK.fit(*parts[:2], seed=0)


# ── folders ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_saved_it_is_the_same_and_transformers_reads_it(trained, folder, parts):
    test = parts[2]
    loaded = QUICK.load(folder)
    np.testing.assert_array_equal(loaded.embed(test), trained.embed(test))
    np.testing.assert_array_equal(loaded.losses(test, seed=1), trained.losses(test, seed=1))
    theirs = transformers.EsmForMaskedLM.from_pretrained(folder, local_files_only=True).eval()
    words = transformers.EsmTokenizer.from_pretrained(folder, local_files_only=True)
    row = np.arange(20)
    assert words("ACDEFGHIKLMNPQRSTVWY")["input_ids"] == [_esm.CLS, *_esm.TOKENS[row], _esm.EOS]
    np.testing.assert_allclose(theirs_on(theirs, row), theirs_on(trained.net, row), atol=1e-5)


def test_as_it_is_the_folder_learns_nothing(trained, folder, parts):
    model = ESM2(path=str(folder), learn="nothing", dim="all")
    assert not model.trains
    assert ESM2(path=str(folder), learn="nothing").trains, "the axes are learned"
    found = model.fit(*parts[:2], seed=0)
    np.testing.assert_allclose(found.losses(parts[2], seed=0), trained.losses(parts[2], seed=0), rtol=1e-5)
    assert (found.train_flops, list(found.history)) == (0.0, [])
    conforms("models", model)


def test_fine_tuning_goes_on_from_the_folder(folder, parts):
    """Families that it never saw, but a few updates: better than as it is, and than as many updates from scratch."""
    rng = np.random.default_rng(5)
    swapped = rng.permutation(20).astype(np.int8)

    def renamed(view):
        adata = view.to_adata()
        adata.X = swapped[adata.X]
        return View.of(adata)

    train, valid, test = map(renamed, parts)
    frozen = ESM2(path=str(folder), learn="nothing", dim=4).fit(train, valid, seed=0)
    tuned = ESM2(path=str(folder), dim=4, max_updates=150, lr=4e-3).fit(train, valid, seed=0)
    assert tuned.losses(test, seed=0).mean() < frozen.losses(test, seed=0).mean() - 1


def test_the_price_of_a_folder_is_that_of_its_own_size(folder, tmp_path):
    same = ESM2(path=str(folder), max_updates=400, batch_size=32)
    assert same.cost(1000, 50) == QUICK.cost(1000, 50)
    larger = damaged(folder, tmp_path / "larger", hidden_size=1280, num_hidden_layers=33, num_attention_heads=20)
    assert ESM2(path=str(larger)).cost(1000, 50) == ESM2(size="t33_650M").cost(1000, 50)
    assert ESM2(path=str(tmp_path / "none")).cost(1000, 50) > 0


def damaged(folder, to, **changes):
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    told = json.loads((folder / "config.json").read_text()) | changes
    (to / "config.json").write_text(json.dumps(told))
    return to


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_type": "bert"}, r"config.json: model_type = 'bert', and only 'esm' can be read"),
        ({"vocab_size": 30}, "vocab_size = 30, and ESM-2 has 33; give a folder of ESM-2"),
        ({"position_embedding_type": "absolute"}, "position_embedding_type = 'absolute', and ESM-2 has 'rotary'"),
        ({"is_folding_model": True}, "is_folding_model = True"),
        ({"intermediate_size": 64}, "3 weights are missing or of another shape .* is esm.encoder.layer.0.intermediate"),
        ({"num_hidden_layers": 2}, "16 weights are missing .*, the first is esm.encoder.layer.1"),
        ({"num_attention_heads": 5}, "its weights cannot be read"),
    ],
)
def test_another_architecture_is_refused(folder, tmp_path, parts, changes, told):
    with pytest.raises(ModelError, match=told):
        ESM2(path=str(damaged(folder, tmp_path / "other", **changes)), dim=4).fit(*parts[:2], seed=0)


def test_files_that_are_missing_or_damaged(folder, tmp_path, parts):
    def asked(path):
        return ESM2(path=str(path), dim=4).fit(*parts[:2], seed=0)

    with pytest.raises(ModelError, match=r"none/config\.json does not exist; give the folder of an ESM-2 model"):
        asked(tmp_path / "none")
    bare = damaged(folder, tmp_path / "bare")
    (bare / "model.safetensors").unlink()
    (bare / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(ModelError, match=r"has no model\.safetensors; download it"):
        asked(bare)
    cut = damaged(folder, tmp_path / "cut")
    (cut / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:2000])
    with pytest.raises(ModelError, match="its weights cannot be read .*; download the folder again"):
        asked(cut)
    letters = damaged(folder, tmp_path / "letters")
    (letters / "vocab.txt").write_text("<pad>\nA\nC\n")
    with pytest.raises(ModelError, match=r"vocab\.txt holds another alphabet than ESM-2's 33 tokens"):
        asked(letters)
    text = damaged(folder, tmp_path / "text")
    (text / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json is no JSON"):
        asked(text)
    wide = ESM2(path=str(folder), dim=64)
    with pytest.raises(ModelError, match="dim = 64 is above the width of .*, 32; lower it"):
        wide.untrained(parts[0], seed=0)
