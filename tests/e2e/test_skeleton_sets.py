"""The day a set of skeletons is on disk: prepare, train and evaluate, shown on the made-up examples of the exact layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from palmist.cli import app
from palmist.config import TrainConfig, load_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "bharnet"
SPLITS = {
    "ntu60_xsub": ("ntu60", "xsub_test"),
    "ntu60_xview": ("ntu60", "xview_test"),
    "ntu120_xsub": ("ntu120", "xsub_test"),
    "ntu120_xset": ("ntu120", "xset_test"),
    "pku_xsub": ("pku_mmd", "cross_subject_test"),
    "n_ucla": ("n_ucla", "cross_view_test"),
}
TINY = [
    *("--steps", "2", "--epochs", "null", "--batch_size", "2", "--tensorboard", "false", "--model.frames", "16"),
    *("--model.trunk.width", "12", "--model.trunk.blocks", "2", "--model.trunk.widen", "[2]"),
]


def call(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def refused(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 2, result.output
    return " ".join(result.output.split())


def measured(*words: object) -> dict[str, dict[str, object]]:
    call("evaluate", *words, "--json", "measured.json")
    return {record["name"]: record for record in json.loads(Path("measured.json").read_text())}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("skeletons")
    for name in sorted({name for name, _ in SPLITS.values()}):
        words = ["--option", "denoise=true"] if name.startswith("ntu") else []
        call("prepare", name, "--example", "--root", folder / name, "--out", folder / "stores" / name, *words)
    return folder


def test_every_skeleton_configuration_is_tried() -> None:
    tasks = {file.stem: load_config(TrainConfig, file).task for file in CONFIGS.glob("*.yaml")}
    assert {name for name, task in tasks.items() if task == "bharnet_clips"} == set(SPLITS)


@pytest.mark.parametrize("name", sorted(SPLITS))
def test_prepare_train_evaluate(name: str, stores: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(stores)
    data, split = SPLITS[name]
    call("train", "--config", CONFIGS / f"{name}.yaml", *TINY)
    found = measured(f"runs/{name}/last", "--data", f"stores/{data}", "--split", split)
    start = f"{data}/{split}/bharnet"
    assert {f"{start}/accuracy", f"{start}/class_mean_accuracy"} <= set(found)
    assert any(key.startswith(f"{start}/accuracy_of_") for key in found)
    subset = {"ntu60": "palmist_hand_8_v1_accuracy", "ntu120": "palmist_hand_27_v1_accuracy"}.get(data)
    assert {key for key in found if "/palmist_hand_" in key} == ({f"{start}/{subset}"} if subset else set())


def test_four_streams_are_added_up(stores: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(stores)
    file = CONFIGS / "ntu60_xsub.yaml"
    for stream in ("joint", "bone", "joint_motion", "bone_motion"):
        call("train", "--config", file, *TINY, "--out", f"runs/{stream}", "--model.streams", f"[{stream}]")
    others = [word for stream in ("bone", "joint_motion", "bone_motion") for word in ("--with", f"runs/{stream}/last")]
    where = ["runs/joint/last", "--data", "stores/ntu60", "--split", "xsub_test"]
    found = measured(*where, *others)
    assert found["ntu60/xsub_test/bharnet_ensemble/accuracy"]["n"] == 2
    assert "ntu60/xsub_test/bharnet_joint_motion/accuracy" in found
    assert "--with runs/bone/last" in str(found["ntu60/xsub_test/bharnet_ensemble/accuracy"]["command"])
    assert "each stream once" in refused("evaluate", *where, "--with", "runs/joint/last")
    assert "xsub_train" in refused("evaluate", "runs/joint/last", "--data", "stores/ntu60", "--split", "dev")
    assert "--model.body_graph kinect20" in refused("train", "--config", file, *TINY, "--out", "runs/other",
        "--data.sets.clips.store", "stores/n_ucla", "--data.sets.clips.split", "cross_view_train",
    )  # fmt: skip
