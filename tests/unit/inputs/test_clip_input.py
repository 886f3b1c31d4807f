"""How skeleton clips become a network's input: worked by hand, and what must not change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from palmist.errors import InputError
from palmist.inputs.skeleton_clips import ClipInput, clip_batch, prepare_clip, read_between, rotate_batch
from palmist.skeleton import BODY_LAYOUTS
from palmist.skeleton_clip import SkeletonClip

SPINE_BASE, SPINE_MID, LEFT_SHOULDER, RIGHT_SHOULDER, CENTRE = 0, 1, 4, 8, 20


def clip(persons: int = 2, frames: int = 12, seed: int = 0, **changes: Any) -> SkeletonClip:
    draw = np.random.default_rng(seed)
    fields = {
        "keypoint": draw.normal(size=(persons, frames, 25, 3)),
        "mask": np.ones((persons, frames, 25), bool),
        "layout": "kinect25",
        "fps": 30.0,
    }
    return SkeletonClip(**{**fields, **changes})


def hands(persons: int, frames: int, scale: float, seed: int = 1) -> dict[str, Any]:
    """One rigid hand shape per side that wanders about."""
    draw = np.random.default_rng(seed)
    shape, place = draw.normal(size=(1, 2, 1, 21, 3)), draw.normal(size=(persons, 2, frames, 1, 3))
    shape[..., 9, :] = shape[..., 0, :] + (0.0, 1.0, 0.0)  # wrist to middle knuckle: one hand size
    return {"hands": scale * (shape + place), "hand_valid": np.ones((persons, 2, frames), bool)}


def test_the_origin_is_the_centre_joint_of_the_first_frame_that_knows_it() -> None:
    mask = np.ones((2, 12, 25), bool)
    mask[:, :3] = False  # empty frames are left out
    mask[0, 3, CENTRE] = mask[1, 3:5, CENTRE] = False
    given = clip(mask=mask)
    made = prepare_clip(given, ClipInput())
    assert len(made) == 9
    away = given.keypoint[:, 4] - given.keypoint[0, 4, CENTRE]
    np.testing.assert_allclose(made.body[:, 1], np.where(mask[:, 4, :, None], away, 0), atol=1e-6)
    assert not made.body_known[0, 0, CENTRE]
    assert not made.body[0, 0, CENTRE].any()
    named = prepare_clip(given, ClipInput(centre="spine_mid"))
    assert not named.body[0, 0, SPINE_MID].any()


def test_moving_the_whole_clip_changes_nothing() -> None:
    given = clip(**hands(2, 12, 1.0))
    shift = np.array([0.5, -1.0, 2.0], np.float32)
    assert given.hands is not None
    moved = given.replace(keypoint=given.keypoint + shift, hands=given.hands + shift)
    for origin in ("body", "wrist"):
        one, two = prepare_clip(given, ClipInput(), origin), prepare_clip(moved, ClipInput(), origin)
        np.testing.assert_allclose(one.body, two.body, atol=1e-5)
        np.testing.assert_allclose(one.hands, two.hands, atol=1e-5)


def test_persons_who_are_seen_longest_are_taken_and_others_filled_up() -> None:
    mask = np.ones((3, 12, 25), bool)
    mask[0, 2:] = mask[2, 8:] = False
    given = clip(3, mask=mask)
    made = prepare_clip(given, ClipInput(persons=2))
    np.testing.assert_allclose(made.body[0, 3] - made.body[1, 3], given.keypoint[1, 3] - given.keypoint[2, 3], atol=1e-5)
    batch = clip_batch([made], 4, 6, np.array([0]), np.array([12]))
    assert batch["body"].shape == (1, 4, 6, 25, 3)
    assert batch["body_known"].flatten(2).any(-1).tolist() == [[True, True, False, False]]
    assert not batch["hands_known"].any()
    assert not batch["body"][:, 2:].any()


def test_a_clip_in_which_nobody_is_seen_is_a_batch_of_nothing() -> None:
    made = prepare_clip(clip(1, mask=np.zeros((1, 12, 25), bool)), ClipInput())
    batch = clip_batch([made], 2, 5, np.array([0]), np.array([12]))
    assert not any(tensor.any() for tensor in batch.values())


def test_frames_are_read_as_public_feeders_read_them() -> None:
    given = prepare_clip(clip(1, frames=20), ClipInput())
    batch = clip_batch([given], 1, 9, np.array([3]), np.array([14]))
    cut = torch.from_numpy(given.body[0, 3:17]).permute(2, 1, 0)  # (3, 25, 14)
    slow = F.interpolate(cut, size=9, mode="linear", align_corners=False).permute(2, 1, 0)
    torch.testing.assert_close(batch["body"][0, 0], slow)


def test_between_a_known_and_an_unknown_frame_the_nearer_one_decides() -> None:
    values = np.array([1.0, 5.0, 0.0]).reshape(1, 3, 1, 1)
    known = np.array([True, True, False]).reshape(1, 3, 1)
    read, there = read_between(values, known, np.array([0.0, 0.25, 1.25, 1.75]))
    assert read.ravel().tolist() == [1.0, 2.0, 5.0, 0.0]
    assert there.ravel().tolist() == [True, True, True, False]


def test_hands_of_another_space_come_from_their_own_wrists_in_hand_sizes() -> None:
    small, large = (clip(**hands(2, 12, scale), hand_space="planar") for scale in (1.0, 300.0))
    with pytest.raises(InputError, match=r"model\.hand_origin wrist"):
        prepare_clip(small, ClipInput())
    one, two = prepare_clip(small, ClipInput(), "wrist"), prepare_clip(large, ClipInput(), "wrist")
    np.testing.assert_allclose(one.hands, two.hands, atol=1e-4)
    np.testing.assert_allclose(one.hands[..., 0, :], 0)
    np.testing.assert_allclose(one.hands[..., 9, :], np.broadcast_to([0.0, 1.0, 0.0], (2, 2, 12, 3)), atol=1e-4)
    assert (one.solid, one.hands_solid) == (True, False)
    score = np.ones((2, 2, 12, 21), np.float32)
    score[0, 0, 4, 0] = 0  # a hand without its wrist is not known in that frame
    lost = prepare_clip(small.replace(hand_score=score), ClipInput(), "wrist")
    assert not lost.hands_known[0, 0, 4].any()
    assert lost.hands_known[0, 0, 5].all()


def test_an_image_is_measured_in_one_unit_and_a_body_in_it_in_shoulder_widths() -> None:
    points = np.random.default_rng(2).uniform(size=(1, 12, 25, 2))
    given = clip(1, keypoint=points, space="image", aspect=2.0)
    made = prepare_clip(given, ClipInput())
    flat = points * (1.0, 0.5)
    apart = np.linalg.norm(flat[0, :, LEFT_SHOULDER] - flat[0, :, RIGHT_SHOULDER], axis=-1)
    np.testing.assert_allclose(made.body[..., :2], (flat - flat[0, 0, CENTRE]) / np.median(apart), atol=1e-4)
    assert not made.body[..., 2].any()


def test_align_puts_the_spine_up_and_the_shoulders_along_x_whatever_the_camera() -> None:
    draw = np.random.default_rng(4)
    turn = np.linalg.qr(draw.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    given = clip(1)
    turned = given.replace(keypoint=(given.keypoint @ turn).astype(np.float32))
    plain, made, other = (prepare_clip(one, ClipInput(align=on)) for one, on in ((given, False), (given, True), (turned, True)))
    np.testing.assert_allclose(made.body, other.body, atol=1e-4)
    assert np.abs(made.body - plain.body).max() > 0.1
    spine = made.body[0, 0, SPINE_MID] - made.body[0, 0, SPINE_BASE]
    np.testing.assert_allclose(spine[:2], 0, atol=1e-5)
    across = made.body[0, 0, RIGHT_SHOULDER] - made.body[0, 0, LEFT_SHOULDER]
    assert spine[2] > 0
    assert across[0] > 0
    assert abs(across[1]) < 1e-5
    steps = made.body[0, 1:] - made.body[0, :-1], plain.body[0, 1:] - plain.body[0, :-1]
    np.testing.assert_allclose(np.linalg.norm(steps[0], axis=-1), np.linalg.norm(steps[1], axis=-1), atol=1e-4)
    with pytest.raises(InputError, match="leave align off"):
        prepare_clip(clip(1, space="planar"), ClipInput(align=True))


def test_turns_are_about_the_axes_and_flat_clips_stay_flat() -> None:
    solid, flat = prepare_clip(clip(1), ClipInput()), prepare_clip(clip(1, space="planar"), ClipInput())
    batch = clip_batch([solid, flat], 1, 12, np.zeros(2, int), np.array([12, 12]))
    before = batch["body"].clone()
    rotate_batch(batch, torch.tensor([[0.3, 0.0, 0.0], [0.3, 0.2, 0.1]]), [solid, flat])
    torch.testing.assert_close(batch["body"][0, ..., 0], before[0, ..., 0])  # about x: x stays
    torch.testing.assert_close(batch["body"][1, ..., 2], before[1, ..., 2])  # flat: depth stays
    torch.testing.assert_close(batch["body"].norm(dim=-1), before.norm(dim=-1))
    cosine = torch.cosine_similarity(batch["body"][1, ..., :2], before[1, ..., :2], dim=-1)
    known = before[1, ..., :2].norm(dim=-1) > 1e-3
    torch.testing.assert_close(cosine[known], torch.full_like(cosine[known], float(np.cos(0.1))))


def test_wrong_settings_are_named() -> None:
    with pytest.raises(InputError, match=BODY_LAYOUTS["kinect25"][-1]):
        prepare_clip(clip(1), ClipInput(centre="navel"))
    with pytest.raises(InputError, match="persons is 0"):
        ClipInput(persons=0)
