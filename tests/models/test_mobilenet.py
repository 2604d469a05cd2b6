"""MobileNetV2 learns to tell images apart, from training images alone, and comes back as it was."""

import json

import numpy as np
import pytest

from sclaws.errors import ModelError, PluginError
from sclaws.models import _mobilenet_network as network
from sclaws.models import mobilenet
from sclaws.models.mobilenet import MobileNet
from sclaws.protocols import Context
from sclaws.testing import cells
from sclaws.view import View

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


SMALL = {"dim": 4, "max_updates": 40, "batch_size": 32}


@pytest.fixture(scope="module")
def parts():
    view = cells.images(300, side=32)
    return [view.take(np.arange(*ends)) for ends in ((0, 150), (150, 200), (200, 300))]


@pytest.fixture(scope="module")
def trained(parts):
    train, valid, _ = parts
    return MobileNet(**SMALL).fit(train, valid, seed=0)


def told_apart(trained, train, test):
    """Return the share of test images whose label a line through the training images' embedding tells."""
    from sklearn.linear_model import LogisticRegression

    line = LogisticRegression().fit(trained.embed(train), train.obs["label"])
    return line.score(trained.embed(test), test.obs["label"])


def test_stripes_that_lie_are_told_from_those_that_stand(parts, trained):
    train, _, test = parts
    assert told_apart(trained, train, test) >= 0.95
    losses = [row["valid_loss"] for row in trained.history]
    assert min(losses) < 0.1  # nats; a guess costs ln 2
    assert [row["update"] for row in trained.history] == [25, 40]


def test_labels_that_mean_nothing_teach_nothing(parts):
    """The same network: what it knows of the classes it has from labels of training images, not from their pixels."""
    train, valid, _ = parts
    shuffled = train.to_adata()
    shuffled.obs["label"] = np.random.default_rng(0).permutation(shuffled.obs["label"])
    found = MobileNet(**SMALL).fit(View.of(shuffled), valid, seed=0)
    assert min(row["valid_loss"] for row in found.history) > 0.6


def test_the_untrained_network_has_other_weights_and_embeds_too(parts, trained):
    train, _, test = parts
    untrained = MobileNet(**SMALL).untrained(train, seed=0)
    assert untrained.embed(test).shape == trained.embed(test).shape == (100, 4)
    assert not untrained.history
    assert untrained.n_params == trained.n_params - 2 * 1281


def test_components_are_of_the_training_images(parts, trained):
    train, *_ = parts
    embedding = trained.embed(train).astype(float)
    np.testing.assert_allclose(embedding.mean(axis=0), 0, atol=1e-3)
    covariance = np.cov(embedding.T)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-3 * covariance[0, 0]
    assert (np.diff(np.diag(covariance)) <= 0).all()
    every = trained.network
    features = network.pooled(every, network.all_images(train), None, "cpu").astype(float)
    largest = np.linalg.eigvalsh(np.cov(features.T))[::-1][:4]
    np.testing.assert_allclose(np.diag(covariance), largest, rtol=1e-3)


def test_more_components_than_features_are_refused():
    with pytest.raises(ModelError, match="dim = 6 is above the network's 5 features; lower it"):
        mobilenet._components(np.ones((9, 5), np.float32), 6)


def test_a_saved_model_comes_back(parts, trained, tmp_path):
    *_, test = parts
    trained.save(tmp_path)
    loaded = MobileNet(**SMALL).load(tmp_path)
    np.testing.assert_array_equal(loaded.embed(test), trained.embed(test))
    assert (loaded.n_params, loaded.history) == (trained.n_params, trained.history)


def test_nothing_of_the_process_is_touched(parts):
    train, valid, _ = parts
    torch.manual_seed(5)
    before = torch.get_rng_state(), torch.get_num_threads(), torch.backends.cudnn.deterministic
    said = []
    model = MobileNet(dim=None, max_updates=3, check_every=2)
    found = model.fit(train, valid, seed=1, context=Context(None, progress=said.append))
    assert found.embed(valid).shape == (50, 1280)
    with mobilenet._seeded(0, Context(None, threads=before[1] + 1)):
        assert torch.get_num_threads() == before[1] + 1
        assert torch.backends.cudnn.deterministic
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.get_num_threads(), torch.backends.cudnn.deterministic) == before[1:]
    assert said[-1].startswith("mobilenet: 3 of 3 updates, train_loss ")


def test_few_images_are_enough_and_sizes_and_mirrors_are_taken(parts):
    train, valid, test = parts
    few = train.take(np.arange(9))
    found = MobileNet(dim=8, max_updates=6, size=48, flip=True).fit(few, valid.take(np.arange(0)), seed=0)
    assert np.isfinite(found.embed(test)).all()
    assert [set(row) for row in found.history] == [{"update", "train_loss"}]
    with pytest.raises(
        ModelError, match="mobilenet: 9 components needs at least 10 images, and there are 9; lower dim"
    ):
        MobileNet(dim=9).fit(few, valid, seed=0)


def test_images_without_a_label_are_left_out(parts):
    train, valid, _ = parts
    some = train.to_adata()
    some.obs["label"] = some.obs["label"].astype(object).where(np.arange(150) < 100, None)
    full = MobileNet(dim=None, max_updates=2).fit(train.take(np.arange(100)), valid, seed=0)
    found = MobileNet(dim=None, max_updates=2).fit(View.of(some), valid, seed=0)
    np.testing.assert_array_equal(found.embed(valid), full.embed(valid))


def test_what_cannot_be_told_apart_is_told(parts):
    train, valid, _ = parts
    alone = train.take(np.asarray(train.obs["label"] == "high"))
    with pytest.raises(ModelError, match=r"training images have 1 classes in obs\['label'\], and there is nothing to"):
        MobileNet(dim=4).fit(alone, valid, seed=0)
    with pytest.raises(ModelError, match="label = 'lable' is not a column of obs; did you mean 'label'"):
        MobileNet(label="lable").fit(train, valid, seed=0)
    with pytest.raises(ModelError, match="mobilenet: these are no images: var has no y, x, channel"):
        MobileNet().fit(cells.counts(), cells.counts(), seed=0)
    made = train.to_adata()
    made.X = (made.X * 255).astype(np.uint8)
    with pytest.raises(ModelError, match="images are whole numbers .uint8.; give floats from 0 to 1"):
        MobileNet().fit(View.of(made), View.of(made), seed=0)
    with pytest.raises(ModelError, match="training diverged; lower lr"):
        MobileNet(dim=4, lr=1e30, max_updates=30).fit(train, valid, seed=0)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"width": 0.0}, "width = 0.0 must be above 0"),
        ({"dim": 0}, "dim = 0 must be above 0"),
        ({"batch_size": 1}, "batch_size = 1 must be at least 2"),
        ({"learn": "some"}, "learn = 'some' is none of all, nothing"),
        ({"learn": "nothing"}, 'learn = "nothing" needs a path'),
    ],
)
def test_fields_are_checked(fields, says):
    with pytest.raises(PluginError, match=f"mobilenet: {says}"):
        MobileNet(**fields)


# ── a folder that somebody has ───────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier as transformers save it, with the weights and statistics of a network that has seen something."""
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    torch.manual_seed(3)
    theirs = MobileNetV2ForImageClassification(MobileNetV2Config(depth_multiplier=0.35, num_labels=5))
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.1, 1.0)
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    path = tmp_path_factory.mktemp("checkpoint")
    theirs.save_pretrained(path)
    return path, theirs.eval()


def test_a_frozen_folder_gives_what_transformers_give(parts, folder):
    train, valid, test = parts
    path, theirs = folder
    model = MobileNet(path=str(path), learn="nothing", dim=None)
    assert not model.trains
    assert MobileNet(path=str(path), learn="nothing").trains  # components are of training images
    pixels = torch.from_numpy(test.to_adata().X.reshape(100, 1, 32, 32)).repeat(1, 3, 1, 1)
    with torch.no_grad():
        expected = theirs.mobilenet_v2(2 * pixels - 1).pooler_output.numpy()
    assert expected.std(axis=0).max() > 1e-3
    np.testing.assert_allclose(model.fit(train, valid, seed=0).embed(test), expected, rtol=1e-3, atol=1e-4)


def test_a_folder_is_fine_tuned_from_its_weights(parts, folder, tmp_path):
    train, valid, test = parts
    model = MobileNet(path=str(folder[0]), lr=1e-12, max_updates=1, dim=None)
    weights = dict(model.fit(train, valid, seed=0).network.named_parameters())
    for name, theirs in folder[1].mobilenet_v2.named_parameters():
        torch.testing.assert_close(weights[name], theirs, rtol=1e-4, atol=1e-6)
    tuned = MobileNet(path=str(folder[0]), **SMALL).fit(train, valid, seed=0)
    assert told_apart(tuned, train, test) > 0.75  # five standard errors above a guess
    tuned.save(tmp_path)
    loaded = MobileNet(**SMALL).load(tmp_path)  # the folder that it came from is not needed again
    np.testing.assert_array_equal(loaded.embed(test), tuned.embed(test))


def spoilt(folder, tmp_path, **config):
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    found = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(found | config))
    return str(tmp_path)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_type": "bert"}, "config.json has model_type 'bert'; a folder of a mobilenet_v2 is needed"),
        ({"num_channels": 1}, "config.json has num_channels = 1; 3 are needed"),
        ({"depth_multiplier": 1.0}, "model.safetensors does not fit config.json beside it .*download both again"),
        ({"depth_multiplier": "wide"}, "no network has this configuration: .*depth_multiplier"),
    ],
)
def test_a_folder_of_something_else_is_told(parts, folder, tmp_path, config, says):
    train, valid, _ = parts
    with pytest.raises(ModelError, match=says):
        MobileNet(path=spoilt(folder[0], tmp_path, **config)).fit(train, valid, seed=0)


def test_a_folder_that_lacks_something_is_told(parts, folder, tmp_path):
    train, valid, _ = parts
    model = MobileNet(path=spoilt(folder[0], tmp_path))
    from safetensors.torch import load_file, save_file

    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    save_file({name: weight for name, weight in weights.items() if "conv_1x1" not in name}, file)
    with pytest.raises(ModelError, match="lacks 5 of the weights that config.json promises, the first is conv_1x1"):
        model.fit(train, valid, seed=0)
    file.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelError, match="is no whole safetensors file .*git lfs pull"):
        model.fit(train, valid, seed=0)
    file.rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="has no model.safetensors; pytorch_model.bin is a pickle"):
        model.fit(train, valid, seed=0)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ModelError, match="config.json cannot be read .*path is a folder with config.json and model"):
        model.fit(train, valid, seed=0)
