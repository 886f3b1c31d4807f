"""Facts as sentences, and what a sentence claims, ours or somebody else's."""

from __future__ import annotations

import json

import pytest

from palmist.errors import InputError
from palmist.narration.claims import claims
from palmist.narration.facts import STAYS, ContactChange, Facts, HandFacts, ObjectFacts, Piece, Relation
from palmist.narration.sentences import fact_claims, mirror_facts, sentence
from palmist.skeleton import mirror_words

HELD = "portable object"


def hand(*directions: str, **fields) -> HandFacts:
    pieces = tuple(Piece(float(i), i + 1.0, d, 0.0 if d == STAYS else 0.2) for i, d in enumerate(directions))
    return HandFacts(fields.pop("seen", 1.0), pieces, **fields)


def facts(hands: dict[str, HandFacts], objects: tuple[ObjectFacts, ...] = (), *relations: Relation) -> Facts:
    return Facts(2.0, hands, objects, relations)


def test_the_example_of_the_published_style():
    found = facts({"right": hand("up", "right", contact=HELD), "left": hand(STAYS)})
    assert sentence(found) == "The right hand moves up and then to the right, holding an object; the left hand stays still."


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (facts({}), "No hand is seen clearly."),
        (facts({"left": hand()}), "The left hand is in the picture."),
        (facts({"left": hand(STAYS, "up", STAYS)}), "The left hand moves up."),
        (
            facts({"left": hand("up", "left", "down and to the right")}),
            "The left hand moves up, then to the left and then down and to the right.",
        ),
        (facts({"right": hand("up", "down")}), "The right hand moves up and then down."),
        (facts({"right": hand(*["up", "down"] * 3)}), "The right hand moves several times, up and then down."),
        (facts({"left": hand("up"), "right": hand("up")}), "Both hands move up."),
        (facts({"left": hand(STAYS), "right": hand(STAYS)}), "Both hands stay still."),
        (facts({"left": hand(STAYS), "right": hand("up")}), "The right hand moves up; the left hand stays still."),
        (
            facts({"left": hand("up", contact=HELD), "right": hand("up")}),
            "The left hand moves up, holding an object; the right hand moves up.",
        ),
        (
            facts({"right": hand("up", contact=HELD, object=0)}, (ObjectFacts("cup", 1.0, ()),)),
            "The right hand moves up, holding the cup.",
        ),
        (
            facts(
                {"right": hand("up", object=0, changes=(ContactChange(0.5, HELD, 0), ContactChange(1.5, "none")))},
                (ObjectFacts("cup", 1.0, ()),),
            ),
            "The right hand moves up, taking hold of the cup, then letting go of it.",
        ),
        (
            facts({"left": hand(STAYS, contact="self"), "right": hand("down", contact="stationary object")}),
            "The right hand moves down, touching an object; the left hand stays still, touching the person's own body.",
        ),
        (
            facts(
                {"right": hand("up", contact=HELD, object=0)},
                (ObjectFacts("cup", 1.0, ()),),
                Relation("object 0", "left of", "right hand", "start"),
                Relation("object 0", "above", "right hand", "end"),
            ),
            "The right hand moves up, holding the cup. "
            "The cup is to the left of the right hand at the start and above it at the end.",
        ),
        (
            facts({"left": hand("right"), "right": hand("left")}, (), Relation("left hand", "approaches", "right hand", "end")),
            "The left hand moves to the right; the right hand moves to the left. The hands approach each other.",
        ),
        (
            facts({"right": hand(STAYS)}, (ObjectFacts("ball", 1.0, hand("left").pieces),)),
            "The right hand stays still. The ball moves to the left.",
        ),
    ],
)
def test_sentences(found, text):
    assert sentence(found) == text
    assert claims(text) == fact_claims(found)
    assert sentence(mirror_facts(found)) == mirror_words(text)


def test_the_caption_names_what_nobody_else_named():
    found = facts({"right": hand("up", contact=HELD)})
    assert sentence(found, "#C C takes the spoon from the drawer") == "The right hand moves up, holding the spoon."
    assert sentence(found, "#C C takes the spoon and the fork") == "The right hand moves up, holding an object."


@pytest.mark.parametrize("name", ["cup. The left hand moves down", "cup and moves to the left", "cup; it stays still"])
def test_a_name_that_would_be_read_as_a_direction_is_not_used(name):
    found = facts({"right": hand("up", contact=HELD, object=0)}, (ObjectFacts(name, 1.0, ()),))
    assert sentence(found) == "The right hand moves up, holding an object."


RIGHT, LEFT = "right hand", "left hand"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # one between two directions, or one after the other
        ("The right hand moves up and to the right.", {(RIGHT, "up and to the right")}),
        ("The right hand moves up and then to the right.", {(RIGHT, "up"), (RIGHT, "right")}),
        ("The right hand moves up, then to the right.", {(RIGHT, "up"), (RIGHT, "right")}),
        ("The right hand moves up, right.", {(RIGHT, "up"), (RIGHT, "right")}),
        ("The right hand moves diagonally up to the left.", {(RIGHT, "up and to the left")}),
        ("The left hand goes down-right.", {(LEFT, "down and to the right")}),
        ("The left hand drifts to the left and down.", {(LEFT, "down and to the left")}),
        ("Her left hand moves towards the upper right corner.", {(LEFT, "up and to the right")}),
        ("The right hand moves up and down.", {(RIGHT, "up"), (RIGHT, "down")}),
        ("The right hand moves left and right.", {(RIGHT, "left"), (RIGHT, "right")}),
        # words for directions
        ("The right hand lifts the cup.", {(RIGHT, "up")}),
        ("The right hand raises the cup upward and lowers it again.", {(RIGHT, "up"), (RIGHT, "down")}),
        ("The right hand raises the cup up and to the right.", {(RIGHT, "up and to the right")}),
        ("The left hand shifts leftwards, then moves towards the top.", {(LEFT, "left"), (LEFT, "up")}),
        ("The left hand slides rightward.", {(LEFT, "right")}),
        ("The left hand makes a downward motion.", {(LEFT, "down")}),
        ("The left hand sweeps from left to right.", {(LEFT, "right")}),
        ("The left hand travels from top to bottom.", {(LEFT, "down")}),
        # sides of hands, and whose motion it is
        ("Both hands move up.", {(LEFT, "up"), (RIGHT, "up")}),
        ("The left and right hands move down.", {(LEFT, "down"), (RIGHT, "down")}),
        ("The right hand moves up while the left stays still.", {(RIGHT, "up"), (LEFT, STAYS)}),
        ("The right hand moves up and the left hand moves down.", {(RIGHT, "up"), (LEFT, "down")}),
        ("The right hand moves up as the other hand remains in place.", {(RIGHT, "up"), (LEFT, STAYS)}),
        ("The person lifts the cup with the right hand, then moves it to the left.", {(RIGHT, "up"), (RIGHT, "left")}),
        ("Using the left hand, the person moves the knife to the right.", {(LEFT, "right")}),
        ("The right hand moves left towards the left hand.", {(RIGHT, "left")}),
        ("The right-hand moves up, and it holds a cup.", {(RIGHT, "up")}),
        ("THE RIGHT HAND MOVES UP", {(RIGHT, "up")}),
        # standing still
        ("The left hand does not move.", {(LEFT, STAYS)}),
        ("The left hand remains motionless on the table.", {(LEFT, STAYS)}),
        ("The left hand keeps the plate steady.", {(LEFT, STAYS)}),
        ("The left hand is still holding the cup as the right hand moves up.", {(RIGHT, "up")}),
        ("The left hand stays where it is.", {(LEFT, STAYS)}),
        ("The left hand moves up and then stays still.", {(LEFT, "up")}),
        # places and set phrases are no directions
        ("The right hand picks up the cup.", set()),
        ("The right hand picks the red cup up.", set()),
        ("The right hand puts down the cup on the left side of the table.", set()),
        ("The cup is to the left of the right hand at the start and above it at the end.", set()),
        ("The right hand takes the left cup.", set()),
        ("The right hand holds the cup upside down.", set()),
        ("The right hand moves right above the cup.", set()),
        ("The bright copper cup is on the right.", set()),
        ("The right hand enters from the right and moves up.", {(RIGHT, "up")}),
        # things
        ("The ball moves to the left.", {("object", "left")}),
        ("", set()),
    ],
)
def test_claims_of_other_peoples_sentences(text, expected):
    assert claims(text) == expected
    assert claims(mirror_words(text)) == {tuple(map(mirror_words, pair)) for pair in expected}


def test_facts_as_json():
    found = facts(
        {"right": hand("up", contact=HELD, object=0, changes=(ContactChange(1.0, "none"),))},
        (ObjectFacts("cup", 0.5, hand("up").pieces),),
        Relation("object 0", "above", "right hand", "start"),
    )
    assert Facts.from_json(json.loads(json.dumps(found.to_json()))) == found
    for spoil in ({"hands": {"third": {}}}, {"hands": {"left": {"seen": 1}}}, {"objects": 3}):
        with pytest.raises(InputError, match="no facts"):
            Facts.from_json({**found.to_json(), **spoil})
