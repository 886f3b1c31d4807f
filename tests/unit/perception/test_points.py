"""Point trackers on clips whose motion is known, and the file of point tracks."""

from __future__ import annotations

import os
import pickle
import sys
import types
import zipfile

import cv2
import numpy as np
import pytest
import torch

from palmist.errors import InputError
from palmist.metrics.tracking import average_jaccard, delta_avg, occlusion_accuracy
from palmist.perception.cotracker import CoTracker
from palmist.perception.points import LucasKanade, PointTracks, grid_points, load_point_tracks, random_points
from palmist.perception.video import Clip, Video, write_video

WIDTH, HEIGHT = 160, 120


def texture(seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """Smooth random colours with detail at several scales, (H, W, 3) uint8."""
    generator = np.random.default_rng(seed)
    image = sum(cv2.GaussianBlur(generator.normal(size=(*size, 3)), (0, 0), s) * s for s in (1.5, 3.0, 8.0))
    return np.clip(128 + 60 * image / image.std(), 0, 255).astype(np.uint8)


def moving_clip(motions: list[np.ndarray], queries: np.ndarray) -> tuple[Clip, np.ndarray, np.ndarray]:
    """A texture warped by a homography (3, 3) per frame; the clip, true tracks (T, N, 2) and true visibility (T, N)."""
    image = texture()
    frames = np.stack(
        [cv2.warpPerspective(image, motion, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT) for motion in motions]
    )
    points = np.concatenate([queries, np.ones((len(queries), 1))], 1)
    moved = np.stack([points @ motion.T for motion in motions])
    true = moved[..., :2] / moved[..., 2:]
    visible = ((true >= 0) & (true <= (WIDTH - 1, HEIGHT - 1))).all(-1)
    return Clip(frames, np.arange(len(frames)) / 25), true, visible


def shift(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], float)


def turn(frame: int) -> np.ndarray:
    """A slow turn, zoom and tilt about the centre of the image."""
    angle, scale = 0.015 * frame, 1 + 0.004 * frame
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    centre = shift(WIDTH / 2, HEIGHT / 2)
    return centre @ np.array([[c, -s, 0], [s, c, 0], [2e-5 * frame, 0, 1]]) @ np.linalg.inv(centre)


@pytest.fixture
def queries():
    return random_points(200, WIDTH, HEIGHT, np.random.default_rng(3), keep_off_edge=8)


@pytest.mark.parametrize(
    "motions",
    [[shift(1.6 * t, -0.7 * t) for t in range(12)], [turn(t) for t in range(12)]],
    ids=["translation", "homography"],
)
def test_known_motion_is_followed(queries, motions):
    clip, true, visible = moving_clip(motions, queries)
    found = LucasKanade()(clip, queries)
    assert found.tracks.shape == (12, 200, 2)
    assert found.tracks.dtype == np.float32
    assert (found.width, found.height) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(found.time, clip.time)
    np.testing.assert_array_equal(found.tracks[0], queries)
    error = np.linalg.norm(found.tracks - true, axis=-1)
    assert np.median(error[found.visible]) < 0.15
    size = (WIDTH, HEIGHT)
    assert delta_avg(found.tracks, true, visible, size).value > 0.93
    assert occlusion_accuracy(found.visible, visible).value > 0.9
    assert average_jaccard(found.tracks, found.visible, true, visible, size).value > 0.85
    # Standing still is no match: the motion is large enough for the measure to tell.
    still = np.repeat(queries[None], 12, 0)
    assert delta_avg(still, true, visible, size).value < 0.6


def test_points_that_leave_the_image_are_not_visible(queries):
    clip, _, visible = moving_clip([shift(4.0 * t, 0) for t in range(16)], queries)
    found = LucasKanade()(clip, queries)
    gone = ~visible[-1]
    assert gone.sum() > 30
    assert not found.visible[-1][gone].any()
    assert found.visible[-1][~gone].mean() > 0.8
    assert ((found.tracks >= 0) & (found.tracks <= (WIDTH - 1, HEIGHT - 1))).all()
    # Lost for good, and standing where it was last seen.
    assert not (np.diff(found.visible.astype(int), axis=0) > 0).any()
    lost = ~found.visible[1:]
    np.testing.assert_array_equal(found.tracks[1:][lost], found.tracks[:-1][lost])


def test_a_covered_point_fails_the_check_forward_and_back(queries):
    clip, _, _ = moving_clip([shift(0, 0)] * 4, queries)
    images = clip.images.copy()
    images[2:, 30:90, 40:120] = texture(9)[30:90, 40:120]
    covered = (np.abs(queries - (80, 60)) < (32, 22)).all(-1)
    free = (np.abs(queries - (80, 60)) > (52, 42)).any(-1)
    found = LucasKanade()(Clip(images, clip.time), queries)
    assert covered.sum() > 20
    assert found.visible[1].all()
    assert found.visible[2][covered].mean() < 0.2
    assert found.visible[3][free].mean() > 0.9  # the coarse pyramid levels look far
    assert (found.error[2][found.visible[2]] <= 1).all()
    unchecked = LucasKanade(most_error=None)(Clip(images, clip.time), queries)
    assert unchecked.visible[2][covered].mean() > 0.5
    assert unchecked.error is None


def test_reseeding_keeps_the_number_of_points_and_says_where(queries):
    clip, _, _ = moving_clip([shift(6.0 * t, 0) for t in range(12)], queries)
    plain = LucasKanade()(clip, queries)
    assert not plain.seeded[1:].any()
    assert plain.seeded[0].all()
    found = LucasKanade(reseed=True, seed=4)(clip, queries)
    assert found.visible.all()
    assert found.seeded[1:].sum() > 30
    jump = np.linalg.norm(np.diff(found.tracks, axis=0), axis=-1)
    followed = ~found.seeded[1:]
    assert np.median(np.abs(jump[followed] - 6)) < 0.2
    again = LucasKanade(reseed=True, seed=4)(clip, queries)
    np.testing.assert_array_equal(found.tracks, again.tracks)
    other = LucasKanade(reseed=True, seed=5)(clip, queries)
    assert not np.array_equal(found.tracks, other.tracks)


def test_a_video_file_is_tracked_as_it_streams(tmp_path, queries):
    clip, true, visible = moving_clip([shift(1.5 * t, 0) for t in range(8)], queries)
    path = write_video(tmp_path / "moving.mp4", clip.images, clip.time, quality=10)
    found = LucasKanade()(Video(path), queries)
    np.testing.assert_allclose(found.time, clip.time, atol=1e-5)
    assert delta_avg(found.tracks, true, visible, (WIDTH, HEIGHT)).value > 0.9


def test_one_frame_gives_the_queries(queries):
    found = LucasKanade()(Clip(texture()[None], np.zeros(1)), queries)
    np.testing.assert_array_equal(found.tracks, queries[None])
    assert found.visible.all()


def test_query_points():
    points = random_points(500, 40, 30, np.random.default_rng(0), keep_off_edge=5)
    assert points.dtype == np.float32
    assert (points >= 5).all()
    assert (points <= (34, 24)).all()
    assert points.std(0) == pytest.approx(np.array([29, 19]) / np.sqrt(12), rel=0.1)
    np.testing.assert_array_equal(points, random_points(500, 40, 30, np.random.default_rng(0), keep_off_edge=5))
    np.testing.assert_allclose(grid_points(2, 2, 40, 20), [[9.5, 4.5], [29.5, 4.5], [9.5, 14.5], [29.5, 14.5]])
    with pytest.raises(InputError, match="keep_off_edge"):
        random_points(5, 40, 30, np.random.default_rng(0), keep_off_edge=15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries": [[5.0, 5.0], [160.0, 5.0]]}, r"1 of 2 query points lie outside the 160x120 image, .* \(160, 5\)"),
        ({"queries": [[np.nan, 5.0]]}, "1 of 1 query points lie outside"),
        ({"queries": np.zeros((0, 2))}, r"shape \(0, 2\)"),
        ({"queries": np.zeros((4, 3))}, r"shape \(4, 3\)"),
        ({"frames": []}, "found 0 frames"),
        ({"frames": [(np.zeros((8, 8)), 0.0)]}, r"frame 0 has shape \(8, 8\) and type float64"),
        ({"frames": [(texture(), 0.0), (texture()[:50], 0.1)]}, r"frame 1 has shape \(50, 160, 3\)"),
    ],
)
def test_wrong_input_is_one_sentence(change, message):
    arguments = {"frames": [(texture(), 0.0)], "queries": [[5.0, 5.0]]} | change
    with pytest.raises(InputError, match=message):
        LucasKanade()(arguments["frames"], np.asarray(arguments["queries"]))


# File and data class


@pytest.fixture
def tracks():
    generator = np.random.default_rng(1)
    seeded = np.zeros((6, 3), bool)
    seeded[0], seeded[3, 1] = True, True
    return PointTracks(
        tracks=generator.uniform(0, 50, (6, 3, 2)),
        visible=generator.random((6, 3)) > 0.3,
        time=np.array([0.0, 0.1, 0.2, 0.2, 0.5, 0.6]),
        width=64,
        height=51,
        tracker="lucas_kanade",
        tracker_version="opencv 5",
        seeded=seeded,
        error=np.where(seeded, np.nan, 0.5),
        settings={"window": 15, "reseed": True},
    )


def test_tracks_come_back_from_their_file(tmp_path, tracks):
    path = tracks.save(tmp_path / "folder" / "cups")
    assert [entry.name for entry in path.parent.iterdir()] == ["cups.npz"]
    found = load_point_tracks(path)
    for name in ("tracks", "visible", "time", "seeded", "error"):
        np.testing.assert_array_equal(getattr(found, name), getattr(tracks, name))
        assert getattr(found, name).dtype == getattr(tracks, name).dtype
        assert not getattr(found, name).flags.writeable
    for name in ("width", "height", "tracker", "tracker_version", "settings"):
        assert getattr(found, name) == getattr(tracks, name)
    with np.load(path, allow_pickle=False) as archive:
        assert set(archive.files) == {"tracks", "visible", "time", "seeded", "error", "metadata"}
        [archive[name] for name in archive.files]  # none of them is a pickle


def test_take_keeps_new_beginnings_between_the_taken_frames(tracks):
    taken = tracks.take([1, 4, 4, 5])
    np.testing.assert_array_equal(taken.tracks, tracks.tracks[[1, 4, 4, 5]])
    assert taken.seeded.tolist() == [[True] * 3, [False, True, False], [False] * 3, [False] * 3]
    with pytest.raises(InputError, match="never decreasing numbers from 0 to 5"):
        tracks.take([3, 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tracks": np.zeros((6, 3))}, r"tracks have shape \(6, 3\)"),
        ({"tracks": np.full((6, 3, 2), np.nan)}, "NaN"),
        ({"visible": np.ones((6, 2), bool)}, r"visible has shape \(6, 2\); expected \(6, 3\)"),
        ({"visible": np.ones((6, 3))}, "visible are of type float64"),
        ({"time": np.arange(5.0)}, r"time has shape \(5,\)"),
        ({"time": -np.arange(6.0)}, "go backwards"),
        ({"seeded": np.ones((6, 4), bool)}, "seeded has shape"),
        ({"width": 0}, "the frames are 0x51"),
    ],
)
def test_wrong_tracks_are_refused(tracks, change, message):
    fields = {name: getattr(tracks, name) for name in tracks.__dataclass_fields__}
    with pytest.raises(InputError, match=message):
        PointTracks(**fields | change)


def test_wrong_files_are_refused(tmp_path, tracks):
    path = tracks.save(tmp_path / "tracks.npz")
    arrays = dict(np.load(path))
    cases = {
        "missing": ({"visible": None}, "has no array visible"),
        "metadata": ({"metadata": np.array("{}")}, "not the JSON text that Palmist writes"),
        "shape": ({"time": np.zeros(2)}, r"time has shape \(2,\)"),
        "version": ({"metadata": np.array(str(arrays["metadata"]).replace('"version": 1', '"version": 9'))}, "version 9"),
        "pickle": ({"seeded": np.array([{"a": 1}], object)}, "holds a pickle"),
    }
    for name, (change, message) in cases.items():
        np.savez(tmp_path / f"{name}.npz", **{key: value for key, value in (arrays | change).items() if value is not None})
        with pytest.raises(InputError, match=message):
            load_point_tracks(tmp_path / f"{name}.npz")
    (tmp_path / "cut.npz").write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="cut off or damaged"):
        load_point_tracks(tmp_path / "cut.npz")


# CoTracker


class Drift(torch.nn.Module):
    """In the place of CoTracker: every point moves 2 px to the right per frame, times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.speed = torch.nn.Parameter(torch.tensor([1.0, 0.0]))

    def forward(self, video: torch.Tensor, queries: torch.Tensor):
        frames = torch.arange(video.shape[1], device=queries.device, dtype=torch.float32)
        tracks = queries[:, None, :, 1:] + 2 * self.speed * frames[None, :, None, None]
        return tracks, torch.ones(tracks.shape[:3], dtype=torch.bool)


@pytest.fixture
def cotracker_package(monkeypatch):
    """A package of the same names as the authors', with Drift inside."""

    class CoTrackerPredictor(torch.nn.Module):
        def __init__(self, checkpoint=None, offline=True, v2=False, window_len=60):
            super().__init__()
            assert checkpoint is None  # or it would be loaded as a pickle
            assert offline
            self.model = Drift()

        def forward(self, video, queries=None):
            assert video.dtype == torch.float32
            assert video.max() > 2  # 0 to 255
            return self.model(video, queries)

    package, predictor = types.ModuleType("cotracker"), types.ModuleType("cotracker.predictor")
    predictor.CoTrackerPredictor = CoTrackerPredictor
    monkeypatch.setitem(sys.modules, "cotracker", package)
    monkeypatch.setitem(sys.modules, "cotracker.predictor", predictor)


@pytest.fixture
def no_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "cotracker", None)
    monkeypatch.setitem(sys.modules, "cotracker.predictor", None)


def check_drift(tracker, step, version):
    clip = Clip(np.stack([texture()] * 5), np.arange(5) / 10)
    queries = np.array([[10.0, 20.0], [157.0, 30.0]])
    found = tracker(clip, queries)
    expected = queries + np.arange(5)[:, None, None] * np.array([step, 0])
    np.testing.assert_allclose(found.tracks, expected)
    np.testing.assert_array_equal(found.visible, expected[..., 0] <= WIDTH - 1)  # what leaves the image is not visible
    assert not found.visible.all()
    assert (found.tracker, found.tracker_version) == ("cotracker", version)
    np.testing.assert_array_equal(found.time, clip.time)


def test_cotracker_as_torchscript(tmp_path, no_package):
    torch.jit.script(Drift()).save(tmp_path / "cotracker.pt")
    check_drift(CoTracker(tmp_path / "cotracker.pt"), 2.0, "cotracker.pt (TorchScript)")


@pytest.mark.parametrize("wrapped", [False, True])
def test_cotracker_by_its_package_and_weights(tmp_path, cotracker_package, wrapped):
    state = {"speed": torch.tensor([1.5, 0.0])}
    torch.save({"model": state} if wrapped else state, tmp_path / "scaled_offline.pth")
    check_drift(CoTracker(tmp_path / "scaled_offline.pth"), 3.0, "scaled_offline.pth (cotracker package)")


def test_cotracker_weights_as_safetensors(tmp_path, cotracker_package):
    from safetensors.torch import save_file

    save_file({"speed": torch.tensor([0.5, 0.0])}, tmp_path / "w.safetensors")
    check_drift(CoTracker(tmp_path / "w.safetensors"), 1.0, "w.safetensors (cotracker package)")


class Harmful:
    """Runs code when a pickle of it is loaded: makes a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self):
        return (os.mkdir, (self.folder,))


def test_cotracker_never_runs_a_pickle(tmp_path, cotracker_package):
    harm = tmp_path / "harm"
    torch.save({"speed": Harmful(str(harm))}, tmp_path / "zipped.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"speed": Harmful(str(harm))}))
    for name in ("zipped.pth", "plain.pth"):
        with pytest.raises(InputError, match="was not loaded"):
            CoTracker(tmp_path / name)
    assert not harm.exists()


def test_cotracker_without_weights_or_package(tmp_path, no_package):
    with pytest.raises(InputError, match="does not exist"):
        CoTracker(tmp_path / "scaled_offline.pth")
    torch.save({"speed": torch.ones(2)}, tmp_path / "scaled_offline.pth")
    with pytest.raises(InputError, match=r"needs the package 'cotracker'.*pip install -e co-tracker"):
        CoTracker(tmp_path / "scaled_offline.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"other": torch.ones(2)}, "does not fit"),
        ({"speed": torch.ones(5)}, "does not fit"),
        ({"speed": 3}, "something else than named tensors"),
        ([torch.ones(2)], "something else than named tensors"),
    ],
)
def test_cotracker_with_wrong_weights(tmp_path, cotracker_package, content, message):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=message) as caught:
        CoTracker(tmp_path / "weights.pth")
    assert "\n" not in str(caught.value)


def test_cotracker_with_damaged_files(tmp_path, cotracker_package):
    torch.jit.script(Drift()).save(tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(tmp_path / "broken.pt", "w") as broken:
        for name in whole.namelist():
            broken.writestr(name, b"def def" if name.endswith(".py") else whole.read(name))
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "noise.safetensors").write_bytes(b"noise" * 20)
    for name in ("broken.pt", "empty.pth", "noise.safetensors"):
        with pytest.raises(InputError) as caught:
            CoTracker(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)
