"""IPN Hand's and TACO's label lists: lines by hand, class numbers, splits, poses that the user tracked, damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from palmist.cli import app
from palmist.errors import InputError
from palmist.readers.example_motion import example_hands
from palmist.readers.ipn_hand import LABELS, read_ipn_hand, read_ipn_hand_poses
from palmist.readers.labelled_video_example import write_ipn_hand_example, write_taco_example
from palmist.readers.taco import read_taco, read_taco_poses

IPN = "annotation_ipnGesture"
TACO = "data_lists"


@pytest.fixture
def ipn(tmp_path: Path) -> Path:
    return write_ipn_hand_example(tmp_path / "ipn")


@pytest.fixture
def taco(tmp_path: Path) -> Path:
    return write_taco_example(tmp_path / "taco")


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


# --------------------------------------------------------------------------------------------------------------------
# IPN Hand


def test_lines_of_the_official_lists_by_hand(tmp_path: Path) -> None:
    """Class 14 of the full index is G11, class 13 of the index without "no gesture" too; frames 18 to 55 are 38 frames."""
    index = "\n".join(f"{number} {code}" for number, code in enumerate(LABELS, 1))
    (tmp_path / "classIndAll.txt").write_text(index)
    (tmp_path / "trainlistall.txt").write_text("./frames/1CM1_4_R_#229 1 1 17\n./frames/1CM1_4_R_#229 14 18 55\n")
    (tmp_path / "vallistall.txt").write_text("./frames/1CM1_1_R_#217 13 29 72\n")
    val, train = read_ipn_hand(tmp_path)
    assert (train.name, train.split, len(train.segments)) == ("1CM1_4_R_#229", "train", 2)
    zoom = train.segments[1]
    assert (zoom.label, zoom.start * 30, zoom.end * 30) == ("zoom out", pytest.approx(17), pytest.approx(55))
    assert train.segments[0].label == "no gesture"
    assert (val.split, val.segments[0].label) == ("val", "zoom in")


def test_without_no_gesture_class_numbers_count_from_one_again(ipn: Path) -> None:
    from_full = read_ipn_hand(ipn, classes=13)
    assert [len(video.segments) for video in from_full] == [2, 1, 1]
    for name in ("trainlistall.txt", "vallistall.txt", "classIndAll.txt"):
        (ipn / IPN / name).unlink()
    assert "./frames/1CM1_1_R_#217 3 91 105" in (ipn / IPN / "trainlistall_but_None.txt").read_text()  # G01: 4 in the other
    assert read_ipn_hand(ipn, classes=13) == from_full
    with pytest.raises(InputError, match=r"expected trainlistall\.txt, vallistall\.txt, classIndAll\.txt"):
        read_ipn_hand(ipn)
    with pytest.raises(InputError, match="classes is 12; expected 14, or 13"):
        read_ipn_hand(ipn, classes=12)


def test_segments_that_follow_each_other_leave_no_gap(ipn: Path) -> None:
    for video in read_ipn_hand(ipn):
        assert [s.end for s in video.segments[:-1]] == [s.start for s in video.segments[1:]]
        assert video.segments[0].start == 0.0


def test_ipn_hand_has_fourteen_classes() -> None:
    assert (len(LABELS), len(set(LABELS.values()))) == (14, 14)


def test_the_older_table_counts_frames_from_one_with_both_ends(tmp_path: Path) -> None:
    folder = tmp_path / "annotations"
    folder.mkdir()
    (folder / "Annot_TrainList.txt").write_text("1CM1_1_R_#217,D0X,1,1,30,30\n1CM1_1_R_#217,G01,4,31,45,15\n")
    (folder / "Annot_List.txt").write_text(
        "video,label,id,t_start,t_end,frames\n1CM1_1_R_#217,D0X,1,1,30,30\n4CM11_2_R_#12,B0A,2,10,39,30\n"
    )
    one, other = read_ipn_hand(tmp_path)
    assert (one.name, one.split, len(one.segments)) == ("1CM1_1_R_#217", "train", 2)
    assert (one.segments[1].label, one.segments[1].start, one.segments[1].end) == ("click with one finger", 1.0, 1.5)
    assert (other.split, other.segments[0].start) == (None, pytest.approx(0.3))
    assert [len(video.segments) for video in read_ipn_hand(tmp_path, classes=13)] == [1, 1]


@pytest.mark.parametrize(
    ("line", "says"),
    [("v,G99,4,1,2,2", "expected one of D0X"), ("v,G01,4,1,9,2", "are not 2"), ("v,G01,4,1", "found 4 columns"),
     ("v,G01,4,0,1,2", "from 1"), ("v,G01,4,a,1,2", "expected a whole number")],
)  # fmt: skip
def test_wrong_lines_of_the_older_table_are_named(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "Annot_List.txt").write_text(line + "\n")
    with pytest.raises(InputError, match=says):
        read_ipn_hand(tmp_path)


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("trainlistall.txt", "4 91 105", "4 91", r"trainlistall\.txt, line 3: found 3 words, expected \./frames/VIDEO class"),
        ("trainlistall.txt", "4 91 105", "15 91 105", r"line 3: class 15; expected 1 to 14, as classIndAll\.txt names them"),
        ("trainlistall.txt", "4 91 105", "4 105 91", "line 3: frames 105 to 91; expected first to last, from 1"),
        ("trainlistall.txt", "1 1 30", "1 0 30", "line 1: frames 0 to 30"),
        ("trainlistall.txt", "4 91 105", "4 91 1o5", "expected a whole number"),
        ("vallistall.txt", "4CM11_2_R_#12 14", "1CM1_1_R_#217 14", "1CM1_1_R_#217 stands in the train list too"),
        ("trainlistall.txt", "4 91 105", "4 31 90", "is 'click with one finger' here and 'pointing with one finger' before"),
        ("classIndAll.txt", "\n14 G11", "", r"classIndAll\.txt names 13 classes; expected 14; it may be cut off"),
        ("classIndAll.txt", "4 G01", "4 G77", r"line 4: found '4 G77', expected a number and one of D0X"),
    ],
)
def test_damaged_lists_are_named(ipn: Path, file: str, old: str, new: str, says: str) -> None:
    change(ipn / IPN / file, old, new)
    with pytest.raises(InputError, match=says):
        read_ipn_hand(ipn)


# --------------------------------------------------------------------------------------------------------------------
# TACO


def test_triplet_and_split_come_from_the_lists(taco: Path) -> None:
    triplets = {t.name: t for t in read_taco(taco)}
    assert list(triplets) == ["20231005_038", "20231005_039", "20231006_001"]
    pour = triplets["20231006_001"]
    assert (pour.verb, pour.tool, pour.target, pour.split) == ("pour in some", "kettle", "cup", "test_4")
    assert pour.label == "pour in some cup with kettle"
    assert triplets["20231005_039"].split == "test_1"


def test_fewer_sequences_have_videos_of_a_kind(taco: Path) -> None:
    assert [t.name for t in read_taco(taco, "egocentric")] == ["20231005_038", "20231005_039"]
    assert [t.name for t in read_taco(taco, "marker_removed")] == ["20231005_038"]
    with pytest.raises(InputError, match="expected one of overall, egocentric, marker_removed"):
        read_taco(taco, "depth")


def test_without_lists_triplets_come_from_folder_names_once_each(tmp_path: Path) -> None:
    for archive in ("Hand_Poses", "Object_Poses"):
        for triplet, sequence in (("(stir, spoon, bowl)", "20231005_038"), ("(cut off, knife, plate)", "20231006_001")):
            (tmp_path / archive / triplet / sequence).mkdir(parents=True)
    (tmp_path / "Hand_Poses" / "notes").mkdir()
    stir, cut = read_taco(tmp_path)
    assert (cut.verb, cut.tool, cut.target) == ("cut off", "knife", "plate")
    assert (stir.name, stir.label, stir.split) == ("20231005_038", "stir bowl with spoon", None)
    with pytest.raises(InputError, match=r"\(verb, tool, target\)"):
        read_taco(tmp_path / "Hand_Poses" / "notes")
    (tmp_path / "Egocentric" / "(stir, spoon, cup)" / "20231005_038").mkdir(parents=True)
    with pytest.raises(InputError, match="elsewhere 'stir"):
        read_taco(tmp_path)


ALL = "v1_overall_data_sequences.txt"
PARTS = "v1_overall_data_train_test_split.txt"


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        (ALL, "(stir, spoon, bowl) 20231005_039", "(stir, spoon) 20231005_039", r"line 2: found '\(stir, spoon\) 2023"),
        (ALL, "20231005_039", "20231005_038", "line 2: 20231005_038 stands there twice"),
        (ALL, "20231005_039", "20231005_040", "has no split for 20231005_040"),
        (ALL, "(pour in some, kettle, cup) 20231006_001\n", "", "lists 2 sequences, but .* 3; expected the same ones"),
        (PARTS, ",test_4", ",tes", "line 3: found '20231006_001,tes', expected SEQUENCE,split with one of train, test_1"),
        (PARTS, "20231005_039", "20231005_038", "20231005_038 is in test_1 here and in train before"),
    ],
)
def test_lists_that_are_damaged_or_do_not_fit_are_named(taco: Path, file: str, old: str, new: str, says: str) -> None:
    change(taco / TACO / file, old, new)
    with pytest.raises(InputError, match=says):
        read_taco(taco)


def test_the_split_list_is_needed(taco: Path) -> None:
    (taco / TACO / PARTS).unlink()
    with pytest.raises(InputError, match=f"{PARTS} does not exist; expected it beside"):
        read_taco(taco)


# --------------------------------------------------------------------------------------------------------------------
# Hands that the user tracked


def test_tracked_hands_get_the_labels_of_their_video(ipn: Path) -> None:
    recordings = {r.name: r for r in read_ipn_hand_poses(ipn)}
    recording = recordings["ipn_hand/1CM1_1_R_#217"]
    np.testing.assert_allclose(recording.joints, example_hands(105, 30.0), atol=1e-6)
    assert recording.split == "train"
    assert [recording.frames_of(s) for s in recording.segments] == [slice(0, 30), slice(30, 90), slice(90, 105)]


def test_a_triplet_labels_the_whole_recording(taco: Path) -> None:
    recording = list(read_taco_poses(taco))[2]
    (segment,) = recording.segments
    assert recording.frames_of(segment) == slice(0, 45)
    assert (segment.verb, segment.noun, recording.split) == ("pour in some", "cup", "test_4")
    assert recording.provenance["triplet"] == ["pour in some", "kettle", "cup"]


def test_videos_that_were_not_tracked_are_counted(ipn: Path) -> None:
    (ipn / "poses" / "1CM1_1_R_#217.npz").unlink()
    with pytest.warns(UserWarning, match="1 of 3 listed videos have no poses"):
        assert len(list(read_ipn_hand_poses(ipn))) == 2


def cut_video(root: Path) -> None:
    from palmist import read_recording, write_recording

    file = root / "poses" / "1CM1_1_R_#217.npz"
    write_recording(file, read_recording(file).slice(0, 60))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda root: shutil.rmtree(root / "poses"), "holds no hand poses of the 3 listed videos; ipn_hand gives labels only"),
        (cut_video, "ends at 2.00 s, but its labels at 3.50 s; expected the whole video"),
        (lambda root: (root / IPN / "vallistall.txt").unlink(), "fetch annotation_ipnGesture/ of the set's repository again"),
    ],
)
def test_damage_ends_the_command_with_code_2_and_one_sentence(
    ipn: Path, tmp_path: Path, damage: Callable[[Path], object], says: str
) -> None:
    damage(ipn)
    with pytest.raises(InputError, match=says):
        list(read_ipn_hand_poses(ipn))
    result = CliRunner().invoke(app, ["prepare", "ipn_hand", "--root", str(ipn), "--out", str(tmp_path / "store")])
    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.parametrize("reader", [read_ipn_hand, read_taco])
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, reader: Callable[[Path], object]) -> None:
    with pytest.raises(InputError, match="nowhere is not a folder; expected"):
        reader(tmp_path / "nowhere")


@pytest.mark.parametrize("write", [write_ipn_hand_example, write_taco_example])
def test_examples_never_write_over_a_folder_in_use(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty; expected a new folder"):
        write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
