"""The basis in which known sampling errors and the errors that replicates share are independent of one another.

It is a property of the curves and of ρ, whatever the law: the same for a law and for all of its rivals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sclaws.fit.curves import Curves
from sclaws.protocols import Floats

MOST = 2_000_000  # numbers of a spectrum that is kept with its curves: there are a dozen of them, 200 MB


@dataclass(frozen=True)
class Spectrum:
    """``known`` (C, n) eigenvalues of S relative to the mixture (1 − ρ)·I + ρ·R; ``log_mixture`` (C,) the logarithm of
    its determinant, ``root`` (C, n, n) its Cholesky factor, ``basis`` (C, n, n) the eigenvectors.
    """

    known: Floats
    log_mixture: Floats
    root: Floats
    basis: Floats

    def turned(self, columns: Floats) -> Floats:
        """Return columns (C, n, k) over the points in the basis."""
        return np.asarray(self.basis.mT @ np.linalg.solve(self.root, columns))


def spectrum(curves: Curves, scale: Floats, rho: float) -> Spectrum:
    """Return the spectrum at one ρ; ``scale`` (C, n) is each point's own, which follows from the curves.

    It is kept with the curves unless it is large: eigenvectors cost more than all else that is done with them.
    """
    found = curves.spectra.get(rho)
    if found is None:
        found = _spectrum(curves, scale, rho)
        if 2 * found.basis.size <= MOST:
            curves.spectra[rho] = found
    return found


def _spectrum(curves: Curves, scale: Floats, rho: float) -> Spectrum:
    assert curves.sampling is not None
    count, n = scale.shape
    mixture = np.broadcast_to(np.eye(n), (count, n, n))
    if curves.shared is not None:
        members = curves.members
        mixture = (1 - rho) * mixture + rho * (members @ members.mT)
        mixture = mixture + rho * (1 - curves.real)[:, :, None] * np.eye(n)
    root = np.linalg.cholesky(mixture)
    log_mixture = 2 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
    sampling = curves.sampling / (scale[:, :, None] * scale[:, None, :])
    inner = np.linalg.solve(root, np.linalg.solve(root, sampling).mT)
    known, basis = np.linalg.eigh((inner + inner.mT) / 2)
    return Spectrum(np.maximum(known, 0), log_mixture, root, basis)
