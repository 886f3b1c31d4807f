"""Splits of the open sets, always by person: neighbours from one recording session are near copies of each other.

>>> SPLITS["asl_words"]["cross_signer_a"].test
('S2',)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from palmist.errors import InputError
from palmist.recording import Recording

__all__ = ["FOLDS", "SPLITS", "Fold", "Split", "named_split", "recordings_of"]


@dataclass(frozen=True)
class Split:
    """Subjects to train on and to test on; None means every recording."""

    train: tuple[str, ...] | None
    test: tuple[str, ...] | None


_SIGNERS = ("S1", "S2", "S3")
_PEOPLE = tuple(f"P{i}" for i in range(1, 9))


def _leave_one_out(everybody: tuple[str, ...]) -> dict[str, Split]:
    return {f"leave_out_{one.lower()}": Split(tuple(other for other in everybody if other != one), (one,)) for one in everybody}


_ALL = {"all": Split(None, None)}

#: data set -> split name -> who trains and who tests
SPLITS: dict[str, dict[str, Split]] = {
    "asl_words": {
        "cross_signer_a": Split(("S1", "S3"), ("S2",)),
        "cross_signer_b": Split(("S2",), ("S1", "S3")),
        **_ALL,
    },
    "asl_letters": {**_leave_one_out(_SIGNERS), **_ALL},
    "reach_to_grasp": {**_leave_one_out(_PEOPLE), **_ALL},
    "leap_recordings": _ALL,
}


@dataclass(frozen=True)
class Fold:
    """Who a model of the benchmark has never seen, in any set and with or without labels.

    signers of asl_words and asl_letters, people of reach_to_grasp, takes of leap_recordings (which names nobody).
    """

    signers: tuple[str, ...]
    people: tuple[str, ...]
    takes: tuple[str, ...]


_TAKES = (
    "HandSplay_110fps", "Waiting_110fps", "brian", "confidence2", "confidence_74fps", "confidence_demo", "flapping",
    "grab", "gun", "pinch", "rollAndPitchWithEntry", "test_paddle_rightwards", "three_claps", "wave",
)  # fmt: skip


def _fold(number: int, *signers: str) -> Fold:
    takes = tuple(f"leap_recordings/{take}" for take in _TAKES[number - 1 :: 4])
    return Fold(signers, _PEOPLE[2 * number - 2 : 2 * number], takes)


#: The four folds of the benchmark: one P-block each serves several splits, and every person is left out by one of them.
FOLDS: dict[int, Fold] = {1: _fold(1, "S2"), 2: _fold(2, "S1", "S3"), 3: _fold(3, "S1"), 4: _fold(4, "S3")}


def named_split(data: str, name: str) -> Split:
    """A split by name; InputError lists the known ones."""
    known = SPLITS.get(data, _ALL)
    if name not in known:
        raise InputError(f"{data} has no split '{name}'; expected one of {', '.join(known)}")
    return known[name]


def recordings_of(recordings: Iterable[Recording], subjects: Iterable[str] | None) -> list[Recording]:
    """The recordings of the given people; None means everybody."""
    if subjects is None:
        return list(recordings)
    wanted = set(subjects)
    return [recording for recording in recordings if recording.subject in wanted]
