"""The basis of the known errors: against what it is made of, and shared by all that is fitted to the same curves."""

import numpy as np
import pytest

from sclaws.fit.curves import Points, Reading, stack
from sclaws.fit.spectra import MOST, spectrum


def curves(count=2, n=6):
    """Curves whose rows err together, in three replicates."""
    rng = np.random.default_rng(0)
    some = []
    for _ in range(count):
        errors = rng.normal(size=(n, 8))
        x = np.arange(1.0, n + 1)[:, None]
        some.append(Points(x, rng.normal(size=n), np.arange(n), np.arange(n) % 3, errors @ errors.T / 8))
    return stack(some, Reading(["x"]))


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.9])
def test_both_covariances_are_diagonal_in_the_basis(rho):
    made = curves()
    found = spectrum(made, np.ones((2, 6)), rho)
    same = np.arange(6)[:, None] % 3 == np.arange(6) % 3
    mixture = (1 - rho) * np.eye(6) + rho * same
    turned = found.turned(np.broadcast_to(np.eye(6), (2, 6, 6)))
    for c in range(2):
        np.testing.assert_allclose(turned[c] @ mixture @ turned[c].T, np.eye(6), atol=1e-10)
        np.testing.assert_allclose(turned[c] @ made.sampling[c] @ turned[c].T, np.diag(found.known[c]), atol=1e-10)
        assert found.log_mixture[c] == pytest.approx(np.linalg.slogdet(mixture)[1])


def test_it_is_found_once_and_not_kept_where_it_is_large():
    made, scale = curves(), np.ones((2, 6))
    assert spectrum(made, scale, 0.3) is spectrum(made, scale, 0.3)
    assert spectrum(made, scale, 0.3) is not spectrum(made, scale, 0.9)
    n = int(np.sqrt(MOST / 2)) + 1
    x = np.arange(1.0, n + 1)[:, None]
    large = stack([Points(x, x[:, 0], np.arange(n), None, np.eye(n))], Reading(["x"]))
    spectrum(large, np.ones((1, n)), 0.0)
    assert not large.spectra
