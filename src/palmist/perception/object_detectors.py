"""The hand-object detectors that a name can choose.

>>> detector = make_detector("detections", detections="cups.hands.npz")
>>> found = detector.detect(0.0, frame)                 # HandObjects
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from palmist.errors import InputError
from palmist.perception.objects import HandObjectDetector

__all__ = ["DETECTORS", "make_detector"]


def _mediapipe(weights: Path | None, detections: Path | None) -> HandObjectDetector:
    """MediaPipe's hands, contact and active object by motion; `weights` may name its .task file."""
    from palmist.perception.active_objects import MotionHandObjects
    from palmist.perception.mediapipe_tasks import MediaPipeHands

    return MotionHandObjects(MediaPipeHands(weights))


def _detections(weights: Path | None, detections: Path | None) -> HandObjectDetector:
    """100DOH's rows from a file."""
    from palmist.perception.hand_object_files import ReplayedHandObjects

    if detections is None:
        raise InputError("the detector 'detections' needs a file of detections (.npz, .json); give detections=FILE")
    return ReplayedHandObjects(detections)


def _network(weights: Path | None, detections: Path | None) -> HandObjectDetector:
    """100DOH's network with weights of the user."""
    from palmist.perception.doh_network import NetworkHandObjects

    if weights is None:
        raise InputError(
            "the detector 'network' needs 100DOH's weights, which are not shipped; fetch them from the authors of "
            "hand_object_detector and give weights=FILE (.pth or .safetensors)"
        )
    return NetworkHandObjects(weights)


#: What `make_detector` can make, by name.
DETECTORS: dict[str, Callable[[Path | None, Path | None], HandObjectDetector]] = {
    "mediapipe": _mediapipe,
    "detections": _detections,
    "network": _network,
}
#: Which file each one may be given.
_TAKES = {"mediapipe": "weights", "detections": "detections", "network": "weights"}


def make_detector(name: str, weights: str | Path | None = None, detections: str | Path | None = None) -> HandObjectDetector:
    """A new detector for one video.

    Args:
        name: "mediapipe" (no weights needed beyond MediaPipe's own, see `palmist fetch hands`), "detections" or "network".
        weights: of the network, or MediaPipe's .task file. detections: a file, see hand_object_files.py.

    Raises:
        MissingExtraError: MediaPipe is not installed.
        InputError: an unknown name; a file that is missing, not needed, or not what was expected.
    """
    if name not in DETECTORS:
        raise InputError(f"there is no detector '{name}'; expected one of {', '.join(DETECTORS)}")
    given = {"weights": weights, "detections": detections}
    for what, path in given.items():
        if path is not None and what != _TAKES[name]:
            raise InputError(f"the detector '{name}' takes no {what}; leave {path} out")
    return DETECTORS[name](None if weights is None else Path(weights), None if detections is None else Path(detections))
