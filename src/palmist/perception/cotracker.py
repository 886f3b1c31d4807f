"""CoTracker (Karaev et al., arXiv 2307.07635 and 2410.11831) behind the interface of `points.PointTracker`.

Palmist ships none of its code or weights (mostly CC BY-NC 4.0). Two ways to bring them:

1. A TorchScript file (`torch.jit.save`) of a module that takes video (1, T, 3, H, W) float 0..255 and queries (1, N, 3)
   rows (frame, x, y), and gives tracks (1, T, N, 2) pixels and visibility (1, T, N) bool.
2. The authors' package, installed from a copy of their repository (`pip install -e co-tracker`), with a weights file of
   the offline model: `scaled_offline.pth` or `baseline_offline.pth`, or the same weights as .safetensors.

Weights are read with weights_only=True: a file that would run code is refused.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from palmist.errors import InputError
from palmist.files.weights import is_torchscript, read_weights
from palmist.perception.points import PointTracks, check_queries, checked_frames
from palmist.perception.video import Frame

if TYPE_CHECKING:
    import torch

#: Frames that the offline model was trained to see at once; longer clips work, at the cost of memory.
WINDOW = 60


class CoTracker:
    """The offline CoTracker3: sees the whole clip at once, forwards and backwards, and finds points again after they were
    hidden. Holds all frames in memory: give it clips.

    weights: a TorchScript file, or a weights file for the installed package `cotracker`; device: for example "cuda".

    Raises InputError, one sentence, if the weights or the package are missing, do not fit, or hold a pickle.
    """

    def __init__(self, weights: str | Path, device: str = "cpu") -> None:
        self.path = Path(weights)
        if not self.path.is_file():
            raise InputError(
                f"{weights} does not exist or is no file; expected CoTracker's weights, scaled_offline.pth of "
                "github.com/facebookresearch/co-tracker, or a TorchScript file; or track with LucasKanade, which needs none"
            )
        self.device = device
        self._scripted = is_torchscript(self.path)
        try:
            self._model = (_load_script if self._scripted else _load_package)(self.path).to(device).eval()
        except RuntimeError as error:  # a device that is not there
            raise InputError(f"CoTracker cannot run on '{device}' ({_first_line(error)}); expected 'cpu' or a GPU") from error

    @property
    def name(self) -> str:
        return "cotracker"

    @property
    def version(self) -> str:
        """The file that the weights came from, and in which form."""
        return f"{self.path.name} ({'TorchScript' if self._scripted else 'cotracker package'})"

    @property
    def settings(self) -> dict[str, Any]:
        """The weights' file name and the window."""
        return {"weights": self.path.name, "window": WINDOW}

    def __call__(self, frames: Iterable[Frame], queries: np.ndarray) -> PointTracks:
        """Follow points (see PointTracker). The model works at its own 384x512; tracks are pixels of the frames."""
        import torch

        pairs = list(checked_frames(frames))
        images = np.stack([image for image, _ in pairs])
        height, width = images.shape[1:3]
        points = check_queries(queries, width, height)
        video = torch.from_numpy(images).permute(0, 3, 1, 2)[None].float()  # (1, T, 3, H, W)
        rows = torch.from_numpy(np.concatenate([np.zeros((len(points), 1), np.float32), points], 1))[None]  # (1, N, 3)
        with torch.no_grad():
            result = self._model(video.to(self.device), rows.to(self.device))
        tracks, visible = self._check(result, len(images), len(points))
        # A point beyond the edge is out of sight, whatever the model believes of it.
        visible = visible & ((tracks >= 0) & (tracks <= (width - 1, height - 1))).all(-1)
        return PointTracks(
            tracks=tracks,
            visible=visible,
            time=np.array([time for _, time in pairs]),
            width=width,
            height=height,
            tracker=self.name,
            tracker_version=self.version,
            settings=self.settings,
        )

    def _check(self, result: Any, frames: int, points: int) -> tuple[np.ndarray, np.ndarray]:
        expected = (1, frames, points)
        try:
            tracks, visible = (value.detach().cpu() for value in result[:2])
        except (TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{self.path} does not give tracks and visibility; expected a CoTracker model") from error
        if visible.shape == (*expected, 1):
            visible = visible[..., 0]
        if tracks.shape != (*expected, 2) or visible.shape != expected:
            raise InputError(
                f"{self.path} gives tracks {tuple(tracks.shape)} and visibility {tuple(visible.shape)}; "
                f"expected {(*expected, 2)} and {expected}"
            )
        return tracks[0].float().numpy(), visible[0].bool().numpy()


def _load_script(path: Path) -> torch.nn.Module:
    import torch

    try:
        return torch.jit.load(str(path), map_location="cpu")
    except Exception as error:  # a damaged archive can fail in any way
        raise InputError(f"{path} is a damaged TorchScript file ({_first_line(error)}); copy or export it again") from error


def _load_package(path: Path) -> torch.nn.Module:
    """The authors' predictor with the weights of `path`; their own loading of pickles is never reached."""
    state = _state_dict(path)
    try:
        predictor_class = importlib.import_module("cotracker.predictor").CoTrackerPredictor
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"{path} needs the package 'cotracker' ({_first_line(error)}); get github.com/facebookresearch/co-tracker and run: "
            "pip install -e co-tracker"
        ) from error
    try:
        predictor: torch.nn.Module = predictor_class(checkpoint=None, offline=True, window_len=WINDOW)
        predictor.model.load_state_dict(state)  # type: ignore[union-attr]
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} does not fit the installed 'cotracker' ({_first_line(error)}); expected weights of the "
            "offline CoTracker3, scaled_offline.pth, and version 3 of the package"
        ) from error
    return predictor


def _state_dict(path: Path) -> Mapping[str, torch.Tensor]:
    """A pickle that could run code is refused."""
    return read_weights(path, "CoTracker's weights, such as scaled_offline.pth or .safetensors", ("model",))


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0].strip().rstrip(".:") if lines else "") or type(error).__name__
