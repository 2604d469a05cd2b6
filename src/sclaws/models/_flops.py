"""Floating-point operations of an encoder, counted from its shape: what ``torch.utils.flop_counter`` counts (tested).

A product of (n, i) and (i, o) is 2·n·i·o; softmax, normalisation and activations are not counted, as is the custom.
The backward pass of a product is two products.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sclaws.models._stack import Shape
from sclaws.protocols import Floats, Ints

TRAINING = 3  # forward, and twice as much backward

# Dense bf16 products of half and single precision inputs, FLOP/s, from the makers' data sheets (without sparsity).
PEAK: Mapping[str, float] = {
    "B200": 2250e12, "H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12,
    "V100": 125e12, "T4": 65e12,
}  # fmt: skip


def forward(shape: Shape, lengths: Ints | Floats, wanted: Ints | Floats | None = None) -> float:
    """Return the operations for cells of ``lengths`` (n,) tokens, the last layer at ``wanted`` (n,) alone."""
    d, per_token = shape.width, 4 * shape.width**2 + 2 * shape.width * shape.hidden
    long = np.asarray(lengths, dtype=np.float64)
    full = float((2 * long * per_token + 4 * long**2 * d).sum())
    if wanted is None:
        return shape.layers * full
    asked = np.asarray(wanted, dtype=np.float64)
    last = 2 * long * 2 * d**2 + 2 * asked * (per_token - 2 * d**2) + 4 * asked * long * d
    return (shape.layers - 1) * full + float(last.sum())


def utilisation(flop_per_second: float, device: str) -> float | None:
    """Return the share of the GPU's peak, or ``None`` on a CPU and on a GPU that is not known here."""
    import torch

    if not device.startswith("cuda"):
        return None
    name = torch.cuda.get_device_name(device)
    peak = next((value for known, value in PEAK.items() if known in name), None)
    return None if peak is None else flop_per_second / peak
