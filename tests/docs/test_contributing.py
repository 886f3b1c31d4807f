"""CONTRIBUTING.md: its reader, model and metric run as they stand; names it sends people to exist. The citation is complete."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import palmist
from palmist.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAPERS = ("2311.17366", "2503.14960", "2510.18705", "2601.03667", "2503.00986")


def block(number: int) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": __name__}
    code = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)[number]
    exec(compile(code, "CONTRIBUTING.md", "exec", dont_inherit=True), names)
    return names


def test_the_reader_reads(tmp_path: Path) -> None:
    read, root = block(0)["read_glove"], tmp_path / "root"
    with pytest.raises(InputError, match="holds no SUBJECT/LABEL_TAKE"):
        list(read(root))
    hand = np.random.default_rng(0).normal(size=(12, 21, 3)) * 30 + (0, 0, 400)
    (root / "anna").mkdir(parents=True)
    np.save(root / "anna/wave_0.npy", hand)
    (recording,) = read(root)
    assert (recording.name, recording.subject, recording.segments[0].label) == ("glove/anna/wave_0", "anna", "wave")
    assert np.allclose(recording.joints[:, 1], hand / 1000, atol=1e-6)
    assert not recording.known[:, 0].any()
    assert len(palmist.write_store(tmp_path / "store", read(root))) == 1
    np.save(root / "anna/wave_1.npy", hand[:, :20])
    with pytest.raises(InputError, match="expected"):
        list(read(root))


def test_the_model_learns_and_ignores_what_is_not_known() -> None:
    names = block(1)
    torch.manual_seed(0)
    model = names["WristModel"](names["WristModelConfig"](width=16))
    steps = torch.randn(32, 9, 3) * 0.1 + torch.tensor([1.0, 0, 0]) * torch.tensor([-1.0, 1.0]).repeat(16)[:, None, None]
    wrist = steps.cumsum(1)
    batch = {"wrist": wrist, "known": torch.ones(32, 9, dtype=torch.bool), "label": torch.tensor([0, 1]).repeat(16)}
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(60):
        loss, parts = model.loss(batch, torch.Generator())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert parts["accuracy"] == 1
    known = batch["known"].clone()
    known[:, 4] = False
    lost = wrist.clone()
    lost[:, 4] = 1e3
    assert torch.equal(model(wrist, known), model(lost, known))
    assert not torch.equal(model(wrist, known), model(wrist, batch["known"]))


def test_the_metric_counts_what_is_known() -> None:
    wrist_error = block(2)["wrist_error"]
    truth, known = np.zeros((3, 21, 3)), np.ones((3, 21), bool)
    estimate = truth.copy()
    estimate[:, 0, 0] = (1, 2, 30)
    known[2, 0] = False
    assert wrist_error(estimate, truth, known)[:2] == (1.5, 2)
    assert wrist_error(estimate, truth, ~known & False).n == 0


def test_files_and_names_of_the_page_exist() -> None:
    folders = ("", "src/palmist", "src/palmist/readers", "src/palmist/metrics")
    for file in set(re.findall(r"`([\w/]+\.(?:py|yml|cff|md))`", TEXT)) - {"glove_example.py", "utils.py"}:
        if "reader_glove" not in file:
            assert any((ROOT / folder / file).exists() for folder in folders), file
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(f"\n{name}:" in makefile for name in re.findall(r"`make (\w+)`", TEXT))


def test_the_citation_names_the_five_papers_and_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    found = {item["value"].removeprefix("arXiv:") for entry in citation["references"] for item in entry["identifiers"]}
    assert set(PAPERS) <= found
    for entry in citation["references"]:
        assert entry["title"]
        assert all(author["family-names"] and author["given-names"] for author in entry["authors"])
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{citation["version"]}"\n' in project
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {citation['version']}" in changelog
