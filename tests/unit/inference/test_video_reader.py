"""Video networks as readers: displacement fields point where things move, and the command names actions and draws."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from palmist.checkpoint import save_checkpoint
from palmist.cli import main
from palmist.errors import InputError
from palmist.evaluation.videos import DRAWING, load_tested, recognise_tested
from palmist.inference.videos import load_video_reader
from palmist.model_zoo import checkpoint_path
from palmist.models.emim import displacements
from palmist.models.trec import PRESETS as TREC
from palmist.models.trec import TRec
from palmist.models.uniformer import PRESETS, UniFormer
from palmist.video_sets import RenderedConfig, TrackConfig, rendered_videos
from palmist.video_sets.dataset import ClipConfig
from palmist.view.motion import draw_arrows, draw_tails, side_by_side
from tiny_video import write_tiny

LABELS = ("to the left", "to the right")
CLIP = ClipConfig(4, 32)


def save_emim(folder: Path, kind: str = "emim") -> Path:
    sizes = {"depths": (1, 1, 1, 1), "widths": (8, 8, 16, 16), "head_size": 8, "window": 3, "frames": 4, "size": 32}
    torch.manual_seed(0)
    network = UniFormer(replace(PRESETS[kind]["small"], **sizes, labels=LABELS))
    facts = {"model": kind, kind: asdict(network.config), "clip": asdict(CLIP)}
    save_checkpoint(folder, network.state_dict(), facts, {}, "")
    return folder


def save_trec(folder: Path, **tracks: object) -> Path:
    torch.manual_seed(0)
    sizes = {"width": 16, "layers": 1, "heads": 2, "image_width": 4, "frames": 4, "size": 32}
    network = TRec(replace(TREC["small"], **sizes, labels=LABELS))
    chosen = asdict(TrackConfig(points=20, **tracks))
    facts = {"model": "trec", "trec": asdict(network.config), "clip": asdict(CLIP), "tracks": chosen}
    save_checkpoint(folder, network.state_dict(), facts, {}, "")
    return folder


def test_displacements_are_the_mean_offset_x_first() -> None:
    affinity = torch.full((1, 2, 1, 1, 2, 9), -1e9)
    affinity[..., 0, 3 * 1 + 2] = 0  # row 1, column 2 of 3 x 3: one place to the right
    affinity[..., 1, 3 * 2 + 1] = 0  # below
    affinity[:, 1, ..., 1, :] = 0  # the other head does not know
    found = displacements(affinity)
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.0], [0.0, 0.5]]).view(1, 1, 1, 2, 2))


def test_a_field_follows_a_map_that_moves() -> None:
    """Untrained, with queries and keys that are one projection: what looks alike is found again."""
    torch.manual_seed(0)
    sizes = {"depths": (0, 0, 1, 1), "widths": (32, 32, 32, 32), "strides": (4, 1, 1, 1), "head_size": 32, "window": 5}
    network = UniFormer(replace(PRESETS["emim"]["small"], **sizes, labels=LABELS)).eval()
    generator = np.random.default_rng(0)
    texture = cv2.resize(generator.integers(0, 256, (16, 16, 3), np.uint8), (64, 64), interpolation=cv2.INTER_NEAREST)
    video = torch.from_numpy(np.stack([np.roll(texture, 4 * t, axis=1) for t in range(3)]))[None]
    field = network.displacements(video)
    assert field.shape == (1, 2, 16, 16, 2)
    middle = field[0, 0, 4:12, 4:12].mean((0, 1))
    still = network.displacements(video[:, :1].expand(-1, 3, -1, -1, -1))[0, 0, 4:12, 4:12].mean((0, 1))
    right, down = (middle - still).tolist()
    assert right > 0.3  # pixels; the softmax of an untrained map is far from sharp
    assert abs(down) < right / 2


def test_tails_end_at_the_point_and_lost_points_are_left_out() -> None:
    frame = np.zeros((20, 20, 3), np.uint8)
    tracks = np.array([[[2.0, 5.0], [15, 15]], [[12, 5], [15, 15]]])
    draw_tails(frame, tracks, np.array([[True, True], [True, False]]))
    assert frame[5, 7].any()  # on the way
    assert frame[5, 12, 0] > 200
    assert frame[5, 12, 2] < 100  # red: to the right
    assert not frame[12:, 12:].any()
    draw_arrows(frame, np.array([[10.0, 16.0]]), np.array([[0.0, -3.0]]), magnify=2)
    assert frame[10, 10].any()
    assert side_by_side([frame, frame, frame], 2).shape == (40, 40, 3)


@pytest.mark.parametrize("kind", ["emim", "trec"])
def test_read_names_the_action_and_draws_what_was_seen(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = write_tiny(tmp_path / "clip.mp4")
    model = save_emim(tmp_path / "model") if kind == "emim" else save_trec(tmp_path / "model")
    with pytest.raises(SystemExit) as ended:
        main(
            ["read", str(video), "--model", str(model), "--out", str(tmp_path / "out"), "--json", str(tmp_path / "found.json")]
        )
    assert ended.value.code == 0
    assert "to the" in capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert found["label"] == max(found["probabilities"], key=found["probabilities"].__getitem__)
    assert cv2.imread(str(tmp_path / "out/clip_motion.png")).shape[0] >= 480
    assert not list(tmp_path.glob("clip.mp4?*"))  # no tracks beside the video


def test_what_cannot_be_read_or_drawn_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = write_tiny(tmp_path / "clip.mp4")
    plain = load_video_reader(save_emim(tmp_path / "plain", "uniformer"))
    assert plain.read(video, clips=2, crops=3).views == 6
    with pytest.raises(InputError, match="sees no motion"):
        plain.draw(video, tmp_path / "x.png")
    with pytest.raises(InputError, match="true tracks of drawings"):
        load_video_reader(save_trec(tmp_path / "oracle", tracker="truth")).read(video)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(InputError, match=r"text\.mp4 is not a video"):
        plain.read(tmp_path / "text.mp4")
    with pytest.raises(InputError, match="kind 'ghtt'"):
        load_video_reader("ghtt-small")
    with pytest.raises(SystemExit) as ended:
        main(["read", "word.npz", "--model", str(tmp_path / "plain")])
    assert ended.value.code == 2
    assert "reads video files" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("name", ["emim-words", "trec-words"])
def test_a_shipped_network_names_drawn_words_of_a_signer_it_never_saw(name: str) -> None:
    """Its accuracy is in docs/results.md; here 48 recordings, and the chance is one in sixteen."""
    tested = load_tested(checkpoint_path(name))
    settings = {**DRAWING, "size": 72}
    videos = rendered_videos(RenderedConfig(subjects=("S2",), limit=48, settings=settings))
    found = recognise_tested(tested, videos)
    assert (found.probabilities.argmax(1) == found.truth).mean() > 0.4
