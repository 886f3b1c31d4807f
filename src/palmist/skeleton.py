"""Joint names, bones, sides and orders of hands and bodies, and the one mirror that swaps left and right.

Canonical hand: 21 joints, wrist first, then thumb, index, middle, ring and little finger, four joints each from base to
tip (the numbering of MediaPipe Hands and of H2O). Hand 0 is the left hand, hand 1 the right hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from palmist.errors import InputError

if TYPE_CHECKING:
    from palmist.recording import Recording

HANDS = ("left", "right")
FINGERS = ("thumb", "index", "middle", "ring", "little")

JOINT_NAMES: tuple[str, ...] = (
    "wrist",
    "thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip",
    "index_mcp", "index_pip", "index_dip", "index_tip",
    "middle_mcp", "middle_pip", "middle_dip", "middle_tip",
    "ring_mcp", "ring_pip", "ring_dip", "ring_tip",
    "little_mcp", "little_pip", "little_dip", "little_tip",
)  # fmt: skip

#: (parent, child) of the 20 bones; bone i ends at joint i + 1.
BONES: tuple[tuple[int, int], ...] = tuple((0 if child % 4 == 1 else child - 1, child) for child in range(1, 21))

#: Wrist and the four finger knuckles: the joints that move almost rigidly together.
PALM = (0, 5, 9, 13, 17)
FINGERTIPS = (4, 8, 12, 16, 20)

#: Joint names of every body layout that a Recording may carry.
BODY_LAYOUTS: dict[str, tuple[str, ...]] = {
    "mediapipe25": (
        "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer",
        "left_ear", "right_ear", "mouth_left", "mouth_right",
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_little", "right_little", "left_index", "right_index", "left_thumb", "right_thumb",
        "left_hip", "right_hip",
    ),
    "openpose8": (
        "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist", "mid_hip",
    ),
    "kinect25": (  # Kinect v2: NTU RGB+D, PKU-MMD
        "spine_base", "spine_mid", "neck", "head",
        "left_shoulder", "left_elbow", "left_wrist", "left_hand",
        "right_shoulder", "right_elbow", "right_wrist", "right_hand",
        "left_hip", "left_knee", "left_ankle", "left_foot", "right_hip", "right_knee", "right_ankle", "right_foot",
        "spine_shoulder", "left_hand_tip", "left_thumb", "right_hand_tip", "right_thumb",
    ),
    "kinect20": (  # Kinect v1: Northwestern-UCLA
        "hip_centre", "spine", "shoulder_centre", "head",
        "left_shoulder", "left_elbow", "left_wrist", "left_hand",
        "right_shoulder", "right_elbow", "right_wrist", "right_hand",
        "left_hip", "left_knee", "left_ankle", "left_foot", "right_hip", "right_knee", "right_ankle", "right_foot",
    ),
    "coco17": (
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
        "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
        "right_ankle",
    ),
}  # fmt: skip

#: The parent of every joint, in the order of BODY_LAYOUTS; the centre joint is its own parent, all others lead to it.
#: kinect25, kinect20 and coco17 as PySKL and CTR-GCN connect them, mediapipe25 and openpose8 in the same manner.
BODY_PARENTS: dict[str, tuple[int, ...]] = {
    "mediapipe25": (0, 0, 1, 2, 0, 4, 5, 3, 6, 0, 0, 0, 0, 11, 12, 13, 14, 15, 16, 15, 16, 15, 16, 11, 12),
    "openpose8": (0, 0, 1, 2, 0, 4, 5, 0),
    "kinect25": (1, 20, 20, 2, 20, 4, 5, 6, 20, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18, 20, 7, 7, 11, 11),
    "kinect20": (1, 2, 2, 2, 2, 4, 5, 6, 2, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18),
    "coco17": (0, 0, 0, 1, 2, 0, 0, 5, 6, 7, 8, 5, 6, 11, 12, 13, 14),
}


def body_centre(layout: str) -> int:
    """The joint of a body layout that all others hang on: 20 (the spine between the shoulders) of "kinect25"."""
    return next(joint for joint, parent in enumerate(BODY_PARENTS[layout]) if joint == parent)


def _tree_bones(layout: str) -> tuple[tuple[int, int], ...]:
    return tuple((parent, child) for child, parent in enumerate(BODY_PARENTS[layout]) if parent != child)


#: Pairs of body joints to draw as lines.
BODY_BONES: dict[str, tuple[tuple[int, int], ...]] = {
    "mediapipe25": ((11, 12), (11, 13), (13, 15), (12, 14), (14, 16), (11, 23), (12, 24), (23, 24)),
    "openpose8": ((0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (0, 7)),
    **{layout: _tree_bones(layout) for layout in ("kinect25", "kinect20", "coco17")},
}


@dataclass(frozen=True)
class BodySides:
    """Indices of the arm joints of one body layout: each is (left, right)."""

    shoulder: tuple[int, int]
    elbow: tuple[int, int]
    wrist: tuple[int, int]


#: Where each layout keeps its arms: BODY_SIDES["mediapipe25"].shoulder == (11, 12).
BODY_SIDES: dict[str, BodySides] = {
    layout: BodySides(
        shoulder=(names.index("left_shoulder"), names.index("right_shoulder")),
        elbow=(names.index("left_elbow"), names.index("right_elbow")),
        wrist=(names.index("left_wrist"), names.index("right_wrist")),
    )
    for layout, names in BODY_LAYOUTS.items()
}


@dataclass(frozen=True)
class HandConvention:
    """How a source orders hands and joints.

    order: canonical[i] = source[order[i]] for the 21 joints of one hand; hands: sides in the source's order;
    absent: canonical slots that the source never records (filled with a dummy, to be masked out).
    """

    order: tuple[int, ...]
    hands: tuple[str, ...] = HANDS
    absent: tuple[int, ...] = ()

    @property
    def inverse(self) -> tuple[int, ...]:
        """Positions that undo `order`: source[i] = canonical[inverse[i]] (a source slot used twice takes the joint
        that is not a dummy)."""
        slots = {source: slot for slot, source in enumerate(self.order) if slot not in self.absent}
        return tuple(slots.get(i, 0) for i in range(21))


_IDENTITY = tuple(range(21))

#: Joint orders of the sources; the maps are those of the sets' own documentation.
CONVENTIONS: dict[str, HandConvention] = {
    "canonical": HandConvention(_IDENTITY),
    "mediapipe": HandConvention(_IDENTITY),
    "openpose": HandConvention(_IDENTITY),
    "leap": HandConvention(_IDENTITY),
    "h2o": HandConvention(_IDENTITY),
    "assembly101": HandConvention((5, 20, 6, 7, 0, 8, 9, 10, 1, 11, 12, 13, 2, 14, 15, 16, 3, 17, 18, 19, 4), absent=(1,)),
    "assemblyhands": HandConvention(
        (20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16), hands=("right", "left")
    ),
    "fpha": HandConvention((0, 1, 6, 7, 8, 2, 9, 10, 11, 3, 12, 13, 14, 4, 15, 16, 17, 5, 18, 19, 20), hands=("right",)),
}


def convention(name: str) -> HandConvention:
    """The joint convention called `name`; InputError lists the known ones."""
    if name not in CONVENTIONS:
        raise InputError(f"unknown joint convention '{name}'; expected one of {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def to_canonical(joints: np.ndarray, source: str) -> np.ndarray:
    """Reorder joints of a source into the canonical order, left hand first.

    joints: (..., H, 21, C) with H hands in the source's own order, any unit. Returns (..., 2, 21, C) in the same unit;
    a hand that the source never has is 0 (mask it with `convention(source).hands`).

    >>> to_canonical(fpha_joints, "fpha").shape      # (T, 1, 21, 3) -> right hand only
    (T, 2, 21, 3)
    """
    rule = convention(source)
    if joints.ndim < 3 or joints.shape[-2] != 21 or joints.shape[-3] != len(rule.hands):
        raise InputError(
            f"joints of convention '{source}' have shape {joints.shape}; expected (..., {len(rule.hands)}, 21, coordinates)"
        )
    out = np.zeros((*joints.shape[:-3], 2, *joints.shape[-2:]), joints.dtype)
    for position, side in enumerate(rule.hands):
        out[..., HANDS.index(side), :, :] = joints[..., position, list(rule.order), :]
    return out


def from_canonical(joints: np.ndarray, source: str) -> np.ndarray:
    """The inverse of `to_canonical`: (..., 2, 21, C) canonical -> (..., H, 21, C) in the source's order."""
    rule = convention(source)
    hands = [HANDS.index(side) for side in rule.hands]
    return joints[..., hands, :, :][..., list(rule.inverse), :]


# --------------------------------------------------------------------------------------------------------------------
# Left and right. Everything that knows about sides is swapped here and nowhere else.

_SIDE_WORDS = re.compile(r"(?<![A-Za-z])(left|right)(?=(?:wards?|most)?(?![A-Za-z]))", re.IGNORECASE)


@overload
def mirror_words(text: str) -> str: ...
@overload
def mirror_words(text: str | None) -> str | None: ...
def mirror_words(text: str | None) -> str | None:
    """Swap the words left and right in a text: "turn left" -> "turn right", "leftwards" -> "rightwards"; case is kept, "bright"
    is left alone."""
    if text is None:
        return None

    def swap(match: re.Match[str]) -> str:
        word = match.group(0)
        other = "right" if word.lower() == "left" else "left"
        return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other

    return _SIDE_WORDS.sub(swap, text)


def mirror_body_order(layout: str) -> tuple[int, ...]:
    """Permutation of a body layout that exchanges the left and right joints."""
    names = BODY_LAYOUTS[layout]
    exchange = {"left": "right", "right": "left"}
    return tuple(names.index("_".join(exchange.get(part, part) for part in name.split("_"))) for name in names)


def _mirror_axis(space: str, camera: Mapping[str, Any] | None) -> float:
    """x' = offset - x: the image is mirrored in its own middle where that is known, a metric scene in x = 0."""
    if space == "image":
        return 1.0
    if space == "planar" and camera is not None and "width" in camera:
        return float(camera["width"])
    return 0.0


def _mirror_camera(camera: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The camera that would see the mirrored scene: principal point reflected, pose conjugated with the x flip."""
    if camera is None:
        return None
    out = dict(camera)
    if "intrinsics" in out and "width" in out:
        fx, fy, cx, cy = out["intrinsics"]
        out["intrinsics"] = (fx, fy, float(out["width"]) - cx, cy)
    if "pose" in out:
        flip = np.diag([-1.0, 1.0, 1.0, 1.0])
        out["pose"] = flip @ np.asarray(out["pose"]) @ flip
    return out


def mirror(recording: Recording) -> Recording:
    """The recording as a mirror would show it: left becomes right everywhere at once.

    Coordinates (x' = 1 - x in "image" space, width - x in "planar" space when the camera records its width, else -x),
    the two hands with validity, confidence and interpolation marks, the body's sides, the camera, and the words "left"
    and "right" in labels, verbs, nouns and object names. Unknown entries stay 0. Mirroring twice gives the recording
    back (to rounding); `provenance["mirrored"]` is set on a mirrored recording.

    >>> mirror(recording).segments[0].label
    'push right to left'
    """
    offset = _mirror_axis(recording.space, recording.camera)

    def reflect(points: np.ndarray, present: np.ndarray) -> np.ndarray:
        reflected = points.copy()
        reflected[..., 0] = np.where(present, np.float32(offset) - points[..., 0], np.float32(0))
        return reflected

    def swap_hands(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else np.ascontiguousarray(array[:, ::-1])

    body = recording.body
    if body is not None:
        order = list(mirror_body_order(body.layout))
        confidence = None if body.confidence is None else body.confidence[:, order]
        joints = reflect(body.joints, body.valid)[:, order]
        body = replace(body, joints=joints, valid=body.valid[:, order], confidence=confidence)
    provenance = dict(recording.provenance)
    if not provenance.pop("mirrored", False):
        provenance["mirrored"] = True
    return recording.replace(
        joints=swap_hands(reflect(recording.joints, recording.present)),
        valid=swap_hands(recording.valid),
        confidence=swap_hands(recording.confidence),
        interpolated=swap_hands(recording.interpolated),
        body=body,
        camera=_mirror_camera(recording.camera),
        objects=None if recording.objects is None else tuple(mirror_words(name) for name in recording.objects),
        segments=tuple(
            replace(s, label=mirror_words(s.label), verb=mirror_words(s.verb), noun=mirror_words(s.noun))
            for s in recording.segments
        ),
        provenance=provenance,
    )
