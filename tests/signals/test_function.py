"""A user's own function: what it may return, and every way in which it can go wrong."""

import anndata
import numpy as np
import pandas as pd
import pytest

from sclaws import testing
from sclaws.errors import DataError, PluginError
from sclaws.plugins import Spec
from sclaws.signals.function import Function
from sclaws.view import View

N = 60
CODE = """
import numpy as np

def stage(view):
    return ["early" if hour < 30 else "late" for hour in view.obs["hour"]]

def stage_with_gaps(view):
    return [None if hour % 6 == 0 else str(hour % 2) for hour in view.obs["hour"]]

def phase(view):
    hour = view.obs["hour"].to_numpy(dtype=float)
    out = np.column_stack([np.sin(hour / 9), np.cos(hour / 9)])
    out[hour == 3, 1] = np.nan
    return out

def speed(view):
    return view.obs["hour"] / 3

def hour(view):
    return view.obs["hour"]

def name(view):
    return view.obs.index

def one(view):
    return ["same"] * view.n_obs

def flat(view):
    return np.full(view.n_obs, 2.0)

def nothing(view):
    return [None] * view.n_obs

def endless(view):
    return np.full(view.n_obs, np.inf)

def words(view):
    return [["a", "b"]] * view.n_obs

def uneven(view):
    return [[1.0] * (1 + i % 2) for i in range(view.n_obs)]

def short(view):
    return np.arange(3.0)

def number(view):
    return 3.0

def text(view):
    return "a" * view.n_obs

def broken(view):
    return view.obs["hours"]

def position(view):
    return np.arange(view.n_obs) / 2

constant = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    return path


@pytest.fixture
def adata():
    obs = pd.DataFrame(
        {"hour": np.arange(N), "donor": [f"d{i % 6}" for i in range(N)]}, index=[f"c{i}" for i in range(N)]
    )
    return anndata.AnnData(np.ones((N, 2), np.float32), obs=obs)


def pairs(file, call, adata, **fields):
    signal = Function(str(file), call, **fields)
    signal.check(adata)
    rows = np.arange(N)[::-2]
    return rows, signal.pairs(View.of(adata).take(rows), np.zeros((len(rows), 2)), seed=0)


def test_text_is_a_label(file, adata):
    rows, made = pairs(file, "stage", adata)
    np.testing.assert_array_equal(made.y, rows >= 30)


def test_none_leaves_cells_out(file, adata):
    rows, made = pairs(file, "stage_with_gaps", adata)
    np.testing.assert_array_equal(rows[made.rows], rows[rows % 6 != 0])
    assert made.y.dtype.kind == "i"


def test_floats_are_a_quantity_and_rows_of_them_several(file, adata):
    rows, made = pairs(file, "speed", adata)
    np.testing.assert_array_equal(made.y, rows[:, None] / 3)
    rows, made = pairs(file, "phase", adata)
    assert 3 in rows
    np.testing.assert_array_equal(rows[made.rows], rows[rows != 3])
    np.testing.assert_allclose(made.y[:, 0], np.sin(rows[rows != 3] / 9))


def test_groups_bind_the_split(file, adata):
    assert Function(str(file), "stage").by is None
    rows, made = pairs(file, "stage", adata, group="donor")
    assert Function(str(file), "stage", group="donor").by == "donor"
    assert (pd.crosstab(made.groups, rows % 6) > 0).sum().eq(1).all()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("hour", "60 whole numbers.*return floats for a quantity, text for a label"),
        ("name", "60 classes for 60 cells.*if it is a quantity return floats"),
        ("one", "is 'same' for every cell"),
        ("flat", "is the same for every cell"),
        ("nothing", "is missing for all 60 cells"),
        ("endless", "has infinite values"),
        ("words", "returned columns that cannot be read as numbers"),
        ("uneven", "returned rows of unequal length"),
        ("short", "returned 3 values for 60 cells"),
        ("number", "returned float; a value for each cell is needed"),
        ("text", "returned str; a value for each cell is needed"),
        ("broken", "raised KeyError: 'hours'"),
        ("position", "changes with the order of cells"),
    ],
)
def test_what_is_no_signal_is_said_before_any_work(file, adata, call, says):
    with pytest.raises(DataError, match=rf"mine\.py, {call}\(view\).* ?{says}"):
        Function(str(file), call).check(adata)


@pytest.mark.parametrize(
    ("name", "call", "says"),
    [
        ("mine.py", "stages", "mine.py has no function 'stages': did you mean 'stage'"),
        ("mine.py", "constant", "mine.py has no function 'constant'"),
        ("other.py", "stage", "other.py does not exist"),
        ("mine.pkl", "stage", "mine.pkl is no Python file"),
        ("wrong.py", "stage", "wrong.py cannot be imported: SyntaxError"),
    ],
)
def test_a_file_or_function_that_is_not_there(file, adata, name, call, says):
    (file.parent / "mine.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    (file.parent / "wrong.py").write_text("def stage(view: return 3")
    with pytest.raises(PluginError, match=says):
        Function(str(file.parent / name), call).check(adata)


def test_it_conforms_and_its_code_is_part_of_its_key(tmp_path):
    (tmp_path / "mine.py").write_text("def protein(view):\n    return view.obsm('protein')\n")
    spec = Spec.of("signals", {"use": "function", "path": "mine.py", "call": "protein"}, tmp_path)
    testing.conforms("signals", spec.build())
    before = spec.describe()
    (tmp_path / "mine.py").write_text("def protein(view):\n    return -view.obsm('protein')\n")
    with pytest.raises(PluginError, match="its file was changed since the study was read"):
        spec.refuse_change()
    again = Spec.of("signals", {"use": "function", "path": "mine.py", "call": "protein"}, tmp_path)
    assert again.describe() != before
