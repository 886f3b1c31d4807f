"""FID and APD of long predictions (metrics specification 3): P.a against P.b at equal n, on sequences longer than 2 s."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from palmist.benchmark.plan import ROOT
from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.evaluation.ghtt import load_ghtt
from palmist.evaluation.long_futures import FACTOR, FLOWS, OBSERVED, MotionScore, ghtt_predictor, long_windows, true_features
from palmist.metrics.intervals import mean_metric
from palmist.metrics.motion import frechet_distance
from palmist.models.feature_network import weights_hash
from palmist.recording import Recording
from palmist.tasks.features import load_feature_network

__all__ = ["score_long_futures", "score_reduced_precision"]


def score_long_futures(folds: Sequence[tuple[int, list[Recording]]]) -> list[BenchmarkRecord]:
    """FID (all samples pooled against the true sequences) and APD (20 samples a window) of P.a, and of P.b in two settings.

    "pb_given" is the authors' switch: the first future clip is the true one, the others follow as predicted. A sequence is
    16 true observed frames and the predicted ones, up to 112, at least 2 s; all flows see the same
    windows, so n is equal. FID values mean something only against values of the same feature network and n.
    """
    network = load_feature_network(ROOT / "feature_reach" / "last")
    name = weights_hash(network)
    windows = {number: long_windows(recordings, hands=(1,)) for number, recordings in folds}
    models = {number: load_ghtt(ROOT / f"a_fold{number}" / "last") for number, _ in folds}
    reference = np.concatenate([true_features(network, here) for here in windows.values()])
    records = []
    for flow in FLOWS:
        scores = [MotionScore.of(ghtt_predictor(models[number], flow), here, network) for number, here in windows.items()]
        features = np.concatenate([score.features for score in scores]).reshape(-1, reference.shape[1])
        distance = frechet_distance(features, reference)
        prefix = f"reach_to_grasp/leave_people_out/ghtt_{flow}"
        only = f"palmist benchmark quality --only futures  # f {FACTOR:g}, network {name}, width {features.shape[1]}"
        only += f", {len(features)} samples against {len(reference)} sequences"
        records.append(make_record(f"{prefix}/fid", distance.value, "squared feature units", len(reference), only, seeds=(0,)))
        for hand, side in ((0, "left"), (1, "right")):
            values = np.concatenate([score.apd[:, hand] for score in scores])
            metric = mean_metric(values, interval=True)
            records.append(make_record(f"{prefix}/apd_{side}", metric.value, "px", metric.n, only, metric.interval, seeds=(0,)))
    return records


def score_reduced_precision(folds: Sequence[tuple[int, list[Recording]]]) -> list[BenchmarkRecord]:
    """How the mean error of 20 futures of P.b changes when they are decoded in bfloat16 or int8, same random numbers.

    The windows and the masks are those of `score_long_futures`, the unit is pixels.
    """
    precisions = ("float32", "bfloat16", "int8")
    errors: dict[str, list[float]] = {precision: [] for precision in precisions}
    for number, recordings in folds:
        model = load_ghtt(ROOT / f"a_fold{number}" / "last")
        for row, window in enumerate(long_windows(recordings, hands=(1,))):
            truth, known = window.sequence.joints[OBSERVED:], window.sequence.known[OBSERVED:, 1]
            if not known.any():
                continue
            for precision in precisions:
                model.set_precision(precision)
                predict = ghtt_predictor(model, "pb")
                future = predict(window, torch.Generator().manual_seed(row))[:, : len(truth)]
                distance = torch.linalg.vector_norm((future - truth)[..., 1, :, :2], dim=-1)[:, known]  # (K, joints)
                errors[precision].append(float(distance.mean()) / window.unit)
    exact = np.array(errors["float32"])
    command = "palmist benchmark quality --only futures"
    records = []
    for precision in precisions:
        values = np.array(errors[precision])
        metric, name = mean_metric(values, interval=True), f"reach_to_grasp/leave_people_out/ghtt_pb_{precision}"
        records.append(make_record(f"{name}/ade", metric.value, "px", metric.n, command, metric.interval, seeds=(0,)))
        if precision != "float32":
            change = float(values.mean() / exact.mean() - 1)
            records.append(make_record(f"{name}/ade_change", change, "share", len(values), command, seeds=(0,)))
    return records
