"""Public blood cells made ready for the study of what to learn from: a corpus, donors to type, a screen.

    python benchmarks/denadel_2026.py FOLDER OUT
    cd OUT && sclaws ingest corpus.toml && sclaws ingest kang.toml --out kang.zarr
    sclaws run denadel-2026 --corpus corpus.zarr --evaluate kang.zarr papalexi.h5ad --profile laptop

FOLDER holds kang12k, pbmc_facs, cite_pbmc10k, pbmc5k_rna_only and papalexi as h5ad. Four donors of kang12k train and
four others are typed and integrated. Types of the sorted cells are called as those of kang12k; cells of the two files
without types get the type that most of 15 neighbours have among labelled training cells, on 30 principal components of
the common genes: so re-weighting there is by *predicted* types. So is typing of the corpus's own test
cells, which have a part in the prediction, too: principal components get back what they gave. The four donors that are
typed keep the types of their authors, and have no part in it.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd

TRAIN = ("d101", "d107", "d1015", "d1016")
TEST = ("d1039", "d1244", "d1256", "d1488")
SORTED = {"CD19+ B": "B cells", "CD14+ Monocyte": "CD14+ Monocytes", "CD56+ NK": "NK cells", "CD34+": "CD34+ cells"}
NEIGHBOURS, COMPONENTS = 15, 30


def main() -> None:
    """Write files with a column cell_type, a table of gene names, and the two recipes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    of = {name: anndata.read_h5ad(given.folder / f"{name}.h5ad") for name in
          ("kang12k", "pbmc_facs", "cite_pbmc10k", "pbmc5k_rna_only")}  # fmt: skip
    symbols = of["pbmc_facs"].var["symbol"].astype(str)
    symbols.rename("symbol").to_csv(given.out / "genes.tsv", sep="\t", index_label="id")
    of["pbmc_facs"].obs["cell_type"] = [_sorted(name) for name in of["pbmc_facs"].obs["celltype"].astype(str)]
    named = {name: _by_symbol(data, symbols) for name, data in of.items()}
    labelled = [named["kang12k"][of["kang12k"].obs["donor"].isin(TRAIN)], named["pbmc_facs"]]
    for name in ("cite_pbmc10k", "pbmc5k_rna_only"):
        of[name].obs["cell_type"] = _transferred(labelled, named[name])
        print(name, of[name].obs["cell_type"].value_counts().to_dict())
    for name, data in of.items():
        data.write_h5ad(given.out / f"{name}.h5ad", compression="gzip")
    shutil.copyfile(given.folder / "papalexi.h5ad", given.out / "papalexi.h5ad")
    (given.out / "corpus.toml").write_text(
        _file("kang12k", TRAIN)
        + _file("pbmc_facs", genes='genes = "symbol"\n')
        + _file("cite_pbmc10k", genes="")
        + _file("pbmc5k_rna_only", genes="")
    )
    (given.out / "kang.toml").write_text(_file("kang12k", TEST, donor=True))


def _file(
    name: str, donors: tuple[str, ...] = (), genes: str = 'genes_path = "genes.tsv"\n', donor: bool = False
) -> str:
    wanted = [f"donor={each}" for each in donors]
    keep = f"keep = {json.dumps(wanted)}\n" if wanted else ""
    columns = 'cell_type = "cell_type"' + (', donor = "donor"' if donor else "")
    return f'[[file]]\npath = "{name}.h5ad"\n{genes}{keep}columns = {{ {columns} }}\n\n'


def _sorted(name: str) -> str:
    return SORTED.get(name) or ("CD8 T cells" if name.startswith("CD8") else "CD4 T cells")


def _by_symbol(data: Any, symbols: pd.Series) -> Any:
    names = data.var_names.to_series().map(symbols).fillna(data.var_names.to_series())
    made = anndata.AnnData(data.X, obs=data.obs.copy(), var=pd.DataFrame(index=names.to_numpy()))
    return made[:, ~made.var_names.duplicated()]


def _transferred(labelled: list[Any], cells: Any) -> list[str]:
    from sklearn.decomposition import PCA
    from sklearn.neighbors import KNeighborsClassifier

    genes = cells.var_names
    for data in labelled:
        genes = genes[genes.isin(data.var_names)]
    known = np.vstack([_values(data, genes) for data in labelled])
    types = np.concatenate([data.obs["cell_type"].astype(str) for data in labelled])
    pca = PCA(COMPONENTS, random_state=0).fit(known)
    model = KNeighborsClassifier(NEIGHBOURS).fit(pca.transform(known), types)
    return list(model.predict(pca.transform(_values(cells, genes))))


def _values(data: Any, genes: pd.Index) -> Any:
    """Return log(1 + counts per 10,000) at mean zero and variance one within the file: a shift of a file is no type."""
    counts = np.asarray(data[:, genes].X.todense(), dtype=float)
    values = np.log1p(1e4 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    return (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-6)


if __name__ == "__main__":
    main()
