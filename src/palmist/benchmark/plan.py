"""The trainings behind the quality benchmark: one P-block, its refiner and one A-block per fold, and the ablations.

Every model is trained by a committed configuration with only the people changed; nobody in a test is in a training set
of the model that is tested, in any set, labelled or not (`palmist.splits.FOLDS`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palmist.splits import FOLDS

__all__ = [
    "BODY_HAND", "BODY_HAND_BOTH", "MOTION", "ROOT", "SKELETONS_ELSEWHERE", "TABLE_SEEDS", "VIDEO_TEXT", "Job",
    "body_hand_jobs",
    "fold_of_person", "jobs", "motion_jobs", "other_fold_jobs", "plain_jobs", "reach_jobs", "skeletons_elsewhere_jobs",
    "table_jobs", "train_job", "train_missing", "video_text_jobs",
]  # fmt: skip

ROOT = Path("runs/benchmark")
TRACKS, DRAWN = Path("runs/tracks"), Path("runs/drawn")
TABLE_SEEDS = (0, 1, 2)
_MIXED = {"asl_words": 1.0, "asl_letters": 0.5, "reach_to_grasp": 1.0}
_SIGNERS = ("S1", "S2", "S3")
_PEOPLE = tuple(f"P{i}" for i in range(1, 9))


@dataclass(frozen=True)
class Job:
    """A training: configuration file, the settings that differ, and the job that must be finished before."""

    name: str
    config: str
    settings: dict[str, Any] = field(default_factory=dict)
    after: str | None = None


def fold_of_person(person: str) -> int:
    """The fold whose P-block never saw this person of reach_to_grasp."""
    return next(number for number, fold in FOLDS.items() if person in fold.people)


def _seen(number: int) -> dict[str, Any]:
    fold = FOLDS[number]
    signers = [signer for signer in _SIGNERS if signer not in fold.signers]
    return {
        "data.sets.asl_words.subjects": signers,
        "data.sets.asl_letters.subjects": signers,
        "data.sets.reach_to_grasp.subjects": [person for person in _PEOPLE if person not in fold.people],
    }


def _pose(number: int) -> Job:
    takes = {"data.sets.leap_recordings.exclude": list(FOLDS[number].takes)}
    return Job(f"p_fold{number}", "configs/ghtt/p_small.yaml", {**_seen(number), **takes})


def _refiner(number: int) -> Job:
    p_block = f"p_fold{number}"
    takes = {"data.sets.leap_recordings.exclude": list(FOLDS[number].takes)}
    settings = {"data.p_checkpoint": str(ROOT / p_block / "last"), **_seen(number), **takes}
    return Job(f"r_fold{number}", "configs/ghtt/r_small.yaml", settings, p_block)


def _action(number: int, suffix: str = "", **changes: Any) -> Job:
    p_block = f"p_fold{number}"
    settings = {"data.p_checkpoint": str(ROOT / p_block / "last"), **_seen(number), **changes}
    return Job(f"a_fold{number}{suffix}", "configs/ghtt/a_small.yaml", settings, p_block)


def _reach(person: str) -> Job:
    p_block = f"p_fold{fold_of_person(person)}"
    others = [other for other in _PEOPLE if other != person]
    settings = {"data.p_checkpoint": str(ROOT / p_block / "last"), "data.sets.reach_to_grasp.subjects": others}
    return Job(f"a_reach_{person.lower()}", "configs/ghtt/a_reach_small.yaml", settings, p_block)


def jobs() -> Iterator[Job]:
    """All trainings in an order in which each finds what it needs."""
    for number in FOLDS:
        yield _pose(number)
        yield _refiner(number)
        yield _action(number)
    for person in _PEOPLE:
        yield _reach(person)
    yield _action(2, "_no_context", **{"model.body_context": False})
    yield _action(2, "_no_noise", **{"model.mid_level_noise": 0.0})
    only_words = Job(
        "p_fold1_words_only",
        "configs/ghtt/p_words_only.yaml",
        {"data.sets.asl_words.subjects": _seen(1)["data.sets.asl_words.subjects"]},
    )
    yield only_words
    yield Job("feature_reach", "configs/ghtt/feature_reach.yaml")
    yield Job("estimator_i", "configs/ghtt/e_i_small.yaml")
    settings = {"data.i_checkpoint": str(ROOT / "estimator_i" / "last")}
    yield Job("estimator_po", "configs/ghtt/e_po_small.yaml", settings, "estimator_i")


def table_jobs() -> Iterator[Job]:
    """Trainings behind ghtt-tables: every model on fold 1 with each seed, each 10 to 16 minutes of one core."""
    for seed in TABLE_SEEDS:
        yield from _table_jobs(seed)


def other_fold_jobs() -> Iterator[Job]:
    """The same recognisers on fold 2, where S1 and S3 are the unseen signers: t{seed}_b_{model}."""
    for seed in TABLE_SEEDS:
        yield from _table_jobs(seed, 2, ("recognition_only", "htt", "flattened", "p", "a"))


def reach_jobs() -> Iterator[Job]:
    """G-HTT's A-block and its rivals on the size of a grasped thing, persons P1 and P2 unseen: t{seed}_reach_{model}; each with
    four tenths of the steps of table_jobs."""
    people = {"data.sets.reach_to_grasp.subjects": _seen(1)["data.sets.reach_to_grasp.subjects"]}
    for seed in TABLE_SEEDS:
        p_block = {"data.p_checkpoint": str(ROOT / f"t{seed}_p" / "last"), "steps": 400}
        yield Job(f"t{seed}_reach_a", "configs/ghtt/a_reach_small.yaml", {**people, **p_block, "seed": seed}, f"t{seed}_p")
        for model in ("recognition_only", "htt"):
            yield Job(f"t{seed}_reach_{model}", f"configs/rivals/{model}_reach_small.yaml", {**people, "seed": seed})


def _table_jobs(seed: int, number: int = 1, only: tuple[str, ...] | None = None) -> Iterator[Job]:
    """Name, configuration, steps, and the training whose checkpoint it stands on; the sets are mixed alike in all of them."""
    prefix = f"t{seed}_" if number == 1 else f"t{seed}_b_"
    parts: tuple[tuple[str, str, int, str | None], ...] = (
        ("p", "ghtt/p_small", 1600, None),
        ("r", "ghtt/r_small", 600, "p"),
        ("a", "ghtt/a_small", 1000, "p"),
        ("a_prediction_only", "ghtt/a_small", 1000, "p"),
        ("recognition_only", "rivals/recognition_only_small", 1900, None),
        ("htt", "rivals/htt_small", 4200, None),
        ("htt_inside_ghtt", "rivals/htt_inside_ghtt_small", 4000, None),
        ("flattened", "rivals/flattened_small", 1400, None),
        ("posegpt_codec", "rivals/posegpt_codec_small", 2800, None),
        ("posegpt", "rivals/posegpt_small", 2200, "posegpt_codec"),
    )
    for name, config, steps, after in parts:
        if only is not None and name not in only:
            continue
        settings = {**_seen(number), "steps": steps, "seed": seed}
        settings |= {f"data.sets.{data}.share": share for data, share in _MIXED.items()}
        if name in ("p", "r", "posegpt_codec"):  # these see leap_recordings too
            settings["data.sets.leap_recordings.exclude"] = list(FOLDS[number].takes)
        if name == "a_prediction_only":
            settings["model.action_weight"] = 0.0
        if after is not None:
            key = "data.codec_checkpoint" if name == "posegpt" else "data.p_checkpoint"
            settings[key] = str(ROOT / (prefix + after) / "last")
        yield Job(prefix + name, f"configs/{config}.yaml", settings, None if after is None else prefix + after)


#: model of the body-and-hand table -> its settings. All have the same steps and batches.
BODY_HAND: dict[str, dict[str, Any]] = {
    "bharnet": {},
    "unified_graph": {"model.experts": ["unified"], "model.pool_attention": False},
    "published_graph": {  # ST-GCN++ as it is published, on joints alone
        "model.preset": "paper", "model.experts": ["unified"], "model.pool_attention": False, "model.body_graph": "upper7",
        "model.frames": 20, "model.rate": 20.0,
    },
    "body_only": {"model.experts": ["body"], "model.pool_attention": False},
    "hand_only": {"model.experts": ["hand"], "model.pool_attention": False},
    "bharnet_no_attention": {"model.pool_attention": False},
    "bharnet_noisy_or": {"model.fusion": "noisy_or"},
    "bharnet_expert_branch": {"model.expert_branch": True},
}  # fmt: skip
#: models that are trained on both splits; the others on cross-signer A alone.
BODY_HAND_BOTH = ("bharnet", "unified_graph", "published_graph", "body_only", "hand_only")


def body_hand_jobs() -> Iterator[Job]:
    """Trainings behind the section bharnet: s{seed}_{split}_{model} for the splits a (fold 1) and b (fold 2)."""
    for model, changes in BODY_HAND.items():
        for split, number in (("a", 1), ("b", 2)):
            if split == "b" and model not in BODY_HAND_BOTH:
                continue
            for seed in TABLE_SEEDS:
                settings = {**_signed_words(split, number), **changes, "seed": seed}
                yield Job(f"s{seed}_{split}_{model}", "configs/bharnet/bharnet_small.yaml", settings)


def _signed_words(split: str, number: int) -> dict[str, Any]:
    """The signers that split a or b of asl_words trains on."""
    people = {"data.sets.asl_words.subjects": _seen(number)["data.sets.asl_words.subjects"]}
    if split == "b":  # its signer's recordings of "idle" never show a hand
        people |= {"data.sets.asl_words.unsigned_label": "idle"}
    return people


def plain_jobs() -> Iterator[Job]:
    """Trainings behind the section plain_transformer: s{seed}_{split}_plain_transformer, on the people of body_hand_jobs."""
    for split, number in (("a", 1), ("b", 2)):
        for seed in TABLE_SEEDS:
            settings = {**_signed_words(split, number), "seed": seed}
            yield Job(f"s{seed}_{split}_plain_transformer", "configs/rivals/plain_transformer_small.yaml", settings)


#: other labelled set -> its models -> configuration. Letters show one hand and no body.
SKELETONS_ELSEWHERE: dict[str, dict[str, str]] = {
    "letters": {"hand_only": "bharnet/letters_small", "plain_transformer": "rivals/plain_transformer_letters"},
    "reach": {
        **dict.fromkeys(BODY_HAND_BOTH, "bharnet/reach_small"),
        "plain_transformer": "rivals/plain_transformer_reach",
    },
}


def skeletons_elsewhere_jobs() -> Iterator[Job]:
    """Skeleton networks on letters and on the size of a grasped thing, people of fold 1 unseen: s{seed}_{set}_{model}."""
    for name, data in (("letters", "asl_letters"), ("reach", "reach_to_grasp")):
        people = {f"data.sets.{data}.subjects": _seen(1)[f"data.sets.{data}.subjects"]}
        for seed in TABLE_SEEDS:
            for model, config in SKELETONS_ELSEWHERE[name].items():
                changes = BODY_HAND[model] if name == "reach" and model in BODY_HAND else {}
                yield Job(f"s{seed}_{name}_{model}", f"configs/{config}.yaml", {**people, **changes, "seed": seed})


#: task on videos -> model of its table -> configuration. All models of a task have the same steps and clips.
MOTION: dict[str, dict[str, str]] = {
    "directions": {
        "emim": "emim/directions",
        "emim_without_motion": "emim/directions_without_motion",
        "uniformer": "emim/directions_uniformer",
        "trec": "trec/directions",
        "rgb_only": "trec/directions_rgb_only",
        "egovideo": "egovideo/directions",
    },
    "words": {
        "emim": "emim/emim_small",
        "emim_without_motion": "emim/emim_small_without_motion",
        "uniformer": "emim/uniformer_small",
        "trec": "trec/trec_small",
        "rgb_only": "trec/trec_small_rgb_only",
        "image_and_tracks": "trec/trec_small_image_and_tracks",
        "tracks_only": "trec/trec_small_tracks_only",
    },
}


def motion_jobs() -> Iterator[Job]:
    """Trainings behind the sections directions and rendered_words: m{seed}_{task}_{model}."""
    for task, models in MOTION.items():
        for seed in TABLE_SEEDS:
            for model, config in models.items():
                settings: dict[str, Any] = {"seed": seed}
                if config.startswith("trec/"):
                    settings["data.tracks.folder"] = str(TRACKS)  # the same for all seeds
                if task == "words":
                    settings["data.sets.rendered.options.folder"] = str(DRAWN)
                yield Job(f"m{seed}_{task}_{model}", f"configs/{config}.yaml", settings)


#: models of the section video_text -> configuration.
VIDEO_TEXT: dict[str, str] = {
    "egovideo": "egovideo/egovideo_small",
    "egovideo_no_adapter": "egovideo/egovideo_small_no_adapter",
    "egovideo_labels": "egovideo/egovideo_small_labels",
    "egovideo_labels_no_adapter": "egovideo/egovideo_small_labels_no_adapter",
}


def video_text_jobs() -> Iterator[Job]:
    """Trainings behind the section video_text: v{seed}_{model}."""
    for seed in TABLE_SEEDS:
        for model, config in VIDEO_TEXT.items():
            settings = {"seed": seed, "data.sets.rendered.options.folder": str(DRAWN)}
            yield Job(f"v{seed}_{model}", f"configs/{config}.yaml", settings)


def train_missing(names: set[str] | None = None) -> None:
    """Train what is not there yet (runs/benchmark/NAME/last)."""
    plans = (
        jobs, table_jobs, other_fold_jobs, reach_jobs, body_hand_jobs, plain_jobs, skeletons_elsewhere_jobs, motion_jobs,
        video_text_jobs,
    )  # fmt: skip
    for job in (job for plan in plans for job in plan()):
        if names is None or job.name in names:
            train_job(job, ROOT)


def train_job(job: Job, root: Path) -> Path:
    """Train into root/NAME unless that is finished; a run that was cut off goes on. The checkpoint's folder."""
    from palmist.train import train_from_file

    run = root / job.name
    if not (run / "finished").exists():
        unfinished = (run / "state").is_dir() and any((run / "state").iterdir())
        if unfinished:
            train_from_file(None, {}, resume=run)
        else:
            train_from_file(job.config, {**job.settings, "out": str(run)})
        (run / "finished").write_text(job.config + "\n", encoding="utf-8")
    return run / "last"
