"""The plain transformer: its features by hand, what they do not see, that it learns by heart, and its section's records."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch

from palmist.benchmark import plain, plan
from palmist.errors import InputError
from palmist.evaluation.checkpoints import evaluate_checkpoint
from palmist.models.baselines.plain_transformer import FEATURES, PlainTransformer, PlainTransformerConfig, wrist_local
from palmist.readers import open_data
from palmist.splits import FOLDS, recordings_of
from palmist.tasks.plain_transformer import load_plain, recognise_plain
from palmist.train import train_from_file

ROOT = Path(__file__).resolve().parents[3]


def hands(rows: int = 6, frames: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, 2, frames, 21, 3, generator=generator), torch.ones(rows, 2, frames, 21, dtype=torch.bool)


def test_features_worked_by_hand() -> None:
    joints, known = hands(1, 2)
    known[0, 1, 1] = False  # the right hand is lost in the second frame
    known[0, 0, 0, 7] = False  # and one joint of the left in the first
    expected = []
    for frame in range(2):
        row: list[float] = []
        for hand in range(2):
            wrist = joints[0, hand, frame, 0]
            for joint in range(21):
                there = bool(known[0, hand, frame, joint])
                row += (joints[0, hand, frame, joint] - wrist).tolist() if there else [0.0, 0.0, 0.0]
            seen = bool(known[0, hand, frame, 0])
            row += [*(wrist[:2].tolist() if seen else [0.0, 0.0]), float(seen)]
        expected.append(row)
    found = wrist_local(joints, known)
    assert found.shape == (1, 2, FEATURES)
    torch.testing.assert_close(found[0], torch.tensor(expected))


def test_what_is_not_known_is_not_looked_at() -> None:
    joints, known = hands()
    known[:, 1] = False
    changed = joints.clone()
    changed[:, 1] += 100
    torch.testing.assert_close(wrist_local(joints, known), wrist_local(changed, known))
    assert not torch.allclose(wrist_local(joints, ~known), wrist_local(changed, ~known))


def test_it_learns_a_handful_by_heart() -> None:
    torch.manual_seed(0)
    config = PlainTransformerConfig(layers=3, width=32, heads=2, feedforward=64, dropout=0.0, frames=5, labels=tuple("abcdef"))
    model = PlainTransformer(config)
    joints, known = hands()
    batch = {
        "hands": joints.unsqueeze(1), "hands_known": known.unsqueeze(1), "label": torch.arange(6),
        "candidates": torch.ones(6, 6, dtype=torch.bool),
    }  # fmt: skip
    before = float(model.loss(batch)[0].detach())
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss, parts = model.loss(batch)
        loss.backward()
        optimizer.step()
    assert before > 1.0
    assert float(loss.detach()) < 0.05
    assert float(parts["accuracy"]) == 1.0


def test_labels_of_another_set_are_no_candidates() -> None:
    model = PlainTransformer(PlainTransformerConfig(layers=1, width=32, heads=2, frames=5, labels=("a", "b", "c"))).eval()
    joints, known = hands(4)
    candidates = torch.tensor([True, False, True]).expand(4, -1)
    batch = {"hands": joints[:, None], "hands_known": known[:, None], "label": torch.tensor([0, 2, 0, 2])}
    loss, _ = model.loss({**batch, "candidates": candidates})
    rows = model(joints[:, None], known[:, None])[:, [0, 2]]
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(rows, torch.tensor([0, 1, 0, 1])))


def test_another_number_of_frames_is_refused() -> None:
    model = PlainTransformer(PlainTransformerConfig(layers=1, width=32, heads=2, frames=5, labels=("a",)))
    joints, known = hands(1, 6)
    with pytest.raises(InputError, match="takes 5"):
        model(joints[:, None], known[:, None])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny one of three steps on signer S3, in the place of s1_a_plain_transformer."""
    root = tmp_path_factory.mktemp("runs")
    run = root / "s1_a_plain_transformer"
    config = ROOT / "configs/rivals/plain_transformer_small.yaml"
    settings = {"steps": 3, "batch_size": 8, "model.layers": 1, "model.width": 32, "data.sets.asl_words.subjects": ["S3"]}
    train_from_file(config, {**settings, "out": str(run)})
    (run / "finished").write_text("")
    return root


def test_the_common_command_trains_and_the_checkpoint_recognises(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = trained / "s1_a_plain_transformer/last"
    model = load_plain(checkpoint)
    items = [(recording, recording.segments[0].label) for recording in recordings_of(open_data("asl_words"), ["S3"])[:7]]
    probabilities, truth = recognise_plain(model, items, ("nothing", *model.config.labels), batch_size=3)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(7))
    assert float(probabilities[:, 0].max()) == 0.0  # a label that it does not know
    assert [model.config.labels[i - 1] for i in truth] == [label for _, label in items]
    names = [record.name for record in evaluate_checkpoint(checkpoint, "asl_words", "cross_signer_a")]
    assert names[0] == "asl_words/cross_signer_a/plain_transformer/accuracy"
    monkeypatch.setattr(plan, "ROOT", trained)
    (record,) = plain.plain_transformer(train=False)  # split B and the other seeds are not there
    assert record.name == names[0]
    assert record.seeds == (1,)
    assert record.n == len(recordings_of(open_data("asl_words"), FOLDS[1].signers))


def test_other_checkpoints_are_refused() -> None:
    from palmist.model_zoo import checkpoint_path

    with pytest.raises(InputError, match="kind 'ghtt'"):
        load_plain(checkpoint_path("ghtt-small"))


@pytest.mark.parametrize(("split", "number"), [("a", 1), ("b", 2)])
def test_trainings_never_see_the_test_signers(split: str, number: int) -> None:
    jobs = [job for job in plan.plain_jobs() if f"_{split}_" in job.name]
    assert [job.settings["seed"] for job in jobs] == list(plan.TABLE_SEEDS)
    for job in jobs:
        assert not set(job.settings["data.sets.asl_words.subjects"]) & set(FOLDS[number].signers)
        assert (ROOT / job.config).is_file()
    names = functools.reduce(set.union, ({job.name} for job in plan.plain_jobs()))
    assert not names & {job.name for job in plan.body_hand_jobs()}
