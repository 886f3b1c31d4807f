"""FID and APD of long predictions (metrics specification 3): P.a against P.b at equal n, on sequences longer than 2 s."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from palmist import pose_vector
from palmist.benchmark.plan import ROOT
from palmist.benchmark_record import BenchmarkRecord, make_record
from palmist.evaluate import load_ghtt
from palmist.feature_task import load_feature_network
from palmist.metrics.intervals import Metric
from palmist.metrics.motion import apd, frechet_distance
from palmist.models.feature_network import FeatureNetwork, weights_hash
from palmist.models.ghtt import GHTT, Futures, cut_clips
from palmist.models.ghtt_pose_block import neutral_vector
from palmist.recording import Recording
from palmist.windows import PoseSequence, body_context, to_model_space, to_pose_sequence

__all__ = ["LongWindow", "long_windows", "score_long_futures", "score_reduced_precision"]

FLOWS = ("pa", "pb", "pb_given")
OBSERVED, LONGEST, SHORTEST, STRIDE, SAMPLES, FACTOR = 16, 112, 60, 112, 20, 5.0


class LongWindow:
    """A recording's frames start .. start + 112 at 30 fps, of which the first 16 are observed."""

    def __init__(self, recording: Recording, whole: PoseSequence, start: int) -> None:
        # The scale comes from the observed frames alone: nothing of the future is looked at.
        end = whole.time[min(start + OBSERVED, len(whole)) - 1]
        first = int(np.searchsorted(recording.time, whole.time[start] - 1e-6))
        last = int(np.searchsorted(recording.time, end + 1e-6))
        scale = to_model_space(recording, slice(first, last))
        self.factor = float(scale[0] / whole.scale[0])
        part = whole.slice(start, start + LONGEST)
        self.sequence = PoseSequence(
            part.joints * self.factor, part.known, part.body * self.factor, part.body_known,
            part.time, scale, part.space, part.rate, part.name,
        )  # fmt: skip
        self.phase, self.subject, self.unit = start // OBSERVED, str(recording.subject), float(scale[0])
        self.label = recording.segments[0].label if recording.segments else ""


def long_windows(recordings: Sequence[Recording], shortest: int = SHORTEST) -> list[LongWindow]:
    """Windows of 112 frames, the last of a recording shorter, but `shortest` frames or more; the first 16 are observed."""
    found = []
    for recording in recordings:
        whole = to_pose_sequence(recording)
        for start in range(0, len(whole) - shortest + 1, STRIDE):
            # The acting hand must be seen at the end of the observation, or there is nothing to predict from.
            if bool(whole.known[start + OBSERVED - 4 : start + OBSERVED, 1, 0].all()):
                found.append(LongWindow(recording, whole, start))
    return found


@torch.no_grad()
def predict_long_window(model: GHTT, window: LongWindow, flow: str, generator: torch.Generator) -> Futures:
    seen = window.sequence.slice(0, OBSERVED)
    joints, known = seen.joints[None], seen.known[None]
    code = pose_vector.encode(joints, known, seen.space)
    context, context_known = body_context(
        joints, known, code.palms.rotation, code.palms.valid, seen.body[None], seen.body_known[None]
    )
    clips = cut_clips(code, OBSERVED, space=seen.space, first_phase=window.phase, context=context, context_known=context_known)
    count = -(-(len(window.sequence) - OBSERVED) // OBSERVED)
    if flow == "pa":
        return model.predict_short(clips, count, SAMPLES, FACTOR, generator)
    given = _true_clip(window) if flow == "pb_given" else None
    return model.predict_long(clips, count, SAMPLES, FACTOR, generator, first_clip=given)


def _true_clip(window: LongWindow) -> Tensor:
    """The true first future clip (1, 16, 153), its first motion relative to the last observed frame."""
    part = window.sequence.slice(0, 2 * OBSERVED)
    code = pose_vector.encode(part.joints[None], part.known[None], part.space)
    given = torch.where(code.known, code.vector, neutral_vector())[:, OBSERVED:]
    rest = 2 * OBSERVED - len(part)  # after the end of a short window there is no truth
    return torch.cat((given, neutral_vector().expand(1, rest, -1)), dim=1)


def motion_features(network: FeatureNetwork, joints: Tensor, known: Tensor, space: str) -> np.ndarray:
    """joints (B, T, 2, 21, 3) with the true recording's mask known (T, 2, 21) -> (B, W)."""
    mask = known.expand(joints.shape[:-1])
    code = pose_vector.encode(torch.where(mask.unsqueeze(-1), joints, 0.0), mask, space)
    with torch.no_grad():
        features = network.features(code.vector, code.known, torch.ones(joints.shape[:2], dtype=torch.bool))
    return features.double().numpy()


def score_long_futures(folds: Sequence[tuple[int, list[Recording]]]) -> list[BenchmarkRecord]:
    """FID (all samples pooled against the true sequences) and APD (20 samples a window) of P.a, and of P.b in two settings.

    "pb_given" is the authors' switch: the first future clip is the true one, the others follow as predicted. A sequence is
    16 true observed frames and the predicted ones, up to 112, at least 2 s; all flows see the same
    windows, so n is equal. FID values mean something only against values of the same feature network and n.
    """
    network = load_feature_network(ROOT / "feature_reach" / "last")
    name = weights_hash(network)
    true_features: list[np.ndarray] = []
    made: dict[str, list[np.ndarray]] = {flow: [] for flow in FLOWS}
    spread: dict[str, list[tuple[float, float]]] = {flow: [] for flow in FLOWS}
    for number, recordings in folds:
        model = load_ghtt(ROOT / f"a_fold{number}" / "last")
        for row, window in enumerate(long_windows(recordings)):
            sequence = window.sequence
            frames = len(sequence)
            true_features.append(motion_features(network, sequence.joints[None], sequence.known, sequence.space))
            for flow in FLOWS:
                generator = torch.Generator().manual_seed(row)
                future = predict_long_window(model, window, flow, generator).joints[0, :, : frames - OBSERVED]
                whole = torch.cat([sequence.joints[:OBSERVED].expand(SAMPLES, -1, -1, -1, -1), future], dim=1)
                made[flow].append(motion_features(network, whole, sequence.known, sequence.space))
                spread[flow].append(both_apd(window, future))
    reference = np.concatenate(true_features)
    records = []
    for flow in FLOWS:
        features = np.concatenate(made[flow])
        distance = frechet_distance(features, reference)
        prefix = f"reach_to_grasp/leave_people_out/ghtt_{flow}"
        only = f"palmist benchmark quality --only futures  # f {FACTOR:g}, network {name}, width {features.shape[1]}"
        only += f", {len(features)} samples against {len(reference)} sequences"
        records.append(make_record(f"{prefix}/fid", distance.value, "squared feature units", len(reference), only, seeds=(0,)))
        for hand, side in ((0, "left"), (1, "right")):
            values = np.array([pair[hand] for pair in spread[flow]])
            metric = _mean(values[np.isfinite(values)])
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
        for row, window in enumerate(long_windows(recordings)):
            truth, known = window.sequence.joints[OBSERVED:], window.sequence.known[OBSERVED:, 1]
            if not known.any():
                continue
            for precision in precisions:
                model.set_precision(precision)
                future = predict_long_window(model, window, "pb", torch.Generator().manual_seed(row)).joints[0, :, : len(truth)]
                distance = torch.linalg.vector_norm((future - truth)[..., 1, :, :2], dim=-1)[:, known]  # (K, joints)
                errors[precision].append(float(distance.mean()) / window.unit)
    exact = np.array(errors["float32"])
    command = "palmist benchmark quality --only futures"
    records = []
    for precision in precisions:
        values = np.array(errors[precision])
        metric, name = _mean(values), f"reach_to_grasp/leave_people_out/ghtt_pb_{precision}"
        records.append(make_record(f"{name}/ade", metric.value, "px", metric.n, command, metric.interval, seeds=(0,)))
        if precision != "float32":
            change = float(values.mean() / exact.mean() - 1)
            records.append(make_record(f"{name}/ade_change", change, "share", len(values), command, seeds=(0,)))
    return records


def both_apd(window: LongWindow, future: Tensor) -> tuple[float, float]:
    """APD of the left and the right hand in pixels; NaN for a hand that is never seen. future: (K, T', 2, 21, 3)."""
    pixels, seen = future[..., :2].numpy() / window.unit, window.sequence.known[OBSERVED:].numpy()
    left, right = (_apd(pixels[:, :, hand], seen[:, hand]) for hand in (0, 1))
    return left, right


def _apd(samples: np.ndarray, known: np.ndarray) -> float:
    """APD over J20 of one hand: samples (K, T, 21, 2), known (T, 21); NaN if the hand is never seen."""
    joints = [joint for joint in range(21) if joint != 1]
    if not known[:, joints].any():
        return float("nan")
    return float(apd(samples[:, :, joints], known[:, joints]))


def _mean(values: np.ndarray) -> Metric:
    draw = np.random.default_rng(0).integers(0, len(values), (2000, len(values)))
    low, high = np.quantile(values[draw].mean(1), [0.025, 0.975])
    return Metric(float(values.mean()), len(values), (float(low), float(high)))
