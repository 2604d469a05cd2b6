import numpy as np
import pytest

from sclaws.errors import ModelError
from sclaws.models.oracle import Oracle
from sclaws.thinning import Thin


def test_it_is_the_state_whatever_happens_to_the_counts(parts):
    trained = Oracle().fit(parts.train, parts.valid, seed=0)
    expected = parts.adata.obsm["state"][380:].astype(np.float32)
    np.testing.assert_array_equal(trained.embed(parts.test), expected)
    np.testing.assert_array_equal(trained.embed(parts.test.corrupt(Thin.keep(0.01, 0))), expected)
    assert Oracle.trains is False


def test_data_without_a_truth_are_refused_at_once(parts):
    with pytest.raises(ModelError, match=r"oracle: there is no obsm\['truth'\]; only simulated data"):
        Oracle(key="truth").fit(parts.train, parts.valid, seed=0)
