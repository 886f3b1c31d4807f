"""Damaged lists of videos with sentences: each is refused with a sentence that names the file and the place."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from palmist.errors import InputError
from palmist.video_text import TEXT_SETS, text_set
from palmist.video_text.ego4d_tasks import read_ground_nlq

EPIC = "epic-kitchens-100-annotations/"
PARTS = EPIC + "retrieval_annotations/"

#: data set, file, what stands there, what is put there, what is said
TEXTS = [
    ("epic_kitchens", EPIC + "EPIC_100_train.csv", "00:00:01.90", "1.9", "EPIC_100_train.csv, line 3: found the time '1.9'"),
    ("epic_kitchens", EPIC + "EPIC_100_train.csv", "00:00:01.90", "00:00:00.90", "line 3: found a clip from 1.0 to 0.9 s"),
    ("epic_kitchens", EPIC + "EPIC_100_train.csv", '"[10, 1]"', "[10", "line 4, all_noun_classes: found '\\[10'"),
    ("epic_kitchens", EPIC + "EPIC_100_train.csv", "sponge,10", "sponge,11", "line 4: verb 1 and noun 11; expected 0 to 2 and"),
    ("epic_kitchens", EPIC + "EPIC_100_train.csv", "sponge,10", "sponge,ten", "noun_class in line 4 is 'ten'"),
    ("epic_kitchens", EPIC + "EPIC_100_train.csv", "all_noun_classes", "x", "expected one called all_noun_classes"),
    ("epic_kitchens", EPIC + "EPIC_100_noun_classes.csv", "\n3,", "\n33,", "otherwise than 0, 1, 2"),
    ("epic_kitchens", PARTS + "EPIC_100_retrieval_test_sentence.csv", "P18_01_0", "P18_01_9", "P18_01_9 .* is not in it"),
    ("epic_kitchens", PARTS + "EPIC_100_retrieval_test_sentence.csv", "P18_01_0", "P18_01_1", "slowly' there"),
    ("egtea", "action_annotation/action_idx.txt", "cup 2", "cup", "the last word of line 2 is 'cup'"),
    ("egtea", "action_annotation/action_idx.txt", "cup 2", "cup 5", "otherwise than 1, 2, 3"),
    ("egtea", "action_annotation/test_split1.txt", " 1 1 2 ", "", "test_split1.txt, line 1: found 'P20-R01-Toast-0"),
    ("egtea", "action_annotation/test_split1.txt", " 1 1 2 ", " 0 1 2", "action 0; expected numbers from 1, actions up to 3"),
    ("egtea", "action_annotation/test_split1.txt", " 1 1 2 ", " 4 1 2", "action 4; expected numbers from 1"),
    ("egtea", "action_annotation/test_split1.txt", "-0-1000", "-2000-1000", "the clip runs from 2.0 to 1.0 s"),
    ("egoclip", "egoclip.csv", "\t", ",", "expected one called video_uid, with tabs"),
    ("egoclip", "egoclip.csv", "\t40.0\t", "\t", "line 2: found 10 columns, expected 11"),
    ("ego_hod", "ego_hod.csv", "31.0", "soon", "line 2: found the times '14.0' and 'soon'"),
    ("ego_hod", "ego_hod.csv", "caption", "c", "expected one called text or caption or clip_text"),
]  # fmt: skip

#: data set, file, what is done to it, what is said
JSONS: list[tuple[str, str, Callable[[Any], Any], str]] = [
    ("egomcq", "egomcq.json", lambda c: [], "holds list; expected an object with a question"),
    ("egomcq", "egomcq.json", lambda c: c["1"]["choices"].pop("2"), "found the choices 0, 1, 3, 4; expected 0 to 4"),
    ("egomcq", "egomcq.json", lambda c: c["1"].update(answer=5), "question 1: answer 5 and type 2"),
    ("egomcq", "egomcq.json", lambda c: c["2"].update(types=3), "question 2: answer 4 and type 3"),
    ("egomcq", "egomcq.json", lambda c: c["2"].pop("query"), "question 2: found .* expected 'query'"),
    ("egomcq", "egomcq.json", lambda c: c["0"]["choices"]["3"].update(clip_start="x"), "question 0, choice 3: found the times"),
    ("egomcq", "egomcq.json", lambda c: c["0"]["choices"]["3"].update(clip_end=1.0), "question 0, choice 3: clip 0_3"),
    ("egomcq", "egomcq.json", lambda c: c["0"]["choices"]["3"].update(tag_verb="[x"), "question 0, choice 3, tag_verb: found"),
    ("ego4d_nlq", "annotations/nlq_train.json", lambda c: c.pop("videos"), "found nothing, expected 'videos'"),
    ("ego4d_nlq", "annotations/nlq_train.json", lambda c: c["videos"][0]["clips"][0].update(video_end_sec=1), "runs from 100"),
    ("ego4d_nlq", "annotations/nlq_train.json", lambda c: c["videos"][0].update(clips={}), "clips holds dict; expected a list"),
    ("ego4d_nlq", "annotations/nlq_train.json",
     lambda c: c["videos"][0]["clips"][0]["annotations"][0]["language_queries"][2].update(clip_end_sec=1.0),
     "annotation note-1, query 2: found a moment from 60.0 to 1.0 s"),
    ("ego4d_mq", "annotations/moments_val.json",
     lambda c: c["videos"][0]["clips"][0]["annotations"][0]["labels"][0].update(start_time="a"), "found 'a'; expected"),
    ("ego4d_state_change", "annotations/fho_oscc-pnr_train.json", lambda c: c["clips"][0].pop("parent_end_sec"),
     "clip 0: found .* expected 'parent_end_sec'"),
    ("ego4d_state_change", "annotations/fho_oscc-pnr_train.json", lambda c: c["clips"][0].update(parent_pnr_frame=999),
     "clip 0: the change is at frame 999; expected one from 300 to 540"),
]  # fmt: skip


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sets")
    return {name: entry.example(folder / name) for name, entry in TEXT_SETS.items()}


def refused(name: str, root: Path, file: str, content: str, said: str) -> None:
    """Put `content` into the file, expect the sentence, and mend the file."""
    before = (root / file).read_bytes()
    try:
        (root / file).write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=said) as error:
            text_set(name).read(root)
        assert Path(file).name in str(error.value)
        assert "\n" not in str(error.value)
    finally:
        (root / file).write_bytes(before)


@pytest.mark.parametrize(("name", "file", "there", "instead", "said"), TEXTS)
def test_tables(name: str, file: str, there: str, instead: str, said: str, roots: dict[str, Path]) -> None:
    content = (roots[name] / file).read_text(encoding="utf-8")
    assert there in content
    refused(name, roots[name], file, content.replace(there, instead), said)


@pytest.mark.parametrize(("name", "file", "change", "said"), JSONS)
def test_json(name: str, file: str, change: Callable[[Any], Any], said: str, roots: dict[str, Path]) -> None:
    content = json.loads((roots[name] / file).read_text(encoding="utf-8"))
    result = change(content)
    refused(name, roots[name], file, json.dumps(result if result == [] else content), said)


FILES = {
    "epic_kitchens": EPIC + "EPIC_100_validation.csv", "egtea": "action_annotation/action_idx.txt", "egoclip": "egoclip.csv",
    "ego_hod": "ego_hod.csv", "egomcq": "egomcq.json", "ego4d_nlq": "annotations/nlq_train.json",
    "ego4d_mq": "annotations/moments_val.json", "ego4d_state_change": "annotations/fho_oscc-pnr_train.json",
}  # fmt: skip


@pytest.mark.parametrize("name", TEXT_SETS)
def test_files_that_are_cut_or_no_text(name: str, roots: dict[str, Path]) -> None:
    path = roots[name] / FILES[name]
    before = path.read_bytes()
    try:
        for content in (before[: len(before) // 2], b"\x89PNG\r\n\xff\x00\xfe" * 9, b""):
            path.write_bytes(content)
            with pytest.raises(InputError):
                text_set(name).read(roots[name])
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("name", TEXT_SETS)
def test_changed_bytes_are_read_or_refused_and_nothing_else(name: str, roots: dict[str, Path]) -> None:
    path, draw = roots[name] / FILES[name], random.Random(name)
    before = path.read_bytes()
    pieces = [b"", b"null", b"[]", b"-1", b"1e999", b'"', b",", b"\n", b"\xff", b"{}", b"nan"]
    try:
        for _ in range(60):
            place = draw.randrange(len(before))
            path.write_bytes(before[:place] + draw.choice(pieces) + before[place + draw.randrange(12) :])
            with contextlib.suppress(InputError):
                found = text_set(name).read(roots[name])
                found.listing()
                list(found if isinstance(found, Sequence) else ())
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("name", TEXT_SETS)
def test_folders_without_the_set(name: str, roots: dict[str, Path], tmp_path: Path) -> None:
    for root, said in ((tmp_path, "expected"), (tmp_path / "none", "is not a folder")):
        with pytest.raises(InputError, match=said):
            text_set(name).read(root)
    with pytest.raises(InputError, match="is not empty"):
        TEXT_SETS[name].example(roots[name])
    with pytest.raises(InputError, match="unknown data set of videos with texts 'epic'; expected one of epic_kitchens"):
        text_set("epic")


def test_a_damaged_field_is_named_when_its_clip_is_asked_for(roots: dict[str, Path], tmp_path: Path) -> None:
    text = (roots["ego_hod"] / "ego_hod.csv").read_text(encoding="utf-8")
    (tmp_path / "ego_hod.csv").write_text(text.replace("moves down.']", "moves down."), encoding="utf-8")
    clips = text_set("ego_hod").read(tmp_path)
    assert clips[0].texts
    with pytest.raises(InputError, match=r"ego_hod.csv, line 3, text: .* is not a whole list of sentences"):
        clips[1]
    text = (roots["egoclip"] / "egoclip.csv").read_text(encoding="utf-8")
    (tmp_path / "egoclip.csv").write_text(text.replace("[7]", "seven"), encoding="utf-8")
    with pytest.raises(InputError, match=r"egoclip.csv, line 4, tag_verb: found 'seven'"):
        text_set("egoclip").read(tmp_path)[2]


def test_flat_questions(tmp_path: Path) -> None:
    row = {"query": "q", "query_id": "a_0", "duration": 3.0, "video_id": "v", "timestamps": [[0, 1]]}
    for change, said in (
        ({"query_id": "a"}, "line 2: found the query_id 'a'"),
        ({"duration": "long"}, "line 2: found 'long'"),
        ({"duration": 10**400}, r"line 2 is not whole JSON \(a number of 401 digits\)"),
        ({"timestamps": [2, 1]}, "line 2: found the timestamps"),
        ({"timestamps": [[2, 1]]}, "line 2: found a moment from 2.0 to 1.0 s"),
    ):
        (tmp_path / "f.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({**row, **change}) + "\n")
        with pytest.raises(InputError, match=said):
            read_ground_nlq(tmp_path / "f.jsonl")
    (tmp_path / "f.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row)[:20])
    with pytest.raises(InputError, match="line 2 is not whole JSON"):
        read_ground_nlq(tmp_path / "f.jsonl")
    with pytest.raises(InputError, match="does not exist"):
        read_ground_nlq(tmp_path / "none.jsonl")
