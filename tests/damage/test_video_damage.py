"""Damaged, empty and wrong files: one sentence, or the frames that are left and a report. Never a crash or a hang."""

from __future__ import annotations

import os

import cv2
import numpy as np
import pytest

from palmist.errors import InputError
from palmist.perception.video import Video
from tiny_video import number_of, write_no_frames, write_sound, write_tiny

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The index stands at the front, so that the head of the file can be read without the tail."""
    path = tmp_path_factory.mktemp("whole") / "whole.mp4"
    return write_tiny(path, frames=60, noise=20.0, options={"movflags": "+faststart"}).read_bytes()


def saved(folder, content, name="broken.mp4"):
    path = folder / name
    path.write_bytes(content)
    return path


def refused(path):
    """The one sentence with which a file is refused."""
    with pytest.raises(InputError) as caught:
        Video(path)
    message = str(caught.value)
    assert str(path) in message
    assert "expected" in message
    assert "\n" not in message
    assert "Errno" not in message
    return message


def test_missing_file(tmp_path):
    assert "does not exist" in refused(tmp_path / "nothing.mp4")


def test_folder(tmp_path):
    assert "is a folder" in refused(tmp_path)


def test_empty_file(tmp_path):
    assert "is empty (0 bytes)" in refused(saved(tmp_path, b""))


def test_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "not a regular file" in refused(tmp_path / "pipe.mp4")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("letter.mp4", b"Dear reader,\n" * 50),
        ("noise.mp4", np.random.default_rng(0).bytes(5000)),
        ("zeros.avi", bytes(5000)),
        ("letter.txt", b"Dear reader,\n" * 50),
        ("list.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", b"ffconcat version 1.0\nfile 'other.mp4'\n"),
    ],
)
def test_not_a_video(tmp_path, name, content):
    assert "not a video" in refused(saved(tmp_path, content, name))


def test_picture(tmp_path):
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((16, 16, 3), np.uint8))
    assert "is a picture, not a video" in refused(tmp_path / "one.png")


def test_sound_only(tmp_path):
    assert "holds only sound" in refused(write_sound(tmp_path / "sound.mp4"))
    assert "holds only sound" in refused(write_sound(tmp_path / "sound.m4a"))


@pytest.mark.parametrize("name", ["none.mp4", "none.mkv", "none.avi"])
def test_zero_frames(tmp_path, name):
    assert "has 0 frames" in refused(write_no_frames(tmp_path / name))


def test_unknown_codec(tmp_path, whole):
    message = refused(saved(tmp_path, whole.replace(b"avc1", b"zzzz")))
    assert "no decoder here knows" in message
    assert "ffmpeg -i" in message


def test_index_at_the_end_and_cut_off(tmp_path):
    content = write_tiny(tmp_path / "late_index.mp4", noise=20.0).read_bytes()
    assert "header is missing or damaged" in refused(saved(tmp_path, content[: len(content) // 2]))


def test_every_piece_of_picture_destroyed(tmp_path, whole):
    start = whole.index(b"mdat") + 4
    message = refused(saved(tmp_path, whole[:start] + bytes(len(whole) - start)))
    assert "not one frame could be decoded" in message


@pytest.mark.parametrize(("name", "share"), [("cut.mp4", 0.6), ("cut.mkv", 0.6), ("cut.ts", 0.6), ("cut.mp4", 0.97)])
def test_a_cut_tail_gives_the_frames_before_it_and_a_report(tmp_path, name, share):
    options = {"movflags": "+faststart"} if name.endswith("mp4") else {}
    content = write_tiny(tmp_path / f"whole_{name}", frames=60, noise=20.0, options=options).read_bytes()
    video = Video(saved(tmp_path, content[: int(len(content) * share)], name))
    frames = list(video)
    assert 15 < len(frames) < 60
    assert [number_of(image) for image, _ in frames][:-1] == list(range(len(frames) - 1))  # the last one may be half there
    report = video.report
    assert report.frames == len(frames)
    assert report.end == frames[-1].time
    if name != "cut.ts":  # a transport stream is a broadcast: it does not know where it was going to end
        assert not report.complete
        assert "missing" in str(report)
    assert f"{len(frames)}" in str(report)
    # Clips from a cut file hold what can be decoded, with its true times.
    clip = video.sample_segments(4)
    assert (np.diff(clip.time) >= 0).all()
    assert clip.time[-1] <= frames[-1].time


def test_destroyed_middle_is_reported_and_the_rest_is_there(tmp_path, whole):
    content = bytearray(whole)
    middle = len(content) // 2
    content[middle : middle + len(content) // 6] = bytes(len(content) // 6)
    video = Video(saved(tmp_path, bytes(content)))
    frames = list(video)
    times = np.array([time for _, time in frames])
    numbers = np.array([number_of(image) for image, _ in frames])
    assert (np.diff(times) > 0).all()
    assert 40 <= len(frames) < 60
    good = (times < 0.9) | (times > 2.0)  # the keyframe after the damage mends the picture
    np.testing.assert_array_equal(numbers[good], np.round(times[good] * 25).astype(int))
    assert numbers[-1] == 59
    assert "damaged pieces" in str(video.report)
    assert "missing" in str(video.report)
    # Where nothing can be decoded, the last good frame stands, under its own time.
    lost = sorted(set(range(60)) - set(np.round(times * 25).astype(int)))[-1]
    frame = video.frame_at(lost / 25)
    assert frame.time < lost / 25


def test_destroyed_head_gives_the_rest(tmp_path, whole):
    content = bytearray(whole)
    start = whole.index(b"mdat") + 4
    content[start : start + len(content) // 4] = bytes(len(content) // 4)
    video = Video(saved(tmp_path, bytes(content)))
    frames = list(video)
    assert video.info.start == frames[0].time > 0.1
    assert number_of(frames[-1].image) == 59
    assert not video.report.complete
    # A clip may ask for the lost frames: it gets the first good one, under that one's time.
    assert video.times[0] == 0
    clip = video.sample_segments(60)
    assert clip.time[0] == frames[0].time
    assert number_of(clip.images[-1]) == 59


def test_reports_start_anew_and_an_early_stop_is_no_damage(tmp_path, whole):
    video = Video(saved(tmp_path, whole, "good.mp4"))
    for number, _ in enumerate(video):
        if number == 4:
            break
    assert video.report.complete
    assert video.report.frames < 60
    assert len(list(video)) == 60
    assert video.report.frames == 60
    assert video.report.complete


def test_random_damage_never_crashes_or_hangs(tmp_path, whole):
    """Flipped bytes anywhere, and cuts anywhere: one sentence, or frames with increasing times and a report."""
    generator = np.random.default_rng(7)
    outcomes = set()
    for trial in range(40):
        content = bytearray(whole)
        for place in generator.integers(0, len(content) if trial % 2 else 3000, 1 + trial % 12):
            content[place] = int(generator.integers(256))
        if trial % 5 == 0:
            content = content[: int(generator.integers(1, len(content)))]
        path = saved(tmp_path, bytes(content), f"{trial}.mp4")
        refusal = None
        try:
            video = Video(path, short_side=32)
        except InputError as error:
            refusal = str(error)
        if refusal is None:
            times = [time for _, time in video]
            assert (np.diff(times) > 0).all()
            assert video.report.frames == len(times)
            assert len(video.sample_segments(3).images) == 3
        else:
            assert "\n" not in refusal
        outcomes.add(refusal is None)
    assert outcomes == {True, False}
