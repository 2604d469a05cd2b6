"""Leading eigenvectors of a matrix that is only ever multiplied by, a few walks over the cells (block Lanczos)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_MORE = 8  # directions beside those asked for, which make up for close eigenvalues


def leading(
    multiply: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    size: int,
    dim: int,
    *,
    tolerance: float,
    walks: int,
) -> NDArray[np.float64]:
    """Return (size, dim) eigenvectors of the largest eigenvalues of a symmetric matrix, the largest first.

    ``multiply`` returns the matrix times (size, dim + 8) columns; it is called until what is left of every one,
    ‖A v - λ v‖, is at most ``tolerance`` times the largest eigenvalue, ``walks`` times at most. All directions are kept
    and kept orthogonal (block Krylov; Musco & Musco 2015, NeurIPS), so memory is two (size, walks·(dim + 8)).
    """
    block = np.linalg.qr(np.random.default_rng(0).standard_normal((size, min(dim + _MORE, size))))[0]
    basis, images = np.empty((size, 0)), np.empty((size, 0))
    while True:
        image = multiply(block)
        basis, images = np.hstack([basis, block]), np.hstack([images, image])
        inner = basis.T @ images
        values, turns = np.linalg.eigh((inner + inner.T) / 2)
        values, turns = values[::-1][:dim], turns[:, ::-1][:, :dim]
        vectors = basis @ turns
        left = np.linalg.norm(images @ turns - vectors * values, axis=0)
        walks -= 1
        block = _new(image, basis)
        if walks <= 0 or not block.shape[1] or left.max() <= tolerance * abs(values[0]):
            return vectors


def _new(image: NDArray[np.float64], basis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return orthonormal directions of ``image`` that the basis does not have: none when it spans all."""
    scale = np.linalg.norm(image, axis=0).max()
    for _ in range(2):  # once is not enough in floating point
        image = image - basis @ (basis.T @ image)
    axes, sizes, _ = np.linalg.svd(image, full_matrices=False)
    axes = axes[:, sizes > 1e-12 * scale][:, : basis.shape[0] - basis.shape[1]]
    axes = axes - basis @ (basis.T @ axes)
    return np.asarray(np.linalg.qr(axes)[0])
