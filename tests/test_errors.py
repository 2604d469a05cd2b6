"""Errors: one root, and the nearest valid name in every message about an unknown one."""

import inspect

import pytest

from sclaws import errors

ERRORS = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]


@pytest.mark.parametrize("error", ERRORS)
def test_one_except_catches_all_of_ours(error):
    with pytest.raises(errors.SclawsError, match="what was wrong"):
        raise error("what was wrong")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("niose", "did you mean 'noise'? valid: constant, noise"),
        ("xyzzy", "valid: constant, noise"),
        (7, "valid: constant, noise"),
    ],
)
def test_nearest_name_is_offered_only_when_it_is_near(name, said):
    assert errors.did_you_mean(name, ["noise", "constant"]) == said


def test_nothing_to_choose_from():
    assert errors.did_you_mean("noise", []) == "valid: (none)"
