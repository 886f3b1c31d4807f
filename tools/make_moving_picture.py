"""Draw docs/images/palmist.gif from the shipped recordings: hands as seen and refined, the action, then a fan of futures.

    python tools/make_moving_picture.py

Needs Pillow (extra e2e). The signer was in no training of the shipped model; noise of 0.1 hand sizes is added to every joint,
so that there is something to refine. Colours are those of the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import palmist
from palmist.benchmark.body_hand import damaged
from palmist.cli.demo import HORIZON, OBSERVED
from palmist.reading import Reading
from palmist.view.overlay import draw_fan, draw_hands
from palmist.view.picture import Place

PICTURE = Path(__file__).resolve().parents[1] / "docs/images/palmist.gif"
WIDTH, HEIGHT = 640, 400
FINE = 2  # drawn at twice the size, for smooth lines
FRAME_MS = 80
#: Frames of a scene: seen, future, and standing still at the end.
SEEN, AHEAD, STILL = 18, 15, 6
LABELS = ("coffee", "muffin", "hello")  # scenes, by the true action
NOISE = "noise_10"
GROUND, PANEL, LINE = (10, 13, 20), (16, 21, 31), (31, 40, 56)
TEXT, QUIET = (230, 235, 245), (147, 160, 184)
SIDES, GOLD, SEEN_AS, TRUTH = ((127, 168, 255), (255, 143, 134)), (255, 200, 87), (122, 135, 159), (230, 235, 245)
COLOURS = 96


class Scene(NamedTuple):
    """A reading, and the place of its joints in a square panel."""

    reading: Reading
    place: Place


def scene(reading: Reading) -> Scene:
    ahead = reading.futures[:, :, reading.futures_known].reshape(-1, 3)
    frame_of_most = np.quantile(ahead, (0.01, 0.99), axis=0)  # a far future may leave the picture
    shown = [reading.refined[reading.refined_known], reading.recording.joints[reading.recording.known], frame_of_most]
    if reading.truth is not None and reading.truth_known is not None:
        shown.append(reading.truth[reading.truth_known])
    return Scene(reading, Place(reading.recording, shown))


def between(values: np.ndarray, known: np.ndarray, position: float) -> tuple[np.ndarray, np.ndarray]:
    """Joints (2, 21, 3) and known (2, 21) at a fractional frame; known where both neighbours are."""
    left = min(int(position), len(values) - 1)
    right, weight = min(left + 1, len(values) - 1), position - left
    return values[left] * (1 - weight) + values[right] * weight, known[left] & known[right]


def hands_seen(shown: Scene, size: int, share: float) -> np.ndarray:
    """A square panel at a moment of the observed part: grey as given, coloured as refined."""
    panel = np.full((size, size, 3), GROUND, np.uint8)
    reading, position = shown.reading, share * (len(shown.reading.time) - 1)
    joints, known = between(reading.recording.joints, reading.recording.known, position)
    draw_hands(panel, shown.place(joints), known, (SEEN_AS, SEEN_AS), 2 * FINE - 1)
    joints, known = between(reading.refined, reading.refined_known, position)
    draw_hands(panel, shown.place(joints), known, SIDES, 2 * FINE - 1)
    return panel


def hands_ahead(shown: Scene, size: int, share: float) -> np.ndarray:
    """A square panel at a moment of the future: the last hands dimmed, 20 futures, the likely one gold, the truth white."""
    panel = hands_seen(shown, size, 1.0)
    panel = (panel * 0.3 + np.array(GROUND) * 0.7).astype(np.uint8)
    reading, seen = shown.reading, np.asarray(shown.reading.futures_known)
    frames = max(1, round(share * reading.futures.shape[1]))
    futures = shown.place(reading.futures[:, :frames])
    draw_fan(panel, futures, seen[:, 0], reading.most_likely, SIDES, FINE)
    faint = panel.copy()
    for k in range(0, len(futures), 5):
        draw_hands(faint, futures[k, -1], seen, SIDES, 1)
    panel = (faint * 0.45 + panel * 0.55).astype(np.uint8)
    if reading.truth is not None and reading.truth_known is not None:
        draw_hands(panel, shown.place(reading.truth[frames - 1]), reading.truth_known[frames - 1], (TRUTH, TRUTH), 1)
    draw_hands(panel, futures[reading.most_likely, -1], seen, (GOLD, GOLD), FINE)
    return panel


def frame(shown: Scene, step: int) -> Image.Image:
    """One of the SEEN + AHEAD frames of a scene."""
    reading, future = shown.reading, step >= SEEN
    share = (step - SEEN + 1) / AHEAD if future else step / (SEEN - 1)
    size = HEIGHT * FINE
    canvas = Image.new("RGB", (WIDTH * FINE, size), GROUND)
    canvas.paste(Image.fromarray((hands_ahead if future else hands_seen)(shown, size, share)), (0, 0))
    draw = ImageDraw.Draw(canvas)
    left = HEIGHT + 4  # of the column of words, in pixels of the final picture
    draw.rectangle((left * FINE, 0, WIDTH * FINE, size), fill=PANEL)
    write(draw, (left + 16, 18), "Palmist", 20, TEXT)
    write(draw, (left + 16, 44), f"signer {reading.recording.subject}, in no training", 11, QUIET)
    bars(draw, left + 16, 92, reading, 1.0 if future else share)
    legend(draw, left + 16, 262, future)
    seconds = reading.time[0] + share * (reading.time[-1] - reading.time[0])
    if future:
        seconds = reading.time[-1] + share * (reading.futures_time[-1] - reading.time[-1])
    name = "what comes next" if future else "seen and refined"
    write(draw, (16, 14), name, 15, GOLD if future else TEXT)
    write(draw, (16, 36), f"{seconds:.2f} s", 12, QUIET)
    whole = SEEN + AHEAD - 1
    draw.rectangle((0, size - 3 * FINE, HEIGHT * FINE * min(step, SEEN) // whole, size), fill=SIDES[0])
    if future:
        draw.rectangle((HEIGHT * FINE * SEEN // whole, size - 3 * FINE, HEIGHT * FINE * step // whole, size), fill=GOLD)
    return canvas.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def write(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, colour: tuple[int, int, int]) -> None:
    draw.text((at[0] * FINE, at[1] * FINE), text, colour, ImageFont.load_default(size * FINE))


def bars(draw: ImageDraw.ImageDraw, x: int, y: int, reading: Reading, share: float) -> None:
    """The three actions that are likeliest in the end, as they are at a share of the observed part."""
    write(draw, (x, y), "action", 11, QUIET)
    width = WIDTH - x - 16
    moment = reading.time[0] + share * (reading.time[-1] - reading.time[0])
    for line, label in enumerate(np.argsort(reading.probabilities)[::-1][:3]):
        value = float(np.interp(moment, reading.action_time, reading.action_probabilities[:, label], left=0.0))
        if share == 1.0:
            value = float(reading.probabilities[label])
        top = y + 20 + 42 * line
        write(draw, (x, top), reading.action_labels[label], 15, TEXT if line == 0 else QUIET)
        write(draw, (x + width - 34, top), f"{value:4.0%}", 13, TEXT if line == 0 else QUIET)
        box = [x * FINE, (top + 22) * FINE, (x + width) * FINE, (top + 28) * FINE]
        draw.rounded_rectangle(box, 3 * FINE, fill=LINE)
        if value > 0.03:
            box[2] = int((x + value * width) * FINE)
            draw.rounded_rectangle(box, 3 * FINE, fill=SIDES[0] if line == 0 else QUIET)


def legend(draw: ImageDraw.ImageDraw, x: int, y: int, future: bool) -> None:
    rows = [(SEEN_AS, "as given, noise added"), (SIDES[0], "left hand, refined"), (SIDES[1], "right hand, refined")]
    if future:
        rows = [(SIDES[0], "20 futures, left hand"), (SIDES[1], "right hand"), (GOLD, "most likely"), (TRUTH, "what came")]
    for line, (colour, text) in enumerate(rows):
        top = y + 24 * line
        draw.ellipse((x * FINE, (top + 4) * FINE, (x + 9) * FINE, (top + 13) * FINE), fill=colour)
        write(draw, (x + 18, top), text, 12, QUIET)


def frames(scenes: Sequence[Scene]) -> Iterator[Image.Image]:
    for shown in scenes:
        drawn = [frame(shown, step) for step in range(SEEN + AHEAD)]
        yield from drawn
        yield from [drawn[-1]] * STILL


def save(pictures: Sequence[Image.Image], path: Path) -> None:
    """An endless GIF with one palette, so that only what moves is stored."""
    sample = Image.new("RGB", (WIDTH, HEIGHT * 6))
    for row, index in enumerate(np.linspace(0, len(pictures) - 1, 6).astype(int)):
        sample.paste(pictures[index], (0, HEIGHT * row))
    palette = sample.quantize(COLOURS, dither=Image.Dither.NONE)
    plain = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    plain[0].save(path, save_all=True, append_images=plain[1:], duration=FRAME_MS, loop=0, optimize=True)


def readings() -> list[Reading]:
    reader, found = palmist.load("ghtt-small"), []
    recordings = {recording.segments[0].label: recording for recording in palmist.demo_recordings()}
    for label in LABELS:
        recording = damaged(recordings[label], NOISE, seed=0)
        until = float(recording.time[0] + OBSERVED * (recording.time[-1] - recording.time[0]))
        found.append(reader.read(recording, futures=20, horizon=HORIZON, observe_until=until))
    return found


def main() -> None:
    save(list(frames([scene(reading) for reading in readings()])), PICTURE)
    print(f"{PICTURE.name}: {PICTURE.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
