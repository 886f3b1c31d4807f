"""Write the demo's recordings (src/palmist/assets/demo) from the project's open data.

    python tools/make_demo_assets.py

Signer S2 and person P1 belong to fold 1, so the shipped checkpoint has never seen them. The first recording of each word
whose hands are tracked throughout is taken, not the best-looking one.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from palmist.readers import open_data
from palmist.recording import Recording
from palmist.store import write_store

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "src/palmist/assets/demo"
TWO_HANDED, ONE_HANDED = ("coffee", "get", "muffin"), ("hello", "thank-you")


def first_of(label: str, hands: tuple[int, ...]) -> Recording:
    for recording in open_data("asl_words"):
        if recording.subject == "S2" and recording.segments[0].label == label and recording.valid[:, hands].all():
            return recording
    raise SystemExit(f"no recording of {label}")


def main() -> None:
    words = [first_of(label, (0, 1)) for label in TWO_HANDED] + [first_of(label, (1,)) for label in ONE_HANDED]
    reach = next(r for r in open_data("reach_to_grasp") if r.subject == "P1")
    shutil.rmtree(OUT, ignore_errors=True)
    write_store(OUT, [*words, reach.slice(0, 150)])
    (OUT / "LICENCES.txt").write_text(
        "asl_words recordings: MIT, Copyright (c) 2022 traduttore (github.com/traduttore/traduttore-model).\n"
        "reach_to_grasp recording: MIT, Copyright (c) 2022 Roboskel, NCSR Demokritos "
        "(github.com/nsoul97/object_size_prediction).\n\n" + (ROOT / "data/asl_words/LICENSE.txt").read_text(encoding="utf-8"),
        encoding="utf-8",
    )
    print(f"{len(words) + 1} recordings in {OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
