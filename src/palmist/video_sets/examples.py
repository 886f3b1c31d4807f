"""Tiny made-up data sets in the exact layouts of the real ones: moving noise, no video of anybody."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from palmist.errors import InputError
from palmist.perception.video_writer import write_video
from palmist.video_sets.directions import DirectionsConfig, DirectionVideos

__all__ = [
    "write_class_folders_example",
    "write_diving48_example",
    "write_kinetics_example",
    "write_ssv1_example",
    "write_ssv2_example",
]

FRAMES, WIDTH, HEIGHT = 20, 96, 64
#: Something-Something's templates of the example, in official (alphabetical) order.
TEMPLATES = (
    "Holding [something]",
    "Pushing [something] from left to right",
    "Pushing [something] from right to left",
)
#: id, template, split
VIDEOS = ((71, 1, "train"), (34, 2, "train"), (9, 0, "train"), (102, 2, "validation"), (5, 0, "test"))
DIVES = (["Back", "15som", "05Twis", "FREE"], ["Forward", "25som", "NoTwis", "PIKE"])
CLASSES = ("pour water", "stir")


def frames_of(number: int) -> np.ndarray:
    """(20, 64, 96, 3) uint8 of the example's video of this number."""
    video = DirectionVideos(DirectionsConfig(videos=number + 1, frames=FRAMES, size=WIDTH)).open(number)
    return video.read(np.arange(FRAMES))[:, :HEIGHT]


def example_writer(fill: Callable[[Path], None]) -> Callable[[str | Path], Path]:
    """A function that writes a made-up set below a new or empty folder, by `fill`."""

    def write(root: str | Path) -> Path:
        root = Path(root)
        if root.exists() and any(root.iterdir()):
            raise InputError(f"{root} is not empty; expected a new folder for the example")
        root.mkdir(parents=True, exist_ok=True)
        fill(root)
        return root

    write.__doc__ = "Write the example below `root`, a new or empty folder, and return it; InputError where it is not empty."
    return write


def _ssv2(root: Path) -> None:
    prefix, folder = "something-something-v2-", root / "20bn-something-something-v2"
    folder.mkdir()
    plain = [template.replace("[", "").replace("]", "") for template in TEMPLATES]
    _write_json(root / f"{prefix}labels.json", {label: str(number) for number, label in enumerate(plain)})
    for split in ("train", "validation", "test"):
        items = []
        for identity, label, where in VIDEOS:
            if where != split:
                continue
            item = {"id": str(identity)}
            if split != "test":
                filled = TEMPLATES[label].replace("[something]", "a cup")
                item |= {"label": filled, "template": TEMPLATES[label], "placeholders": ["a cup"]}  # type: ignore[dict-item]
            items.append(item)
        _write_json(root / f"{prefix}{split}.json", items)
    for identity, *_ in VIDEOS:
        _write_webm(folder / f"{identity}.webm", frames_of(identity))


def _ssv1(root: Path) -> None:
    import cv2

    prefix, folder = "something-something-v1-", root / "20bn-something-something-v1"
    plain = [template.replace("[", "").replace("]", "") for template in TEMPLATES]
    (root / f"{prefix}labels.csv").write_text("\n".join(plain) + "\n", encoding="utf-8")
    for split in ("train", "validation", "test"):
        rows = [(str(identity), plain[label]) for identity, label, where in VIDEOS if where == split]
        lines = [identity if split == "test" else f"{identity};{label}" for identity, label in rows]
        (root / f"{prefix}{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for identity, *_ in VIDEOS:
        (folder / str(identity)).mkdir(parents=True)
        for number, image in enumerate(frames_of(identity), 1):
            _, data = cv2.imencode(".jpg", image[..., ::-1])
            (folder / str(identity) / f"{number:05d}.jpg").write_bytes(data.tobytes())


def _diving48(root: Path) -> None:
    (root / "rgb").mkdir()
    _write_json(root / "Diving48_vocab.json", DIVES)
    for split, names in (("train", ("_8Vy3dlHg2w_00000", "_8Vy3dlHg2w_00001")), ("test", ("0Bth2GVqyrA_00004",))):
        items = []
        for number, name in enumerate(names):
            items.append({"vid_name": name, "label": number % 2, "start_frame": 0, "end_frame": FRAMES})
            write_video(root / "rgb" / f"{name}.mp4", frames_of(number))
        _write_json(root / f"Diving48_V2_{split}.json", items)


def _kinetics(root: Path) -> None:
    (root / "train.csv").write_text("pour water/a b.mp4,0\nstir/c.mp4,1\n")
    (root / "val.csv").write_text("stir/d.mp4 1\n")
    for number, name in enumerate(("pour water/a b.mp4", "stir/c.mp4", "stir/d.mp4")):
        write_video(root / name, frames_of(number))
    (root / "labels.txt").write_text("\n".join(CLASSES) + "\n")


def _class_folders(root: Path) -> None:
    for number, name in enumerate(("pour water/a.mp4", "stir/b.mp4", "stir/c.mp4")):
        write_video(root / name, frames_of(number))


write_ssv1_example = example_writer(_ssv1)
write_ssv2_example = example_writer(_ssv2)
write_diving48_example = example_writer(_diving48)
write_kinetics_example = example_writer(_kinetics)
write_class_folders_example = example_writer(_class_folders)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def _write_webm(path: Path, frames: np.ndarray) -> None:
    """VP9 at 12 frames a second, as the set's own files."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=12, options={"deadline": "realtime", "cpu-used": "8", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 12)
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
