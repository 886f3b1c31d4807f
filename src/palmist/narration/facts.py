"""What a narration may say: which way each hand and each thing moved, where they were, what touched what.

A sentence is written from these facts and from nothing else, and a sentence that somebody else wrote is checked against
them. Directions are those of the picture after the camera's own motion is removed: "up" is towards its upper edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from palmist.errors import InputError
from palmist.perception.objects import CONTACTS

__all__ = ["DIRECTIONS", "SIDES", "STAYS", "ContactChange", "Facts", "HandFacts", "ObjectFacts", "Piece", "Relation"]

SIDES = ("left", "right")
STAYS = "stays"
DIRECTIONS = (
    "right",
    "down and to the right",
    "down",
    "down and to the left",
    "left",
    "up and to the left",
    "up",
    "up and to the right",
)


@dataclass(frozen=True)
class Piece:
    """A straight piece of a path: start and end in seconds, direction one of DIRECTIONS or STAYS, distance in picture
    diagonals."""

    start: float
    end: float
    direction: str
    distance: float


@dataclass(frozen=True)
class ContactChange:
    """From `time` on (seconds) the hand's contact state is `state` (one of CONTACTS), with the object of that number."""

    time: float
    state: str
    object: int | None = None


@dataclass(frozen=True)
class HandFacts:
    """One hand. seen: share of the frames in which it was found; pieces: its path; contact: state at the start, then changes;
    object: number of the thing that it touched longest, None for none."""

    seen: float
    pieces: tuple[Piece, ...]
    contact: str = CONTACTS[0]
    changes: tuple[ContactChange, ...] = ()
    object: int | None = None


@dataclass(frozen=True)
class ObjectFacts:
    """One thing: name as the original caption or the detector has it, None where nobody named it; seen, pieces as a hand's."""

    name: str | None
    seen: float
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Relation:
    """`subject` stands to `other` in `relation` ("left of", "right of", "above", "below"; "approaches", "moves away from") at
    "start", "end" or "throughout". Subjects are "left hand", "right hand", "object 0", ..."""

    subject: str
    relation: str
    other: str
    when: str


@dataclass(frozen=True)
class Facts:
    """Everything that is known about a clip of `duration` seconds: hands by side ("left", "right"; a hand that was hardly
    seen is missing), objects by number, relations."""

    duration: float
    hands: Mapping[str, HandFacts]
    objects: tuple[ObjectFacts, ...] = ()
    relations: tuple[Relation, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Facts:
        """What `to_json` gave. Raises InputError for anything else."""
        try:
            hands = {
                _one_of(side, SIDES): HandFacts(
                    **{
                        **hand,
                        "pieces": _pieces(hand["pieces"]),
                        "contact": _one_of(hand["contact"], CONTACTS),
                        "changes": tuple(ContactChange(**change) for change in hand["changes"]),
                    }
                )
                for side, hand in data["hands"].items()
            }
            objects = tuple(ObjectFacts(**{**thing, "pieces": _pieces(thing["pieces"])}) for thing in data["objects"])
            relations = tuple(Relation(**relation) for relation in data["relations"])
            return cls(float(data["duration"]), hands, objects, relations)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"these are no facts about motion ({error}); expected what Palmist's narration wrote") from error


def _pieces(rows: Any) -> tuple[Piece, ...]:
    pieces = tuple(Piece(**row) for row in rows)
    for piece in pieces:
        _one_of(piece.direction, (*DIRECTIONS, STAYS))
    return pieces


def _one_of(value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"found {value!r}, expected one of {', '.join(allowed)}")
    return str(value)
