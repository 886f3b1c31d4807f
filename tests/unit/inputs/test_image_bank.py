"""Drawn frames in the normalised camera: places, depth, masks, colours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import smooth_hands, tiny_recording
from palmist.errors import InputError
from palmist.inputs.image_bank import DrawConfig, FrameBank, Placement, draw_frames, draw_placed, place, recolour, targets
from palmist.models.ghtt_image import CENTRE_X, CENTRE_Y, FOCAL, decode_25d
from palmist.recording import Recording
from palmist.render import HELD_THINGS, RenderSettings, render_clip
from palmist.render.stage import apply_affine, camera_path, set_stage

FEW = DrawConfig(clips=6, frames=3, size=64)


def recording(space: str = "metric", root: str = "wrist") -> Recording:
    joints = smooth_hands(40)
    if space == "planar":
        joints = joints * [500, -500, 0] + [160, 200, 0]
    elif space == "image":
        joints = joints * [1, -1, 1] + [0.5, 0.6, -0.5]
    return tiny_recording(40, joints=joints, space=space, frame="camera" if space == "metric" else "image", root=root)


def made_up(pixels: np.ndarray, solid: np.ndarray, size: int = 64, **changes: object) -> FrameBank:
    """A bank of one black frame with both hands known."""
    known = np.ones((1, 2, 21), bool)
    fields = {
        "images": np.zeros((1, size, size, 3), np.uint8), "pixels": pixels[None].astype(np.float32),
        "solid": solid[None].astype(np.float32), "known": known, "shown": known, "metric": np.array([False]),
        "deep": np.array([True]), "object": np.array([-1]), "clip": np.array([0]), "names": ("made up",),
    }  # fmt: skip
    return FrameBank(**{**fields, **changes})  # type: ignore[arg-type]


def spread(size: int = 64, seed: int = 0) -> np.ndarray:
    """(2, 21, 3) pixels inside a square with some depth about joint 0."""
    points = np.random.default_rng(seed).uniform(8, size - 8, (2, 21, 3))
    points[..., 2] = 0.2 * (points[..., 2] - points[:, :1, 2])
    return points


def test_a_dot_at_a_joint_is_where_the_codes_say() -> None:
    points = spread().round()
    bank = made_up(points[..., :2], points)
    generator = torch.Generator().manual_seed(3)
    for placement in (place(64, 1, None), place(64, 1, generator), place(64, 1, generator)):
        codes = targets(bank, np.array([0]), placement)["codes"][0, ..., :2].numpy()
        for joint in ((0, 4), (1, 17)):
            image = np.zeros((1, 64, 64, 3), np.uint8)
            column, row = points[(*joint, slice(2))].astype(int)
            image[0, row, column] = 255
            grey = Placement(placement.factor, placement.shift, np.zeros((1, 3), np.uint8))
            drawn = draw_placed(image, grey, 960, 540)[0, ..., 0].astype(float)
            centre = [(drawn.sum(axis) * (np.arange(drawn.shape[1 - axis]) + 0.5)).sum() / drawn.sum() / 2 for axis in (0, 1)]
            np.testing.assert_allclose(centre, 100 * codes[joint] + (240, 135), atol=0.3)


def test_the_depth_of_a_hand_without_metric_depth_is_that_of_a_hand_of_90_mm() -> None:
    points = np.zeros((2, 21, 3))
    points[..., :2] = 20
    points[:, [5, 9, 13, 17], 0] = 30  # 10 px from the wrist
    points[:, 8, 2] = -5  # 5 px nearer than the wrist
    bank = made_up(points[..., :2], points)
    codes = targets(bank, np.array([0]), place(64, 1, None))["codes"][0]
    # The square is 270 px high: 10 px of 64 are 42.1875 px, so 0.09 m are at 240 * 0.09 / 42.1875 = 0.512 m.
    joints = decode_25d(codes)
    np.testing.assert_allclose(joints[:, 0, 2], 0.512, atol=1e-4)
    np.testing.assert_allclose(joints[:, 8, 2], 0.512 - 0.045, atol=1e-4)
    away = torch.linalg.norm(joints[:, 9] - joints[:, 0], dim=-1)
    np.testing.assert_allclose(away, 0.09, atol=1e-4)


def test_metric_hands_keep_their_metres_where_the_camera_is_the_normalised_one() -> None:
    generator = np.random.default_rng(0)
    solid = np.array([[[-0.1, 0.0, 0.45]], [[0.08, 0.02, 0.4]]]) + generator.uniform(-0.06, 0.06, (2, 21, 3))
    canvas = FOCAL * solid[..., :2] / solid[..., 2:] + (CENTRE_X, CENTRE_Y)
    placement = place(64, 1, None)
    pixels = (canvas - placement.shift) / placement.factor[0] - 0.5
    turn = np.linalg.qr(generator.standard_normal((3, 3)))[0]
    turn *= np.linalg.det(turn)
    bank = made_up(pixels, solid @ turn.T + 0.3, metric=np.array([True]))  # any rigid frame will do
    given = targets(bank, np.array([0]), placement)
    assert given["known"].all()
    np.testing.assert_allclose(decode_25d(given["codes"])[0], solid, atol=2e-3)
    nonsense = made_up(spread()[..., :2], solid, metric=np.array([True]))
    known = targets(nonsense, np.array([0]), placement)["known"][0]
    assert known[..., :2].all()
    assert not known[..., 2].any()  # no camera sees these joints there


def test_what_is_not_recorded_or_not_in_the_picture_is_masked() -> None:
    flat = draw_frames([([recording("planar")], 1.0)], FEW, 0)
    known = targets(flat, np.arange(len(flat)), place(64, len(flat), None))["known"]
    assert known[..., 0].any()
    assert not known[..., 2].any()
    points = spread()
    points[1, :, 0] -= 200  # the right hand is far to the left of the picture
    bank = made_up(points[..., :2], points, shown=np.array([[[True] * 21, [False] * 21]]))
    given = targets(bank, np.array([0]), place(64, 1, None))
    assert given["present"].tolist() == [[True, False]]
    assert not given["known"][0, 1].any()
    assert not given["codes"][0, 1].any()


def test_a_palms_centre_is_carried_on_to_the_wrist_that_is_drawn() -> None:
    take = recording("metric", root="palm_centre")
    config = replace(FEW, clips=1, frames=40, spacing=1, mirror=False)
    bank = draw_frames([([take], 1.0)], config, 0)
    settings = RenderSettings(size=64, framing="scene", camera_motion=1.0, tracks=0)
    stage = set_stage(take, settings, 0)
    drawn = apply_affine(camera_path(0, take.name, stage.time, 64, 1.0), stage.wrists[..., :2])
    assert bank.known[:, :, 0].all()
    np.testing.assert_allclose(bank.pixels[:, :, 0], drawn, atol=0.5)
    assert np.linalg.norm(bank.pixels[:, :, 0] - render_clip(take, settings, 0).truth.joints[:, :, 0], axis=-1).min() > 3


def test_the_same_seed_gives_the_same_bank_and_shares_are_kept() -> None:
    sets = [([recording("image")], 1.0), ([recording("metric").replace(name="solid")], 0.5)]
    config = DrawConfig(clips=12, frames=2, size=64, held=HELD_THINGS, held_share=1.0)
    one, same, other = (draw_frames(sets, config, seed) for seed in (0, 0, 1))
    assert np.array_equal(one.images, same.images)
    assert np.array_equal(one.object, same.object)
    assert not np.array_equal(one.images, other.images)
    assert len(one) == 24
    assert one.metric.mean() == pytest.approx(1 / 3, abs=0.1)
    assert len(np.unique(one.object[one.object >= 0])) > 1
    assert {one.names[clip] == "solid" for clip in one.clip[one.metric]} == {True}
    pair = np.flatnonzero(np.bincount(one.clip) == 2)[0]
    looks = one.images[one.clip == pair].astype(int)
    assert np.abs(looks[0] - looks[1]).mean() < np.abs(looks[0] - one.images[one.clip != pair][0]).mean()


def test_consecutive_frames_are_consecutive() -> None:
    still = recording("image").replace(time=np.arange(40) / 20)
    moving = draw_frames([([still], 1.0)], DrawConfig(clips=1, frames=8, size=64, spacing=1, mirror=False), 0)
    assert len(moving) == 8
    short = draw_frames([([still.slice(0, 5)], 1.0)], DrawConfig(clips=1, frames=8, size=64, spacing=1), 0)
    assert len(short) == 5  # as many as there are


def test_colours_change_and_grey_stays_grey() -> None:
    generator = torch.Generator().manual_seed(0)
    pictures = np.zeros((4, 30, 40, 3), np.uint8)
    pictures[:] = 128
    pictures[:, :, 20:] = (180, 90, 60)
    made = recolour(pictures, generator).astype(float)
    assert made.shape == pictures.shape
    grey = made[:, :, 2:18].mean((1, 2))
    assert (np.ptp(grey, axis=1) < 3).all()
    right = made[:, :, 22:].mean((1, 2))
    assert (np.abs(right - (180, 90, 60)).max(1) > 5).all()
    calm = recolour(pictures, generator, strength=0.0).astype(float)
    assert np.abs(calm[:, :, 22:].mean((1, 2)) - (180, 90, 60)).max() < 2
    again = recolour(pictures, torch.Generator().manual_seed(0))
    assert np.array_equal(again, recolour(pictures, torch.Generator().manual_seed(0)))


def test_wrong_settings_are_named() -> None:
    with pytest.raises(InputError, match="spoon"):
        DrawConfig(held=("spoon",))
    with pytest.raises(InputError, match="1 or more"):
        DrawConfig(clips=0)
    blind = recording("image").replace(valid=np.zeros((40, 2), bool))
    with pytest.raises(InputError, match="no hand is known"):
        draw_frames([([blind], 1.0)], FEW, 0)
