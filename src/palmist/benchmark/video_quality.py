"""Video in numbers: point tracking on rendered clips with known truth, hands found in real clips, jitter before and after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from palmist.demo_data import demo_video
from palmist.errors import InputError
from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.metrics.intervals import mean_metric
from palmist.metrics.tracking import average_jaccard, delta_avg, occlusion_accuracy, points_within
from palmist.perception.points import LucasKanade, inside
from palmist.perception.video import Frame
from palmist.reader import load
from palmist.readers import open_data

__all__ = ["points", "real_clips", "video"]

#: Clips of each set, evenly spaced; side of the picture in pixels.
CLIPS, SIZE = 48, 224
LONGEST = 60  # frames of a clip


def points() -> list[BenchmarkRecord]:
    """Lucas-Kanade with 900 points of the first frame, on rendered clips: all points, and those on the hands."""
    from palmist.render import RenderSettings, hand_of_code, render_clip
    from palmist.render.folder import choose

    settings = RenderSettings(size=SIZE)
    records = []
    for name in ("asl_words", "leap_recordings"):
        rows: dict[str, list[float]] = {}
        for recording in choose([r for r in open_data(name) if r.valid.any()], None, CLIPS):
            clip = render_clip(recording.slice(0, min(len(recording), LONGEST)), settings, seed=0)
            truth = clip.truth
            frames = (Frame(image, float(time)) for image, time in zip(clip.frames, truth.time, strict=True))
            whole = inside(truth.tracks[0], SIZE, SIZE)  # without the outer half of the pixels at the edge
            true_tracks, true_visible = truth.tracks[:, whole], truth.tracks_visible[:, whole]
            tracks = LucasKanade()(frames, true_tracks[0])
            on_hands = np.asarray(hand_of_code(truth.track_parts[whole])) >= 0
            for part, chosen in (("", np.ones(len(on_hands), bool)), ("_hands", on_hands)):
                if not chosen.any():
                    continue
                shown = true_visible[1:, chosen]
                if not shown.any():
                    continue
                found, true = tracks.tracks[1:, chosen], true_tracks[1:, chosen]
                seen = tracks.visible[1:, chosen]
                rows.setdefault(f"delta_avg{part}", []).append(delta_avg(found, true, shown).value)
                rows.setdefault(f"within_4_px{part}", []).append(points_within(found, true, shown)[2].value)
                rows.setdefault(f"occlusion_accuracy{part}", []).append(occlusion_accuracy(seen, shown).value)
                rows.setdefault(f"average_jaccard{part}", []).append(average_jaccard(found, seen, true, shown).value)
        command = f"palmist benchmark quality --only points  # 900 points, {SIZE} px, up to {LONGEST} frames"
        for metric, values in rows.items():
            mean = mean_metric(values, interval=True)
            record = f"rendered_{name}/all/lucas_kanade/{metric}"
            records.append(make_record(record, mean.value, "share", mean.n, command, mean.interval, seeds=(0,)))
    return records


def real_clips() -> Iterator[Path]:
    """The real clips: those of data/videos and the demo's."""
    folder = Path("data/videos")
    clips = sorted(folder.glob("*.mp4"))
    if not clips:
        raise InputError(f"{folder} holds no .mp4; run the benchmark in a checkout of Palmist")
    yield from clips
    yield demo_video()[0]


def video() -> list[BenchmarkRecord]:
    """Hands in real clips by MediaPipe: how often found, identity swaps, jerk of the refined hands against the tracked ones."""
    from palmist.inference.read_video import read_video
    from palmist.perception.hands import MediaPipeHands

    command = "palmist benchmark quality --only video  # needs palmist[hands] and palmist fetch hands"
    reader, records = load(), []
    for clip in real_clips():
        with MediaPipeHands() as tracker:
            result = read_video(clip, reader, tracker, futures=0)
        name, frames = f"videos/{clip.stem}", len(result.recording)
        for side, share in zip(("left", "right"), result.found, strict=True):
            records.append(make_record(f"{name}/mediapipe/found_{side}", share, "share", frames, command))
        records.append(make_record(f"{name}/mediapipe/identity_swaps", float(result.swaps), "swaps", frames, command))
        raw, refined = result.jerk
        if np.isfinite(raw) and raw > 0:
            records.append(make_record(f"{name}/ghtt/jerk_ratio", refined / raw, "ratio", frames, command))
    return records
