"""Hashed noise: normal, scaled by its level, and the same however it is read."""

import anndata
import numpy as np

from sclaws.additive_noise import AdditiveNoise
from sclaws.view import View


def test_additive_noise_is_normal_scaled_and_order_free() -> None:
    adata = anndata.AnnData(np.zeros((400, 50), dtype=np.float32))
    view = View.of(adata)
    one = view.corrupt(AdditiveNoise(1.0, 0)).to_adata().X
    assert abs(one.mean()) < 4 / np.sqrt(one.size)
    assert abs(one.var() - 1) < 4 * np.sqrt(2 / one.size)
    assert abs((one**4).mean() - 3) < 4 * np.sqrt(96 / one.size)  # kurtosis of a normal, var of x⁴ is 96
    np.testing.assert_allclose(view.corrupt(AdditiveNoise(3.0, 0)).to_adata().X, 3 * one, rtol=1e-6)
    parts = np.vstack([b.values for b in view.corrupt(AdditiveNoise(1.0, 0)).batches(37)])
    assert (parts == one).all()
    other = view.corrupt(AdditiveNoise(1.0, 1)).to_adata().X
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(one.size)
