"""Every configuration that the project ships is read, built and stepped once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from palmist.checkpoint import save_checkpoint
from palmist.config import TrainConfig, load_config
from palmist.readers import reader
from palmist.store import write_store
from palmist.tasks import TASKS
from palmist.video_sets import VIDEO_SETS
from palmist.video_text import TEXT_SETS

FOLDER = Path(__file__).resolve().parents[2] / "configs"
FILES = sorted(FOLDER.rglob("*.yaml"))


GATED = ("h2o", "assembly101", "assemblyhands", "ntu60", "ntu120", "pku_mmd", "n_ucla")


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Stores of the made-up examples in the place of the gated sets."""
    folder, made = tmp_path_factory.mktemp("stores"), {}
    for name in GATED:
        entry = reader(name)
        assert entry.example is not None
        made[name] = str(folder / name)
        options = {"labels": folder / "assembly101_root"} if name == "assemblyhands" else {}
        write_store(Path(made[name]), entry.read(entry.example(folder / f"{name}_root"), **options))
    return made


VIDEO_TASKS = ("emim", "uniformer", "trec", "egovideo")


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Roots of the made-up examples in the place of the sets of videos."""
    folder = tmp_path_factory.mktemp("videos")
    return {name: str(entry.example(folder / name)) for name, entry in (*VIDEO_SETS.items(), *TEXT_SETS.items())}


def small_videos(task: str, data: dict[str, Any], videos: dict[str, str]) -> dict[str, Any]:
    """A few tiny clips in the place of real ones, a few blocks, without weights to begin from."""
    changes: dict[str, Any] = {"data.clip.frames": 2, "data.clip.size": 32, "data.weights": None, "data.workers": 0}
    if task == "trec":  # tracked without CoTracker's weights
        changes |= {"data.tracks": {**data["tracks"], "tracker": "lucas_kanade", "weights": None, "points": 20}}
    elif task == "egovideo":  # a patch of every size that is shipped divides the side; both passes have frames
        changes |= {"data.clip.size": 112, "data.clip.frames": 4, "data.merges": None, "data.learnt": 20}
        changes |= {"model.layers": 1, "model.text_layers": 1, "model.sparse_frames": 2}
    else:
        changes["model.depths"] = [1, 1, 2, 2]  # widths and all else as they are
    for part in ("sets", "validation"):
        for name in data.get(part, {}):
            changes[f"data.{part}.{name}.limit"] = 4
            if name in videos:
                changes[f"data.{part}.{name}.root"] = videos[name]
    return changes


def test_there_are_configurations_to_test() -> None:
    assert {load_config(TrainConfig, file).task for file in FILES} == set(TASKS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_configuration_is_built_and_stepped_once(
    file: Path, tmp_path: Path, stores: dict[str, str], videos: dict[str, str]
) -> None:
    few: dict[str, Any] = {"batch_size": 2, "processes": 1}
    named = load_config(TrainConfig, file).data.get("sets", {})
    few |= {f"data.sets.{name}.store": stores[Path(e["store"]).name] for name, e in named.items() if "store" in e}
    if "draw" in load_config(TrainConfig, file).data:
        few |= {"data.draw.clips": 6, "data.draw.size": 48}
    if load_config(TrainConfig, file).task in VIDEO_TASKS:
        few |= small_videos(load_config(TrainConfig, file).task, load_config(TrainConfig, file).data, videos)
    config = load_config(TrainConfig, file, few)
    if "i_checkpoint" in config.data:
        image_config = TrainConfig(task="image_estimator", steps=1, data={"draw": config.data["draw"]})
        image_task = TASKS["image_estimator"]()
        content = image_task.collect(image_task.build_model(image_config), image_config)
        untrained = save_checkpoint(tmp_path / "i", content.state, content.config, content.statistics)
        config = load_config(TrainConfig, file, {**few, "data.i_checkpoint": str(untrained)})
    if "p_checkpoint" in config.data:
        pose_config = TrainConfig(task="ghtt_p", model={"preset": config.model.get("preset", "small")}, steps=1)
        pose_task = TASKS["ghtt_p"]()
        content = pose_task.collect(pose_task.build_model(pose_config), pose_config)
        untrained = save_checkpoint(tmp_path / "p", content.state, content.config, content.statistics)
        config = load_config(TrainConfig, file, {**few, "data.p_checkpoint": str(untrained)})
    if "codec_checkpoint" in config.data:
        codec_task = TASKS["posegpt_codec"]()
        content = codec_task.collect(codec_task.build_model(config), config)
        untrained = save_checkpoint(tmp_path / "codec", content.state, content.config, content.statistics)
        config = load_config(TrainConfig, file, {**few, "data.codec_checkpoint": str(untrained)})
    if "skeleton_checkpoint" in config.data:
        guide_config = load_config(TrainConfig, FOLDER / "bharnet" / "bharnet_small.yaml")
        guide_task = TASKS["bharnet"]()
        content = guide_task.collect(guide_task.build_model(guide_config), guide_config)
        untrained = save_checkpoint(tmp_path / "guide", content.state, content.config, content.statistics)
        config = load_config(TrainConfig, file, {**few, "data.skeleton_checkpoint": str(untrained), "data.clips": 4})
    task = TASKS[config.task]()
    data = task.train_data(config)
    torch.manual_seed(0)
    model = task.build_model(config)
    generator = torch.Generator().manual_seed(0)
    loss, parts = model.train().loss(data.batch(np.array([0, len(data) - 1]), generator), generator)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(np.isfinite(float(value)) for value in parts.values())
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
    assert len(task.collect(model, config).state) > 0
