"""Batches from disk: the same counts, every cell and every stretch once an epoch, and networks that learn alike."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sclaws.models import _balanced, _streams
from sclaws.models._batches import Cells, StreamedCells, training_cells
from sclaws.models._triplets import Kinds
from sclaws.models._vocabulary import Sentences, StreamedSentences, sentences
from sclaws.models.contrastive import Contrastive
from sclaws.models.geneformer import Geneformer, vocabulary
from sclaws.models.masked_autoencoder import MaskedAutoencoder
from sclaws.models.masked_reconstruction import MaskedReconstruction
from sclaws.models.scvi import SCVI
from sclaws.protocols import Job
from sclaws.stored import Stored
from sclaws.thinning import Thin
from sclaws.view import View


@pytest.fixture
def folder(corpus: Path) -> Path:
    return corpus


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretches and pools of which there are many."""
    monkeypatch.setattr(_streams, "STRETCH", 1)  # which is 16 cells, the least
    monkeypatch.setattr(_streams, "POOL", 4)
    for cached in (_streams._edges, _streams._epoch, _streams.pool):
        cached.cache_clear()


def parts(folder: Path, *, on_disk: bool) -> tuple[View, View]:
    view = View.of(Stored(folder)).corrupt(Thin.keep(0.5, 1))
    train, valid = view.take(np.arange(0, 800)), view.take(np.arange(800, 900)).materialise()
    return (train if on_disk else train.materialise()), valid


# ── the order ────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("n", "batch"), [(800, 64), (801, 37), (10, 3), (16, 16), (2, 5)])
def test_every_cell_comes_once_an_epoch(n: int, batch: int):
    steps = -(-3 * n // batch)
    seen = np.concatenate([_streams.rows(n, 16, batch, 7, step) for step in range(1, steps + 1)])
    for epoch in range(3):
        assert sorted(seen[epoch * n : (epoch + 1) * n]) == list(range(n))
    if n > 20:
        assert list(seen[:n]) != list(seen[n : 2 * n]) and list(seen[:n]) != sorted(seen[:n])


@pytest.mark.usefixtures("small")
def test_a_batch_mixes_stretches_of_a_pool():
    batch = _streams.rows(800, 16, 64, 3, 1)
    assert 2 < len(np.unique(batch // 16)) <= 5  # stretches are of about 16 cells, four a pool
    assert not (np.diff(batch) == 1).mean() > 0.2


@pytest.mark.usefixtures("small")
def test_every_stretch_is_read_once_an_epoch(folder: Path, monkeypatch: pytest.MonkeyPatch):
    train, _ = parts(folder, on_disk=True)
    stream, read = _streams.Stream(train, "test"), Counter()
    read_rows = View.read

    def counted(self: View, rows: np.ndarray) -> object:
        read[int(rows[0])] += 1
        return read_rows(self, rows)

    monkeypatch.setattr(View, "read", counted)
    for step in range(1, 801 // 32 + 1):
        stream.dense(stream.stretches.rows(32, 0, step))
    for coming in list(stream.stretches._coming.values()):  # of the epoch after it
        coming.result()
    assert len(read) == 50 and sum(read.values()) <= 50 + 4


@pytest.mark.usefixtures("small")
def test_a_stream_gives_the_counts_of_its_rows(folder: Path):
    disk, memory = (parts(folder, on_disk=where)[0] for where in (True, False))
    genes = np.arange(0, 50, 3)
    stream, whole = _streams.Stream(disk.choose(genes), "test"), memory.source.adata.X[:, genes].toarray()
    rows = np.random.default_rng(0).integers(0, 800, 200)
    np.testing.assert_array_equal(stream.dense(rows), whole[rows])
    some = np.arange(5, 700, 2)
    np.testing.assert_array_equal(stream.take(some).dense(np.arange(40)), whole[some[:40]])
    np.testing.assert_array_equal(np.vstack([b.toarray() for b in stream.blocks()]), whole)


def test_cells_of_both_kinds_give_the_same_batches(folder: Path):
    disk, memory = (parts(folder, on_disk=where)[0] for where in (True, False))
    both = [_streams.chosen(view, 20, "test") for view in (disk, memory)]
    np.testing.assert_array_equal(both[0].genes, both[1].genes)
    np.testing.assert_array_equal(both[0].total, both[1].total)
    made = [training_cells([each.counts], [each.total], "cpu") for each in both]
    assert isinstance(made[0], StreamedCells) and isinstance(made[1], Cells)
    rows = np.array([[3, 799, 3, 120]])
    for one, other in zip(made[0].batch(rows), made[1].batch(rows), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.usefixtures("small")
def test_sentences_from_disk_are_those_of_memory(folder: Path):
    disk, memory = (parts(folder, on_disk=where)[0] for where in (True, False))
    words = vocabulary(memory)
    made = [sentences(words, view, 12) for view in (disk, memory)]
    assert isinstance(made[0], StreamedSentences) and isinstance(made[1], Sentences)
    rows = np.random.default_rng(1).integers(0, 800, 300)
    for streamed, held in (made, [each.with_tokens() for each in made]):
        np.testing.assert_array_equal(streamed.lengths, held.lengths)
        np.testing.assert_array_equal(streamed.occurrences(60), held.occurrences(60))
        for one, other in zip(vars(streamed.piece(rows)).values(), vars(held.piece(rows)).values(), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("small")
def test_cells_without_a_token_are_left_out_of_what_is_streamed(folder: Path):
    disk, memory = (parts(folder, on_disk=where)[0].choose(np.arange(2)) for where in (True, False))
    words = vocabulary(memory)
    streamed, held = (sentences(words, view, 12) for view in (disk, memory))
    assert 0 < (streamed.lengths == 0).sum() < 800
    streamed, held = streamed.with_tokens(), held.with_tokens()
    np.testing.assert_array_equal(streamed.cells, held.cells)
    rows = streamed.rows(64, 0, 1)
    np.testing.assert_array_equal(streamed.piece(rows).ids, held.piece(rows).ids)


# ── equal shares of kinds ────────────────────────────────────────────────────────────────────────────────────────────
def kinds(n: int) -> Kinds:
    """Three types in two studies, one of three cells, and no cell of the third in the first study."""
    types = np.random.default_rng(5).choice([0, 1], n, p=[0.8, 0.2])
    studies = np.random.default_rng(6).choice([0, 1], n, p=[0.3, 0.7])
    types[[50, 400, 799]], studies[[50, 400, 799]] = 2, 1
    return Kinds(types, studies, ~np.eye(3, dtype=bool), True)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kept", [1, 10**4])
def test_kinds_have_equal_shares_from_disk_however_rare(folder: Path, monkeypatch: pytest.MonkeyPatch, kept: int):
    monkeypatch.setattr(_balanced, "KEPT", kept)
    disk, memory = (parts(folder, on_disk=where)[0] for where in (True, False))
    known, total = kinds(800), disk.totals
    streamed = _balanced.balanced(_streams.Stream(disk, "test"), total, known, "cpu", "test")
    rows = np.concatenate([streamed.rows(200, 3, step) for step in range(1, 401)])
    pairs, group = known.groups()
    expected = {(0, 0): 1 / 6, (0, 1): 1 / 6, (1, 0): 1 / 6, (1, 1): 1 / 6, (2, 1): 1 / 3}
    assert {tuple(pair) for pair in pairs.tolist()} == set(expected)
    for pair, found in zip(pairs.tolist(), np.bincount(group[rows]) / len(rows), strict=True):
        share = expected[tuple(pair)]
        assert abs(found - share) < 4 * np.sqrt(share * (1 - share) / len(rows))
    assert len(np.unique(rows)) == 800  # every cell is drawn sooner or later
    some = np.array([50, 3, 799, 3, 640])
    values, depth = streamed.batch(some)
    np.testing.assert_array_equal(values[0].numpy(), memory.source.adata.X[some].toarray())
    np.testing.assert_array_equal(depth[0].numpy(), total[some].astype(np.float32))


def test_of_one_pool_the_same_cells_are_drawn_as_from_memory(folder: Path):
    disk, memory = (parts(folder, on_disk=where)[0] for where in (True, False))
    known, chosen = kinds(800), [_streams.chosen(view, "all", "test") for view in (disk, memory)]
    both = [_balanced.balanced(each.counts, each.total, known, "cpu", "test") for each in chosen]
    for step in (1, 7, 40):
        rows = [each.rows(96, 2, step) for each in both]
        np.testing.assert_array_equal(*rows)
        for one, other in zip(*(each.batch(rows[0]) for each in both), strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy())


# ── learning ─────────────────────────────────────────────────────────────────────────────────────────────────────────
NETWORKS = [
    MaskedAutoencoder(n_genes=30, widths=(16,), dim=4, batch_size=64, max_updates=30),
    MaskedReconstruction("8x1x2x2", n_genes=16, max_updates=12, batch_size=32),
    SCVI(n_latent=3, n_hidden=16, n_genes=30, max_updates=30, batch_size=64),
    Geneformer("16x1x2x2", context=24, max_updates=12),
    Contrastive(label="type", widths=(16,), dim=4, n_genes=30, max_updates=30),
]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_a_network_learns_the_same_from_disk_as_from_memory_in_the_same_order(
    network: MaskedAutoencoder | MaskedReconstruction, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    stretch = _streams.Stream(parts(folder, on_disk=True)[0], "test").stretches.stretch

    def in_that_order(self: Cells, batch: int, seeds: list[int], step: int) -> np.ndarray:
        return np.stack(
            [_streams.rows(n, stretch, batch, s, step) for n, s in zip(self.n.tolist(), seeds, strict=True)]
        )

    def sentences_in_that_order(self: Sentences, batch: int, seed: int, step: int) -> np.ndarray:
        return _streams.rows(len(self.cells), stretch, batch, seed, step)

    monkeypatch.setattr(Cells, "rows", in_that_order)
    monkeypatch.setattr(Sentences, "rows", sentences_in_that_order)
    disk, memory = (network.fit(*parts(folder, on_disk=where), seed=1) for where in (True, False))
    valid = parts(folder, on_disk=False)[1]
    np.testing.assert_allclose(disk.embed(valid), memory.embed(valid), rtol=1e-4, atol=1e-5)
    assert hasattr(disk, "losses") is not isinstance(network, Contrastive)
    if isinstance(network, Contrastive):  # which foretells nothing
        return
    np.testing.assert_allclose(disk.losses(valid, seed=0), memory.losses(valid, seed=0), rtol=1e-5)
    np.testing.assert_allclose(disk.baseline_losses(valid, seed=0), memory.baseline_losses(valid, seed=0), rtol=1e-9)


def test_several_are_trained_together_from_disk(folder: Path):
    train, valid = parts(folder, on_disk=True)
    memory = parts(folder, on_disk=False)[0]
    jobs = [Job(train, valid, 0), Job(memory, valid, 1)]
    both, alone = NETWORKS[1].fit_many(jobs), NETWORKS[1].fit(train, valid, seed=0)
    np.testing.assert_allclose(both[0].embed(valid), alone.embed(valid), rtol=1e-3, atol=1e-4)
