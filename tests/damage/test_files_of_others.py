"""What damage at scale found in files from elsewhere, each once: refused in one sentence, or done again."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from test_narration_files import SETTINGS, line

from fake_embedder import NumberEmbedder
from palmist.checkpoint import load_checkpoint, save_checkpoint
from palmist.errors import InputError
from palmist.files.weights import is_torchscript, read_weights
from palmist.inputs.clip_source import open_clips
from palmist.model_zoo import kind_of
from palmist.models.clip_weights import load_clip
from palmist.narration.output import NarrationFolder, read_lines
from palmist.narration.sources import list_spans
from palmist.perception.hand_object_files import read_hand_objects
from palmist.readers.h2o import _camera
from palmist.render import read_rendered
from palmist.search import ClipIndex, IndexedClip, IndexWriter
from palmist.tasks.videos import VideoSetConfig
from palmist.text.byte_pairs import read_merges
from palmist.train.loop import read_run_config
from palmist.video_text.captions import captions_of
from palmist.video_text.clips import TextClip, VideoPlaces, class_list


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def zeros(path: Path) -> Path:
    path.symlink_to("/dev/zero")
    return path


@pytest.mark.parametrize("make", [pipe, zeros])
def test_nobody_waits_for_a_pipe_or_reads_a_device_to_its_end(make: Callable[[Path], Path], tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "narrated").mkdir()
    videos: Any = SimpleNamespace(names=[], labels=(), label=np.zeros(0))
    readers: dict[str, Callable[[Path], Any]] = {
        "weights.pth": lambda path: read_weights(path, "weights"),
        "clips.csv": list_spans,
        "hands.json": read_hand_objects,
        "merges.txt": read_merges,
        "narrations.jsonl": lambda path: list(read_lines(path)),
        "told.jsonl": lambda path: captions_of(str(path), "a", VideoSetConfig(), videos),
    }
    for name, read in readers.items():
        with pytest.raises(InputError, match=r"is not a regular file|an existing .jsonl file"):
            read(make(tmp_path / name))
    assert not is_torchscript(tmp_path / "weights.pth")
    make(tmp_path / "model/config.json")
    assert kind_of(tmp_path / "model") is None


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    state = {"a": torch.ones(3), "b": torch.tensor([1.0, float("nan"), float("inf")])}
    torch.save({"model": state}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="holds 2 numbers in b that are not finite"):
        read_weights(tmp_path / "w.pth", "weights", ("model",))
    assert set(read_weights(tmp_path / "w.pth", "weights", ("model",), finite=False)) == {"a", "b"}
    save_checkpoint(tmp_path / "model", state, {"model": "x"}, {}, "")
    with pytest.raises(InputError, match="numbers in b that are not finite"):
        load_checkpoint(tmp_path / "model")


def test_a_pickle_that_could_run_code_is_not_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'run'}",)

    (tmp_path / "w.pth").write_bytes(pickle.dumps({"a": Trap()}))
    with pytest.raises(InputError, match="could run code, or damaged, and was not loaded") as error:
        read_weights(tmp_path / "w.pth", "weights")
    assert "weights_only" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_zip_with_a_damaged_list_of_contents_is_no_program(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "w.pth")
    data = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(data.replace(b"PK\x01\x02", b"PK\x07\x02"))
    assert not is_torchscript(tmp_path / "w.pth")


def test_merges_that_unpack_without_end_or_are_no_list(tmp_path: Path) -> None:
    packed = tmp_path / "bpe_simple_vocab_16e6.txt.gz"
    packed.write_bytes(gzip.compress(bytes(100 << 20)))
    with pytest.raises(InputError, match="longer than 67,108,864 bytes when unpacked"):
        read_merges(packed)
    for merges in (None, 0.5):
        model = {"end_of_word_suffix": "</w>", "vocab": {}, "merges": merges}
        (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}))
        with pytest.raises(InputError, match="holds no list of merges"):
            read_merges(tmp_path / "tokenizer.json")


@pytest.mark.parametrize(
    ("name", "value"),
    [("text", ["x"]), ("template", 3), ("hands_seen", "1"), ("start_second", None), ("end_second", -1), ("facts", [])],
)
def test_lines_with_values_of_another_type_are_narrated_again(name: str, value: object, tmp_path: Path) -> None:
    with NarrationFolder(tmp_path, SETTINGS) as folder:
        for number in range(2):
            folder.append(line(number))
    head, first, second = (tmp_path / "narrations.jsonl").read_text().splitlines()
    bad = json.dumps({**json.loads(first), name: value})
    (tmp_path / "narrations.jsonl").write_text(f"{head}\n{bad}\n{second}\n")
    assert [one["uid"] for one in read_lines(tmp_path / "narrations.jsonl")] == ["clip 1"]
    with NarrationFolder(tmp_path, SETTINGS) as folder:
        assert folder.dropped == 1
        assert "clip 0" not in folder


def test_a_folder_in_the_place_of_the_table_is_said_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "narrations.csv").mkdir()
    with pytest.raises(InputError, match=r"narrations.csv is a folder; expected a file"):
        NarrationFolder(tmp_path, SETTINGS)


@pytest.mark.parametrize(
    ("name", "value"), [("start", "0"), ("end", None), ("number", True), ("of", 0), ("name", 3), ("label", 1.0), ("end", -1.0)]
)
def test_clips_of_an_index_with_values_of_another_type_are_refused(name: str, value: object, tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    model = NumberEmbedder()
    with IndexWriter(tmp_path, model, {"clip_seconds": 1.0}) as writer:
        writer.add(IndexedClip("/a.mp4", "a", 0, 1, 0.0, 1.0, "a"), model.vector(0))
    file = tmp_path / "segments/000001.json"
    shutil.copy(file, file.with_name("._000001.json"))  # what a file manager leaves
    assert len(ClipIndex.open(tmp_path)) == 1
    facts = json.loads(file.read_text())
    facts["clips"][0][name] = value
    file.write_text(json.dumps(facts))
    with pytest.raises(InputError, match=r"000001.json is damaged \(.*make the index again"):
        ClipIndex.open(tmp_path)


def test_names_of_videos_cannot_lead_out_of_the_folder_or_be_too_long(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "secret.mp4").write_bytes(b"x")
    for name in ("../secret", str(tmp_path / "secret"), "a" * 5000, "a\0b"):
        assert VideoPlaces(tmp_path / "set", ["{video}.mp4"]).find(name) == (None, False)


def test_clips_are_named_in_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"of the video None; expected text"):
        TextClip(None, None, 0.0, 1.0, (), "a")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"names the video 3; expected text"):
        VideoPlaces(tmp_path, ["{video}.mp4"]).find(3)  # type: ignore[arg-type]


def test_class_numbers_begin_at_0() -> None:
    assert class_list("[3, 0]", "here") == (3, 0)
    for wrong in ("[-1]", -2, 10**400, float("inf"), [True], 0.5):
        with pytest.raises(InputError, match="expected class numbers from 0 on"):
            class_list(wrong, "here")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("video", "../../x.mp4", "outside the folder"), ("rate", 0, "0 per second"), ("label", 3, "label of 'one' is 3")],
)
def test_a_rendered_folder_whose_index_was_changed(key: str, value: object, said: str, tmp_path: Path) -> None:
    entry = {
        "name": "one", "video": "clips/one.mp4", "truth": "clips/one.npz", "label": None, "subject": None, "frames": 3,
        "rate": 30.0, "splits": {},
    }  # fmt: skip
    head = {"format": "palmist-rendered", "version": 1, "source": "x", "seed": 0, "settings": {"size": 48}}
    (tmp_path / "index.json").write_text(json.dumps({**head, "clips": [entry]}))
    assert [clip.name for clip in read_rendered(tmp_path)] == ["one"]
    (tmp_path / "index.json").write_text(json.dumps({**head, "clips": [{**entry, key: value}]}))
    with pytest.raises(InputError, match=said):
        list(read_rendered(tmp_path))


def test_settings_of_a_run_nested_without_end(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="is not whole JSON"):
        read_run_config(tmp_path)


def test_facts_of_a_clip_nested_without_end(tmp_path: Path) -> None:
    np.savez(tmp_path / "clip.npz", metadata=np.array("[" * 100_000))
    with pytest.raises(InputError, match="is not a skeleton clip"):
        open_clips(tmp_path)


@pytest.mark.parametrize("numbers", ["1 1 1 1 inf 720", "nan 1 1 1 1280 720", "1 1 1 1 0 720", "1 1 1 1 1e30 720"])
def test_a_camera_of_h2o_that_is_none(numbers: str, tmp_path: Path) -> None:
    (tmp_path / "cam_intrinsics.txt").write_text(numbers)
    with pytest.raises(InputError, match="expected fx, fy, cx, cy, width and height"):
        _camera(tmp_path, None)


def test_times_that_no_video_has_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected seconds from 0 on, below 1e\+07"):
        TextClip("a", None, 0.0, 1e20, ("waves",), "a_0")


def test_single_numbers_in_the_place_of_clips_matrices_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.safetensors"
    save_file({name: torch.tensor(1.0) for name in ("visual.class_embedding", "visual.proj", "text_projection")}, path)
    with pytest.raises(InputError):
        load_clip(path)
