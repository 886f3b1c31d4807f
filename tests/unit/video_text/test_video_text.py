"""Clips with texts: spans over files of 15 s, fields that hold lists, tables that stay on disk."""

from __future__ import annotations

import csv
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.video_text.clips import Piece, TextClip, VideoPlaces, caption_list, class_list
from palmist.video_text.epic_kitchens import seconds_of
from palmist.video_text.table_index import SpanTable

FOLDER = Path("ego4d") / "v"
COLUMNS = {"video": ["video_uid"], "start": ["clip_start", "start"], "end": ["clip_end"], "text": ["clip_text"]}


@pytest.mark.parametrize(
    ("start", "end", "pieces"),
    [
        (14.0, 31.0, [(0, 14, 15), (1, 0, 15), (2, 0, 1)]),
        (3.0, 15.0, [(0, 3, 15)]),
        (15.0, 30.0, [(1, 0, 15)]),
        (15.0, 15.0, [(1, 0, 0)]),
        (0.0, 0.5, [(0, 0, 0.5)]),
        (151_000.0, 151_001.0, [(10066, 10, 11)]),
    ],
)
def test_pieces_of_a_span(start: float, end: float, pieces: list[tuple[int, float, float]]) -> None:
    clip = TextClip("v", FOLDER, start, end, ("x",), "0", chunked=True)
    assert clip.pieces() == tuple(Piece(FOLDER / f"{number:04d}.mp4", low, high) for number, low, high in pieces)
    assert sum(piece.end - piece.start for piece in clip.pieces()) == pytest.approx(clip.seconds)


def test_a_whole_file_is_one_piece_and_a_missing_one_is_refused() -> None:
    assert TextClip("v", Path("v.mp4"), 2.0, 40.0, (), "0").pieces() == (Piece(Path("v.mp4"), 2.0, 40.0),)
    with pytest.raises(InputError, match="video v of clip 0 is not there"):
        TextClip("v", None, 2.0, 40.0, (), "0").pieces()
    for start, end in ((2.0, 1.0), (-1.0, 1.0), (0.0, float("inf")), (float("nan"), 1.0)):
        with pytest.raises(InputError, match="the end not before the start"):
            TextClip("v", None, start, end, (), "0")


def test_places_are_tried_in_order_and_each_video_once(tmp_path: Path) -> None:
    (tmp_path / "pieces" / "a").mkdir(parents=True)
    (tmp_path / "b.mp4").write_bytes(b"")
    (tmp_path / "pieces" / "b").mkdir()
    places = VideoPlaces(tmp_path, ("{video}.mp4", "pieces/{video}"))
    assert places.find("a") == (tmp_path / "pieces" / "a", True)
    assert places.find("b") == (tmp_path / "b.mp4", False)
    assert places.find("c") == (None, False)
    assert places.missing(["a", "c", "c", "d"]) == 2
    (tmp_path / "c.mp4").write_bytes(b"")
    assert places.find("c") == (None, False)  # looked for once


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("A hand moves up.", ("A hand moves up.",)),
        ("['A hand', \"it's up\"]", ("A hand", "it's up")),
        ("[unsure] takes a cup", ("[unsure] takes a cup",)),
        ("[]", ()),
        ("  ", ()),
    ],
)
def test_captions(text: str, sentences: tuple[str, ...]) -> None:
    assert caption_list(text, "here") == sentences


def test_captions_are_never_run_and_cut_lists_are_refused() -> None:
    code = "[__import__('os').getcwd()]"
    assert caption_list(code, "here") == (code,)
    for text in ("['A hand', 'is", "[1, 2]", "[['A']]"):
        with pytest.raises(InputError, match=r"^here: "):
            caption_list(text, "here")
    assert caption_list("[" * 10_000, "here") == ("[" * 10_000,)


def test_classes() -> None:
    assert class_list("[3, 17]", "here") == class_list([3, 17.0], "here") == (3, 17)
    assert class_list("5", "here") == (5,)
    for nothing in ("", " ", "[]", [], None, "None", "nan", float("nan")):
        assert class_list(nothing, "here") == ()
    for value in ("[3, 'a']", "cup", "[1.5]", "[1e999]", "[None]", {"a": 1}, "[3, 4"):
        with pytest.raises(InputError, match=r"^here: found"):
            class_list(value, "here")


def test_times() -> None:
    assert seconds_of("01:02:03.50", "here") == 3723.5
    assert seconds_of("00:00:00", "here") == 0
    for text in ("61.5", "00:61:00.0", "1:2", "", "00:00:60.00"):
        with pytest.raises(InputError, match=r"^here: found the time"):
            seconds_of(text, "here")


def table(path: Path, rows: list[list[object]], delimiter: str = ",", header: tuple[str, ...] | None = None) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(header or ("video_uid", "clip_start", "clip_end", "other", "clip_text"))
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_every_row_of_a_large_table_comes_as_the_csv_module_reads_it(delimiter: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = ["a cup", 'says "now"', "one, two", "tab\there", "new\nline", "é水", "", "'", "\r\nboth"]
    rows: list[list[object]] = []
    for number in range(400):
        start = round(float(rng.uniform(0, 90)), 2)
        text = "".join(rng.choice(parts, 3))
        rows.append([f"v{rng.integers(7)}", start, start + 2, number, text])
    found = SpanTable(table(tmp_path / "t.csv", rows, delimiter), COLUMNS, {"other": ["other"]}, delimiter)
    assert len(found) == 400
    for number in rng.permutation(400):
        row = rows[number]
        expected = {"video": row[0], "start": str(row[1]), "end": str(row[2]), "other": str(number), "text": row[4]}
        assert found.row(number) == expected
        assert found.video_names[found.video[number]] == row[0]
    assert found.start.tolist() == [row[1] for row in rows]
    assert found.end.tolist() == [row[2] for row in rows]


def test_a_table_needs_28_bytes_a_row_and_travels_to_other_processes(tmp_path: Path) -> None:
    found = SpanTable(table(tmp_path / "t.csv", [["v", 1, 2, 0, "x" * 500]] * 50), COLUMNS)
    assert sum(part.nbytes for part in (found.offset, found.start, found.end, found.video)) == 28 * 50
    other = pickle.loads(pickle.dumps(found))
    assert len(pickle.dumps(found)) < 4000
    assert other.row(49)["text"] == "x" * 500


def test_few_damaged_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    rows: list[list[object]] = [["v", number, number + 1, 0, "x"] for number in range(400)]
    rows[7] = ["v", 1, 2]
    rows[200] = ["v", "soon", 2, 0, "x"]
    rows[399] = ["v", 5, 4, 0, "x"]
    found = SpanTable(table(tmp_path / "t.csv", rows), COLUMNS)
    assert (len(found), found.skipped) == (397, 3)
    assert found.row(7)["start"] == "8"
    assert found.where(7).endswith("t.csv, line 10")
    rows[10:13] = [["v"]] * 3
    with pytest.raises(InputError, match=r"line 9: found 3 columns, expected 5 \(6 such rows of 400\)"):
        SpanTable(table(tmp_path / "t.csv", rows), COLUMNS)


def test_a_span_that_begins_before_its_video_begins_with_it(tmp_path: Path) -> None:
    assert SpanTable(table(tmp_path / "t.csv", [["v", -0.4, 1, 0, "x"]]), COLUMNS).start.tolist() == [0.0]


def test_tables_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        SpanTable(tmp_path / "none.csv", COLUMNS)
    rows: list[list[object]] = [["v", 0, 1, 0, "x"]]
    with pytest.raises(InputError, match="expected one called video_uid, with tabs between columns"):
        SpanTable(table(tmp_path / "t.csv", rows), COLUMNS, delimiter="\t")
    with pytest.raises(InputError, match="has a header and no rows"):
        SpanTable(table(tmp_path / "t.csv", []), COLUMNS)
    (tmp_path / "t.csv").write_bytes(b"")
    with pytest.raises(InputError, match=r"has the columns \(none\)"):
        SpanTable(tmp_path / "t.csv", COLUMNS)
    (tmp_path / "t.csv").write_bytes(table(tmp_path / "u.csv", rows).read_bytes() + b"v,0,1,0,\xff\xfe\n")
    with pytest.raises(InputError, match="line 3 is not UTF-8"):
        SpanTable(tmp_path / "t.csv", COLUMNS)
    found = SpanTable(table(tmp_path / "t.csv", rows * 3), COLUMNS)
    table(tmp_path / "t.csv", rows)
    with pytest.raises(InputError, match="has changed since it was read"):
        found.row(2)


def test_reading_needs_no_torch() -> None:
    code = "import sys, palmist.video_text.protocols, palmist.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
