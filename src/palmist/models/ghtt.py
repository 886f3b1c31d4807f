"""G-HTT: two variational transformers that refine hand poses, recognise the action and predict many possible futures.

Paper: "Generative Hierarchical Temporal Transformer for Hand Pose and Action Modeling" (arXiv 2311.17366).

Implemented whole, in reading order: `layers` (transformers), `ghtt_pose_block` (P-block: 16 observed frames ->
mid-level m -> the next 16 frames), `ghtt_action_block` (A-block: mid-levels of up to 16 clips -> alpha -> action, and
the mid-levels of the clips to come), `ghtt_clips` and `ghtt_flows` (every test-time flow), and this file (both blocks
together, presets). The mid-level m of clip k is *encoded* from the poses of clip k and *decodes* to the poses of clip
k + 1.

Numbered deviations, and why:

1. The learned placeholder covers all 153 numbers of a frame and stands wherever an entry is not known (a missing
   hand, a planar recording's depth, the first frame's motion), not only in the thumb CMC slots: open recordings have
   gaps. With `drop_thumb_cmc` (preset `paper`) the CMC slots are never known, as in the paper; preset `small` uses
   recorded CMCs.
2. Where depth is unknown along one direction, the losses leave that component of a translation out, and the
   trajectory loss counts a frame only if its chain of motions from the last observed frame is known: no invented
   value reaches a loss. Padded frames are masked out (the authors repeat the last frame and count it).
3. Body context (`body_context`, off in `paper`): the clip-wise token that carries the object feature also carries a
   small encoding of wrists and palm directions relative to the body, because the pose vector does not know where the
   hands are.
4. Without an object feature the object token is a learned null token (open recordings name no objects).
5. Several taxonomies share one label table: `candidates` restricts the contrastive term, label -1 means unlabelled.
6. Options beyond the paper, off by default: `token_dropout`, `label_smoothing`, `action_on_mean`.
7. Widths other than the feature dimensions: a trainable Linear leads in (and out, for mid-levels); none when equal.
8. The output head starts close to identity rotations and zeros (bias, and last weights x 0.01): accumulated random
   rotations are a bad place to start from (on four windows learnt by heart the trajectory loss ended ten times higher).
9. A wrist that comes out of the head is set to exactly the origin of its palm frame, which it is by definition.
10. `residual` (off in `paper`, on in `small`): a refined frame is a mixture of the input frames plus what the head says,
    and a frame decoded *with* skip tokens a mixture of the observed frames plus what the head says (`FrameMixer`);
    frames decoded from m alone stay absolute and have a head of their own. A small network that must pass every number
    through its width otherwise blurs the hand: refinement made clean input worse, and repeating the last pose predicted
    better.
11. Hand size at test time is the mean over the observed frames, as in the paper, but in planar recordings that of the
    last frame that saw it: there foreshortening, which the pose vector cannot express without depth, changes it.
12. P.b of a `residual` model decodes the first future clip with skip tokens, so that it continues the last observed
    pose, and each later clip's hand shape starts from the end of the clip before, the difference fading over 8 frames.
    Where skip tokens join, m matters little, and the sampling factor f is multiplied by 16 (chosen on training people, so
    that the best of 20 futures improves on every open set while their mean error stays near the deterministic one's).
13. `log_variance_offset` (0 in `paper`, -5 in `small`): the log variance comes out of a LayerNorm with mean 0, so that
    training starts with as much noise as signal in m and alpha. The paper's long training can unlearn this; in a short
    one m kept so little of the hand's shape that letters were hardly recognised from it (accuracy 0.30).
14. `pooled_tokens` (off in `paper`, on in `small`): the A-block's mid-level token also carries the mean of E^P's output
    tokens over the clip. m is trained to predict the next clip and keeps less of the hand's shape than recognition of
    fingerspelling needs. The A-block still predicts m alone.
15. `pose_context` (off in `paper`, on in `small`): the token of deviation 3 also carries the clip's own pose vectors, by the
    same small encoder. What a mid-level of 128 numbers forgets of the hand's shape is what tells many signs apart.
16. Predicted hands start as the last observed ones, joint by joint about the wrist, which fades over 64 frames, and in
    planar recordings change more slowly at first (`go_on_from_last_hand`, `residual` only; chosen on training people).
    The mixture is trained on noisy input and smooths; on recordings as they are the last pose is the better place to
    start from, and in planar ones the palm's turn is mostly noise.
17. `refine_layers` (off in `paper`, 2 in `small`): refined frames come from two layers of their own on top of E^P's tokens,
    which look at the observed frames again (`Refiner`), trained last, all else frozen. In the common loss refinement is
    a thirtieth part, and the common tokens serve the futures.

Letters: B batch, T frames, N observed clips, M future clips, K futures, D width, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import Tensor

from palmist.errors import InputError
from palmist.models.ghtt_action_block import ABlock, ABlockConfig, EncodedAction
from palmist.models.ghtt_clips import Clips, ClipSequence, Futures, Recognition, Refined, cut_clips
from palmist.models.ghtt_flows import TEST_FACTOR, TestTimeFlows
from palmist.models.ghtt_pose_block import EncodedClip, PBlock, PBlockConfig

__all__ = [
    "GHTT",
    "PRESETS",
    "TEST_FACTOR",
    "ABlock",
    "ABlockConfig",
    "ClipSequence",
    "Clips",
    "EncodedAction",
    "EncodedClip",
    "Futures",
    "GHTTConfig",
    "PBlock",
    "PBlockConfig",
    "Recognition",
    "Refined",
    "cut_clips",
]


@dataclass(frozen=True)
class GHTTConfig:
    """Both blocks; `a` is None while there is only a P-block.

    Example:
        >>> GHTTConfig.from_dict(PRESETS["small"].to_dict()) == PRESETS["small"]
        True
    """

    p: PBlockConfig = field(default_factory=PBlockConfig)
    a: ABlockConfig | None = None

    def __post_init__(self) -> None:
        if self.a is not None and self.a.mid_level_dim != self.p.width:
            raise InputError(
                f"the A-block expects mid-levels of {self.a.mid_level_dim} numbers, the P-block makes {self.p.width}; "
                "set the A-block's mid_level_dim to the P-block's width"
            )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> GHTTConfig:
        try:
            action = values.get("a")
            return cls(PBlockConfig(**values.get("p", {})), None if action is None else ABlockConfig(**action))
        except TypeError as error:
            raise InputError(f"the G-HTT configuration does not fit this version: {error}") from error


_SMALL: dict[str, Any] = {"layers": 4, "width": 128, "heads": 4, "feedforward": 512}

PRESETS: dict[str, GHTTConfig] = {
    "paper": GHTTConfig(PBlockConfig(), ABlockConfig()),
    "small": GHTTConfig(
        PBlockConfig(**_SMALL, drop_thumb_cmc=False, residual=True, log_variance_offset=-5.0, refine_layers=2),
        ABlockConfig(
            **_SMALL,
            mid_level_dim=128,
            object_dim=0,
            body_context=True,
            pose_context=True,
            log_variance_offset=-5.0,
            pooled_tokens=True,
        ),
    ),
}


class GHTT(TestTimeFlows):
    """P-block and A-block together; the test-time flows are those of `TestTimeFlows`.

    Example:
        >>> model = GHTT.from_preset("small")
    """

    def __init__(self, config: GHTTConfig) -> None:
        super().__init__()
        self.config = config
        self.p = PBlock(config.p)
        self.a = ABlock(config.a) if config.a is not None else None

    @classmethod
    def from_preset(cls, name: str, labels: Sequence[str] = (), label_features: Tensor | None = None) -> GHTT:
        """A model with fresh weights.

        Args:
            name: "paper" or "small".
            labels: L label names; label_features: (L, F) features of a text encoder, one per name.

        Raises:
            InputError: unknown preset; labels without features.
        """
        if name not in PRESETS:
            raise InputError(f"there is no preset '{name}'; choose one of: {', '.join(PRESETS)}")
        config = PRESETS[name]
        if labels and label_features is None:
            raise InputError(f"{len(labels)} labels came without features; pass label_features from a text encoder")
        if config.a is not None and label_features is not None:
            config = replace(config, a=replace(config.a, label_dim=label_features.shape[-1]))
        model = cls(config)
        if model.a is not None and label_features is not None:
            model.a.set_labels(labels, label_features)
            model.config = replace(model.config, a=model.a.config)
        return model
