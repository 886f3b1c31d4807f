"""Rendered recordings: pixels, truth, folders and the command."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from conftest import smooth_hands, tiny_recording
from palmist.cli import app
from palmist.errors import InputError
from palmist.readers import open_data
from palmist.recording import ActionSegment, Recording
from palmist.recording_file import write_recording
from palmist.render import (
    HELD_THINGS,
    RenderSettings,
    hand_of_code,
    is_held,
    read_rendered,
    read_truth,
    render_clip,
    render_folder,
)
from palmist.render import clip as clip_module
from palmist.render import folder as folder_module
from palmist.render.appearance import draw_look
from palmist.render.settings import random_stream
from palmist.skeleton import mirror

ROOT = Path(__file__).resolve().parents[3]
STILL = RenderSettings(size=96, background="static", camera_motion=0.0, tracks=300)
runner = CliRunner()


@pytest.fixture(scope="module")
def signed() -> Recording:
    """A two-handed word with both hands in every frame."""
    return next(r for r in open_data("asl_words")[1000:] if r.valid.all())


def hand_pixels(clip, frame: int, hand: int) -> np.ndarray:
    return hand_of_code(clip.parts[frame]) == hand


# ------------------------------------------------------------------------------------------------------------- pixels


def test_the_same_seed_gives_the_same_pixels_and_another_seed_others(signed: Recording) -> None:
    settings = RenderSettings(size=64)
    one, same, other = (render_clip(signed, settings, seed) for seed in (3, 3, 4))
    assert one.frames.shape == (20, 64, 64, 3)
    assert one.frames.dtype == np.uint8
    assert np.array_equal(one.frames, same.frames)
    assert np.array_equal(one.truth.tracks, same.truth.tracks)
    assert np.abs(one.frames.astype(int) - other.frames).mean() > 5


def test_the_label_changes_nothing_that_is_drawn(signed: Recording) -> None:
    other = signed.replace(segments=(ActionSegment(0.0, 1.0, "something else"),))
    one, two = render_clip(signed, STILL, 1), render_clip(other, STILL, 1)
    assert one.truth.label != two.truth.label == "something else"
    assert np.array_equal(one.frames, two.frames)
    assert np.array_equal(one.truth.tracks, two.truth.tracks)


def test_looks_and_backgrounds_tell_nothing_about_the_label() -> None:
    recordings = open_data("asl_words")
    labels = np.array([recording.segments[0].label for recording in recordings])
    looks = [draw_look(random_stream(0, "appearance", recording.name)) for recording in recordings]
    values = {
        "skin": [look.skin[0] for look in looks],
        "sleeve": [look.shirt[1] for look in looks],
        "light": [look.light[0] for look in looks],
        "background": [random_stream(0, "background", r.name).uniform() for r in recordings],
        "camera": [random_stream(0, "camera", r.name).uniform() for r in recordings],
    }
    for what, value in values.items():
        groups = [np.array(value)[labels == label] for label in np.unique(labels)]
        assert stats.kruskal(*groups).pvalue > 1e-3, what


def test_one_subject_can_keep_the_same_looks(signed: Recording) -> None:
    settings = RenderSettings(size=64, appearance="subject", background="plain", camera_motion=0.0)
    other = signed.replace(name="another name")
    body = [render_clip(r, settings, 0) for r in (signed, other)]
    on_person = body[0].parts > 0
    assert np.array_equal(body[0].parts, body[1].parts)
    assert np.median(np.abs(body[0].frames[on_person].astype(int) - body[1].frames[on_person])) == 0
    own = render_clip(other, RenderSettings(size=64, background="plain", camera_motion=0.0), 0)
    assert np.median(np.abs(body[0].frames[on_person].astype(int) - own.frames[on_person])) > 3


@pytest.mark.parametrize("space", ["metric", "planar", "image"])
def test_joints_lie_on_the_drawn_hand(space: str) -> None:
    joints = smooth_hands(12)
    if space == "planar":
        joints = joints * [500, -500, 0] + [160, 200, 0]
    elif space == "image":
        joints = joints * [1, -1, 1] + [0.5, 0.6, -0.5]
    recording = tiny_recording(12, joints=joints, space=space, frame="camera" if space == "metric" else "image")
    clip = render_clip(recording, RenderSettings(size=128, background="plain"), 0)
    truth = clip.truth
    assert truth.visible[:, :, 5:].all()
    whole = np.round(truth.joints).astype(int)
    for hand in range(2):
        codes = clip.parts[np.arange(12)[:, None], whole[:, hand, 1:, 1], whole[:, hand, 1:, 0]]
        assert (hand_of_code(codes) == hand).mean() > 0.99
    assert truth.uncovered[:, :, 8].mean() > 0.9
    without = render_clip(
        recording.replace(valid=np.tile([True, False], (12, 1))), RenderSettings(size=128, background="plain"), 0
    )
    at = clip.frames[np.arange(12)[:, None], whole[:, 1, 5:, 1], whole[:, 1, 5:, 0]].astype(int)
    empty = without.frames[np.arange(12)[:, None], whole[:, 1, 5:, 1], whole[:, 1, 5:, 0]]
    if space == "image":  # the others are framed anew without the second hand
        assert (np.abs(at - empty).sum(-1) > 10).mean() > 0.99


@pytest.mark.parametrize("thing", HELD_THINGS)
def test_a_held_thing_is_drawn_and_named_and_changes_nothing_else(signed: Recording, thing: str) -> None:
    plain = render_clip(signed, STILL, 1)
    clip = render_clip(signed, replace(STILL, held=thing), 1)
    shown = is_held(clip.parts)
    assert shown.any()
    assert not is_held(plain.parts).any()
    assert clip.truth.metadata["held"] == thing
    assert "held" not in plain.truth.metadata
    assert "held" not in plain.truth.metadata["settings"]
    # Beyond the thing and its soft edge (which also shines through between fingers) all is the same, and so is the truth.
    far = np.stack([cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0 for mask in shown])
    assert (clip.frames[far] == plain.frames[far]).all(-1).mean() > 0.998
    assert np.array_equal(clip.parts[~shown], plain.parts[~shown])
    assert np.array_equal(clip.truth.joints, plain.truth.joints)
    assert clip.truth.tracks_visible[0].all()  # points on the thing are followed too


def test_points_on_a_held_thing_move_with_the_hand() -> None:
    recording = tiny_recording(12, joints=smooth_hands(12) * [1, 1, 0] + [0, 0, 0.5], frame="camera")
    settings = RenderSettings(size=128, background="plain", camera_motion=0.0, tracks=600, held="book")
    clip = render_clip(recording.replace(valid=np.tile([True, False], (12, 1))), settings, 0)
    on = is_held(clip.truth.track_parts)
    assert on.sum() > 20
    moved = np.linalg.norm(clip.truth.tracks[-1, on] - clip.truth.tracks[0, on], axis=-1)
    by_hand = float(np.linalg.norm(clip.truth.joints[-1, 0, 9] - clip.truth.joints[0, 0, 9]))
    assert by_hand > 4
    assert float(np.median(moved)) == pytest.approx(by_hand, rel=0.5)
    seen = clip.truth.tracks_visible[:, on]
    assert seen.mean() > 0.7


def test_the_colour_of_a_thing_says_nothing_about_its_name(signed: Recording) -> None:
    colours = []
    for thing in HELD_THINGS:
        clip = render_clip(signed, replace(STILL, held=thing), 5)
        colours.append(clip.frames[is_held(clip.parts)].mean(0))
    assert np.ptp(np.array(colours), axis=0).max() < 60  # the same stream, so the same colour under the same light
    with pytest.raises(InputError, match="spoon"):
        RenderSettings(held="spoon")


def test_a_hand_that_is_not_valid_is_absent(signed: Recording) -> None:
    valid = np.ones((20, 2), bool)
    valid[:, 0] = False
    valid[5:8, 1] = False
    clip = render_clip(signed.replace(valid=valid), STILL, 0)
    seen = hand_of_code(clip.parts)
    assert not (seen == 0).any()
    assert [(seen[t] == 1).any() for t in range(20)] == valid[:, 1].tolist()
    assert not clip.truth.known[:, 0].any()
    assert not clip.truth.boxes[5:8].any()
    on_hand = hand_of_code(clip.truth.track_parts) == 1
    assert on_hand.sum() > 50
    assert not clip.truth.tracks_known[5:8, on_hand].any()
    assert not clip.truth.tracks_visible[5:8, on_hand].any()
    assert clip.truth.tracks_visible[0].all()


def test_an_unknown_finger_is_absent_and_the_others_stay() -> None:
    confidence = np.ones((12, 2, 21), np.float32)
    confidence[:, 1, 5:9] = 0
    settings = RenderSettings(size=128, background="plain", camera_motion=0)
    whole = render_clip(tiny_recording(12), settings, 0)
    clip = render_clip(tiny_recording(12, confidence=confidence, joints=smooth_hands(12)), settings, 0)
    codes = set(np.unique(clip.parts)) - {0}
    index_bones = {1 + 2 * (16 + bone) + face for bone in (3, 4, 5) for face in (0, 1)}
    assert index_bones & set(np.unique(whole.parts))
    assert not codes & index_bones
    assert not clip.truth.known[:, 1, 5:9].any()
    assert clip.truth.known[:, 1, 9:].all()


def test_the_nearer_hand_is_in_front_and_metric_joints_are_projected() -> None:
    joints = smooth_hands(4)
    joints[:, 0] = joints[:, 1] + np.float32([0.01, 0.0, 0.1])  # the left hand right behind the right one
    for nearer, recording in ((1, tiny_recording(4, joints=joints)), (0, tiny_recording(4, joints=joints[:, ::-1].copy()))):
        clip = render_clip(recording, RenderSettings(size=128, camera_motion=0.0), 0)
        assert clip.truth.uncovered[:, nearer, 1:].all()
        assert clip.truth.uncovered[:, 1 - nearer, 9:13].mean() < 0.5
        assert clip.truth.hand_order_known.all()
        how = clip.truth.metadata["projection"]
        seen = recording.joints @ np.array(how["rotation"]).T + how["translation"]
        expected = how["zoom"] * how["distance"] * seen[..., :2] / seen[..., 2:] + how["shift"]
        assert np.abs(clip.truth.joints - expected).max() < 1e-3


def test_palms_and_backs_are_told_apart_by_side() -> None:
    """Fingers up, palm to the camera: the right hand's index finger is on the right of its little finger."""
    joints = np.zeros((3, 2, 21, 3), np.float32)
    hand = smooth_hands(1)[0, 1] - smooth_hands(1)[0, 1, 0]
    joints[:, 1] = hand * [-3, -3, 0] + [0.5, 0.8, 0]  # the thumb side, x = -0.04 in the fixture, comes to the right
    recording = tiny_recording(3, joints=joints, space="image", frame="image", valid=np.tile([False, True], (3, 1)))
    for shown in (recording, mirror(recording)):
        codes = render_clip(shown, RenderSettings(size=96, camera_motion=0), 0).parts
        on_hand = codes[hand_of_code(codes) >= 0]
        assert len(on_hand) > 1000
        assert ((on_hand - 1) % 2 == 0).all()  # face 0, the palm
    turned = recording.replace(joints=np.where(recording.present[..., None], recording.joints * [-1, 1, 1] + [1, 0, 0], 0))
    codes = render_clip(turned, RenderSettings(size=96, camera_motion=0), 0).parts
    assert ((codes[hand_of_code(codes) >= 0] - 1) % 2 == 1).all()


def test_frames_between_recorded_ones_come_from_known_neighbours_only() -> None:
    valid = np.ones((24, 2), bool)
    valid[8:14, 1] = False
    clip = render_clip(tiny_recording(24, valid=valid), RenderSettings(size=64, rate=60.0), 0)
    assert len(clip.frames) == 47
    known = clip.truth.known[:, 1].all(-1)
    assert known[:15].all()
    assert not known[15:28].any()
    assert known[28:].all()
    assert not (hand_of_code(clip.parts[15:28]) == 1).any()


# ------------------------------------------------------------------------------------------------------------- tracks


def test_a_camera_that_only_shifts_moves_every_point_by_exactly_that(monkeypatch: pytest.MonkeyPatch) -> None:
    shift = np.stack([np.linspace(0, 7.25, 10), np.linspace(0, -4.5, 10)], -1)
    path = np.concatenate([np.tile(np.eye(2), (10, 1, 1)), shift[..., None]], -1)
    monkeypatch.setattr(clip_module, "camera_path", lambda *_: path)
    joints = np.repeat(smooth_hands(1), 10, 0)
    clip = render_clip(tiny_recording(10, joints=joints), STILL, 0)
    truth = clip.truth
    assert truth.tracks.shape == (10, 300, 2)
    assert truth.tracks_known.all()
    assert len(np.unique(truth.track_parts)) > 10
    assert np.abs(truth.tracks - truth.tracks[:1] - shift[:, None]).max() < 1e-4
    assert np.abs(truth.joints - truth.joints[:1] - shift[:, None, None]).max() < 1e-4
    # Where the shift is whole pixels, the picture itself is the shifted picture.
    path[1, :, 2] = (3, -2)
    moved = render_clip(tiny_recording(10, joints=joints), STILL, 0).frames[:2].astype(int)
    assert np.abs(moved[1, 10:-10, 10:-10] - moved[0, 12:-8, 7:-13]).max() <= 1


def test_the_picture_sticks_to_the_tracks() -> None:
    """Colours under the visible tracks stay, on hands and on a moving background, as with no other pairing of points."""
    settings = RenderSettings(size=224, background="moving", camera_motion=1.0, texture=2.0, framing="hands", tracks=2000)
    recording = next(r for r in open_data("asl_words")[1500:] if r.valid.all())
    clip = render_clip(recording, settings, 2)
    truth = clip.truth
    hands = hand_of_code(truth.track_parts) >= 0
    generator = np.random.default_rng(0)
    for group in (hands, truth.track_parts == 0):
        for frame in (2, 4):
            seen = np.flatnonzero(group & truth.tracks_visible[frame])
            assert len(seen) > 40
            now, then = (colours(clip.frames[t], truth.tracks[t, seen]) for t in (frame, 0))
            kept = np.corrcoef(now, then)[0, 1]
            mixed = np.corrcoef(generator.permutation(now), then)[0, 1]
            assert kept > 0.75, (frame, kept)
            assert abs(mixed) < 0.4


def colours(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Green at points, bilinear."""
    import cv2

    return cv2.remap(frame[..., 1].astype(np.float32), points[:, :1].copy(), points[:, 1:].copy(), cv2.INTER_LINEAR)[:, 0]


def test_a_covered_track_is_not_visible() -> None:
    joints = np.repeat(smooth_hands(1), 2, 0)
    joints[:, 1] = 0.8 * joints[:, 0]  # seen from the camera, the nearer right hand hides the left one
    joints[0, 1] += np.float32([0.2, 0, 0])  # but not in frame 0
    clip = render_clip(tiny_recording(2, joints=joints), RenderSettings(size=128, camera_motion=0, hand_tracks=1.0), 0)
    left = hand_of_code(clip.truth.track_parts) == 0
    assert left.sum() > 100
    assert clip.truth.tracks_visible[0, left].all()
    assert clip.truth.tracks_known[1, left].all()
    assert clip.truth.tracks_visible[1, left].mean() < 0.05


# ------------------------------------------------------------------------------------------------------------ folders


def test_a_folder_is_a_video_data_set(signed: Recording, tmp_path: Path) -> None:
    settings = RenderSettings(size=96)
    index = render_folder([signed], tmp_path / "out", settings, seed=2, source="asl_words")
    assert index["complete"]
    (entry,) = read_rendered(tmp_path / "out")
    clip = render_clip(signed, settings, 2)
    truth = entry.truth()
    assert (entry.label, entry.subject, entry.frames, entry.size) == (clip.truth.label, signed.subject, 20, 96)
    sides = ("test", "train") if signed.subject == "S2" else ("train", "test")
    assert entry.splits == dict(zip(("cross_signer_a", "cross_signer_b"), sides, strict=True))
    assert truth.metadata["licence"] == "MIT"
    assert truth.metadata["source"] == signed.source
    assert truth.metadata["seed"] == 2
    for name in ("joints", "known", "visible", "uncovered", "joints_25d", "depth", "camera", "background_motion", "boxes"):
        assert np.array_equal(getattr(truth, name), getattr(clip.truth, name)), name
    assert np.abs(truth.tracks - clip.truth.tracks).max() <= 1 / 128 + 1e-6
    with av.open(str(entry.video)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        assert float(container.streams.video[0].average_rate) == pytest.approx(20.0)
    assert frames.shape == clip.frames.shape
    assert np.abs(frames.astype(int) - clip.frames).mean() < 6


def test_finished_clips_are_not_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = [tiny_recording(6, seed=i) for i in range(4)]
    settings = RenderSettings(size=64, tracks=20)
    drawn = []
    real = folder_module.write_truth

    def dies_at_the_third(path: Path, truth) -> None:
        drawn.append(path.stem)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        real(path, truth)

    monkeypatch.setattr(folder_module, "write_truth", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        render_folder(recordings, tmp_path, settings)
    assert not json.loads((tmp_path / "index.json").read_text())["complete"]
    index = render_folder(recordings, tmp_path, settings)
    assert drawn == ["tiny_000", "tiny_001", "tiny_002", "tiny_002", "tiny_003"]
    assert [clip["name"] for clip in index["clips"]] == [recording.name for recording in recordings]
    render_folder(recordings, tmp_path, settings)
    assert len(drawn) == 5
    with pytest.raises(InputError, match="was drawn with seed 0, not 1"):
        render_folder(recordings, tmp_path, settings, seed=1)
    with pytest.raises(InputError, match=r"settings \{'size': 64\}, not \{'size': 96\}"):
        render_folder(recordings, tmp_path, RenderSettings(size=96, tracks=20))


def test_a_killed_run_leaves_whole_files_and_goes_on(tmp_path: Path) -> None:
    from palmist.store import write_store

    out, store = tmp_path / "out", tmp_path / "store"
    write_store(store, [tiny_recording(20, seed=i) for i in range(40)])
    command = [sys.executable, "-m", "palmist.cli", "render", str(store), "--out", str(out), "--size", "64"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(out.glob("clips/*.npz"))) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {file: file.stat().st_mtime_ns for file in out.glob("clips/*.npz")}
    assert 3 <= len(kept) < 40
    for file in kept:
        assert len(read_truth(file).time) == 20
        with av.open(str(file.with_suffix(".mp4"))) as container:
            assert sum(1 for _ in container.decode(video=0)) == 20
    result = call("render", store, "--out", out, "--size", 64)
    assert result.exit_code == 0, result.output
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert len(list(read_rendered(out))) == 40
    assert not list(out.rglob("*.part"))


# -------------------------------------------------------------------------------------------------------- the command


def call(*words: str | Path | int):
    return runner.invoke(app, [str(word) for word in words], env={"COLUMNS": "160"})


def test_render_draws_a_recording_in_two_processes(tmp_path: Path) -> None:
    from palmist.store import write_store

    write_store(tmp_path / "store", [tiny_recording(6, seed=i, subject="AB"[i % 2]) for i in range(4)])
    out = tmp_path / "out"
    options = ("--size", 64, "--subjects", "A", "--background", "moving", "--tracks", 10, "--jobs", 2)
    result = call("render", tmp_path / "store", "--out", out, *options, "--json", tmp_path / "said.json")
    assert result.exit_code == 0, result.output
    clips = list(read_rendered(out))
    assert [clip.name for clip in clips] == ["tiny/000", "tiny/002"]
    assert {clip.frames for clip in clips} == {6}
    assert {clip.truth().metadata["background"] for clip in clips} == {"moving"}
    assert json.loads((tmp_path / "said.json").read_text())["clips"] == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "is neither a file or folder nor an open set"),
        (["asl_words", "--size", "113"], "expected an even number of pixels"),
        (["asl_words", "--background", "beach"], "expected one of static, moving, plain, mixed"),
        (["asl_words", "--subjects", "S9"], "the subjects are: S1, S2, S3"),
        (["asl_words", "--rate", "-3"], "expected frames per second"),
        (["asl_words", "--camera-motion", "9"], "expected an amount from 0"),
        (["asl_words", "--seed", "-1", "--limit", "1"], "expected a whole number from 0 on"),
        (["asl_words", "--jobs", "0"], "expected a number of processes"),
        (["asl_words", "--framing", "portrait"], "expected one of scene, hands"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(words: list[str], sentence: str, tmp_path: Path) -> None:
    result = call("render", *words, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert sentence in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_render_at_another_rate(tmp_path: Path) -> None:
    source = write_recording(tmp_path / "one.npz", tiny_recording(7))
    result = call("render", source, "--out", tmp_path / "out", "--rate", 15, "--size", 64)
    assert result.exit_code == 0, result.output
    (clip,) = read_rendered(tmp_path / "out")
    assert (clip.frames, clip.rate) == (4, 15.0)
    assert np.allclose(clip.truth().time, np.arange(4) / 15)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    source = write_recording(tmp_path / "one.npz", tiny_recording(4))
    result = call("render", source, "--out", tmp_path)
    assert result.exit_code == 2
    assert "was not made by palmist render" in result.output
    with pytest.raises(InputError, match=r"no index\.json"):
        list(read_rendered(tmp_path))
    with pytest.raises(InputError, match="holds no truth"):
        read_truth(source)


def test_truth_that_is_cut_off_is_refused_in_one_sentence(tmp_path: Path) -> None:
    render_folder([tiny_recording(4)], tmp_path, RenderSettings(size=64, tracks=5))
    (file,) = tmp_path.glob("clips/*.npz")
    whole = file.read_bytes()
    for count in (0, 10, len(whole) // 2, len(whole) - 10):
        file.write_bytes(whole[:count])
        with pytest.raises(InputError):
            read_truth(file)


def test_nothing_known_cannot_be_drawn(tmp_path: Path) -> None:
    empty = tiny_recording(4, valid=np.zeros((4, 2), bool))
    with pytest.raises(InputError, match="expected something to draw"):
        render_clip(empty)
    index = render_folder([empty, tiny_recording(4, seed=1)], tmp_path, RenderSettings(size=64))
    assert sum("left_out" in clip for clip in index["clips"]) == 1
    assert len(list(read_rendered(tmp_path))) == 1


def test_palmist_itself_does_not_import_the_drawing() -> None:
    code = "import sys, palmist, palmist.cli; sys.exit(bool({'cv2', 'av'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_page_states_limits_and_its_commands_exist() -> None:
    text = (ROOT / "docs/rendered-data.md").read_text(encoding="utf-8")
    assert "## Limits" in text
    for limit in ("photorealism", "capsule", "shadow", "2.5D"):
        assert limit in text.split("## Limits")[1], limit
    known = set(re.findall(r"--[a-z-]+", call("render", "--help").output))
    used = set(re.findall(r"--[a-z-]+", " ".join(re.findall(r"```sh\n(.*?)```", text, flags=re.S))))
    assert used
    assert used <= known
