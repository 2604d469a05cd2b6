"""A model's two dictionaries of genes, in JSON: which token each gene is, and its usual level (Geneformer's names)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.errors import ModelError
from sclaws.protocols import Floats, Ints

TOKENS, MEDIANS = "token_dictionary", "gene_median_dictionary"


def write(folder: Path, genes: Iterable[str], token_ids: Ints, medians: Floats, specials: Mapping[str, int]) -> None:
    """Write both, without genes whose token is -1 or whose median is NaN; ``specials`` {"<pad>": 0, ...} go first."""
    names = [str(gene) for gene in genes]
    if (twice := pd.Index(names).duplicated()).any():
        raise ModelError(f"gene {names[int(np.argmax(twice))]!r} occurs twice, and a dictionary can hold it once")
    tokens = {name: int(token) for name, token in zip(names, token_ids, strict=True) if token >= 0}
    usual = {name: float(median) for name, median in zip(names, medians, strict=True) if not math.isnan(median)}
    write_json(folder / f"{TOKENS}.json", {**specials, **tokens})
    write_json(folder / f"{MEDIANS}.json", usual)


def read(folder: Path, vocabulary: int) -> tuple[pd.Index, NDArray[np.int32], NDArray[np.float64], dict[str, int]]:
    """Return genes (p,), their tokens (p,), their medians (p,), NaN for none, and special tokens {"<mask>": 1, ...}.

    ``ModelError`` where a file is missing or a pickle, a token lies outside the vocabulary, or there is no mask.
    """
    tokens, medians = _dictionary(folder, TOKENS), _dictionary(folder, MEDIANS)
    file = folder / f"{TOKENS}.json"
    for name, token in tokens.items():
        if type(token) is not int or not 0 <= token < vocabulary:
            raise ModelError(
                f"{file}: the token of {name!r} is {token!r}, and the model knows 0 to {vocabulary - 1}; "
                "this dictionary is another model's"
            )
    specials = {name: token for name, token in tokens.items() if name.startswith("<") and name.endswith(">")}
    _known_kind(file, specials)
    genes = [name for name in tokens if name not in specials]
    levels = np.array([_median(medians, gene, folder) for gene in genes], dtype=np.float64)
    if np.isnan(levels).all():
        raise ModelError(f"{folder}: no gene of {TOKENS}.json is in {MEDIANS}.json; they are not of the same model")
    ids = np.array([tokens[gene] for gene in genes], dtype=np.int32)
    return pd.Index(np.array(genes, dtype=object)), ids, levels, specials


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in a file; ``ModelError`` where there is none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{file} is no JSON ({error}); download it again") from error
    if not isinstance(found, dict):
        raise ModelError(f"{file} holds a {type(found).__name__}, and an object {{name: value}} is needed")
    return found


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write the file whole or not at all."""
    part = file.with_name(f"{file.name}.part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    part.replace(file)


def _dictionary(folder: Path, name: str) -> dict[str, Any]:
    file = folder / f"{name}.json"
    if file.is_file():
        return read_json(file)
    pickles = sorted(folder.glob(f"{name}*.pkl"))
    if pickles:
        _pickled(folder, name, pickles[0].name)
    raise ModelError(
        f"{folder} has no {name}.json; put the model's there (Geneformer's, a pickle, is in its folder geneformer)"
    )


def _pickled(folder: Path, name: str, pickle: str) -> NoReturn:
    kind = "int" if name == TOKENS else "float"  # values may be numpy's, which JSON does not take
    code = f"import json, pickle; d = pickle.load(open('{pickle}', 'rb')); "
    code += f"json.dump({{k: {kind}(v) for k, v in d.items()}}, open('{name}.json', 'w'))"
    raise ModelError(
        f"{folder} has {pickle}, a pickle, which is not opened here. If you trust it, run once in that folder:\n"
        f'python -c "{code}"'
    )


def _known_kind(file: Path, specials: Mapping[str, int]) -> None:
    if "<mask>" not in specials:
        raise ModelError(f"{file} has no '<mask>', without which no token can be hidden; add it with its token")
    if "<cls>" in specials:
        raise ModelError(
            f"{file} has '<cls>': Geneformer's second version puts tokens around each cell, which is not done here; "
            "take a model of the first version, or delete '<cls>' and '<eos>' there if this one was trained without"
        )


def _median(medians: Mapping[str, Any], gene: str, folder: Path) -> float:
    value = medians.get(gene, math.nan)
    if isinstance(value, (int, float)) and (math.isnan(value) or 0 < value < math.inf):
        return float(value)
    raise ModelError(f"{folder / MEDIANS}.json: the median of {gene!r} is {value!r}, and must be above 0; leave it out")
