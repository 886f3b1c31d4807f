"""HTT and the recognition-only transformer: masks, windows, training by the common command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from palmist.errors import InputError
from palmist.models.baselines.htt import HTT, HTTConfig
from palmist.models.baselines.recognition_only import RecognitionOnly, RecognitionOnlyConfig
from palmist.readers import open_data
from palmist.splits import recordings_of
from palmist.tasks.rivals import load_rival, recognise_rival
from palmist.train import train_from_file

KINDS = ["htt", "htt_inside_ghtt", "recognition_only"]
SIZE = {"width": 32, "heads": 2, "feedforward": 64, "label_dim": 8}


def rival(kind: str) -> HTT | RecognitionOnly:
    torch.manual_seed(0)
    model: HTT | RecognitionOnly
    if kind != "recognition_only":
        form = {"classifier": "text", "context_channels": 26} if kind == "htt_inside_ghtt" else {}
        config = HTTConfig(pose_layers=1, action_layers=1, window=8, max_tokens=16, motion_input=True, **SIZE, **form)
        model = HTT(replace(config, labels=("a", "b", "c")))
    else:
        model = RecognitionOnly(RecognitionOnlyConfig(layers=2, max_frames=16, **SIZE))
    model.set_labels(["a", "b", "c"], torch.eye(8)[:3])
    return model.eval()


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(3, 16, 153, generator=generator)
    mask = torch.arange(16) < torch.tensor([[16], [5], [12]])
    return {
        "frames": frames, "frames_clean": frames + 0.1, "known": torch.rand(3, 16, 153, generator=generator) < 0.8,
        "mask": mask, "label": torch.tensor([0, 2, -1]),
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_known_and_padding_change_nothing(kind: str) -> None:
    model, given = rival(kind), batch()
    spoilt = {name: value.clone() for name, value in given.items()}
    spoilt["frames"][~(given["known"] & given["mask"].unsqueeze(-1))] = 1e3
    spoilt["frames_clean"][~(given["known"] & given["mask"].unsqueeze(-1))] = 1e3
    torch.testing.assert_close(model.loss(spoilt)[0], model.loss(given)[0])
    short = {name: value[1:2, :5] if value.dim() > 1 else value[1:2] for name, value in given.items()}
    alone = model.recognise(short["frames"], short["known"], short["mask"])
    torch.testing.assert_close(model.recognise(given["frames"], given["known"], given["mask"])[1:2], alone)


def test_the_body_context_counts_where_it_is_known() -> None:
    model, given = rival("htt_inside_ghtt"), batch()
    assert isinstance(model, HTT)
    known = torch.ones(3, 16, dtype=torch.bool)
    context = torch.randn(3, 16, 26)
    parts = (given["frames"], given["known"], given["mask"])
    plain, other = model(*parts, context, known).action, model(*parts, context + 1, known).action
    assert not torch.allclose(plain, other)
    torch.testing.assert_close(model(*parts, context, ~known).action, model(*parts).action)


def test_a_linear_classifier_keeps_its_labels() -> None:
    with pytest.raises(InputError, match="train it for others"):
        rival("htt").set_labels(["a", "d", "c"], torch.eye(8)[:3])


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_recording_is_the_sum_over_its_windows(kind: str) -> None:
    model = rival(kind)
    frames, known = torch.randn(1, 40, 153), torch.ones(1, 40, 153, dtype=torch.bool)
    mask = torch.ones(1, 40, dtype=torch.bool)
    parts = [model.recognise(frames[:, i : i + 16], known[:, i : i + 16], mask[:, i : i + 16]) for i in (0, 16, 32)]
    torch.testing.assert_close(model.recognise(frames, known, mask), sum(parts) / 3)
    with pytest.raises(InputError, match="too many"):
        model(frames, known, mask)


def test_httss_pose_windows_do_not_see_each_other() -> None:
    model = rival("htt")
    assert isinstance(model, HTT)
    given = batch()
    changed = given["frames"].clone()
    changed[:, 8:] += 1
    ones = torch.ones(3, 16, dtype=torch.bool)
    known = torch.ones_like(changed, dtype=torch.bool)
    before, after = model(given["frames"], known, ones), model(changed, known, ones)
    torch.testing.assert_close(before.refined[:, :8], after.refined[:, :8])
    assert not torch.allclose(before.refined[:, 8:], after.refined[:, 8:])
    assert not torch.allclose(before.action, after.action)


@pytest.mark.parametrize("kind", KINDS)
def test_the_common_command_trains_and_the_checkpoint_recognises(kind: str, tmp_path: Path) -> None:
    layers = "layers: 1" if kind == "recognition_only" else "pose_layers: 1, action_layers: 1"
    task, preset = ("htt", "small_inside_ghtt") if kind == "htt_inside_ghtt" else (kind, "small")
    (tmp_path / "rival.yaml").write_text(
        f"task: {task}\nmodel: {{preset: {preset}, width: 32, heads: 2, feedforward: 32, {layers}}}\n"
        "data: {sets: {asl_words: {subjects: [S3], unsigned_label: idle}}}\nsteps: 3\nbatch_size: 8\n"
    )
    train_from_file(tmp_path / "rival.yaml", {"out": str(tmp_path / "run")})
    model = load_rival(tmp_path / "run" / "last")
    recordings = recordings_of(open_data("asl_words"), ["S3"])[:7]
    items = [(recording, recording.segments[0].label) for recording in recordings]
    probabilities, truth = recognise_rival(model, items, model.config.labels)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(7))
    assert [model.config.labels[i] for i in truth] == [label for _, label in items]


def test_other_checkpoints_and_presets_are_refused(tmp_path: Path) -> None:
    from palmist.model_zoo import checkpoint_path

    with pytest.raises(InputError, match="kind 'ghtt'"):
        load_rival(checkpoint_path("ghtt-small"))
    (tmp_path / "rival.yaml").write_text(
        "task: htt\nmodel: {preset: big}\ndata: {sets: {asl_words: {subjects: [S3]}}}\nsteps: 1\n"
    )
    with pytest.raises(InputError, match="no preset 'big' of htt"):
        train_from_file(tmp_path / "rival.yaml", {"out": str(tmp_path / "run")})
