"""MediaPipe Tasks as hand and body trackers: an optional package, and a model that `palmist fetch hands` assembles.

Tasks names the person's own side in an image that is not mirrored (MediaPipe's older `solutions` named the opposite one).
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from palmist.errors import InputError, MissingExtraError
from palmist.files.fetch import find_model
from palmist.perception.detection import BodyDetection, HandDetection, check_frame
from palmist.skeleton import BODY_LAYOUTS

_BODY_JOINTS = len(BODY_LAYOUTS["mediapipe25"])
_VISIBLE = 0.5
_LIBRARIES = "; on Debian and Ubuntu: apt-get install libegl1 libgles2"


class _Landmarker:
    """What hands and body share: loading, a clock that MediaPipe accepts, silence, mirrored frames."""

    def __init__(self, kind: str, model: Path, mirrored: bool, options: Mapping[str, Any]) -> None:
        self._mirrored = mirrored
        self._model = model
        self._clock = -1  # milliseconds
        self._spoken = False
        with _silence():
            self._mediapipe, vision, base_options = _load_mediapipe()
            try:
                settings = getattr(vision, f"{kind}Options")(
                    base_options=base_options(model_asset_path=str(model)),
                    running_mode=vision.RunningMode.VIDEO,
                    **options,
                )
                self._landmarker = getattr(vision, kind).create_from_options(settings)
            except Exception as error:  # MediaPipe raises RuntimeError, ValueError and OSError
                reason = " ".join(str(error).split())[:200]
                if ".so" in reason:  # its own library is loaded here
                    raise InputError(f"mediapipe cannot be loaded ({reason}){_LIBRARIES}") from error
                raise InputError(f"MediaPipe cannot open {model} ({reason}); expected a .task file of its {kind}") from error

    def find(self, time: float, frame: np.ndarray) -> Any:
        """MediaPipe's own result for a frame; times must not go back by a millisecond or more."""
        check_frame(frame)
        if not math.isfinite(time):
            raise InputError(f"a frame has the time {time}; expected seconds")
        # Whole, increasing milliseconds; a video may start before 0.
        self._clock = max(self._clock + 1, round(time * 1000))
        pixels = cv2.flip(frame, 1) if self._mirrored else np.ascontiguousarray(frame)
        image = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=pixels)
        if self._spoken:
            return self._landmarker.detect_for_video(image, self._clock)
        with _silence():
            return self._landmarker.detect_for_video(image, self._clock)

    def facts(self, tracker: str) -> dict[str, Any]:
        return {
            "tracker": tracker, "version": str(getattr(self._mediapipe, "__version__", "unknown")),
            "model": self._model.name, "mirrored": self._mirrored,
        }  # fmt: skip

    def heard(self) -> None:
        """The first landmarks are out: MediaPipe has nothing more to say on stderr."""
        self._spoken = True

    def close(self) -> None:
        if self._landmarker is not None:
            with _silence():
                self._landmarker.close()
            self._landmarker = None


class MediaPipeHands:
    """Hands by MediaPipe's HandLandmarker in VIDEO mode (a HandTracker). One object per video; close it, or use `with`.

    Args:
        model: a .task file; None: $PALMIST_HAND_MODEL, or the one that `palmist fetch hands` stored.
        mirrored: the images are mirrored, as selfie cameras show them; they are turned round first, so that sides and
            landmarks are those of the scene itself (draw them on the turned image).
        hands: how many hands to look for. Two are a person's; more cost time.
        detection, presence, tracking: MediaPipe's three thresholds, 0 to 1.

    Raises:
        MissingExtraError: the package mediapipe is not installed.
        InputError: the model is missing or cannot be opened.

    >>> with MediaPipeHands() as tracker:
    ...     recording = track_hands(frames, tracker)
    """

    def __init__(
        self,
        model: str | Path | None = None,
        mirrored: bool = False,
        hands: int = 2,
        detection: float = 0.5,
        presence: float = 0.5,
        tracking: float = 0.5,
    ) -> None:
        self._options = {
            "num_hands": hands,
            "min_hand_detection_confidence": detection,
            "min_hand_presence_confidence": presence,
            "min_tracking_confidence": tracking,
        }
        _require_mediapipe()  # said before the model is looked for
        self._landmarker = _Landmarker("HandLandmarker", find_model("hands", model), mirrored, self._options)

    def detect(self, time: float, frame: np.ndarray) -> Sequence[HandDetection]:
        """The hands of one frame; see HandDetection for units and frames.

        Args:
            time: seconds, increasing from call to call. frame: (H, W, 3) uint8 RGB.
        """
        found = self._landmarker.find(time, frame)
        if found.hand_landmarks:
            self._landmarker.heard()
        return [
            HandDetection(
                side=int(sides[0].category_name == "Right"),
                score=float(sides[0].score),
                image=_coordinates(image),
                world=_coordinates(world),
            )
            for sides, image, world in zip(found.handedness, found.hand_landmarks, found.hand_world_landmarks, strict=True)
        ]

    def describe(self) -> Mapping[str, Any]:
        return {**self._landmarker.facts("MediaPipe HandLandmarker"), **self._options}

    def close(self) -> None:
        self._landmarker.close()

    def __enter__(self) -> MediaPipeHands:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class MediaPipeBody:
    """The upper body by MediaPipe's PoseLandmarker in VIDEO mode (a BodyTracker), with a pose_landmarker .task of the user.

    Args and errors as in MediaPipeHands; joints count as visible from a visibility of 0.5 on.
    """

    def __init__(self, model: str | Path, mirrored: bool = False) -> None:
        path = Path(model)
        if not path.is_file():
            raise InputError(f"{path} is not a file; expected a pose_landmarker .task file of MediaPipe")
        _require_mediapipe()
        self._landmarker = _Landmarker("PoseLandmarker", path, mirrored, {"num_poses": 1})

    def detect(self, time: float, frame: np.ndarray) -> BodyDetection | None:
        """The body of one frame or None; time in seconds, frame (H, W, 3) uint8 RGB."""
        found = self._landmarker.find(time, frame)
        if not found.pose_landmarks:
            return None
        self._landmarker.heard()
        points = found.pose_landmarks[0][:_BODY_JOINTS]
        return BodyDetection(_coordinates(points), np.array([(p.visibility or 0.0) >= _VISIBLE for p in points]))

    def describe(self) -> Mapping[str, Any]:
        return self._landmarker.facts("MediaPipe PoseLandmarker")

    def close(self) -> None:
        self._landmarker.close()

    def __enter__(self) -> MediaPipeBody:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _coordinates(points: Sequence[Any]) -> np.ndarray:
    return np.array([(point.x, point.y, point.z) for point in points], np.float32)


def _require_mediapipe() -> None:
    import importlib.util

    if importlib.util.find_spec("mediapipe") is None:
        raise MissingExtraError("hands", "finding hands in images")


def _load_mediapipe() -> tuple[Any, Any, Any]:
    try:
        import mediapipe
        from mediapipe.tasks.python import BaseOptions, vision
    except ModuleNotFoundError as error:
        if error.name == "mediapipe":
            raise MissingExtraError("hands", "finding hands in images") from error
        raise InputError(f"mediapipe needs the package {error.name}; install it with: pip install 'palmist[hands]'") from error
    except (ImportError, OSError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"mediapipe cannot be loaded ({reason}); install it again{_LIBRARIES}") from error
    return mediapipe, vision, BaseOptions


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Send what C++ writes to stderr nowhere; MediaPipe logs before any of its settings are read."""
    if os.environ.get("PALMIST_DEBUG") == "1":
        yield
        return
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # no stderr at all
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
