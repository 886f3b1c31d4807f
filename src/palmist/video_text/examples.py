"""Tiny made-up data sets in the exact layouts of the real ones: our own sentences, moving noise, no video of anybody.

In most, the video that `MISSING` names is left out, so that a reader meets one that is not there.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from palmist.perception.video_writer import write_video
from palmist.video_sets.examples import example_writer

__all__ = [
    "write_ego_hod_example",
    "write_egoclip_example",
    "write_egomcq_example",
    "write_egtea_example",
    "write_epic_kitchens_example",
    "write_mq_example",
    "write_nlq_example",
    "write_state_changes_example",
]

MISSING = {"epic_kitchens": "P18_01", "egtea": "P21-R01-Toast-3000-4500-F000072-F000108", "ego4d": "made-up-c"}
EPIC_COLUMNS = (
    "narration_id", "participant_id", "video_id", "narration_timestamp", "start_timestamp", "stop_timestamp", "start_frame",
    "stop_frame", "narration", "verb", "verb_class", "noun", "noun_class", "all_nouns", "all_noun_classes",
)  # fmt: skip
VERBS = ("take", "put", "cut")
NOUNS = (
    "cup", "plate", "knife", "apple", "pan", "lid", "spoon", "bowl", "bread", "tap", "sponge",
)  # fmt: skip
#: narration_id, start, stop, sentence, verb, noun, all nouns
EPIC_TRAIN = (
    ("P01_01_0", "00:00:00.10", "00:00:01.00", "take a cup", 0, 0, (0,)),
    ("P01_01_1", "00:00:01.00", "00:00:01.90", "pick up the cup", 0, 0, (0,)),
    ("P01_01_10", "00:00:01.25", "00:00:01.50", "put sponge on the plate", 1, 10, (10, 1)),
    ("P02_03_0", "01:02:03.50", "01:02:04.00", "put the plate down", 1, 1, (1,)),
    ("P02_03_9", "01:02:04.50", "01:02:05.00", "leave the knife", 1, 2, (2,)),
)
EPIC_TEST = (
    ("P02_03_1", "00:00:00.00", "00:00:00.75", "take a cup", 0, 0, (0,)),
    ("P18_01_0", "00:00:02.00", "00:00:03.00", "take cup and plate", 0, 0, (0, 1)),
    ("P18_01_1", "00:00:03.00", "00:00:04.25", "cut an apple, slowly", 2, 3, (3,)),
    ("P18_01_2", "00:00:05.00", "00:00:06.00", "take a cup", 0, 0, (0,)),
)
EGTEA_ACTIONS = ("Cut apple", "Put_down cup", "Take bread, plate")
EGTEA_CLIPS = (
    ("P20-R01-Toast-0-1000-F000000-F000024", "1 1 2"),
    ("P20-R01-Toast-1000-2500-F000024-F000060", "2 2 1"),
    ("P21-R01-Toast-3000-4500-F000072-F000108", "3 3 3 4"),
)


def _epic_kitchens(root: Path) -> None:
    folder = root / "epic-kitchens-100-annotations"
    (folder / "retrieval_annotations").mkdir(parents=True)
    for kind, names in (("verb", VERBS), ("noun", NOUNS)):
        classes = [(number, name, str([name, f"{name}-up"]), "things") for number, name in enumerate(names)]
        _table(folder / f"EPIC_100_{kind}_classes.csv", ("id", "key", "instances", "category"), classes)
    train, test = ([_epic_row(*row) for row in rows] for rows in (EPIC_TRAIN, EPIC_TEST))
    _table(folder / "EPIC_100_train.csv", EPIC_COLUMNS, train)
    _table(folder / "EPIC_100_validation.csv", EPIC_COLUMNS, test)
    unlabelled = ("P03_02_0", "P03", "P03_02", "00:00:01.000", "00:00:01.00", "00:00:02.50", 60, 150)
    _table(folder / "EPIC_100_test_timestamps.csv", EPIC_COLUMNS[:8], [unlabelled])
    _table(folder / "EPIC_100_unseen_participant_ids_validation.csv", ("participant_id",), [("P18",)])
    for part, listed, rows in (("train", EPIC_TRAIN, train), ("test", EPIC_TEST, test)):
        _table(folder / "retrieval_annotations" / f"EPIC_100_retrieval_{part}.csv", EPIC_COLUMNS, rows)
        # the real files do not keep the order of the rows
        unique = {row[3]: row[0] for row in reversed(listed)}
        sentences = [(identity, sentence) for sentence, identity in unique.items()]
        name = f"EPIC_100_retrieval_{part}_sentence.csv"
        _table(folder / "retrieval_annotations" / name, ("narration_id", "narration"), sentences)
    for number, video in enumerate(("P01_01", "P02_03", "P03_02")):
        write_video(root / "EPIC-KITCHENS" / video[:3] / "videos" / f"{video}.mp4", _noise(number))
        made = root / "EPIC-KITCHENS" / video[:3] / "videos" / f"{video}.mp4"
        made.rename(made.with_suffix(".MP4"))


def _epic_row(
    identity: str, start: str, stop: str, sentence: str, verb: int, noun: int, nouns: Sequence[int]
) -> tuple[object, ...]:
    names = str([NOUNS[number] for number in nouns])
    person, video = identity[:3], identity[:6]
    return (
        identity, person, video, start, start, stop, 1, 60, sentence, VERBS[verb], verb, NOUNS[noun], noun, names,
        str(list(nouns)),
    )  # fmt: skip


def _egtea(root: Path) -> None:
    (root / "action_annotation").mkdir()
    lines = [f"{name} {number}" for number, name in enumerate(EGTEA_ACTIONS, 1)]
    (root / "action_annotation" / "action_idx.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for split in (1, 2, 3):
        own = EGTEA_CLIPS[split - 1]
        for part, chosen in (("train", [clip for clip in EGTEA_CLIPS if clip != own]), ("test", [own])):
            text = "".join(f"{name} {numbers} \n" for name, numbers in chosen)
            (root / "action_annotation" / f"{part}_split{split}.txt").write_text(text, encoding="utf-8")
    for number, (name, _) in enumerate(EGTEA_CLIPS):
        if name != MISSING["egtea"]:
            write_video(root / "cropped_clips" / "-".join(name.split("-")[:3]) / f"{name}.mp4", _noise(number))


def _egoclip(root: Path) -> None:
    header = (
        "clip_idx", "video_uid", "video_dur", "narration_source", "narration_ind", "narration_time", "clip_start", "clip_end",
        "clip_text", "tag_verb", "tag_noun",
    )  # fmt: skip
    rows = (
        (0, "made-up-a", 40.0, "narration_pass_1", 0, 1.5, -0.25, 2.25, "#C C lifts a cup", "[93]", "[27, 125]"),
        (1, "made-up-a", 40.0, "narration_pass_1", 1, 16.0, 14.0, 16.5, '#C C says "pour", then pours', "[45, 2]", "[]"),
        (2, "made-up-c", 99.5, "narration_pass_2", 0, 50.0, 49.0, 51.0, "#C C stirs,\nthen waits é", "[7]", "[1]"),
    )
    _table(root / "egoclip.csv", header, rows, delimiter="\t")
    _ego4d_video(root / "full_scale" / "made-up-a.mp4")


def _ego_hod(root: Path) -> None:
    rows = (
        ("ego4d", "made-up-a", 14.0, 31.0, "The left hand moves up, then right.", "a0"),
        ("ego4d", "made-up-c", 3.0, 3.25, str(["It's a hand, which stays.", 'The "other" hand moves down.']), "c0"),
    )
    _table(root / "ego_hod.csv", ("dataset", "video_id", "start_second", "end_second", "caption", "uid"), rows)
    columns = ("video_id", "start_second", "end_second", "text")
    _table(root / "howto100m_hod.csv", columns, [("made-up-h", 0.0, 4.0, "Both hands press dough.")])
    for number in range(3):
        _ego4d_video(root / "ego4d" / "made-up-a" / f"{number:04d}.mp4")
    _ego4d_video(root / "howto" / "made-up-h" / "0000.mp4")


def _egomcq(root: Path) -> None:
    def clip(video: str, start: float) -> dict[str, object]:
        tags = {"tag_verb": "[93]", "tag_noun": "[27]"}
        return {"video_uid": video, "clip_start": start, "clip_end": start + 1.5, "clip_text": f"#C C at {start:g}", **tags}

    videos = ("made-up-a", "made-up-b", "made-up-c", "made-up-d", "made-up-e")
    inter = {str(number): clip(video, 2.0 * number) for number, video in enumerate(videos)}
    intra = {str(number): clip("made-up-a", 10.0 + number) for number in range(5)}
    items = {
        "0": {"query": inter["3"], "choices": inter, "answer": 3, "types": 1},
        "1": {"query": intra["0"], "choices": intra, "answer": 0, "types": 2},
        "2": {"query": intra["4"], "choices": intra, "answer": 4, "types": 2},
    }
    _write_json(root / "egomcq.json", items)
    for video in videos:
        if video != MISSING["ego4d"]:
            _ego4d_video(root / "full_scale" / f"{video}.mp4")


def _nlq(root: Path) -> None:
    def query(text: str | None, start: float, end: float) -> dict[str, object]:
        return {"query": text, "template": "Objects: Where is X?", "clip_start_sec": start, "clip_end_sec": end}

    first = [query("Where did I put the cup?", 3.0, 5.5), query(None, 0.0, 1.0), query("What did I cut?", 60.0, 61.0)]
    clip = {"clip_uid": "made-up-clip", "video_start_sec": 100.0, "video_end_sec": 580.0}
    train = {**clip, "annotations": [{"annotation_uid": "note-1", "language_queries": first}]}
    unanswered = [{"query": "Who opened the lid?", "template": "People"}]
    test = {**clip, "clip_uid": "made-up-c", "annotations": [{"annotation_uid": "note-2", "language_queries": unanswered}]}
    _write_json(root / "annotations" / "nlq_train.json", {"videos": [{"video_uid": "made-up-a", "clips": [train]}]})
    _write_json(root / "annotations" / "nlq_test_unannotated.json", {"videos": [{"video_uid": "made-up-a", "clips": [test]}]})
    rows = (
        {"query": "Where did I put the cup?", "query_id": "note-1_0", "duration": 480.0, "video_id": "made-up-clip",
         "timestamps": [[3.0, 5.5]]},
        {"query": "What did I cut?", "query_id": "note-1_2", "duration": 480.0, "video_id": "made-up-clip",
         "timestamps": [[60.0, 61.0]]},
    )  # fmt: skip
    (root / "ground_nlq_train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    _ego4d_video(root / "clips" / "made-up-clip.mp4")


def _mq(root: Path) -> None:
    labels = [
        {"label": "cut_apple", "start_time": 3.0, "end_time": 9.5, "primary": True},
        {"label": "wash_hands", "start_time": 20.0, "end_time": 31.0, "primary": True},
        {"label": "cut_apple", "start_time": 40.0, "end_time": 44.0, "primary": False},
    ]
    clip = {"clip_uid": "made-up-clip", "video_start_sec": 0.0, "video_end_sec": 480.0}
    content = {"videos": [{"video_uid": "made-up-a", "clips": [{**clip, "annotations": [{"labels": labels}]}]}]}
    _write_json(root / "annotations" / "moments_val.json", content)
    _ego4d_video(root / "clips" / "made-up-clip.mp4")


def _state_changes(root: Path) -> None:
    def clip(uid: str, video: str, start: float, **facts: object) -> dict[str, object]:
        frame = round(start * 30)
        span = {"parent_start_sec": start, "parent_end_sec": start + 8, "parent_start_frame": frame}
        return {"unique_id": uid, "video_uid": video, "clip_id": 7, **span, "parent_end_frame": frame + 240, **facts}

    train = [
        clip("change", "made-up-a", 10.0, state_change=True, clip_pnr_frame=120, parent_pnr_frame=420),
        clip("none", "made-up-c", 0.0, state_change=False, clip_pnr_frame=None, parent_pnr_frame=None),
    ]
    _write_json(root / "annotations" / "fho_oscc-pnr_train.json", {"clips": train})
    _write_json(root / "annotations" / "fho_oscc-pnr_test_unannotated.json", {"clips": [clip("asked", "made-up-a", 30.0)]})
    _ego4d_video(root / "full_scale" / "made-up-a.mp4")


write_epic_kitchens_example = example_writer(_epic_kitchens)
write_egtea_example = example_writer(_egtea)
write_egoclip_example = example_writer(_egoclip)
write_ego_hod_example = example_writer(_ego_hod)
write_egomcq_example = example_writer(_egomcq)
write_nlq_example = example_writer(_nlq)
write_mq_example = example_writer(_mq)
write_state_changes_example = example_writer(_state_changes)


def _noise(number: int, frames: int = 12) -> np.ndarray:
    """(12, 32, 48, 3) uint8, other noise for each number."""
    return np.random.default_rng(number).integers(0, 256, (frames, 32, 48, 3), np.uint8)


def _ego4d_video(path: Path) -> None:
    write_video(path, _noise(len(path.name)))


def _table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]], delimiter: str = ",") -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
