from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from palmist.config import TrainConfig, build_config, load_config, merge, parse_overrides, read_yaml, to_mapping
from palmist.errors import InputError


@dataclass(frozen=True)
class Inner:
    width: int = 8
    rate: float = 30.0


@dataclass(frozen=True)
class Outer:
    name: str = "x"
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    sizes: tuple[int, ...] = (1, 2)

    def __post_init__(self) -> None:
        if self.name == "bad":
            raise InputError("the name is bad")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_holds_only_the_differences(tmp_path: Path) -> None:
    file = write(tmp_path / "c.yaml", "task: toy\nsteps: 5\nlearning_rate: 1e-3\nmodel: {width: 4}\n")
    config = load_config(TrainConfig, file)
    assert config.learning_rate == 1e-3  # YAML 1.1 reads 1e-3 as text
    assert config.weight_decay == 0.01
    assert config.model == {"width": 4}


def test_overrides_are_dotted_and_win(tmp_path: Path) -> None:
    file = write(tmp_path / "c.yaml", "task: toy\nsteps: 5\nmodel: {width: 4, heads: 2}\n")
    words = ["--model.width", "16", "--learning-rate=0.5", "--data.root.name", "a b", "--tensorboard", "false"]
    config = load_config(TrainConfig, file, words)
    assert config.model == {"width": 16, "heads": 2}
    assert config.learning_rate == 0.5
    assert config.data == {"root": {"name": "a b"}}
    assert config.tensorboard is False
    assert load_config(TrainConfig, file, {"model.width": 3}).model["width"] == 3


def test_a_base_file_is_laid_under(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", "task: toy\nsteps: 5\nmodel: {width: 4, heads: 2}\n")
    file = write(tmp_path / "c.yaml", "base: base.yaml\nmodel: {heads: 8}\n")
    assert load_config(TrainConfig, file).model == {"width": 4, "heads": 8}
    write(tmp_path / "base.yaml", "base: c.yaml\n")
    with pytest.raises(InputError, match="names itself as its base"):
        read_yaml(file)


def test_an_unknown_key_is_named_with_the_nearest_known_one(tmp_path: Path) -> None:
    file = write(tmp_path / "c.yaml", "task: toy\nsteps: 5\nlerning_rate: 1\n")
    with pytest.raises(InputError, match=r"c\.yaml: unknown key 'lerning_rate'; the nearest .* 'learning_rate'"):
        load_config(TrainConfig, file)
    with pytest.raises(InputError, match=r"unknown key 'inner\.widht'; the nearest known key is 'inner\.width'"):
        build_config(Outer, {"inner": {"widht": 3}})
    with pytest.raises(InputError, match=r"'maybe\.widht'; the nearest known key is 'maybe\.width'"):
        build_config(Outer, {"maybe": {"widht": 3}})


def test_dataclasses_are_built_and_checked() -> None:
    outer = build_config(Outer, {"inner": {"width": 3}, "sizes": [4]})
    assert outer == Outer(inner=Inner(width=3), sizes=(4,))
    with pytest.raises(InputError, match=r"^here: 'inner\.width' is 'wide'; input should be a valid integer"):
        build_config(Outer, {"inner": {"width": "wide"}}, "here")
    with pytest.raises(InputError, match="the name is bad"):
        build_config(Outer, {"name": "bad"})
    assert build_config(Outer, to_mapping(outer)) == outer


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: toy\nsteps: 5\nsteps: 6\n", "the key 'steps' is given twice .line 3."),
        ("task: toy\nsteps: [5\n", "not readable YAML"),
        ("- task\n", "holds list, expected names with values"),
        ("steps: 5\n", "the key 'task' is missing"),
        ("task: toy\n", "found neither of 'steps' and 'epochs'"),
        ("task: toy\nsteps: 5\nepochs: 2\n", "found both of 'steps' and 'epochs'"),
        ("task: toy\nsteps: 0\n", "'steps' is 0; input should be greater than or equal to 1"),
        ("task: toy\nsteps: 5\nprecision: bf16\n", "'precision' is 'bf16'"),
        ("task: toy\nsteps: 5\nbatch_size: 9\nprocesses: 2\n", "cannot be shared equally by 2 processes; use 8"),
        ("", "the key 'task' is missing"),
    ],
)
def test_wrong_files_give_one_sentence_that_names_the_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        load_config(TrainConfig, write(tmp_path / "c.yaml", text))
    assert "c.yaml" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file() -> None:
    with pytest.raises(InputError, match=r"no configuration at nowhere\.yaml"):
        load_config(TrainConfig, "nowhere.yaml")


@pytest.mark.parametrize("words", [["steps", "5"], ["--steps"], ["--steps", "--seed", "3"]])
def test_wrong_overrides(words: list[str]) -> None:
    with pytest.raises(InputError, match=r"write --"):
        parse_overrides(words)


def test_an_override_below_a_single_value_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "c.yaml", "task: toy\nsteps: 5\n")
    with pytest.raises(InputError, match=r"--steps\.more: steps is a single value"):
        load_config(TrainConfig, file, ["--steps.more", "1"])


def test_negative_numbers_are_values() -> None:
    assert parse_overrides(["--shift", "-3", "--name", "a b"]) == {"shift": -3, "name": "a b"}


def test_merge_leaves_its_arguments_alone() -> None:
    base = {"a": {"b": 1}}
    assert merge(base, {"a": {"c": 2}}) == {"a": {"b": 1, "c": 2}}
    assert base == {"a": {"b": 1}}


def test_epochs_become_steps() -> None:
    assert TrainConfig(task="t", epochs=2, batch_size=8).total_steps(33) == 9
    assert TrainConfig(task="t", steps=7).total_steps(33) == 7
