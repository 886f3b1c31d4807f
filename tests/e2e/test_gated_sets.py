"""The day a gated set is on disk: prepare, train and evaluate, shown on the made-up examples, give the papers' tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from palmist.cli import app

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "paper"
SMALL = {
    "p": ["--model.preset", "small", "--model.refine_layers", "0"],
    "a": ["--model.preset", "small"],
    "feature_network": ["--model.preset", "small"],
    "htt": ["--model.preset", "small"],
    "flattened": ["--model.preset", "small", "--model.layers", "2"],
    "posegpt_codec": ["--model.preset", "small"],
    "posegpt": ["--model.preset", "small"],
}


def call(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with stores/ and runs/, as the commands of configs/paper make them, in two steps each."""
    folder = tmp_path_factory.mktemp("gated")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        call("prepare", "h2o", "--example", "--root", "h2o", "--out", "stores/h2o", "--option", "splits=train,val")
        call("prepare", "assembly101", "--example", "--root", "assembly101", "--out", "stores/assembly101")
        labels = ("--option", "labels=assembly101")
        call("prepare", "assemblyhands", "--example", "--root", "hands", "--out", "stores/assemblyhands", *labels)
        for name, changes in SMALL.items():
            file = CONFIGS / f"{name}.yaml"
            call("train", "--config", file, "--steps", 2, "--batch_size", 4, "--tensorboard", "false", *changes)
    return folder


def measured(folder: Path, name: str, *words: str) -> dict[str, float]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        call("evaluate", f"runs/{name}/last", "--data", "stores/h2o", *words, "--json", f"{name}.json")
    return {record["name"]: record["value"] for record in json.loads((folder / f"{name}.json").read_text())}


def test_every_paper_configuration_is_tried() -> None:
    assert {file.stem for file in CONFIGS.glob("*.yaml")} == set(SMALL)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("a", ["ghtt/accuracy", "ghtt/refine_error_ratio", "ghtt_pa/fid_1s", "ghtt_pb/fid_1s", "ghtt_pb_given/apd_right_1s"]),
        ("htt", ["htt/accuracy"]),
        ("flattened", ["flattened/accuracy", "flattened_weaker/fid_1s", "flattened_stronger/apd_left_1s"]),
        ("posegpt", ["posegpt/fid_1s", "posegpt/apd_right_1s", "posegpt/ade_best_right_1s"]),
    ],
)
def test_evaluate_gives_the_rows_of_the_tables(trained: Path, name: str, names: list[str]) -> None:
    words = [] if name == "htt" else ["--features", "runs/feature_network/last"]
    found = measured(trained, name, "--split", "val", *words)
    assert {f"h2o/val/{row}" for row in names} <= set(found)


def test_an_unknown_split_and_a_model_without_a_score_are_named(trained: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained)
        for words, says in (
            (["runs/a/last", "--data", "stores/h2o", "--split", "dev"], "one of all, train, val"),
            (["runs/posegpt_codec/last", "--data", "stores/h2o"], "nothing to evaluate"),
            (["runs/posegpt/last", "--data", "stores/h2o"], "--features"),
        ):
            result = CliRunner().invoke(app, ["evaluate", *words])
            assert result.exit_code == 2
            assert says in " ".join(result.output.split())
