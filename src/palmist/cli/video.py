"""What `palmist read` does with videos and webcams."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from palmist.cli.output import console, progress, write_json
from palmist.cli.read import is_video, own_labels, readings_table, use_one_thread
from palmist.errors import InputError

if TYPE_CHECKING:
    from palmist.inference.live import LiveStep
    from palmist.inference.read_video import VideoReading
    from palmist.inference.videos import VideoAction
    from palmist.perception.hand_detections_file import ReplayedHands
    from palmist.perception.hands import MediaPipeHands
    from palmist.perception.image_estimator import EstimatorHands
    from palmist.reader import Reader

_LARGEST_IN_PAGE = 24_000_000  # bytes of an overlay that still becomes part of the page
_STREAM_OPTIONS = ("futures", "labels", "seed", "factor")


@dataclass(frozen=True)
class LiveOptions:
    """seconds: to read at most, None until the end. port: of the browser view, 0 for a free one."""

    seconds: float | None = None
    port: int = 0


@dataclass(frozen=True)
class HandOptions:
    """How hands are found in a video.

    model: a .task file of MediaPipe, None for the fetched one. mirrored: a selfie's image. who: "mediapipe", "estimator"
    (the one that the package carries), the folder of an estimator's checkpoint, or a file of detections (.npz).
    """

    model: Path | None = None
    mirrored: bool = False
    who: str = "mediapipe"

    def open(self) -> MediaPipeHands | EstimatorHands | ReplayedHands:
        """The tracker, to be closed after use."""
        if self.who == "mediapipe":
            from palmist.perception.hands import MediaPipeHands

            return MediaPipeHands(self.model, mirrored=self.mirrored)
        if self.model is not None:
            raise InputError(f"--hand-model {self.model} is for MediaPipe, and --hands is {self.who}; leave one of them out")
        if self.who.endswith(".npz"):
            from palmist.perception.hand_detections_file import ReplayedHands

            if self.mirrored:
                raise InputError(f"--mirrored turns the image, and {self.who} was made before; leave --mirrored out")
            return ReplayedHands(self.who)
        from palmist.perception.image_estimator import DEFAULT_ESTIMATOR, EstimatorHands

        return EstimatorHands(DEFAULT_ESTIMATOR if self.who == "estimator" else self.who, mirrored=self.mirrored)


def run_read_video(
    source: str, model: str, options: dict[str, Any], hands: HandOptions, out: Path | None, json_file: str | None
) -> None:
    """Track and read a video: a table, and with --out an overlay, a page, the tracked and the refined recording."""
    from palmist.inference.read_video import read_video
    from palmist.perception.video import Video
    from palmist.reader import load

    frames = Video(source).info.frames
    reader = load(model)
    use_one_thread()
    options = own_labels(options, reader)
    with hands.open() as tracker, progress("tracking hands", frames) as advance:
        result = read_video(source, reader, tracker, advance=lambda: advance(""), **options)
    shown = console(json_file)
    shown.print(readings_table([result.reading]))
    print_tracking(result, shown)
    if out is not None:
        write_video_reading(source, result, reader, options["futures"], out, shown)
    write_json(json_file, {"readings": [result.reading.to_json()], "video": result.to_json()})


def print_tracking(result: VideoReading, shown: Console) -> None:
    """How much of the hands was found, how fast, and what is damaged."""
    left, right = result.found
    swaps = f"{result.swaps} identity swaps" if result.swaps != 1 else "1 identity swap"
    speed = len(result.recording) / max(sum(result.seconds.values()), 1e-9)
    count = f"{len(result.recording)} frames, left hand in {left:.0%}, right hand in {right:.0%} of them"
    shown.print(f"{count}, {swaps}, {speed:.0f} frames/s", highlight=False)
    for fault in result.faults:
        shown.print(f"[yellow]damage[/]: {escape(fault)}", highlight=False)


def write_video_reading(source: str, result: VideoReading, reader: Reader, futures: int, out: Path, shown: Console) -> None:
    """An overlay, a page, the tracked and the refined recording; reader: whose poses and futures are drawn."""
    from palmist.inference.read_video import write_overlay
    from palmist.recording_file import write_recording
    from palmist.view import write_page

    name = result.reading.name
    with progress("drawing", len(result.recording)) as advance:
        overlay = write_overlay(out / f"{name}.mp4", source, result, reader, futures, lambda: advance(""))
    shown.print(f"overlay: {overlay}", highlight=False, soft_wrap=True)
    beside = {name: overlay} if overlay.stat().st_size <= _LARGEST_IN_PAGE else {}
    page = write_page([result.reading], out / "palmist.html", f"Palmist: {name}", beside)
    shown.print(f"page: {page}", highlight=False, soft_wrap=True)
    write_recording(out / "recordings" / f"{name}_tracked.npz", result.recording)
    result.reading.save(out / "recordings" / f"{name}.npz")


def run_recognise_video(source: str, model: str, options: dict[str, Any], out: Path | None, json_file: str | None) -> None:
    """Name the action by a network that sees pixels only: a table, and with --out a picture of the motion that it sees. A
    video-text model chooses among --labels, sentences with commas between them."""
    from palmist.inference.videos import load_video_reader
    from palmist.model_zoo import VIDEO_TEXT_KINDS, kind_of
    from palmist.models.trec import TRec

    if kind_of(model) in VIDEO_TEXT_KINDS:
        from palmist.inference.video_text import load_video_text

        classes = [part.strip() for part in options["labels"].split(",") if part.strip()] if options.get("labels") else None
        compared = load_video_text(model)
        use_one_thread()
        _show_action(compared.read(source, classes), compared.name, json_file)
        return
    if options.get("labels") is not None:
        raise InputError(
            f"--labels {options['labels']}: {model} has a fixed list; leave --labels out, or read with a G-HTT model"
        )
    reader = load_video_reader(model)
    use_one_thread()
    found = reader.read(source)
    _show_action(found, reader.name, json_file)
    shown = console(json_file)
    network = reader.tested.network
    if out is not None and not isinstance(network, TRec) and network.config.motion_blocks == "none":
        shown.print(f"{escape(model)} sees no motion that could be drawn; --out writes nothing", highlight=False)
    elif out is not None:
        picture = reader.draw(source, out / f"{found.name}_motion.png")
        shown.print(f"picture: {picture}", highlight=False, soft_wrap=True)


def _show_action(found: VideoAction, model: str, json_file: str | None) -> None:
    """The likeliest actions as a table, all of them in the JSON."""
    from palmist.cli.output import table

    rows = table(None, ("action", "left"), ("probability", "right"))
    for number in found.probabilities.argsort()[::-1][:5]:
        rows.add_row(escape(found.labels[number]), f"{found.probabilities[number]:.1%}")
    console(json_file).print(rows)
    write_json(json_file, {"format": "palmist-video-action", "version": 1, "model": model, **found.to_json()})


def run_read_live(
    source: str,
    model: str,
    options: dict[str, Any],
    hands: HandOptions,
    live: LiveOptions,
    out: Path | None,
    json_file: str | None,
) -> None:
    """Read a webcam, or a video at its own pace, until it ends, Ctrl-C, or the time is up; shown in a browser."""
    from palmist.inference.live import read_live
    from palmist.perception.video import open_source
    from palmist.reader import load
    from palmist.view.live_page import LivePage

    if hands.who.endswith(".npz"):
        raise InputError(f"{hands.who} holds detections of a file's own frames, and live reading drops some; leave --live out")
    reader = load(model)
    use_one_thread()
    chosen = {name: value for name, value in own_labels(options, reader).items() if name in _STREAM_OPTIONS}
    shown, latencies, dropped, label = console(json_file), [], 0, None
    frames = open_source(source)
    joints: list[np.ndarray] = []
    known: list[np.ndarray] = []
    times: list[float] = []
    with hands.open() as tracker, LivePage(live.port) as page:
        shown.print(f"live: {page.url}   (Ctrl-C ends it)", highlight=False)
        steps = read_live(reader, frames, tracker, pace=is_video(source), **chosen)
        with contextlib.suppress(KeyboardInterrupt), contextlib.closing(steps):
            for step in steps:
                page.show(_live_picture(step))
                latencies.append(step.latency)
                dropped, label = step.dropped, step.reading.label
                if out is not None:
                    joints.append(step.joints)
                    known.append(step.known)
                times.append(step.time)
                if live.seconds is not None and step.time - times[0] >= live.seconds:
                    break
    if not latencies:
        raise InputError(f"{source} gave no frame; expected a camera or a video that does")
    milliseconds = np.array(latencies) * 1000
    low, high = np.quantile(milliseconds, [0.5, 0.99])
    shown.print(
        f"{len(latencies)} frames read, {dropped} dropped; from a frame's arrival to its reading {low:.0f} ms (median), "
        f"{high:.0f} ms (99th percentile)" + (f"; last: {escape(label)}" if label is not None else ""), highlight=False,
    )  # fmt: skip
    if out is not None and any(part.any() for part in known):
        from palmist.recording import Recording
        from palmist.recording_file import write_recording

        name = source.replace(":", "_") if source.startswith("webcam:") else Path(source).stem
        seen = np.asarray(np.stack(known).all(-1))
        info = frames.info
        recording = Recording(
            joints=np.stack(joints), valid=seen, time=np.array(times), space="image", frame="image", name=name,
            aspect=info.width / info.height, source=Path(source).name,
        )  # fmt: skip
        path = write_recording(out / "recordings" / f"{name}_tracked.npz", recording)
        shown.print(f"recording: {path}", highlight=False, soft_wrap=True)
    write_json(
        json_file,
        {
            "format": "palmist-live", "version": 1, "frames": len(latencies), "dropped": dropped, "last_label": label,
            "latency_ms": {"median": round(float(low), 2), "p99": round(float(high), 2)},
        },
    )  # fmt: skip


def _live_picture(step: LiveStep) -> np.ndarray:
    """The frame with hands, action, fan and the latency drawn on it."""
    from palmist.view.overlay import RAW, draw_action, draw_fan, draw_hands, draw_text

    picture, reading = np.ascontiguousarray(step.image).copy(), step.reading
    draw_fan(picture, reading.futures, reading.futures_valid & reading.valid, reading.most_likely)
    draw_hands(picture, step.joints, step.known, (RAW, RAW), 1)
    draw_hands(picture, reading.refined, reading.known)
    if reading.label is not None and reading.valid.any():
        draw_action(picture, step.labels, reading.probabilities)
    note = f"{step.latency * 1000:.0f} ms, {step.dropped} dropped"
    draw_text(picture, note, (10, picture.shape[0] - 12), 0.5)
    return picture
