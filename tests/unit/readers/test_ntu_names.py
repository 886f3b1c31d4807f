"""NTU RGB+D by its names alone: every official split has the published number of samples."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from palmist.errors import InputError
from palmist.readers.ntu_names import (
    ACTIONS,
    ONE_SHOT_EXEMPLARS,
    PERFORMERS,
    XSUB_TRAIN_60,
    XSUB_TRAIN_120,
    SampleName,
    all_names,
    missing_samples,
    official_splits,
    parse_name,
    read_missing_list,
)


@cache
def named(edition: int) -> dict[str, SampleName]:
    return {str(name): name for name in all_names(edition)}


def counts(edition: int, with_bad: bool) -> dict[str, dict[str, int]]:
    """How many samples are in each part of each split; the bad ones are taken off at the end."""
    found: dict[str, Counter[str]] = {}
    for sign, names in ((1, named(edition)), (-1, () if with_bad else missing_samples() & named(edition).keys())):
        for name in names:
            for split, part in official_splits(named(edition)[name], edition).items():
                found.setdefault(split, Counter())[part] += sign
    return {split: dict(parts) for split, parts in found.items()}


def test_ntu60_counts_are_the_official_ones() -> None:
    assert counts(60, True) == {"xsub": {"train": 40320, "test": 16560}, "xview": {"train": 37920, "test": 18960}}
    assert counts(60, False) == {"xsub": {"train": 40091, "test": 16487}, "xview": {"train": 37646, "test": 18932}}


def test_ntu120_counts_are_the_official_ones() -> None:
    everything = counts(120, True)
    assert sum(everything["xsub"].values()) == 114480
    assert everything["one_shot"] == {"auxiliary": 95400, "exemplar": 20, "test": 19060}
    sound = counts(120, False)
    assert sound["xsub"] == {"train": 63026, "test": 50919}
    assert sound["xset"] == {"train": 54468, "test": 59477}
    assert sum(sound["one_shot"].values()) == 114480 - 535
    assert sound["one_shot"]["exemplar"] == 20


def test_people_setups_and_actions_are_as_many_as_published() -> None:
    assert len(ACTIONS) == len(set(ACTIONS)) == 120
    assert set(PERFORMERS) == set(range(1, 33))
    first = {performer for setup in range(1, 18) for performer in PERFORMERS[setup]}
    assert first == set(range(1, 41))
    assert first | {p for setup in range(18, 33) for p in PERFORMERS[setup]} == set(range(1, 107))
    assert (len(XSUB_TRAIN_60), len(XSUB_TRAIN_120)) == (20, 53)
    assert all(list(performers) == sorted(set(performers)) for performers in PERFORMERS.values())


def test_the_list_of_bad_samples_names_samples_that_exist() -> None:
    names = set(named(120))
    bad = missing_samples()
    assert (len(bad), sum(int(name[1:4]) <= 17 for name in bad)) == (535, 302)
    assert bad <= names
    assert {"S001C002P005R002A008", "S017C003P020R001A059", "S032C003P067R002A077"} <= bad


def test_names_are_parsed_and_written() -> None:
    name = parse_name("S018C003P008R001A061.skeleton")
    assert name == SampleName(18, 3, 8, 1, 61)
    assert str(name) == "S018C003P008R001A061"
    assert list(named(120)) == sorted(named(120))
    assert len(named(120)) == 114480
    with pytest.raises(InputError, match="no name of NTU"):
        parse_name("S18C3P8R1A61")


@pytest.mark.parametrize(
    ("name", "edition", "expected"),
    [
        ("S001C001P001R001A001", 60, {"xsub": "train", "xview": "test"}),
        ("S001C002P003R001A001", 60, {"xsub": "test", "xview": "train"}),
        ("S001C003P008R001A001", 120, {"xsub": "train", "xset": "test", "one_shot": "exemplar"}),
        ("S001C003P008R002A001", 120, {"xsub": "train", "xset": "test", "one_shot": "test"}),
        ("S032C001P106R001A120", 120, {"xsub": "test", "xset": "train", "one_shot": "auxiliary"}),
        ("S018C003P008R001A115", 120, {"xsub": "train", "xset": "train", "one_shot": "exemplar"}),
        ("S020C001P045R001A062", 120, {"xsub": "train", "xset": "train", "one_shot": "auxiliary"}),
    ],
)
def test_splits_by_hand(name: str, edition: int, expected: dict[str, str]) -> None:
    assert official_splits(parse_name(name), edition) == expected


def test_one_shot_exemplars_exist_and_are_sound() -> None:
    assert len(set(ONE_SHOT_EXEMPLARS)) == 20
    assert [int(name[-3:]) for name in ONE_SHOT_EXEMPLARS] == list(range(1, 121, 6))
    assert set(ONE_SHOT_EXEMPLARS) <= named(120).keys() - missing_samples()


def test_other_editions_and_empty_lists_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected 60 or 120"):
        official_splits(parse_name("S001C001P001R001A001"), 61)
    with pytest.raises(InputError, match="expected 60 or 120"):
        list(all_names(100))
    (tmp_path / "a.txt").write_text("nothing here\n")
    with pytest.raises(InputError, match="names no sample"):
        read_missing_list(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("heading\n\n S001C002P005R002A008.skeleton\r\nS001C002P006R001A008\n")
    assert read_missing_list(tmp_path / "a.txt") == {"S001C002P005R002A008", "S001C002P006R001A008"}
