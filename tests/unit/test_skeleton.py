"""Joint orders and the one mirror."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import tiny_body, tiny_recording
from palmist.errors import InputError
from palmist.recording import ActionSegment
from palmist.skeleton import (
    BODY_BONES,
    BODY_LAYOUTS,
    BODY_PARENTS,
    BODY_SIDES,
    BONES,
    CONVENTIONS,
    FINGERTIPS,
    JOINT_NAMES,
    PALM,
    body_centre,
    from_canonical,
    mirror,
    mirror_body_order,
    mirror_words,
    to_canonical,
)


def test_bones_form_one_tree_over_all_joints():
    assert sorted(child for _, child in BONES) == list(range(1, 21))
    for parent, child in BONES:
        assert parent < child
        same_finger = JOINT_NAMES[parent].split("_")[0] == JOINT_NAMES[child].split("_")[0]
        assert same_finger == (parent != 0)
    assert [JOINT_NAMES[j] for j in PALM] == ["wrist", "index_mcp", "middle_mcp", "ring_mcp", "little_mcp"]
    assert all(JOINT_NAMES[j].endswith("tip") for j in FINGERTIPS)


def test_body_layouts():
    assert len(BODY_LAYOUTS["mediapipe25"]) == 25
    assert BODY_SIDES["mediapipe25"].shoulder == (11, 12)
    assert BODY_SIDES["mediapipe25"].wrist == (15, 16)
    assert BODY_SIDES["openpose8"].wrist == (6, 3)
    for layout, bones in BODY_BONES.items():
        assert max(max(bone) for bone in bones) < len(BODY_LAYOUTS[layout])


@pytest.mark.parametrize("layout", BODY_LAYOUTS)
def test_body_joints_hang_on_one_centre_and_come_in_mirror_pairs(layout):
    parents, names = BODY_PARENTS[layout], BODY_LAYOUTS[layout]
    assert len(parents) == len(names) == len(set(names))
    centre = body_centre(layout)
    for joint in range(len(names)):
        path = [joint]
        while parents[path[-1]] != path[-1]:
            path.append(parents[path[-1]])
            assert len(path) <= len(names)
        assert path[-1] == centre
    order = mirror_body_order(layout)
    assert [order[other] for other in order] == list(range(len(names)))
    assert all(("left" in names[i].split("_")) == ("right" in names[order[i]].split("_")) for i in range(len(names)))
    if layout not in ("mediapipe25", "openpose8"):  # the tree keeps its shape in a mirror
        assert [parents[order[i]] for i in range(len(names))] == [order[parents[i]] for i in range(len(names))]


def test_kinect_joints_are_connected_as_published():
    v2 = "1-2 2-21 3-21 4-3 5-21 6-5 7-6 8-7 9-21 10-9 11-10 12-11 13-1 14-13 15-14 16-15 17-1 18-17 19-18 20-19 22-8 23-8"
    v1 = "1-2 2-3 4-3 5-3 6-5 7-6 8-7 9-3 10-9 11-10 12-11 13-1 14-13 15-14 16-15 17-1 18-17 19-18 20-19"
    for layout, edges, centre in (("kinect25", f"{v2} 24-12 25-12", 21), ("kinect20", v1, 3)):
        found = {(child + 1, parent + 1) for child, parent in enumerate(BODY_PARENTS[layout]) if child != parent}
        assert found == {tuple(map(int, edge.split("-"))) for edge in edges.split()}
        assert body_centre(layout) == centre - 1
        assert len(BODY_BONES[layout]) == len(BODY_LAYOUTS[layout]) - 1
    names = BODY_LAYOUTS["kinect25"]
    hands = [[names[i] for i in side] for side in ((6, 7, 21, 22), (10, 11, 23, 24))]
    assert hands == [[f"{side}_{part}" for part in ("wrist", "hand", "hand_tip", "thumb")] for side in ("left", "right")]
    assert BODY_SIDES["kinect25"].elbow == (5, 9)


# Names of the joints in the order of each source, written down from the sets' documentation.
FINGERS = ("thumb", "index", "middle", "ring", "little")
THUMB = ("thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip")


def of(finger: str) -> tuple[str, ...]:
    return THUMB if finger == "thumb" else tuple(f"{finger}_{part}" for part in ("mcp", "pip", "dip", "tip"))


SOURCE_NAMES = {
    "assembly101": [of(f)[3] for f in FINGERS] + ["wrist", "thumb_mcp", "thumb_ip"]
    + [name for f in FINGERS[1:] for name in of(f)[:3]] + ["palm"],
    "assemblyhands": [name for f in FINGERS for name in of(f)[::-1]] + ["wrist"],
    "fpha": ["wrist"] + [of(f)[0] for f in FINGERS] + [name for f in FINGERS for name in of(f)[1:]],
}  # fmt: skip


@pytest.mark.parametrize("source", SOURCE_NAMES)
def test_orders_put_every_joint_under_its_name(source):
    rule = CONVENTIONS[source]
    for slot, position in enumerate(rule.order):
        if slot not in rule.absent:
            assert SOURCE_NAMES[source][position] == JOINT_NAMES[slot]


@pytest.mark.parametrize("source", CONVENTIONS)
def test_conversion_there_and_back(source):
    rule = CONVENTIONS[source]
    joints = np.random.default_rng(0).normal(size=(4, len(rule.hands), 21, 3))
    back = from_canonical(to_canonical(joints, source), source)
    kept = [i for i in range(21) if i not in {rule.order[slot] for slot in rule.absent}]
    np.testing.assert_array_equal(back[..., kept, :], joints[..., kept, :])


def test_conversion_puts_the_left_hand_first():
    joints = np.zeros((1, 2, 21, 3))
    joints[0, 1] = 7.0  # AssemblyHands: right first, so this is the left hand
    canonical = to_canonical(joints, "assemblyhands")
    assert (canonical[0, 0] == 7).all()
    assert (canonical[0, 1] == 0).all()
    assert (to_canonical(np.ones((1, 1, 21, 3)), "fpha")[0, 0] == 0).all()


def test_conversion_refuses_other_shapes():
    with pytest.raises(InputError, match="unknown joint convention 'kinect'"):
        to_canonical(np.zeros((1, 2, 21, 3)), "kinect")
    with pytest.raises(InputError, match=r"expected \(\.\.\., 1, 21"):
        to_canonical(np.zeros((1, 2, 21, 3)), "fpha")


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("turn left", "turn right"),
        ("Left hand over RIGHT hand", "Right hand over LEFT hand"),
        ("bright leftovers", "bright leftovers"),
        ("left_cup", "right_cup"),
        ("", ""),
        (None, None),
    ],
)
def test_mirror_swaps_words_and_only_words(text, mirrored):
    assert mirror_words(text) == mirrored
    assert mirror_words(mirrored) == text


def test_mirror_swaps_everything_together():
    valid = np.ones((6, 2), bool)
    valid[:3, 0] = False
    confidence = np.ones((6, 2, 21), np.float32)
    confidence[4, 0, 8] = 0.25
    interpolated = np.zeros((6, 2), bool)
    interpolated[5, 1] = True
    recording = tiny_recording(
        6,
        valid=valid,
        confidence=confidence,
        interpolated=interpolated,
        body=tiny_body(6, "mediapipe25"),
        objects=("left cup",) * 6,
        segments=(ActionSegment(0, 1, "push left to right", verb="push", noun="Left cup"),),
    )
    seen = mirror(recording)
    np.testing.assert_array_equal(seen.joints[:, 0, :, 1:], recording.joints[:, 1, :, 1:])
    np.testing.assert_array_equal(seen.joints[:, 0, :, 0], -recording.joints[:, 1, :, 0])
    np.testing.assert_array_equal(seen.valid, valid[:, ::-1])
    np.testing.assert_array_equal(seen.known, recording.known[:, ::-1])
    assert seen.confidence[4, 1, 8] == 0.25
    assert seen.interpolated[5, 0]
    assert seen.segments[0].label == "push right to left"
    assert seen.segments[0].noun == "Right cup"
    assert seen.objects[0] == "right cup"
    left, right = BODY_SIDES["mediapipe25"].wrist
    np.testing.assert_array_equal(seen.body.joints[:, left, 1:], recording.body.joints[:, right, 1:])
    np.testing.assert_array_equal(seen.body.joints[:, left, 0], -recording.body.joints[:, right, 0])
    assert seen.provenance["mirrored"] is True


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["metric", "image", "planar"]), st.integers(0, 1000), st.booleans())
def test_mirroring_twice_gives_the_recording_back(space, seed, with_camera):
    generator = np.random.default_rng(seed)
    camera = {"intrinsics": (600.0, 600.0, 300.0, 200.0), "width": 640, "pose": np.eye(4)} if with_camera else None
    recording = tiny_recording(
        5, seed=seed, space=space, valid=generator.random((5, 2)) < 0.7, body=tiny_body(5), camera=camera
    )
    twice = mirror(mirror(recording))
    # 640 - (640 - x) rounds at float32(640), hence 1e-4
    np.testing.assert_allclose(twice.joints, recording.joints, atol=1e-4)
    np.testing.assert_array_equal(twice.valid, recording.valid)
    np.testing.assert_allclose(twice.body.joints, recording.body.joints, atol=1e-4)
    assert twice.segments == recording.segments
    assert twice.provenance == recording.provenance
    if with_camera:
        np.testing.assert_allclose(twice.camera["pose"], np.eye(4))
        assert twice.camera["intrinsics"] == recording.camera["intrinsics"]


def test_mirrored_image_stays_in_the_image():
    joints = np.zeros((1, 2, 21, 3))
    joints[..., 0] = 0.25
    seen = mirror(tiny_recording(1, joints=joints, space="image", segments=()))
    assert (seen.joints[..., 0] == 0.75).all()


def test_mirrored_camera_still_projects_onto_the_mirrored_image(full_recording):
    """u = fx x / z + cx: the mirrored camera must see the mirrored point at width - u."""
    seen = mirror(full_recording)
    fx, _, cx, _ = full_recording.camera["intrinsics"]
    _, _, mirrored_cx, _ = seen.camera["intrinsics"]
    known = full_recording.known[:, 1]
    x, z = full_recording.joints[:, 1, :, 0][known], full_recording.joints[:, 1, :, 2][known]
    mirrored_x = seen.joints[:, 0, :, 0][known]
    np.testing.assert_allclose(fx * mirrored_x / z + mirrored_cx, 1280 - (fx * x / z + cx), rtol=1e-5)


@pytest.mark.parametrize("layout", BODY_LAYOUTS)
def test_mirror_body_order_is_its_own_inverse(layout):
    order = mirror_body_order(layout)
    assert [order[i] for i in order] == list(range(len(order)))
    assert order != tuple(range(len(order)))
