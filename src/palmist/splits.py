"""Splits of the open sets, always by person: neighbours from one recording session are near copies of each other.

>>> SPLITS["asl_words"]["cross_signer_a"].test
('S2',)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from palmist.errors import InputError
from palmist.recording import Recording

__all__ = ["SPLITS", "Split", "named_split", "recordings_of"]


@dataclass(frozen=True)
class Split:
    """Subjects to train on and to test on; None means every recording."""

    train: tuple[str, ...] | None
    test: tuple[str, ...] | None


_SIGNERS = ("S1", "S2", "S3")
_PEOPLE = tuple(f"P{i}" for i in range(1, 9))


def _leave_one_out(everybody: tuple[str, ...]) -> dict[str, Split]:
    return {
        f"leave_out_{one.lower()}": Split(tuple(other for other in everybody if other != one), (one,))
        for one in everybody
    }


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
