"""The plainest models that a number must beat: last pose, constant velocity, multinomial logistic regression.

Letters: T observed frames, H hands, J joints, C coordinates; N samples, D features, L classes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from palmist.errors import InputError


class Prediction(NamedTuple):
    """joints (T', H, J, C) in the input's unit, and known (T', H, J) bool: joints never observed are not predicted."""

    joints: np.ndarray
    known: np.ndarray


def last_pose(joints: np.ndarray, known: np.ndarray, time: np.ndarray, future_time: np.ndarray) -> Prediction:
    """Every joint stays where it was last known.

    joints: (T, H, J, C), any unit; known: (T, H, J) bool; time: (T,) s; future_time: (T',) s, later than `time`.
    Raises InputError when shapes or times do not fit.

    Example: last_pose(joints, known, time, time[-1] + np.arange(1, 17) / 30).joints
    """
    _check(joints, known, time, future_time)
    position, _, seen = _last_known(joints, known)
    frames = len(future_time)
    return Prediction(np.repeat(position[None], frames, axis=0), np.repeat(seen[None], frames, axis=0))


def constant_velocity(joints: np.ndarray, known: np.ndarray, time: np.ndarray, future_time: np.ndarray) -> Prediction:
    """Every joint goes on with the velocity between its last two known frames; one known only once stays there.

    Arguments as in `last_pose`. Give frame numbers as times where the source's clock jitters.
    """
    _check(joints, known, time, future_time)
    position, last, seen = _last_known(joints, known)
    earlier = known & (np.arange(len(joints))[:, None, None] < last)
    before, first, moving = _last_known(joints, earlier)
    span = np.where(moving, time[last] - time[first], 1.0)
    velocity = np.where(moving[..., None], (position - before) / span[..., None], 0.0)
    ahead = future_time[:, None, None] - time[last]  # from the frame in which this joint was last known
    moved = position + velocity * ahead[..., None]
    return Prediction(moved, np.repeat(seen[None], len(future_time), axis=0))


class LogisticRegression:
    """Multinomial logistic regression with an L2 penalty, in float64 by L-BFGS; it has no randomness.

    Minimises sum of cross-entropies + |W|^2 / (2 inverse_penalty) on standardised features; the bias is free.

    Example:
        >>> model = LogisticRegression().fit(train_features, train_labels)
        >>> (model.predict(test_features) == test_labels).float().mean()
    """

    def __init__(self, inverse_penalty: float = 1.0, iterations: int = 500, standardise: bool = True) -> None:
        if not inverse_penalty > 0:
            raise InputError(f"inverse_penalty is {inverse_penalty}; expected a positive number")
        self.inverse_penalty, self.iterations, self.standardise = inverse_penalty, iterations, standardise
        self.weight: Tensor | None = None  # (D, L)
        self.bias: Tensor | None = None  # (L,)

    def fit(self, features: Tensor | np.ndarray, labels: Tensor | np.ndarray, classes: int | None = None) -> LogisticRegression:
        """Fit to features (N, D) and labels (N,), class indices; `classes` L defaults to the largest label + 1.

        Raises InputError for features that are not finite or labels that do not fit.
        """
        x = torch.as_tensor(features).to(torch.float64)
        y = torch.as_tensor(labels).to(torch.long)
        if x.ndim != 2 or y.shape != (len(x),) or not len(x):
            raise InputError(f"features {tuple(x.shape)} and labels {tuple(y.shape)} were given; expected (N, D) and (N,)")
        if not torch.isfinite(x).all():
            raise InputError("features hold nan or infinite numbers; fill unknown entries and add a flag for them")
        L = int(y.max()) + 1 if classes is None else classes
        if y.min() < 0 or y.max() >= L:
            raise InputError(f"labels run from {int(y.min())} to {int(y.max())}; expected 0 to {L - 1}")
        self.centre = x.mean(0) if self.standardise else torch.zeros_like(x[0])
        spread = x.std(0, unbiased=False) if self.standardise else torch.ones_like(x[0])
        self.scale = torch.where(spread > 1e-12, spread, torch.ones_like(spread))
        x = (x - self.centre) / self.scale
        weight = torch.zeros(x.shape[1], L, dtype=torch.float64, requires_grad=True)
        bias = torch.zeros(L, dtype=torch.float64, requires_grad=True)
        solver = torch.optim.LBFGS(
            [weight, bias],
            max_iter=self.iterations,
            tolerance_grad=1e-6,
            tolerance_change=1e-12,
            history_size=10,
            line_search_fn="strong_wolfe",
        )

        def objective() -> Tensor:
            solver.zero_grad()
            fit = torch.nn.functional.cross_entropy(x @ weight + bias, y, reduction="sum")
            # divided by N, so that the solver's tolerances do not depend on the number of samples
            loss = (fit + weight.square().sum() / (2 * self.inverse_penalty)) / len(x)
            torch.autograd.backward(loss)
            return loss

        with torch.enable_grad():
            solver.step(objective)
        self.weight, self.bias = weight.detach(), bias.detach()
        return self

    def predict_probabilities(self, features: Tensor | np.ndarray) -> Tensor:
        """Class probabilities (N, L), float64. Raises InputError before `fit`."""
        if self.weight is None or self.bias is None:
            raise InputError("the logistic regression has no weights yet; call fit first")
        x = (torch.as_tensor(features).to(torch.float64) - self.centre) / self.scale
        return (x @ self.weight + self.bias).softmax(-1)

    def predict(self, features: Tensor | np.ndarray) -> Tensor:
        """Most probable class of each row, (N,) long."""
        return self.predict_probabilities(features).argmax(-1)


def _last_known(joints: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position (H, J, C) float64 and frame (H, J) of each joint's last known frame, and whether it has one (H, J).

    Joints without one are at 0, frame 0.
    """
    T = len(joints)
    seen = np.any(known, axis=0)
    frame = np.where(seen, T - 1 - np.argmax(known[::-1], axis=0), 0)
    position = np.take_along_axis(joints, frame[None, ..., None], axis=0)[0].astype(np.float64)
    return np.where(seen[..., None], position, 0.0), frame, seen


def _check(joints: np.ndarray, known: np.ndarray, time: np.ndarray, future_time: np.ndarray) -> None:
    if joints.ndim != 4 or known.shape != joints.shape[:-1] or np.shape(time) != joints.shape[:1] or not len(joints):
        raise InputError(
            f"joints {joints.shape}, known {known.shape} and time {np.shape(time)} were given; "
            "expected (T, H, J, C), (T, H, J) and (T,) with T at least 1"
        )
    if len(future_time) and not future_time[0] > time[-1]:
        raise InputError(f"the future starts at {future_time[0]} s; expected later than the last observed {time[-1]} s")
