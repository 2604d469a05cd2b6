"""What a number was made with."""

import numpy as np

from sclaws import provenance


def test_versions_are_those_that_are_imported() -> None:
    here = provenance.here()
    assert here["versions"]["numpy"] == np.__version__
    assert here["machine"]
