"""Many clips: the same results in the same order, here and on Ray; one bad clip does not end the work."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import narrated_clips
from narrated_clips import Deadly, write_clip
from palmist.errors import InputError, MissingExtraError
from palmist.narration.many import DetectorChoice, Job, Outcome, RayOptions, narrate_many, narrate_span
from palmist.narration.sources import Listing, list_spans
from palmist.perception.objects import HandObjectDetector
from tiny_video import number_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos that move differently, in four clips, and one without detections."""
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder, "a", 50)
    write_clip(folder, "b", 25, (-2, 0))
    write_clip(folder, "c", 25, (1, 1))
    write_clip(folder, "d", 25, (0, 0))
    (folder / "detections" / "c.npz").unlink()
    return folder


@pytest.fixture(scope="module")
def listing(folder: Path) -> Listing:
    return list_spans(folder, None, 1.0)


def job(folder: Path, **options: bool) -> Job:
    return Job(DetectorChoice("detections", None, folder / "detections"), **options)


def facts(outcomes: list[Outcome]) -> list[tuple]:
    return [
        (
            outcome.span.uid,
            outcome.failure,
            None if outcome.narration is None else json.dumps(outcome.narration.to_json()),
            None if outcome.frame is None else outcome.frame.tobytes(),
        )
        for outcome in outcomes
    ]


def test_each_clip_gets_its_own_detections_and_sentence(folder: Path, listing: Listing) -> None:
    outcomes = list(narrate_many(listing.spans, job(folder)))
    assert [outcome.span for outcome in outcomes] == list(listing.spans)
    texts = [None if o.narration is None else o.narration.text.split(",")[0].split(";")[0] for o in outcomes]
    assert texts == [
        "The right hand moves up",
        "The right hand stays still",
        "The right hand moves to the left",
        None,
        texts[4],
    ]
    assert texts[4] is not None
    assert "moves" not in texts[4]
    assert "holds none of c" in str(outcomes[3].failure)


def test_the_middle_frame_comes_along(folder: Path, listing: Listing) -> None:
    first, second, *_ = narrate_many(listing.spans, job(folder, pictures=True))
    assert first.frame is not None
    assert second.frame is not None
    assert abs(number_of(first.frame) - 12) <= 1
    assert abs(number_of(second.frame) - 37) <= 1


def test_what_goes_wrong_inside_is_one_sentence(listing: Listing) -> None:
    @dataclass(frozen=True)
    class Broken(DetectorChoice):
        def open(self, span: object = None) -> HandObjectDetector:
            raise ZeroDivisionError("a fault\nof ours")

    outcome = narrate_span(listing.spans[0], Job(Broken()))
    assert outcome.failure == "ZeroDivisionError: a fault of ours"


def test_a_detector_is_closed_whatever_happens(listing: Listing) -> None:
    closed = []

    class Watcher:
        def detect(self, time: float, frame: np.ndarray) -> object:
            raise InputError("no hands today")

        def describe(self) -> dict:
            return {}

        def close(self) -> None:
            closed.append(True)

    @dataclass(frozen=True)
    class Choice(DetectorChoice):
        def open(self, span: object = None) -> HandObjectDetector:
            return Watcher()  # type: ignore[return-value]

    assert narrate_span(listing.spans[0], Job(Choice())).failure == "no hands today"
    assert closed == [True]


def test_choices_that_are_none(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no detector 'eyes'"):
        DetectorChoice("eyes").check()
    with pytest.raises(InputError, match="none at all"):
        DetectorChoice("detections", None, tmp_path).check()
    DetectorChoice("detections", None, folder / "detections").check()
    with pytest.raises(InputError, match="1 worker"):
        RayOptions(0)


def test_no_clips_need_no_ray(folder: Path) -> None:
    assert list(narrate_many((), job(folder), RayOptions())) == []


def test_without_ray_one_sentence_says_so(folder: Path, listing: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"palmist\[distributed\]"):
        list(narrate_many(listing.spans, job(folder), RayOptions()))


@pytest.mark.slow
def test_ray_gives_the_same_in_the_same_order(folder: Path, listing: Listing) -> None:
    pytest.importorskip("ray.data")
    alone = facts(list(narrate_many(listing.spans, job(folder, pictures=True))))
    for workers in (1, 2):
        assert facts(list(narrate_many(listing.spans, job(folder, pictures=True), RayOptions(workers)))) == alone


@pytest.mark.slow
def test_a_clip_that_kills_its_worker_is_one_that_failed(
    folder: Path, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray.data")
    paths = (str(Path(narrated_clips.__file__).parent), os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))  # the workers import Deadly
    deadly = Job(Deadly("detections", None, folder / "detections"))
    outcomes = list(narrate_many(listing.spans, deadly, RayOptions(2)))
    assert [outcome.span for outcome in outcomes] == list(listing.spans)
    assert "died" in str(outcomes[2].failure)
    assert [outcome.narration is not None for outcome in outcomes] == [True, True, False, False, True]
