"""The image estimator as a hand tracker, and detections of another program played back to their video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import palmist
from palmist.checkpoint import save_checkpoint
from palmist.cli import app
from palmist.cli.video import HandOptions
from palmist.errors import InputError
from palmist.models.ghtt_image import FOCAL, Estimate, ImageEstimator, ImageEstimatorConfig, encode_25d
from palmist.perception.hand_detections_file import ReplayedHands
from palmist.perception.hands import HandFrame, metric_recording, track_hands
from palmist.perception.image_estimator import EstimatorHands, as_input, letterbox
from palmist.perception.video import write_video
from palmist.render import RenderSettings, render_clip

CONFIG = ImageEstimatorConfig(base_width=4, width=16, input_width=64, input_height=36, label_dim=8)
runner = CliRunner()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    from dataclasses import asdict

    torch.manual_seed(0)
    model = ImageEstimator(CONFIG)
    state = {f"i.{name}": value for name, value in model.state_dict().items()}
    return save_checkpoint(tmp_path / "e_i", state, {"model": "image_estimator", "image_estimator": asdict(CONFIG)})


class Knowing(nn.Module):
    """Says the same of every picture: joints (2, 21, 3) of the normalised camera and how likely each hand is."""

    def __init__(self, joints: np.ndarray, likely: tuple[float, float]) -> None:
        super().__init__()
        self.config = CONFIG
        self.codes = encode_25d(torch.from_numpy(joints.astype(np.float32)))[None]
        self.likely = torch.logit(torch.tensor([likely]))
        self.seen: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> Estimate:
        self.seen.append(images)
        return Estimate(self.codes, self.likely, torch.zeros(1, 32))


def knowing(checkpoint: Path, joints: np.ndarray, likely: tuple[float, float], **options: bool) -> EstimatorHands:
    tracker = EstimatorHands(checkpoint, **options)
    tracker._model = Knowing(joints, likely)  # type: ignore[assignment]
    return tracker


def some_joints() -> np.ndarray:
    generator = np.random.default_rng(0)
    return np.array([[[-0.1, 0.02, 0.5]], [[0.12, -0.03, 0.45]]]) + generator.uniform(-0.05, 0.05, (2, 21, 3))


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (320, 180), (101, 33), (20, 20), (1, 1)])
def test_a_place_of_the_frame_is_found_in_the_letterbox(size: tuple[int, int]) -> None:
    width, height = size
    frame = np.full((height, width, 3), 60, np.uint8)
    frame[height // 2 :, width // 2 :] = 200
    picture, factor, shift = letterbox(frame, 240, 135)
    assert picture.shape == (135, 240, 3)
    corner = (factor * (width // 2, height // 2) + shift) / 2  # where the bright quarter begins, in pixels of the picture
    bright = np.argwhere(picture[..., 0] > 130)
    np.testing.assert_allclose(bright.min(0)[::-1], corner, atol=1.6)
    covered = np.argwhere(picture[..., 0] > 0)
    np.testing.assert_allclose((covered.max(0) + 1 - covered.min(0))[::-1] * 2, factor * size, atol=1e-6)
    assert max(factor * size / (480, 270)) == pytest.approx(1)


def test_input_is_rgb_about_zero() -> None:
    pictures = np.zeros((2, 3, 4, 3), np.uint8)
    pictures[1, 2, 3] = (255, 0, 51)
    images = as_input(pictures)
    assert images.shape == (2, 3, 3, 4)
    torch.testing.assert_close(images[1, :, 2, 3], torch.tensor([0.5, -0.5, -0.3]))


@pytest.mark.parametrize("size", [(480, 270), (640, 480), (270, 480)])
def test_detections_are_where_the_normalised_camera_saw_them(checkpoint: Path, size: tuple[int, int]) -> None:
    joints = some_joints()
    found = knowing(checkpoint, joints, (0.9, 0.7)).detect(0.0, np.zeros((size[1], size[0], 3), np.uint8))
    assert [hand.side for hand in found] == [0, 1]
    assert found[0].score == pytest.approx(0.9, abs=1e-5)
    _, factor, shift = letterbox(np.zeros((size[1], size[0], 3), np.uint8), 64, 36)
    for hand, true in zip(found, joints, strict=True):
        canvas = FOCAL * true[:, :2] / true[:, 2:] + (240, 135)
        np.testing.assert_allclose(hand.image[:, :2], (canvas - shift) / factor / size, atol=1e-5)
        assert hand.world is not None
        np.testing.assert_allclose(hand.world - hand.world[0], true - true[0], atol=1e-5)
        # z is the depth from the wrist in image widths, at the hand's own scale
        scale = FOCAL / true[:, 2].mean() / factor.mean() / size[0]
        np.testing.assert_allclose(hand.image[:, 2], (true[:, 2] - true[0, 2]) * scale, atol=1e-5)


def test_with_the_cameras_focal_length_the_metres_come_back(checkpoint: Path) -> None:
    joints = some_joints()
    found = knowing(checkpoint, joints, (0.9, 0.9)).detect(0.0, np.zeros((540, 960, 3), np.uint8))
    recording = metric_recording([HandFrame(0.0, tuple(found))], (960, 540), focal=480.0)
    np.testing.assert_allclose(recording.joints[0], joints, atol=3e-3)


def test_unlikely_hands_are_left_out_and_mirrored_frames_turned(checkpoint: Path) -> None:
    frame = np.zeros((36, 64, 3), np.uint8)
    frame[:, :32] = 255
    tracker = knowing(checkpoint, some_joints(), (0.3, 0.8), mirrored=True)
    assert [hand.side for hand in tracker.detect(0.0, frame)] == [1]
    seen = tracker._model.seen[0]  # type: ignore[union-attr]
    assert float(seen[..., :30].max()) == -0.5
    assert float(seen[..., 34:].min()) == 0.5
    assert tracker.describe()["mirrored"] is True
    with pytest.raises(InputError, match="threshold is 2"):
        EstimatorHands(checkpoint, threshold=2)
    with pytest.raises(InputError, match="uint8"):
        tracker.detect(0.0, np.zeros((4, 4, 3)))


def test_a_video_is_tracked_by_the_estimator(checkpoint: Path) -> None:
    frames = [(i / 20, np.zeros((90, 160, 3), np.uint8)) for i in range(12)]
    recording = track_hands(frames, knowing(checkpoint, some_joints(), (0.9, 0.9)))
    assert recording.valid.all()
    assert recording.provenance["tracker"] == "G-HTT image estimator"
    assert recording.aspect == pytest.approx(16 / 9)


# ---------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    images = np.random.default_rng(0).integers(60, 90, (12, 96, 128, 3), np.uint8)
    return write_video(tmp_path / "clip.mp4", images, rate=20.0)


def read(*words: object) -> tuple[int, str]:
    result = runner.invoke(app, ["read", *(str(word) for word in words)])
    return result.exit_code, " ".join(result.output.split())


def test_the_command_names_what_does_not_fit(clip: Path, checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "model.safetensors").write_bytes(b"cut")
    for words, sentence in (
        (("--hands", "runs/nothing"), "no model or checkpoint 'runs/nothing'"),
        (("--hands", "ghtt-small"), "holds a model of kind 'ghtt'"),
        (("--hands", checkpoint), "cut off or damaged"),
        (("--hands", "estimator", "--hand-model", "x.task"), "--hand-model x.task is for MediaPipe"),
        (("--hands", tmp_path / "none.npz"), "none.npz"),
        (("--hands", "x.npz", "--live"), "leave --live out"),
        (("--hands", "x.npz", "--mirrored"), "leave --mirrored out"),
    ):
        code, said = read(clip, *words)
        assert code == 2, said
        assert sentence in said


def test_a_checkpoint_with_strange_settings_is_refused(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "odd", {}, {"model": "image_estimator", "image_estimator": {"depth": 3}})
    with pytest.raises(InputError, match="settings that no image estimator has"):
        EstimatorHands(path)


@pytest.mark.parametrize("live", [False, True])
def test_the_shipped_estimator_reads_a_drawn_word(tmp_path: Path, live: bool) -> None:
    """Of a signer that it never saw, from a file and live."""
    word = next(r for r in palmist.demo_recordings() if r.space == "image" and r.valid[:, 1].all())
    drawn = render_clip(word, RenderSettings(size=224, framing="hands", camera_motion=0.0, tracks=0), 1)
    clip = write_video(tmp_path / "word.mp4", drawn.frames, rate=20.0)
    code, said = read(clip, "--hands", "estimator", "--futures", 2, "--out", tmp_path, *(("--live",) if live else ()))
    assert code == 0, said
    found = palmist.read_recording(tmp_path / "recordings/word_tracked.npz")
    assert found.valid[:, 1].mean() > 0.7
    if not live:
        truth = drawn.truth.joints[:, 1] / 224
        known = found.valid[:, 1, None] & drawn.truth.visible[:, 1]
        away = np.linalg.norm(found.joints[:, 1, :, :2] - truth, axis=-1)[known].mean()
        middle = np.linalg.norm(0.5 - truth, axis=-1)[known].mean()
        assert away < 0.6 * middle


def test_a_stream_takes_the_shipped_estimator() -> None:
    word = next(r for r in palmist.demo_recordings() if r.space == "image" and r.valid[:, 1].all())
    drawn = render_clip(word, RenderSettings(size=128, framing="hands", tracks=0), 1)
    frames = zip(drawn.frames, drawn.truth.time, strict=True)
    stream = palmist.load().stream(frames, tracker=EstimatorHands("estimator-small"), rate=20.0, every_frame=True, futures=0)
    steps = list(stream)
    assert len(steps) == len(word)
    assert sum(step.known.any() for step in steps) > 10


def detections(path: Path, frames: int = 12, size: tuple[int, int] = (128, 96)) -> Path:
    pixels = np.random.default_rng(1).uniform(30, 80, (21, 2)) + np.arange(frames)[:, None, None]
    number, side = np.arange(frames), np.ones(frames, int)
    np.savez(path, frame=number, side=side, keypoints_2d=pixels, width=size[0], height=size[1], rate=20.0)
    return path


def test_detections_of_a_file_are_read_with_their_video(clip: Path, tmp_path: Path) -> None:
    code, said = read(clip, "--hands", detections(tmp_path / "found.npz"), "--futures", 2)
    assert code == 0, said
    assert "right hand in 100%" in said
    assert isinstance(HandOptions(who=str(tmp_path / "found.npz")).open(), ReplayedHands)
    code, said = read(clip, "--hands", detections(tmp_path / "small.npz", size=(64, 48)))
    assert code == 2
    assert "the video is 128 x 96 pixels" in said
    code, said = read(clip, "--hands", detections(tmp_path / "short.npz", frames=5))
    assert code == 2
    assert "goes on after the 5 frames" in said
