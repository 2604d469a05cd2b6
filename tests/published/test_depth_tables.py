"""The two published tables of the depth that is needed: the rules ``gap`` and ``fraction``, from the published fits.

Gowri et al., arXiv 2503.02726: ``gap`` is what the repository's notebook computes, ``fraction`` what the text says.
"""

import numpy as np
import pytest

from sclaws.laws.noise import Noise

MODELS = ("Geneformer", "PCA", "random projection", "scVI")
# signal -> for each model: ū (UMI per cell), I_max (bits), depth by the rule gap, depth by the rule fraction
PUBLISHED = {
    "developmental day": (
        (297.393, 2.037, 2571.69, 839.7),
        (766.046, 1.202, 5606.36, 3281.9),
        (1358.87, 0.805, 8012.47, 7294.0),
        (315.554, 2.470, 2815.46, 737.3),
    ),
    "cell type": (
        (464.03, 3.079, 4228.60, 852.9),
        (1693.73, 3.271, 15491.45, 2902.2),
        (3819.84, 2.642, 34352.42, 8316.1),
        (883.24, 3.588, 8112.99, 1355.0),
    ),
    "clone": (
        (555.203, 1.310, 4212.89, 2244.2),
        (2369.71, 1.900, 20190.04, 7129.1),
        (1686.99, 0.532, 7339.64, 10691.8),
        (598.406, 1.860, 5073.33, 1834.6),
    ),
    "neighbour": (
        (274.496, 1.549, 2212.04, 980.1),
        (3508.6, 3.302, 32107.5, 5945.8),
        (250.534, 0.696, 1339.94, 1435.4),
        (557.993, 2.560, 5000.44, 1256.1),
    ),
    "protein": (
        (879.137, 3.783, 8090.07, 1263.7),
        (5017.34, 4.096, 46266.6, 6523.9),
        (5145.07, 3.188, 46989.5, 9084.7),
        (4861.13, 5.177, 44958.5, 4623.8),
    ),
}
EACH = [(signal, model, *row) for signal, rows in PUBLISHED.items() for model, row in zip(MODELS, rows, strict=True)]


@pytest.mark.parametrize(("signal", "model", "u_bar", "i_max", "gap", "fraction"), EACH)
def test_depths(signal, model, u_bar, i_max, gap, fraction):
    # I_max is printed to three digits: ±.0005 bit is ±.1 % of the depth
    theta = {"i_max": i_max, "u_bar": u_bar}
    assert Noise().inverse(np.array(i_max + np.log2(0.95)), theta) == pytest.approx(gap, rel=2e-3)
    assert Noise().inverse(np.array(0.9 * i_max), theta) == pytest.approx(fraction, rel=2e-3)


@pytest.mark.parametrize("signal", ["developmental day", "clone"])
def test_the_rules_disagree_about_which_model_needs_less(signal):
    theta = {"i_max": np.array([r[1] for r in PUBLISHED[signal]]), "u_bar": np.array([r[0] for r in PUBLISHED[signal]])}
    gap = dict(zip(MODELS, Noise().inverse(theta["i_max"] + np.log2(0.95), theta), strict=True))
    fraction = dict(zip(MODELS, Noise().inverse(0.9 * theta["i_max"], theta), strict=True))
    assert gap["scVI"] > gap["Geneformer"]
    assert fraction["scVI"] < fraction["Geneformer"]
