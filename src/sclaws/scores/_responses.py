"""How good predictions of mean expression are, of a model and of baselines, and the intervals over targets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sclaws.hashing import name_ids
from sclaws.protocols import Estimate, Floats
from sclaws.scores import _estimate

_FEWEST_TARGETS = 5  # below this a spread between targets is a guess
_LOWEST = {"mse": 0.0, "pearson": -1.0, "pearson_change": -1.0}
_UNIT = {"mse": "ln²", "pearson": "r", "pearson_change": "r"}


@dataclass(frozen=True)
class Response:
    """What was predicted, by predictor, of one target in one context, and what it was: means (p,) of expression.

    ``control`` are the cells that predictions start from, and ``reference`` other control cells, from which the truth
    is seen to have changed. ``noise`` is the squared standard error of the truth, ``n`` its number of cells.
    """

    target: str
    context: str
    predictions: Mapping[str, Floats]
    truth: Floats
    control: Floats
    reference: Floats
    noise: float
    n: int

    def values(self) -> dict[tuple[str, str], float]:
        """Return the metrics by (predictor, kind); who predicts no change has no correlation of changes."""
        found = {}
        for name, made in self.predictions.items():
            found[name, "mse"] = float(np.mean((made - self.truth) ** 2))
            found[name, "pearson"] = correlation(made, self.truth)
            if not np.array_equal(made, self.control):
                found[name, "pearson_change"] = correlation(made - self.control, self.truth - self.reference)
        return found


def correlation(first: Floats, second: Floats) -> float:
    """Return Pearson's r of two vectors; 0 where one of them does not vary."""
    first, second = first - first.mean(), second - second.mean()
    scale = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / scale if scale > 0 else 0.0


def estimates(responses: Sequence[Response], model: str, verdicts: Sequence[str]) -> dict[str, Estimate]:
    """Return the estimates by metric, means over the responses; those of the predictor ``model`` bear no prefix."""
    units = _units(responses)
    found = [response.values() for response in responses]
    columns = {key: np.array([values[key] for values in found]) for key in found[0]}
    n = sum(response.n for response in responses)
    said = {"pairs": len(responses), "targets": len({response.target for response in responses})}
    out = {}
    for (name, kind), values in columns.items():
        details: dict[str, float] = dict(said)
        if name == model:
            others = [v.mean() for (other, of), v in columns.items() if of == kind and other != model]
            details["baseline"] = float(min(others) if kind == "mse" else max(others))
        if kind == "mse":
            details["noise"] = float(np.mean([response.noise for response in responses]))
        made = _estimate.estimate(
            float(values.mean()), values, units, unit=_UNIT[kind], verdicts=tuple(verdicts), details=details,
            bounds=(_LOWEST[kind], np.inf if kind == "mse" else 1.0),
        )  # fmt: skip
        out[kind if name == model else f"{name}_{kind}"] = dataclasses.replace(made, n=n)
    return out


def _units(responses: Sequence[Response]) -> _estimate.Units:
    """Return targets as units, or pairs of target and context, with a note, where there are fewer than five targets."""
    ids = name_ids([response.target for response in responses])
    if (count := len(np.unique(ids))) >= _FEWEST_TARGETS:
        return _estimate.Units(ids, count)
    if count == len(responses):
        return _estimate.Units(ids, count, f"interval over {count} targets")
    both = name_ids([f"{response.target}\n{response.context}" for response in responses])
    return _estimate.Units(both, len(both), f"interval over pairs of target and context: only {count} targets")
