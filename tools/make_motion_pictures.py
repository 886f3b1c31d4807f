"""Draw docs/images/emim_field.png and trec_tracks.png: what EMIM and TRec see of motion in real clips.

    python tools/make_motion_pictures.py

Both networks are the direction task's, seed 0, of `palmist benchmark quality --only directions`; a second each of two clips of
data/videos (Apache-2.0).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2

from palmist.inference.videos import load_video_reader
from palmist.perception.video import Video, write_video

ROOT = Path(__file__).resolve().parents[1]
#: picture -> run, clip, second at which the part of the clip begins.
PICTURES = {
    "emim_field": ("m0_directions_emim", "02_cups.mp4", 4.3),
    "trec_tracks": ("m0_directions_trec", "04_coffee.mp4", 2.0),
}
WIDTH = 1400


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, (run, source, start) in PICTURES.items():
            clip = Path(folder) / f"{name}.mp4"
            frames = list(Video(ROOT / "data/videos" / source).frames(start, start + 1))
            write_video(clip, (image for image, _ in frames), (time - frames[0][1] for _, time in frames))
            drawn = load_video_reader(ROOT / "runs/benchmark" / run / "last").draw(clip, Path(folder) / f"{name}.png")
            picture = cv2.imread(str(drawn))
            picture = picture[: picture.shape[0] // 2]  # the first row of frames
            size = (WIDTH, round(WIDTH * picture.shape[0] / picture.shape[1]))
            cv2.imwrite(str(ROOT / f"docs/images/{name}.png"), cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


if __name__ == "__main__":
    main()
