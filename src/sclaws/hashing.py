"""64-bit integer hashing: stable ids from names, and a mixer that numba kernels and numpy share bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numba import njit, uint64

from sclaws.protocols import Ids

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_BLOCK = 2**16
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)


@njit(uint64(uint64), cache=True, inline="always")
def mix64(z: Any) -> Any:
    """Finaliser of SplitMix64 (Steele, Lea & Flood 2014, OOPSLA): a bijection of 64-bit integers that looks random."""
    z = (z ^ (z >> _S30)) * _M1
    z = (z ^ (z >> _S27)) * _M2
    return z ^ (z >> _S31)


def mix(values: Any) -> Ids:
    """Return ``mix64`` of every element of an array of 64-bit integers, vectorised."""
    z = np.asarray(values, dtype=np.uint64)
    with np.errstate(over="ignore"):
        z = (z ^ (z >> _S30)) * _M1
        z = (z ^ (z >> _S27)) * _M2
    return z ^ (z >> _S31)


def name_ids(names: Iterable[Any]) -> Ids:
    """Return the (n,) 64-bit ids of names: BLAKE2b of their text, so the same on every machine and for ever.

    About a second and 8 MB for a million names.
    """
    digests = b"".join(hashlib.blake2b(str(name).encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def ranked(ids: Ids, seed: int) -> Any:
    """Return positions in the order of a hash of (seed, id): any prefix is a uniform sample, and prefixes nest."""
    ids, salt = np.asarray(ids, dtype=np.uint64), mix(np.uint64(seed))
    salted = np.empty_like(ids)
    for start in range(0, len(ids), _BLOCK):  # so that millions of cells take no more room than their hashes
        some = slice(start, start + _BLOCK)
        salted[some] = mix(ids[some] ^ salt)
    return np.argsort(salted, kind="stable")  # a bijection: equal only where the ids are
