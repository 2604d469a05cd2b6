"""A study: read it, check it, run it, fit it, show it."""

from __future__ import annotations

import functools
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from sclaws import grid, keys, report, sweep
from sclaws import trial as trials
from sclaws.engines.serial import Serial
from sclaws.errors import StudyError
from sclaws.fit import Fits
from sclaws.plugins import Spec
from sclaws.protocols import Engine
from sclaws.store import Store
from sclaws.study import agreeing, budgeting, check, collect, decomposing, fitting, learning, saturating, told
from sclaws.study import named as naming
from sclaws.study import words as wording
from sclaws.study.result import Analysis, Result
from sclaws.study.unchanged import keep, kept, made_of
from sclaws.table import Table, write_csv
from sclaws.trial import Done, Item, Settings

PAGE = "report.html"


@dataclass(frozen=True, eq=False)
class Study:
    """The words of a study and the folder where its relative paths start.

    Everything else follows from them: the same words in a file or in Python give the same keys and the same table.
    """

    words: Mapping[str, Any]
    folder: Path
    text: str = ""

    @classmethod
    def read(cls, path: str | Path, profile: str | None = None, out: str | Path | None = None) -> Study:
        """Return the study in a TOML file, with a profile laid over it."""
        path = Path(path)
        return cls.parse(wording.text(path), path.stem, path.resolve().parent, profile, out and Path(out).resolve())

    @classmethod
    def parse(
        cls, text: str, name: str, folder: Path, profile: str | None = None, out: str | Path | None = None
    ) -> Study:
        """Return the study in the text of a TOML file."""
        found = wording.settle(wording.parse(text, name), name, profile)
        return cls(found | ({"out": str(out)} if out else {}), folder, text)

    @classmethod
    def named(
        cls,
        name: str,
        data: str | Path,
        signals: Sequence[str] = (),
        by: str | None = None,
        profile: str | None = None,
        out: str | Path | None = None,
        evaluate: Sequence[str | Path] = (),
    ) -> Study:
        """Return a study with a name, such as "gowri-2025", settled on data (:func:`sclaws.study.named.settled`)."""
        text = naming.settled(name, Path(data), signals, by, [Path(file) for file in evaluate])
        return cls.parse(text, name, Path.cwd(), profile, out)

    @classmethod
    def of(cls, table: Mapping[str, Any], folder: str | Path = ".") -> Study:
        """Return the study that says the same as a TOML file with these tables would."""
        text = json.dumps(table, indent=1, default=str)
        return cls(wording.settle(table, "study", None), Path(folder).resolve(), text)

    @property
    def out(self) -> Path:
        """Where results go."""
        return self.folder / Path(self.words["out"]).expanduser()

    @functools.cached_property
    def runs(self) -> list[grid.Run]:
        """Every run of the study, sorted by key."""
        block = {k: v for k, v in self.words.items() if k in (*grid.BLOCK, "grid")}
        return grid.runs(block, self.folder)

    @property
    def store(self) -> Store:
        """The folder of results, to be looked at: nothing is made."""
        return Store(self.out.absolute())

    @functools.cached_property
    def engine(self) -> Engine:
        """Where bundles run: all cores, one thread each, unless the study says otherwise."""
        engine: Engine = Spec.of("engines", self.words.get("engine", "processes"), self.folder).build()
        return engine

    def settings(self) -> Settings:
        """How to run."""
        keep = tuple(sorted({"embeddings", *self.words["keep"]}))
        threads = getattr(self.engine, "threads", None) or os.cpu_count() or 1
        return Settings(self.words.get("device", "cpu"), threads, keep)

    # ── verbs ────────────────────────────────────────────────────────────────────────────────────────────────────────
    def check(self) -> list[str]:
        """Find out everything that can be wrong before any work is lost; return what was found, in sentences."""
        self.budget()
        if "weights" in self.settings().keep:
            check.loadable(self.runs)
        fits = self._asked()
        fitting.check(fits, self.runs, {*trials.DEFAULT_AXES, *check.columns(self.runs)}, self.folder)
        said = check.check(self.runs)
        self._infos.update((key, info) for spec in self._datasets() for key, info in [_info(spec)])
        return said

    def plan(self) -> sweep.Plan:
        """Return what would run, what is there, and estimates; starts nothing and writes nothing."""
        return sweep.plan(self.runs, self.store, self.settings(), self._sizes())

    def run(self, *, progress: bool = True) -> Result:
        """Do what is missing, then write table, fits and report. Stop it any way and call it again: it resumes.

        What a budget leaves undone is in ``result.done.left``. Fits and report that are there stay where nothing has
        changed since they were written (:mod:`sclaws.study.unchanged`).
        """
        self._ready()
        return self.result(self._swept(self.plan(), progress), anew=False)

    def calibrate(self, *, progress: bool = True) -> Done:
        """Train and keep two small trials of each model that was never timed: estimates rest on this machine then."""
        self._ready()
        return self._swept(sweep.calibration(self.plan()), progress)

    def result(self, done: Done | None = None, *, anew: bool = True) -> Result:
        """Return table, fits and report of what is stored, and write them to the study's folder."""
        store, done = Store.open(self.out), done or Done()
        store.sweep_weights()
        (table := self.table()).write(self.out)  # first of all: no law can take a finished table away
        learning.write(self.out, self.runs, self.store)
        truth, runs = self.truth(), [run.key for run in self.runs]
        told_too = self.words["name"], self.text, table.provenance, len(done.busy), len(done.left)
        made = made_of(self.out, self._asked(), truth, runs, told_too)
        analyse = functools.partial(self._analysis, table, done)
        found = None if anew else kept(self.out, made)
        if found is not None:
            return Result(self._noted(table, found["notes"]), self.out / PAGE, done, truth, found["said"], analyse)
        analysis = analyse()
        table = self._noted(table, analysis.notes)
        said = analysis.said(truth)
        page = self._written(table, analysis, truth)
        keep(store, made, analysis, said)
        return Result(table, page, done, truth, said, lambda: analysis)

    def table(self) -> Table:
        """Return the table of what is stored."""
        return collect.table(self.runs, self.store)

    def fits(self, table: Table) -> Fits:
        """Return the fits that the study asks for; without ``[[fit]]``, each axis's usual law."""
        return fitting.fitted(table, self._asked(), self.folder)[0]

    def run_trials(self, *keys: str) -> Done:
        """Train and score these trials here and now: what an array job does. Nothing, of those that are there already.

        Trials on the same cells read them once, and a model that can train several at once does.
        """
        found = sweep.by_trial(self.runs)
        if absent := [key for key in keys if key not in found]:
            raise StudyError(f"trial {absent[0]!r} is not in this study; sclaws keys prints those that are missing")
        store = Store.open(self.out)
        for dataset in dict.fromkeys(found[key][0].dataset for key in keys):
            store.put_dataset(*_info(dataset))
        item = Item("given", tuple(found[key] for key in keys), str(store.folder), self.settings())
        return sweep.carry_out([item], Serial(), store)

    def missing_trials(self) -> list[list[str]]:
        """Return the keys of trials that are absent or lack a run, largest first; those in one list are best done
        together: small ones, or such as are trained at once.
        """
        return [[trial.key for trial, _ in item.work] for item in self.plan().items]

    def budget(self) -> sweep.Budget:
        """Return what the study may spend each time that it is run; without a word of it, everything."""
        said, cuda = self.words.get("budget", {}), self.words.get("device") == "cuda"
        return budgeting.budget(said, self.folder, cuda, elsewhere=told.workers(self.engine) is None)

    def within(self, budget: Mapping[str, Any]) -> Study:
        """Return the study with these words of a budget laid over its own."""
        return replace(self, words={**self.words, "budget": {**self.words.get("budget", {}), **budget}})

    def listing(self) -> str:
        """Return what would run, one line a kind of trial, the estimates, and what a budget would cover."""
        return told.listing(self.plan(), self.engine, self.budget())

    def undone(self, done: Done) -> str:
        """Return what a spent budget has left undone, in a sentence."""
        return told.undone(len(done.left), self.plan(), self.engine)

    def status(self, *, thorough: bool = False) -> str:
        """Return how far the study is, in sentences; ``thorough`` reads every byte of every array, too."""
        return told.status(self.plan(), collect.failures(self.runs, self.store), self.store, thorough)

    def truth(self) -> dict[str, Any]:
        """Return what is known exactly of simulated data, by data set; empty for real data."""
        infos = {s.label: self.store.dataset(keys.key(s.describe())) for s in self._datasets()}
        return {name: info["truth"] for name, info in infos.items() if info and info.get("truth")}

    # ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────────
    def _ready(self) -> None:
        """Check everything, and make the folder of results."""
        self.check()
        store = Store.open(self.out)
        for key, info in self._infos.items():
            store.put_dataset(key, info)
        trials.forget()  # workers load their own

    def _swept(self, todo: sweep.Plan, progress: bool) -> Done:
        budget = self.budget()
        with tqdm(total=100, disable=not progress or not todo.items, bar_format=told.BAR, delay=1e-3) as bar:
            count = {"trials": todo.trials_done, "failed": 0}

            def tell(left: float, done: Done) -> None:
                count["trials"] += len(done.trained)
                count["failed"] += len(done.failed)
                bar.set_description_str(told.count(count, todo.n_trials), refresh=False)
                bar.set_postfix_str(told.duration(left), refresh=False)
                passed = bar.format_dict.get("elapsed", 0.0)
                bar.n = 100 * passed / (passed + left) if passed + left else 100
                bar.refresh()

            tell(sweep.Feed(todo, todo.pace, budget, told.workers(self.engine), time.time).covered()[0], Done())
            done = sweep.run(todo, self.engine, self.store, tell, budget)
        trials.forget()
        return done

    def _asked(self) -> list[dict[str, Any]]:
        return fitting.asked(self.words.get("fit", []), self.runs)

    def _analysis(self, table: Table, done: Done) -> Analysis:
        """Return what the table says, with what its reader should know."""
        fits, failed = fitting.fitted(table, self._asked(), self.folder)
        lost = decomposing.decomposition(table, self.runs)
        ends, unsaid = saturating.saturation(table)
        notes = [*failed, *told.warnings(table, len(done.busy), len(done.left)), *decomposing.warnings(lost), *unsaid]
        return Analysis(fits, lost, ends, agreeing.agreeing(table), tuple(notes), whole=not (failed or unsaid))

    def _noted(self, table: Table, notes: Sequence[str]) -> Table:
        """Return the table with what its reader should know, which is written beside it."""
        table = replace(table, provenance={**table.provenance, "warnings": list(notes)})
        table.write_provenance(self.out)
        return table

    def _written(self, table: Table, analysis: Analysis, truth: Mapping[str, Any]) -> Path:
        """Write what the table says to the study's folder; return the path of the report."""
        analysis.fits.write(self.out)
        decomposing.write(self.out, analysis.lost)
        saturating.write(self.out, analysis.ends)
        agreeing.write(self.out, analysis.agreement)
        rules = fitting.targets(self._asked())
        write_csv(analysis.fits.targets(rules), self.out / "targets.csv")
        return report.write(
            self.out / PAGE, table, analysis.fits, title=self.words["name"], study_text=self.text, truth=truth,
            rules=rules, lost=analysis.lost, ends=analysis.ends, agreement=analysis.agreement,
        )  # fmt: skip

    def _datasets(self) -> list[Spec]:
        return list(dict.fromkeys(run.trial.dataset for run in self.runs))

    @functools.cached_property
    def _infos(self) -> dict[str, dict[str, Any]]:
        """What ``check`` has found of data sets, by key; before it, what is stored."""
        found = {key: self.store.dataset(key) for key in (keys.key(spec.describe()) for spec in self._datasets())}
        return {key: info for key, info in found.items() if info}

    def _sizes(self) -> dict[str, tuple[int, int]]:
        infos = {spec.label: self._infos.get(keys.key(spec.describe())) for spec in self._datasets()}
        return {label: (info["n_obs"], info["n_vars"]) for label, info in infos.items() if info}


def _info(spec: Spec) -> tuple[str, dict[str, Any]]:
    """Return the key of a data set, and what is known of it: its size, and the truth of a simulation."""
    adata = trials.whole(spec).source.adata
    truth = adata.uns.get("truth", {})
    known = {k: float(v) for k, v in truth.items() if _is_number(v)} if isinstance(truth, Mapping) else {}
    info = {"n_obs": adata.n_obs, "n_vars": adata.n_vars, "truth": known, "description": spec.describe()}
    return keys.key(spec.describe()), info


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and math.isfinite(value)
