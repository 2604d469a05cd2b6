"""Names become classes: ours, and those of a user's file that imports nothing of ours."""

import pickle

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
    assert spec.label == "MyModel(path=x)"
    with pytest.raises(PluginError, match=r"data/x\.h5ad does not exist; 'mine.py:MyModel', field 'path': paths start"):
        spec.describe()


def test_a_path_counts_by_what_it_leads_to(tmp_path) -> None:
    """The same bytes elsewhere are the same component; other bytes at the same place are another."""
    (tmp_path / "mine.py").write_text(MINE)

    def described(path: str) -> dict:
        return Spec.of("models", {"use": "mine.py:MyModel", "path": path}, tmp_path).describe()

    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "weights.bin").write_bytes(b"1")
    assert described("a") == described("b")
    assert described("a/weights.bin") == described("b/weights.bin") != described("a")
    before = described("a"), described("a/weights.bin")
    (tmp_path / "a" / "weights.bin").write_bytes(b"23")
    assert described("a") != before[0]
    assert described("a/weights.bin") != before[1]


def test_a_file_that_changes_under_a_study_is_refused(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    spec = Spec.of("models", "mine.py:MyModel", tmp_path)
    spec.describe()
    sent = pickle.dumps(spec)
    assert pickle.loads(sent).build().dim == 4
    (tmp_path / "mine.py").write_text(MINE.replace("dim=4", "dim=5"))
    with pytest.raises(PluginError, match=r"mine\.py was changed while the study was running: run it again"):
        pickle.loads(sent).build()
    with pytest.raises(PluginError, match="its file was changed since the study was read"):
        spec.refuse_change()


def test_a_component_can_have_a_name_of_its_own(tmp_path) -> None:
    spec = Spec.of("models", {"use": "pca", "dim": 4, "name": "small"})
    assert spec.label == "small"
    assert spec.describe() == Spec.of("models", {"use": "pca", "dim": 4}).describe()
    (tmp_path / "named.py").write_text("class N:\n  def __init__(self, name): self.name = name\n")
    assert Spec.of("models", {"use": "named.py:N", "name": "field"}, tmp_path).build().name == "field"


def test_fields_of_every_kind_of_class(tmp_path) -> None:
    (tmp_path / "k.py").write_text(
        "from dataclasses import dataclass, field\n"
        "@dataclass\nclass A:\n  sizes: list = field(default_factory=lambda: [1, 2])\n"
        "class B:\n  def __init__(self, **more): self.more = more\n"
    )
    assert Spec.of("models", "k.py:A", tmp_path).describe()["sizes"] == [1, 2]
    assert Spec.of("models", {"use": "k.py:B", "depth": 3}, tmp_path).build().more == {"depth": 3}


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
        (7, "models: 7 is no component"),
        ({"use": "pca", "name": 3}, "name = 3 must be text"),
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


def test_a_preset_stands_for_fields_and_gives_way_to_them(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(MINE + "    presets = {'paper': {'dim': 512}, 'small': {'dim': 2}}\n")
    spec = Spec.of("models", {"use": "mine.py:MyModel", "preset": "paper"}, tmp_path)
    assert (spec.build().dim, spec.label) == (512, "MyModel(paper)")
    assert spec.describe() == Spec.of("models", {"use": "mine.py:MyModel", "dim": 512}, tmp_path).describe()
    other = Spec.of("models", {"use": "mine.py:MyModel", "preset": "paper", "dim": 8}, tmp_path)
    assert (other.build().dim, other.label) == (8, "MyModel(paper,dim=8)")
    assert Spec.of("models", {"use": "mine.py:MyModel", "preset": "small", "name": "tiny"}, tmp_path).label == "tiny"
    with pytest.raises(PluginError, match="'mine.py:MyModel', preset: did you mean 'paper'[?] valid: paper, small"):
        Spec.of("models", {"use": "mine.py:MyModel", "preset": "papr"}, tmp_path)
    with pytest.raises(PluginError, match="model 'pca', preset: .*valid:"):
        Spec.of("models", {"use": "pca", "preset": "nobody's"})
