"""A whole run: what is missing is done, nothing twice; with a language model, and after one that did not answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chat_server import chat_server, completion, narration, status
from narrated_clips import write_clip
from palmist.errors import InputError
from palmist.narration import run as run_module
from palmist.narration.chat import ChatEndpoint
from palmist.narration.many import DetectorChoice, Job
from palmist.narration.output import NarrationFolder, read_lines
from palmist.narration.rewrite import Rewriter
from palmist.narration.run import Summary, narrate_listing, run_settings
from palmist.narration.sources import Listing, list_spans


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder, "a", 10)
    write_clip(folder, "b", 10, (-2, 0))
    write_clip(folder, "c", 10)
    return folder


def job(clips: Path) -> Job:
    return Job(DetectorChoice("detections", None, clips / "detections"))


def narrate(clips: Path, out: Path, rewriter: Rewriter | None = None, listing: Listing | None = None) -> Summary:
    settings = run_settings(clips, 4.0, job(clips), rewriter)
    with NarrationFolder(out, settings) as folder:
        return narrate_listing(listing or list_spans(clips), job(clips), folder, rewriter)


def test_a_second_run_does_nothing_and_changes_nothing(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = narrate(clips, tmp_path)
    assert (first.narrated, first.kept, first.failures) == (3, 0, [])
    files = [(tmp_path / name).read_bytes() for name in ("narrations.jsonl", "narrations.csv")]

    def none_left(spans, *_):
        assert list(spans) == []
        return iter(())

    monkeypatch.setattr(run_module, "narrate_many", none_left)
    second = narrate(clips, tmp_path)
    assert (second.narrated, second.kept) == (0, 3)
    assert [row.text for row in second.rows] == [row.text for row in first.rows]
    assert [(tmp_path / name).read_bytes() for name in ("narrations.jsonl", "narrations.csv")] == files


@pytest.mark.parametrize("stop_after", [0, 1, 2])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(stop_after: int, clips: Path, tmp_path: Path) -> None:
    narrate(clips, tmp_path / "whole")
    listing = list_spans(clips)
    part = Listing(listing.spans[3 - stop_after :])  # the later ones first, so that the order is at stake too
    narrate(clips, tmp_path / "part", listing=part)
    with (tmp_path / "part" / "narrations.jsonl").open("ab") as file:
        file.write(b'{"uid": "a_0.000_0.4')
    summary = narrate(clips, tmp_path / "part")
    assert summary.narrated == 3 - stop_after
    for name in ("narrations.jsonl", "narrations.csv"):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_failed_clip_is_counted_and_tried_again(clips: Path, tmp_path: Path) -> None:
    hidden = clips / "detections" / "b.hidden"
    (clips / "detections" / "b.npz").rename(hidden)
    try:
        spans = list_spans(clips)
        with NarrationFolder(tmp_path, {}) as folder:
            summary = narrate_listing(spans, job(clips), folder)
    finally:
        hidden.rename(clips / "detections" / "b.npz")
    assert summary.narrated == 2
    assert summary.failures == [
        f"b 0 to 0.4 s: --detections {clips / 'detections'} holds none of b; expected VIDEO_ID.npz or VIDEO_ID.json"
    ]
    with NarrationFolder(tmp_path, {}) as folder:
        again = narrate_listing(spans, job(clips), folder)
    assert (again.narrated, again.kept, again.failures) == (1, 2, [])
    assert [line["video_id"] for line in read_lines(tmp_path / "narrations.jsonl")] == ["a", "b", "c"]


UP = "The right hand lifts an object up while the left hand stays still. The object is below the right hand throughout."


def rewriter(url: str, cache: Path | None = None) -> Rewriter:
    return Rewriter(ChatEndpoint(url, "tiny", attempts=1, sleep=lambda _: None), cache)


def test_true_rewrites_are_written_and_false_ones_are_not(clips: Path, tmp_path: Path) -> None:
    with chat_server(narration(UP)) as server:  # true of a and c, false of b
        summary = narrate(clips, tmp_path / "out", rewriter(server.url, tmp_path / "cache"))
        lines = list(read_lines(tmp_path / "out" / "narrations.jsonl"))
        assert [line["text"] == UP for line in lines] == [True, False, True]
        assert [line["rewritten"] for line in lines] == [True, False, True]
        assert [line["rewrite"]["outcome"] for line in lines] == ["llm", "rejected", "cache"]  # c's facts are a's
        assert lines[1]["text"] == lines[1]["template"]
        assert summary.rewrites == {"llm": 1, "rejected": 1, "cache": 1}
        asked = len(server.asked)
        again = narrate(clips, tmp_path / "other", rewriter(server.url, tmp_path / "cache"))
        assert len(server.asked) == asked
        assert again.rewrites == {"cache": 2, "rejected": 1}
    assert UP in (tmp_path / "out" / "narrations.csv").read_text()


def test_what_had_no_answer_is_asked_again_without_looking_again(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chat_server(status(500)) as server:
        summary = narrate(clips, tmp_path, rewriter(server.url))
    assert summary.rewrites == {"failed": 3}
    assert [line["text"] == line["template"] for line in read_lines(tmp_path / "narrations.jsonl")] == [True] * 3
    monkeypatch.setattr(run_module, "narrate_many", lambda spans, *_: iter(()) if not spans else pytest.fail("looked again"))
    with chat_server(narration(UP)) as server:
        summary = narrate(clips, tmp_path, rewriter(server.url))
    assert summary.rewrites == {"llm": 2, "rejected": 1}
    lines = list(read_lines(tmp_path / "narrations.jsonl"))
    assert [line["text"] == UP for line in lines] == [True, False, True]
    assert (summary.narrated, summary.kept) == (0, 3)


def test_a_wrong_key_keeps_what_was_done(clips: Path, tmp_path: Path) -> None:
    with chat_server(narration(UP), status(401)) as server, pytest.raises(InputError, match="PALMIST_LLM_KEY"):
        narrate(clips, tmp_path, rewriter(server.url))
    assert len(list(read_lines(tmp_path / "narrations.jsonl"))) == 1
    assert (tmp_path / "narrations.csv").read_text().count("\n") == 2


def test_the_head_knows_the_model_and_not_the_key_or_the_address(clips: Path, tmp_path: Path) -> None:
    secret = "sk-very-secret-0123456789"
    with chat_server(completion("no")) as server:
        asking = Rewriter(ChatEndpoint(server.url, "tiny", secret))
        narrate(clips, tmp_path, asking)
        written = (tmp_path / "narrations.jsonl").read_text()
        assert json.loads(written.splitlines()[0])["settings"]["rewriting"]["model"] == "tiny"
        assert secret not in written
        assert server.url not in written
    with pytest.raises(InputError, match="begun with rewriting"):
        narrate(clips, tmp_path)


def test_settings_notice_other_detections(clips: Path, tmp_path: Path) -> None:
    before = run_settings(clips, 4.0, job(clips), None)
    assert run_settings(clips, 4.0, job(clips), None) == before
    (tmp_path / "weights.pth").write_bytes(b"one")
    choice = Job(DetectorChoice("network", tmp_path / "weights.pth"))
    first = run_settings(clips, 4.0, choice, None)
    (tmp_path / "weights.pth").write_bytes(b"two")
    assert run_settings(clips, 4.0, choice, None) != first
    assert str(tmp_path) not in json.dumps(first)
