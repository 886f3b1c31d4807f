"""PySKL's pickles: the same skeletons as in NTU's own files, 2D with scores, splits, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.readers.ntu import ntu_clips
from palmist.readers.ntu_example import write_ntu60_example
from palmist.readers.pyskl import pyskl_clips, read_pyskl
from palmist.readers.pyskl_example import write_pyskl_example

pytestmark = pytest.mark.filterwarnings("ignore:.*samples have bad skeletons")


def write(root: Path, data: Any, name: str = "set.pkl") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(pickle.dumps(data))
    return root


def item(**changes: Any) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    fields = {
        "frame_dir": "v1", "label": 3, "total_frames": 6, "img_shape": (1080, 1920), "original_shape": (1080, 1920),
        "keypoint": generator.uniform(1, 900, (2, 6, 17, 2)).astype(np.float16),
        "keypoint_score": generator.uniform(0.1, 1, (2, 6, 17)).astype(np.float16),
    }  # fmt: skip
    return {**fields, **changes}


@pytest.mark.parametrize("denoise", [False, True])
def test_a_sample_is_the_same_from_its_skeleton_file_and_from_the_pickle(tmp_path: Path, denoise: bool) -> None:
    own = {clip.name.partition("/")[2]: clip for clip in ntu_clips(write_ntu60_example(tmp_path / "ntu"), 60, denoise)}
    found = list(pyskl_clips(write_pyskl_example(tmp_path / "pyskl", denoise)))
    assert len(found) == 5
    for clip in found:
        same = own[clip.name.rpartition("/")[2]]
        np.testing.assert_array_equal(clip.keypoint, same.keypoint.astype(np.float16).astype(np.float32))
        np.testing.assert_array_equal(clip.mask, same.mask)
        for name in ("layout", "label", "label_number", "subject", "camera", "setup", "repetition", "splits", "space", "fps"):
            assert getattr(clip, name) == getattr(same, name), name


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_splits_and_persons_become_recordings(tmp_path: Path, protocol: int) -> None:
    root = write_pyskl_example(tmp_path, protocol=protocol)
    recordings = list(read_pyskl(root, split="xview"))
    assert {r.split for r in recordings} == {"train", "test"}
    assert {r.split for r in read_pyskl(root)} == {None}
    assert "pyskl/ntu60_3danno/S001C003P002R001A050#2" in {r.name for r in recordings}
    with pytest.raises(InputError, match="the pickle has xsub, xview"):
        read_pyskl(root, split="xset")


def test_two_dimensional_skeletons_keep_scores_and_image_size(tmp_path: Path) -> None:
    one = item()
    one["keypoint_score"][0, 0, 0] = 0
    (clip,) = pyskl_clips(write(tmp_path, {"split": {"train": ["v1"], "val": []}, "annotations": [one]}))
    assert (clip.layout, clip.space, clip.keypoint.shape, clip.aspect) == ("coco17", "planar", (2, 6, 17, 2), 16 / 9)
    assert not clip.mask[0, 0, 0]
    assert clip.mask.sum() == 2 * 6 * 17 - 1
    np.testing.assert_array_equal(clip.score, one["keypoint_score"].astype(np.float32))
    assert (clip.label, clip.label_number, clip.splits) == ("3", 3, {"split": "train"})
    body = clip.to_recording(1).body
    np.testing.assert_array_equal(body.confidence, clip.score[1])
    np.testing.assert_array_equal(body.joints[..., 2], 0)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([1, 2], "holds no PySKL data"),
        ({"annotations": [item()]}, "'split' is no dict of lists"),
        ({"split": {}, "annotations": [{"label": 1}]}, "annotation 0: found dict without frame_dir"),
        (
            {"split": {}, "annotations": [item(), item(keypoint=np.zeros((1, 5, 21, 3)))]},
            r"annotation 1: keypoint is \(1, 5, 21, 3\)",
        ),
        ({"split": {}, "annotations": [item(keypoint=[[1]])]}, "keypoint is list"),
        ({"split": {}, "annotations": [item(keypoint_score=np.zeros(3))]}, "keypoint_score does not fit"),
        ({"split": {}, "annotations": [item(label="3")]}, "label is '3'"),
        ({"split": {}, "annotations": [print]}, "asks for builtins.print, which is never loaded"),
    ],
)
def test_other_pickles_are_refused_with_a_sentence(tmp_path: Path, data: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        list(pyskl_clips(write(tmp_path, data)))


def test_which_pickle(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds 0 pickles"):
        pyskl_clips(tmp_path)
    write(tmp_path, {"split": {}, "annotations": [item()]}, "a.pkl")
    write(tmp_path, {"split": {}, "annotations": []}, "b.pkl")
    with pytest.raises(InputError, match=r"holds 2 pickles \(a.pkl, b.pkl\)"):
        pyskl_clips(tmp_path)
    assert [r.name for r in read_pyskl(tmp_path, file="a.pkl")] == ["pyskl/a/v1", "pyskl/a/v1#2"]
    assert list(read_pyskl(tmp_path, file="b.pkl")) == []
    with pytest.raises(InputError, match="does not exist"):
        pyskl_clips(tmp_path, file="c.pkl")
