"""What all tests share: the data beside the checkout, the slow tests' switch, one thread a process."""

import os
from pathlib import Path

# Before numpy and torch are loaded: two processes of tests on two cores, one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from hypothesis import settings

from sclaws.datasets.simulated_tissue import SimulatedTissue
from sclaws.ingest import ingest

ROOT = Path(__file__).parents[1]

# The same examples every time: a test that fails now and then tells nothing about the change at hand.
settings.register_profile("sclaws", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("sclaws")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow tests, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="slow: runs with --slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and published tables beside the checkout; without it the test is skipped."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no folder ../shared with real data and published tables beside the checkout")
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus on disk of 900 cells of four types (``obs["type"]``) and 50 genes, beside the file it is made of."""
    home = tmp_path_factory.mktemp("tissue")
    SimulatedTissue(n_cells=900, n_genes=50, depth=200).load().write_h5ad(home / "tissue.h5ad")
    (home / "recipe.toml").write_text('[[file]]\npath = "tissue.h5ad"\ncolumns = { type = "cell_type" }\n')
    ingest(home / "recipe.toml", home / "tissue.zarr")
    return home / "tissue.zarr"
