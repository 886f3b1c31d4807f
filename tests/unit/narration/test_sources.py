"""What is narrated: videos, folders, csv files of clips."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.narration.sources import frames_of, list_spans
from tiny_video import number_of, write_tiny


def times(path: Path, *arguments: object) -> list[tuple[float, float]]:
    return [(span.start, span.end) for span in list_spans(path, *arguments).spans]  # type: ignore[arg-type]


def test_a_video_is_cut_in_spans_and_a_short_rest_is_joined(tmp_path: Path) -> None:
    video = write_tiny(tmp_path / "a.mp4", 60)  # 2.4 s
    assert times(video, None, 1.0) == [(0.0, 1.0), (1.0, 2.4)]  # 0.4 s goes with the span before it
    assert times(video, None, 0.9) == [(0.0, 0.9), (0.9, 1.8), (1.8, 2.4)]  # 0.6 s stands alone
    assert times(video, None, 4.0) == [(0.0, 2.4)]
    assert times(video, None, 0.6) == [(0.0, 0.6), (0.6, 1.2), (1.2, 1.8), (1.8, 2.4)]
    assert [span.uid for span in list_spans(video, None, 1.0).spans] == ["a_0.000_1.000", "a_1.000_2.400"]


@pytest.mark.parametrize("seconds", [0.2, 0.37, 1.0, 7.0])
def test_every_frame_is_in_exactly_one_span(seconds: float, tmp_path: Path) -> None:
    video = write_tiny(tmp_path / "a.mp4", 61, times=0.5 + np.arange(61) / 25)
    spans = list_spans(video, None, seconds).spans
    numbers = [number_of(image) for span in spans for image, _ in frames_of(span)]
    assert numbers == list(range(61))
    for span in spans:
        assert all(span.start - 1e-4 <= time for _, time in frames_of(span))


def test_a_folder_is_read_through_in_order(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.mp4", "deep/a.mp4", "deep/c.mp4", "deep/c.avi"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_tiny(tmp_path / name, 10)
    (tmp_path / "notes.txt").write_text("no video")
    spans = list_spans(tmp_path).spans
    assert [span.video_id for span in spans] == ["a", "b", "deep/a", "deep/c.avi", "deep/c.mp4"]
    assert len({span.uid for span in spans}) == 5


def test_a_broken_video_of_a_folder_is_said_and_left_out(tmp_path: Path) -> None:
    write_tiny(tmp_path / "b.mp4", 10)
    (tmp_path / "a.mp4").write_bytes(b"not a video")
    listing = list_spans(tmp_path)
    assert [span.video_id for span in listing.spans] == ["b"]
    (failure,) = listing.failures
    assert failure.startswith("a: ")
    with pytest.raises(InputError):
        list_spans(tmp_path / "a.mp4")


HOD = "dataset,video_id,start_second,end_second,text,uid\n"


def test_egohod_columns(tmp_path: Path) -> None:
    write_tiny(tmp_path / "one.mp4", 60)
    rows = [
        "ego4d,one,0.5,1.75,#C C lifts the cup,u1",
        "ego4d,one,1.0,1.1,\"['first', 'second']\",u2",  # at least a second
        "howto,one,0,1,,",
        "howto,one,0,1,again,",
    ]
    (tmp_path / "clips.csv").write_text(HOD + "\n".join(rows) + "\n")
    spans = list_spans(tmp_path / "clips.csv").spans
    assert [(s.dataset, s.start, s.end, s.text, s.uid) for s in spans] == [
        ("ego4d", 0.5, 1.75, "#C C lifts the cup", "u1"),
        ("ego4d", 1.0, 2.0, "first", "u2"),
        ("howto", 0.0, 1.0, None, "one_0.000_1.000"),
        ("howto", 0.0, 1.0, "again", "one_0.000_1.000#2"),
    ]
    assert [number_of(image) for image, _ in frames_of(spans[0])] == list(range(13, 44))


def test_egoclip_columns_with_tabs(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    write_tiny(tmp_path / "videos" / "v.mp4", 60)
    head = "clip_idx\tvideo_uid\tvideo_dur\tnarration_source\tnarration_ind\tnarration_time\tclip_start\tclip_end\tclip_text\n"
    (tmp_path / "egoclip.csv").write_text(head + "0\tv\t2.4\tnarration_pass_1\t0\t0.7\t0.2\t1.4\t#C C takes, say, a cup\n")
    (span,) = list_spans(tmp_path / "egoclip.csv", tmp_path / "videos").spans
    assert (span.video_id, span.start, span.end, span.text) == ("v", 0.2, 1.4, "#C C takes, say, a cup")


def test_chunks_of_fifteen_seconds_are_one_video(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    for chunk in range(2):
        write_tiny(tmp_path / "v" / f"{chunk:04d}.mp4", 30, times=np.arange(30) / 2)  # 15 s at 2 per second
    (tmp_path / "clips.csv").write_text(HOD + "ego4d,v,13.9,16.2,,\nego4d,v,29,40,,\nego4d,v,31,32,,\n")
    across, end, beyond = list_spans(tmp_path / "clips.csv").spans
    assert [(number_of(image), time) for image, time in frames_of(across)] == [
        (28, 14.0),
        (29, 14.5),
        (0, 15.0),
        (1, 15.5),
        (2, 16.0),
    ]
    assert [time for _, time in frames_of(end)] == [29.0, 29.5]
    with pytest.raises(InputError):
        list(frames_of(beyond))


def test_rows_that_cannot_be_are_said_with_their_line(tmp_path: Path) -> None:
    write_tiny(tmp_path / "one.mp4", 30)
    rows = [
        "x,one,a,2,,",
        "x,one,2,1,,",
        "x,two,0,1,,",
        "x,../one,0,1,,",
        "x,one,nan,1,,",
        "x,one,-1,1,,",
        "x,one",
        "x,one,0,1,,",
        "x,,0,1,,",
    ]
    (tmp_path / "clips.csv").write_text(HOD + "\n".join(rows) + "\n")
    listing = list_spans(tmp_path / "clips.csv")
    assert len(listing.spans) == 1
    assert [failure.split(":")[0] for failure in listing.failures] == [f"line {n}" for n in (2, 3, 4, 5, 6, 7, 8, 10)]
    assert "there is no video two" in listing.failures[2]
    assert "inside" in listing.failures[3]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "also needs"), (b"a,b\n1,2\n", "also needs video_id or video_uid"), (HOD.encode(), "lists no clip"),
        (b"video_id,start,end\n\xff,0,1\n", "not UTF-8"), (b'video_id,start,end\n"a,0,1\n', "no csv that can be read"),
    ],
)  # fmt: skip
def test_tables_that_are_none(content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        list_spans(tmp_path / "clips.csv")


def test_sources_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="webcam:0 has no end"):
        list_spans("webcam:0")
    with pytest.raises(InputError, match="holds no video"):
        list_spans(tmp_path)
    with pytest.raises(InputError):
        list_spans(tmp_path / "none.mp4")
    with pytest.raises((InputError, FileNotFoundError)):
        list_spans(tmp_path / "none.csv")
    with pytest.raises(InputError, match="--root"):
        list_spans(write_tiny(tmp_path / "a.mp4", 5), tmp_path)
    (tmp_path / "clips.csv").write_text(HOD)
    with pytest.raises(InputError, match="not a folder"):
        list_spans(tmp_path / "clips.csv", tmp_path / "none")
    for seconds in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="clip-seconds"):
            list_spans(tmp_path / "a.mp4", None, seconds)


def test_a_list_in_a_caption_is_read_and_never_run(tmp_path: Path) -> None:
    write_tiny(tmp_path / "one.mp4", 30)
    mark = tmp_path / "mark"
    evil = f"[__import__('pathlib').Path({str(mark)!r}).touch()]"
    (tmp_path / "clips.csv").write_text(HOD + f"x,one,0,1,{json.dumps(evil)},\n")
    (span,) = list_spans(tmp_path / "clips.csv").spans
    assert span.text is not None
    assert not mark.exists()
