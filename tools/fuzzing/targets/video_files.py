"""Videos, in the containers and codecs that cameras write."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from fuzzing.targets.examples import moving_square
from fuzzing.targets.target import Target, WatchedVideo
from palmist.perception.video import Clip, Video, write_video


def _write_mp4(folder: Path) -> None:
    folder.mkdir(parents=True)
    write_video(folder / "hand.mp4", list(moving_square()), rate=12.0)


def _write_webm(folder: Path) -> None:
    import av

    folder.mkdir(parents=True)
    with av.open(str(folder / "hand.webm"), "w") as container:
        stream = container.add_stream("libvpx", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number, image in enumerate(moving_square()):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 12)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


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


TARGETS = (
    Target("video_mp4", _write_mp4, partial(_read_video, "hand.mp4"), 2),
    Target("video_webm", _write_webm, partial(_read_video, "hand.webm"), 1.2),
)
