"""Facts as English, by a fixed template: one or two sentences in the style of the published captions.

The sentence says which way each hand moves, in which order, what it holds, and where the thing is before and after; things are
called by the original caption's name where it names exactly one. `palmist.narration.claims.claims` reads the directions back
from it, and `palmist.skeleton.mirror_words` makes of it the sentence of the mirrored clip.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from palmist.narration.claims import claims
from palmist.narration.facts import STAYS, Facts, HandFacts, ObjectFacts, Piece, Relation
from palmist.narration.named_thing import named_thing
from palmist.skeleton import mirror_words

__all__ = ["claims", "fact_claims", "mirror_facts", "sentence"]

_MOST_PIECES = 5  # directions in a row that are told one by one
_MOST_CHANGES = 2  # changes of contact that are told one by one; more are rather a detector's doubts than a hand's doing
_WORDS = re.compile(r"[\w' -]+")
_CONTACTS = {
    "self": "touching the person's own body",
    "other person": "touching another person",
}


def sentence(facts: Facts, original: str | None = None) -> str:
    """One or two sentences that say what the facts say.

    original: a caption that names the thing, for facts whose objects have no names.

    >>> sentence(Facts(1.0, {"right": HandFacts(1.0, (Piece(0, 0.5, "up", 0.2), Piece(0.5, 1, "right", 0.2)))}))
    'The right hand moves up and then to the right.'
    """
    moving = [(side, hand) for side, hand in facts.hands.items() if _directions(hand.pieces)]
    still = [(side, hand) for side, hand in facts.hands.items() if not _directions(hand.pieces)]
    told = moving + still
    if not told:
        first = "No hand is seen clearly"
    elif len(told) == 2 and _moves(told[0][1]) == _moves(told[1][1]) and _same_hold(facts, told, original):
        first = f"Both hands {_moves(told[0][1], plural=True)}{_contact(facts, told[0][1], original)}"
    else:
        clauses = [f"the {side} hand {_moves(hand)}{_contact(facts, hand, original)}" for side, hand in told]
        first = _capital("; ".join(clauses))
    more = _object_clauses(facts, original) + _hand_clauses(facts.relations)
    return first + "." + (f" {_capital('; '.join(more))}." if more else "")


def fact_claims(facts: Facts) -> frozenset[tuple[str, str]]:
    """What the facts say of directions, in the form of `claims`: a hand that never moves STAYS, one that moves does so in the
    directions of its pieces; of things, only those that move without a hand."""
    out = set()
    for side, hand in facts.hands.items():
        if hand.pieces:
            out |= {(f"{side} hand", direction) for direction in _directions(hand.pieces) or [STAYS]}
    for thing in _moving_alone(facts):
        out |= {("object", direction) for direction in _directions(thing.pieces)}
    return frozenset(out)


def mirror_facts(facts: Facts) -> Facts:
    """The facts of the clip as a mirror shows it: sides, directions, relations and names swap left and right. Twice gives the
    facts back."""
    hands = {mirror_words(side): replace(hand, pieces=_mirror_pieces(hand.pieces)) for side, hand in facts.hands.items()}
    objects = tuple(
        replace(thing, name=mirror_words(thing.name), pieces=_mirror_pieces(thing.pieces)) for thing in facts.objects
    )
    relations = tuple(
        Relation(mirror_words(r.subject), mirror_words(r.relation), mirror_words(r.other), r.when) for r in facts.relations
    )
    return replace(facts, hands=hands, objects=objects, relations=relations)


def _mirror_pieces(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    return tuple(replace(piece, direction=mirror_words(piece.direction)) for piece in pieces)


# --------------------------------------------------------------------------------------------------------------------
# Motion


def _directions(pieces: Sequence[Piece]) -> list[str]:
    """The directions one after the other, rests left out, each once in a row."""
    out: list[str] = []
    for piece in pieces:
        if piece.direction != STAYS and (not out or out[-1] != piece.direction):
            out.append(piece.direction)
    return out


def _moves(hand: HandFacts | ObjectFacts, plural: bool = False) -> str:
    """A verb and its directions: "moves up and then to the right", "stays still"."""
    move, stay, be = ("move", "stay", "are") if plural else ("moves", "stays", "is")
    directions = _directions(hand.pieces)
    if not hand.pieces:
        return f"{be} in the picture"
    if not directions:
        return f"{stay} still"
    if len(directions) > _MOST_PIECES:
        return f"{move} several times, {_in_order(list(dict.fromkeys(directions)))}"
    return f"{move} {_in_order(directions)}"


def _in_order(directions: Sequence[str]) -> str:
    """Directions as a phrase: "up", "up and then down", "up, then to the right and then down"."""
    words = [f"to the {direction}" if direction in ("left", "right") else direction for direction in directions]
    return words[0] if len(words) == 1 else ", then ".join(words[:-1]) + f" and then {words[-1]}"


# --------------------------------------------------------------------------------------------------------------------
# Things


def _name(facts: Facts, number: int | None, original: str | None) -> str | None:
    """What the thing is called, None where nobody says or the name would be read as a direction."""
    name = named_thing(original) if number is None and not facts.objects else None
    if number is not None and number < len(facts.objects):
        thing = facts.objects[number]
        name = thing.name or (named_thing(original) if len(facts.objects) == 1 else None)
    if not name:
        return None
    plain = claims(f"The right hand moves up, holding the {name}. The {name} is above it; the {name} moves down.")
    return name if _WORDS.fullmatch(name) and plain == {("right hand", "up"), ("object", "down")} else None


def _thing(facts: Facts, number: int | None, original: str | None, definite: bool = False) -> str:
    name = _name(facts, number, original)
    return f"the {name}" if name else "the object" if definite else "an object"


def _contact(facts: Facts, hand: HandFacts, original: str | None) -> str:
    """What a hand touches: ", holding an object, then letting go of it"; nothing for a hand that touches nothing."""
    thing = _thing(facts, hand.object, original)
    if len(hand.changes) > _MOST_CHANGES and "portable object" in {hand.contact, *(change.state for change in hand.changes)}:
        return f", holding {thing} for parts of the time"
    phrases, state = [], hand.contact
    first = {"portable object": f"holding {thing}", "stationary object": f"touching {thing}", **_CONTACTS}.get(state)
    if first is not None:
        phrases.append(first)
    for change in hand.changes[:_MOST_CHANGES]:
        held = "it" if any(thing in phrase for phrase in phrases) else thing
        if state == "portable object" and change.state != state:
            phrases.append(f"letting go of {held}")
        if change.state == "portable object":
            phrases.append(f"taking hold of {held}")
        elif change.state == "stationary object" and state != "portable object":
            phrases.append(f"touching {held}")
        elif change.state in _CONTACTS:
            phrases.append(_CONTACTS[change.state])
        state = change.state
    return ", " + ", then ".join(phrases) if phrases else ""


def _same_hold(facts: Facts, told: Sequence[tuple[str, HandFacts]], original: str | None) -> bool:
    """Whether both hands touch the same thing in the same way, so that one clause can speak of both."""
    (_, first), (_, second) = told
    alike = _contact(facts, first, original) == _contact(facts, second, original)
    return alike and (first.object == second.object or not _contact(facts, first, original))


def _moving_alone(facts: Facts) -> list[ObjectFacts]:
    """Things that move although no hand touches them."""
    touched = {hand.object for hand in facts.hands.values()}
    touched |= {change.object for hand in facts.hands.values() for change in hand.changes}
    return [thing for number, thing in enumerate(facts.objects) if number not in touched and _directions(thing.pieces)]


def _object_clauses(facts: Facts, original: str | None) -> list[str]:
    """Where things are: "the cup is to the left of the right hand at the start and above it at the end"."""
    places: dict[tuple[str, str], dict[str, str]] = {}
    for relation in facts.relations:
        if relation.subject.startswith("object ") and relation.other.endswith(" hand"):
            word = f"to the {relation.relation}" if relation.relation in ("left of", "right of") else relation.relation
            places.setdefault((relation.subject, relation.other), {})[relation.when] = word
    clauses = []
    for (subject, hand), when in places.items():
        thing = _thing(facts, int(subject.split()[1]), original, definite=True)
        if "throughout" in when:
            clauses.append(f"{thing} is {when['throughout']} the {hand} throughout")
        elif len(when) == 2:
            clauses.append(f"{thing} is {when['start']} the {hand} at the start and {when['end']} it at the end")
        else:
            ((moment, word),) = when.items()
            clauses.append(f"{thing} is {word} the {hand} at the {moment}")
    for thing_facts in _moving_alone(facts):
        name = _thing(facts, facts.objects.index(thing_facts), original)
        clauses.append(f"{name} {_moves(thing_facts)}")
    return clauses


def _hand_clauses(relations: Sequence[Relation]) -> list[str]:
    words = {"approaches": "the hands approach each other", "moves away from": "the hands move away from each other"}
    hands = [r for r in relations if r.subject.endswith(" hand") and r.other.endswith(" hand") and r.relation in words]
    return list(dict.fromkeys(words[r.relation] for r in hands))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
