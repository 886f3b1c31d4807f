"""What a target is, and what reading one may give besides Palmist's own objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from palmist.perception.video import Clip
from palmist.recording import Recording

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Target:
    """name; write(folder): an undamaged example; read(folder, out) -> what came out of it; share: of the cases, 1 is usual;
    only: file name endings that are damaged, all if not given; checked: the bytes of tensors and vectors have a checksum of
    ours, so that a change is noticed."""

    name: str
    write: Callable[[Path], object]
    read: Callable[[Path, Path], Any]
    share: float = 1.0
    only: tuple[str, ...] = ("",)
    checked: bool = True


@dataclass
class OpenedStore:
    """What a store gave: recordings, what it said was lost, which recordings it said were changed."""

    recordings: list[Recording]
    report: str | None
    changed: list[str]


@dataclass
class WatchedVideo:
    """Frames of a video, what is said about it, and whether it said that something is wrong."""

    clip: Clip
    size: tuple[int, int]
    sampled: np.ndarray
    whole: bool


@dataclass
class Checked:
    """What came out of reading, what is wrong with it by the target's own checks, and whether a loss was told of."""

    value: Any
    faults: list[str] = field(default_factory=list)
    says_so: bool = False
