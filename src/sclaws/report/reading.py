"""Table and fits -> panels: which curves belong together, what varies inside, and what is known of the truth."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from sclaws.decomposition import Decomposition
from sclaws.fit import Fit, Fits
from sclaws.fit.results import law_name
from sclaws.report import agreed, comparing, decomposed, known, parts, saturated, words
from sclaws.report.markup import Shown
from sclaws.report.page import Contents
from sclaws.report.records import OPEN, Curve, Knot, Panel, Scaled, Slice
from sclaws.saturation import Saturation
from sclaws.table import Table

COLOURED = ("model", "method", "algorithm", "architecture")
LINE = (12, 48)  # fewest and most places at which a law's line is drawn
KNOTS = 6000  # in the whole report


def contents(
    table: Table,
    fits: Fits,
    *,
    title: str,
    study_text: str | None = None,
    truth: Mapping[str, Any] | None = None,
    rules: Sequence[str | float] = (),
    lost: Decomposition | None = None,
    ends: Saturation | None = None,
    agreement: pd.DataFrame | None = None,
) -> Contents:
    """Return all that a report shows. ``truth`` is {parameter: value}, or {data set: {parameter: value}}.

    ``rules`` are the targets that were asked for; without any, both published rules are shown where they apply.
    ``lost`` is what the model and the measurement lost, ``ends`` where curves saturate, ``agreement`` the rows of
    :func:`sclaws.agreement.agreement`.
    """
    failures = [{str(k): v for k, v in row.items()} for row in table.failures.to_dict("records")]
    counts = [("results", f"{len(table.frame):,}"), ("fitted curves", f"{len(fits):,}")]
    for name in ("dataset", "model", "signal", "score"):
        if name in table.frame:
            values = [str(v) for v in pd.unique(table.frame[name].dropna())]
            counts.append((f"{name}s", words.listing(values) if len(values) <= LINE[0] else f"{len(values):,}"))
    made = tuple(panels(table, fits, truth or {}))
    tests = comparing.compared(fits), comparing.needed(fits, rules)
    apart = decomposed.shown(lost.frame) if lost else Shown()
    end = saturated.shown(ends) if ends else Shown()
    use = agreed.shown(agreement) if agreement is not None else None
    return Contents(
        title,
        made,
        tuple(counts),
        table.provenance,
        tuple(failures),
        study_text,
        _lead(table, made),
        *tests,
        apart,
        end,
        use,
    )


def _lead(table: Table, made: Sequence[Panel]) -> str:
    curves = sum(len(panel.fitted) for panel in made)
    failed = words.count(len(table.failures), "item") if len(table.failures) else "nothing"
    return f"{words.count(len(table.frame), 'result')}; {words.count(curves, 'curve')} fitted; {failed} failed."


def panels(table: Table, fits: Fits, truth: Mapping[str, Any]) -> Iterator[Panel]:
    """Yield a panel for each law, inputs and group of curves, in the order of the fits."""
    per_line = int(np.clip(KNOTS // max(len(fits), 1), *LINE))
    kinds: dict[Any, list[Fit]] = {}
    for one in fits:
        kind = (law_name(one.law), tuple(one.inputs.values()), one.y, one.criterion, tuple(one.curve))
        kinds.setdefault(kind, []).append(one)
    several_x = len({kind[1] for kind in kinds}) > 1
    several_laws = len({kind[0] for kind in kinds}) > 1
    for kind, some in kinds.items():
        roles = Roles.of([one.curve for one in some], kind[1])
        groups: dict[tuple[str, ...], list[Fit]] = {}
        for one in some:
            groups.setdefault(tuple(str(one.curve[c]) for c in roles.panel), []).append(one)
        for group in groups.values():
            panel = Group(table.frame, group, roles, table.draws is not None, per_line).panel(truth)
            against = f", against {panel.x}" if several_x else ""
            yield replace(panel, title=f"{panel.title}{against}{f' ({kind[0]} law)' if several_laws else ''}")


@dataclass(frozen=True)
class Roles:
    """What the by-columns are to a panel: colour, slices (a choice), or what tells panels apart."""

    colour: str | None
    slices: tuple[str, ...]
    panel: tuple[str, ...]
    varying: tuple[str, ...]

    @classmethod
    def of(cls, curves: Sequence[Mapping[str, Any]], x: Sequence[str]) -> Roles:
        """Return the roles of the columns of these curves; ``x`` are the laws' inputs, whose levels are no slices."""
        frame = pd.DataFrame([dict(c) for c in curves])
        columns = list(frame)
        colour = next((c for c in COLOURED if c in columns), None) or (str(columns[-1]) if columns else None)
        rest = [c for c in columns if c != colour]
        varying = [c for c in rest if frame[c].nunique(dropna=False) > 1]
        numeric = [c for c in varying if pd.api.types.is_numeric_dtype(frame[c])]
        slices = [c for c in numeric if c.removesuffix("_level") not in x]
        panel = sorted((c for c in rest if c not in slices), key=lambda c: c != "signal")
        return cls(colour, tuple(slices), tuple(panel), tuple(c for c in panel if c in varying))


@dataclass(frozen=True)
class Group:
    """The fits of one panel with the table's rows behind them."""

    frame: pd.DataFrame
    fits: list[Fit]
    roles: Roles
    known_errors: bool
    per_line: int

    def panel(self, truth: Mapping[str, Any]) -> Panel:
        """Return the panel."""
        first = self.fits[0]
        rows = [self.rows(one) for one in self.fits]
        whole = pd.concat(rows)
        inputs = tuple(first.inputs.values())
        y, unit = parts.measure(whole, first.y)
        extra = tuple(parts.level_column(whole, c) for c in inputs[1:])
        slices = [parts.slice_of(self._limited_rows(whole, c), c, within=False) for c in self.roles.slices]
        slices += [parts.slice_of(whole, c, within=True) for c in extra]
        true = known.parameters(truth, first.curve)
        units = known.units(first, inputs, unit)
        curves = [
            c for one, mine in zip(self.fits, rows, strict=True) for c in self._curves(one, mine, slices, true, units)
        ]
        shown = self.roles.varying or tuple(c for c in ("signal",) if c in first.curve)
        constants = [
            (c, str(v)) for c, v in first.curve.items() if c in self.roles.panel and c not in (*shown, "metric")
        ]
        bound = whole["bound"].min() if "bound" in whole else OPEN
        scaled, universal = self._scaled()
        return Panel(
            title=" · ".join(words.name(first.curve[c]) for c in shown) or y,
            law=law_name(first.law),
            formula=str(getattr(first.law, "formula", "")),
            source=str(getattr(first.law, "source", "")),
            x=words.column(inputs[0]),
            y=y,
            unit=unit,
            criterion=first.criterion,
            slices=tuple(slices),
            curves=tuple(curves),
            truth=known.line(first, parts.grid(whole[inputs[0]].to_numpy(float), self.per_line), true)
            if len(inputs) == 1
            else (),
            bound=float(bound),
            constants=tuple(constants),
            scaled=scaled,
            universal=universal,
        )

    def _scaled(self) -> Iterator[tuple[Scaled, ...]]:
        """Yield every fitted point rescaled, as it is and on the universal curve of the law.

        With one input, the curves of a panel are its fits in their order. A flat one has no scale of its own: rescaled,
        its points would lie anywhere.
        """
        bent = [(number, one) for number, one in enumerate(self.fits) if not one.verdict.startswith("flat")]
        found = [(number, Fits((one,)).collapse()) for number, one in (bent if len(bent) > 1 else [])]
        for column in ("y_scaled", "predicted_scaled"):
            rows = [(n, *row) for n, f in found for row in zip(f["x_scaled"], f[column], f["held_out"], strict=True)]
            yield tuple(
                (number, float(u), float(v), bool(h)) for number, u, v, h in rows if words.finite(u) and words.finite(v)
            )

    def rows(self, one: Fit) -> pd.DataFrame:
        """Return the table's rows that a fit was made of, or that it predicts: those are told by a column ``HELD``."""
        inputs = list(one.inputs.values())
        told = one.points
        places = list(map(tuple, told[[*inputs, "y"]].to_numpy(float)))
        held, left = dict(zip(places, told["held_out"], strict=True)), Counter(places)
        mine = _where(self.frame, one.curve)
        if "status" in mine:
            mine = mine[mine["status"].fillna("ok") != "failed"]
        numbers = {c: pd.to_numeric(mine[c], errors="coerce").astype(float) for c in (*inputs, one.y)}
        own = list(map(tuple, pd.DataFrame(numbers)[[*inputs, one.y]].to_numpy(float)))
        kept = []
        for place in own:  # no more rows of a place than the fit has: others that look alike were not looked at
            kept.append(left[place] > 0)
            left[place] -= 1
        shown = [held[place] for place, keep in zip(own, kept, strict=True) if keep]
        return mine.assign(**numbers)[kept].assign(**{parts.HELD: shown})

    def _model(self, one: Fit) -> str:
        return str(one.curve[self.roles.colour]) if self.roles.colour else "all points"

    @functools.cached_property
    def _free(self) -> set[tuple[str, str]]:
        """(model, slice) of the models that do not train: all they have of it is "all", and it holds at every level."""
        found: set[tuple[str, str]] = set()
        for column in self.roles.slices:
            levels: dict[str, bool] = {}
            for one in self.fits:
                model = self._model(one)
                levels[model] = levels.get(model, False) or math.isfinite(one.curve[column])
            found |= {(model, column) for model, limited in levels.items() if not limited and any(levels.values())}
        return found

    def _limited_rows(self, rows: pd.DataFrame, column: str) -> pd.DataFrame:
        if not self.roles.colour:
            return rows
        return rows[[(str(model), column) not in self._free for model in rows[self.roles.colour]]]

    def _curves(
        self,
        one: Fit,
        rows: pd.DataFrame,
        slices: Sequence[Slice],
        true: Mapping[str, float],
        units: Mapping[str, str],
    ) -> Iterator[Curve]:
        """Yield the curves of a fit: one, or one a level of the further inputs of its law; the last has the verdict."""
        model = self._model(one)
        own = [
            None if (model, s.column) in self._free else parts.label(s, one.curve[s.column])
            for s in slices
            if not s.within
        ]
        further = [s.column for s in slices if s.within]
        groups = [rows] if not further else [part for _, part in rows.groupby(further, sort=True)]
        for i, part in enumerate(groups):
            levels = (*own, *[parts.label(s, part[s.column].iloc[0]) for s in slices if s.within])
            curve = Curve(
                model, levels, parts.points(one, part), self._line(one, part), baseline=parts.is_baseline(model)
            )
            if i == len(groups) - 1:
                found = tuple(parts.parameters(one, {} if curve.baseline else true, units))
                curve = replace(curve, parameters=found, verdict=one.verdict, note=one.note, r2=one.r2, rmse=one.rmse)
            yield curve

    def _line(self, one: Fit, rows: pd.DataFrame) -> tuple[Knot, ...]:
        x, *further = one.inputs.values()
        if not one.value:
            return ()
        grid = parts.grid(rows[x].to_numpy(float), self.per_line)
        inputs = {x: grid} | {c: np.full(len(grid), rows[c].mean()) for c in further}
        found = one.predict(inputs, self._sampling(one, rows, grid))
        knots = (
            Knot(u, *map(float, row))
            for u, row in zip(grid, found[["predicted", "low", "high"]].to_numpy(), strict=True)
        )
        return tuple(k for k in knots if words.finite(k.y))

    def _sampling(self, one: Fit, rows: pd.DataFrame, grid: Any) -> Any:
        """Return the variance of a new run's sampling error along the line, where the fit knew it apart."""
        if not self.known_errors or one.y != "value" or "stderr" not in rows:
            return 0.0
        scale = rows["value"] if one.criterion == "log" else 1.0
        x = rows[next(iter(one.inputs.values()))]
        variance = ((rows["stderr"] / scale) ** 2).groupby(x).mean().dropna()
        return np.interp(grid, variance.index.to_numpy(float), variance.to_numpy()) if len(variance) else 0.0


def _where(frame: pd.DataFrame, values: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows that have these values; nothing equals nothing here."""
    for column, value in values.items():
        frame = frame[frame[column].isna() if pd.isna(value) else frame[column] == value]
    return frame
