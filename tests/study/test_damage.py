"""A study whose files are cut in half, or whose disk is full: one clear error, or made anew; nothing is lost."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sclaws import cli
from sclaws.store import documents

MORE = 'keep = "weights"\n'


def outcome(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["sclaws", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def results(out: Path) -> dict[str, int]:
    """Return {result: time of last change} of what is published."""
    found = [*out.glob("trials/*/trial.json"), *out.glob("runs/*.json")]
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in found}


def first(pattern: str) -> Callable[[Path], Path]:
    return lambda out: min(out.glob(pattern))


def test_a_file_cut_in_half_is_made_anew_and_nothing_else_is(study: Path, monkeypatch, capsys) -> None:
    study.write_text(study.read_text() + MORE)
    out = study.parent / "small.sclaws"
    assert outcome(monkeypatch, "run", study) == 0
    table = (out / "table.csv").read_bytes()
    kinds = {
        "runs/*.json": 1, "trials/*/trial.json": 1, "trials/*/embedding-*.npy": 1, "trials/*/weights/*": 1,
        "bundles/*.json": 0, "datasets/*.json": 0, "table.csv": 0,
    }  # fmt: skip
    for kind, anew in kinds.items():
        before, path = results(out), first(kind)(out)
        os.truncate(path, path.stat().st_size // 2)
        assert outcome(monkeypatch, "run", study) == 0, kind
        after = results(out)
        assert set(after) == set(before), kind
        assert sum(after[name] != before[name] for name in before) == anew, kind
        assert (out / "table.csv").read_bytes() == table, kind
    capsys.readouterr()
    assert outcome(monkeypatch, "status", study, "--thorough") == 0
    assert "damaged" not in capsys.readouterr().out


def test_a_cut_lease_and_failure_are_in_nobodys_way(study: Path, monkeypatch) -> None:
    out = study.parent / "small.sclaws"
    assert outcome(monkeypatch, "run", study) == 0
    key = min(path.name for path in (out / "trials").iterdir())
    (out / "trials" / key / "trial.json").unlink()
    (out / "leases" / f"{key}.lease").write_text("")
    os.utime(out / "leases" / f"{key}.lease", (1, 1))
    (out / "failures" / f"{key}.json").write_text('{"check')
    assert outcome(monkeypatch, "run", study) == 0
    assert (out / "trials" / key / "trial.json").exists()


def test_the_mark_of_the_folder_cut_in_half_is_told(study: Path, monkeypatch, capsys) -> None:
    assert outcome(monkeypatch, "run", study) == 0
    os.truncate(study.parent / "small.sclaws" / "store.json", 10)
    assert outcome(monkeypatch, "run", study) == 2
    assert "store.json is damaged (cut short after 10 bytes): remove this one file" in capsys.readouterr().err


def test_damage_that_only_a_thorough_look_finds(study: Path, monkeypatch, capsys) -> None:
    out = study.parent / "small.sclaws"
    assert outcome(monkeypatch, "run", study) == 0
    path = first("trials/*/embedding-*.npy")(out)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    capsys.readouterr()
    for words, told in ([(), False], [("--thorough",), True]):
        assert outcome(monkeypatch, "status", study, *words) == 0
        assert ("damaged: " in capsys.readouterr().out) is told


FULL = """
import errno
from pathlib import Path
from sclaws.models.random_projection import RandomProjection
from sclaws.store import Stage

HERE, save = Path(__file__).parent, Stage.save_array


def save_array(self, name, values):
    if (HERE / "full").exists() and len(list((HERE / "small.sclaws" / "trials").iterdir())) > 2:
        raise OSError(errno.ENOSPC, "No space left on device")
    save(self, name, values)


Stage.save_array = save_array


class Projection:
    def fit(self, train, valid, *, seed):
        return RandomProjection(4).fit(train, valid, seed=seed)
"""


def test_a_disk_that_is_full_for_arrays_alone_ends_the_sweep_with_one_error(study: Path, monkeypatch, capsys) -> None:
    """Small files can still be written: yet no failure is noted for each trial, after hours of training, but the end
    is at once. In workers, whose disk the model's own file makes full.
    """
    (study.parent / "full.py").write_text(FULL)
    (study.parent / "full").touch()
    text = study.read_text().replace("replicates = 2", 'replicates = 6\nlevels.n_cells = [60, 120, "all"]')
    text = text.replace('"serial"', '{ use = "processes", workers = 2 }')
    text = text.replace('"random-projection"', '"full.py:Projection"')
    study.write_text(text)
    out = study.parent / "small.sclaws"
    assert outcome(monkeypatch, "run", study) == 2
    said = capsys.readouterr().err
    assert said.count("cannot be written: the disk is full: free some space; then run again") == 1, said
    assert "Traceback" not in said
    kept = results(out)
    assert len(list((out / "trials").iterdir())) < 10
    assert not list((out / "failures").iterdir())
    (study.parent / "full").unlink()
    assert outcome(monkeypatch, "run", study) == 0
    assert {name: results(out)[name] for name in kept} == kept


@pytest.mark.parametrize("nth", [1, 2, 20, 100])
def test_a_full_disk_at_any_write_is_one_error_and_the_next_run_goes_on(study: Path, nth: int, monkeypatch, capsys):
    left, sync = [nth], documents.sync

    def full(path: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(path)

    out = study.parent / "small.sclaws"
    monkeypatch.setattr(documents, "sync", full)
    assert outcome(monkeypatch, "run", study) == 2
    said = capsys.readouterr().err
    assert said.count("the disk is full: free some space; then run again: what was finished is kept") == 1, said
    assert "Traceback" not in said
    kept = results(out)
    monkeypatch.setattr(documents, "sync", sync)
    assert outcome(monkeypatch, "run", study) == 0
    assert {name: results(out)[name] for name in kept} == kept
    assert len(results(out)) == 32
