"""Put a trained checkpoint into the package, with the model card written from the benchmark's records.

    python tools/ship_checkpoint.py [A_RUN REFINED_RUN]

A_RUN: runs/benchmark/a_fold1/last and REFINED_RUN: runs/benchmark/r_fold1/last (fold 1 of `palmist benchmark quality`), over
the same P-block: the second adds the refiner.

Without them only the card of the shipped checkpoint is written again, from benchmarks/results/quality.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from palmist.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from palmist.splits import FOLDS

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "src/palmist/assets/checkpoints/ghtt-small"
RESULTS = ROOT / "benchmarks/results/quality.json"
ROWS = (
    ("words, unseen signer S2, accuracy of 16", "asl_words/cross_signer_a/ghtt/accuracy"),
    ("words, unseen signer S2, class mean", "asl_words/cross_signer_a/ghtt/class_mean_accuracy"),
    ("letters, unseen signer S2, accuracy of 28", "asl_letters/leave_out_s2/ghtt/accuracy"),
    ("refined / noisy error, words", "asl_words/cross_signer/ghtt/refine_error_ratio"),
    ("shift of clean words, hand sizes", "asl_words/cross_signer/ghtt/refine_clean_shift"),
    ("words, next 0.5 s, deterministic, shoulder widths", "asl_words/cross_signer/ghtt/ade"),
    ("words, next 0.5 s, best of 20", "asl_words/cross_signer/ghtt/ade_k20"),
    ("words, last pose repeated", "asl_words/cross_signer/last_pose/ade"),
    ("reach, next 0.5 s, deterministic, px", "reach_to_grasp/leave_people_out/ghtt/ade"),
    ("reach, next 0.5 s, best of 20, px", "reach_to_grasp/leave_people_out/ghtt/ade_k20"),
    ("reach, last pose repeated, px", "reach_to_grasp/leave_people_out/last_pose/ade"),
)


def results_table() -> str:
    """The card's table; rows whose record is not there are left out."""
    records = {r["name"]: r for r in json.loads(RESULTS.read_text(encoding="utf-8"))} if RESULTS.exists() else {}
    lines = ["| measured | value | 95 % interval | n |", "|---|---|---|---|"]
    for text, name in ROWS:
        if name in records:
            record = records[name]
            interval = record["interval"]
            shown = "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
            lines.append(f"| {text} | {record['value']:.3f} | {shown} | {record['n']} |")
    return "\n".join(lines)


def card(config: dict) -> str:
    """The model card, Markdown."""
    fold, training = FOLDS[1], config.get("training", {})
    minutes = float(training.get("wall_seconds", training.get("seconds", 0.0)) or 0.0) / 60
    time = f" The A-block took {minutes:.0f} minutes on one core of a shared two-core CPU." if minutes else ""
    labels = "\n".join(f"- {name}: {', '.join(entry['labels'])}" for name, entry in config["taxonomies"].items())
    return f"""# ghtt-small

G-HTT (arXiv 2311.17366) in the preset `small`: P-block and A-block of 4 + 4 layers, width 128, clips of 16 frames at 30
frames per second, with a refiner of two layers and the A-block's context of body and pose vectors. It refines hand poses,
recognises the action and predicts futures.
The numbered deviations from the paper are in `palmist.models.ghtt`.

**Licence** of the weights: Apache-2.0. **Label features**: all-MiniLM-L6-v2 (Apache-2.0), kept in the checkpoint.

## Data
All recorded by others and shipped in the project's `data/` with their licences: asl_words and asl_letters (MIT,
(c) 2022 traduttore), reach_to_grasp (MIT, (c) 2022 Roboskel, NCSR Demokritos), leap_recordings (Apache-2.0, Leap Motion).
Never seen in training, in any set, with or without labels: signer {", ".join(fold.signers)}; persons
{", ".join(fold.people)} of reach_to_grasp; the takes {", ".join(take.split("/")[1] for take in fold.takes)}.

Trained by `configs/ghtt/p_small.yaml`, then `configs/ghtt/r_small.yaml` (the refiner) and `configs/ghtt/a_small.yaml`, on
the same people.{time}

## Labels
{labels}

## Numbers
From `palmist benchmark quality` (benchmarks/results/quality.json). Rows named after a set without a person pool the folds
that leave each person out; this checkpoint is fold 1.

{results_table()}

## What was chosen with a look at test people, and what was not
Augmentation and the synthetic recordings without a sign follow from what differs between people and cameras, and from the
confusions that the data's own description names. No setting was swept on test people, and the sampling factor was chosen
on training people. But deviations 10, 11, 13, 14 and 17 of `palmist.models.ghtt`, the palm directions without a body, and the
length of training were settled after looks at errors that included test people (about seven in all), so the numbers
are somewhat kinder than those of a first look. Deviations 12, 15 and 16 were settled on training people. Earlier trainings
of the A-block, without pose vectors in its context, read 0.92 to 0.955 of the words of S2 and 0.84 to 0.85 in the other
direction: whole sessions of one word are taken for "idle" or not, so read the second decimal with care.

## Limits
- Three signers and eight people, adults before one camera each; sixteen words and the alphabet are not a sign language.
- asl_words and asl_letters are 2.5D at a nominal 20 frames/s with an assumed 4:3 image; distances are relative to hands of
  90 mm. reach_to_grasp is planar. leap_recordings is metric and has the palm's centre
  in the wrist's place.
- Recognition of words needs the upper body; without one the body context is unknown.
- Futures further than about a second are plausible motion, not forecasts.
"""


def without_folders(value: object) -> object:
    """Absolute paths in the stored run's settings say nothing elsewhere: their last two parts stay."""
    if isinstance(value, dict):
        return {key: without_folders(entry) for key, entry in value.items()}
    if isinstance(value, str) and value.startswith("/"):
        return "/".join(Path(value).parts[-2:])
    return value


def add_refiner(checkpoint: Checkpoint, refined: Checkpoint) -> None:
    """Put the refined P-block into an A run's checkpoint, if everything but the refiner is the same."""
    for name, tensor in checkpoint.state.items():
        if name.startswith("p.") and not torch.equal(tensor, refined.state[name]):
            sys.exit(f"{name} differs: the refiner belongs to another P-block than the A-block")
    checkpoint.state.update(refined.state)
    checkpoint.config["ghtt"]["p"] = refined.config["ghtt"]["p"]


def main() -> None:
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED
    checkpoint = load_checkpoint(source)
    if len(sys.argv) > 2:
        add_refiner(checkpoint, load_checkpoint(Path(sys.argv[2])))
    config = without_folders(dict(checkpoint.config))
    assert isinstance(config, dict)
    save_checkpoint(SHIPPED, checkpoint.state, config, checkpoint.statistics, card(config), dtype="float16")
    size = sum(file.stat().st_size for file in SHIPPED.iterdir())
    print(f"{SHIPPED.relative_to(ROOT)}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
