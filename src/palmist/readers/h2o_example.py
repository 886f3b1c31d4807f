"""A tiny made-up data set in H2O's exact layout, for tests and for trying `palmist prepare h2o` without registration.

Four subjects, one short sequence each, five cameras that see the same scene: four fixed ones and a moving one (cam4).
The hands are smooth synthetic motion, no recording of anybody; MANO files count their numbers, so that a shift shows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from palmist.errors import InputError
from palmist.readers.h2o import ACTIONS, CAMERAS, OBJECTS, RATE

FRAMES = 96
INTRINSICS = (636.66, 636.25, 635.28, 366.87, 1280, 720)
#: (split, sequence, ((action label, start frame, end frame), ...))
SEQUENCES: tuple[tuple[str, str, tuple[tuple[int, int, int], ...]], ...] = (
    ("train", "subject1/h1/0", ((5, 2, 20), (13, 22, 44))),
    ("train", "subject2/k1/1", ((23, 4, 40),)),
    ("val", "subject3/o1/0", ((13, 3, 47), (5, 49, 94))),
    ("test", "subject4/h2/2", ((33, 5, 30),)),
)


def write_h2o_example(root: str | Path, test_labels: bool = False, seed: int = 0) -> Path:
    """Write the example below `root` (a new or empty folder) and return root.

    test_labels: append the label as the last column of action_test.txt, as holders of the labels do; the official file
    has none, and the example's subject 4 has no action_label folder either.
    """
    root = Path(root)
    if root.exists() and any(root.iterdir()):
        raise InputError(f"{root} is not empty; expected a new folder for the example")
    generator = np.random.default_rng(seed)
    rows: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for split, sequence, segments in SEQUENCES:
        world = _hands(generator)
        for camera in CAMERAS:
            _write_camera(root / sequence / f"cam{camera}", world, camera == 4, segments, generator, split != "test")
        for action, start, end in segments:
            cells = [len(rows[split]) + 1, sequence, action, start, end, 0, FRAMES - 1]
            if split == "test":
                cells = [*cells[:2], *cells[3:], *([action] if test_labels else [])]
            rows[split].append(" ".join(str(cell) for cell in cells))
    folder = root / "action_labels"
    folder.mkdir(parents=True)
    for split, lines in rows.items():
        label = "" if split == "test" else "action_label "
        header = f"id path {label}start_act end_act start_frame end_frame"
        (folder / f"action_{split}.txt").write_text("\n".join([header, *lines]) + "\n")
    return root


def _hands(generator: np.random.Generator) -> np.ndarray:
    """(T, 2, 21, 3) metres in the world: two hands that drift and turn over a table."""
    time = np.arange(FRAMES) / RATE
    joints = np.zeros((FRAMES, 2, 21, 3))
    for side, sign in enumerate((-1.0, 1.0)):
        hand = np.zeros((21, 3))
        for finger in range(5):
            for joint in range(4):
                reach = (0.04 + 0.025 * joint) if finger == 0 else (0.09 + 0.025 * joint)
                hand[1 + 4 * finger + joint] = (sign * 0.02 * (2 - finger), reach, 0.003 * joint)
        phase = generator.uniform(0, 2 * np.pi, 4)
        turn = _turns(0.5 * np.sin(time + phase[0]), 0.3 * np.sin(2 * time + phase[1]))
        centre = np.stack([sign * 0.12 + 0.06 * np.sin(time + phase[2]), 0.05 * np.cos(time + phase[3]), 0.02 * time], axis=-1)
        joints[:, side] = np.einsum("tij,kj->tki", turn, hand) + centre[:, None]
    return joints


def _turns(about_z: np.ndarray, about_x: np.ndarray) -> np.ndarray:
    """(T, 3, 3) rotations from two angles per frame."""
    zero, one = np.zeros_like(about_z), np.ones_like(about_z)
    sin_z, cos_z, sin_x, cos_x = np.sin(about_z), np.cos(about_z), np.sin(about_x), np.cos(about_x)
    first = np.stack([cos_z, -sin_z, zero, sin_z, cos_z, zero, zero, zero, one], -1).reshape(-1, 3, 3)
    second = np.stack([one, zero, zero, zero, cos_x, -sin_x, zero, sin_x, cos_x], -1).reshape(-1, 3, 3)
    return first @ second


def _write_camera(
    folder: Path,
    world: np.ndarray,
    moving: bool,
    segments: tuple[tuple[int, int, int], ...],
    generator: np.random.Generator,
    labelled: bool,
) -> None:
    """One camN folder: hand_pose, hand_pose_MANO, cam_pose, obj_pose, obj_pose_RT, labels, cam_intrinsics.txt."""
    time = np.arange(FRAMES) / RATE
    sway = 0.1 * time if moving else np.zeros(FRAMES)
    pose = np.repeat(np.eye(4)[None], FRAMES, 0)
    pose[:, :3, :3] = _turns(sway + generator.uniform(-0.3, 0.3), sway)
    pose[:, :3, 3] = generator.normal(0, 0.05, 3) + np.stack([sway, 0 * sway, -0.5 + 0 * sway], -1)
    rotation, translation = pose[:, :3, :3], pose[:, :3, 3]
    seen = np.einsum("tji,thkj->thki", rotation, world - translation[:, None, None])  # X_camera = R^T (X_world - t)
    kinds = ["hand_pose", "hand_pose_MANO", "cam_pose", "obj_pose", "obj_pose_RT"]
    if moving and labelled:
        kinds += ["action_label", "verb_label"]
    for kind in kinds:
        (folder / kind).mkdir(parents=True)
    (folder / "cam_intrinsics.txt").write_text(" ".join(str(number) for number in INTRINSICS) + "\n")
    verbs = [verb for i, (verb, _) in enumerate(ACTIONS) if verb not in [v for v, _ in ACTIONS[:i]]]
    for t in range(FRAMES):
        action = next((a for a, start, end in segments if start <= t < end), 0)
        noun = ACTIONS[(action or segments[0][0]) - 1][1]
        object_class = OBJECTS.index(noun)
        point = seen[t].mean((0, 1))
        matrix = np.eye(4)
        matrix[:3, 3] = point
        mano = np.concatenate([np.r_[1.0, 100 * hand + np.arange(1, 62) + t / 1000] for hand in (0, 1)])
        rows = {
            "hand_pose": np.concatenate([np.r_[1.0, seen[t, hand].ravel()] for hand in (0, 1)]),
            "hand_pose_MANO": mano,
            "cam_pose": pose[t].ravel(),
            "obj_pose": np.r_[object_class, np.tile(point, 21)],
            "obj_pose_RT": np.r_[object_class, matrix.ravel()],
            "action_label": np.array([action]),
            "verb_label": np.array([verbs.index(ACTIONS[action - 1][0]) + 1 if action else 0]),
        }
        for name in kinds:
            text = " ".join(f"{x:.0f}" if name.endswith("label") else f"{x:.8f}" for x in rows[name])
            (folder / name / f"{t:06d}.txt").write_text(text + "\n")
