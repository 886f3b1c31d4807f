"""Measurements that are kept under runs/benchmark/measured, so that a section can go on where it was cut off."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from palmist.benchmark import plan

__all__ = ["measured"]


def measured(
    name: str, checkpoints: Sequence[str | Path], files: Sequence[str | Path], measure: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """What was measured of these checkpoints before, or measured now and kept.

    Kept by the content of `files` (the code that measures) and of the checkpoints: delete the folder after a change of a
    network's code.
    """
    code = hashlib.sha256()
    for file in (*(Path(file) for file in files), *(Path(c) / "model.safetensors" for c in checkpoints)):
        code.update(file.read_bytes())
    kept = plan.ROOT / "measured" / f"{name}_{code.hexdigest()[:16]}.npz"
    if kept.is_file():
        with np.load(kept, allow_pickle=False) as arrays:
            return {key.replace("|", "/"): arrays[key] for key in arrays.files}
    found = measure()
    kept.parent.mkdir(parents=True, exist_ok=True)
    unfinished = kept.with_suffix(".unfinished.npz")
    np.savez(unfinished, **{key.replace("/", "|"): value for key, value in found.items()})  # type: ignore[arg-type]
    unfinished.replace(kept)
    return found
