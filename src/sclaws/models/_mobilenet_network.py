"""The network of MobileNetV2: built from its configuration, or read from a folder; images in, pooled features out.

transformers has the layers (Sandler et al. 2018, arXiv 1801.04381). A network that is trained here differs from what
its ``MobileNetV2Config()`` gives in three places: convolutions pad as torch does (``tf_padding = False``, a third
quicker), weights start as He et al. 2015 (arXiv 1502.01852) have them, and the statistics of batch normalisation are
not followed along the training but taken anew, from training images, when they are needed: 30 images are enough then.
"""

from __future__ import annotations

import functools
import json
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sclaws.errors import DataError, ModelError
from sclaws.pixels import Grid
from sclaws.protocols import View

NAME = "mobilenet"
FEATURES = "pooler_output"  # (n, 1280) at any width up to 1, as published
_CONFIG, _WEIGHTS, _PICKLED = "config.json", "model.safetensors", "pytorch_model.bin"
_PREFIX = "mobilenet_v2."  # of the weights, where the folder is of a classifier
_COUNTER = "num_batches_tracked"
_STATISTICS = 512  # training images that the statistics of batch normalisation are taken from
_AT_ONCE = 64


def settings(width: float) -> dict[str, Any]:
    """Return the configuration of a network that is to be trained here."""
    return {"depth_multiplier": width, "tf_padding": False}


def built(config: Mapping[str, Any]) -> Any:
    """Return a network of this configuration with random weights, which torch's random state decides."""
    import torch

    configured, network_of = layers()
    try:
        network = network_of(configured(**config))
    except Exception as error:  # of transformers' own classes, for a field of the wrong kind
        raise ModelError(f"{NAME}: no network has this configuration: {' '.join(str(error).split())}") from error
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # statistics are means over what is shown, all alike
    return network.to(memory_format=torch.channels_last)


@functools.cache
def layers() -> tuple[Any, Any]:
    """Import what is needed of transformers: its configuration and its network; seconds."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from transformers import MobileNetV2Config, MobileNetV2Model
    except ImportError as error:
        raise ModelError(f"{NAME} needs transformers ({error}): pip install 'sclaws[images]'") from error
    return MobileNetV2Config, MobileNetV2Model


# ── a folder ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration in a checkpoint's folder; raise ``ModelError`` when it is of another architecture."""
    file = folder / _CONFIG
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{NAME}: {file} cannot be read ({error}); path is a folder with {_CONFIG} and {_WEIGHTS}, as "
            "save_pretrained writes them"
        ) from error
    kind = found.get("model_type") if isinstance(found, dict) else None
    if kind != "mobilenet_v2":
        raise ModelError(f"{NAME}: {file} has model_type {kind!r}; a folder of a mobilenet_v2 is needed")
    if (channels := found.get("num_channels", 3)) != 3:
        raise ModelError(f"{NAME}: {file} has num_channels = {channels}; 3 are needed (grey images are repeated)")
    return found


def read_weights(network: Any, folder: Path) -> None:
    """Put the weights of a checkpoint's folder into a network of its configuration, or raise ``ModelError``."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = folder / _WEIGHTS
    if not file.is_file():
        pickled = f"; {_PICKLED} is a pickle, which is not opened: load it and save_pretrained it again"
        raise ModelError(
            f"{NAME}: {folder} has no {_WEIGHTS}{pickled if (folder / _PICKLED).is_file() else '; download it, too'}"
        )
    try:
        stored = {name.removeprefix(_PREFIX): tensor for name, tensor in load_file(file).items()}
        with torch.no_grad():
            lacking = network.load_state_dict(stored, strict=False).missing_keys
    except SafetensorError as error:
        remedy = "download it again (a few lines of text are a stand-in of Git LFS: git lfs pull)"
        raise ModelError(f"{NAME}: {file} is no whole safetensors file ({error}); {remedy}") from error
    except RuntimeError as error:
        raise ModelError(
            f"{NAME}: {file} does not fit {_CONFIG} beside it ({' '.join(str(error).split())[:200]}); the two are not "
            "of the same model: download both again"
        ) from error
    if missing := [name for name in lacking if not name.endswith(_COUNTER)]:
        raise ModelError(
            f"{NAME}: {file} lacks {len(missing)} of the weights that {_CONFIG} promises, the first is {missing[0]}; "
            "the two are not of the same model: download both again"
        )


# ── images in, features out ──────────────────────────────────────────────────────────────────────────────────────────
def images(view: View, at_once: int = 512) -> Iterator[NDArray[np.float32]]:
    """Yield (m, h, w, 1 or 3) images of a view in order; raise ``ModelError`` when its values are none."""
    try:
        grid = Grid.of(view.var)
    except DataError as error:
        raise ModelError(f"{NAME}: {error}") from error
    if grid.channels not in (1, 3):
        raise ModelError(f"{NAME}: images have {grid.channels} channels; 1 or 3 are needed")
    for block in view.batches(at_once):
        if (kind := block.values.dtype).kind in "iu":
            raise ModelError(f"{NAME}: these images are whole numbers ({kind}); give floats from 0 to 1")
        yield np.ascontiguousarray(grid.images(block.values), dtype=np.float32)


def all_images(view: View) -> NDArray[np.float32]:
    """Return (n, h, w, 1 or 3) images of a view, in memory."""
    return np.concatenate([*images(view)] or [np.empty((0, 1, 1, 1), dtype=np.float32)])


def features(network: Any, some: Any, size: int | None) -> Any:
    """Return (m, 1280) pooled features of (m, h, w, 1 or 3) images as tensors, in [0, 1] where nothing was added."""
    import torch

    x = some.permute(0, 3, 1, 2) * 2 - 1  # as published: [-1, 1]
    x = x.expand(-1, 3, -1, -1)
    if size is not None and x.shape[2:] != (size, size):
        x = torch.nn.functional.interpolate(x, (size, size), mode="bilinear", antialias=True)
    return network(x.contiguous(memory_format=torch.channels_last))[FEATURES]


def take_statistics(network: Any, pixels: Any, some: Any, size: int | None) -> None:
    """Set batch normalisation to the statistics of the images ``some`` (m,) of ``pixels``, and stop learning."""
    import torch

    some = some[:_STATISTICS]
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
    with torch.no_grad():
        for part in torch.tensor_split(some, max(math.ceil(len(some) / _AT_ONCE), 1)):
            features(network, pixels[part], size)
    network.eval()


def pooled(network: Any, pixels: Any, size: int | None, device: str) -> NDArray[np.float32]:
    """Return (n, 1280) features of (n, h, w, 1 or 3) images, nothing being learned.

    Always so many images at once, blank ones if need be: sums are then taken in one order, and an image's features do
    not depend on how many others there are, not even by rounding, which the layers' normalisations would enlarge.
    """
    import torch

    parts = [np.empty((0, network.conv_1x1.convolution.out_channels), dtype=np.float32)]
    with torch.inference_mode():
        for part in torch.split(torch.as_tensor(pixels), _AT_ONCE):
            full = part.new_zeros((_AT_ONCE, *part.shape[1:]))
            full[: len(part)] = part
            parts.append(features(network, full.to(device), size)[: len(part)].cpu().numpy())
    return np.concatenate(parts)
