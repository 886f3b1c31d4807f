"""Put the video networks into the package, each with a model card written from the benchmark's records.

    python tools/ship_video_networks.py [--cards]

From runs/benchmark/m0_words_emim and m0_words_trec (`palmist benchmark quality --only rendered_words` trains them); a network
whose run is not there is left as it is. --cards: only the cards of those that are shipped are written again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ship_checkpoint import without_folders

from palmist.checkpoint import load_checkpoint, save_checkpoint
from palmist.evaluation.benchmark_record import read_records

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "src/palmist/assets/checkpoints"
_DRAWN = "rendered_asl_words/cross_signer_a"
#: name -> run, what it is, rows of the card: what, record.
NETWORKS = {
    "emim-words": (
        "m0_words_emim",
        "EMIM (arXiv 2510.18705) in UniFormer of a small size: `palmist.models.emim`, `palmist.models.uniformer`",
        (
            ("drawn words of the unseen signer S2, accuracy of 16, mean of the seeds", f"{_DRAWN}/emim/accuracy"),
            ("its twin without the motion network", f"{_DRAWN}/emim_without_motion/accuracy"),
            ("plain UniFormer", f"{_DRAWN}/uniformer/accuracy"),
        ),
    ),
    "trec-words": (
        "m0_words_trec",
        "TRec (arXiv 2601.03667), preset small: `palmist.models.trec`",
        (
            ("drawn words of the unseen signer S2, accuracy of 16, mean of the seeds", f"{_DRAWN}/trec/accuracy"),
            ("its twin without tracks", f"{_DRAWN}/rgb_only/accuracy"),
        ),
    ),
}


def card(name: str, config: dict) -> str:
    """The model card, Markdown."""
    _, what, rows = NETWORKS[name]
    clip, training = config["clip"], config.get("training", {})
    records = {record.name: record for record in read_records(ROOT / "benchmarks/results/quality.json")}
    lines = ["| measured | value | 95 % interval | n |", "|---|---|---|---|"]
    for text, record in ((text, records[key]) for text, key in rows if key in records):
        low, high = record.interval or (record.value, record.value)
        lines.append(f"| {text} ({len(record.seeds)}) | {record.value:.3f} | {low:.3f} to {high:.3f} | {record.n:,} |")
    table = "\n".join(lines)
    labels, minutes = config[config["model"]]["labels"], float(training.get("seconds", 0)) / 60
    tracks = config.get("tracks")
    followed = "" if tracks is None else f" Tracks: {tracks['points']} points by {tracks['tracker']}."
    return f"""# {name}

{what}. It recognises {len(labels)} signed words from {clip["frames"]} frames of {clip["size"]} pixels of a short video.

**Licence** of the weights: Apache-2.0.

## Data
asl_words (MIT, (c) 2022 traduttore; shipped in the project's `data/` with its licence), signers S1 and S3, **drawn as video**
by `palmist render`: made-up people, backgrounds and clothes around recorded joints. Signer S2 was never seen in training.
Trained in {minutes:.0f} minutes on one core of a shared two-core CPU.{followed}

## Labels
{", ".join(labels)}

## Numbers
From `palmist benchmark quality --only rendered_words` (benchmarks/results/quality.json); this checkpoint is seed 0. In
brackets: how many seeds.

{table}

## Limits
- It has never seen a photograph. On real video expect little; it shows how to train on your own.
- Drawn near the hands, by a camera that stands still; one sign in each video.
- A word that was not learnt is named as one that was.
"""


def main() -> None:
    for name, (run, _, _) in NETWORKS.items():
        source = ASSETS / name if "--cards" in sys.argv else ROOT / "runs/benchmark" / run / "last"
        if not (source / "config.json").is_file():
            print(f"{name}: nothing in {source.relative_to(ROOT)}")
            continue
        checkpoint = load_checkpoint(source)
        config = without_folders(dict(checkpoint.config))
        if config.get("tracks") is not None:
            config["tracks"] = {**config["tracks"], "folder": None}
        save_checkpoint(ASSETS / name, checkpoint.state, config, checkpoint.statistics, card(name, config), dtype="float16")
        print(f"{name}: {sum(file.stat().st_size for file in (ASSETS / name).iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
