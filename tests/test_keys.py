"""Keys: equal descriptions are equal, different ones differ, and nothing unhashable slips in."""

import math

import numpy as np
import pytest

from sclaws import keys
from sclaws.errors import StudyError


def test_order_and_number_type_do_not_matter() -> None:
    assert keys.key({"a": 1, "b": [2.0, "x"]}) == keys.key({"b": (np.float64(2), "x"), "a": 1.0})
    assert keys.key(0.1 + 0.2) == keys.key(0.3)


def test_what_differs_differs() -> None:
    different = [{}, {"a": 1}, {"a": 2}, {"a": "1"}, {"a": None}, {"a": True}, {"a": [1]}, {"b": 1}, 0.3, 0.300001]
    assert len({keys.key(d) for d in different}) == len(different)


@pytest.mark.parametrize("bad", [math.nan, math.inf, object(), {"a": {1, 2}}])
def test_what_cannot_be_written_down_is_refused(bad: object) -> None:
    with pytest.raises(StudyError, match="cannot be part of a study"):
        keys.key(bad)


def test_seeds_are_32_bit_and_depend_on_purpose() -> None:
    seeds = {keys.seed("data", 0, purpose) for purpose in ("split", "model", "axis n_cells")}
    assert len(seeds) == 3
    assert all(0 <= s < 2**31 for s in seeds)


def test_file_digest_follows_content(tmp_path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"counts")
    two.write_bytes(b"counts")
    same = keys.file_digest(one) == keys.file_digest(two)
    two.write_bytes(b"Counts")
    assert same
    assert keys.file_digest(one) != keys.file_digest(two)
