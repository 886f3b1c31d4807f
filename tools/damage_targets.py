"""Every entry point of Palmist that takes a user's file: how to write a small whole example, how to read it, what must hold.

`TARGETS[name]` has `write(folder)`, which makes an undamaged example, and `read(folder, out)`, which reads it as a user's
command would and returns what came out; only files below `out` may be written. `faults(value)` says what is wrong with
something that was accepted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from palmist.config import TrainConfig, load_config
from palmist.damage import check, repair
from palmist.errors import InputError
from palmist.perception.hand_detections_file import DetectedHands, read_hand_detections
from palmist.perception.points import LucasKanade, PointTracks, load_point_tracks
from palmist.perception.stored_tracks import Queries, stored_tracks
from palmist.perception.video import Clip, Frame, Video, write_video
from palmist.readers import READERS, data_root, h2o_example
from palmist.recording import ActionSegment, Body, Recording
from palmist.recording_file import read_recording, write_recording
from palmist.render.truth import Truth, read_truth, write_truth
from palmist.skeleton import BODY_LAYOUTS
from palmist.skeleton_clip import SkeletonClip, clips_of, read_clip, write_clip
from palmist.store import Store, write_store
from palmist.video_sets import VIDEO_SETS, StoredVideos

ROOT = Path(__file__).resolve().parents[1]
FAR = 1e9  # no pixel, metre or second of a real recording is beyond it


@dataclass(frozen=True)
class Target:
    """name; write(folder): an undamaged example; read(folder, out) -> what came out of it; share: of the cases, 1 is usual;
    only: file name endings that are damaged, none for all; checked: bytes have a checksum, so that a change is noticed."""

    name: str
    write: Callable[[Path], object]
    read: Callable[[Path, Path], Any]
    share: float = 1.0
    only: tuple[str, ...] = ()


def warm_up() -> None:
    """Load all that reading needs, once for all the processes that are forked later."""
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)


# --------------------------------------------------------------------------------------------------------------------
# Examples


def example_recording(frames: int = 24, name: str = "example") -> Recording:
    """Recorded hands with every optional field: gaps, confidences, a body, a moving camera, objects, two actions."""
    from palmist.readers.example_motion import example_hands

    generator = np.random.default_rng(5)
    confidence = generator.uniform(0.1, 1.0, (frames, 2, 21)).astype(np.float32)
    valid = np.ones((frames, 2), bool)
    valid[4:6, 0] = False
    pose = np.repeat(np.eye(4)[None], frames, 0)
    pose[:, :3, 3] = generator.normal(size=(frames, 3))
    body = generator.normal(size=(frames, len(BODY_LAYOUTS["openpose8"]), 3))
    return Recording(
        joints=example_hands(frames, 30.0, 0),
        valid=valid,
        time=np.arange(frames) / 30.0,
        space="metric",
        name=name,
        confidence=confidence,
        body=Body(body, np.ones(body.shape[:2], bool), "openpose8"),
        camera={"intrinsics": (636.0, 636.0, 635.0, 366.0), "width": 1280, "height": 720, "pose": pose},
        objects=tuple("cup" if frame > 5 else "" for frame in range(frames)),
        segments=(ActionSegment(0.0, 0.4, "take cup", verb="take", noun="cup"), ActionSegment(0.4, 0.8, "drink")),
        subject="A",
        session="first",
        split="train",
        source="example",
        provenance={"made": "example", "numbers": [1, 2.5, None]},
    )


def _write_h2o(root: Path) -> None:
    """One of its five cameras: 2,000 files instead of 10,000."""
    with mock.patch.object(h2o_example, "CAMERAS", (4,)):
        h2o_example.write_h2o_example(root)


def _small_open_set(name: str, root: Path) -> None:
    """The first few recordings of an open set, in its own layout."""
    entry = READERS[name]
    root.mkdir(parents=True)
    file = {"asl_words": "asl_words", "asl_letters": "asl_letters"}.get(name, name)
    with np.load(data_root() / str(entry.folder) / f"{file}.npz", allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    if name == "leap_recordings":
        take = next(key for key in arrays if key.endswith("__joints")).removesuffix("__joints")
        arrays = {key: array[:60] if key.startswith(f"{take}__") else array for key, array in arrays.items() if take in key}
    elif name == "reach_to_grasp":
        count = len(arrays["offsets"]) - 1
        stop = int(arrays["offsets"][3])
        frames = len(arrays["time"])
        arrays = {
            key: a[:stop]
            if a.shape[:1] == (frames,)
            else a[:3]
            if a.shape[:1] == (count,)
            else a[:4]
            if key == "offsets"
            else a
            for key, a in arrays.items()
        }
    else:
        count = len(arrays["label"])
        arrays = {key: array[:4] if array.shape[:1] == (count,) else array for key, array in arrays.items()}
    np.savez_compressed(root / f"{file}.npz", **arrays)


def _moving_square(frames: int = 12) -> np.ndarray:
    images = np.full((frames, 48, 64, 3), 40, np.uint8)
    for number in range(frames):
        images[number, 10:30, 2 + 3 * number : 22 + 3 * number] = (200, 120, 30)
    return images


def _write_mp4(folder: Path) -> None:
    folder.mkdir(parents=True)
    write_video(folder / "hand.mp4", list(_moving_square()), rate=12.0)


def _write_webm(folder: Path) -> None:
    import av

    folder.mkdir(parents=True)
    with av.open(str(folder / "hand.webm"), "w") as container:
        stream = container.add_stream("libvpx", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number, image in enumerate(_moving_square()):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 12)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


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
    images = _moving_square()
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


def _write_checkpoint(folder: Path) -> None:
    """A tiny G-HTT with the settings of the shipped one."""
    import torch

    from palmist.checkpoint import load_checkpoint, save_checkpoint
    from palmist.models.ghtt import GHTT, GHTTConfig

    shipped = load_checkpoint(ROOT / "src/palmist/assets/checkpoints/ghtt-small")
    config = json.loads(json.dumps(shipped.config))
    tiny = {"layers": 1, "width": 16, "heads": 2, "feedforward": 32}
    config["ghtt"]["p"] |= tiny | {"refine_layers": 1}
    config["ghtt"]["a"] |= tiny | {"mid_level_dim": 16}
    torch.manual_seed(0)
    model = GHTT(GHTTConfig.from_dict(config["ghtt"]))
    save_checkpoint(folder / "model", model.state_dict(), config, dict(shipped.statistics), shipped.card)


def _write_configs(folder: Path) -> None:
    for name in ("ghtt/p_small", "emim/directions", "trec/words", "bharnet/bharnet_small"):
        file = ROOT / "configs" / f"{name}.yaml"
        if file.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder / f"{name}.yaml")
    (folder / "mine.yaml").write_text("base: ghtt/p_small.yaml\nseed: 3\nsteps: 10\nmodel: {width: 64}\n")


def _write_state(folder: Path) -> None:
    import torch

    from palmist.train.state import RunState, write_state

    tensors = {"model/a": torch.arange(6.0), "optimizer/0/step": torch.tensor(3.0), "average/0": torch.ones(2, 3)}
    write_state(
        folder / "run", RunState(7, tensors, {"windows": 3, "best": 0.5, "validation": None, "seconds": 1.5, "sums": {}})
    )


def _write_records(folder: Path) -> None:
    folder.mkdir(parents=True)
    records = json.loads((ROOT / "benchmarks/results/speed.json").read_text())[:5]
    (folder / "records.json").write_text(json.dumps(records, indent=1))


# --------------------------------------------------------------------------------------------------------------------
# Reading, as a user's command would


def _read_set(name: str, folder: Path, out: Path) -> list[Recording]:
    return list(READERS[name].read(folder / "root"))


def _read_videos(name: str, folder: Path, out: Path) -> Any:
    listed = VIDEO_SETS[name].read(folder / "root")
    videos = StoredVideos(listed.entries[:3], listed.labels)
    frames = []
    for number in range(len(videos)):
        video = videos.open(number)
        frames.append((video.frames, video.rate, video.read(np.array([0, video.frames // 2, video.frames - 1]))))
    entries = [dataclasses.replace(entry, path=Path(entry.path.name)) for entry in listed.entries]
    return entries, listed.labels, videos.replaced, frames


@dataclass
class OpenedStore:
    """What a store gave: recordings, what it said was lost, which recordings it said were changed."""

    recordings: list[Recording]
    report: str | None
    changed: list[str]


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
    frames = [Frame(image, number / 12) for number, image in enumerate(_moving_square(3))]
    return stored_tracks(kept, LucasKanade(), lambda: frames, Queries(5))


def _read_model(folder: Path, out: Path) -> Any:
    import torch

    from palmist.reader import load

    reader = load(folder / "model")
    with torch.no_grad():
        reading = next(iter(reader.read_all([_plain_recording()], futures=2, horizon=0.2, seed=0)))
    state = {name: tensor.numpy() for name, tensor in reader.model.state_dict().items()}
    return state, reader.taxonomies, reading.label, reading.probability


def _plain_recording() -> Recording:
    return example_recording(20).replace(body=None, confidence=None, camera=None, objects=None)


def _read_configs(folder: Path, out: Path) -> Any:
    files = sorted(folder.rglob("*.yaml"))
    found = [load_config(TrainConfig, file, {"seed": 5}) for file in files]
    if not found:
        raise InputError(f"{folder} holds no configuration")
    return [config.model_dump() for config in found]


def _read_state(folder: Path, out: Path) -> Any:
    from palmist.train.state import read_state

    state = read_state(folder / "run")
    if state is None:
        raise InputError("there is no state")
    return state.step, {name: tensor.numpy() for name, tensor in state.tensors.items()}, state.facts


def _read_records(folder: Path, out: Path) -> Any:
    from palmist.evaluation.benchmark_record import read_records

    return [record.to_json() for record in read_records(folder / "records.json")]


@dataclass
class WatchedVideo:
    """Frames of a video, what is said about it, and whether it said that something is wrong."""

    clip: Clip
    size: tuple[int, int]
    sampled: np.ndarray
    whole: bool


def _read_video(name: str, folder: Path, out: Path) -> WatchedVideo:
    video = Video(folder / name)
    images, times = [], []
    for image, time in video:
        images.append(image)
        times.append(time)
        if len(images) >= 100:
            break
    size = video.info.width, video.info.height
    sampled = video.sample_segments(4)
    return WatchedVideo(Clip(np.array(images), np.array(times)), size, sampled.images, video.report.complete)


def _read_pickle(folder: Path, out: Path) -> Any:
    from palmist.readers.plain_pickle import load_plain_pickle

    return load_plain_pickle(folder / "root/ntu60_3danno.pkl")


def _one(write: Callable[..., object], read: Callable[[Path], Any], file: str) -> tuple[Any, Any]:
    return (lambda folder: write(folder / file, example_recording())), (lambda folder, out: read(folder / file))


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        *(
            Target(
                name,
                (lambda folder, entry=entry: (_write_h2o if entry.name == "h2o" else entry.example)(folder / "root"))
                if entry.example
                else (lambda folder, name=name: _small_open_set(name, folder / "root")),
                partial(_read_set, name),
                {"h2o": 0.2, "assembly101": 0.15, "assemblyhands": 0.4}.get(name, 1.0),
            )
            for name, entry in READERS.items()
        ),
        *(
            Target(name, lambda folder, entry=entry: entry.example(folder / "root"), partial(_read_videos, name), 1.2)
            for name, entry in VIDEO_SETS.items()
        ),
        Target("recording", *_one(write_recording, read_recording, "recording.npz"), 4),
        Target("check_and_repair", _one(write_recording, read_recording, "recording.npz")[0], _check_and_repair),
        Target("store", _write_store, _read_store, 5),
        Target("store_append", _write_store, _read_and_go_on, 0.6),
        Target("skeleton_clip", _write_clip, lambda folder, out: read_clip(folder / "clip.npz"), 2),
        Target("point_tracks", _write_tracks, _read_tracks, 2),
        Target("stored_tracks", _write_tracks, _read_stored_tracks, 0.4),
        Target("hand_detections", _write_detections, lambda folder, out: read_hand_detections(folder / "hands.npz"), 4),
        Target("truth", _write_truth, lambda folder, out: read_truth(folder / "truth.npz")),
        Target("checkpoint", _write_checkpoint, _read_model, 0.6),
        Target("training_state", _write_state, _read_state, 1.5),
        Target("configuration", _write_configs, _read_configs, 1.5),
        Target("benchmark_records", _write_records, _read_records, 1.5),
        Target("video_mp4", _write_mp4, partial(_read_video, "hand.mp4"), 4),
        Target("video_webm", _write_webm, partial(_read_video, "hand.webm"), 3),
        Target("plain_pickle", lambda folder: READERS["pyskl"].example(folder / "root"), _read_pickle, 1.5),
    )
}


# --------------------------------------------------------------------------------------------------------------------
# What came out


def fingerprint(value: Any) -> str:
    """The same for equal values: arrays, dataclasses, mappings, lists, plain values."""
    digest = hashlib.blake2b(digest_size=12)
    _add(digest, value)
    return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype.kind}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value, value.dtype.newbyteorder("=")).tobytes())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        _add(digest, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            digest.update(repr(key).encode("utf-8", "backslashreplace"))
            _add(digest, value[key])
    elif isinstance(value, list | tuple | set | frozenset):
        digest.update(b"(")
        for item in value:
            _add(digest, item)
        digest.update(b")")
    else:
        digest.update(f"{type(value).__name__}{value!r}".encode("utf-8", "backslashreplace"))


def faults(value: Any) -> list[str]:
    """What does not hold of something that was accepted; none if all is well."""
    if isinstance(value, Recording):
        return _recording_faults(value)
    if isinstance(value, OpenedStore):
        return [] if value.changed else [fault for recording in value.recordings for fault in _recording_faults(recording)]
    if isinstance(value, SkeletonClip):
        return _clip_faults(value)
    if isinstance(value, PointTracks):
        return _number_faults("tracks", value.tracks) + _number_faults("time", value.time)
    if isinstance(value, Truth):
        return _truth_faults(value)
    if isinstance(value, DetectedHands):
        return _detection_faults(value)
    if isinstance(value, WatchedVideo):
        return _video_faults(value)
    if isinstance(value, list | tuple):
        return [fault for item in value for fault in faults(item)]
    return []


def _number_faults(what: str, array: np.ndarray) -> list[str]:
    if not np.isfinite(array).all():
        return [f"{what} is not finite"]
    return [f"{what} reaches {np.abs(array).max():.3g}"] if array.size and np.abs(array.astype(np.float64)).max() > FAR else []


def _text_faults(value: Any, names: tuple[str, ...]) -> list[str]:
    found = {name: getattr(value, name) for name in names}
    return [f"{name} is {type(text).__name__}" for name, text in found.items() if not isinstance(text, str | None)]


def _recording_faults(recording: Recording) -> list[str]:
    frames = len(recording.time)
    found = _text_faults(recording, ("name", "space", "frame", "root", "subject", "session", "split", "source"))
    if recording.joints.shape != (frames, 2, 21, 3) or recording.valid.shape != (frames, 2) or not frames:
        found.append(f"shapes {recording.joints.shape}, {recording.valid.shape}, {frames} times")
        return found
    if not np.isfinite(recording.joints).all():
        found.append("joints are not finite")
    if not np.isfinite(recording.time).all() or (np.diff(recording.time) <= 0).any():
        found.append("times do not rise")
    if recording.joints[~recording.present].any():
        found.append("unknown joints are not 0")
    if recording.body is not None:
        body = recording.body
        if body.joints.shape != (frames, len(BODY_LAYOUTS[body.layout]), 3) or not np.isfinite(body.joints).all():
            found.append("the body does not fit or is not finite")
    for segment in recording.segments:
        if not isinstance(segment.label, str) or not segment.start < segment.end:
            found.append(f"segment {segment}")
    if not found and (np.abs(recording.joints).max() > FAR or np.abs(recording.time).max() > FAR) and check(recording).ok:
        found.append("an absurd number is known, and check finds nothing")
    if not found and recording.body is not None and np.abs(recording.body.joints).max() > FAR and check(recording).ok:
        found.append("an absurd number is in the body, and check finds nothing")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            recording.replace()  # every check of a new Recording
        except InputError as error:
            found.append(f"not a Recording: {error}")
    return found


def _clip_faults(clip: SkeletonClip) -> list[str]:
    found = _text_faults(clip, ("name", "space", "label", "subject", "source"))
    found += _number_faults("keypoint", clip.keypoint)
    if not (np.isfinite(clip.fps) and clip.fps > 0):
        found.append(f"fps {clip.fps}")
    clip.replace()
    return found


def _truth_faults(truth: Truth) -> list[str]:
    frames = len(truth.time)
    found = [] if np.isfinite(truth.time).all() and (np.diff(truth.time) > 0).all() else ["times do not rise"]
    points = truth.tracks.shape[1] if truth.tracks.ndim == 3 else -1
    shapes = {
        "joints": (frames, 2, 21, 2), "known": (frames, 2, 21), "visible": (frames, 2, 21), "uncovered": (frames, 2, 21),
        "joints_25d": (frames, 2, 21, 3), "depth": (frames, 2, 21), "hand_order_known": (frames,), "boxes": (frames, 2, 4),
        "camera": (frames, 2, 3), "background_motion": (frames, 2, 3), "tracks": (frames, points, 2),
        "tracks_known": (frames, points), "tracks_visible": (frames, points), "track_parts": (points,),
    }  # fmt: skip
    for name, shape in shapes.items():
        array = getattr(truth, name)
        if array.shape != shape:
            found.append(f"{name} has shape {array.shape}")
        elif array.dtype.kind in "fiu":
            found += _number_faults(name, array)
        elif array.dtype != bool:
            found.append(f"{name} is {array.dtype}")
    return found


def _detection_faults(hands: DetectedHands) -> list[str]:
    found = _number_faults("time", hands.time)
    for one in (hand for frame in hands.hands for hand in frame):
        found += _number_faults("image", one.image)
        found += [] if one.world is None else _number_faults("world", one.world)
    if len(hands.hands) != len(hands.time) or (np.diff(hands.time) <= 0).any():
        found.append("times do not fit the frames")
    return found


def _video_faults(video: WatchedVideo) -> list[str]:
    time = video.clip.time
    found = [] if np.isfinite(time).all() and (np.diff(time) > 0).all() else ["times do not rise"]
    width, height = video.size
    if len(time) and video.clip.images.shape[1:] != (height, width, 3):
        found.append(f"frames {video.clip.images.shape} of {video.size}")
    return found if len(time) else [*found, "no frame"]
