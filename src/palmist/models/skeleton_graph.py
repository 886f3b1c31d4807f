"""Graphs of joints for graph networks, and the four input streams that are computed on them.

Adjacency as in ST-GCN (arXiv 1801.07455) in the form of PySKL: three matrices (each joint itself, towards the centre, away
from the centre), every column divided by its sum. Bones and motion as in 2s-AGCN (arXiv 1805.07694).

Letters: T frames, V joints, C coordinates, K matrices of the adjacency (3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from palmist.errors import InputError
from palmist.skeleton import BODY_PARENTS, BODY_SIDES

__all__ = ["GRAPHS", "STREAMS", "SkeletonGraph", "graph", "stream", "stream_known", "unified_graph"]

#: Names of the streams in the order of the usual weights 2 : 2 : 1 : 1.
STREAMS = ("joint", "bone", "joint_motion", "bone_motion")


@dataclass(frozen=True)
class SkeletonGraph:
    """Joints with the edges of the graph and the tree that bones are read from.

    edges: (child, parent) pairs, towards the centre. parents: for each joint the joint that its bone comes from; the root's is
    itself.
    """

    name: str
    edges: tuple[tuple[int, int], ...]
    parents: tuple[int, ...]

    @property
    def joints(self) -> int:
        """The number of joints V."""
        return len(self.parents)

    def adjacency(self) -> Tensor:
        """(3, V, V): itself, inward, outward; entry [k, v, w] is what joint w takes from joint v."""
        count = self.joints
        inward = np.zeros((count, count))
        for child, parent in self.edges:
            inward[child, parent] = 1.0
        matrices = np.stack([np.eye(count), inward, inward.T])
        total = matrices.sum(1, keepdims=True)
        return torch.from_numpy((matrices / np.where(total > 0, total, 1.0)).astype(np.float32))


def _tree(name: str, parents: tuple[int, ...]) -> SkeletonGraph:
    """A graph whose edges are its bones."""
    return SkeletonGraph(name, tuple((child, parent) for child, parent in enumerate(parents) if child != parent), parents)


# Shoulders, elbows, wrists, nose (palmist.inputs.windows.BODY_POINTS), from the nose.
_UPPER7 = (6, 6, 0, 1, 2, 3, 6)
# Bones of a hand run from the wrist along each finger; MediaPipe's connections tie the knuckles to each other.
_HAND_PARENTS = tuple(0 if joint % 4 == 1 or joint == 0 else joint - 1 for joint in range(21))
_KNUCKLES = {9: 5, 13: 9, 17: 13}
_HAND_EDGES = (*((joint, _KNUCKLES.get(joint, _HAND_PARENTS[joint])) for joint in range(1, 21)), (17, 0))

GRAPHS: dict[str, SkeletonGraph] = {
    **{layout: _tree(layout, parents) for layout, parents in BODY_PARENTS.items()},
    "upper7": _tree("upper7", _UPPER7),
    "hand21": SkeletonGraph("hand21", _HAND_EDGES, _HAND_PARENTS),
}
#: The joints of each body graph that the left and the right hand's wrist are tied to in a unified graph.
WRISTS: dict[str, tuple[int, int]] = {**{layout: sides.wrist for layout, sides in BODY_SIDES.items()}, "upper7": (4, 5)}


def graph(name: str) -> SkeletonGraph:
    """The graph called `name`; "unified:upper7" is a body graph with both hands. InputError lists the known ones."""
    if name.startswith("unified:"):
        return unified_graph(name.removeprefix("unified:"))
    if name not in GRAPHS:
        raise InputError(f"there is no joint graph '{name}'; expected one of {', '.join(GRAPHS)}, or unified:BODY")
    return GRAPHS[name]


def unified_graph(body: str) -> SkeletonGraph:
    """One graph of a body and both hands (left, then right), each hand's wrist tied to the body's."""
    if body not in WRISTS:
        raise InputError(f"graph '{body}' has no wrists to tie hands to; expected one of {', '.join(WRISTS)}")
    whole = GRAPHS[body]
    edges, parents = list(whole.edges), list(whole.parents)
    for wrist in WRISTS[body]:
        first = len(parents)
        edges += [(first, wrist), *((child + first, parent + first) for child, parent in _HAND_EDGES)]
        parents += [wrist, *(parent + first for parent in _HAND_PARENTS[1:])]
    return SkeletonGraph(f"unified:{body}", tuple(edges), tuple(parents))


def stream(joints: Tensor, known: Tensor, name: str, parents: tuple[int, ...]) -> Tensor:
    """One of STREAMS of joints (..., T, V, C) with known (..., T, V) bool; 0 where it is not known.

    Bones are child less parent; motion is the next frame less this one, 0 in the last frame.
    """
    if name not in STREAMS:
        raise InputError(f"there is no stream '{name}'; expected one of {', '.join(STREAMS)}")
    values = joints
    if name.startswith("bone"):
        values = joints - joints[..., list(parents), :]
    if name.endswith("motion"):
        values = torch.cat((values[..., 1:, :, :] - values[..., :-1, :, :], torch.zeros_like(values[..., :1, :, :])), dim=-3)
    return values * stream_known(known, name, parents).unsqueeze(-1)


def stream_known(known: Tensor, name: str, parents: tuple[int, ...]) -> Tensor:
    """Where a stream is known: both ends of a bone, both frames of a motion."""
    if name.startswith("bone"):
        known = known & known[..., list(parents)]
    if name.endswith("motion"):
        known = torch.cat((known[..., 1:, :] & known[..., :-1, :], torch.zeros_like(known[..., :1, :])), dim=-2)
    return known
