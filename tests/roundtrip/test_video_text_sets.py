"""Readers of videos with sentences, over tiny made-up sets in the exact official layouts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palmist.cli import main
from palmist.errors import InputError
from palmist.metrics import keyframe_error, moment_retrieval, temporal_detection
from palmist.perception.video import Video
from palmist.video_text import TEXT_SETS, text_set
from palmist.video_text.ego4d_tasks import nlq_submission, read_ground_nlq
from palmist.video_text.examples import MISSING


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sets")
    return {name: entry.example(folder / name) for name, entry in TEXT_SETS.items()}


def contents(name: str, roots: dict[str, Path]) -> Any:
    return text_set(name).read(roots[name])


LISTINGS: dict[str, tuple[dict[str, int], int, int]] = {
    "epic_kitchens": ({"train": 5, "validation": 4, "test": 1}, 4, 1),
    "egtea": ({"train1": 2, "test1": 1, "train2": 2, "test2": 1, "train3": 2, "test3": 1}, 3, 1),
    "egoclip": ({"train": 3}, 2, 1),
    "ego_hod": ({"ego_hod": 2, "howto100m_hod": 1}, 3, 1),
    "egomcq": ({"inter": 1, "intra": 2}, 5, 1),
    "ego4d_nlq": ({"train": 2, "test": 1}, 2, 1),
    "ego4d_mq": ({"val": 1}, 1, 0),
    "ego4d_state_change": ({"train": 2, "test": 1}, 2, 1),
}


@pytest.mark.parametrize("name", TEXT_SETS)
def test_what_is_there_is_counted(name: str, roots: dict[str, Path]) -> None:
    found = contents(name, roots).listing()
    assert (dict(found.splits), found.videos, found.missing) == LISTINGS[name]


def test_epic_kitchens(roots: dict[str, Path]) -> None:
    found = contents("epic_kitchens", roots)
    first, _, third, late, _ = found.of_split("train")
    assert (first.video, first.start, first.end, first.texts, first.uid) == ("P01_01", 0.1, 1.0, ("take a cup",), "P01_01_0")
    assert (third.verbs, third.nouns, third.label) == ((1,), (10, 1), "1:10")
    assert late.start == 3723.5
    assert [clip.texts for clip in found.of_split("test")] == [()]
    assert Video(first.path).info.frames == 12
    assert found.unseen == ("P18",)
    assert found.verbs[2] == "cut"
    assert found.action_classes() == ("0:0", "1:1", "1:10", "1:2", "2:3")  # sorted as text
    texts = found.class_texts()
    assert texts["0:0"] == ("take a cup", "pick up the cup", "take cup and plate")
    assert list(texts) == list(found.action_classes())
    gone = [clip.uid for clip in found.clips if clip.path is None]
    assert gone == ["P18_01_0", "P18_01_1", "P18_01_2"]
    assert all(uid.startswith(MISSING["epic_kitchens"]) for uid in gone)
    with pytest.raises(InputError, match="no clip of split 'val'"):
        found.of_split("val")


def test_epic_retrieval_follows_the_sentence_file_and_the_first_row_of_a_sentence(roots: dict[str, Path]) -> None:
    part = contents("epic_kitchens", roots).retrieval["test"]
    assert part.sentences == ("take a cup", "cut an apple, slowly", "take cup and plate")
    assert part.columns.tolist() == [0, 2, 1]
    assert [part.clips[row].texts[0] for row in part.columns] == list(part.sentences)
    expected = [[1, 0, 0.75], [0.75, 0, 1], [0, 1, 0], [1, 0, 0.75]]
    assert part.relevancy().tolist() == expected
    assert part.relevancy(slice(1, 3)).tolist() == expected[1:3]
    assert part.positives(1).tolist() == [0, 2]


def test_classes_of_a_sentence_are_those_of_its_first_row(roots: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    shutil.copytree(roots["epic_kitchens"], tmp_path / "set")
    folder = tmp_path / "set" / "epic-kitchens-100-annotations" / "retrieval_annotations"
    rows = (folder / "EPIC_100_retrieval_test.csv").read_text()
    assert rows.count("[0]") == 2
    changed = rows[: rows.rindex("[0]")] + '"[0, 9]"' + rows[rows.rindex("[0]") + 3 :]  # the last row that says it
    (folder / "EPIC_100_retrieval_test.csv").write_text(changed)
    sentences = (folder / "EPIC_100_retrieval_test_sentence.csv").read_text()
    (folder / "EPIC_100_retrieval_test_sentence.csv").write_text(sentences.replace("P02_03_1,", "P18_01_2,"))
    part = text_set("epic_kitchens").read(tmp_path / "set").retrieval["test"]
    assert part.columns.tolist() == [3, 2, 1]
    assert (part.clips[3].nouns, part.nouns[0]) == ((0, 9), (0,))
    assert part.relevancy()[3, 0] == 0.75


def test_a_sentence_is_what_its_row_says(tmp_path: Path) -> None:
    root = text_set("epic_kitchens").example(tmp_path / "set")
    folder = root / "epic-kitchens-100-annotations" / "retrieval_annotations"
    file = folder / "EPIC_100_retrieval_test_sentence.csv"
    file.write_text(file.read_text().replace("take a cup", "Take  a cup "))
    assert text_set("epic_kitchens").read(root).retrieval["test"].sentences[0] == "take a cup"
    file.write_text(file.read_text().splitlines()[0] + "\n")
    with pytest.raises(InputError, match=r"there is no sentence; expected the sentences of EPIC_100_retrieval_test.csv"):
        text_set("epic_kitchens").read(root)


def test_egtea(roots: dict[str, Path]) -> None:
    found = contents("egtea", roots)
    assert found.actions == ("Cut apple", "Put_down cup", "Take bread, plate")
    assert found.class_texts() == ("cut apple", "put down cup", "take bread, plate")
    (clip,) = found.of_split("test2")
    assert (clip.verbs, clip.nouns, clip.label, clip.texts) == ((1,), (0,), "Put_down cup", ("put down cup",))
    assert (clip.start, clip.end) == (0.0, 1.5)
    assert dict(clip.extra) == {"recording": "P20-R01-Toast", "start": 1.0, "end": 2.5}
    assert Video(clip.path).info.frames == 12
    (gone,) = found.of_split("test3")
    assert (gone.path, gone.nouns, gone.uid) == (None, (2, 3), MISSING["egtea"])
    with pytest.raises(InputError, match="expected one of test1, test2"):
        found.of_split("test4")


def test_egoclip(roots: dict[str, Path]) -> None:
    clips = contents("egoclip", roots)
    assert len(clips) == 3
    first, second, third = clips
    assert (first.start, first.end, first.verbs, first.nouns) == (0.0, 2.25, (93,), (27, 125))
    assert second.texts == ('#C C says "pour", then pours',)
    assert third.texts == ("#C C stirs,\nthen waits é",)
    assert third.path is None
    assert Video(first.path).info.frames == 12
    assert clips[-1] == third
    assert clips[1:] == [second, third]
    assert first.extra["narration_source"] == "narration_pass_1"
    with pytest.raises(IndexError):
        clips[3]


def test_ego_hod(roots: dict[str, Path]) -> None:
    clips = contents("ego_hod", roots)
    first, second, third = clips
    assert first.texts == ("The left hand moves up, then right.",)
    assert [piece.path.name for piece in first.pieces()] == ["0000.mp4", "0001.mp4", "0002.mp4"]
    assert all(piece.path.is_file() for piece in first.pieces())
    assert second.texts == ("It's a hand, which stays.", 'The "other" hand moves down.')
    assert (second.start, second.end, second.uid) == (3.0, 4.0, "c0")  # a second at least
    assert (third.extra["dataset"], third.uid, third.video) == ("howto", "howto100m_hod_0", "made-up-h")
    assert third.pieces()[0].path.parts[-3:] == ("howto", "made-up-h", "0000.mp4")
    assert clips[-3] == first


def test_columns_of_ego_hod_may_be_named(roots: dict[str, Path], tmp_path: Path) -> None:
    text = (roots["ego_hod"] / "ego_hod.csv").read_text()
    (tmp_path / "ego_hod.csv").write_text(text.replace("caption", "words"))
    with pytest.raises(InputError, match="expected one called text or caption"):
        text_set("ego_hod").read(tmp_path)
    assert text_set("ego_hod").read(tmp_path, {"text": "words"})[0].texts == ("The left hand moves up, then right.",)
    with pytest.raises(InputError, match="columns names sentence; expected video"):
        text_set("ego_hod").read(tmp_path, {"sentence": "words"})


def test_egomcq(roots: dict[str, Path]) -> None:
    questions = contents("egomcq", roots).questions
    assert [(question.answer, question.type) for question in questions] == [(3, "inter"), (0, "intra"), (4, "intra")]
    assert questions[0].text == "#C C at 6"
    assert [clip.video[-1] for clip in questions[0].choices] == ["a", "b", "c", "d", "e"]
    assert questions[0].choices[2].path is None
    assert (questions[1].choices[4].start, questions[1].choices[4].end) == (14.0, 15.5)
    assert questions[0].choices[0].nouns == (27,)


def test_nlq_in_both_forms(roots: dict[str, Path]) -> None:
    found = contents("ego4d_nlq", roots)
    flat = read_ground_nlq(roots["ego4d_nlq"] / "ground_nlq_train.jsonl", "train", None)
    train = found.of_split("train")
    assert found.left_out == 1
    assert [(item.clip.uid, item.moments, item.clip.texts, item.clip.end) for item in train] == [
        (item.clip.uid, item.moments, item.clip.texts, item.clip.end) for item in flat.items
    ]
    assert (train[1].moments[0].start, train[1].moments[0].end, train[1].clip.extra["query_idx"]) == (60.0, 61.0, 2)
    (asked,) = found.of_split("test")
    assert (asked.moments, asked.clip.texts) == ((), ("Who opened the lid?",))
    truth = [(moment.start, moment.end) for item in train for moment in item.moments]
    answers = [[(3.0, 5.0)], [(0.0, 1.0), (60.0, 61.0)]]
    measured = moment_retrieval(answers, truth)
    assert (measured.recall[1, 0.5].value, measured.recall[5, 0.5].value) == (0.5, 1.0)
    assert nlq_submission(train, answers)[1] == {
        "clip_uid": "made-up-clip", "annotation_uid": "note-1", "query_idx": 2, "predicted_times": [[0.0, 1.0], [60.0, 61.0]],
    }  # fmt: skip


def test_mq_counts_primary_labels(roots: dict[str, Path]) -> None:
    found = contents("ego4d_mq", roots)
    assert [moment.label for moment in found.items[0].moments] == ["cut_apple", "wash_hands"]
    assert temporal_detection(found.truth()[:1], found.truth()).mean_average_precision[:2] == (0.5, 2)


def test_the_test_part_of_mq_has_no_annotations(tmp_path: Path) -> None:
    root = text_set("ego4d_mq").example(tmp_path / "set")
    file = root / "annotations" / "moments_val.json"
    content = json.loads(file.read_text())
    del content["videos"][0]["clips"][0]["annotations"]
    (root / "annotations" / "moments_test_unannotated.json").write_text(json.dumps(content))
    (asked,) = text_set("ego4d_mq").read(root).of_split("test")
    assert (asked.moments, asked.clip.end) == ((), 480.0)
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"moments_val.json, made-up-clip: found .* expected 'annotations'"):
        text_set("ego4d_mq").read(root)


def test_state_changes(roots: dict[str, Path]) -> None:
    found = contents("ego4d_state_change", roots)
    change, none = found.of_split("train")
    assert (change.changes, change.keyframe, change.frames, change.rate) == (True, 120, 240, 30.0)
    assert (change.clip.start, change.clip.end) == (10.0, 18.0)
    assert (none.changes, none.keyframe, none.clip.path) == (False, None, None)
    assert found.of_split("test")[0].changes is None
    frames = np.array([np.nan if item.keyframe is None else item.keyframe for item in (change, none)])
    assert keyframe_error([10, 3], [240, 240], frames, 30.0, [True, False])[:2] == (1.0, 1)


@pytest.mark.parametrize("name", TEXT_SETS)
def test_prepare_lists_a_made_up_set(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, code, said in (
        (["--root", str(tmp_path / "set"), "--example", "--json", str(tmp_path / "found.json")], 0, "not found below"),
        (["--root", str(tmp_path / "set"), "--out", "store"], 2, "leave --out store out"),
        (["--root", str(tmp_path / "set"), "--example"], 2, "is not empty"),
        ([], 2, "needs --root DIR"),
        (["--root", str(tmp_path / "none")], 2, "is not a folder"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["prepare", name, *arguments])
        assert ended.value.code == code
        shown = capsys.readouterr()
        assert said in " ".join((shown.out + shown.err).split())
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert (found["splits"], found["videos"], found["missing_videos"]) == LISTINGS[name]


def test_datasets_lists_them(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["datasets", "--json", str(tmp_path / "all.json")])
    listed = {entry["name"]: entry for entry in json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))}
    assert all(listed[name]["licence"] == entry.licence and listed[name]["url"] for name, entry in TEXT_SETS.items())
