"""What the published pipeline of the measurement-noise study costs on a few cells of a grid, beside ours, in one run.

    python benchmarks/published_pipeline.py cells.h5ad proteins
        # needs: pip install 'sclaws[all]', pip install --no-deps latentmi==0.1.3

scvi-tools and latentmi are called with the settings of Gowri, Sadalski et al. (arXiv 2503.02726, version 2): all genes,
512 hidden units, 16 latent, zero-inflated, batches of 512, at most 10⁷ cells seen, patience 5; latents of 8 dimensions,
300 epochs, 30 % for validation. Ours are the model and score of the laptop profile of `gowri-2025`. The same cells and
threads for both. The package latentmi is given ``np.NaN``, which NumPy 2 has not, and nothing else is changed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
import warnings

import numpy as np

from sclaws.axes.n_cells import NCells
from sclaws.axes.umis_per_cell import UmisPerCell
from sclaws.datasets.h5ad import H5ad
from sclaws.models.scvi import SCVI
from sclaws.scores.auto import Auto
from sclaws.split import Split
from sclaws.view import View


def timed(work):
    """Return the seconds that a call takes, and what it gives; what packages print is dropped."""
    start = time.perf_counter()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        found = work()
    return time.perf_counter() - start, found


def published_model(train, test):
    """Return the embedding of test cells by scvi-tools as the study trains it."""
    import scvi

    scvi.settings.seed = 0
    cells = train.to_adata()
    scvi.model.SCVI.setup_anndata(cells)
    model = scvi.model.SCVI(cells, n_hidden=512, n_layers=1, n_latent=16, gene_likelihood="zinb")
    model.train(
        max_epochs=max(1, int(1e7 / cells.n_obs)), batch_size=512, early_stopping=True, early_stopping_patience=5,
        early_stopping_min_delta=0.01, accelerator="cpu", enable_progress_bar=False,
        plan_kwargs={"lr": 1e-3, "n_epochs_kl_warmup": 1},
    )  # fmt: skip
    return model.get_latent_representation(test.to_adata()), len(model.history["elbo_train"])


def published_score(x, y):
    """Return bits by latentmi as the study asks it."""
    from latentmi import lmi

    return float(np.nanmean(lmi.estimate(x, y, validation_split=0.3, batch_size=512, epochs=300, N_dims=8)[0]))


def main() -> None:
    """Print a line for each cell of the grid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path")
    parser.add_argument("key", help="the obsm that holds the signal")
    given = parser.parse_args()
    np.NaN = np.nan  # noqa: NPY201
    parts = Split(test=0.25, valid=0.1).parts(View.of(H5ad(given.path).load()), seed=0)
    depth = UmisPerCell().measure(parts.train)["umis_per_cell"]
    tenth = UmisPerCell().prepare(parts.train, depth / 10, seed=0)
    few = NCells().prepare(parts.train, 258, seed=0)
    grid = {
        "all cells, full depth": parts,
        "all cells, a tenth": tuple(tenth(part) for part in parts),
        "258 cells, full depth": (few(parts.train), parts.valid, parts.test),
    }
    signal = np.asarray(parts.test.obsm(given.key), dtype=float)
    Auto().estimate(np.random.default_rng(0).normal(size=(200, 4)), signal[:200], seed=0)  # compiled before the clock
    SCVI(max_updates=2).fit(parts.train, parts.valid, seed=0)
    print(
        f"{'cell of the grid':<24} {'scvi-tools':>22} {'latentmi':>20} {'our scvi':>10} {'our auto':>20} {'ratio':>6}"
    )
    for name, (train, valid, test) in grid.items():
        kept = [part.take(np.flatnonzero(part.totals > 0)).materialise() for part in (train, valid, test)]
        y = np.asarray(kept[2].obsm(given.key), dtype=float)
        theirs, (embedding, epochs) = timed(lambda kept=kept: published_model(kept[0], kept[2]))
        asked, bits = timed(lambda e=embedding, y=y: published_score(e, y))
        ours, trained = timed(lambda kept=kept: SCVI().fit(kept[0], kept[1], seed=0))
        own, found = timed(lambda t=trained, kept=kept, y=y: Auto().estimate(t.embed(kept[2]), y, seed=0))
        ratio = (theirs + asked) / (ours + own)
        print(
            f"{name:<24} {theirs:>8.0f} s {epochs:>4} epochs {asked:>8.0f} s {bits:>5.2f} bits {ours:>8.1f} s "
            f"{own:>8.1f} s {found.value:>5.2f} bits {ratio:>5.1f}x",
            flush=True,
        )


if __name__ == "__main__":
    main()
