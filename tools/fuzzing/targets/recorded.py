"""Palmist's own files of what was seen: recordings, stores, clips, tracks, detections, truth."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing.targets.examples import example_recording, moving_square
from fuzzing.targets.target import OpenedStore, Target
from palmist.damage import check, repair
from palmist.perception.hand_detections_file import read_hand_detections
from palmist.perception.points import LucasKanade, PointTracks, load_point_tracks
from palmist.perception.stored_tracks import Queries, stored_tracks
from palmist.perception.video import Frame
from palmist.recording import ActionSegment, Recording
from palmist.recording_file import read_recording, write_recording
from palmist.render.truth import read_truth, write_truth
from palmist.skeleton_clip import SkeletonClip, clips_of, read_clip, write_clip
from palmist.store import Store, write_store


def _write_store(folder: Path) -> None:
    whole = example_recording()
    write_store(folder / "store", [whole, whole.slice(0, 9).replace(name="short", body=None, camera=None), _body_only()])


def _body_only() -> Recording:
    joints = np.random.default_rng(0).normal(size=(10, 25, 3))
    return SkeletonClip(joints[None], np.ones((1, 10, 25), bool), "kinect25", 30.0, "bodies", label="wave").to_recording()


def _write_detections(folder: Path) -> None:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    frame = np.repeat(np.arange(10), 2)
    solid = 0.05 * generator.normal(size=(20, 21, 3))
    np.savez(
        folder / "hands.npz", frame=frame, side=np.tile([0, 1], 10), score=np.full(20, 0.9), keypoints_3d=solid,
        camera_translation=np.tile([0.0, 0.0, 0.7], (20, 1)), keypoints_2d=generator.uniform(50, 400, (20, 21, 2)),
        width=640, height=480, focal=500.0, time=np.arange(10) / 25.0, joint_order="mediapipe", source="example",
    )  # fmt: skip


def _tracks() -> PointTracks:
    images = moving_square()
    frames = [Frame(image, number / 12) for number, image in enumerate(images)]
    return LucasKanade()(frames, np.array([[12.0, 15.0], [20.0, 28.0], [50.0, 40.0]], np.float32))


def _write_tracks(folder: Path) -> None:
    folder.mkdir(parents=True)
    _tracks().save(folder / "tracks.npz")


def _write_truth(folder: Path) -> None:
    from palmist.render import RenderSettings, render_clip

    folder.mkdir(parents=True)
    clip = render_clip(example_recording(8), RenderSettings(48, tracks=20), 0)
    write_truth(folder / "truth.npz", clip.truth)


def _write_clip(folder: Path) -> None:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    clip = SkeletonClip(
        generator.normal(size=(2, 12, 25, 3)), np.ones((2, 12, 25), bool), "kinect25", 30.0, "clip", label="wave",
        label_number=3, score=np.full((2, 12, 25), 0.5), segments=(ActionSegment(0.0, 0.2, "wave"),), splits={"xsub": "train"},
    )  # fmt: skip
    write_clip(folder / "clip.npz", clip)


def _read_store(folder: Path, out: Path) -> OpenedStore:
    store = Store.open(folder / "store")
    found = OpenedStore(list(store), None if store.report is None else "something was lost", store.verify())
    list(clips_of(recording for recording in found.recordings if recording.body is not None))
    return found


def _read_and_go_on(folder: Path, out: Path) -> OpenedStore:
    """Append to a copy of the store, as the next run of a command does."""
    copy = out / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for file in (folder / "store").iterdir():
        if file.is_file():
            shutil.copyfile(file, copy / file.name)
        elif file.is_dir():
            (copy / file.name).mkdir()
    store = Store.open(copy)
    lost = None if store.report is None else "something was lost"
    with store:
        if "appended" not in store.names:
            store.append(example_recording(5, "appended"))
    again = Store.open(copy)
    if again.report is not None:
        raise AssertionError(f"a store that was appended to is not whole: {again.report}")
    return OpenedStore(list(again), lost, again.verify())


def _check_and_repair(folder: Path, out: Path) -> Recording:
    file = folder / "recording.npz"
    json.dumps(check(file).to_json(), allow_nan=False)
    mended = repair(file)
    return read_recording(write_recording(out / "mended", mended))


def _read_tracks(folder: Path, out: Path) -> PointTracks:
    return load_point_tracks(folder / "tracks.npz")


def _read_stored_tracks(folder: Path, out: Path) -> PointTracks:
    """Kept tracks that do not fit are made anew; the copy may be written to."""
    kept = out / "tracks.npz"
    kept.unlink(missing_ok=True)
    if (folder / "tracks.npz").is_file():
        shutil.copyfile(folder / "tracks.npz", kept)
    frames = [Frame(image, number / 12) for number, image in enumerate(moving_square(3))]
    return stored_tracks(kept, LucasKanade(), lambda: frames, Queries(5))


def _one(write: Callable[..., object], read: Callable[[Path], Any], file: str) -> tuple[Any, Any]:
    return (lambda folder: write(folder / file, example_recording())), (lambda folder, out: read(folder / file))


TARGETS = (
    Target("recording", *_one(write_recording, read_recording, "recording.npz"), 2.5),
    Target("check_and_repair", _one(write_recording, read_recording, "recording.npz")[0], _check_and_repair),
    Target("store", _write_store, _read_store, 2.5),
    Target("store_append", _write_store, _read_and_go_on),
    Target("skeleton_clip", _write_clip, lambda folder, out: read_clip(folder / "clip.npz"), 1.2),
    Target("point_tracks", _write_tracks, _read_tracks, 1.2),
    Target("stored_tracks", _write_tracks, _read_stored_tracks),
    Target("hand_detections", _write_detections, lambda folder, out: read_hand_detections(folder / "hands.npz"), 2),
    Target("truth", _write_truth, lambda folder, out: read_truth(folder / "truth.npz")),
)
