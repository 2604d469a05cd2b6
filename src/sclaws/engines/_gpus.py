"""Which GPU a worker may see: one each, in turn, so that workers share a machine's GPUs and not its first one."""

from __future__ import annotations

import os
import subprocess

_PATIENCE = 30.0  # seconds that a driver may take to wake up


def visible() -> list[str]:
    """Return the names of the GPUs of ``CUDA_VISIBLE_DEVICES`` if that is set, else of those that nvidia-smi lists."""
    if (said := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name.strip() for name in said.split(",") if name.strip()]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=_PATIENCE, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):  # there is no such program, or no driver
        return []
    return [str(number) for number, _ in enumerate(line for line in listed.splitlines() if line.startswith("GPU "))]


def dealt(workers: int) -> list[dict[str, str]]:
    """Return what is to be set in the environment of each worker: nothing without GPUs, nor for one worker alone."""
    names = visible() if workers > 1 else []
    return [{"CUDA_VISIBLE_DEVICES": names[k % len(names)]} if names else {} for k in range(workers)]
