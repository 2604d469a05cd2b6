"""An ``.h5ad`` file of counts, checked before any work is done on it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import anndata
import pandas as pd
from scipy import sparse

from sclaws import counts
from sclaws.datasets import _blocks, _genes, _rows
from sclaws.errors import DataError, did_you_mean


@dataclass(frozen=True)
class H5ad:
    """Counts in ``X`` of an h5ad file, or in one of its ``layers``.

    ``load`` gives ``X`` as (n_cells, n_genes) CSR float32 with sorted indices, ``obs``, ``var``, ``obsm`` (sparse ones
    made dense) and, if the file has it, ``uns["truth"]``; nothing else is kept in memory.

    ``blocks = 8`` adds ``obs["block"]``: 8 x 8 blocks of equal numbers of cells in ``obsm["spatial"]``, for a split by
    them; with ``sections``, a column of ``obs``, as many in each of its values, which then need not share coordinates.

    ``keep = ["donor=d1", "donor=d2"]`` leaves those cells alone, ``drop`` all but its own (several values of a column
    are alternatives, several columns all hold; ``"column="`` is a missing value). ``genes`` names a column of ``var``
    to call genes by, such as symbols, and ``genes_path`` a table whose first column has the names in use and whose
    second the new ones; genes that then share a name are added up, and those without a new one keep theirs.
    """

    path: str
    layer: str | None = None
    blocks: int | None = None
    sections: str | None = None
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    genes: str | None = None
    genes_path: str | None = None
    version: ClassVar[int] = 1

    def load(self) -> anndata.AnnData:
        """Return the checked data; raise ``DataError`` naming the file, what is wrong with it, and the remedy."""
        file = self._file()
        with _reading(file):
            whole = anndata.read_h5ad(file)
            values = self._values(whole)
        for axis, names in (("cell", whole.obs_names), ("gene", whole.var_names)):
            _check_names(file, axis, names)
        matrix = counts.checked(
            values, whole.obs_names, whole.var_names,
            where=f"{file}, {self._where}",
            remedy=f"point `layer` to the counts ({_layers(whole)})",
        )  # fmt: skip
        uns = {"truth": whole.uns["truth"]} if "truth" in whole.uns else {}
        obsm = {key: _dense(value) for key, value in whole.obsm.items()}
        made = anndata.AnnData(matrix, obs=whole.obs, var=whole.var, obsm=obsm, uns=uns)
        try:
            if self.keep or self.drop:
                made = made[_rows.kept(made.obs, self.keep, self.drop)].copy()
            made = _genes.renamed(made, self.genes, self.genes_path)
        except DataError as error:
            raise DataError(f"{file}: {error}") from error
        return self._in_blocks(file, made)

    def _in_blocks(self, file: Path, made: anndata.AnnData) -> anndata.AnnData:
        if self.sections is not None and self.blocks is None:
            raise DataError(f"{file}: sections = {self.sections!r} are cut into blocks; say how many by `blocks`")
        if self.blocks is not None:
            try:
                made.obs["block"] = _blocks.blocks(made, self.blocks, self.sections)
            except DataError as error:
                raise DataError(f"{file}: {error}") from error
        return made

    @property
    def _where(self) -> str:
        return "X" if self.layer is None else f"layers[{self.layer!r}]"

    def _file(self) -> Path:
        file = Path(self.path).expanduser()
        if not file.is_file():
            what = "is a folder, not a file" if file.is_dir() else "does not exist"
            raise DataError(f"{file} {what}; give the path of an h5ad file, relative to the study file")
        return file

    def _values(self, whole: anndata.AnnData) -> Any:
        if self.layer is not None and self.layer not in whole.layers:
            raise DataError(f"{self.path} has no layer {self.layer!r}; {did_you_mean(self.layer, whole.layers)}")
        values = whole.X if self.layer is None else whole.layers[self.layer]
        if values is None:
            raise DataError(f"{self.path} has no X; point `layer` to the counts ({_layers(whole)})")
        if 0 in values.shape:
            raise DataError(f"{self.path}, {self._where}: {values.shape[0]} cells x {values.shape[1]} genes is empty")
        return values


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turn what h5py and anndata raise on a damaged file into one sentence, and hush what is checked here anyway."""
    with contextlib.suppress(ImportError):
        import hdf5plugin  # type: ignore[import-not-found]  # noqa: F401  # registers zstd and its like, which h5py alone cannot read
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"(Observation|Variable) names are not unique")
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"anndata\..*")
            warnings.filterwarnings("ignore", category=anndata.OldFormatWarning)
            yield
    except (OSError, KeyError, RuntimeError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{file} cannot be read: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "truncated" in text or "addr overflow" in text:
        return f"it is cut off ({text}); copy it again"
    if "signature not found" in text:
        return "it is no HDF5 file; give an h5ad file as anndata writes it, or copy it again"
    if "filter" in text:
        return f"it is compressed in a way that h5py cannot read ({text}); pip install hdf5plugin"
    return f"{type(error).__name__}: {text}; copy it again, or write it anew with anndata"


def _check_names(file: Path, axis: str, names: pd.Index) -> None:
    if not names.is_unique:
        twice = names[names.duplicated()]
        attribute = {"cell": "obs", "gene": "var"}[axis]
        raise DataError(
            f"{file}: {len(twice)} {axis} names occur more than once, the first is {twice[0]!r}; "
            f"call adata.{attribute}_names_make_unique() and save it again, or sum the duplicates"
        )


def _layers(whole: anndata.AnnData) -> str:
    raw = "" if whole.raw is None else "; there is a .raw"
    return f"layers: {', '.join(sorted(whole.layers)) or 'none'}{raw}"


def _dense(value: Any) -> Any:
    return sparse.csr_matrix(value).toarray() if sparse.issparse(value) else value
