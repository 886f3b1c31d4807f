"""Every entry point of Palmist that takes a user's file: how to write a small whole example, how to read it, what must hold.

`TARGETS[name]` has `write(folder)`, which makes an undamaged example, and `read(folder, out)`, which reads it as a user's
command would and returns what came out; only files below `out` may be written. `verdict.faults(value)` says what is wrong with
something that was accepted.
"""

from __future__ import annotations

from fuzzing.targets import narrated, recorded, sets, trained, video_files, weights
from fuzzing.targets.target import Target

__all__ = ["TARGETS"]

_ROOMS = (sets, recorded, narrated, trained, weights, video_files)
TARGETS: dict[str, Target] = {target.name: target for room in _ROOMS for target in room.TARGETS}
