from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from palmist.checkpoint import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    load_checkpoint,
    load_model_state,
    save_checkpoint,
    write_folder,
)
from palmist.errors import InputError
from palmist.model_zoo import checkpoint_path


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    statistics = {"template": np.arange(6.0).reshape(2, 3), "rate": 30.0, "names": ["a", "ü"]}
    return save_checkpoint(tmp_path / "last", network().state_dict(), {"labels": ["tea", "Tür"]}, statistics, "# Card")


def edit_header(folder: Path, **changes: object) -> None:
    header = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    (folder / CONFIG_FILE).write_text(json.dumps(header | changes), encoding="utf-8")


def test_round_trip_gives_back_everything(folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    for name, tensor in network().state_dict().items():
        assert torch.equal(checkpoint.state[name], tensor)
        assert checkpoint.state[name].dtype == tensor.dtype  # also BatchNorm's integer counter
    assert checkpoint.config == {"labels": ["tea", "Tür"]}
    np.testing.assert_array_equal(checkpoint.statistics["template"], np.arange(6.0).reshape(2, 3))
    assert checkpoint.statistics["template"].dtype == np.float64
    assert checkpoint.statistics["rate"] == 30.0
    assert checkpoint.statistics["names"] == ["a", "ü"]
    assert checkpoint.card == "# Card\n"
    assert sorted(file.name for file in folder.iterdir()) == ["card.md", "config.json", "model.safetensors"]


def test_shared_and_strided_tensors_can_be_stored(tmp_path: Path) -> None:
    weight = torch.randn(4, 6)
    save_checkpoint(tmp_path / "c", {"a": weight, "same": weight, "turned": weight.T}, {})
    state = load_checkpoint(tmp_path / "c").state
    assert torch.equal(state["same"], weight)
    assert torch.equal(state["turned"], weight.T)


def test_half_precision_halves_the_file_and_loads_as_float32(tmp_path: Path) -> None:
    state = {"weight": torch.randn(200, 300), "count": torch.tensor(70000)}
    statistics = {"features": np.float32([1 / 3])}
    full = save_checkpoint(tmp_path / "full", state, {}, statistics)
    half = save_checkpoint(tmp_path / "half", state, {}, statistics, dtype="float16")
    assert (half / WEIGHTS_FILE).stat().st_size < 0.51 * (full / WEIGHTS_FILE).stat().st_size
    loaded = load_checkpoint(half)
    assert loaded.state["weight"].dtype == torch.float32
    torch.testing.assert_close(loaded.state["weight"], state["weight"], rtol=5e-4, atol=1e-7)
    assert not torch.equal(loaded.state["weight"], state["weight"])
    assert loaded.state["count"] == 70000
    assert loaded.statistics["features"][0] == np.float32(1 / 3)  # statistics keep their precision


def test_a_weight_that_half_precision_cannot_hold_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"head\.weight does not fit in float16"):
        save_checkpoint(tmp_path / "c", {"head.weight": torch.tensor([1e6])}, {}, dtype="float16")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.99])
def test_cut_off_weights_give_one_sentence(folder: Path, share: float) -> None:
    file = folder / WEIGHTS_FILE
    os.truncate(file, int(file.stat().st_size * share))
    with pytest.raises(InputError, match=r"model\.safetensors \(\d+ bytes\) is cut off or damaged"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", [WEIGHTS_FILE, CONFIG_FILE])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        load_checkpoint(folder)


def test_a_missing_folder_and_a_file_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_checkpoint(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        load_checkpoint(tmp_path / "file")


def test_unknown_versions_and_formats_say_what_to_do(folder: Path) -> None:
    edit_header(folder, version=99)
    with pytest.raises(InputError, match="version 99, this Palmist reads version 1; update with pip"):
        load_checkpoint(folder)
    edit_header(folder, version=None)
    with pytest.raises(InputError, match="version None"):
        load_checkpoint(folder)
    edit_header(folder, version=1, format="other")
    with pytest.raises(InputError, match="names the format 'other'"):
        load_checkpoint(folder)
    (folder / CONFIG_FILE).write_text("{half")
    with pytest.raises(InputError, match="not readable JSON"):
        load_checkpoint(folder)


def test_a_missing_unexpected_or_wrong_tensor_is_named_and_nothing_is_loaded(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    del tensors["2.bias"]
    tensors["0.weight"] = torch.zeros(7, 4)
    tensors["extra"] = torch.zeros(1)
    save_file(tensors, folder / WEIGHTS_FILE)
    edit_header(folder, crc32=None)  # as in checkpoints of before checksums
    model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(InputError) as raised:
        load_model_state(model, load_checkpoint(folder).state)
    message = str(raised.value)
    assert "missing: 2.bias" in message
    assert "unexpected: extra" in message
    assert "of a wrong shape: 0.weight [7, 4] instead of [7, 5]" in message
    assert "\n" not in message
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_whole_state_loads(folder: Path) -> None:
    model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 2))
    load_model_state(model, load_checkpoint(folder).state)
    assert torch.equal(model[0].weight, network()[0].weight)


def test_a_config_that_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    for value in (float("nan"), Path("x"), torch.zeros(1)):
        with pytest.raises(InputError, match="JSON cannot store"):
            save_checkpoint(tmp_path / "c", {}, {"value": value})


def test_a_failed_write_leaves_the_older_checkpoint(folder: Path) -> None:
    def fail(temporary: Path) -> None:
        (temporary / WEIGHTS_FILE).write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_folder(folder, fail)
    assert load_checkpoint(folder).card == "# Card\n"
    assert [path.name for path in folder.parent.iterdir()] == ["last"]


def test_a_crash_between_the_two_renames_is_undone(folder: Path) -> None:
    os.replace(folder, folder.parent / ".last.old")  # the older one was set aside, the new one not yet in place
    assert load_checkpoint(folder).card == "# Card\n"
    assert [path.name for path in folder.parent.iterdir()] == ["last"]


def test_a_crash_before_the_older_one_was_removed_keeps_the_newer(folder: Path) -> None:
    os.replace(folder, folder.parent / ".last.old")
    save_checkpoint(folder.parent / "new", {}, {}, card="# Newer")
    os.replace(folder.parent / "new", folder)
    assert load_checkpoint(folder).card == "# Newer\n"
    assert not (folder.parent / ".last.old").exists()


SHIPPED = ("ghtt-small", "bharnet-words", "estimator-small", "emim-words", "trec-words", "egovideo-words")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_flipped_bit_in_a_shipped_checkpoint_is_noticed(name: str, tmp_path: Path) -> None:
    shutil.copytree(checkpoint_path(name), tmp_path / name)
    weights = tmp_path / name / WEIGHTS_FILE
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    with pytest.raises(InputError, match="its checksum is another"):
        load_checkpoint(tmp_path / name)
