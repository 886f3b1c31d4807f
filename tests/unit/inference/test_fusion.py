"""Several models together: the product by hand, labels brought into one order, refusals, the command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner, Result

import palmist
from palmist.cli import app
from palmist.cli.video import HandOptions
from palmist.errors import InputError
from palmist.inference.calibration import Calibration, write_calibration
from palmist.inference.fusion import Fusion, Member, fuse, load_fusion, model_names, plain_label
from palmist.inference.video_text import VideoTextReader
from palmist.inference.videos import VideoAction, VideoReader
from palmist.model_zoo import checkpoint_path
from palmist.perception.detection import HandDetection
from palmist.perception.video import write_video
from palmist.reader import Reader
from palmist.reading import Reading
from palmist.recording import Recording
from palmist.video_text.captions import label_caption, label_of_caption


class FixedRecogniser:
    """Says the same of every recording, and half-heartedly of its first half."""

    def __init__(self, shares: Mapping[str, float], taxonomies: Mapping[str, Any] | None = None) -> None:
        self.labels, self.taxonomies = tuple(shares), taxonomies or {}
        self.shares = torch.tensor(list(shares.values()), dtype=torch.float64)

    def probabilities(self, recordings: Sequence[Recording], candidates: Tensor) -> Tensor:
        longest = max(len(recording) for recording in recordings)
        rows = []
        for recording in recordings:
            even = torch.ones(len(self.labels), dtype=torch.float64) / len(self.labels)
            row = self.shares if 2 * len(recording) > longest else even
            row = row * candidates
            rows.append(row / row.sum())
        return torch.stack(rows)


class FixedVideo(VideoReader):
    """Says the same of every video."""

    def __init__(self, name: str, shares: Mapping[str, float]) -> None:
        self.name, self.shares = name, dict(shares)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.shares)

    def read(self, source: str | Path, clips: int = 1, crops: int = 1) -> VideoAction:
        return VideoAction(Path(source).stem, self.labels, np.array(list(self.shares.values()), np.float32))


@pytest.fixture(scope="module")
def poses() -> Reader:
    return palmist.load("ghtt-small")


@pytest.fixture(scope="module")
def coffee() -> Recording:
    return palmist.demo_recordings()[0]


def hands(poses: Reader, name: str, shares: Mapping[str, float], temperature: float = 1.0, **taxonomies: Any) -> Member:
    reader = Reader(poses.model, name, recogniser=FixedRecogniser(shares, taxonomies))
    return Member(name, reader, Calibration(temperature))


# ------------------------------------------------------------------------------------------------------ the product


def test_two_models_by_hand() -> None:
    """Square roots of 0.6 x 0.1, 0.3 x 0.6, 0.1 x 0.3, over their sum."""
    found = fuse([np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.6, 0.3])])
    expected = np.sqrt([0.06, 0.18, 0.03])
    np.testing.assert_allclose(found, expected / expected.sum())
    assert found.argmax() == 1


def test_weights_by_hand() -> None:
    found = fuse([np.array([0.8, 0.2]), np.array([0.2, 0.8])], weights=[3, 1])
    expected = np.array([0.8**0.75 * 0.2**0.25, 0.2**0.75 * 0.8**0.25])
    np.testing.assert_allclose(found, expected / expected.sum())
    np.testing.assert_allclose(fuse([np.array([0.8, 0.2]), np.array([0.2, 0.8])], [0, 2]), [0.2, 0.8])


def test_alike_models_say_what_one_says_and_order_does_not_matter() -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(4), size=(3, 5))
    np.testing.assert_allclose(fuse([rows[0], rows[0], rows[0]]), rows[0])
    np.testing.assert_allclose(fuse([rows[0], rows[1], rows[2]]), fuse([rows[2], rows[0], rows[1]]))
    np.testing.assert_allclose(fuse(list(rows)).sum(-1), 1)


def test_nobody_rules_a_label_out_alone() -> None:
    found = fuse([np.array([1.0, 0.0]), np.array([0.0, 1.0])])
    np.testing.assert_allclose(found, [0.5, 0.5])


@pytest.mark.parametrize("weights", [[1.0], [1, -1], [0, 0], [1, float("nan")]])
def test_wrong_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(InputError, match="weights"):
        fuse([np.array([0.5, 0.5])] * 2, weights)


# ------------------------------------------------------------------------------------------------------ labels


def test_labels_are_compared_without_case_underscores_and_captions() -> None:
    assert plain_label("Take_out  Cup") == "take out cup"
    for name, label in (("asl_words", "thank-you"), ("asl_letters", "letter b"), ("", "a cup")):
        assert label_of_caption(label_caption(label, name)) == label
    assert plain_label("The person signs thank-you.") == plain_label("thank-you")
    assert label_of_caption("The person signs.") == "The person signs."


def test_names_of_models(tmp_path: Path) -> None:
    assert model_names("a, b,c") == ("a", "b", "c")
    (tmp_path / "a,b").mkdir()
    assert model_names(str(tmp_path / "a,b")) == (str(tmp_path / "a,b"),)


def test_columns_are_aligned_by_name_and_strange_labels_left_out(poses: Reader, coffee: Recording) -> None:
    """b's "cup" is left out and its rest made to sum to one: tea 0.25, coffee 0.75."""
    first = hands(poses, "first", {"coffee": 0.4, "tea": 0.6})
    second = hands(poses, "second", {"cup": 0.6, "Tea": 0.1, "Coffee": 0.3})
    fused = Fusion([first, second]).read(coffee, futures=2, horizon=0.2)
    assert isinstance(fused.result, Reading)
    assert fused.result.action_labels == ("coffee", "tea")
    np.testing.assert_allclose(fused.members[1].probabilities, [0.75, 0.25])
    expected = np.sqrt([0.4 * 0.75, 0.6 * 0.25])
    np.testing.assert_allclose(fused.result.probabilities, expected / expected.sum())
    assert fused.label == "coffee"
    assert fused.members[0].label == "tea"
    np.testing.assert_allclose(fused.result.action_probabilities[-1], fused.result.probabilities)
    np.testing.assert_allclose(fused.result.action_probabilities[0], [0.5, 0.5])
    assert fused.result.futures.shape[0] == 2
    shown = fused.to_json()
    assert [member["model"] for member in shown["members"]] == ["first", "second"]
    json.dumps(shown, allow_nan=False)


def test_temperatures_are_applied_before(poses: Reader, coffee: Recording) -> None:
    first = hands(poses, "first", {"coffee": 0.8, "tea": 0.2}, temperature=2.0)  # 2/3, 1/3
    second = hands(poses, "second", {"coffee": 0.2, "tea": 0.8})
    fused = Fusion([first, second]).read(coffee, futures=0)
    np.testing.assert_allclose(fused.members[0].probabilities, [2 / 3, 1 / 3])
    expected = np.sqrt([2 / 3 * 0.2, 1 / 3 * 0.8])
    np.testing.assert_allclose(fused.result.probabilities, expected / expected.sum())
    assert fused.label == "tea"


def test_a_taxonomy_or_a_list_narrows_the_choice(poses: Reader, coffee: Recording) -> None:
    drinks = {"labels": ["tea", "coffee", "cocoa"], "space": "image", "body": True}
    shares = {"coffee": 0.3, "tea": 0.2, "hello": 0.5}
    together = Fusion([hands(poses, "a", shares, drinks=drinks), hands(poses, "b", shares)])
    assert together.read(coffee, labels="drinks", futures=0).label == "coffee"
    assert together.read(coffee, labels=["tea", "hello"], futures=0).label == "hello"
    assert together.read(coffee, futures=0).label == "coffee"  # drinks are what a chooses from in such recordings
    with pytest.raises(InputError, match="'cocoa' is not known to all"):
        together.read(coffee, labels=["tea", "cocoa"])
    with pytest.raises(InputError, match="1 labels to choose from"):
        together.read(coffee, labels=["tea"])
    with pytest.raises(InputError, match="no taxonomy 'meals'"):
        together.read(coffee, labels="meals")


def test_models_without_common_labels_are_refused(poses: Reader) -> None:
    with pytest.raises(InputError, match="0 labels in common"):
        Fusion([hands(poses, "a", {"tea": 0.5, "cup": 0.5}), hands(poses, "b", {"left": 0.5, "right": 0.5})])
    with pytest.raises(InputError, match="differ in case"):
        Fusion([hands(poses, "a", {"tea": 0.5, "Tea": 0.5})])
    with pytest.raises(InputError, match="no labels to recognise"):
        Fusion([Member("poses", Reader(poses.model, "poses", recogniser=FixedRecogniser({})))])


# ------------------------------------------------------------------------------------------------------ real members


def test_a_model_alone_says_what_it_says_by_itself(poses: Reader, coffee: Recording) -> None:
    """The untempered words of G-HTT, narrowed to those that BHaRNet knows too, are what its own taxonomy gives."""
    options = {"futures": 2, "horizon": 0.2, "labels": "asl_words"}
    alone = poses.read(coffee, **options)
    raw = [Member(name, palmist.load(name)) for name in ("ghtt-small", "bharnet-words")]
    fused = Fusion(raw, weights=[1, 0]).read(coffee, **options)
    assert isinstance(fused.result, Reading)
    order = [fused.result.action_labels.index(label) for label in alone.action_labels]
    np.testing.assert_allclose(fused.result.probabilities[order], alone.probabilities, atol=2e-6)
    np.testing.assert_allclose(fused.result.futures, alone.futures)
    assert len(fused.result.action_labels) == 16
    assert fused.label == "coffee"


def test_a_temperature_in_the_folder_is_used(tmp_path: Path) -> None:
    copied = Path(shutil.copytree(checkpoint_path("bharnet-words"), tmp_path / "mine"))
    write_calibration(copied, Calibration(1.7, 12, "made up"))
    together = load_fusion([copied, "ghtt-small"])
    assert together.members[0].calibration.temperature == pytest.approx(1.7)
    assert together.members[0].name == f"{tmp_path.name}/mine"  # not where it lies on this machine
    palmist.write_store(tmp_path / "empty", [])
    with pytest.raises(InputError, match="holds no recordings"):
        list(together.read_all(tmp_path / "empty"))
    with pytest.raises(InputError, match="is there twice"):
        load_fusion(f"ghtt-small,{checkpoint_path('ghtt-small')}")
    with pytest.raises(InputError, match="no model or checkpoint 'taste'"):
        load_fusion("ghtt-small,taste")


class Scripted:
    """Finds the hands of a shipped recording in the frames of any video."""

    def __init__(self) -> None:
        self.recording = palmist.demo_recordings()[0]
        self.number = -1

    def detect(self, time: float, frame: np.ndarray) -> Sequence[HandDetection]:
        self.number = (self.number + 1) % len(self.recording)
        joints, known = np.asarray(self.recording.joints[self.number]), self.recording.known[self.number].all(-1)
        return [HandDetection(side, 0.9, joints[side]) for side in (0, 1) if known[side]]

    def describe(self) -> Mapping[str, Any]:
        return {"tracker": "scripted"}

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    images = np.random.default_rng(0).integers(60, 90, (12, 96, 128, 3), np.uint8)
    return write_video(tmp_path / "clip.mp4", images, rate=20.0)


def test_hands_and_pixels_of_a_video(poses: Reader, clip: Path) -> None:
    first = hands(poses, "first", {"coffee": 0.4, "tea": 0.6})
    second = Member("second", FixedVideo("second", {"tea": 0.1, "coffee": 0.9}))
    fused = Fusion([first, second]).read_video(clip, Scripted(), futures=2, horizon=0.2)
    assert fused.video is not None
    assert fused.video.reading is fused.result
    assert fused.video.found[1] > 0.5
    expected = np.sqrt([0.4 * 0.9, 0.6 * 0.1])
    np.testing.assert_allclose(fused.result.probabilities, expected / expected.sum(), rtol=1e-6)
    with pytest.raises(InputError, match="give a tracker"):
        Fusion([first, second]).read_video(clip)
    with pytest.raises(InputError, match="second sees the pixels"):
        Fusion([first, second]).read(palmist.demo_recordings()[0])


def test_pixels_alone_need_no_hands(clip: Path) -> None:
    members = [Member(name, FixedVideo(name, {"up": share, "down": 1 - share})) for name, share in (("a", 0.9), ("b", 0.5))]
    fused = Fusion(members).read_video(clip)
    assert isinstance(fused.result, VideoAction)
    np.testing.assert_allclose(fused.result.probabilities, [0.75, 0.25], rtol=1e-6)  # square roots 3 : 1
    assert (fused.label, fused.video) == ("up", None)


class FixedSentences(VideoTextReader):
    """Knows labels as captions, and keeps what it was asked."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.name, self.labels = "sentences", tuple(labels)

    def read(self, source: str | Path, classes: Sequence[str] | None = None) -> VideoAction:
        assert classes is not None
        self.asked = tuple(classes)
        return VideoAction(
            Path(source).stem, self.asked, np.arange(1, len(self.asked) + 1) / sum(range(1, len(self.asked) + 1))
        )


def test_sentences_of_labels_are_those_labels(clip: Path) -> None:
    sentences = FixedSentences([f"The person signs {word}." for word in ("tea", "thank-you", "cup")])
    video = FixedVideo("video", {"Thank-You": 0.5, "tea": 0.5})
    fused = Fusion([Member("sentences", sentences), Member("video", video)]).read_video(clip)
    assert sentences.asked == ("The person signs tea.", "The person signs thank-you.")
    assert isinstance(fused.result, VideoAction)
    assert fused.result.labels == ("tea", "Thank-You")
    np.testing.assert_allclose(fused.members[0].probabilities, [1 / 3, 2 / 3])
    assert fused.label == "Thank-You"


# ------------------------------------------------------------------------------------------------------ the command


def call(*words: object) -> Result:
    return CliRunner().invoke(app, ["read", *(str(word) for word in words)], env={"COLUMNS": "160"})


def test_read_with_two_models(tmp_path: Path, coffee: Recording) -> None:
    file, to = palmist.write_recording(tmp_path / "coffee.npz", coffee), tmp_path / "fused.json"
    options = ("--futures", 2, "--horizon", 0.2, "--json", to, "--out", tmp_path / "out")
    result = call(file, "--model", "ghtt-small,bharnet-words", *options)
    assert result.exit_code == 0, result.output
    assert "together" in result.output
    assert (tmp_path / "out/palmist.html").is_file()
    (reading,) = json.loads(to.read_text())["readings"]
    assert reading["model"] == "ghtt-small + bharnet-words"
    assert [member["model"] for member in reading["members"]] == ["ghtt-small", "bharnet-words"]
    assert reading["label"] == "coffee"
    assert set(reading["members"][0]["calibration"]) >= {"temperature", "n", "error_before", "error_after"}


def test_read_a_video_with_hands_and_pixels(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HandOptions, "open", lambda self: Scripted())
    to = tmp_path / "fused.json"
    options = ("--futures", 2, "--horizon", 0.2, "--json", to, "--out", tmp_path / "out")
    result = call(clip, "--model", "ghtt-small,emim-words", *options)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out/clip.mp4").stat().st_size > 1000
    found = json.loads(to.read_text())
    assert found["readings"][0]["label"] in found["readings"][0]["members"][0]["probabilities"]
    assert found["video"]["frames"] == 12
    assert [member["sees"] for member in found["readings"][0]["members"]] == ["hands", "pixels"]


def test_read_a_video_with_pixels_alone(clip: Path, tmp_path: Path) -> None:
    to = tmp_path / "fused.json"
    result = call(clip, "--model", "emim-words,trec-words", "--json", to)
    assert result.exit_code == 0, result.output
    found = json.loads(to.read_text())
    assert found["format"] == "palmist-video-action"
    assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert len(found["members"]) == 2


@pytest.mark.parametrize(
    ("source", "models", "sentence"),
    [
        ("coffee.npz", "ghtt-small,ghtt-small", "is there twice"),
        ("coffee.npz", "ghtt-small,taste", "no model or checkpoint 'taste'"),
        ("coffee.npz", "ghtt-small,", "no model or checkpoint ''"),
        ("coffee.npz", "ghtt-small,emim-words", "emim-words sees the pixels of videos"),
        ("webcam:0", "ghtt-small,bharnet-words", "read live, which one model does"),
    ],
)
def test_what_cannot_be_read_together_is_one_sentence(
    source: str, models: str, sentence: str, tmp_path: Path, coffee: Recording
) -> None:
    palmist.write_recording(tmp_path / "coffee.npz", coffee)
    result = call(tmp_path / source if source.endswith(".npz") else source, "--model", models)
    assert result.exit_code == 2, result.output
    assert sentence in " ".join(result.output.split())
