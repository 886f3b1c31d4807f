"""The one table of docs/results.md: cells worked by hand, all models and sets, and names that trainings of the plan give."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from palmist.benchmark import plan

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_results", ROOT / "tools/make_results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def record(value: float, n: int = 10, seeds: tuple[int, ...] = (0,), interval: Any = None) -> dict[str, Any]:
    return {"value": value, "unit": "share", "n": n, "interval": interval, "seeds": seeds}


def row(table: str, model: str) -> list[str]:
    """Cells of a model's row of recognition."""
    (line,) = [line for line in table.split("**Motion**")[0].splitlines() if line.startswith(f"| {model} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


A, B = "asl_words/cross_signer_a", "asl_words/cross_signer_b"


def test_a_cell_shows_value_interval_items_and_seeds(tool: ModuleType) -> None:
    have = {f"{A}/bharnet/accuracy": record(0.98, 1408, (0, 1, 2), (0.97, 0.99)), f"{B}/bharnet/accuracy": record(0.85, 2460)}
    cells = row(tool.one_table(have), "BHaRNet")
    assert cells == [
        "BHaRNet", "0.980 [0.970, 0.990]; 1,408\u00a0×\u00a03", "0.850; 2,460\u00a0×\u00a01", "–", "not measured", "–", "–",
    ]  # fmt: skip


def test_of_several_names_the_first_that_there_is_counts(tool: ModuleType) -> None:
    have = {f"{A}/ghtt_equal_budget/accuracy_clean": record(0.6), f"{B}/ghtt_equal_budget/accuracy": record(0.5)}
    assert [cell[:5] for cell in row(tool.one_table(have), "G-HTT")[1:3]] == ["0.600", "0.500"]
    have["hod/rendered/egovideo_labels/zero_shot_words_accuracy"] = record(0.2)
    assert row(tool.one_table(have), "EgoVideo, labels as sentences")[5].startswith("0.200")
    have["hod/rendered/egovideo/zero_shot_words_accuracy"] = record(0.3)
    assert row(tool.one_table(have), "EgoVideo, labels as sentences")[5].startswith("0.300")
    have[f"{B}/fusion_of_poses/accuracy"] = record(0.7)
    have[f"{A}/fusion_of_pixels/accuracy"] = record(0.8)
    fused = row(tool.one_table(have), "fusion of several models")[1:]
    assert fused == ["not measured", "0.700; 10\u00a0×\u00a01", "–", "–", "0.800; 10\u00a0×\u00a01", "–"]


def test_errors_are_divided_by_the_last_poses(tool: ModuleType) -> None:
    have = {
        f"{A}/ghtt_equal_budget/ade_k20": record(0.2, 7, (0,), (0.1, 0.3)),
        f"{A}/last_pose_equal_budget/ade": record(0.4),
    }
    cell = [line for line in tool.one_table(have).splitlines() if line.startswith("| G-HTT |")][1].split("|")[5].strip()
    assert cell == "0.500 [0.250, 0.750]; 7\u00a0×\u00a01"
    del have[f"{A}/last_pose_equal_budget/ade"]
    assert "0.500" not in tool.one_table(have)


def test_without_any_record_there_is_still_a_table(tool: ModuleType) -> None:
    table = tool.one_table({})
    assert row(table, "plain transformer")[1:] == ["not measured"] * 4 + ["–"] * 2
    columns = {line.count("|") for line in table.split("**Motion**")[0].splitlines() if line.startswith("|")}
    assert columns == {8}
    rest = table.split("**Motion**")[1].split("**What they cost**")
    assert [{line.count("|") for line in part.splitlines() if line.startswith("|")} for part in rest] == [{10}, {5}]


def test_costs_are_shown_with_their_range(tool: ModuleType) -> None:
    have = {
        "training/fold_1/htt/minutes": record(12.34, 3, (0, 1, 2), (10.0, 15.0)),
        "training/fold_1/htt/parameters": record(1730605.0),
    }
    line = next(line for line in tool.one_table(have).split("**What they cost**")[1].splitlines() if line.startswith("| HTT |"))
    assert line == "| HTT | 12.3 [10.0, 15.0] | 1,730,605 | – |"


def test_every_record_of_a_trained_model_can_be_shown(tool: ModuleType) -> None:
    """A name that no training or section gives would stay "not measured" for ever."""
    trained = {*plan.BODY_HAND, *plan.MOTION["words"], *plan.VIDEO_TEXT, "plain_transformer", "linear", "ghtt"}
    trained |= {f"{job.name.split('_', 1)[1]}_equal_budget" for job in plan.table_jobs()} | {"ghtt_equal_budget"}
    made_by_others = {"fusion", "fusion_of_poses"}  # of trained models
    for text, _, models in tool.MODELS:
        assert set(models) <= trained | made_by_others, text


def test_the_page_begins_with_it(tool: ModuleType) -> None:
    page = tool.PAGE.read_text(encoding="utf-8")
    assert page.index("## One table") < page.index("**Motion**") < page.index("## All measurements")
    assert tool.one_table(tool.records()) in page
