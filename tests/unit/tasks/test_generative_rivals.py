"""The rivals that predict: their batches, training by the common command, and futures from what they saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from palmist import pose_vector
from palmist.errors import InputError
from palmist.inputs.action_bank import ActionGroup, pad_sequences
from palmist.inputs.windows import to_pose_sequence
from palmist.readers import open_data
from palmist.splits import recordings_of
from palmist.tasks.generative import MotionDataConfig, SplitMotion, load_flattened, load_posegpt
from palmist.train import train_from_file

SETS = "{asl_words: {subjects: [S3]}, reach_to_grasp: {subjects: [P8]}}"
SIZES = {
    "flattened": "layers: 1, width: 32, heads: 2, feedforward: 32",
    "posegpt_codec": "codec_layers: 1, codec_width: 32, centroids: 16, code_dim: 16",
    "posegpt": "layers: 1, width: 32",
}


def trained(task: str, folder: Path, more: str = "") -> Path:
    (folder / f"{task}.yaml").write_text(
        f"task: {task}\nmodel: {{preset: small, {SIZES[task]}}}\ndata: {{sets: {SETS}{more}}}\nsteps: 2\nbatch_size: 4\n"
    )
    train_from_file(folder / f"{task}.yaml", {"out": str(folder / task)})
    return folder / task / "last"


def observation() -> tuple[torch.Tensor, torch.Tensor, pose_vector.EncodedPose]:
    """16 planar frames, (1, 16, 153), and their encoding."""
    sequence = to_pose_sequence(recordings_of(open_data("reach_to_grasp"), ["P1"])[0]).slice(0, 16)
    code = pose_vector.encode(sequence.joints[None], sequence.known[None], "planar")
    return *pose_vector.reset_first_motion(code.vector, code.known, code.palms.valid), code


def test_the_flattened_vae_is_trained_and_predicts_in_the_plane(tmp_path: Path) -> None:
    model = load_flattened(trained("flattened", tmp_path))
    vector, known, code = observation()
    frames, generator = torch.ones(1, 16, dtype=torch.bool), torch.Generator().manual_seed(0)
    futures = model.predict(vector, known, frames, code.palms, 24, 3, 5.0, generator, planar=True)
    assert futures.shape == (1, 3, 24, 2, 21, 3)
    assert (futures[..., 2] == 0).all()
    with pytest.raises(InputError, match="expected posegpt"):
        load_posegpt(tmp_path / "flattened" / "last")


def test_posegpt_is_trained_in_two_steps_and_goes_on_from_what_it_saw(tmp_path: Path) -> None:
    codec = trained("posegpt_codec", tmp_path)
    model = load_posegpt(trained("posegpt", tmp_path, f", codec_checkpoint: {codec}"))
    assert set(model.config.labels) >= {"get", "grasp small"}
    vector, known, code = observation()
    label = torch.tensor([model.config.labels.index("grasp small")])
    futures = model.predict(vector, known, code.palms, label, 31, 3, torch.Generator().manual_seed(0), planar=True)
    assert futures.shape == (1, 3, 31, 2, 21, 3)
    assert torch.isfinite(futures).all()
    assert (futures[..., 2] == 0).all()
    again = model.predict(vector, known, code.palms, label, 31, 3, torch.Generator().manual_seed(0), planar=True)
    assert torch.equal(futures, again)
    for name, tensor in load_posegpt(tmp_path / "posegpt" / "last").codec.state_dict().items():
        torch.testing.assert_close(tensor, model.codec.state_dict()[name])


def test_a_codec_of_its_own_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="codec_checkpoint is empty"):
        trained("posegpt", tmp_path)


def test_observed_and_future_frames_are_the_recording() -> None:
    """Put together again, both parts are the whole; nothing of the future is seen as observed."""
    recordings = recordings_of(open_data("reach_to_grasp"), ["P1"])[:6]
    hands = pad_sequences([to_pose_sequence(recording).slice(0, 40 + 10 * i) for i, recording in enumerate(recordings)])
    label = torch.zeros(6, dtype=torch.long)
    group = ActionGroup("reach", hands, label, torch.ones(1, dtype=torch.bool), "planar")
    data = SplitMotion([group], MotionDataConfig(clean_probability=1.0, whole_probability=0.3), use_augmentation=False)
    code = pose_vector.encode(hands.joints, hands.known, "planar")
    vector, known = pose_vector.reset_first_motion(code.vector, code.known, code.palms.valid)
    lengths = set()
    for seed in range(4):
        batch = data._finish(hands, label, label, group, torch.Generator().manual_seed(seed))
        assert torch.equal(batch["observed"], batch["observed_clean"])
        for row in range(6):
            seen, ahead = batch["observed_frames"][row], batch["future_frames"][row]
            length = int(hands.frames[row].sum())
            lengths.add(int(seen.sum()) / length)
            assert seen.any()
            assert torch.equal(torch.cat((batch["observed"][row][seen], batch["future"][row][ahead])), vector[row, :length])
            parts = (batch["observed_known"][row][seen], batch["future_known"][row][ahead])
            assert torch.equal(torch.cat(parts), known[row, :length])
            assert not batch["observed_known"][row][~seen].any()
    assert 1.0 in lengths
    assert len(lengths) > 6
