"""Which triplets there are, against loops over all of them."""

import itertools

import anndata
import numpy as np
import pytest
from scipy import sparse

from sclaws.errors import ModelError
from sclaws.models import _triplets
from sclaws.models._triplets import Kinds
from sclaws.view import View

torch = pytest.importorskip("torch")
TYPES = np.array([0, 0, 1, 1, 2, 2, 0, 1, -1])
STUDIES = np.array([0, 1, 0, 1, 0, 0, 1, 1, 0])
APART = ~np.eye(3, dtype=bool)
APART[0, 1] = APART[1, 0] = False  # one is the other's ancestor


def labelled(**columns):
    n = len(next(iter(columns.values())))
    adata = anndata.AnnData(sparse.csr_matrix(np.ones((n, 2), dtype=np.float32)))
    adata.obs_names = [f"c{i}" for i in range(n)]
    for name, values in columns.items():
        adata.obs[name] = values
    return View.of(adata)


# ── which cells may be what ──────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("across", [True, False])
def test_pairs_are_those_of_a_loop(across):
    known = Kinds(TYPES, STUDIES, APART, across)
    rows = np.array([8, 6, 0, 0, 3, 5, 1, 4, 7, 2])  # the first cell of its type is there twice
    near, far = known.positives(rows), known.negatives(rows)
    for i, j in itertools.product(range(len(rows)), repeat=2):
        a, b = rows[i], rows[j]
        labelled = TYPES[a] >= 0 and TYPES[b] >= 0
        assert near[i, j] == (labelled and TYPES[a] == TYPES[b] and (STUDIES[a] != STUDIES[b] if across else a != b))
        assert far[i, j] == (labelled and TYPES[a] != TYPES[b] and {TYPES[a], TYPES[b]} != {0, 1})


def test_types_studies_and_cells_have_equal_shares():
    """Type 0 has 3 cells in two studies (1 and 2 cells), type 1 a single cell: 1/4, 1/8, 1/8 and 1/2."""
    known = Kinds(np.array([0, 0, 1, 0]), np.array([0, 1, 0, 1]), ~np.eye(2, dtype=bool), True)
    rising = known.balance()
    np.testing.assert_allclose(np.diff(rising, prepend=0), [1 / 4, 1 / 8, 1 / 2, 1 / 8])
    seen = np.concatenate([_triplets.drawn(rising, 100, 7, step) for step in range(1, 201)])
    frequency = np.bincount(seen, minlength=4) / len(seen)
    np.testing.assert_allclose(frequency, [1 / 4, 1 / 8, 1 / 2, 1 / 8], atol=5 * np.sqrt(0.25 / len(seen)))
    assert (_triplets.drawn(rising, 100, 7, 3) == _triplets.drawn(rising, 100, 7, 3)).all()
    assert (_triplets.drawn(rising, 100, 7, 3) != _triplets.drawn(rising, 100, 7, 4)).any()


# ── mining ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def batch(n=40, margin=0.3):
    rng = np.random.default_rng(2)
    z = rng.normal(size=(n, 3))
    z = torch.from_numpy(z / np.linalg.norm(z, axis=1, keepdims=True))
    rows = np.arange(n)
    known = Kinds(rng.integers(-1, 4, n), rng.integers(0, 2, n), ~np.eye(4, dtype=bool), True)
    return z, known.positives(rows), known.negatives(rows), margin


def by_hand(z, near, far, margin):
    """Return {(anchor, positive): semi-hard negatives, nearest first}, by the definition."""
    z = z.numpy()

    def loss(a, p, n):
        return ((z[a] - z[p]) ** 2).sum() - ((z[a] - z[n]) ** 2).sum() + margin

    out = {}
    for a, p in itertools.combinations(range(len(z)), 2):
        semi = [n for n in range(len(z)) if far[a, n] and 0 < loss(a, p, n) < margin]
        if near[a, p] and semi:
            out[a, p] = sorted(semi, key=lambda n: ((z[a] - z[n]) ** 2).sum())
    return out


@pytest.mark.parametrize("chance", [0.0, 0.5, 1 - 1e-9])
def test_mined_triplets_are_those_of_a_loop(chance):
    z, near, far, margin = batch()
    expected = by_hand(z, near, far, margin)
    assert len(expected) > 30
    assert max(map(len, expected.values())) > 3
    uniform = torch.full((len(z), len(z)), chance)
    found = _triplets.semi_hard(z, torch.from_numpy(near), torch.from_numpy(far), margin, uniform)
    anchor, positive, negative = (cells.tolist() for cells in found)
    pairs = list(zip(anchor, positive, strict=True))
    assert sorted(pairs) == sorted(expected)
    for pair, n in zip(pairs, negative, strict=True):
        assert n == expected[pair][int(chance * len(expected[pair]))]


def test_every_semi_hard_negative_has_its_chance():
    z, near, far, margin = batch()
    expected = by_hand(z, near, far, margin)
    pair = max(expected, key=lambda pair: len(expected[pair]))
    seen = set()
    for seed in range(60):
        uniform = torch.rand(len(z), len(z), generator=torch.Generator().manual_seed(seed))
        a, p, n = _triplets.semi_hard(z, torch.from_numpy(near), torch.from_numpy(far), margin, uniform)
        seen |= set(n[(a == pair[0]) & (p == pair[1])].tolist())
    assert seen == set(expected[pair])


def test_the_hinge_is_that_of_the_distances():
    z, near, far, margin = batch()
    triplets = _triplets.semi_hard(
        z, torch.from_numpy(near), torch.from_numpy(far), margin, torch.zeros(len(z), len(z))
    )
    a, p, n = (z[cells].numpy() for cells in triplets)
    by_distance = np.linalg.norm(a - p, axis=1) - np.linalg.norm(a - n, axis=1) + margin
    assert float(_triplets.hinge(z, triplets, margin)) == pytest.approx(np.maximum(by_distance, 0).mean(), rel=1e-4)


def test_without_triplets_nothing_is_learned_from_them():
    z = torch.ones(4, 3, requires_grad=True)
    none = torch.zeros(4, 4, dtype=torch.bool)
    triplets = _triplets.semi_hard(z, ~none, none, 0.1, torch.zeros(4, 4))
    assert [len(cells) for cells in triplets] == [0, 0, 0]
    loss = _triplets.hinge(z, triplets, 0.1)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not z.grad.any()


def test_triplets_of_validation_cells_are_one_for_each_that_has_any():
    known = Kinds(TYPES, STUDIES, APART, across=True)
    rows = np.arange(len(TYPES))
    near, far = known.positives(rows), known.negatives(rows)
    a, p, n = _triplets.some(known, 3)
    assert a.tolist() == [0, 1, 2, 3, 6, 7]  # both of type 2 are of one study, the last has no type
    assert near[a, p].all()
    assert far[a, n].all()
    nobody = _triplets.some(Kinds(TYPES[:0], STUDIES[:0], APART, across=True), 3)
    assert [len(cells) for cells in nobody] == [0, 0, 0]


# ── annotations ──────────────────────────────────────────────────────────────────────────────────────────────────────
def test_codes_are_of_names_in_order():
    view = labelled(kind=["T", "B", "T", "NK"], lab=[1, 2, 2, 1])
    known, types = _triplets.kinds("it", view, "kind", "lab", None)
    assert types.tolist() == ["B", "NK", "T"]
    assert known.types.tolist() == [2, 0, 2, 1]
    assert known.studies.tolist() == [0, 1, 1, 0]
    assert known.across
    assert (known.apart == ~np.eye(3, dtype=bool)).all()
    held = labelled(kind=["NK", "new", None], lab=[7, 1, 7])
    found = _triplets.others(held, known, types, "kind", "lab")
    assert found.types.tolist() == [1, -1, -1]
    assert found.studies[0] == found.studies[2] != found.studies[1]
    assert _triplets.others(labelled(other=[1, 2]), known, types, "kind", "lab").types.tolist() == [-1, -1]


@pytest.mark.parametrize("study", [None, "lab"])
def test_without_two_studies_positives_are_of_the_same(study):
    known, _ = _triplets.kinds("it", labelled(kind=["T", "B", "T"], lab=["x"] * 3), "kind", study, None)
    assert not known.across


def parents(tmp_path, text, name="parents.tsv"):
    path = tmp_path / name
    path.write_text(text)
    return path


TREE = "child\tparent\nT\tlymphocyte\nB\tlymphocyte\nlymphocyte\tleukocyte\nT\tother\nmonocyte\tleukocyte\n"


@pytest.mark.parametrize(("name", "mark"), [("parents.tsv", "\t"), ("parents.csv", ",")])
def test_ancestors_and_descendants_are_related_siblings_are_not(tmp_path, name, mark):
    import pandas as pd

    types = pd.Index(["B", "T", "leukocyte", "monocyte", "neuron", "other"])
    found = _triplets.related("it", types, parents(tmp_path, TREE.replace("\t", mark), name))
    pairs = {(types[i], types[j]) for i, j in zip(*np.nonzero(found), strict=True)}
    above = {("T", "leukocyte"), ("B", "leukocyte"), ("monocyte", "leukocyte"), ("T", "other")}
    assert pairs == above | {(b, a) for a, b in above}


def test_a_loop_ends(tmp_path):
    import pandas as pd

    found = _triplets.related("it", pd.Index(["a", "b", "c"]), parents(tmp_path, "child\tparent\na\tb\nb\ta\n"))
    assert found[0, 1]
    assert found[1, 0]
    assert not found[2].any()


def test_related_types_are_no_negatives(tmp_path):
    view = labelled(kind=["T", "leukocyte", "B", "T"])
    known, types = _triplets.kinds("it", view, "kind", None, str(parents(tmp_path, TREE)))
    far = known.negatives(np.arange(4))
    assert types.tolist() == ["B", "T", "leukocyte"]
    assert far.tolist() == [
        [False, False, True, False], [False] * 4, [True, False, False, True], [False, False, True, False],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "study", "told"),
    [
        ({"other": ["T", "B"]}, None, "it: label = 'kind' is not a column of obs; .*valid: other"),
        ({"kind": ["T", None, "B", None]}, None, r"it: 2 of 4 training cells have no value in obs\['kind'\].*leave"),
        ({"kind": ["T", "T"]}, None, r"it: the 2 training cells are of 1 types in obs\['kind'\].*train on more cells"),
        ({"kind": ["T", "B"]}, "lab", "it: study = 'lab' is not a column of obs"),
        ({"kind": ["T", "B"], "lab": ["x", None]}, "lab", r"it: 1 of 2 training cells have no value in obs\['lab'\]"),
        ({"kind": ["T", "B"], "lab": ["x", "y"]}, "lab", "it: no type .* was seen in two studies.*leave study out"),
    ],
)
def test_annotations_that_give_no_triplets_are_refused(columns, study, told):
    with pytest.raises(ModelError, match=told):
        _triplets.kinds("it", labelled(**columns), "kind", study, None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind\tparent\nT\tB\n", "parents.tsv has no column 'child', but kind, parent"),
        ("child\tparent\nneuron\tcell\n", "knows none of the 2 types, the first is 'B'"),
        ("child\tparent\nT\tB\n", "is an ancestor or a descendant of every other.*leave ontology_path out"),
        ("", "parents.tsv cannot be read .*; give a table with columns child, parent"),
    ],
)
def test_tables_of_parents_that_cannot_be_are_refused(tmp_path, text, told):
    with pytest.raises(ModelError, match=told):
        _triplets.kinds("it", labelled(kind=["T", "B"]), "kind", None, str(parents(tmp_path, text)))


def test_a_table_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ModelError, match="nowhere.tsv cannot be read"):
        _triplets.kinds("it", labelled(kind=["T", "B"]), "kind", None, str(tmp_path / "nowhere.tsv"))
