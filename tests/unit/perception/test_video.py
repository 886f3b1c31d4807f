"""Frames come with their true times, upright, and random access gives the very frames of a straight pass."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.perception.clip_sampling import dense_indices, segment_indices
from palmist.perception.video import Video, open_source, write_video
from tiny_video import HEIGHT, WIDTH, number_of, numbered_image, write_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="module")
def tiny(folder):
    return write_tiny(folder / "tiny.mp4")


@pytest.fixture(scope="module")
def irregular(folder):
    """Steps of 40, 40 and 120 ms, from 0.2 s on."""
    times = 0.2 + np.cumsum(np.r_[0.0, np.resize([0.04, 0.04, 0.12], 49)])
    return write_tiny(folder / "irregular.mp4", times=times), times


def test_every_frame_comes_in_order_with_its_time(tiny):
    video = Video(tiny)
    frames = list(video)
    assert [number_of(image) for image, _ in frames] == list(range(40))
    np.testing.assert_allclose([time for _, time in frames], np.arange(40) / 25, atol=1e-6)
    assert frames[0].image.dtype == np.uint8
    assert frames[0].image.shape == (HEIGHT, WIDTH, 3)
    red, blue = frames[0].image[60, 20].astype(int), frames[0].image[60, 100].astype(int)
    assert red[0] > red[2] + 100  # RGB, not BGR
    assert blue[2] > blue[0] + 100
    assert video.report.complete
    assert "40 of 40 frames" in str(video.report)


def test_info(tiny):
    info = Video(tiny).info
    assert (info.width, info.height, info.frames, info.rotation, info.mirrored) == (WIDTH, HEIGHT, 40, 0, False)
    assert info.duration == pytest.approx(1.6, abs=1e-3)
    assert info.rate == pytest.approx(25)
    assert info.codec == "h264"
    assert not info.times_assumed


def test_variable_frame_rate_and_late_start_are_kept(irregular):
    path, times = irregular
    video = Video(path)
    found = list(video)
    np.testing.assert_allclose([time for _, time in found], times, atol=2e-5)
    np.testing.assert_allclose(video.times, times, atol=2e-5)
    assert video.info.start == pytest.approx(0.2, abs=2e-5)
    assert number_of(video.frame_at(times[30] + 0.01).image) == 30


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"movflags": "+faststart"}),
        ("a.mkv", "libx264", {}),
        ("a.ts", "libx264", {}),
        ("a.avi", "mpeg4", {}),
        ("a.gif", "gif", {}),
        ("a.h264", "libx264", {}),  # no time stamps at all
    ],
)
def test_random_access_equals_a_straight_pass(folder, name, codec, options):
    video = Video(write_tiny(folder / name, codec=codec, options=options, noise=3.0))
    straight = list(video)
    assert [number_of(image) for image, _ in straight] == list(range(40))
    np.testing.assert_allclose(video.times, [time for _, time in straight], atol=1e-9)
    assert video.info.times_assumed == (name == "a.h264")
    for number in (0, 17, 39, 3, 20, 9, 10, 11):
        frame = video.frame_at(straight[number].time)
        assert frame.time == straight[number].time
        np.testing.assert_array_equal(frame.image, straight[number].image)
    order = np.random.default_rng(1).integers(0, 40, 12)
    clip = video.read([straight[number].time for number in order])
    assert [number_of(image) for image in clip.images] == list(order)
    part = list(video.frames(start=straight[13].time, stop=straight[27].time, stride=3))
    assert [number_of(image) for image, _ in part] == [13, 16, 19, 22, 25]


@pytest.mark.parametrize("name", ["jump.mp4", "jump.mkv"])
def test_random_access_does_not_decode_from_the_front(folder, name):
    video = Video(write_tiny(folder / name, frames=100, keyframe_every=10))
    assert number_of(next(video.frames(start=3.6)).image) == 90
    part = video.frames(start=3.6)
    assert len(list(part)) == 10
    assert video.report.frames <= 20  # of 100


def test_between_two_frames_the_earlier_one_is_on_the_screen(tiny):
    video = Video(tiny)
    assert number_of(video.frame_at(0.2399).image) == 5
    assert number_of(video.frame_at(0.24).image) == 6
    assert number_of(video.frame_at(1.5999).image) == 39


@pytest.mark.parametrize("time", [-0.1, 2.0, float("nan")])
def test_times_outside_are_refused(tiny, time):
    with pytest.raises(InputError, match=r"lies outside .* expected 0 to 1\.6 s"):
        Video(tiny).frame_at(time)


@pytest.mark.parametrize(("turn", "mirrored"), [(90, False), (180, False), (270, False), (0, True), (90, True)])
def test_display_matrix_is_applied(folder, turn, mirrored):
    """The file asks a player to turn the picture counter-clockwise and, then, to flip it left to right."""
    path = write_tiny(folder / f"turned_{turn}_{mirrored}.mp4", frames=3, counter_clockwise=turn, mirrored=mirrored)
    video = Video(path)
    expected = np.rot90(numbered_image(1), turn // 90)
    expected = expected[:, ::-1] if mirrored else expected
    image = list(video)[1].image
    assert image.shape == expected.shape
    assert (video.info.height, video.info.width) == expected.shape[:2]
    assert np.abs(image.astype(int) - expected).mean() < 8  # what the codec does to edges
    assert video.info.mirrored == mirrored
    if not mirrored:
        assert video.info.rotation == (360 - turn) % 360


def test_resizing_sets_the_short_side(tiny):
    video = Video(tiny, short_side=48)
    image = next(iter(video)).image
    assert image.shape == (48, 64, 3)
    assert (video.info.width, video.info.height) == (64, 48)
    assert video.sample_segments(5).images.shape == (5, 48, 64, 3)
    assert number_of(video.frame_at(0.8).image) == 20
    with pytest.raises(InputError, match="short_side is 0"):
        Video(tiny, short_side=0)


def test_clips(tiny):
    video = Video(tiny)
    clip = video.sample_segments(8)
    assert [number_of(image) for image in clip.images] == [2, 7, 12, 17, 22, 27, 32, 37]
    np.testing.assert_allclose(clip.time, np.array([2, 7, 12, 17, 22, 27, 32, 37]) / 25, atol=1e-6)
    assert [number_of(image) for image in video.sample_dense(4, stride=3, start=30).images] == [30, 33, 36, 39]


def test_segments_cover_the_video_evenly():
    for generator in (None, np.random.default_rng(0)):
        for frames, segments in ((100, 8), (16, 16), (5, 16), (1, 3)):
            indices = segment_indices(frames, segments, generator)
            edges = np.arange(segments + 1) * frames / segments
            assert ((indices >= np.floor(edges[:-1])) & (indices < np.ceil(edges[1:]))).all()
    chosen = {tuple(segment_indices(100, 8, np.random.default_rng(seed))) for seed in range(5)}
    assert len(chosen) == 5


def test_dense_clips():
    np.testing.assert_array_equal(dense_indices(10, 4, 2), [1, 3, 5, 7])
    np.testing.assert_array_equal(dense_indices(3, 5), [0, 1, 2, 2, 2])
    starts = {int(dense_indices(20, 4, 2, generator=np.random.default_rng(seed))[0]) for seed in range(60)}
    assert starts == set(range(14))
    with pytest.raises(InputError, match="starts at frame 20"):
        dense_indices(20, 4, start=20)
    with pytest.raises(InputError, match="segments is 0"):
        segment_indices(20, 0)


def test_several_passes_at_once_do_not_disturb_each_other(tiny):
    video = Video(tiny)
    pairs = zip(video, video.frames(start=0.4), strict=False)
    assert [(number_of(a.image), number_of(b.image)) for a, b in pairs] == [(n, n + 10) for n in range(30)]


def test_written_video_comes_back(tmp_path):
    times = np.array([0.0, 0.1, 0.15, 0.4, 0.41])
    path = write_video(tmp_path / "new" / "out.mp4", (numbered_image(n) for n in range(5)), times, quality=5)
    found = list(Video(path))
    assert [number_of(image) for image, _ in found] == list(range(5))
    np.testing.assert_allclose([time for _, time in found], times, atol=1e-5)
    difference = np.abs(found[3].image.astype(int) - numbered_image(3))
    assert difference.mean() < 6
    assert [entry.name for entry in path.parent.iterdir()] == ["out.mp4"]  # nothing half-written stays


def test_written_video_of_odd_size_grows_by_a_pixel(tmp_path):
    path = write_video(tmp_path / "odd.mp4", np.full((3, 31, 41, 3), 90, np.uint8), rate=10)
    video = Video(path)
    assert (video.info.width, video.info.height) == (42, 32)
    np.testing.assert_allclose([time for _, time in video], [0, 0.1, 0.2], atol=1e-5)
    assert np.abs(next(iter(video)).image.astype(int) - 90).max() < 8


@pytest.mark.parametrize(
    ("images", "time", "message"),
    [
        ([], None, "0 frames given"),
        ([numbered_image(0).astype(np.float32)], None, r"shape \(96, 128, 3\) and type float32"),
        ([numbered_image(0)[..., 0]], None, r"shape \(96, 128\)"),
        ([numbered_image(0), numbered_image(1)[:50]], None, r"image 1 has shape \(50, 128, 3\)"),
        ([numbered_image(0)] * 2, [0.5, 0.5], "time must increase"),
        ([numbered_image(0)] * 2, [0.5], "found 1 times but more images"),
        ([numbered_image(0)] * 2, [0.5, 0.6, 0.7], "found 2 images but more times"),
        ([numbered_image(0)], [-1.0], r"frame 0 is at -1\.0 s"),
    ],
)
def test_what_cannot_be_written_leaves_no_file(tmp_path, images, time, message):
    with pytest.raises(InputError, match=message):
        write_video(tmp_path / "out.mp4", images, time)
    assert not list(tmp_path.iterdir())


def test_frames_are_streamed_not_collected(tmp_path):
    """Peak memory of a pass does not grow with the number of frames."""
    peaks = []
    for frames in (30, 240):
        path = write_tiny(tmp_path / f"{frames}.mp4", frames=frames)
        tracemalloc.start()
        for _ in Video(path):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 3 * WIDTH * HEIGHT * 3


class FakeCamera:
    """A camera that delivers `frames` BGR images and stops."""

    frames = 3

    def __init__(self, number):
        self.left, self.open = self.frames, number == 0

    def isOpened(self):  # noqa: N802 (OpenCV's name)
        return self.open

    def get(self, _):
        return 30.0

    def read(self):
        self.left -= 1
        return (True, np.full((48, 64, 3), (255, 0, 0), np.uint8)) if self.left >= 0 else (False, None)

    def release(self):
        self.open = False


def test_webcam_gives_rgb_frames_with_increasing_times(monkeypatch):
    monkeypatch.setattr("cv2.VideoCapture", FakeCamera)
    with open_source("webcam:0", short_side=24) as camera:
        assert (camera.info.width, camera.info.height, camera.info.rate) == (32, 24, 30.0)
        frames = list(camera)
        assert len(frames) == FakeCamera.frames - 1  # the first one was looked at when the camera was opened
        assert frames[0].time == 0.0
        assert frames[1].time > 0
        np.testing.assert_array_equal(frames[0].image[0, 0], [0, 0, 255])
        assert not camera.report.complete
        assert "stopped delivering" in str(camera.report)
    assert list(camera) == []


@pytest.mark.parametrize(("source", "message"), [("webcam:97", "camera 97 cannot be opened"), ("webcam:x", "names no camera")])
def test_missing_camera_is_one_sentence(source, message, capfd):
    with pytest.raises(InputError, match=message):
        open_source(source)
    assert capfd.readouterr().err == ""


def test_import_is_cheap():
    code = "import sys, palmist, palmist.perception.video; sys.exit(bool({'av', 'cv2', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
