"""The network has the published size, and gives features of any images."""

import numpy as np
import pytest

from sclaws.models import _mobilenet_network as network

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.mark.parametrize(("width", "published"), [(1.0, 3_504_872), (1.4, 6_108_776), (0.75, None), (0.35, None)])
def test_the_published_number_of_weights(width, published):
    """With 1,000 classes: as many as torchvision's mobilenet_v2 of the same width."""
    with torch.device("meta"):
        found = network.built(network.settings(width))
    features = found.conv_1x1.convolution.out_channels
    n_params = sum(p.numel() for p in found.parameters()) + 1000 * (features + 1)
    assert features == (1280 if width <= 1 else 1792)
    if published:
        assert n_params == published


def test_statistics_are_those_of_the_images():
    torch.manual_seed(0)
    found = network.built(network.settings(0.35))
    pixels = torch.rand(60, 32, 32, 1)
    network.take_statistics(found, pixels, torch.arange(60), None)
    assert not found.training
    seen = []
    first = found.conv_stem.first_conv
    first.convolution.register_forward_hook(lambda _, __, out: seen.append(out.mean(dim=(0, 2, 3))))
    with torch.no_grad():
        network.features(found, pixels, None)
    torch.testing.assert_close(seen[0], first.normalization.running_mean, rtol=1e-4, atol=1e-5)
    network.take_statistics(found, 1 - pixels, torch.arange(60), None)  # nothing of what was before is left
    with torch.no_grad():
        network.features(found, 1 - pixels, None)
    torch.testing.assert_close(seen[-1], first.normalization.running_mean, rtol=1e-4, atol=1e-5)


def test_grey_images_are_repeated_and_sizes_made_equal():
    torch.manual_seed(0)
    found = network.built(network.settings(0.35))
    grey = torch.rand(70, 16, 16, 1)
    network.take_statistics(found, grey, torch.arange(70), None)
    one, three = (network.pooled(found, pixels, None, "cpu") for pixels in (grey, grey.expand(-1, -1, -1, 3)))
    np.testing.assert_array_equal(one, three)
    np.testing.assert_array_equal(network.pooled(found, grey[66:68], None, "cpu"), one[66:68])


def test_images_are_brought_to_a_size_and_to_plus_and_minus_one():
    seen = []
    found = network.built(network.settings(0.35)).eval()
    found.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    pixels = torch.rand(3, 12, 16, 3)
    with torch.no_grad():
        network.features(found, pixels, None)
        network.features(found, pixels, 32)
    as_it_is = pixels.permute(0, 3, 1, 2) * 2 - 1
    assert torch.equal(seen[0], as_it_is)
    by_torch = torch.nn.functional.interpolate(as_it_is, (32, 32), mode="bilinear")
    torch.testing.assert_close(seen[1], by_torch, rtol=1e-5, atol=1e-5)
