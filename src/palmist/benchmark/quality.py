"""The quality benchmark: every number of the results table, with n and an interval, from models that never saw the test people.

Sections: see SECTIONS. Trainings that are not there yet are run first (`palmist.benchmark.plan`; all of them take hours on
two cores).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

from palmist import pose_vector
from palmist.benchmark import plan
from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.evaluation.forecasts import ForecastWindow, forecast_windows, score_forecasts
from palmist.evaluation.ghtt import (
    ForecastOptions,
    Recognition,
    Refine,
    RefinementScore,
    forecast,
    load_ghtt,
    recognise,
    refine_vectors,
    score_refinement,
    smooth_vectors,
)
from palmist.inputs.windows import to_pose_sequence
from palmist.metrics.classification import accuracy, mean_class_accuracy
from palmist.metrics.intervals import Metric
from palmist.models.baselines.simple import LogisticRegression, constant_velocity, last_pose
from palmist.readers import open_data
from palmist.recording import Recording
from palmist.splits import FOLDS, recordings_of
from palmist.tasks.labelled import labelled_parts

__all__ = ["SECTIONS", "linear_words", "plain_forecast", "round_trip", "run", "smoothing_width", "unseen"]

COMMAND = "palmist benchmark quality"
Items = list[tuple[Recording, str]]
_WORD_SPLITS = (("cross_signer_a", 1), ("cross_signer_b", 2))
_SETS = ("asl_words", "reach_to_grasp", "leap_recordings")
_SPLIT = {"asl_words": "cross_signer", "reach_to_grasp": "leave_people_out", "leap_recordings": "leave_takes_out"}


def _record(name: str, metric: Metric, unit: str, section: str) -> BenchmarkRecord:
    command = f"{COMMAND} --only {section}"
    return make_record(name, metric.value, unit, metric.n, command, metric.interval, seeds=(0,))


def _checkpoint(name: str) -> Path:
    return plan.ROOT / name / "last"


def unseen(name: str, number: int) -> list[Recording]:
    """The recordings of a set that the fold's models never saw."""
    fold, recordings = FOLDS[number], open_data(name)
    if name == "leap_recordings":
        return [recording for recording in recordings if recording.name in fold.takes]
    return recordings_of(recordings, fold.people if name == "reach_to_grasp" else fold.signers)


# ---------------------------------------------------------------------------------------------------- round trip


def round_trip() -> list[BenchmarkRecord]:
    """joints -> pose vector -> joints on every frame of leap_recordings."""
    records = []
    for dtype, name in ((torch.float64, "round_trip_error"), (torch.float32, "round_trip_error_float32")):
        worst, frames = 0.0, 0
        for recording in open_data("leap_recordings"):
            joints = torch.from_numpy(np.array(recording.joints)).to(dtype)
            known = torch.from_numpy(np.array(recording.known))
            code = pose_vector.encode(joints, known)
            rotation, translation, _ = pose_vector.observed_palm(code.palms, first=True)
            back = pose_vector.decode(code.vector, rotation, translation, code.palms.size)
            error = torch.linalg.vector_norm(back - joints, dim=-1)[known]
            worst, frames = max(worst, float(error.max())), frames + int(known.any(-1).sum())
        records.append(_record(f"leap_recordings/all/pose_vector/{name}", Metric(worst, frames), "m", "round_trip"))
    return records


# ---------------------------------------------------------------------------------------------------- recognition


def _items(recordings: Sequence[Recording], span: str | None = None) -> Items:
    return [part for recording in recordings for part in labelled_parts(recording, span)]


def _labels(name: str) -> tuple[str, ...]:
    return tuple(sorted({segment.label for recording in open_data(name) for segment in recording.segments}))


def _pooled(results: Sequence[Recognition]) -> tuple[np.ndarray, np.ndarray, int]:
    predicted = np.concatenate([result.predicted for result in results])
    return predicted, np.concatenate([result.truth for result in results]), len(results[0].labels)


def _recognition_records(prefix: str, results: Sequence[Recognition], section: str) -> list[BenchmarkRecord]:
    predicted, truth, classes = _pooled(results)
    return [
        _record(f"{prefix}/accuracy", accuracy(predicted, truth), "share", section),
        _record(f"{prefix}/class_mean_accuracy", mean_class_accuracy(predicted, truth, classes), "share", section),
    ]


def _read(checkpoint: str, recordings: Sequence[Recording], name: str, span: str | None = None) -> Recognition:
    return recognise(load_ghtt(_checkpoint(checkpoint)), _items(recordings, span), _labels(name))


def words() -> list[BenchmarkRecord]:
    """Signed words across signers, beside a linear model."""
    plan.train_missing({"p_fold1", "p_fold2", "a_fold1", "a_fold2"})
    records = []
    for split, number in _WORD_SPLITS:
        result = _read(f"a_fold{number}", unseen("asl_words", number), "asl_words")
        records += _recognition_records(f"asl_words/{split}/ghtt", [result], "words")
        records += linear_words(split, number)
    return records


def letters() -> list[BenchmarkRecord]:
    """Fingerspelled letters with each signer left out."""
    plan.train_missing({f"{kind}_fold{number}" for kind in "pa" for number in (1, 3, 4)})
    records, results = [], []
    for signer, number in (("S1", 3), ("S2", 1), ("S3", 4)):
        results.append(_read(f"a_fold{number}", recordings_of(open_data("asl_letters"), [signer]), "asl_letters"))
        records += _recognition_records(f"asl_letters/leave_out_{signer.lower()}/ghtt", results[-1:], "letters")
    return records + _recognition_records("asl_letters/leave_one_signer_out/ghtt", results, "letters")


def reach() -> list[BenchmarkRecord]:
    """The object's size from the reach alone, with each person left out."""
    people = [f"P{i}" for i in range(1, 9)]
    plan.train_missing({f"p_fold{number}" for number in FOLDS} | {f"a_reach_{person.lower()}" for person in people})
    results = [
        _read(f"a_reach_{p.lower()}", recordings_of(open_data("reach_to_grasp"), [p]), "reach_to_grasp", "reach_phase")
        for p in people
    ]
    return _recognition_records("reach_to_grasp/leave_one_person_out/ghtt", results, "reach")


def linear_words(split: str, number: int) -> list[BenchmarkRecord]:
    """Logistic regression on every second frame: wrist-local hands, and wrists in shoulder widths."""
    test = unseen("asl_words", number)
    names = {recording.name for recording in test}
    train = [recording for recording in open_data("asl_words") if recording.name not in names]
    labels = _labels("asl_words")

    def features(recordings: Sequence[Recording]) -> np.ndarray:
        rows = []
        for recording in recordings:
            joints = np.asarray(recording.joints)[::2]
            valid = np.asarray(recording.valid)[::2, :, None, None]
            body = np.asarray(recording.body.joints)[::2] if recording.body is not None else np.zeros((10, 25, 3))
            middle = (body[:, 11, :2] + body[:, 12, :2]).mean(0) / 2
            width = max(float(np.linalg.norm(body[:, 11, :2] - body[:, 12, :2], axis=-1).mean()), 1e-3)
            local = (joints - joints[:, :, :1]) * valid / width
            wrist = (joints[:, :, 0, :2] - middle) / width * valid[..., 0]
            rows.append(np.concatenate([local.ravel(), wrist.ravel(), valid.ravel()]))
        return np.stack(rows)

    def target(recordings: Sequence[Recording]) -> np.ndarray:
        return np.array([labels.index(recording.segments[0].label) for recording in recordings])

    model = LogisticRegression(inverse_penalty=1.0, iterations=200).fit(features(train), target(train), len(labels))
    predicted, truth = np.asarray(model.predict(features(test)).numpy()), target(test)
    prefix = f"asl_words/{split}/linear"
    return [
        _record(f"{prefix}/accuracy", accuracy(predicted, truth), "share", "words"),
        _record(f"{prefix}/class_mean_accuracy", mean_class_accuracy(predicted, truth, len(labels)), "share", "words"),
    ]


# ---------------------------------------------------------------------------------------------------- refinement


def _group(recording: Recording) -> str:
    return str(recording.session or recording.subject or recording.name)


def refinement() -> list[BenchmarkRecord]:
    """Clips of unseen people with the specification's noise, and clean clips."""
    plan.train_missing({f"{kind}_fold{number}" for kind in "pr" for number in FOLDS})
    records = []
    for name in _SETS:
        numbers = (1, 2) if name == "asl_words" else tuple(FOLDS)
        for model, kind in (("ghtt", "r"), ("ghtt_common_head", "p")):
            chosen = [(f"{kind}_fold{number}", number) for number in numbers]
            records += _refinement_records(name, chosen, model, "refinement")
        records += _smoothing_records(name, numbers)
    return records


def _smoothing_records(name: str, numbers: Sequence[int]) -> list[BenchmarkRecord]:
    """The linear rival: Gaussian smoothing over time."""
    refine = [functools.partial(smooth_vectors, smoothing_width(name, number)) for number in numbers]
    scores = [_score(smooth, unseen(name, number)) for smooth, number in zip(refine, numbers, strict=True)]
    return _refinement_summary(name, scores, "gaussian_smoothing", "refinement")


def smoothing_width(name: str, number: int) -> float:
    """The width in frames that smooths best the people that fold `number` trains on."""
    tested = {recording.name for recording in unseen(name, number)}
    seen = [recording for recording in open_data(name) if recording.name not in tested]
    thinned = seen[:: max(1, len(seen) // 300)]
    widths = (0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5)
    trial = [_score(functools.partial(smooth_vectors, width), thinned) for width in widths]
    return widths[min(range(len(widths)), key=lambda i: trial[i].refined.sum() / trial[i].noisy.sum())]


def _score(refine: Refine, recordings: Sequence[Recording]) -> RefinementScore:
    shown = [recording for recording in recordings if recording.valid.any()]
    return score_refinement(refine, [to_pose_sequence(r) for r in shown], [_group(r) for r in shown])


def _refinement_records(name: str, models: Sequence[tuple[str, int]], model: str, section: str) -> list[BenchmarkRecord]:
    scores = []
    for checkpoint, number in models:
        block = load_ghtt(_checkpoint(checkpoint)).p
        scores.append(_score(functools.partial(refine_vectors, block), unseen(name, number)))
    return _refinement_summary(name, scores, model, section)


def _refinement_summary(name: str, scores: Sequence[RefinementScore], model: str, section: str) -> list[BenchmarkRecord]:
    prefix = f"{name}/{_SPLIT[name]}/{model}"
    pooled = {key: np.concatenate([getattr(score, key) for score in scores]) for key in scores[0]._fields}
    return [
        _record(
            f"{prefix}/refine_error_ratio",
            _ratio(pooled["refined"], pooled["noisy"], pooled["groups"]),
            "ratio",
            section,
        ),
        _record(
            f"{prefix}/refine_error_ratio_wrist_aligned",
            _ratio(pooled["refined_wrist"], pooled["noisy_wrist"], pooled["groups"]),
            "ratio",
            section,
        ),
        _record(f"{prefix}/refine_clean_shift", _mean(pooled["clean"], pooled["groups"]), "hand sizes", section),
    ]


def _mean(values: np.ndarray, groups: np.ndarray) -> Metric:
    return _ratio(values, np.ones_like(values), groups)


def _ratio(numerator: np.ndarray, denominator: np.ndarray, groups: np.ndarray) -> Metric:
    """Ratio of sums with an interval that resamples groups (people, sessions or takes)."""
    names, index = np.unique(groups, return_inverse=True)
    top = np.bincount(index, numerator, len(names))
    bottom = np.bincount(index, denominator, len(names))
    draw = np.random.default_rng(0).integers(0, len(names), (2000, len(names)))
    low, high = np.quantile(top[draw].sum(1) / bottom[draw].sum(1), [0.025, 0.975])
    return Metric(float(top.sum() / bottom.sum()), len(numerator), (float(low), float(high)))


# ---------------------------------------------------------------------------------------------------- prediction


def prediction() -> list[BenchmarkRecord]:
    """The next half second on every open set: deterministic and best of 20, against repeating the last pose."""
    plan.train_missing({f"p_fold{number}" for number in FOLDS})
    records = []
    for name in _SETS:
        numbers = (1, 2) if name == "asl_words" else tuple(FOLDS)
        records += _prediction_records(name, [(f"p_fold{number}", number) for number in numbers], "ghtt", "prediction")
        records += _damped_records(name, numbers)
        windows = [window for number in numbers for window in forecast_windows(name, unseen(name, number))]
        for rival, predictor in (("last_pose", last_pose), ("constant_velocity", constant_velocity)):
            scores, _ = score_forecasts(windows, functools.partial(plain_forecast, predictor))
            for key in ("ade", "fde"):
                prefix = f"{name}/{_SPLIT[name]}/{rival}"
                records.append(_record(f"{prefix}/{key}", scores[key], windows[0].recording_unit, "prediction"))
    return records


def _damped_records(name: str, numbers: Sequence[int]) -> list[BenchmarkRecord]:
    """The deterministic prediction drawn toward the last pose.

    How much of the predicted change is kept is chosen for each fold on the windows of the other folds' unseen people, all
    of whom the fold trains on.
    """
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    folds: list[tuple[list[ForecastWindow], list[list[np.ndarray]]]] = []
    for number in numbers:
        windows = list(forecast_windows(name, unseen(name, number)))
        certain, _ = forecast(load_ghtt(_checkpoint(f"p_fold{number}")).p, windows, ForecastOptions(samples=1))
        still = [plain_forecast(last_pose, window) for window in windows]
        drawn = [[a + share * (b - a) for a, b in zip(still, certain, strict=True)] for share in shares]
        folds.append((windows, drawn))

    def scores(windows: list[ForecastWindow], futures: list[np.ndarray]) -> dict[str, Metric]:
        row = {id(window): i for i, window in enumerate(windows)}
        return score_forecasts(windows, lambda window: futures[row[id(window)]])[0]

    error = np.array([[scores(windows, futures)["ade"].value for futures in drawn] for windows, drawn in folds])
    count = np.array([len(windows) for windows, _ in folds])
    chosen_windows: list[ForecastWindow] = []
    chosen: list[np.ndarray] = []
    for fold, (windows, drawn) in enumerate(folds):
        others = np.arange(len(folds)) != fold
        best = int((count[others, None] * error[others]).sum(0).argmin())
        chosen_windows, chosen = chosen_windows + windows, chosen + drawn[best]
    result = scores(chosen_windows, chosen)
    prefix, unit = f"{name}/{_SPLIT[name]}/ghtt_damped", chosen_windows[0].recording_unit
    return [_record(f"{prefix}/{key}", result[key], unit, "prediction") for key in ("ade", "fde")]


def plain_forecast(predictor: Callable[..., object], window: ForecastWindow) -> np.ndarray:
    """One future (1, T', 21, 3) of a window by a predictor without training, such as `last_pose`."""
    recording, seen = window.recording, window.observed_frames
    result = predictor(
        np.asarray(recording.joints)[seen],
        np.asarray(recording.known)[seen],
        recording.time[seen],
        recording.time[window.future_frames],
    )
    return np.asarray(result.joints)[None, :, window.hand]  # type: ignore[attr-defined]


def _prediction_records(
    name: str, models: Sequence[tuple[str, int]], model: str, section: str, options: ForecastOptions | None = None
) -> list[BenchmarkRecord]:
    options = options or ForecastOptions()
    windows: list[ForecastWindow] = []
    certain: list[np.ndarray] = []
    sampled: list[np.ndarray] = []
    for checkpoint, number in models:
        here = list(forecast_windows(name, unseen(name, number)))
        one, many = forecast(load_ghtt(_checkpoint(checkpoint)).p, here, options)
        windows, certain, sampled = windows + here, certain + one, sampled + many
    prefix = f"{name}/{_SPLIT[name]}/{model}"
    row = {id(window): i for i, window in enumerate(windows)}
    unit = windows[0].recording_unit
    one_scores, _ = score_forecasts(windows, lambda window: certain[row[id(window)]])
    many_scores, _ = score_forecasts(windows, lambda window: sampled[row[id(window)]])
    count = options.samples
    return [
        _record(f"{prefix}/ade", one_scores["ade"], unit, section),
        _record(f"{prefix}/fde", one_scores["fde"], unit, section),
        _record(f"{prefix}/ade_k{count}", many_scores["ade_best"], unit, section),
        _record(f"{prefix}/fde_k{count}", many_scores["fde_best"], unit, section),
        _record(f"{prefix}/ade_mean_of_k{count}", many_scores["ade"], unit, section),
    ]


# ---------------------------------------------------------------------------------------------------- ablation


def one_set() -> list[BenchmarkRecord]:
    """Ablation: a P-block trained on asl_words alone against one trained on all sets."""
    plan.train_missing({"p_fold1", "p_fold1_words_only"})
    records = []
    for checkpoint, model in (("p_fold1", "ghtt_p_all_sets"), ("p_fold1_words_only", "ghtt_p_words_only")):
        for record in [
            *_refinement_records("asl_words", [(checkpoint, 1)], model, "one_set"),
            *_prediction_records("asl_words", [(checkpoint, 1)], model, "one_set"),
        ]:
            records.append(replace(record, name=record.name.replace("/cross_signer/", "/cross_signer_a/")))
    return records


def _without(what: str) -> list[BenchmarkRecord]:
    split, number = _WORD_SPLITS[1]  # the one with more test recordings
    plan.train_missing({f"p_fold{number}", f"a_fold{number}_{what}"})
    result = _read(f"a_fold{number}_{what}", unseen("asl_words", number), "asl_words")
    return _recognition_records(f"asl_words/{split}/ghtt_{what}", [result], what)


def no_context() -> list[BenchmarkRecord]:
    """Ablation: words of cross_signer_b without the body context (the pose vectors stay in the context)."""
    return _without("no_context")


def no_noise() -> list[BenchmarkRecord]:
    """Ablation: words of cross_signer_b without noise on the mid-levels."""
    return _without("no_noise")


def futures() -> list[BenchmarkRecord]:
    """FID and APD of P.a and P.b beyond 2 s on reach_to_grasp, and the error of P.b in reduced precision."""
    from palmist.benchmark.long_futures import score_long_futures, score_reduced_precision

    plan.train_missing({"feature_reach", "p_fold1", "a_fold1", "p_fold2", "a_fold2"})
    folds = [(number, unseen("reach_to_grasp", number)) for number in (1, 2)]
    return score_long_futures(folds) + score_reduced_precision([(number, people[::4]) for number, people in folds])


def ghtt_tables() -> list[BenchmarkRecord]:
    """G-HTT's Tables 1 to 4 in kind, three seeds, equal budget."""
    from palmist.benchmark.ghtt_tables import ghtt_tables as measure

    return measure()


def _of(module: str, name: str) -> Callable[[], list[BenchmarkRecord]]:
    """A section in a module of its own, imported when it is measured."""

    def section() -> list[BenchmarkRecord]:
        measure: Callable[[], list[BenchmarkRecord]] = getattr(import_module(f"palmist.benchmark.{module}"), name)
        return measure()

    return section


SECTIONS: dict[str, Callable[[], list[BenchmarkRecord]]] = {
    "round_trip": round_trip,
    "refinement": refinement,
    "words": words,
    "letters": letters,
    "reach": reach,
    "prediction": prediction,
    "futures": futures,
    "ghtt-tables": ghtt_tables,
    "equal_budget_motion": _of("equal_budget_motion", "equal_budget_motion"),
    "bharnet": _of("body_hand", "body_hand"),
    "plain_transformer": _of("plain", "plain_transformer"),
    "open_sets": _of("open_sets", "open_sets"),
    "times": _of("times", "times"),
    "points": _of("video_quality", "points"),
    "video": _of("video_quality", "video"),
    "estimator": _of("estimator_quality", "estimator"),
    "directions": _of("video_recognition", "directions"),
    "rendered_words": _of("video_recognition", "rendered_words"),
    "fusion": _of("fusion_quality", "fusion"),
    "narration": _of("narration_quality", "narration"),
    "contacts": _of("narration_contacts", "contacts"),
    "video_text": _of("video_text", "video_text"),
    "one_set": one_set,
    "no_context": no_context,
    "no_noise": no_noise,
}


def run(only: str | None = None) -> list[BenchmarkRecord]:
    """All sections, or the one called ``only``.

    Raises:
        InputError: unknown section.
    """
    from palmist.errors import InputError

    if only is not None and only not in SECTIONS:
        raise InputError(f"there is no section '{only}' in the quality benchmark; expected one of {', '.join(SECTIONS)}")
    records: list[BenchmarkRecord] = []
    for name, section in SECTIONS.items():
        if only in (None, name):
            records += section()
    return records
