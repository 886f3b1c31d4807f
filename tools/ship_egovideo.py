"""Put the small EgoVideo into the package, with a model card written from the benchmark's records.

    python tools/ship_egovideo.py [--card]

From runs/benchmark/v0_egovideo (`palmist benchmark quality --only video_text` trains it). --card: only the card is written
again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ship_checkpoint import without_folders

from palmist.checkpoint import load_checkpoint, save_checkpoint
from palmist.evaluation.benchmark_record import read_records

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "src/palmist/assets/checkpoints/egovideo-words"
_MODELS = (
    ("egovideo", "this model"),
    ("egovideo_no_adapter", "its twin without motion adapters"),
    ("egovideo_labels", "captions that are the label alone"),
    ("egovideo_labels_no_adapter", "labels alone, no adapters"),
)
_METRICS = (
    ("map", "retrieval by narrations, mAP"),
    ("labels_map", "retrieval by labels, mAP"),
    ("zero_shot_words_accuracy", "16 labels as sentences, accuracy"),
    ("zero_shot_directions_accuracy", "8 directions as sentences, accuracy"),
)


def card(config: dict) -> str:
    """The model card, Markdown."""
    records = {record.name: record for record in read_records(ROOT / "benchmarks/results/quality.json")}
    lines = ["| | " + " | ".join(text for _, text in _METRICS) + " |", "|---|" + "---|" * len(_METRICS)]
    for model, text in _MODELS:
        cells = []
        for metric, _ in _METRICS:
            record = records.get(f"hod/rendered/{model}/{metric}")
            if record is None:
                cells.append("not measured")
                continue
            low, high = record.interval or (record.value, record.value)
            cells.append(f"{record.value:.3f} ({low:.3f} to {high:.3f}), n {record.n:,}")
        lines.append(f"| {text} | " + " | ".join(cells) + " |")
    table = "\n".join(lines)
    clip, network = config["clip"], config["egovideo"]
    minutes = float(config.get("training", {}).get("seconds", 0)) / 60
    return f"""# egovideo-words

EgoVideo (arXiv 2503.00986) with motion adapters, preset small: `palmist.models.egovideo`. It puts {clip["frames"]} frames of
{clip["size"]} pixels of a short video, and English sentences, into one space of {network["embedding"]} numbers.

**Licence** of the weights: Apache-2.0.

## Data
asl_words (MIT, (c) 2022 traduttore; shipped in the project's `data/` with its licence), signers S1 and S3, **drawn as video**
by `palmist render`, with sentences that Palmist's own narration makes of the recorded joints: the label, and which hand moves
which way. Signer S2 was never seen in training. Trained in {minutes:.0f} minutes on one core of a shared two-core CPU; byte
pairs of the text tower were learnt from the same captions.

## Numbers
From `palmist benchmark quality --only video_text` (benchmarks/results/quality.json): the unseen signer, mean over the seeds,
95 % intervals; this checkpoint is seed 0.

{table}

## Limits
- It has never seen a photograph, and no word that is not in those captions. On real video expect little; it shows the way from
  your own narrations to your own model.
- Drawn near the hands, by a camera that stands still; one sign in each video.
"""


def main() -> None:
    source = SHIPPED if "--card" in sys.argv else ROOT / "runs/benchmark/v0_egovideo/last"
    if not (source / "config.json").is_file():
        print(f"egovideo-words: nothing in {source.relative_to(ROOT)}")
        return
    checkpoint = load_checkpoint(source)
    config = without_folders(dict(checkpoint.config))
    save_checkpoint(SHIPPED, checkpoint.state, config, checkpoint.statistics, card(config), dtype="float16")
    print(f"egovideo-words: {sum(file.stat().st_size for file in SHIPPED.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
