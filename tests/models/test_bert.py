import json
import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

from sclaws.errors import ModelError
from sclaws.models import _bert
from sclaws.models._bert import Config, n_params, read, shapes, write

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here is to be asked of a server

GENES = ["G1", "G2", "no token", "G3", "no median"]
IDS = np.array([2, 3, -1, 5, 4], dtype=np.int32)
MEDIANS = np.array([1.5, 0.25, 2.0, 3.0, np.nan])
SMALL = Config(vocabulary=11, width=8, layers=2, heads=2, hidden=12, context=7, activation="gelu", dropout=0.0)

PUBLISHED = [  # (vocabulary, width, layers, heads, hidden, context): parameters, of papers C and B
    ((25_426, 256, 6, 4, 512, 2_048), 10_288_722),
    ((20_731, 32, 1, 2, 64, 512), 710_299),
    ((20_731, 64, 2, 2, 128, 512), 1_451_771),
    ((20_731, 128, 2, 2, 256, 512), 3_022_075),
    ((20_731, 256, 3, 4, 512, 512), 7_107_579),
    ((20_731, 384, 4, 4, 768, 512), 13_063_675),
    ((20_731, 512, 6, 8, 1_024, 512), 23_779_579),
    ((20_731, 768, 8, 8, 1_536, 512), 54_746_875),
]


def some_params(config=SMALL, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes(config).items()}


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, SMALL, some_params(), GENES, IDS, MEDIANS)
    return tmp_path


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers")


def theirs(transformers, config):
    return transformers.BertConfig(
        vocab_size=config.vocabulary,
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.hidden,
        max_position_embeddings=config.context,
        hidden_act=config.activation,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
    )


def with_dictionaries(folder):
    (folder / "token_dictionary.json").write_text('{"<pad>": 0, "<mask>": 1, "G1": 2, "G2": 3}')
    (folder / "gene_median_dictionary.json").write_text('{"G1": 1.5, "elsewhere": 2.0}')


def change(file, **fields):
    told = json.loads(file.read_text()) | fields
    file.write_text(json.dumps({name: value for name, value in told.items() if value is not ...}))


def forward(config, params, ids):
    """BERT written plainly from our names: attention and perceptron, each followed by adding and normalising."""
    import torch
    from torch.nn.functional import gelu, layer_norm, relu, softmax

    p = {name: torch.from_numpy(values) for name, values in params.items()}
    act = {"gelu": gelu, "relu": relu}[config.activation]

    def dense(name, x):
        return x @ p[f"{name}.weight"] + p[f"{name}.bias"]

    def norm(name, x):
        return layer_norm(x, (config.width,), p[f"{name}.weight"], p[f"{name}.bias"], config.epsilon)

    n, length = ids.shape
    x = norm("norm", p["words"][ids] + p["positions"][:length] + p["types"][0])
    for i in range(config.layers):
        qkv = dense(f"layers.{i}.qkv", x).reshape(n, length, 3, config.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv
        weights = softmax(q @ k.transpose(-1, -2) / (config.width / config.heads) ** 0.5, dim=-1)
        mixed = (weights @ v).transpose(1, 2).reshape(n, length, config.width)
        x = norm(f"layers.{i}.norm1", x + dense(f"layers.{i}.out", mixed))
        x = norm(f"layers.{i}.norm2", x + dense(f"layers.{i}.down", act(dense(f"layers.{i}.up", x))))
    return norm("transform_norm", act(dense("transform", x))) @ p["words"].T + p["decoder.bias"]


# ── parameters ───────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("sizes", "published"), PUBLISHED)
def test_parameters_are_the_published_numbers(sizes, published):
    config = Config(*sizes)
    assert n_params(config) == published
    assert sum(int(np.prod(shape)) for shape in shapes(config).values()) == published


@pytest.mark.parametrize("sizes", [sizes for sizes, _ in PUBLISHED] + [(11, 8, 2, 2, 12, 7)])
def test_parameters_are_as_many_as_transformers_counts(transformers, sizes):
    import torch

    with torch.device("meta"):  # counted, not made
        model = transformers.BertForMaskedLM(theirs(transformers, Config(*sizes)))
    assert n_params(Config(*sizes)) == model.num_parameters()


def test_heads_that_do_not_part_the_width():
    with pytest.raises(ModelError, match="a width of 10 cannot be parted among 4 heads"):
        Config(vocabulary=5, width=10, layers=1, heads=4, hidden=8, context=4)


# ── there and back ───────────────────────────────────────────────────────────────────────────────────────────────────
def test_what_is_written_is_read(folder):
    config, params, genes, ids, medians, mask, pad = read(folder)
    assert config == SMALL
    assert set(params) == set(shapes(SMALL))
    for name, values in some_params().items():
        np.testing.assert_array_equal(params[name], values, err_msg=name)
        assert params[name].dtype == np.float32
        assert params[name].flags.c_contiguous
    assert genes.tolist() == ["G1", "G2", "G3", "no median"]
    assert (ids.tolist(), ids.dtype) == ([2, 3, 5, 4], np.int32)
    np.testing.assert_array_equal(medians, [1.5, 0.25, 3.0, np.nan])
    assert (mask, pad) == (1, 0)


def test_other_special_tokens_survive(tmp_path):
    write(tmp_path, SMALL, some_params(), ["G1"], np.array([0]), np.array([1.0]), mask_id=9, pad_id=10)
    assert read(tmp_path)[-2:] == (9, 10)


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_transformers_loads_ours_and_computes_the_same(transformers, tmp_path, activation):
    import torch

    config = Config(**{**vars(SMALL), "activation": activation})
    params = some_params(config)
    write(tmp_path, config, params, GENES, IDS, MEDIANS)
    model, told = transformers.BertForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    assert not told["mismatched_keys"]
    assert model.num_parameters() == n_params(config)
    ids = torch.from_numpy(np.random.default_rng(1).integers(0, config.vocabulary, (3, 7)))
    with torch.no_grad():
        logits = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    ours = forward(config, params, ids)
    assert ours.std() > 0.1
    torch.testing.assert_close(ours, logits, atol=1e-4, rtol=0)


def test_what_transformers_wrote_is_read(transformers, tmp_path):
    import torch

    config = Config(**{**vars(SMALL), "activation": "relu", "dropout": 0.02})
    torch.manual_seed(0)
    model = transformers.BertForMaskedLM(theirs(transformers, config)).eval()
    with torch.no_grad():
        for values in model.parameters():  # as they are made, biases are 0 and scales 1, which would hide a mistake
            values.normal_(0, 0.5)
    model.save_pretrained(tmp_path)
    with_dictionaries(tmp_path)
    found = read(tmp_path)
    assert found.config == config
    assert found.genes.tolist() == ["G1", "G2"]
    np.testing.assert_array_equal(found.medians, [1.5, np.nan])
    ids = torch.from_numpy(np.random.default_rng(1).integers(0, config.vocabulary, (3, 7)))
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    torch.testing.assert_close(forward(config, found.params, ids), logits, atol=1e-4, rtol=0)


def tensors(folder):
    from safetensors.numpy import load_file

    return load_file(folder / _bert.WEIGHTS)


def restore(folder, stored):
    from safetensors.numpy import save_file

    save_file(stored, folder / _bert.WEIGHTS, metadata={"format": "pt"})


def test_buffers_and_copies_of_older_versions_do_no_harm(folder):
    stored = tensors(folder)
    stored["bert.embeddings.position_ids"] = np.arange(7)[None]
    stored["cls.predictions.decoder.weight"] = stored["bert.embeddings.word_embeddings.weight"].copy()
    stored["cls.predictions.decoder.bias"] = stored.pop("cls.predictions.bias")
    restore(folder, stored)
    np.testing.assert_array_equal(read(folder).params["decoder.bias"], some_params()["decoder.bias"])


@pytest.mark.parametrize("prefix", ["bert.", ""])
def test_a_model_without_head_gives_embeddings(folder, prefix):
    stored = {k.replace("bert.", prefix): v for k, v in tensors(folder).items() if not k.startswith("cls.")}
    restore(folder, stored)
    with pytest.raises(ModelError, match=r"no cls.predictions.transform.dense.weight, which predicting masked genes"):
        read(folder)
    params = read(folder, head=False).params
    assert set(params) == set(shapes(SMALL, head=False)) < set(shapes(SMALL))
    np.testing.assert_array_equal(params["layers.1.qkv.weight"], some_params()["layers.1.qkv.weight"])


def test_half_precision_is_read_as_float32(folder):
    restore(folder, {name: values.astype(np.float16) for name, values in tensors(folder).items()})
    words = read(folder).params["words"]
    assert words.dtype == np.float32
    np.testing.assert_array_equal(words, some_params()["words"].astype(np.float16))


def test_a_write_cut_short_leaves_nothing_to_read(folder, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_bert._gene_dictionaries, "write", fail)
    with pytest.raises(KeyboardInterrupt):
        write(folder, SMALL, some_params(seed=1), GENES, IDS, MEDIANS)
    with pytest.raises(ModelError, match="has no config.json"):
        read(folder)


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"model_type": "esm"}, r"config.json: model_type = 'esm', and only 'bert' can be read"),
        ({"hidden_act": "silu"}, r"hidden_act = 'silu', and only 'relu' and 'gelu' are known here; name another"),
        ({"hidden_size": ...}, r"hidden_size = None, and it must be a whole number above 0; download the file again"),
        ({"num_hidden_layers": 0}, r"num_hidden_layers = 0, and it must be a whole number above 0"),
        ({"hidden_dropout_prob": "high"}, r"hidden_dropout_prob = 'high', and it must lie in \[0, 1\)"),
        ({"num_attention_heads": 3}, r"config.json: a width of 8 cannot be parted among 3 heads"),
        ({"type_vocab_size": 1}, r"type_vocab_size = 1, and only 2 is known here"),
        ({"position_embedding_type": "relative_key"}, r"position_embedding_type = 'relative_key', and only 'absolute'"),
        ({"is_decoder": True}, "is_decoder = True, and only False is known here"),
        (
            {"num_hidden_layers": 3},
            r"lacks 16 of the parameters that config.json promises, the first is bert.encoder.l",
        ),
        ({"num_hidden_layers": 1}, r"has more layers than config.json says \(num_hidden_layers = 1\)"),
        ({"hidden_size": 16}, r"word_embeddings.weight has shape \(11, 8\), and \(11, 16\) follows from config.json"),
        ({"intermediate_size": 13}, r"intermediate.dense.weight has shape \(12, 8\), and \(13, 8\) follows"),
        ({"vocab_size": 5}, r"word_embeddings.weight has shape \(11, 8\), and \(5, 8\) follows"),
    ],
)
def test_a_configuration_that_cannot_be_used(folder, fields, match):
    change(folder / "config.json", **fields)
    with pytest.raises(ModelError, match=match):
        read(folder)


def test_defaults_that_transformers_leaves_unsaid(folder):
    change(folder / "config.json", hidden_act=..., hidden_dropout_prob=..., layer_norm_eps=..., pad_token_id=...)
    found = read(folder).config
    assert (found.activation, found.dropout, found.epsilon) == ("gelu", 0.1, 1e-12)


def test_a_configuration_that_is_no_json(folder):
    (folder / "config.json").write_text("<html>")
    with pytest.raises(ModelError, match=r"config.json is no JSON \(.*\); download it again"):
        read(folder)
    (folder / "config.json").write_text("[1]")
    with pytest.raises(ModelError, match=r"config.json holds a list, and an object \{name: value\} is needed"):
        read(folder)


def test_weights_cut_short(folder):
    file = folder / _bert.WEIGHTS
    for content in (file.read_bytes()[:-100], file.read_bytes()[:30], b"version https://git-lfs.github.com/spec/v1\n"):
        file.write_bytes(content)
        with pytest.raises(
            ModelError, match=r"model.safetensors is no whole safetensors file \(.*\); download it again"
        ):
            read(folder)


def test_weights_that_are_not_ours_to_compute_with(folder):
    stored = tensors(folder)
    restore(folder, stored | {"cls.predictions.decoder.weight": stored["bert.embeddings.word_embeddings.weight"] + 1})
    with pytest.raises(ModelError, match="decoder.weight differs from the words' embeddings, and only tied ones"):
        read(folder)
    restore(folder, stored | {"bert.embeddings.LayerNorm.bias": np.ones(8, dtype=np.int32)})
    with pytest.raises(ModelError, match="LayerNorm.bias is stored as I32; save the model as float32"):
        read(folder)


def test_weights_that_are_not_there(folder):
    (folder / _bert.WEIGHTS).rename(folder / "model-00001-of-00002.safetensors")
    with pytest.raises(ModelError, match=r"has no model.safetensors: it is in 1 parts; join them with save_pretrained"):
        read(folder)
    (folder / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no model.safetensors: download it, too"):
        read(folder)


def test_pickled_weights_are_not_opened_and_the_remedy_works(transformers, folder):
    import torch

    stored = {name: torch.from_numpy(values) for name, values in tensors(folder).items()}
    torch.save(stored, folder / "pytorch_model.bin")
    (folder / _bert.WEIGHTS).unlink()
    with pytest.raises(ModelError, match="only as pytorch_model.bin, a pickle, which is not opened here") as caught:
        read(folder)
    code = str(caught.value).partition("Python:\n")[2]
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    np.testing.assert_array_equal(read(folder).params["words"], some_params()["words"])


@pytest.mark.parametrize("name", ["token_dictionary", "gene_median_dictionary"])
def test_pickled_dictionaries_are_not_opened_and_the_remedy_works(folder, name):
    file = folder / f"{name}.json"
    content = {k: np.float64(v) if name.startswith("gene") else v for k, v in json.loads(file.read_text()).items()}
    file.unlink()
    with (folder / f"{name}_gc30M.pkl").open("wb") as pickled:
        pickle.dump(content, pickled)
    with pytest.raises(ModelError, match=f"has {name}_gc30M.pkl, a pickle, which is not opened here") as caught:
        read(folder)
    code = re.search(r'python -c "(.*)"$', str(caught.value)).group(1)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder)
    np.testing.assert_array_equal(read(folder).medians, [1.5, 0.25, 3.0, np.nan])


@pytest.mark.parametrize(
    ("name", "entries", "match"),
    [
        ("token_dictionary", {"G1": 11}, "the token of 'G1' is 11, and the model knows 0 to 10; this dictionary is"),
        ("token_dictionary", {"G1": "2"}, "the token of 'G1' is '2', and the model knows 0 to 10"),
        ("token_dictionary", {"<mask>": ...}, "has no '<mask>', without which no token can be hidden"),
        ("token_dictionary", {"<cls>": 9}, "has '<cls>': Geneformer's second version puts tokens around each cell"),
        ("gene_median_dictionary", {"G1": 0}, "the median of 'G1' is 0, and must be above 0; leave it out"),
        ("gene_median_dictionary", {"G1": "1"}, "the median of 'G1' is '1', and must be above 0"),
        (
            "gene_median_dictionary",
            {"G1": ..., "G2": ..., "G3": ...},
            "no gene of token_dictionary.json is in gene_med",
        ),
    ],
)
def test_dictionaries_that_cannot_be_used(folder, name, entries, match):
    change(folder / f"{name}.json", **entries)
    with pytest.raises(ModelError, match=match):
        read(folder)


@pytest.mark.parametrize("name", ["token_dictionary", "gene_median_dictionary"])
def test_dictionaries_that_are_not_there(folder, name):
    (folder / f"{name}.json").unlink()
    with pytest.raises(ModelError, match=f"has no {name}.json; put the model's there"):
        read(folder)


def test_a_folder_without_anything(tmp_path):
    with pytest.raises(ModelError, match="has no config.json; name a folder that transformers' save_pretrained or"):
        read(tmp_path / "nowhere")


def test_what_is_not_written(tmp_path):
    params = some_params()
    with pytest.raises(ModelError, match=r"norm.bias has shape \(3,\), and \(8,\) follows from Config"):
        write(tmp_path, SMALL, params | {"norm.bias": np.zeros(3)}, GENES, IDS, MEDIANS)
    with pytest.raises(ModelError, match=r"words has shape None, and \(11, 8\) follows from Config"):
        write(tmp_path, SMALL, {k: v for k, v in params.items() if k != "words"}, GENES, IDS, MEDIANS)
    with pytest.raises(ModelError, match="there is a token 11, and the vocabulary is 11"):
        write(tmp_path, SMALL, params, ["G"], np.array([11]), np.array([1.0]))
    with pytest.raises(ModelError, match="gene 'G' occurs twice, and a dictionary can hold it once"):
        write(tmp_path, SMALL, params, ["G", "G"], np.array([2, 3]), np.array([1.0, 1.0]))
