import numpy as np
import pytest

from sclaws.additive_noise import AdditiveNoise
from sclaws.datasets.gaussian_channel import GaussianChannel
from sclaws.errors import PluginError
from sclaws.view import View


def information(x, y):
    """Gaussian information in bits of two scalars, from their correlation."""
    return -0.5 * np.log2(1 - np.corrcoef(x, y)[0, 1] ** 2)


def noise_law(u, i_max, u_bar):
    """SCIENCE.md: I(u) = i_max - ½ log2[(1 + u/ū)/(u/ū + 2^(-2 i_max))]."""
    return i_max - 0.5 * np.log2((1 + u / u_bar) / (u / u_bar + 2 ** (-2 * i_max)))


@pytest.mark.parametrize("n_features", [1, 5])
@pytest.mark.parametrize("u", [0.3, 4.0, 16.0, 1e4])
def test_adding_noise_follows_the_noise_law_of_the_truth(n_features, u):
    adata = GaussianChannel(n_cells=40_000, n_features=n_features, sigma_y=1.5, sigma_u=0.5, seed=3).load()
    noisy = View.of(adata).corrupt(AdditiveNoise(u**-0.5, seed=7)).to_adata()
    best = noisy.X @ adata.var["direction"].to_numpy()  # the observer who knows the direction
    # standard error of a Gaussian information from n cells: |ρ|·sqrt(1/n)/ln 2 bits
    error = 1 / np.sqrt(40_000) / np.log(2)
    assert information(best, adata.obsm["signal"][:, 0]) == pytest.approx(
        noise_law(u, **adata.uns["truth"]), abs=4 * error
    )


def test_the_truth_is_box_1():
    assert GaussianChannel(sigma_y=3.0, sigma_u=1.0).truth == pytest.approx({"i_max": 0.5 * np.log2(10), "u_bar": 1.0})


def test_seeds_are_independent_data_sets_of_different_cells():
    one, two = GaussianChannel(seed=1).load(), GaussianChannel(seed=2).load()
    assert not set(one.obs_names) & set(two.obs_names)
    assert abs(np.corrcoef(one.X[:, 0], two.X[:, 0])[0, 1]) < 4 / np.sqrt(2000)
    again = GaussianChannel(seed=1).load()
    np.testing.assert_array_equal(one.X, again.X)
    assert one.X.dtype == np.float32


def test_a_field_out_of_range_is_named():
    with pytest.raises(PluginError, match=r"gaussian-channel: sigma_u = 0 must be above 0"):
        GaussianChannel(sigma_u=0)
