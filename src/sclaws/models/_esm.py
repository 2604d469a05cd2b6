"""ESM-2 (Lin et al. 2023, Science): its alphabet, its sizes, the network of transformers, and folders that hold one."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sclaws.errors import ModelError, PluginError
from sclaws.residues import AMINO_ACIDS

NAME = "esm2"
ALPHABET = ("<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", "<mask>")
CLS, PAD, EOS, MASK = (ALPHABET.index(name) for name in ("<cls>", "<pad>", "<eos>", "<mask>"))
TOKENS = np.array([ALPHABET.index(letter) for letter in (*AMINO_ACIDS, "X", "-", "<pad>")])  # of each code
_CONFIG, _WEIGHTS, _INDEX, _ALPHABET = "config.json", "model.safetensors", "model.safetensors.index.json", "vocab.txt"
_UNUSED = "contact_head."  # foretells contacts of a structure: in no loss of ours
_KNOWN = {
    "vocab_size": len(ALPHABET), "mask_token_id": MASK, "pad_token_id": PAD, "position_embedding_type": "rotary",
    "is_folding_model": False, "is_decoder": False,
}  # fmt: skip


class Shape(NamedTuple):
    """An encoder; the hidden units of a layer are four times the width."""

    width: int
    layers: int
    heads: int


SIZES = {
    "t6_8M": Shape(320, 6, 20), "t12_35M": Shape(480, 12, 20), "t30_150M": Shape(640, 30, 20),
    "t33_650M": Shape(1280, 33, 20), "t36_3B": Shape(2560, 36, 40), "t48_15B": Shape(5120, 48, 40),
}  # fmt: skip


def parse(size: str) -> Shape:
    """Return the shape of a size: a published name, or "width x layers x heads"; else raise ``PluginError``."""
    if size in SIZES:
        return SIZES[size]
    try:
        width, layers, heads = (int(part) for part in size.split("x"))
    except ValueError:
        raise PluginError(
            f'{NAME}: size = {size!r} is none of {", ".join(SIZES)} and not "width x layers x heads", as "64x2x4" is'
        ) from None
    if min(width, layers, heads) < 1 or width % (2 * heads):
        raise PluginError(
            f"{NAME}: size = {size!r}: all three must be at least 1, and the width an even multiple of the heads"
        )
    return Shape(width, layers, heads)


def n_params(shape: Shape) -> int:
    """Return the number of weights of the encoder and of the head that foretells residues; not the contact head's."""
    d = shape.width
    layer = 4 * (d * d + d) + (4 * d * d + 4 * d) + (4 * d * d + d) + 2 * (2 * d)
    return len(ALPHABET) * (d + 1) + shape.layers * layer + 2 * d + (d * d + d) + 2 * d


def network(shape: Shape, seed: int) -> Any:
    """Return an EsmForMaskedLM, initialised from ``seed``, on the CPU.

    Weights have the spread of Glorot & Bengio (2010), 1/√width: with the 0.02 of transformers a narrow network takes
    hundreds of steps to get going.
    """
    import torch

    theirs = _transformers()
    config = theirs.EsmConfig(
        hidden_size=shape.width, num_hidden_layers=shape.layers, num_attention_heads=shape.heads,
        intermediate_size=4 * shape.width, max_position_embeddings=1026, layer_norm_eps=1e-5,
        initializer_range=shape.width**-0.5, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        emb_layer_norm_before=False, token_dropout=True,
        **{name: value for name, value in _KNOWN.items() if not name.startswith("is_")},
    )  # fmt: skip
    config.architectures = ["EsmForMaskedLM"]
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach for the GPUs', too
        return quick(theirs.EsmForMaskedLM(config).eval())


def _transformers() -> Any:
    """Import transformers: several seconds, the first time."""
    try:
        import transformers
    except ImportError as error:
        raise ModelError(
            f"{NAME} needs a package that is missing ({error}): pip install 'sclaws[sequences]'"
        ) from error
    return transformers


def quick(net: Any) -> Any:
    """Let a network's layers take the gelu in one pass; transformers' five make a step on a CPU a quarter longer."""
    for layer in net.esm.encoder.layer:
        layer.intermediate.forward = functools.partial(_in_one_pass, layer.intermediate.dense)
    return net


def _in_one_pass(dense: Any, states: Any) -> Any:
    from torch.nn.functional import gelu

    return gelu(dense(states))


def weights(net: Any) -> dict[str, Any]:
    """Return the learned tensors that any loss or embedding depends on, by name, tied ones once."""
    return {name: tensor for name, tensor in net.named_parameters() if _UNUSED not in name}


def shape_in(folder: Path) -> Shape:
    """Return the shape of the network in a folder, of which nothing but config.json is read; ``ModelError``."""
    told = _config(folder)
    try:
        return Shape(told["hidden_size"], told["num_hidden_layers"], told["num_attention_heads"])
    except KeyError as error:
        raise ModelError(f"{folder / _CONFIG} has no {error}; give a folder of ESM-2") from error


def shape_of(net: Any) -> Shape:
    """Return the shape of a network."""
    config = net.config
    return Shape(config.hidden_size, config.num_hidden_layers, config.num_attention_heads)


# ── folders ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def write(folder: Path, net: Any) -> None:
    """Write a folder that ``EsmForMaskedLM.from_pretrained`` and ``EsmTokenizer.from_pretrained`` load."""
    with _quiet():
        net.save_pretrained(folder)
    (folder / _ALPHABET).write_text("\n".join(ALPHABET) + "\n")


def read(folder: Path) -> Any:
    """Return the EsmForMaskedLM of a folder, float32, on the CPU; ``ModelError`` names the file and the remedy.

    Nothing is downloaded, and no pickle is opened: a pickle runs whatever its author put into it.
    """
    _config(folder)
    if not any((folder / name).is_file() for name in (_WEIGHTS, _INDEX)):
        raise ModelError(
            f"{folder} has no {_WEIGHTS}; download it, or load the model with transformers and save it there with "
            "model.save_pretrained"
        )
    import torch

    theirs = _transformers().EsmForMaskedLM
    try:
        with _quiet(), torch.random.fork_rng([]):
            net, said = theirs.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True,
                ignore_mismatched_sizes=True,
            )  # fmt: skip
    except Exception as error:  # of safetensors, of transformers or of torch: whatever is wrong with the file
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{folder}: its weights cannot be read ({reason}); download the folder again") from error
    wrong = {*said["missing_keys"], *(name for name, *_ in said["mismatched_keys"])}
    if wrong := {name for name in wrong if _UNUSED not in name}:
        raise ModelError(
            f"{folder}: {len(wrong)} weights are missing or of another shape than {_CONFIG} says, the first is "
            f"{min(wrong)}; give a folder of EsmForMaskedLM"
        )
    return quick(net.eval())


def _config(folder: Path) -> dict[str, Any]:
    """Return what config.json says; ``ModelError`` unless it is ESM-2's, with its alphabet."""
    file = folder / _CONFIG
    if not file.is_file():
        raise ModelError(f"{file} does not exist; give the folder of an ESM-2 model, with {_CONFIG} and {_WEIGHTS}")
    try:
        told = json.loads(file.read_text())
    except ValueError as error:
        raise ModelError(f"{file} is no JSON ({error}); download it again") from error
    if (kind := told.get("model_type") if isinstance(told, dict) else None) != "esm":
        raise ModelError(f"{file}: model_type = {kind!r}, and only 'esm' can be read; give a folder of ESM-2")
    for name, value in _KNOWN.items():
        if told.get(name, value if name.startswith("is_") else None) != value:
            raise ModelError(f"{file}: {name} = {told.get(name)!r}, and ESM-2 has {value!r}; give a folder of ESM-2")
    letters = folder / _ALPHABET
    if letters.is_file() and tuple(letters.read_text().split()) != ALPHABET:
        raise ModelError(f"{letters} holds another alphabet than ESM-2's 33 tokens; give a folder of ESM-2")
    return dict(told)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let transformers show no bar of progress and say nothing of weights, which are checked here anyway."""
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
