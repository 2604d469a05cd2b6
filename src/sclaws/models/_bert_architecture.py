"""The architecture of a BERT in our words and in those of its ``config.json``: sizes, parameters, what we can read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sclaws.errors import ModelError
from sclaws.models import _gene_dictionaries

FILE = "config.json"
TYPES = 2  # kinds of token that BERT tells apart; all of ours are of the first

_THEIR_NAMES = {  # of the fields of Config in theirs
    "vocabulary": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "hidden": "intermediate_size",
    "context": "max_position_embeddings",
    "activation": "hidden_act",
    "dropout": "hidden_dropout_prob",
    "epsilon": "layer_norm_eps",
}
_THEIR_DEFAULTS = {"hidden_act": "gelu", "hidden_dropout_prob": 0.1, "layer_norm_eps": 1e-12}
_ALONE_KNOWN = {"type_vocab_size": TYPES, "position_embedding_type": "absolute", "is_decoder": False}


@dataclass(frozen=True)
class Config:
    """The architecture: what has to be known besides the parameters.

    ``vocabulary`` tokens, ``width`` d, ``hidden`` units of a layer's perceptron, ``context`` tokens at most.
    ``dropout`` is that of attention, too; ``epsilon`` is the layer normalisations'; "gelu" is the exact one, with the
    error function. ``ModelError`` where ``heads`` do not part the width evenly.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    hidden: int
    context: int
    activation: Literal["relu", "gelu"] = "relu"
    dropout: float = 0.02
    epsilon: float = 1e-12

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ModelError(f"a width of {self.width} cannot be parted among {self.heads} heads; take a multiple")


def n_params(config: Config) -> int:
    """Return the number of learned numbers, those of the tied decoder counted once."""
    d, f = config.width, config.hidden
    layer = 4 * (d * d + d) + (d * f + f) + (f * d + d) + 2 * (2 * d)
    embeddings = (config.vocabulary + config.context + TYPES) * d + 2 * d
    head = (d * d + d) + 2 * d + config.vocabulary
    return embeddings + config.layers * layer + head


def shapes(config: Config, *, head: bool = True) -> dict[str, tuple[int, ...]]:
    """Return the shape of each parameter by its name."""
    d, f, v = config.width, config.hidden, config.vocabulary
    out: dict[str, tuple[int, ...]] = {"words": (v, d), "positions": (config.context, d), "types": (TYPES, d)}
    out |= {"norm.weight": (d,), "norm.bias": (d,)}
    for i in range(config.layers):
        for name, (wide, narrow) in {"qkv": (d, 3 * d), "out": (d, d), "up": (d, f), "down": (f, d)}.items():
            out |= {f"layers.{i}.{name}.weight": (wide, narrow), f"layers.{i}.{name}.bias": (narrow,)}
        out |= {f"layers.{i}.{name}.{part}": (d,) for name in ("norm1", "norm2") for part in ("weight", "bias")}
    if head:
        out |= {"transform.weight": (d, d), "transform.bias": (d,), "transform_norm.weight": (d,)}
        out |= {"transform_norm.bias": (d,), "decoder.bias": (v,)}
    return out


def write_config(folder: Path, config: Config, pad_id: int) -> None:
    """Write ``config.json`` for transformers' BertForMaskedLM."""
    told = {
        "architectures": ["BertForMaskedLM"],
        "model_type": "bert",
        **{theirs: getattr(config, ours) for ours, theirs in _THEIR_NAMES.items()},
        "attention_probs_dropout_prob": config.dropout,
        "type_vocab_size": TYPES,
        "pad_token_id": pad_id,
        "tie_word_embeddings": True,
    }
    _gene_dictionaries.write_json(folder / FILE, told)


def read_config(folder: Path) -> tuple[Config, int]:
    """Return what ``config.json`` says and the padding's token; ``ModelError`` where such a model is unknown here."""
    file = folder / FILE
    if not file.is_file():
        raise ModelError(f"{folder} has no {FILE}; name a folder that transformers' save_pretrained or sclaws wrote")
    told = _gene_dictionaries.read_json(file)
    if (kind := told.get("model_type")) != "bert":
        raise ModelError(f"{file}: model_type = {kind!r}, and only 'bert' can be read; name one of Geneformer's kind")
    for field, value in _ALONE_KNOWN.items():
        if told.get(field, value) != value:
            raise ModelError(f"{file}: {field} = {told[field]!r}, and only {value!r} is known here; name another model")
    values = {ours: told.get(theirs, _THEIR_DEFAULTS.get(theirs)) for ours, theirs in _THEIR_NAMES.items()}
    for ours, value in values.items():
        if problem := _problem(ours, value):
            raise ModelError(f"{file}: {_THEIR_NAMES[ours]} = {value!r}, and {problem}")
    try:
        return Config(**values), told["pad_token_id"] if type(told.get("pad_token_id")) is int else 0
    except ModelError as error:
        raise ModelError(f"{file}: {error}") from None


def _problem(name: str, value: Any) -> str:
    """Return what is wrong with a field of ``Config`` and what to do, or nothing."""
    if name == "activation":
        return "" if value in ("relu", "gelu") else "only 'relu' and 'gelu' are known here; name another model"
    if name in ("dropout", "epsilon"):
        good = isinstance(value, (int, float)) and 0 <= value < 1
        return "" if good else "it must lie in [0, 1); download the file again"
    good = type(value) is int and value > 0
    return "" if good else "it must be a whole number above 0; download the file again"
