"""TRec: the tracks of random points as tokens beside one token of each frame, and what of its relatives fits the same network.

Paper: "TRec: Egocentric Action Recognition using 2D Point Tracks" (Holzmann and Wachsmuth, arXiv 2601.03667). 900 random points
of the first frame are tracked beforehand; a ResNet-18 sees every frame by itself; tracks and frames enter one transformer;
attention pooling; an MLP names the action. Relatives: TATs (arXiv 2407.18249), Trokens (arXiv 2508.03695). The paper has no
public code and leaves much open: deviations 1 to 5 say how it is read here.

In reading order: what the network may see (`INPUTS`), features of a track (`TrackTokens`), encoder layer and pooling, `TRec`.

Numbered deviations and choices, and why:

1. One token for each point, made of its whole trajectory (2 T numbers) by an MLP that all points share: the number of points
   may then change from batch to batch, as the paper's random subsets ask for. T is fixed in a model. Points have no order.
2. Positions run from -1 to 1, edge to edge of the clip; augmentation moves tracks and pixels together; a track may leave this
   range. Points that are lost stay where they were last seen. `visibility` and `differences` add channels, off in the paper;
   steps are small beside positions, so that differences and histograms are multiplied by 32.
3. Width 256, 4 pre-norm layers, 8 heads, no dropout; a frame is its mean feature with a learned code of its time; learned codes
   tell frames from tracks; one learned query pools; the head is D-D-labels.
4. In training each batch keeps a random subset of its points, the same place numbers in each clip, whose size is drawn from
   `train_points`; points are in random order, so that is a random subset of each clip.
5. "Masked" tokens are left out of the sequence, which attention cannot tell from masks and which costs less.
6. Trokens gives each point and frame a token. Here a point has one, so its histograms of all frames enter one Linear -
   QuickGELU - Linear - LayerNorm, and so do its differences to other points.
7. Trokens takes differences to all M points of a fixed M. Here they are taken to `pairwise`^2 anchors: for each place of a
   regular grid the point nearest to it in the first frame. Any number of points will do and their order does not matter.
8. TATs samples features of every frame as tokens of their own. Here those of a track get learned codes of time and their mean
   over the frames where the point is visible is added to its token; the map is the last one of the ResNet-18.
9. `balanced` (off in the paper): attention begins with the same weight for all frames together as for all tracks together,
   whatever their numbers, by adding minus the logarithm of its kind's count to the affinity of a token. Else a few frames
   hardly count among those of many points when training begins, and more points in the test change the balance.
10. Presets "small" are ours: sizes that a CPU core can train.

Letters: B clips, V views, T frames, P points, A anchors, N tokens, D width, E heads, C channels, L labels, S side of a clip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.models.global_batch import masked_mean
from palmist.models.layers import Batch, Linear, Parts, affine
from palmist.models.resnet import ResNet18
from palmist.models.uniformer import soft_cross_entropy

__all__ = [
    "INPUTS", "PRESETS", "TRec", "TRecConfig", "differences_to_anchors", "first_differences", "normalised_tracks",
    "oriented_histogram",
]  # fmt: skip

_STEPS = 32.0  # steps enter the network in 32nds of half a picture
_COLOUR_MEAN, _COLOUR_SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


class Seen(NamedTuple):
    """frames: "all", "first" or "none"; pixels: "own", "blank" or "others"; tracks: "own", "none", "still" or "reversed"."""

    frames: str = "all"
    pixels: str = "own"
    tracks: str = "own"


#: What the network sees: trained so, or tested so as a control. "others": the clip before it in the batch lends its pixels.
INPUTS: dict[str, Seen] = {
    "frames_and_tracks": Seen(),
    "frames": Seen(tracks="none"),
    "tracks": Seen(frames="none"),
    "first_frame": Seen(frames="first", tracks="none"),
    "first_frame_and_tracks": Seen(frames="first"),
    "blank_frames_and_tracks": Seen(pixels="blank"),
    "shuffled_frames_and_tracks": Seen(pixels="others"),
    "frames_and_still_tracks": Seen(tracks="still"),
    "frames_and_reversed_tracks": Seen(tracks="reversed"),
    "still_tracks": Seen(frames="none", tracks="still"),
    "reversed_tracks": Seen(frames="none", tracks="reversed"),
}


def check_inputs(name: str) -> Seen:
    """What a name in `INPUTS` stands for; InputError lists the names."""
    if name not in INPUTS:
        raise InputError(f"unknown inputs '{name}'; expected one of {', '.join(INPUTS)}")
    return INPUTS[name]


@dataclass(frozen=True)
class TRecConfig:
    """Sizes and mechanisms; the defaults are the paper's where it gives them.

    frames, size: T and S of the clip that it is made for; image_frames: how many of the T frames the ResNet-18 sees, None for
    all; image_width: its channels after the first layer. train_points: least and most points of a training batch.
    inputs: a name in `INPUTS`. balanced: deviation 9. visibility, differences: more channels of a track. orientations: bins of
    the histograms of displacements (Trokens: 32), 0 for none; pairwise: anchors along a side of the grid, 0 for none;
    sampled_appearance: TATs.
    """

    width: int = 256
    layers: int = 4
    heads: int = 8
    mlp_ratio: int = 4
    dropout: float = 0.0
    image_width: int = 64
    image_frames: int | None = None
    train_points: tuple[int, int] = (200, 400)
    inputs: str = "frames_and_tracks"
    balanced: bool = False
    visibility: bool = False
    differences: bool = False
    orientations: int = 0
    pairwise: int = 0
    sampled_appearance: bool = False
    label_smoothing: float = 0.0
    frames: int = 16
    size: int = 224
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "train_points", tuple(self.train_points))
        if self.width % self.heads:
            raise InputError(f"width {self.width} is not a multiple of the {self.heads} heads; expected one that is")
        check_inputs(self.inputs)
        if len(self.train_points) != 2 or not 1 <= self.train_points[0] <= self.train_points[1]:
            raise InputError(f"train_points is {self.train_points}; expected the least and the most points, from 1 on")
        if self.image_frames is not None and not 1 <= self.image_frames <= self.frames:
            raise InputError(f"image_frames is {self.image_frames}; expected 1 to the clip's {self.frames} frames")
        if self.orientations < 0 or self.pairwise < 0:
            raise InputError(f"orientations is {self.orientations} and pairwise {self.pairwise}; expected 0 for none, or more")


PRESETS: dict[str, TRecConfig] = {
    "paper": TRecConfig(),
    "small": TRecConfig(
        width=96,
        layers=2,
        heads=4,
        mlp_ratio=2,
        image_width=16,
        train_points=(200, 200),
        balanced=True,
        visibility=True,
        differences=True,
        frames=8,
        size=64,
    ),
}


# --------------------------------------------------------------------------------------------------------------------
# Features of tracks


def normalised_tracks(tracks: Tensor, width: int, height: int) -> Tensor:
    """Pixels (..., 2), the centre of the first one at (0, 0), to -1 .. 1 from edge to edge of the picture."""
    size = tracks.new_tensor([width, height])
    return (2 * tracks + 1) / size - 1


def first_differences(tracks: Tensor) -> Tensor:
    """(B, T, P, 2) -> (B, T, P, 2): the step that led to each frame, 0 in the first one."""
    return torch.cat((torch.zeros_like(tracks[:, :1]), tracks.diff(dim=1)), 1)


def oriented_histogram(tracks: Tensor, bins: int = 32) -> Tensor:
    """Directions of the steps of (B, T, P, 2) -> (B, T, P, bins); Trokens.

    Bin k stands for the direction 2 pi k / bins (0 to the right, a quarter turn down). A step's length is shared linearly
    between the two bins beside its direction; the first frame has none.
    """
    step = first_differences(tracks)
    length = torch.linalg.vector_norm(step, dim=-1, keepdim=True)  # (B, T, P, 1)
    place = torch.atan2(step[..., 1:], step[..., :1]).remainder(2 * torch.pi) * (bins / (2 * torch.pi))
    low = place.floor()
    share, low = place - low, low.long() % bins
    histogram = torch.zeros(*tracks.shape[:-1], bins, dtype=tracks.dtype, device=tracks.device)
    return histogram.scatter_add(-1, low, (1 - share) * length).scatter_add(-1, (low + 1) % bins, share * length)


def differences_to_anchors(tracks: Tensor, visible: Tensor, side: int) -> Tensor:
    """Vectors from each point to `side`^2 anchors in each frame; Trokens, in the form of deviation 7.

    Args:
        tracks: (B, T, P, 2) from -1 to 1; visible: (B, T, P) bool.

    Returns:
        (B, T, P, 2 A), x and y of one anchor beside each other; 0 where the point or the anchor is invisible.
    """
    place = (torch.arange(side, device=tracks.device, dtype=tracks.dtype) + 0.5) * (2 / side) - 1
    grid = torch.stack(torch.meshgrid(place, place, indexing="xy"), -1).view(1, -1, 2)  # row after row, (1, A, 2)
    anchor = torch.cdist(grid.expand(len(tracks), -1, -1), tracks[:, 0].contiguous()).argmin(-1)  # (B, A)
    T = tracks.shape[1]
    chosen = anchor[:, None].expand(-1, T, -1)  # (B, T, A)
    where = tracks.gather(2, chosen[..., None].expand(-1, -1, -1, 2))
    both = visible[:, :, :, None] & visible.gather(2, chosen)[:, :, None]  # (B, T, P, A)
    return ((where[:, :, None] - tracks[:, :, :, None]) * both[..., None]).flatten(3)


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


def motion_feature(inputs: int, width: int) -> nn.Sequential:
    """Linear - QuickGELU - Linear - LayerNorm, as Trokens maps its features; hidden 4 D."""
    return nn.Sequential(Linear(inputs, 4 * width), QuickGELU(), Linear(4 * width, width), nn.LayerNorm(width))


class TrackTokens(nn.Module):
    """One token for each point, of its whole trajectory."""

    def __init__(self, config: TRecConfig) -> None:
        super().__init__()
        self.config = config
        T, D = config.frames, config.width
        channels = 2 + int(config.visibility) + 2 * int(config.differences)
        self.mlp = nn.Sequential(Linear(T * channels, D), nn.GELU(), Linear(D, D))
        self.oriented = motion_feature(T * config.orientations, D) if config.orientations else None
        self.pairwise = motion_feature(T * 2 * config.pairwise**2, D) if config.pairwise else None

    def forward(self, tracks: Tensor, visible: Tensor) -> Tensor:
        """(B, T, P, 2) from -1 to 1 and (B, T, P) bool -> (B, P, D)."""
        channels = [tracks]
        if self.config.visibility:
            channels.append(visible.unsqueeze(-1).to(tracks.dtype))
        if self.config.differences:
            channels.append(_STEPS * first_differences(tracks))
        tokens: Tensor = self.mlp(_by_point(torch.cat(channels, -1)))
        if self.oriented is not None:
            tokens = tokens + self.oriented(_by_point(_STEPS * oriented_histogram(tracks, self.config.orientations)))
        if self.pairwise is not None:
            tokens = tokens + self.pairwise(_by_point(differences_to_anchors(tracks, visible, self.config.pairwise)))
        return tokens


def _by_point(features: Tensor) -> Tensor:
    """(B, T, P, C) -> (B, P, T C)."""
    return features.transpose(1, 2).flatten(2)


# --------------------------------------------------------------------------------------------------------------------
# Transformer


class EncoderLayer(nn.Module):
    """Pre-norm self-attention and MLP."""

    def __init__(self, config: TRecConfig) -> None:
        super().__init__()
        D = config.width
        self.heads, self.dropout = config.heads, config.dropout
        self.norm1, self.norm2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.qkv, self.out = Linear(D, 3 * D), Linear(D, D)
        self.mlp = nn.Sequential(Linear(D, config.mlp_ratio * D), nn.GELU(), Linear(config.mlp_ratio * D, D))
        self.drop = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D); bias (N,) is added to the affinity to each token."""
        B, N, D = tokens.shape
        query, key, value = self.qkv(self.norm1(tokens)).view(B, N, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        chance = self.dropout if self.training else 0.0
        added = None if bias is None else bias.expand(N, N)
        mixed = F.scaled_dot_product_attention(query, key, value, added, dropout_p=chance)  # (B, E, N, D/E)
        tokens = tokens + self.drop(self.out(mixed.transpose(1, 2).reshape(B, N, D)))
        result: Tensor = tokens + self.drop(self.mlp(self.norm2(tokens)))
        return result


class AttentionPooling(nn.Module):
    """One learned query looks at all tokens."""

    def __init__(self, config: TRecConfig) -> None:
        super().__init__()
        D = config.width
        self.heads = config.heads
        self.query = nn.Parameter(torch.randn(D) * D**-0.5)
        self.norm = nn.LayerNorm(D)
        self.key_value, self.out = Linear(D, 2 * D), Linear(D, D)

    def forward(self, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        """(B, N, D) -> (B, D); bias (N,) as in `EncoderLayer`."""
        B, N, D = tokens.shape
        key, value = self.key_value(self.norm(tokens)).view(B, N, 2, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        query = self.query.view(1, self.heads, 1, D // self.heads).expand(B, -1, -1, -1)
        added = None if bias is None else bias.expand(1, N)
        mixed = F.scaled_dot_product_attention(query, key, value, added)  # (B, E, 1, D/E)
        result: Tensor = self.out(mixed.reshape(B, D))
        return result


# --------------------------------------------------------------------------------------------------------------------
# The network


class TRec(nn.Module):
    """Clips with point tracks to scores of labels. `inputs` (a name in `INPUTS`) may be changed to test a control.

    Example:
        >>> network = TRec(replace(PRESETS["small"], labels=("left", "right"))).eval()
        >>> video, tracks = torch.zeros(2, 8, 64, 64, 3, dtype=torch.uint8), torch.rand(2, 8, 30, 2) * 63
        >>> network(video, tracks, torch.ones(2, 8, 30, dtype=torch.bool)).shape
        torch.Size([2, 2])
    """

    colour_mean: Tensor
    colour_spread: Tensor

    def __init__(self, config: TRecConfig) -> None:
        super().__init__()
        self.config = config
        self.inputs = config.inputs
        D = config.width
        self.backbone = ResNet18(config.image_width)
        self.image_projection = Linear(self.backbone.width, D)
        self.image_time = nn.Parameter(torch.randn(config.frames, D) * 0.02)
        self.track_tokens = TrackTokens(config)
        self.kind = nn.Parameter(torch.randn(2, D) * 0.02)  # of frames, of tracks
        self.appearance = Linear(self.backbone.width, D) if config.sampled_appearance else None
        self.appearance_time = nn.Parameter(torch.randn(config.frames, D) * 0.02) if config.sampled_appearance else None
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.pool = AttentionPooling(config)
        self.head = nn.Sequential(nn.LayerNorm(D), Linear(D, D), nn.GELU(), Linear(D, len(config.labels)))
        self.register_buffer("colour_mean", torch.tensor(_COLOUR_MEAN), persistent=False)
        self.register_buffer("colour_spread", torch.tensor(_COLOUR_SPREAD), persistent=False)

    def forward(self, video: Tensor, tracks: Tensor | None = None, visible: Tensor | None = None) -> Tensor:
        """Scores (B, L).

        Args:
            video: (B, T, H, W, 3) uint8 0..255 or float 0..1, red, green, blue.
            tracks: (B, T, P, 2) pixels x, y of these pictures, the centre of the first pixel is (0, 0); visible: (B, T, P)
                bool. Neither is looked at where the inputs have no tracks.

        Raises InputError for other shapes, or if tracks are needed and missing.
        """
        seen = check_inputs(self.inputs)
        self._check(video, tracks, visible, seen)
        maps, times = self._maps(video, seen)  # (B, F, C, h, w) or None, (F,)
        tokens = []
        if maps is not None:
            frames: Tensor = self.image_projection(maps.mean(dim=(3, 4)))
            tokens.append(frames + self.image_time[times] + self.kind[0])
        if seen.tracks != "none":
            assert tracks is not None
            assert visible is not None
            points = normalised_tracks(tracks.to(self.kind.dtype), video.shape[3], video.shape[2])
            points, visible = controlled(points, visible, seen.tracks)
            found = self.track_tokens(points, visible) + self.kind[1]
            if self.appearance is not None and maps is not None:
                found = found + self._sampled(maps, times, points, visible)
            tokens.append(found)
        x = torch.cat(tokens, 1)  # (B, N, D)
        bias = None
        if self.config.balanced and len(tokens) > 1:
            bias = torch.cat([x.new_full((part.shape[1],), -math.log(part.shape[1])) for part in tokens])
        for layer in self.layers:
            x = layer(x, bias)
        scores: Tensor = self.head(self.pool(x, bias))
        return scores

    def _check(self, video: Tensor, tracks: Tensor | None, visible: Tensor | None, seen: Seen) -> None:
        T = self.config.frames
        if video.dim() != 5 or video.shape[-1] != 3 or video.shape[1] != T:
            raise InputError(f"the video has shape {tuple(video.shape)}; expected (B, {T}, H, W, 3)")
        if seen.tracks == "none":
            return
        if tracks is None or visible is None:
            raise InputError(f"there are no tracks, and inputs is '{self.inputs}'; give both, or use inputs frames")
        expected = (len(video), T, tracks.shape[2] if tracks.dim() == 4 else 0)
        if tracks.shape != (*expected, 2) or visible.shape != expected or not expected[2]:
            raise InputError(
                f"tracks have shape {tuple(tracks.shape)} and visible {tuple(visible.shape)}; expected "
                f"({len(video)}, {T}, P, 2) and the same without the 2, for 1 point or more"
            )

    def _maps(self, video: Tensor, seen: Seen) -> tuple[Tensor | None, Tensor]:
        """Feature maps (B, F, C, h, w) of the F frames that are seen, and their numbers (F,)."""
        T = self.config.frames
        count = 1 if seen.frames == "first" else self.config.image_frames or T
        times = torch.linspace(0, T - 1, count, device=video.device).round().long() if count > 1 else video.new_zeros(1).long()
        if seen.frames == "none":
            return None, times
        if seen.pixels == "others":
            if len(video) < 2:
                raise InputError("the batch has 1 clip, and frames are to be exchanged between clips; expected 2 or more")
            video = video.roll(1, 0)
        scale = 255.0 if video.dtype == torch.uint8 else 1.0
        images = (video[:, times].to(self.kind.dtype) / scale - self.colour_mean) / self.colour_spread
        if seen.pixels == "blank":
            images = torch.zeros_like(images)
        maps = self.backbone.maps(images.flatten(0, 1).permute(0, 3, 1, 2))  # (B F, C, h, w)
        return maps.unflatten(0, (len(video), count)), times

    def _sampled(self, maps: Tensor, times: Tensor, points: Tensor, visible: Tensor) -> Tensor:
        """Features of the maps along the tracks, the mean over the frames where a point is visible: (B, P, D)."""
        assert self.appearance is not None
        assert self.appearance_time is not None
        B, P = len(points), points.shape[2]
        places = points[:, times].flatten(0, 1).unsqueeze(2)  # (B F, P, 1, 2)
        found = F.grid_sample(maps.flatten(0, 1), places, align_corners=False, padding_mode="border")  # (B F, C, P, 1)
        features = affine(found.squeeze(-1).transpose(1, 2), self.appearance.weight, self.appearance.bias)
        features = features.view(B, len(times), P, -1) + self.appearance_time[times][:, None]
        weight = visible[:, times].unsqueeze(-1).to(features.dtype)  # (B, F, P, 1)
        return (features * weight).sum(1) / weight.sum(1).clamp_min(1)

    @torch.no_grad()
    def recognise(self, views: Tensor, tracks: Tensor | None = None, visible: Tensor | None = None) -> Tensor:
        """Probabilities (B, L): the mean over V views of each video, (B, V, T, H, W, 3) and (B, V, T, P, 2), (B, V, T, P)."""
        # View by view, so that frames are exchanged between videos.
        each = [
            self(*(part[:, view] for part in (views, tracks, visible) if part is not None)) for view in range(views.shape[1])
        ]
        return torch.stack(each).float().softmax(-1).mean(0)

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Parts]:
        """Cross-entropy with label smoothing.

        Args:
            batch: video, tracks, visible (see `forward`), label (B,), -1 does not count; tracks may be missing where the inputs
                have none.
            generator: in training it draws the points that are kept, alike in all processes.
        """
        tracks, visible = batch.get("tracks"), batch.get("visible")
        if self.training and tracks is not None and visible is not None:
            chosen = draw_points(tracks.shape[2], self.config.train_points, generator).to(tracks.device)
            tracks, visible = tracks[:, :, chosen], visible[:, :, chosen]
        scores = self(batch["video"], tracks, visible).float()
        loss = soft_cross_entropy(scores, batch, self.config.label_smoothing if self.training else 0.0)
        correct = (scores.argmax(-1) == batch["label"]).to(scores.dtype)
        return loss, {"accuracy": masked_mean(correct, batch["label"] >= 0).detach()}

    def set_labels(self, names: Sequence[str]) -> None:
        """Name the L rows of the classifier; a new last layer is made when their number changes."""
        if len(names) != len(self.config.labels):
            self.head[-1] = Linear(self.config.width, len(names))
        self.config = replace(self.config, labels=tuple(names))


def controlled(points: Tensor, visible: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Tracks (B, T, P, 2) and visible (B, T, P) as they are ("own"), "still" at the first frame, or "reversed" in time."""
    if kind == "still":
        return points[:, :1].expand_as(points), visible[:, :1].expand_as(visible)
    if kind == "reversed":
        return points.flip(1), visible.flip(1)
    return points, visible


def draw_points(there: int, limits: tuple[int, int], generator: torch.Generator | None) -> Tensor:
    """Numbers of a random subset of `there` points, whose size is drawn from `limits` (least and most, both included)."""
    device = generator.device if generator is not None else None
    size = int(torch.randint(limits[0], limits[1] + 1, (), generator=generator, device=device))
    return torch.randperm(there, generator=generator, device=device)[: min(size, there)]
