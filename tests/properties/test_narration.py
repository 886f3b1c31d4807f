"""Narrations read back as what they were made from, and a mirrored clip gives the mirrored sentence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from palmist.narration.claims import claims
from palmist.narration.facts import DIRECTIONS, STAYS, ContactChange, Facts, HandFacts, ObjectFacts, Piece, Relation
from palmist.narration.pipeline import narrate_detections
from palmist.narration.sentences import fact_claims, mirror_facts, sentence
from palmist.perception.objects import CONTACTS, HandBox, HandObjects, ObjectBox
from palmist.skeleton import mirror_words

RATE = 20.0
WIDTH, HEIGHT = 400, 300

pieces = st.lists(st.sampled_from([*DIRECTIONS, STAYS]), max_size=8).map(
    lambda names: tuple(Piece(float(i), i + 1.0, name, 0.0 if name == STAYS else 0.1) for i, name in enumerate(names))
)
names = st.sampled_from(
    [None, "cup", "left cup", "right shoe", "pick-up truck", "upright lamp", "cup of tea", "left hand", "download"]
)
numbers = st.sampled_from([None, 0, 1])
changes = st.lists(st.tuples(st.sampled_from(CONTACTS), numbers), max_size=4).map(
    lambda rows: tuple(ContactChange(float(i), state, number) for i, (state, number) in enumerate(rows))
)
hands = st.builds(HandFacts, st.just(1.0), pieces, st.sampled_from(CONTACTS), changes, numbers)
objects = st.lists(st.builds(ObjectFacts, names, st.just(1.0), pieces), min_size=2, max_size=2).map(tuple)
relations = st.lists(
    st.one_of(
        st.builds(
            Relation,
            st.sampled_from(["object 0", "object 1"]),
            st.sampled_from(["left of", "right of", "above", "below"]),
            st.sampled_from(["left hand", "right hand"]),
            st.sampled_from(["start", "end", "throughout"]),
        ),
        st.just(Relation("left hand", "approaches", "right hand", "throughout")),
        st.just(Relation("right hand", "moves away from", "left hand", "throughout")),
    ),
    max_size=4,
).map(tuple)
sides = st.sampled_from([(), ("left",), ("right",), ("left", "right"), ("right", "left")])
all_facts = st.builds(
    lambda order, first, second, things, related: Facts(3.0, dict(zip(order, (first, second), strict=False)), things, related),
    sides,
    hands,
    hands,
    objects,
    relations,
)
captions = st.sampled_from([None, "#C C lifts the cup", "#C C moves the left drawer down", "wash knife", "both hands go up"])


@settings(max_examples=150, deadline=None)
@given(all_facts, captions)
def test_a_sentence_claims_what_the_facts_say(facts: Facts, caption: str | None):
    assert claims(sentence(facts, caption)) == fact_claims(facts)


@settings(max_examples=150, deadline=None)
@given(all_facts, captions)
def test_the_mirrored_facts_give_the_mirrored_sentence(facts: Facts, caption: str | None):
    assert sentence(mirror_facts(facts), mirror_words(caption)) == mirror_words(sentence(facts, caption))
    assert mirror_facts(mirror_facts(facts)) == facts


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="leftrighup downadthn .,;-", max_size=80))
def test_claims_mirror_with_any_words(text: str):
    mirrored = {tuple(map(mirror_words, pair)) for pair in claims(text)}
    assert claims(mirror_words(text)) == mirrored


def walk(generator: np.random.Generator, frames: int) -> list[HandObjects]:
    """Two hands with tags of their own on random straight ways, one of them with a thing, some detections missing."""
    corners = generator.uniform((40, 40), (WIDTH - 40, HEIGHT - 40), (2, 4, 2))
    out = []
    for t in range(frames):
        place = 3 * t / (frames - 1)
        first = min(int(place), 2)
        centre = corners[:, first] + (place - first) * (corners[:, first + 1] - corners[:, first])
        found = [HandBox(box(*centre[side]), 0.9, side, 3 * side, 0 if side else None) for side in range(2)]
        kept = [hand for hand in found if generator.random() > 0.1]
        out.append(HandObjects(tuple(kept), (ObjectBox(box(*(centre[1] + (25, 10)), 20)),)))
    return out


def box(x: float, y: float, size: float = 36.0) -> np.ndarray:
    return np.array([x - size / 2, y - size / 2, x + size / 2, y + size / 2])


def flipped(frame: HandObjects) -> HandObjects:
    """As a mirror shows it: x is turned round and sides are exchanged."""

    def turned(values: np.ndarray) -> np.ndarray:
        return np.array([WIDTH - values[2], values[1], WIDTH - values[0], values[3]])

    hands = tuple(replace(hand, box=turned(hand.box), side=1 - hand.side) for hand in frame.hands)
    return HandObjects(hands, tuple(replace(thing, box=turned(thing.box)) for thing in frame.objects))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([None, "#C C moves the left cup"]))
def test_a_flipped_clip_gives_the_sentence_with_sides_and_directions_swapped(seed: int, caption: str | None):
    detections = walk(np.random.default_rng(seed), 30)
    time = np.arange(30) / RATE
    plain = narrate_detections(time, (WIDTH, HEIGHT), detections, original=caption)
    mirrored = narrate_detections(time, (WIDTH, HEIGHT), [flipped(f) for f in detections], original=mirror_words(caption))
    assert mirrored.text == mirror_words(plain.text)
    assert claims(plain.text) == fact_claims(plain.facts)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 4.0), st.floats(-5, 5))
def test_scale_and_the_clocks_start_change_no_word(seed: int, scale: float, start: float):
    detections = walk(np.random.default_rng(seed), 30)
    scaled = [
        HandObjects(
            tuple(replace(hand, box=hand.box * scale) for hand in frame.hands),
            tuple(replace(thing, box=thing.box * scale) for thing in frame.objects),
        )
        for frame in detections
    ]
    time = np.arange(30) / RATE
    plain = narrate_detections(time, (WIDTH, HEIGHT), detections)
    size = (round(WIDTH * scale), round(HEIGHT * scale))
    assert narrate_detections(time + start, size, scaled).text == plain.text
