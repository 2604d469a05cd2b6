"""The network has the published size, and gives features of any images."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from sclaws.models import _mobilenet_network as network


@pytest.mark.parametrize(("width", "published"), [(1.0, 3_504_872), (1.4, 6_108_776), (0.75, None), (0.35, None)])
def test_the_published_number_of_weights(width, published):
    """3.50 and 6.1 million with 1,000 classes: Sandler et al. 2018, Table 4 (3.4 and 6.9 there), torchvision's to one."""
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
    larger = network.pooled(found, grey, 32, "cpu")
    by_hand = torch.nn.functional.interpolate(grey.permute(0, 3, 1, 2), (32, 32), mode="bilinear")
    expected = network.pooled(found, by_hand.permute(0, 2, 3, 1), None, "cpu")
    np.testing.assert_allclose(larger, expected, rtol=1e-3, atol=1e-4)
