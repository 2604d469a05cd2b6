"""All curves of a call in one fit: a law with priors, a population that the curves share, departures from the law.

Used for laws that bring a ``prior`` (the joint ones), whose parameters no single curve identifies: which of its noises
limits a curve beyond its data is guessed from the prior, from the curves of the same call, and from what the data say,
and the guess has a width. A law brings ``prior`` {name: (mean, standard deviation, shared by a population?)} of
parameters on scales where a normal prior makes sense, and ``natural(z, top, y_top)``, which turns them into its own.

Intervals of parameters are credible intervals. A side that the data have not made shorter than two thirds of the
prior's, or than a factor of 100 for a scale, is given as open: the number there would be the prior's. How the form and
the priors were chosen: docs/joint.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from sclaws import keys
from sclaws.errors import FitError
from sclaws.fit import verdicts
from sclaws.fit._departure import Departure
from sclaws.fit._population import Population, State, levels
from sclaws.fit.groups import Asked
from sclaws.fit.problem import parameters
from sclaws.fit.results import Fit, law_name
from sclaws.protocols import Floats, Law

__all__ = ["can_pool", "pooled"]

PRIOR_DRAWS = 2000
NOISE = {"own": "the model's own"}
NUISANCE = {"i_0"}  # a floor that the prior holds does not make a law unidentifiable
FAR = math.log(100.0)  # a scale that may be a hundred times larger is not known, whatever the prior allowed
MOVED = 2 / 3  # a side of an interval that is longer than this share of the prior's is the prior's


class Curve(Protocol):
    """One curve of a call: by-columns' values, its rows, the mask of those that are fitted, known sampling errors."""

    @property
    def curve(self) -> dict[str, Any]:
        """Values of the by-columns."""
        ...

    @property
    def rows(self) -> pd.DataFrame:
        """All rows, n."""
        ...

    @property
    def used(self) -> Any:
        """(n,) mask of the rows that are fitted."""
        ...

    @property
    def sampling(self) -> Floats | None:
        """(n, n) covariance of the rows' sampling errors, or ``None``."""
        ...


def can_pool(law: Law) -> bool:
    """Return whether a law brings what pooling needs."""
    return hasattr(law, "prior") and hasattr(law, "natural")


@np.errstate(all="ignore")
def pooled(law: Law, columns: Mapping[str, str], asked: Asked, curves: Sequence[Curve]) -> list[Fit]:
    """Return the fits of a law to all curves, in their order; ``columns`` {role: column}.

    Raises ``FitError`` for the criterion "log": priors are in bits.
    """
    if asked.criterion != "linear":
        raise FitError(f"{law_name(law)} pools curves on the linear criterion only: use it, or pool=False")
    if not curves:
        return []
    rows = [c.rows[c.used] for c in curves]
    known = [None if c.sampling is None else c.sampling[np.ix_(c.used, c.used)] for c in curves]
    data = levels(rows, columns, asked.y, known)
    population = Population(law, data, pool=len(curves) > 1)
    found = _Found(population, population.fit(), columns, asked)
    return [found.fit(i, curve.curve, rows[i]) for i, curve in enumerate(curves)]


@dataclass(frozen=True)
class _Found:
    """A fitted population, to be told curve by curve."""

    population: Population
    state: State
    columns: Mapping[str, str]
    asked: Asked

    def fit(self, i: int, name: dict[str, Any], rows: pd.DataFrame) -> Fit:
        """Return the fit of curve ``i``."""
        value = {k: float(v[0]) for k, v in self._theta(i, self.state.z[i][None]).items()}
        draws = self._theta(i, self._posterior(i, name))
        low, high = self._limits(i, draws)
        around = self._around(i, value, draws)
        at = {role: rows[column].to_numpy(float) for role, column in self.columns.items()}
        y, law = rows[self.asked.y].to_numpy(float), self.population.law
        left = y - law.predict(at, {k: np.array(v) for k, v in value.items()})
        rest, total = float((left**2).sum()), float(((y - y.mean()) ** 2).sum())
        r2 = 1 - rest / total if total > 0 else math.nan
        aicc = _aicc(rest, len(y), len(value))
        facts = verdicts.Facts(
            gain=_gain(law, at, draws),
            turns=((0.0, 0.0), (0.0, 0.0)),
            law=aicc,
            constant=_aicc(total, len(y), 1),
            parabola=math.inf,
            r2=r2,
            limits={k: (low[k], high[k]) for k in value if k not in NUISANCE},
            units={k: _unit(p.unit, self.columns) for k, p in parameters(law).items()},
        )
        return Fit(
            *(name, law, dict(self.columns), self.asked.y, self.asked.criterion, value, pd.DataFrame(draws), low, high),
            r2=r2,
            rmse=math.sqrt(rest / len(y)),
            aicc=aicc,
            sigma=around.sd,
            freedom=float(len(y)),
            verdict=f"{verdicts.sentence(facts)}{self._limits_it(i)}",
            note=f"pooled over {len(self.state.z)} curves",
            constant_aicc=facts.constant,
            span={column: (float(rows[column].min()), float(rows[column].max())) for column in self.columns.values()},
            departure=around,
        )

    def _posterior(self, i: int, name: dict[str, Any]) -> Floats:
        """Return (n_draws, p) draws of a curve's parameters, from the normal approximation of their posterior."""
        words = [self.asked.seed, law_name(self.population.law), *(f"{k}={v}" for k, v in name.items())]
        generator = np.random.default_rng(int(keys.key(words), 16))
        root = np.linalg.cholesky(np.linalg.inv(self.state.precision[i]))
        return self.state.z[i] + generator.standard_normal((self.asked.n_draws, len(root))) @ root.T

    def _theta(self, i: int, z: Floats) -> dict[str, Floats]:
        """Return parameters by name, each (D,), of curve ``i`` from ``z`` (D, p)."""
        data = self.population.data
        top = {role: v[i] for role, v in data.top.items()}
        named = {k: z[:, j] for j, k in enumerate(self.population.law.prior)}  # type: ignore[attr-defined]
        found = self.population.law.natural(named, top, data.y_top[i])  # type: ignore[attr-defined]
        return {k: np.broadcast_to(v, len(z)) for k, v in found.items()}

    def _limits(self, i: int, draws: Mapping[str, Floats]) -> tuple[dict[str, float], dict[str, float]]:
        """Return 95 % limits by parameter, open where they are the prior's."""
        mean, sd, _ = self.population.prior
        generator = np.random.default_rng(0)
        before = self._theta(i, mean + sd * generator.standard_normal((PRIOR_DRAWS, len(mean))))
        low, high = {}, {}
        for k, param in parameters(self.population.law).items():
            scale = np.log if param.log else np.asarray
            after, prior = (np.quantile(scale(v[k]), [0.025, 0.5, 0.975]) for v in (draws, before))
            closed = np.diff(after) < np.minimum(MOVED * np.diff(prior), FAR if param.log else np.inf)
            ends = np.exp(after) if param.log else after
            low[k] = float(ends[0]) if closed[0] else 0.0 if param.low == 0 and closed[1] else -math.inf
            high[k] = float(ends[2]) if closed[1] else math.inf
        return low, high

    def _around(self, i: int, value: dict[str, float], draws: dict[str, Floats]) -> Departure:
        data, n = self.population.data, int(self.population.data.real[i].sum())
        return Departure(
            *(self.population.law, value, draws, {role: v[i, :n] for role, v in data.x.items()}, data.y[i, :n]),
            *(self.state.root[i, :n, :n], self.state.hyper, float(data.size[i]), float(self.state.sigma[i])),
        )

    def _limits_it(self, i: int) -> str:
        """Return what limits a curve at the largest scale that was fitted: shares of the noise, largest first."""
        shares = noise_shares(self.population, self.state)[i]
        said = [f"{NOISE.get(k, k)} {100 * v:.0f} %" for k, v in sorted(shares.items(), key=lambda item: -item[1])]
        return f"; of the noise at the largest scale: {', '.join(said)}"


def noise_shares(population: Population, state: State) -> list[dict[str, float]]:
    """Return each curve's shares of the noise at its largest training scale: what limits it there."""
    names = [k for k in population.law.prior if k != "floor" and not k.endswith("_exponent")]  # type: ignore[attr-defined]
    at = [list(population.law.prior).index(k) for k in names]  # type: ignore[attr-defined]
    noise = np.exp(-state.z[:, at])
    return [dict(zip(names, map(float, row), strict=True)) for row in noise / noise.sum(axis=1, keepdims=True)]


def _aicc(squares: float, n: int, p: int) -> float:
    """Akaike's criterion with the small-sample term for independent errors of one σ."""
    k = p + 1
    if n - k - 1 <= 0 or squares <= 0:
        return math.inf if n - k - 1 <= 0 else -math.inf
    return n * (math.log(2 * math.pi * squares / n) + 1) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def _gain(law: Law, at: Mapping[str, Floats], draws: Mapping[str, Floats]) -> tuple[float, float]:
    """Return the 95 % interval of the change from the smallest to the largest inputs."""
    ends = {role: np.array([[v.min(), v.max()]]) for role, v in at.items()}
    found = np.asarray(law.predict(ends, {k: v[:, None] for k, v in draws.items()}), dtype=float)
    low, high = np.nanquantile(found[:, 1] - found[:, 0], [0.025, 0.975])
    return float(low), float(high)


def _unit(unit: str, columns: Mapping[str, str]) -> str:
    """Return a unit for a sentence: "unit of the depth" is the name of the column bound to the depth."""
    words = unit.removeprefix("unit of the ")
    return unit if words == unit else columns.get(words, "")
