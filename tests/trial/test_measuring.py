"""Runs that their score measures at once: each as if alone, stored batch by batch, one failing without the others."""

from pathlib import Path

import numpy as np
import pytest

from sclaws import grid, trial
from sclaws.store import Store
from sclaws.testing import counts
from sclaws.trial import data, items, training

SCORE = """
from pathlib import Path
import numpy as np
from sclaws.errors import ScoreError
from sclaws.protocols import Estimate
KILL = Path(__file__).parent / "kill"
class Mean:
    calls, together = [], 2
    def __init__(self, bad=0.0): self.bad = bad
    def __call__(self, probe, *, seed):
        type(self).calls.append("alone")
        return self.of(probe)
    def of(self, probe):
        value = float(probe.pairs.x.mean())
        if value == self.bad: raise ScoreError("not to my liking")
        return {"mean": Estimate(value, value, value, 0.0, "count", len(probe.pairs.x))}
    def many(self, probes, *, seed):
        found = []
        for probe in probes:
            try: found.append(self.of(probe))
            except ScoreError as error: found.append(error)
        if KILL.exists() and type(self).calls: raise KeyboardInterrupt
        type(self).calls.append([one["mean"].value if isinstance(one, dict) else None for one in found])
        return found
class Three(Mean):
    calls, together = [], 3
class Short(Mean):
    calls = []
    def many(self, probes, *, seed): return super().many(probes, seed=seed)[:-1]
class Breaks(Mean):
    calls = []
    def many(self, probes, *, seed): raise MemoryError("too many")
class Alone(Mean):
    calls, together = [], 1
class Losses(Mean):
    calls, needs = [], "model and signal"
    def __call__(self, probe, *, seed):
        type(self).calls.append("alone")
        return {"mean": Estimate(probe.trained.scale, 0.0, 200.0, 0.0, "count", 1)}
class Broken(Mean):
    calls = []
    together = property()
class Cells:
    adapts = True
    def __init__(self, extra=0.0): self.extra = extra
    def fit(self, train, valid, *, seed):
        if train.n_obs == 41: raise RuntimeError("41 cells")
        return Fitted(train.n_obs + self.extra)
class Fitted:
    def __init__(self, scale): self.scale = scale
    def embed(self, view): return np.full((view.n_obs, 2), self.scale)
"""
WORDS = {
    "dataset": "simulated-tissue",
    "split": {"test": 0.4, "valid": 0.1},
    "models": "mine.py:Cells",
    "signals": [{"use": "obsm", "key": "protein"}],
    "scores": "mine.py:Mean",
    "levels": {"n_cells": [40, 80, 120]},
}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mine.py").write_text(SCORE)
    data.forget()
    monkeypatch.setattr(data, "whole", lambda spec: counts(400))
    yield Store.open(tmp_path / "out")
    data.forget()


def runs(store: Store, **more: object) -> list[grid.Run]:
    """Return runs in the order of their trials' cells; nothing is remembered of scores made before."""
    found = grid.runs(WORDS | more, store.folder.parent)
    for run in found:
        run.score.type.calls.clear()
    return sorted(found, key=lambda run: run.trial.levels[0].level)


def item(store: Store, of: list[grid.Run], **more: object) -> trial.Item:
    wanted: dict[str, tuple[grid.Trial, tuple[grid.Run, ...]]] = {}
    for run in of:
        wanted[run.trial.key] = run.trial, (*wanted.get(run.trial.key, (None, ()))[1], run)
    return trial.Item("a", tuple(wanted.values()), str(store.folder), **more)


def values(store: Store, of: list[grid.Run]) -> list[float | None]:
    """Return the value of each run, ``None`` where there is none."""
    found = [store.run(run.key) for run in of]
    return [record and record["estimates"]["mean"]["value"] for record in found]


def test_runs_of_several_trials_are_scored_in_batches_and_what_is_over_alone(store) -> None:
    of = runs(store)
    done = trial.work(item(store, of))
    assert of[0].score.type.calls == ["alone", [40.0, 80.0]]
    assert values(store, of) == [40, 80, 120]
    assert (len(done.trained), len(done.scored), done.failed, done.left) == (3, 3, [], [])
    how = [store.run(run.key)["provenance"] for run in of]
    assert [each.get("together") for each in how] == [2, 2, None]
    assert how[0]["seconds"] == how[1]["seconds"] == done.spent[of[0].key]
    assert sum(done.spent.values()) <= done.seconds
    trial.work(item(store, of))
    assert of[0].score.type.calls == ["alone", [40.0, 80.0]]  # all is there


def test_a_batch_has_neighbours_of_one_signal_and_is_of_one_score(store) -> None:
    signals = [{"use": "obsm", "key": key} for key in ("protein", "state")]
    of = runs(store, signals=signals, scores=["mine.py:Three", {"use": "mine.py:Three", "bad": 7.0}])
    found = trial_batches(store, of)
    assert [(len(batch), len({(r.score, r.signal) for r in batch})) for batch in found] == [(3, 1)] * 4
    assert [[r.trial.levels[0].level for r in batch] for batch in found] == [[40, 80, 120]] * 4
    replicates = runs(store, replicates=3, levels={"n_cells": [40]})
    assert trial_batches(store, replicates) == []  # of other test cells and seeds


def trial_batches(store: Store, of: list[grid.Run]) -> list[list[grid.Run]]:
    return training.measuring.batches(item(store, of), store)


@pytest.mark.parametrize("score", ["Alone", "Losses", "Broken"])
def test_scores_that_do_not_want_it_or_read_the_model_are_scored_one_by_one(store, score: str) -> None:
    of = runs(store, scores=f"mine.py:{score}")
    assert trial_batches(store, of) == []
    trial.work(item(store, of))
    assert of[0].score.type.calls == ["alone"] * 3
    assert values(store, of) == [40, 80, 120]


def test_one_that_cannot_be_measured_fails_alone(store) -> None:
    of = runs(store, scores={"use": "mine.py:Three", "bad": 80.0})
    done = trial.work(item(store, of))
    assert values(store, of) == [40, None, 120]
    assert done.failed == [of[1].key]
    assert store.failures()[of[1].key]["message"] == "not to my liking"
    assert of[1].key not in done.spent  # the others bear what the batch took


def test_a_trial_that_fails_is_missing_from_its_batch(store) -> None:
    of = runs(store, scores="mine.py:Three", levels={"n_cells": [40, 41, 80]})
    done = trial.work(item(store, of))
    assert of[0].score.type.calls == [[40.0, 80.0]]
    assert done.failed == [of[1].trial.key]


@pytest.mark.parametrize(
    ("score", "message"),
    [("Short", "Short: many returned 1 answers for 2 probes"), ("Breaks", "too many")],
)
def test_when_all_of_a_batch_fail_all_are_told(store, score: str, message: str) -> None:
    of = runs(store, scores=f"mine.py:{score}", levels={"n_cells": [40, 80]})
    done = trial.work(item(store, of))
    assert done.failed == [run.key for run in of]
    assert [store.failures()[key]["message"] for key in done.failed] == [message] * 2


def test_a_kill_costs_the_batch_under_way_and_nothing_else(store) -> None:
    of = runs(store, levels={"n_cells": [40, 60, 80, 100]})
    (store.folder.parent / "kill").touch()
    with pytest.raises(KeyboardInterrupt):
        trial.work(item(store, of))
    assert values(store, of) == [40, 60, None, None]
    (store.folder.parent / "kill").unlink()
    done = trial.work(item(store, of))
    assert (done.trained, sorted(done.scored)) == ([], sorted(run.key for run in of[2:]))
    assert of[0].score.type.calls == [[40.0, 60.0], [80.0, 100.0]]


def test_what_another_process_holds_is_left_to_it(store) -> None:
    of = runs(store, scores="mine.py:Three")
    with store.lease(of[1].trial.key) as mine:
        assert mine
        done = trial.work(item(store, of))
    assert (done.busy, values(store, of)) == ([of[1].trial.key], [40, None, 120])


def test_what_another_process_took_or_did_meanwhile_is_left_to_it(store, monkeypatch) -> None:
    """Between the training of a bundle and its scores its trials are free."""
    of = runs(store, scores="mine.py:Three")
    trial.work(item(store, of[2:]))
    before, real = store.run(of[2].key), training.measuring.score_batch
    stale = runs(store, scores="mine.py:Three")

    def later(batch, *rest):
        with store.lease(of[1].trial.key) as mine:
            assert mine
            real(stale, *rest)

    monkeypatch.setattr(training.measuring, "score_batch", later)
    done = trial.work(item(store, of))
    assert of[0].score.type.calls == [[40.0]]
    assert done.busy == [of[1].trial.key]
    assert store.run(of[2].key) == before


def test_no_batch_is_begun_when_the_time_is_up(store, monkeypatch) -> None:
    of = runs(store, levels={"n_cells": [40, 60, 80, 100]})
    now = [0.0]
    monkeypatch.setattr(training.time, "time", lambda: now[0])
    real = training.measuring.score_batch

    def late(batch, *rest):
        real(batch, *rest)
        now[0] = 2.0

    monkeypatch.setattr(training.measuring, "score_batch", late)
    done = trial.work(item(store, of, until=1.0))
    assert len(done.trained) == 4
    assert values(store, of) == [40, 60, None, None]
    assert done.left == [run.trial.key for run in of[2:]]


def test_the_first_batch_of_a_process_is_cold_and_the_next_is_not(store, monkeypatch) -> None:
    monkeypatch.setattr(items, "_USED", set())
    monkeypatch.setattr(items, "_WARM", set())
    of = runs(store, levels={"n_cells": [40, 60, 80, 100]})
    done = trial.work(item(store, of))
    assert {run.key for run in of[:2]} <= set(done.cold)
    assert not {run.key for run in of[2:]} & set(done.cold)


def test_latent_information_in_a_batch_is_what_it_is_alone(store, monkeypatch) -> None:
    lmi = pytest.importorskip("sclaws.scores.lmi")
    words = WORDS | {"models": [{"use": "pca", "dim": 3}], "scores": "lmi", "levels": {"n_cells": [40, 120]}}
    of = grid.runs(words)
    other = Store.open(store.folder.parent / "other")
    found = []
    for into, together in ((store, 2), (other, 1)):
        monkeypatch.setattr(lmi.LMI, "together", together)
        done = trial.work(item(into, of))
        assert len(done.scored) == 2
        found.append([into.run(run.key) for run in of])
    assert [[r["provenance"].get("together") for r in records] for records in found] == [[2, 2], [None, None]]
    batch, alone = ([record["estimates"]["information"] for record in records] for records in found)
    np.testing.assert_allclose([e["value"] for e in batch], [e["value"] for e in alone], atol=0.01)
    assert [(e["n"], e["verdict"]) for e in batch] == [(e["n"], e["verdict"]) for e in alone]
    assert alone[0]["value"] != alone[1]["value"]  # neither stands in the other's place
