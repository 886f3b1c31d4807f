"""G-HTT's test-time flows (specification, section 9), on tensors, batched, without gradients.

The mid-level of clip k decodes to the poses of clip k + 1: with n observed clips, clip n + 1 is decoded from m of clip
n (the P-block's posterior) and clip n + 2 from the A-block's m^A of clip n + 1.

Letters: B batch, F frames, T frames of a clip, N observed clips, M future clips, K futures, D width, L labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from palmist import pose_vector
from palmist.errors import InputError
from palmist.models.ghtt_action_block import EncodedAction, clip_context
from palmist.models.ghtt_clips import (
    Clips,
    ClipSequence,
    EncodedClips,
    Futures,
    LatestReading,
    Recognition,
    Refined,
    last_index,
)
from palmist.models.ghtt_pose_block import clip_features, neutral_vector, remove_component
from palmist.models.layers import sample_latent

if TYPE_CHECKING:
    from palmist.models.ghtt_action_block import ABlock
    from palmist.models.ghtt_pose_block import PBlock
    from palmist.models.reduced_precision import ReducedDecoder

TEST_FACTOR = 5.0
"""The sampling factor f at test time (the authors' code); report it next to every FID and APD."""
_MOTIONS = slice(pose_vector.LEFT_MOTION.start, pose_vector.RIGHT_MOTION.stop)
_LARGEST_DECODE = 256  # clips decoded at once: bounds the memory, and is large enough for full speed


class TestTimeFlows(nn.Module):
    """The flows; `palmist.models.ghtt.GHTT` adds the two blocks."""

    __test__ = False  # the name is the paper's word, not a test of pytest's
    p: PBlock
    a: ABlock | None
    _reduced: tuple[ReducedDecoder, ...] = ()

    def set_precision(self, precision: str) -> None:
        """Decode futures (P.b) in "float32" (exact), "bfloat16" or "int8"; for CPUs, with weights as they are now."""
        from palmist.models.reduced_precision import ReducedDecoder

        # In a tuple, so that the copy is no submodule and its weights stay out of checkpoints.
        self._reduced = () if precision == "float32" else (ReducedDecoder(self.p, precision),)

    # ------------------------------------------------------------------------------------------------- encoding

    @torch.no_grad()
    def encode_clips(self, clips: Clips) -> EncodedClips:
        """E^P and the shared head on every clip."""
        code = self.p.encode(clips.vector.flatten(0, 1), clips.known.flatten(0, 1), clips.frames.flatten(0, 1))
        return EncodedClips(*(part.unflatten(0, clips.valid.shape) for part in code))

    def clip_sequence(self, clips: Clips, code: EncodedClips, past: ClipSequence | None = None) -> ClipSequence:
        """What the A-block reads of these clips (mid-levels are mu, not sampled), after those of `past`."""
        pooled, encoded_context = False, None
        if self.a is not None:
            pooled = self.a.config.pooled_tokens
            given = (clips.vector, clips.known, clips.context, clips.context_known)
            if self.a.context is not None:
                encoded_context = self.a.encode_context(clips.valid, *clip_context(self.a.config, *given))
        sequence = ClipSequence(
            clip_features(code.mean, code.tokens, clips.frames, pooled),
            clips.valid,
            clips.phase,
            clips.objects,
            clips.objects_known,
            encoded_context=encoded_context,
        )
        return sequence if past is None else past.followed_by(sequence)

    def _encode_action(self, sequence: ClipSequence) -> EncodedAction:
        mid_levels, valid, phase, *optional = sequence
        objects, objects_known, context, context_known, encoded = optional
        return self._action_block().encode(
            mid_levels, valid, phase, objects, context, context_known, objects_known, encoded_context=encoded
        )

    def _action_block(self) -> ABlock:
        if self.a is None:
            raise InputError("this model has a P-block only; recognition and P.b need an A-block (train one, or use P.a)")
        return self.a

    # ----------------------------------------------------------------------------------------------- refinement

    @torch.no_grad()
    def refine(self, clips: Clips, code: EncodedClips | None = None, frame_size: bool = False) -> Refined:
        """Refined poses with trajectory consistency (flow 1).

        Each clip starts at the palm pose of its first seen frame and, by the consistency step, ends at that of its last
        seen frame.  Frames in which a hand was not seen hold its last pose and are not valid.

        Args:
            clips: the observation.
            code: `encode_clips(clips)`, if it is there already.
            frame_size: give each frame its own observed hand size instead of the mean over the observation (the
                paper's); meant for image space, where the size changes with the distance.
        """
        code = self.encode_clips(clips) if code is None else code
        refined, seen = code.refined, clips.palms.valid
        # Where the input has no motion (first frame, hand out of sight) there is none to refine.
        moved = clips.known[..., _MOTIONS].unflatten(-1, (2, 9)).any(dim=-1).repeat_interleave(9, dim=-1)
        motions = torch.where(moved, refined[..., _MOTIONS], neutral_vector().to(refined)[_MOTIONS])
        refined = torch.cat((refined[..., : _MOTIONS.start], motions, refined[..., _MOTIONS.stop :]), dim=-1)
        refined = pose_vector.trajectory_consistency(refined, clips.vector, seen, clips.planar)
        rotation, translation, _ = pose_vector.observed_palm(clips.palms, first=True)
        size = pose_vector.observed_hand_size(clips.all_palms(), clips.planar)  # (B, 2)
        size = size[:, None].expand(-1, clips.frames.shape[1], -1)
        if frame_size:
            size = torch.where(seen, clips.palms.size, size.unsqueeze(2))
        joints = pose_vector.decode(refined, rotation, translation, size, clips.planar)
        if clips.space == "image":  # the hand's distance is not known: it stays the input's
            wrist = -(clips.palms.translation.unsqueeze(-2) @ clips.palms.rotation.transpose(-1, -2))  # (..., 2, 1, 3)
            depth = torch.where(seen, wrist[..., 0, 2] - joints[..., 0, 2], torch.zeros_like(joints[..., 0, 2]))
            joints = torch.cat((joints[..., :2], joints[..., 2:] + depth[..., None, None]), dim=-1)
        return Refined(refined, joints, seen)

    # ---------------------------------------------------------------------------------------------- recognition

    @torch.no_grad()
    def recognise(
        self,
        clips: Clips,
        candidates: Tensor | None = None,
        code: EncodedClips | None = None,
        past: ClipSequence | None = None,
    ) -> Recognition:
        """The action of a whole recording (flow 2).  `candidates`: (L,) or (B, L) bool, the labels to choose from."""
        code = self.encode_clips(clips) if code is None else code
        return self.recognise_sequence(self.clip_sequence(clips, code, past), candidates)

    @torch.no_grad()
    def recognise_sequence(self, sequence: ClipSequence, candidates: Tensor | None = None) -> Recognition:
        """The action of a sequence of clips: windows of up to 16 clips, probabilities added over the windows."""
        block = self._action_block()
        limit = block.config.max_clips
        total: Tensor | None = None
        for start in range(0, sequence.valid.shape[1], limit):
            window = sequence.slice(start, start + limit)
            share = block.probabilities(self._encode_action(window).mean, candidates)
            share = share * window.valid.any(dim=1, keepdim=True)
            total = share if total is None else total + share
        if total is None:
            raise InputError("there are no clips to recognise; give at least one frame")
        empty = ~sequence.valid.any(dim=1, keepdim=True)
        total = torch.where(empty, torch.ones_like(total), total)
        probabilities = total / total.sum(dim=1, keepdim=True)
        return Recognition(probabilities, probabilities.argmax(dim=1))

    # ----------------------------------------------------------------------------------------------- prediction

    @torch.no_grad()
    def predict_short(
        self,
        clips: Clips,
        future_clips: int = 1,
        futures: int = 20,
        factor: float = TEST_FACTOR,
        generator: torch.Generator | None = None,
        code: EncodedClips | None = None,
    ) -> Futures:
        """P.a (flow 3): the P-block alone, its own predictions fed back, a new sample at every step, with skip tokens.

        Args:
            clips: the observation; only its last clip and the hand sizes are used.
            future_clips: M, number of clips to predict.
            futures: K, number of samples.
            factor: sampling factor f; 0 gives the deterministic future (K copies of it).
            generator: explicit random source.
            code: `encode_clips(clips)`, if it is there already.
        """
        last = clips.last()
        last_code = self.encode_clips(last) if code is None else _last_code(code, clips)
        mean, log_variance = (_repeat(part[:, 0], futures) for part in last_code[:2])
        tokens, frames = last_code.tokens[:, 0], last.frames[:, 0]  # one observation for all futures, at first
        given, given_known = last.vector[:, 0], last.known[:, 0]
        vector = _repeat(given, futures)
        # An entry that the last clip never knows (an absent hand, depth) stays unknown in what is fed back.
        known = _repeat(last.known[:, 0].any(dim=1, keepdim=True), futures).expand_as(vector)
        shown = _repeat(last.palms.valid[:, 0].any(dim=1), futures).unsqueeze(1)  # (B * K, 1, 2)
        rotation, _ = pose_vector.last_palm(clips.all_palms())
        rotation = _repeat(rotation, futures)
        predicted, mid_levels = [], []
        for step in range(future_clips):
            if step:
                fed, fed_known = pose_vector.reset_first_motion(
                    pose_vector.renormalize_hands(vector, shown.expand(-1, vector.shape[1], -1)), known
                )
                frames = torch.ones(vector.shape[:2], dtype=torch.bool, device=vector.device)
                mean, log_variance, tokens, _ = self.p.encode(fed, fed_known, frames)
                given, given_known = fed, fed_known
            mid_level = sample_latent(mean, log_variance, factor * self.p.skip_spread, generator)
            branches = mid_level.unflatten(0, (len(tokens), -1))
            vector = self.p.continue_clip(branches, tokens, frames, given, given_known).flatten(0, 1)
            if clips.space == "image":
                vector, rotation = _remove_depth_motion(vector, rotation)
            predicted.append(vector)
            mid_levels.append(mid_level)
        # The motions of each step start where those of the step before end, so they accumulate from one base.
        return self._place(torch.cat(predicted, dim=1), torch.stack(mid_levels, dim=1), clips, futures)

    @torch.no_grad()
    def predict_long(
        self,
        clips: Clips,
        future_clips: int = 4,
        futures: int = 20,
        factor: float = TEST_FACTOR,
        generator: torch.Generator | None = None,
        *,
        label: Tensor | int | None = None,
        new_action: bool = False,
        first_clip: Tensor | None = None,
        code: EncodedClips | None = None,
        past: ClipSequence | None = None,
    ) -> Futures:
        """P.b (flow 4): the A-block predicts mid-levels of whole clips, the P-block decodes each (no skip).

        The last observed clip's m is sampled too and put in front.

        Args:
            clips: the observation, up to 16 clips are read (the last ones).
            future_clips, futures, factor, generator: as in `predict_short`.
            label: (B,) long or one number: replace the mean of alpha by this label's feature (action-controlled).
            new_action: count the future's phase from 0, as of an action that starts now (transition).
            first_clip: (B, T, 153) the true first future clip, given instead of predicted; its first motion is relative
                to the last observed frame (the authors' evaluation switch `gt_ite0`).
            code: `encode_clips(clips)`, if it is there already.
            past: clips before these, as the A-block reads them (a stream).
        """
        code = self.encode_clips(clips) if code is None else code
        last = _last_code(code, clips)
        spread = _repeat(last.log_variance[:, 0], futures)
        first = sample_latent(_repeat(last.mean[:, 0], futures), spread, factor, generator)
        mid_levels = first.unsqueeze(1)  # (B * K, 1, D)
        if future_clips > 1:
            sequence = self.clip_sequence(clips, code, past)
            later = self._future_mid_levels(sequence, future_clips - 1, futures, factor, generator, label, new_action)
            mid_levels = torch.cat((mid_levels, later), dim=1)  # (B * K, M, D)
        alone = mid_levels[:, 1:] if self.p.config.residual else mid_levels  # decoded without skip tokens
        vector = self.decode_mid_levels(alone.flatten(0, 1)).unflatten(0, alone.shape[:2])
        if first_clip is not None:
            begin = _repeat(first_clip, futures).unsqueeze(1)
            vector = torch.cat((begin, vector if self.p.config.residual else vector[:, 1:]), dim=1)
        elif self.p.config.residual:  # deviation 12
            last_clip = clips.last()
            parts = (last.tokens, last_clip.frames, last_clip.vector, last_clip.known)
            mean = last.mean  # (B, 1, D)
            wide = mean + self.p.skip_spread * (first.unflatten(0, (-1, futures)) - mean)
            near = self.p.continue_clip(wide, *(part[:, 0] for part in parts)).flatten(0, 1).unsqueeze(1)
            vector = torch.cat((near, vector), dim=1)
        if self.p.config.residual:
            vector = fade_seams(vector)
        vector = vector.flatten(1, 2)  # (B * K, F, 153)
        if clips.space == "image":
            rotation, _ = pose_vector.last_palm(clips.all_palms())
            vector, _ = _remove_depth_motion(vector, _repeat(rotation, futures))
        return self._place(vector, mid_levels, clips, futures, given=first_clip is not None)

    def predict_action(self, clips: Clips, label: Tensor | int, future_clips: int = 4, **options: object) -> Futures:
        """Action-controlled prediction: P.b as if the observed action were `label`.  Options as in `predict_long`."""
        return self.predict_long(clips, future_clips, label=label, **options)  # type: ignore[arg-type]

    def transition(self, clips: Clips, label: Tensor | int, future_clips: int = 4, **options: object) -> Futures:
        """Action transition (flow 6): observe one action, then start `label`.  Options as in `predict_long`."""
        return self.predict_long(clips, future_clips, label=label, new_action=True, **options)  # type: ignore[arg-type]

    @torch.no_grad()
    def interpolate_mid_levels(self, clip_a: Clips, clip_c: Clips, weight: float = 0.5) -> Tensor:
        """Decode the mix m = (1 - weight) m_a + weight m_c of the last clips of two observations (flow 7).

        The paper mixes two clips 30 frames apart, with weight 0.5.  Returns (B, T, 153): the clip that follows.
        """
        code_a, code_c = self.encode_clips(clip_a.last()), self.encode_clips(clip_c.last())
        return self.decode_mid_levels(torch.lerp(code_a.mean[:, 0], code_c.mean[:, 0], weight))

    @torch.no_grad()
    def read_latest(
        self,
        clip: Clips,
        past: ClipSequence | None = None,
        future_clips: int = 1,
        futures: int = 20,
        factor: float = TEST_FACTOR,
        generator: torch.Generator | None = None,
        candidates: Tensor | None = None,
    ) -> LatestReading:
        """One step of a stream: the latest clip is encoded once, then refined, recognised and continued.

        Args:
            clip: the latest T frames, N = 1.
            past: the clips that ended before it (`LatestReading.sequence` of earlier steps); the cost does not grow
                with the stream, as at most 15 of them are read.
        """
        code = self.encode_clips(clip)
        if past is not None and self.a is not None:
            past = past.slice(max(0, past.valid.shape[1] - (self.a.config.max_clips - 1)))
        sequence = self.clip_sequence(clip, code, past)
        return LatestReading(
            refined=self.refine(clip, code),
            recognition=None if self.a is None else self.recognise_sequence(sequence, candidates),
            futures=self.predict_long(clip, future_clips, futures, factor, generator, code=code, past=past),
            sequence=sequence,
        )

    # ----------------------------------------------------------------------------------------------------- parts

    @torch.no_grad()
    def decode_mid_levels(self, mid_levels: Tensor) -> Tensor:
        """D^P without skip tokens, by the collapsed decoder: (R, D) -> (R, T, 153), clip k's m gives clip k + 1."""
        decode = self._reduced[0] if self._reduced else self.p.decode_collapsed
        if not len(mid_levels):
            return mid_levels.new_zeros(0, self.p.config.clip_length, pose_vector.DIM)
        return torch.cat([decode(part) for part in mid_levels.split(_LARGEST_DECODE)])

    def _future_mid_levels(
        self,
        sequence: ClipSequence,
        count: int,
        futures: int,
        factor: float,
        generator: torch.Generator | None,
        label: Tensor | int | None,
        new_action: bool,
    ) -> Tensor:
        """m^A of the `count` clips after the observation, for each of K samples of alpha -> (B * K, count, D)."""
        block = self._action_block()
        sequence = sequence.slice(max(0, sequence.valid.shape[1] - block.config.max_clips))
        code = self._encode_action(sequence)
        mean = code.mean
        if label is not None:
            index = torch.as_tensor(label, device=mean.device).expand(mean.shape[0])
            mean = block.label_features()[index]
        alpha = sample_latent(_repeat(mean, futures), _repeat(code.log_variance, futures), factor, generator)
        rows = torch.arange(len(mean), device=mean.device)
        start = torch.zeros_like(rows) if new_action else sequence.phase[rows, last_index(sequence.valid)] + 1
        phase = _repeat(start.unsqueeze(1) + torch.arange(count, device=mean.device), futures)
        return block.decode(alpha, phase, _repeat(code.tokens, futures), _repeat(sequence.valid, futures))

    def _place(self, vector: Tensor, mid_levels: Tensor, clips: Clips, futures: int, given: bool = False) -> Futures:
        """Predicted vectors (B * K, F, 153) to joints: from the last seen palms, with the observed mean hand size.

        given: they begin with a true clip, which stays as it is.
        """
        palms = clips.all_palms()
        rotation, translation = (_repeat(part, futures) for part in pose_vector.last_palm(palms))
        size = _repeat(pose_vector.observed_hand_size(palms, clips.planar), futures)
        joints = pose_vector.decode(vector, rotation, translation, size, clips.planar).unflatten(0, (-1, futures))
        if self.p.config.residual and not given:
            last = clips.last()
            joints = go_on_from_last_hand(joints, last.vector[:, 0], last.known[:, 0] & self.p.usable, palms, clips.planar)
        valid = clips.last().palms.valid[:, 0].any(dim=1)  # (B, 2)
        return Futures(
            joints,
            valid,
            medoid(joints * valid[:, None, None, :, None, None]),
            vector.unflatten(0, (-1, futures)),
            mid_levels.unflatten(0, (-1, futures)),
        )


def medoid(joints: Tensor) -> Tensor:
    """The most likely of K futures: the one with the smallest sum of distances to the others.

    joints (B, K, ...) -> (B,) long.  In a cloud of samples this is the most central one; unlike the density of the
    latent noise it does not depend on how strongly the decoder reacts to each latent direction.
    """
    flat = joints.flatten(2)
    return torch.cdist(flat, flat).sum(dim=2).argmin(dim=1)


def _repeat(values: Tensor, futures: int) -> Tensor:
    """(B, ...) -> (B * K, ...), each row K times in a row."""
    return values.repeat_interleave(futures, dim=0)


def _last_code(code: EncodedClips, clips: Clips) -> EncodedClips:
    """The code of every row's last valid clip, N = 1."""
    rows, index = torch.arange(len(clips.valid), device=clips.valid.device), last_index(clips.valid)
    return EncodedClips(*(part[rows, index].unsqueeze(1) for part in code))


def fade_seams(vector: Tensor, frames: int = 8) -> Tensor:
    """Let each clip's hands start where the clip before ends, the difference fading over `frames` frames (deviation 12).

    vector: (R, M, T, 153). Only the local joints change; motions are relative, so palms are continuous anyway.
    """
    fade = (1 - torch.arange(1, vector.shape[2] + 1, device=vector.device) / (frames + 1)).clamp_min(0.0)  # (T,)
    joints = vector[..., : _MOTIONS.start]
    parts = [joints[:, 0]]
    for clip in range(1, joints.shape[1]):
        gap = parts[-1][:, -1:] - joints[:, clip, :1]
        parts.append(joints[:, clip] + fade[:, None].to(vector) * gap)
    return torch.cat((torch.stack(parts, dim=1), vector[..., _MOTIONS.start :]), dim=-1)


def go_on_from_last_hand(
    joints: Tensor, vector: Tensor, known: Tensor, palms: pose_vector.PalmFrames, planar: bool, frames: int = 64
) -> Tensor:
    """Let predicted hands start as the last observed ones (deviation 16).

    Joint by joint and relative to the wrist, the difference between the last observed hand and the first predicted one
    is added, fading over `frames` frames.  In planar recordings three quarters of what the hand is predicted to change
    about its wrist fade in with it.

    Args:
        joints: (B, K, F, 2, 21, 3) predicted. vector, known: (B, T, 153) the last observed clip.
        palms: palm frames of the observation, (B, ..., 2, ...).

    Returns:
        (B, K, F, 2, 21, 3); the wrists are as they were.
    """
    local = slice(0, _MOTIONS.start)
    seen = known[..., local]  # (B, T, 126)
    latest = seen & (seen.long().flip(1).cumsum(1).flip(1) == 1)
    still = neutral_vector().to(vector).repeat(len(vector), 1, 1)  # (B, 1, 153)
    still[:, 0, local] = (vector[..., local] * latest).sum(dim=1)
    latest_size = pose_vector.observed_hand_size(palms, planar=True)
    last = pose_vector.decode(still, *pose_vector.last_palm(palms), latest_size, planar)
    last = (last - last[..., :1, :]).unsqueeze(1)  # (B, 1, 1, 2, 21, 3) from the wrist
    wrist = joints[..., :1, :]
    free = joints - wrist
    change = free - free[:, :, :1]
    bound = last + (0.25 if planar else 1.0) * change
    weight = (1 - torch.arange(joints.shape[2], device=joints.device) / frames).clamp_min(0.0)
    moved = torch.lerp(free, bound, weight.to(free)[:, None, None, None])
    there = latest.any(dim=1).unflatten(-1, (2, 21, 3)).any(dim=-1)[:, None, None, :, :, None]  # (B, 1, 1, 2, 21, 1)
    return wrist + torch.where(there, moved, free)


def _remove_depth_motion(vector: Tensor, base_rotation: Tensor) -> tuple[Tensor, Tensor]:
    """Take motion along the viewing direction out of predictions in image space, where it was never known.

    Args:
        vector: (R, F, 153), motions accumulating from the base frame.
        base_rotation: (R, 2, 3, 3), world -> local in the base frame; the world's z is the viewing direction.

    Returns:
        The vectors and the last frame's world -> local rotation (R, 2, 3, 3).
    """
    rotation, _ = pose_vector.accumulate(vector)  # (R, F, 2, 3, 3), local(t) -> base
    now = base_rotation.unsqueeze(1) @ rotation.transpose(-1, -2)  # world -> local(t)
    before = torch.cat((base_rotation.unsqueeze(1), now[:, :-1]), dim=1)
    axes = torch.cat((before[..., 2, :], now[:, :, 1:, 2, :]), dim=2)  # (R, F, 3, 3), see pose_vector.encode
    transforms = vector[..., pose_vector.LEFT_MOTION.start :].unflatten(-1, (3, 9))
    shifts = remove_component(transforms[..., 6:], axes)
    transforms = torch.cat((transforms[..., :6], shifts), dim=-1).flatten(-2)
    return torch.cat((vector[..., : pose_vector.LEFT_MOTION.start], transforms), dim=-1), now[:, -1]
