"""`palmist benchmark quality --quick` from end to end with everything tiny; its numbers can never be taken for real ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from palmist import readers
from palmist.benchmark import quality, quick
from palmist.cli import app
from palmist.config import TrainConfig, load_config
from palmist.errors import InputError
from palmist.evaluation import checkpoints, videos
from palmist.evaluation.benchmark_record import QUICK, BenchmarkRecord, make_record, write_records
from palmist.recording import Recording
from palmist.splits import FOLDS
from palmist.tasks import labelled

ROOT = Path(__file__).resolve().parents[2]


def thin(name: str) -> list[Recording]:
    recordings = readers.open_data(name)
    if name == "leap_recordings":
        return [recording.slice(0, 60) for recording in recordings]
    by_label: dict[tuple[Any, ...], list[Recording]] = {}
    for recording in recordings:
        key = (recording.subject, recording.segments[0].label if name == "asl_words" else "")
        by_label.setdefault(key, []).append(recording)
    return [recording for chosen in by_label.values() for recording in chosen[:1]]


def tiny(step: quick.Trained, root: Path) -> quick.Trained:
    """Two steps of four items."""
    jobs = []
    for job in step.jobs:
        changes: dict[str, Any] = {"steps": 2, "warmup_steps": 1, "batch_size": 4}
        if "data.p_checkpoint" in job.settings:
            changes["data.p_checkpoint"] = str(root / Path(job.settings["data.p_checkpoint"]).parent.name / "last")
        if job.name == "trec":
            changes["data.tracks.points"] = 100
        jobs.append(replace(job, settings=job.settings | changes))
    return replace(step, jobs=tuple(jobs))


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "runs/quick"
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(quick, "ROOT", root)
    monkeypatch.setattr(quick, "_plan", lambda: "tiny")
    for module in (labelled, checkpoints, quality):
        monkeypatch.setattr(module, "open_data", thin)
    whole = videos.evaluation_set

    def few(*args: Any) -> Any:
        name, config = whole(*args)
        return name, replace(config, options={**config.options, "videos": 8})

    monkeypatch.setattr(videos, "evaluation_set", few)
    steps = {n: tiny(step, root) if isinstance(step, quick.Trained) else step for n, step in quick.STEPS.items()}
    monkeypatch.setattr(quick, "STEPS", steps)
    return root


def test_it_runs_from_end_to_end(small: Path, tmp_path: Path) -> None:
    before = {file: file.read_bytes() for file in (ROOT / "benchmarks/results").glob("*.json")}
    result = CliRunner().invoke(app, ["benchmark", "quality", "--quick", "--json", str(tmp_path / "quick.json")])
    assert result.exit_code == 0, result.output
    assert "QUICK numbers" in result.output
    assert "8 of 8" in result.output
    records = [BenchmarkRecord.from_json(row) for row in json.loads((tmp_path / "quick.json").read_text())]
    names = {record.name for record in records}
    assert len(names) == len(records)
    assert all(name.startswith(QUICK) for name in names)
    words = {f"{QUICK}asl_words/cross_signer_a/{m}/accuracy" for m in ("ghtt", "linear", "bharnet", "plain_transformer")}
    assert words <= names
    assert {f"{QUICK}directions/all/{m}/accuracy" for m in ("emim", "trec")} <= names
    assert {f"{QUICK}asl_words/cross_signer_a/{m}/ade" for m in ("ghtt", "last_pose")} <= names
    assert f"{QUICK}asl_words/cross_signer_a/ghtt/refine_error_ratio" in names
    assert f"{QUICK}leap_recordings/all/pose_vector/round_trip_error" in names
    assert before == {file: file.read_bytes() for file in (ROOT / "benchmarks/results").glob("*.json")}
    trained = {run.parent.name for run in small.glob("*/finished")}
    assert trained == {"a", "bharnet", "emim", "p", "plain_transformer", "trec"}


def test_stopping_keeps_what_is_done(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop() -> list[BenchmarkRecord]:
        raise KeyboardInterrupt("stopped here")

    monkeypatch.setattr(quick, "STEPS", {"linear": quick.linear, "then": stop, "never": lambda: pytest.fail("went on")})
    result = CliRunner().invoke(app, ["benchmark", "quality", "--quick", "--json", str(tmp_path / "quick.json")])
    assert result.exit_code == 130
    assert "stopped here" in result.output
    assert len(json.loads((tmp_path / "quick.json").read_text())) == 2


def test_trainings_of_another_plan_are_not_taken(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = small / "bharnet"
    monkeypatch.setattr(quick, "train_job", lambda job, root: (run / "kept").touch() or run)  # type: ignore[func-returns-value]
    monkeypatch.setattr(checkpoints, "evaluate_checkpoint", lambda *args: [])
    run.mkdir(parents=True)
    (run / "old").touch()
    quick.run_quick("linear")  # makes room, for no plan stands there
    assert not run.exists()
    run.mkdir()
    quick.run_quick("bharnet")
    assert (run / "kept").exists()
    quick.run_quick("bharnet")
    assert (run / "kept").exists()  # the same plan
    monkeypatch.setattr(quick, "_plan", lambda: "another")
    quick.run_quick("linear")
    assert not run.exists()


def test_only_quality_can_be_quick_and_steps_are_named(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(app, ["benchmark", "speed", "--quick"])
    assert result.exit_code == 2
    assert "speed has none" in " ".join(result.output.split())
    with pytest.raises(InputError, match="bharnet"):
        quick.run_quick("taste")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="checkout"):
        quick.run_quick()


def test_no_results_file_takes_a_quick_number(tmp_path: Path) -> None:
    record = make_record(f"{QUICK}asl_words/cross_signer_a/ghtt/accuracy", 0.5, "share", 3, quick.COMMAND)
    with pytest.raises(InputError, match="shortened"):
        write_records(tmp_path / "quality.json", [record])
    assert not (tmp_path / "quality.json").exists()
    with pytest.raises(InputError, match="data/split/model/metric"):
        replace(record, name=f"quack/{record.name.removeprefix(QUICK)}")


@pytest.mark.parametrize("name", [name for name, step in quick.STEPS.items() if isinstance(step, quick.Trained)])
def test_shortened_trainings_never_see_the_test_people(name: str) -> None:
    step = quick.STEPS[name]
    assert isinstance(step, quick.Trained)
    for job in step.jobs:
        sets = load_config(TrainConfig, ROOT / job.config, job.settings).data["sets"]
        if step.data == "directions":
            assert sets["directions"]["options"]["seed"] == 0  # the test draws from another
            continue
        for data in ("asl_words", "asl_letters", "reach_to_grasp"):
            test = FOLDS[1].people if data == "reach_to_grasp" else FOLDS[1].signers
            assert data not in sets or not set(sets[data]["subjects"]) & set(test)
        if "leap_recordings" in sets:
            assert set(FOLDS[1].takes) <= set(sets["leap_recordings"]["exclude"])
