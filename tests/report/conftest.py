"""One panel with everything a panel can have, built by hand from the noise law."""

import math

import pytest

from sclaws.report.records import Curve, Knot, Panel, Parameter, Point, Slice

DEPTHS = (10.0, 100.0, 1000.0)
CELLS = {"100": 100.0, "1,000": 1000.0}


def bits(depth: float, i_max: float, u_bar: float) -> float:
    """The noise law."""
    return i_max - 0.5 * math.log2((1 + depth / u_bar) / (depth / u_bar + 2 ** (-2 * i_max)))


def curve(
    model: str, cells: str | None, i_max: float, u_bar: float, *, open_end: bool = False, **more: object
) -> Curve:
    """A curve whose points lie on its law."""
    truths = [bits(u, i_max, u_bar) for u in DEPTHS]
    points = tuple(
        Point(u, y, y - 0.1, y + 0.1, y, str(r), u == 1000) for u, y in zip(DEPTHS, truths, strict=True) for r in (0, 1)
    )
    parameters = (
        Parameter("i_max", i_max, i_max - 0.2, math.nan if open_end else i_max + 0.2, "bits", truth=2.0),
        Parameter(
            "u_bar", u_bar, u_bar / 2, math.nan if open_end else u_bar * 2, "UMI per cell", log=True, truth=150.0
        ),
    )
    line = tuple(Knot(u, y, y - 0.2, y + 0.2) for u, y in zip(DEPTHS, truths, strict=True))
    verdict = "not identifiable: the points cover 41 % of the transition" if open_end else "follows the law"
    return Curve(model, (cells,), points, line, parameters, verdict, "", 0.99, 0.03, **more)  # type: ignore[arg-type]


@pytest.fixture
def panel() -> Panel:
    """Two models at two numbers of cells, one of them open above, and a baseline that has no cells."""
    curves = (
        curve("pca", "100", 1.5, 100.0),
        curve("pca", "1,000", 2.1, 120.0),
        curve("scvi", "100", 1.8, 200.0),
        curve("scvi", "1,000", 2.6, 900.0, open_end=True),
        Curve(
            "gene-mean",
            (None,),
            (Point(1000.0, 0.2, 0.1, 0.3), Point(1000.0, 0.4, 0.3, 0.5, replicate="1")),
            baseline=True,
        ),
    )
    return Panel(
        title="protein",
        law="noise",
        formula="I(u) = …",
        source="a paper",
        x="depth (UMI per cell)",
        y="information",
        unit="bits",
        criterion="linear",
        slices=(Slice("n_cells_level", tuple(CELLS), dict(CELLS)),),
        curves=curves,
        truth=(Knot(10.0, bits(10, 2.0, 150.0)), Knot(1000.0, bits(1000, 2.0, 150.0))),
        bound=3.0,
        constants=(("dataset", "tissue"),),
    )
