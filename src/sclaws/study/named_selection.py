"""A named study of what to learn from: the corpus, the tasks that other data allow, and the shares that are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sclaws.errors import DataError, StudyError, did_you_mean
from sclaws.study.named_counts import kind_of, load_counts, trained_cells
from sclaws.study.toml_text import levels, listing, stem, toml

KINDS: Mapping[str, str] = {
    "label": "the cell type, a column of obs",
    "study": "where a cell of the corpus is from, a column of obs",
    "batch": "what integration should mix, a column of obs",
    "perturbation": "what was done to a cell, a column of obs",
}
BATCHES = ("batch", "donor", "donor_id", "sample", "patient", "individual", "bio_rep", "replicate")
PERTURBATIONS = ("target", "perturbation", "drug", "condition", "treatment", "stim")
CONTROLS = ("non-targeting", "control", "ctrl", "dmso", "dmso_tf", "untreated", "vehicle", "none", "unperturbed", "nt")
SHARES = (0.01, 0.1, 0.25, 0.5, 0.75)  # published; with all cells six fractions
SIZES = (0.5, 2, 4)  # published, of scVI; times its own
_WIDTH = 128  # of scVI's hidden layer, published and here
_LEAST = 50  # cells that a share is made of at least
_SPLIT = {"test": 0.1, "valid": 0.1}  # published: 80/10/10
_FEW_GENES = 0.5  # of the corpus's genes; below, the study says that its perturbed cells are seen through few


def words(data: Path, signals: Sequence[str], by: str | None, evaluate: Sequence[Path]) -> dict[str, str]:
    """Return what the template leaves open, as TOML. One load of the corpus and of each data set evaluated on.

    ``signals`` are KIND=KEY (:data:`KINDS`); without any, what the files' names suggest. Raises ``StudyError`` or
    ``DataError`` for a corpus without cell types, and for data that no task can be read from.
    """
    said = _said(signals)
    corpus, dataset = load_counts(data)
    for what in ("label", "study"):
        if what in said and said[what] not in corpus.obs:
            raise DataError(f"{data}: --signal {what}: {said[what]!r}; {did_you_mean(said[what], corpus.obs)}")
    label = said.get("label") or _label(corpus.obs)
    if label is None:
        raise DataError(
            f"{data}: no column of obs is called like a cell type, which re-weighting needs ({', '.join(corpus.obs)}): "
            f"name it with --signal label=COLUMN"
        )
    study = said.get("study", "study")
    split: dict[str, Any] = dict(_SPLIT) | ({"by": by} if by else {})
    if by and by not in corpus.obs:
        raise DataError(f"--by {by}: obs has no such column; {did_you_mean(by, corpus.obs)}")
    tests = [_Tested.of(file, said, corpus) for file in evaluate]
    for what in ("batch", "perturbation"):
        if what in said and said[what] not in {getattr(test, what) for test in tests}:
            raise DataError(f"--signal {what}={said[what]}: no data to evaluate on have such a column of obs")
    tasks = list(dict.fromkeys(task for test in tests for task in test.tasks)) or ["typing its own test cells"]
    cells = trained_cells(split, corpus)
    fewer = [max(share * cells, min(_LEAST, cells / 4)) for share in SHARES]
    return {
        "dataset": toml(dataset),
        "split": toml(split),
        "tasks": listing(tasks),
        "label": toml(label),
        "own_signals": toml([_signal(label)]),
        "evaluations": "".join(test.words(short=False) for test in tests),
        "smoke_evaluations": "".join(test.words(short=True) for test in tests),
        "fits": _fits(tests),
        "cells": levels(fewer, whole=True),
        "fewer_cells": _without_all(fewer),
        "smoke_cells": levels(fewer[:3], whole=True),
        "smoke_fewer": _without_all(fewer[:3]),
        **_models(label, study if study in corpus.obs else None, cells),
    }


def _said(signals: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in signals:
        what, _, key = text.partition("=")
        if what not in KINDS or not key:
            kinds = ", ".join(f"{name} ({meaning})" for name, meaning in KINDS.items())
            raise StudyError(f"--signal {text!r} is not KIND=KEY; kinds of this study: {kinds}")
        found[what] = key
    return found


def _label(obs: pd.DataFrame) -> str | None:
    return next((str(name) for name in obs if kind_of(name, obs[name]) == "label"), None)


def _signal(label: str) -> dict[str, Any]:
    return {"use": "obs", "column": label, "kind": "label", "name": "cell type"}


def _without_all(values: Sequence[float]) -> str:
    return toml(list(dict.fromkeys(round(value) for value in values)))


# ── data that are evaluated on ───────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class _Tested:
    """A file to evaluate on, and the columns of its obs that make tasks: a label, a batch, a perturbation's control."""

    dataset: Mapping[str, Any]
    found: float
    label: str | None
    batch: str | None
    perturbation: str | None
    control: str | None

    @classmethod
    def of(cls, file: Path, said: Mapping[str, str], corpus: Any) -> _Tested:
        if not file.exists():
            raise DataError(f"{file} does not exist; give the path of the data to evaluate on")
        adata, words = load_counts(file)
        obs = adata.obs
        label = said["label"] if said.get("label") in obs else _label(obs)
        batch = _named("batch", BATCHES, said, obs)
        perturbation = _named("perturbation", PERTURBATIONS, said, obs)
        control = None
        if perturbation is not None:
            control = next((str(v) for v in obs[perturbation].unique() if str(v).lower() in CONTROLS), None)
            if control is None and perturbation == said.get("perturbation"):
                raise DataError(
                    f"{file}: no value of obs[{perturbation!r}] is called like a control ({', '.join(CONTROLS)}): "
                    f"give the untouched cells one of these names"
                )
        if label is None and control is None:
            raise DataError(
                f"{file}: nothing in obs ({', '.join(obs) or 'empty'}) is called like a cell type, or like a "
                f"perturbation with a control ({', '.join(CONTROLS[:4])}, …): name it with --signal KIND=COLUMN"
            )
        share = float(corpus.var_names.isin(adata.var_names).mean())
        where = words | {"name": stem(file)}
        # a perturbation screen is asked what it can tell whatever it measured; cells to be typed must be seen
        found = _FEW_GENES if label is not None or share >= _FEW_GENES else max(round(share / 2, 3), 0.001)
        return cls(where, found, label, batch, perturbation if control else None, control)

    @property
    def tasks(self) -> list[str]:
        """What can be asked of these cells, in words."""
        asked = {"typing": self.label, "integration": self.label and self.batch, "perturbation": self.control}
        return [task for task, there in asked.items() if there]

    def _screens(self) -> list[dict[str, Any]]:
        """Return what a screen is asked: targets never seen, and targets seen in other batches only."""
        common = {"use": "perturbation", "target": self.perturbation, "control": self.control}
        unseen = [{**common, "name": "unseen targets"}]
        return unseen + ([{**common, "context": self.batch, "name": f"unseen {self.batch}"}] if self.batch else [])

    def words(self, *, short: bool) -> str:
        """Return the [[evaluate]] table, or that of the smoke profile, which asks for typing alone."""
        if short and self.label is None:
            return ""
        scores: list[Any] = ["classification"] if self.label else []
        if not short:
            scores += ["fine-tuning"] if self.label else []
            scores += [{"use": "integration", "batch": self.batch}] if self.label and self.batch else []
            scores += self._screens() if self.control else []
        lines = [f"dataset = {toml(self.dataset)}", f"found = {self.found}"]
        lines += [f"signals = {toml([_signal(self.label)])}"] if self.label else []
        title = "[[profiles.smoke.evaluate]]" if short else "[[evaluate]]"
        return "\n".join(["", title, *lines, f"scores = {toml(scores)}", ""])


def _named(what: str, names: Sequence[str], said: Mapping[str, str], obs: pd.DataFrame) -> str | None:
    if said.get(what) in obs:
        return said[what]
    found = next((str(name) for name in obs if str(name).lower() in names), None)
    return found if found is not None and obs[found].nunique() > 1 else None


def _fits(tests: Sequence[_Tested]) -> str:
    """Return a [[fit]] for the figure of each task; the law of saturation along the number of cells.

    Heads that predict expression seldom reach the best baseline of a perturbation, the shift seen elsewhere, and levels
    below a baseline are not fitted: of those there would be none.
    """
    asked = {"information": "", "knn_macro_f1": ""}
    asked |= {"avg_bio": ""} if any("integration" in test.tasks for test in tests) else {}
    asked |= {"pearson_change": 'baseline = "none"\n'} if any("perturbation" in test.tasks for test in tests) else {}
    return "".join(
        f'\n[[fit]]\nlaw = "saturating-power"\nx = "n_cells"\ny = {toml(y)}\n{more}' for y, more in asked.items()
    )


# ── models ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def _models(label: str, study: str | None, cells: float) -> dict[str, str]:
    """Return the five architectures, small and as published, and the baselines of each, as TOML.

    Published networks take as many steps as published where that is known: scVI those of 40 epochs of all ``cells``
    whatever the share, never fewer than its own 2,000; Geneformer those of the published example, 3 epochs of 1 % of
    17.8 million cells (other shares' are not published).
    """
    types: dict[str, Any] = {"use": "contrastive", "label": label, "study": study}
    small: list[dict[str, Any]] = [
        {"use": "pca", "dim": 50, "n_genes": 2000},
        {"use": "scvi", "n_latent": 10, "n_genes": "all"},
        {"use": "masked-autoencoder"},
        {"use": "geneformer", "size": "64x1x4x2", "context": 128, "max_updates": 600},
        types,
    ]
    paper: list[dict[str, Any]] = [
        {"use": "pca", "dim": 50, "n_genes": 2000},
        {"use": "scvi", "preset": "paper-C", "max_updates": max(2000, round(40 * cells / 1024))},
        {"use": "masked-autoencoder", "preset": "paper-C"},
        {"use": "geneformer", "preset": "paper-C", "batch_size": 144, "max_updates": round(3 * 0.01 * 17.8e6 / 144)},
        {**types, "preset": "paper-C"},
    ]
    return {
        "models": _listed(_called(small)),
        "baselines": _listed(_baselines([*_called(small), *_sizes(small[1])])),
        "sizes": _listed(_sizes(small[1])),
        "paper_models": _listed(_called(paper)),
        "paper_baselines": _listed(_baselines([*_called(paper), *_sizes(paper[1])])),
        "paper_sizes": _listed(_sizes(paper[1])),
    }


def _called(models: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**model, "name": model["use"]} for model in models]


def _baselines(models: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    untrained = [{**model, "untrained": True} for model in models]
    return [{"use": "hvg", "n_genes": 2000, "name": "hvg"}, *untrained]


def _sizes(scvi: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return scVI at the published sizes: parameters go with the width, as the genes at both ends outnumber it."""
    return [{**scvi, "n_hidden": round(_WIDTH * size), "name": f"scvi {size:g}x"} for size in SIZES]


def _listed(models: Sequence[Mapping[str, Any]]) -> str:
    return "[\n" + "".join(f"  {toml(model)},\n" for model in models) + "]"
