"""Law × table -> fits: parameters with joint draws and intervals, predictions, and a verdict in words.

::

    table = Table.read("results.csv")
    fits = fit(table, Noise(), x="umi", y="mi", by=["model"])

Curves and draws are solved together as arrays, whatever the law: one of ours, or a plain class of yours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import pandas as pd

from sclaws.errors import FitError, TableError
from sclaws.fit import choice, conditions, extrapolation
from sclaws.fit.curves import stack
from sclaws.fit.groups import Asked, Group, groups
from sclaws.fit.judged import Rivals, judge, stub
from sclaws.fit.pooling import can_pool, pooled
from sclaws.fit.problem import parameters
from sclaws.fit.results import HELD, LAST, MORE, Fit, Fits, HeldOut, law_name
from sclaws.fit.targets import Need
from sclaws.laws.constant import Constant
from sclaws.protocols import Law
from sclaws.table import Table

__all__ = ["Fit", "Fits", "HeldOut", "Need", "fit"]

Criterion = Literal["linear", "log"]
Weights = Literal["none", "replicates"]
Loss = Literal["squares", "huber"]
MEMORY = 4e6  # numbers in the largest array of a chunk of curves
TAKEN = {
    *("law", "y", "predicted", "low", "high", "held_out", "worse_than_baseline", *LAST, *MORE, *HELD),
    *("extrapolated", "extrapolated_low", "extrapolated_high"),
}  # fmt: skip
BASELINE = "baseline"  # the column that is looked for when none is named


def fit(
    table: Table | pd.DataFrame,
    law: Law | str | Sequence[Law | str],
    x: str | Sequence[str],
    y: str = "value",
    by: str | Sequence[str] = (),
    replicate: str | None = None,
    criterion: Criterion = "linear",
    *,
    weights: Weights = "none",
    loss: Loss = "squares",
    delta: float = 1e-3,
    where: str | Sequence[str] | None = None,
    train: str | Sequence[str] | None = None,
    test: str | Sequence[str] | None = None,
    baseline: str | None = None,
    ceiling: str | None = None,
    stderr: str | None = None,
    held_out: Any = None,
    pool: bool | None = None,
    seed: int = 0,
    n_draws: int = 200,
) -> Fits:
    """Fit one law or several to every curve of a table.

    ``law`` an object, an installed name, or "auto": all that suit. ``x`` columns stand in the order of the laws'
    inputs; ``by`` columns tell curves apart; rows of a curve with one value of ``replicate`` share an unknown shift.
    ``criterion`` says on which scale residuals are squared: "linear", or "log" (of y, which must then be positive).
    ``weights`` "none" is plain least squares; "replicates" weighs each level by the spread of its rows. ``loss``
    "huber" stops squaring residuals beyond ``delta``, on the scale of the criterion.

    ``where`` is a condition (:mod:`sclaws.fit.conditions`) for rows that are looked at, ``train`` and ``test`` for rows
    that are fitted and rows that are predicted; ``held_out`` a mask over the table's rows that says the same. Rows at
    levels that are worse than a ``baseline`` column ("none": whatever the table has) are shown and not fitted.
    ``ceiling`` names a column of what y cannot exceed, such as a label's entropy: it bounds the law's own ceiling
    (I_max) from above, at the largest value of a curve's rows; rows without a value have none. Sampling errors are
    known from the table's draws when y is its "value", else from a ``stderr`` column if one is named, else not at all.
    ``pool`` fits the curves together, as a population, with priors, for laws that bring them
    (:mod:`sclaws.fit.pooling`); by default those laws do, and ``False`` is least squares, curve by curve. ``seed``
    fixes the ``n_draws`` joint draws of each curve's parameters.

    Raises ``TableError`` for rows that cannot be used (:meth:`sclaws.table.Table.points`) and ``FitError`` for a law
    that cannot be used with them. How it is done, and how far intervals can be trusted: docs/laws.md.
    """
    table = table if isinstance(table, Table) else Table(table.reset_index(drop=True))
    if where is not None and held_out is not None:
        raise FitError("held_out is a mask over all rows of the table: leave `where` out, and fit a table of some rows")
    table = conditions.kept(table, where)
    huber = _valid("loss", loss, Loss) == "huber"
    asked = Asked(
        x=(columns := _named("x", x)),
        places=[f"{name}_level" if f"{name}_level" in table.frame else name for name in columns],
        y=_named("y", y)[0],
        by=_listed(by),
        replicate=replicate,
        criterion=_valid("criterion", criterion, Criterion),
        weights=_valid("weights", weights, Weights),
        delta=_positive(delta) if huber else math.inf,
        baseline=None if baseline == "none" else baseline or _unasked(table.frame),
        ceiling=ceiling,
        seed=seed,
        n_draws=n_draws,
    )
    made = groups(table, asked, stderr, held_out, train, test)
    checked = held_out is None and train is None and test is None
    laws = choice.chosen(law, made, asked)
    _refuse_clashes(laws, asked)
    if ceiling is not None:
        choice.refuse_ceiling(laws, pool)
    if pool and not any(map(can_pool, laws)):
        raise FitError(f"{law_name(laws[0])} has no prior to pool curves with; leave pool out, or use noise-and-cells")
    each = [_one_law(one, asked, made, checked, pool is not False and can_pool(one)) for one in laws]
    fits = [one for several in zip(*each, strict=True) for one in _marked(several)]
    if not any(one.value for one in fits):
        raise TableError("no curve can be fitted: " + "; ".join(dict.fromkeys(one.verdict for one in fits)))
    return Fits(tuple(fits))


# ── fitting ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def _one_law(law: Law, asked: Asked, made: list[Group], checked: bool, pool: bool) -> list[Fit]:
    """Return the fits of one law to all curves; those without enough points get a verdict alone."""
    columns, p = _bound(law, asked.x), len(parameters(law))
    lacks = [group.lack(asked, p) for group in made]
    some = [group for group, lack in zip(made, lacks, strict=True) if not lack]
    parts = [some] if pool else _chunks(some, asked, p)
    full = _pooled if pool else _full
    found = iter([one for part in parts if part for one in full(law, columns, asked, part, checked)])
    out = []
    for group, lack in zip(made, lacks, strict=True):
        one = stub(law, columns, asked, group.curve, lack) if lack else next(found)
        out.append(one if len(one.points) else replace(one, points=_points(one, asked, group)))
    return out


def _full(law: Law, columns: dict[str, str], asked: Asked, some: list[Group], checked: bool) -> list[Fit]:
    curves = stack([group.points.take(group.used) for group in some], extrapolation.reading(asked))
    fits = judge(law, columns, asked, [group.curve for group in some], curves, Rivals.of(asked, curves))
    p = len(parameters(law))
    refits: list[Fit | None] = [None] * len(some)
    if checked:
        refits = extrapolation.refitted(law, columns, asked, some, p)
    return [_completed(one, asked, g, refit, checked, p) for one, g, refit in zip(fits, some, refits, strict=True)]


def _pooled(law: Law, columns: dict[str, str], asked: Asked, some: list[Group], checked: bool) -> list[Fit]:
    """The same with all curves as one population; so is the refit to the smaller levels."""
    fits, p = pooled(law, columns, asked, some), len(parameters(law))
    parts = [group.smaller(asked, p) if checked else None for group in some]
    fewer = [replace(group, used=part[0]) for group, part in zip(some, parts, strict=True) if part]
    found = iter(pooled(law, columns, asked, fewer))
    refits = [next(found) if part else None for part in parts]
    return [_completed(one, asked, g, refit, checked, p) for one, g, refit in zip(fits, some, refits, strict=True)]


def _completed(one: Fit, asked: Asked, group: Group, refit: Fit | None, checked: bool, p: int) -> Fit:
    """Return the fit with its points, its test on rows that were not fitted, and notes."""
    if checked:
        test, found = extrapolation.tested(refit, asked, group, p)
        points = _points(one, asked, group, found)
    else:
        points = _points(one, asked, group)
        test = extrapolation.held_out(asked, points)
    worse = int(group.worse.sum())
    notes = [one.note, *([f"{worse} points worse than {asked.baseline}, not fitted"] if worse else [])]
    return replace(one, points=points, held_out=test, note="; ".join(notes))


def _points(one: Fit, asked: Asked, group: Group, refit: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Return a row a point: by-columns, law, inputs, y, predicted, low, high, flags, and what a refit says."""
    shown = group.used | group.held | group.worse
    points = group.points.take(shown)
    columns: dict[str, Any] = {name: group.rows[name].to_numpy()[shown] for name in asked.by}
    columns |= {"law": law_name(one.law)} | {name: points.x[:, k] for k, name in enumerate(asked.x)}
    columns |= {"y": points.y, **extrapolation.bands(one, asked, points)}
    columns |= {"held_out": group.held[shown], "worse_than_baseline": group.worse[shown]}
    if refit is not None:
        names = ("extrapolated", "extrapolated_low", "extrapolated_high")
        columns |= {name: refit[end][shown] for name, end in zip(names, extrapolation.BANDS, strict=True)}
    return pd.DataFrame(columns)


def _marked(several: Sequence[Fit]) -> list[Fit]:
    """Mark the best of the laws on one curve: the lowest AICc, if a constant's is no lower."""
    known = [one for one in several if one.value and math.isfinite(one.aicc)]
    first = min(known, key=lambda one: one.aicc, default=None)
    won = first is not None and not first.aicc > first.constant_aicc + 1e-9
    return [replace(one, best=True) if won and one is first else one for one in several]


def _bound(law: Law, x: list[str]) -> dict[str, str]:
    """Return {role: column}; a constant takes the first, and looks at none."""
    roles = tuple(law.inputs)
    if len(roles) > len(x) or (len(roles) < len(x) and not isinstance(law, Constant)):
        remedy = (
            "" if len(roles) > len(x) else f"; curves at several {', '.join(x[len(roles) :])} are told apart by --by"
        )
        raise FitError(
            f"{law_name(law)} needs {len(roles)} inputs ({', '.join(roles)}); x names {len(x)} ({', '.join(x)}){remedy}"
        )
    return dict(zip(roles, x, strict=False))


def _chunks(made: list[Group], asked: Asked, p: int) -> Iterator[list[Group]]:
    """Yield the curves in parts that fit into memory."""
    part: list[Group] = []
    longest = 0
    for group in made:
        n = max(longest, len(group.rows))
        if part and (len(part) + 1) * n * max(n * 3, max(asked.n_draws, 500) * (p + 1), 41 * (p + 2)) > MEMORY:
            yield part
            part, n = [], len(group.rows)
        part, longest = [*part, group], n
    if part:
        yield part


def _refuse_clashes(laws: Sequence[Law], asked: Asked) -> None:
    """Raise ``FitError`` for a by- or x-column that is called as a column of the results is."""
    params = {f"{name}{end}" for law in laws for name in parameters(law) for end in ("", "_low", "_high")}
    for column in [*asked.by, *asked.x]:
        taken = TAKEN | (params if column in asked.by else set())
        if column in taken:
            raise FitError(f"column {column!r} is called as a column of the results is: rename it in the table")


# ── what may be asked ────────────────────────────────────────────────────────────────────────────────────────────────
def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _named(option: str, value: Any) -> list[str]:
    names = [name for name in _listed(value) if name]
    if not names:
        raise FitError(f"{option} names no column: give one, or several in the order of the law's inputs")
    if twice := [name for name in names if names.count(name) > 1]:
        raise FitError(f"{option} names column {twice[0]!r} twice: each input of the law is a column of its own")
    return names


def _unasked(frame: pd.DataFrame) -> str | None:
    """Return the column called "baseline", if there is one and it holds numbers."""
    return BASELINE if BASELINE in frame and pd.api.types.is_numeric_dtype(frame[BASELINE]) else None


def _valid(option: str, value: str, allowed: Any) -> str:
    if value not in get_args(allowed):
        raise FitError(f"{option} {value!r} is unknown; valid: {', '.join(get_args(allowed))}")
    return value


def _positive(delta: float) -> float:
    if not 0 < delta < math.inf:
        raise FitError(f"delta {delta!r} of Huber's loss must be a positive number")
    return delta
