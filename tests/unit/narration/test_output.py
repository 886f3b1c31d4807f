"""The two files of a run: whole lines count, the csv says what the lines say."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import pytest

from narrated_clips import write_clip
from palmist.errors import InputError
from palmist.narration.many import DetectorChoice, Job, narrate_span
from palmist.narration.output import COLUMNS, NarrationFolder, hands_seen, line_of, narration_of, read_lines
from palmist.narration.rewrite import Rewrite
from palmist.narration.sources import list_spans

SETTINGS = {"source": "videos", "clip_seconds": 1.0, "detector": "detections"}


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Four clips' lines."""
    folder = tmp_path_factory.mktemp("clips")
    for name in "abcd":
        write_clip(folder, name, 10)
    job = Job(DetectorChoice("detections", None, folder / "detections"))
    made = []
    for span in list_spans(folder).spans:
        narration = narrate_span(span, job).narration
        assert narration is not None
        line = line_of(span, narration, narration.text, Rewrite(narration.text, "template"))
        made.append(json.loads(json.dumps(line)))
    return made


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "narrations.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(folder: Path, lines: list[dict], order: list[str] | None = None) -> None:
    with NarrationFolder(folder, SETTINGS) as opened:
        opened.expect(order or [line["uid"] for line in lines])
        for line in lines:
            opened.append(line)


def test_csv_and_lines_agree(lines: list[dict], tmp_path: Path) -> None:
    write(tmp_path, lines)
    found = rows(tmp_path)
    assert tuple(found[0]) == COLUMNS == ("dataset", "video_id", "start_second", "end_second", "text", "uid")
    assert list(read_lines(tmp_path / "narrations.jsonl")) == lines
    for row, line in zip(found, lines, strict=True):
        assert row == {name: str(line[name]) for name in COLUMNS}


def test_a_line_gives_its_narration_back(lines: list[dict]) -> None:
    narration = narration_of(lines[0])
    assert json.loads(json.dumps(narration.to_json())) == {name: lines[0][name] for name in narration.to_json()}
    assert hands_seen(narration) == 1.0
    assert narration.tracks.hand("right") is not None


def test_a_text_with_commas_quotes_and_other_letters_survives(lines: list[dict], tmp_path: Path) -> None:
    text = 'Die rechte Hand, "ruhig",\nbleibt – 停'
    write(tmp_path, [{**lines[0], "text": text}])
    assert rows(tmp_path)[0]["text"] == text


def test_going_on_knows_what_is_done(lines: list[dict], tmp_path: Path) -> None:
    write(tmp_path, lines[:2])
    with NarrationFolder(tmp_path, SETTINGS) as folder:
        assert [line["uid"] in folder for line in lines] == [True, True, False, False]
        assert len(folder) == 2
        assert folder.line(lines[1]["uid"]) == lines[1]
        assert folder.outcome(lines[0]["uid"]) == "template"
        folder.append(lines[2])
        assert folder.line(lines[0]["uid"]) == lines[0]
        folder.append(lines[3])
    assert list(read_lines(tmp_path / "narrations.jsonl")) == lines
    assert len(rows(tmp_path)) == 4


def test_lines_end_in_the_order_of_the_source_each_once(lines: list[dict], tmp_path: Path) -> None:
    a, b, c, d = lines
    later = {**b, "text": "The right hand stays still."}
    write(tmp_path, [d, b, a, later, c], [line["uid"] for line in lines])
    assert list(read_lines(tmp_path / "narrations.jsonl")) == [a, later, c, d]
    assert [row["text"] for row in rows(tmp_path)] == [line["text"] for line in (a, later, c, d)]
    once = tmp_path / "once"
    write(once, [a, later, c, d])
    assert (once / "narrations.jsonl").read_bytes() == (tmp_path / "narrations.jsonl").read_bytes()


def test_clips_without_hands_are_in_the_lines_alone(lines: list[dict], tmp_path: Path) -> None:
    write(tmp_path, [{**lines[0], "hands_seen": 0.49}, {**lines[1], "hands_seen": 0.5}])
    assert [row["uid"] for row in rows(tmp_path)] == [lines[1]["uid"]]
    assert len(list(read_lines(tmp_path / "narrations.jsonl"))) == 2


def test_hands_that_were_filled_in_are_not_seen(lines: list[dict]) -> None:
    narration = narration_of(lines[0])
    hands = tuple(
        dataclasses.replace(hand, records=tuple(dataclasses.replace(r, filled=r.frame >= 4) for r in hand.records))
        for hand in narration.tracks.hands
    )
    changed = dataclasses.replace(narration, tracks=dataclasses.replace(narration.tracks, hands=hands))
    assert hands_seen(changed) == 0.4
    assert hands_seen(dataclasses.replace(narration, tracks=dataclasses.replace(narration.tracks, hands=()))) == 0


def test_other_settings_are_refused_in_one_sentence(lines: list[dict], tmp_path: Path) -> None:
    write(tmp_path, lines[:1])
    with pytest.raises(
        InputError, match=r'begun with clip_seconds 1\.0 instead of 2\.0, detector "detections" instead of "network"'
    ):
        NarrationFolder(tmp_path, {**SETTINGS, "clip_seconds": 2.0, "detector": "network"})
    with pytest.raises(InputError, match="more null instead of 1"):
        NarrationFolder(tmp_path, {**SETTINGS, "more": 1})
    with NarrationFolder(tmp_path, SETTINGS) as folder:
        assert len(folder) == 1


def test_two_runs_do_not_write_to_one_folder(lines: list[dict], tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with NarrationFolder(tmp_path, SETTINGS) as folder:
        with pytest.raises(InputError, match="another run writes"):
            NarrationFolder(tmp_path, SETTINGS)
        folder.append(lines[0])
    write(tmp_path, lines[1:])
    assert len(rows(tmp_path)) == 4


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"hello\n", "no file of narrations"), (b"[1]\n", "no file of narrations"), (b"\xff\n", "no file of narrations"),
        (b'{"format": "palmist-narrations", "version": 9, "settings": {}}\n', "version 9"),
    ],
)  # fmt: skip
def test_other_files_are_not_touched(content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "narrations.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        NarrationFolder(tmp_path, SETTINGS)
    with pytest.raises(InputError, match=sentence):
        list(read_lines(tmp_path / "narrations.jsonl"))
    assert (tmp_path / "narrations.jsonl").read_bytes() == content
    with pytest.raises(InputError, match="is a file"):
        NarrationFolder(tmp_path / "narrations.jsonl", SETTINGS)


def test_an_error_on_the_way_still_writes_the_csv(lines: list[dict], tmp_path: Path) -> None:
    def stopped() -> None:
        with NarrationFolder(tmp_path, SETTINGS) as folder:
            folder.append(lines[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert [row["uid"] for row in rows(tmp_path)] == [lines[0]["uid"]]


def test_nothing_that_is_no_number_is_written(lines: list[dict], tmp_path: Path) -> None:
    with NarrationFolder(tmp_path, SETTINGS) as folder, pytest.raises(ValueError, match="JSON"):
        folder.append({**lines[0], "start": float("nan")})
    assert json.loads((tmp_path / "narrations.jsonl").read_text().splitlines()[-1])["format"] == "palmist-narrations"
