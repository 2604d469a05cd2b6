"""A study: read it, check it, run it, fit it, show it."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from sclaws import fit, grid, keys, report, sweep
from sclaws import trial as trials
from sclaws.errors import FitError, StudyError, TableError, did_you_mean
from sclaws.fit import Fits
from sclaws.plugins import Spec
from sclaws.protocols import Engine
from sclaws.store import Store
from sclaws.study import check, collect, told
from sclaws.study import words as wording
from sclaws.table import Table
from sclaws.trial import Done, Item, Settings

DEFAULT_LAWS = {"umis_per_cell": "noise", "snr": "noise", "n_cells": "saturating-power"}


@dataclass(frozen=True)
class Result:
    """What a study found: the table, the fits, the path of the report, and what happened in this run."""

    table: Table
    fits: Fits
    report: Path
    done: Done
    truth: Mapping[str, Mapping[str, Any]]

    @property
    def failed(self) -> int:
        """Number of trials and runs that are on record as failed."""
        return len(self.table.failures)

    def _repr_html_(self) -> str:
        return f"{self.fits._repr_html_()}{self.table._repr_html_()}<p>Report: {self.report}</p>"

    def __repr__(self) -> str:
        notes = "".join(f"{note}\n" for note in self.table.provenance.get("warnings", ()))
        return f"{told.fitted(self.fits.frame, self.truth)}\n\n{notes}report: {self.report}"


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
        found = wording.settle(wording.parse(text, name), profile)
        results = f"{name}{f'-{profile}' if profile else ''}.sclaws"
        chosen = {"out": str(out)} if out else {}
        return cls({"name": name, "out": results} | found | chosen, folder, text)

    @classmethod
    def of(cls, table: Mapping[str, Any], folder: str | Path = ".") -> Study:
        """Return the study that says the same as a TOML file with these tables would."""
        found = wording.settle(table, None)
        name = found.get("name", "study")
        text = json.dumps(table, indent=1, default=str)
        return cls({"name": name, "out": f"{name}.sclaws"} | found, Path(folder).resolve(), text)

    @property
    def out(self) -> Path:
        """Where results go."""
        return self.folder / Path(self.words["out"]).expanduser()

    @functools.cached_property
    def runs(self) -> list[grid.Run]:
        """Every run of the study, sorted by key."""
        block = {k: v for k, v in self.words.items() if k in (*grid.BLOCK, "axes", "grid")}
        return grid.runs(block, self.folder)

    @functools.cached_property
    def store(self) -> Store:
        """The folder of results, opened (and made) on first use."""
        return Store.open(self.out)

    @functools.cached_property
    def engine(self) -> Engine:
        """Where bundles run: all cores, one thread each, unless the study says otherwise."""
        engine: Engine = Spec.of("engines", self.words.get("engine", "processes"), self.folder).build()
        return engine

    def settings(self) -> Settings:
        """How to run."""
        device = self.words.get("device", "cpu")
        if device not in ("cpu", "cuda"):
            raise StudyError(f"device = {device!r}; {did_you_mean(str(device), ('cpu', 'cuda'))}")
        keep = tuple(sorted({"embeddings", *self.words.get("keep", ())}))
        return Settings(device, getattr(self.engine, "threads", None) or os.cpu_count() or 1, keep)

    # ── verbs ────────────────────────────────────────────────────────────────────────────────────────────────────────
    def check(self) -> list[str]:
        """Find out everything that can be wrong before any work is lost; return what was found, in sentences."""
        self._check_fits()
        if "weights" in self.settings().keep:
            for name in sorted({run.trial.model.use for run in self.runs if not hasattr(run.trial.model.type, "load")}):
                raise StudyError(f"keep: model {name!r} has no 'load', so its weights would be kept in vain")
        said = check.check(self.runs)
        self._remember_data()
        return said

    def plan(self) -> sweep.Plan:
        """Return what would run, what is there, and estimates; starts nothing."""
        return sweep.plan(self.runs, self.store, self.settings(), self._sizes())

    def run(self, *, progress: bool = True) -> Result:
        """Do what is missing, then write table, fits and report. Stop it any way and call it again: it resumes."""
        self.check()
        trials.whole.cache_clear()  # workers load their own
        todo = self.plan()
        with tqdm(total=todo.seconds, disable=not progress or not todo.items, bar_format=told.BAR, unit="s") as bar:
            count = {"trials": todo.trials_done, "failed": 0}

            def tell(cost: float, done: Done) -> None:
                count["trials"] += len(done.trained)
                count["failed"] += len(done.failed)
                bar.set_description_str(told.count(count, todo.n_trials), refresh=False)
                bar.update(cost)

            tell(0.0, Done())
            done = sweep.run(todo, self.engine, self.store, tell)
        return self.result(done)

    def result(self, done: Done | None = None) -> Result:
        """Return table, fits and report of what is stored, and write them to the study's folder."""
        table = self.table()
        fits, notes = self._fitted(table)
        table = replace(table, provenance={**table.provenance, "warnings": notes})
        table.write(self.out)
        fits.write(self.out)
        truth = self.truth()
        page = report.write(self.out, table, fits, title=self.words["name"], study_text=self.text, truth=truth)
        return Result(table, fits, page, done or Done(), truth)

    def table(self) -> Table:
        """Return the table of what is stored."""
        return collect.table(self.runs, self.store)

    def fits(self, table: Table) -> Fits:
        """Return the fits that the study asks for; without ``[[fit]]``, each axis's usual law."""
        return self._fitted(table)[0]

    def run_trial(self, key: str) -> Done:
        """Train and score one trial here and now: what an array job does. Nothing, when it is there already."""
        found = sweep.by_trial(self.runs)
        if key not in found:
            raise StudyError(f"trial {key!r} is not in this study; sclaws keys prints those that are missing")
        self._remember_data()
        return trials.work(Item(key, (found[key],), str(self.store.folder), self.settings()))

    def missing_trials(self) -> list[str]:
        """Return the keys of trials that are absent or lack a run, largest first."""
        return [trial.key for item in self.plan().items for trial, _ in item.work]

    def listing(self) -> str:
        """Return what would run, one line a kind of trial, and the estimates."""
        return told.listing(self.plan(), self.engine)

    def status(self) -> str:
        """Return how far the study is, in sentences."""
        return told.status(self.plan(), collect.failures(self.runs, self.store), self.store)

    def truth(self) -> dict[str, Any]:
        """Return what is known exactly of simulated data, by data set; empty for real data."""
        infos = {s.label: self.store.dataset(keys.key(s.describe())) for s in self._datasets()}
        return {name: info["truth"] for name, info in infos.items() if info and info.get("truth")}

    # ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────────
    def _asked(self) -> list[dict[str, Any]]:
        """Return the fits asked for; without any, the usual law of each axis."""
        axes = self._axes()
        asked = self.words.get("fit") or [{"law": DEFAULT_LAWS[a], "x": a} for a in axes if a in DEFAULT_LAWS]
        return [{"x": axes[0] if axes else "n_cells", "y": "information"} | dict(each) for each in asked]

    def _check_fits(self) -> None:
        columns = {*self._axes(), *trials.DEFAULT_AXES, "n_params", "train_flops"}
        columns |= {f"{name}_test" for name in columns}
        for number, asked in enumerate(self._asked(), start=1):
            for law in _listed(asked["law"]):
                Spec.of("laws", law, self.folder).build()
            for name in _listed(asked["x"]):
                if name not in columns:
                    raise StudyError(f"[[fit]] number {number}: unknown column {name!r}; {did_you_mean(name, columns)}")

    def _fitted(self, table: Table) -> tuple[Fits, list[str]]:
        """Return the fits, and a sentence for each that the table does not allow: a finished run keeps its table."""
        made, notes = [], []
        for number, asked in enumerate(self._asked(), start=1):
            try:
                made.append(self._fit(table, asked))
            except (TableError, FitError) as error:
                notes.append(f"fit {number} ({asked['law']}): {error}")
        return Fits.join(made), notes

    def _fit(self, table: Table, asked: Mapping[str, Any]) -> Fits:
        laws = [Spec.of("laws", law, self.folder).build() for law in _listed(asked["law"])]
        chosen = table.frame[table.frame["metric"] == asked["y"]] if len(table.frame) else table.frame
        x = _listed(asked["x"])
        by = asked.get("by") or curve_columns(chosen, x)
        return fit.fit(table.where(chosen.index), laws, x=x, y="value", by=by, replicate="replicate")

    def _axes(self) -> list[str]:
        return sorted({s.name for run in self.runs for s in (*run.trial.levels, *run.test_levels)})

    def _datasets(self) -> list[Spec]:
        return list(dict.fromkeys(run.trial.dataset for run in self.runs))

    def _remember_data(self) -> None:
        for spec in self._datasets():
            adata = trials.whole(spec).source.adata
            info = {"n_obs": adata.n_obs, "n_vars": adata.n_vars, "truth": dict(adata.uns.get("truth", {}))}
            self.store.put_dataset(keys.key(spec.describe()), info | {"description": spec.describe()})

    def _sizes(self) -> dict[str, tuple[int, int]]:
        infos = {spec.label: self.store.dataset(keys.key(spec.describe())) for spec in self._datasets()}
        return {label: (info["n_obs"], info["n_vars"]) for label, info in infos.items() if info}


ALWAYS = ("model", "signal", "score")


def curve_columns(frame: pd.DataFrame, x: list[str]) -> list[str]:
    """Return the columns that tell one curve from another: model, signal and score, data set and metric if they vary,
    and the levels of every axis that can still vary when these and a level of ``x`` are given.
    """
    axes = {name.removesuffix("_test") for name in x}
    mine = [c for axis in axes for c in (f"{axis}_level", f"{axis}_test_level") if c in frame]
    given = [c for c in mine if c.endswith("_test_level") == x[0].endswith("_test")] or mine
    names = [c for c in ("dataset", *ALWAYS, "metric") if c in frame and (c in ALWAYS or frame[c].nunique() > 1)]
    levels = [c for c in frame if c.endswith("_level") and c not in given]
    trained = {c: c.replace("_test_level", "_level") for c in levels}
    same = [c for c in levels if trained[c] != c and frame[c].equals(frame[trained[c]])]
    within = frame.groupby([*names, *given], dropna=False)
    free = [c for c in levels if c not in same and within[c].nunique(dropna=False).max() > 1]
    return names + free


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
