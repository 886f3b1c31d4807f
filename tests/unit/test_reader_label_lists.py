"""IPN Hand's and TACO's label lists: the examples, splits that contradict each other, folders that stopped half-way."""

from __future__ import annotations

from pathlib import Path

import pytest

from palmist.errors import InputError
from palmist.readers.label_lists import IPN_LABELS, read_ipn_hand, read_taco
from palmist.readers.label_lists_example import write_ipn_hand_example, write_taco_example


@pytest.fixture
def ipn(tmp_path: Path) -> Path:
    return write_ipn_hand_example(tmp_path / "ipn")


@pytest.fixture
def taco(tmp_path: Path) -> Path:
    return write_taco_example(tmp_path / "taco")


def test_the_example_of_ipn_hand(ipn: Path) -> None:
    videos = read_ipn_hand(ipn)
    assert [(v.name, v.split, len(v.segments)) for v in videos] == [
        ("1CM1_1_R_#217", "train", 3), ("1CM1_2_R_#218", "train", 2), ("4CM11_2_R_#12", "test", 2),
    ]  # fmt: skip
    click = videos[0].segments[2]  # frames 91 to 105 from 1, both ends: 3.0 s to 3.5 s
    assert (click.label, click.start, click.end) == ("click with one finger", 3.0, 3.5)


def test_segments_that_follow_each_other_leave_no_gap(ipn: Path) -> None:
    for video in read_ipn_hand(ipn):
        ends = [segment.end for segment in video.segments[:-1]]
        assert ends == [segment.start for segment in video.segments[1:]]
        assert video.segments[0].start == 0.0


def test_ipn_hand_has_fourteen_classes() -> None:
    assert (len(IPN_LABELS), len(set(IPN_LABELS.values()))) == (14, 14)


def test_the_whole_list_alone_gives_no_split(ipn: Path) -> None:
    for name in ("Train", "Test"):
        (ipn / f"annotations/Annot_{name}List.txt").unlink()
    assert [(video.split, len(video.segments)) for video in read_ipn_hand(ipn)] == [(None, 3), (None, 2), (None, 2)]


def test_a_video_in_train_and_test_is_refused(ipn: Path) -> None:
    with (ipn / "annotations/Annot_TestList.txt").open("a") as file:
        file.write("1CM1_1_R_#217,G01,4,91,105,15\n")
    with pytest.raises(InputError, match=r"TestList.txt, line 3: 1CM1_1_R_#217 stands in the train list too"):
        read_ipn_hand(ipn)


def test_two_labels_for_the_same_frames_are_refused(ipn: Path) -> None:
    file = ipn / "annotations/Annot_List.txt"
    file.write_text(file.read_text().replace("#217,G01,4", "#217,G02,5"))
    with pytest.raises(InputError, match="'click with two fingers' here and 'click with one finger' before"):
        read_ipn_hand(ipn)


def test_a_list_that_was_cut_off_is_named(ipn: Path) -> None:
    file = ipn / "annotations/Annot_TrainList.txt"
    file.write_text(file.read_text()[:-7])
    with pytest.raises(InputError, match=r"TrainList\.txt, line 5: found 4 columns, expected video,label,id"):
        read_ipn_hand(ipn)


def test_folders_without_lists_say_what_was_expected(tmp_path: Path, taco: Path) -> None:
    with pytest.raises(InputError, match=r"has none of Annot_TrainList\.txt"):
        read_ipn_hand(taco)
    for reader in (read_ipn_hand, read_taco):
        with pytest.raises(InputError, match="nowhere is not a folder; expected"):
            reader(tmp_path / "nowhere")


def test_the_example_of_taco_comes_once_though_two_archives_hold_it(taco: Path) -> None:
    triplets = read_taco(taco)
    assert [t.name for t in triplets] == [
        "(cut off, knife, plate)/20231006_001", "(stir, spoon, bowl)/20231005_038", "(stir, spoon, bowl)/20231005_039",
    ]  # fmt: skip
    assert (triplets[0].action, triplets[0].tool, triplets[0].object) == ("cut off", "knife", "plate")
    assert triplets[0].label == "cut off plate with knife"


def test_taco_without_sequences_is_named(tmp_path: Path) -> None:
    (tmp_path / "Hand_Poses" / "(stir, spoon, bowl)").mkdir(parents=True)
    with pytest.raises(InputError, match=r"no folder called '\(action, tool, object\)' with sequences"):
        read_taco(tmp_path)


@pytest.mark.parametrize("write", [write_ipn_hand_example, write_taco_example])
def test_examples_never_write_over_a_folder_in_use(tmp_path: Path, write: object) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty; expected a new folder"):
        write(tmp_path)  # type: ignore[operator]
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
