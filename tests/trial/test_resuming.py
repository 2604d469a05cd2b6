"""A training that is killed goes on where it was: its scratch outlives it, and nothing else does."""

import json
from pathlib import Path

import pytest

from sclaws.store import Store
from sclaws.study import Study

# Ten steps, each written down; it is killed in the fifth if a file says so, or stops in another way.
MODEL = """
import json, os, signal
import numpy as np
class Stepwise:
    def fit(self, train, valid, *, seed, context):
        file, log = context.folder / "steps.json", HERE / "log.txt"
        done = json.loads(file.read_text()) if file.exists() else 0
        for step in range(done, 10):
            ending = HERE / "ending.txt"
            if step == 5 and ending.exists():
                how = ending.read_text()
                ending.unlink()
                if how == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise {"error": RuntimeError, "interrupt": KeyboardInterrupt}[how]("stopped")
            with log.open("a") as lines:
                lines.write(f"{train.n_obs} {step}\\n")
            file.write_text(json.dumps(step + 1))
        return self
    def embed(self, view):
        return view.totals[:, None] + np.arange(2)
"""
WORDS = {
    "dataset": {"use": "simulated-tissue", "n_cells": 300, "n_genes": 60},
    "split": {"test": 0.5, "valid": 0.1},
    "models": "stepwise.py:Stepwise",
    "signals": {"use": "obsm", "key": "protein"},
    "scores": "gaussian",
    "levels": {"n_cells": [40]},
    "engine": {"use": "processes", "workers": 1},
}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    (tmp_path / "stepwise.py").write_text(f"from pathlib import Path\nHERE = Path({str(tmp_path)!r})\n{MODEL}")
    return Study.of(WORDS, tmp_path)


def run(study: Study, ending: str = "") -> list[int]:
    """Run a study whose training ends in this way; return the steps that were taken in this run."""
    log = study.folder / "log.txt"
    before = len(log.read_text().splitlines()) if log.exists() else 0
    if ending:
        (study.folder / "ending.txt").write_text(ending)
    study.run(progress=False)
    return [int(line.split()[1]) for line in log.read_text().splitlines()[before:]]


def scratch(study: Study) -> list[str]:
    return sorted(path.name for path in (study.out / "training").iterdir())


def test_a_killed_training_goes_on_where_it_was(study: Study) -> None:
    key = study.runs[0].trial.key
    assert run(study, "kill") == [0, 1, 2, 3, 4]
    assert "SIGKILL" in study.store.failures()[key]["message"]
    assert scratch(study) == [key]
    Store.open(study.out)
    study.check()
    assert json.loads((study.out / "training" / key / "steps.json").read_text()) == 5
    assert run(study) == [5, 6, 7, 8, 9]
    assert scratch(study) == []
    assert len(study.result().table.frame) == 1


def test_a_training_that_fails_starts_anew(study: Study) -> None:
    assert run(study, "error") == [0, 1, 2, 3, 4]
    assert scratch(study) == []
    assert run(study) == list(range(10))


def test_ctrl_c_keeps_what_is_done(study: Study) -> None:
    serial = Study.of(WORDS | {"engine": "serial"}, study.folder)
    with pytest.raises(KeyboardInterrupt):
        run(serial, "interrupt")
    assert run(serial) == [5, 6, 7, 8, 9]


def test_what_one_trial_left_is_no_others(study: Study) -> None:
    run(study, "kill")
    other = Study.of(WORDS | {"levels": {"n_cells": [50]}}, study.folder)
    assert run(other) == list(range(10))
    assert scratch(study) == [study.runs[0].trial.key]
