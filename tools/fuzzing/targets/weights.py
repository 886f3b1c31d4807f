"""Weights and vocabularies that a user brings from elsewhere, and checkpoints of every kind that Palmist writes."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
import types
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from safetensors.torch import save_file

from fuzzing.targets.examples import moving_square
from fuzzing.targets.target import ROOT, Checked, Target
from palmist.perception.video import Frame

SHIPPED = ROOT / "src/palmist/assets/checkpoints"


def _checked(state: dict[str, Any], *more: Any) -> Checked:
    """Named tensors, none of which holds a number that is not finite."""
    arrays = {name: tensor.detach().numpy() for name, tensor in state.items()}
    bad = [f"{name} is not finite" for name, array in arrays.items() if not np.isfinite(array).all()]
    return Checked([arrays, *more], bad)


# --------------------------------------------------------------------------------------------------------------------
# Weights of others


def _write_weights(name: str, state: dict[str, Any], folder: Path) -> None:
    """The same tensors as .safetensors and as .pth, there under 'model' as trainers wrap them."""
    folder.mkdir(parents=True)
    state = {key: value.contiguous() for key, value in state.items()}
    save_file(state, folder / f"{name}.safetensors")
    torch.save({"model": state, "epoch": 3}, folder / f"{name}.pth")


def _clip_state() -> dict[str, Any]:
    """A tiny CLIP with OpenAI's names."""
    wide, narrow, joint, patch, side, length, words = 16, 12, 8, 4, 3, 9, 30
    shapes: dict[str, tuple[int, ...]] = {
        "visual.class_embedding": (wide,), "visual.positional_embedding": (1 + side * side, wide), "visual.proj": (wide, joint),
        "visual.conv1.weight": (wide, 3, patch, patch), "visual.ln_pre.weight": (wide,), "visual.ln_pre.bias": (wide,),
        "visual.ln_post.weight": (wide,), "visual.ln_post.bias": (wide,), "positional_embedding": (length, narrow),
        "text_projection": (narrow, joint), "token_embedding.weight": (words, narrow), "ln_final.weight": (narrow,),
        "ln_final.bias": (narrow,), "logit_scale": (),
    }  # fmt: skip
    for prefix, width in (("visual.transformer", wide), ("transformer", narrow)):
        block = f"{prefix}.resblocks.0"
        shapes |= {
            f"{block}.attn.in_proj_weight": (3 * width, width), f"{block}.attn.in_proj_bias": (3 * width,),
            f"{block}.attn.out_proj.weight": (width, width), f"{block}.attn.out_proj.bias": (width,),
            f"{block}.mlp.c_fc.weight": (4 * width, width), f"{block}.mlp.c_fc.bias": (4 * width,),
            f"{block}.mlp.c_proj.weight": (width, 4 * width), f"{block}.mlp.c_proj.bias": (width,),
        }  # fmt: skip
        shapes |= {f"{block}.{norm}.{what}": (width,) for norm in ("ln_1", "ln_2") for what in ("weight", "bias")}
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}


def _write_clip(folder: Path) -> None:
    _write_weights("clip", _clip_state(), folder)


def _read_clip(folder: Path, out: Path) -> Any:
    from palmist.models.clip_weights import load_clip

    return [_checked(load_clip(folder / f"clip.{ending}", (2, 3), 7)) for ending in ("safetensors", "pth")]


def _resnet() -> Any:
    from palmist.models.resnet import ResNet18

    torch.manual_seed(0)
    return ResNet18(base_width=2).eval()


def _write_resnet(folder: Path) -> None:
    _write_weights("resnet18", _resnet().state_dict(), folder)
    torch.save(_resnet().state_dict(), folder / "resnet18.pth")  # torchvision wraps nothing


def _read_resnet(folder: Path, out: Path) -> Any:
    from palmist.models.resnet import load_backbone

    return [_checked(load_backbone(_resnet(), folder / f"resnet18.{ending}").state_dict()) for ending in ("safetensors", "pth")]


def _uniformer() -> Any:
    from palmist.models.uniformer import UniFormer, UniFormerConfig

    torch.manual_seed(0)
    sizes = UniFormerConfig(
        depths=(1, 1, 1, 1), widths=(4, 4, 8, 8), head_size=4, mlp_ratio=1, frames=4, size=32, labels=("up", "down")
    )
    return UniFormer(sizes).eval()


def _read_uniformer(folder: Path, out: Path) -> Any:
    from palmist.models.uniformer import load_weights

    found = []
    for ending in ("safetensors", "pth"):
        network = _uniformer()
        missing = load_weights(network, folder / f"uniformer.{ending}")
        found.append(_checked(network.state_dict(), missing))
    return found


def _doh_sizes() -> Any:
    from palmist.perception.doh_network import NetworkConfig

    return NetworkConfig(
        blocks=(1, 1, 1, 1), width=4, proposal_width=8, contact_width=4, scales=(1, 2), short_side=96, long_side=160,
        proposals=(200, 20),
    )  # fmt: skip


def _write_doh(folder: Path) -> None:
    from palmist.perception.doh_network import HandObjectNetwork

    torch.manual_seed(0)
    _write_weights("doh", HandObjectNetwork(_doh_sizes()).state_dict(), folder)


def _read_doh(folder: Path, out: Path) -> Any:
    from palmist.perception.doh_network import load_network

    return [_checked(load_network(folder / f"doh.{ending}", _doh_sizes()).state_dict()) for ending in ("safetensors", "pth")]


class Drift(torch.nn.Module):
    """In the place of CoTracker: every point moves to the right."""

    def __init__(self) -> None:
        super().__init__()
        self.speed = torch.nn.Parameter(torch.tensor([1.0, 0.0]))

    def forward(self, video: torch.Tensor, queries: torch.Tensor):  # TorchScript reads it
        frames = torch.arange(video.shape[1], dtype=torch.float32)
        tracks = queries[:, None, :, 1:] + 2 * self.speed * frames[None, :, None, None]
        return tracks, torch.ones(tracks.shape[:3], dtype=torch.bool)


class CoTrackerPredictor(torch.nn.Module):
    """In the place of the authors' package, with Drift inside."""

    def __init__(self, checkpoint: None = None, offline: bool = True, window_len: int = 60) -> None:
        super().__init__()
        self.model = Drift()

    def forward(self, video: torch.Tensor, queries: torch.Tensor) -> Any:
        return self.model(video, queries)


def _write_cotracker(folder: Path) -> None:
    _write_weights("scaled_offline", Drift().state_dict(), folder)
    torch.jit.script(Drift()).save(str(folder / "tracker.pt"))


def _read_cotracker(folder: Path, out: Path) -> Any:
    from palmist.perception.cotracker import CoTracker

    package, predictor = types.ModuleType("cotracker"), types.ModuleType("cotracker.predictor")
    predictor.CoTrackerPredictor = CoTrackerPredictor  # type: ignore[attr-defined]
    frames = [Frame(image, number / 12) for number, image in enumerate(moving_square(4))]
    queries = np.array([[12.0, 15.0], [20.0, 28.0]], np.float32)
    with mock.patch.dict(sys.modules, {"cotracker": package, "cotracker.predictor": predictor}):
        names = ("scaled_offline.safetensors", "scaled_offline.pth", "tracker.pt")
        found = [CoTracker(folder / name)(frames, queries) for name in names]
    bad = ["tracks are not finite" for tracks in found if not np.isfinite(tracks.tracks).all()]
    return Checked([(tracks.tracks, tracks.visible) for tracks in found], bad)


def _write_byte_pairs(folder: Path) -> None:
    """The public formats of CLIP's vocabulary, with a few merges."""
    from palmist.text.byte_pairs import BytePairs, learn_merges

    captions = [
        "the right hand moves up",
        "the left hand holds a cup",
        "both hands hold the lid and wait there for a while",
    ] * 4
    merges = learn_merges(captions, 25)
    pairs = BytePairs(merges)
    lines = "".join(f"{first} {second}\n" for first, second in merges)
    folder.mkdir(parents=True)
    packed = gzip.compress(f'"bpe_simple_vocab_16e6.txt#version: 0.2\n{lines}x y\n'.encode(), mtime=0)
    (folder / "bpe_simple_vocab_16e6.txt.gz").write_bytes(packed)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{lines}", encoding="utf-8")
    vocabulary = {token: number for number, token in enumerate(pairs._tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    model = {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": vocabulary, "merges": [f"{a} {b}" for a, b in merges]}
    (folder / "tokenizer.json").write_text(json.dumps({"model": model}), encoding="utf-8")


def _read_byte_pairs(folder: Path, out: Path) -> Any:
    from palmist.text.byte_pairs import BytePairs, read_merges

    names = ("bpe_simple_vocab_16e6.txt.gz", "merges.txt", "tokenizer.json")
    found = [read_merges(folder / name, expected=25) for name in names]
    return found, [BytePairs(merges).batch(["the right hand holds a lid"], 20) for merges in found]


# --------------------------------------------------------------------------------------------------------------------
# Checkpoints


def _copy_checkpoint(name: str, folder: Path) -> None:
    shutil.copytree(SHIPPED / name, folder / "model")


def _read_estimator(folder: Path, out: Path) -> Any:
    from palmist.perception.image_estimator import load_estimator

    model, detector = load_estimator(folder / "model")
    return _checked(model.state_dict()), None if detector is None else _checked(detector.state_dict())


def _read_video_network(folder: Path, out: Path) -> Any:
    from palmist.inference.videos import load_video_reader

    reader = load_video_reader(folder / "model")
    return _checked(reader.tested.network.state_dict(), reader.labels, reader.tested.clip)


def _read_video_text(folder: Path, out: Path) -> Any:
    from palmist.inference.video_text import load_video_text

    reader = load_video_text(folder / "model")
    texts = reader.embed_texts(["right hand lifts the cup"])
    return _checked(reader.network.state_dict(), reader.labels, reader.clip, texts)


def _write_feature_network(folder: Path) -> None:
    """The network whose features FID and APD are measured by."""
    from palmist.checkpoint import save_checkpoint
    from palmist.models.feature_network import FeatureNetwork, FeatureNetworkConfig

    torch.manual_seed(0)
    config = FeatureNetworkConfig(layers=1, width=16, heads=2, feedforward=16, label_dim=4, labels=("up", "down"))
    network = FeatureNetwork(config)
    network.set_labels(config.labels, torch.randn(2, 4))
    facts = {"model": "feature_network", "feature_network": network.config.to_dict()}
    save_checkpoint(folder / "model", network.state_dict(), facts, {}, "")


def _read_feature_network(folder: Path, out: Path) -> Any:
    from palmist.tasks.features import load_feature_network

    network = load_feature_network(folder / "model")
    return _checked(network.state_dict(), network.config.to_dict())


def _read_recogniser(folder: Path, out: Path) -> Any:
    """A checkpoint with its calibration, as `palmist read` and `palmist models` see it."""
    from palmist.inference.calibration import read_calibration
    from palmist.model_zoo import kind_of, model_card
    from palmist.reader import load

    reader = load(folder / "model")
    return _checked(
        reader.model.state_dict(),
        reader.taxonomies,
        read_calibration(folder / "model"),
        kind_of(folder / "model"),
        model_card(folder / "model"),
    )


TARGETS = (
    Target("clip_weights", _write_clip, _read_clip, checked=False),
    Target("resnet_weights", _write_resnet, _read_resnet, checked=False),
    Target("uniformer_weights", lambda folder: _write_weights("uniformer", _uniformer().state_dict(), folder),
           _read_uniformer, checked=False),
    Target("doh_weights", _write_doh, _read_doh, checked=False),
    Target("cotracker_weights", _write_cotracker, _read_cotracker, checked=False),
    Target("byte_pairs", _write_byte_pairs, _read_byte_pairs, checked=False),
    Target("estimator_checkpoint", partial(_copy_checkpoint, "estimator-small"), _read_estimator),
    Target("video_checkpoint", partial(_copy_checkpoint, "trec-words"), _read_video_network),
    Target("video_text_checkpoint", partial(_copy_checkpoint, "egovideo-words"), _read_video_text),
    Target("feature_checkpoint", _write_feature_network, _read_feature_network),
    Target("skeleton_checkpoint", partial(_copy_checkpoint, "bharnet-words"), _read_recogniser),
)  # fmt: skip
