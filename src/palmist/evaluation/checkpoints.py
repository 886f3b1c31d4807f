"""`palmist evaluate`: every metric that a checkpoint and the data allow, on one split by person or the set's official one."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from palmist.checkpoint import load_checkpoint
from palmist.errors import InputError
from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.evaluation.forecasts import PROTOCOLS, forecast_windows, score_forecasts
from palmist.evaluation.ghtt import forecast, load_ghtt, recognise, refine_vectors, score_refinement
from palmist.evaluation.long_futures import (
    FLOWS,
    MotionScore,
    Predictor,
    flattened_predictor,
    ghtt_predictor,
    long_windows,
    posegpt_predictor,
    true_features,
)
from palmist.evaluation.skeleton_clips import clip_scores
from palmist.inputs.windows import to_pose_sequence
from palmist.metrics.classification import accuracy, mean_class_accuracy
from palmist.metrics.intervals import Metric, mean_metric
from palmist.metrics.motion import frechet_distance
from palmist.model_zoo import VIDEO_KINDS, VIDEO_TEXT_KINDS, checkpoint_path
from palmist.models.baselines.flattened import STRONGER, WEAKER, FlattenedVAE
from palmist.models.baselines.plain_transformer import PlainTransformer
from palmist.models.baselines.posegpt import PoseGPT
from palmist.models.bharnet import BHaRNet
from palmist.models.feature_network import weights_hash
from palmist.models.ghtt import GHTT
from palmist.readers import OPEN_SETS, open_data
from palmist.recording import Recording
from palmist.splits import SPLITS, named_split, recordings_of
from palmist.store import Store
from palmist.tasks.features import load_feature_network
from palmist.tasks.generative import load_flattened, load_posegpt
from palmist.tasks.labelled import labelled_parts
from palmist.tasks.plain_transformer import load_plain, recognise_plain
from palmist.tasks.rivals import Rival, load_rival, recognise_rival
from palmist.tasks.skeletons import load_bharnet, recognise_skeletons

if TYPE_CHECKING:
    from palmist.evaluation.videos import TrackTest

__all__ = ["evaluate_checkpoint"]

Model = GHTT | Rival | FlattenedVAE | PoseGPT | BHaRNet | PlainTransformer
LONG_STRIDE = 16  # frames between the windows of long futures, as in the paper


def _kind(checkpoint: str | Path) -> str:
    return str(load_checkpoint(checkpoint_path(checkpoint)).config.get("model"))


def _load(checkpoint: str | Path) -> tuple[str, Model]:
    """The kind of a checkpoint and its model."""
    path, kind = checkpoint_path(checkpoint), _kind(checkpoint)
    if kind == "flattened":
        return kind, load_flattened(path)
    if kind == "posegpt":
        return kind, load_posegpt(path)
    if kind in ("htt", "recognition_only"):
        return kind, load_rival(path)
    if kind == "bharnet":
        return kind, load_bharnet(path)
    if kind == "plain_transformer":
        return kind, load_plain(path)
    if kind == "ghtt":
        return kind, load_ghtt(path)
    raise InputError(
        f"{checkpoint} holds a model of kind '{kind}', which has nothing to evaluate by itself; expected ghtt, htt, "
        "recognition_only, plain_transformer, flattened, posegpt, bharnet, bharnet_clips, image_estimator, emim, uniformer or "
        "trec"
    )


def _recordings(data: str) -> tuple[str, list[Recording]]:
    """The data set's name and its recordings, from an open set's name or a store's folder."""
    if data in OPEN_SETS:
        return data, open_data(data)
    recordings = list(Store.open(Path(data)))
    if not recordings:
        raise InputError(f"{data} is an empty store; prepare one with: palmist prepare DATASET --root DIR --out STORE")
    return recordings[0].name.split("/")[0], recordings


def _test_part(name: str, recordings: list[Recording], split: str) -> list[Recording]:
    official = sorted({recording.split for recording in recordings if recording.split})
    if split in official:
        return [recording for recording in recordings if recording.split == split]
    if official and name not in SPLITS and split != "all":
        raise InputError(f"{name} has no split '{split}'; expected one of all, {', '.join(official)}")
    return recordings_of(recordings, named_split(name, split).test)


def evaluate_checkpoint(
    checkpoint: str | Path,
    data: str,
    split: str = "all",
    features: str | Path | None = None,
    views: tuple[int, int] = (1, 1),
    others: Sequence[str | Path] = (),
    test: TrackTest | None = None,
) -> list[BenchmarkRecord]:
    """Refinement, recognition and prediction of a checkpoint on the test part of a split.

    An image estimator is measured on frames that are drawn of the recordings (records rendered_data/split/model/metric).

    Args:
        checkpoint: the folder of a checkpoint (G-HTT, a rival or an image estimator), or a model's name.
        data: an open set's name, or the folder of a store.
        split: a name in `palmist.splits.SPLITS`, or one of the set's official splits ("test"); "all": every recording (the
            caller knows whom the model has seen).
        features: the folder of a trained feature network; with it, models that predict are scored on long futures: FID, APD
            and error, 20 samples from windows every 16 frames that have 1 s and 2 s left (the paper's Tables 2 to 4).
        views: clips and crops of each video, for networks that see videos; what `data` may be for those stands in
            `palmist.evaluation.videos`.
        test: points and controls of a network that sees point tracks.
        others: of a BHaRNet trained on skeleton clips, checkpoints of its other streams (`palmist.evaluation.skeleton_clips`).

    Returns:
        Records named data/split/model/metric. Sets without labels that the model knows have no accuracy, sets without a
        forecast protocol no prediction error.

    Raises:
        InputError: unknown checkpoint, data set or split; nothing to evaluate.

    Example:
        >>> evaluate_checkpoint("ghtt-small", "asl_words", "cross_signer_a")[0].name
        'asl_words/cross_signer_a/ghtt/accuracy'
    """
    kind = _kind(checkpoint)
    if kind == "bharnet_clips":
        return _clip_records(checkpoint, data, split, others)
    if others:
        raise InputError(f"{checkpoint} is of kind '{kind}'; --with adds up the streams of bharnet_clips alone; leave it out")
    if test is not None and (kind not in VIDEO_KINDS or kind in VIDEO_TEXT_KINDS):
        raise InputError(
            f"{checkpoint} is of kind '{kind}'; --points, --foreground and --control are for trec alone; leave them out"
        )
    if kind == "image_estimator":
        return _evaluate_images(checkpoint, data, split)
    if kind in VIDEO_TEXT_KINDS:
        from palmist.evaluation.video_text import evaluate_video_text_checkpoint

        return evaluate_video_text_checkpoint(checkpoint_path(checkpoint), data, split, *views)
    if kind in VIDEO_KINDS:
        from palmist.evaluation.videos import evaluate_video_checkpoint

        return evaluate_video_checkpoint(checkpoint_path(checkpoint), data, split, *views, test)
    kind, model = _load(checkpoint)
    name, chosen = _chosen(data, split)
    command = _command(checkpoint, name, split)
    measured = [(kind, *row) for row in _recognition(model, chosen)]
    if isinstance(model, GHTT):
        measured += [(kind, *row) for row in (*_refinement(model, chosen), *_prediction(model, name, chosen))]
    if features is not None:
        measured += _long_futures(kind, model, chosen, features)
        command += f" --features {_shown(features, 'FEATURES')}"
    if not measured:
        raise InputError(
            f"{checkpoint} ({kind}) and {name} have nothing in common to measure; a model that only predicts needs "
            "--features, the folder of a trained feature network"
        )
    return [
        make_record(f"{name.lower()}/{split}/{model_name}/{metric}", value.value, unit, value.n, command, value.interval)
        for model_name, metric, value, unit in measured
    ]


def _shown(path: str | Path, instead: str = "CHECKPOINT") -> str:
    """A path as a record shows it: nobody else has the folders of this machine."""
    return instead if Path(path).is_absolute() else str(path)


def _clip_records(checkpoint: str | Path, data: str, split: str, others: Sequence[str | Path]) -> list[BenchmarkRecord]:
    name, rows = clip_scores(checkpoint, data, split, others)
    command = _command(checkpoint, name, split) + "".join(f" --with {_shown(other)}" for other in others)
    return [
        make_record(f"{name.lower()}/{split}/{model_name}/{metric}", value.value, "share", value.n, command, value.interval)
        for model_name, metric, value in rows
    ]


def _chosen(data: str, split: str) -> tuple[str, list[Recording]]:
    """The data set's name and the recordings of the split's test people."""
    name, recordings = _recordings(data)
    chosen = _test_part(name, recordings, split)
    if not chosen:
        raise InputError(f"{data} holds no recording of the test people of split '{split}'; expected at least one")
    return name, chosen


def _command(checkpoint: str | Path, name: str, split: str) -> str:
    return f"palmist evaluate {_shown(checkpoint)} --data {name} --split {split}"


def _evaluate_images(checkpoint: str | Path, data: str, split: str) -> list[BenchmarkRecord]:
    """E^I, and E^PO if there is one, on drawn frames."""
    from palmist.evaluation.images import score_estimator
    from palmist.perception.image_estimator import load_estimator

    model, detector = load_estimator(checkpoint)
    name, chosen = _chosen(data, split)
    command = _command(checkpoint, name, split)
    return [
        make_record(f"rendered_{name.lower()}/{split}/{who}/{metric}", value.value, unit, value.n, command, value.interval)
        for who, metric, value, unit in score_estimator(model, detector, chosen)
    ]


_Row = tuple[str, Metric, str]


def _recognition(model: Model, recordings: Sequence[Recording]) -> list[_Row]:
    block = model.a if isinstance(model, GHTT) else model
    if block is None or isinstance(block, PoseGPT):
        return []
    assert not isinstance(model, PoseGPT)
    items = [part for recording in recordings for part in labelled_parts(recording, None)]
    known = [item for item in items if item[1] in block.config.labels]
    if not known:
        return []
    labels = tuple(sorted({label for _, label in known}))
    if isinstance(model, GHTT):
        result = recognise(model, known, labels)
        predicted, truth = result.predicted, result.truth
    else:
        if isinstance(model, BHaRNet):
            found, true = recognise_skeletons(model, known, labels)
            probabilities = found["fused"]
        elif isinstance(model, PlainTransformer):
            probabilities, true = recognise_plain(model, known, labels)
        else:
            probabilities, true = recognise_rival(model, known, labels)
        predicted, truth = probabilities.argmax(1).numpy(), true.numpy()
    return [
        ("accuracy", accuracy(predicted, truth), "share"),
        ("class_mean_accuracy", mean_class_accuracy(predicted, truth, len(labels)), "share"),
    ]


def _refinement(model: GHTT, recordings: Sequence[Recording]) -> list[_Row]:
    seen = [recording for recording in recordings if recording.valid.any()]
    if not seen:
        return []
    sequences = [to_pose_sequence(recording, model.p.config.rate) for recording in seen]
    groups = [str(recording.session or recording.subject or recording.name) for recording in seen]
    score = score_refinement(functools.partial(refine_vectors, model.p), sequences, groups)
    ratio = Metric(float(score.refined.sum() / score.noisy.sum()), len(score.refined))
    return [
        ("refine_error_ratio", ratio, "ratio"),
        ("refine_clean_shift", mean_metric(score.clean, interval=True, groups=list(score.groups)), "hand sizes"),
    ]


def _prediction(model: GHTT, name: str, recordings: Sequence[Recording]) -> list[_Row]:
    windows = list(forecast_windows(name, recordings)) if name in PROTOCOLS else []
    if not windows:
        return []
    certain, sampled = forecast(model.p, windows)
    row = {id(window): i for i, window in enumerate(windows)}

    def scores(futures: list[np.ndarray]) -> dict[str, Metric]:
        return score_forecasts(windows, lambda window: futures[row[id(window)]])[0]

    one, many, unit = scores(certain), scores(sampled), windows[0].recording_unit
    return [("ade", one["ade"], unit), ("fde", one["fde"], unit), ("ade_k20", many["ade_best"], unit)]


def _predictors(kind: str, model: Model) -> dict[str, Predictor]:
    if isinstance(model, GHTT):
        flows = FLOWS if model.a is not None else FLOWS[:1]
        return {f"{kind}_{flow}": ghtt_predictor(model, flow) for flow in flows}
    if isinstance(model, FlattenedVAE):
        return {
            f"{kind}_weaker": flattened_predictor(model, WEAKER), f"{kind}_stronger": flattened_predictor(model, STRONGER)
        }  # fmt: skip
    return {kind: posegpt_predictor(model)} if isinstance(model, PoseGPT) else {}


def _long_futures(
    kind: str, model: Model, recordings: Sequence[Recording], features: str | Path
) -> list[tuple[str, str, Metric, str]]:
    """Tables 2 to 4 of the paper, within labelled actions where there are any."""
    from rich.progress import track

    network = load_feature_network(features)
    parts = [part for recording in recordings for part, _ in labelled_parts(recording, None)] or list(recordings)
    windows = long_windows(parts, shortest=30, stride=LONG_STRIDE)
    if isinstance(model, PoseGPT):  # it is told the action
        windows = [window for window in windows if window.label in model.config.labels]
    if not windows:
        return []
    lengths, reference = np.array([len(window.sequence) for window in windows]), true_features(network, windows)
    unit, rows = windows[0].unit_name, []
    for name, predict in track(list(_predictors(kind, model).items()), "sampling futures", transient=True):
        score = MotionScore.of(predict, windows, network)
        for seconds in (1, 2):
            kept = lengths >= 30 * seconds
            if kept.sum() < 2:
                continue
            made = score.features[kept].reshape(-1, reference.shape[1])
            distance = frechet_distance(made, reference[kept])
            unit_of_fid = f"squared units of feature network {weights_hash(network)}"
            rows.append((name, f"fid_{seconds}s", Metric(distance.value, int(kept.sum())), unit_of_fid))
            for metric in ("apd", "ade", "ade_best"):
                for hand, side in enumerate(("left", "right")):
                    values = getattr(score, metric)[kept, hand]
                    if np.isfinite(values).any():
                        rows.append((name, f"{metric}_{side}_{seconds}s", mean_metric(values, interval=True), unit))
    return rows
