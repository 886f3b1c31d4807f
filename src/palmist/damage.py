"""Find, report and repair damaged recordings: gaps, unknown joints, broken clocks, swapped sides, jumps, wrong units.

`check` says what is wrong and never changes anything. `repair` mends what can be mended, writes every repair into the
provenance, and marks hands that it filled in as interpolated: they are present for display, but never `known`, so that
no invented value reaches a loss or a metric.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.recording import Recording
from palmist.recording_file import read_fields
from palmist.skeleton import BONES, HANDS, JOINT_NAMES
from palmist.track_faults import (
    find_spikes,
    frames_in_time_order,
    gap_seconds,
    joint_points,
    palm_centres,
    runs,
    swap_edges,
    swapped_frames,
)

#: Gaps up to this many seconds are filled by `repair`.
LONGEST_FILLED_GAP = 0.1
_JUMP_PALMS = 3.0
_FROZEN_SECONDS = 0.2
_BONE_TOLERANCE = 0.25
_PALM_METRES = (0.05, 0.15)
_FINGER_METRES = (0.04, 0.14)  # middle knuckle to tip, used where joint 0 is not the wrist
_DOUBLED_PALMS = 0.2
_LARGEST_COORDINATE = 1e6  # pixels, or metres
_LARGEST_TIME = 1e11  # seconds; a clock that counts from 1970 is at 2e9

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Finding:
    """One kind of damage: severity "info" (normal in real data), "warning" or "error"; frames as (start, stop) ranges,
    stop exclusive; hand "left", "right" or None; repairable: `repair` mends it; sentence: for people."""

    kind: str
    severity: str
    sentence: str
    hand: str | None = None
    joint: str | None = None
    frames: Ranges = ()
    repairable: bool = False


@dataclass(frozen=True)
class DamageReport:
    """What `check` found in one recording. `ok`: nothing worse than "info"."""

    name: str
    frames: int
    findings: tuple[Finding, ...] = field(default=())

    @property
    def ok(self) -> bool:
        return all(finding.severity == "info" for finding in self.findings)

    @property
    def repairable(self) -> bool:
        return any(finding.repairable for finding in self.findings)

    def of_kind(self, kind: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.kind == kind]

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries and lists, ready for json.dumps: name, frames, ok, repairable, findings."""
        return {
            "name": self.name,
            "frames": self.frames,
            "ok": self.ok,
            "repairable": self.repairable,
            "findings": [{**asdict(f), "frames": [list(pair) for pair in f.frames]} for f in self.findings],
        }


def check(source: Recording | str | Path) -> DamageReport:
    """Everything that is wrong with a recording, or with the .npz file of one.

    Raises InputError where a file cannot be understood at all (empty, cut off, wrong shape, only NaN, ...). A broken
    clock (NaN, repeated or reversed times) is a finding, because `repair` mends it.

    >>> report = check("wave.npz")
    >>> for finding in report.findings: print(finding.severity, finding.sentence)
    warning right hand missing for 3 frames (0.10 s) at frame 41
    """
    time_findings: list[Finding] = []
    if not isinstance(source, Recording):
        fields, time_findings, _ = _read_with_clock(source)
        source = _construct(fields, source)
    findings = [
        *time_findings,
        *_check_range(source),
        *_check_rate(source),
        *_check_presence(source),
        *_check_joints(source),
        *_check_sides(source),
        *_check_jumps(source),
        *_check_frozen(source),
        *_check_size(source),
    ]
    return DamageReport(source.name, len(source), tuple(findings))


def repair(source: Recording | str | Path, longest_gap: float = LONGEST_FILLED_GAP) -> Recording:
    """The recording with what can be repaired repaired, in this order.

    1. Clock (files only: a Recording's times increase already): frames with NaN, repeated or reversed times are
       dropped; a recording stored backwards is turned round.
    2. Swapped sides are exchanged back. 3. Spikes (a hand or joint that leaps away and back) become unknown.
    4. Gaps up to `longest_gap` seconds between known neighbours are interpolated linearly, and marked `interpolated`.

    provenance["repairs"] lists each repair (kind, hand, frames, sentence), provenance["repaired_frames"] the
    interpolated ranges per hand. Frame numbers are those of the returned recording. An undamaged recording
    comes back as it is.
    """
    notes: list[Finding] = []
    if not isinstance(source, Recording):
        fields, _, notes = _read_with_clock(source)
        source = _construct(fields, source)
    arrays = _editable(source)
    had_confidence, had_marks = source.confidence is not None, source.interpolated is not None
    swapped = swapped_frames(source)
    if swapped.any():
        for array in arrays.values():
            array[swapped] = array[swapped][:, ::-1]
        notes.append(_finding("swapped_sides", None, swapped, "sides exchanged back in {n}"))
        source = source.replace(**arrays)
    hand_spikes, joint_spikes = find_spikes(source)
    arrays["valid"][hand_spikes] = False
    arrays["confidence"][joint_spikes] = 0
    for hand, side in enumerate(HANDS):
        if hand_spikes[:, hand].any():
            notes.append(_finding("spike", side, hand_spikes[:, hand], f"{side} hand set to unknown in {{n}}"))
        if joint_spikes[:, hand].any():
            frames = joint_spikes[:, hand].any(-1)
            notes.append(_finding("joint_spike", side, frames, f"{side} joints set to unknown in {{n}}"))
    filled = _fill_gaps(arrays, source, longest_gap)
    for hand, side in enumerate(HANDS):
        if filled[:, hand].any():
            notes.append(_finding("gap", side, filled[:, hand], f"{side} hand interpolated in {{n}}"))
    if not notes:
        return source
    provenance = dict(source.provenance)
    provenance["repairs"] = [
        *provenance.get("repairs", []),
        *(
            {"kind": note.kind, "hand": note.hand, "frames": [list(r) for r in note.frames], "sentence": note.sentence}
            for note in notes
        ),
    ]
    provenance["repaired_frames"] = {
        side: [list(r) for r in runs(arrays["interpolated"][:, hand])] for hand, side in enumerate(HANDS)
    }
    if not had_confidence and (arrays["confidence"] == 1).all():
        arrays["confidence"] = None
    if not had_marks and not arrays["interpolated"].any():
        arrays["interpolated"] = None
    return source.replace(**arrays, provenance=provenance)


def _editable(recording: Recording) -> dict[str, Any]:
    """Writable copies of the arrays that repairs change."""
    confidence, interpolated = recording.confidence, recording.interpolated
    return {
        "joints": recording.joints.copy(),
        "valid": recording.valid.copy(),
        "confidence": np.ones(recording.joints.shape[:3], np.float32) if confidence is None else confidence.copy(),
        "interpolated": np.zeros(recording.valid.shape, bool) if interpolated is None else interpolated.copy(),
    }


def _finding(kind: str, hand: str | None, mask: Any, sentence: str) -> Finding:
    """A repairable warning over the True frames of a mask; {n} in the sentence becomes "1 frame" or "3 frames"."""
    return Finding(kind, "warning", sentence.format(n=_count(mask)), hand, None, tuple(runs(mask)), True)


def _count(mask: Any) -> str:
    """How many frames of a mask are True, in words."""
    number = int(np.sum(mask))
    return "1 frame" if number == 1 else f"{number} frames"


# --------------------------------------------------------------------------------------------------------------------
# Clock


def _construct(fields: dict[str, Any], path: str | Path) -> Recording:
    try:
        return Recording(**fields)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _read_with_clock(path: str | Path) -> tuple[dict[str, Any], list[Finding], list[Finding]]:
    """Fields of a file with a clock that runs forwards, what was wrong with it, and what was done about it."""
    fields = read_fields(path)
    time = np.asarray(fields["time"])
    if time.dtype.kind not in "fiu" or time.shape != (len(fields["joints"]),):
        return fields, [], []  # Recording refuses it with its own sentence
    time = time.astype(np.float64)
    order = frames_in_time_order(time)
    if len(order) == 0:
        raise InputError(f"{path}: no time is a finite number; expected seconds, one per frame")
    if len(order) == len(time) and (np.diff(order) > 0).all():
        return fields, [], []
    findings = []
    finite = np.isfinite(time)
    steps = np.diff(time[finite])
    for kind, count, what in (
        ("nan_time", int((~finite).sum()), "times are NaN or infinite"),
        ("repeated_time", int((steps == 0).sum()), "times repeat the one before"),
        ("reversed_time", int((steps < 0).sum()), "times are before the one before"),
    ):
        if count:
            findings.append(Finding(kind, "error", f"{count} of {len(time)} {what}", repairable=True))
    dropped = len(time) - len(order)
    done = f"{dropped} of {len(time)} frames dropped because their times did not increase"
    if len(order) > 1 and order[1] < order[0]:
        done = f"frames put into the order of their times (stored backwards), {dropped} of {len(time)} dropped"
    notes = [Finding("time", "error", done, repairable=True)]
    return _take_frames({**fields, "time": time}, order), findings, notes


def _take_frames(fields: dict[str, Any], order: np.ndarray) -> dict[str, Any]:
    frames = len(fields["joints"])
    taken = dict(fields)
    for name in ("joints", "valid", "time", "confidence", "interpolated"):
        value = taken.get(name)
        if value is not None and len(value) == frames:
            taken[name] = np.asarray(value)[order]
    if taken.get("objects") is not None and len(taken["objects"]) == frames:
        taken["objects"] = tuple(taken["objects"][i] for i in order)
    body = taken.get("body")
    if body is not None and len(body.joints) == frames:
        taken["body"] = body.take(order)
    camera = taken.get("camera")
    if camera is not None and np.ndim(camera.get("pose", 0)) == 3 and len(camera["pose"]) == frames:
        taken["camera"] = {**camera, "pose": np.asarray(camera["pose"])[order]}
    return taken


def _check_range(recording: Recording) -> Iterator[Finding]:
    """Numbers that no unit explains; they may be so many that none stands out as a jump."""
    parts = [("hands", recording.joints[recording.known])]
    if recording.body is not None:
        parts.append(("body", recording.body.joints[recording.body.valid]))
    for what, values in parts:
        largest = float(np.abs(values).max()) if values.size else 0.0
        if largest > _LARGEST_COORDINATE:
            yield Finding(
                "absurd_value", "error", f"a coordinate of the {what} reaches {largest:.3g}; expected metres, pixels or shares"
            )
    farthest = float(np.abs(recording.time).max())
    if farthest > _LARGEST_TIME:
        yield Finding("absurd_time", "error", f"a time is {farthest:.3g} s; expected seconds")


def _check_rate(recording: Recording) -> Iterable[Finding]:
    if len(recording) < 3:
        return
    steps = np.diff(recording.time)
    median = float(np.median(steps))
    pauses = np.concatenate([[False], steps > 3 * median])
    if pauses.any():
        yield Finding(
            "pause", "info",
            f"the clock pauses {int(pauses.sum())} times for more than three frames "
            f"(longest {steps.max():.2f} s, usual step {median * 1000:.0f} ms)",
            frames=tuple(runs(pauses)),
        )  # fmt: skip
    uneven = (np.abs(steps - median) > 0.5 * median) & ~pauses[1:]
    if uneven.mean() > 0.05:
        yield Finding(
            "irregular_rate", "info",
            f"{uneven.mean():.0%} of the steps differ by more than half from the usual {median * 1000:.0f} ms; "
            "resample before using rates",
        )  # fmt: skip


# --------------------------------------------------------------------------------------------------------------------
# Presence


def _check_presence(recording: Recording) -> Iterable[Finding]:
    if not recording.valid.any():
        if recording.body is not None and recording.body.valid.any():
            yield Finding("body_only", "info", "a body without hands: no hand is seen in any frame")
        else:
            yield Finding("no_hands", "error", "no hand is seen in any frame")
        return
    for hand, side in enumerate(HANDS):
        seen = recording.valid[:, hand]
        if not seen.any():
            yield Finding("never_seen", "info", f"{side} hand is never seen", side)
            continue
        inner: list[tuple[int, int]] = []
        outer: list[tuple[int, int]] = []
        for start, stop in runs(~seen):
            (outer if start == 0 or stop == len(seen) else inner).append((start, stop))
        if outer:
            count = sum(stop - start for start, stop in outer)
            sentence = f"{side} hand is not yet or no longer seen in {count} of {len(seen)} frames"
            yield Finding("absent", "info", sentence, side, None, tuple(outer))
        for short in (True, False):
            gaps = [gap for gap in inner if (gap_seconds(recording.time, gap) <= LONGEST_FILLED_GAP) == short]
            if gaps:
                yield _gap_finding(recording, side, gaps, repairable=short)
    if recording.interpolated is not None and recording.interpolated.any():
        for hand, side in enumerate(HANDS):
            if (mask := recording.interpolated[:, hand]).any():
                sentence = f"{side} hand is interpolated, not measured, in {_count(mask)}"
                yield Finding("interpolated", "info", sentence, side, None, tuple(runs(mask)))


def _gap_finding(recording: Recording, side: str, gaps: list[tuple[int, int]], repairable: bool) -> Finding:
    count = sum(stop - start for start, stop in gaps)
    longest = max(gap_seconds(recording.time, gap) for gap in gaps)
    if len(gaps) == 1:
        number = "1 frame" if count == 1 else f"{count} frames"
        sentence = f"{side} hand missing for {number} ({longest:.2f} s) at frame {gaps[0][0]}"
    else:
        sentence = f"{side} hand missing in {count} frames, in {len(gaps)} gaps (longest {longest:.2f} s)"
    return Finding("gap", "warning", sentence, side, None, tuple(gaps), repairable)


def _check_joints(recording: Recording) -> Iterable[Finding]:
    """Unknown joints of hands that are seen, joint by joint; NaN and infinity arrive here as unknown."""
    unknown = recording.valid[:, :, None] & ~recording.present
    for hand, side in enumerate(HANDS):
        frames = int(recording.valid[:, hand].sum())
        for joint in range(21):
            mask = unknown[:, hand, joint]
            if joint in recording.absent_joints or not mask.any():
                continue
            sentence = f"{side} {JOINT_NAMES[joint]} unknown in {int(mask.sum())} of {frames} frames"
            yield Finding("unknown_joint", "info", sentence, side, JOINT_NAMES[joint], tuple(runs(mask)))


# --------------------------------------------------------------------------------------------------------------------
# Sides, jumps, frozen frames


def _check_sides(recording: Recording) -> Iterable[Finding]:
    swapped = swapped_frames(recording)
    if swapped.any():
        first = int(np.flatnonzero(swapped)[0])
        sentence = f"left and right are exchanged in {{n}}, from frame {first} on"
        yield _finding("swapped_sides", None, swapped, sentence)
    if recording.valid.all(1).any():
        points, known = joint_points(recording), recording.known
        both = known[:, 0] & known[:, 1]
        apart = np.where(both, np.linalg.norm(points[:, 0] - points[:, 1], axis=-1), 0)
        gap = apart.sum(-1) / np.maximum(both.sum(-1), 1)
        doubled = (both.sum(-1) >= 5) & (gap < _DOUBLED_PALMS * palm_centres(recording)[2])
        if doubled.any():
            yield Finding(
                "doubled_hand", "warning",
                f"both hands lie on each other in {_count(doubled)}: probably one hand found twice",
                frames=tuple(runs(doubled)),
            )  # fmt: skip


def _check_jumps(recording: Recording) -> Iterable[Finding]:
    hand_spikes, joint_spikes = find_spikes(recording)
    centres, seen, palm = palm_centres(recording)
    for hand, side in enumerate(HANDS):
        if (mask := hand_spikes[:, hand]).any():
            first = int(np.flatnonzero(mask)[0])
            yield _finding("spike", side, mask, f"{side} hand leaps away and back in {{n}}, first at frame {first}")
        for joint in np.flatnonzero(joint_spikes[:, hand].any(0)):
            mask, name = joint_spikes[:, hand, joint], JOINT_NAMES[joint]
            sentence = f"{side} {name} leaps away and back in {_count(mask)}"
            yield Finding("joint_spike", "warning", sentence, side, name, tuple(runs(mask)), True)
        known = seen[:, hand] & ~hand_spikes[:, hand]
        frames = np.flatnonzero(known)
        if palm == 0 or len(frames) < 2:
            continue
        steps = np.linalg.norm(np.diff(centres[frames, hand], axis=0), axis=-1)
        near = np.diff(recording.time[frames]) <= 0.1
        jump = np.zeros(len(recording), bool)
        jump[frames[1:][near & (steps > _JUMP_PALMS * palm)]] = True
        jump &= ~swap_edges(recording)
        if jump.any():
            sentence = f"{side} hand jumps by more than {_JUMP_PALMS:g} palm lengths at {_count(jump)}"
            yield Finding("jump", "warning", sentence, side, None, tuple(runs(jump)))


def _check_frozen(recording: Recording) -> Iterable[Finding]:
    """Real trackers never return the same numbers twice for long; a frozen hand is a stalled tracker or padding."""
    if len(recording) < 4:
        return
    for hand, side in enumerate(HANDS):
        seen = recording.valid[:, hand]
        same = seen[1:] & seen[:-1] & (recording.joints[1:, hand] == recording.joints[:-1, hand]).all((1, 2))
        frozen = np.zeros(len(recording), bool)
        for start, stop in runs(same):
            if stop - start >= 3 and recording.time[stop] - recording.time[start] >= _FROZEN_SECONDS:
                frozen[start : stop + 1] = True
        if frozen.any():
            sentence = f"{side} hand stands still to the last digit in {_count(frozen)}"
            yield Finding("frozen", "warning", sentence, side, None, tuple(runs(frozen)))


# --------------------------------------------------------------------------------------------------------------------
# Size


def _check_size(recording: Recording) -> Iterable[Finding]:
    if recording.space != "metric":
        return
    known = recording.known
    seen = recording.joints[known]
    if len(seen) and np.ptp(seen[:, 2]) < 1e-6:
        yield Finding(
            "flat", "error",
            "z is the same everywhere though the space is 'metric'; use space 'planar' or 'image' for 2D",
        )  # fmt: skip
        return
    parents, children = np.array(BONES).T
    lengths = np.linalg.norm(recording.joints[:, :, children] - recording.joints[:, :, parents], axis=-1)
    both = known[:, :, children] & known[:, :, parents]
    for hand, side in enumerate(HANDS):
        if recording.root == "wrist":
            chain, limits, part = [8], _PALM_METRES, "palm (wrist to middle knuckle)"
        else:
            chain, limits, part = [9, 10, 11], _FINGER_METRES, "middle finger"
        complete = both[:, hand][:, chain].all(-1)
        if complete.any():
            size = float(np.median(lengths[complete, hand][:, chain].sum(-1)))
            if not limits[0] <= size <= limits[1]:
                yield Finding(
                    "wrong_scale", "error",
                    f"the {side} {part} is {size * 100:.3g} cm long; expected {limits[0] * 100:.0f} to "
                    f"{limits[1] * 100:.0f} cm in metres; check the unit",
                    side,
                )  # fmt: skip
        yield from _check_bones(lengths[:, hand], both[:, hand], side)


def _check_bones(lengths: np.ndarray, known: np.ndarray, side: str) -> Iterable[Finding]:
    """Bones (T, 20) do not grow: frames where one differs by a quarter from its own median."""
    if known.sum() == 0:
        return
    median = np.ma.median(np.ma.array(lengths, mask=~known), axis=0).filled(0.0)
    change = known & (np.abs(lengths - median) > _BONE_TOLERANCE * median) & (median > 0.005)
    if change.any():
        worst = int(change.sum(0).argmax())
        parent, child = (JOINT_NAMES[joint] for joint in BONES[worst])
        frames = change.any(1)
        yield Finding(
            "bone_length", "warning",
            f"{side} bones change their length by over {_BONE_TOLERANCE:.0%} in {_count(frames)}, most often "
            f"{parent} to {child}",
            side, None, tuple(runs(frames)),
        )  # fmt: skip


# --------------------------------------------------------------------------------------------------------------------
# Gaps


def _fill_gaps(arrays: dict[str, Any], source: Recording, longest_gap: float) -> np.ndarray:
    """Fill short gaps in place, linearly in time, for joints known on both sides; returns (T, 2) bool: filled."""
    view = source.replace(**arrays)
    known, time = view.known, source.time
    arrays["joints"][:] = view.joints
    filled = np.zeros(arrays["valid"].shape, bool)
    for hand in range(2):
        for start, stop in runs(~view.valid[:, hand]):
            if start == 0 or stop == len(time) or gap_seconds(time, (start, stop)) > longest_gap:
                continue
            ends = known[start - 1, hand] & known[stop, hand]
            if not ends[0]:
                continue
            share = ((time[start:stop] - time[start - 1]) / (time[stop] - time[start - 1]))[:, None, None]
            first, last = arrays["joints"][start - 1, hand], arrays["joints"][stop, hand]
            arrays["joints"][start:stop, hand] = np.where(ends[:, None], (1 - share) * first + share * last, 0)
            least = np.minimum(arrays["confidence"][start - 1, hand], arrays["confidence"][stop, hand])
            arrays["confidence"][start:stop, hand] = np.where(ends, least, 0)
            filled[start:stop, hand] = True
    arrays["valid"] |= filled
    arrays["interpolated"] |= filled
    return filled
