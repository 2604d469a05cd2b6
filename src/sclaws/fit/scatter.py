"""How the points of a curve scatter about the law, and what that does to its parameters.

The residuals' covariance is V = S + σ²·[(1 − ρ)·I + ρ·R]: S the sampling errors that the table knows (scores on the
same test cells err together), R = 1 where two rows are of one replicate, so that ρ·σ² is the variance of a replicate's
common shift and (1 − ρ)·σ² that of each point. σ and ρ are not estimated but averaged over: their restricted
likelihood (Patterson & Thompson 1971, Biometrika 58) on a grid, with flat priors on log σ and on ρ in [0, .95], weighs
every V. Three replicates cannot tell ρ, and the average says so by fewer degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from sclaws.fit.curves import Curves
from sclaws.protocols import Floats, Ints

RHO = np.linspace(0.0, 0.95, 11)
_U = np.linspace(-1, 1, 41)
OFFSETS = 0.3 * np.sinh(4 * _U)  # of log σ² from its moment estimate: dense where the likelihood is sharp
SPACING = np.cosh(4 * _U)
DRAWS = 64  # behind S: its entries are as uncertain as variances from 64 draws


@dataclass(frozen=True)
class Scatter:
    """The weighed grid of covariances: ``rho`` (G,), ``sigma2`` and ``weight`` (C, G); ``likelihood`` (C,) the best.

    ``likelihood`` is the largest log-likelihood of the residuals on the grid (not restricted), for comparing laws.
    """

    curves: Curves
    rho: Floats
    sigma2: Floats
    weight: Floats
    likelihood: Floats

    def weighing(self) -> Floats:
        """Return (C, n, n), the covariance by which points are weighed, at the average σ² and ρ; 1 on padded diagonals.

        Its correlations are halved. Fully weighed by them, a fit may pass beside all of its points (Peelle's puzzle),
        since a shift that the model of errors allows is cheaper than a bend; and those of S come from 64 draws, whose
        inverse would reward chance. Intervals use the full covariance, so they are right for these weights.
        """
        n = self.curves.real.shape[1]
        sigma2 = (self.weight * self.sigma2).sum(axis=1)
        found = sigma2[:, None, None] * _mixture(self.curves, (self.weight * self.rho).sum(axis=1))
        if self.curves.sampling is not None:
            found = found + self.curves.sampling
        least = 1e-9 * np.trace(found, axis1=1, axis2=2) / n + 1e-300
        found = found * (0.5 + 0.5 * np.eye(n)) + least[:, None, None] * np.eye(n)
        both = self.curves.real[:, :, None] * self.curves.real[:, None, :]
        return found * both + np.eye(n) * (1 - self.curves.real[:, :, None])

    def variance(self, linear: Floats) -> tuple[Floats, Floats]:
        """Return (C, k) variances and degrees of freedom of ``linear`` (C, k, n) combinations of the points.

        The average of 1/variance over the grid and its spread are those of a χ², whose degrees of freedom they give
        (Satterthwaite 1946); exact for independent errors of one unknown σ.
        """
        own, shift, known = self._parts(linear)
        mixed = (1 - self.rho) * own[..., None] + self.rho * shift[..., None]
        each = known[..., None] + self.sigma2[:, None, :] * mixed
        precision = 1 / np.maximum(each, 1e-300)
        mean = (self.weight[:, None] * precision).sum(axis=-1)
        spread = (self.weight[:, None] * (precision - mean[..., None]) ** 2).sum(axis=-1)
        variance = 1 / mean
        share = np.minimum(known / variance, 1.0)
        inverse = spread / (2 * mean**2) + share**2 / DRAWS
        return variance, np.clip(1 / np.maximum(inverse, 1e-6), 1.0, 1e6)

    def _parts(self, linear: Floats) -> tuple[Floats, Floats, Floats]:
        own = (linear**2).sum(axis=-1)
        shift = own if self.curves.same is None else ((linear @ self.curves.same) * linear).sum(axis=-1)
        s = self.curves.sampling
        known = np.zeros_like(own) if s is None else ((linear @ s) * linear).sum(axis=-1)
        return own, shift, known

    def noise(self, generators: list[Generator], count: int) -> Floats:
        """Return (C, count, n) draws of the points' errors, each from a covariance drawn by its weight."""
        return np.stack([self._noise(c, generator, count) for c, generator in enumerate(generators)])

    def _noise(self, c: int, generator: Generator, count: int) -> Floats:
        n = self.curves.real.shape[1]
        which = generator.choice(self.weight.shape[1], size=count, p=self.weight[c])
        sigma, rho = np.sqrt(self.sigma2[c, which])[:, None], self.rho[which][:, None]
        size = int(self.curves.n[c])
        white = generator.standard_normal((count, size))
        shift = white
        if self.curves.same is not None:
            block = self.curves.same[c, :size, :size]
            first = block.argmax(axis=1)  # the first row of each row's replicate stands for it
            shift = generator.standard_normal((count, size))[:, first]
        out = np.zeros((count, n))
        out[:, :size] = sigma * (np.sqrt(1 - rho) * white + np.sqrt(rho) * shift)
        if self.curves.sampling is not None:
            root = _root(self.curves.sampling[c, :size, :size])
            out[:, :size] += generator.standard_normal((count, size)) @ root.T
        return out


def _root(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))


def _mixture(curves: Curves, rho: Floats) -> Floats:
    """Return (C, n, n) of (1 − ρ)·I + ρ·R."""
    eye = np.eye(curves.real.shape[1])
    if curves.same is None:
        return np.broadcast_to(eye, (len(curves.y), *eye.shape))
    return (1 - rho)[:, None, None] * eye + rho[:, None, None] * curves.same


def scatter(curves: Curves, residual: Floats, slopes: Floats) -> Scatter:
    """Weigh the grid by residuals (C, n) about a fit with derivatives ``slopes`` (C, n, p); zero for padding."""
    rho = RHO if curves.same is not None else np.zeros(1)
    slopes = slopes / (np.sqrt((slopes**2).sum(axis=1, keepdims=True)) + 1e-300)
    parts = [_along_sigma(curves, residual, slopes, r) for r in rho]
    sigma2, restricted, full = (np.stack(found, axis=1) for found in zip(*parts, strict=True))  # (C, rho, sigma)
    logs = restricted + np.log(SPACING)
    flat = logs.reshape(len(logs), -1)
    weight = np.exp(flat - flat.max(axis=1, keepdims=True))
    return Scatter(
        curves,
        np.repeat(rho, len(OFFSETS)),
        sigma2.reshape(flat.shape),
        weight / weight.sum(axis=1, keepdims=True),
        full.reshape(flat.shape).max(axis=1),
    )


def _along_sigma(curves: Curves, residual: Floats, slopes: Floats, rho: float) -> tuple[Floats, Floats, Floats]:
    """Return σ² (C, T) and the restricted and full log-likelihoods (C, T) along it, at one ρ."""
    n, p = curves.n, slopes.shape[-1]
    known, log_mixture, r, jac = _rotated(curves, residual, slopes, rho)
    sigma2 = _moment(r, jac, n, p)[:, None] * np.exp(OFFSETS)
    total = known[:, None, :] + sigma2[..., None]
    weighted = jac[:, None] / total[..., None]
    hessian = weighted.mT @ jac[:, None] + 1e-12 * np.eye(p)
    pull = (weighted * r[:, None, :, None]).sum(axis=-2)
    square = (r[:, None] ** 2 / total).sum(axis=-1)
    explained = (pull * np.linalg.solve(hessian, pull[..., None])[..., 0]).sum(axis=-1)
    padding = residual.shape[1] - n  # padded rows have the eigenvalue σ² each
    log_det = np.log(total).sum(axis=-1) - padding[:, None] * np.log(sigma2) + log_mixture[:, None]
    full = -0.5 * (log_det + square + n[:, None] * np.log(2 * np.pi))
    return sigma2, full - 0.5 * (np.linalg.slogdet(hessian)[1] - explained), full


def _rotated(curves: Curves, residual: Floats, slopes: Floats, rho: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Return eigenvalues of S relative to the mixture, log |mixture|, and residuals and slopes in their basis."""
    root = np.linalg.cholesky(_mixture(curves, np.full(len(residual), rho)))
    log_mixture = 2 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
    both = np.concatenate([residual[..., None], slopes], axis=-1)
    both = np.linalg.solve(root, both) if rho else both
    known = np.zeros(residual.shape)
    if curves.sampling is not None:
        inner = np.linalg.solve(root, np.linalg.solve(root, curves.sampling).mT)
        known, basis = np.linalg.eigh((inner + inner.mT) / 2)
        known, both = np.maximum(known, 0), basis.mT @ both
    return known, log_mixture, both[..., 0], both[..., 1:]


def _moment(r: Floats, jac: Floats, n: Ints, p: int) -> Floats:
    """Return (C,) the moment estimate of σ², never quite zero, so that an exact fit has a scale, too."""
    hessian = jac.mT @ jac + 1e-12 * np.eye(p)
    pull = (jac * r[..., None]).sum(axis=1)
    rest = (r**2).sum(axis=1) - (pull * np.linalg.solve(hessian, pull[..., None])[..., 0]).sum(axis=1)
    return np.maximum(rest, 1e-26) / np.maximum(n - p, 1)
