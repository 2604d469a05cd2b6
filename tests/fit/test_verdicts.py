import math
from dataclasses import replace

import pytest

from sclaws.fit.verdicts import Facts, sentence

INF = math.inf
CLOSED = {"i_max": (1.8, 2.2), "u_bar": (250.0, 380.0)}
GOOD = Facts(
    gain=(1.2, 1.5),
    turns=((0.5, 0.7), (-0.1, 0.2)),
    law=-50.0,
    constant=-10.0,
    parabola=-40.0,
    r2=0.98,
    limits=CLOSED,
    units={"i_max": "bits", "u_bar": "UMI"},
    covered=0.7,
    left=0.2,
    reached=0.8,
)

CASES = {
    "follows": ({}, "follows the law"),
    "flat is equivalence": ({"gain": (-0.02, 0.04)}, "flat: no scaling seen (gain -0.02 to +0.04)"),
    "flat even if certain": ({"gain": (0.01, 0.04)}, "flat: no scaling seen (gain +0.01 to +0.04)"),
    "wide is not flat": (
        {"gain": (-0.1, 0.3), "law": -10.5},
        "underpowered: the gain is -0.1 to +0.3, which may be none",
    ),
    "a better law outweighs the line": ({"gain": (-0.1, 0.3)}, "follows the law"),
    "no AICc": (
        {"gain": (-1.0, 1.0), "law": INF, "constant": INF},
        "underpowered: the gain is -1 to +1, which may be none",
    ),
    "turns": (
        {"turns": ((0.5, 0.7), (-0.9, -0.2)), "parabola": -60.0},
        "no law: not monotone (the points first rise, then turn)",
    ),
    "turns downwards": (
        {"turns": ((-0.7, -0.5), (0.1, 0.2)), "parabola": -60.0},
        "no law: not monotone (the points first fall, then turn)",
    ),
    "a turn that the law explains": ({"turns": ((0.5, 0.7), (-0.9, -0.2))}, "follows the law"),
    "parabola": ({"parabola": -60.0, "r2": 0.8}, "no law: a parabola in log x fits better (AICc by 10.0)"),
    "close enough": ({"parabola": -60.0, "r2": 0.95}, "follows the law"),
    "constant": ({"constant": -60.0, "r2": 0.1}, "no law: a constant fits better (AICc by 10.0)"),
    "one limit": (
        {"limits": CLOSED | {"u_bar": (812.0, INF)}, "covered": 0.41},
        "not identifiable: the points cover 41 % of the transition; u_bar > 812 UMI (95 %)",
    ),
    "other limit": (
        {"limits": {"i_max": (-INF, 3.0), "s": (-INF, INF)}, "covered": math.nan},
        "not identifiable: i_max < 3 bits (95 %), s is free",
    ),
    "saturated": (
        {"left": 0.03, "reached": 0.97},
        "saturated: follows the law, and at most 0.03 is left beyond the largest input",
    ),
    "little left of little": ({"left": 0.03, "reached": 0.6}, "follows the law"),
    "no limit known": ({"left": math.nan, "reached": math.nan}, "follows the law"),
    "one limit and what would settle it": (
        {"limits": CLOSED | {"u_bar": (812.0, INF)}, "covered": 0.41, "settled": "two more depths would settle it"},
        "not identifiable: the points cover 41 % of the transition; u_bar > 812 UMI (95 %); "
        "two more depths would settle it",
    ),
    "closed by chance": (
        {"sure": {"i_max": True, "u_bar": False}},
        "not identifiable: the points cover 70 % of the transition; u_bar closes at 95 % and not at 99 %",
    ),
    "constant itself": (
        {"is_constant": True, "gain": (0.2, 0.3)},
        "no law: not constant (gain +0.2 to +0.3)",
    ),
}


@pytest.mark.parametrize(("changes", "verdict"), CASES.values(), ids=CASES)
def test_rules(changes, verdict):
    assert sentence(replace(GOOD, **changes)) == verdict
