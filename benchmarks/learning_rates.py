"""Is the learning rate's rule right? Each size at a quarter, half, one, two and four times what the rule says.

    python benchmarks/learning_rates.py cells.h5ad [--genes 128] [--updates 1500]

Real counts, the most expressed genes, one seed; the gain over the gene-mean baseline on held-out cells, bits per masked
gene. The rule (rate = .008·64/width) is right if no other column beats its own by more than the standard error says.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from sclaws.datasets.h5ad import H5ad
from sclaws.models.masked_reconstruction import MaskedReconstruction
from sclaws.protocols import Context
from sclaws.view import View

SIZES = ("TINY", "24x1x2x2", "32x2x2x2", "48x2x4x2", "XS")
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


def main() -> None:
    """Print one line a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", type=Path)
    parser.add_argument("--genes", type=int, default=128)
    parser.add_argument("--updates", type=int, default=1500)
    parser.add_argument("--sizes", nargs="*", default=SIZES)
    given = parser.parse_args()
    view = View.of(H5ad(str(given.cells)).load())
    order = np.random.default_rng(0).permutation(view.n_obs)
    cuts = (np.array([0.7, 0.8]) * view.n_obs).astype(int)
    parts = [view.take(rows) for rows in np.split(order, cuts)]
    genes = np.sort(np.argsort(-parts[0].feature_totals)[: given.genes])
    train, valid, test = (part.choose(genes) for part in parts)
    print(f"{given.genes} genes, {train.n_obs} training cells, {given.updates} updates; gain, bits per masked gene")
    print(f"{'size':12}{'rate':>9}" + "".join(f"{f'x {factor:g}':>10}" for factor in FACTORS) + f"{'+-':>8}")
    for size in given.sizes:
        model = MaskedReconstruction(size=size, n_genes="all", max_updates=given.updates)
        rate, gains = model.plan.schedule.rate, []
        for factor in FACTORS:
            try:
                trained = replace(model, lr=factor * rate).fit(train, valid, seed=1, context=Context(Path()))
                gain = trained.baseline_losses(test, seed=0) - trained.losses(test, seed=0)
                gains.append(gain.mean())
            except Exception as error:
                print(f"  x {factor:g}: {error}")
                gains.append(np.nan)
        print(
            f"{size:12}{rate:9.4f}" + "".join(f"{g:10.4f}" for g in gains) + f"{gain.std() / len(gain) ** 0.5:8.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
