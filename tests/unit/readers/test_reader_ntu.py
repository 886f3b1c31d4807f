"""NTU RGB+D: the .skeleton text, persons and tracking ids, denoising, and what damaged files say."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from palmist.errors import InputError
from palmist.readers.kinect_example import camera_to_colour, example_bodies
from palmist.readers.ntu import ntu_clips, read_ntu60, read_ntu120, read_ntu_clip
from palmist.readers.ntu_denoise import pick_people
from palmist.readers.ntu_example import FIRST_ID, MISSING, write_ntu60_example, write_ntu120_example, write_skeleton_file
from palmist.readers.ntu_file import read_skeleton_file
from palmist.skeleton_clip import SkeletonClip

pytestmark = pytest.mark.filterwarnings("ignore:.*samples have bad skeletons")
FILE = "nturgb+d_skeletons/S001C003P002R001A050.skeleton"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ntu120_example(tmp_path_factory.mktemp("ntu") / "set")


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "set"))


def clips(root: Path, *arguments: object, **options: object) -> dict[str, SkeletonClip]:
    return {clip.name.partition("/")[2]: clip for clip in ntu_clips(root, *arguments, **options)}  # type: ignore[arg-type]


def literal(file: Path) -> list[list[tuple[str, list[list[float]]]]]:
    """Frame -> bodies (id, 25 rows of 12 numbers), read word by word."""
    words = iter(file.read_text().split())
    frames = []
    for _ in range(int(next(words))):
        bodies = []
        for _ in range(int(next(words))):
            head = [next(words) for _ in range(10)]
            bodies.append((head[0], [[float(next(words)) for _ in range(12)] for _ in range(int(next(words)))]))
        frames.append(bodies)
    return frames


def test_the_fast_reading_equals_a_literal_one(root: Path) -> None:
    for file in sorted(root.rglob("*.skeleton")):
        found, expected = read_skeleton_file(file), literal(file)
        assert found.seen.shape[1] == len(expected)
        assert int(found.seen.sum()) == sum(len(bodies) for bodies in expected)
        for frame, bodies in enumerate(expected):
            for identity, rows in bodies:
                row = found.ids.index(identity)
                assert found.seen[row, frame]
                table = np.array(rows)
                np.testing.assert_array_equal(found.position[row, frame], table[:, :3])
                np.testing.assert_array_equal(found.depth[row, frame], table[:, 3:5])
                np.testing.assert_array_equal(found.colour[row, frame], table[:, 5:7])
                np.testing.assert_array_equal(found.state[row, frame], table[:, 11])
        assert (found.hand_state[found.seen] == [2, 3]).all()


def test_tracking_ids_that_differ_in_the_last_digit_stay_apart(root: Path) -> None:
    clip = clips(root)["S001C003P002R001A050"]
    assert clip.provenance["tracking_ids"] == [str(FIRST_ID + 2), str(FIRST_ID + 3)]
    assert float(FIRST_ID + 2) == float(FIRST_ID + 3)  # which float64 cannot tell
    seen = clip.mask.any(2)
    assert seen[0].all()
    assert np.flatnonzero(seen[1]).tolist() == list(range(4, 44))


def test_positions_scores_and_facts_of_a_sample(root: Path) -> None:
    clip = clips(root)["S001C002P003R002A012"]
    joints, state = example_bodies(45, start=31 + 7)
    np.testing.assert_allclose(clip.keypoint[0], joints, atol=1e-5)
    np.testing.assert_array_equal(clip.score[0], state / 2)
    np.testing.assert_array_equal(clip.mask[0], state > 0)
    facts = (clip.label, clip.label_number, clip.subject, clip.camera, clip.setup, clip.repetition, clip.fps, clip.layout)
    assert facts == ("writing", 12, "3", 2, 1, 2, 30.0, "kinect25")
    assert clip.splits == {"xsub": "test", "xview": "train"}


def test_zero_one_and_more_bodies(root: Path) -> None:
    found = clips(root)
    assert {name: (clip.persons, clip.provenance["bodies"]) for name, clip in found.items()} == {
        "S001C001P001R001A010": (1, 1), "S001C002P003R002A012": (1, 1), "S001C003P002R001A050": (2, 2),
        "S002C001P003R001A034": (2, 2), "S002C002P009R001A023": (2, 2), "S003C001P016R002A029": (1, 0),
    }  # fmt: skip
    assert not found["S003C001P016R002A029"].mask.any()


def test_colour_coordinates_are_fractions_of_the_colour_frame(root: Path) -> None:
    camera, colour = (clips(root, coordinates=name)["S001C001P001R001A010"] for name in ("camera", "colour"))
    pixels = camera_to_colour(camera.keypoint[0].astype(np.float64))
    known = camera.mask[0]
    np.testing.assert_allclose(colour.keypoint[0][known][:, :2] * (1920, 1080), pixels[known], atol=0.01)
    assert (colour.space, colour.aspect) == ("image", 16 / 9)
    np.testing.assert_array_equal(colour.mask, camera.mask)
    assert colour.to_recording().frame == "image"


def test_editions_splits_and_the_list_of_bad_samples(root: Path) -> None:
    assert max(recording.name for recording in read_ntu60(root)) < "ntu60/S018"
    names = {recording.name for recording in read_ntu120(root, split="one_shot")}
    assert "ntu120/S019C003P008R002A120#2" in names
    assert {recording.split for recording in read_ntu120(root, split="xset")} == {"train", "test"}
    with pytest.warns(UserWarning, match="1 of 7 samples have bad skeletons"):
        assert MISSING not in clips(root)
    assert MISSING in clips(root, keep_missing=True)
    (root / "my_missing_list.txt").write_text("S001C001P001R001A010\n")
    assert "S001C001P001R001A010" not in clips(root)
    for file in root.glob("*.txt"):
        file.unlink()
    assert MISSING not in clips(root)  # Palmist's own copy of the list


def test_denoising_merges_a_person_that_was_lost_and_drops_a_chair(root: Path) -> None:
    found = clips(root, denoise=True)
    merged = found["S002C002P009R001A023"]
    raw = clips(root)["S002C002P009R001A023"]
    assert (merged.persons, len(merged), merged.provenance["first_frame"]) == (1, 55, 3)
    np.testing.assert_array_equal(merged.keypoint[0, :22], raw.keypoint[0, 3:25])
    np.testing.assert_array_equal(merged.keypoint[0, 27:], raw.keypoint[1, 30:58])
    assert not merged.mask[0, 22:27].any()
    single = found["S002C001P003R001A034"]
    assert (single.persons, single.provenance["bodies_dropped"]) == (1, 1)
    assert not found["S003C001P016R002A029"].mask.any()


def bodies(*kinds: str, frames: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """seen (M, T), position (M, T, 25, 3) of persons who stand, wave, flash by, or are wide as a sofa."""
    generator = np.random.default_rng(0)
    seen = np.ones((len(kinds), frames), bool)
    position = np.zeros((len(kinds), frames, 25, 3))
    for m, kind in enumerate(kinds):
        shape = generator.uniform(-1, 1, (25, 3)) * ((1.0, 0.2, 0.1) if kind == "sofa" else (0.25, 0.9, 0.1)) + (0, 0, 3)
        moves = {"jump": 1.4, "wave": 0.8, "stand": 0.01, "flash": 0.5, "sofa": 0.4}[kind]
        position[m] = shape + moves * np.sin(np.arange(frames) / 3)[:, None, None] * (0, 1, 0)
        if kind == "flash":
            seen[m, 11:] = False
            position[m, 11:] = 0
    return seen, position


@pytest.mark.parametrize(
    ("kinds", "owners", "dropped"),
    [
        (("stand",), [0], 0),
        (("flash",), [0], 0),  # a single body is kept whatever it is
        (("sofa",), [0], 0),
        (("stand", "wave"), [1, 0], 0),  # who moves more comes first
        (("flash", "stand"), [1], 1),
        (("sofa", "stand"), [1], 1),
        (("flash", "flash"), [0], 1),  # the last one stays
        (("stand", "jump", "wave"), [1, 2], 1),  # no third slot
    ],
)
def test_rules_of_denoising(kinds: tuple[str, ...], owners: list[int], dropped: int) -> None:
    owner, kept, gone = pick_people(*bodies(*kinds))
    assert [max(slot) for slot in owner.tolist()] == owners
    assert gone == dropped
    assert kept == (slice(0, 11) if set(kinds) == {"flash"} else slice(0, 30))


def test_a_track_of_eleven_frames_goes_and_one_of_twelve_stays() -> None:
    for frames, slots in ((11, 1), (12, 2)):
        seen, position = bodies("stand", "wave")
        seen[1, frames:] = False
        assert len(pick_people(seen, position)[0]) == slots


def test_nan_and_windows_numbers_are_unknown_joints(root: Path) -> None:
    file = root / FILE
    lines = file.read_text().splitlines()
    lines[4] = "NaN NaN NaN " + " ".join(lines[4].split()[3:])
    lines[5] = "-1.#IND 0.2 1.#QNAN " + " ".join(lines[5].split()[3:])
    file.write_text("\n".join(lines))
    clip = clips(root)["S001C003P002R001A050"]
    assert clip.mask[0, 0].sum() == clip.mask[0, 1].sum() - 2
    assert not clip.mask[0, 0, :2].any()


def test_two_thousand_frames_a_second(root: Path) -> None:
    joints, state = example_bodies(300)
    file = root / "S001C001P001R001A001.skeleton"
    write_skeleton_file(file, 300, [("1", 0, joints, state)])
    start = time.process_time()
    read_ntu_clip(file)
    assert 300 / (time.process_time() - start) > 1000  # half of what is asked, for busy machines


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda lines: [], "line 1: found '', expected the number of frames"),
        (lambda lines: ["0"], "line 1: found 0 frames"),
        (lambda lines: ["50"], "line 2: found '', expected the number of bodies of frame 1 of 50; the file is cut off"),
        (lambda lines: [lines[0], "one", *lines[2:]], "line 2: found 'one'"),
        (lambda lines: [*lines[:2], "7 8 9", *lines[3:]], "line 3: found 3 values, expected 10 of a body"),
        (lambda lines: [*lines[:3], "24", *lines[4:]], "line 4: found 24 joints, expected 25"),
        (
            lambda lines: [*lines[:6], lines[6][:-1] + "two", *lines[7:]],
            "line 7: could not convert string to float: 'two'",
        ),
        (lambda lines: [*lines[:6], lines[6] + " 5", *lines[7:]], "line 7: found 13 numbers, expected 12"),
        (lambda lines: [*lines[:6], *lines[7:]], "line 30: found"),
        (lambda lines: lines[:20], "line 20: the file ends inside a body of frame 1 of 50; it is cut off"),
        (lambda lines: lines[:-27], "the file is cut off"),
        (lambda lines: [*lines, "0"], "found more after the last of 50 frames"),
    ],
)
def test_damaged_files_are_named_with_their_line(root: Path, damage: object, says: str) -> None:
    file = root / FILE
    file.write_text("\n".join(damage(file.read_text().splitlines())))  # type: ignore[operator]
    with pytest.raises(InputError) as caught:
        clips(root)
    assert says in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_lines_that_exchange_a_number_are_noticed(root: Path) -> None:
    file = root / FILE
    lines = file.read_text().splitlines()
    lines[6], lines[7] = lines[6] + " 9", " ".join(lines[7].split()[:-1])
    file.write_text("\n".join(lines))
    with pytest.raises(InputError, match="line 7: found 13 numbers"):
        clips(root)


def test_options_and_empty_folders_are_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="NTU RGB\\+D 60 has xsub, xview"):
        read_ntu60(root, split="xset")
    with pytest.raises(InputError, match="camera or colour"):
        clips(root, coordinates="depth")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no SsssCcccPpppRrrrAaaa"):
        clips(tmp_path / "empty")
    with pytest.raises(InputError, match="is not a folder"):
        clips(tmp_path / "nothing")
    shutil.copy(root / FILE, root / "S001C001P001R001A121.skeleton")
    with pytest.raises(InputError, match="called action 121"):
        clips(root, 120)


def test_the_example_of_ntu60_has_no_new_setups(tmp_path: Path) -> None:
    assert {file.parent.name for file in write_ntu60_example(tmp_path).rglob("*.skeleton")} == {"nturgb+d_skeletons"}
