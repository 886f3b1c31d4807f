"""EgoVideo's tests without training, with made-up embeddings whose answers are known by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from palmist.errors import InputError
from palmist.video_text import TEXT_SETS, TextClip, text_set
from palmist.video_text import protocols as p

SENTENCES = {"take a cup": 0, "cut an apple, slowly": 1, "take cup and plate": 2}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("sets")
    names = ("epic_kitchens", "egtea", "egomcq")
    return {name: text_set(name).read(TEXT_SETS[name].example(folder / name)) for name in names}


def one_hot(numbers: list[int], width: int = 3) -> np.ndarray:
    """(N, width), of other lengths than 1."""
    return np.eye(width)[numbers] * np.arange(2, 2 + len(numbers))[:, None]


def embedders(seen: dict[str, int], batch: int = 64) -> p.Embedders:
    return p.Embedders(
        lambda texts: one_hot([SENTENCES[text] for text in texts]),
        lambda clips: torch.tensor(one_hot([seen[clip.uid] for clip in clips])),
        batch,
    )


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_retrieval_by_hand(batch: int, sets: dict[str, Any]) -> None:
    part = sets["epic_kitchens"].retrieval["test"]
    # relevancies: [1, 0, .75], [.75, 0, 1], [0, 1, 0], [1, 0, .75]; the cut apple is taken for a cup
    found = p.epic_retrieval(part, embedders({"P02_03_1": 0, "P18_01_0": 2, "P18_01_1": 0, "P18_01_2": 0}, batch))
    assert found["map_video_to_text"].value == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    text_to_video = ((1 + 2 / 3) / 2 + 1 / 3 + 1) / 3  # cups at 1 and 3; the apple third of equals
    assert found["map_text_to_video"].value == pytest.approx(text_to_video)
    assert found["map"].value == pytest.approx((0.875 + text_to_video) / 2)
    best = 1 + 0.75 / math.log2(3)
    rows = (1 / best, (1 + 0.75 / math.log2(3)) / best, 0.0, 1 / best)  # equals come by number
    assert found["ndcg_video_to_text"].value == pytest.approx(sum(rows) / 4)
    assert (found["map_video_to_text"].n, found["map_text_to_video"].n, found["map"].n) == (4, 3, 7)


def test_a_class_is_the_mean_of_unit_vectors_of_all_its_sentences_made_unit_again(sets: dict[str, Any]) -> None:
    kitchens = sets["epic_kitchens"]
    vectors = {
        "take a cup": (10.0, 0.0), "pick up the cup": (0.0, 1.0), "take cup and plate": (0.0, 1.0),  # 0:0
        "put the plate down": (1.0, 1.0),  # 1:1
        "put sponge on the plate": (-1.0, 0.0), "leave the knife": (-1.0, -1.0), "cut an apple, slowly": (1.0, -3.0),
    }  # fmt: skip
    asked: list[str] = []

    def texts(chosen: list[str]) -> list[tuple[float, float]]:
        asked.extend(chosen)
        return [vectors[text] for text in chosen]

    # 0:0 is (1, 2) / sqrt 5: nearest to (0, 1) only if each sentence counts alike and the mean is made unit again
    seen = {"P02_03_1": (0.0, 1.0), "P18_01_0": (1.0, 0.1), "P18_01_1": (0.1, -1.0), "P18_01_2": (0.0, 5.0)}
    model = p.Embedders(texts, lambda clips: [seen[clip.uid] for clip in clips], 2)
    found = p.epic_classes(kitchens, kitchens.retrieval["test"], model)
    assert found["top1"][:2] == (0.75, 4)  # (1, 0.1) goes to 1:1
    assert found["top5"].value == 1
    assert sorted(asked) == sorted(vectors)  # each sentence once, those of validation among them


def test_egtea_by_hand(sets: dict[str, Any]) -> None:
    names = ["cut apple", "put down cup", "take bread, plate"]
    model = p.Embedders(
        lambda texts: one_hot([names.index(text) for text in texts]),
        lambda clips: one_hot([0 for _ in clips]),
    )
    found = p.egtea_classes(sets["egtea"], model)  # its one test clip is cut apple
    assert (found["top1"][:2], found["mean_class_accuracy"][:2]) == ((1.0, 1), (1.0, 1))
    found = p.egtea_classes(sets["egtea"], model, "train3")
    assert (found["top1"].value, found["mean_class_accuracy"].value) == (0.5, 0.5)
    assert found["mean_class_accuracy"].n == 2


def test_egomcq_by_hand(sets: dict[str, Any]) -> None:
    asked: list[TextClip] = []

    def clips(chosen: list[TextClip]) -> np.ndarray:
        asked.extend(chosen)
        return np.array([[1.0, clip.start] for clip in chosen])  # the direction tells the time

    model = p.Embedders(lambda texts: np.array([[1.0, float(text.split()[-1])] for text in texts]), clips, 4)
    found = p.egomcq(sets["egomcq"], model)
    assert {kind: metric[:2] for kind, metric in found.items()} == {"inter_accuracy": (1.0, 1), "intra_accuracy": (1.0, 2)}
    assert len(asked) == 10  # the second and the third question have the same clips
    late = p.Embedders(lambda texts: np.array([[0.0, 1.0] for _ in texts]), clips)
    found = p.egomcq(sets["egomcq"], late)
    assert {kind: metric.value for kind, metric in found.items()} == {"inter_accuracy": 0.0, "intra_accuracy": 0.5}


def test_records(sets: dict[str, Any]) -> None:
    model = embedders({"P02_03_1": 0, "P18_01_0": 2, "P18_01_1": 1, "P18_01_2": 0})
    records = p.zero_shot("epic_retrieval", sets["epic_kitchens"], model, "made_up", "palmist evaluate made_up")
    found = {record.name: record for record in records}
    assert found["epic_kitchens/retrieval_test/made_up/map"].value == 1
    assert len(found) == 6
    assert all(record.interval is not None and record.unit == "share" for record in records)
    with pytest.raises(InputError, match="unknown test 'epic'; expected one of epic_retrieval"):
        p.zero_shot("epic", sets["epic_kitchens"], model, "made_up", "x")
    with pytest.raises(InputError, match="egomcq came with Egtea; expected what the reader of egomcq gives"):
        p.zero_shot("egomcq", sets["egtea"], model, "made_up", "x")


def test_what_a_model_must_not_give(sets: dict[str, Any]) -> None:
    for vectors, said in (
        (np.ones((2, 3)), r"\(2, 3\) for 3 texts; expected \(3, width\)"),
        (np.ones(3), r"\(3,\) for 3 texts"),
        (np.zeros((3, 3)), "only zeros"),
        (np.full((3, 3), np.nan), "hold nan"),
    ):
        model = p.Embedders(lambda texts, vectors=vectors: vectors, lambda clips: np.ones((len(clips), 3)))
        with pytest.raises(InputError, match=said):
            p.egtea_classes(sets["egtea"], model)


def test_lists_of_two_versions_are_refused(sets: dict[str, Any], tmp_path: Path) -> None:
    root = TEXT_SETS["epic_kitchens"].example(tmp_path / "set")
    file = root / "epic-kitchens-100-annotations" / "retrieval_annotations" / "EPIC_100_retrieval_test.csv"
    file.write_text(file.read_text().replace("apple,3", "apple,4"))
    kitchens = text_set("epic_kitchens").read(root)
    model = p.Embedders(lambda texts: np.ones((len(texts), 2)), lambda clips: np.ones((len(clips), 2)))
    with pytest.raises(InputError, match="action class 2:4 of the retrieval rows is in no action list"):
        p.zero_shot("epic_classes", kitchens, model, "made_up", "x")
    for name in file.parent.iterdir():
        name.unlink()
    with pytest.raises(InputError, match="retrieval lists of EPIC-KITCHENS-100 are missing"):
        p.zero_shot("epic_retrieval", text_set("epic_kitchens").read(root), model, "made_up", "x")
