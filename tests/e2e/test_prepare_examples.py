"""`palmist prepare NAME --example`: the layout of every set that is not shipped, made up, becomes a store that opens."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from palmist.cli import app
from palmist.errors import InputError
from palmist.readers import READERS, reader, reader_options
from palmist.skeleton_clip import clips_of
from palmist.store import Store

SKELETONS = ("ntu60", "ntu120", "pyskl", "pku_mmd", "n_ucla")
EXAMPLES = [name for name, entry in READERS.items() if entry.example is not None]


def test_every_set_that_is_not_shipped_has_an_example() -> None:
    assert set(EXAMPLES) == {name for name, entry in READERS.items() if entry.folder is None}
    assert all(entry.folder is None for entry in READERS.values() if entry.gated)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_becomes_a_store(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["prepare", name, "--example", "--root", str(tmp_path / "root"), "--out", str(tmp_path / "store")]
    )
    assert result.exit_code == 0, result.output
    store = Store.open(tmp_path / "store")
    assert len(store) > 0
    if name in SKELETONS:
        assert all(recording.body is not None and not recording.valid.any() for recording in store)
        assert sum(bool(clip.mask.any()) for clip in clips_of(store)) >= 3
    else:
        assert all(recording.valid.any() for recording in store)


def test_a_store_of_skeletons_holds_several_people_their_scores_and_splits(tmp_path: Path) -> None:
    words = ["prepare", "ntu60", "--example", "--root", str(tmp_path / "root"), "--out", str(tmp_path / "store")]
    result = CliRunner().invoke(app, [*words, "--option", "split=xview", "--option", "denoise=true"])
    assert result.exit_code == 0, result.output
    store = Store.open(tmp_path / "store")
    assert {recording.split for recording in store} == {"train", "test"}
    clips = {clip.name: clip for clip in clips_of(store)}
    pair = clips["ntu60/S001C003P002R001A050"]
    assert (pair.persons, pair.label_number, pair.splits) == (2, 50, {"xsub": "train", "xview": "train"})
    assert set(pair.score[pair.mask]) == {0.5, 1.0}
    result = CliRunner().invoke(app, ["check", str(tmp_path / "store")])
    assert result.exit_code == 0, result.output


def test_a_readers_options_come_from_the_command_line(tmp_path: Path) -> None:
    words = ["prepare", "fpha", "--example", "--root", str(tmp_path / "root"), "--out", str(tmp_path / "store")]
    result = CliRunner().invoke(app, [*words, "--option", "frame=camera", "--option", "split=cross_subject"])
    assert result.exit_code == 0, result.output
    assert {recording.frame for recording in Store.open(tmp_path / "store")} == {"camera"}


def test_options_take_the_kind_of_their_default() -> None:
    words = ["camera=0", "splits=train,val", "end_inclusive=true", "frame=world"]
    assert reader_options(reader("h2o"), words) == {
        "camera": 0, "splits": ("train", "val"), "end_inclusive": True, "frame": "world",
    }  # fmt: skip
    for word, says in (
        ("colour=1", "no option of h2o"),
        ("camera=left", "a whole number"),
        ("end_inclusive=1", "true or false"),
    ):
        with pytest.raises(InputError, match=says):
            reader_options(reader("h2o"), [word])


def test_a_half_downloaded_folder_ends_with_code_2(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    for name in EXAMPLES:
        result = CliRunner().invoke(app, ["prepare", name, "--root", str(tmp_path / "root"), "--out", str(tmp_path / "store")])
        assert result.exit_code == 2
        assert "expected" in result.output or "unpack" in result.output
