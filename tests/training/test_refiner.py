"""The refiner is trained last and alone: nothing else of the P-block changes, and refinement gets better."""

from __future__ import annotations

from pathlib import Path

import torch

from palmist.checkpoint import load_checkpoint
from palmist.tasks.ghtt import load_p_block
from palmist.train import train_from_file

POSE = """\
task: ghtt_p
model: {preset: small, width: 32, layers: 1, heads: 2, feedforward: 64, refine_layers: 0}
data: {sets: {leap_recordings: {subjects: null}}}
steps: 2
batch_size: 8
"""


def test_only_the_refiner_learns(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POSE)
    train_from_file(tmp_path / "p.yaml", {"out": str(tmp_path / "p")})
    text = (
        POSE.replace("ghtt_p", "ghtt_refine").replace("refine_layers: 0", "refine_layers: 1").replace("steps: 2", "steps: 60")
    )
    text = text.replace("data: {", f"data: {{p_checkpoint: {tmp_path / 'p' / 'last'}, ")
    (tmp_path / "r.yaml").write_text(text + "learning_rate: 1.0e-3\n")
    train_from_file(tmp_path / "r.yaml", {"out": str(tmp_path / "r")})

    before, after = (load_checkpoint(tmp_path / run / "last").state for run in "pr")
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert {name for name in after if name not in before} == {n for n in after if n.startswith("p.refiner.")} != set()

    block = load_p_block(tmp_path / "r" / "last")
    assert block.refiner is not None
    losses = [
        float(line.split('"loss": ')[1].split(",")[0]) for line in (tmp_path / "r" / "log.jsonl").read_text().splitlines()
    ]
    assert losses[-1] < losses[0]
