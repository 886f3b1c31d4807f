"""What the benchmark's models say of the words of signers that they never saw: probabilities, for fusion and calibration.

A model reads either the recordings themselves (G-HTT, BHaRNet) or drawings of them (TRec, EMIM, EgoVideo by sentences); a row
belongs to one recording in both cases.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from palmist.benchmark import plan
from palmist.benchmark.kept import measured
from palmist.benchmark.video_text import word_answers
from palmist.evaluation.ghtt import load_ghtt, recognise
from palmist.evaluation.videos import evaluation_set, load_tested, recognise_tested
from palmist.readers import open_data
from palmist.recording import Recording
from palmist.splits import FOLDS, recordings_of
from palmist.tasks.labelled import labelled_parts
from palmist.tasks.skeletons import load_bharnet, recognise_skeletons
from palmist.tasks.videos import read_videos

__all__ = ["EVERYONE", "MEMBERS", "PIXELS", "POSES", "WordPredictions", "aligned", "run_of", "seeds_of", "word_predictions"]

POSES, PIXELS = ("ghtt", "bharnet"), ("trec", "emim")
MEMBERS = (*POSES, *PIXELS)
EVERYONE = (*MEMBERS, "egovideo")
_SPLIT = {1: "a", 2: "b"}


@dataclass(frozen=True, eq=False)
class WordPredictions:
    """names (N,) of the recordings; probabilities (N, L) of `word_labels`, rows of sum 1; truth (N,) the true one's number."""

    names: np.ndarray
    probabilities: np.ndarray
    truth: np.ndarray


@functools.lru_cache(maxsize=1)
def word_labels() -> tuple[str, ...]:
    """The words of asl_words, sorted."""
    return tuple(sorted({segment.label for recording in open_data("asl_words") for segment in recording.segments}))


def run_of(member: str, seed: int, number: int) -> Path | None:
    """The training of a model that never saw the signers of fold `number`; None where the plan has none.

    G-HTT is trained once for each fold, whatever the seed; TRec, EMIM and EgoVideo on fold 1 alone.
    """
    if member == "ghtt":
        return plan.ROOT / f"a_fold{number}"
    if member == "bharnet":
        return plan.ROOT / f"s{seed}_{_SPLIT[number]}_bharnet"
    if number != 1:
        return None
    return plan.ROOT / (f"v{seed}_egovideo" if member == "egovideo" else f"m{seed}_words_{member}")


def seeds_of(members: Sequence[str], number: int) -> tuple[int, ...]:
    """The seeds with which all of these models are trained on fold `number`."""
    found = []
    for seed in plan.TABLE_SEEDS:
        runs = [run_of(member, seed, number) for member in members]
        if all(run is not None and (run / "finished").is_file() for run in runs):
            found.append(seed)
    return tuple(found)


def word_predictions(member: str, seed: int, number: int) -> WordPredictions | None:
    """Of the signers of fold `number`, whom the model never saw; None where there is no such training."""
    run = run_of(member, seed, number)
    if run is None or not (run / "finished").is_file():
        return None
    checkpoint = run / "last"
    of = _of_poses if member in POSES else _of_sentences if member == "egovideo" else _of_pixels
    measure = functools.partial(of, member, checkpoint, number)
    found = measured(f"words_of_{run.name}", [checkpoint], [__file__], measure)
    return WordPredictions(found["names"], found["probabilities"], found["truth"])


def aligned(parts: Sequence[WordPredictions]) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Recordings that all have: names (N,), probabilities (N, L) of each, truth (N,)."""
    names = np.array(sorted(set.intersection(*(set(part.names.tolist()) for part in parts))))
    rows = [[{name: i for i, name in enumerate(part.names.tolist())}[name] for name in names.tolist()] for part in parts]
    truths = [part.truth[row] for part, row in zip(parts, rows, strict=True)]
    assert all((truth == truths[0]).all() for truth in truths)
    return names, [part.probabilities[row] for part, row in zip(parts, rows, strict=True)], truths[0]


def _of_poses(member: str, checkpoint: Path, number: int) -> dict[str, np.ndarray]:
    items: list[tuple[Recording, str]] = []
    for recording in recordings_of(open_data("asl_words"), FOLDS[number].signers):
        items += labelled_parts(recording, None)
    labels = word_labels()
    if member == "ghtt":
        result = recognise(load_ghtt(checkpoint), items, labels)
        probabilities, truth = result.probabilities, result.truth
    else:
        found, true = recognise_skeletons(load_bharnet(checkpoint), items, labels)
        probabilities, truth = found["fused"].double().numpy(), true.numpy()
    return {"names": np.array([recording.name for recording, _ in items]), "probabilities": probabilities, "truth": truth}


def _of_pixels(member: str, checkpoint: Path, number: int) -> dict[str, np.ndarray]:
    """Drawn as the section rendered_words draws them."""
    tested = load_tested(checkpoint)
    if tested.tracks is not None:
        tested = tested._replace(tracks=replace(tested.tracks, folder=str(plan.TRACKS)))
    split = f"cross_signer_{_SPLIT[number]}"
    name, config = evaluation_set("rendered_asl_words", split, tested.clip.frames, tested.clip.size)
    videos = read_videos(name, replace(config, options={**config.options, "folder": str(plan.DRAWN)}))
    result = recognise_tested(tested, videos)
    labels, known = word_labels(), tested.network.config.labels
    assert set(labels) == set(known), f"{member} knows {known}"
    probabilities = result.probabilities[:, [known.index(label) for label in labels]].astype(np.float64)
    truth = np.array([labels.index(known[row]) for row in result.truth.tolist()])
    return {"names": np.array(videos.names)[result.items], "probabilities": probabilities, "truth": truth}


def _of_sentences(member: str, checkpoint: Path, number: int) -> dict[str, np.ndarray]:
    """Drawn as the section video_text draws them; each label a sentence."""
    names, probabilities, truth, known = word_answers(checkpoint.parent, member)
    labels = word_labels()
    assert set(labels) == set(known), f"{member} knows {known}"
    truth = np.array([labels.index(known[row]) for row in truth.tolist()])
    return {"names": names, "probabilities": probabilities[:, [known.index(label) for label in labels]], "truth": truth}
