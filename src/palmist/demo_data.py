"""The recordings that the package carries for the demo and the examples."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from palmist.recording import Recording
from palmist.recording_file import read_recording
from palmist.store import Store

__all__ = ["demo_recordings", "demo_video"]

VIDEO_SECONDS = 5.0


def demo_recordings() -> list[Recording]:
    """Five signed words of signer S2 and one reach of person P1, whom the shipped model has never seen.

    Their licences lie beside them in the package (assets/demo).

    Example:
        >>> demo_recordings()[0].segments[0].label
        'coffee'
    """
    return list(Store.open(Path(str(files("palmist"))) / "assets" / "demo"))


def demo_video() -> tuple[Path, Recording]:
    """A real video of a right hand, and its hands as MediaPipe tracked them in the first seconds, space "image".

    The clip is MIT licensed (assets/demo_video); the tracks lie beside it, so that no hand tracker is needed.
    """
    folder = Path(str(files("palmist"))) / "assets" / "demo_video"
    recording = read_recording(folder / "hand_video_tracked.npz")
    return folder / "hand_video.mp4", recording.slice(0, int((recording.time < VIDEO_SECONDS).sum()))
