"""scVI (Lopez et al. 2018): a variational autoencoder of counts, the network of scvi-tools in a training loop of ours.

scvi-tools trains one AnnData on a split of its own. Here training stops on *our* validation cells and never sees
others, nothing is written to the working folder, no global seed is set, the weights that are kept are the best, and
dispersions start at the gene-mean baseline's or below. The optimiser's settings are scvi-tools' own.
"""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sclaws import bits
from sclaws.errors import ModelError, PluginError
from sclaws.models import _adapting, _saved
from sclaws.models._normalise import aligned, read_counts, totals, variable_genes
from sclaws.protocols import Context, Floats, Ints, View

_CONTEXT = Context(Path())
_PAPER_B: Mapping[str, Any] = {
    "n_latent": 16, "n_hidden": 512, "n_layers": 1, "n_genes": 750, "likelihood": "zinb", "lr": 1e-3, "batch_size": 512,
    "max_updates": 19_531,
}  # fmt: skip
_EVALUATION = 2048  # cells at once when nothing is learned
_UNUSED = ("l_encoder.", "decoder.px_r_decoder.")  # in the network of scvi-tools, but in no loss of ours


@dataclass(frozen=True)
class SCVI:
    """A latent normal of ``n_latent`` dimensions, ``n_layers`` hidden layers of ``n_hidden`` on both sides.

    ``n_genes`` variable genes are chosen on training cells ("all": every gene). ``likelihood`` "nb" is what the
    gene-mean baseline has too, so that a gain over it is one of the same likelihood; "zinb" is paper B's. Training
    makes at most ``max_updates`` steps of Adam on batches of ``batch_size`` cells. Every ``check_every`` steps, or
    every epoch if that is longer, the validation cells' loss is taken; after ``patience`` such checks without a
    better one training stops, and the best weights are kept. The weight of the latent's divergence rises from 0 to 1
    over ``warmup`` steps.

    ``preset`` "paper-B-v2" (arXiv 2503.02726) sees 10⁷ cells in 19,531 steps, "paper-B-v1" as many (its number is not
    published) with the patience of scvi-tools; "paper-C" is DenAdel et al.'s. In all of them ``warmup`` is ours: theirs
    is an epoch. Precision is float32, whatever is asked for.
    """

    n_latent: int = 16
    n_hidden: int = 128
    n_layers: int = 1
    n_genes: int | Literal["all"] = 750
    likelihood: Literal["nb", "zinb"] = "nb"
    max_updates: int = 2000
    batch_size: int = 128
    lr: float = 2e-3
    warmup: int = 100
    check_every: int = 25
    patience: int = 10
    version: ClassVar[int] = 1
    has_loss: ClassVar[bool] = True
    adapts: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper-B-v1": {**_PAPER_B, "patience": 45},
        "paper-B-v2": {**_PAPER_B, "patience": 5},
        "paper-C": {
            "n_latent": 10,
            "n_hidden": 128,
            "n_genes": "all",
            "likelihood": "nb",
            "batch_size": 1024,
            "lr": 1e-3,
        },
    }

    def __post_init__(self) -> None:
        for name in ("n_latent", "n_hidden", "n_layers", "max_updates", "lr", "check_every", "patience"):
            if not getattr(self, name) > 0:
                raise PluginError(f"scvi: {name} = {getattr(self, name)} must be above 0")
        if self.n_genes != "all" and self.n_genes < 1:
            raise PluginError(f'scvi: n_genes = {self.n_genes} must be above 0, or "all"')
        if self.batch_size < 2:
            raise PluginError(f"scvi: batch_size = {self.batch_size} must be at least 2, for the batch normalisation")

    def fit(self, train: View, valid: View, *, seed: int, context: Context = _CONTEXT) -> TrainedSCVI:
        """Train on the training cells until the validation cells' loss no longer falls."""
        start = self.untrained(train, seed=seed, context=context)
        counts = start.counts(train)
        counts = counts[totals(counts) > 0]
        if counts.shape[0] < 2:
            raise ModelError(f"scvi: {counts.shape[0]} training cells have a molecule on its genes; 2 are needed")
        with _quiet(seed + 1, context):
            try:
                _train(self, start.network, counts, start.counts(valid), context)
            except ValueError as error:
                if "Expected parameter" not in str(error):  # torch's refusal of a distribution that is not finite
                    raise
                raise ModelError(
                    f"scvi: weights are no longer finite: training diverged; lower lr = {self.lr}"
                ) from error
        return start

    def untrained(self, train: View, *, seed: int, context: Context = _CONTEXT) -> TrainedSCVI:
        """Return the network as initialised, on the genes that training would choose."""
        counts = read_counts(train, "scvi")
        genes = variable_genes(counts, self.n_genes)
        means = bits.gene_means(counts[:, genes])
        with _quiet(seed, context):
            network = _network(self, len(genes))
            _start_at(means, network)
            network = network.to(context.device).eval()
        return TrainedSCVI(self, train.feature_names, genes, means, network, context.device, context.threads)

    def load(self, folder: Path) -> TrainedSCVI:
        """Return the model that was saved in ``folder``, on the CPU."""
        import torch

        features, arrays = _saved.read(folder, "scvi")
        means = bits.GeneMeans(arrays.pop("share"), arrays.pop("dispersion"))
        genes = arrays.pop("genes")
        with _quiet(0, _CONTEXT):
            network = _network(self, len(genes)).eval()
            network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        return TrainedSCVI(self, features, genes, means, network, "cpu", 1)

    def cost(self, cells: float, features: float) -> float:
        """Return CPU seconds, roughly."""
        genes = features if self.n_genes == "all" else min(self.n_genes, features)
        size = min(self.batch_size, cells)
        return 10 + 0.5 * self.max_updates * (3e-3 + size * genes * (6e-8 + 1e-10 * self.n_hidden))


@dataclass(frozen=True, eq=False)
class TrainedSCVI:
    """A network on ``genes`` (g,), positions in ``features`` (p,); ``means`` is the baseline on the same genes."""

    model: SCVI
    features: pd.Index
    genes: Ints
    means: bits.GeneMeans
    network: Any
    device: str
    threads: int

    @property
    def n_params(self) -> int:
        """Number of weights that the loss depends on."""
        unused = (*_UNUSED, "decoder.px_dropout_decoder.") if self.model.likelihood == "nb" else _UNUSED
        return sum(p.numel() for name, p in self.network.named_parameters() if not name.startswith(unused))

    @property
    def loss_measure(self) -> str:
        """What the losses are measured in."""
        extra = "" if self.model.likelihood == "nb" else "; the baseline has no zero inflation"
        return f"{bits.MEASURE.format(n=len(self.genes))}; an upper bound (negative ELBO){extra}"

    def counts(self, view: View) -> sparse.csr_matrix:
        """Return (n, g) counts of the cells on the model's genes."""
        return read_counts(aligned(view, self.features, "scvi"), "scvi")[:, self.genes]

    def embed(self, view: View) -> Floats:
        """Return (n, n_latent) float32 means of the cells' posteriors."""
        with _quiet(0, Context(Path(), self.device, threads=self.threads)):
            return _posterior_means(self.network, self.counts(view), self.device)

    def losses(self, view: View, *, seed: int) -> NDArray[np.float64]:
        """Return (n,) -ELBO in bits per gene: at least the -log2 probability of the cell's counts under the model."""
        with _quiet(seed, Context(Path(), self.device, threads=self.threads)):
            return _elbo(self.network, self.counts(view), self.device) / (len(self.genes) * math.log(2))

    def baseline_losses(self, view: View, *, seed: int) -> NDArray[np.float64]:  # noqa: ARG002
        """Return (n,) bits per gene of the gene-mean negative binomial on the same genes."""
        return self.means.losses(self.counts(view))

    def adapt(self, view: View, y: Ints, *, seed: int, frozen: bool) -> _adapting.AdaptedNetwork:
        """Return a copy with a classifier on the means of the posteriors; see ``protocols.Adapted``."""

        def read(cells: View) -> Callable[[Ints], Any]:
            counts = self.counts(cells)
            return lambda rows: _tensors(counts[rows], self.device)

        context = Context(Path(), self.device, self.threads)
        return _adapting.adapted(self.network, read, _means, view, y, seed=seed, frozen=frozen, context=context)

    def save(self, folder: Path) -> None:
        """Write the model to ``folder``."""
        weights = {name: tensor.cpu().numpy() for name, tensor in self.network.state_dict().items()}
        baseline = asdict(self.means)
        _saved.write(folder, "scvi", self.features, genes=self.genes, **baseline, **weights)


# ── the network and its training ─────────────────────────────────────────────────────────────────────────────────────
def _network(model: SCVI, n_genes: int) -> Any:
    return _vae()(
        n_input=n_genes, n_batch=1, n_hidden=model.n_hidden, n_latent=model.n_latent, n_layers=model.n_layers,
        gene_likelihood=model.likelihood,
    )  # fmt: skip


def _start_at(means: bits.GeneMeans, network: Any) -> None:
    """Let dispersions start where the baseline's are: from random ones Poisson-like genes take thousands of steps.

    None starts above 1, so that a gene which varies for a reason still pulls on the weights.
    """
    import torch

    with torch.no_grad():
        network.px_r.copy_(torch.from_numpy(-np.log(np.minimum(means.dispersion, 1.0))))


@functools.cache
def _vae() -> Any:
    """Import scvi-tools: eight seconds, and warnings of packages of its packages, which are nobody's business here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scvi.module import VAE
    return VAE


@contextlib.contextmanager
def _quiet(seed: int, context: Context) -> Iterator[None]:
    """Seed torch, and use the context's threads, for as long as this lasts; leave the process as it was."""
    import torch

    _vae()  # before the random state is forked: imports may draw
    if context.device == "cuda" and not torch.cuda.is_available():
        raise ModelError("scvi: device 'cuda' was asked for and there is none; use device = 'cpu'")
    devices = [torch.cuda.current_device()] if context.device == "cuda" else []
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        torch.set_num_threads(context.threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _train(model: SCVI, network: Any, train: sparse.csr_matrix, valid: sparse.csr_matrix, context: Context) -> None:
    """Train in place and leave the weights of the lowest validation loss, or the last where there are no such cells."""
    import torch

    optimiser = torch.optim.Adam(network.parameters(), lr=model.lr, eps=0.01, weight_decay=1e-6)  # scvi-tools' own
    batches = _shuffled(train.shape[0], model.batch_size)
    every = max(model.check_every, math.ceil(train.shape[0] / model.batch_size))
    best, weights, worse = math.inf, None, 0
    for step in range(1, model.max_updates + 1):
        network.train()
        weight = min(step / max(model.warmup, 1), 1.0)
        loss = network(_tensors(train[next(batches)], context.device), loss_kwargs={"kl_weight": weight})[2].loss
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if valid.shape[0] and (step % every == 0 or step == model.max_updates):
            now = _validation_loss(network, valid, context.device)
            context.progress(f"scvi: {step} of {model.max_updates} updates, validation loss {now:.2f} nats per cell")
            worse = 0 if now < best else worse + 1
            if now < best:
                best, weights = now, {name: tensor.clone() for name, tensor in network.state_dict().items()}
            if worse >= model.patience:
                break
    if weights is not None:
        network.load_state_dict(weights)
    network.eval()


def _shuffled(n: int, size: int) -> Iterator[Ints]:
    """Yield batches of positions for ever: every epoch a new order, in parts of equal size, none of a single cell."""
    import torch

    parts = max(min(math.ceil(n / size), n // 2), 1)
    while True:
        yield from np.array_split(torch.randperm(n).numpy(), parts)


def _tensors(counts: sparse.csr_matrix, device: str) -> dict[str, Any]:
    import torch

    x = torch.from_numpy(counts.toarray()).to(device)
    none = torch.zeros((x.shape[0], 1), dtype=torch.long, device=device)
    return {"X": x, "batch": none, "labels": none}


def _validation_loss(network: Any, counts: sparse.csr_matrix, device: str) -> float:
    """Return the mean -ELBO in nats, with the same posterior draws at every check."""
    import torch

    with torch.random.fork_rng([torch.cuda.current_device()] if device == "cuda" else []):
        torch.manual_seed(0)
        value = float(_elbo(network, counts, device).mean())
    if not math.isfinite(value):
        raise ModelError(f"scvi: the validation loss became {value}: training diverged; lower lr")
    return value


def _elbo(network: Any, counts: sparse.csr_matrix, device: str) -> NDArray[np.float64]:
    """Return (n,) -ELBO in nats, one posterior draw a cell."""
    import torch

    network.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, counts.shape[0], _EVALUATION):
            losses = network(_tensors(counts[start : start + _EVALUATION], device))[2]
            total = sum(losses.reconstruction_loss.values()) + sum(losses.kl_local.values())
            parts.append(total.cpu().numpy())
    return np.concatenate(parts).astype(np.float64) if parts else np.empty(0)


def _posterior_means(network: Any, counts: sparse.csr_matrix, device: str) -> NDArray[np.float32]:
    import torch

    parts = [np.empty((0, network.n_latent), dtype=np.float32)]
    with torch.no_grad():
        some = (counts[start : start + _EVALUATION] for start in range(0, counts.shape[0], _EVALUATION))
        parts += [_means(network, _tensors(part, device)).cpu().numpy() for part in some]
    return np.concatenate(parts)


def _means(network: Any, x: dict[str, Any]) -> Any:
    return network.inference(x["X"], x["batch"])["qz"].loc
