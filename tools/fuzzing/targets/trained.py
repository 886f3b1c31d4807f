"""What training reads and writes: configurations, states, checkpoints, records."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing.targets.examples import example_recording
from fuzzing.targets.target import ROOT, Target
from palmist.config import TrainConfig, load_config
from palmist.errors import InputError
from palmist.recording import Recording


def _write_checkpoint(folder: Path) -> None:
    """A tiny G-HTT with the settings of the shipped one."""
    import torch

    from palmist.checkpoint import load_checkpoint, save_checkpoint
    from palmist.models.ghtt import GHTT, GHTTConfig

    shipped = load_checkpoint(ROOT / "src/palmist/assets/checkpoints/ghtt-small")
    config = json.loads(json.dumps(shipped.config))
    tiny = {"layers": 1, "width": 16, "heads": 2, "feedforward": 32}
    config["ghtt"]["p"] |= tiny | {"refine_layers": 1}
    config["ghtt"]["a"] |= tiny | {"mid_level_dim": 16}
    torch.manual_seed(0)
    model = GHTT(GHTTConfig.from_dict(config["ghtt"]))
    save_checkpoint(folder / "model", model.state_dict(), config, dict(shipped.statistics), shipped.card)


def _read_model(folder: Path, out: Path) -> Any:
    import torch

    from palmist.reader import load

    reader = load(folder / "model")
    with torch.no_grad():
        reading = next(iter(reader.read_all([_plain_recording()], futures=2, horizon=0.2, seed=0)))
    state = {name: tensor.numpy() for name, tensor in reader.model.state_dict().items()}
    return state, reader.taxonomies, reading.label, reading.probability


def _plain_recording() -> Recording:
    return example_recording(20).replace(body=None, confidence=None, camera=None, objects=None)


def _write_configs(folder: Path) -> None:
    for name in ("ghtt/p_small", "emim/directions", "trec/words", "bharnet/bharnet_small"):
        file = ROOT / "configs" / f"{name}.yaml"
        if file.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder / f"{name}.yaml")
    (folder / "mine.yaml").write_text("base: ghtt/p_small.yaml\nseed: 3\nsteps: 10\nmodel: {width: 64}\n")


def _read_configs(folder: Path, out: Path) -> Any:
    files = sorted(folder.rglob("*.yaml"))
    found = [load_config(TrainConfig, file, {"seed": 5}) for file in files]
    if not found:
        raise InputError(f"{folder} holds no configuration")
    return [config.model_dump() for config in found]


def _write_state(folder: Path) -> None:
    import torch

    from palmist.train.state import RunState, write_state

    tensors = {"model/a": torch.arange(6.0), "optimizer/0/step": torch.tensor(3.0), "average/0": torch.ones(2, 3)}
    write_state(
        folder / "run", RunState(7, tensors, {"windows": 3, "best": 0.5, "validation": None, "seconds": 1.5, "sums": {}})
    )


def _read_state(folder: Path, out: Path) -> Any:
    from palmist.train.state import read_state

    state = read_state(folder / "run")
    if state is None:
        raise InputError("there is no state")
    return state.step, {name: tensor.numpy() for name, tensor in state.tensors.items()}, state.facts


def _write_records(folder: Path) -> None:
    folder.mkdir(parents=True)
    records = json.loads((ROOT / "benchmarks/results/speed.json").read_text())[:5]
    (folder / "records.json").write_text(json.dumps(records, indent=1))


def _read_records(folder: Path, out: Path) -> Any:
    from palmist.evaluation.benchmark_record import read_records

    return [record.to_json() for record in read_records(folder / "records.json")]


def _write_run(folder: Path) -> None:
    """The settings that `palmist train --resume` begins with."""
    from palmist.config import to_mapping

    (folder / "run").mkdir(parents=True)
    config = load_config(TrainConfig, ROOT / "configs/ghtt/p_small.yaml", {"seed": 5})
    (folder / "run/config.json").write_text(json.dumps(to_mapping(config), indent=2) + "\n")


def _read_run(folder: Path, out: Path) -> Any:
    from palmist.config import build_config
    from palmist.train.loop import read_run_config

    return build_config(TrainConfig, read_run_config(folder / "run")).model_dump()


def _write_rendered(folder: Path) -> None:
    from palmist.render import RenderSettings, render_folder

    made = [example_recording(6, name) for name in ("one", "two")]
    render_folder(made, folder / "rendered", RenderSettings(48, tracks=4), source="example")


def _read_rendered(folder: Path, out: Path) -> Any:
    """The clips, and the truth of each."""
    from palmist.render import read_rendered

    clips = list(read_rendered(folder / "rendered"))
    return clips, [clip.truth() for clip in clips]


def _write_clips(folder: Path) -> None:
    from palmist.skeleton_clip import SkeletonClip, write_clip

    (folder / "clips").mkdir(parents=True)
    for number in range(3):
        joints = np.random.default_rng(number).normal(size=(1, 8, 25, 3))
        clip = SkeletonClip(
            joints, np.ones((1, 8, 25), bool), "kinect25", 30.0, f"clip {number}", label="wave", label_number=number,
            splits={"xsub": "train" if number else "test"},
        )  # fmt: skip
        write_clip(folder / f"clips/{number}.npz", clip)


def _read_clips(folder: Path, out: Path) -> Any:
    """Clips of a folder as a skeleton network's training takes them: one part of a split."""
    from palmist.inputs.clip_source import open_clips

    source = open_clips(folder / "clips")
    return source.facts, list(source), list(source.chosen("xsub_train"))


TARGETS = (
    Target("run_settings", _write_run, _read_run),
    Target("rendered_folder", _write_rendered, _read_rendered),
    Target("folder_of_clips", _write_clips, _read_clips),
    Target("checkpoint", _write_checkpoint, _read_model),
    Target("training_state", _write_state, _read_state, 1.2),
    Target("configuration", _write_configs, _read_configs, 1.2),
    Target("benchmark_records", _write_records, _read_records, 1.2),
)
