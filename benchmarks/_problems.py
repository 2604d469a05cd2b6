"""Problems of exactly known information that no published suite holds: what the rule of ``auto`` was written on.

``PROBLEMS`` maps a name to ``(draw, nats)``; ``draw(rng, n)`` returns x (n, d) and y (n, k). Closed forms where there
are any, 200,000 Monte-Carlo draws of a known density ratio (error below .005 nats) elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import digamma, gammaln, logsumexp
from scipy.stats import multivariate_normal

Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
PROBLEMS: dict[str, tuple[Draw, float]] = {}
_MONTE_CARLO = 200_000


def turn(rng, d):
    return np.linalg.qr(rng.normal(size=(d, d)))[0]


def spiral(x, i, j, speed):
    """Turn a plane by an angle that grows with the squared length: a bijection that no margin betrays."""
    angle = speed * (x**2).sum(axis=1)
    x = x.copy()
    along, across = np.cos(angle), np.sin(angle)
    x[:, i], x[:, j] = along * x[:, i] - across * x[:, j], across * x[:, i] + along * x[:, j]
    return x


def normal(name, dx, dy, bits, bend_x=None, bend_y=None, turned=True):
    """Canonical pairs of the given bits each, rotated or bent."""
    rho = np.sqrt(1 - 2.0 ** (-2 * np.array(bits)))

    def draw(rng, n):
        x, y = rng.normal(size=(n, dx)), rng.normal(size=(n, dy))
        m = len(bits)
        y[:, :m] = rho * x[:, :m] + np.sqrt(1 - rho**2) * y[:, :m]
        if turned:
            x, y = x @ turn(rng, dx), y @ turn(rng, dy)
        return (bend_x(x) if bend_x else x), (bend_y(y) if bend_y else y)

    PROBLEMS[name] = draw, float(np.sum(bits)) * np.log(2)


def student(name, dx, dy, df, rho=()):
    """A common scale, and possibly correlations: information is the Gaussian's plus that of the scale."""

    def entropy(d):
        return (
            gammaln(df / 2) - gammaln((df + d) / 2) + 0.5 * d * np.log(np.pi * df)
            + 0.5 * (df + d) * (digamma((df + d) / 2) - digamma(df / 2))
        )  # fmt: skip

    def draw(rng, n):
        x, y = rng.normal(size=(n, dx)), rng.normal(size=(n, dy))
        for i, r in enumerate(rho):
            y[:, i] = r * x[:, i] + np.sqrt(1 - r * r) * y[:, i]
        scale = np.sqrt(rng.chisquare(df, size=n) / df)[:, None]
        return x / scale, y / scale

    PROBLEMS[name] = draw, float(entropy(dx) + entropy(dy) - entropy(dx + dy) - 0.5 * np.sum(np.log1p(-np.square(rho))))


def mixture(name, means, covariances, dx, bend=None, shares=None):
    """Gaussians mixed; the density ratio is known, its mean is taken by Monte Carlo."""
    means, covariances = np.array(means, dtype=float), np.array(covariances, dtype=float)
    shares = np.full(len(means), 1 / len(means)) if shares is None else np.array(shares)

    def sample(rng, n):
        kind = rng.choice(len(shares), size=n, p=shares)
        noise = np.einsum("nij,nj->ni", np.linalg.cholesky(covariances)[kind], rng.normal(size=(n, means.shape[1])))
        return means[kind] + noise

    def density(z, part):
        known = zip(means, covariances, strict=True)
        each = [multivariate_normal(m[part], c[part, part]).logpdf(z[:, part]) for m, c in known]
        return logsumexp(np.array(each) + np.log(shares)[:, None], axis=0)

    def draw(rng, n):
        z = sample(rng, n)
        return (bend(z[:, :dx]) if bend else z[:, :dx]), z[:, dx:]

    z = sample(np.random.default_rng(0), _MONTE_CARLO)
    parts = [slice(0, None), slice(0, dx), slice(dx, None)]
    both, left, right = (density(z, part) for part in parts)
    PROBLEMS[name] = draw, float(np.mean(both - left - right))


def types(name, count, dx, dy, apart):
    """Cells of ``count`` types: both sides show the type and nothing else."""
    rng = np.random.default_rng(5)
    mx, my = apart * rng.normal(size=(count, dx)), apart * rng.normal(size=(count, dy))

    def draw(rng, n):
        kind = rng.integers(count, size=n)
        return mx[kind] + rng.normal(size=(n, dx)), my[kind] + rng.normal(size=(n, dy))

    def posterior(z, centres):
        far = -0.5 * ((z[:, None, :] - centres[None]) ** 2).sum(axis=2)
        return far - logsumexp(far, axis=1, keepdims=True)

    x, y = draw(np.random.default_rng(6), _MONTE_CARLO // 5)
    PROBLEMS[name] = draw, float(np.mean(logsumexp(posterior(x, mx) + posterior(y, my), axis=1)) + np.log(count))


def function(name, shape, noise, d=1):
    """y = shape(x) + Gaussian noise with x uniform on [-1, 1]^d: entropy of y by quadrature, less that of the noise."""
    value = shape(np.random.default_rng(3).uniform(-1, 1, size=(20_000, d)))[::4]
    grid = np.linspace(value.min() - 6 * noise, value.max() + 6 * noise, 4000)
    density = np.exp(-0.5 * ((grid[:, None] - value) / noise) ** 2).mean(axis=1) / (noise * np.sqrt(2 * np.pi))
    entropy = -np.sum(density * np.log(density + 1e-300)) * (grid[1] - grid[0])

    def draw(rng, n):
        x = rng.uniform(-1, 1, size=(n, d))
        return x, (shape(x) + noise * rng.normal(size=n))[:, None]

    PROBLEMS[name] = draw, float(entropy - 0.5 * np.log(2 * np.pi * np.e * noise**2))


def additive(half):
    """x ~ U[0, 1], y = x + U[-half, half]."""

    def draw(rng, n):
        x = rng.uniform(size=(n, 1))
        return x, x + rng.uniform(-half, half, size=(n, 1))

    PROBLEMS[f"additive-{half}"] = draw, float(half - np.log(2 * half)) if half <= 0.5 else 1 / (4 * half)


def mixed(levels, d=1):
    """x uniform on whole numbers, y ~ U[x, x + 2], d times over (Gao et al. 2017)."""

    def draw(rng, n):
        x = rng.integers(levels, size=(n, d)).astype(float)
        return x, x + rng.uniform(0, 2, size=(n, d))

    PROBLEMS[f"mixed-{levels}x{d}"] = draw, float(d * (np.log(levels) - (levels - 1) * np.log(2) / levels))


def zero_inflated(share):
    """x ~ Exp(1), y Poisson of mean x, or zero with this probability, in which case x says nothing (Gao et al. 2017).

    The published form, (1 - share) times the value without inflation, holds only if the inflated zeros could be told
    from others; this is the exact one, by sums and quadrature.
    """
    x = -np.log1p(-(np.arange(200_000) + 0.5) / 200_000)
    y = np.arange(60)[:, None]
    given = (1 - share) * np.exp(y * np.log(x) - x - gammaln(y + 1)) + share * (y == 0)
    margin = given.mean(axis=1, keepdims=True)

    def draw(rng, n):
        x = rng.exponential(size=(n, 1))
        return x, (rng.uniform(size=(n, 1)) >= share) * rng.poisson(x).astype(float)

    terms = np.where(given > 0, given * np.log(np.maximum(given, 1e-300) / margin), 0.0)
    PROBLEMS[f"zero-inflated-{share}"] = draw, float(terms.sum(axis=0).mean())


def copied(rank, columns, bits):
    """Low rank in many columns: copies of ``rank`` coordinates (the grid of Gowri et al. 2024)."""
    rho = np.sqrt(1 - 2.0 ** (-2 * bits / rank))

    def draw(rng, n):
        x, noise = rng.normal(size=(n, rank)), rng.normal(size=(n, rank))
        y = rho * x + np.sqrt(1 - rho**2) * noise
        chosen = [np.r_[np.arange(rank), rng.integers(rank, size=columns - rank)] for _ in range(2)]
        return x[:, chosen[0]], y[:, chosen[1]]

    PROBLEMS[f"copied-{rank}-of-{columns}"] = draw, bits * np.log(2)


def pairs(dx, dy, rho):
    found = np.eye(dx + dy)
    for i, r in enumerate(rho):
        found[i, dx + i] = found[dx + i, i] = r
    return found


normal("nothing-8-8", 8, 8, [])
normal("nothing-30-20", 30, 20, [])
normal("normal-10-10-weak", 10, 10, [0.07] * 3)
normal("normal-16-14", 16, 14, [0.75] * 5)
normal("normal-40-40-sparse", 40, 40, [1.2, 0.5])
normal("normal-1-1-5-bits", 1, 1, [5])
normal("normal-3-3-6-bits", 3, 3, [2, 2, 2])
normal("normal-5-5-7-bits", 5, 5, [1.4] * 5)
normal("power-3-3-4.5-bits", 3, 3, [1.5] * 3, lambda x: np.sign(x) * np.abs(x) ** 1.5, turned=False)
normal("exp-2-2-4-bits", 2, 2, [2, 2], np.exp, lambda y: y + y**3, turned=False)
normal("mixed-tanh-3-3", 3, 3, [1.2, 0.3], lambda x: np.tanh(x @ np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]]) / 2))
normal("spiral-2-2", 2, 2, [1.2, 0.2], lambda x: spiral(x, 0, 1, 0.5))
normal("spiral-4-4-5-bits", 4, 4, [2.5, 2.5], lambda x: spiral(x, 0, 1, 0.25), turned=False)
normal("spiral-10-10", 10, 10, [0.9] * 2, lambda x: spiral(x, 0, 1, 0.1), lambda y: spiral(y, 1, 2, 0.1), False)
normal("bent-6-6", 6, 6, [1.2, 0.75], lambda x: np.column_stack([x[:, 0] + x[:, 1] ** 2, x[:, 1:]]), turned=False)
student("student-1-1", 1, 1, 3)
student("student-4-4", 4, 4, 2)
student("student-8-8", 8, 8, 3)
student("student-4-2", 4, 2, 1.5)
student("student-3-3-correlated", 3, 3, 3, (0.8, 0.6))
for half in (0.01, 0.05, 0.3, 1.0):
    additive(half)
mixture("cross", np.zeros((2, 2)), [pairs(1, 1, [r]) for r in (0.9, -0.9)], 1)
mixture("galaxy", [[1.5] * 3, [-1.5] * 3], [np.eye(3)] * 2, 2, lambda x: spiral(x, 0, 1, 0.5))
mixture(
    "waves", [[1.5 * i, 0, 1.5 * (i % 4)] for i in range(12)], [np.diag([0.1, 1, 0.1])] * 12, 2,
    lambda x: np.column_stack([0.1 * (x[:, 0] + 5 * np.sin(3 * x[:, 1])) - 0.8, 0.5 * x[:, 1]]),
)  # fmt: skip
for d in (3, 5, 25):
    mixture(
        f"concentric-{d}", [[0] * d + [i] for i in (1, 2, 3)], [np.diag([i * i] * d + [1e-4]) for i in (1, 2, 3)], d
    )
for d, share in ((3, 0.2), (5, 0.5)):
    both = [pairs(d, d, [0.85, 0.85]), np.eye(2 * d)]
    mixture(f"inliers-{d}-{share}", np.zeros((2, 2 * d)), both, d, shares=[1 - share, share])
types("types-2-of-16-14", 2, 16, 14, 1.5)
types("types-8-of-16-14", 8, 16, 14, 1.5)
types("types-8-of-16-14-blurred", 8, 16, 14, 0.6)
types("types-4-of-2-2", 4, 2, 2, 3)
types("types-20-of-10-10", 20, 10, 10, 2)
for levels, d in ((5, 1), (20, 1), (100, 1), (5, 4), (2, 2)):
    mixed(levels, d)
for share in (0.0, 0.15, 0.5):
    zero_inflated(share)
function("sine", lambda x: np.sin(6 * x[:, 0]), 0.2)
function("circle", lambda x: (x**2).sum(axis=1), 0.1, 2)
function("product-5", lambda x: x[:, 0] * x[:, 1], 0.1, 5)
function("radius-6", lambda x: np.sqrt((x**2).sum(axis=1)), 0.05, 6)
for rank, columns, bits in ((2, 100, 2.0), (6, 300, 2.0), (4, 50, 0.0), (9, 50, 1.0)):
    copied(rank, columns, bits)


LABELS: dict[str, tuple[Draw, float]] = {}  # the same for labels: draw(rng, n) returns x (n, d) and codes (n,)


def label(name, draw, posterior, classes):
    """``posterior(x)`` (n, K) is exact; its entropy is averaged over 100,000 draws, ``classes`` (K,) are the shares."""
    x, _ = draw(np.random.default_rng(0), _MONTE_CARLO // 2)
    given, share = np.clip(posterior(x), 1e-300, 1), np.asarray(classes)
    LABELS[name] = draw, float((given * np.log(given)).sum(axis=1).mean() - np.sum(share * np.log(share)))


def blobs(name, count, d, apart, noise=0, frequent=None):
    """Unit normal types in d dimensions, among columns of noise."""
    centres = apart * np.random.default_rng(11).normal(size=(count, d))
    share = np.full(count, 1 / count) if frequent is None else np.array(frequent)

    def draw(rng, n):
        codes = rng.choice(count, size=n, p=share)
        return np.column_stack([centres[codes] + rng.normal(size=(n, d)), rng.normal(size=(n, noise))]), codes

    def posterior(x):
        far = -0.5 * ((x[:, None, :d] - centres[None]) ** 2).sum(axis=2) + np.log(share)
        return np.exp(far - logsumexp(far, axis=1, keepdims=True))

    label(name, draw, posterior, share)


def slabs(name, count, noise):
    """x uniform on [c, c + 2] in class c, among columns of noise."""

    def draw(rng, n):
        codes = rng.integers(count, size=n)
        return np.column_stack([codes + rng.uniform(0, 2, size=n), rng.normal(size=(n, noise))]), codes

    def posterior(x):
        inside = (x[:, :1] >= np.arange(count)) & (x[:, :1] <= np.arange(count) + 2)
        return inside / inside.sum(axis=1, keepdims=True)

    label(name, draw, posterior, np.full(count, 1 / count))


def shells(name, d, widths, noise=0):
    """A class a width: normal around zero in d dimensions."""
    widths = np.array(widths, dtype=float)

    def draw(rng, n):
        codes = rng.integers(len(widths), size=n)
        x = widths[codes][:, None] * rng.normal(size=(n, d))
        return np.column_stack([x, rng.normal(size=(n, noise))]), codes

    def posterior(x):
        far = -0.5 * (x[:, :d] ** 2).sum(axis=1, keepdims=True) / widths**2 - d * np.log(widths)
        return np.exp(far - logsumexp(far, axis=1, keepdims=True))

    label(name, draw, posterior, np.full(len(widths), 1 / len(widths)))


def checkers(name, squares, noise, flipped):
    """Two classes on the squares of a board, of which a share is flipped."""

    def colour(x):
        return (np.floor(x[:, 0] * squares) + np.floor(x[:, 1] * squares)).astype(int) % 2

    def draw(rng, n):
        x = np.column_stack([rng.uniform(size=(n, 2)), rng.normal(size=(n, noise))])
        return x, colour(x) ^ (rng.uniform(size=n) < flipped)

    def posterior(x):
        p = np.where(colour(x) == 1, 1 - flipped, flipped)
        return np.column_stack([1 - p, p])

    label(name, draw, posterior, [0.5, 0.5])


blobs("blobs-2-in-1", 2, 1, 1.0)
blobs("blobs-2-in-16-blurred", 2, 16, 0.3)
blobs("blobs-8-in-16", 8, 16, 0.7)
blobs("blobs-8-in-3-among-13", 8, 3, 1.5, 13)
blobs("blobs-30-in-10", 30, 10, 1.0)
blobs("blobs-5-rare", 5, 8, 0.8, 0, [0.6, 0.25, 0.1, 0.03, 0.02])
blobs("blobs-2-in-100", 2, 4, 0.5, 96)
blobs("nothing", 4, 10, 0.0)
slabs("slabs-2", 2, 0)
slabs("slabs-5", 5, 0)
slabs("slabs-2-among-3", 2, 3)
slabs("slabs-5-among-9", 5, 9)
shells("shells-2-in-2", 2, [1, 2])
shells("shells-3-in-10", 10, [1, 1.5, 2])
shells("shells-2-in-3-among-10", 3, [1, 3], 10)
checkers("checkers-2", 2, 0, 0.1)
checkers("checkers-4-among-2", 4, 2, 0.0)
