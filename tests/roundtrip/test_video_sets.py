"""The lists of every data set of videos, through made-up sets in their exact layouts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from palmist.cli import main
from palmist.errors import InputError
from palmist.video_sets import VIDEO_SETS, StoredVideos, read_frame_list, video_set
from palmist.video_sets.examples import frames_of


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("video_sets")
    return {name: entry.example(folder / name) for name, entry in VIDEO_SETS.items()}


THREE = ("Holding something", "Pushing something from left to right", "Pushing something from right to left")
EXPECTED = {
    "ssv1": (THREE, [("71", THREE[1], "train"), ("34", THREE[2], "train"), ("9", THREE[0], "train"),
                     ("102", THREE[2], "validation"), ("5", None, "test")]),
    "ssv2": (THREE, [("71", THREE[1], "train"), ("34", THREE[2], "train"), ("9", THREE[0], "train"),
                     ("102", THREE[2], "validation"), ("5", None, "test")]),
    "diving48": (("Back, 15som, 05Twis, FREE", "Forward, 25som, NoTwis, PIKE"),
                 [("_8Vy3dlHg2w_00000", "Back, 15som, 05Twis, FREE", "train"),
                  ("_8Vy3dlHg2w_00001", "Forward, 25som, NoTwis, PIKE", "train"),
                  ("0Bth2GVqyrA_00004", "Back, 15som, 05Twis, FREE", "test")]),
    "kinetics": (("pour water", "stir"), [("pour water/a b.mp4", "pour water", "train"), ("stir/c.mp4", "stir", "train"),
                                          ("stir/d.mp4", "stir", "val")]),
    "class_folders": (("pour water", "stir"), [("pour water/a.mp4", "pour water", None), ("stir/b.mp4", "stir", None),
                                               ("stir/c.mp4", "stir", None)]),
}  # fmt: skip


@pytest.mark.parametrize("name", VIDEO_SETS)
def test_lists_labels_and_frames(name: str, roots: dict[str, Path]) -> None:
    listed = video_set(name).read(roots[name])
    labels, expected = EXPECTED[name]
    assert listed.labels == labels
    assert [(entry.name, entry.label, entry.split) for entry in listed.entries] == expected
    videos = StoredVideos(listed.entries, listed.labels)
    assert [labels[number] if number >= 0 else None for number in videos.label] == [label for _, label, _ in expected]
    for number, entry in enumerate(listed.entries):
        video = videos.open(number)
        assert video.frames == 20
        made = frames_of(int(entry.name)) if name.startswith("ssv") else None
        chosen = np.array([0, 7, 7, 19])
        images = video.read(chosen)
        assert images.shape == (4, 64, 96, 3)
        assert images.dtype == np.uint8
        if made is not None:  # lossy, but the right frames in the right colours
            wanted = made[chosen].astype(int)
            error = np.abs(images - wanted).mean((1, 2, 3))
            other = np.abs(images - made[[3, 10, 10, 16]].astype(int)).mean((1, 2, 3))
            assert (error < 0.7 * other).all()
            assert (np.abs(images[..., ::-1] - wanted).mean((1, 2, 3)) > error).all()


def test_pictures_come_at_twelve_a_second_and_numbers_begin_at_one(roots: dict[str, Path]) -> None:
    listed = video_set("ssv1").read(roots["ssv1"])
    entry = listed.entries[0]
    assert (entry.rate, entry.pictures) == (12.0, "{:05d}.jpg")
    assert (entry.path / "00001.jpg").is_file()
    assert not (entry.path / "00000.jpg").exists()


@pytest.mark.parametrize("name", VIDEO_SETS)
def test_an_official_part(name: str, roots: dict[str, Path]) -> None:
    listed = video_set(name).read(roots[name])
    if name == "class_folders":
        with pytest.raises(InputError, match="no video of split 'train'; expected one of None"):
            listed.of_split("train")
        return
    part = listed.of_split("train")
    assert part.labels == listed.labels
    assert {entry.split for entry in part.entries} == {"train"}
    with pytest.raises(InputError, match="no video of split 'trial'; expected one of"):
        listed.of_split("trial")


def test_a_folder_of_videos_may_be_called_otherwise(roots: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    for file in roots["ssv2"].glob("*.json"):
        (tmp_path / "labels" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "71.mp4").write_bytes(b"")
    listed = video_set("ssv2").read(tmp_path, videos="mine")
    assert listed.entries[0].path == tmp_path / "mine" / "71.mp4"


def test_class_folders_with_parts(tmp_path: Path) -> None:
    for name in ("train/a/1.mp4", "train/b/2.webm", "val/a/3.MP4", "val/a/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    listed = video_set("class_folders").read(tmp_path)
    assert [(entry.label, entry.split) for entry in listed.entries] == [("a", "train"), ("b", "train"), ("a", "val")]
    assert listed.labels == ("a", "b")


def test_a_list_of_frames(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("71 20 1\n34 18 0\n")
    listed = read_frame_list(tmp_path / "list.txt", tmp_path / "frames", ("x", "y"), "train", "img_{:05d}.jpg")
    assert [(entry.name, entry.frames, entry.label, entry.pictures) for entry in listed.entries] == [
        ("71", 20, "y", "img_{:05d}.jpg"), ("34", 18, "x", "img_{:05d}.jpg"),
    ]  # fmt: skip
    for line, found in (("71 20", "found 2 words"), ("71 20 2", "label 2; expected"), ("71 0 1", "0 frames")):
        (tmp_path / "list.txt").write_text(line)
        with pytest.raises(InputError, match=found):
            read_frame_list(tmp_path / "list.txt", tmp_path, ("x", "y"))


def spoil(root: Path, name: str, change: object) -> None:
    content = json.loads((root / name).read_text())
    (root / name).write_text(json.dumps(change(content)))  # type: ignore[operator]


def test_damaged_lists_are_refused_with_a_sentence(tmp_path: Path) -> None:
    root = VIDEO_SETS["ssv2"].example(tmp_path / "ssv2")
    spoil(root, "something-something-v2-train.json", lambda items: [{**items[0], "template": "Throwing [something]"}])
    with pytest.raises(InputError, match="template 'Throwing something' is not in the list of labels"):
        video_set("ssv2").read(root)
    spoil(root, "something-something-v2-labels.json", lambda labels: {**labels, "Throwing something": "7"})
    with pytest.raises(InputError, match="expected 0, 1, 2 and so on"):
        video_set("ssv2").read(root)
    (root / "something-something-v2-labels.json").write_text('{"Holding')
    with pytest.raises(InputError, match="download it again"):
        video_set("ssv2").read(root)

    root = VIDEO_SETS["ssv1"].example(tmp_path / "ssv1")
    (root / "something-something-v1-train.csv").write_text("71;Holding something\n34\n")
    with pytest.raises(InputError, match="line 2: '34' without a label; expected id;label"):
        video_set("ssv1").read(root)

    root = VIDEO_SETS["kinetics"].example(tmp_path / "kinetics")
    (root / "train.csv").write_text("a.mp4,2\n")
    with pytest.raises(InputError, match="labels 1 to 2; expected 0 to 1"):
        video_set("kinetics").read(root)
    (root / "train.csv").write_text("a.mp4\n")
    with pytest.raises(InputError, match="expected PATH,LABEL or PATH LABEL"):
        video_set("kinetics").read(root)

    root = VIDEO_SETS["diving48"].example(tmp_path / "diving48")
    spoil(root, "Diving48_V2_test.json", lambda items: [{**items[0], "label": 48}])
    with pytest.raises(InputError, match="entry 0: label 48; expected 0 to 1"):
        video_set("diving48").read(root)
    with pytest.raises(InputError, match="unknown data set of videos 'ssv3'; expected one of ssv1"):
        video_set("ssv3")
    (tmp_path / "empty").mkdir()
    for name, entry in VIDEO_SETS.items():
        with pytest.raises(InputError):
            entry.read(tmp_path / "empty")
        with pytest.raises(InputError, match="is not empty" if name != "empty" else ""):
            entry.example(root)


@pytest.mark.parametrize("name", VIDEO_SETS)
def test_prepare_lists_a_made_up_set(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, code, said in (
        (["--root", str(tmp_path / "set"), "--example", "--json", str(tmp_path / "found.json")], 0, f"--data.sets.{name}.root"),
        (["--root", str(tmp_path / "set"), "--out", "store"], 2, "leave --out store out"),
        ([], 2, "needs --root DIR"),
        (["--root", str(tmp_path / "none")], 2, "is not a folder"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["prepare", name, *arguments])
        assert ended.value.code == code
        shown = capsys.readouterr()
        assert said in " ".join((shown.out + shown.err).split())
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    labels, videos = EXPECTED[name]
    assert (found["labels"], found["videos"]) == (len(labels), len(videos))
