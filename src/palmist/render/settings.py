"""What can be chosen when recordings are drawn, and where every random number comes from."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from palmist.errors import InputError

__all__ = ["BACKGROUNDS", "HELD_THINGS", "PURPOSES", "RenderSettings", "random_stream"]

BACKGROUNDS = ("static", "moving", "plain", "mixed")
FRAMINGS = ("scene", "hands")
APPEARANCES = ("recording", "subject")
#: Every use of random numbers has a stream of its own, so that a change of one leaves the others as they are.
PURPOSES = ("appearance", "background", "camera", "order", "tracks", "held")
#: What a hand can be drawn with.
HELD_THINGS = ("ball", "bottle", "box", "book")
_SMALLEST, _LARGEST = 32, 1024


@dataclass(frozen=True)
class RenderSettings:
    """How recordings are drawn.

    Attributes:
        size: width and height of the video in pixels, even, 32 to 1024.
        rate: frames per second; None takes the recorded frames as they are.
        background: "static" or "moving" textures, "plain" colour, or "mixed" (one of the three per recording).
        camera_motion: 0 holds the camera still; 1 moves it by up to about 5 % of the width, 5 degrees and 8 % of zoom.
        framing: "scene" shows the recording's own image (image space) or everything that was recorded; "hands" zooms on
            the box of both hands over the whole recording.
        appearance: the person's looks are drawn per "recording" or per "subject"; never from the label.
        texture: contrast of the skin, 0 = smooth.
        body: draw arms, torso and head where the recording has a body (else a short forearm behind each wrist).
        tracks: how many points of frame 0 are followed; hand_tracks: the share of them that is taken on the hands.
        held: a thing of HELD_THINGS in the hand that is seen more often; None draws none.

    Raises InputError for a value outside these ranges.
    """

    size: int = 112
    rate: float | None = None
    background: str = "mixed"
    camera_motion: float = 0.5
    framing: str = "scene"
    appearance: str = "recording"
    texture: float = 1.0
    body: bool = True
    tracks: int = 900
    hand_tracks: float = 1 / 3
    held: str | None = None

    def __post_init__(self) -> None:
        if not (_SMALLEST <= self.size <= _LARGEST and self.size % 2 == 0):
            raise InputError(f"size is {self.size}; expected an even number of pixels from {_SMALLEST} to {_LARGEST}")
        if self.rate is not None and not (math.isfinite(self.rate) and 0 < self.rate <= 1000):
            raise InputError(f"rate is {self.rate}; expected frames per second, a number above 0 and up to 1000")
        for what, value, allowed in (
            ("background", self.background, BACKGROUNDS),
            ("framing", self.framing, FRAMINGS),
            ("appearance", self.appearance, APPEARANCES),
        ):
            if value not in allowed:
                raise InputError(f"{what} is {value!r}; expected one of {', '.join(allowed)}")
        if not 0 <= self.camera_motion <= 4:
            raise InputError(f"camera motion is {self.camera_motion}; expected an amount from 0 (still) to 4")
        if not 0 <= self.texture <= 4:
            raise InputError(f"texture is {self.texture}; expected a contrast from 0 (smooth) to 4")
        if not 0 <= self.tracks <= 100_000:
            raise InputError(f"tracks is {self.tracks}; expected a number of points from 0 to 100000")
        if not 0 <= self.hand_tracks <= 1:
            raise InputError(f"hand_tracks is {self.hand_tracks}; expected a share from 0 to 1")
        if self.held is not None and self.held not in HELD_THINGS:
            raise InputError(f"held is {self.held!r}; expected one of {', '.join(HELD_THINGS)}, or none")

    def to_json(self) -> dict[str, Any]:
        """Plain values, for index.json and the truth; `held` only where something is held."""
        plain = asdict(self)
        if self.held is None:
            del plain["held"]
        return plain


def random_stream(seed: int, purpose: str, key: str) -> np.random.Generator:
    """The random numbers of one purpose for one key (a recording's name, or its subject).

    Labels are no argument here: two recordings that differ in nothing but their label draw the same numbers.
    """
    if seed < 0:
        raise InputError(f"the seed is {seed}; expected a whole number from 0 on")
    digest = hashlib.sha256(key.encode()).digest()
    words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]
    return np.random.default_rng(np.random.SeedSequence([seed, PURPOSES.index(purpose), *words]))
