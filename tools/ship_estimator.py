"""Put a trained image estimator into the package, with the model card written from the benchmark's records.

    python tools/ship_estimator.py [RUN]

RUN: runs/benchmark/estimator_po/last (`palmist benchmark quality --only estimator` trains it). Without it only the card of the
shipped checkpoint is written again, from benchmarks/results/quality.json.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ship_checkpoint import without_folders

from palmist.checkpoint import load_checkpoint, save_checkpoint
from palmist.evaluation.benchmark_record import read_records
from palmist.splits import FOLDS

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "src/palmist/assets/checkpoints/estimator-small"
RESULTS = ROOT / "benchmarks/results/quality.json"
_WORDS, _TAKES = "rendered_asl_words/cross_signer_a", "rendered_leap_recordings/leave_takes_out"
ROWS = (
    *(
        (f"{data}, {text}", f"{name}/{{}}/{metric}")
        for data, name in (("drawn words of S2", _WORDS), ("drawn takes", _TAKES))
        for text, metric in (
            ("joints, px of 480 x 270", "pixel_error"),
            ("depth, mm", "depth_error"),
            ("MPJPE-RA, mm", "mpjpe_ra"),
            ("MPJPE-PA, mm", "mpjpe_pa"),
            ("which hands are there, share", "presence_accuracy"),
            ("thing, share of frames", "object_accuracy"),
        )
    ),
)
MORE_ROWS = (
    ("drawn words of S2, thing of 16 frames by E^PO, share", f"{_WORDS}/clip_object/object_accuracy"),
    ("a real clip of a right hand: right hand found, share", "videos/hand_video/image_estimator/found_right"),
    ("the same: left hand found, share", "videos/hand_video/image_estimator/found_left"),
    ("the same: distance to MediaPipe's joints, image widths", "videos/hand_video/image_estimator/distance_to_mediapipe"),
)


def results_table() -> str:
    """The card's table; rows whose record is not there are left out."""
    records = {record.name: record for record in read_records(RESULTS)}
    lines = ["| measured | value | 95 % interval | mean pose | n |", "|---|---|---|---|---|"]
    for text, name in (*((text, name.format("image_estimator")) for text, name in ROWS), *MORE_ROWS):
        if name not in records:
            continue
        record = records[name]
        span = "" if record.interval is None else f"{record.interval[0]:.3f} to {record.interval[1]:.3f}"
        plain = records.get(name.replace("/image_estimator/", "/mean_pose/"))
        against = f"{plain.value:.3f}" if plain is not None and plain is not record else ""
        lines.append(f"| {text} | {record.value:.3f} | {span} | {against} | {record.n} |")
    return "\n".join(lines)


def card(objects: list[str]) -> str:
    """The model card, Markdown."""
    takes = ", ".join(take.split("/")[1] for take in FOLDS[1].takes)
    return f"""# estimator-small

E^I and E^PO of G-HTT (arXiv 2311.17366) in the preset `small`: a ResNet-18 of base width 24 on pictures of 160 x 90, with
heads for the 2.5D joints of both hands, for which hands are there, and for the thing in a hand; and a transformer of two layers
that names the thing of 16 frames. The numbered deviations from the paper are in `palmist.models.ghtt_image` and
`palmist.inputs.image_bank`.

    palmist read clip.mp4 --hands estimator

**Licence** of the weights: Apache-2.0.

## Data
Drawn frames only (`palmist.render`): hands of asl_words (MIT, (c) 2022 traduttore) and leap_recordings (Apache-2.0, Leap
Motion) with seeded people, rooms, cameras and things ({", ".join(objects)}). Never seen in training: signer
{", ".join(FOLDS[1].signers)}; the takes {takes}. **It has never seen a photograph.**

Trained by `configs/ghtt/e_i_small.yaml` and `configs/ghtt/e_po_small.yaml`.

## Numbers
From `palmist benchmark quality --only estimator` (benchmarks/results/quality.json). "Mean pose" answers every frame with the
training frames' mean.

{results_table()}

## Limits
- On real video it is poor: hands are missed, taken for the other side, or placed roughly with a finger pose that is not theirs.
  It is there so that the path from pixels to a reading is whole, trainable and measured; use MediaPipe to read videos.
- Ten takes of leap_recordings are few to learn from: on drawn takes that it never saw it is no better than the training
  frames' mean pose in depth and finger pose.
- The things are four drawn shapes. No real object is known.
- Metres are those of a hand of 90 mm from wrist to knuckles where the recording is not metric.
- Every frame is judged by itself.
"""


def main() -> None:
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED
    checkpoint = load_checkpoint(source)
    config = without_folders(dict(checkpoint.config))
    assert isinstance(config, dict)
    text = card(config["image_estimator"]["objects"])
    save_checkpoint(SHIPPED, checkpoint.state, config, checkpoint.statistics, text, dtype="float16")
    size = sum(file.stat().st_size for file in SHIPPED.iterdir())
    print(f"{SHIPPED.relative_to(ROOT)}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
