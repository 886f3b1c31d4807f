"""Pictures from drawings and real videos, and the training task of the RGB branch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from palmist.checkpoint import save_checkpoint
from palmist.config import TrainConfig, load_config
from palmist.demo_data import demo_video
from palmist.errors import InputError
from palmist.inputs.rgb import drawn_batch, drawn_parts, join_batches, recording_parts, video_batch
from palmist.models.bharnet import BHaRNet, BHaRNetConfig
from palmist.models.graph_backbones import TrunkConfig
from palmist.models.rgb_guided import RGBGuided, RGBGuidedConfig, collage
from palmist.readers import open_data
from palmist.recording import ActionSegment, Body, Recording
from palmist.recording_file import write_recording
from palmist.render import RenderSettings, hand_of_code, render_clip
from palmist.skeleton import BODY_LAYOUTS, mirror
from palmist.tasks import TASKS
from palmist.tasks.rgb_guided import RGBTask, load_rgb_guided, recognise_pictures, tracked_videos
from tiny_video import HEIGHT, WIDTH, numbered_image, write_tiny

CONFIG = "configs/bharnet/rgb_small.yaml"
STILL = RenderSettings(size=96, background="plain", camera_motion=0.0, tracks=0)


@pytest.fixture(scope="module")
def words() -> list[Recording]:
    return [recording for recording in open_data("asl_words") if recording.subject != "S2" and recording.valid.any()]


@pytest.fixture(scope="module")
def signed(words: list[Recording]) -> Recording:
    """A two-handed word with both hands and the body in every frame."""
    return next(r for r in words[1000:] if r.valid.all() and r.body is not None and r.body.valid[:, :17].all())


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory, words: list[Recording]) -> Path:
    """An untrained BHaRNet that knows the words."""
    labels = tuple(sorted({recording.segments[0].label for recording in words}))
    trunk = TrunkConfig(width=16, blocks=2, widen=(2,))
    torch.manual_seed(0)
    model = BHaRNet(BHaRNetConfig(body_graph="upper7", trunk=trunk, frames=20, rate=20.0, labels=labels))
    from dataclasses import asdict

    facts = {"model": "bharnet", "bharnet": asdict(model.config)}
    return save_checkpoint(tmp_path_factory.mktemp("guide") / "last", dict(model.state_dict()), facts)


def settings(guide: Path, **more: Any) -> TrainConfig:
    few = {
        "data.skeleton_checkpoint": str(guide), "data.clips": 12, "data.render": {"size": 64}, "data.pictures": 6,
        "model.width": 8, "model.tile": 16, "steps": 2, "batch_size": 8, "warmup_steps": 1,
    }  # fmt: skip
    return load_config(TrainConfig, CONFIG, few | more)


def network(guide: Path) -> RGBGuided:
    model = RGBTask().build_model(settings(guide))
    assert isinstance(model, RGBGuided)
    return model.eval()


# ------------------------------------------------------------------------------------------------------- where parts are


def video_recording(frames: int = 40, body: bool = True) -> Recording:
    """Over the tiny video: the right hand's middle knuckle in the middle of the red half, the left one's in the blue."""
    joints = np.zeros((frames, 2, 21, 3), np.float32)
    joints[:, 1, :, :2] = (0.2, 0.7)
    joints[:, 0, :, :2] = (0.8, 0.7)
    joints[:, :, 9, 0] += 0.05
    joints[:, :, 13:, 1] -= 0.05
    names = BODY_LAYOUTS["mediapipe25"]
    where = np.zeros((frames, len(names), 3), np.float32)
    valid = np.zeros((frames, len(names)), bool)
    for name, place in {"left_shoulder": (0.75, 0.5), "right_shoulder": (0.25, 0.5), "nose": (0.5, 0.1)}.items():
        where[:, names.index(name), :2], valid[:, names.index(name)] = place, True
    return Recording(
        joints, np.ones((frames, 2), bool), np.arange(frames) / 25, "image", name="tiny", aspect=WIDTH / HEIGHT,
        body=Body(where, valid, "mediapipe25") if body else None, segments=(ActionSegment(0.0, frames / 25, "tea"),),
    )  # fmt: skip


def test_parts_of_a_tracked_recording_by_hand() -> None:
    recording = video_recording()
    parts = recording_parts(recording, WIDTH, HEIGHT)
    assert parts.shoulders == pytest.approx(0.5 * WIDTH)
    assert parts.points.shape == (40, 1, 5, 2)
    assert parts.known[0, 0].tolist() == [True, True, True, False, False]
    expected = np.array([(0.5, 0.1), (0.25, 0.7), (0.85, 0.7)]) * (WIDTH, HEIGHT) - 0.5
    np.testing.assert_allclose(parts.points[3, 0, :3], expected, atol=1e-4)
    # Without a body: hands alone, and four hand sizes for the shoulders.
    alone = recording_parts(replace(recording, body=None), WIDTH, HEIGHT)
    assert alone.known[0, 0].tolist() == [False, True, True, False, False]
    assert alone.shoulders == pytest.approx(4 * 0.05 * WIDTH, rel=1e-4)
    # A hand whose knuckle is not known is taken at its wrist; a hand that is lost at the body's wrist, where that is known.
    confidence = np.ones((40, 2, 21), np.float32)
    confidence[:, 1, 9] = 0
    valid = np.ones((40, 2), bool)
    valid[:, 0] = False
    lost = replace(recording, confidence=confidence, valid=valid)
    changed = recording_parts(lost, WIDTH, HEIGHT)
    np.testing.assert_allclose(changed.points[0, 0, 1], np.array([0.2 * WIDTH, 0.7 * HEIGHT]) - 0.5, atol=1e-4)
    assert not changed.known[0, 0, 2]
    assert lost.body is not None
    body, seen = np.array(lost.body.joints), np.array(lost.body.valid)
    body[:, 15, :2], seen[:, 15] = (0.9, 0.9), True
    with_wrist = recording_parts(replace(lost, body=Body(body, seen, "mediapipe25")), WIDTH, HEIGHT)
    np.testing.assert_allclose(with_wrist.points[0, 0, 2], np.array([0.9 * WIDTH, 0.9 * HEIGHT]) - 0.5, atol=1e-4)
    planar = replace(recording, space="planar", aspect=None, body=None)
    assert recording_parts(planar, WIDTH, HEIGHT).points[0, 0, 1, 0] == pytest.approx(0.25)
    with pytest.raises(InputError, match="is metric"):
        recording_parts(replace(planar, space="metric"), WIDTH, HEIGHT)


def test_parts_of_a_drawn_clip_lie_on_what_was_drawn(signed: Recording) -> None:
    for style in (STILL, replace(STILL, camera_motion=2.0, size=64)):
        clip = render_clip(signed, style, seed=1)
        parts = drawn_parts(signed, style, 1, clip.truth.camera)
        np.testing.assert_allclose(parts.points[:, 0, [2, 1]], clip.truth.joints[:, :, 9], atol=0.01)
        hits = []
        for row, side in ((1, 1), (2, 0)):
            pixel = np.rint(parts.points[:, 0, row]).astype(int)
            inside = ((pixel >= 0) & (pixel < style.size)).all(1)
            here = clip.parts[np.flatnonzero(inside), pixel[inside, 1], pixel[inside, 0]]
            hits.append((hand_of_code(here) == side).mean())
        assert min(hits) > 0.7  # the other hand or a finger may cover it


def test_the_mirrored_word_exchanges_the_rows(signed: Recording) -> None:
    one, other = signed, mirror(signed)
    size = (200, 150)
    parts, mirrored = recording_parts(one, *size), recording_parts(other, *size)
    exchange = [0, 2, 1, 4, 3]
    flipped = parts.points[:, :, exchange] * [-1, 1] + [size[0] - 1, 0]
    np.testing.assert_allclose(mirrored.points[mirrored.known], flipped[mirrored.known], atol=1e-2)
    assert np.array_equal(mirrored.known, parts.known[:, :, exchange])
    assert mirrored.shoulders == pytest.approx(parts.shoulders, rel=1e-4)


# ------------------------------------------------------------------------------------------------------------- real video


def test_a_real_video_becomes_a_batch(tmp_path: Path, guide: Path) -> None:
    video = write_tiny(tmp_path / "clip.mp4")
    model = network(guide)
    config = replace(model.config, crop_shoulders=0.25)  # 16 pixels
    batch = video_batch(video, video_recording(), config)
    assert batch["collage"].shape == (1, 80, 80, 3)
    assert batch["seen"][0].tolist() == [[True] * 5] * 3 + [[False] * 5] * 2
    tiles = batch["collage"][0].numpy().reshape(5, 16, 5, 16, 3)
    for column in range(5):
        red, blue = tiles[1, 4:12, column, 4:12].mean((0, 1)), tiles[2, 4:12, column, 4:12].mean((0, 1))
        assert np.abs(red - [220, 30, 30]).max() < 25
        assert np.abs(blue - [30, 30, 220]).max() < 25
    # The head's row shows the frames' numbers: frames 6 (x = 64: bit 4) to 32 of 40.
    for column, number in enumerate((6, 13, 20, 26, 32)):
        bright = tiles[0, 8, column, 10:14].mean() > 128
        assert bright == (numbered_image(number)[9, 68].mean() > 128)
    assert model.recognise(**batch).shape == (1, len(model.config.labels))
    late = video_recording(80)
    with pytest.raises(InputError, match="lies outside"):
        video_batch(video, late, config)


def test_the_demo_video_shows_its_hand(guide: Path) -> None:
    video, recording = demo_video()
    model = network(guide)
    batch = video_batch(video, recording, replace(model.config, tile=45))
    seen = batch["seen"][0]
    assert seen[1].all()
    assert not seen[[0, 2, 3, 4]].any()
    row = batch["collage"][0, 45:90].float()
    skin = (row[..., 0] > row[..., 2] + 10).float().mean()  # the background is grey
    assert 0.2 < float(skin) < 0.95
    assert not batch["collage"][0, :45].any()
    weights = model.row_weights(
        model.skeleton.look(*(batch[name] for name in ("body", "body_known", "hands", "hands_known"))), batch["seen"]
    )
    assert (weights[0] > 0).tolist() == [False, True, False, False, False]


# ------------------------------------------------------------------------------------------------------------- task


def test_the_task_trains_and_its_checkpoint_is_read(tmp_path: Path, guide: Path) -> None:
    config = settings(guide)
    task = TASKS["rgb_guided"]()
    data, model = task.train_data(config), task.build_model(config)
    assert 8 <= len(data) <= 12
    chances = [data.weights[data.label == label].sum() for label in np.unique(data.label)]
    np.testing.assert_allclose(chances, chances[0])
    first = data.batch(np.arange(8), torch.Generator().manual_seed(0))
    again = data.batch(np.arange(8), torch.Generator().manual_seed(0))
    other = data.batch(np.arange(8), torch.Generator().manual_seed(1))
    assert all(torch.equal(values, again[name]) for name, values in first.items())
    assert not torch.equal(first["collage"], other["collage"])
    assert first["collage"].shape == (8, 80, 80, 3)
    labels = [model.config.labels[row] for row in first["label"].tolist()]
    assert labels == data.store.labels[:8]
    total, _ = model.loss(first)
    total.backward()
    content = task.collect(model, config)
    save_checkpoint(tmp_path / "model", content.state, content.config)
    loaded = load_rgb_guided(tmp_path / "model")
    assert loaded.config == model.config
    plain = RGBTask()._dataset(config, RGBTask()._read(config).sets, [], training=False)
    found, truth = recognise_pictures(loaded, plain, batch_size=5)
    assert found.fused.shape == (len(plain), len(loaded.config.labels))
    assert truth.tolist() == plain.label.tolist()
    torch.testing.assert_close(found.rgb.sum(1), torch.ones(len(plain)))
    whole, _ = recognise_pictures(loaded, plain)
    torch.testing.assert_close(found.fused, whole.fused, atol=1e-5, rtol=1e-4)
    from palmist.tasks.skeletons import load_bharnet

    with pytest.raises(InputError, match="kind 'bharnet'"):
        load_rgb_guided(guide)
    with pytest.raises(InputError, match="kind 'rgb_guided'"):
        load_bharnet(tmp_path / "model")


def test_the_store_shows_what_a_single_clip_shows(guide: Path, words: list[Recording]) -> None:
    """Without augmentation the dataset's picture is the clip's own collage, and shifted crops stay within the margin."""
    config = settings(guide, **{"data.pictures": 100, "data.clips": 3, "data.shift": 0.0, "data.colour": 0.0})
    data = RGBTask()._dataset(config, RGBTask()._read(config).sets, [], training=False)
    model_config = data.store.config
    single = join_batches([drawn_batch(recording, RenderSettings(size=64), model_config) for recording in _chosen(config)])
    batch = data.batch(np.arange(len(data)), torch.Generator())
    for name, values in single.items():
        assert torch.equal(batch[name], values), name


def _chosen(config: TrainConfig) -> list[Recording]:
    from palmist.render.folder import choose
    from palmist.tasks.labelled import labelled_parts, load_recordings

    sets = RGBTask()._read(config).sets
    recordings = choose(load_recordings("asl_words", sets["asl_words"]), None, 3)
    return [part for recording in recordings for part, _ in labelled_parts(recording, None)]


def test_real_videos_train_beside_drawings(tmp_path: Path, guide: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    write_tiny(folder / "one.mp4")
    with pytest.raises(InputError, match=r"one\.mp4 has no tracks beside it; expected one\.npz"):
        list(tracked_videos(folder))
    write_recording(folder / "one.npz", video_recording())
    config = settings(guide, **{"data.videos": [str(folder)], "data.sets": {"asl_words": {"subjects": ["S3"]}}})
    data = TASKS["rgb_guided"]().train_data(config)
    assert data.store.labels[-1] == "tea"
    batch = data.batch(np.array([0, len(data) - 1]), torch.Generator().manual_seed(0))
    assert batch["seen"][1].sum() == 15
    total, _ = TASKS["rgb_guided"]().build_model(config).loss(batch)
    assert torch.isfinite(total)
    validation = settings(guide, **{"data.validation_videos": [str(folder)], "data.clips": 1})
    held_out = TASKS["rgb_guided"]().validation_data(validation)
    assert held_out is not None
    assert len(held_out) == 1
    assert TASKS["rgb_guided"]().validation_data(config) is None
    with pytest.raises(InputError, match="holds no video"):
        list(tracked_videos(tmp_path / "nothing"))


def test_a_handful_of_clips_is_learnt(guide: Path) -> None:
    config = settings(guide, **{"data.clips": 8, "data.augment": False, "model.label_smoothing": 0.0, "model.dropout": 0.0})
    torch.manual_seed(0)
    data, model = RGBTask().train_data(config), RGBTask().build_model(config).train()
    batch = data.batch(np.arange(len(data)), torch.Generator())
    optimizer = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], 3e-3)
    losses = []
    for _ in range(20):
        total, parts = model.loss(batch)  # type: ignore[operator]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(float(total.detach()))
    assert losses[-1] < 0.1 * losses[0]
    assert parts["accuracy_rgb"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data.skeleton_checkpoint": ""}, "skeleton_checkpoint is empty"),
        ({"data.sets": {"asl_letters": {"subjects": ["S3"]}}}, "does not know the label"),
        ({"data.sets": {"asl_words": {"unsigned_label": "idle"}}}, "augmented joints"),
        ({"model.preset": "large"}, "no preset 'large'"),
        ({"data.backbone_weights": "nowhere.pth"}, "nowhere.pth does not exist"),
    ],
)
def test_wrong_settings_are_named(guide: Path, change: dict[str, Any], message: str) -> None:
    config = settings(guide, **{"data.clips": 2} | change)

    def begin() -> None:
        RGBTask().train_data(config)
        RGBTask().build_model(config)

    with pytest.raises(InputError, match=message):
        begin()


def test_no_clip_at_all_is_named(guide: Path) -> None:
    with pytest.raises(InputError, match="no labelled clip"):
        RGBTask()._dataset(settings(guide), {}, [], training=True)


def test_imagenet_weights_are_taken_from_a_local_file(tmp_path: Path, guide: Path) -> None:
    from safetensors.torch import save_file

    config = settings(guide, **{"data.backbone_weights": str(tmp_path / "resnet.safetensors")})
    given = {name: values + 1 for name, values in RGBTask().build_model(settings(guide)).backbone.state_dict().items()}  # type: ignore[union-attr]
    save_file(given, tmp_path / "resnet.safetensors")
    model = RGBTask().build_model(config)
    assert all(torch.equal(values, given[name]) for name, values in model.backbone.state_dict().items())  # type: ignore[union-attr]


def test_a_collage_of_a_drawing_is_the_pure_function(signed: Recording, guide: Path) -> None:
    config = RGBGuidedConfig(network(guide).config.skeleton, tile=16, crop_pixels=12.0)
    clip = render_clip(signed, STILL, 0)
    parts = drawn_parts(signed, STILL, 0, clip.truth.camera)
    picture, seen = collage(clip.frames, parts.points, parts.known, 12.0, 16)
    batch = drawn_batch(signed, STILL, config)
    assert np.array_equal(batch["collage"][0].numpy(), picture)
    assert np.array_equal(batch["seen"][0].numpy(), seen)
