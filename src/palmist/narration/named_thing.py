"""The one thing that a caption names: "cup" in "#C C picks up the cup from the table"."""

from __future__ import annotations

import re

__all__ = ["named_thing"]

_ARTICLES = {"a", "an", "the", "his", "her", "their", "its", "my", "your", "some", "this", "that", "these", "those", "another"}
#: Behind these comes a place or a part, not the thing that is acted on.
_PLACE_WORDS = {
    "from", "on", "in", "into", "onto", "to", "at", "under", "over", "near", "behind", "beside", "inside", "towards", "toward",
    "above", "below", "between", "across", "against", "through", "around", "off", "by", "along",
}  # fmt: skip
_PARTICLES = {"up", "down", "out", "away", "back", "together", "apart", "forward"}
_ENDS = {"and", "with", "using", "while", "then", "or", "but", "for", "as", "before", "after", "is", "are", "which", "who"}
#: Hands, people and other words that name no thing to hold.
_NO_THINGS = {
    "hand", "hands", "finger", "fingers", "palm", "palms", "arm", "arms", "wrist", "wrists", "thumb", "person", "man", "woman",
    "lady", "boy", "girl", "people", "camera", "wearer", "body", "head", "face", "left", "right", "one", "other", "side", "way",
    "object", "thing", "c", "#c", "x", "y", "o",
}  # fmt: skip
_WORD = re.compile(r"[#\w'-]+")


def named_thing(caption: str | None) -> str | None:
    """The thing that is acted on, without its article; None when the caption names none, or more than one.

    Places ("from the table") and hands are no such things. A caption without articles is read as a verb and its thing.

    >>> named_thing("#C C picks up the coffee cup from the table")
    'coffee cup'
    >>> named_thing("wash knife")
    'knife'
    """
    if caption is None:
        return None
    words = [word for word in _WORD.findall(caption.lower()) if not word.startswith("#")]
    things = _with_articles(words)
    if not things and not _ARTICLES & set(words) and 2 <= len(words) <= 5 and words[0] != "c":
        things = [_phrase([word for word in words[1:] if word not in _PARTICLES])]
    different = {thing for thing in things if thing and not set(thing.split()) & _NO_THINGS}
    return different.pop() if len(different) == 1 else None


def _with_articles(words: list[str]) -> list[str]:
    """What stands behind each article that is not behind a word of place."""
    things = []
    for place, word in enumerate(words):
        if word not in _ARTICLES or (place and words[place - 1] in _PLACE_WORDS):
            continue
        behind_is = place + 2 < len(words) and words[place + 2] in ("is", "are")
        if not behind_is:
            things.append(_phrase(words[place + 1 :]))
    return things


def _phrase(words: list[str]) -> str:
    """The words up to the end of the noun phrase, three at most; "of" carries on ("cup of tea")."""
    out: list[str] = []
    for word in words:
        if word in _PLACE_WORDS | _PARTICLES | _ENDS | _ARTICLES:
            break
        out.append(word)
    if out and out[-1] == "of":
        out.pop()
    return " ".join(out) if len(out) <= 4 else ""
