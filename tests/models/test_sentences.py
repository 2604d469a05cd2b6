"""Against a tokenizer and masks written plainly here, and against BERT as transformers computes it."""

import dataclasses
import math
import os

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sclaws.hashing import mix
from sclaws.models import _bert_architecture, _sentences, _vocabulary
from sclaws.models._vocabulary import Vocabulary, chosen, places
from sclaws.models.geneformer import Geneformer
from sclaws.view import View

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here is to be asked of a server

CONTEXT = 16
MODEL = Geneformer(size="16x3x2x2", context=CONTEXT, dropout=0.0)


def with_random_weights(trained, seed=0):
    """As they are initialised, biases are 0 and scales 1, which would hide a mistake."""
    rng = np.random.default_rng(seed)
    weights = {name: rng.normal(0, 0.4, w.shape).astype(np.float32) for name, w in trained.weights.items()}
    return dataclasses.replace(trained, weights=weights)


@pytest.fixture(scope="module")
def train(three_types):
    return three_types.take(np.arange(300))


@pytest.fixture(scope="module")
def test(three_types):
    """40 cells of very different lengths, the last of them empty."""
    adata = three_types.take(np.arange(400, 440)).to_adata()
    dense = adata.X.toarray()
    for i in range(20):
        dense[i, np.flatnonzero(dense[i])[i + 1 :]] = 0
    dense[-1] = 0
    adata.X = sparse.csr_matrix(dense)
    return View.of(adata)


@pytest.fixture(scope="module")
def trained(train):
    return with_random_weights(MODEL.untrained(train, seed=0))


@pytest.fixture(scope="module")
def theirs(trained, tmp_path_factory):
    """The same model, saved by us and loaded by transformers."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("saved")
    trained.save(folder)
    model, told = transformers.BertForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


def usual_levels(train):
    """Each gene's median of count / total · 10,000 over the cells that have it."""
    counts = train.to_adata().X.toarray().astype(float)
    levels = counts / counts.sum(axis=1, keepdims=True) * 1e4
    return np.array([np.median(column[column > 0]) for column in levels.T])


def sentences(train, view):
    """Tokens of each cell: genes from the highest count / median down; gene j's token is j + 2."""
    medians, out = usual_levels(train), []
    for cell in view.to_adata().X.toarray():
        there = np.flatnonzero(cell)
        out.append(there[np.lexsort((there, -np.round(cell[there] / medians[there], 8)))][:CONTEXT] + 2)
    return out


def masks(view, found, seed):
    """Hidden is what a hash of (seed, cell, gene) puts into the lowest 15 %, and the lowest where that is none."""
    out = []
    for cell, tokens in zip(view.cell_ids, found, strict=True):
        hashes = mix(mix(mix(np.uint64(seed)) ^ cell) ^ view.feature_ids[tokens - 2])
        hide = hashes.astype(float) < 0.15 * 2.0**64
        if len(hide) and not hide.any():
            hide[hashes.argmin()] = True
        out.append(hide)
    return out


def padded(found):
    import torch

    ids, mask = np.zeros((len(found), CONTEXT), dtype=np.int64), np.zeros((len(found), CONTEXT), dtype=np.int64)
    for i, tokens in enumerate(found):
        ids[i, : len(tokens)], mask[i, : len(tokens)] = tokens, 1
    return torch.from_numpy(ids), torch.from_numpy(mask)


# ── against transformers ─────────────────────────────────────────────────────────────────────────────────────────────
def test_logits_at_hidden_positions_are_those_of_transformers(trained, theirs, train, test):
    import torch

    from sclaws.models import _stack
    from sclaws.models._packing import ragged

    found = sentences(train, test)[:-1]
    hide = masks(test.take(np.arange(len(found))), found, seed=5)
    shown = [np.where(h, 1, tokens) for tokens, h in zip(found, hide, strict=True)]
    ids, mask = padded(shown)
    assert len({len(tokens) for tokens in found}) > 10
    lengths, flat = np.array([len(tokens) for tokens in found]), np.concatenate(hide)
    with torch.no_grad():
        logits = theirs(input_ids=ids, attention_mask=mask).logits
        expected = torch.cat([logits[i, : len(h)][torch.from_numpy(h)] for i, h in enumerate(hide)])
        weights = _stack.stacked([trained.weights], "cpu")
        states = _sentences.foretell(
            weights, trained.config, torch.from_numpy(np.concatenate(shown))[None],
            torch.from_numpy(places(lengths))[None], ragged(lengths[None], chosen(flat, lengths)[None], "cpu"),
        )[0]  # fmt: skip
        ours = states @ weights["words"][0].T + weights["decoder.bias"][0]
    assert expected.std() > 0.5
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_losses_are_the_cross_entropy_of_transformers(trained, theirs, train, test):
    import torch

    found = sentences(train, test)
    hide = masks(test, found, seed=5)
    ids, mask = padded([np.where(h, 1, tokens) for tokens, h in zip(found, hide, strict=True)])
    with torch.no_grad():
        logits = theirs(input_ids=ids[:-1], attention_mask=mask[:-1]).logits
    expected = [
        torch.nn.functional.cross_entropy(of[: len(h)][torch.from_numpy(h)], torch.from_numpy(tokens[h])).item()
        for of, tokens, h in zip(logits, found, hide, strict=False)
    ]
    losses = trained.losses(test, seed=5)
    np.testing.assert_allclose(losses[:-1], np.array(expected) / math.log(2), rtol=1e-4)
    assert losses[-1] == 0
    assert trained.loss_measure == "bits of a hidden token's identity, of 62 tokens, given the ranked others"


@pytest.mark.parametrize("layer", [-1, -2, -3])
def test_embeddings_are_means_of_hidden_states_of_transformers(trained, theirs, train, test, layer):
    import torch

    ids, mask = padded(sentences(train, test))
    with torch.no_grad():
        out = theirs(input_ids=ids[:-1], attention_mask=mask[:-1], output_hidden_states=True)
        states = theirs.bert(input_ids=ids[:-1], attention_mask=mask[:-1]).last_hidden_state
    states = states if layer == -1 else out.hidden_states[layer]
    expected = (states * mask[:-1, :, None]).sum(1) / mask[:-1].sum(1, keepdim=True)
    found = dataclasses.replace(trained, layer=layer).embed(test)
    np.testing.assert_allclose(found[:-1], expected.numpy(), atol=1e-4)
    assert not found[-1].any()


# ── what is asked, and of whom ───────────────────────────────────────────────────────────────────────────────────────
def test_the_baseline_knows_how_often_each_token_occurs(trained, train, test):
    seen = np.bincount(np.concatenate(sentences(train, train)), minlength=62) + 0.5
    bits = -np.log2(seen / seen.sum())
    found = sentences(train, test)
    expected = [bits[tokens[h]].mean() for tokens, h in zip(found[:-1], masks(test, found, 3), strict=False)]
    baseline = trained.baseline_losses(test, seed=3)
    np.testing.assert_allclose(baseline[:-1], expected, rtol=1e-10)
    assert baseline[-1] == 0


@pytest.mark.parametrize("ask", ["losses", "baseline_losses"])
def test_a_loss_is_that_of_a_cell_in_any_company(trained, test, ask, monkeypatch):
    losses = getattr(trained, ask)
    whole, order = losses(test, seed=1), np.random.default_rng(0).permutation(len(test))
    np.testing.assert_allclose(losses(test.take(order), seed=1), whole[order], rtol=1e-5)
    np.testing.assert_allclose(losses(test.take(order[:3]), seed=1), whole[order[:3]], rtol=1e-5)
    assert losses(test.take(np.arange(0)), seed=1).shape == (0,)
    assert (losses(test.take([len(test) - 1]), seed=1) == [0]).all()
    monkeypatch.setattr(_sentences, "_BLOCK", 30)  # tokens: a cell or two at a time
    np.testing.assert_allclose(losses(test, seed=1), whole, rtol=1e-5)
    assert (losses(test, seed=2)[10:-1] != whole[10:-1]).mean() > 0.8  # of ten tokens or more


def test_cells_are_embedded_a_few_at_a_time(trained, test, monkeypatch):
    whole = trained.embed(test)
    monkeypatch.setattr(_sentences, "_BLOCK", 1)
    np.testing.assert_allclose(trained.embed(test), whole, atol=1e-5)
    assert trained.embed(test.take(np.arange(0))).shape == (0, 16)


def test_a_cell_longer_than_the_context_is_cut(trained, train, test):
    """Genes beyond the context are not seen: without them the cell is the same."""
    counts = test.to_adata().X.toarray()
    long = int((counts > 0).sum(axis=1).argmax())
    (kept,) = sentences(train, test.take([long]))
    assert (counts[long] > 0).sum() > len(kept) == CONTEXT
    cut = np.zeros((1, 60), dtype=np.float32)
    cut[0, kept - 2] = counts[long, kept - 2]
    other = anndata.AnnData(sparse.csr_matrix(cut), var=pd.DataFrame(index=list(train.feature_names)))
    np.testing.assert_array_equal(trained.embed(View.of(other)), trained.embed(test.take([long])))


# ── genes ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def vocabulary(medians, ids=None, mask=1, pad=0):
    genes = pd.Index([f"g{j}" for j in range(len(medians))])
    tokens = np.arange(2, 2 + len(medians)) if ids is None else ids
    return Vocabulary(genes, np.asarray(tokens, dtype=np.int32), np.asarray(medians, dtype=float), mask, pad)


def cells(values, genes):
    adata = anndata.AnnData(sparse.csr_matrix(np.atleast_2d(values).astype(np.float32)))
    adata.var_names = genes
    return View.of(adata)


def test_ties_go_to_the_models_first_gene_in_any_order_of_the_datas():
    """g1, g2 and g4 have as many times their median."""
    words = vocabulary([9.0, 1.0, 2.0, 1.0, 3.0])
    counts, genes = np.array([1, 2, 4, 5, 6]), np.array([f"g{j}" for j in range(5)])
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 4, 0, 1, 3]):
        ranking = words.of(cells(counts[order], genes[order]), 5)
        ((_, tokens),) = ranking.blocks()
        assert tokens.ids.tolist() == [5, 3, 4, 6, 2]
        of = cells(counts, genes).feature_ids
        np.testing.assert_array_equal(ranking.genes[tokens.ids], of[[3, 1, 2, 4, 0]])


def test_genes_without_token_or_median_or_in_other_data_alone_are_passed_over():
    words = vocabulary([1.0, np.nan, 1.0, 1.0], ids=[2, 3, -1, 4])
    view = cells([[7, 5, 9, 8, 3], [0, 4, 4, 4, 0]], ["g0", "g1", "g2", "other", "g3"])
    ((_, tokens),) = words.of(view, 5).blocks()
    assert tokens.ids.tolist() == [2, 4]
    assert tokens.lengths.tolist() == [2, 0]


@pytest.mark.parametrize(("genes", "share"), [(["g0", "g3"], 1.0), (["g0", "g1", "g2"], 0.5), (["g1", "x"], 0.0)])
def test_the_share_of_known_genes(genes, share):
    """Of four genes two have a token and a median."""
    words = vocabulary([1.0, np.nan, 1.0, 1.0], ids=[2, 3, -1, 4])
    assert words.known(cells(np.ones(len(genes)), genes)) == share


def test_other_special_tokens_survive_saving(trained, test, tmp_path):
    """Of a checkpoint whose mask is 61 and whose filler is 60: two genes less."""
    words = dataclasses.replace(
        trained.words, features=trained.features[:58], ids=np.arange(58, dtype=np.int32),
        medians=trained.words.medians[:58], mask=61, pad=60,
    )  # fmt: skip
    other = dataclasses.replace(trained, words=words)
    other.save(tmp_path)
    loaded = MODEL.load(tmp_path)
    assert (loaded.words.mask, loaded.words.pad) == (61, 60)
    from sclaws.models import _bert

    assert _bert.read(tmp_path)[-2:] == (61, 60)
    np.testing.assert_array_equal(loaded.losses(test, seed=1), other.losses(test, seed=1))


# ── cost ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def counted(config, cells, length, training=False):
    """Operations that torch counts for ``cells`` of one length, 15 % of each foretold."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from sclaws.models import _crossentropy, _stack
    from sclaws.models._packing import ragged

    weights = _stack.drawn(_bert_architecture.shapes(config), [0], "cpu")
    lengths, asked = np.full(cells, length), round(0.15 * length)
    wanted = np.tile(np.arange(asked), (1, cells, 1))
    ids = torch.randint(2, config.vocabulary, (1, cells * length), generator=torch.Generator().manual_seed(0))
    target = ids[:, : asked * cells]
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        packing = ragged(lengths[None], wanted, "cpu")
        states = _sentences.foretell(weights, config, ids, torch.from_numpy(places(lengths))[None], packing)
        if training:
            share = torch.ones(target.shape)
            _crossentropy.cross_entropy(states, weights["words"], weights["decoder.bias"], target, share).backward()
        else:
            _crossentropy.nats(states[0], weights["words"][0], weights["decoder.bias"][0], target[0])
    return counter.get_total_flops()


@pytest.mark.parametrize("size", ["16x1x2x4", "24x3x4x2"])
@pytest.mark.parametrize(("cells", "length"), [(1, 20), (5, 40)])
def test_operations_are_as_many_as_torch_counts(size, cells, length):
    """15 % of 20 and of 40 tokens are whole numbers, so there is no difference to explain."""
    config = Geneformer(size=size, context=64).config(100)
    assert _sentences.flops(config, np.full(cells, length)) == counted(config, cells, length)


def test_training_takes_three_times_as_many():
    """torch's counter does not know ``addmm_``, by which the words' gradient (vocabulary x hidden x width) is added."""
    config = Geneformer(size="24x3x4x2", context=64).config(100)
    missed = 2 * 102 * (5 * 6) * 24
    assert 3 * _sentences.flops(config, np.full(5, 40)) == counted(config, 5, 40, training=True) + missed


# ── small parts ──────────────────────────────────────────────────────────────────────────────────────────────────────
def test_places_and_chosen_by_hand():
    assert places(np.array([3, 0, 2])).tolist() == [0, 1, 2, 0, 1]
    assert places(np.array([], dtype=int)).tolist() == []
    hide = np.array([True, False, True, False, True])
    assert chosen(hide, np.array([3, 0, 2])).tolist() == [[0, 2], [-1, -1], [1, -1]]
    assert chosen(np.zeros(2, dtype=bool), np.array([2])).shape == (1, 0)


def test_a_piece_of_the_sentences(trained, train):
    whole = _vocabulary.read(trained.words.of(train, CONTEXT))
    found = sentences(train, train)
    rows = np.array([7, 3, 3, 250])
    piece = whole.piece(rows)
    np.testing.assert_array_equal(piece.ids, np.concatenate([found[i] for i in rows]))
    np.testing.assert_array_equal(piece.cells, train.cell_ids[rows])
    np.testing.assert_array_equal(piece.genes[piece.ids], train.feature_ids[piece.ids - 2])
    assert _vocabulary.read(trained.words.of(train.take(np.arange(0)), CONTEXT)).lengths.shape == (0,)


@pytest.mark.skipif("not __import__('torch').cuda.is_available()", reason="no CUDA device")
def test_a_gpu_gives_the_same_numbers(trained, test):
    there = dataclasses.replace(trained, context=dataclasses.replace(trained.context, device="cuda"))
    np.testing.assert_allclose(there.embed(test), trained.embed(test), atol=1e-3)
    np.testing.assert_allclose(there.losses(test, seed=0), trained.losses(test, seed=0), rtol=1e-3, atol=1e-3)
