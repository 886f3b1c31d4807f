"""What `palmist train` can train: `TASKS` names them, each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["TASKS"]


def _of(module: str, name: str, *arguments: str) -> Callable[[], Any]:
    def task() -> Any:
        return getattr(import_module(f"palmist.tasks.{module}"), name)(*arguments)

    return task


#: task of a configuration -> what makes it
TASKS: dict[str, Callable[[], Any]] = {
    "ghtt_p": _of("ghtt", "PoseTask"),
    "ghtt_refine": _of("ghtt", "RefineTask"),
    "ghtt_a": _of("ghtt", "ActionTask"),
    "feature_network": _of("features", "FeatureTask"),
    "htt": _of("rivals", "RivalTask", "htt"),
    "recognition_only": _of("rivals", "RivalTask", "recognition_only"),
    "plain_transformer": _of("plain_transformer", "PlainTask"),
    "bharnet": _of("skeletons", "SkeletonTask"),
    "bharnet_clips": _of("skeleton_clips", "ClipTask"),
    "rgb_guided": _of("rgb_guided", "RGBTask"),
    "flattened": _of("generative", "FlattenedTask"),
    "posegpt_codec": _of("generative", "CodecTask"),
    "posegpt": _of("generative", "PoseGPTTask"),
    "image_estimator": _of("images", "ImageTask"),
    "clip_object": _of("images", "ClipObjectTask"),
    "emim": _of("videos", "VideoTask", "emim"),
    "uniformer": _of("videos", "VideoTask", "uniformer"),
    "trec": _of("trec", "TRecTask"),
    "egovideo": _of("video_text", "VideoTextTask"),
}
