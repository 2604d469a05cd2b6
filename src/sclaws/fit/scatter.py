"""How the points of a curve scatter about the law, and what that does to its parameters.

The residuals' covariance is V = S + σ²·D^½·[(1 − ρ)·I + ρ·R]·D^½: S the sampling errors that the table knows (scores on
the same test cells err together), R = 1 where two rows are of one replicate, so that ρ is the share of the variance
that a replicate's points have in common, D how the variance differs between levels (1 unless weights are asked for).
σ and ρ are not estimated but averaged over: their restricted likelihood (Patterson & Thompson 1971, Biometrika 58) on
a grid, with a flat prior on log σ and the arcsine prior on ρ (Jeffreys' for a share, Beta(½, ½)), weighs every V.
Three replicates cannot tell ρ, and the average says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy import special

from sclaws.fit.curves import Curves
from sclaws.fit.spectra import spectrum
from sclaws.protocols import Floats, Ints

RHO = np.sin((np.arange(12) + 0.5) / 12 * np.pi / 2) ** 2  # equal weights on these are the arcsine prior
_U = np.linspace(-1, 1, 41)
OFFSETS = 0.3 * np.sinh(4 * _U)  # of log σ² from its moment estimate: dense where the likelihood is sharp
SPACING = np.cosh(4 * _U)
DRAWS = 64  # behind S: its entries are as uncertain as variances from 64 draws
TAIL = 0.025


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

    @property
    def own(self) -> tuple[Floats, Floats]:
        """(C,) variance of a point about the law beyond its sampling error, and degrees of freedom (Satterthwaite)."""
        precision = 1 / np.maximum(self.sigma2, 1e-300)
        mean = (self.weight * precision).sum(axis=1)
        spread = (self.weight * (precision - mean[:, None]) ** 2).sum(axis=1)
        return 1 / mean, np.maximum(2 * mean**2 / np.maximum(spread, 1e-300), 1.0)

    def half_width(self, linear: Floats) -> Floats:
        """Return (C, k), half of the 95 % interval of ``linear`` (C, k, n) combinations of the points.

        The quantile of the mixture of normals over the grid: Student's t for independent errors of one unknown σ, and
        wider where ρ matters and is not known. S itself comes from draws, so that a normal becomes a t, too.
        """
        spread = np.sqrt(self.curves.spread(self.curves.relative))
        own, shift, known = self._parts(linear, spread[:, None, :])
        mixed = (1 - self.rho) * own[..., None] + self.rho * shift[..., None]
        variance = np.maximum(known[..., None] + self.sigma2[:, None, :] * mixed, 1e-300)
        scale = np.sqrt(variance)
        if self.curves.sampling is None:
            return _quantile(self.weight[:, None, :], scale, None)
        return _quantile(self.weight[:, None, :], scale, DRAWS / np.maximum((known[..., None] / variance) ** 2, 1e-9))

    def _parts(self, linear: Floats, spread: Floats) -> tuple[Floats, Floats, Floats]:
        scaled = linear * spread
        own = (scaled**2).sum(axis=-1)
        shift = own if self.curves.shared is None else ((scaled @ self.curves.members) ** 2).sum(axis=-1)
        s = self.curves.sampling
        known = np.zeros_like(own) if s is None else ((linear @ s) * linear).sum(axis=-1)
        return own, shift, known

    def noise(self, generators: list[Generator], count: int) -> Floats:
        """Return (C, count, n) draws of the points' errors, each from a covariance drawn by its weight."""
        return np.stack([self._noise(c, generator, count) for c, generator in enumerate(generators)])

    def _noise(self, c: int, generator: Generator, count: int) -> Floats:
        size = int(self.curves.n[c])
        which = np.searchsorted(np.cumsum(self.weight[c]), generator.random(count)).clip(max=len(self.rho) - 1)
        sigma, rho = np.sqrt(self.sigma2[c, which])[:, None], self.rho[which][:, None]
        error = generator.standard_normal((count, size)) * (sigma * np.sqrt(1 - rho))
        if self.curves.shared is not None:
            codes = self.curves.shared[c, :size]
            error += (generator.standard_normal((count, codes.max() + 1)) * (sigma * np.sqrt(rho)))[:, codes]
        error *= np.sqrt(self.curves.relative[c, self.curves.at[c, :size]])
        if self.curves.sampling is not None:
            root = _root(self.curves.sampling[c, :size, :size])
            error += generator.standard_normal((count, size)) @ root.T
        out = np.zeros((count, self.curves.real.shape[1]))
        out[:, :size] = error
        return out


def _quantile(weight: Floats, scale: Floats, freedom: Floats | None) -> Floats:
    """Return the upper 2.5 % quantile of mixtures (last axis) of normals, or of t variables of so many degrees.

    Newton's iteration; the tail is convex, so that it settles from the left. A t is made normal by Wallace's
    transformation (1959), good to 1e-3 for the 64 and more degrees of freedom here.
    """
    found = 2 * np.exp((weight * np.log(scale)).sum(axis=-1))
    for _ in range(50):
        z = found[..., None] / scale
        if freedom is not None:
            z = (8 * freedom + 1) / (8 * freedom + 3) * np.sqrt(freedom * np.log1p(z**2 / freedom))
        tail = (weight * special.ndtr(-z)).sum(axis=-1)
        density = (weight * np.exp(-(z**2) / 2) / scale).sum(axis=-1) / np.sqrt(2 * np.pi)
        moved = np.clip(found + (tail - TAIL) / np.maximum(density, 1e-300), found / 3, found * 3)
        settled = np.abs(moved - found) <= 1e-7 * found
        found = moved
        if settled.all():
            break
    return np.asarray(found)


def _root(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))


def scatter(curves: Curves, residual: Floats, slopes: Floats) -> Scatter:
    """Weigh the grid by residuals (C, n) about a fit with derivatives ``slopes`` (C, n, p); zero for padding."""
    rho = RHO if curves.shared is not None else np.zeros(1)
    slopes = slopes / (np.sqrt((slopes**2).sum(axis=1, keepdims=True)) + 1e-300)
    p = np.full(len(slopes), slopes.shape[-1])
    if curves.shared is not None:
        offset = _offset(curves, slopes)
        slopes, p = np.concatenate([slopes, offset[..., None]], axis=-1), p + offset.any(axis=1)
    scale = np.sqrt(curves.spread(curves.relative)) + (1 - curves.real)
    both = np.concatenate([residual[..., None], slopes], axis=-1) / scale[..., None]
    along = _alone if curves.sampling is None else _with_sampling
    parts = [along(curves, both, scale, float(r), p) for r in rho]
    sigma2, restricted, full = (np.stack(found, axis=1) for found in zip(*parts, strict=True))  # (C, rho, sigma)
    full = full - (np.log(scale) * curves.real).sum(axis=1)[:, None, None]
    flat = (restricted + np.log(SPACING)).reshape(len(full), -1)
    weight = np.exp(flat - flat.max(axis=1, keepdims=True))
    return Scatter(
        curves,
        np.repeat(rho, len(OFFSETS)),
        sigma2.reshape(flat.shape),
        weight / weight.sum(axis=1, keepdims=True),
        full.reshape(flat.shape).max(axis=1),
    )


def _offset(curves: Curves, slopes: Floats) -> Floats:
    """Return (C, n) what a common offset of all points is beyond the law's own slopes; zero where it is one of them.

    It is one more fixed effect where replicates are weighed: that all of them lie off the law by as much is the law's
    misfit, and says nothing of how replicates differ. Their variance is judged by their differences.
    """
    gram = slopes.mT @ slopes + 1e-10 * np.eye(slopes.shape[-1])
    along = np.linalg.solve(gram, (slopes * curves.real[..., None]).sum(axis=1)[..., None])
    rest = curves.real - (slopes @ along)[..., 0]
    size = np.sqrt((rest**2).sum(axis=1, keepdims=True))
    return np.where(size > 0.02 * np.sqrt(curves.n)[:, None], rest / np.maximum(size, 1e-300), 0.0)


Along = tuple[Floats, Floats, Floats]  # σ² (C, T), and the restricted and full log-likelihoods (C, T) along it


def _alone(curves: Curves, both: Floats, scale: Floats, rho: float, p: Ints) -> Along:
    """The likelihood at one ρ when nothing is known of the errors: only sums over replicates are needed."""
    del scale
    gram, log_mixture = both.mT @ both, np.zeros(len(both))
    if curves.shared is not None:
        members = curves.members
        size = members.sum(axis=1)
        sums = members.mT @ both
        gram = (gram - (sums * (rho / (1 - rho + rho * size))[..., None]).mT @ sums) / (1 - rho)
        log_mixture = (np.log1p(rho * size / (1 - rho))).sum(axis=1) + curves.n * np.log1p(-rho)
    n = curves.n
    hessian = gram[:, 1:, 1:] + 1e-12 * np.eye(gram.shape[-1] - 1)
    explained = (gram[:, 0, 1:] * np.linalg.solve(hessian, gram[:, 1:, :1])[..., 0]).sum(axis=-1)
    total = np.maximum(gram[:, 0, 0], 0.0)
    sigma2 = _sigma2(np.maximum(total - explained, 0.0), n, p)
    log_det = n[:, None] * np.log(2 * np.pi * sigma2) + log_mixture[:, None]
    full = -0.5 * (log_det + total[:, None] / sigma2)
    less = np.linalg.slogdet(hessian)[1][:, None] - p[:, None] * np.log(sigma2) - explained[:, None] / sigma2
    return sigma2, full - 0.5 * less, full


def _with_sampling(curves: Curves, both: Floats, scale: Floats, rho: float, p: Ints) -> Along:
    """The likelihood at one ρ beside known sampling errors S: in the basis where S and the mixture are diagonal."""
    n, ridge = curves.n, 1e-12 * np.eye(both.shape[-1] - 1)
    basis = spectrum(curves, scale, rho)
    known, log_mixture, both = basis.known, basis.log_mixture, basis.turned(both)
    r, jac = both[..., 0], both[..., 1:]
    hessian = jac.mT @ jac + ridge
    pull = (jac * r[..., None]).sum(axis=1)
    rest = (r**2).sum(axis=1) - (pull * np.linalg.solve(hessian, pull[..., None])[..., 0]).sum(axis=1)
    sigma2 = _sigma2(rest, n, p)
    total = known[:, None, :] + sigma2[..., None]
    weighted = jac[:, None] / total[..., None]
    hessian = weighted.mT @ jac[:, None]
    hessian = hessian * (1 + ridge) + ridge  # relative, too: σ² is next to nothing where points are all equal
    pull = (weighted * r[:, None, :, None]).sum(axis=-2)
    square = (r[:, None] ** 2 / total).sum(axis=-1)
    explained = (pull * np.linalg.solve(hessian, pull[..., None])[..., 0]).sum(axis=-1)
    padding = both.shape[1] - n  # padded rows have the eigenvalue σ² each
    log_det = np.log(total).sum(axis=-1) - padding[:, None] * np.log(sigma2) + log_mixture[:, None]
    full = -0.5 * (log_det + square + n[:, None] * np.log(2 * np.pi))
    return sigma2, full - 0.5 * (np.linalg.slogdet(hessian)[1] - explained), full


def _sigma2(rest: Floats, n: Ints, p: Ints) -> Floats:
    """Return σ² (C, T) about its moment estimate, never quite zero, so that an exact fit has a scale, too."""
    found: Floats = (np.maximum(rest, 1e-26) / np.maximum(n - p, 1))[:, None] * np.exp(OFFSETS)
    return found
