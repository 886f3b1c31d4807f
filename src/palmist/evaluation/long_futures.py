"""Long futures of any model: windows of whole actions, 20 sampled futures of each, their FID, APD and error.

Protocol: G-HTT (arXiv 2311.17366; specification, section 10). From 16 observed frames a model predicts until the action ends
or 96 frames; a sequence for FID is the 16 true frames and the predicted ones. The paper's windows begin every 16 frames; the
benchmark on open data begins one every 112, so that windows do not share frames.

Letters: W windows, K futures, T' predicted frames, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from palmist import pose_vector
from palmist.inputs.windows import PoseSequence, body_context, to_model_space, to_pose_sequence
from palmist.metrics.motion import apd
from palmist.models.baselines.flattened import WEAKER, FlattenedVAE
from palmist.models.baselines.posegpt import PoseGPT
from palmist.models.feature_network import FeatureNetwork
from palmist.models.ghtt import GHTT, cut_clips
from palmist.models.ghtt_pose_block import neutral_vector
from palmist.recording import Recording

__all__ = [
    "LongWindow",
    "MotionScore",
    "Predictor",
    "flattened_predictor",
    "ghtt_predictor",
    "long_windows",
    "motion_features",
    "posegpt_predictor",
    "true_features",
]

FLOWS = ("pa", "pb", "pb_given")
OBSERVED, LONGEST, SHORTEST, STRIDE, SAMPLES, FACTOR = 16, 112, 60, 112, 20, 5.0
_J20 = [joint for joint in range(21) if joint != 1]


class LongWindow:
    """A recording's frames start .. start + 112 at 30 fps, of which the first 16 are observed.

    sequence: in model space. phase: clips since the start of the action. label: of the action, "" if there is none.
    unit: one reported unit in model space, unit_name: "px" (planar recordings), "mm" (metric) or "mm of a 90 mm hand".
    """

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
        self.phase, self.subject = start // OBSERVED, str(recording.subject)
        self.label = recording.segments[0].label if recording.segments else ""
        self.unit = float(scale[0]) if part.planar else 1e-3
        self.unit_name = {"planar": "px", "metric": "mm"}.get(part.space, "mm of a 90 mm hand")
        self.coordinates = 3 if part.space == "metric" else 2

    @property
    def ahead(self) -> int:
        """T', the frames to predict."""
        return len(self.sequence) - OBSERVED


def long_windows(
    recordings: Sequence[Recording], shortest: int = SHORTEST, stride: int = STRIDE, hands: tuple[int, ...] = (0, 1)
) -> list[LongWindow]:
    """Windows of 112 frames every `stride` frames; those at the end are shorter, but of `shortest` frames or more.

    One of `hands` must be seen throughout the last four observed frames, or there is nothing to predict from.
    """
    found = []
    for recording in recordings:
        whole = to_pose_sequence(recording)
        for start in range(0, len(whole) - shortest + 1, stride):
            seen = whole.known[start + OBSERVED - 4 : start + OBSERVED, :, 0].all(0)
            if any(bool(seen[hand]) for hand in hands):
                found.append(LongWindow(recording, whole, start))
    return found


# ---------------------------------------------------------------------------------------------------- predictors

#: A window and a random source to futures (K, T' or more, 2, 21, 3) in model space.
Predictor = Callable[[LongWindow, torch.Generator], Tensor]


def ghtt_predictor(model: GHTT, flow: str, samples: int = SAMPLES, factor: float = FACTOR) -> Predictor:
    """flow: "pa", "pb", or "pb_given" (P.b with the true first future clip)."""

    @torch.no_grad()
    def predict(window: LongWindow, generator: torch.Generator) -> Tensor:
        seen = window.sequence.slice(0, OBSERVED)
        joints, known = seen.joints[None], seen.known[None]
        code = pose_vector.encode(joints, known, seen.space)
        context, context_known = body_context(
            joints, known, code.palms.rotation, code.palms.valid, seen.body[None], seen.body_known[None]
        )
        clips = cut_clips(
            code, OBSERVED, space=seen.space, first_phase=window.phase, context=context, context_known=context_known
        )
        count = -(-window.ahead // OBSERVED)
        if flow == "pa":
            return model.predict_short(clips, count, samples, factor, generator).joints[0]
        given = _true_clip(window) if flow == "pb_given" else None
        return model.predict_long(clips, count, samples, factor, generator, first_clip=given).joints[0]

    return predict


def _true_clip(window: LongWindow) -> Tensor:
    """The true first future clip (1, 16, 153), its first motion relative to the last observed frame."""
    part = window.sequence.slice(0, 2 * OBSERVED)
    code = pose_vector.encode(part.joints[None], part.known[None], part.space)
    given = torch.where(code.known, code.vector, neutral_vector())[:, OBSERVED:]
    rest = 2 * OBSERVED - len(part)  # after the end of a short window there is no truth
    return torch.cat((given, neutral_vector().expand(1, rest, -1)), dim=1)


def _observed(window: LongWindow) -> tuple[Tensor, Tensor, pose_vector.PalmFrames]:
    seen = window.sequence.slice(0, OBSERVED)
    code = pose_vector.encode(seen.joints[None], seen.known[None], seen.space)
    vector, known = pose_vector.reset_first_motion(code.vector, code.known, code.palms.valid)
    return vector, known, code.palms


def flattened_predictor(model: FlattenedVAE, factor: float = WEAKER, samples: int = SAMPLES) -> Predictor:
    """The flattened VAE with a sampling factor."""

    def predict(window: LongWindow, generator: torch.Generator) -> Tensor:
        vector, known, palms = _observed(window)
        frames, first = torch.ones(1, OBSERVED, dtype=torch.bool), torch.tensor([window.phase * OBSERVED])
        planar = window.sequence.planar
        return model.predict(vector, known, frames, palms, window.ahead, samples, factor, generator, planar, first)[0]

    return predict


def posegpt_predictor(model: PoseGPT, samples: int = SAMPLES) -> Predictor:
    """PoseGPT, told the window's true action as in the paper's comparison."""

    def predict(window: LongWindow, generator: torch.Generator) -> Tensor:
        vector, known, palms = _observed(window)
        label = torch.tensor([model.config.labels.index(window.label)])
        return model.predict(vector, known, palms, label, window.ahead, samples, generator, window.sequence.planar)[0]

    return predict


# ---------------------------------------------------------------------------------------------------- scores


def motion_features(network: FeatureNetwork, joints: Tensor, known: Tensor, space: str) -> np.ndarray:
    """Features (B, D) of motions (B, T, 2, 21, 3), with the true recording's mask known (T, 2, 21)."""
    mask = known.expand(joints.shape[:-1])
    code = pose_vector.encode(torch.where(mask.unsqueeze(-1), joints, 0.0), mask, space)
    with torch.no_grad():
        features = network.features(code.vector, code.known, torch.ones(joints.shape[:2], dtype=torch.bool))
    return np.asarray(features.double().numpy())


def true_features(network: FeatureNetwork, windows: Sequence[LongWindow]) -> np.ndarray:
    """Features (W, D) of the true sequences."""
    parts = [window.sequence for window in windows]
    return np.concatenate([motion_features(network, part.joints[None], part.known, part.space) for part in parts])


@dataclass(frozen=True)
class MotionScore:
    """What is measured of a model's futures, window by window; NaN for a hand that is never seen.

    features: (W, K, D). apd: (W, 2) of the left and the right hand over 20 joints. ade, ade_best: (W, 2) error of each
    hand, mean and best of K. All distances in the windows' unit.
    """

    features: np.ndarray
    apd: np.ndarray
    ade: np.ndarray
    ade_best: np.ndarray

    @classmethod
    def of(cls, predict: Predictor, windows: Sequence[LongWindow], network: FeatureNetwork) -> MotionScore:
        """Sample futures of every window; window i is drawn with seed i."""
        features, spread, mean, best = [], [], [], []
        for row, window in enumerate(windows):
            sequence = window.sequence
            future = predict(window, torch.Generator().manual_seed(row))[:, : window.ahead]
            whole = torch.cat([sequence.joints[:OBSERVED].expand(len(future), -1, -1, -1, -1), future], dim=1)
            features.append(motion_features(network, whole, sequence.known, sequence.space))
            spread.append([_apd(window, future, hand) for hand in (0, 1)])
            errors = [_errors(window, future, hand) for hand in (0, 1)]
            mean.append([error.mean() for error in errors])
            best.append([error.min() for error in errors])
        return cls(np.stack(features), np.array(spread), np.array(mean), np.array(best))


def _apd(window: LongWindow, future: Tensor, hand: int) -> float:
    known = window.sequence.known[OBSERVED:, hand][:, _J20].numpy()
    samples = future[:, :, hand][:, :, _J20, : window.coordinates].numpy() / window.unit
    return float(apd(samples, known)) if known.any() else float("nan")


def _errors(window: LongWindow, future: Tensor, hand: int) -> np.ndarray:
    """Mean error of each future over the known joints of a hand, (K,)."""
    truth, known = window.sequence.joints[OBSERVED:, hand], window.sequence.known[OBSERVED:, hand]
    if not known.any():
        return np.full(len(future), np.nan)
    difference = (future[:, :, hand] - truth)[..., : window.coordinates]
    return np.asarray(torch.linalg.vector_norm(difference, dim=-1)[:, known].mean(1).double().numpy()) / window.unit
