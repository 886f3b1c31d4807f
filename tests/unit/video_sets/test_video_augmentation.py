"""Augmentation of clips: one draw for all frames, geometry that points can follow, operations by hand."""

from __future__ import annotations

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.video_sets import AugmentationConfig, MixConfig, augmentation
from palmist.video_sets.augmentation import _PAINT, _erase, augment_clip, evaluation_crop
from palmist.video_sets.mixing import Mixture, draw_mixture, mix

STILL = {"flip": 0.0, "operations": 0, "erase": 0.0}


def blobs(height: int, width: int, points: np.ndarray) -> np.ndarray:
    """One bright blob a frame: (T, H, W, 3) uint8."""
    y, x = np.mgrid[:height, :width]
    frames = [255 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18) for px, py in points]
    return np.repeat(np.stack(frames)[..., None], 3, -1).astype(np.uint8)


def centre(image: np.ndarray) -> np.ndarray:
    """Where the blob is: the mean place of the pixels that are bright."""
    weight = image[..., 0].astype(float)
    weight[weight < 100] = 0  # the grey of what came in from outside is 115
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("seed", range(8))
def test_points_follow_the_matrix(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(seed)
    points = np.array([[82.0, 32.0], [50.0, 54.0]])
    images = blobs(100, 120, points)
    config = AugmentationConfig(crop_area=(0.9, 1), flip=0.5, operations=0, erase=0)
    made = augment_clip(images, 64, config, generator)
    for image, point in zip(made.video, points, strict=True):
        np.testing.assert_allclose(centre(image), made.matrix @ [*point, 1], atol=0.6)
    assert made.mirrored == (np.linalg.det(made.matrix[:, :2]) < 0)
    whole = AugmentationConfig(crop_area=(1, 1), crop_aspect=(1.2, 1.2), operations=1, erase=0)
    for name in ("rotate", "shear_x", "shear_y", "translate_x", "translate_y"):
        monkeypatch.setattr(augmentation, "_draw_operations", lambda *_, name=name: ([(name, 0.3)], []))
        made = augment_clip(images, 64, whole, generator)
        wanted = made.matrix @ [*points[0], 1]
        unmoved = (points[0] + 0.5) * 64 / (120, 100) - 0.5
        assert np.abs(wanted - unmoved).max() > 0.5, name
        bright = np.where(made.video[0, ..., :1] > 125, made.video[0], 0)
        np.testing.assert_allclose(centre(bright), wanted, atol=0.7)


def test_all_frames_get_the_same_draw() -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    for seed in range(30):
        made = augment_clip(np.stack([image] * 4), 32, AugmentationConfig(flip=0.5, erase=1), np.random.default_rng(seed))
        assert (made.video == made.video[0]).all()
    first, again = (augment_clip(image[None], 32, AugmentationConfig(), np.random.default_rng(5)) for _ in range(2))
    assert (first.video == again.video).all()
    others = [augment_clip(image[None], 32, AugmentationConfig(), np.random.default_rng(seed)).video for seed in range(8)]
    assert len({other.tobytes() for other in others}) == 8


def test_a_flip_is_a_flip() -> None:
    image = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    whole = {**STILL, "crop_area": (1, 1), "crop_aspect": (1, 1)}
    plain = augment_clip(image, 32, AugmentationConfig(**whole), np.random.default_rng(0))
    assert (plain.video == image).all()
    flipped = augment_clip(image, 32, AugmentationConfig(**{**whole, "flip": 1.0}), np.random.default_rng(0))
    assert (flipped.video == image[:, :, ::-1]).all()
    assert flipped.mirrored


def test_crops_keep_to_their_area_and_aspect() -> None:
    image = np.zeros((1, 100, 200, 3), np.uint8)
    config = AugmentationConfig(crop_area=(0.1, 0.5), crop_aspect=(0.75, 4 / 3), **STILL)
    areas, aspects = [], []
    for seed in range(200):
        matrix = augment_clip(image, 32, config, np.random.default_rng(seed)).matrix
        width, height = 32 / matrix[0, 0], 32 / matrix[1, 1]
        areas.append(width * height / 20000)
        aspects.append(width / height)
        corner = -(matrix[:, 2] + 0.5) / np.diag(matrix[:, :2]) + 0.5
        assert (corner > -1e-6).all()
        assert corner[0] + width <= 200 + 1e-6
        assert corner[1] + height <= 100 + 1e-6
    assert 0.09 < min(areas) < 0.15
    assert 0.4 < max(areas) < 0.51
    assert 0.72 < min(aspects) < max(aspects) < 1.38


def test_the_crops_of_testing() -> None:
    image = np.zeros((1, 48, 80, 3), np.uint8)
    image[:, :, :, 0] = np.arange(80)
    crops = [evaluation_crop(image, 48, number, 3) for number in range(3)]
    assert [int(crop.video[0, 0, 0, 0]) for crop in crops] == [0, 16, 32]
    assert (evaluation_crop(image, 48).video == crops[1].video).all()
    tall = evaluation_crop(np.swapaxes(image, 1, 2), 48, 2, 3)
    assert int(tall.video[0, 0, 0, 0]) == 32
    half = evaluation_crop(image, 24, 0, 1)
    np.testing.assert_allclose(half.matrix @ [16 + 23.5, 23.5, 1], [11.5, 11.5])  # the middle stays the middle
    assert abs(int(half.video[0, 5, 5, 0]) - 27) <= 1
    with pytest.raises(InputError, match="number 3 of 3; expected 0 to 2"):
        evaluation_crop(image, 24, 3, 3)


def test_colours_by_hand() -> None:
    clip = np.array([[[[10, 100, 200], [50, 60, 70]], [[0, 255, 128], [90, 80, 30]]]], np.uint8)
    assert (_PAINT["invert"](clip, 0.7) == 255 - clip).all()
    assert (_PAINT["posterize"](clip, 0.7) == clip // 64 * 64).all()  # 2 bits are left
    assert (_PAINT["posterize"](clip, 1.0) == 0).all()
    threshold = 256 - int(0.7 * 256)
    assert (_PAINT["solarize"](clip, -0.7) == np.where(clip < threshold, clip, 255 - clip)).all()
    assert _PAINT["solarize_add"](clip, 0.7)[0, 0, 0].tolist() == [87, 177, 200]
    assert _PAINT["brightness"](clip, 1.0)[0, 0, 1].tolist() == [95, 114, 133]
    assert _PAINT["brightness"](clip, -1.0)[0, 0, 1].tolist() == [5, 6, 7]
    grey = 0.299 * 50 + 0.587 * 60 + 0.114 * 70
    assert np.allclose(_PAINT["colour"](clip, -1.0)[0, 0, 1], grey + 0.1 * (np.array([50, 60, 70]) - grey), atol=1)
    stretched = _PAINT["auto_contrast"](clip, 0)
    assert stretched.min((1, 2)).tolist() == [[0, 0, 0]]
    assert (stretched.max((1, 2)) >= 254).all()
    flat = np.full((2, 4, 4, 3), 77, np.uint8)
    for name, operation in _PAINT.items():
        out = operation(flat, 0.7)
        assert out.shape == flat.shape, name
        assert out.dtype == np.uint8, name
        if name in ("auto_contrast", "contrast", "colour", "sharpness"):
            assert np.abs(out.astype(int) - 77).max() <= 1, name


def test_an_erased_rectangle_is_noise_in_one_place() -> None:
    clip = np.zeros((3, 40, 40, 3), np.uint8)
    made = _erase(clip, np.random.default_rng(0))
    changed = (made != 0).any((0, 3))
    rows, columns = np.nonzero(changed.any(1))[0], np.nonzero(changed.any(0))[0]
    box = changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert box.mean() > 0.9
    assert 0.01 < changed.mean() < 0.4
    assert (made == made[0]).all()
    assert (clip == 0).all()


def test_mixtures_by_hand() -> None:
    clips = np.stack([np.full((2, 8, 8, 3), value, np.uint8) for value in (0, 100, 200)])
    mixed = mix(clips, Mixture(0.75))
    assert mixed[:, 0, 0, 0, 0].tolist() == [50, 100, 150]
    cut = mix(clips, Mixture(1 - 6 / 64, (1, 2, 4, 4)))
    assert (cut[0, :, 2:4, 1:4] == 200).all()
    assert (cut[0] == 200).mean() == pytest.approx(6 / 64)
    assert mix(clips, Mixture()) is clips
    for seed in range(200):
        drawn = draw_mixture(MixConfig(), 8, np.random.default_rng(seed))
        if drawn.box is not None:
            x0, y0, x1, y1 = drawn.box
            assert drawn.share == pytest.approx(1 - (x1 - x0) * (y1 - y0) / 64)
    kinds = [draw_mixture(MixConfig(), 8, np.random.default_rng(seed)).box is None for seed in range(200)]
    assert 70 < sum(kinds) < 130
    assert draw_mixture(MixConfig(chance=0), 8, np.random.default_rng(0)) == Mixture()
    assert draw_mixture(MixConfig(mixup=0), 8, np.random.default_rng(3)).box is not None


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"crop_area": (0.5, 0.1)}, {"flip": 1.5}, {"magnitude": 11}, {"operations": -1}):
        with pytest.raises(InputError, match="expected"):
            AugmentationConfig(**wrong)
    with pytest.raises(InputError, match="expected parameters from 0 on"):
        MixConfig(mixup=-1)
