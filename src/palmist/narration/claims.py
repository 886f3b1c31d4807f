"""Which way a sentence says that the hands move, read back from English of the narrations' style.

Made for two uses: to check that a sentence which somebody else wrote says what the facts say, and to compare narrations with a
known motion. It knows the sides of hands from directions ("the left hand", "to the left") and from places ("to the left of
the cup", "on the right"), two directions one after the other ("up and then to the right") from one between them ("up and to the
right"), and verbs that are directions ("lifts", "lowers").
"""

from __future__ import annotations

import re

from palmist.narration.facts import DIRECTIONS, STAYS

__all__ = ["claims"]

_OWN = r"(?:the|its|his|her|their|my|your)"
_MOTION = (
    r"(?:mov|go(?:es|ing)?\b|went|travel|shift|slid|glid|swing|swung|sweep|swept|drift|head|proceed|carr|bring|brought|take|push|pull|"
    r"drag|wav|reach|return|rais|lift|lower|ris|rose|drop|descend|ascend|climb|sink|sank|fall|fell|trac|turn|point|pass|com|transfer)"
)
_UP_VERBS = (
    r"(?:rais(?:e|es|ed|ing)|lift(?:s|ed|ing)?|ris(?:e|es|ing)|rose|ascend(?:s|ed|ing)?|climb(?:s|ed|ing)?|"
    r"elevat(?:e|es|ed|ing))"
)
_DOWN_VERBS = r"(?:lower(?:s|ed|ing)|drop(?:s|ped|ping)?|descend(?:s|ed|ing)?|sink(?:s|ing)?|sank|fall(?:s|ing)?|fell)"
_UP = r"(?:up(?:wards?)?|higher)"
_DOWN = r"(?:down(?:wards?)?)"
_TO = r"(?:to|towards?|for)"
#: What may stand behind "to the left" or a bare "left": the end, punctuation, or a word that goes on.
_END = (
    r"(?=\s*(?:$|[,.;:!?)-]|(?:and|then|while|with|as|before|until|again|slightly|a|by|holding|touching|keeping|carrying|together|back|"
    r"once|twice|first|but|or|at|through|across|whereas|along|over|towards?|down|up|diagonally|quickly|slowly|edge|direction)\b))"
)
_HORIZONTAL = (
    rf"(?:(?:{_TO}\s+(?:{_OWN}\s+)?(?P<to>left|right)(?:\s+side|\s+edge)?{_END})|(?P<wards>left|right)wards?|"
    rf"(?<!the )(?<!his )(?<!her )(?<!its )(?<!their )(?P<bare>left|right){_END})"
)
_VERTICAL = rf"(?:(?P<up>{_UP}|{_TO}\s+the\s+top(?:\s+edge)?)|(?P<down>{_DOWN}|{_TO}\s+the\s+bottom(?:\s+edge)?))\b"
_CORNER = rf"{_TO}\s+the\s+(?P<corner>upper|top|lower|bottom)[\s-]+(?P<side>left|right)(?:\s+(?:corner|side|edge))?\b"

#: Words that hold "up", "down", "left" or "right" and say no direction of a hand's motion, struck out first.
_NO_DIRECTIONS = tuple(re.compile(pattern) for pattern in (
    r"\b(?:pick|put|set|lay|lie|hold|held|clean|fill|wrap|speed|end|warm|hang|open|close|slow|sit|calm|stand|cut|mix|tidy|"
    r"finish|wash|write|wip|us|chop|break|scoop|roll|fold|gather|button|zip|tie|make|look)"
    r"(?:s|es|ed|e|ing|ting|ding|ping|ning)?(?:\s+(?!up|down)[\w']+){0,3}?"
    r"\s+(?:up|down)(?!wards?)\b(?!\s+(?:and\s+)?(?:to\s+the\s+)?(?:left|right))",
    r"\bupside[\s-]+down\b",
    rf"\b(?:{_TO}|on|at|in|from)?\s*(?:{_OWN}\s+)?(?:immediate\s+|far\s+|upper\s+|lower\s+)?(?:left|right)(?:\s+side)?\s+of\b",
    r"\bback\s+and\s+forth\b|\bfrom\s+side\s+to\s+side\b",
))  # fmt: skip
_FROM_TO = re.compile(r"\bfrom\s+(?:the\s+)?(?:left|right|top|bottom)\s+(?=to\s+(?:the\s+)?(left|right|top|bottom)\b)")
_BARE_ENDS = re.compile(r"\bto\s+(?:the\s+)?(top|bottom)\b")
_PLACES = re.compile(
    rf"\b(?:on|at|in|from)\s+{_OWN}?\s*(?:far\s+|upper\s+|lower\s+|top\s+|bottom\s+)?(?:left|right)"
    r"(?:\s+(?:side|edge|corner))?\b(?!\s*hand)"
)
_STILL = re.compile(
    r"\b(?:(?:is|are|being|stay|remain|keep|kept|hold|held|rest|lie|stand)(?:s|ed|ing)?\s+(?:[\w']+\s+){0,4}?"
    r"(?:in\s+place|in\s+position|put|motionless|stationary|steady|immobile|unmoving|at\s+rest|"
    r"where\s+(?:it|they)\s+(?:is|are|was|were))\b|"
    r"(?:is|are|being)\s+still\b(?!\s+\w+ing\b)|(?:stay|remain|keep|kept|hold|held|rest|lie|stand)(?:s|ed|ing)?\s+"
    r"(?:[\w']+\s+){0,4}?still\b|"
    r"(?:stay|remain)(?:s|ed|ing)?(?=\s*(?:$|[,.;]|there\b|on\b|near\b))|rest(?:s|ed|ing)?\s+(?=on|in|at)|"
    r"motionless|stationary|(?:hardly|barely|scarcely)\s+mov\w+|without\s+moving|not\s+moving|"
    r"(?:does\s+not|doesn't|do\s+not|don't|did\s+not|never)\s+(?:move|rise|shift|go)\b[^,.;]*)"
)
_CLAUSES = re.compile(
    r"[.;:!?\n,]|\b(?:while|whereas|but|when|meanwhile)\b|\bas\b(?=\s+(?:the|both|LEFT|RIGHT|OTHER))|"
    r"\band\b(?=\s+(?:(?:the|his|her|its|their)\s+)?(?:LEFTHAND|RIGHTHAND|OTHERHAND|BOTHHANDS))"
)
_HANDS = re.compile(r"LEFTHAND|RIGHTHAND|BOTHHANDS|OTHERHAND")
#: A hand behind these is where something is, or goes to, not what moves.
_NOT_SUBJECT = re.compile(
    r"(?:\b(?:to|towards?|of|near|behind|above|below|beneath|beside|from|past|over|under|than|meets?|approach(?:es)?|joins?|"
    r"touch(?:es|ing)?|between|next\s+to|into)\s+)(?:the\s+|his\s+|her\s+|its\s+|their\s+)?$"
)
_THING = re.compile(
    rf"^\s*(?:and\s+|then\s+)?(?:the|an?|another|this|that)\s+(?!(?:{_OWN})\b)(?P<noun>(?:[\w'-]+\s+){{1,4}}?){_MOTION}"
)
_PEOPLE = {
    "person", "man", "woman", "lady", "boy", "girl", "wearer", "camera", "he", "she", "user", "signer", "cook", "people",
    "hand", "hands",
}  # fmt: skip
_THEN = re.compile(r"\bthen\b|\bbefore\b|\bafter\b")


def claims(text: str) -> frozenset[tuple[str, str]]:
    """What a text says about the motion of each hand: pairs of a subject, "left hand", "right hand" or "object", and one of
    DIRECTIONS or STAYS. A subject that moves is not said to stay, even if it rests in between.

    >>> sorted(claims("The right hand moves up and then to the right; the left hand stays still."))
    [('left hand', 'stays'), ('right hand', 'right'), ('right hand', 'up')]
    """
    out: set[tuple[str, str]] = set()
    subjects: tuple[str, ...] = ()
    for clause in _CLAUSES.split(_normalised(text)):
        found = _directions(clause)
        hands = _subjects(clause, subjects)
        thing = None if hands else _THING.match(clause)
        if hands:
            subjects = hands
        elif thing is not None and not _PEOPLE & set(thing["noun"].split()):
            subjects = ("object",)
        out |= {(subject, direction) for subject in subjects for direction in found}
    moving = {subject for subject, direction in out if direction != STAYS}
    return frozenset(pair for pair in out if pair[1] != STAYS or pair[0] not in moving)


def _normalised(text: str) -> str:
    """Lower case, hands as single words, and phrases that say no direction struck out."""
    text = re.sub(r"\s+", " ", text.lower().replace("’", "'").replace("\n", ". "))
    text = re.sub(r"\b(left|right)[- ]hand (side|edge|corner|part)\b", r"\1 side", text)
    text = re.sub(r"\b(?:left|right) and (?:the )?(?:left|right) hands?\b", " BOTHHANDS ", text)
    text = re.sub(r"\b(left|right)[- ](?:hand|palm|fist|arm)\b(?:'s)?", lambda match: f" {match[1].upper()}HAND ", text)
    text = re.sub(
        r"(?<!to )(?<!towards )(?<!toward )(?<!on )(?<!at )\bthe (left|right)(?: one)?"
        r"(?= (?:one\b|stay|remain|mov|is\b|does|hold|keep|rest|go(?:es)?\b|ris|follow|lift|lower))",
        lambda match: f" {match[1].upper()}HAND ",
        text,
    )
    text = re.sub(r"\b(?:the |her |his |their |its )?other (?:hand|one)\b", " OTHERHAND ", text)
    text = re.sub(r"\b(?:both|two|the|his|her|their) (?:of (?:the|his|her|their) )?hands\b|\bhands\b", " BOTHHANDS ", text)
    text = _FROM_TO.sub(" ", text)
    text = _BARE_ENDS.sub(lambda match: "to the " + match[1], text)
    for pattern in _NO_DIRECTIONS:
        text = pattern.sub(" ", text)
    return re.sub(r"\s+", " ", _PLACES.sub(" ", text)).strip()


def _subjects(clause: str, before: tuple[str, ...]) -> tuple[str, ...]:
    """The hands that a clause speaks of, none if it names none."""
    named: list[str] = []
    aside: list[str] = []
    for match in _HANDS.finditer(clause):
        place = aside if _NOT_SUBJECT.search(clause[: match.start()]) else named
        place.append(match[0])
    names = named or ([] if before else aside)
    if not names:
        return ()
    if "BOTHHANDS" in names or {"LEFTHAND", "RIGHTHAND"} <= set(names):
        return ("left hand", "right hand")
    if names[0] == "OTHERHAND":
        return {("right hand",): ("left hand",), ("left hand",): ("right hand",)}.get(before, ())
    return ("left hand",) if names[0] == "LEFTHAND" else ("right hand",)


# --------------------------------------------------------------------------------------------------------------------
# Directions

_TOKEN = re.compile(
    rf"(?P<still>{_STILL.pattern})|(?P<corners>{_CORNER})|(?P<upverb>\b{_UP_VERBS}\b)|(?P<downverb>\b{_DOWN_VERBS}\b)|"
    rf"(?P<vertical>\b{_VERTICAL})|(?P<horizontal>\b{_HORIZONTAL})"
)
#: Between the two parts of one direction: nothing, "and", a hyphen, "diagonally".
_JOINS = re.compile(r"^[\s-]*(?:and\s+)?(?:also\s+)?(?:diagonally\s+|slightly\s+|a\s+(?:bit|little)\s+)?$")


def _directions(clause: str) -> list[str]:
    """The directions of one clause, in its order."""
    found: list[tuple[str, str, int, int]] = []  # kind ("verb" or "word"), direction, start, end
    for match in _TOKEN.finditer(clause):
        kind = "verb" if match["upverb"] or match["downverb"] else "word"
        found.append((kind, _named(match), match.start(), match.end()))
    out: list[str] = []
    place = 0
    while place < len(found):
        kind, direction, _, end = found[place]
        following = found[place + 1] if place + 1 < len(found) else None
        if kind == "word" and following is not None and following[0] == "word" and _JOINS.match(clause[end : following[2]]):
            joined = _joined(direction, following[1])
            if joined is not None:
                found[place : place + 2] = [("word", joined, found[place][2], following[3])]
                continue
        if kind == "verb" and _said_again(clause, found[place:]):
            place += 1
            continue
        out.append(direction)
        place += 1
    return out


def _named(match: re.Match[str]) -> str:
    if match["still"]:
        return STAYS
    if match["corners"]:
        return f"{'up' if match['corner'] in ('upper', 'top') else 'down'} and to the {match['side']}"
    if match["upverb"] or match["up"]:
        return "up"
    if match["downverb"] or match["down"]:
        return "down"
    return str(match["to"] or match["wards"] or match["bare"])


def _joined(first: str, second: str) -> str | None:
    """One direction of two that are said together, None for those that do not go together."""
    pair = {first, second}
    vertical, horizontal = pair & {"up", "down"}, pair & {"left", "right"}
    if len(vertical) != 1 or len(horizontal) != 1:
        return None
    name = f"{vertical.pop()} and to the {horizontal.pop()}"
    return name if name in DIRECTIONS else None


def _said_again(clause: str, found: list[tuple[str, str, int, int]]) -> bool:
    """Whether a verb's direction is said once more behind it: "raises it up and to the right" is one motion."""
    _, direction, _, end = found[0]
    if len(found) < 2 or found[1][0] == "verb":
        return False
    between = clause[end : found[1][2]]
    again = found[1][1].startswith(direction)
    return again and not _THEN.search(between) and not re.search(rf"\band\b.*\b{_MOTION}", between)
