"""A training run on disk: arrays in one ``.npz`` a run, replaced in one step, so that there is always a whole one."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sclaws import keys
from sclaws.models._stack import Weights

_NOWHERE = Path()  # of a context without a folder of its own: the folder that one works in is not ours to fill


def _file(folder: Path, run: str) -> Path:
    """Return where a run is kept: several share a folder, and one that ended must not be lost to the next."""
    return folder / f"training-{run}.npz"


def fingerprint(arrays: Iterable[NDArray[Any]]) -> str:
    """Return a checksum of arrays' values: a run of other data, or of the same cells thinned, is another run."""
    found = 0
    for array in arrays:
        found = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data, found)
    return f"{found:08x}"


def save(
    folder: Path, describe: Mapping[str, Any], weights: Weights, best: Weights, optimiser: Any, state: Any
) -> None:
    """Write where a run is to ``folder``; ``describe`` says of which run."""
    if folder == _NOWHERE:
        return
    arrays = {f"weights/{name}": w for name, w in weights.items()} | {f"best/{name}": w for name, w in best.items()}
    for name, w in weights.items():
        moments = optimiser.state.get(w, {})
        arrays |= {f"{key}/{name}": value for key, value in moments.items()}
    arrays |= {"lowest": state.lowest, "waiting": state.waiting}
    run = keys.key(describe)
    plain = {"run": run, "step": state.step, "seconds": state.seconds, "history": state.history}
    scratch = _file(folder, run).with_suffix(".new")
    with open(scratch, "wb") as file:
        np.savez(file, plain=np.array(json.dumps(plain)), **{n: a.detach().cpu().numpy() for n, a in arrays.items()})
    scratch.replace(_file(folder, run))


def restore(
    folder: Path, describe: Mapping[str, Any], weights: Weights, best: Weights, optimiser: Any, state: Any
) -> bool:
    """Go back to where a run of the same ``describe`` was, if ``folder`` holds one; a damaged file counts as none."""
    import torch

    if folder == _NOWHERE:
        return False
    run = keys.key(describe)
    try:
        with open(_file(folder, run), "rb") as file, np.load(file, allow_pickle=False) as stored:
            plain = json.loads(str(stored["plain"]))
            arrays = {name: torch.from_numpy(stored[name]) for name in stored.files if name != "plain"}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return False
    if plain["run"] != run:
        return False
    with torch.no_grad():
        for name, w in weights.items():
            w.copy_(arrays[f"weights/{name}"])
            best[name].copy_(arrays[f"best/{name}"])
            optimiser.state[w] = {
                key: arrays[f"{key}/{name}"].clone().to(w.device)
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"{key}/{name}" in arrays
            }
    state.lowest = arrays["lowest"].to(state.lowest.device)
    state.waiting = arrays["waiting"].to(state.waiting.device)
    state.step, state.seconds, state.history = plain["step"], plain["seconds"], plain["history"]
    return True
