"""Our parameters of a transformer over ranked genes as a folder that Hugging Face's BertForMaskedLM loads, and back.

The folder holds ``config.json`` and ``model.safetensors``, as transformers write them, and beside them two dictionaries
as of Geneformer: ``token_dictionary.json`` {gene: token} and ``gene_median_dictionary.json`` {gene: median}. Pickles
are never opened, because a pickle runs whatever its author put into it; the error says how to turn them into these.

Parameters of ours are float32 arrays by name. Weights are (in, out), so that a layer is ``x @ weight + bias``. For
each layer i, with d the width and f the hidden units: ``layers.{i}.`` ``qkv`` (d, 3d) queries, keys and values side by
side, ``out`` (d, d), ``norm1`` after attention, ``up`` (d, f), ``down`` (f, d), ``norm2``, each with ``.weight`` and
``.bias``; outside of them ``words`` (V, d), ``positions`` (P, d), ``types`` (2, d), ``norm``, and the head:
``transform`` (d, d), ``transform_norm`` and ``decoder.bias`` (V,). The decoder's weight is ``words``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.errors import ModelError
from sclaws.models import _bert_architecture, _gene_dictionaries
from sclaws.models._bert_architecture import Config, n_params, shapes
from sclaws.protocols import Floats, Ints

__all__ = ["Checkpoint", "Config", "Params", "n_params", "read", "shapes", "write"]

Params = dict[str, NDArray[np.float32]]

WEIGHTS, PICKLED = "model.safetensors", "pytorch_model.bin"

_LAYER = {
    "qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "out": ("attention.output.dense",),
    "norm1": ("attention.output.LayerNorm",),
    "up": ("intermediate.dense",),
    "down": ("output.dense",),
    "norm2": ("output.LayerNorm",),
}
_OUTSIDE = {
    "words": "bert.embeddings.word_embeddings.weight",
    "positions": "bert.embeddings.position_embeddings.weight",
    "types": "bert.embeddings.token_type_embeddings.weight",
    "norm.weight": "bert.embeddings.LayerNorm.weight",
    "norm.bias": "bert.embeddings.LayerNorm.bias",
}
_HEAD = {
    "transform.weight": "cls.predictions.transform.dense.weight",
    "transform.bias": "cls.predictions.transform.dense.bias",
    "transform_norm.weight": "cls.predictions.transform.LayerNorm.weight",
    "transform_norm.bias": "cls.predictions.transform.LayerNorm.bias",
    "decoder.bias": "cls.predictions.bias",
}
_ALSO_BIAS = "cls.predictions.decoder.bias"  # the same as cls.predictions.bias
_DECODER = "cls.predictions.decoder.weight"  # where it is stored at all, a copy of the words'


class Checkpoint(NamedTuple):
    """What a folder holds. ``token_ids`` (p,) int32 and ``medians`` (p,), NaN for none, are those of ``genes`` (p,)."""

    config: Config
    params: Params
    genes: pd.Index
    token_ids: NDArray[np.int32]
    medians: NDArray[np.float64]
    mask_id: int
    pad_id: int


def write(
    folder: Path, config: Config, params: Mapping[str, Any], genes: Iterable[str], token_ids: Ints, medians: Floats,
    *, mask_id: int = 1, pad_id: int = 0,
) -> None:  # fmt: skip
    """Write the folder; one left half-way has no ``config.json`` and is refused by ``read``.

    ``genes`` (p,) names with ``token_ids`` (p,), -1 for a gene without one, and ``medians`` (p,), NaN for one without:
    such genes are left out of the dictionaries. ``ModelError`` where shapes disagree with the architecture.
    """
    from safetensors.numpy import save_file

    _agree(folder, config, params, token_ids)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _bert_architecture.FILE).unlink(missing_ok=True)
    theirs: Params = {}
    for name, names in _names(config).items():
        parts = np.split(np.asarray(params[name], dtype=np.float32), len(names), axis=-1)
        theirs |= {key: np.ascontiguousarray(_turned(name, part)) for key, part in zip(names, parts, strict=True)}
    save_file(theirs, folder / f"{WEIGHTS}.part", metadata={"format": "pt"})
    (folder / f"{WEIGHTS}.part").replace(folder / WEIGHTS)
    _gene_dictionaries.write(folder, genes, token_ids, medians, {"<pad>": pad_id, "<mask>": mask_id})
    _bert_architecture.write_config(folder, config, pad_id)


def _agree(folder: Path, config: Config, params: Mapping[str, Any], token_ids: Ints) -> None:
    for name, shape in shapes(config).items():
        if (found := np.shape(params[name]) if name in params else None) != shape:
            raise ModelError(f"{folder} is not written: {name} has shape {found}, and {shape} follows from {config}")
    if (last := int(np.max(token_ids, initial=-1))) >= config.vocabulary:
        raise ModelError(f"{folder} is not written: there is a token {last}, and the vocabulary is {config.vocabulary}")


def read(folder: Path, *, head: bool = True) -> Checkpoint:
    """Return what is in a folder of ours, or in one of Geneformer's first version whose dictionaries are JSON.

    ``head`` = False does without the parameters of the prediction of masked tokens, and leaves them out where the
    folder has none. ``ModelError`` names the file, the field and the remedy.
    """
    folder = Path(folder)
    config, pad_id = _bert_architecture.read_config(folder)
    params = _params(folder, config, head)
    genes, token_ids, medians, specials = _gene_dictionaries.read(folder, config.vocabulary)
    mask_id, pad_id = specials["<mask>"], specials.get("<pad>", pad_id)
    return Checkpoint(config, params, genes, token_ids, medians, mask_id, pad_id)


# ── parameters ───────────────────────────────────────────────────────────────────────────────────────────────────────
def _names(config: Config, *, head: bool = True) -> dict[str, Sequence[str]]:
    """Return what each of our parameters is called there: one name, or three for queries, keys and values."""
    out: dict[str, Sequence[str]] = {ours: (theirs,) for ours, theirs in _OUTSIDE.items()}
    for i in range(config.layers):
        for ours, theirs in _LAYER.items():
            for part in ("weight", "bias"):
                out[f"layers.{i}.{ours}.{part}"] = [f"bert.encoder.layer.{i}.{name}.{part}" for name in theirs]
    return out | ({ours: (theirs,) for ours, theirs in _HEAD.items()} if head else {})


def _turned(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return a weight (in, out) as (out, in), or the other way round; embeddings, scales and biases as they are."""
    return values.T if name.endswith(".weight") else values  # .T of (d,) is itself


def _params(folder: Path, config: Config, head: bool) -> Params:
    from safetensors import SafetensorError, safe_open

    file = folder / WEIGHTS
    if not file.is_file():
        _no_weights(folder)
    try:
        with safe_open(file, framework="numpy") as stored:
            return _ours(stored, file, config, head)
    except SafetensorError as error:
        remedy = "download it again (a few lines of text are a stand-in of Git LFS: git lfs pull)"
        raise ModelError(f"{file} is no whole safetensors file ({error}); {remedy}") from error


def _ours(stored: Any, file: Path, config: Config, head: bool) -> Params:
    names = set(stored.keys())
    bare = "embeddings.word_embeddings.weight" in names  # a BertModel, without the parts around it
    known = {f"bert.{name}" if bare else name: name for name in names}
    if _ALSO_BIAS in names:
        known[_HEAD["decoder.bias"]] = _ALSO_BIAS
    no_head = [name for name in _HEAD.values() if name not in known]
    if head and no_head:
        raise ModelError(
            f"{file} has no {no_head[0]}, which predicting masked genes needs; "
            "name a folder of a BertForMaskedLM, or ask this one for embeddings alone"
        )
    wanted = _names(config, head=not no_head)
    _all_there([name for theirs in wanted.values() for name in theirs], known, file, config)
    params: Params = {}
    for ours, shape in shapes(config, head=not no_head).items():
        theirs = wanted[ours]
        part = (*shape[:-1], shape[-1] // len(theirs))
        stored_as = part[::-1] if ours.endswith(".weight") else part
        found = [_turned(ours, _tensor(stored, known[name], stored_as, file)) for name in theirs]
        params[ours] = np.ascontiguousarray(np.concatenate(found, axis=-1), dtype=np.float32)
    words = params["words"]
    if _DECODER in names and not np.array_equal(_tensor(stored, _DECODER, words.shape, file), words):
        raise ModelError(f"{file}: {_DECODER} differs from the words' embeddings, and only tied ones are known here")
    return params


def _all_there(wanted: Sequence[str], known: Mapping[str, str], file: Path, config: Config) -> None:
    if missing := [name for name in wanted if name not in known]:
        raise ModelError(
            f"{file} lacks {len(missing)} of the parameters that config.json promises, the first is {missing[0]}; "
            "the two files are not of the same model: download both again"
        )
    if f"bert.encoder.layer.{config.layers}.output.dense.weight" in known:
        raise ModelError(
            f"{file} has more layers than config.json says (num_hidden_layers = {config.layers}); mend it there"
        )


def _tensor(stored: Any, name: str, shape: tuple[int, ...], file: Path) -> NDArray[Any]:
    head = stored.get_slice(name)
    if (found := tuple(head.get_shape())) != shape:
        raise ModelError(
            f"{file}: {name} has shape {found}, and {shape} follows from config.json; the two files are not of the "
            "same model: download both again"
        )
    if (kind := head.get_dtype()) not in ("F16", "F32", "F64"):
        raise ModelError(f"{file}: {name} is stored as {kind}; save the model as float32: model.float()")
    return stored.get_tensor(name)


def _no_weights(folder: Path) -> NoReturn:
    if (folder / PICKLED).is_file():
        raise ModelError(
            f"{folder} has its weights only as {PICKLED}, a pickle, which is not opened here. "
            "If you trust it, run once in Python:\n"
            "from transformers import BertForMaskedLM\n"
            f"BertForMaskedLM.from_pretrained({str(folder)!r}).save_pretrained({str(folder)!r})"
        )
    parts = len([*folder.glob("model-*.safetensors")])
    found = f"it is in {parts} parts; join them with save_pretrained(..., max_shard_size='50GB')" if parts else (
        "download it, too"
    )  # fmt: skip
    raise ModelError(f"{folder} has no {WEIGHTS}: {found}")
