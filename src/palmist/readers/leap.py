"""leap_recordings: 14 takes of a Leap Motion controller, metric 3D, 60 to 115 Hz (Apache-2.0, leapmotion).

Joint 0 is the palm centre, not the wrist. The frame is the device's: x right, y up from the sensor, z towards the user.
The thumb's four joints run from the base of its first moving bone (the anatomical CMC) to the tip: no slot is absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from palmist.errors import InputError
from palmist.files.input_files import damage_named
from palmist.files.npz import load_arrays
from palmist.recording import Recording

SOURCE = "github.com/leapmotion/leapjs-playback@4ff4b5b3730fcf3c99e14129b76d65cac8ce2651"


def read_leap(root: Path) -> Iterator[Recording]:
    """The 14 takes of leap_recordings.npz, millimetres turned into metres, times as recorded (irregular)."""
    path = root / "leap_recordings.npz"
    with damage_named(path, "the leap_recordings file of Palmist's data"):
        yield from _read(path)


def _read(path: Path) -> Iterator[Recording]:
    data = load_arrays(path)
    takes = [key.removesuffix("__joints") for key in data if key.endswith("__joints")]
    if not takes:
        raise InputError(f"{path} holds no array named TAKE__joints; expected the leap_recordings file")
    for take in takes:
        time = data[f"{take}__time"].astype(np.float64)
        provenance: dict[str, object] = {"unit": "millimetres in the source, metres here"}
        kept = np.concatenate([[True], time[1:] > np.maximum.accumulate(time)[:-1]])
        if not kept.all():
            provenance["dropped_frames"] = f"{int((~kept).sum())} of {len(time)}: time did not increase"
        joints = data[f"{take}__joints"][kept].astype(np.float32) * np.float32(1e-3)
        yield Recording(
            joints=joints,
            valid=data[f"{take}__valid"][kept],
            time=time[kept],
            space="metric",
            name=f"leap_recordings/{take}",
            frame="device",
            root="palm_centre",
            session=take,
            source=SOURCE,
            provenance=provenance,
        )
