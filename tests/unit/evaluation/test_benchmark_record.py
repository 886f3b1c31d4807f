"""Benchmark records: what is accepted, what is refused, and merging by name."""

import dataclasses
import json
import platform

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.evaluation import benchmark_record as br


@pytest.fixture
def record():
    return br.BenchmarkRecord(
        name="asl_words/cross_signer_a/ghtt/accuracy",
        value=0.9,
        unit="share",
        n=1408,
        interval=(0.88, 0.92),
        seeds=(0, 1, 2),
        command="palmist benchmark quality",
        commit="abc123",
        machine="AMD EPYC, 1 thread, torch 2.13.0",
        date="2025-01-31",
    )


def test_fields_are_the_documented_ones(record):
    assert list(record.to_json()) == [
        "name", "value", "unit", "n", "interval", "seeds", "command", "commit", "machine", "date",
    ]  # fmt: skip
    assert br.BenchmarkRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


@pytest.mark.parametrize("name", ["accuracy", "a/b/c", "a/b/c/d/e", "A/b/c/d", "a/b c/d/e", "a/b-c/d/e", "a//b/c", "a/b/c/d\n"])
def test_wrong_names_are_refused(record, name):
    with pytest.raises(InputError, match="data/split/model/metric"):
        dataclasses.replace(record, name=name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("value", float("nan")), ("value", float("inf")), ("value", None), ("value", "1"), ("value", True),
        ("n", 0), ("n", 1.5), ("n", None), ("interval", (0.5, 0.4)), ("interval", (float("nan"), 1.0)),
        ("interval", (1.0,)), ("date", "31.1.2025"), ("command", "palmist read /home/someone/file"), ("command", ""),
        ("command", "python ~/run.py"), ("machine", "/dev/cpu"), ("commit", ""),
    ],
)  # fmt: skip
def test_wrong_fields_are_refused(record, field, value):
    with pytest.raises(InputError):
        dataclasses.replace(record, **{field: value})


def test_the_machine_may_not_name_the_computer(record, monkeypatch):
    monkeypatch.setattr(platform, "node", lambda: "build-box-17")
    with pytest.raises(InputError, match="names this computer"):
        dataclasses.replace(record, machine="AMD EPYC on build-box-17, 1 thread")
    assert "build-box-17" not in br.machine_description(1)


def test_relative_paths_and_numpy_numbers_are_fine(record):
    changed = dataclasses.replace(
        record,
        command="palmist train --config configs/small.yaml",
        value=np.float32(0.5),
        n=np.int64(3),
        seeds=[np.int64(4)],
    )
    assert json.loads(json.dumps(changed.to_json()))["n"] == 3
    assert changed.seeds == (4,)


def test_writing_merges_by_name(record, tmp_path):
    path = tmp_path / "results" / "quality.json"
    other = dataclasses.replace(record, name="asl_words/cross_signer_a/ghtt/ade", value=1.0, interval=None)
    br.write_records(path, [record, other])
    newer = dataclasses.replace(record, value=0.95)
    result = br.write_records(path, [newer])
    assert result == [newer, other]
    assert br.read_records(path) == result
    assert [p.name for p in path.parent.iterdir()] == ["quality.json"]


def test_reading_refuses_broken_files(record, tmp_path):
    path = tmp_path / "quality.json"
    assert br.read_records(path) == []
    for text, words in (
        ("[{", "not whole JSON"),
        ("{}", "list of records"),
        (json.dumps([{"name": "a/b/c/d"}]), "exactly"),
        (json.dumps([record.to_json(), record.to_json()]), "twice"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            br.read_records(path)


def test_make_record_fills_in_the_origin(tmp_path):
    record = br.make_record("a/b/c/d", 2.0, "px", 5, "palmist benchmark quality", threads=2)
    assert "2 threads, torch" in record.machine
    assert record.commit
    assert br.machine_description(1).count("thread,") == 1
