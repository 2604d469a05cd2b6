"""Names become classes: ours, and those of a user's file that imports nothing of ours."""

import pytest

from sclaws.errors import PluginError
from sclaws.plugins import Spec, load, names

MINE = """
class MyModel:
    version = 3
    def __init__(self, dim=4, path="x"):
        self.dim, self.path = dim, path
"""


def test_a_users_file_is_loaded_described_and_hashed(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    spec = Spec.of("models", {"use": "mine.py:MyModel", "dim": 8}, tmp_path)
    assert spec.build().dim == 8
    described = spec.describe()
    assert (described["use"], described["version"], described["dim"]) == ("mine.py:MyModel", 3, 8)
    assert spec.label == "MyModel(dim=8)"
    (tmp_path / "mine.py").write_text(MINE + "# changed\n")
    assert Spec.of("models", {"use": "mine.py:MyModel", "dim": 8}, tmp_path).describe() != described


def test_paths_start_at_the_study(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    spec = Spec.of("models", {"use": "mine.py:MyModel", "path": "data/x.h5ad"}, tmp_path)
    assert spec.build().path == str(tmp_path / "data/x.h5ad")
    assert spec.label == "x"


def test_every_family_has_members_and_they_load() -> None:
    for family in ("datasets", "axes", "signals", "models", "scores", "laws", "engines"):
        assert names(family)
        for name in names(family):
            assert isinstance(load(family, name), type)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ("mine.py:MyModle", "has no class 'MyModle': did you mean 'MyModel'"),
        ("absent.py:X", "absent.py does not exist"),
        ("broken.py:X", "broken.py cannot be imported: ZeroDivisionError"),
        ({"dim": 4}, "has no 'use'"),
        ({"use": "mine.py:MyModel", "dmi": 4}, "has no field 'dmi': did you mean 'dim'"),
    ],
)
def test_mistakes_are_named(tmp_path, value, match: str) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "broken.py").write_text("1 / 0")
    with pytest.raises(PluginError, match=match):
        Spec.of("models", value, tmp_path).build()


def test_a_field_of_the_wrong_type_is_named() -> None:
    with pytest.raises(PluginError, match="'pca', field 'dim': Input should be a valid integer.*got 'many'"):
        Spec.of("models", {"use": "pca", "dim": "many"}).build()
