"""The mixer against its published test vector, and ids that are the same for ever."""

import hashlib

import numpy as np
from scipy import stats

from sclaws.hashing import GOLDEN, mix, mix64, name_ids, ranked


def test_splitmix64_reference_vector() -> None:
    """First outputs of SplitMix64 seeded with 1234567, as published with the reference implementation (Vigna 2015)."""
    state, got = 1234567, []
    for _ in range(5):
        state = (state + int(GOLDEN)) % 2**64
        got.append(int(mix(np.uint64(state))))
    assert got == [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip


def test_numba_and_numpy_agree() -> None:
    values = np.random.default_rng(0).integers(0, 2**63, 100, dtype=np.uint64)
    assert [int(mix64(v)) for v in values] == mix(values).tolist()


def test_ids_are_blake2b_of_the_name() -> None:
    expected = int.from_bytes(hashlib.blake2b(b"ENSG00000000003", digest_size=8).digest(), "little")
    assert name_ids(["ENSG00000000003", "x"])[0] == expected


def test_ranks_are_prefix_nested_and_uniform() -> None:
    ids = name_ids(map(str, range(5000)))
    order = ranked(ids, 7)
    assert sorted(order) == list(range(5000))
    assert stats.kstest(order[:500] / 5000, "uniform").pvalue > 1e-4
    subset = np.sort(order[:3000])  # removing cells does not change the order of those that are left
    assert (subset[ranked(ids[subset], 7)] == order[:3000]).all()
    assert (ranked(ids, 8) != order).mean() > 0.9
