"""BHaRNet: a body expert and a hand expert, coupled by attention and by a loss on their sum.

Papers: "Body-Hand Modality Expertized Networks with Cross-attention for Fine-grained Skeleton Action Recognition" (Cho and Kim,
IROS 2025, arXiv 2503.14960) and its reliability-aware version (arXiv 2601.00369). The authors released a figure, not code or
sizes: this is an implementation of the mechanisms, named by what they do.

In reading order: `Expert` (one graph network over all instances of a stream), `PooledAttention` (tokens of time, joints and
instances that look at the other stream), `BHaRNet` with its rules of fusion and its loss.

Numbered deviations and choices, and why (specification, 3.5, 4 and 12):

1. The graph network is exchangeable (`palmist.models.graph_backbones`); DeGCN's spatial layer is not public.
2. Cross-attention: 4 heads, the width of the features, LayerNorm before, residual; one layer per token set; mean over tokens.
3. Without `pool_attention` the interactive branches exchange tokens of time alone ("light" attention); with it time, joints
   and instances. With `expert_branch` the trunk forks after `fork_after` blocks into an interactive and an expert half.
4. A hand or body that is never seen in a sample is left out: it is not run, gives no keys and has no evidence in the fusion.
   Frames in which an instance is not seen do not count in the means.
5. Which side a hand is on is a learned code, added after the first block; left hands come mirrored, so that both sides share
   what they learn.
6. Several input streams may enter one network side by side (`streams`); the paper's form is one network per stream, their
   scores weighted 2 : 2 : 1 : 1 (`ensemble`).
7. `experts` may name one expert alone or one graph of body and hands: the rivals of the paper, trained and fused alike.
8. A further channel says whether a joint is known (`known_channel`); the paper's input has none.

Letters: B batch, M persons, H hands (2), I instances (M for bodies, M x H for hands), T frames, V joints, C coordinates, D
width, L labels. Masks are True where known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.models.global_batch import masked_mean
from palmist.models.graph_backbones import GraphTrunk, TrunkConfig
from palmist.models.layers import Attention, Batch, Parts
from palmist.models.skeleton_graph import STREAMS, graph, stream

__all__ = ["PRESETS", "BHaRNet", "BHaRNetConfig", "Features", "Insight", "Scores", "ensemble", "fuse"]

FUSIONS = ("logit_sum", "noisy_or")
_CLAMP = 1e-6  # of probabilities in Noisy-OR
AXES = ("time", "joint", "instance")


@dataclass(frozen=True)
class BHaRNetConfig:
    """Sizes and mechanisms; the defaults are the full size with two persons of NTU RGB+D and one stream.

    experts: "body" and "hand", one of them alone, or "unified" (one graph of body and hands). hand_origin: "body" leaves hands
    where they are; "wrist" takes each from its wrist, so that the hand expert sees shape and direction alone.
    """

    body_graph: str = "kinect25"
    experts: tuple[str, ...] = ("body", "hand")
    trunk: TrunkConfig = field(default_factory=TrunkConfig)
    hand_trunk: TrunkConfig | None = None  # None: as `trunk`
    streams: tuple[str, ...] = ("joint",)
    known_channel: bool = False
    hand_origin: str = "body"
    pool_attention: bool = False
    expert_branch: bool = False
    fork_after: int = 7
    heads: int = 4
    fusion: str = "logit_sum"
    body_weight: float = 1.0
    hand_weight: float = 1.0
    dropout: float = 0.0
    label_smoothing: float = 0.0
    frames: int = 64
    rate: float = 30.0
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("experts", "streams", "labels"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.experts not in (("body", "hand"), ("body",), ("hand",), ("unified",)):
            raise InputError(f"experts are {self.experts}; expected [body, hand], [body], [hand] or [unified]")
        if not self.streams or not set(self.streams) <= set(STREAMS):
            raise InputError(f"streams are {self.streams}; expected some of {', '.join(STREAMS)}")
        if self.fusion not in FUSIONS:
            raise InputError(f"fusion is {self.fusion!r}; expected one of {', '.join(FUSIONS)}")
        if self.hand_origin not in ("body", "wrist"):
            raise InputError(f"hand_origin is {self.hand_origin!r}; expected body or wrist")
        if self.expert_branch and not 0 < self.fork_after < self.trunk.blocks:
            raise InputError(
                f"fork_after is {self.fork_after}; expected 1 to {self.trunk.blocks - 1}, a block of the trunk but the last"
            )
        if (self.pool_attention or self.expert_branch) and len(self.experts) < 2:
            raise InputError("pool_attention and expert_branch couple two experts; expected experts [body, hand]")

    def trunk_of(self, expert: str) -> TrunkConfig:
        """The graph network of an expert, with the channels of its input."""
        config = self.hand_trunk if expert == "hand" and self.hand_trunk is not None else self.trunk
        return replace(config, channels=3 * len(self.streams) + self.known_channel)

    def graph_of(self, expert: str) -> str:
        """The graph of an expert."""
        return {"body": self.body_graph, "hand": "hand21", "unified": f"unified:{self.body_graph}"}[expert]


_SMALL = TrunkConfig(width=32, blocks=5, widen=(2, 4))
PRESETS: dict[str, BHaRNetConfig] = {
    "paper": BHaRNetConfig(),
    "small": BHaRNetConfig(
        body_graph="upper7", trunk=_SMALL, streams=STREAMS, known_channel=True, hand_origin="wrist",
        pool_attention=True, frames=20, rate=20.0,
        fork_after=3, dropout=0.2, label_smoothing=0.1,
    ),
}  # fmt: skip


class Features(NamedTuple):
    """A stream's features: values (B, I, D, T, V), seen (B, I, T) bool: frames in which the instance was seen."""

    values: Tensor
    seen: Tensor

    @property
    def present(self) -> Tensor:
        """(B, I) bool: instances seen in some frame."""
        return self.seen.any(-1)

    def pooled(self) -> Tensor:
        """Mean over joints, seen frames and present instances, (B, D); 0 where there is none."""
        per_frame = self.values.mean(-1).permute(0, 1, 3, 2)  # (B, I, T, D)
        return _mean(_mean(per_frame, self.seen), self.present)

    def tokens(self, axis: str) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, D) along one of AXES and which of them exist (B, N)."""
        seen = self.seen
        if axis == "instance":
            return _mean(self.values.mean(-1).transpose(2, 3), seen), self.present
        if axis == "time":
            return _mean(self.values.mean(-1).permute(0, 3, 1, 2), seen.transpose(1, 2)), seen.any(1)
        values = self.values.permute(0, 4, 1, 3, 2).flatten(2, 3)  # (B, V, I * T, D)
        known = seen.flatten(1).unsqueeze(1).expand(-1, values.shape[1], -1)
        return _mean(values, known), known.any(-1)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of values (..., N, D) over N where mask (..., N)."""
    weight = mask.to(values.dtype).unsqueeze(-1)
    return (values * weight).sum(-2) / weight.sum(-2).clamp_min(1.0)


class Expert(nn.Module):
    """One graph network over all instances of a stream; only instances that are seen are run."""

    def __init__(self, config: BHaRNetConfig, expert: str) -> None:
        super().__init__()
        self.config = config
        self.trunk_config, self.graph = config.trunk_of(expert), graph(config.graph_of(expert))
        last = config.fork_after if config.expert_branch else None
        self.trunk = GraphTrunk(self.trunk_config, self.graph, last=last)
        first = config.fork_after + 1
        self.interactive = GraphTrunk(self.trunk_config, self.graph, first) if config.expert_branch else None
        self.expertized = GraphTrunk(self.trunk_config, self.graph, first) if config.expert_branch else None
        self.side = nn.Parameter(torch.zeros(2, self.trunk_config.width)) if expert == "hand" else None

    def forward(self, joints: Tensor, known: Tensor) -> tuple[Features, Features | None]:
        """joints (B, I, T, V, 3), known (B, I, T, V) -> features, and those of the expert half (None without a fork).

        Hands are ordered left, right, left, right, ... over the persons.
        """
        B, count, T, V, _ = joints.shape
        if self.graph.joints != V:
            raise InputError(f"there are {V} joints; the graph {self.graph.name} has {self.graph.joints}")
        parents = self.graph.parents
        channels = [stream(joints, known, name, parents) for name in self.config.streams]
        if self.config.known_channel:
            channels.append(known.unsqueeze(-1).to(joints.dtype))
        rows = known.flatten(2).any(-1).flatten().nonzero().squeeze(1)
        x = torch.cat(channels, -1).flatten(0, 1)[rows].permute(0, 3, 1, 2)  # (N, C, T, V)
        code = None if self.side is None else self.side[rows % 2]

        def spread(values: Tensor) -> Features:
            whole = values.new_zeros(B * count, *values.shape[1:]).index_copy(0, rows, values)
            seen = F.adaptive_max_pool1d(known.any(-1).to(values.dtype), values.shape[2]) > 0
            return Features(whole.unflatten(0, (B, count)), seen)

        if len(rows) == 0:
            frames = -(-T // 2 ** sum(block <= self.trunk_config.blocks for block in self.trunk_config.widen))
            nothing = spread(x.new_zeros(0, self.trunk_config.out_width, frames, V))
            return nothing, nothing if self.expertized is not None else None
        x = self.trunk(x, code)
        if self.interactive is None or self.expertized is None:
            return spread(x), None
        return spread(self.interactive(x)), spread(self.expertized(x))


class PooledAttention(nn.Module):
    """Token sets of a stream look at the matching sets of the other stream; the mean of their means.

    Example:
        >>> pool = PooledAttention(32, 4, ("time",))
        >>> one = Features(torch.zeros(2, 1, 32, 5, 7), torch.ones(2, 1, 5, dtype=torch.bool))
        >>> pool(one, one).shape
        torch.Size([2, 32])
    """

    def __init__(self, width: int, heads: int, axes: Sequence[str] = AXES, other_width: int | None = None) -> None:
        super().__init__()
        self.axes = tuple(axes)
        self.fit = nn.Linear(other_width, width) if other_width not in (None, width) else nn.Identity()
        self.norm = nn.ModuleDict({axis: nn.LayerNorm(width) for axis in axes})
        self.other_norm = nn.ModuleDict({axis: nn.LayerNorm(width) for axis in axes})
        self.attention = nn.ModuleDict({axis: Attention(width, heads) for axis in axes})

    def forward(self, own: Features, other: Features) -> Tensor:
        """The pooled vector (B, D) of `own`."""
        pooled = []
        for axis in self.axes:
            tokens, exists = own.tokens(axis)
            memory, visible = other.tokens(axis)
            looked = self._look(axis, tokens, self.fit(memory), visible)
            pooled.append(_mean(tokens + looked, exists))
        return torch.stack(pooled).mean(0)

    def _look(self, axis: str, tokens: Tensor, memory: Tensor, visible: Tensor) -> Tensor:
        """What the tokens take from the other stream; 0 where that has nothing to see."""
        attention = self.attention[axis]
        assert isinstance(attention, Attention)
        nothing = ~visible.any(-1, keepdim=True)
        here = self.norm[axis](tokens)
        there = self.other_norm[axis](memory)
        zero, zero_there = torch.zeros_like(here[:1]), torch.zeros_like(there[:1])
        looked = attention.attend_memory(here, zero, there, zero_there, visible | nothing)
        return looked.masked_fill(nothing.unsqueeze(-1), 0.0)


class Scores(NamedTuple):
    """logits: head name -> (B, L); evidence: head name -> (B,) bool, False where the stream was not seen at all."""

    logits: dict[str, Tensor]
    evidence: dict[str, Tensor]


class Insight(NamedTuple):
    """The scores and what they came from: per expert the features of its (interactive) trunk and their pooled vector (B, D)."""

    scores: Scores
    features: dict[str, Features]
    pooled: dict[str, Tensor]


def fuse(scores: Scores, rule: str, candidates: Tensor | None = None) -> Tensor:
    """All heads' opinion as log scores (B, L): softmax of them gives probabilities.

    logit_sum: the sum of the logits of heads with evidence. noisy_or: the log of 1 - prod_k (1 - p_k) over heads with
    evidence; not normalised over labels (specification, 4). A head without evidence changes nothing; with no evidence at all
    every label scores alike.

    Args:
        scores: of the heads. rule: one of FUSIONS. candidates: (L,) or (B, L) bool, labels to choose from.
    """
    if rule not in FUSIONS:
        raise InputError(f"fusion is {rule!r}; expected one of {', '.join(FUSIONS)}")
    total: Tensor | None = None
    for name, logits in scores.logits.items():
        if candidates is not None and rule == "noisy_or":
            logits = logits.masked_fill(~candidates, float("-inf"))
        seen = scores.evidence[name].unsqueeze(-1)
        if rule == "noisy_or":
            doubt = torch.log1p(-logits.softmax(-1).clamp(max=1 - _CLAMP))
            part = torch.where(seen, doubt, torch.zeros_like(doubt))
        else:
            part = torch.where(seen, logits, torch.zeros_like(logits))
        total = part if total is None else total + part
    assert total is not None
    if rule == "noisy_or":
        total = torch.log((-torch.expm1(total)).clamp_min(_CLAMP))
    return total if candidates is None else total.masked_fill(~candidates, float("-inf"))


def ensemble(probabilities: Mapping[str, Tensor], weights: Mapping[str, float] | None = None) -> Tensor:
    """Weighted mean of several networks' probabilities (B, L), by the name of their stream; 2 : 2 : 1 : 1 unless told."""
    usual = dict(zip(STREAMS, (2.0, 2.0, 1.0, 1.0), strict=True))
    chosen = {name: (weights or usual).get(name) for name in probabilities}
    missing = [name for name, weight in chosen.items() if weight is None]
    if missing or not chosen:
        raise InputError(f"there is no weight for {', '.join(missing) or 'an empty ensemble'}; expected {', '.join(usual)}")
    total = sum(weight for weight in chosen.values() if weight is not None)
    return torch.stack([probabilities[name] * (weight or 0.0) for name, weight in chosen.items()]).sum(0) / total


class BHaRNet(nn.Module):
    """Body and hands of one or more persons to an action.

    Example:
        >>> config = BHaRNetConfig(trunk=TrunkConfig(width=16, blocks=2, widen=()), labels=("wave", "grasp"))
        >>> model = BHaRNet(config).eval()
        >>> body, hands = torch.zeros(2, 1, 12, 25, 3), torch.zeros(2, 1, 2, 12, 21, 3)
        >>> known = torch.ones(2, 1, 12, 25, dtype=torch.bool), torch.ones(2, 1, 2, 12, 21, dtype=torch.bool)
        >>> model.recognise(body, known[0], hands, known[1]).shape
        torch.Size([2, 2])
    """

    def __init__(self, config: BHaRNetConfig) -> None:
        super().__init__()
        self.config = config
        labels = len(config.labels)
        width = {name: config.trunk_of(name).out_width for name in config.experts}
        self.experts = nn.ModuleDict({name: Expert(config, name) for name in config.experts})
        self.drop = nn.Dropout(config.dropout)
        heads = {name: width[name] for name in config.experts}
        self.attention = nn.ModuleDict()
        if config.pool_attention or config.expert_branch:
            axes = AXES if config.pool_attention else ("time",)
            for name, other in (("body", "hand"), ("hand", "body")):
                self.attention[name] = PooledAttention(width[name], config.heads, axes, width[other])
        if config.expert_branch:
            heads |= {f"{name}_expertized": width[name] for name in config.experts}
        self.classifier = nn.ModuleDict({name: nn.Linear(size, labels) for name, size in heads.items()})

    def forward(self, body: Tensor, body_known: Tensor, hands: Tensor, hands_known: Tensor) -> Scores:
        """Scores of every head.

        Args:
            body (B, M, T, V, 3), body_known (B, M, T, V): coordinates of the body's graph. hands (B, M, 2, T, 21, 3),
                hands_known (B, M, 2, T, 21): left, right. All in one frame and unit, see `palmist.inputs.body_hand`.
        """
        return self.look(body, body_known, hands, hands_known).scores

    def look(self, body: Tensor, body_known: Tensor, hands: Tensor, hands_known: Tensor) -> Insight:
        """As `forward`, with the features behind the scores."""
        streams = self._streams(body, body_known, hands, hands_known)
        found = {name: expert(*streams[name]) for name, expert in self.experts.items()}
        logits, evidence, pooled = {}, {}, {}
        for name, (features, own) in found.items():
            if name in self.attention:
                other = found["hand" if name == "body" else "body"][0]
                pooled[name] = self.attention[name](features, other)
            else:
                pooled[name] = features.pooled()
            logits[name] = self.classifier[name](self.drop(pooled[name]))
            evidence[name] = features.present.any(-1)
            if own is not None:
                logits[f"{name}_expertized"] = self.classifier[f"{name}_expertized"](self.drop(own.pooled()))
                evidence[f"{name}_expertized"] = evidence[name]
        return Insight(Scores(logits, evidence), {name: features for name, (features, _) in found.items()}, pooled)

    def _streams(
        self, body: Tensor, body_known: Tensor, hands: Tensor, hands_known: Tensor
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Instances (B, I, T, V, 3) and known (B, I, T, V) per expert."""
        if self.config.experts == ("unified",):
            joints = torch.cat((body, hands[:, :, 0], hands[:, :, 1]), dim=-2)
            return {"unified": (joints, torch.cat((body_known, hands_known[:, :, 0], hands_known[:, :, 1]), dim=-1))}
        if self.config.hand_origin == "wrist":
            hands_known = hands_known & hands_known[..., :1]
            hands = (hands - hands[..., :1, :]) * hands_known.unsqueeze(-1)
        mirror = hands.new_tensor([[-1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])[:, None, None]
        return {"body": (body, body_known), "hand": ((hands * mirror).flatten(1, 2), hands_known.flatten(1, 2))}

    @torch.no_grad()
    def recognise(
        self, body: Tensor, body_known: Tensor, hands: Tensor, hands_known: Tensor, candidates: Tensor | None = None
    ) -> Tensor:
        """Label probabilities (B, L); candidates: (L,) or (B, L) bool, labels to choose from."""
        scores = self(body, body_known, hands, hands_known)
        return fuse(scores, self.config.fusion, candidates).softmax(-1)

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Parts]:
        """L_cpl + a L_B + b L_H (specification, 4): the fused scores and each interactive head alone.

        Args:
            batch: body, body_known, hands, hands_known as in `forward`; label (B,), -1 does not count; optional candidates.
        """
        return self.loss_of(self(batch["body"], batch["body_known"], batch["hands"], batch["hands_known"]), batch)

    def loss_of(self, scores: Scores, batch: Batch) -> tuple[Tensor, Parts]:
        """`loss` of scores that are there already."""
        label, candidates = batch["label"], batch.get("candidates")
        labelled = label >= 0
        fused = fuse(scores, self.config.fusion, candidates)
        # Noisy-OR is trained by -log p of the true label as it is, the sum of logits by the usual cross-entropy.
        couple = self._entropy(fused, label, labelled, candidates, normalise=self.config.fusion == "logit_sum")
        parts, total = {"couple": couple}, couple
        weights = {"body": self.config.body_weight, "hand": self.config.hand_weight}
        if len(self.config.experts) > 1:
            for name, weight in weights.items():
                alone = scores.logits[name]
                alone = alone if candidates is None else alone.masked_fill(~candidates, float("-inf"))
                parts[name] = self._entropy(alone, label, labelled & scores.evidence[name], candidates)
                total = total + weight * parts[name]
        hit = (fused.argmax(-1) == label).to(fused.dtype)
        parts["accuracy"] = masked_mean(hit, labelled)
        return total, {name: value.detach() for name, value in parts.items()}

    def _entropy(
        self, scores: Tensor, label: Tensor, counted: Tensor, candidates: Tensor | None, normalise: bool = True
    ) -> Tensor:
        """Cross-entropy of log scores with label smoothing over the candidates."""
        log = scores.log_softmax(-1) if normalise else scores
        true = log.gather(1, label.clamp_min(0).unsqueeze(1)).squeeze(1)
        smooth = self.config.label_smoothing if self.training else 0.0
        if smooth and normalise:
            allowed = torch.ones_like(log, dtype=torch.bool) if candidates is None else candidates.expand_as(log)
            even = torch.where(allowed, log, torch.zeros_like(log)).sum(-1) / allowed.sum(-1)
            true = (1 - smooth) * true + smooth * even
        return -masked_mean(true, counted)
