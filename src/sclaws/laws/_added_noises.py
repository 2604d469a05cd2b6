"""What the joint laws share: independent noises add, and the sum limits what is known. Private to the family.

A signal of power 1 that is seen through noises of power 1/S_own (the model itself), ∝ 1/u (few molecules), ∝ N^(−s)
(few training cells) and ∝ P^(−r) (few parameters) has the signal-to-noise ratio S of 1/S = Σ noises, and a Gaussian
channel carries ½ log₂(1 + S) bits. On this scale a curve is described by how much each noise matters at its largest
training scale, which is where priors can be stated without knowing the unit of anything.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sclaws.protocols import Floats

TWO_LN2 = 2 * np.log(2.0)
FLOOR = 0.05  # bits: where the prior expects an estimator's floor
FARTHEST = 500.0  # of a logarithm, so that an unlikely draw stays a number
Prior = Mapping[str, tuple[float, float, bool]]

# name: mean, standard deviation, and whether the curves of a call share a population. "own", "depth", … are −log of
# the noise's share in 1/S at the largest training scale: 4 says that the model's own ceiling is about 3 bits beyond.
PRIOR: Prior = {
    "floor": (FLOOR, 0.1, True),
    "own": (4.0, 1.5, False),
    "depth": (0.7, 1.0, True),
    "cells": (1.5, 1.5, True),
    "cells_exponent": (-1.0, 0.7, True),
}
PRIOR_PARAMS: Prior = {"params": (1.5, 1.5, True), "params_exponent": (-1.0, 0.7, True)}


def information(floor: Floats, ceiling: Floats, *noises: Floats) -> Floats:
    """Return floor + ½ log₂(1 + S), S = (4^(ceiling − floor) − 1) / (1 + Σ noises): the ceiling where all are 0."""
    with np.errstate(over="ignore"):
        total = sum(noises, np.ones(()))
        signal = np.expm1(TWO_LN2 * (np.asarray(ceiling) - floor)) / total
    return np.asarray(floor + np.log1p(signal) / TWO_LN2)


def power(limit: Floats, x: Floats, exponent: Floats) -> Floats:
    """Return (limit/x)^exponent, 0 for a limit of 0 and infinite for an x of 0."""
    with np.errstate(divide="ignore", over="ignore"):
        return np.exp(exponent * (np.log(limit) - np.log(np.asarray(x, dtype=float))))


def ceiling(z: Mapping[str, Floats], y_top: Floats) -> Floats:
    """Return I_∞ (bits) from the model's own share of the noise; ``y_top`` bits are known at the largest scale."""
    signal = np.expm1(TWO_LN2 * np.maximum(y_top - FLOOR, 0.05)) * np.exp(z["own"])
    return np.asarray(z["floor"] + np.log1p(signal) / TWO_LN2)


def scale(own: Floats, share: Floats, exponent: Floats, top: Floats) -> Floats:
    """Return the input at which a noise equals the model's own; ``share`` is −log of its share at the input ``top``."""
    return np.asarray(top * np.exp(np.clip((own - share) / exponent, -FARTHEST, FARTHEST)))


def bounds(y: Floats) -> dict[str, tuple[float, float]]:
    """Return where to search the floor and the ceiling of a curve."""
    low, high = float(np.min(y)), float(np.max(y))
    reach = high - low + 1e-6
    return {"i_0": (min(low, 0.0) - reach, low + reach / 2), "i_inf": (low + reach / 2, high + reach + 5)}
