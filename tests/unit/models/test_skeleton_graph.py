"""Joint graphs and streams."""

from __future__ import annotations

import pytest
import torch

from palmist.errors import InputError
from palmist.models.skeleton_graph import GRAPHS, graph, stream, stream_known, unified_graph
from palmist.skeleton import BONES


def test_hand_bones_are_those_of_the_skeleton_and_edges_those_of_mediapipe() -> None:
    hand = graph("hand21")
    assert tuple((parent, child) for child, parent in enumerate(hand.parents) if child) == BONES
    undirected = {frozenset(edge) for edge in hand.edges}
    palm = {frozenset(edge) for edge in ((0, 1), (0, 5), (5, 9), (9, 13), (13, 17), (0, 17))}
    fingers = {frozenset((tip - i, tip - i - 1)) for tip in (4, 8, 12, 16, 20) for i in range(3)}
    assert undirected == palm | fingers
    assert len(hand.edges) == 21


@pytest.mark.parametrize(
    ("name", "centre", "bones"),
    [("kinect25", 20, 24), ("kinect20", 2, 19), ("upper7", 6, 6), ("mediapipe25", 0, 24), ("coco17", 0, 16)],
)
def test_body_graphs_are_trees_with_one_root(name: str, centre: int, bones: int) -> None:
    body = graph(name)
    assert [joint for joint, parent in enumerate(body.parents) if joint == parent] == [centre]
    assert len(body.edges) == bones
    for joint in range(body.joints):
        seen = []
        while joint != centre:
            assert joint not in seen
            seen.append(joint)
            joint = body.parents[joint]


def test_adjacency_columns_are_shares() -> None:
    matrices = graph("kinect25").adjacency()
    assert matrices.shape == (3, 25, 25)
    assert torch.equal(matrices[0], torch.eye(25))
    sums = matrices.sum(1)
    assert bool(((sums - 1).abs() < 1e-6).logical_or(sums == 0).all())
    # Joint 20 (spine at the shoulders) takes a fifth from each of its five neighbours, and an end joint from its only one.
    assert matrices[1, [1, 2, 4, 8], 20].tolist() == [0.25] * 4
    assert matrices[2, 20, 4] == 1.0


def test_unified_graph_ties_each_hand_to_its_wrist() -> None:
    whole = unified_graph("upper7")
    assert whole.joints == 7 + 42
    assert whole.parents[7] == 4
    assert whole.parents[28] == 5
    assert len(whole.edges) == len(GRAPHS["upper7"].edges) + 2 * 21 + 2
    with pytest.raises(InputError, match="hand21"):
        unified_graph("hand21")
    with pytest.raises(InputError, match="expected one of"):
        graph("dog")


def test_bones_do_not_see_translation_and_motion_not_a_still_clip() -> None:
    joints = torch.randn(2, 8, 21, 3, generator=torch.Generator().manual_seed(0))
    known = torch.ones(2, 8, 21, dtype=torch.bool)
    parents = graph("hand21").parents
    path = torch.randn(2, 8, 1, 3)
    moved = stream(joints + path, known, "bone", parents)
    torch.testing.assert_close(moved, stream(joints, known, "bone", parents), atol=1e-5, rtol=0)
    still = joints[:, :1].expand(-1, 8, -1, -1)
    assert stream(still, known, "joint_motion", parents).abs().max() == 0
    assert stream(still, known, "bone_motion", parents).abs().max() == 0
    assert torch.equal(stream(joints, known, "joint_motion", parents)[:, 2], joints[:, 3] - joints[:, 2])


def test_streams_know_what_both_ends_know() -> None:
    known = torch.ones(1, 4, 21, dtype=torch.bool)
    known[0, 1, 5] = False  # the index finger's knuckle in frame 1
    parents = graph("hand21").parents
    bone = stream_known(known, "bone", parents)
    assert (~bone).nonzero().tolist() == [[0, 1, 5], [0, 1, 6]]
    motion = stream_known(known, "joint_motion", parents)
    assert (~motion[0, :3]).nonzero().tolist() == [[0, 5], [1, 5]]
    assert not motion[0, 3].any()
    joints = torch.ones(1, 4, 21, 3)
    assert stream(joints, known, "joint", parents)[0, 1, 5].abs().max() == 0
    with pytest.raises(InputError, match="bone_motion"):
        stream(joints, known, "speed", parents)
