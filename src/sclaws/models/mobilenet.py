"""MobileNetV2 (Sandler et al. 2018): the small convolutional network that paper B embeds images with.

It is trained here to tell the labels of the training images, or comes from a folder that the user has; nothing is
downloaded. What the network then knows of the same label is what such a classifier keeps of it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.errors import ModelError, PluginError, did_you_mean
from sclaws.models import _mobilenet_network as _network
from sclaws.models import _saved, _training
from sclaws.models._mobilenet_network import NAME
from sclaws.models._mobilenet_training import Plan, Task, learn
from sclaws.models._normalise import aligned
from sclaws.protocols import Context, Floats, View

_CONTEXT = Context(Path())
_WEIGHT = "network."  # what the names of its arrays begin with in a saved model


@dataclass(frozen=True)
class MobileNet:
    """``dim`` principal components of the 1,280 pooled features (``None``: all of them), from training images.

    ``width`` is the depth multiplier: 1.0 is the published network (3,504,872 weights with 1,000 classes), 0.35 has
    396,128 and the same 1,280 features. Trained on the label ``obs[label]`` of training images by stochastic gradient
    descent (Nesterov, momentum 0.9, weight decay 0.005; ``lr`` falls to 0 over ``max_updates`` steps of ``batch_size``
    images; ``flip`` mirrors half of them). The validation images' loss is taken every ``check_every`` steps, or every
    epoch if that is longer; after ``patience`` of them without a better one training stops, and the best weights are
    kept. No label of a validation or test image is learned from.

    ``path`` is a folder with config.json and model.safetensors of a mobilenet_v2; ``learn`` "all" fine-tunes it,
    "nothing" takes it as it is. ``untrained`` has new weights in any case. ``size`` is what images are brought to
    before the network (bilinear; a checkpoint may want 224); without it they come as they are.

    On one core 1,500 images of 64 x 64 at width 0.35 take about 2.6 s an epoch; time goes with the number of pixels.
    """

    label: str = "label"
    width: float = 0.35
    dim: int | None = 16
    path: str | None = None
    learn: Literal["all", "nothing"] = "all"
    size: int | None = None
    flip: bool = False
    max_updates: int = 600
    batch_size: int = 64
    lr: float = 0.05
    check_every: int = 25
    patience: int = 8
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name in ("width", "max_updates", "lr", "check_every", "patience", "dim", "size"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise PluginError(f"{NAME}: {name} = {value} must be above 0")
        if self.batch_size < 2:
            raise PluginError(f"{NAME}: batch_size = {self.batch_size} must be at least 2, for the batch normalisation")
        if self.learn not in ("all", "nothing"):
            raise PluginError(f"{NAME}: learn = {self.learn!r} is none of all, nothing")
        if self.learn == "nothing" and self.path is None:
            raise PluginError(f'{NAME}: learn = "nothing" needs a path to weights; random ones come with untrained')

    @property
    def trains(self) -> bool:
        """Whether anything is learned from the training images: weights, or components."""
        return self.learn == "all" or self.dim is not None

    def fit(self, train: View, valid: View, *, seed: int, context: Context = _CONTEXT) -> TrainedMobileNet:
        """Train on the training images until the validation images' loss no longer falls."""
        pixels = self._pixels(train)
        if self.learn == "nothing":
            with _seeded(seed, context):
                network = self._start().eval().to(context.device)
                return self._finished(network, pixels, train, context)
        task = self._task(pixels, train, valid, context.device)
        with _seeded(seed, context):
            network = self._start().to(context.device)
            history = learn(network, task, self._plan(), context)
            trained = self._finished(network, pixels, train, context)
        return replace(trained, history=history, n_classes=task.n_classes)

    def untrained(self, train: View, *, seed: int, context: Context = _CONTEXT) -> TrainedMobileNet:
        """Return the network with random weights, normalised to the training images, and their components."""
        import torch

        pixels = self._pixels(train)
        with _seeded(seed, context):
            network = _network.built(self._config()).to(context.device)
            there = torch.from_numpy(pixels).to(context.device)
            _network.take_statistics(network, there, torch.randperm(len(pixels)), self.size)
            return self._finished(network, pixels, train, context)

    def load(self, folder: Path, *, context: Context = _CONTEXT) -> TrainedMobileNet:
        """Return the model that was saved in ``folder``, on the context's device."""
        import torch

        features, arrays = _saved.read(folder, NAME)
        plain = json.loads(str(arrays.pop("plain")))
        with _seeded(0, _CONTEXT):
            network = _network.built(plain["config"]).eval()
        network.load_state_dict(
            {name.removeprefix(_WEIGHT): torch.from_numpy(a) for name, a in arrays.items() if name.startswith(_WEIGHT)}
        )
        history = tuple(plain["history"])
        mean, axes = arrays["mean"], arrays["axes"]
        return TrainedMobileNet(
            self, features, network.to(context.device), plain["config"], mean, axes, history, plain["n_classes"],
            context.device, context.threads,
        )  # fmt: skip

    def cost(self, cells: float, features: float) -> float:
        """Return CPU seconds, roughly: of three quarters of the updates, and of a walk over the images."""
        pixels = features / 3 if self.size is None else self.size**2
        image = 4.3e-7 * pixels * (self.width / 0.35) ** 1.5
        learning = 0.75 * self.max_updates * self.batch_size if self.learn == "all" else 0.0
        return 10 + image * (learning + 0.25 * cells)

    def _plan(self) -> Plan:
        return Plan(
            self.max_updates, self.batch_size, self.lr, self.check_every, self.patience, flip=self.flip, size=self.size
        )

    def _config(self) -> dict[str, Any]:
        return _network.settings(self.width) if self.path is None else _network.read_config(Path(self.path))

    def _start(self) -> Any:
        network = _network.built(self._config())
        if self.path is not None:
            _network.read_weights(network, Path(self.path))
        return network

    def _pixels(self, view: View) -> NDArray[np.float32]:
        pixels = _network.all_images(view)
        least = 2 if self.dim is None else self.dim + 1
        if len(pixels) < least:
            what = "training" if self.dim is None else f"{self.dim} components"
            raise ModelError(f"{NAME}: {what} needs at least {least} images, and there are {len(pixels)}; lower dim")
        return pixels

    def _task(self, pixels: NDArray[np.float32], train: View, valid: View, device: str) -> Task:
        import torch

        names = _column(train, self.label)
        classes = pd.Index(sorted(names.dropna().unique()))
        if len(classes) < 2:
            raise ModelError(
                f"{NAME}: the {train.n_obs} training images have {len(classes)} classes in obs[{self.label!r}], and "
                "there is nothing to tell apart; train on more images"
            )
        codes, others = classes.get_indexer(names), classes.get_indexer(_column(valid, self.label))
        known = _network.all_images(valid.take(np.flatnonzero(others >= 0)))
        arrays = (pixels[codes >= 0], codes[codes >= 0], known, others[others >= 0])
        return Task(len(classes), *(torch.from_numpy(array).to(device) for array in arrays))

    def _finished(self, network: Any, pixels: NDArray[np.float32], train: View, context: Context) -> TrainedMobileNet:
        found = _network.pooled(network, pixels, self.size, context.device)
        mean, axes = _components(found, self.dim)
        return TrainedMobileNet(
            self, train.feature_names, network, self._config(), mean, axes, device=context.device,
            threads=context.threads,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class TrainedMobileNet:
    """A network, and what its features are turned to: ``mean`` (1280,) and ``axes`` (1280, dim), empty for neither."""

    model: MobileNet
    features: pd.Index
    network: Any
    config: dict[str, Any]
    mean: NDArray[np.float32]
    axes: NDArray[np.float32]
    history: tuple[dict[str, float], ...] = ()
    n_classes: int = 0
    device: str = "cpu"
    threads: int = 1

    @property
    def n_params(self) -> int:
        """Number of weights: of the network, and of the classifier that it was trained with."""
        head = (self.network.conv_1x1.convolution.out_channels + 1) * self.n_classes
        return sum(p.numel() for p in self.network.parameters()) + head

    def embed(self, view: View) -> Floats:
        """Return (n, dim) float32 components of the images' pooled features, or all 1,280."""
        lined_up = aligned(view, self.features, NAME)
        parts: list[NDArray[Any]] = [np.empty((0, self.axes.shape[1] or len(self.mean)), dtype=np.float32)]
        with _seeded(0, Context(Path(), self.device, threads=self.threads)):
            for pixels in _network.images(lined_up):
                found = _network.pooled(self.network, pixels, self.model.size, self.device)
                parts.append((found - self.mean) @ self.axes if self.axes.size else found)
        return np.concatenate(parts)

    def save(self, folder: Path) -> None:
        """Write the model to ``folder``."""
        plain = {"config": self.config, "history": self.history, "n_classes": self.n_classes}
        weights = {f"{_WEIGHT}{name}": tensor.cpu().numpy() for name, tensor in self.network.state_dict().items()}
        _saved.write(
            folder, NAME, self.features, plain=np.array(json.dumps(plain)), mean=self.mean, axes=self.axes, **weights
        )


def _column(view: View, label: str) -> pd.Series:
    if label not in view.obs:
        raise ModelError(f"{NAME}: label = {label!r} is not a column of obs; {did_you_mean(label, view.obs)}")
    found = view.obs[label]
    return found[found.notna()].astype(str).reindex(found.index)


def _components(found: NDArray[np.float32], dim: int | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the (1280,) mean and the (1280, dim) principal axes of features, the largest loading of each positive."""
    if dim is None:
        return np.zeros(found.shape[1], dtype=np.float32), np.empty((0, 0), dtype=np.float32)
    if dim > found.shape[1]:
        raise ModelError(f"{NAME}: dim = {dim} is above the network's {found.shape[1]:,} features; lower it")
    from sklearn import decomposition

    solved = decomposition.PCA(dim, svd_solver="covariance_eigh").fit(found.astype(np.float64))
    axes = solved.components_.T
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(dim)])
    return solved.mean_.astype(np.float32), axes.astype(np.float32)


@contextlib.contextmanager
def _seeded(seed: int, context: Context) -> Iterator[None]:
    """Seed torch, and use the context's threads, for as long as this lasts; leave the process as it was."""
    import torch

    _network.layers()  # before the random state is forked: imports may draw
    devices = [torch.cuda.current_device()] if context.device.startswith("cuda") and torch.cuda.is_available() else []
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with _training.quiet(context, NAME), torch.random.fork_rng(devices), exact:
        torch.manual_seed(seed)
        yield
