"""Many curves of one law together: parameters with priors, a population that they share, and departures from the law.

Each curve's parameters maximise their posterior (Levenberg–Marquardt on arrays of curves); everything that the curves
share, the mean and spread of the population (empirical Bayes) and the scale of departures from the law, maximises the
evidence by Laplace's approximation. Curves are padded to the longest; C curves, m levels, K inputs, p parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize

from sclaws.fit._departure import LEAST, kernel
from sclaws.protocols import Floats, Law

SIGMA = np.geomspace(0.004, 0.5, 17)  # standard deviations of a point that are tried, in the unit of y
USUAL_SIGMA, SIGMA_SPREAD = 0.05, 1.0  # prior of log σ: mean and standard deviation
ALONG, JOINT, LENGTHS, HYPER_SPREAD = -2.5, -3.0, (0.5, 1.0), 1.0  # prior of the departures' hyper-parameters, logs
POPULATION_MEAN, POPULATION_COUNT = 0.3, 8.0  # a population's mean is known to .3 sd; its spread as from 8 curves
ROUNDS = 3
_STARTS, _LEAST = 8, 1e-8


@dataclass(frozen=True)
class Levels:
    """Curves as means of levels.

    ``x`` (C, m) inputs by role; ``log`` (C, m, K) their logarithms; ``y`` (C, m) means, ``count`` (C, m) the rows
    behind them (0: padding); ``known`` (C, m, m) covariance of the means' sampling errors; ``squares`` and ``spare``
    (C,) pure error and its degrees of freedom; ``top`` (C, 1) by role and ``y_top`` (C, 1) the largest inputs and
    what is known near them; ``size`` (C,) the range of y.
    """

    x: Mapping[str, Floats]
    log: Floats
    y: Floats
    count: Floats
    known: Floats
    squares: Floats
    spare: Floats
    top: Mapping[str, Floats]
    y_top: Floats
    size: Floats

    @property
    def real(self) -> Floats:
        """(C, m): 1 for a level, 0 for padding."""
        return (self.count > 0).astype(float)


def levels(rows: Sequence[pd.DataFrame], roles: Mapping[str, str], y: str, known: Sequence[Floats | None]) -> Levels:
    """Return curves' rows as levels; ``roles`` {role: column}, ``known`` (n, n) sampling covariances of the rows."""
    columns = list(roles.values())
    found = [np.unique(r[columns].to_numpy(float), axis=0, return_inverse=True) for r in rows]
    c, m = len(rows), max(len(at) for at, _ in found)
    x, means, count, cov = np.zeros((c, m, len(columns))), np.zeros((c, m)), np.zeros((c, m)), np.zeros((c, m, m))
    squares, spare = np.zeros(c), np.zeros(c)
    for i, (r, (at, inverse)) in enumerate(zip(rows, found, strict=True)):
        n, value = len(at), r[y].to_numpy(float)
        share = (inverse.ravel() == np.arange(n)[:, None]).astype(float)
        count[i, :n] = share.sum(axis=1)
        share /= share.sum(axis=1, keepdims=True)
        x[i] = at[np.minimum(np.arange(m), n - 1)]
        means[i, :n] = share @ value
        squares[i] = ((value - means[i][inverse.ravel()]) ** 2).sum()
        spare[i] = len(value) - n
        if known[i] is not None:
            cov[i, :n, :n] = share @ known[i] @ share.T
    return _described(x, list(roles), means, count, cov, squares, spare)


def _described(
    x: Floats, roles: list[str], y: Floats, count: Floats, known: Floats, squares: Floats, spare: Floats
) -> Levels:
    real = count > 0
    top = np.where(real[..., None], x, 0).max(axis=1, keepdims=True)
    log = np.log(np.maximum(x, LEAST * top) / top)
    near = np.exp(-0.5 * ((log / np.array([1.0] + [2.0] * (len(roles) - 1))) ** 2).sum(axis=-1)) * real
    y_top = (near * y).sum(axis=1, keepdims=True) / near.sum(axis=1, keepdims=True)
    size = np.where(real, y, -np.inf).max(axis=1) - np.where(real, y, np.inf).min(axis=1)
    by_role = {role: x[..., k] for k, role in enumerate(roles)}
    tops = {role: top[..., k] for k, role in enumerate(roles)}
    return Levels(by_role, log, y, count, known, squares, spare, tops, y_top, np.maximum(size, _LEAST))


@dataclass(frozen=True)
class State:
    """A fit on its way: (C, p) ``z`` with ``precision`` (C, p, p), ``sigma`` (C,), ``hyper`` (2K + 1).

    ``mean`` and ``sd`` (p,) of the population; ``root`` (C, m, m) of the levels' covariance; ``evidence`` (C,) its log.
    """

    z: Floats
    precision: Floats
    sigma: Floats
    hyper: Floats
    mean: Floats
    sd: Floats
    root: Floats
    evidence: Floats


@dataclass(frozen=True)
class Population:
    """A law whose parameters have a prior, on the curves of ``data``; ``pool``: is the population estimated?"""

    law: Law
    data: Levels
    pool: bool

    @property
    def prior(self) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """(p,) means, standard deviations, and which parameters share a population."""
        rows = list(self.law.prior.values())  # type: ignore[attr-defined]
        return np.array([r[0] for r in rows]), np.array([r[1] for r in rows]), np.array([r[2] for r in rows], bool)

    def theta(self, z: Floats) -> dict[str, Floats]:
        """Return the law's parameters (C, …, 1) from ``z`` (C, …, p)."""
        middle = (1,) * (z.ndim - 2)
        top = {role: v.reshape(-1, *middle, 1) for role, v in self.data.top.items()}
        named = {name: z[..., k, None] for k, name in enumerate(self.law.prior)}  # type: ignore[attr-defined]
        return dict(self.law.natural(named, top, self.data.y_top.reshape(-1, *middle, 1)))  # type: ignore[attr-defined]

    def residual(self, z: Floats) -> Floats:
        """Return (C, m) means minus law, 0 for padding and large where the law is not finite."""
        with np.errstate(all="ignore"):
            left = (self.data.y - self.law.predict(self.data.x, self.theta(z))) * self.data.real
        return np.clip(np.nan_to_num(left, nan=1e2), -1e2, 1e2)

    def start(self) -> State:
        """Return the best of some starts, with everything that is shared at its prior."""
        mean, sd, _ = self.prior
        c, hyper = len(self.data.y), self.usual_departures
        sigma = np.full(c, USUAL_SIGMA)
        root = self.root(hyper, sigma)
        generator = np.random.default_rng(0)
        blank = State(np.zeros((c, len(mean))), np.zeros(0), sigma, hyper, mean, sd, root, np.full(c, -np.inf))
        best = blank
        for i in range(_STARTS):
            away = 0.8 * (i > 0) * sd * generator.standard_normal(len(mean))  # one for all: their order is nothing
            found = self.climb(replace(blank, z=np.tile(mean + away, (c, 1))), 30)
            best = found if i == 0 else _better(best, found)
        return best

    def root(self, hyper: Floats, sigma: Floats) -> Floats:
        """Return the Cholesky roots (C, m, m) of the levels' covariance: departures, sampling errors, own errors."""
        data, real = self.data, self.data.real
        both = real[:, :, None] * real[:, None, :]
        found = (kernel(hyper, data.size, data.log, data.log) + data.known) * both
        own = np.where(real > 0, sigma[:, None] ** 2 / np.maximum(data.count, 1) + _LEAST, 1.0)
        at = np.arange(own.shape[1])
        found[:, at, at] += own
        return np.linalg.cholesky(found)

    def climb(self, now: State, rounds: int) -> State:
        """Return the state at the maximum of each curve's posterior, everything shared held, with its evidence."""
        inverse = np.linalg.inv(now.root)
        p = now.z.shape[1]
        prior = np.broadcast_to(np.diag(now.sd**-2.0), (len(now.z), p, p))

        def white(z: Floats) -> Floats:
            return (inverse @ self.residual(z)[..., None])[..., 0]

        def cost(z: Floats, r: Floats) -> Floats:
            return np.asarray((r**2).sum(axis=1) + (((z - now.mean) / now.sd) ** 2).sum(axis=1))

        z, damping = now.z, np.full(len(now.z), 1e-3)
        r = white(z)
        for _ in range(rounds):
            slopes = self._slopes(z, r, white)
            hessian = slopes.mT @ slopes + prior
            pull = (slopes * r[..., None]).sum(axis=1) + (z - now.mean) / now.sd**2
            damped = hessian + damping[:, None, None] * (hessian * np.eye(p))
            trial = z - np.clip(np.linalg.solve(damped, pull[..., None])[..., 0], -2, 2)
            found = white(trial)
            gain = cost(z, r) - cost(trial, found)
            better = gain >= 0
            z, r = np.where(better[:, None], trial, z), np.where(better[:, None], found, r)
            damping = np.where(better, damping / 5, damping * 6)
            if better.all() and gain.max() < 1e-5:
                break
        slopes = self._slopes(z, r, white)
        precision = slopes.mT @ slopes + prior
        return replace(now, z=z, precision=precision, evidence=self._evidence(now, cost(z, r), precision))

    def _slopes(self, z: Floats, r: Floats, white: object) -> Floats:
        step = 1e-5 * np.eye(z.shape[1])
        columns = [(white(z + step[k]) - r) / 1e-5 for k in range(z.shape[1])]  # type: ignore[operator]
        return np.stack(columns, axis=-1)

    def _evidence(self, now: State, cost: Floats, precision: Floats) -> Floats:
        """Return (C,) the log-evidence by Laplace's approximation, with the pure error's and the prior of σ."""
        data = self.data
        half_det = np.log(np.diagonal(now.root, axis1=1, axis2=2)).sum(axis=1)
        found = -0.5 * cost - half_det - np.log(now.sd).sum() - 0.5 * np.linalg.slogdet(precision)[1]
        pure = -data.spare * np.log(now.sigma) - 0.5 * data.squares / now.sigma**2
        usual = ((np.log(now.sigma) - np.log(USUAL_SIGMA)) / SIGMA_SPREAD) ** 2
        return np.asarray(found + pure - 0.5 * usual)

    # ── what is shared ───────────────────────────────────────────────────────────────────────────────────────────────
    def fit(self) -> State:
        """Return the fitted state: errors, departures and population in turn, until they have settled."""
        now = self.start()
        for _ in range(ROUNDS):
            now = self._departures(self._errors(now))
            if self.pool:
                for _ in range(5):
                    now = self.climb(self._population(now), 10)
        return self.climb(now, 30)

    def _errors(self, now: State) -> State:
        """Choose each curve's σ from a grid."""
        tried = [self._with(now, now.hyper, np.full(len(now.z), s), 2).evidence for s in SIGMA]
        return self._with(now, now.hyper, SIGMA[np.argmax(tried, axis=0)], 5)

    def _with(self, now: State, hyper: Floats, sigma: Floats, rounds: int) -> State:
        return self.climb(replace(now, hyper=hyper, sigma=sigma, root=self.root(hyper, sigma)), rounds)

    def _departures(self, now: State) -> State:
        """Choose the departures' hyper-parameters, which all curves share."""
        usual = self.usual_departures

        def loss(hyper: Floats) -> float:
            try:
                found = self._with(now, hyper, now.sigma, 2).evidence.sum()
            except np.linalg.LinAlgError:
                return 1e9
            return float(0.5 * (((hyper - usual) / HYPER_SPREAD) ** 2).sum() - found)

        simplex = np.vstack([now.hyper, now.hyper + 0.5 * np.eye(len(usual))])
        options = {"maxfev": 12 * len(usual), "xatol": 0.05, "fatol": 0.1, "initial_simplex": simplex}
        found = minimize(loss, now.hyper, method="Nelder-Mead", options=options)
        return self._with(now, np.asarray(found.x), now.sigma, 30)

    @property
    def usual_departures(self) -> Floats:
        """(2K + 1,) prior means of the departures' hyper-parameters."""
        k = self.data.log.shape[-1]
        return np.array([ALONG] * k + [JOINT, LENGTHS[0]] + [LENGTHS[1]] * (k - 1))

    def _population(self, now: State) -> State:
        """Estimate the population's mean and spread from the curves, by one step of expectation–maximisation."""
        first, usual, shared = self.prior
        away = now.z - first
        mean = (away.sum(axis=0) / now.sd**2) / (len(away) / now.sd**2 + 1 / (POPULATION_MEAN * usual) ** 2)
        variance = np.diagonal(np.linalg.inv(now.precision), axis1=1, axis2=2)
        squares = ((away - mean) ** 2 + variance).sum(axis=0) + POPULATION_COUNT * usual**2
        sd = np.minimum(np.sqrt(squares / (len(away) + POPULATION_COUNT)), 1.5 * usual)
        return replace(now, mean=first + np.where(shared, mean, 0), sd=np.where(shared, sd, usual))


def _better(one: State, other: State) -> State:
    """Return the curves of either state whose evidence is larger."""
    wins = other.evidence > one.evidence
    z = np.where(wins[:, None], other.z, one.z)
    precision = np.where(wins[:, None, None], other.precision, one.precision)
    return replace(one, z=z, precision=precision, evidence=np.maximum(one.evidence, other.evidence))
