"""reach_to_grasp: eight people reach for cubes of three sizes, 2D joints in pixels at about 30 Hz (MIT, Roboskel).

Space "planar": x, y in pixels of the pose tracker's image, z unknown (0). A joint that the tracker did not find (0, 0
or confidence 0) is unknown. A hand counts as valid when its wrist and at least three of its five palm joints are known.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from palmist.files.input_files import damage_named
from palmist.files.npz import load_arrays, scaled
from palmist.recording import ActionSegment, Body, Recording
from palmist.skeleton import PALM

SOURCE = "github.com/nsoul97/object_size_prediction@976a3461396fb3ec1b13e07678d0c5ef068b2718"
#: Palm joints (of 5, wrist included) that have to be known before a hand counts as seen.
FEWEST_PALM_JOINTS = 3


def read_reach_to_grasp(root: Path) -> Iterator[Recording]:
    """The 715 recordings of reach_to_grasp.npz.

    One segment spans each recording, labelled "grasp small|medium|large" (verb "grasp", noun "small cube"). The phase
    from the onset of the reach to the grasp is provenance["reach_phase"] = [start, end] in seconds.
    """
    path = root / "reach_to_grasp.npz"
    with damage_named(path, "the reach_to_grasp file of Palmist's data"):
        yield from _read(path)


def _read(path: Path) -> Iterator[Recording]:
    data = load_arrays(path)
    names = [str(name) for name in data["joint_names"]]
    left, right = names.index("LPalmBase"), names.index("RPalmBase")
    pixels = scaled(data["xy"], data["scale"])
    confidence = np.minimum(scaled(data["conf"], data["conf_scale"]), np.float32(1.0))
    confidence[(data["xy"] == 0).all(-1)] = 0
    points = np.zeros((*pixels.shape[:2], 3), np.float32)
    points[..., :2] = np.where(confidence[..., None] > 0, pixels, 0)
    hands = np.stack([points[:, left : left + 21], points[:, right : right + 21]], axis=1)
    hand_confidence = np.stack([confidence[:, left : left + 21], confidence[:, right : right + 21]], axis=1)
    found = hand_confidence > 0
    valid = found[:, :, 0] & (found[:, :, list(PALM)].sum(-1) >= FEWEST_PALM_JOINTS)
    hands[~valid] = 0
    body, body_valid = points[:, :8].copy(), confidence[:, :8] > 0
    for array in (hands, hand_confidence, valid, body, body_valid):
        array.flags.writeable = False

    for i in range(len(data["offsets"]) - 1):
        frames = slice(int(data["offsets"][i]), int(data["offsets"][i + 1]))
        time = data["time"][frames].astype(np.float64)
        kept = _increasing_prefix(time)
        provenance: dict[str, object] = {
            "trial": int(data["trial"][i]),
            "reach_phase": [float(second) for second in data["rtg_onset_end"][i]],
            "rate": "every second frame of a 60 Hz source",
            "hand_valid": f"wrist and at least {FEWEST_PALM_JOINTS} of 5 palm joints found",
        }
        if kept < len(time):
            provenance["dropped_frames"] = (
                f"last {len(time) - kept} of {len(time)}: the source's clock jumps to {time[kept]:.6g} s there"
            )
            frames, time = slice(frames.start, frames.start + kept), time[:kept]
        size = str(data["classes"][data["label"][i]])
        person = int(data["subject"][i])
        time.flags.writeable = False
        end = float(time[-1] + np.median(np.diff(time)))
        yield Recording(
            joints=hands[frames],
            valid=valid[frames],
            time=time,
            space="planar",
            name=f"reach_to_grasp/p{person}/{size}/t{int(data['trial'][i]):02d}",
            frame="image",
            confidence=hand_confidence[frames],
            body=Body(body[frames], body_valid[frames], "openpose8"),
            segments=(ActionSegment(float(time[0]), end, f"grasp {size}", verb="grasp", noun=f"{size} cube"),),
            subject=f"P{person}",
            source=SOURCE,
            provenance=provenance,
        )


def _increasing_prefix(time: np.ndarray) -> int:
    """How many frames from the start on have an increasing time (one recording's last time stamp is broken)."""
    broken = np.flatnonzero(np.diff(time) <= 0)
    return len(time) if len(broken) == 0 else int(broken[0]) + 1
