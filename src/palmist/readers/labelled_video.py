"""Labels of video sets that come without hand poses, and how they join hands that the user tracked in the videos."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from palmist.errors import InputError
from palmist.recording import ActionSegment, Recording
from palmist.recording_file import read_recording

__all__ = ["LabelledVideo", "Triplet", "labelled_recordings"]

POSES = "poses"


@dataclass(frozen=True)
class LabelledVideo:
    """A video's name, its labelled segments in seconds, and the split that the set puts it in."""

    name: str
    segments: tuple[ActionSegment, ...]
    split: str | None = None


@dataclass(frozen=True)
class Triplet:
    """What happens in all of a sequence: a verb, the tool, and the target that it is used on."""

    name: str
    verb: str
    tool: str
    target: str
    split: str | None = None

    @property
    def label(self) -> str:
        """For example "stir bowl with spoon"."""
        return f"{self.verb} {self.target} with {self.tool}"


def labelled_recordings(
    root: Path, dataset: str, source: str, labels: Sequence[LabelledVideo | Triplet]
) -> Iterator[Recording]:
    """The user's tracked hands in ROOT/poses/NAME.npz with the set's labels and split, in the order of `labels`.

    The files are those of palmist.recording_file.write_recording (or a user's own, see there), on the video's own clock:
    time 0 is its first frame. Units and coordinate frame stay as they are. A Triplet labels the whole recording. Videos
    without a file are counted in a warning.

    Raises InputError when there is no file for any label, or the labels of a video begin after its recording ends.
    """
    folder = root / POSES
    files = [(item, folder / f"{item.name}.npz") for item in labels]
    there = [(item, file) for item, file in files if file.is_file()]
    if not there:
        raise InputError(
            f"{folder} holds no hand poses of the {len(labels)} listed videos; {dataset} gives labels only: track the hands in "
            f"its videos and write each to {POSES}/NAME.npz, such as {files[0][1].name if files else 'VIDEO.npz'}, "
            "with palmist.write_recording"
        )
    if len(there) < len(files):
        warnings.warn(f"{folder}: {len(files) - len(there)} of {len(files)} listed videos have no poses", stacklevel=2)
    for item, file in there:
        recording = read_recording(file)
        end = float(recording.time[-1]) + (1.0 / recording.rate if len(recording) > 1 else 1.0)
        if isinstance(item, Triplet):
            segments: tuple[ActionSegment, ...] = (
                ActionSegment(float(recording.time[0]), end, item.label, verb=item.verb, noun=item.target),
            )
            words = {"triplet": [item.verb, item.tool, item.target]}
        else:
            segments, words = item.segments, {}
            if segments and segments[-1].end > end + 1.0:
                raise InputError(
                    f"{file} ends at {end:.2f} s, but its labels at {segments[-1].end:.2f} s; expected the whole video; "
                    "track it again"
                )
        yield recording.replace(
            name=f"{dataset}/{item.name}",
            segments=segments,
            session=item.name,
            split=item.split,
            source=source,
            provenance={**recording.provenance, **words},
        )
